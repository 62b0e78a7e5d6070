"""Faults of many kinds, planted in small programs and in generated sessions, and what `debug_issue` says of them."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from analysis_kit import SessionBuilder
from support.known_truth import FAULTS, make_session

from Agent.analysis import debug_issue
from Agent.analysis.debug import experiment_seam
from Agent.analysis.debug.experiment_seam import HowToTest, Measurable
from Agent.analysis.debug.report import CLEAR
from Agent.errors import UsageError
from Agent.replay.forks import interventions

AGENTS, TICKS, FAULT_TICK = 8, 48, 24
VICTIM = "worker_3"


class Office:
    """Workers that read from a store and order; a fault can be planted from a tick on."""

    def __init__(self, build: SessionBuilder, fault: str | None, seed: int = 5) -> None:
        self.build, self.fault, self.random = build, fault, random.Random(seed)
        self.cause: str | None = None
        self.orders = dict.fromkeys(range(AGENTS), 0)
        self.items = 0
        for n in range(AGENTS):
            fields = {"orders": 0, "seen": [], "mood": "calm"}
            self.emit(n, "state", fields=fields, reason="first", digest="0" * 16)
        for tick in range(TICKS):
            build.tick = tick
            if tick == FAULT_TICK and fault == "wrong configuration":
                build.tick = None
                self.cause = build.emit("system.config", name="pool", old_value=32, new_value=1)
                build.tick = tick
            for n in range(AGENTS):
                self.step(n, tick)
            build.pass_time(0.05)

    def emit(self, n: int, kind: str, **extra: Any) -> str:
        return self.build.emit(kind, f"worker_{n}", role="worker", **extra)

    def step(self, n: int, tick: int) -> None:
        struck = n == 3 and tick >= FAULT_TICK
        fault = self.fault if struck else None
        if fault == "poisoned message" and tick == FAULT_TICK:
            body = {"replace": None}
            said = {"message_id": "bad", "sender": "worker_5", "recipient": VICTIM, "body": body}
            self.cause = self.emit(5, "agent_message", direction="sent", **said)
            self.emit(3, "agent_message", direction="received", causes=(self.cause,), **said)
        elif tick % 3 == 0:
            said = {"message_id": f"{n}-{tick}", "sender": "worker_0", "recipient": f"worker_{n}"}
            self.emit(n, "agent_message", direction="received", body={"hello": tick}, **said)
        span = self.build.span()
        fails = fault == "poisoned message" or (self.fault == "outage" and tick >= FAULT_TICK)
        if self.random.random() < 0.01 or fails:
            name = "Refused" if fails else "Timeout"
            error = self.emit(
                n, "error", level="ERROR", parent=span, error_type=name, error_message=f"no answer {tick}",
                message=f"{name}: no answer {tick}", action_type="read",
            )  # fmt: skip
            self.cause = error if fails and self.cause is None else self.cause
            ended: dict[str, Any] = {"outcome": "error", "error_id": error}
        else:
            ended = {"result": 1}
        slow = 8.0 if self.fault == "wrong configuration" and tick >= FAULT_TICK else 1.0
        ms = slow * self.random.uniform(0.5, 1.5)
        self.emit(n, "agent_action", action_type="read", span=span, duration_ms=ms, **ended)
        self.orders[n] += 1
        changed: dict[str, Any] = {"orders": self.orders[n]}
        if fault == "lost update" and tick == FAULT_TICK:
            self.orders[n] = changed["orders"] = 2
        if fault == "leak":
            self.items += 6
            changed["seen"] = list(range(self.items))
        done = self.emit(
            n, "agent_action", action_type="order", span=self.build.span(), duration_ms=0.1,
            state={"set": changed, "unset": []},
        )  # fmt: skip
        if fault in {"lost update", "leak"} and tick == FAULT_TICK:
            self.cause = done


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("wrong configuration", "reading became very slow"),
        pytest.param("wrong configuration", "why is worker_2 so slow", marks=pytest.mark.further),
        pytest.param("poisoned message", "worker_3 fails all the time", marks=pytest.mark.further),
        pytest.param("outage", "everybody fails since a while", marks=pytest.mark.further),
        ("lost update", "the orders of worker_3 are wrong"),
        pytest.param("leak", "memory grows and grows", marks=pytest.mark.further),
    ],
)
def test_the_true_event_is_among_the_first_three_causes(
    builder: SessionBuilder, fault: str, complaint: str
) -> None:
    office = Office(builder, fault)
    report = debug_issue(complaint, session=builder.path)
    assert any(office.cause in cause.event_ids for cause in report.causes[:3]), str(report)
    other = debug_issue("worker_6 stopped ordering", session=builder.path)
    assert all(cause.confidence < CLEAR for cause in other.causes), str(other)


@pytest.mark.integration
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_nothing_is_found_where_nothing_is_wrong(builder: SessionBuilder, seed: int) -> None:
    Office(builder, None, seed)
    for text in (
        "reading became very slow", "worker_3 fails all the time", "the orders of worker_2 are wrong",
        "memory grows and grows", "worker_1 stopped ordering", "everybody is stuck",
    ):  # fmt: skip
        report = debug_issue(text, session=builder.path)
        assert all(cause.confidence < CLEAR for cause in report.causes), str(report)


@pytest.mark.further
def test_missing_events_are_a_cause_where_the_text_misses_events(builder: SessionBuilder) -> None:
    builder.emit("log.opened", writer=builder.writer, pid=-1, durability="kernel")
    builder.emit("agent_action", "a", action_type="x")
    builder.seq += 3
    builder.emit("agent_action", "a", action_type="x")
    builder.emit("log.closed", writer=builder.writer, last_seq=builder.seq + 1, counters={})
    report = debug_issue("events of a are missing", session=builder.path)
    assert report.causes[0].title == "3 events missing from the recording"


@pytest.mark.further
def test_testing_causes_asks_whoever_can_once_and_labels_what_was_shown(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Office(builder, "poisoned message")
    asked: list[Any] = []

    class Sure:
        def try_events(
            self, suspicions: Sequence[tuple[str, str, Collection[str]]]
        ) -> list[list[interventions.TestedIntervention]]:
            asked.extend(suspicions)
            return [[interventions.TestedIntervention(None, "", lacks="nobody drew")]] + [
                [interventions.TestedIntervention(event_id, "it left out", (5, 5), (0, 0))]
                for event_id, _, _ in suspicions
            ]

    def find(session: Path, complaint: Measurable, how: HowToTest) -> Sure:
        assert (session, complaint.series, how.seeds) == (builder.path, ("error",), 7)
        return Sure()

    monkeypatch.setattr(experiment_seam, "find", find)
    report = debug_issue("worker_3 fails", session=builder.path, test=True, seeds=7)
    first = report.causes[0]
    tested = [edge for edge in first.edges if edge.basis == "tested"]
    assert tested
    assert {edge.cause_id for edge in tested} <= {event_id for event_id, _, _ in asked}
    assert all(edge.test is not None and edge.test.effect == 5 for edge in tested)
    assert first.confidence == 0.95
    assert "tested SHOWN: it left out" in str(report)
    assert any("nobody drew" in line for line in report.tests)


@pytest.mark.further
def test_testing_causes_needs_somebody_who_can(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Office(builder, "poisoned message")
    monkeypatch.setattr(experiment_seam, "find", experiment_seam.nobody)
    with pytest.raises(UsageError, match="forks"):
        debug_issue("worker_3 fails", session=builder.path, test=True)


@pytest.mark.slow
def test_two_of_three_planted_faults_are_found_in_generated_sessions(tmp_path: Path) -> None:
    asked = hits = 0
    for seed in range(900, 904):
        truth = make_session(tmp_path / str(seed), events=14_000, agents=24, faults=list(FAULTS), seed=seed)
        for fault in truth.faults:
            if fault.cause_ids:
                report = debug_issue(fault.complaint, session=truth.session)
                asked += 1
                hits += any(set(cause.event_ids) & set(fault.cause_ids) for cause in report.causes[:3])
    # The ranking is fitted to the sessions of others (docs/EXPLAIN.md), not to these: 14 of 20, 11 before it learned
    # relations.
    assert hits >= 0.65 * asked, f"{hits} of {asked}"
