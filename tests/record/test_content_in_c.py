"""A pass over the content of a value in C: it writes, counts and notes what the pass in Python does."""

import sys
from abc import ABCMeta
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, IntFlag, StrEnum
from functools import partial
from pathlib import Path
from random import Random
from threading import Event, Lock, Thread
from types import SimpleNamespace
from uuid import uuid4
from weakref import ref

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.values import codecs, content_digest, opaque
from Agent.event.values.reading import DEFAULT_LIMITS, USUAL, Places, Reading
from Agent.record.encode import capture
from Agent.record.encode.native import native
from Agent.record.encode.redaction import Redactor
from Agent.record.state import introspection


class _Open:
    def __init__(self, **held):
        self.__dict__.update(held)


class _Linked:
    def __init__(self, name, links):
        self.agent_id, self.links, self.notes = name, links, {"of": links}


class _OfSlots:
    __slots__ = ("agent_id", "password", "rest")


class _OfBoth(_OfSlots):
    __slots__ = ("__dict__", "own", "rest")


class _Answers:
    def __getattr__(self, name):
        return [name]

    @property
    def computed(self):
        raise AssertionError("a property is not read")


class _OfMeta(metaclass=ABCMeta):
    pass


class _Hashes(type):
    is_failing = False

    def __hash__(cls):
        if _Hashes.is_failing:
            raise RuntimeError("no hash")
        return 7


class _OfHashes(metaclass=_Hashes):
    pass


class _Level(Enum):
    LOW = 1


class _Word(StrEnum):
    LONG = "00112233-4455-6677-8899-aabbccddeeff"
    SHORT = "s"


class _Flag(IntFlag):
    ONE = 1
    TWO = 2


class _Texts(str):
    __slots__ = ()


class _Numbers(list):
    pass


class _OfMetaKind(dict, metaclass=ABCMeta):
    pass


_Pair = namedtuple("_Pair", "left right")  # noqa: PYI024


def _steps():
    yield [_Word.SHORT]


def _around(inside):
    """Return values of classes that have more than attributes, which hold a value."""
    numbers = _Numbers([inside])
    numbers.own = inside
    steps = (each for each in [inside])
    return [
        _Pair(inside, 1), defaultdict(list, {"a": inside}), OrderedDict([("b", inside), (1, 2)]), numbers, deque([inside], 3),
        _OfMetaKind(c=inside), Counter("aab"), SimpleNamespace(inside=inside), lambda: inside, partial(len, inside), steps,
        ValueError(inside, "text"), numbers.append, property(lambda _: inside),
    ]  # fmt: skip


_OF_MANY_KINDS = [
    *(_Word.LONG, _Word.SHORT, _Flag.ONE | _Flag.TWO, _Texts("password of a text"), _Pair(1, "a"), _Pair),
    *(numpy.float64(1.5), numpy.float64("nan"), numpy.float32(-0.0), numpy.int64(2**40), numpy.bool_(True)),
    *(
        numpy.str_("a"),
        numpy.datetime64("2026-01-01"),
        numpy.complex128(1),
        numpy.arange(3),
        numpy.dtype("i4"),
    ),
    *(
        _steps,
        _steps.__code__,
        ref(_steps),
        lambda x=1: x,
        sys,
        sys.intern,
        _Numbers.append,
        ABCMeta,
        Random.random,
    ),
    *(
        numpy.random.RandomState(1),
        numpy.random.default_rng(2),
        Random.__dict__,
        slice(1, 2),
        _OfMeta,
        _OfHashes,
    ),
]
_MADE = [
    "00112233445566778",
    "0011-2233",
    "2026-11-28T00:00:00",
    "2026-11-28 0\u0661:00:00",
    "x" * 12 + "0011",
]


@dataclass
class _Record:
    agent_id: object = 1
    rest: object = None


_KINDS = [_Open, _OfSlots, _OfBoth, _Answers, _OfMeta, _OfHashes, _Record, type("Data", (), {"limit": 3})]
_ATTRIBUTES = [
    *("agent_id", "rest", "own", "password", "z_last", "a_first", "name_of_many_chars", "_value_", "_name_"),
    *("__module__", "__agent_trace_error__", "n\xe4me", "", "\ud800", "__main__"),
]


def _object(at, attributes):
    kind = _KINDS[at]
    made = kind.__new__(kind)
    for name, value in attributes.items():
        with suppress(AttributeError):
            object.__setattr__(made, name, value)
    return made


_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([_Level.LOW, Random(1), len, _Open, Lock(), uuid4, deque([1]), Path("a")]),
    st.sampled_from(
        ["text of some length", "face-to-face deadbee-", "x" * 300, "12345678 at 0x7f00000000ff>"]
    ),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(_OF_MANY_KINDS),
    st.sampled_from(
        [
            1.7e9,
            946684800.0,
            4102444800.0,
            float("inf"),
            *_MADE,
            "__main__",
            "x at 0x7f00000000ff>",
            'a "__main__" b',
            "\ud800",
        ]
    ),
    st.text(max_size=20),
    st.binary(max_size=70),
    st.uuids(),
    st.sampled_from(["sk-ant-api03-" + "aB3" * 20, "AKIA" + "Z7" * 8, "2026-11-28T00:00:00"]),
)
_KEYS = st.one_of(
    st.text(max_size=8), st.sampled_from(["password", "a" * 16, "__main__"]), st.integers(-3, 3)
)
_NESTED = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(_KEYS | st.tuples(_KEYS), inner, max_size=4),
        st.sets(st.integers() | st.text(max_size=3), max_size=3),
        st.builds(_Linked, st.sampled_from(["one", "two"]), inner),
        st.builds(
            _object,
            st.integers(0, len(_KINDS) - 1),
            st.dictionaries(st.sampled_from(_ATTRIBUTES), inner, max_size=6),
        ),
        st.tuples(st.integers(0, 13), inner).map(lambda each: _around(each[1])[each[0]]),
        st.lists(inner, min_size=1, max_size=2).map(lambda each: [each, *each, each]),
    ),
    max_leaves=12,
)
# Not inside each other: three such lists would have fifteen million items.
_CONTENTS = st.one_of(_NESTED, _NESTED, _NESTED, _NESTED.map(lambda each: [each] * 250))


def _walked(run, value, *arguments, **settings):
    """Return all that a walk knows in the end, or why it gave up."""
    walk = content_digest._Walk(*arguments, **settings)
    before, content_digest.run_pass = content_digest.run_pass, run
    try:
        walk.run(value)
    except Exception as error:
        return type(error), str(error), walk._nodes
    finally:
        content_digest.run_pass = before
    names = {*walk.__slots__} - {"_steps", "_kept", "_closed", "_sets", "_generators", "_reached", "_stands"}
    # Not the ids of all that was met: the state of a `RandomState` is another object in each walk.
    places = {"_order": len(walk._order), "_places": [*walk._places.values()]}
    return {name: getattr(walk, name) for name in names} | {"_kept": list(map(type, walk._kept))} | places


@pytest.mark.further
@given(_CONTENTS, st.booleans(), st.sampled_from([None, 3, 40]), st.booleans(), st.sampled_from(["one", ""]))
def test_a_pass_over_a_content_writes_the_same_in_c(value, hides_secrets, most_with_agents, has_cycle, owner):
    """The bytes, what is known of them, and where it gives up."""
    redactor = Redactor(b"key")
    root = _Linked("root", [value])
    if has_cycle:
        root.links.append(root.links)
        root.itself = root
    fields = Places({"first": root.links[0], "links": root.links, "root": root})
    reading = Reading(
        hides=redactor if hides_secrets else None,
        owner=owner,
        most_with_agents=most_with_agents,
        places=fields if owner else None,
    )

    def agent_of(each):
        if type(each) is _OfMeta:
            return 3
        return each.agent_id if type(each) is _Linked and each.agent_id != "root" else None

    def written(run):
        return [
            _walked(run, root, agent_of, reading),
            _walked(run, root, None, reading, made=[], leaves_out_code=True),
        ]

    assert capture.content_digest.run_pass is native.run_pass
    written(None)  # names become known
    assert written(None) == written(native.run_pass)


_NEARLY_MADE = st.lists(
    st.sampled_from(
        [
            *"0aFg-T: \u0661",
            "0011",
            "00112233",
            "-1234-",
            "-11-28T",
            "00:00:00",
            "2026-11-28",
            "12345678-1234-1234-",
        ]
    ),
    max_size=12,
).map("".join)


@given(_NEARLY_MADE)
@pytest.mark.parametrize("made", [None, []])
def test_ids_and_moments_are_told_apart_in_c_as_in_python(made, text):
    """In a text alone, in a set, and as a key and an item of a mapping."""

    value = [[text, [1]], {text: [2]}, {text: text, "z": 1}, {text}]

    def walked(run):
        return _walked(run, value, None, USUAL, made=None if made is None else [])

    assert walked(None) == walked(native.run_pass)


@given(_CONTENTS)
def test_contents_that_were_met_have_the_ids_and_moments_that_they_had(value):
    def read():
        return content_digest.content_of([value, "00112233-4455-6677-8899-aabbccddeeff"], None, USUAL)

    content_digest._made.clear()
    first = read()
    assert read() == first
    content_digest._made.clear()
    assert read() == first


def test_a_content_is_read_again_where_texts_of_another_process_may_be_equal():
    texts = [f"00112233-4455-6677-8899-aabbccddeeff at 0x7f00000000{end}>" for end in ("aa", "bb")]
    contents = [content_digest.content_of([each]) for each in texts]
    assert contents[0].text == contents[1].text
    assert [each.made for each in contents] == [(each,) for each in texts]


@given(
    st.sampled_from([_Open(a=1), _OfBoth(), _Pair(1, 2), _Answers(), 7]),
    st.lists(st.sampled_from(_ATTRIBUTES)),
)
def test_named_attributes_are_those_that_an_object_has(value, names):
    given_names = tuple(names)
    assert native.attributes_named(value, given_names) == introspection._attributes_named(value, given_names)


class _Refuses:
    def __getattr__(self, name):
        raise LookupError(name)


def test_an_attribute_that_raises_does_so_in_c():
    for read in (native.attributes_named, introspection._attributes_named):
        with pytest.raises(LookupError):
            read(_Refuses(), ("any",))


def test_a_generator_that_its_codec_reads_is_known_without_its_state():
    of_numpy = numpy.random
    values = [
        *(
            Random(1),
            of_numpy.RandomState(1),
            of_numpy.RandomState(of_numpy.PCG64(1)),
            of_numpy.default_rng(1),
        ),
        *(of_numpy.Generator(each(1)) for each in (of_numpy.MT19937, of_numpy.SFC64, of_numpy.Philox)),
        *(_OfRandom(1), numpy.float64(1), [1], _Open()),
    ]
    for value in values:
        reducer = codecs.builtin_reducer(type(value))
        try:
            tag = "" if reducer is None else reducer(value, DEFAULT_LIMITS)[0]
        except ValueError:
            tag = ""
        is_read = tag.startswith(("random.", "numpy.Generator", "numpy.RandomState"))
        assert codecs.is_read_generator(value) is is_read


class _OfRandom(Random):
    pass


def test_a_class_with_a_codec_of_its_user_is_read_by_it_in_both_passes(monkeypatch):
    codecs.plan_of(_Numbers)
    value = [_Numbers([1]), _Pair(1, 2)]
    monkeypatch.setitem(codecs.REGISTERED, _Numbers, codecs.RegisteredCodec(lambda each: len(each), None))
    assert _walked(None, value, None, USUAL) == _walked(native.run_pass, value, None, USUAL)


def test_a_pass_in_c_places_objects_of_large_graphs_and_of_earlier_walks_as_python_does():
    boxes = [_Open(number=number) for number in range(opaque.MANY_NODES + 10)]
    graph = _Open(boxes=boxes, own=_object(1, {"rest": boxes[5]}))
    around = _Open(few=[_Open(at=each) for each in range(70)], graph=graph, again=boxes[-1])
    wide = _Open(
        first=[_Open(at=each) for each in range(300)], last=boxes[7], inside={(graph.own,), boxes[8]}
    )

    roots = wide, around, [wide]

    def walked(run):
        reached = opaque.ReachedObjects()
        before, content_digest.run_pass = content_digest.run_pass, run
        try:
            found = [content_digest.content_of(each, None, USUAL, reached) for each in (graph, around, wide)]
        finally:
            content_digest.run_pass = before
        places = Places({"boxes": boxes, "own": graph.own})
        for each in roots:
            found.append(_walked(run, each, None, Reading(places=places), reached=reached))
        return found, [(key, place[:2]) for key, place in reached.places.items()]

    assert walked(None) == walked(native.run_pass)


def test_a_pass_in_c_fails_where_a_metaclass_raises_as_python_does(monkeypatch):
    root = _Open(links=[_object(_KINDS.index(_OfHashes), {"rest": [1]})])
    monkeypatch.setattr(_Hashes, "is_failing", True)
    for run in (native.run_pass, None):
        assert _walked(run, root, None, USUAL)[:2] == (RuntimeError, "no hash")


def test_attributes_that_another_thread_changes_are_read_by_a_pass_in_c():
    root = _Open(links=[_Open(name=f"n{at}", rest=[at]) for at in range(50)])
    is_over = Event()

    def change():
        at = 0
        while not is_over.is_set():
            at += 1
            box = root.links[at % 50]
            box.__dict__[f"x{at % 7}"] = [at]
            box.__dict__.pop(f"x{(at + 3) % 7}", None)
            box.__dict__ = dict(box.__dict__)
            box.__class__ = _OfMeta if at % 2 else _Open

    thread = Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            walk = content_digest._Walk(lambda _: None, USUAL)
            native.run_pass(walk, root)
    finally:
        is_over.set()
        thread.join()
    assert len(walk._places) == 51


@pytest.mark.further
def test_a_pass_in_c_keeps_no_references():
    value = [
        _object(at, {"rest": ["x" * 30], "agent_id": 1.5})
        for at in range(len(_KINDS))
        if _KINDS[at] is not _OfHashes
    ]
    more = [
        each
        for each in (*_OF_MANY_KINDS, *_around(value))
        if type(_walked(native.run_pass, each, None, USUAL)) is dict
    ]
    root = _Open(links=value, itself=value, more=more)
    plans = [codecs.plan_of(type(each)) for each in (root, *value)]

    def walk():
        native.run_pass(content_digest._Walk(lambda _: None, USUAL), root)

    for _ in range(3):
        walk()
    counted = [root, *value, *more, *plans, None, True, *[each.rest for each in value]]
    before = [sys.getrefcount(each) for each in counted]
    for _ in range(1_000):
        walk()
    after = [sys.getrefcount(each) for each in counted]
    assert all(abs(one - other) < 500 for one, other in zip(before, after, strict=True))
