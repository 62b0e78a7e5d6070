"""A generator that agents and the main loop share is recorded by positions in its stream, of no agent."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent import trace_agent_action
from Agent.record.sources.generators import state_at, twin_of
from Agent.record.state import generators
from Agent.record.state.generators import WordCount


class Patient:
    agent_role = "patient"

    def __init__(self, number: int, rng: random.Random) -> None:
        self.agent_id, self.marker, self.rng = f"patient_{number}", 5.0, rng

    @trace_agent_action
    def live(self) -> float:
        self.marker += self.rng.gauss(0, 0.2)
        return self.marker


class Lab:
    agent_id, agent_role = "lab", "lab"

    def __init__(self) -> None:
        self.samples = 0

    @trace_agent_action
    def measure(self) -> int:
        self.samples += 1
        return self.samples


def _ward(rng: random.Random, rounds: int, draws: int = 1) -> None:
    lab, patients = Lab(), [Patient(number, rng) for number in range(3)]
    for _ in range(rounds):
        for patient in patients:
            patient.live()
            for _ in range(draws):
                rng.random()
            lab.measure()


def _moves(recorded) -> list[dict]:
    return [each for each in recorded.of("state_change") if each["extra"]["trigger"] == "held"]


def test_what_the_main_loop_draws_takes_little_room(recorded):
    _ward(random.Random(7), rounds=100)
    moves = _moves(recorded)
    assert len(moves) > 250
    assert sum(len(str(each)) for each in moves) / len(moves) < 500
    assert len(recorded.of("source.state")) == 1


def test_what_the_main_loop_draws_is_told_of_no_agent(recorded):
    _ward(random.Random(7), rounds=10)
    assert _moves(recorded)
    assert {each["extra"].get("agent_id") for each in _moves(recorded)} == {None}


def test_a_change_of_an_object_is_told_of_an_agent_that_holds_it(recorded):
    class World:
        time = 0

    class Walker:
        agent_id = "walker"

        def __init__(self) -> None:
            self.world = World()
            self.world.time = 0

        @trace_agent_action
        def go(self) -> int:
            return self.world.time

    walker, lab = Walker(), Lab()
    for time in range(5):
        walker.go()
        walker.world.time = time
        lab.measure()
    assert {each["extra"]["agent_id"] for each in _moves(recorded)} == {"walker"}


@pytest.mark.parametrize("draws", [1, 400, 60_000])
def test_each_position_leads_to_the_state_that_the_generator_had(recorded, draws):
    rng, states = random.Random(7), []
    patient, lab = Patient(0, rng), Lab()
    for number in range(6):
        patient.live()
        for _ in range(draws):
            rng.random()
        if number == 3:
            rng.seed(9)
        states.append(rng.getstate())
        lab.measure()
    found = [each["extra"]["moved"]["1"][""]["now_at"] for each in _moves(recorded)]
    bases = {each["id"]: each["extra"]["value"] for each in recorded.of("source.state")}
    assert len(found) == len(states)
    for state, (event_id, words, *spare) in zip(states, found, strict=True):
        version, numbers, gauss = bases[event_id]
        base = random.Random(0)
        base.setstate((version, tuple(numbers), gauss))
        assert state_at(base, [words, 0, *spare]) == state


STEPS = st.one_of(
    st.tuples(st.just("random"), st.just(())),
    st.tuples(st.just("getrandbits"), st.tuples(st.integers(1, 60_000))),
    st.tuples(st.just("gauss"), st.just((0, 1))),
    st.tuples(st.just("seed"), st.tuples(st.integers(0, 3))),
    st.tuples(st.just("back"), st.just(())),
)


@pytest.mark.further
@pytest.mark.parametrize("is_quick", [True, False])
@given(st.integers(0, 700), st.lists(STEPS, max_size=8))
def test_a_count_is_right_or_none(is_quick, begin, steps):
    with pytest.MonkeyPatch.context() as patch:
        if not is_quick:
            patch.setattr(generators, "native", None)
        rng = random.Random(1)
        for _ in range(begin):
            rng.getrandbits(32)
        base = rng.getstate()
        count, is_known = WordCount(twin_of(rng), "x-1"), True
        for name, given_to in steps:
            if name == "back":
                rng.setstate(base)
            else:
                getattr(rng, name)(*given_to)
            is_known = is_known and name in {"random", "getrandbits", "gauss"}
            words = count.position_of(rng)
            assert words is not None or not is_known
            if words is None:
                return
            start = random.Random(0)
            start.setstate(base)
            assert state_at(start, [words, 0])[:2] == rng.getstate()[:2]


def test_a_generator_without_a_state_in_the_log_is_written_in_full(recorded, monkeypatch):
    monkeypatch.setattr("Agent.record.sources.generators.tell_state", lambda *_: "")
    rng = random.Random(7)
    _ward(rng, rounds=2)
    assert all(len(each["extra"]["moved"]["1"][""]["now"][1]) == 625 for each in _moves(recorded))


def test_an_interrupted_count_begins_anew(recorded, monkeypatch):
    rng = random.Random(7)
    patient, lab = Patient(0, rng), Lab()
    for number in range(3):
        patient.live()
        for _ in range(400):
            rng.random()
        with monkeypatch.context() as patch:
            if number == 1:
                patch.setattr(WordCount, "position_of", lambda *_: 1 / 0)
            lab.measure()
    found = [each["extra"]["moved"]["1"][""] for each in _moves(recorded)]
    assert ["now_at" in each for each in found] == [True, False, True]
    assert found[2]["now_at"][1] == 0


def test_a_description_shows_no_numbers_of_a_state():
    from Agent.render.layout import describe

    moves = {"": {"was": "a.1.None", "now_at": ["x-1", 4]}}
    event = SimpleNamespace(kind="state_change", state=None, extra={"trigger": "held", "moved": {"1": moves}})
    assert describe(event) == "generator moved on"
    moves = {"rng": {"now_at": ["x-1", 4]}, "time": {"was": 1, "now": 2}}
    event = SimpleNamespace(kind="state_change", state=None, extra={"trigger": "held", "moved": {"1": moves}})
    assert describe(event) == "moved={1: {rng: moved on, time: {was: 1, now: 2}}}"
