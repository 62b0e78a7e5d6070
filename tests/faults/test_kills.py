"""Writers that are killed at every system call and at random: nothing acknowledged is missing, nothing is twice."""

import random

import pytest
from cells import EVENTS, cell_of, drawn_cells, kill_cells, random_cells
from harness import CALLS, KillAtRandom, Launcher, why_no_tracing
from keeping_oracle import judge_following
from keeping_programs import QUEUE_SIZE
from matrix import fill_all
from oracle import judge

pytestmark = pytest.mark.integration

DRAWN, AT_RANDOM = 420, 80


def test_five_hundred_kills_lose_nothing_acknowledged(tracing, tmp_path):
    seed = random.randrange(2**32)
    cells = [*drawn_cells(DRAWN, seed, tmp_path), *random_cells(AT_RANDOM, seed)]
    rows = list(fill_all(cells, tmp_path))
    assert [problem for row in rows for problem in row.problems] == []
    # how many calls there are differs a little from run to run, so that the last ones may not come
    assert sum(row.struck for row in rows) >= 0.95 * (DRAWN + AT_RANDOM)
    struck = {(row.scenario, row.call) for row in rows if row.struck}
    assert {scenario for scenario, _ in struck} == set(EVENTS)
    assert {call for _, call in struck} >= set(CALLS)


@pytest.mark.parametrize("mutation", ["drop", "double", "glue", "tear"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_writer_that_spoils_one_line_in_a_thousand_is_caught(mutation, threads, launcher, tmp_path):
    outcome = launcher.run(
        "writing", tmp_path, events=2500, threads=threads, mutation=mutation, seed=random.randrange(2**32)
    )
    assert outcome.exit_code == 0
    assert judge(outcome).problems != []


def test_a_follower_whose_cursor_runs_ahead_is_caught(launcher, tmp_path):
    outcome = launcher.run("following", tmp_path, events=9, mutation="ahead", fault=KillAtRandom(20, 0.0))
    verdict = judge(outcome)
    judge_following(verdict, outcome)
    assert any("with the cursor's rest one gets others" in problem for problem in verdict.problems)


def test_retention_that_does_not_say_what_it_removes_is_caught(launcher, tmp_path):
    outcome = launcher.run("retaining", tmp_path, events=40, mutation="unsaid")
    assert any("acknowledged events are missing" in problem for problem in judge(outcome).problems)


def test_a_queue_that_a_kill_meets_full_costs_no_more_than_it_holds_and_that_is_told(launcher, tmp_path):
    fault = KillAtRandom(300, 0.0)
    outcome = launcher.run("queueing", tmp_path, events=10**6, threads=3, fault=fault)
    assert outcome.killed
    verdict = judge(outcome, buffer_entries=QUEUE_SIZE)
    assert verdict.problems == []
    assert verdict.unacknowledged <= QUEUE_SIZE + 3
    # more than the threads had in their hands is too much where nothing may wait
    assert judge(outcome).problems or verdict.unacknowledged <= 3


def test_one_run_can_be_made_again_from_its_line(launcher, tracing, tmp_path):
    row = cell_of("rolling/write/7/2/signal=KILL").fill(launcher, tmp_path)
    assert (row.scenario, row.runs, row.struck, row.problems) == ("rolling", 1, 1, [])
    row = cell_of("writing/random/17").fill(launcher, tmp_path)
    assert (row.runs, row.struck, row.problems) == (1, 1, [])


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
