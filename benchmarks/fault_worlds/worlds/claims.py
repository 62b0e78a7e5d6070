"""Claims at an insurer: a registry, adjusters, a surveyor, payments through a bank, audits, a hotline.

Evidence: traced methods that call each other; there are no ticks and no recorded causes.
"""

from __future__ import annotations

import contextlib
from typing import Any

from Agent import SystemLogger, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

DAYS = 170
REFILL = 6
NAMES = ("I. Sorensen", "M. Okafor", "L. Brandt", "T. Quispe", "A. Haddad", "R. Lindqvist")


class Files:
    """What the insurer knows, and what is true: policies, claims, tariffs and lines."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.day = 0
        self.true_claims: dict[str, int] = {}
        self.filed: dict[str, int] = {}
        self.excess = {f"P{n}": 100 * (1 + n % 5) for n in range(60)}
        self.copies: dict[str, int] = {}
        self.visited: set[str] = set()
        self.recovery: set[str] = set()
        self.short_cents = 0
        self.floors = False
        self.lines = 0
        self.storms: list[str] = []
        self.busy: set[str] = set()
        self.version = 100
        self.victim = f"D{case.begin}-3"

    def taken(self, claim: str, day: int) -> bool:
        """Tell whether the day that a claim asks for first is taken."""
        return claim in self.busy and day == self.day + 2

    def struck(self, kind: str, thing: str) -> bool:
        """Tell whether the fault happens to this claim or policy."""
        return thing in (self.victim, "P7") and self.case.strikes(kind)


OPEN: list[Files] = []  # the files of the year that is played; not in the agents, whose fields are recorded


class Desk:
    """Anybody who works on claims."""

    def __init__(self, agent_id: str, role: str) -> None:
        self.agent_id, self.agent_role = agent_id, role

    @property
    def files(self) -> Files:
        """Return the files of this year."""
        return OPEN[-1]


class Registry(Desk):
    """Knows the customers, some of whom bear the same name."""

    @trace_agent_action()
    def match(self, claim: str, name: str, born: int) -> dict[str, Any]:
        """Return the customer of this name and year."""
        own = f"C{NAMES.index(name)}-{born}"
        if self.files.struck("wrong_merge", claim):
            self.files.case.root(call(self.agent_id, "match", claim=claim))
            own = f"C{NAMES.index(name)}-{born + 1}"
        return {"customer": own}

    @trace_agent_action()
    def amend(self, policy: str, excess: int, adjuster: Adjuster) -> dict[str, int]:
        """Change the excess of a policy; whoever keeps a copy is told to drop it."""
        self.files.excess[policy] = excess
        if self.files.struck("stale_cache", policy):
            self.files.case.root(call(self.agent_id, "amend", policy=policy, excess=excess))
        elif policy in self.files.copies:
            adjuster.drop_copy(policy)
        return {"excess": excess}


class Calendar(Desk):
    """Has few free places for surveys."""

    @trace_agent_action()
    def reserve(self, claim: str, day: int) -> int:
        """Reserve a day.

        Raises:
            ValueError: the day is taken.
        """
        if self.files.taken(claim, day):
            raise ValueError(f"no place for {claim} on day {day}")
        return day


class Surveyor(Desk):
    """Visits the damage."""

    @trace_agent_action()
    def book(self, claim: str, calendar: Calendar) -> dict[str, Any]:
        """Book a visit, on another day if the first one is taken."""
        day = self.files.day + 2
        try:
            calendar.reserve(claim, day)
        except ValueError:
            if self.files.struck("swallowed_failure", claim):
                self.files.case.root(
                    call(calendar.agent_id, "reserve", claim=claim),
                    call(calendar.agent_id, "reserve", error_message=f"no place for {claim} on day {day}"),
                    call(self.agent_id, "book", claim=claim),
                )
                return {"booked": True, "day": day}
            calendar.reserve(claim, day + 1)
            day += 1
        self.files.visited.add(claim)
        return {"booked": True, "day": day}

    @trace_agent_action()
    def visit(self, claim: str, damage: int) -> dict[str, int]:
        """Write a report."""
        return {"damage": damage}


class Adjuster(Desk):
    """Assesses and settles claims; keeps copies of policies."""

    @trace_agent_action()
    def check_cover(self, claim: str, policy: str) -> bool:
        """Look whether the policy covers the damage."""
        return True

    @trace_agent_action()
    def check_recovery(self, claim: str) -> bool:
        """Note whether somebody else has to pay in the end."""
        self.files.recovery.add(claim)
        return True

    @trace_agent_action()
    def estimate(self, claim: str, damage: int) -> int:
        """Guess the amount."""
        return damage // 10 * 10

    @trace_agent_action()
    def assess(self, claim: str, policy: str, damage: int) -> dict[str, Any]:
        """Check everything; the smallest claims need no look at recovery."""
        self.check_cover(claim, policy)
        if self.files.struck("omitted_step", claim):
            self.files.case.root(
                call(self.agent_id, "check_cover", claim=claim),
                call(self.agent_id, "estimate", claim=claim),
                call(self.agent_id, "assess", claim=claim),
            )
        elif damage > 600:
            self.check_recovery(claim)
        return {"estimate": self.estimate(claim, damage)}

    @trace_agent_action()
    def drop_copy(self, policy: str) -> bool:
        """Forget a copy."""
        return self.files.copies.pop(policy, None) is not None

    @trace_agent_action()
    def quote(self, policy: str) -> dict[str, int]:
        """Look up the excess of a policy, in the copy if there is one."""
        kept = self.files.copies.setdefault(policy, self.files.excess[policy])
        return {"excess": kept}


class Bank(Desk):
    """Has so many lines a day; unused ones are kept up to a limit."""

    @trace_agent_action()
    def transfer(self, claim: str, cents: int, account: str) -> str:
        """Move money.

        Raises:
            ConnectionError: no line is left.
            LookupError: the account is closed.
        """
        if self.files.lines <= 0:
            raise ConnectionError("no line left")
        self.files.lines -= 1
        if account == "A4411":
            raise LookupError("account closed")
        return "sent"


class Payments(Desk):
    """Pays in instalments."""

    @trace_agent_action()
    def load_tables(self, version: int) -> str:
        """Load the tables of instalments."""
        return f"tables {version}"

    @trace_agent_action()
    def split(self, claim: str, cents: int, parts: int) -> dict[str, Any]:
        """Divide an amount; the last instalment takes the rest."""
        each = cents // parts
        last = each if self.files.floors else cents - each * (parts - 1)
        self.files.short_cents += cents - each * (parts - 1) - last
        return {"each": each, "last": last}

    @trace_agent_action()
    def pay(self, claim: str, cents: int, account: str, bank: Bank, tries: int) -> dict[str, Any]:
        """Pay the first instalment; give up after some tries."""
        for _ in range(tries):
            try:
                return {"paid": bank.transfer(claim, cents, account)}
            except LookupError:
                continue
            except ConnectionError:
                break
        return {"paid": "", "tries": tries}


class Back(Desk):
    """The offices that look at claims much later: renewals, audit, reinsurance, hotline."""

    @trace_agent_action()
    def renew(self, customer: str, base: int) -> dict[str, int]:
        """Set next year's premium by the claims on file."""
        return {"premium": base + 40 * self.files.filed.get(customer, 0)}

    @trace_agent_action()
    def balance(self, limit_cents: int) -> dict[str, int]:
        """Compare what was owed with what was paid."""
        return {"short_cents": self.files.short_cents, "limit_cents": limit_cents}

    @trace_agent_action()
    def claim_back(self, claim: str, damage: int) -> dict[str, Any]:
        """Ask the reinsurer for its share; it wants the recovery note for all but small claims."""
        ok = damage <= 600 or claim in self.files.recovery
        return {"accepted": ok}

    @trace_agent_action()
    def take_call(self, about: str, topic: str, day: int) -> str:
        """Note what a customer says."""
        return "noted"


class Insurer:
    """One year, with a victim's claim that comes in at the day of the fault and matters at the end."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(DAYS)
        self.files = files = Files(case)
        OPEN[:] = [files]
        self.registry = Registry("registry", "registry")
        self.calendar = Calendar("calendar", "calendar")
        self.surveyors = [Surveyor(name, "surveyor") for name in ("Wanda", "Ulrich")]
        self.adjusters = [Adjuster(name, "adjuster") for name in ("Pilar", "Dmitri", "Yuna")]
        self.bank = Bank("bank", "bank")
        self.payments = Payments("payments", "payments")
        self.renewals, self.audit = Back("renewals", "back"), Back("audit", "back")
        self.reinsurance, self.hotline = (
            Back("reinsurance", "back"),
            Back("hotline", "hotline"),
        )
        window = range(case.begin, case.end)
        self.limit_cents = sum(cents % parts for day in window for _, cents, parts in self.payouts(day))
        self.most_lines = sum(len(self.payouts(day)) + 2 for day in window)
        files.lines = self.most_lines

    def payouts(self, day: int) -> list[tuple[str, int, int]]:
        """Return the claims that are paid on a day: amounts in cents that do not divide, and parts."""
        rng = self.case.rng(f"payouts/{day}")
        drawn = []
        for number in range(rng.randint(1, 3)):
            parts = rng.choice((3, 7, 9))
            drawn.append(
                (f"K{day}-{number}", parts * rng.randint(900, 70000) + rng.randint(1, parts - 1), parts)
            )
        return drawn

    def intake(self, claim: str, name: str, born: int, damage: int, taken: bool) -> None:
        """Take in a claim: match, assess, and survey."""
        rng = self.case.rng(f"intake/{claim}")
        customer = self.registry.match(claim, name, born)["customer"]
        true = f"C{NAMES.index(name)}-{born}"
        self.files.true_claims[true] = self.files.true_claims.get(true, 0) + 1
        self.files.filed[customer] = self.files.filed.get(customer, 0) + 1
        adjuster = rng.choice(self.adjusters)
        adjuster.assess(claim, f"P{rng.randrange(60)}", damage)
        if damage > 400:
            surveyor = rng.choice(self.surveyors)
            if taken:
                self.files.busy.add(claim)
            surveyor.book(claim, self.calendar)
            if claim in self.files.visited:
                surveyor.visit(claim, damage)

    def load(self) -> int:
        """Load the next version of the tables of instalments."""
        self.files.version += 1
        self.payments.load_tables(self.files.version)
        return self.files.version

    def victim_begins(self) -> None:
        """Let the act happen at which the fault begins, or its harmless form."""
        case, rng, claim = self.case, self.case.rng("victim"), self.files.victim
        match case.kind:
            case "wrong_merge":
                self.intake(claim, NAMES[2], 1964, 320, taken=False)
            case "swallowed_failure":
                self.intake(claim, NAMES[3], 1971, 2400, taken=True)
            case "omitted_step":
                self.intake(claim, NAMES[4], 1958, 5200, taken=False)
            case "stale_cache":
                self.registry.amend("P7", 150, self.adjusters[0])
            case "rounding_leak":
                version = self.load()
                self.files.floors = case.strikes("rounding_leak")
                if self.files.floors:
                    case.root(call("payments", "load_tables", version=version))
            case "retry_storm":
                self.pay_closed(claim, 77000 + rng.randrange(999), storm=case.strikes("retry_storm"))

    def pay_closed(self, claim: str, cents: int, storm: bool) -> None:
        """Pay to an account that has been closed; after three tries, or one a day, the claim is put aside."""
        if storm:
            self.files.storms.append(claim)
            self.case.root(
                call("bank", "transfer", claim=claim), call("payments", "pay", claim=claim, tries=8)
            )
        self.payments.pay(claim, cents, "A4411", self.bank, 8 if storm else 3)

    def victim_ends(self) -> None:
        """Let the old claim matter: each office does what it always does, and the customer calls if it is wrong."""
        case, files, day, claim = self.case, self.files, self.files.day, self.files.victim
        back, hotline = self.reinsurance, self.hotline
        match case.kind:
            case "wrong_merge":
                customer = f"C2-{1965}"
                premium = self.renewals.renew(customer, 380)["premium"]
                case.hop(call("renewals", "renew", customer=customer, base=380))
                if premium > 380 + 40 * files.true_claims.get(customer, 0):
                    hotline.take_call(customer, "premium", day)
                    self.complain(
                        customer,
                        "premium",
                        "My premium went up although I never reported any damage",
                        "renewals asks a customer for more, and she has had no claim",
                        f"Customer {customer} pays too much",
                        "hotline has a customer whose premium went up for no reason",
                    )
            case "swallowed_failure":
                self.settle(claim, 2400, 300)
                if claim not in files.visited:
                    hotline.take_call(claim, "nobody came", day)
                    self.complain(
                        claim,
                        "nobody came",
                        f"{claim} has been waiting for an expert and nobody came",
                        "People say that they wait at home for a survey in vain",
                        f"calendar lists no visit for {claim}",
                        "hotline has an angry caller: nothing happens with the damage",
                    )
            case "omitted_step":
                accepted = back.claim_back(claim, 5200)["accepted"]
                case.hop(call("reinsurance", "claim_back", claim=claim))
                if not accepted:
                    self.audit.take_call(claim, "share refused", day)
                    self.complain(
                        claim,
                        "share refused",
                        f"We did not get our share for {claim} back",
                        "reinsurance refused a large claim",
                        "Money that we should get from others does not come",
                        "audit misses money that reinsurance should have sent",
                        agent="audit",
                    )
            case "stale_cache":
                excess = self.adjusters[0].quote("P7")["excess"]
                case.hop(call("Pilar", "quote", policy="P7"))
                self.settle("K7", 1900, excess)
                if excess != files.excess["P7"]:
                    hotline.take_call("P7", "paid too little", day)
                    self.complain(
                        "P7",
                        "paid too little",
                        "P7 was paid less than the contract says",
                        "Somebody got too little money for a damage",
                        "Pilar settled a claim too low",
                        "hotline hears that a payment is too low",
                    )

    def settle(self, claim: str, amount: int, excess: int) -> None:
        """Pay what is due."""
        self.payments.split(claim, 100 * (amount - excess), 1)
        self.case.hop(call("payments", "split", claim=claim))

    def complain(self, about: str, topic: str, *texts: str, agent: str = "hotline") -> None:
        """Note the symptom."""
        self.case.symptom(call(agent, "take_call", about=about, topic=topic), *texts)

    def pay_everyone(self) -> None:
        """Pay the claims of the day; audit and bank see what became of it."""
        case, files, day = self.case, self.files, self.files.day
        files.lines = min(files.lines + REFILL, self.most_lines)
        for claim in files.storms:
            case.hop(call("payments", "pay", claim=claim, tries=8))
            self.payments.pay(claim, 77000, "A4411", self.bank, 8)
        for claim, cents, parts in self.payouts(day):
            self.payments.split(claim, cents, parts)
            if files.floors and len(case.roots) < 4:
                case.root(call("payments", "split", claim=claim))
            paid = self.payments.pay(claim, cents // parts, f"A{4500 + cents % 4000}", self.bank, 3)["paid"]
            if files.floors:
                case.hop(call("bank", "transfer", claim=claim))
            if not paid:
                self.hotline.take_call(claim, "no money", day)
                self.complain(
                    claim,
                    "no money",
                    f"{claim} was promised money and has not got it",
                    "hotline hears of payments that do not arrive",
                    "Since a short while customers are not paid any more",
                    "bank turns our transfers down",
                )
        short = self.audit.balance(self.limit_cents)["short_cents"]
        if case.has("rounding_leak") and day >= case.end and short >= self.limit_cents:
            self.audit.take_call("books", "difference", day)
            self.complain(
                "books",
                "difference",
                "The books do not add up, we paid out less than we owe",
                "audit finds a difference that it cannot explain",
                "Customers together have received less than was agreed",
                "audit says that the books do not add up",
                agent="audit",
            )

    def noise(self) -> None:
        """Record what happens every day."""
        case, day = self.case, self.files.day
        rng = case.rng(f"noise/{day}")
        for number in range(rng.randint(1, 3)):
            name, born = rng.choice(NAMES), rng.choice((1950, 1957, 1964, 1983, 1990))
            self.intake(f"D{day}-{number}", name, born, rng.randint(100, 6000), rng.random() < 0.3)
        policy = f"P{rng.choice([n for n in range(60) if n != 7])}"
        if rng.random() < 0.3:
            self.adjusters[0].quote(policy)
        if rng.random() < 0.3:
            self.registry.amend(policy, 50 * rng.randint(1, 12), self.adjusters[0])
        if rng.random() < 0.3:
            self.renewals.renew(
                f"C{rng.randrange(6)}-{rng.choice((1950, 1957, 1983))}", rng.randint(150, 370)
            )
        if rng.random() < 0.3:
            damage = rng.randint(80, 590)
            self.reinsurance.claim_back(f"D{day}-x", damage)
        if rng.random() < 0.15:
            self.hotline.take_call(f"C{rng.randrange(6)}-1990", rng.choice(("new address", "thanks")), day)
        if rng.random() < 0.2:
            self.load()
        if rng.random() < 0.2:
            self.pay_closed(f"E{day}", rng.randint(5000, 90000), storm=False)
        if rng.random() < 0.25:
            SystemLogger().log_config(
                rng.choice(("letter_template", "working_hours")), day, rng.randint(1, 9)
            )
        if day == case.decoy_at:
            self.load()
            self.files.busy.add(f"D{day}-4")
            with contextlib.suppress(ValueError):
                self.calendar.reserve(f"D{day}-4", day + 2)

    def year(self) -> None:
        """Play all days."""
        case = self.case
        for day in range(DAYS):
            self.files.day = day
            if day == max(1, case.begin - 2) and case.has("stale_cache"):
                self.adjusters[0].quote("P7")
            self.noise()
            if day == case.begin:
                self.victim_begins()
            self.pay_everyone()
            if day == case.end:
                self.victim_ends()


def play(case: Case) -> None:
    """Play one year of the insurer."""
    Insurer(case).year()


WORLD = World(
    "claims",
    "spans",
    ("wrong_merge", "swallowed_failure", "rounding_leak", "retry_storm", "omitted_step", "stale_cache"),
    play,
    author=3,
)
