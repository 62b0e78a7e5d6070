"""The statistics behind `debug_issue`: what chance makes is no departure, what it does not make is one."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from Agent.analysis.debug.changes.activity_series import Axis, Profile, Series
from Agent.analysis.debug.changes.change_points import FELL, NEVER, ROSE, STOPPED, Departure, find_departures

BUCKETS = 40


def profile_of(counts: dict[str, list[int]], means: dict[str, list[float]] | None = None) -> Profile:
    """Agents of one role that all do one thing so often a bucket, with measured values where they are given."""
    made = Profile(Axis(True, 0, BUCKETS - 1, 1), dict.fromkeys(counts, "worker"))
    for agent, row in counts.items():
        values = (means or {}).get(agent)
        measured = list(row) if values else [0] * len(row)
        sums = [n * value for n, value in zip(row, values, strict=True)] if values else [0.0] * len(row)
        # Within a bucket the values lie 0.1 around their mean.
        squares = (
            [n * (v * v + 0.01) for n, v in zip(row, values, strict=True)] if values else [0.0] * len(row)
        )
        made.series[agent] = {"reward": Series(agent, "reward", row, [0] * len(row), measured, sums, squares)}
        made.first_bucket[agent] = 0
    return made


def chance_counts(rate: float, seed: int) -> list[int]:
    chance = random.Random(seed)
    return [sum(chance.random() < rate / 20 for _ in range(20)) for _ in range(BUCKETS)]


def only(found: list[Departure]) -> Departure:
    assert len(found) == 1, found
    return found[0]


def test_chance_alone_makes_hardly_a_departure() -> None:
    found = profile_of({f"w{n}": chance_counts(3, n) for n in range(200)})
    accused = [agent for agent in found.series if find_departures(found, agent, tests=200)]
    assert len(accused) <= 2


def test_growth_that_all_share_is_no_departure_of_one() -> None:
    found = profile_of({f"w{n}": [3 + b // 4 for b in range(BUCKETS)] for n in range(10)})
    assert find_departures(found, "w0", tests=1) == []


@pytest.mark.parametrize(
    ("change", "sort"),
    [
        (lambda row: row[:20] + [0] * 20, STOPPED),
        (lambda row: row[:20] + [n // 4 for n in row[20:]], FELL),
        (lambda row: row[:20] + [n * 3 for n in row[20:]], ROSE),
    ],
)
def test_a_change_of_rate_is_found_where_it_begins(
    change: Callable[[list[int]], list[int]], sort: str
) -> None:
    counts = {f"w{n}": chance_counts(4, n) for n in range(10)}
    counts["w0"] = change(counts["w0"])
    departure = only(find_departures(profile_of(counts), "w0", tests=1))
    assert (departure.sort, departure.measure, departure.alike) == (sort, "count", 0)
    assert abs(departure.bucket - 20) <= 2
    assert departure.peers == 9


def test_a_regular_thing_that_stops_is_found_in_a_short_session() -> None:
    counts = {f"w{n}": [1] * BUCKETS for n in range(4)}
    counts["w0"] = [1] * 30 + [0] * 10
    assert only(find_departures(profile_of(counts), "w0", tests=1)).sort == STOPPED


def test_a_pause_as_long_as_others_before_it_is_no_stop() -> None:
    row = ([1] * 4 + [0] * 6) * 4
    assert find_departures(profile_of({"w0": row}), "w0", tests=1) == []


def test_what_peers_stop_too_is_counted_as_alike() -> None:
    counts = {f"w{n}": chance_counts(4, n) for n in range(10)}
    for n in range(5):
        counts[f"w{n}"] = counts[f"w{n}"][:20] + [0] * 20
    departure = only(find_departures(profile_of(counts), "w0", tests=1))
    assert (departure.alike, departure.peers) == (4, 9)


def test_a_shift_of_the_mean_is_found_and_a_steady_mean_is_none() -> None:
    counts = {f"w{n}": [3] * BUCKETS for n in range(6)}
    means = {agent: [1.0] * BUCKETS for agent in counts}
    assert find_departures(profile_of(counts, means), "w0", tests=1) == []
    means["w0"] = [1.0] * 25 + [0.2] * 15
    departure = only(find_departures(profile_of(counts, means), "w0", tests=1))
    assert (departure.measure, departure.sort, departure.bucket) == ("reward", FELL, 25)
    assert (departure.before, departure.after) == (pytest.approx(1.0), pytest.approx(0.2))


def test_a_few_equal_values_at_the_beginning_are_no_shift() -> None:
    chance = random.Random(5)
    row = [1.0] * 2 + [float(chance.random() < 0.4) for _ in range(BUCKETS - 2)]
    assert find_departures(profile_of({"w0": [2] * BUCKETS}, {"w0": row}), "w0", tests=1) == []


def test_what_all_peers_do_often_and_one_never_is_found() -> None:
    found = profile_of({f"w{n}": [1] * BUCKETS for n in range(8)})
    found.series["w3"] = {}
    departure = only(find_departures(found, "w3", tests=1))
    assert (departure.sort, departure.expected, departure.peers) == (NEVER, 40.0, 7)


def test_four_hundred_agents_are_looked_at_in_a_moment() -> None:
    found = profile_of({f"w{n}": chance_counts(3, n) for n in range(400)})
    calls = 0
    original = Profile.get

    def counted(self: Profile, agent_id: str, name: str) -> Series:
        nonlocal calls
        calls += 1
        return original(self, agent_id, name)

    Profile.get = counted  # type: ignore[method-assign]
    try:
        for agent in found.series:
            find_departures(found, agent, tests=400)
    finally:
        Profile.get = original  # type: ignore[method-assign]
    assert calls <= 4 * 400, "peers are summed once for all, not once for each agent"
