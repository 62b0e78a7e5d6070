"""Any value in, plain JSON and tags out; what can be restored comes back as it was."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import fractions
import functools
import ipaddress
import json
import random
import sys
import zoneinfo

import attrs
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sameness import same
from shapes import Access, Colour, Mode, Point, Rows, Settings
from strategies import json_values, restorable_values

from Agent.errors import UsageError
from Agent.event.values.codecs import register_codec
from Agent.event.values.reading import Reading
from Agent.event.values.values import Unrestored, decode_value, encode_value
from Agent.record.encode.redaction import Redactor


def through_json(value, pointer="/extra/args/x", **options):
    encoded = encode_value(value, pointer)
    return decode_value(orjson.loads(orjson.dumps(encoded.value)), encoded.types, pointer, **options)


@given(restorable_values)
def test_restorable_values_come_back_equal_and_of_equal_type(value):
    encoded = encode_value(value, "/extra/args/x")
    assert encoded.opaque == ()
    text = orjson.dumps(encoded.value)
    assert same(decode_value(json.loads(text), encoded.types, "/extra/args/x"), value)
    assert same(decode_value(orjson.loads(text), encoded.types, "/extra/args/x"), value)


@given(json_values)
def test_plain_json_needs_no_tag_and_is_not_shared(value):
    encoded = encode_value(value)
    assert encoded.types == {}
    assert same(encoded.value, value)
    if isinstance(value, list | dict) and value:
        value.clear()
        assert encoded.value


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
        "/e": "enum:shapes.Colour@1",
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


class Place(collections.namedtuple("Place", "row column")):  # noqa: PYI024 - as programs write it
    """Without `__slots__`, so that it has attributes as well."""


def test_a_named_tuple_of_a_class_with_attributes_is_restored():
    plain, marked = Place(1, (2, 3)), Place(4, [5])
    marked.note = {"seen": True}
    for place in (plain, marked):
        encoded = encode_value(place)
        back = decode_value(encoded.value, encoded.types)
        assert type(back) is Place
        assert (back, vars(back)) == (place, vars(place))
    assert encode_value(plain).value == {"row": 1, "column": [2, 3]}


@pytest.mark.integration
def test_objects_that_all_lead_to_one_graph_take_one_walk_over_it():
    rooms = [Room() for _ in range(3_000)]
    for at, room in enumerate(rooms):
        room.number, room.next, room.before = at, rooms[(at + 1) % 3_000], rooms[at - 1]
    by_number = dict(enumerate(rooms))
    first = encode_value(by_number)
    assert encode_value(by_number) == first
    forms = [first.value[str(at)] if isinstance(first.value, dict) else first.value[at][1] for at in range(9)]
    assert len({form["digest"] for form in forms}) == 9
    rooms[2_000].number = -1
    assert encode_value(by_number).value != first.value
    rooms[2_000].number = 2_000
    by_number[7], by_number[8] = by_number[8], by_number[7]
    assert encode_value(by_number).value != first.value


class Room:
    """A node of a graph."""


def test_subclasses_keep_their_attributes():
    rows = Rows([1, (2,)])
    rows.label = "l"
    back = through_json(rows)
    assert same(back, rows)
    assert back.label == "l"
    assert same(through_json(Settings(value=1, attributes={})), Settings(value=1, attributes={}))


class Moment(dt.datetime):
    year = property(lambda self: 1)

    def isoformat(self, *_):
        raise RuntimeError("an override is not asked")


class Day(dt.date):
    """A date of the program's."""


class Clock(dt.time):
    hour = property(lambda self: 1 / 0)


class Wait(dt.timedelta):
    def __init__(self, *_):
        self.note = "kept"


class Phasor(complex):
    """A number of the program's."""


class Buffer(bytearray):
    """Bytes of the program's."""


OF_LIBRARIES = st.one_of(
    st.datetimes(timezones=st.sampled_from((None, dt.UTC, zoneinfo.ZoneInfo("Europe/Berlin")))).map(
        lambda v: Moment(*v.timetuple()[:6], v.microsecond, v.tzinfo, fold=v.fold)
    ),
    st.dates().map(lambda v: Day(v.year, v.month, v.day)),
    st.times().map(lambda v: Clock(v.hour, v.minute, v.second, v.microsecond, fold=v.fold)),
    st.timedeltas().map(lambda v: Wait(v.days, v.seconds, v.microseconds)),
    st.complex_numbers().map(Phasor),
    st.binary().map(Buffer),
)


@given(OF_LIBRARIES)
def test_subclasses_of_times_and_numbers_come_back_and_no_code_of_theirs_runs(value):
    encoded = encode_value(value)
    assert encoded.opaque == ()
    back = decode_value(orjson.loads(orjson.dumps(encoded.value)), encoded.types)
    assert type(back) is type(value)
    base = type(value).__bases__[0]
    assert base.__reduce_ex__(back, 2)[1:] == base.__reduce_ex__(value, 2)[1:] or repr(back) == repr(value)
    assert vars(back) == vars(value)


def test_a_frozen_clock_is_recorded_as_a_time():
    freezegun = pytest.importorskip("freezegun")
    # It looks at each name of each module, and libraries load more of themselves where somebody looks.
    others = {name.partition(".")[0] for name in sys.modules} - {"Agent"}
    with freezegun.freeze_time("2017-07-14T02:40:00", ignore=sorted(others)):
        now = dt.datetime.now(dt.UTC)
        assert encode_value(now).value == {"value": "2017-07-14T02:40:00+00:00", "attributes": {}}
        assert same(through_json(now), now)


def test_flags_are_kept_by_the_names_of_their_members():
    encoded = encode_value(Access.READ | Access.RUN)
    assert encoded.value == ["READ", "RUN"]
    assert decode_value(encoded.value, encoded.types) is Access.READ | Access.RUN


def tag_of(value, hides=None):
    return encode_value(value, reading=Reading(hides=hides)).types[""]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (3, 4),
        (3, "3"),
        (True, 1),
        (1.5, 2.5),
        ("ok", "refused"),
        ("it's", "it is"),
        ("x" * 99, "x" * 98 + "y"),
        ((1, "a"), (1, "b")),
        ([1], [2]),
        ({"a": {1}}, {"a": {2}}),
        (None, 0),
        (Point(1), Point(2)),
    ],
)
def test_a_member_of_an_enum_with_another_value_has_another_tag(one, other):
    first, again, second = (enum.Enum("Local", {"ONE": value}).ONE for value in (one, one, other))
    assert tag_of(first) == tag_of(again) != tag_of(second)


def test_attributes_of_a_member_count_with_its_value_also_if_they_change():
    class Planet(enum.Enum):
        EARTH = 1

        @functools.cached_property
        def derived(self):
            return 5

    before = tag_of(Planet.EARTH)
    assert Planet.EARTH.derived == 5
    assert tag_of(Planet.EARTH) == before
    tags = []
    for mass in (5, 6, (5, 6), [5], 5):
        Planet.EARTH.mass = mass
        tags.append(tag_of(Planet.EARTH))
    assert tags[0] == tags[-1]
    assert len({before, *tags}) == 5
    assert "@" in before


def test_the_tag_of_a_member_of_a_flag_and_of_a_text_has_a_short_value_itself():
    assert tag_of(Access.READ | Access.RUN) == "enum:shapes.Access@5"
    assert tag_of(Mode.FAST) == "enum:shapes.Mode@'fast'"


def test_a_secret_in_a_member_of_an_enum_is_not_in_its_tag():
    key = "ghp_x8Kq2LmZ0pR7vT4nB9wY3cD6fG1hJ5sA2eU8"
    by_text = enum.Enum("Local", {"ONE": key, "TWO": (1, key)})
    by_name = enum.Enum("Local", {"PASSWORD": "hunter2", "API_KEY": ("hunter2", 1)})
    by_class = enum.Enum("Password", {"ONE": "hunter2", "TWO": ["hunter2"]})
    hides = Redactor(bytes(32))
    for member in (*by_text, *by_name, *by_class):
        tag = tag_of(member, hides)
        assert "@c1/redacted:" in tag, tag
    other = enum.Enum("Local", {"PASSWORD": "hunter3"}).PASSWORD
    assert tag_of(other, hides) == tag_of(by_name.PASSWORD, hides)


def test_local_class_is_bound_only_by_the_caller():
    class Local(enum.Enum):
        ONE = 1

    encoded = encode_value(Local.ONE)
    tag = encoded.types[""]
    assert decode_value(encoded.value, encoded.types) == Unrestored(tag, "ONE")
    name = tag.partition("@")[0].partition(":")[2]
    assert decode_value(encoded.value, encoded.types, codecs={name: Local}) is Local.ONE


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
        lambda b: {1, 2},
        lambda b: {1: (2,)},
        lambda b: float("nan"),
        lambda b: object(),
    ):
        register_codec(Broken, encode, lambda form: None)
        encoded = encode_value([Broken()], "/x")
        assert encoded.types == {"/x/0": "opaque"}
        assert "failure" in encoded.value[0]


@pytest.mark.parametrize("cls", [dict, str, tuple, dt.datetime, random.Random, np.ndarray])
def test_type_with_a_place_in_the_record_cannot_be_registered(cls):
    with pytest.raises(UsageError, match="already has a codec"):
        register_codec(cls, list, cls)


def test_defaultdict_of_a_lambda_gives_its_content_and_can_be_bound_by_the_caller():
    table = collections.defaultdict(
        lambda: collections.defaultdict(float), {(0, 1): collections.defaultdict(float, a=0.5)}
    )
    encoded = encode_value(table)
    assert encoded.opaque == ()
    back = decode_value(encoded.value, encoded.types)
    assert back.default_factory.__code__ == table.default_factory.__code__
    elsewhere = {at: tag.replace("c1/", "c1/0") for at, tag in encoded.types.items()}
    back = decode_value(encoded.value, elsewhere)
    assert type(back) is Unrestored
    assert same(back.value, {(0, 1): collections.defaultdict(float, a=0.5)})
    name = back.tag.partition(":")[2].partition("@")[0]
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


def test_a_codec_of_a_class_of_a_script_is_found_where_the_script_is_imported():
    register_codec(Sealed, lambda sealed: (sealed.held,), lambda parts: Sealed(*parts))
    encoded = encode_value(Sealed(7))
    assert encoded.value == [7]
    tag = {"": "registered:__main__.Sealed"}
    back = decode_value(encoded.value, tag, codecs={"__main__.Sealed": Sealed})
    assert (type(back), back.held) == (Sealed, 7)
    assert isinstance(decode_value(encoded.value, {"": "registered:__main__.Other"}), Unrestored)


class Sealed:
    """Has a codec of its own."""

    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


def test_fractions_and_addresses_are_restored():
    for value in (
        fractions.Fraction(-3, 4),
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_interface("fe80::1/64"),
    ):
        encoded = encode_value({"held": value})
        back = decode_value(encoded.value, encoded.types)["held"]
        assert (type(back), back) == (type(value), value)
    assert isinstance(decode_value("10.0.0.1", {"": "ipaddress:os"}), Unrestored)


def test_objects_of_attrs_are_restored_without_their_constructors():
    for decorate in (attrs.define, attrs.frozen, attrs.mutable):

        class Order:
            price: float
            lines: list

            def __attrs_post_init__(self):
                assert self.price >= 0

        made = decorate(Order)
        MADE[f"{__name__}.Order"] = made
        made.__qualname__ = "Order"
        order = made(2.5, [1, (2, 3)])
        encoded = encode_value(order)
        back = decode_value(encoded.value, encoded.types, codecs=MADE)
        assert (type(back), back) == (made, order)


MADE = {}
