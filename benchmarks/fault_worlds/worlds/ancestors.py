"""A bureau of genealogists: films, a paid portal, old handwriting, a family tree. Coroutines, a run for each commission; no ticks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World, call

RESEARCHERS = ("Adler", "Bosko", "Celia", "Dunja", "Ewart", "Freya")
CLIENTS = (
    "Mrs_Okafor",
    "Mr_Lindgren",
    "Dr_Petit",
    "Ms_Haraldsen",
    "Family_Byrne",
    "Mr_Tanaka",
    "Sister_Agnes",
)
SURNAMES = ("Berg", "Kowal", "Lind", "Moser", "Novak", "Olsen", "Pohl", "Roth")
FATHERS = ("Anton", "Jakob", "Mathias", "Lorenz", "Peder", "Wenzel")
FILMS = ("film_311", "film_312", "film_407", "film_408", "film_520")
CAP = 90  # credits that the portal keeps for a customer
CERTIFICATE = 25


@dataclass
class Person:
    """A person of the tree: the year and the father are what the parish wrote."""

    code: str
    surname: str
    year: int
    father: str


@record_tool
def search_index(surname: str, place: str) -> dict[str, Any]:
    """Search the printed index, which costs nothing."""
    return {"surname": surname, "place": place, "hits": len(surname) % 4 + len(place) % 3}


class Desk:
    """Somebody or something of the bureau."""

    trace_ignore: tuple[str, ...] = ("bureau",)
    agent_role = "office"

    def __init__(self, name: str, bureau: Bureau) -> None:
        self.agent_id, self.bureau = name, bureau


class Thing(Desk):
    """A film or a reading machine, which one person can have at a time."""

    agent_role = "thing"
    trace_ignore = ("bureau", "back")

    def __init__(self, name: str, bureau: Bureau) -> None:
        super().__init__(name, bureau)
        self.user, self.back = "", asyncio.Event()

    @trace_agent_action()
    async def sign_out(self, study: str, who: str) -> str:
        if self.user:
            return f"with {self.user}"
        self.user = who
        self.back.clear()
        return "yours"

    @trace_agent_action()
    async def sign_in(self, study: str) -> None:
        self.user = ""
        self.back.set()


class Portal(Desk):
    """The portal of the archives: each image costs a credit, also when nothing comes."""

    agent_role = "portal"
    credits = CAP

    @trace_agent_action()
    async def download(self, image: str, attempt: int) -> str:
        if not self.credits:
            return "no credit"
        self.credits -= 1
        if attempt < self.bureau.silent.get(image, 0):
            return "try again"
        return "image"

    @trace_agent_action()
    async def certify(self, claim: str) -> str:
        if self.credits < CERTIFICATE:
            return "no credit"
        self.credits -= CERTIFICATE
        return "stamped"

    @trace_agent_action()
    async def refill(self, week: int) -> int:
        self.credits = min(CAP, self.credits + 14)
        return self.credits

    @trace_agent_action()
    async def log_in(self, week: int) -> None:
        if self.bureau.dice("log in").random() < 0.2:
            raise PermissionError("session expired")


class ReadingRoom(Desk):
    """Seats of the state archive, week by week."""

    agent_role = "archive"
    trace_ignore = ("bureau", "seats")

    def __init__(self, name: str, bureau: Bureau) -> None:
        super().__init__(name, bureau)
        self.seats: dict[tuple[int, int], str] = {}

    @trace_agent_action()
    async def look(self, visit: str, week: int) -> int:
        return next(seat for seat in range(1, 99) if (week, seat) not in self.seats)

    @trace_agent_action()
    async def is_free(self, visit: str, week: int, seat: int) -> bool:
        return (week, seat) not in self.seats

    @trace_agent_action()
    async def write_in(self, visit: str, week: int, seat: int, who: str) -> None:
        self.seats[week, seat] = who

    @trace_agent_action()
    async def admit(self, visit: str, week: int, who: str) -> str:
        return (
            "come in" if who in {self.seats.get((week, seat)) for seat in range(1, 99)} else "not on the list"
        )


class Transcriber(Desk):
    """Reads old handwriting with a model."""

    agent_role = "tool"

    @trace_agent_action()
    async def transcribe(self, image: str, code: str) -> int:
        """Return the year of birth on an image."""
        bureau = self.bureau
        year = bureau.people[code].year + bureau.misread.get(image, 0)
        recorder.record_model_call(
            step_id="reading",
            model_name="kurrent-7",
            prompt=f"year of birth on {image}?",
            output=f"anno {year}",
        )
        return year


class Tree(Desk):
    """The tree of all families: who was born when, and who is the same person."""

    agent_role = "store"
    trace_ignore = ("bureau", "years", "same")

    def __init__(self, name: str, bureau: Bureau) -> None:
        super().__init__(name, bureau)
        self.years: dict[str, int] = {}
        self.same: dict[str, str] = {}

    @trace_agent_action()
    async def enter(self, code: str, year: int) -> None:
        self.years[code] = year

    @trace_agent_action()
    async def look_up(self, code: str, claim: str) -> int:
        return self.years[code]

    @trace_agent_action()
    async def unite(self, one: str, other: str) -> None:
        self.same[one] = other

    @trace_agent_action()
    async def separate(self, one: str, other: str) -> None:
        self.same.pop(one, None)

    @trace_agent_action()
    async def line_of(self, code: str, letter: str) -> list[str]:
        return [code, *([self.same[code]] if code in self.same else [])]


class Researcher(Desk):
    """A genealogist."""

    agent_role = "researcher"

    @trace_agent_action()
    async def fetch(self, image: str, patience: int) -> str:
        """Download an image; ask again as often as patience allows."""
        got = "try again"
        for attempt in range(patience):
            got = await self.bureau.portal.download(image, attempt)
            if got != "try again":
                break
            await rest(1)
        return got

    @trace_agent_action()
    async def read(self, image: str, code: str) -> int:
        """Have an image read, and enter what it says."""
        year = await self.bureau.transcriber.transcribe(image, code)
        await self.bureau.tree.enter(code, year)
        return year

    @trace_agent_action()
    async def proofread(self, image: str, code: str) -> None:
        """Read it with one's own eyes."""
        await self.bureau.tree.enter(code, self.bureau.people[code].year)

    @trace_agent_action()
    async def compare(self, one: str, other: str, seen: str) -> str:
        """Decide whether two people are one, after a look at the page with the fathers, or without."""
        bureau = self.bureau
        recorder.record_model_call(
            step_id="tree",
            model_name="namesake-2",
            prompt=f"{one} = {other}?",
            output="same name, same parish",
        )
        if seen == "names" or len(set(await bureau.parish.show_fathers(one, other))) == 1:
            await bureau.tree.unite(one, other)
            return "one"
        return "two"

    @trace_agent_action()
    async def look_again(self, one: str, other: str) -> None:
        await self.bureau.tree.separate(one, other)

    @trace_agent_action()
    async def book(self, visit: str, week: int) -> int:
        """Book a seat in the reading room."""
        bureau, room = self.bureau, self.bureau.room
        seat = await room.look(visit, week)
        await rest(3)
        while visit not in bureau.by_heart and not await room.is_free(visit, week, seat):
            seat = await room.look(visit, week)
        await room.write_in(visit, week, seat, self.agent_id)
        return seat

    @trace_agent_action()
    async def travel(self, visit: str, week: int) -> str:
        return await self.bureau.room.admit(visit, week, self.agent_id)

    @trace_agent_action()
    async def study(self, study: str, film: str, machine: str) -> str:
        """Study a film at a machine; the film is fetched first."""
        bureau = self.bureau
        things = [bureau.things[film], bureau.things[machine]]
        if study in bureau.machine_first:
            things.reverse()
        for thing in things:
            while await thing.sign_out(study, self.agent_id) != "yours":
                await thing.back.wait()
                if bureau.is_over:
                    return "left"
            await rest(3)
        for thing in things:
            await thing.sign_in(study)
        bureau.studied.add(study)
        return "done"


class Secretary(Desk):
    """Writes letters, and answers the telephone."""

    @trace_agent_action()
    async def compose(self, letter: str, client: str, code: str) -> str:
        """Write who somebody's forebears were."""
        line = await self.bureau.tree.line_of(code, letter)
        return await self.bureau.clients[client].open(letter, line)

    @trace_agent_action()
    async def pick_up(self, phone: int, study: str) -> str:
        return "it is done" if study in self.bureau.studied else "they are at it"

    @trace_agent_action()
    async def water_plants(self, week: int) -> None: ...


class Parish(Desk):
    """The parish office, which has the books."""

    agent_role = "authority"

    @trace_agent_action()
    async def attest(self, claim: str, code: str) -> int:
        return self.bureau.people[code].year

    @trace_agent_action()
    async def show_fathers(self, one: str, other: str) -> list[str]:
        return [self.bureau.people[code].father for code in (one, other)]


class Court(Desk):
    """A court of probate."""

    agent_role = "authority"

    @trace_agent_action()
    async def examine(self, claim: str, code: str) -> str:
        """Compare what the tree says with the parish's own certificate."""
        year = await self.bureau.tree.look_up(code, claim)
        return "granted" if year == await self.bureau.parish.attest(claim, code) else "dismissed"

    @trace_agent_action()
    async def take_papers(self, claim: str) -> str:
        return "complete" if await self.bureau.portal.certify(claim) == "stamped" else "too late"


class Client(Desk):
    """Somebody who wants to know."""

    agent_role = "client"

    @trace_agent_action()
    async def open(self, letter: str, line: list[str]) -> str:
        fathers = {self.bureau.people[code].father for code in line}
        return "delighted" if len(fathers) == 1 else "strangers"

    @trace_agent_action()
    async def ask(self, commission: str) -> None: ...

    @trace_agent_action()
    async def hear(self, matter: str, answer: str) -> None: ...


async def rest(turns: int) -> None:
    """Let others go on for some turns."""
    for _ in range(turns):
        await asyncio.sleep(0)


@dataclass
class Bureau:
    """The bureau; `mine` is the researcher, `client` the client of the case."""

    case: Case
    week: int = 0
    orders: int = 0
    is_over: bool = False
    people: dict[str, Person] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    misread: dict[str, int] = field(default_factory=dict)
    by_heart: set[str] = field(default_factory=set)
    machine_first: set[str] = field(default_factory=set)
    studied: set[str] = field(default_factory=set)
    open: list[asyncio.Task[Any]] = field(default_factory=list)

    def found(self) -> None:
        """Found the bureau."""
        rng = self.case.rng("bureau")
        self.staff = {name: Researcher(name, self) for name in RESEARCHERS}
        self.clients = {name: Client(name, self) for name in CLIENTS}
        self.things = {name: Thing(name, self) for name in (*FILMS, "reader_1", "reader_2", "reader_3")}
        self.portal, self.room = Portal("portal", self), ReadingRoom("reading_room", self)
        self.transcriber, self.tree = Transcriber("transcriber", self), Tree("family_tree", self)
        self.parish = Parish("parish_office", self)
        self.secretary, self.court = Secretary("secretary", self), Court("probate_court", self)
        self.mine, self.second, self.third = rng.sample(RESEARCHERS, 3)
        self.client, self.other = rng.sample(CLIENTS, 2)
        self.film = rng.choice(FILMS)
        self.planned: tuple[str, ...] = ()

    def dice(self, topic: str) -> Random:
        """Return the dice of a topic for this week."""
        return self.case.rng(f"{topic}/{self.week}")

    def person(self, rng: Random, father: str = "") -> Person:
        """Let somebody have lived."""
        code = f"I{len(self.people) + 1:04}"
        surname = rng.choice(SURNAMES)
        self.people[code] = Person(
            code, surname, rng.randint(1760, 1890), father or f"{rng.choice(FATHERS)} of {code}"
        )
        return self.people[code]


async def commission(bureau: Bureau, number: int) -> None:
    """Work on an everyday commission, from the question to the letter."""
    rng = bureau.case.rng(f"commission/{bureau.week}/{number}")
    bureau.orders += 1
    code, client = f"C{bureau.orders:04}", rng.choice([name for name in CLIENTS if name != bureau.client])
    who, proof = (bureau.staff[name] for name in rng.sample(RESEARCHERS, 2))
    person, image = bureau.person(rng), f"{code}.tif"
    namesake = bureau.person(rng, person.father if rng.random() < 0.5 else "")
    with recorder.run("bureau", {"commission": code}):
        with recorder.step("search", "Search"):
            await bureau.clients[client].ask(code)
            search_index(person.surname, rng.choice(("Graz", "Lund", "Ulm", "Brno")))
        with recorder.step("images", "Get images"):
            if rng.random() < 0.3:
                bureau.silent[image] = rng.randint(1, 2)
            await who.fetch(image, 4)
        with recorder.step("reading", "Read them") as reading:
            if rng.random() < 0.2:
                bureau.misread[image] = rng.choice((-10, -3, 3, 6))
            reading.output = {"year": await who.read(image, person.code)}
            if image in bureau.misread or rng.random() < 0.2:
                await proof.proofread(image, person.code)
        with recorder.step("tree", "Compare"):
            blind = rng.random() < 0.25
            verdict = await who.compare(person.code, namesake.code, "names" if blind else "fathers")
            if verdict == "one" and person.father != namesake.father:
                await proof.look_again(person.code, namesake.code)
        with recorder.step("report", "Report"):
            if rng.random() < 0.3:
                await bureau.court.examine(f"Q{code}", person.code)
            await bureau.secretary.compose(f"L{code}", client, person.code)


async def visits(bureau: Bureau) -> None:
    """Book seats, and travel."""
    case, rng, week = bureau.case, bureau.dice("visits"), bureau.week
    racing = case.has("race")
    if rng.random() < 0.4:
        one, two = rng.sample(RESEARCHERS, 2)
        due, names = week + rng.randint(1, 8), [f"V{week}-1", f"V{week}-2"]
        due += racing and due == case.end
        if rng.random() < 0.5:  # alone, one may remember the seat on the way
            bureau.by_heart.add(names[0])
            await bureau.staff[one].book(names[0], due)
        else:
            await asyncio.gather(bureau.staff[one].book(names[0], due), bureau.staff[two].book(names[1], due))
            bureau.open.append(asyncio.create_task(_later(bureau, due, bureau.staff[two], names[1])))
        bureau.open.append(asyncio.create_task(_later(bureau, due, bureau.staff[one], names[0])))
    if racing and week == case.begin:
        names = [f"V{week}-x", f"V{week}-y"]
        if case.strikes("race", week):
            bureau.by_heart.update(names)
        with recorder.run("bureau", {"journey": names[0]}):
            await asyncio.gather(
                bureau.staff[bureau.mine].book(names[0], case.end),
                bureau.staff[bureau.second].book(names[1], case.end),
            )
        case.root(
            call("reading_room", "write_in", visit=names[1]),
            call("reading_room", "look", visit=names[1]),
            call("reading_room", "look", visit=names[0]),
            call(bureau.second, "book", visit=names[1]),
            call(bureau.mine, "book", visit=names[0]),
            call("reading_room", "write_in", visit=names[0]),
        )
    if racing and week == case.end:
        visit = f"V{case.begin}-x"
        if await bureau.staff[bureau.mine].travel(visit, week) != "come in":
            case.hop(
                call("reading_room", "admit", visit=visit),
                call(bureau.mine, "travel", visit=visit, week=week),
            )
            await tell(
                bureau,
                "seat",
                "Nine hours on the train for nothing, and the bill for it comes to me",
                f"{bureau.mine} was sent away at the door of the archive. no seat, they said. We had booked weeks ago",
                f"the journey for {bureau.client} has to be repeated, somebody else sat on the chair",
                "why was my genealogist not on the list",
            )


async def _later(bureau: Bureau, due: int, who: Researcher, visit: str) -> None:
    """Wait for the week of a visit, and go."""
    while bureau.week < due and not bureau.is_over:
        await rest(1)
    if not bureau.is_over:
        await who.travel(visit, due)


async def tell(bureau: Bureau, matter: str, *texts: str) -> None:
    """The client of the case hears about it, and a user writes."""
    await bureau.clients[bureau.client].hear(matter, "we are sorry")
    bureau.case.symptom(call(bureau.client, "hear", matter=matter), *texts)


async def studies(bureau: Bureau) -> None:
    """Study films at machines."""
    case, rng, week = bureau.case, bureau.dice("studies"), bureau.week
    locked = case.has("deadlock")
    for number in range(rng.randint(0, 2)):
        study = f"S{week}-{number}"
        film = rng.choice([film for film in FILMS if film != bureau.film or not locked])
        if rng.random() < 0.3:  # nobody else wants this film today
            bureau.machine_first.add(study)
        await bureau.staff[rng.choice(RESEARCHERS)].study(study, film, f"reader_{2 + number}")
        if rng.random() < 0.3:
            await bureau.secretary.pick_up(week * 10 + number, study)
    if locked and week == case.begin:
        names = [f"S{week}-x", f"S{week}-y"]
        if case.strikes("deadlock", week):
            bureau.machine_first.add(names[1])
        for who, name in zip((bureau.mine, bureau.second), names, strict=True):
            bureau.open.append(asyncio.create_task(bureau.staff[who].study(name, bureau.film, "reader_1")))
        await rest(40)
        case.root(
            call("reader_1", "sign_out", study=names[1]),
            call(bureau.film, "sign_out", study=names[0]),
            call(bureau.film, "sign_out", study=names[1]),
            call("reader_1", "sign_out", study=names[0]),
        )
    if locked and week == case.end:
        phone = week * 10 + 9
        if await bureau.secretary.pick_up(phone, f"S{case.begin}-x") != "it is done":
            case.hop(call(bureau.film, "sign_out", study=f"S{case.begin}-x"))
            case.hop(call("secretary", "pick_up", phone=phone))
            await tell(
                bureau,
                "no result",
                "I have been told three times that they are at it",
                f"Neither {bureau.mine} nor {bureau.second} has delivered a single page since, what are they doing in that cellar?",
                f"{bureau.client} is waiting, nothing comes out of the film room, {bureau.third} is the only one who works",
                "nothing moves",
            )


async def storms(bureau: Bureau) -> None:
    """Have credits filled up, and fetch what is hard to get."""
    case, rng, week = bureau.case, bureau.dice("storms"), bureau.week
    if not case.has("retry_storm"):
        return
    if case.begin <= week < case.end:
        image = f"W{week}.tif"
        many = -(-CAP // (case.end - case.begin)) + 16
        bureau.silent[image] = many if case.strikes("retry_storm") else rng.randint(1, 2)
        with recorder.run("bureau", {"night job": week}), recorder.step("images", "Get images"):
            await bureau.staff[bureau.mine].fetch(image, many + 1 if case.strikes("retry_storm") else 4)
        if len(case.roots) < 6:
            case.root(call(bureau.mine, "fetch", image=image), call("portal", "download", image=image))
            case.hop(call("portal", "download", image=image))
    if week == case.end:
        claim = f"X{week}"
        if await bureau.court.take_papers(claim) == "too late":
            case.hop(
                call("portal", "certify", claim=claim), call("probate_court", "take_papers", claim=claim)
            )
            await tell(
                bureau,
                "papers",
                "the stamped copy was not there on the day of the hearing. My aunt's house now goes to the state",
                f"probate_court did not get the certificate for {bureau.client}, and we pay for that portal every week!",
                f"Deadline missed. {bureau.second} only shrugged and said the account was empty",
                "papers incomplete, claim lost",
            )


async def readings(bureau: Bureau) -> None:
    """Read the page on which a claim will rest."""
    case, rng, week = bureau.case, bureau.dice("readings"), bureau.week
    if not case.has("trusted_tool"):
        return
    if week == case.begin:
        person, image = bureau.person(rng), f"R{week}.tif"
        bureau.planned = (person.code,)
        if case.strikes("trusted_tool", week):
            bureau.misread[image] = rng.choice((-6, 4, 7, 10))
        with recorder.run("bureau", {"commission": f"R{week}"}):
            with recorder.step("images", "Get images"):
                await bureau.staff[bureau.mine].fetch(image, 3)
            with recorder.step("reading", "Read them"):
                await bureau.staff[bureau.mine].read(image, person.code)
        case.root(
            call("transcriber", "transcribe", image=image),
            call(bureau.mine, "read", image=image),
            call("family_tree", "enter", code=person.code),
        )
    if week == case.end:
        (code,), claim = bureau.planned, f"X{week}"
        if await bureau.court.examine(claim, code) == "dismissed":
            case.hop(
                call("family_tree", "look_up", claim=claim),
                call("parish_office", "attest", claim=claim),
                call("probate_court", "examine", claim=claim),
            )
            case.trigger(call("probate_court", "examine", claim=claim))
            await tell(
                bureau,
                "dismissed",
                "The judge says that this man was not even born then",
                f"Claim of {bureau.client} dismissed because our own tree has a wrong year in it",
                f"the year does not fit, {bureau.second} compared it with the parish and it is another one. How embarrassing",
                "we lost in court",
            )


async def kinships(bureau: Bureau) -> None:
    """Compare the people of the case, and write about them."""
    case, rng, week = bureau.case, bureau.dice("kinships"), bureau.week
    if not case.has("wrong_merge"):
        return
    if week == case.begin:
        one, other = bureau.person(rng), bureau.person(rng)
        bureau.planned = (one.code, other.code)
        seen = "names" if case.strikes("wrong_merge", week) else "fathers"
        with recorder.run("bureau", {"commission": f"M{week}"}), recorder.step("tree", "Compare"):
            await bureau.staff[bureau.mine].compare(one.code, other.code, seen)
        case.root(call(bureau.mine, "compare", one=one.code, other=other.code))
        if case.strikes("wrong_merge", week):
            case.root(call("family_tree", "unite", one=one.code, other=other.code))
    if week == case.end:
        letter, (code, _) = f"L{week}-x", bureau.planned
        with recorder.run("bureau", {"letter": letter}), recorder.step("report", "Report"):
            answer = await bureau.secretary.compose(letter, bureau.client, code)
        if answer == "strangers":
            case.hop(
                call("family_tree", "line_of", letter=letter), call("secretary", "compose", letter=letter)
            )
            case.symptom(
                call(bureau.client, "open", letter=letter),
                "That is not my family",
                f"{bureau.client} has got forebears from two villages that have nothing to do with each other",
                "great-grandfather had two fathers, says your report. I paid 800 for that",
                f"the letter is half about strangers, did the secretary mix up two files? {bureau.other} was very happy with hers",
            )


async def office(bureau: Bureau) -> None:
    """Credits, log-ins, plants."""
    rng, week = bureau.dice("office"), bureau.week
    await bureau.portal.refill(week)
    try:
        await bureau.portal.log_in(week)
    except PermissionError:
        AgentLogger("secretary", "office").log_action("renew_password", {"week": week})
    for _ in range(rng.randint(1, 3)):
        act = rng.choice(("sharpen_pencils", "sort_cards", "make_tea", "dust_shelves", "write_invoice"))
        AgentLogger(rng.choice(RESEARCHERS), "researcher").log_action(act, {"week": week})
    if rng.random() < 0.2:
        AgentLogger("secretary", "office").log_action("set_display", {"font": rng.randint(9, 14)})
    if week == bureau.case.decoy_at:
        await bureau.secretary.water_plants(week)
        await bureau.clients[bureau.client].ask(f"again {week}")


async def years(case: Case) -> None:
    """Play some weeks."""
    weeks = case.rng("weeks").choice((18, 32, 50, 72))
    case.window(weeks)
    bureau = Bureau(case)
    bureau.found()
    for week in range(weeks):
        bureau.week = week
        await office(bureau)
        count = bureau.dice("count").randint(1, 3)
        await asyncio.gather(*(commission(bureau, number) for number in range(count)))
        parts: list[Coroutine[Any, Any, None]] = [
            part(bureau) for part in (visits, readings, kinships, studies)
        ]
        await asyncio.gather(*parts)
        await storms(bureau)
        await rest(3)
    bureau.is_over = True
    for thing in bureau.things.values():
        thing.back.set()
    await asyncio.gather(*bureau.open)


def play(case: Case) -> None:
    """Play some weeks."""
    asyncio.run(years(case))


WORLD = World(
    "ancestors", "spans", ("race", "deadlock", "retry_storm", "trusted_tool", "wrong_merge"), play, author=15
)
