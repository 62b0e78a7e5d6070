"""Beginnings and ends find each other, and what is alone is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.model import Event
from Agent.event.ordering.start_end import pair_events


def event(seq, kind, *, run=None, span=None, second=0, session="s", **extra):
    return Event(
        timestamp=f"2026-11-20T10:30:{second:02d}.000000Z",
        id=f"aaaaaaaa-{seq}",
        schema_version=1,
        kind=kind,
        session_id=session,
        run_id=run,
        span_id=span,
        extra=extra,
    )


def numbers(pairs):
    return [(p.what, p.start and p.start.seq, p.end and p.end.seq) for p in pairs]


def test_runs_and_steps_pair_by_their_ids():
    events = [
        event(1, "run.started", run="r"),
        event(2, "step.started", run="r", step_id="a"),
        event(3, "step.started", run="r", step_id="b"),
        event(4, "step.started", run="q", step_id="a"),
        event(5, "step.finished", run="r", step_id="a"),
        event(6, "step.finished", run="q", step_id="a"),
        event(7, "run.finished", run="r"),
        event(8, "step.finished", run="r", step_id="b"),
        event(9, "log", run="r"),
    ]
    assert numbers(pair_events(events)) == [("run", 1, 7), ("step", 2, 5), ("step", 3, 8), ("step", 4, 6)]


def test_contexts_pair_by_the_span_that_the_entry_announces():
    events = [
        event(1, "context_entry", context_span="x"),
        event(2, "context_entry", context_span="y"),
        event(3, "context_exit", span="y"),
        event(4, "context_exit", span="x"),
    ]
    assert numbers(pair_events(events)) == [("context", 1, 4), ("context", 2, 3)]


def test_simulations_nest():
    events = [
        event(1, "simulation_start"),
        event(2, "simulation_start"),
        event(3, "simulation_end"),
        event(4, "simulation_end"),
    ]
    assert numbers(pair_events(events)) == [("simulation", 1, 4), ("simulation", 2, 3)]


def test_simulations_of_two_sessions_are_apart():
    events = [event(1, "simulation_start", session="s"), event(2, "simulation_end", session="t")]
    assert numbers(pair_events(events)) == [("simulation", 1, None), ("simulation", None, 2)]


def test_what_never_ended_and_what_never_began_are_told():
    events = [
        event(1, "run.started", run="r"),
        event(2, "run.finished", run="q"),
        event(3, "context_exit", span="z"),
    ]
    assert numbers(pair_events(events)) == [("run", 1, None), ("run", None, 2), ("context", None, 3)]


@pytest.mark.parametrize(
    ("first", "second"),
    [("step.started", "step.finished"), ("context_entry", "context_exit"), ("run.started", "run.finished")],
)
def test_events_that_do_not_say_what_they_belong_to_stay_alone(first, second):
    pairs = pair_events([event(1, first), event(2, second), event(3, first, step_id=["x"], context_span=5)])
    assert [(p.start is None, p.end is None) for p in pairs] == [(False, True), (True, False), (False, True)]


def test_key_that_begins_again_pairs_each_time():
    events = [event(n, kind, run="r") for n, kind in enumerate(["run.started", "run.finished"] * 2, 1)]
    assert numbers(pair_events(events)) == [("run", 1, 2), ("run", 3, 4)]


def test_duration_is_the_time_between_the_two():
    (pair,) = pair_events([event(1, "run.started", run="r"), event(2, "run.finished", run="r", second=3)])
    assert pair.duration_us == 3_000_000
    (alone,) = pair_events([event(1, "run.started", run="r")])
    assert alone.duration_us is None


@given(st.data())
def test_every_event_of_a_pairing_kind_is_in_one_pair_whatever_the_order(data):
    kinds = [
        "run.started",
        "run.finished",
        "simulation_start",
        "simulation_end",
        "context_entry",
        "context_exit",
        "log",
    ]
    rows = data.draw(st.lists(st.tuples(st.sampled_from(kinds), st.sampled_from(["x", "y", None]))))
    events = [event(n, kind, run=key, span=key, context_span=key) for n, (kind, key) in enumerate(rows, 1)]
    pairs = pair_events(data.draw(st.permutations(events)))
    assert pairs == pair_events(events)
    told = sorted(e.seq for p in pairs for e in (p.start, p.end) if e is not None)
    assert told == [e.seq for e in events if e.kind != "log"]
