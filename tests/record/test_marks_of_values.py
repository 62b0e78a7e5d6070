"""What holds the same content has the same mark, and each change in it shows."""

from __future__ import annotations

import collections
import datetime
import enum
import functools
import threading
import types
import typing
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.values.values import to_json
from Agent.record.encode.native import native

pytestmark = pytest.mark.skipif(native is None, reason="the native part was not built")


class Mood(enum.Enum):
    CALM = "calm"
    LOUD = "loud"


class Box:
    def __init__(self, inside=None, label="box"):
        self.inside, self.label = inside, label

    def say(self):
        return self.label


class Slotted:
    __slots__ = ("first", "second")

    def __init__(self, first=None):
        self.first = first


class Table(dict):
    """A dict with attributes."""


class Row(list):
    """A list with attributes."""


class Group(set):
    """A set with attributes."""


class Place(typing.NamedTuple):
    x: object
    y: object


def following(inside):
    """Return a function whose content is what its closure and its default hold."""

    def follow(more=inside):
        return inside, more

    return follow


def nobody(_each):
    return None


def mark(value, fields=None, agent_of=nobody):
    return native.mark(value, {} if fields is None else fields, agent_of)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(max_size=9),
    st.binary(max_size=9), st.sampled_from([*Mood, int, Box, 2**64, np.int64(3), np.float32(0.5), np.dtype("i4")]),
)  # fmt: skip
KEYS = st.one_of(st.text(max_size=2), st.integers(0, 5), st.tuples(st.integers(0, 3)), st.sampled_from(Mood))


def holding(inner):
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(collections.deque),
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3).map(lambda held: collections.defaultdict(list, held)),
        st.sets(KEYS, max_size=3),
        st.builds(Box, inner),
        st.builds(Slotted, inner),
        st.lists(st.integers(0, 9), max_size=3).map(np.array),
        st.dictionaries(KEYS, inner, max_size=3).map(Table),
        st.dictionaries(KEYS, st.integers(0, 9), max_size=3).map(collections.Counter),
        st.lists(inner, max_size=3).map(Row),
        st.sets(KEYS, max_size=3).map(Group),
        st.builds(Place, inner, inner),
        st.builds(following, inner),
        st.builds(Box, inner).map(lambda box: box.say),
    )


VALUES = st.recursive(LEAVES, holding, max_leaves=12)


def changes_in(value):
    """Yield after each change of something in a value, and undo it."""
    seen, waiting = {}, [value]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        kind = type(each)
        if kind in (list, tuple, collections.deque, Row, Place):
            waiting += each
        elif kind in (dict, collections.defaultdict, Table):
            waiting += each.values()
        elif kind is types.FunctionType:
            waiting += [cell.cell_contents for cell in each.__closure__]
        elif kind is types.MethodType:
            waiting.append(each.__self__)
        elif kind is Box:
            waiting += vars(each).values()
        elif kind is Slotted:
            waiting.append(each.first)
        if kind in (Table, Row, Group):
            each.noted = 1
            yield
            del each.noted
        if kind is types.FunctionType:
            defaults, each.__defaults__ = each.__defaults__, ("other",)
            yield
            each.__defaults__ = defaults
            name, each.__name__ = each.__name__, "other"
            yield
            each.__name__ = name
            each.__doc__ = "It says more."
            yield
            each.__doc__ = None
            each.noted = 1
            yield
            del each.noted
            inside, each.__closure__[0].cell_contents = each.__closure__[0].cell_contents, "other"
            yield
            each.__closure__[0].cell_contents = inside
        if kind in (list, collections.deque, Row):
            each.append(0)
            yield
            each.pop()
        elif kind in (dict, collections.defaultdict, Table, collections.Counter):
            each["added"] = 1
            yield
            each["added"] = True
            yield
            del each["added"]
        elif kind in (set, Group):
            each.add("added")
            yield
            each.remove("added")
        elif kind is Box:
            label, each.label = each.label, "bax"
            yield
            each.label = label
            each.more = None
            yield
            del each.more
        elif kind is Slotted:
            each.second = 1
            yield
            del each.second
        elif kind is np.ndarray and each.size:
            each[0] += 1
            yield
            each[0] -= 1


@given(VALUES)
def test_a_mark_stays_the_same_until_something_in_the_value_changes(value):
    before, told = mark(value), to_json(value, "").json
    assert type(before) is bytes and len(before) == 16
    met = {before}
    for _ in changes_in(value):
        met.add(now := mark(value))
        assert now != before
    assert mark(value) == before
    assert to_json(value, "").json == told


@given(st.lists(LEAVES, min_size=2, max_size=2))
def test_scalars_have_one_mark_where_they_are_written_alike(pair):
    box = Box()
    marks, written = [], []
    for box.inside in pair:
        marks.append(mark(box))
        written.append((type(box.inside), repr(box.inside)))
    assert (marks[0] == marks[1]) == (written[0] == written[1])


@pytest.mark.parametrize(
    "value",
    [
        len,
        (number for number in [1]),
        threading.Lock(),
        datetime.datetime(2026, 1, 1),
        weakref.ref(Box),
        collections.OrderedDict(a=1),
        collections.defaultdict(functools.partial(int)),
        np.array([object()]),
        np.datetime64("2026-01-01"),
        np.random.default_rng(1),
        following(threading.Lock()),
        type("Reduced", (dict,), {"__reduce__": dict.__reduce__})(),
        type("Ended", (list,), {"__del__": len})(),
        list(range(5_000)),
        "x" * 2_000_000,
        b"x" * 2_000_000,
        np.zeros(500_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_may_change_unseen_or_is_large_has_no_mark(value):
    assert mark(value) is None
    assert mark(Box([value])) is None


def test_other_fields_count_where_they_hold_an_object():
    inner = Box()
    value = Box([inner])
    before = mark(value, {"value": value, "other": 1})
    assert mark(value, {"value": value, "other": 2}) == before
    assert mark(value, {"value": value, "other": inner}) != before
    assert mark(value, collections.OrderedDict()) is None


def test_the_order_of_an_array_in_memory_counts():
    held = np.arange(9).reshape(3, 3)
    box = Box(held.transpose())
    before = mark(box)
    assert before is not None
    held[0, 1] = 7
    assert mark(box) != before
    assert mark(held[::2]) is None


def test_agents_count_by_their_id():
    agent, names = Box(), {}
    value = Box([agent])
    names[id(agent)] = "ann"

    def agent_of(each):
        return names.get(id(each))

    before = mark(value, {}, agent_of)
    agent.label = "other"
    assert mark(value, {}, agent_of) == before
    names[id(agent)] = "bob"
    assert mark(value, {}, agent_of) != before
    names.clear()
    assert mark(value, {}, agent_of) != before
    assert mark(value, {}, lambda each: 3 if each is agent else None) is None
    assert mark(value, {}, lambda each: 1 / 0) is None


def test_a_class_with_other_attributes_is_another():
    class Kind:
        pass

    value = [Kind()]
    first = mark(value)
    assert mark(value) == first
    Kind.name = "kind"
    getattr(value[0], "name")
    assert mark(value) != first


def test_a_mark_keeps_nothing_alive_and_values_that_hold_themselves_have_one():
    value = Box()
    value.inside = [value, (value,)]
    gone = weakref.ref(value)
    assert mark(value) == mark(value)
    value.inside = None
    del value
    assert gone() is None
