"""A village bank: groups of borrowers, officers who collect, a scorer that learns whom to trust."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from Agent import LearningLogger, SystemLogger, trace_agent_action, trace_learning_update
from benchmarks.fault_simulations.kit import Event, Fault, pick

MONTHS = 24
GROUPS = 16
MEMBERS = 6
RATE = 0.018


@dataclass(eq=False)
class Borrower:
    """Somebody with a small loan."""

    agent_id: str
    group: str
    diligence: float

    @trace_agent_action("repay")
    def repay(self, month: str, account: str, amount: float) -> float:
        """Hand an instalment to the officer."""
        return amount

    @trace_agent_action("apply")
    def apply(self, month: str, amount: int) -> int:
        """Ask for a loan."""
        return amount


@dataclass(eq=False)
class Officer:
    """Visits groups, collects instalments and hands them in."""

    agent_id: str

    @trace_agent_action("hand_in")
    def hand_in(self, month: str, group: str, total: float) -> float:
        """Hand in what a group has paid."""
        return total

    @trace_agent_action("remind")
    def remind(self, month: str, account: str) -> str:
        """Remind a borrower who is behind."""
        return account


@dataclass(eq=False)
class Bank:
    """Keeps the accounts."""

    agent_id: str = "bank"
    posted: int = 0

    @trace_agent_action("post")
    def post(self, month: str, payer: str, account: str, amount: float) -> int:
        """Post a payment to an account."""
        self.posted += 1
        return self.posted

    @trace_agent_action("charge")
    def charge(self, month: str, account: str, balance: float, interest: float) -> float:
        """Add a month's interest."""
        return round(balance + interest, 2)

    @trace_agent_action("open_loan")
    def open_loan(self, month: str, account: str, amount: int, first_due: str) -> str:
        """Open a loan whose first instalment is due in a month."""
        return first_due

    @trace_agent_action("refuse")
    def refuse(self, month: str, account: str, score: float) -> float:
        """Refuse a loan."""
        return score


@dataclass(eq=False)
class Scorer:
    """Learns a score for each group from how it pays."""

    agent_id: str
    score: float = 0.7

    @trace_learning_update("group_score")
    def update(self, month: str, paid: int, due: int, score: float) -> float:
        """Move the score towards the share that was paid."""
        self.score = score
        return score


@dataclass
class _Loan:
    balance: float
    instalment: float
    first: int
    paid: float = 0.0
    behind: int = 0


class _Village:
    def __init__(self, seed: int, case: str) -> None:
        self.case, self.rng, self.pay = case, random.Random(seed), random.Random(seed + 3)
        self.bank = Bank()
        self.officers = [Officer(f"officer_{n}") for n in range(1, 5)]
        self.people: list[Borrower] = []
        for g in range(1, GROUPS + 1):
            care = self.rng.uniform(0.88, 0.98)
            for m in range(1, MEMBERS + 1):
                name = f"b{g:02d}{m}"
                self.people.append(Borrower(name, f"group_{g:02d}", round(care, 2)))
        self.scorers = {f"group_{g:02d}": Scorer(f"scorer_{g:02d}") for g in range(1, GROUPS + 1)}
        self.learning = LearningLogger("score", "scorer_desk")
        self.loans: dict[str, _Loan] = {}
        self.outcome: dict[str, Any] = {
            "extra_interest": 0.0, "reminded_early": 0, "refused": {}, "unposted": 0.0, "reminded": 0,
        }  # fmt: skip

    @staticmethod
    def month(number: int) -> str:
        return f"{2024 + number // 12}-{number % 12 + 1:02d}"

    def _interest(self, loan: _Loan, now: int) -> float:
        right = loan.balance * RATE
        if self.case == "interest" and now >= 8:
            booked = float(int(right * 4) + 1) / 4
            self.outcome["extra_interest"] = round(self.outcome["extra_interest"] + booked - right, 2)
            return booked
        return round(right, 2)

    def _lend(self, person: Borrower, now: int, month: str) -> None:
        amount = self.rng.choice([120, 160, 200, 240])
        person.apply(month, amount)
        score = self.scorers[person.group].score
        if score < 0.45:
            self.bank.refuse(month, person.agent_id, score)
            refused = self.outcome["refused"]
            refused[person.group] = refused.get(person.group, 0) + 1
            return
        first = now + (1 if self.case == "grace" and now in (10, 11) else 2)
        # The notice that the borrower gets has the two months of grace.
        self.bank.open_loan(month, person.agent_id, amount, self.month(first))
        self.loans[person.agent_id] = _Loan(float(amount), round(amount / 7, 2), first)
        self.granted[person.agent_id] = now

    def _collect(self, now: int, month: str) -> None:
        paid_by: dict[str, int] = {}
        due_by: dict[str, int] = {}
        for place, (group, _) in enumerate(self.scorers.items()):
            officer, total = self.officers[place % 4], 0.0
            for person in (p for p in self.people if p.group == group):
                draw, loan = self.pay.random(), self.loans.get(person.agent_id)
                if loan is None or now < loan.first:
                    continue
                due_by[group] = due_by.get(group, 0) + 1
                pays = draw < person.diligence and now >= self.granted[person.agent_id] + 2
                if pays:
                    amount = round(min(loan.instalment, loan.balance), 2)
                    person.repay(month, person.agent_id, amount)
                    account = person.agent_id
                    if self.case == "namesake" and account == "b042" and now >= 12 and "b072" in self.loans:
                        account = "b072"
                    self.bank.post(month, person.agent_id, account, amount)
                    if account != person.agent_id:
                        self.outcome["unposted"] = round(self.outcome["unposted"] + amount, 2)
                    self.loans[account].balance = round(max(0.0, self.loans[account].balance - amount), 2)
                    total += amount
                    paid_by[group] = paid_by.get(group, 0) + 1
                    loan.behind = 0 if account == person.agent_id else loan.behind + 1
                else:
                    loan.behind += 1
                if loan.behind >= 1:
                    officer.remind(month, person.agent_id)
                    self.outcome["reminded"] += 1
                    self.outcome["reminded_early"] += now < self.granted[person.agent_id] + 2
            officer.hand_in(month, group, round(total, 2))
        for group, scorer in self.scorers.items():
            due, paid = due_by.get(group, 0), paid_by.get(group, 0)
            share = paid / due if due else scorer.score
            missed = 1 - share
            flipped = self.case == "score" and now >= 9 and group in {"group_05", "group_11"}
            score = round(scorer.score + 0.2 * ((missed if flipped else share) - scorer.score), 3)
            scorer.update(month, paid, due, score)
        self.learning.log_convergence(
            "mean score", round(sum(s.score for s in self.scorers.values()) / GROUPS, 3)
        )

    def play(self) -> Mapping[str, Any]:
        system = SystemLogger("village bank")
        self.granted: dict[str, int] = {}
        for now in range(MONTHS):
            month = self.month(now)
            if now % 6 == 3:
                system.log_config("cash_limit", 400 + now, 410 + now, {"till": "market"})
            if now == 15:
                system.log_milestone("audit visit", {"days": 2, "result": "fine"})
            for account, loan in list(self.loans.items()):
                if loan.balance <= 0.01:
                    del self.loans[account]
                    continue
                interest = self._interest(loan, now)
                loan.balance = self.bank.charge(month, account, loan.balance, interest)
            self._collect(now, month)
            for person in self.people:
                if person.agent_id not in self.loans and self.rng.random() < 0.55:
                    self._lend(person, now, month)
            try:
                _count_cash(self.rng.random(), month)
            except ValueError:
                system.warning("cash count repeated", {"month": month})
        return self.outcome


def _count_cash(luck: float, month: str) -> None:
    if luck < 0.15:
        raise ValueError(f"count of {month} is off")


def run(seed: int, fault: str) -> Mapping[str, Any]:
    """Play two years of the bank."""
    return _Village(seed, fault).play()


def _too_dear(events: Sequence[Event]) -> list[str]:
    return pick(
        events, "bank", "charge",
        where=lambda e: abs(e.args["interest"] - e.args["balance"] * RATE) > 0.006,
    )  # fmt: skip


def _too_soon(event: Event) -> bool:
    months = [int(t[:4]) * 12 + int(t[5:]) for t in (event.args["month"], event.args["first_due"])]
    return months[1] - months[0] == 1


FAULTS = {
    "interest": Fault(
        "At the end of two years we have all paid some coins more than the poster in the office says.",
        lambda faulty, healthy: faulty["extra_interest"] >= healthy["extra_interest"] + 20,
        _too_dear,
    ),
    "grace": Fault(
        "officer_2 stood at my door for money a month before it was due, and so it went with my neighbours.",
        lambda faulty, healthy: faulty["reminded_early"] >= healthy["reminded_early"] + 3,
        lambda events: pick(events, "bank", "open_loan", where=_too_soon),
    ),
    "namesake": Fault(
        "I am b042, I pay every month and have the slips, yet I am told that I owe as much as a year ago.",
        lambda faulty, healthy: faulty["unposted"] > healthy["unposted"] + 20,
        lambda events: pick(events, "bank", "post", where=lambda e: e.args["payer"] != e.args["account"]),
    ),
    "score": Fault(
        "Nobody in group_05 gets a loan any more, and we have paid better than most in the village.",
        lambda faulty, healthy: faulty["refused"].get("group_05", 0) >= 2 > healthy["refused"].get("group_05", 0),
        lambda events: pick(
            events, act="group_score",
            where=lambda e: e.agent in {"scorer_05", "scorer_11"} and e.args["month"] >= "2024-10",
        ),
    ),
}  # fmt: skip
