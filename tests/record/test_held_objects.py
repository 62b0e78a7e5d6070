"""Where code outside of actions changes what agents hold, recording finds it before the next action."""

from __future__ import annotations

import copy
import gc
import random
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent import trace_agent_action
from Agent.record.encode.native import native
from Agent.record.state import generators, held_objects
from Agent.record.state.agent_writes import BetweenActions
from Agent.record.state.generators import generator_mark, generators_in_fields
from Agent.record.state.held_objects import HeldObjects

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True),
    st.text(max_size=8),
    st.just("x" * 9000),
)


class Box:
    pass


@dataclass
class Holder:
    inner: object


CALL = SimpleNamespace(
    binding=SimpleNamespace(agent_id="a"), tracker=None, spec=SimpleNamespace(is_async=False)
)


def _is_box(value: object) -> bool:
    return isinstance(value, Box)


def _held(box: object, more: dict | None = None):
    objects = BetweenActions({}, is_on=True)
    return objects, tuple(
        objects.objects.of(Holder(box), {"box": box, **(more or {})}, _is_box, is_first=True).values()
    )


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and (one == other or (one != one and other != other))


def _is_long(value: object) -> bool:
    return type(value) is str and len(value) > 4096


@given(st.lists(st.tuples(st.sampled_from("abc"), SCALARS, st.booleans()), max_size=12))
def test_each_change_between_two_actions_is_told_with_both_values_and_with_what_actions_left(writes):
    box = Box()
    objects, held = _held(box)
    acted: dict[str, object] = {}
    for name, value, is_inside in writes:
        before = getattr(box, name, box)
        if is_inside:
            assert objects.begins(held, CALL) is None
            setattr(box, name, value)
            objects.ended(held, CALL)
            if held[0].is_moving and not _same(before, value):
                acted[name] = value
            continue
        setattr(box, name, value)
        found = objects.begins(held, CALL)
        moved = {} if found is None else found.moved
        objects.ended(held, CALL)
        told = moved.get(held[0].number, {})
        is_told = not (_same(before, value) or _is_long(value))
        if is_told:
            acted.pop(name, None)
            left = {other: each["was"] for other, each in told.items() if other != name}
            assert left.keys() == {other for other, each in acted.items() if not _is_long(each)}
            assert all(_same(each, acted[other]) for other, each in left.items())
            acted.clear()
            assert _same(told[name]["now"], value)
            assert "was" not in told[name] or _same(told[name]["was"], before)
        else:
            assert told == {}
            if _is_long(value):
                acted.pop(name, None)  # what the action left is there no more, and nothing tells what is


@pytest.mark.parametrize(
    "make",
    [
        lambda: random.Random(3),
        lambda: np.random.default_rng(3),
        lambda: np.random.RandomState(3),
        lambda: np.random.Generator(np.random.MT19937(3)),
        lambda: np.random.Generator(np.random.Philox(3)),
        lambda: np.random.Generator(np.random.SFC64(3)),
        lambda: np.random.Generator(np.random.PCG64DXSM(3)),
    ],
)
def test_the_mark_of_a_generator_is_another_after_each_draw_and_the_same_in_the_same_state(make):
    one, other = make(), make()
    draws = ["random"] if isinstance(one, random.Random) else ["random", "standard_normal"]
    marks = [generator_mark(one)]
    for number in range(700):
        assert generator_mark(other) == marks[-1]
        name = draws[number % len(draws)]
        getattr(one, name)()
        getattr(other, name)()
        marks.append(generator_mark(one))
    assert len(set(marks)) == len(marks)


def test_half_a_word_is_a_draw_too():
    generator = np.random.default_rng(1)
    marks = []
    for _ in range(4):
        marks.append(generator_mark(generator))
        generator.integers(0, 100, dtype=np.int32)
    assert len(set(marks)) == 4


def test_generators_are_found_in_containers_each_with_its_place():
    one, two, three = random.Random(1), random.Random(2), np.random.default_rng(3)
    fields = {"a": one, "b": {"x": [two], "y": (three, one)}, "c": Holder(two), "d": [1] * 2000}
    found = dict(generators_in_fields(fields))
    assert found == {"a": one, "b#0": two, "b#1": three, "b#2": one, "c#0": two}


def test_two_actions_at_the_same_time_tell_nothing_and_the_next_one_again_does():
    box = Box()
    objects, held = _held(box)
    assert objects.begins(held, CALL) is None
    box.a = 1
    assert objects.begins(held, CALL) is None
    objects.ended(held, CALL)
    objects.ended(held, CALL)
    box.a = 2
    found = objects.begins(held, CALL)
    assert found is not None
    assert found.moved == {held[0].number: {"a": {"was": 1, "now": 2}}}


def test_threads_that_look_at_the_same_time_harm_nothing():
    boxes = [Box() for _ in range(40)]
    objects = BetweenActions({}, is_on=True)
    failed: list[BaseException] = []

    def act(box: Box) -> None:
        try:
            for number in range(200):
                held = objects.objects.of(box, {"box": box}, _is_box, is_first=True)
                objects.begins(tuple(held.values()), CALL)
                box.n = number
                objects.ended(tuple(held.values()), CALL)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=act, args=(box,)) for box in boxes]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []


class Own(Mapping):
    """A mapping of a program, whose `values` is a generator without a length."""

    def __getitem__(self, key):
        return 1

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1

    def values(self):
        yield from [random.Random(1)]


class Endless:
    """Answers every question about itself with another one of its kind."""

    def __getattr__(self, name):
        return Endless()


class Keeper:
    answers = Endless()

    def __init__(self):
        self.agent_id, self.agent_role = "keeper", "keeper"
        self.own, self.endless = Own(), Endless()

    @trace_agent_action
    def keep(self, number):
        return number


def test_what_a_program_holds_costs_no_event(recorded):
    keeper = Keeper()
    for number in range(30):
        keeper.keep(number)
    results = [each["extra"]["result"] for each in recorded.of("agent_action")]
    assert results == list(range(30))
    assert recorded.of("log.dropped") == []


def test_actions_of_others_count_no_longer_once_the_first_ones_moved_nothing():
    box = Box()
    objects, held = _held(box)
    for _ in range(40):  # two at a time, so that one is open whenever one ends
        objects.begins(held, CALL)
        objects.begins(held, CALL)
        objects.ended(held, CALL)
        objects.ended(held, CALL)
    assert not objects.is_watching


CONTENT = st.one_of(
    SCALARS,
    st.lists(st.integers(0, 3), max_size=3),
    st.tuples(st.integers(0, 3)),
    st.dictionaries(st.sampled_from("xy"), st.integers(0, 3), max_size=2),
    st.just(list(range(700))),
)


@given(st.lists(st.tuples(st.sampled_from("ab"), CONTENT, st.booleans()), max_size=12))
def test_an_object_to_which_the_moves_are_made_is_what_the_other_one_is(writes):
    box, twin = Box(), Box()
    objects, held = _held(box)
    lost = set()
    for name, value, is_inside in writes:
        if type(value) is list and len(value) == 700:
            lost.add(name)  # nobody follows it from here on, until it has another type
        elif type(value) is not list:
            lost.discard(name)
        if is_inside:  # the twin's own code does it, too
            objects.begins(held, CALL)
            setattr(box, name, value)
            setattr(twin, name, value)
            objects.ended(held, CALL)
            continue
        setattr(box, name, value)
        found = objects.begins(held, CALL)
        objects.ended(held, CALL)
        for moved, move in (found.moved if found else {}).get(held[0].number, {}).items():
            if "now" in move:
                setattr(twin, moved, move["now"])
        if name not in lost and not _is_long(value):
            assert repr(getattr(twin, name)) == repr(value)


class Slotted:
    __slots__ = ("air", "box")


@pytest.mark.parametrize("gone", ["the value", "its agent"])
def test_a_value_without_weak_references_is_not_kept_alive(gone):
    agent, box = Box(), Box()
    agent.kit = Slotted()
    agent.kit.air, agent.kit.box = 1, box
    objects = BetweenActions({}, is_on=True)
    (held,) = objects.objects.of(
        agent, vars(agent), lambda each: type(each) is Slotted, is_first=True
    ).values()
    assert held.value() is agent.kit
    agent.kit.air = 2
    assert held.look() == {"air": {"was": 1, "now": 2}}
    seen = weakref.ref(box)
    del box
    if gone == "the value":
        agent.kit = None
    else:
        del agent
    gc.collect()
    assert (held.value(), seen()) == (None, None)


def _held_by_one(objects: HeldObjects, value: object) -> list[int]:
    held = objects.of(Holder(value), {"box": value}, lambda _: True, is_first=True)
    return [each.number for each in held.values()]


def test_where_all_places_are_taken_one_that_is_gone_makes_room_at_once():
    objects = HeldObjects(is_on=True)
    boxes = [Box() for _ in range(256)]
    taken = [_held_by_one(objects, box) for box in boxes]
    assert taken == [[number] for number in range(1, 257)]
    late = Box()
    assert [_held_by_one(objects, late) for _ in range(100)] == [[]] * 100
    assert _held_by_one(objects, boxes[7]) == [8], "a known one is still found"
    del boxes[0]
    gc.collect()
    assert _held_by_one(objects, late) == [257]
    assert _held_by_one(objects, Box()) == []


def test_where_all_places_are_taken_one_without_weak_references_makes_room_after_some_refusals():
    objects = HeldObjects(is_on=True)
    agents = [Holder(Slotted()) for _ in range(256)]
    for agent in agents:
        agent.inner.air = 1
        assert objects.of(agent, vars(agent), lambda _: True, is_first=True)
    agents[3].inner = None
    late = Box()
    assert [257] in [_held_by_one(objects, late) for _ in range(64)]


CONTENTS = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3),
    st.tuples(SCALARS, SCALARS),
    st.sets(st.integers(0, 3)),
    st.lists(st.lists(st.integers(0, 2), max_size=2), max_size=2),
)


def moves_of(turns, *, is_quick, most_looks=1000):
    """What the looks at one object find whose attributes are set anew, or drawn from, before each."""
    box = Box()
    held = held_objects.HeldObject(1, box)
    held.looks_left = most_looks
    found = []
    for turn in turns:
        for name, value in turn.items():
            present = getattr(box, name, None)
            if type(present) is type(value) is list:
                present[:] = value
            elif type(present) is np.random.Generator is not type(value):
                present.spawn(1) if value == 3 else present.random()
            else:
                setattr(box, name, value)
        unlike = native.unlike_before if is_quick else lambda objects, *_: objects
        looked_at = unlike((held,), generators.position_of, None)
        moves = held.look() if looked_at else None
        found.append(
            {
                name: {**move, "now": repr(move.get("now")).partition(" at ")[0]}
                for name, move in (moves or {}).items()
            }
        )
    return found, held.looks_left


@pytest.mark.skipif(native is None, reason="built without its native part")
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(("one", "two", "three")),
            st.one_of(CONTENTS, st.integers(0, 3).map(np.random.default_rng)),
            max_size=3,
        ),
        max_size=6,
    ),
    st.integers(0, 20),
)
def test_a_look_in_one_call_of_c_finds_what_looks_one_by_one_find(turns, most_looks):
    doubled = [turn for turn in turns for _ in range(2)]  # nothing has moved at every second look
    quick, one_by_one = (
        moves_of(copy.deepcopy(doubled), is_quick=is_quick, most_looks=most_looks)
        for is_quick in (True, False)
    )
    assert quick == one_by_one


@pytest.mark.parametrize("is_quick", [True, False])
@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_a_generator_that_spawns_has_moved_once(bits, is_quick):
    turns = [{"one": np.random.Generator(bits(3))}, {}, {"one": 1}, {}, {"one": 3}, {}, {"one": 3}, {}]
    found, _ = moves_of(turns, is_quick=is_quick)
    assert [len(told) for told in found] == [1, 0, 1, 0, 1, 0, 1, 0]


def test_a_mark_of_an_older_recording_does_not_count_children():
    generator, other = np.random.default_rng(3), np.random.RandomState(3)
    mark = generators.generator_mark(generator)
    older = mark.rpartition(".")[0]
    assert generators.is_mark_of(generator, mark) and generators.is_mark_of(generator, older)
    generator.spawn(2)
    assert generators.is_mark_of(generator, older) and not generators.is_mark_of(generator, mark)
    generator.random()
    assert not generators.is_mark_of(generator, older)
    assert generators.is_mark_of(other, generators.generator_mark(other))
    assert not generators.is_mark_of(other, generators.generator_mark(other).rpartition(".")[0])


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_list_that_outgrows_what_is_followed_is_lost_once(is_quick):
    turns = [{"one": [0] * 150, "two": 1}, {}, {"one": [0] * 5000}, {}, {"two": 2}, {}]
    found, _ = moves_of(turns, is_quick=is_quick)
    assert [str(told).count("lost") for told in found] == [0, 0, 1, 0, 0, 0]
    assert "two" in found[4]
