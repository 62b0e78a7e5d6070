"""Programs that record runs and are killed, or whose system calls fail: what was acknowledged is whole and named.

A few kills of each kind are among those of `test_kills.py`; `matrix.py --only checkpointing` and its like do all.
"""

from __future__ import annotations

import random

import pytest
from cells import EVENTS, RUN_SCENARIOS, Cell, fault_cells, random_cells
from flight_oracle import judge_runs
from harness import KillAtRandom
from matrix import fill_all
from oracle import judge

pytestmark = pytest.mark.integration

FAULTS = 45
_CALLS_MADE = {"openat": 50, "write": 60, "close": 45, "link": 15, "mkdir": 15}


def test_kills_at_random_leave_every_acknowledged_step_artifact_and_checkpoint_whole(tmp_path):
    seed = random.randrange(2**32)
    cells = [cell for cell in random_cells(121, seed) if cell.scenario in RUN_SCENARIOS]
    rows = list(fill_all(cells, tmp_path))
    assert [problem for row in rows for problem in row.problems] == []
    assert sum(row.struck for row in rows) >= 30
    assert all(row.acknowledged > 0 for row in rows)


def test_calls_that_fail_while_runs_are_recorded_stop_nobody_and_all_that_is_missing_is_told(
    tracing, tmp_path
):
    chance = random.Random(f"faults {random.randrange(2**32)}")
    kinds = [cell for cell in fault_cells(1, 1) if cell.scenario in RUN_SCENARIOS]
    cells = []
    for kind in chance.sample(kinds, FAULTS):
        k = chance.randint(1, _CALLS_MADE.get(kind.call, 6))
        cells.append(Cell(kind.scenario, kind.call, kind.action, most=k, window=kind.window, start=k))
    rows = list(fill_all(cells, tmp_path))
    assert [problem for row in rows for problem in row.problems] == []
    assert sum(row.struck for row in rows) >= FAULTS // 4


@pytest.mark.parametrize(("mutation", "scenario"), [("forget", "checkpointing"), ("cut", "storing")])
def test_a_recorder_that_spoils_what_it_acknowledges_is_caught_also_behind_a_kill(
    mutation, scenario, launcher, tmp_path
):
    for fault in (None, KillAtRandom(12, 0.0)):
        events = EVENTS[scenario] if fault is None else 10**6
        outcome = launcher.run(
            scenario, tmp_path / str(fault is None), events=events, mutation=mutation, fault=fault
        )
        verdict = judge(outcome)
        judge_runs(verdict, outcome)
        assert verdict.problems != []


def test_what_nobody_disturbs_passes_the_same_check(launcher, tmp_path):
    for scenario in RUN_SCENARIOS:
        outcome = launcher.run(scenario, tmp_path / scenario, events=EVENTS[scenario], threads=3)
        verdict = judge(outcome)
        judge_runs(verdict, outcome)
        assert (verdict.problems, outcome.exit_code) == ([], 0)
        assert verdict.acknowledged > 3 * EVENTS[scenario]
