"""The digest of content: equal for equal content, different for a changed leaf, and deaf to what a value says."""

from __future__ import annotations

import array
import asyncio
import collections
import contextlib
import copy
import ctypes
import enum
import functools
import importlib
import io
import itertools
import os
import queue
import random
import sqlite3
import subprocess
import sys
import textwrap
import threading
import types
import weakref
from pathlib import Path
from unittest.mock import patch

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event import script_names
from Agent.event.script_names import module_name
from Agent.event.values import content_digest, opaque
from Agent.event.values.codecs import plan_of, with_own
from Agent.event.values.content_digest import (
    FEW_NODES,
    _Walk,
    content_of,
)
from Agent.event.values.opaque import MANY_NODES, Content, OpaqueKind, ReachedObjects, describe
from Agent.event.values.reading import USUAL, Places, Reading
from Agent.event.values.values import (
    DEFAULT_LIMITS,
    Limits,
    form_of_scalars,
    to_json,
)


class Box:
    def __init__(self, inside=None):
        self.inside = inside

    def get(self):
        return self.inside


class Slotted:
    __slots__ = ("inside", "unset")

    def __init__(self, inside):
        self.inside = inside


class Raising(Exception):
    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


def digest(value):
    content = content_of(value)
    assert content.kind is OpaqueKind.COMPARABLE, content
    return content.text


def event(is_set):
    made = threading.Event()
    if is_set:
        made.set()
    return made


def queue_of(item):
    made = queue.Queue()
    made.put(item)
    return made


def closing(over):
    def inner():
        return over

    return inner


def nested(leaf, depth):
    return leaf if depth == 0 else [nested(leaf, depth - 1)]


def chain(leaf, length):
    head = Box(leaf)
    for _ in range(length):
        head = Box(head)
    return head


def round_trip(leaf):
    box = Box(leaf)
    box.me = box
    return box


def row_of(query):
    """The only row of a query, and the names of its columns."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        return database.execute(query).fetchone()


KEPT = [Box(0), Box(1)]

MAKERS = {
    "object": lambda c: Box([Box(c)]),
    "slots": Slotted,
    "namespace": lambda c: types.SimpleNamespace(a=[c]),
    "UserDict": lambda c: collections.UserDict(a=c),
    "ChainMap": lambda c: collections.ChainMap({"a": c}, {}),
    "mappingproxy": lambda c: types.MappingProxyType({"a": c}),
    "view of a mapping": lambda c: {f"a{c}": 1}.keys(),
    "array": lambda c: array.array("i", [c]),
    "memoryview": lambda c: memoryview(bytes([c])),
    "ctypes": ctypes.c_int,
    "structured array": lambda c: np.array([(c, 1.0)], dtype=[("a", "i4"), ("b", "f4")]),
    "object array": lambda c: np.array([Box(c), None]),
    "masked array": lambda c: np.ma.masked_array([1, 2], mask=[c, 0]),
    "partial": lambda c: functools.partial(pow, 2 + c),
    "closure": closing,
    "lambda": lambda c: (lambda x: x + 1, lambda x: x + 2)[c],
    "bound method": lambda c: Box(c).get,
    "event": event,
    "queue": queue_of,
    "SimpleQueue": lambda c: Box([queue.SimpleQueue(), c]),
    "iterator": lambda c: iter([c]),
    "map": lambda c: map(str, [c]),
    "count": itertools.count,
    "unstarted generator": lambda c: (number for number in [c]),
    "order of keys": lambda c: Box(dict([("a", 1), ("b", 2)][:: (1, -1)[c]])),
    "error with an attribute": lambda c: Raising("a", c),
    "error of the system": lambda c: OSError(2, "gone", f"file{c}"),
    "weak reference": lambda c: weakref.ref(KEPT[c]),
    "set of values": lambda c: Box({(c, 1), (5, 5)}),
    "defaultdict": lambda c: collections.defaultdict(closing(c), {"a": 1}),
    "deque": lambda c: Box(collections.deque([1], maxlen=3 + c)),
    "cycle": round_trip,
    "text in memory": lambda c: io.StringIO(f"a{c}"),
    "generator of numbers": lambda c: Box(random.Random(c)),
    "nested 150 deep": lambda c: Box(nested(c, 150)),
    "chain of 3,000 objects": lambda c: chain(c, 3000),
    "mapping of 50,000": lambda c: {i: i + (c if i == 25_000 else 0) for i in range(50_000)},
    "one object twice, or a copy": lambda c: [same := Box(1), (same, Box(1))[c]],
    "row of sqlite3": lambda c: row_of(f"SELECT {c} AS a, 'x' AS b"),
    "columns of a row of sqlite3": lambda c: row_of(f"SELECT 1 AS a{c}"),
    "class without a name": lambda c: type("Made", (), {"a": c}),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_equal_content_has_one_digest_and_a_changed_leaf_another(kind):
    make = MAKERS[kind]
    assert digest(make(0)) == digest(make(0))
    assert digest(make(0)) != digest(make(1))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner, inner)
        | inner.map(Box)
        | inner.map(Slotted)
        | inner.map(lambda held: types.SimpleNamespace(held=held))
    ),
    max_leaves=10,
)


@given(values)
def test_a_copy_has_the_same_digest(value):
    assert digest(Box(value)) == digest(copy.deepcopy(Box(value)))


@given(values, values)
def test_a_value_beside_another_is_told_from_the_other_alone(one, other):
    assert digest(Box([one, other])) != digest(Box([one]))
    assert digest(Box([one])) != digest(Box((one,)))


def test_nothing_of_the_value_is_called():
    def never(*_):
        raise AssertionError("called")

    names = (
        "__eq__ __hash__ __repr__ __str__ __iter__ __len__ __getattr__ __reduce_ex__ __getstate__ __bool__"
    )
    cls = type("Loud", (), dict.fromkeys(names.split(), never))
    loud = cls()
    loud.inside = [1]
    before = digest(loud)
    loud.inside.append(2)
    assert digest(loud) != before
    assert digest(type("LoudList", (list,), dict.fromkeys(names.split(), never))([1])).startswith("c1:")


def test_nothing_is_consumed():
    numbers, words = iter([1, 2, 3]), (word for word in ["a", "b"])
    held = queue_of(7)
    for value in (numbers, words, held):
        digest(value)
    assert list(numbers) == [1, 2, 3]
    assert list(words) == ["a", "b"]
    assert held.get_nowait() == 7


def test_a_generator_that_many_objects_draw_from_is_read_once():
    def cells(count, *, draws=0):
        rng = random.Random(1)
        for _ in range(draws):
            rng.random()
        return Box([Box([number, rng]) for number in range(count)])

    many = content_of(cells(5_000))  # its state alone counts as 40 values
    assert many.kind is OpaqueKind.COMPARABLE, many
    assert digest(cells(9)) == digest(cells(9)) != digest(cells(9, draws=1))
    rng = random.Random(1)
    parts = [Box([number, rng]) for number in range(9)]
    backwards = parts[::-1]
    assert digest(Box(set(parts))) == digest(Box(set(backwards))), "whichever comes first"


def test_a_generator_is_read_once_for_all_objects_of_an_argument(monkeypatch):
    rng, reads = random.Random(1), []
    way = content_digest.exact_way(random.Random)
    counting = (lambda value, limits: (reads.append(value), way[0](value, limits))[1], way[1])
    monkeypatch.setattr(content_digest, "exact_way", lambda cls: counting if cls is random.Random else None)
    boxes = [Box([number, rng]) for number in range(9)]
    told = to_json(boxes, "", reading=Reading(keeps_content=True)).json
    assert reads == [rng]
    assert [digest(box) for box in boxes] == [each["digest"] for each in orjson.loads(told)]
    rng.random()
    assert to_json(boxes, "", reading=Reading(keeps_content=True)).json != told


def walking(start):
    for number in [start, 2, 3]:
        held = Box([number])
        kept = weakref.ref(held)
        yield kept
        del held
        yield kept
    yield from range(2)


def test_a_generator_that_waits_counts_by_where_it_waits_and_what_it_holds():
    one, same, other = walking(1), walking(1), walking(7)
    seen = set()
    for step in range(7):
        kept = [next(each) for each in (one, same, other)]
        assert digest(one) == digest(same), step
        if step < 2:  # behind it the number that it began with is gone from all but its list
            assert digest(one) != digest(other), step
        assert step % 2 == 0 or step > 5 or kept[0]() is None, "looking at it let no variable live on"
        seen.add(digest(one))
    assert len(seen) == 7
    next(same)
    assert digest(one) != digest(same)


def begun(steps, items=(5, 6, 7), factor=2):
    def inner(item):
        yield item * factor

    def outer():
        for item in items:
            yield from inner(item)

    made = outer()
    for _ in range(steps):
        next(made)
    return made


def test_a_generator_counts_by_its_place_its_locals_and_the_iterators_of_its_loops():
    for steps in (0, 1, 2):
        assert digest(begun(steps)) == digest(begun(steps))
    assert len({digest(begun(steps)) for steps in (0, 1, 2)}) == 3
    assert digest(begun(1)) != digest(begun(1, items=(5, 6, 8)))
    assert digest(begun(1)) != digest(begun(1, factor=3))
    held = begun(1)
    before = digest(held)
    assert held.gi_frame.f_locals and digest(held) == before, "who looks at the locals changes nothing"
    assert [next(held), next(held)] == [12, 14]


async def waiting(number):
    await asyncio.sleep(number)


def test_whether_something_was_handled_while_a_generator_ran_is_no_content():
    def asking(handles):
        while True:
            with contextlib.suppress(ZeroDivisionError):
                1 / 0 if handles() else 1
            yield

    one, other = asking(lambda: True), asking(lambda: True)
    next(one)
    next(other)
    other.gi_frame.f_locals["handles"]
    assert digest(one) == digest(other)
    plain, handled = begun(1), begun(0)
    try:
        raise KeyError
    except KeyError:
        next(handled)
    assert digest(plain) == digest(handled)


def test_a_coroutine_that_waits_or_ended_counts_and_a_running_generator_by_its_name():
    first, second = waiting(1), waiting(2)
    assert digest(first) != digest(second)
    first.close()
    second.close()
    assert digest(first) == digest(second)
    seen = []

    def runs():
        seen.append(digest(running))
        yield

    running = runs()
    next(running)
    assert seen[0].startswith("c1:")


@pytest.mark.further
def test_what_cannot_be_seen_says_why():
    for value, why in (
        (ctypes.pointer(ctypes.c_int(1)), "pointers"),
        ([Box([number]) for number in range(60_000)], "more than 100,000 values inside"),
        ([bytes(9_000_000), bytes(9_000_000)], "more than 16 MB"),
    ):
        content = content_of(value)
        assert content.kind is OpaqueKind.UNSEEN and why in content.text, content


def test_objects_of_a_class_are_walked_in_vain_only_a_while(monkeypatch):
    class World(Box):
        """Of a class that no other test counts."""

    visited = []
    monkeypatch.setattr(content_digest, "MAX_NODES", 100)
    monkeypatch.setattr(opaque, "_MOST_NODES", 200)
    monkeypatch.setattr(
        content_digest._Walk, "of", lambda walk, value: visited.append(value) or walk.run(value)
    )
    worlds = [World([Box([number]) for number in range(200)]) for _ in range(3)]
    contents = [content_of(each) for each in worlds]
    assert {content.text for content in contents} == {"more than 100 values inside"}
    assert visited == worlds[:2]


def test_classes_and_modules_are_references_and_handles_are_named():
    assert content_of(int) == Content(OpaqueKind.REFERENCE, "class builtins.int")
    assert content_of(os)[:2] == (OpaqueKind.REFERENCE, "module os")
    for value, kind in (
        (threading.Lock(), "lock"),
        (threading.current_thread(), "thread"),
        (sys.stderr, None),
    ):
        content = content_of(value)
        assert kind is None or (content.kind, content.text) == (OpaqueKind.HANDLE, kind)


def test_agents_count_by_their_ids_and_a_large_value_that_leads_to_them_is_an_environment():
    agents = {id(box): f"agent_{number}" for number, box in enumerate(KEPT)}

    def agent_of(value):
        return agents.get(id(value))

    found = content_of(Box(list(KEPT)), agent_of)
    assert found.agents == {"agent_0", "agent_1"}
    reading = Reading(owner="agent_0", most_with_agents=500)
    world = types.SimpleNamespace(cells=[Box(number) for number in range(600)], agents=[KEPT[1]])
    assert content_of(world, agent_of, reading).text.startswith("environment ")
    own = types.SimpleNamespace(cells=[Box(number) for number in range(600)], owner=KEPT[0])
    assert content_of(own, agent_of, reading).kind is OpaqueKind.COMPARABLE


class Hiding:
    """Hides what stands under `password`, and texts that begin with `sk-`."""

    def is_denied(self, key):
        return key == "password"

    def text(self, text):
        return "<hidden>" if text.startswith("sk-") else text

    def is_harmless(self, names, raw):
        return "password" not in names and b"sk-" not in raw


def test_a_secret_takes_no_part_and_the_digest_says_so():
    reading = Reading(hides=Hiding())
    for make in (
        lambda secret: types.SimpleNamespace(password=secret, other=[1]),
        lambda secret: Box({"password": secret}),
        lambda secret: Box([f"sk-{secret}"]),
    ):
        one, other = (
            content_of(make("first-one"), None, reading),
            content_of(make("second-one"), None, reading),
        )
        assert one == other
        assert "/redacted:" in one.text
    assert "/redacted" not in content_of(Box(["plain text"]), None, reading).text


def test_an_object_that_counts_by_its_place_in_an_earlier_value_passes_on_that_secrets_were_left_out():
    for secret, is_hidden in (("sk-first", True), ("plain text", False)):
        graph = Box([Box(number) for number in range(MANY_NODES)] + [Box(secret)])
        reached, reading = ReachedObjects(), Reading(hides=Hiding())
        content_of(graph, None, reading, reached)
        around = Box([*[Box(number) for number in range(FEW_NODES + 1)], graph])
        found = content_of(around, None, reading, reached)
        assert ("/redacted:" in found.text) == is_hidden


def test_surroundings_are_compared_but_for_their_secrets():
    def reference(**attributes):
        surroundings = types.SimpleNamespace(**attributes)
        found = Content(OpaqueKind.REFERENCE, "environment SimpleNamespace")
        return with_own(surroundings, plan_of(types.SimpleNamespace), found, Reading(hides=Hiding())).text

    one = reference(rate=1, password="first", note="sk-1")
    assert one == reference(rate=1, password="second", note="sk-2")
    assert "/redacted:" in one
    assert one != reference(rate=2, password="first", note="sk-1")
    assert "/redacted:" not in reference(rate=1)


@pytest.mark.further
@pytest.mark.process
def test_digests_do_not_depend_on_the_hash_seed():
    program = textwrap.dedent("""
        import collections, sys
        sys.path.insert(0, sys.argv[1])
        from Agent.event.values.content_digest import content_of
        class Box:
            def __init__(self, inside): self.inside = inside
        print(content_of(Box([{"a", "b", "c", (1, "x")}, frozenset(["d", "e"]), {"k": {"l", "m"}}])).text)
    """)
    told = set()
    for seed in ("1", "2", "77"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(Path.cwd())],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        told.add(done.stdout)
    assert len(told) == 1


class WithSlots(Box):
    __slots__ = ("first", "second")


class Named(Box):
    """Its attributes have the names that an enum's member has."""


class ToldByModule(Box):
    """Its objects hold a `__module__`."""


AWKWARD = st.sampled_from(
    [
        2**63 - 1,
        2**63,
        -(2**63),
        2**64,
        float("nan"),
        float("inf"),
        -0.0,
        1e300,
        1_700_000_000.5,
        "3e8b1f0a-6a52-4f0e-9c1d-0123456789ab",
        "x" * 200,
        "x" * 201,
        "\ud800",
        "é" * 190,
    ]
)
NAMES = st.sampled_from(["a", "b", "_name_", "_value_", "__module__", "inside", "é", "\ud800", "n" * 201])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), AWKWARD, st.just([1])
)


@given(
    st.sampled_from([Box, WithSlots, Named, ToldByModule]),
    st.dictionaries(st.one_of(NAMES, st.text(max_size=3)), LEAVES, max_size=18),
)
def test_the_short_form_of_an_object_is_what_the_walk_and_the_description_give(cls, attributes):
    value = cls.__new__(cls)
    vars(value).update(attributes)
    if cls is WithSlots:
        value.first = "slot"
    walk = _Walk(None, USUAL)
    try:
        form = form_of_scalars(None, None, value)
    except TypeError:  # what orjson refuses: callers take the longer way
        return
    if form is not None:
        walk.run(value)
        assert form == describe(value, walk.content()) == describe(value, content_of(value))
        assert list(form) == list(describe(value, content_of(value)))


def test_ordinary_objects_have_a_short_form_and_others_have_none():
    assert form_of_scalars(None, None, Box(3))["attributes"] == {"inside": 3}
    assert form_of_scalars(lambda value: None, None, Slotted("x"))["attributes"] == {"inside": "x"}
    for value in (
        *(Box([1]), Box(), Box(2**63), Box(float("nan")), Box("x" * 201), Raising("x", 3), Box, sys, print),
        *(
            threading.Lock(),
            types.SimpleNamespace(a=1),
            collections.UserDict(a=1),
            Path("x"),
            event(is_set=True),
        ),
    ):
        form = form_of_scalars(None, None, value)
        assert form is None or form == describe(value, content_of(value)), value
    assert form_of_scalars(lambda value: "agent", None, Box(3)) is None


def test_a_codec_that_is_registered_later_takes_the_place_of_the_short_form():
    from Agent.event.values.codecs import REGISTERED, REGISTERED_NAMES, register_codec

    class Late(Box):
        pass

    assert form_of_scalars(None, None, Late(1)) is not None
    register_codec(Late, vars, lambda form: Late(**form))
    try:
        assert form_of_scalars(None, None, Late(1)) is None
    finally:
        del REGISTERED[Late]
        REGISTERED_NAMES.popitem()


def test_a_text_that_names_the_script_is_the_name_under_which_others_import_it():
    class Adapter:
        def __init__(self, module):
            self.module, self.nested = module, [{"in": (module, 1)}]

    imported = module_name("__main__")
    assert content_of(Adapter("__main__")) == content_of(Adapter(imported)) != content_of(Adapter("other"))


@given(
    st.one_of(
        st.integers(-(2**70), 2**70),
        st.text(st.characters(codec=None, categories=("Cs", "L")), max_size=3),
        st.floats(),
        st.booleans(),
    )
)
def test_an_object_with_any_scalar_in_it_can_be_compared(scalar):
    assert content_of(Box(scalar)).kind is OpaqueKind.COMPARABLE
    assert content_of(Slotted(scalar)).kind is OpaqueKind.COMPARABLE


def test_bytes_that_ctypes_points_at_are_compared_while_the_pointer_leads_there():
    one, other = ctypes.c_char_p(b"one"), ctypes.c_char_p(b"other")
    assert digest(one) == digest(ctypes.c_char_p(b"one")) != digest(other)
    one.value = b"other"
    assert digest(one) == digest(other)
    ctypes.memmove(ctypes.byref(one), ctypes.byref(ctypes.c_char_p(b"elsewhere")), ctypes.sizeof(one))
    assert content_of(one).kind is OpaqueKind.UNSEEN
    assert digest(ctypes.c_char_p()) != digest(ctypes.c_void_p())


def test_addresses_in_texts_that_repr_wrote_are_no_content():
    one, other = (
        f"<generator object answers at {hex(each)}>" for each in (0x7F91_1752_3970, 0x7FE7_2083_B970)
    )
    assert digest(Box(one)) == digest(Box(other))  # plain attributes only
    assert digest(Box([{1}, one])) == digest(Box([{1}, other]))  # text by text
    assert digest(Box([one])) == digest(Box([other]))
    forms = [form_of_scalars(None, None, Box(each)) for each in (one, other)]
    assert forms[0]["digest"] == forms[1]["digest"] == digest(Box(one))
    assert digest(Box("mapped at 0x4000>")) != digest(Box("mapped at 0x5000>"))
    assert digest(Box(f"{one}!")) != digest(Box(f"{other}?"))


@patch.dict(script_names.directories, clear=True)
@pytest.mark.parametrize("original", ["/home/ann/farm", '/home/"ann"/f\u00e4rm'])
def test_a_directory_that_is_a_copy_counts_by_its_original(original):
    copy = f"/var/{script_names.COPIES}x1/0/copy"

    def holds(place):
        path = Path(place)
        text = f"{path}/a and {path}/b"
        return [Box(text), Box([{1}, text]), Box({path / "a": [text] * 300}), {path, path / "b"}]

    here, there = holds(original), holds(copy)
    told = [digest(each) for each in here]
    assert not set(told) & {digest(each) for each in there}
    script_names.name_copy(copy, original)
    assert [digest(each) for each in there] == told == [digest(each) for each in here]


class Room:
    def __init__(self, number):
        self.number, self.exits, self.things = number, [], {Slotted(number), Slotted(-number)}
        self.notes = Box(Box([number]))


def cave(fields=11, rooms=60):
    """Fields that lead to one graph, whose rooms are members of two of them."""
    made = [Room(number) for number in range(rooms)]
    for number, room in enumerate(made):
        room.exits = [Box(made[(number * 7 + step) % rooms]) for step in (1, 2, 3)]
    named = {f"here_{number}": made[number * 5] for number in range(fields)}
    return {
        **named,
        "rooms": made,
        "by_number": {room.number: room for room in made[::-1]},
        "late": Box(made[9]),
    }


def written(fields, limits=DEFAULT_LIMITS):
    reading = Reading(places=Places(fields), is_of_names=True)
    found = to_json(fields, "", limits, reading=reading)
    return orjson.loads(found.json)


@pytest.mark.integration
def test_each_leaf_of_a_graph_to_which_many_fields_lead_counts():
    before = written(cave())
    assert before == written(cave())
    changes = {
        "a number": lambda fields: setattr(fields["rooms"][47], "number", 7),
        "what a set holds": lambda fields: setattr(fields["rooms"][3], "things", {Slotted(3), Slotted(3)}),
        "something deep": lambda fields: fields["rooms"][59].notes.inside.inside.append(0),
        "where an exit leads": lambda fields: setattr(
            fields["rooms"][40].exits[1], "inside", fields["rooms"][41]
        ),
        "the order of exits": lambda fields: fields["rooms"][40].exits.reverse(),
        "a copy of a room": lambda fields: setattr(
            fields["rooms"][8].exits[0], "inside", copy.copy(fields["rooms"][57])
        ),
        "where a field leads": lambda fields: fields.update(here_3=fields["rooms"][16]),
        "what two fields share": lambda fields: fields.update(late=Box(copy.copy(fields["rooms"][9]))),
        "the order of rooms": lambda fields: fields["rooms"].reverse(),
        "one room less": lambda fields: fields["rooms"].pop(),
        "a room outside": lambda fields: setattr(fields["rooms"][3].exits[0], "inside", Room(22)),
    }
    for name, change in changes.items():
        fields = cave()
        change(fields)
        assert written(fields) != before, name


def test_a_list_that_is_cut_still_counts_with_all_its_members():
    fields, limits = cave(), Limits(max_bytes=20_000)
    before = written(fields, limits)
    assert len(before["rooms"]["head"]) < 59
    fields["rooms"][59].notes.inside.inside.append(0)
    assert before["rooms"] != written(fields, limits)["rooms"]


@pytest.mark.integration
def test_the_graph_is_not_walked_over_from_each_field(monkeypatch):
    visits = []
    visit = _Walk._visit
    monkeypatch.setattr(_Walk, "_visit", lambda walk, value: (visits.append(1), visit(walk, value))[1])
    counts = []
    for fields in (10, 20, 30):
        visits.clear()
        written(cave(fields, 150))
        counts.append(len(visits))
    # A field costs no more than what is near it; the whole graph is some 5,000 values.
    assert counts[2] - counts[1] < 10 * 600 and counts[1] - counts[0] < 10 * 600, counts


def model_with(kind):
    pydantic = pytest.importorskip("pydantic")

    class Refund(pydantic.BaseModel):
        order: str
        amount: kind
        parts: list[Refund] = []

    return Refund


def test_a_schema_of_pydantic_tells_its_classes_without_their_ids():
    one, other, changed = model_with(int), model_with(int), model_with(float)
    for name in ("__pydantic_validator__", "__pydantic_serializer__"):
        first, second, third = (digest(getattr(each, name)) for each in (one, other, changed))
        assert first == second != third


def test_what_a_library_works_out_when_asked_is_no_content(tmp_path, monkeypatch):
    source = """
from functools import cached_property
class Graph:
    def __init__(self): self.edges = [(1, 2)]
    @cached_property
    def degree(self): return len(self.edges)
"""
    for place in ("site-packages", "own"):
        (tmp_path / place).mkdir()
        (tmp_path / place / f"graph_{place[:4]}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path / place)
    library, own = importlib.import_module("graph_site"), importlib.import_module("graph_own")

    class Mine(library.Graph):
        pass

    for cls, is_content in ((library.Graph, False), (Mine, False), (own.Graph, True)):
        graph, asked = cls(), cls()
        assert asked.degree == 1 and "degree" in vars(asked)
        assert (content_of(graph).text != content_of(asked).text) is is_content
        asked.edges.append((2, 3))
        assert content_of(graph).text != content_of(asked).text


@pytest.mark.parametrize(
    "make",
    [
        lambda module: collections.namedtuple("Row", ["a", "b"], module=module),  # noqa: PYI024
        lambda module: enum.Enum("Row", ["A", "B"], module=module),
        lambda module: type("Row", (), {"__module__": module, "n": 0}),
    ],
)
def test_a_class_made_at_run_time_counts_by_the_name_under_which_the_script_is_imported(make):
    imported = module_name("__main__")
    assert content_of(make("__main__")) == content_of(make(imported)) != content_of(make("other"))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="a long double has padding on x86 alone")
@pytest.mark.parametrize("form", ["<g", ">g", "<G", ">G", "record", "record of records"])
def test_padding_of_a_long_double_and_of_a_record_is_no_content(form):
    record = np.dtype([("number", "g"), ("flag", "i1"), ("count", "i8")], align=True)
    dtype = {"record": record, "record of records": np.dtype([("one", record), ("two", "i1")])}.get(form)
    dtype = np.dtype(form) if dtype is None else dtype
    zeros = np.zeros(3, dtype)
    number = zeros["one"]["number"] if form == "record of records" else zeros
    number = zeros["number"] if form == "record" else number
    number[...] = 1.5
    clean, dirty = zeros.copy(), zeros.copy()
    padding = [at for at in range(dtype.itemsize) if not _is_content(zeros, at)]
    assert len(padding) >= 6
    for array_, byte in ((clean, 0), (dirty, 7)):
        array_.view("u1").reshape(3, -1)[:, padding] = byte
    assert clean.tobytes() != dirty.tobytes()
    assert digest(clean) == digest(dirty) == digest(dirty[::-1])
    assert digest(Box(clean)) == digest(Box(dirty))
    assert digest(clean[0]) == digest(dirty[0])
    more = dirty.copy()
    (more if dtype.names is None else more[dtype.names[-1]])[2] = 3
    assert digest(more) != digest(dirty) and digest(more[2]) != digest(dirty[2])


def _is_content(values, at):
    """Whether a byte of the first item of an array tells anything about its value."""
    other = values.copy()
    other.view("u1")[at] ^= 1
    return other[:1].tolist() != values[:1].tolist() or str(other[0]) != str(values[0])
