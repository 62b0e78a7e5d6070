"""Laws of arithmetic: each is found where it breaks, once or for good, and told in plain words."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from Agent.analysis.debug.root_causes.acts import Log, read_acts
from Agent.analysis.debug.root_causes.detectors import laws
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.analysis.debug.root_causes.wording import Wording

EVENTS = 80
Made = dict[str, Any]
Step = Callable[[random.Random, int, bool], Made]


def played(step: Step, wrong: set[int], *, agents: int = 3) -> Log:
    """Return events of several agents that `step` makes, wrong ones at some places."""
    draw = random.Random(7)
    rows = [
        {
            "id": f"e-{place}", "ts_us": place, "tick": place, "agent_id": f"clerk{place % agents}",
            "event_type": "agent_action", "agent_role": "clerk", "message": "", "level": "INFO",
            "extra": {"action_type": "book", **step(draw, place, place in wrong)},
            "state": None, "span_id": None, "parent_span_id": None, "causes": [],
        }
        for place in range(EVENTS)
    ]  # fmt: skip
    return read_acts(rows, lambda row: row["tick"])


def broken(step: Step, wrong: set[int]) -> list[Finding]:
    """Return the findings, surest first."""
    return sorted(laws.find(played(step, wrong)), key=lambda each: -each.nats)


def total(draw: random.Random, _: int, is_wrong: bool) -> Made:
    price, post = round(draw.uniform(5, 90), 2), round(draw.uniform(1, 9), 2)
    return {"args": {"price": price, "post": post}, "result": round(price + (0 if is_wrong else post), 2)}


def product(draw: random.Random, _: int, is_wrong: bool) -> Made:
    price, number = round(draw.uniform(5, 90), 2), draw.randint(2, 9)
    return {"args": {"price": price, "number": number}, "result": round(price * (number - is_wrong), 2)}


def converted(draw: random.Random, _: int, is_wrong: bool) -> Made:
    celsius = round(draw.uniform(-20, 40), 1)
    return {"args": {"celsius": celsius}, "result": round(celsius if is_wrong else 32 + 1.8 * celsius, 1)}


def opposite(draw: random.Random, _: int, is_wrong: bool) -> Made:
    gain = draw.randint(1, 12)
    return {"result": {"winner": gain, "loser": -gain - is_wrong}}


def within(draw: random.Random, _: int, is_wrong: bool) -> Made:
    seats = draw.randint(20, 60)
    return {"args": {"seats": seats, "sold": seats - draw.randint(0, 8) + 20 * is_wrong}}


def cheapest(draw: random.Random, _: int, is_wrong: bool) -> Made:
    offers = {f"shop_{n}": draw.randint(10, 99) for n in range(4)}
    chosen = (max if is_wrong else min)(offers, key=lambda shop: offers[shop])
    return {"args": {"offers": offers}, "result": chosen}


def numbered(_: random.Random, place: int, is_wrong: bool) -> Made:
    return {"result": 1000 + (place * 7) % EVENTS - 7 * is_wrong}


LAWS: list[tuple[Step, str]] = [
    (total, "result is price plus post"),
    (product, "result is price times number"),
    (converted, "result is 1.8 times celsius plus 32"),
    (opposite, "winner is -1 times loser"),
    (within, "sold is at most seats"),
    (cheapest, "offers[result] is the least of offers"),
]


def told(step: Step, wrong: set[int], finding: Finding) -> str:
    log = played(step, wrong)
    return Wording(log).told(log.acts[finding.first.place], finding)


@pytest.mark.parametrize(("step", "law"), LAWS)
def test_a_law_that_one_event_breaks_is_found_there_and_told(step: Step, law: str) -> None:
    found = broken(step, {41})
    assert found[0].first.place == 41
    assert found[0].nats > 3
    assert any(f"in 79 of 80 such events {law}" in told(step, {41}, each) for each in found)


@pytest.mark.parametrize(("step", "law"), LAWS)
@pytest.mark.parametrize("since", [20, 60])
def test_a_law_that_is_broken_for_good_is_found_where_that_begins(step: Step, law: str, since: int) -> None:
    wrong = {*range(since, EVENTS)}
    found = broken(step, wrong)
    assert found[0].first.place == since
    assert found[0].nats > 10
    assert any(f"in {since} of {since} such events {law}" in told(step, wrong, each) for each in found)


def test_a_law_that_one_agent_breaks_is_that_agents() -> None:
    found = broken(total, {*range(31, EVENTS, 3)})
    assert found[0].first.place == 31
    assert found[0].group == (("agent", "clerk1"),)


def test_a_number_that_never_recurs_and_then_does_is_found() -> None:
    found = broken(numbered, {50})
    assert [act.place for act in found[0].acts] == [49, 50]
    assert "no two have the same result" in told(numbered, {50}, found[0])


def test_a_balance_that_does_not_carry_on_is_found() -> None:
    balances = {"bank_a": 900, "bank_b": 700}

    def posted(draw: random.Random, place: int, is_wrong: bool) -> Made:
        bank, amount = draw.choice([*balances]), draw.randint(1, 99)
        balances[bank] += amount
        after = balances[bank] - amount if is_wrong else balances[bank]
        return {"args": {"bank": bank, "amount": amount}, "result": {"balance": after}}

    found = broken(posted, {44})
    assert found[0].first.place == 44
    assert "balance is the last balance of its thing plus amount" in found[0].about.replace(
        "result.", ""
    ).replace("args.", "")


@pytest.mark.parametrize("step", [*(step for step, _ in LAWS), numbered])
def test_a_law_that_all_keep_is_no_finding(step: Step) -> None:
    assert broken(step, set()) == []


def test_numbers_without_a_law_break_none() -> None:
    def unrelated(draw: random.Random, _: int, __: bool) -> Made:
        return {"args": {name: draw.randint(0, 20) for name in ("a", "b", "c")}, "result": draw.random()}

    assert all(each.nats < 5 for each in broken(unrelated, set()))


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e300, -0.0, None, "n/a", True])
def test_values_that_are_no_ordinary_numbers_do_no_harm(odd: Any) -> None:
    def mixed(draw: random.Random, place: int, is_wrong: bool) -> Made:
        made = total(draw, place, False) | {"number": place}
        return made | {"result": odd, "number": odd} if is_wrong else made

    assert all(each.nats > 0 and each.acts for each in broken(mixed, {9, 33, 71}))


def test_an_event_without_one_of_the_numbers_breaks_no_law() -> None:
    def partial(draw: random.Random, place: int, is_wrong: bool) -> Made:
        made = total(draw, place, False)
        if is_wrong:
            del made["args"]["post"]
        return made

    assert broken(partial, {9, 33, 71}) == []
