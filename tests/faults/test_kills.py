"""Writers that are killed at every system call and at random: nothing acknowledged is missing, nothing is twice."""

import random

import pytest
from harness import CALLS, KillAtRandom, Launcher, why_no_tracing
from matrix import (
    RANDOM_SCENARIOS,
    Cell,
    Row,
    fill_all,
    kill_cells,
    line_of,
    random_cells,
)
from oracle import judge

SCENARIOS = ("writing", "rolling", "mirroring", "starting", "forking", "buffering", "ending", "summarising")


def assert_sound(row: Row, least: int = 1) -> None:
    assert row.problems == []
    assert row.struck >= least, line_of(row)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_at_a_few_system_calls_of_each_kind_loses_nothing_acknowledged(
    scenario, launcher, tracing, tmp_path
):
    struck = {}
    for call in CALLS:
        row = Cell(scenario, call, "signal=KILL", stride=5, most=6).fill(launcher, tmp_path / call)
        assert_sound(row, least=0)
        struck[call] = row.struck
    # a scenario that makes none of a kind of call has none to be killed at
    assert struck["write"] >= 1
    assert sum(struck.values()) >= 5, struck


@pytest.mark.parametrize("scenario", RANDOM_SCENARIOS)
def test_kills_at_random_lose_nothing_acknowledged(scenario, launcher, tmp_path):
    seed = random.randrange(2**32)
    row = Cell(scenario, "random", "signal=KILL", seeds=tuple(range(seed, seed + 8))).fill(launcher, tmp_path)
    assert_sound(row, least=8)


@pytest.mark.parametrize("mutation", ["drop", "double", "glue", "tear"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_writer_that_spoils_one_line_in_a_thousand_is_caught(mutation, threads, launcher, tmp_path):
    outcome = launcher.run(
        "writing", tmp_path, events=2500, threads=threads, mutation=mutation, seed=random.randrange(2**32)
    )
    assert outcome.exit_code == 0
    assert judge(outcome).problems != []


def test_a_spoiling_writer_is_caught_behind_a_kill_too(launcher, tmp_path):
    fault = KillAtRandom(2500, 0.0)
    outcome = launcher.run("writing", tmp_path, events=10**6, mutation="drop", fault=fault)
    assert outcome.killed
    assert any("acknowledged events are missing" in problem for problem in judge(outcome).problems)


def test_a_sound_writer_passes_the_same_check(launcher, tmp_path):
    outcome = launcher.run("writing", tmp_path, events=2500, threads=3)
    verdict = judge(outcome)
    assert verdict.problems == []
    assert verdict.acknowledged == 3 * 2500 + 1
    assert (verdict.torn, verdict.lost, verdict.unacknowledged) == (0, 0, 0)


@pytest.mark.slow
def test_a_kill_at_every_system_call_loses_nothing_acknowledged(tmp_path):
    reason = why_no_tracing()
    if reason is not None:
        pytest.skip(reason)
    rows = list(fill_all(kill_cells(stride=1, most=400), tmp_path))
    assert [problem for row in rows for problem in row.problems] == []
    assert sum(row.struck for row in rows) > 1000


@pytest.mark.slow
def test_two_thousand_kills_at_random_lose_nothing_acknowledged(tmp_path):
    rows = list(fill_all(random_cells(2000, random.randrange(2**32)), tmp_path))
    assert [problem for row in rows for problem in row.problems] == []
    assert sum(row.struck for row in rows) == 2000


def test_a_launcher_survives_its_writers(tmp_path):
    with Launcher() as launcher:
        first = launcher.run("writing", tmp_path / "1", events=10**6, fault=KillAtRandom(5, 0.0))
        second = launcher.run("writing", tmp_path / "2", events=5)
    assert first.killed
    assert (second.exit_code, len(second.calls)) == (0, 6)
