"""Windows: each is what counting line by line gives, at any zoom, in time and in ticks."""

from __future__ import annotations

import bisect
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.known_truth import make_session
from view_kit import Slow, decoded, viewed

from Agent.errors import UsageError
from Agent.view.snapshot import MOST_EVENTS, TickAxis


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A session of more events than are answered one by one, its view, and its lines."""
    root = tmp_path_factory.mktemp("large")
    truth = make_session(root, events=9_000, agents=14, seed=3)
    (session,) = root.glob("session_*/")
    assert truth.events > MOST_EVENTS
    with viewed(session) as view:
        yield view, Slow(session)


def bins_of(slow: Slow, times: list[float], agents: list[str], *, errors: bool) -> np.ndarray:
    """Count events between edges, the last one inclusive, one line after the other."""
    counts = np.zeros((len(agents), len(times) - 1), int)
    lane_of = {agent: lane for lane, agent in enumerate(agents)}
    for t, agent, is_error, _ in slow.rows:
        if agent in lane_of and (is_error or not errors) and times[0] <= t <= times[-1]:
            counts[lane_of[agent], min(bisect.bisect_right(times, t) - 1, len(times) - 2)] += 1
    return counts


def levels(counts: np.ndarray) -> np.ndarray:
    most = counts.max()
    if most <= 1:
        return counts * 127
    return np.array(
        [[0 if n == 0 else 1 + round(126 * math.log(n) / math.log(most)) for n in row] for row in counts]
    )


ranges = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@pytest.mark.integration
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    part=ranges, px=st.integers(1, 300), chosen=st.sets(st.integers(0, 13), min_size=1), summed=st.booleans()
)
def test_a_window_is_what_counting_line_by_line_gives(large, part, px, chosen, summed):
    view, slow = large
    lanes = sorted(chosen, key=lambda lane: (lane * 7) % 13)  # in any order
    agents = [view.overview()["lanes"][lane]["agent"] for lane in lanes]
    t0, t1 = (each * slow.length_us for each in part)
    head, columns = decoded(view.window(t0=t0, t1=t1, px=px, lanes=lanes, sum_lanes=summed))
    inside = sum(t0 <= t <= t1 and agent in agents for t, agent, _, _ in slow.rows)
    assert (head["from"], head["to"], head["px"]) == (0, 1 if summed else len(lanes), px)
    if head["mode"] == "events":
        _same_events(view, slow, t0, t1, agents, columns)
        assert not summed
        return
    assert summed or inside > MOST_EVENTS - 10 * len(agents)
    edges = np.linspace(t0, t1, px + 1).tolist()
    counts, errors = (bins_of(slow, edges, agents, errors=each) for each in (False, True))
    if summed:
        counts, errors = counts.sum(axis=0, keepdims=True), errors.sum(axis=0, keepdims=True)
    assert columns["activity"].tolist() == levels(counts).tolist()
    assert columns["has_error"].tolist() == (errors > 0).tolist()


def _same_events(view, slow, t0, t1, agents, columns):
    last = max((t for t, *_ in slow.rows if t <= t1), default=-1)
    wanted = [
        (t, agents.index(agent), round(duration))
        for t, agent, _, duration in slow.rows
        if agent in agents and (t0 <= t <= t1 or (t > t1 and last >= 0 and t - duration <= last))
    ]
    found = zip(columns["t"].tolist(), columns["lane"].tolist(), columns["duration"].tolist(), strict=True)
    assert sorted((int(t), lane, round(duration)) for t, lane, duration in found) == sorted(wanted)


@pytest.mark.further
def test_every_lane_and_the_sum_of_all_of_a_large_window_are_counted(large):
    view, slow = large
    head, columns = decoded(view.window(t0=0, t1=slow.length_us, px=97))
    agents = [lane["agent"] for lane in view.overview()["lanes"]]
    edges = np.linspace(0, slow.length_us, 98).tolist()
    counts = bins_of(slow, edges, agents, errors=False)
    assert head["mode"] == "bins" and (head["from"], head["to"]) == (0, len(agents))
    assert counts.sum() == len(slow.events)
    assert columns["activity"].tolist() == levels(counts).tolist()
    _, summed = decoded(view.window(t0=0, t1=slow.length_us, px=97, sum_lanes=True))
    assert summed["activity"].tolist() == levels(counts.sum(axis=0, keepdims=True)).tolist()


@pytest.mark.further
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=ranges, px=st.integers(1, 200))
def test_bins_in_ticks_are_equally_wide_in_ticks(large, part, px):
    view, slow = large
    ticks = slow.ticks()
    places = [ticks[0][0] - 1] * (ticks[0][1] > 0) + [tick for tick, _ in ticks] + [ticks[-1][0] + 1]
    times = [0] * (ticks[0][1] > 0) + [t for _, t in ticks] + [max(slow.length_us, ticks[-1][1] + 1)]
    u0, u1 = (places[0] + each * (places[-1] - places[0]) for each in part)
    head, columns = decoded(view.window(t0=u0, t1=u1, px=px, axis="tick", sum_lanes=True))
    edges = np.interp(np.linspace(u0, u1, px + 1), places, times).tolist()
    agents = [lane["agent"] for lane in view.overview()["lanes"]]
    counts = bins_of(slow, edges, agents, errors=False).sum(axis=0, keepdims=True)
    assert columns["activity"].tolist() == levels(counts).tolist()
    assert (head["t0"], head["t1"]) == (u0, u1)


def test_the_edges_of_an_axis_of_ticks_are_those_that_the_contract_names():
    axis = TickAxis([[5, 100], [7, 300]], 1_000)
    assert axis.times(np.array([4, 4.5, 5, 6, 7, 7.5, 8])).tolist() == [0, 50, 100, 200, 300, 650, 1_000]
    assert not TickAxis([], 1_000)
    # ticks that begin again are passed over, as the browser does
    assert TickAxis([[5, 100], [4, 200], [6, 300]], 400).times(np.array([5.5])).tolist() == [200]


def test_a_small_window_has_flags_kinds_and_rows_of_its_events(session: Path):
    slow = Slow(session)
    with viewed(session) as view:
        head, columns = decoded(view.window(t0=0, t1=slow.length_us, px=800))
        told = view.overview()
    assert head["mode"] == "events" and head["count"] == len(slow.events)
    assert columns["row"].tolist() == list(range(len(slow.events)))
    for place, event in enumerate(slow.events):
        flags, payload = int(columns["flags"][place]), slow.payload(event)
        kind = payload.get("event_type", "log")
        assert told["kinds"][columns["kind"][place]] == kind
        assert told["lanes"][columns["lane"][place]]["agent"] == slow.agent(event)
        assert bool(flags & 1) == slow.is_error(event)
        assert bool(flags & 2) == (event["level"] == "WARNING")
        assert bool(flags & 4) == ("state" in event or kind == "state_change")
        assert bool(flags & 8) == (kind == "state")
        assert bool(flags & 16) == (payload.get("direction") == "sent")
        assert bool(flags & 32) == (payload.get("direction") == "received")


@pytest.mark.first_case
@pytest.mark.parametrize(
    "wrong",
    [
        {"px": 0}, {"px": 4_001}, {"axis": "space"}, {"t0": 5, "t1": 4}, {"t0": math.nan}, {"t1": math.inf},
        {"lanes": [99]}, {"lanes": [-1]}, {"first": 3, "last": 2}, {"last": 99}, {"t1": 1e40},
    ],
)  # fmt: skip
def test_a_wrong_window_is_refused_with_a_remedy(session: Path, wrong):
    with viewed(session) as view, pytest.raises(UsageError) as refused:
        view.window(**{"t0": 0, "t1": 100, "px": 10} | wrong)
    assert refused.value.remedy
