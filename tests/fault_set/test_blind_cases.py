"""The cases that were written without a look at the analyzer: each runs, and each record holds its truth."""

import json
import subprocess
import sys

import pytest

from benchmarks.fault_set.blind_cases import BLIND, BLIND_HEALTHY, MODULES
from benchmarks.fault_set.cases import CASES, WORLDS, case_named

pytestmark = pytest.mark.slow  # spent: what it asks for has been seen

ONE_OF_EACH_WORLD = [next(case for case in BLIND if case.world is module.WORLD) for module in MODULES]


def recorded_at(root, case, *more):
    command = [sys.executable, "-m", "benchmarks.fault_set.child", "record", case.name, str(root), *more]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_the_blind_cases_are_24_of_many_kinds_in_worlds_of_their_own():
    assert len(BLIND) == 24 and len(BLIND_HEALTHY) == 12
    assert len({case.kind for case in BLIND}) >= 12
    assert not {case.world.name for case in (*BLIND, *BLIND_HEALTHY)} & {world.name for world in WORLDS}


def test_every_name_is_taken_once_and_finds_its_case():
    every = (*CASES, *BLIND, *BLIND_HEALTHY)
    assert len({case.name for case in every}) == len(every)
    assert all(case_named(case.name) is case for case in every)


@pytest.mark.parametrize("case", ONE_OF_EACH_WORLD, ids=lambda case: case.name)
def test_a_session_of_each_world_holds_its_truth(case, tmp_path):
    recorded = recorded_at(tmp_path, case)
    assert 1 <= len(recorded["truth"]) <= 8
    assert 500 <= recorded["events"] <= 10_000


@pytest.mark.slow
@pytest.mark.parametrize("case", BLIND, ids=lambda case: case.name)
def test_every_case_runs_in_time_and_holds_its_truth(case, tmp_path):
    recorded = recorded_at(tmp_path, case)
    assert 1 <= len(recorded["truth"]) <= 8
    assert recorded["cpu_s"] < 5.0


@pytest.mark.slow
@pytest.mark.parametrize("case", BLIND_HEALTHY, ids=lambda case: case.name)
def test_every_healthy_session_runs_and_has_no_true_cause(case, tmp_path):
    recorded = recorded_at(tmp_path, case, "--healthy")
    assert recorded["truth"] == []
    assert 500 <= recorded["events"] <= 10_000
