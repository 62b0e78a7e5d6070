"""The third set written without a look at the analyzer: each case runs, holds its truth, and shows its symptom."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks.fault_set.blind_cases import BLIND, BLIND_HEALTHY
from benchmarks.fault_set.cases import CASES, WORLDS, case_named
from benchmarks.fault_set.record_scan import events
from benchmarks.fault_set.second_blind_cases import SECOND_BLIND, SECOND_BLIND_HEALTHY
from benchmarks.fault_set.third_blind_cases import MODULES, THIRD_BLIND, THIRD_BLIND_HEALTHY

pytestmark = pytest.mark.slow  # spent: what it asks for has been seen

ONE_OF_EACH_WORLD = [next(case for case in THIRD_BLIND if case.world is module.WORLD) for module in MODULES]
FORMER = (*CASES, *BLIND, *BLIND_HEALTHY, *SECOND_BLIND, *SECOND_BLIND_HEALTHY)
SAID = ("event_type", "agent_id", "action_type", "action_data", "decision_data", "body", "result", "value")


def recorded_at(root, case, *more):
    command = [sys.executable, "-m", "benchmarks.fault_set.child", "record", case.name, str(root), *more]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def lines_of(recorded):
    return list(events(Path(recorded["root"]) / f"session_{recorded['session']}"))


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

    def actions(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        return [extra.get("action_data", {}) for extra in self.of("agent_action", action_type=name, **fields)]

    def sent_back(self, reason: str) -> int:
        """Dishes that guests did not want, for a reason."""
        back = self.of("interaction", interaction_type="sent_back")
        return sum(reason in json.dumps(one) for one in back)

    def told(self, text: str, victim_only: bool = False) -> int:
        """Warnings and errors of that text."""
        bad = [line for line in self.lines if line["level"] in {"WARNING", "ERROR"}]
        found = [line["extra"].get("agent_id") for line in bad if text in line["message"]]
        return sum(not victim_only or name == self.victim for name in found)

    def feedback(self, text: str) -> int:
        """Clients of the bureau that said so."""
        return sum(text == one["text"] for one in self.actions("feedback"))

    def returned(self, why: str) -> int:
        """Texts of the victim that the review sent back for a reason."""
        back = self.of("decision", decision_type="send_back", reasoning=why)
        return sum(one["decision_data"]["translator"] == self.victim for one in back)

    def metric(self, name: str) -> list[float]:
        return [extra["value"] for extra in self.of("metric", metric_name=name)]


def share_of_work(seen: Seen) -> float:
    plates = list(seen.of("agent_action", action_type="plate"))
    return sum(one["agent_id"] == seen.victim for one in plates) / len(plates)


def fewest_plates(seen: Seen) -> int:
    """Dishes of the station that brings out the fewest."""
    plates = [one["agent_role"] for one in seen.of("agent_action", action_type="plate")]
    return min(plates.count(f"{station} cook") for station in ("grill", "sauce", "cold", "pastry"))


def pulls(seen: Seen) -> int:
    """Ships that the victim came for."""
    return sum(seen.victim in json.dumps(one) for one in seen.of("collaboration"))


def jobs_of_bots(seen: Seen) -> int:
    return sum(one["author"].endswith("_bot") for one in seen.actions("submit"))


# What the complaint is about, as a number that is larger in the faulty session, and by how much at least.
SYMPTOMS: dict[str, tuple[Callable[[Seen], float], float]] = {
    "poisoned_message": (lambda s: -fewest_plates(s), 10),
    "duplicate_delivery": (lambda s: s.sent_back("came twice"), 10),
    "bad_threshold": (lambda s: s.sent_back("not done"), 5),
    "silent_agent": (lambda s: -share_of_work(s), 0.08),
    "unit_mixup": (lambda s: s.sent_back("too salty"), 5),
    "lost_update": (lambda s: s.told("kitchen has none left"), 5),
    "stale_cache": (lambda s: s.told("undefined symbol"), 20),
    "resource_leak": (lambda s: s.told("no space left on device", victim_only=True), 10),
    "permission_revoked": (lambda s: s.told("package not published"), 20),
    "slow_dependency": (lambda s: fmean(s.metric("waiting_changes")), 3),
    "stuck_loop": (jobs_of_bots, 15),
    "bad_rollout": (lambda s: s.told("relocation out of range", victim_only=True), 8),
    "clock_skew": (lambda s: s.told("touched the ground"), 8),
    "deadlock": (lambda s: -len(list(s.of("collaboration"))), 15),
    "state_corruption": (lambda s: s.told("lies on the bottom"), 8),
    "reward_bug": (lambda s: fmean(s.metric("unloading")), 1.2),
    "tool_outage": (lambda s: s.told("forecast: no answer"), 10),
    "misrouting": (lambda s: -pulls(s), 5),
    "context_overflow": (lambda s: s.returned("cut off"), 15),
    "prompt_regression": (lambda s: s.feedback("our customers are not your friends"), 20),
    "prompt_injection": (lambda s: s.feedback("what is this about a casino?"), 6),
    "wrong_configuration": (lambda s: s.returned("numbers"), 15),
    "quota_exhausted": (lambda s: s.told("postponed"), 30),
    "schema_drift": (lambda s: s.feedback("these are not the words we agreed on"), 20),
}


def seen_in(recorded, plan):
    lines = [line for line in lines_of(recorded) if line.get("tick", plan.at) >= plan.at]
    return Seen(lines, recorded["victim"])


def test_the_set_is_24_cases_of_as_many_kinds_in_four_worlds_of_their_own():
    assert len(THIRD_BLIND) == 24 and len(THIRD_BLIND_HEALTHY) == 12
    assert len({case.kind for case in THIRD_BLIND}) == 24
    assert set(SYMPTOMS) == {case.kind for case in THIRD_BLIND}
    new = {case.world.name for case in (*THIRD_BLIND, *THIRD_BLIND_HEALTHY)}
    assert not new & {*(world.name for world in WORLDS), *(case.world.name for case in FORMER)}


def test_every_name_is_taken_once_and_finds_its_case():
    every = (*FORMER, *THIRD_BLIND, *THIRD_BLIND_HEALTHY)
    assert len({case.name for case in every}) == len(every)
    assert all(case_named(case.name) is case for case in every)


def test_no_complaint_holds_the_name_of_its_kind():
    for case in THIRD_BLIND:
        words = set(case.world.complaints[case.kind].replace(",", " ").split())
        assert not words & set(case.kind.split("_")), case.name


@pytest.mark.parametrize("half", ["third-blind", "third-blind-healthy"])
def test_the_command_lists_the_half(half):
    command = [sys.executable, "-m", "benchmarks.fault_set", "--half", half, "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    wanted = THIRD_BLIND_HEALTHY if half.endswith("healthy") else THIRD_BLIND
    assert listed == [case.name for case in wanted]


@pytest.mark.parametrize("case", ONE_OF_EACH_WORLD, ids=lambda case: case.name)
def test_a_session_of_each_world_holds_its_truth_and_is_the_same_each_time(case, tmp_path):
    once, again = recorded_at(tmp_path / "1", case), recorded_at(tmp_path / "2", case)
    assert 1 <= len(once["truth"]) <= 8
    assert 500 <= once["events"] <= 10_000
    assert said_in(once) == said_in(again)
    assert places_of_truth(once) == places_of_truth(again)


def said_in(recorded):
    """Every event without what differs from run to run: ids, times and durations."""
    found: Counter[str] = Counter()
    for line in lines_of(recorded):
        extra = line["extra"]
        if "duration" not in extra and "elapsed" not in extra and extra.get("metric_name") != "completion":
            kept = {key: extra[key] for key in SAID if key in extra and not has_ids(extra[key])}
            found[json.dumps([line.get("tick"), line["level"], kept])] += 1
    return found


def has_ids(value):
    return "event_id" in json.dumps(value)


def places_of_truth(recorded):
    truth = [line for line in lines_of(recorded) if line["id"] in recorded["truth"]]
    return [(line.get("tick"), line["extra"].get("agent_id"), line["message"]) for line in truth]


@pytest.mark.slow
@pytest.mark.parametrize("case", THIRD_BLIND, ids=lambda case: case.name)
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
@pytest.mark.parametrize("case", THIRD_BLIND_HEALTHY, ids=lambda case: case.name)
def test_every_healthy_session_runs_and_has_no_true_cause(case, tmp_path):
    recorded = recorded_at(tmp_path, case, "--healthy")
    assert recorded["truth"] == []
    assert 500 <= recorded["events"] <= 10_000
