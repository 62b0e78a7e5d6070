"""Hiring: each application is a run with steps and model calls; recruiters, tools and managers act in it.

Evidence: runs, steps and traced methods inside them; no ticks, no recorded causes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, SystemLogger, trace_agent_action
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World, call

APPLICATIONS = 130
TEAMS = ("Falcon", "Heron", "Kestrel", "Osprey")
SOURCES = ("campus", "fair", "referral", "website", "agency")
FIRST = ("Ada", "Ben", "Chloe", "Dan", "Eve", "Finn", "Gita", "Hal")
LAST = ("Moreau", "Novak", "Petrov", "Quinn", "Rossi")


@dataclass
class Person:
    """A candidate as he or she really is, and what the files say."""

    number: str
    name: str
    born: int
    years: int
    phone: int
    team: str
    source: str
    noted_years: int = 0
    noted_phone: int = 0
    invited: bool = False


@dataclass
class Archive:
    """What the company has on file; agents hold no reference to it, so it is not recorded."""

    case: Case
    people: dict[str, Person] = field(default_factory=dict)
    belief: dict[str, str] = field(default_factory=dict)
    credit: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SOURCES, 5))
    true_credit: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SOURCES, 5))
    victim: str = ""

    def struck(self, kind: str, number: str) -> bool:
        """Tell whether the fault happens to this candidate."""
        return number == self.victim and self.case.strikes(kind)


OPEN: list[Archive] = []


class Colleague:
    """Anybody who takes part in hiring."""

    def __init__(self, agent_id: str, role: str) -> None:
        self.agent_id, self.agent_role = agent_id, role


class Reader(Colleague):
    """Reads applications and asks for records elsewhere."""

    @trace_agent_action()
    def read_letter(self, candidate: str) -> dict[str, Any]:
        """Return what the letter says."""
        person = OPEN[-1].people[candidate]
        letter = {"name": person.name, "years": person.years, "team": person.team}
        return letter | {"phone": person.phone, "source": person.source}

    @trace_agent_action("ask_register")
    def ask_register(self, candidate: str) -> dict[str, Any]:
        """Return what the register of employments says; what comes back is noted."""
        archive = OPEN[-1]
        person = archive.people[candidate]
        years = person.years
        if archive.struck("trusted_tool", candidate):
            years = person.years % 10
            archive.case.root(call(self.agent_id, "ask_register", candidate=candidate))
        person.noted_years = years
        return {"years": years, "entries": 1 + years % 3}


class Clerk(Colleague):
    """Keeps the files and writes letters."""

    @trace_agent_action()
    def merge_files(self, candidate: str, other: str, name: str) -> dict[str, Any]:
        """Join two files of one person; the older file's telephone number is kept."""
        archive = OPEN[-1]
        person, found = archive.people[candidate], archive.people[other]
        same = person.born == found.born
        joined = same or archive.struck("wrong_merge", candidate)
        if joined:
            person.noted_phone = found.phone
        if joined and not same:
            archive.case.root(call(self.agent_id, "merge_files", candidate=candidate, other=other))
        return {"joined": joined, "born": [person.born, found.born], "phone": person.noted_phone}

    @trace_agent_action()
    def write_invitation(self, candidate: str, to: str, date: int) -> str:
        """Invite a candidate for a day much later."""
        OPEN[-1].people[to].invited = True
        return f"{to} on day {date}"

    @trace_agent_action()
    def credit_source(self, candidate: str, source: str, points: int) -> int:
        """Note which source brought a candidate."""
        archive = OPEN[-1]
        archive.credit[source] += points
        return archive.credit[source]


class Recruiter(Colleague):
    """Talks to teams, ranks candidates and calls them."""

    @trace_agent_action()
    def hear(self, team: str, news: str, speaker: str) -> str:
        """Take in what somebody says about a team, and believe it."""
        OPEN[-1].belief[f"{self.agent_id}/{team}"] = news
        return f"{team} is {news}"

    @trace_agent_action()
    def rate(self, candidate: str, score: int) -> int:
        """Rate a candidate."""
        return score

    @trace_agent_action()
    def propose(self, candidate: str, team: str) -> dict[str, Any]:
        """Propose a candidate to a team, unless the team is believed to be full."""
        full = OPEN[-1].belief.get(f"{self.agent_id}/{team}") == "full"
        return {"proposed": not full, "reason": "team is full" if full else "fits"}

    @trace_agent_action()
    def phone(self, candidate: str) -> dict[str, Any]:
        """Call a candidate by the number on file."""
        person = OPEN[-1].people[candidate]
        return {"number": person.noted_phone, "reached": person.noted_phone == person.phone}


class Office(Colleague):
    """Payroll, the front desk, the budget and the managers, who see what comes out."""

    @trace_agent_action()
    def set_pay(self, candidate: str) -> dict[str, int]:
        """Set the pay by the years on file."""
        return {"pay": 2000 + 90 * OPEN[-1].people[candidate].noted_years}

    @trace_agent_action()
    def expect(self, candidate: str, date: int) -> dict[str, bool]:
        """Wait for a candidate at the front desk."""
        return {"came": OPEN[-1].people[candidate].invited}

    @trace_agent_action()
    def share_budget(self, quarter: int) -> dict[str, Any]:
        """Give next quarter's money to the source with the most points."""
        credit = OPEN[-1].credit
        return {"source": max(SOURCES, key=lambda source: credit[source]), "points": dict(credit)}

    @trace_agent_action()
    def buy_stand(self, source: str) -> str:
        """Spend money on a source."""
        return source

    @trace_agent_action()
    def list_openings(self, team: str, count: int) -> int:
        """Return how many places a team has to fill."""
        return count

    @trace_agent_action()
    def remark(self, about: str, what: str, number: int) -> str:
        """Write a remark into the log of the day."""
        return what


class Department:
    """All applications, one after the other."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(APPLICATIONS)
        self.archive = Archive(case)
        OPEN[:] = [self.archive]
        self.reader, self.clerk = Reader("reader", "tool"), Clerk("clerk", "clerk")
        self.recruiters = [Recruiter(name, "recruiter") for name in ("Tamsin", "Jerome", "Anouk")]
        self.payroll, self.desk = Office("payroll", "office"), Office("frontdesk", "office")
        self.budget, self.manager = Office("budget", "office"), Office("manager", "office")
        self.assistant = AgentLogger("assistant", "assistant")
        self.serial = 2000

    def person(self, topic: str, name: str = "", years: int = -1) -> Person:
        """Enter a new candidate."""
        rng = self.case.rng(f"person/{topic}")
        self.serial += 1
        full = name or f"{rng.choice(FIRST)} {rng.choice(LAST)}"
        person = Person(
            f"N{self.serial}",
            full,
            rng.randint(1960, 2003),
            rng.randint(0, 19) if years < 0 else years,
            rng.randint(3000000, 3999999),
            rng.choice(TEAMS),
            rng.choice(SOURCES),
        )
        person.noted_years, person.noted_phone = person.years, person.phone
        self.archive.people[person.number] = person
        return person

    def application(self, now: int) -> None:
        """Handle one application from the letter to the proposal."""
        rng = self.case.rng(f"application/{now}")
        person, recruiter = self.person(f"{now}"), rng.choice(self.recruiters)
        with recorder.run("application", {"team": person.team}):
            with recorder.step("read", "Read the letter") as step:
                said = self.reader.read_letter(person.number)
                self.reader.ask_register(person.number)
                step.output = {"years": said["years"]}
            with recorder.step("rate", "Rate the candidate") as step:
                score = rng.randint(20, 99)
                recorder.record_model_call(
                    step_id="rate",
                    call_id=f"rate-{now}",
                    model_name="small-rater",
                    prompt=f"Rate {person.name} with {person.years} years",
                    output=str(score),
                )
                recruiter.rate(person.number, score)
                step.output = {"score": score}
            if score < 50:
                return
            with recorder.step("propose", "Propose to a team"):
                self.manager.list_openings(person.team, rng.randint(1, 4))
                recruiter.propose(person.number, person.team)
                if rng.random() < 0.5:
                    self.clerk.write_invitation(
                        person.number, person.number, now + round(2 ** rng.uniform(1, 6))
                    )
                recruiter.phone(person.number)
                self.payroll.set_pay(person.number)
                self.clerk.credit_source(person.number, person.source, 1)
                self.archive.true_credit[person.source] += 1

    def begin(self, now: int) -> None:
        """Let the act happen at which the fault begins, or its harmless form."""
        case, archive = self.case, self.archive
        person = self.person("victim", years=11 + case.seed % 8)
        archive.victim = self.subject = person.number
        person.team, person.source = "Falcon", "referral"
        with recorder.run("application", {"team": person.team}), recorder.step("read", "Read the letter"):
            self.reader.read_letter(person.number)
            self.reader.ask_register(person.number)
            match case.kind:
                case "false_belief":
                    news = "full" if case.strikes("false_belief", now) else "hiring"
                    self.recruiters[0].hear("Falcon", news, "canteen")
                    if case.faulty:
                        case.root(call("Tamsin", "hear", team="Falcon", news="full"))
                    self.manager.list_openings("Falcon", 3)
                case "wrong_merge":
                    other = self.person("namesake", name=person.name)
                    other.born = person.born - 11
                    self.clerk.merge_files(person.number, other.number, person.name)
                case "wrong_recipient":
                    other = self.person("neighbour")
                    wrong = case.strikes("wrong_recipient", now)
                    to = other.number if wrong else person.number
                    self.clerk.write_invitation(person.number, to, case.end)
                    if wrong:
                        case.root(call("clerk", "write_invitation", candidate=person.number))
                case "wrong_credit":
                    wrong = case.strikes("wrong_credit", now)
                    archive.true_credit["referral"] += 40
                    self.clerk.credit_source(person.number, "fair" if wrong else "referral", 40)
                    if wrong:
                        case.root(call("clerk", "credit_source", candidate=person.number))

    def end(self, now: int) -> None:
        """Let old files matter."""
        case, number = self.case, self.subject
        person, tamsin = self.archive.people[number], self.recruiters[0]
        with recorder.run("appointment", {"team": person.team}), recorder.step("meet", "Meet the candidate"):
            match case.kind:
                case "trusted_tool":
                    tamsin.rate(number, 91)
                    pay = self.payroll.set_pay(number)["pay"]
                    case.hop(call("payroll", "set_pay", candidate=number))
                    if pay < 2000 + 90 * person.years:
                        self.say(
                            number,
                            "declined, pay too low",
                            f"{number} declined since the pay is far too low",
                            "payroll offers experienced people the pay of beginners",
                            "Good people turn us down because of the pay",
                            "manager lost a candidate over money",
                        )
                case "false_belief":
                    answer = tamsin.propose(number, "Falcon")
                    case.hop(call("Tamsin", "propose", candidate=number))
                    self.desk.expect(number, now)
                    case.hop(call("frontdesk", "expect", candidate=number))
                    if not answer["proposed"]:
                        self.say(
                            "Falcon",
                            "nobody proposed",
                            "Falcon gets no candidates although it needs people",
                            "manager of Falcon waits for candidates",
                            "A team has open places and nobody is sent",
                            "frontdesk sees nobody come for Falcon",
                        )
                case "wrong_merge":
                    reached = tamsin.phone(number)["reached"]
                    case.hop(call("Tamsin", "phone", candidate=number))
                    if not reached:
                        self.say(
                            number,
                            "cannot be reached",
                            "Tamsin called and a stranger answered",
                            f"{number} cannot be reached",
                            "We lose a candidate because nobody can reach her",
                            "manager wants to hire somebody who cannot be found",
                        )
                case "wrong_recipient":
                    came = self.desk.expect(number, now)["came"]
                    case.hop(call("frontdesk", "expect", candidate=number))
                    if not came:
                        self.say(
                            number,
                            "did not come",
                            f"{number} did not come to the interview",
                            "frontdesk waited for somebody who did not come",
                            "Interviewers sat in an empty room",
                            f"clerk says that everybody is invited, and {number} did not come",
                        )
                case "wrong_credit":
                    source = self.budget.share_budget(now)["source"]
                    case.hop(call("budget", "share_budget", quarter=now))
                    self.budget.buy_stand(source)
                    true = self.archive.true_credit
                    if source != max(SOURCES, key=lambda name: true[name]):
                        self.say(
                            "sources",
                            "money in the wrong place",
                            "budget spends money on a source that brings nobody",
                            "Fewer and fewer applications come in for the money we spend",
                            f"manager does not see why the {source} gets all the money",
                        )

    def say(self, about: str, what: str, *texts: str) -> None:
        """Let the manager remark on what went wrong."""
        self.manager.remark(about, what, self.serial)
        self.case.symptom(call("manager", "remark", about=about, what=what), *texts)

    def everyday(self, now: int) -> None:
        """Record talk, merged files, chores, settings and handled errors."""
        case, rng = self.case, self.case.rng(f"day/{now}")
        if rng.random() < 0.4:
            recruiter = rng.choice(self.recruiters)
            recruiter.hear(rng.choice(TEAMS[1:]), rng.choice(("hiring", "moving", "full")), "canteen")
        if rng.random() < 0.3:
            one = self.person(f"{now}/one")
            other = self.person(f"{now}/other", name=one.name)
            other.phone = one.phone
            other.born = one.born if rng.random() < 0.6 else other.born
            self.clerk.merge_files(one.number, other.number, one.name)
        if rng.random() < 0.3:
            old, source, points = f"N{1900 + now % 90}", rng.choice(SOURCES), rng.choice((1, 0))
            self.clerk.credit_source(old, source, points)
            self.archive.true_credit[source] += points
        if rng.random() < 0.2:
            self.desk.expect(self.person(f"{now}/guest").number, now)
        if rng.random() < 0.25:
            SystemLogger().log_config(rng.choice(("page_size", "reminder_days")), now % 8, rng.randint(1, 30))
        if rng.random() < 0.2:
            self.assistant.error("Calendar did not answer", {"seconds": rng.randint(5, 20)})
            self.assistant.log_action("ask_again", {"seconds": 1})
        if rng.random() < 0.25:
            self.manager.remark("office", rng.choice(("printer is empty", "new chairs")), now)
        if now == case.decoy_at:
            self.assistant.warning("Mailbox almost full", {"percent": 96})
            self.assistant.log_action("delete_newsletters", {"count": 40})

    def run(self) -> None:
        """Handle all applications."""
        for now in range(APPLICATIONS):
            self.everyday(now)
            if now == self.case.begin:
                self.begin(now)
            self.application(now)
            if now == self.case.end:
                self.end(now)


def play(case: Case) -> None:
    """Play the year of a department."""
    Department(case).run()


WORLD = World(
    "hiring",
    "spans",
    ("trusted_tool", "false_belief", "wrong_merge", "wrong_recipient", "wrong_credit"),
    play,
    author=3,
)
