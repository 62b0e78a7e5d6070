"""Single events that begin a change are found by what they say, and healthy twins of the session accuse nobody."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import DebugReport, debug_issue
from Agent.analysis.debug.report import CLEAR

CARRIERS, TICKS, FAULT_TICK = 8, 60, 30
VICTIM = "carrier_13"
SETTING = "set_limit"


class Yard:
    """Carriers that haul and are told now and then how to; a fault is one event from which hauling gets worse."""

    def __init__(self, build: SessionBuilder, fault: str | None, seed: int = 3) -> None:
        self.build, self.fault, self.random = build, fault, random.Random(seed)
        self.carriers = [f"carrier_{10 + n}" for n in range(CARRIERS)]
        self.cause = ""
        self.crate = 0
        self.slow: set[str] = set()
        for tick in range(TICKS):
            build.tick = tick
            if tick % 5 == 2:
                self.visit(self.carriers[tick % CARRIERS], tick)
            if tick == FAULT_TICK and fault:
                self.plant(tick)
            for carrier in self.carriers:
                self.haul(carrier)
            build.pass_time(0.05)

    def do(self, agent: str, action: str, **extra: Any) -> str:
        return self.build.emit(
            "agent_action", agent, role="carrier", span=self.build.span(), action_type=action,
            message=f"Agent action: {action}", duration_ms=self.random.uniform(0.1, 0.2), root=True, **extra,
        )  # fmt: skip

    def visit(self, carrier: str, tick: int) -> None:
        """What is set all the time, as it should be."""
        if carrier == VICTIM and tick >= FAULT_TICK:
            return
        self.do(carrier, SETTING, args={"limit": self.random.choice([19, 20, 21])})
        self.do(carrier, "pair", args={"tag": f"tag-{carrier[-2:]}"})

    def plant(self, tick: int) -> None:
        if self.fault == "setting":
            self.cause = self.do(VICTIM, SETTING, args={"limit": 300})
        elif self.fault == "sort":
            self.cause = self.do(VICTIM, SETTING, args={"limit": None})
        elif self.fault == "pairing":
            self.cause = self.do(VICTIM, "pair", args={"tag": "tag-16"})
        elif self.fault == "rare":
            self.cause = self.do(VICTIM, "install", args={"release": "7.2"})
        elif self.fault == "for all":
            self.build.tick = None
            self.cause = self.build.emit("system.config", name="toll", old_value=1.5, new_value=77.5)
            self.build.tick = tick
        self.slow = set(self.carriers) if self.fault == "for all" else {VICTIM}

    def haul(self, carrier: str) -> None:
        mean = 2.0 if carrier in self.slow else 10.0
        extra = {"toll": 77.5} if self.fault == "for all" and carrier in self.slow else {"toll": 1.5}
        self.crate += 1
        amount = round(self.random.gauss(mean, 1.5), 2)
        self.do(carrier, "haul", args={"crate": f"crate {self.crate}", **extra}, result={"amount": amount})


@pytest.fixture
def yard(builder: SessionBuilder) -> Callable[..., Yard]:
    return lambda fault, seed=3: Yard(builder, fault, seed)


def asked(yard: Yard, text: str) -> DebugReport:
    return debug_issue(text, session=yard.build.path)


def place(report: DebugReport, event_id: str) -> int | None:
    """The place of the first cause that names an event."""
    return next((n for n, cause in enumerate(report.causes, 1) if event_id in cause.event_ids), None)


@pytest.mark.first_case
@pytest.mark.parametrize("fault", ["setting", "sort", "pairing", "rare"])
def test_the_event_unlike_its_like_where_the_change_begins_is_named(
    yard: Callable[..., Yard], fault: str
) -> None:
    made = yard(fault)
    report = asked(made, f"{VICTIM} brings hardly anything")
    assert place(report, made.cause) in {1, 2, 3}, str(report)


@pytest.mark.further
def test_what_is_set_for_all_is_found_from_what_all_of_them_do(yard: Callable[..., Yard]) -> None:
    made = yard("for all")
    report = asked(made, "all carriers bring far too little")
    assert place(report, made.cause) in {1, 2, 3}, str(report)


@pytest.mark.further
def test_an_odd_value_is_followed_to_the_event_that_said_it_first(yard: Callable[..., Yard]) -> None:
    made = yard("for all")
    report = asked(made, f"{VICTIM} brings hardly anything")
    assert place(report, made.cause) in {1, 2, 3}, str(report)


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(3))
def test_a_yard_in_which_nothing_is_wrong_accuses_nobody(yard: Callable[..., Yard], seed: int) -> None:
    made = yard(None, seed)
    for text in (f"{VICTIM} brings hardly anything", "all carriers bring far too little", "it is odd lately"):
        report = asked(made, text)
        assert all(cause.confidence < CLEAR for cause in report.causes), str(report)


@pytest.mark.further
def test_what_is_set_after_the_tick_that_the_text_names_is_not_the_first_cause(
    yard: Callable[..., Yard],
) -> None:
    made = yard("setting")
    report = asked(made, f"{VICTIM} is not right since tick {FAULT_TICK - 15}")
    late = [cause for cause in report.causes if made.cause in cause.event_ids and cause.sort == "event"]
    assert all(cause.confidence < CLEAR for cause in late), str(report)


@pytest.mark.further
@pytest.mark.parametrize("is_lost", [True, False])
def test_a_message_that_nobody_received_is_named_if_others_are(
    builder: SessionBuilder, is_lost: bool
) -> None:
    lost = ""
    draw = random.Random(2)
    for tick in range(50):
        builder.tick = tick
        for n in range(4):
            said = {
                "message_id": f"{tick}-{n}",
                "sender": "desk",
                "recipient": f"clerk_{n}",
                "body": {"file": tick},
            }
            sent = builder.emit("agent_message", "desk", role="desk", direction="sent", **said)
            if is_lost and n == 2 and tick >= 25:
                lost = lost or sent
                continue
            builder.emit("agent_message", f"clerk_{n}", role="clerk", direction="received", **said)
            builder.emit(
                "agent_action", f"clerk_{n}", role="clerk", action_type="stamp",
                args={"files": draw.randint(1, 3)}, duration_ms=draw.uniform(1, 2),
            )  # fmt: skip
        builder.pass_time(0.1)
    report = debug_issue("clerk_2 does not stamp any more", session=builder.path)
    if is_lost:
        assert place(report, lost) in {1, 2, 3}, str(report)
    else:
        assert all(cause.confidence < CLEAR for cause in report.causes), str(report)


@pytest.mark.further
@pytest.mark.parametrize("is_twice", [True, False])
def test_what_comes_twice_where_all_else_comes_once_is_named(builder: SessionBuilder, is_twice: bool) -> None:
    twice = ""
    for tick in range(60):
        builder.tick = tick
        for n in range(4):
            number = tick * 4 + (n - 1 if is_twice and (tick, n) == (32, 2) else n)
            made = builder.emit(
                "agent_action", f"clerk_{n}", role="clerk", action_type="issue",
                args={"ticket": f"T{number}"}, duration_ms=1.0,
            )  # fmt: skip
            twice = made if (tick, n) == (32, 2) else twice
            if is_twice and (tick, n) == (32, 3):
                builder.emit(
                    "log", "gate", role="gate", level="WARNING", message=f"T{32 * 4 + 1} was let in before"
                )
        builder.pass_time(0.1)
    report = debug_issue("a guest with a ticket was turned away", session=builder.path)
    if is_twice:
        assert place(report, twice) in {1, 2, 3}, str(report)
    else:
        assert all(cause.confidence < CLEAR for cause in report.causes), str(report)


@pytest.mark.further
def test_the_same_session_and_text_give_the_same_order(yard: Callable[..., Yard]) -> None:
    made = yard("setting")
    first, second = (str(asked(made, f"{VICTIM} brings nothing")) for _ in range(2))
    assert first == second
