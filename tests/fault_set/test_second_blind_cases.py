"""The second set written without a look at the analyzer: each case runs, holds its truth, and shows its symptom."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest

from benchmarks.fault_set.blind_cases import BLIND, BLIND_HEALTHY
from benchmarks.fault_set.cases import CASES, WORLDS, case_named
from benchmarks.fault_set.record_scan import events
from benchmarks.fault_set.second_blind_cases import MODULES, SECOND_BLIND, SECOND_BLIND_HEALTHY

pytestmark = pytest.mark.slow  # spent: what it asks for has been seen

ONE_OF_EACH_WORLD = [next(case for case in SECOND_BLIND if case.world is module.WORLD) for module in MODULES]
FORMER = (*CASES, *BLIND, *BLIND_HEALTHY)


def recorded_at(root, case, *more):
    command = [sys.executable, "-m", "benchmarks.fault_set.child", "record", case.name, str(root), *more]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@dataclass
class Seen:
    """What a session holds from the tick of the fault on; all of it where the world knows no ticks."""

    lines: list[dict[str, Any]]
    victim: str

    def of(self, event_type: str, **fields: Any) -> Iterator[dict[str, Any]]:
        for line in self.lines:
            extra = line["extra"]
            if extra.get("event_type") == event_type and all(extra.get(k) == v for k, v in fields.items()):
                yield extra

    def warnings(self, text: str, **fields: Any) -> int:
        said = [line for line in self.lines if line["level"] == "WARNING" and line["message"] == text]
        return sum(all(line["extra"].get(k) == v for k, v in fields.items()) for line in said)

    def metric(self, name: str) -> list[float]:
        return [extra["value"] for extra in self.of("metric", metric_name=name)]

    def actions(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        return [extra.get("action_data", {}) for extra in self.of("agent_action", action_type=name, **fields)]


def spiked(seen: Seen, why: str, writer: str | None = None) -> int:
    found = [
        one["decision_data"]["writer"] for one in seen.of("decision", decision_type="spike", reasoning=why)
    ]
    return sum(writer in {None, name} for name in found)


def thin_articles(seen: Seen) -> int:
    drafts = seen.of("agent_message", direction="sent", sender=seen.victim)
    return sum(draft["body"].get("background", 9) <= 1 for draft in drafts)


def largest_value(seen: Seen) -> float:
    learned = seen.of("learning_update", agent_id=seen.victim)
    return max(abs(value) for one in learned for value in one["update_data"].values())


def at_the_wrong_end(seen: Seen) -> int:
    parked = seen.of("agent_action", action_type="park", agent_id=seen.victim)
    wrong = {("morning", "high"), ("morning", "middle"), ("evening", "low"), ("evening", "middle")}
    return sum((one["args"]["phase"], one["result"]) in wrong for one in parked)


def ordinary_before_express(seen: Seen) -> int:
    express = [one["express"] for one in seen.actions("deliver")]
    return express.count(False) - 3 * express.count(True)


def general_share(seen: Seen) -> float:
    desks = [one["decision_data"]["desk"] for one in seen.of("decision", decision_type="desk")]
    return desks.count("general") / len(desks)


# What the complaint is about, as a number that is larger in the faulty session, and by how much at least.
SYMPTOMS: dict[str, tuple[Callable[[Seen], float], float]] = {
    "tool_outage": (lambda s: spiked(s, "no source"), 8),
    "context_overflow": (lambda s: s.warnings("not what was asked for"), 5),
    "stuck_loop": (lambda s: spiked(s, "too long", s.victim), 5),
    "stale_cache": (lambda s: len(s.actions("correction")), 15),
    "lost_permission": (thin_articles, 8),
    "prompt_regression": (lambda s: len(s.actions("correction")), 5),
    "reward_bug": (lambda s: fmean(s.metric("mean_wait_s")), 4),
    "divergence": (largest_value, 100),
    "bad_restore": (at_the_wrong_end, 8),
    "stuck_sensor": (lambda s: sum(s.metric("empty_trips")), 50),
    "silent_agent": (lambda s: -len(list(s.of("agent_action", agent_id=s.victim))), 30),
    "clock_skew": (lambda s: fmean(s.metric("mean_wait_s")), 3),
    "resource_leak": (lambda s: len(s.actions("refuse")), 15),
    "deadlock": (lambda s: -len(s.actions("deliver")), 10),
    "sensor_drift": (lambda s: s.warnings("no power, standing still", agent_id=s.victim), 2),
    "lost_update": (lambda s: sum(bool(one["odd"]) for one in s.actions("stocktake")), 3),
    "wrong_configuration": (ordinary_before_express, 8),
    "state_corruption": (lambda s: s.warnings("the bin is empty", agent_id=s.victim), 3),
    "retry_storm": (lambda s: len(list(s.of("error", error_type="TooManyRequests"))), 300),
    "poisoned_message": (lambda s: len(list(s.of("error", error_type="AttachmentError"))), 10),
    "slow_dependency": (lambda s: median(s.metric("customer_lookup")[-20:]), 5),
    "race": (lambda s: len(s.actions("complaint")), 15),
    "schema_drift": (general_share, 0.3),
    "bad_threshold": (lambda s: len(s.actions("reopen")), 10),
}


def seen_in(recorded, plan):
    path = Path(recorded["root"]) / f"session_{recorded['session']}"
    lines = [line for line in events(path) if line.get("tick", plan.at) >= plan.at]
    return Seen(lines, recorded["victim"])


def test_the_set_is_24_cases_of_as_many_kinds_in_four_worlds_of_their_own():
    assert len(SECOND_BLIND) == 24 and len(SECOND_BLIND_HEALTHY) == 12
    assert len({case.kind for case in SECOND_BLIND}) == 24
    assert set(SYMPTOMS) == {case.kind for case in SECOND_BLIND}
    new = {case.world.name for case in (*SECOND_BLIND, *SECOND_BLIND_HEALTHY)}
    assert not new & {*(world.name for world in WORLDS), *(case.world.name for case in FORMER)}


def test_every_name_is_taken_once_and_finds_its_case():
    every = (*FORMER, *SECOND_BLIND, *SECOND_BLIND_HEALTHY)
    assert len({case.name for case in every}) == len(every)
    assert all(case_named(case.name) is case for case in every)


@pytest.mark.parametrize("half", ["second-blind", "second-blind-healthy"])
def test_the_command_lists_the_half(half):
    command = [sys.executable, "-m", "benchmarks.fault_set", "--half", half, "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    wanted = SECOND_BLIND_HEALTHY if half.endswith("healthy") else SECOND_BLIND
    assert listed == [case.name for case in wanted]


@pytest.mark.parametrize("case", ONE_OF_EACH_WORLD, ids=lambda case: case.name)
def test_a_session_of_each_world_holds_its_truth(case, tmp_path):
    recorded = recorded_at(tmp_path, case)
    assert 1 <= len(recorded["truth"]) <= 8
    assert 500 <= recorded["events"] <= 10_000


@pytest.mark.slow
@pytest.mark.parametrize("case", SECOND_BLIND, ids=lambda case: case.name)
def test_every_case_shows_its_symptom_and_its_healthy_twin_does_not(case, tmp_path):
    plan = case.world.plan(case.name, case.kind)
    faulty, healthy = recorded_at(tmp_path / "f", case), recorded_at(tmp_path / "h", case, "--healthy")
    assert 1 <= len(faulty["truth"]) <= 8
    assert faulty["cpu_s"] < 5.0 and 500 <= faulty["events"] <= 10_000
    assert healthy["truth"] == [] and healthy["complaint"] == faulty["complaint"]
    victim = plan.name(case.world.prefix, plan.victim)
    measure, margin = SYMPTOMS[case.kind]
    with_fault, without = (measure(seen_in({**one, "victim": victim}, plan)) for one in (faulty, healthy))
    assert with_fault >= without + margin


@pytest.mark.slow
@pytest.mark.parametrize("case", SECOND_BLIND_HEALTHY, ids=lambda case: case.name)
def test_every_healthy_session_runs_and_has_no_true_cause(case, tmp_path):
    recorded = recorded_at(tmp_path, case, "--healthy")
    assert recorded["truth"] == []
    assert 500 <= recorded["events"] <= 10_000
