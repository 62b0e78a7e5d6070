"""Containers and arrays between actions: each change is seen, and put into the very same object."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from Agent.record.encode.native import native
from Agent.record.state.followed_values import (
    _holds_any,
    _same_content,
    copied,
    holds_any,
    is_followed,
    is_same,
    pour,
)

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.dates(),
)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEYS = st.one_of(st.integers(0, 5), st.text(max_size=2), st.tuples(st.integers(0, 3), st.integers(0, 3)))
ARRAYS = arrays.arrays(st.sampled_from([np.float64, np.int32, np.bool_]), st.sampled_from([(), (3,), (2, 2)]))
VALUES = st.recursive(
    st.one_of(LEAVES, ARRAYS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(deque),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict),
        st.dictionaries(KEYS, inner, max_size=4).map(lambda found: defaultdict(list, found)),
        st.sets(KEYS, max_size=4),
    ),
    max_leaves=8,
).filter(is_followed)


@given(VALUES)
def test_a_copy_is_the_same_and_stays_what_it_is(value):
    kept, count, _ = copied(value)
    assert count >= 1
    assert is_same(kept, value)
    again, *_ = copied(kept)
    if pour(value, type(value)()) if type(value) is not np.ndarray else False:
        assert is_same(again, kept)


@given(VALUES, VALUES)
@example([defaultdict(list, {0: np.zeros(3)}), math.nan], [defaultdict(list, {0: np.zeros(3)}), -math.nan])
@example([math.nan], [-math.nan])
@example([False], [0])
@example((1, [1]), (1, [1.0]))
@example([{0: 1, 1: 1}], [{1: 1, 0: 1}])
@example([np.zeros(1)], [np.zeros(1, dtype=bool)])
@example({0, 1}, {False, True})
@example([0.0], [-0.0])
@example(deque([OrderedDict({"a": 1})]), deque([OrderedDict({"a": True})]))
@example([Decimal("1.0")], [Decimal("1.00")])
@example([defaultdict(list)], [defaultdict(int)])
@example([NOON], [NOON.astimezone(timezone(timedelta(hours=2)))])
def test_values_are_the_same_only_where_their_content_is(one, other):
    same = is_same(copied(one)[0], other)
    assert same == _equal(one, other)
    assert same == is_same(copied(other)[0], one)
    assert _same_content(copied(one)[0], other) <= same


@pytest.mark.skipif(native is None, reason="the native part was not built")
def test_containers_of_many_types_are_compared_without_a_call_of_python():
    value = [
        {"a": [1, 2.5, (None, "b")]},
        defaultdict(float, {"a": math.nan}),
        deque([1, [2]], maxlen=3),
        {"a", "b"},
        frozenset({1, 2}),
        np.zeros(3),
    ]
    for each in (value, *value):
        assert _same_content(copy.deepcopy(each), each)
    for one, other in (
        (defaultdict(float, {"a": 1}), defaultdict(int, {"a": 1})),
        (defaultdict(int, {"a": 1}), defaultdict(int, {"a": 2})),
        (deque([1], maxlen=3), deque([1], maxlen=4)),
        (deque([1, 2]), deque([1])),
        (deque([1, 2]), deque([1, 2.0])),
        ({1, 2}, {1, 2.0}),
        ({1, 2}, {1, 3}),
        ({1}, {True}),
    ):
        assert not _same_content(one, other)
        assert not _same_content(other, one)


def _equal(one, other):
    """By another way than the code's: the texts of leaves, and the items of containers."""
    if type(one) is not type(other):
        return False
    if type(one) is np.ndarray:
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        if getattr(one, "default_factory", None) is not getattr(other, "default_factory", None):
            return False
        return _equal(list(one), list(other)) and _equal(list(one.values()), list(other.values()))
    if isinstance(one, (set, frozenset)):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    if isinstance(one, (list, tuple, deque)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return repr(one) == repr(other)


@given(VALUES, VALUES)
def test_content_is_put_into_the_same_object_where_that_is_possible(value, other):
    present, wanted = copy.deepcopy(value), copied(other)[0]
    inner = [item for item in present if type(item) in (list, dict)] if type(present) is list else []
    first = present[0] if inner else None
    if not pour(present, wanted):
        assert type(present) is not type(wanted) or type(wanted) in (tuple, frozenset, np.ndarray)
        return
    assert is_same(wanted, present) or "nan" in repr(wanted)
    if inner and inner[0] is first and wanted and type(wanted[0]) is type(first):
        assert present[0] is first


class Loud(list):
    """A list whose own methods must not run."""

    def __iter__(self):
        raise AssertionError("recording runs code of the program")

    __eq__ = __len__ = __iter__
    __hash__ = None


class Other:
    pass


@given(
    st.recursive(
        st.one_of(LEAVES, st.builds(Other), st.builds(object), st.just(Other)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.one_of(KEYS, st.builds(Other)), inner, max_size=3),
            st.sets(KEYS, max_size=2),
        ),
    ),
    st.sets(st.sampled_from([Other, object, int, list])),
)
@example([Other()], {Other})
@example({Other(): 1}, {Other})
@example({1: Other()}, {Other})
def test_what_a_container_holds_is_the_same_in_c(value, kinds):
    table = dict.fromkeys(kinds, True)
    assert holds_any(value, table) == _holds_any(value, table)


def test_a_container_is_followed_once_it_holds_no_object_any_more():
    held = [1, Other()]
    for _ in range(2):  # the second time it is known that no copy holds such an object
        assert not is_followed(held) and not is_followed({1: held}) and copied(held) is None
    held.pop()
    assert is_followed(held) and is_followed({1: held})


def test_what_is_not_plain_or_too_large_is_not_followed():
    for value in (
        Loud(),
        [Loud()],
        {"a": object()},
        [lambda: 1],
        list(range(1000)),
        np.zeros(10_000),
        "text",
        3,
    ):
        assert copied(value) is None
    assert copied(np.array([object()], dtype=object)) is None


def test_numbers_that_are_equal_and_of_other_types_are_other_values_in_arrays():
    assert not is_same(np.array([1, 0]), np.array([1.0, 0.0]))
    assert not is_same({"a": [np.array([1, 2])]}, {"a": [np.array([1, 3])]})
    assert is_same({"a": [np.array([1, 2])]}, {"a": [np.array([1, 2])]})
    assert not is_same({"a": 1, "b": 2}, {"b": 2, "a": 1})


@dataclass
class Bed:
    name: str
    wet: float = 0.5
    notes: list = field(default_factory=list, compare=False)


@dataclass
class Gardener:
    agent_id: str


def test_records_in_containers_are_copied_and_compared_by_all_their_attributes():
    beds = [Bed("roses"), Bed("beans", 0.1)]
    kept = copied(beds)
    assert kept.has_records and kept.value == beds and kept.value[0] is not beds[0]
    assert is_same(kept.value, beds)
    beds[1].notes.append("dry")  # which the class itself does not compare
    assert not is_same(kept.value, beds)
    again = copied(beds)
    roses = beds[0]
    assert pour(beds, [Bed("leeks"), Bed("roses")])
    assert [bed.name for bed in beds] == ["leeks", "roses"] and beds[1] is roses
    assert not is_same(again.value, beds)


def test_numbers_of_numpy_beside_records_are_compared():
    values = [Bed("roses"), np.float64(0.5), {"wet": np.int64(3)}, bytearray(b"x")]
    kept = copied(values)
    assert is_same(kept.value, values)
    for place, other in ((1, np.float64(0.6)), (2, {"wet": np.int64(4)}), (3, bytearray(b"y"))):
        assert not is_same(kept.value, [*values[:place], other, *values[place + 1 :]])


def test_agents_and_members_of_sets_and_keys_are_no_records():
    assert copied([Gardener("a")]) is None
    assert copied({("a", Frozen(1)): 2}) is None
    assert copied({Frozen(1)}) is None
    assert copied([Frozen(1)]) is not None


@dataclass(frozen=True)
class Frozen:
    number: int


def test_a_set_in_a_list_that_changes_its_length_keeps_its_members():
    present = [1]
    assert pour(present, [1, {2, 3}])
    assert present == [1, {2, 3}]
