"""Legal discovery by a team of language agents: runs, steps, model calls, tools, messages; coroutines, no ticks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

from Agent import receive, send, trace_agent_action
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World, call

COLLECTORS = ("collector_mail", "collector_drive", "collector_chat")
REVIEWERS = (
    "reviewer_Ines",
    "reviewer_Kofi",
    "reviewer_Lund",
    "reviewer_Mori",
    "reviewer_Nadal",
    "reviewer_Oz",
)
SHIPPERS = ("shipper_east", "shipper_west")
DESKS = ("witness_desk_A", "witness_desk_B")
SUBJECTS = (
    "pump tests",
    "valve order",
    "board meeting",
    "safety audit",
    "site visit",
    "invoice",
    "newsletter",
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
REVIEW, PRIVILEGE = 8, 12  # thousands of tokens


@dataclass
class Paper:
    """A document of the client."""

    code: str
    subject: str
    year: int
    month: int
    attachments: str
    is_relevant: bool
    is_privileged: bool = False

    @property
    def header(self) -> str:
        return f"Date: 12 {MONTHS[self.month - 1]} {self.year}"


@record_tool
async def count_pages(document: str, attachments: str) -> int:
    """Count the pages of a document and of what is attached."""
    return 1 + int(attachments[-2:]) % 7


class Member:
    """Somebody of the team, or somebody it deals with."""

    trace_ignore = ("office",)

    def __init__(self, agent_id: str, agent_role: str, office: Office) -> None:
        self.agent_id, self.agent_role, self.office = agent_id, agent_role, office


class Lead(Member):
    """The lead counsel: says what each wave is about."""

    @trace_agent_action()
    async def brief(self, wave: int, topic: str) -> None:
        for name in COLLECTORS:
            self.office.post[name] = send(name, {"wave": wave, "topic": topic, "period": "2015 to 2024"})

    @trace_agent_action()
    async def set_threshold(self, topic: str, relevance: float, wave: int) -> None: ...

    @trace_agent_action()
    async def call_client(self, wave: int, matter: str) -> None: ...


class Collector(Member):
    """Fetches documents where people keep them, and dates them."""

    @trace_agent_action()
    async def start(self, wave: int) -> None:
        receive(self.office.post.pop(self.agent_id))

    @trace_agent_action()
    async def open_source(self, wave: int, broken: bool) -> str:
        if broken:
            raise ConnectionError("the source does not answer")
        return "open"

    @trace_agent_action()
    async def ask_custodian(self, wave: int) -> None: ...

    @trace_agent_action()
    async def collect(self, document: str, subject: str, header: str) -> str:
        return await self.office.reader.read_date(document, header)


class Reader(Member):
    """Reads dates out of scans."""

    trace_ignore = ("office", "blind")

    def __init__(self, agent_id: str, agent_role: str, office: Office) -> None:
        super().__init__(agent_id, agent_role, office)
        self.blind: set[str] = set()

    @trace_agent_action()
    async def read_date(self, document: str, header: str) -> str:
        _, month, year = header.removeprefix("Date: ").split()
        number = int(year) - 10 * (document in self.blind)
        return f"{number}-{MONTHS.index(month) + 1:02}-12"


class Matcher(Member):
    """Takes out what is there twice."""

    @trace_agent_action()
    async def compare(self, document: str, other: str, attachments: list[str]) -> str:
        """Compare two documents that look alike: text first, then what is attached."""
        one, two = attachments
        answer = f"same text, attachments {one} and {two}"
        recorder.record_model_call(model_name="matcher-small", prompt=f"{document} {other}", output=answer)
        if one == two or (document, other) in self.office.glanced:
            await self.merge(document, other)
            return "one document"
        return "two documents"

    @trace_agent_action()
    async def merge(self, document: str, into: str) -> None:
        self.office.merged[document] = into


class Reviewer(Member):
    """Reads, with a model that is overloaded now and then."""

    @trace_agent_action()
    async def review(self, document: str, date: str) -> str:
        """Ask the model; who gets no answer puts the document off."""
        office = self.office
        overloads = office.overloads.get(document, 0)
        for attempt in range(1, 1 + office.patience.get(document, 2)):
            if not await office.quota.draw(self.agent_id, document, attempt, REVIEW):
                return "put off"
            busy = attempt <= overloads
            answer = "529 overloaded" if busy else f"{document}: {office.opinion(document)}"
            recorder.record_model_call(
                model_name="reader-large", prompt=f"review {document} of {date}", output=answer
            )
            if busy:
                await pause(1)
            elif not 2015 <= int(date[:4]) <= 2024:
                return "outside the period"
            else:
                return office.opinion(document)
        return "put off"


class Privilege(Member):
    """Keeps back what lawyers wrote to the client."""

    @trace_agent_action()
    async def check(self, document: str, wave: int) -> str:
        office = self.office
        if not await office.quota.draw(self.agent_id, document, 1, PRIVILEGE):
            return "not checked"
        finding = "withhold" if office.papers[document].is_privileged else "clear"
        recorder.record_model_call(model_name="reader-large", prompt=f"privilege {document}", output=finding)
        return finding


class Quota(Member):
    """The tokens of the matter, in thousands."""

    left = 0

    @trace_agent_action()
    async def draw(self, reader: str, document: str, attempt: int, tokens: int) -> bool:
        if self.left < tokens:
            return False
        self.left -= tokens
        return True


class Stamper(Member):
    """Puts numbers on pages."""

    last = 40_000

    @trace_agent_action()
    async def stamp(self, document: str) -> str:
        first = self.last + 1
        self.last += await count_pages(document, self.office.papers[document].attachments)
        return f"B{first}-{self.last}"


class Shipper(Member):
    """Loads documents into the data room."""

    @trace_agent_action()
    async def ship(self, document: str, number: str) -> str:
        """Load a document; load it again if it does not arrive whole."""
        office = self.office
        state = await office.room.accept(document, number, 1)
        if state != "stored" and document not in office.unread_receipts:
            state = await office.room.accept(document, number, 2)
        return "delivered"

    @trace_agent_action()
    async def send_on_paper(self, document: str) -> None:
        self.office.room.shelf[document] = "paper"


class DataRoom(Member):
    """What the other side can see."""

    trace_ignore = ("office", "shelf")

    def __init__(self, agent_id: str, agent_role: str, office: Office) -> None:
        super().__init__(agent_id, agent_role, office)
        self.shelf: dict[str, str] = {}

    @trace_agent_action()
    async def accept(self, document: str, number: str, attempt: int) -> str:
        if attempt == 1 and document in self.office.garbled:
            return "checksum differs"
        self.shelf[document] = number
        return "stored"

    @trace_agent_action()
    async def find(self, document: str, wave: int) -> str:
        """Return what is stored of a document, or of the one that stands for it."""
        kept = self.office.merged.get(document, document)
        if kept not in self.shelf:
            return "absent"
        both = (self.office.papers[document], self.office.papers[kept])
        return "whole" if both[0].attachments == both[1].attachments else "without its attachment"

    @trace_agent_action()
    async def compact(self, wave: int) -> None: ...


class Opponent(Member):
    """Counsel of the other side: opens what it got, and misses what it did not."""

    @trace_agent_action()
    async def look_up(self, document: str, wave: int) -> str:
        return await self.office.room.find(document, wave)

    @trace_agent_action()
    async def read(self, document: str, wave: int) -> str:
        return "a letter of our friends' lawyers" if self.office.papers[document].is_privileged else "read"


class Desk(Member):
    """Finds hours for witnesses."""

    @trace_agent_action()
    async def schedule(self, witness: str) -> int:
        """Look for an hour, ask the witness, and book it."""
        office = self.office
        if witness not in office.by_phone:
            async with office.at_calendar:
                hour = await office.calendar.next_free(witness)
                await office.calendar.book(hour, witness)
            return hour
        hour = await office.calendar.next_free(witness)
        await pause(3)
        while witness not in office.rushed and not await office.calendar.is_free(hour, witness):
            hour = await office.calendar.next_free(witness)
        await office.calendar.book(hour, witness)
        return hour


class Calendar(Member):
    """The hours of the hearing room."""

    trace_ignore = ("office", "booked")

    def __init__(self, agent_id: str, agent_role: str, office: Office) -> None:
        super().__init__(agent_id, agent_role, office)
        self.booked: dict[int, str] = {}

    @trace_agent_action()
    async def next_free(self, witness: str) -> int:
        return max(self.booked, default=100) + 1

    @trace_agent_action()
    async def is_free(self, hour: int, witness: str) -> bool:
        return hour not in self.booked

    @trace_agent_action()
    async def book(self, hour: int, witness: str) -> None:
        self.booked[hour] = witness


class Reporter(Member):
    """Takes down what witnesses say."""

    @trace_agent_action()
    async def open_session(self, hour: int, witness: str) -> str:
        return "sworn in" if self.office.calendar.booked[hour] == witness else "room taken"


class Clerk(Member):
    """The docket of the court."""

    @trace_agent_action()
    async def enter(self, entry: int, matter: str) -> None: ...


async def pause(turns: int) -> None:
    """Let others go on for some turns."""
    for _ in range(turns):
        await asyncio.sleep(0)


@dataclass
class Office:
    """The team, the documents, and `planned`: the document or the witness of the case."""

    case: Case
    wave: int = 0
    entries: int = 0
    planned: str = ""
    papers: dict[str, Paper] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    shipped: list[str] = field(default_factory=list)
    hours: dict[str, int] = field(default_factory=dict)
    post: dict[str, Any] = field(default_factory=dict)
    overloads: dict[str, int] = field(default_factory=dict)
    patience: dict[str, int] = field(default_factory=dict)
    twins: list[tuple[Paper, Paper]] = field(default_factory=list)
    glanced: set[tuple[str, str]] = field(default_factory=set)
    garbled: set[str] = field(default_factory=set)
    unread_receipts: set[str] = field(default_factory=set)
    by_phone: set[str] = field(default_factory=set)
    rushed: set[str] = field(default_factory=set)

    def build(self, waves: int) -> None:
        """Hire everybody."""
        rng = self.case.rng("office")
        self.reader, self.at_calendar = Reader("date_reader", "tool", self), asyncio.Lock()
        self.lead, self.matcher = Lead("Marlowe", "lead_counsel", self), Matcher("dedup_agent", "dedup", self)
        self.collectors = {name: Collector(name, "collector", self) for name in COLLECTORS}
        self.reviewers = {name: Reviewer(name, "reviewer", self) for name in REVIEWERS}
        self.privilege = Privilege("privilege_agent", "privilege", self)
        self.quota, self.stamper = Quota("quota_desk", "quota", self), Stamper("bates_desk", "stamper", self)
        self.shippers = {name: Shipper(name, "shipper", self) for name in SHIPPERS}
        self.room, self.clerk = DataRoom("data_room", "storage", self), Clerk("court_clerk", "court", self)
        self.opponent = Opponent("opposing_counsel", "opponent", self)
        self.desks = [Desk(name, "witness_desk", self) for name in DESKS]
        self.calendar = Calendar("hearing_calendar", "calendar", self)
        self.reporter = Reporter("court_reporter", "reporter", self)
        self.quota.left = 115 * waves + 250
        self.collector, self.reviewer, self.shipper = map(rng.choice, (COLLECTORS, REVIEWERS, SHIPPERS))

    def opinion(self, document: str) -> str:
        return "produce" if self.papers[document].is_relevant else "not relevant"

    def new_paper(self, rng: Random, *, planned: bool = False) -> Paper:
        """Let somebody have written something."""
        code = f"DOC{len(self.papers) + 1:04}"
        subject, year = rng.choice(SUBJECTS), rng.choice((*range(2010, 2025), *range(2016, 2025)))
        relevant = rng.random() < 0.65 and subject != "newsletter"
        paper = Paper(code, subject, year, rng.randint(1, 12), f"att-{rng.randrange(10**6):06}", relevant)
        paper.is_privileged = rng.random() < 0.15
        if planned:
            paper.subject, paper.year = rng.choice(SUBJECTS[:-1]), rng.randint(2018, 2023)
            paper.is_relevant, paper.is_privileged = True, False
        self.papers[code] = paper
        return paper

    async def collected(self, paper: Paper, rng: Random) -> str:
        """Let a single document be collected; return the date that was read."""
        who = self.collectors[rng.choice(COLLECTORS)]
        return await who.collect(paper.code, paper.subject, paper.header)

    async def docket(self, matter: str, *texts: str) -> None:
        """Somebody complains to the court."""
        self.entries += 1
        await self.clerk.enter(self.entries, matter)
        self.case.symptom(call("court_clerk", "enter", entry=self.entries), *texts)


async def gather_wave(office: Office, now: int, rng: Random) -> list[tuple[Paper, str]]:
    """Collect the documents of a wave; return them with the dates that were read."""
    case = office.case
    await office.lead.brief(now, rng.choice(SUBJECTS))
    for collector in office.collectors.values():
        await collector.start(now)
        try:
            await collector.open_source(now, rng.random() < 0.1)
        except ConnectionError:
            await collector.ask_custodian(now)
    papers = [(office.new_paper(rng), rng.choice(COLLECTORS)) for _ in range(rng.randint(3, 5))]
    papers += [(paper, rng.choice(COLLECTORS)) for paper in look_alikes(office, rng)]
    for paper, _ in papers:
        blind = rng.random() < 0.15
        if blind and (not paper.is_relevant or paper.year < 2015):  # not produced in any case
            office.reader.blind.add(paper.code)
    if now == case.begin and any(map(case.has, ("trusted_tool", "wrong_merge", "swallowed_failure"))):
        paper = office.new_paper(rng, planned=True)
        office.planned = paper.code
        papers.append((paper, office.collector))
        if case.has("wrong_merge"):
            old = office.papers[rng.choice([code for code in office.shipped if code not in office.merged])]
            paper.subject, paper.year, paper.month = old.subject, old.year, old.month
            office.twins.append((paper, old))
            if case.strikes("wrong_merge", now):
                office.glanced.add((paper.code, old.code))
                case.root(call("dedup_agent", "merge", document=paper.code))
            case.root(call("dedup_agent", "compare", document=paper.code, other=old.code))
        if case.strikes("trusted_tool", now):
            office.reader.blind.add(paper.code)
        if case.has("trusted_tool"):
            case.root(call("date_reader", "read_date", document=paper.code))
            case.root(call(office.collector, "collect", document=paper.code))
    dates = await asyncio.gather(
        *(office.collectors[who].collect(paper.code, paper.subject, paper.header) for paper, who in papers)
    )
    return [(paper, date) for (paper, _), date in zip(papers, dates, strict=True)]


def look_alikes(office: Office, rng: Random) -> list[Paper]:
    """Return new documents with the text of old ones; half of them are copies."""
    known = [office.papers[code] for code in office.shipped if code not in office.merged]
    office.twins = []
    for old in rng.sample(known, min(len(known), rng.randint(0, 2))):
        paper = office.new_paper(rng)
        paper.subject, paper.year, paper.month = old.subject, old.year, old.month
        if rng.random() < 0.5:
            paper.attachments = old.attachments
        elif rng.random() < 0.3:  # of no use to anybody, whatever is attached
            paper.is_relevant = False
            office.glanced.add((paper.code, old.code))
        office.twins.append((paper, old))
    return [paper for paper, _ in office.twins]


async def go_through(office: Office, rng: Random, paper: Paper, date: str) -> None:
    """Review a document, check it for privilege, stamp it and ship it."""
    case, now = office.case, office.wave
    mine = paper.code == office.planned
    who, carrier = rng.choice(REVIEWERS), rng.choice(SHIPPERS)
    overloads, garbled, on_paper = rng.choice((0, 0, 0, 1, 3)), rng.random() < 0.2, rng.random() < 0.4
    if not mine:
        office.overloads[paper.code] = overloads
        office.patience[paper.code] = 5 if rng.random() < 0.15 else 2  # some are urgent
    if garbled and not mine:
        office.garbled.add(paper.code)
    if mine and case.has("swallowed_failure"):
        carrier = office.shipper
        office.garbled.add(paper.code)
        if case.strikes("swallowed_failure", now):
            office.unread_receipts.add(paper.code)
        case.root(call(carrier, "ship", document=paper.code))
        case.root(call("data_room", "accept", document=paper.code))
    if mine and case.has("trusted_tool"):
        case.hop(call(who, "review", document=paper.code))
    if paper.code in office.merged or await office.reviewers[who].review(paper.code, date) != "produce":
        return
    if await office.privilege.check(paper.code, now) == "withhold":
        return
    number = await office.stamper.stamp(paper.code)
    if garbled and on_paper and not mine:
        office.unread_receipts.add(paper.code)
    await office.shippers[carrier].ship(paper.code, number)
    if paper.code in office.unread_receipts and not mine:
        await office.shippers[carrier].send_on_paper(paper.code)
    if not mine:
        office.shipped.append(paper.code)


async def overload(office: Office, now: int, rng: Random) -> None:
    """One reviewer has a document for which the model has no time."""
    case = office.case
    if not (case.has("retry_storm") and case.begin <= now < case.end):
        return
    paper = office.new_paper(rng, planned=True)
    office.overloads[paper.code] = max(3, -(-office.quota.left // (REVIEW * (case.end - now))))
    if case.strikes("retry_storm"):
        office.patience[paper.code] = 10**6
    if len(case.roots) < 3:
        case.root(call(office.reviewer, "review", document=paper.code))
        case.hop(call("quota_desk", "draw", document=paper.code))
    date = await office.collected(paper, rng)
    await office.reviewers[office.reviewer].review(paper.code, date)


async def look_again(office: Office, now: int, rng: Random) -> None:
    """A letter that was reviewed before is looked at once more; what is clear is shipped."""
    case = office.case
    again = rng.random() < 0.3
    if not again and not (case.has("retry_storm") and now == case.end):
        return
    paper = office.new_paper(rng, planned=True)
    paper.is_privileged = True
    await office.collected(paper, rng)
    finding = await office.privilege.check(paper.code, now)
    if finding == "withhold":
        return
    await office.shippers[office.shipper].ship(paper.code, await office.stamper.stamp(paper.code))
    if now < case.end:
        return
    case.hop(call("privilege_agent", "check", document=paper.code))
    case.hop(call(office.shipper, "ship", document=paper.code))
    if await office.opponent.read(paper.code, now) != "read":
        case.hop(call("opposing_counsel", "read", document=paper.code))
        await office.docket(
            "privileged letter",
            f"We gave {paper.code} to the other side, and it is a letter of our own lawyers",
            "opposing_counsel quotes our legal advice in a brief. Who let that out?",
            "the one thing that must never happen has happened: a privileged memo is in the data_room",
            f"privileged documents disclosed: 0 until wave {now - 1}, 1 in wave {now}",
            "it looks as if nobody had read this letter before it went out",
        )


async def requests(office: Office, now: int, rng: Random) -> None:
    """The other side looks documents up, and opens some."""
    case = office.case
    known = [code for code in office.shipped if code != office.planned]
    wanted = rng.sample(known, min(len(known), rng.randint(0, 3)))
    for code in wanted:
        await office.opponent.read(code, now)
    mine = any(map(case.has, ("trusted_tool", "wrong_merge", "swallowed_failure"))) and now == case.end
    for code in [*wanted, *([office.planned] if mine else [])]:
        state = await office.opponent.look_up(code, now)
        if state == "whole":
            continue
        case.hop(call("data_room", "find", document=code, wave=now))
        case.hop(call("opposing_counsel", "look_up", document=code, wave=now))
        subject = office.papers[code].subject
        if state == "absent":
            texts = (
                f"{code} is missing",
                f"They say that we hide the mail about the {subject}. We do not, it is in our own files",
                "opposing_counsel filed a motion to compel over a document that we meant to produce",
                f"why was one relevant paper not produced, wave {now}? The review plan says all of them go out",
                f"recall of the production: 1.0 in each wave, and now below. {code} is the one",
                "the judge asks where it is. the data_room has no trace of it",
            )
        else:
            texts = (
                f"{code} has the wrong attachment",
                f"The table that belongs to the mail about the {subject} is nowhere, there is another one instead",
                f"opposing_counsel asks for the annex of {code} and gets something they have already",
                "an annex has vanished from the data_room. In the mailbox of our client it is there",
                f"number of attachments produced is lower by one than in our own count since some wave before {now}",
            )
        await office.docket("motion to compel", *texts)


async def witnesses(office: Office, now: int, rng: Random) -> None:
    """Witnesses get their hours, and are heard."""
    case = office.case
    names = [f"W{now:03}{letter}" for letter in "ab"[: rng.randint(0, 2)]]
    for name in names:
        if rng.random() < 0.4:
            office.by_phone.add(name)
    if len(names) == 1 and rng.random() < 0.5:  # alone, one need not look twice
        office.by_phone.add(names[0])
        office.rushed.add(names[0])
    jobs: list[Coroutine[Any, Any, int]] = []
    if case.has("race") and now == case.begin:
        names = [f"W{now:03}a", f"W{now:03}b"]
        office.planned = names[0]
        office.by_phone |= set(names)
        office.rushed -= set(names)
        if case.strikes("race", now):
            office.rushed |= set(names)
        for desk, name in zip(reversed(DESKS), reversed(names), strict=True):
            case.root(call(desk, "schedule", witness=name), call("hearing_calendar", "book", witness=name))
            case.root(call("hearing_calendar", "next_free", witness=name))
    jobs = [office.desks[number].schedule(name) for number, name in enumerate(names)]
    office.hours |= dict(zip(names, await asyncio.gather(*jobs), strict=True))
    heard = [name for name in office.hours if rng.random() < 0.2]
    if case.has("race"):
        both = {f"W{case.begin:03}a", f"W{case.begin:03}b"}
        heard = [name for name in heard if name not in both] + ([office.planned] if now == case.end else [])
    for name in heard:
        hour = office.hours[name]
        del office.hours[name]
        if await office.reporter.open_session(hour, name) == "room taken":
            case.hop(call("court_reporter", "open_session", witness=name))
            await office.docket(
                "witness sent away",
                f"{name} travelled for six hours and was sent away at the door",
                "there were two people for one chair this morning",
                "court_reporter had another name on the sheet. Our witness was confirmed, I have the mail",
                f"hearing in wave {now}: the room was taken. How can an hour be given away",
                "opposing_counsel moves to strike a witness because she did not appear. She did!",
            )


async def chores(office: Office, now: int, rng: Random) -> None:
    """Calls, settings, papers of every day."""
    if rng.random() < 0.25:
        await office.lead.set_threshold(rng.choice(SUBJECTS), round(rng.uniform(0.4, 0.8), 2), now)
    for _ in range(rng.randint(0, 2)):
        await office.lead.call_client(now, rng.choice(("bill", "weather", "next hearing")))
    if rng.random() < 0.35:
        office.entries += 1
        await office.clerk.enter(office.entries, rng.choice(("notice", "extension of time", "new address")))
    if rng.random() < 0.1 or now == office.case.decoy_at:
        await office.room.compact(now)


async def matter(case: Case) -> None:
    """Play a matter, wave by wave."""
    waves = case.rng("waves").choice((10, 18, 30, 46))
    case.window(waves)
    office = Office(case)
    office.build(waves)
    for now in range(waves):
        office.wave, rng = now, case.rng(f"wave/{now}")
        with recorder.run(f"wave_{now}"):
            with recorder.step("collect", "Collect documents"):
                await chores(office, now, case.rng(f"chores/{now}"))
                dated = await gather_wave(office, now, rng)
                for paper, old in office.twins:
                    await office.matcher.compare(paper.code, old.code, [paper.attachments, old.attachments])
            with recorder.step("review", "Review and produce"):
                reading = [
                    go_through(office, case.rng(f"paper/{paper.code}"), paper, date) for paper, date in dated
                ]
                await asyncio.gather(*reading, overload(office, now, case.rng(f"overload/{now}")))
                await look_again(office, now, case.rng(f"again/{now}"))
            with recorder.step("hearing", "Witnesses and requests"):
                await asyncio.gather(
                    witnesses(office, now, case.rng(f"witnesses/{now}")),
                    requests(office, now, case.rng(f"requests/{now}")),
                )


def play(case: Case) -> None:
    """Play a matter."""
    asyncio.run(matter(case))


WORLD = World(
    "discovery",
    "spans",
    ("trusted_tool", "wrong_merge", "swallowed_failure", "race", "retry_storm"),
    play,
    author=16,
)
