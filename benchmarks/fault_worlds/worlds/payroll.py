"""A wages office for the sites of a builder: personal files, hours, paydays and a pension pot. No ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger
from benchmarks.fault_worlds.kit import Case, World

SITES = ("Northgate", "Riverside", "Oldmill", "Quarry", "Airfield", "Chapel")
NAMES = (
    "Berg",
    "Costa",
    "Dietz",
    "Eriksen",
    "Fodor",
    "Galli",
    "Horvat",
    "Ivers",
    "Jansen",
    "Kovac",
    "Lund",
    "Moreau",
)


@dataclass
class Person:
    """A personal file: where its owner works, for how much, and the account for the wages."""

    number: str
    name: str
    site: str
    rate: float
    account: str
    bonus: float = 0.0
    hours: float = 0.0


class Office:
    """The office: two clerks keep files, foremen report hours, a wage desk pays, the bank and the pot book."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("office")
        self.steps = self.rng.randint(120, 260)
        case.window(self.steps)
        self.clerks = [AgentLogger(name, "file_clerk") for name in ("Agathe", "Bruno", "Celia")]
        self.foremen = {site: AgentLogger(f"foreman_{site.lower()}", "foreman") for site in SITES}
        self.wages, self.bank = AgentLogger("wage_desk", "wage_desk"), AgentLogger("giro_bank", "bank")
        self.pot, self.office = AgentLogger("pension_pot", "pension"), AgentLogger("helpdesk", "helpdesk")
        self.people: dict[str, Person] = {}
        for number in range(48):
            person = Person(
                f"P{100 + number}",
                f"{'ABEKMRST'[number // 12 + number % 4]}. {NAMES[number % 12]}",
                SITES[number % 6],
                round(self.rng.uniform(16, 31), 2),
                f"DE{self.rng.randint(10**7, 10**8 - 1)}",
            )
            self.people[person.number] = person
            self.rng.choice(self.clerks).log_action("open_file", dict(vars(person)))
        self.owner = {person.account: person.number for person in self.people.values()}
        who = case.rng("who")
        self.target, self.other = who.sample(sorted(self.people), 2)
        self.people[self.other].site = self.people[self.target].site
        self.foremen[self.people[self.other].site].log_action(
            "welcome", {"number": self.other, "site": self.people[self.other].site}
        )
        self.clerk, self.second = who.sample(self.clerks, 2)
        self.owed = self.booked = 0.0
        self.cut: list[str] = []

    def act(self, step: int) -> None:
        """Do what the plan of the case wants at its first step, in both twins, rightly or wrongly."""
        case, person, other = self.case, self.people[self.target], self.people[self.other]
        if step != case.begin:
            return
        if case.has("swapped_fields"):
            new = [f"DE{self.rng.randint(10**7, 10**8 - 1)}" for _ in range(2)]
            asked = [(person, new[0]), (other, new[1])]
            for one, account in asked:
                self.office.log_action("take_form", {"number": one.number, "new_account": account})
                self.owner[account] = one.number
            if case.strikes("swapped_fields", step):
                new.reverse()
            for one, account in ((person, new[0]), (other, new[1])):
                one.account = account
                entered = self.clerk.log_action("enter_account", {"number": one.number, "account": account})
                if self.owner[account] != one.number:
                    case.root(entered)
        elif case.has("lost_update"):
            # A promised bonus is entered between the reading and the writing back of another clerk.
            self.office.log_action("take_form", {"number": person.number, "bonus": 250.0})
            read = self.clerk.log_action(
                "read_file", {"number": person.number, "bonus": person.bonus, "rate": person.rate}
            )
            copy = person.bonus
            entered = self.second.log_action("enter_bonus", {"number": person.number, "bonus": 250.0})
            person.bonus = 250.0
            person.rate = round(person.rate + 0.4, 2)
            if case.strikes("lost_update", step):
                person.bonus = copy
            written = self.clerk.log_action(
                "write_file", {"number": person.number, "bonus": person.bonus, "rate": person.rate}
            )
            if person.bonus == copy:
                case.root(written, read)
                case.hop(entered)
        elif case.has("wrong_merge"):
            self.office.log_action("report_moved", {"number": person.number, "name": person.name})
            if case.strikes("wrong_merge", step):
                joined = self.clerk.log_action("join_files", {"kept": other.number, "closed": person.number})
                person.account = other.account
                case.root(joined)
            else:
                self.clerk.log_action(
                    "write_file", {"number": person.number, "bonus": person.bonus, "rate": person.rate}
                )

    def hours(self, step: int, person: Person) -> None:
        """Let a foreman report overtime, which the wage desk notes; once in minutes, where it strikes."""
        case, worked = self.case, float(self.rng.randint(2, 8))
        mine = case.has("wrong_unit") and step == case.begin and person.number == self.target
        if mine and case.strikes("wrong_unit", step):
            worked *= 60
        told = self.foremen[person.site].log_action(
            "report_overtime", {"number": person.number, "worked": worked}
        )
        noted = self.wages.log_action(
            "note_overtime", {"number": person.number, "total": person.hours + worked}
        )
        if worked > 60:
            case.root(told)
            case.hop(noted)
        person.hours += worked

    def contribution(self, step: int, person: Person, gross: float) -> None:
        """Book the pension share of a wage in the pot; cut to whole euros from one step on, where it strikes."""
        case, share = self.case, round(gross * 0.031, 2)
        booked = share
        if case.strikes("rounding_leak") and case.begin <= step:
            booked = float(math.floor(share))
        event = self.pot.log_action("book_share", {"number": person.number, "due": share, "booked": booked})
        self.owed += share
        self.booked += booked
        if booked != share:
            if len(self.cut) < 3:
                case.root(event)
            self.cut.append(event)

    def pay(self, step: int, person: Person) -> None:
        """Pay one person, and hear of it if it went wrong."""
        case, rng = self.case, self.rng
        gross = round(person.rate * (rng.randint(60, 80) + 1.25 * person.hours) + person.bonus, 2)
        slip = {"number": person.number, "gross": gross, "bonus": person.bonus, "overtime": person.hours}
        made = self.wages.log_action("make_slip", slip)
        sent = self.wages.log_action("order_transfer", {"account": person.account, "amount": gross})
        credited = self.bank.log_action(
            "credit", {"account": person.account, "holder": self.owner[person.account], "amount": gross}
        )
        if person.number in (self.target, self.other):
            case.hop(made, sent, credited)
        self.contribution(step, person, gross)
        person.hours = 0.0
        if self.owner[person.account] != person.number:
            seen = self.office.log_action(
                "note_call", {"number": person.number, "about": "no wages on the account"}
            )
            case.symptom(
                seen,
                f"{person.name} ({person.number}) swears that no wages came at all, but our books say they were paid.",
                f"Somebody at {person.site} waits for wages, and a colleague has too much on the account.",
                f"Why did giro_bank credit the wages of {person.name} to somebody else?",
                f"foreman_{person.site.lower()} is besieged: {person.name} has had no wages, they went to another holder.",
                f"Wages of {person.site} went to the wrong account this payday. How did that happen?",
            )
        elif slip["overtime"] > 60:
            seen = self.office.log_action(
                "note_call", {"number": person.number, "about": "far too much money"}
            )
            case.symptom(
                seen,
                f"{person.name} got {gross:.0f} euros, ten times the usual. Nobody works that much overtime in a fortnight!",
                f"The wages of {person.site} have burst the budget this payday, because of overtime that cannot be.",
                f"giro_bank says a transfer of {gross:.0f} euros for a labourer looks odd. It does. Where is it from?",
                f"wage_desk made {person.name} rich: a slip over {gross:.0f} euros.",
            )
        elif (
            person.number == self.target and case.has("lost_update") and step >= case.end and not person.bonus
        ):
            seen = self.office.log_action("note_call", {"number": person.number, "about": "bonus is missing"})
            case.symptom(
                seen,
                f"{person.name} was promised a bonus of 250 euros on a form, and the slip shows 0.",
                f"A bonus promised to one of the {person.site} people is not on the slip, and we had filled in the form for it.",
                f"The slip of {person.number} that wage_desk made has no bonus. It should show 250.",
                f"wage_desk left out the bonus of {person.name}.",
            )
        elif person.number == self.target or rng.random() < 0.03:
            self.office.log_action(
                "note_call", {"number": person.number, "about": rng.choice(("tax code", "holiday", "thanks"))}
            )

    def payday(self, step: int, site: str) -> None:
        """Pay a site; its people follow each other in the order of their numbers."""
        for person in [one for one in self.people.values() if one.site == site]:
            if (
                step != self.case.end
                and person.number in (self.target, self.other)
                and step > self.case.begin
            ):
                continue  # these two are on monthly pay, due at the planned end
            self.pay(step, person)
        self.wages.log_action("close_payday", {"site": site, "share_of_year": round(step / self.steps, 3)})

    def chores(self, step: int) -> None:
        """Do acts that look like faults and do no harm, and handle errors."""
        case, rng = self.case, self.rng
        person = self.people[
            rng.choice([number for number in self.people if number not in (self.target, self.other)])
        ]
        clerk = rng.choice(self.clerks)
        self.hours(step, person)
        data: dict[str, Any] = {"number": person.number, "bonus": person.bonus, "rate": person.rate}
        chance = rng.random()
        if chance < 0.2:
            account = f"DE{rng.randint(10**7, 10**8 - 1)}"
            self.office.log_action("take_form", {"number": person.number, "new_account": account})
            self.owner[account] = person.number
            person.account = account
            clerk.log_action("enter_account", {"number": person.number, "account": account})
        elif chance < 0.4:
            clerk.log_action("read_file", data)
            person.rate = round(person.rate + rng.choice((0.1, 0.2, 0.3)), 2)
            clerk.log_action("write_file", data | {"rate": person.rate})
        elif chance < 0.5:
            person.bonus = float(rng.choice((50, 80, 100)))
            self.office.log_action("take_form", {"number": person.number, "bonus": person.bonus})
            clerk.log_action("enter_bonus", {"number": person.number, "bonus": person.bonus})
        elif chance < 0.58:
            # The same person had been filed twice: joining these is right.
            twin = f"X{rng.randint(100, 999)}"
            clerk.log_action(
                "open_file",
                {"number": twin, "name": person.name, "site": person.site, "account": person.account},
            )
            clerk.log_action("join_files", {"kept": person.number, "closed": twin})
        elif chance < 0.63:
            self.bank.warning("transfer line was busy, sent again after a minute")
        elif chance < 0.68:
            self.wages.log_action("set_display", {"columns": rng.randint(4, 9)})
        if step == case.decoy_at:
            self.wages.log_action("restart_printer", {"site": self.people[self.target].site, "jams": 1})

    def play(self) -> None:
        """Play all steps; the site of the target has its payday at the planned end."""
        case = self.case
        for step in range(self.steps):
            self.chores(step)
            self.act(step)
            if case.has("wrong_unit") and step == case.begin:
                self.hours(step, self.people[self.target])
            if case.begin <= step <= case.end or self.rng.random() < 0.5:
                one = self.rng.choice(
                    [number for number in self.people if number not in (self.target, self.other)]
                )
                self.contribution(step, self.people[one], round(self.rng.uniform(900, 2600), 2))
            if step == case.end:
                self.payday(step, self.people[self.target].site)
            elif step % 12 == 5:
                self.payday(step, SITES[step // 12 % 6])
            if step % 4 == 1 or step == case.end:
                self.balance(step)

    def balance(self, step: int) -> None:
        """Compare what the pot should hold with what it holds; a gap is the symptom."""
        gap = round(self.owed - self.booked, 2)
        closing = self.case.end <= step
        counted = self.pot.log_action(
            "count_pot", {"holds": round(self.booked, 2), "kind": "audit" if closing else "glance"}
        )
        self.case.hop(*self.cut[-1:])
        if not closing:
            return
        seen = self.office.log_action(
            "compare_books", {"owed": round(self.owed, 2), "held": round(self.booked, 2), "gap": gap}
        )
        self.case.hop(counted)
        if gap > 0:
            self.case.symptom(
                seen,
                f"The auditor finds {gap:.2f} euros less in the pension pot than our people have coming to them.",
                "Pensions do not add up: every wage was paid, but what is held is less than what is owed.",
                f"What is held for the pensions has fallen behind what is owed, by {gap:.2f} euros so far.",
            )


def play(case: Case) -> None:
    """Play a case."""
    Office(case).play()


WORLD = World(
    "payroll",
    "bare",
    ("rounding_leak", "lost_update", "wrong_unit", "swapped_fields", "wrong_merge"),
    play,
    author=5,
)
