"""What went before an odd event: the act that says the same, comes right before, or was the last of an agent."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import debug_issue
from Agent.analysis.forerunners import Forerunners
from Agent.analysis.suspects import Deed, Deeds, Survey, survey

STEPS, CLERKS = 60, 5


class Diary:
    """Deeds put together by hand, one after the other."""

    def __init__(self) -> None:
        self.deeds: list[Deed] = []

    def write(self, step: int, agent: str | None, kind: str, label: str, **extra: Any) -> int:
        place = len(self.deeds)
        role = (agent or "").rstrip("0123456789")
        self.deeds.append(
            Deed(
                f"e-{place}",
                place,
                step,
                step,
                agent,
                role,
                kind,
                label,
                label,
                "INFO",
                extra,
                None,
                None,
                None,
            )
        )
        return place

    def read(self, lost: frozenset[str] = frozenset()) -> Survey:
        return survey(Deeds(self.deeds, False, lost), STEPS)


@pytest.fixture
def diary() -> Diary:
    return Diary()


def office(diary: Diary, plant: Callable[[int], int | None]) -> tuple[int | None, dict[str, int]]:
    """Clerks who each answer one topic, and a lead who says now and then who answers which."""
    planted, first_odd = None, {}
    for step in range(STEPS):
        if step % 11 == 4:
            diary.write(
                step, "lead", "agent_action", "assign", args={"clerk": "clerk1", "topic": "topic one"}
            )
        place = plant(step)
        planted = place if place is not None else planted
        for n in range(CLERKS):
            topic = ("topic four" if n == 2 else f"topic {n}") if planted is not None else f"topic {n}"
            at = diary.write(step, f"clerk{n}", "agent_action", "answer", args={"topic": topic})
            if planted is not None:
                first_odd.setdefault(f"clerk{n}", at)
    return planted, first_odd


def test_the_act_that_named_the_same_agent_and_value_is_the_forerunner(diary: Diary) -> None:
    def plant(step: int) -> int | None:
        if step != 30:
            return None
        return diary.write(
            step, "lead", "agent_action", "assign", args={"clerk": "clerk2", "topic": "topic four"}
        )

    planted, odd = office(diary, plant)
    seen = diary.read()
    assert Forerunners(seen).of(odd["clerk2"]) == planted


def test_what_is_set_for_all_right_before_is_the_forerunner_of_what_shares_no_word_with_it(
    diary: Diary,
) -> None:
    def plant(step: int) -> int | None:
        if step != 30:
            return None
        return diary.write(step, None, "system.module", "client", version="2.0")

    planted, odd = office(diary, plant)
    seen = diary.read()
    assert Forerunners(seen).of(odd["clerk2"]) == planted
    assert Forerunners(seen).of(odd["clerk2"] - 4 * CLERKS) is None


def test_the_message_itself_is_no_forerunner_of_its_receipt(diary: Diary) -> None:
    for step in range(STEPS):
        diary.write(step, "clerk1", "agent_action", "answer", args={"topic": "topic one"})
    diary.write(58, "lead", "agent_message", "sent", message_id="m-77", recipient="clerk1", body="rare word")
    received = diary.write(
        58, "clerk1", "agent_message", "received", message_id="m-77", sender="lead", body="rare word"
    )
    assert Forerunners(diary.read()).of(received) is None


def test_an_exception_that_comes_now_and_then_all_the_time_is_less_odd_than_one_that_stays(
    diary: Diary,
) -> None:
    draw = random.Random(2)
    scattered, staying = [], []
    for step in range(STEPS):
        for _ in range(4):
            is_odd = draw.random() < 0.05
            at = diary.write(
                step, "gate1", "agent_action", "open", args={"way": "left" if is_odd else "right"}
            )
            scattered += [at] if is_odd else []
            at = diary.write(
                step, "door1", "agent_action", "open", args={"way": "left" if step >= 30 else "right"}
            )
            staying += [at] if step >= 30 else []
    seen = diary.read()
    assert len(scattered) > 4
    odd = [seen.odd[place].chance for place in scattered if place in seen.odd]
    assert seen.odd[staying[0]].chance < 0.1 * min(odd, default=1.0)


def test_names_that_come_again_as_chance_has_it_are_not_odd(diary: Diary) -> None:
    draw = random.Random(5)
    for step in range(STEPS):
        diary.write(step, "desk1", "agent_action", "greet", args={"guest": f"guest {draw.randrange(300)}"})
        diary.write(
            step, "till1", "agent_action", "book", args={"bill": f"bill {step if step != 40 else 39}"}
        )
    seen = diary.read()
    greetings = [odd.chance for place, odd in seen.odd.items() if seen.deeds[place].label == "greet"]
    (twice,) = [odd for place, odd in seen.odd.items() if seen.deeds[place].label == "book"]
    assert twice.value == "bill 39"
    assert twice.chance < 0.1 * min(greetings, default=1.0)


def test_who_falls_silent_is_told_with_the_last_thing_it_said(builder: SessionBuilder) -> None:
    last = ""
    for tick in range(60):
        builder.tick = tick
        for n in range(4):
            name = f"nurse_{n}"
            if n == 1 and tick >= 31:
                continue
            if tick % 2 == 0:
                builder.emit("agent_action", name, role="nurse", action_type="round", message="round")
            if n == 1 and tick == 30:
                last = builder.emit(
                    "state_change",
                    name,
                    role="nurse",
                    old_state="on",
                    new_state="off",
                    message="State change",
                )
        builder.pass_time(0.05)
    report = debug_issue("nurse_1 does not make rounds any more", session=builder.path)
    assert last in [event for cause in report.causes[:3] for event in cause.event_ids], str(report)
