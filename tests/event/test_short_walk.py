"""The short walk gives what the whole walk gives, or nothing."""

import collections
import dataclasses
import datetime as dt
import enum
import itertools
import typing
import uuid
import zoneinfo

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from Agent.event.values import short_walk
from Agent.event.values.arrays import small_array
from Agent.event.values.plain import DUMP_OPTIONS, write_json
from Agent.event.values.reading import DEFAULT_LIMITS, Limits, Places, Reading
from Agent.event.values.short_walk import common_bytes
from Agent.event.values.values import encode_value, to_json
from Agent.record.encode.native import native

IN_PYTHON = short_walk._ShortWalk.copy


@pytest.fixture(scope="module", autouse=True, params=["python", "c"])
def copied(request):
    """Run every test with the copier in Python, and with the one in C."""
    before = short_walk.copied
    if request.param == "c" and native is None:
        pytest.skip("built without its native part")
    short_walk.copied = IN_PYTHON if request.param == "python" else native.copied
    yield
    short_walk.copied = before


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.uuids(),
    st.dates(),
    st.datetimes(timezones=st.sampled_from([None, dt.UTC])).map(lambda moment: moment.replace(fold=0)),
)


class Boid:
    """An agent."""

    def __init__(self, number):
        self.agent_id = f"boid_{number}"


def agent_of(value):
    return value.agent_id if type(value) is Boid else None


class Text(str):
    pass


@dataclasses.dataclass
class Offer:
    price: object
    buyers: object = None


class Place(typing.NamedTuple):
    x: object
    y: object


class Card:
    """A value without a codec, with slots and a hash."""

    __slots__ = ("rank", "suit")

    def __init__(self, rank, suit):
        self.rank, self.suit = rank, suit

    def __eq__(self, other):
        return type(other) is Card and (self.rank, self.suit) == (other.rank, other.suit)

    def __hash__(self):
        return hash((self.rank, self.suit))


class Van:
    """A value without a codec, of small values that are no scalars."""

    def __init__(self, plate, route, entered):
        self.plate, self.route, self.entered = plate, route, entered


class Crate:
    """A value without a codec, which may hold anything."""

    def __init__(self, number, inside):
        self.number, self.inside = number, inside


hashable = st.recursive(
    st.one_of(
        st.integers(-3, 3), st.text(max_size=3), st.none(), st.booleans(), st.floats(-1, 1), st.uuids()
    ),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
zones = st.sampled_from(
    [None, dt.UTC, dt.timezone(dt.timedelta(hours=1)), zoneinfo.ZoneInfo("Europe/Berlin")]
)
with_codecs = st.one_of(
    st.floats(),
    st.integers(),
    st.binary(max_size=5),
    st.decimals(),
    st.timedeltas(),
    st.datetimes(timezones=zones),
    st.sets(hashable, max_size=5),
    hashable,
)
long_numbers = (
    st.integers(-(2**70), 2**70) | st.integers(2**1000, 2**1100) | st.sampled_from([-(2**63), 2**63, 2**64])
)
cards = st.builds(Card, st.integers(0, 12), st.sampled_from("abcd"))
vans = st.one_of(
    st.builds(Van, st.text(max_size=3), st.lists(st.text(max_size=2)).map(tuple), st.datetimes()),
    st.builds(
        Van, st.integers(), st.sampled_from([("a", "b"), [1, 2], (2**70,)]), st.timedeltas() | st.decimals()
    ),
)
ARGUMENT = Reading(owner="somebody", shows_references=False)
objects = st.one_of(
    cards,
    vans,
    st.sets(vans, max_size=3),
    st.sets(cards, max_size=4),
    long_numbers,
    st.builds(Crate, st.integers(), st.none() | st.text() | long_numbers),
)


def containers(inner):
    pairs = st.dictionaries(hashable, inner, max_size=4)
    return st.one_of(
        st.lists(inner, max_size=4),
        pairs,
        pairs.map(collections.OrderedDict),
        pairs.map(lambda each: collections.defaultdict(list, each)),
        st.dictionaries(hashable, st.integers(0, 3), max_size=4).map(collections.Counter),
        st.lists(inner, max_size=4).map(lambda each: collections.deque(each, 3)),
        st.builds(Offer, inner, inner),
        st.builds(Place, inner, inner),
    )


@given(st.recursive(with_codecs, containers, max_leaves=10))
@example({(1, 2): {Place(1, None)}})
@example({"": b"", 0: 0.0})
@example([Text("a"), Offer(Text("b"))])
def test_values_with_codecs_give_the_same_on_either_walk(value):
    dumped, whole = to_json(value, "/extra/x"), encode_value(value, "/extra/x")
    assert (orjson.loads(dumped.json), dumped.types or {}) == (whole.value, whole.types)


@given(
    st.recursive(
        objects | hashable, lambda inner: containers(inner) | st.builds(Crate, inner, inner), max_leaves=10
    )
)
@example([Card(1, "a"), Card(1, "a")])
@example({2**80: {"seen": [Card(1, "a"), 2**64 - 1]}, "b": -(2**63) - 1})
def test_objects_without_a_codec_give_the_same_on_either_walk(value):
    same = [value, [value, value]]
    for each, reading in itertools.product((value, same), (Reading(), Reading(keeps_content=True), ARGUMENT)):
        dumped = to_json(each, "/extra/x", reading=reading)
        whole = encode_value(each, "/extra/x", reading=reading)
        assert dumped.json == write_json(whole.value, DUMP_OPTIONS)
        assert (dumped.types or {}) == whole.types
        assert sorted(dumped.opaque) == sorted(whole.opaque)


@given(st.lists(objects, min_size=1, max_size=4), st.integers(0, 3), st.booleans())
def test_an_object_that_is_a_field_itself_is_named_in_other_fields_on_either_walk(
    members, number, is_in_a_dict
):
    chosen = members[number % len(members)]
    value = {"all": members} if is_in_a_dict else members
    reading = Reading(places=Places({"all": value, "chosen": chosen}))
    dumped, whole = (
        to_json(value, "/extra/x", reading=reading),
        encode_value(value, "/extra/x", reading=reading),
    )
    assert (orjson.loads(dumped.json), dumped.types or {}) == (whole.value, whole.types)
    assert sorted(dumped.opaque) == sorted(whole.opaque)


with_arrays_and_agents = st.one_of(
    leaves,
    st.integers(0, 9).map(Boid),
    arrays.arrays(
        arrays.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufcmM" and dtype.itemsize <= 16),
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=4),
    ),
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
    ),
    max_leaves=12,
)


@given(values)
def test_a_common_value_gives_the_same_json_and_tags_on_either_walk(value):
    short = common_bytes(value, "/extra/x~1y", DEFAULT_LIMITS)
    whole = encode_value(value, "/extra/x~1y")
    assert short is not None
    assert orjson.loads(short[0]) == whole.value
    assert short[1] == whole.types
    assert whole.opaque == ()


@given(st.recursive(with_arrays_and_agents, lambda inner: st.lists(inner, max_size=4), max_leaves=12))
def test_small_arrays_and_agents_give_the_same_on_either_walk(value):
    short = common_bytes(value, "/extra/x", DEFAULT_LIMITS, agent_of)
    whole = encode_value(value, "/extra/x", agent_of=agent_of)
    alone = to_json(value, "/extra/x", agent_of=agent_of)
    assert (orjson.loads(alone.json), alone.types or {}) == (whole.value, whole.types)
    if short is None:  # a type of number that is not recorded, or NaN outside of an array
        assert "opaque" in whole.types.values() or "float" in whole.types.values()
    else:
        assert (orjson.loads(short[0]), short[1]) == (whole.value, whole.types)


def test_agents_whose_ids_are_numbers_are_these_numbers_on_either_walk():
    offer = Offer(1)
    dumped = to_json([offer], "", agent_of=lambda value: 7 if value is offer else None)
    assert (dumped.json, dumped.types) == (b"[7]", {"/0": "agent"})


def test_an_array_of_objects_is_left_to_the_whole_walk():
    array = np.array([object()])
    assert to_json(array, "", agent_of=agent_of).opaque == ("",) == encode_value(array).opaque


def test_a_member_of_an_enum_is_common_once_its_tag_is_known():
    mood = enum.Enum("mood", "HIGH LOW")
    assert common_bytes([mood.HIGH], "", DEFAULT_LIMITS) is None
    whole = encode_value([mood.HIGH])
    data, types = common_bytes([mood.HIGH], "", DEFAULT_LIMITS)
    assert (orjson.loads(data), types) == (whole.value, whole.types)
    mood.HIGH.colour = "red"
    assert common_bytes([mood.HIGH], "", DEFAULT_LIMITS) is None


@given(st.recursive(with_codecs, containers, max_leaves=10))
def test_the_copier_in_c_gives_what_the_one_in_python_gives(value):
    def of(copier):
        before, short_walk.copied = short_walk.copied, copier
        try:
            return common_bytes(value, "/extra/é~", DEFAULT_LIMITS, agent_of)
        except (TypeError, OverflowError) as error:
            return type(error)
        finally:
            short_walk.copied = before

    python, c = of(IN_PYTHON), of(native.copied if native else IN_PYTHON)
    assert python == c
    if python is not None and type(python) is tuple:
        assert list(python[1]) == list(c[1])


def test_a_list_that_changes_while_it_is_copied_is_left_to_the_whole_walk():
    offer = Offer(1)
    items: list = [offer, 2, 3]

    def empties(value):
        items.clear()
        return "gone"

    before, short_walk.copied = short_walk.copied, native.copied if native else IN_PYTHON
    try:
        short = common_bytes(items, "", DEFAULT_LIMITS, empties)
    finally:
        short_walk.copied = before
    assert native is None or short is None


@pytest.mark.parametrize(
    "value",
    [
        [float("nan")],
        [float("inf")],
        object(),
        collections.defaultdict(lambda: 0, {"a": (1,)}),
        {1: object()},
    ],
)
def test_what_is_not_common_is_left_to_the_whole_walk(value):
    assert common_bytes(value, "", DEFAULT_LIMITS) is None


def test_a_cycle_and_a_deep_value_are_left_to_the_whole_walk():
    cycle: list = []
    cycle.append(cycle)
    assert common_bytes(cycle, "", DEFAULT_LIMITS) is None
    deep: dict = {}
    for _ in range(40):
        deep = {"a": deep, "b": uuid.uuid4()}
    assert common_bytes(deep, "", DEFAULT_LIMITS) is None


def test_what_could_break_a_bound_is_left_to_the_whole_walk():
    limits = Limits(max_string_chars=64, max_items=64)
    assert common_bytes({"a": "x" * 100, "b": (1,)}, "", limits) is None
    assert common_bytes([(1,)] * 40, "", limits) is None


any_dtype = (
    arrays.boolean_dtypes()
    | arrays.integer_dtypes()
    | arrays.floating_dtypes()
    | arrays.complex_number_dtypes()
)
any_array = arrays.arrays(any_dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9))


@given(any_array, st.booleans())
def test_a_small_array_has_the_json_and_the_tag_that_the_whole_walk_gives(array, is_transposed):
    array = array.T if is_transposed else array
    found = small_array(array)
    if found is None:
        assert array.size > 64 or array.dtype.kind == "c" or not np.isfinite(array).all()
    else:
        whole = to_json(array, "")
        assert (found[0], {"": found[1]}) == (whole.json, whole.types)
