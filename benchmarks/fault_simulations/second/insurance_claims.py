"""A claims office: clerks, assessors, a supervisor, the treasury, and a reinsurer who shares large claims."""

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger, instrument, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

DAYS = 100
CLAIMS = 240
KINDS = ("storm", "water", "theft", "glass")
_defect = {"fault": ""}


class Calendar:
    """Plans what happens on which day."""

    def __init__(self) -> None:
        self.day = 0
        self._plan: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = count()

    def on(self, day: int, do: Callable[..., None], *args: Any) -> None:
        """Plan a step of the work."""
        heapq.heappush(self._plan, (max(day, self.day), next(self._count), do, args))

    def play(self) -> None:
        """Play the plan in order."""
        while self._plan and self._plan[0][0] <= DAYS:
            self.day, _, do, args = heapq.heappop(self._plan)
            with tick(self.day):
                do(*args)


class Clerk:
    """Enters the claims that come in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entered = 0

    def enter(self, number: int, form: dict[str, Any]) -> dict[str, Any]:
        """Make a record of a form."""
        self.entered += 1
        record = {"claim": number, **form}
        swap = _defect["fault"] == "swapped_fields" and self.name == "clerk_2" and number >= 80
        if swap and form["kind"] == "glass":
            record["deductible"], record["damage"] = form["damage"], form["deductible"]
        return record


class Assessor:
    """Decides about the claims of a basket, oldest first."""

    def __init__(self, name: str, authority: int) -> None:
        self.name = name
        self.authority = authority
        self.basket: list[dict[str, Any]] = []
        self.valid_until = 365

    def take(self, record: dict[str, Any]) -> int:
        """Put a claim into the basket."""
        self.basket = [*self.basket, record]
        return len(self.basket)

    def renew_authority(self, amount: int, valid_until: int) -> int:
        """Take over a new authority."""
        self.authority = amount
        self.valid_until = valid_until
        return amount

    def choose(self, day: int) -> dict[str, Any] | None:
        """Choose the next claim."""
        if not self.basket:
            return None
        record = min(self.basket, key=lambda record: record["claim"])
        if _defect["fault"] == "big_first" and self.name == "assessor_3" and day >= 30:
            record = max(self.basket, key=lambda record: record["damage"])
        self.basket = [other for other in self.basket if other is not record]
        return record

    def decide(self, record: dict[str, Any], day: int) -> dict[str, Any]:
        """Decide how much is paid, and whether it needs approval."""
        amount = max(0, record["damage"] - record["deductible"])
        own = amount <= self.authority and day <= self.valid_until
        return {"claim": record["claim"], "amount": amount, "approval": not own}


class FraudDesk:
    """Checks suspicious claims."""

    def __init__(self) -> None:
        self.name = "fraud_desk"
        self.checked = 0

    def check(self, claim: int, kind: str) -> str:
        """Check a claim, and return its certificate."""
        self.checked += 1
        return f"{kind}-{claim:03}"


class Supervisor:
    """Approves what is above the assessors' authority, two a day."""

    def __init__(self) -> None:
        self.name = "supervisor"
        self.pile: list[int] = []

    def submit(self, claim: int) -> int:
        """Put a claim on the pile."""
        self.pile = [*self.pile, claim]
        return len(self.pile)

    def approve(self) -> int:
        """Approve the claim that has waited longest."""
        claim, *self.pile = self.pile
        return claim


class Treasury:
    """Pays the claimants."""

    def __init__(self) -> None:
        self.name = "treasury"
        self.paid = 0

    def pay(self, claim: int, amount: int, attempt: int = 1) -> int:
        """Pay a claim."""
        if claim % 41 == 7 and attempt == 1:
            raise ConnectionError("the bank did not answer")
        self.paid += amount
        self.last = claim
        return self.paid


class Reinsurer:
    """Takes over half of large claims if they have a certificate."""

    def __init__(self) -> None:
        self.name = "reinsurer"
        self.log = AgentLogger("reinsurer", "partner")
        self.shared = 0

    def settle(self, claim: int, amount: int, certificate: str | None) -> int:
        """Return the share that is taken over."""
        share = amount // 2 if certificate else 0
        self.shared += share
        self.log.log_decision("share", {"claim": claim, "share": share})
        return share


class Office:
    """The office and its procedure."""

    def __init__(self, seed: int) -> None:
        self.calendar, self.rng = Calendar(), random.Random(seed)
        self.clerks = [Clerk("clerk_1"), Clerk("clerk_2")]
        self.assessors = [Assessor(f"assessor_{n}", 4000) for n in (1, 2, 3)]
        self.fraud, self.boss, self.treasury, self.partner = (
            FraudDesk(),
            Supervisor(),
            Treasury(),
            Reinsurer(),
        )
        self.mail, self.metrics, self.system = (
            InteractionLogger(),
            PerformanceLogger("office"),
            SystemLogger("office"),
        )
        self.approved: dict[int, dict[str, Any]] = {}
        self.certificates: dict[int, str] = {}
        self.settled: dict[int, int] = {}
        self.arrived: dict[int, int] = {}
        self.kinds: dict[int, str] = {}
        self.paid_glass = 0
        self.late_share = 0

    def arrive(self, number: int) -> None:
        """A claim comes in by post or through the portal."""
        kind = self.rng.choice(KINDS)
        high = {"storm": 9000, "water": 5200, "theft": 3800, "glass": 900}[kind]
        damage = self.rng.randrange(high // 3, high)
        channel = self.rng.choice(["post", "portal"])
        form = {"kind": kind, "damage": damage, "deductible": 150, "channel": channel}
        record = self.clerks[number % 2].enter(number, form)
        self.arrived[number], self.kinds[number] = self.calendar.day, kind
        day = self.calendar.day
        skipped = _defect["fault"] == "no_check" and channel == "portal" and day >= 28
        if kind == "storm" and not skipped:
            self.certificates[number] = self.fraud.check(number, kind)
        self.assessors[number % 3].take(record)

    def workday(self, day: int) -> None:
        """Let everybody do a day's work."""
        for assessor in self.assessors:
            pace = 2
            if assessor.name == "assessor_3":
                pace = 0 if 24 <= day < 40 else 2 if day % 4 == 2 else 1
            for _ in range(pace):
                record = assessor.choose(day)
                if record is None:
                    break
                result = assessor.decide(record, day)
                if result["approval"]:
                    self.approved[result["claim"]] = result
                    self.boss.submit(result["claim"])
                else:
                    self.calendar.on(day + 1, self.close, result)
        for _ in range(min(2 if day % 3 else 1, len(self.boss.pile))):
            self.calendar.on(day + 1, self.close, self.approved.pop(self.boss.approve()))
        if day % 4 == 0:
            self.metrics.log_metric("open_claims", len(self.arrived) - len(self.settled))
        self.calendar.on(day + 1, self.workday, day + 1)

    def close(self, result: dict[str, Any]) -> None:
        """Pay a claim, and claim back the share of the reinsurer."""
        claim, amount = result["claim"], result["amount"]
        try:
            self.treasury.pay(claim, amount)
        except ConnectionError:
            self.treasury.pay(claim, amount, attempt=2)
        self.settled[claim] = self.calendar.day
        self.mail.log_interaction("letter", "treasury", f"claimant_{claim}", data={"amount": amount})
        if self.kinds[claim] == "storm" and amount > 3000:
            share = self.partner.settle(claim, amount, self.certificates.get(claim))
            self.late_share += share if self.calendar.day > 32 else 0
        if self.kinds[claim] == "glass":
            self.paid_glass += amount

    def authorities(self) -> None:
        """Renew the authorities of the assessors in the middle of the quarter."""
        for assessor in self.assessors:
            short = _defect["fault"] == "short_authority" and assessor.name != "assessor_3"
            assessor.renew_authority(4200, 41 if short else 410)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Simulate a hundred days."""
    _defect["fault"] = fault
    for cls, methods in (
        (Clerk, ["enter"]),
        (Assessor, ["take", "choose", "decide", "renew_authority"]),
        (FraudDesk, ["check"]),
        (Supervisor, ["submit", "approve"]),
        (Treasury, ["pay"]),
        (Reinsurer, ["settle"]),
    ):
        instrument(cls, methods, agent_id="name")
    office = Office(seed)
    office.system.log_simulation_start("office", {"days": DAYS, "claims": CLAIMS})
    for number in range(CLAIMS):
        office.calendar.on(number // 3, office.arrive, number)
    office.calendar.on(0, office.workday, 0)
    office.calendar.on(12, office.system.log_config, "letterhead", "2023", "2024")
    office.calendar.on(29, office.authorities)
    office.calendar.play()
    waits = {n: office.settled.get(n, DAYS + 30) - day for n, day in office.arrived.items()}
    office.system.log_simulation_end("office", {"settled": len(office.settled), "paid": office.treasury.paid})
    third = [waits[n] for n in waits if n % 3 == 2 and n >= 60]
    return {
        "longest": max(third),
        "boss": max(wait for n, wait in waits.items() if n % 3 != 2),
        "mean": sum(waits.values()) / len(waits),
        "glass": office.paid_glass,
        "share": office.late_share,
    }


def _unchecked(events: list[Event]) -> list[str]:
    checked = {e.args["claim"] for e in events if e.act == "check"}
    return pick(
        events,
        act="enter",
        where=lambda e: e.args["form"]["kind"] == "storm" and e.args["number"] not in checked,
    )


def _glass(event: Event) -> bool:
    return event.args["form"]["kind"] == "glass" and event.args["number"] >= 80


FAULTS = {
    "no_check": Fault(
        "The reinsurer hardly shares our storm claims any more in the second half, why?",
        lambda out, ref: out["share"] < 0.75 * ref["share"],
        _unchecked,
    ),
    "big_first": Fault(
        "some small claims wait for more than a month while newer ones are paid",
        lambda out, ref: out["longest"] > ref["longest"] + 12,
        lambda events: pick(events, "assessor_3", "choose", lambda at: at >= 40),
    ),
    "swapped_fields": Fault(
        "Many people with broken windows got a letter that says they are paid 0.",
        lambda out, ref: out["glass"] < 0.9 * ref["glass"],
        lambda events: pick(events, "clerk_2", "enter", where=_glass),
    ),
    "short_authority": Fault(
        "Why does the supervisor's pile grow and grow after day 42, and claimants wait for weeks?",
        lambda out, ref: out["boss"] > ref["boss"] + 8,
        lambda events: pick(events, act="renew_authority", where=lambda e: e.args["valid_until"] == 41),
    ),
}
