"""Credit circles: members pay weekly, treasurers collect, an officer visits, an office keeps the ledger."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, instrument, tick
from benchmarks.fault_simulations.kit import Fault, pick

WEEKS = 44
SETUP = {"fault": ""}


@dataclass
class Member:
    """A member with a small trade."""

    name: str
    income: float
    savings: float
    dice: random.Random
    missed: int = 0
    active: bool = True

    def pay(self, week: int, due: float, flood: bool) -> float:
        """Earn for a week and pay what is due, if possible."""
        luck = self.dice.uniform(0.65, 1.35)
        earned = self.income * luck * (0.35 if flood else 1.0)
        self.savings = round(max(0.0, self.savings + earned - 0.7 * self.income * min(1.0, luck)), 2)
        if self.dice.random() < 0.035:  # a repair or a doctor's bill
            self.savings = min(self.savings, 6.0)
        paid = due if self.savings >= due else 0.0
        self.savings = round(self.savings - paid, 2)
        self.missed = 0 if paid or due == 0 else self.missed + 1
        return paid


class Office:
    """Keeps the ledger of all circles and decides on loans."""

    def __init__(self) -> None:
        self.name = "office"
        self.ledger: dict[str, float] = {}
        self.draft: dict[str, float] = {}

    def open_ledger(self, week: int) -> dict[str, float]:
        """Copy the ledger into the sheet of the week."""
        self.draft = dict(self.ledger)
        return dict(self.draft)

    def post(self, week: int, circle: str, amount: float) -> float:
        """Post what a circle paid; return what it paid so far."""
        if SETUP["fault"] == "lost_update" and circle == "circle_2" and week in {10, 11, 12}:
            self.ledger[circle] = self.ledger.get(circle, 0.0) + amount
            return self.ledger[circle]
        self.draft[circle] = round(self.draft.get(circle, 0.0) + amount, 2)
        return self.draft[circle]

    def close_ledger(self, week: int) -> int:
        """Replace the ledger by the sheet of the week."""
        self.ledger = dict(self.draft)
        return len(self.ledger)


instrument(Member, ["pay"], agent_id="name", agent_role="member", ignore=["dice"])
instrument(Office, ["open_ledger", "post", "close_ledger"], agent_id="name", agent_role="office")


class Circle:
    """Five members and their treasurer."""

    def __init__(self, number: int, seed: int) -> None:
        self.name = f"circle_{number}"
        self.log = AgentLogger(f"treasurer_{number}", "treasurer")
        dice = random.Random(f"{seed}-{number}")
        self.members = [
            Member(
                f"member_{number}{letter}",
                dice.uniform(38, 46),
                12.0,
                random.Random(f"{seed}{number}{letter}"),
            )
            for letter in "abcde"
        ]
        self.relief = (0, 0)
        self.product = "weekly"
        self.owed = 0.0
        self.expected = 0.0
        self.limit = 2
        self.second_loan = False
        self.defaulted = 0.0

    def due(self, week: int) -> float:
        """Return the instalment of a member."""
        if self.relief[0] <= week < self.relief[1] or week < 2:
            return 0.0
        return 0.0 if self.product == "at_harvest" else 10.0

    def meet(self, week: int, flood: bool) -> float:
        """Collect from the members and exclude who missed too often."""
        due, total = self.due(week), 0.0
        for member in self.members:
            if not member.active:
                continue
            total += member.pay(week, due, flood)
            too_often = member.missed > self.limit
            if SETUP["fault"] == "limit" and self.name == "circle_1" and week >= 15:
                too_often = member.missed >= self.limit
            if too_often:
                member.active = False
                self.log.log_decision(
                    "exclude", {"member": member.name, "missed": member.missed, "week": week}
                )
        self.expected += due * 5
        present = sum(member.active for member in self.members)
        self.log.log_action("collect", {"week": week, "due": due, "collected": total, "members": present})
        return total


class Programme:
    """The circles, the officer who visits them and the office."""

    def __init__(self, seed: int) -> None:
        self.circles = [Circle(number, seed) for number in range(1, 7)]
        self.office = Office()
        self.officer, self.committee = AgentLogger("officer", "field"), AgentLogger("committee", "credit")
        self.rng = random.Random(seed)

    def choose_products(self) -> None:
        """Decide how each circle repays."""
        for circle in self.circles:
            farmers = circle.name == "circle_6" or (
                SETUP["fault"] == "wrong_product" and circle.name == "circle_3"
            )
            circle.product = "at_harvest" if farmers else "weekly"
            reason = "income comes with the harvest" if farmers else "income comes every week"
            self.committee.log_decision("product", {"circle": circle.name, "product": circle.product}, reason)

    def announce_relief(self, week: int) -> None:
        """Tell the circles in the flooded valley that they pay nothing for six weeks."""
        valley = ["circle_4", "circle_5"]
        self.committee.log_decision("relief", {"circles": valley, "weeks": 6}, "flood in the valley")
        for circle in self.circles:
            if circle.name not in valley:
                continue
            self.officer.log_action("visit", {"circle": circle.name, "week": week})
            if SETUP["fault"] == "not_told" and circle.name == "circle_5":
                continue
            notice = self.officer.send(circle.log.agent_id, {"no_payment_until": week + 6})
            circle.log.receive(notice)
            circle.relief = (week, week + 6)

    def revise_rules(self) -> None:
        """Write the new statutes into the books of the circles."""
        for circle in self.circles:
            circle.log.log_strategy_update(
                "missed_allowed", circle.limit, 1, "statutes of the general meeting"
            )
            circle.limit = 1

    def second_loans(self, week: int) -> None:
        """Grant a second loan to circles that have paid what was expected."""
        for circle in self.circles:
            paid = self.office.ledger.get(circle.name, 0.0)
            circle.second_loan = paid >= 0.9 * circle.expected
            facts = {
                "circle": circle.name,
                "paid": paid,
                "expected": circle.expected,
                "grant": circle.second_loan,
            }
            self.committee.log_decision("second_loan", {"week": week, **facts}, "at least 90 percent")

    def harvest(self, week: int) -> None:
        """Collect from the circles that repay at once."""
        for circle in self.circles:
            if circle.product != "at_harvest":
                continue
            for member in circle.members:
                crop = 400.0 if circle.name == "circle_6" else 0.0
                share = min(290.0, crop + max(0.0, 0.3 * member.savings))
                circle.defaulted += 290.0 - share
                self.officer.log_action(
                    "collect_harvest", {"week": week, "from": member.name, "paid": round(share)}
                )


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run the programme for most of a year."""
    SETUP["fault"] = fault
    programme, gauge, system = Programme(seed), PerformanceLogger("office"), SystemLogger("programme")
    system.log_simulation_start("year", {"circles": 6, "members": 30})
    for week in range(WEEKS):
        with tick(week):
            if week == 1:
                programme.choose_products()
            if week == 9:
                programme.announce_relief(week)
            if week == 15:
                programme.revise_rules()
            programme.office.open_ledger(week)
            for circle in programme.circles:
                flood = circle.name in {"circle_4", "circle_5"} and 9 <= week < 15
                programme.office.post(week, circle.name, circle.meet(week, flood))
            programme.office.close_ledger(week)
            if week == 24:
                programme.second_loans(week)
            if week == 20:
                system.log_config("meeting_day", "Tuesday", "Thursday")
            if week == 36:
                programme.harvest(week)
            if week % 4 == 3:
                active = sum(m.active for c in programme.circles for m in c.members)
                gauge.log_metric("active_members", active, "members")
    return {
        "active": {c.name: sum(m.active for m in c.members) for c in programme.circles},
        "second": {c.name: c.second_loan for c in programme.circles},
        "defaulted": {c.name: round(c.defaulted) for c in programme.circles},
        "share": {
            c.name: round(programme.office.ledger[c.name] / max(1, c.expected), 3) for c in programme.circles
        },
    }


FAULTS = {
    "lost_update": Fault(
        "circle_2 always paid in full, why was its second loan refused in week 24?",
        lambda f, h: h["second"]["circle_2"] and not f["second"]["circle_2"],
        lambda events: pick(
            events,
            "office",
            "post",
            lambda week: week in {10, 11, 12},
            lambda e: e.args["circle"] == "circle_2",
        ),
    ),
    "not_told": Fault(
        "Most members of circle_5 are gone, though the valley was granted relief after the flood",
        lambda f, h: f["active"]["circle_5"] <= h["active"]["circle_5"] - 2,
        lambda events: pick(events, "officer", "visit", where=lambda e: e.args["circle"] == "circle_5"),
    ),
    "limit": Fault(
        "how come circle_1 shrank to a few members in the second half of the year?",
        lambda f, h: f["active"]["circle_1"] <= h["active"]["circle_1"] - 2,
        lambda events: pick(
            events, "treasurer_1", "exclude", lambda week: week >= 15, lambda e: e.args["missed"] == 1
        ),
    ),
    "wrong_product": Fault(
        "In week 36 the officer collected almost nothing from the members of circle_3",
        lambda f, h: f["defaulted"]["circle_3"] > h["defaulted"]["circle_3"] + 300,
        lambda events: pick(events, "committee", "product", where=lambda e: e.args["circle"] == "circle_3"),
    ),
}
