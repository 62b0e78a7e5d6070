"""Marks of values: equal marks promise equal JSON."""

import itertools
from collections import defaultdict
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import hostile_values, json_values, restorable_values

from Agent.event.values import content_digest, opaque
from Agent.event.values.marks import mark_of
from Agent.event.values.reading import Reading
from Agent.event.values.values import to_json


class World:
    """Leads to other agents, and was too large so often that it is recorded by its name."""

    def __init__(self, **attributes):
        self.agents = []
        vars(self).update(attributes)


class Member:
    """An agent."""

    def __init__(self, name):
        self.agent_id = name


def agent_of(value):
    return getattr(value, "agent_id", None) if isinstance(value, Member) else None


@pytest.fixture(autouse=True)
def large_worlds(monkeypatch):
    reference = content_digest.Content(content_digest.OpaqueKind.REFERENCE, "environment World")
    monkeypatch.setitem(opaque._in_vain, World, opaque._InVain(reference, 100, 0))


def json_of(value):
    dumped = to_json(value, "", agent_of=agent_of, reading=Reading(owner="a", keeps_content=True))
    return dumped.json, dumped.types


def counters(first, second=None):
    """A list of iterators, the same one twice where only one is given."""
    one = itertools.count(first)
    return [one, one if second is None else itertools.count(second)]


def registry(factory, **items):
    return defaultdict(factory, items)


MAKERS = [
    lambda: 1,
    lambda: True,
    lambda: 1.0,
    lambda: -0.0,
    lambda: 0.0,
    lambda: float("nan"),
    lambda: "1",
    lambda: b"1",
    lambda: None,
    lambda: [1, 2],
    lambda: (1, 2),
    lambda: [1, [2]],
    lambda: [[1], 2],
    lambda: {1, 2},
    lambda: frozenset({1, 2}),
    lambda: {"a": 1, "b": 2},
    lambda: {"b": 2, "a": 1},
    lambda: {1: "a"},
    lambda: {"1": "a"},
    lambda: registry(int, a=1),
    lambda: registry(float, a=1),
    lambda: registry(partial(itertools.count, 1), a=itertools.count(4)),
    lambda: registry(partial(itertools.count, 2), a=itertools.count(4)),
    lambda: registry(partial(itertools.count, 1), a=itertools.count(5)),
    lambda: counters(3),
    lambda: counters(3, 3),
    lambda: counters(3, 4),
    lambda: itertools.repeat(3, 2),
    lambda: Member("one"),
    lambda: Member("two"),
    lambda: World(steps=1),
    lambda: World(steps=2),
    lambda: World(steps=True),
    lambda: World(steps=1, size=3),
    lambda: {World(steps=1): 1},
    lambda: int,
    lambda: World,
    lambda: {"x": World(steps=1), "y": [Member("one"), None]},
]


def test_each_of_these_values_has_a_mark_and_others_have_other_marks():
    made = [(mark_of(make(), agent_of), json_of(make())) for make in MAKERS]
    assert [number for number, (mark, _) in enumerate(made) if mark is None] == []
    for (mark, shown), (other_mark, other_shown) in itertools.combinations(made, 2):
        assert (mark == other_mark) <= (shown == other_shown), (shown, other_shown)
    assert all(mark_of(make(), agent_of) == mark for make, (mark, _) in zip(MAKERS, made, strict=True))


def test_a_change_in_place_changes_the_mark():
    numbers, held, world = itertools.count(1), {"a": [1]}, World(steps=1)
    value = {"numbers": numbers, "held": held, "world": world}
    seen = [mark_of(value, agent_of)]
    for change in (lambda: next(numbers), lambda: held["a"].append(2), lambda: vars(world).update(steps=2)):
        change()
        seen.append(mark_of(value, agent_of))
    assert None not in seen and all(one != other for one, other in itertools.combinations(seen, 2))


def test_an_object_that_counts_by_all_that_it_holds_has_none():
    class Simple:
        def __init__(self):
            self.x = 1

    cycle = []
    cycle.append(cycle)

    class Local:
        pass

    for value in (Simple(), [Simple()], cycle, list(range(1_000)), lambda: 1, partial(print, []), Local):
        assert mark_of(value, agent_of) is None


@given(st.lists(st.one_of(restorable_values, json_values), min_size=2, max_size=2))
def test_values_with_one_mark_have_one_json(pair):
    marks = [mark_of(value, agent_of) for value in pair]
    assert marks[0] is None or marks[0] != marks[1] or json_of(pair[0]) == json_of(pair[1])


@given(hostile_values)
def test_no_value_makes_a_mark_raise(recipe):
    mark_of([recipe(), 1], agent_of)
