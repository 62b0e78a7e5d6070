"""Any value in, plain JSON and tags out; what can be restored comes back as it was."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import functools
import json
import random
import subprocess
import sys
import threading
import types

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    HOSTILE,
    Access,
    Colour,
    Count,
    Frozen,
    Pair,
    Point,
    Rows,
    Settings,
    any_values,
    json_values,
    restorable_values,
    same,
)

from Agent.errors import UsageError
from Agent.event.values import (
    DEFAULT_LIMITS,
    Limits,
    Unrestored,
    decode_value,
    encode_value,
    register_codec,
)

SMALL = Limits(max_string_chars=64, max_bytes=2048, max_items=50, max_depth=6)


def through_json(value, pointer="/extra/args/x", **options):
    encoded = encode_value(value, pointer)
    return decode_value(orjson.loads(orjson.dumps(encoded.value)), encoded.types, pointer, **options)


@settings(max_examples=300)
@given(restorable_values)
def test_restorable_values_come_back_equal_and_of_equal_type(value):
    encoded = encode_value(value, "/extra/args/x")
    assert encoded.opaque == ()
    text = orjson.dumps(encoded.value)
    assert same(decode_value(json.loads(text), encoded.types, "/extra/args/x"), value)
    assert same(decode_value(orjson.loads(text), encoded.types, "/extra/args/x"), value)


@settings(max_examples=200)
@given(any_values)
def test_any_value_is_encoded_without_an_exception(recipe):
    encoded = encode_value(recipe(), "/extra/args/x")
    assert all(pointer.startswith("/extra/args/x") for pointer in encoded.types)
    assert {p for p, tag in encoded.types.items() if tag in ("opaque", "truncated")} == set(encoded.opaque)
    orjson.dumps(encoded.value)


@given(any_values)
def test_small_limits_hold_for_any_value(recipe):
    encoded = encode_value(recipe(), "", SMALL)
    decode_value(encoded.value, encoded.types)
    assert len(orjson.dumps(encoded.value)) <= SMALL.max_bytes


@given(json_values)
def test_plain_json_needs_no_tag_and_is_not_shared(value):
    encoded = encode_value(value)
    assert encoded.types == {}
    assert same(encoded.value, value)
    if isinstance(value, list | dict) and value:
        value.clear()
        assert encoded.value


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_object_is_described_or_kept_and_never_raises(name):
    value = HOSTILE[name]()
    encoded = encode_value({"x": value, "after": 1}, "/extra")
    assert encoded.value["after"] == 1
    orjson.dumps(encoded.value)
    decode_value(encoded.value, encoded.types, "/extra")


def test_pointers_escape_slashes_and_tildes():
    encoded = encode_value({"a/b": {"c~d": (1,)}}, "/extra")
    assert encoded.types == {"/extra/a~1b/c~0d": "tuple"}
    assert decode_value(encoded.value, encoded.types, "/extra") == {"a/b": {"c~d": (1,)}}


def test_tags_read_as_the_format_says():
    value = {
        "t": (1,),
        "q": {(0, 1): 0.5},
        "d": collections.deque([1], 3),
        "f": float("nan"),
        "e": Colour.RED,
    }
    assert encode_value(value).types == {
        "/t": "tuple",
        "/q": "map",
        "/q/0/0": "tuple",
        "/d": "deque:3",
        "/f": "float",
        "/e": "enum:shapes.Colour",
    }


def test_other_values_of_the_same_event_are_passed_over():
    tags = {"/extra/args/x": "tuple", "/extra/args/xy": "set", "/state/x": "set"}
    assert decode_value([1], tags, "/extra/args/x") == (1,)


def test_dataclass_comes_back_without_its_constructor():
    point = Point(1, (2,))
    point.cache = {3}
    point.extra = "added later"
    back = through_json(point)
    assert same(back, point)
    assert back.cache == {3}
    assert back.extra == "added later"


def test_constructors_hooks_and_properties_of_the_class_do_not_run():
    before = len(CALLS)
    back = through_json(Noisy.quietly())
    assert type(back) is Noisy
    assert object.__getattribute__(back, "__dict__") == {"x": 1}
    assert CALLS[before:] == []


CALLS = []


@dataclasses.dataclass
class Noisy:
    x: int

    def __post_init__(self):
        CALLS.append("post_init")

    def __new__(cls, *args):
        CALLS.append("new")
        return object.__new__(cls)

    def __setattr__(self, name, value):
        CALLS.append("setattr")

    def __getattribute__(self, name):
        CALLS.append("getattribute")
        return object.__getattribute__(self, name)

    @classmethod
    def quietly(cls):
        made = object.__new__(cls)
        object.__getattribute__(made, "__dict__")["x"] = 1
        return made


class Shy(list):
    def __reduce__(self):
        return (Shy, ())


class Locked(str):
    def __getstate__(self):
        return None


@pytest.mark.parametrize("value", [Shy([1]), Locked("x")])
def test_subclass_that_says_itself_how_it_is_copied_is_opaque(value):
    assert encode_value(value, "/x").opaque == ("/x",)


def test_subclasses_keep_their_attributes():
    rows = Rows([1, (2,)])
    rows.label = "l"
    back = through_json(rows)
    assert same(back, rows)
    assert back.label == "l"
    assert same(through_json(Settings(value=1, attributes={})), Settings(value=1, attributes={}))


def test_flags_are_kept_by_the_names_of_their_members():
    encoded = encode_value(Access.READ | Access.RUN)
    assert encoded.value == ["READ", "RUN"]
    assert decode_value(encoded.value, encoded.types) is Access.READ | Access.RUN


def test_local_class_is_bound_only_by_the_caller():
    class Local(enum.Enum):
        ONE = 1

    encoded = encode_value(Local.ONE)
    tag = encoded.types[""]
    assert decode_value(encoded.value, encoded.types) == Unrestored(tag, "ONE")
    name = tag.partition(":")[2]
    assert decode_value(encoded.value, encoded.types, codecs={name: Local}) is Local.ONE


def test_class_named_on_disk_is_never_imported():
    code = (
        "import sys\n"
        "from Agent.event.values import decode_value, Unrestored\n"
        "for tag in ('enum:antigravity.Colour', 'dataclass:this.Zen', 'subclass:colorsys.X', 'registered:wave.W'):\n"
        "    assert isinstance(decode_value({}, {'': tag}), Unrestored), tag\n"
        "assert not {'antigravity', 'this', 'colorsys', 'wave'} & set(sys.modules)\n"
        "for tag in ('ndarray:<f8', 'numpy:float64', 'numpy.Generator'):\n"
        "    assert isinstance(decode_value({}, {'': tag}), Unrestored), tag\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_module_attribute_hook_is_not_woken_by_a_name_from_disk():
    module = types.ModuleType("lazy_module_of_this_test")
    woken = []
    module.__getattr__ = woken.append
    sys.modules[module.__name__] = module
    try:
        assert isinstance(decode_value([], {"": f"dataclass:{module.__name__}.Thing"}), Unrestored)
    finally:
        del sys.modules[module.__name__]
    assert woken == []


@pytest.mark.parametrize(
    "tag",
    [
        "dataclass:shapes.Colour",
        "enum:shapes.Point",
        "namedtuple:shapes.Point",
        "subclass:shapes.Point",
        "dataclass:os.system",
        "enum:subprocess.Popen",
        "dataclass:builtins.dict",
    ],
)
def test_class_of_another_sort_is_refused(tag):
    assert decode_value({"x": 1}, {"": tag}) == Unrestored(tag, {"x": 1})


def test_class_under_an_alias_of_its_name_is_refused():
    assert isinstance(decode_value("RED", {"": "enum:test_values.Colour"}), Unrestored)


_TAGS = [
    *"tuple set frozenset bytes bytearray datetime date time timedelta uuid decimal complex path deque deque:2 deque:-1".split(),
    *"deque:x range slice float int str map OrderedDict Counter defaultdict:list defaultdict:None defaultdict:x".split(),
    *"enum:shapes.Colour enum:shapes.Access dataclass:shapes.Point dataclass:shapes.Frozen".split(),
    *"namedtuple:shapes.Pair subclass:shapes.Rows subclass:shapes.Name subclass:shapes.Settings".split(),
    *"numpy:float64 numpy:ndarray numpy:datetime64[s] numpy:complex128 numpy:void ndarray:<f8 ndarray:|O ndarray:<M8[s]".split(),
    *"random.Random numpy.Generator numpy.RandomState registered:x agent opaque truncated nothing nothing:x : dataclass:".split(),
    *"path:PosixPath path:WindowsPath path:os numpy: ndarray: subclass:builtins.list enum:enum.Enum".split(),
]


@settings(max_examples=400)
@given(
    json_values,
    st.lists(
        st.tuples(
            st.sampled_from(["", "/0", "/1", "/0/0", "/0/1", "/a", "/value", "x"]), st.sampled_from(_TAGS)
        ),
        max_size=4,
    ),
)
def test_wrong_shapes_for_a_tag_never_raise(value, tags):
    decode_value(value, dict(tags))


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (None, "tuple"),
        ({"a": 1}, "set"),
        ([1, 1], "set"),
        ([[]], "set"),
        ([[[], 1]], "map"),
        ("====", "bytes"),
        ("2026-13-01", "datetime"),
        ({"iso": "2026-01-01T00:00:00", "zone": "../../etc/passwd"}, "datetime"),
        ({"iso": "2026-01-01T00:00:00", "zone": "No/Where"}, "datetime"),
        ([10**30, 0, 0], "timedelta"),
        ("1" * 100_000, "int"),
        ("0x", "int"),
        (True, "numpy:float64"),
        ({"shape": [2, 2], "data": [1.0]}, "ndarray:<f8"),
        ({"shape": [-1], "data": [1.0]}, "ndarray:<f8"),
        ([3, [1, 2], None], "random.Random"),
        ({"y": 1, "z": 2}, "namedtuple:shapes.Pair"),
        ({"nope": 1}, "dataclass:shapes.Frozen"),
        (["READ", "NOPE"], "enum:shapes.Access"),
        ("\\x", "str"),
    ],
)
def test_wrong_shape_gives_unrestored_with_what_was_recorded(value, tag):
    assert decode_value(value, {"": tag}) == Unrestored(tag, value)


@pytest.mark.parametrize("position", [-1, 625, 10**9])
def test_generator_state_that_would_be_read_outside_its_buffer_is_refused(position):
    encoded = encode_value(np.random.Generator(np.random.MT19937(1)))
    encoded.value["state"]["state"]["pos"] = position
    assert isinstance(decode_value(encoded.value, encoded.types), Unrestored)


def test_deep_json_from_disk_is_decoded_without_recursion():
    value = [1]
    for _ in range(100_000):
        value = [value]
    assert decode_value(value, {"/0/0": "tuple"})[0][0].__class__ is tuple


def test_pointers_that_lead_nowhere_are_told():
    missing: list[str] = []
    assert decode_value({"a": [1]}, {"/a/7": "tuple", "/b/c": "set", "/a/00": "set"}, unrestored=missing) == {
        "a": [1]
    }
    assert sorted(missing) == ["/a/00", "/a/7", "/b/c"]


def test_what_was_not_restored_is_told():
    missing: list[str] = []
    decode_value([1, 2], {"/0": "opaque", "/1": "enum:no.Where"}, unrestored=missing)
    assert sorted(missing) == ["/0", "/1"]


def test_decoded_value_shares_nothing_with_the_record():
    recorded = {"a": [1, {"b": 2}]}
    decode_value(recorded, None)["a"][1]["b"] = 3
    decode_value(recorded, {"/a": "tuple"})["a"][1]["b"] = 3
    assert recorded == {"a": [1, {"b": 2}]}


# Bounds.


def test_long_string_is_cut_and_keeps_length_and_digest():
    text = "é" * 50_000_000
    encoded = encode_value({"x": text, "y": 1}, "/e")
    assert encoded.types == {"/e/x": "truncated"}
    assert encoded.opaque == ("/e/x",)
    assert encoded.value["x"]["chars"] == 50_000_000
    assert encoded.value["x"]["head"] == "é" * DEFAULT_LIMITS.head_chars
    other = encode_value({"x": text[:-1] + "e"}, "/e")
    assert other.value["x"]["digest"] != encoded.value["x"]["digest"]


def test_long_bytes_are_cut_and_keep_length_and_digest():
    encoded = encode_value(bytes(10_000_000))
    assert encoded.types == {"": "truncated"}
    assert encoded.value["bytes"] == 10_000_000
    assert len(encoded.value["digest"]) == 16


def test_string_at_the_limit_is_kept_whole():
    text = "x" * DEFAULT_LIMITS.max_string_chars
    assert encode_value(text) == (text, {}, ())
    assert encode_value(text + "x").types == {"": "truncated"}


def test_a_million_items_are_cut_and_counted():
    encoded = encode_value(list(range(1_000_000)))
    assert encoded.value["items"] == 1_000_000
    assert encoded.value["head"][:3] == [0, 1, 2]
    assert len(encoded.value["head"]) <= DEFAULT_LIMITS.max_items
    assert encoded.value["digest"] != encode_value([*range(999_999), 0]).value["digest"]


def test_one_large_field_does_not_hide_the_others():
    value = {"grid": [[n, (n,)] for n in range(100_000)], **{f"field{n}": (n,) for n in range(40)}}
    encoded = encode_value(value, "/s")
    back = decode_value(encoded.value, encoded.types, "/s")
    assert {name: back[name] for name in value if name != "grid"} == {f"field{n}": (n,) for n in range(40)}
    assert encoded.opaque == ("/s/grid",)
    assert back["grid"].value["items"] == 100_000


def test_list_of_a_hundred_thousand_levels_is_cut_at_the_depth_limit():
    encoded = encode_value(HOSTILE["deep"]())
    assert len(encoded.opaque) == 1
    assert encoded.opaque[0].count("/") == DEFAULT_LIMITS.max_depth


def test_depth_limit_counts_containers_around_a_value():
    limits = Limits(max_depth=2)
    assert encode_value([[1]], "", limits).types == {}
    assert encode_value([[[1]]], "", limits).types == {"/0/0": "opaque"}


def test_cycle_is_opaque_and_shared_references_are_not():
    shared = [1]
    assert encode_value([shared, shared, (shared,)]).opaque == ()
    loop: dict = {"a": 1}
    loop["self"] = [loop]
    encoded = encode_value(loop, "/x")
    assert encoded.opaque == ("/x/self/0",)
    assert encoded.value["a"] == 1


@pytest.mark.parametrize("digits", [19, 20, 3_900, 4_300, 5_000, 30_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_of_thousands_of_digits_come_back(digits, sign):
    limit = sys.get_int_max_str_digits()
    value = sign * (10**digits - 7)
    assert through_json([value, {value: value}]) == [value, {value: value}]
    assert sys.get_int_max_str_digits() == limit


def test_integer_beyond_the_limit_is_cut():
    encoded = encode_value(1 << 1_000_000)
    assert encoded.types == {"": "truncated"}
    assert encoded.value["bits"] == 1_000_001


def test_large_array_is_cut_with_shape_and_digest():
    encoded = encode_value(np.zeros((1000, 1000)))
    assert encoded.types == {"": "truncated"}
    assert encoded.value["shape"] == [1000, 1000]
    assert encode_value(np.ones((1000, 1000))).value["digest"] != encoded.value["digest"]


@pytest.mark.parametrize(
    "limits",
    [
        {"max_bytes": 10},
        {"max_items": 1},
        {"max_depth": 0},
        {"max_depth": 500},
        {"max_string_chars": 1},
        {"head_chars": -1},
    ],
)
def test_limits_that_leave_no_room_are_refused(limits):
    with pytest.raises(ValueError, match="limits need"):
        Limits(**limits)


# Determinism.


def test_sets_are_stored_in_an_order_that_does_not_depend_on_hashes():
    code = (
        "import orjson\nfrom Agent.event.values import encode_value\n"
        "print(orjson.dumps(encode_value({'s': {'a', 'b', 'c', 'd'}, 'm': {(1, 'x'), (2, 'y'), None, 3.5, 'z'}}).value))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


def test_description_of_an_object_holds_no_address():
    for value in (
        object(),
        memoryview(b"x"),
        encode_value,
        functools.partial(print),
        ValueError("<X at 0x7f0011223344>"),
        threading.Lock(),
    ):
        assert "0x7" not in encode_value(value).value["repr"]
        assert encode_value(value).value == encode_value(value).value


def test_plain_attributes_of_an_unknown_object_are_shown():
    thing = types.SimpleNamespace()
    encoded = encode_value(Plain(thing), "/x")
    assert encoded.value["attributes"] == {"count": 3, "name": "n"}
    assert encoded.value["class"] == f"{__name__}.Plain"


class Plain:
    def __init__(self, thing):
        self.count = 3
        self.name = "n"
        self.thing = thing

    def __repr__(self):
        raise AssertionError("not to be called")


def test_exception_is_described_by_its_class_and_arguments():
    assert encode_value(KeyError("k", 3)).value["repr"] == "KeyError('k', 3)"


# Seams.


class Agent:
    def __init__(self, agent_id):
        self.agent_id = agent_id


def agent_of(value):
    return value.agent_id if type(value) is Agent else None


def test_agents_are_recorded_as_their_ids():
    encoded = encode_value({"other": Agent("b"), "n": [Agent(7)]}, "/x", agent_of=agent_of)
    assert encoded.value == {"other": "b", "n": [7]}
    assert encoded.types == {"/x/other": "agent", "/x/n/0": "agent"}
    assert encoded.opaque == ()
    assert decode_value("b", {"": "agent"}) == Unrestored("agent", "b")
    back = decode_value(
        encoded.value, encoded.types, "/x", codecs={"agent": lambda agent_id: ("peer", agent_id)}
    )
    assert back == {"other": ("peer", "b"), "n": [("peer", 7)]}


def test_agent_seam_that_raises_costs_only_that_value():
    def broken(value):
        raise RuntimeError("no")

    encoded = encode_value([Agent("b"), 1], agent_of=broken)
    assert encoded.opaque == ("/0",)
    assert encoded.value[1] == 1


class Money:
    def __init__(self, cents):
        self.cents = cents


class Broken:
    pass


def test_registered_codec_is_used_for_exactly_its_class():
    register_codec(Money, lambda m: {"cents": m.cents}, lambda form: Money(form["cents"]))
    encoded = encode_value([Money((5,))], "/x")
    assert encoded.types["/x/0"] == f"registered:{__name__}.Money"
    assert decode_value(encoded.value, encoded.types, "/x")[0].cents == (5,)
    assert isinstance(decode_value([], {"": f"registered:{__name__}.Money"}), Unrestored)


def test_registered_codec_that_fails_or_gives_no_plain_form_makes_the_value_opaque():
    for encode in (
        lambda b: 1 / 0,
        lambda b: (1, 2),
        lambda b: {1: 2},
        lambda b: float("nan"),
        lambda b: object(),
    ):
        register_codec(Broken, encode, lambda form: None)
        encoded = encode_value([Broken()], "/x")
        assert encoded.types == {"/x/0": "opaque"}
        assert "failure" in encoded.value[0]


@pytest.mark.parametrize("cls", [dict, str, tuple, dt.datetime, random.Random, np.ndarray])
def test_type_with_a_place_in_the_record_cannot_be_registered(cls):
    with pytest.raises(UsageError, match="codec of its own"):
        register_codec(cls, list, cls)


def test_defaultdict_of_a_lambda_gives_its_content_and_can_be_bound_by_the_caller():
    table = collections.defaultdict(
        lambda: collections.defaultdict(float), {(0, 1): collections.defaultdict(float, a=0.5)}
    )
    encoded = encode_value(table)
    assert encoded.opaque == ()
    back = decode_value(encoded.value, encoded.types)
    assert type(back) is Unrestored
    assert same(back.value, {(0, 1): collections.defaultdict(float, a=0.5)})
    name = back.tag.partition(":")[2]
    bound = decode_value(encoded.value, encoded.types, codecs={name: table.default_factory})
    assert same(bound, table)


def test_generators_go_on_from_where_they_were():
    python, numeric, legacy = random.Random(5), np.random.default_rng(5), np.random.RandomState(5)
    python.gauss(0, 1)
    numeric.integers(10, size=3, dtype=np.uint32)
    legacy.normal()
    copies = through_json([python, numeric, legacy])
    assert [copies[0].gauss(0, 1), copies[0].random()] == [python.gauss(0, 1), python.random()]
    assert copies[1].integers(10**9) == numeric.integers(10**9)
    assert copies[1].spawn(1)[0].random() == numeric.spawn(1)[0].random()
    assert copies[2].normal() == legacy.normal()


def test_interrupt_passes_through():
    def interrupt(value):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_value(Agent("x"), agent_of=interrupt)


def test_containers_that_other_threads_change_are_read_without_an_exception():
    table = {n: n for n in range(200)}
    queue = collections.deque(range(200))
    stop = threading.Event()

    def change():
        n = 200
        while not stop.is_set():
            table[n] = n
            del table[n - 200]
            queue.append(n)
            queue.popleft()
            n += 1

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(200):
            encoded = encode_value({"t": table, "q": queue}, "/x")
            assert type(encoded.value["t"]) is list
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_deep_stack_of_the_caller_gives_an_opaque_value_and_no_error():
    def descend(depth):
        try:
            return descend(depth + 1)
        except RecursionError:
            pass
        return encode_value(Pair(1, [Frozen((Count(3),))]), "/x")

    assert descend(0) is not None
