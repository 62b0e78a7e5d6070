"""An excavation: trenches, the book of finds, a store, a link to the world. Coroutines side by side in a run; no ticks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World, call

TRENCHES = ("Trench_Amber", "Trench_Birch", "Trench_Clover", "Trench_Dune", "Trench_Elm", "Trench_Fern")
KINDS = (
    "bronze pin",
    "potsherd",
    "glass bead",
    "loom weight",
    "bone comb",
    "iron nail",
    "coin",
    "tile stamp",
)


@dataclass
class Find:
    """Something found; pieces of one vessel have the same `vessel`."""

    code: str
    kind: str
    trench: str
    vessel: int
    number: int = 0


class Actor:
    """Somebody of the excavation."""

    trace_ignore = ("site",)

    def __init__(self, name: str, role: str, site: Site) -> None:
        self.agent_id, self.agent_role, self.site = name, role, site


class Book(Actor):
    """The book of finds: numbers are given one by one."""

    next_number = 501

    @trace_agent_action()
    async def look(self, find: str) -> int:
        return self.next_number

    @trace_agent_action()
    async def is_free(self, number: int, find: str) -> bool:
        return number >= self.next_number

    @trace_agent_action()
    async def enter(self, number: int, find: str, kind: str) -> None:
        self.site.boxes[number] = find
        self.site.finds[find].number = number
        self.next_number = max(self.next_number, number + 1)


class Tool(Actor):
    """A pump or a hoist, which one team can have at a time."""

    trace_ignore = ("site", "freed")

    def __init__(self, name: str, role: str, site: Site) -> None:
        super().__init__(name, role, site)
        self.holder, self.freed = "", asyncio.Event()

    @trace_agent_action()
    async def lend(self, team: str, job: str) -> bool:
        if self.holder:
            return False
        self.holder = team
        self.freed.clear()
        return True

    @trace_agent_action()
    async def take_back(self, team: str, job: str) -> None:
        self.holder = ""
        self.freed.set()


class Trench(Actor):
    """A team in a trench."""

    lifted = ""

    @trace_agent_action()
    async def note_find(self, find: str, kind: str) -> int:
        """Look for the next number, and enter the find under it."""
        site = self.site
        if find in site.hasty:  # calls the number over the fence instead of walking to the book
            number = await site.book.look(find)
            await pause(3)
            while find not in site.unchecked and not await site.book.is_free(number, find):
                number = await site.book.look(find)
            await site.book.enter(number, find, kind)
            return number
        async with site.at_book:
            number = await site.book.look(find)
            await site.book.enter(number, find, kind)
        return number

    @trace_agent_action()
    async def lift_block(self, job: str) -> str:
        """Lift a block of soil, with hoist and pump."""
        site = self.site
        order = [site.hoist, site.pump]
        if (self.agent_id, job) in site.other_way:
            order.reverse()
        for tool in order:
            while not await tool.lend(self.agent_id, job):
                await tool.freed.wait()
                if site.is_over:
                    return "given up"
            await pause(4)
        for tool in order:
            await tool.take_back(self.agent_id, job)
        self.lifted = job
        return "lifted"

    @trace_agent_action()
    async def extend(self, day: int) -> str:
        """Dig on along the line that the grid gives."""
        site = self.site
        return "on the wall" if site.shifts[self.agent_id] == site.true_shifts[self.agent_id] else "cable"

    @trace_agent_action()
    async def cover(self, day: int) -> None: ...

    @trace_agent_action()
    async def bail_out(self, day: int) -> None: ...


class Grid(Actor):
    """Where the pegs of each trench stand."""

    @trace_agent_action()
    async def apply(self, trench: str, revision: str, shift_cm: int) -> None:
        self.site.shifts[trench] = shift_cm


class Surveyor(Actor):
    """Measures, and corrects what was measured before."""

    @trace_agent_action()
    async def correct(self, trench: str, revision: str, shift_cm: int) -> None:
        self.site.true_shifts[trench] = max(self.site.true_shifts[trench], shift_cm)
        await pause(self.site.ways[revision])  # on foot or by radio
        await self.site.grid.apply(trench, revision, shift_cm)

    @trace_agent_action()
    async def aim(self, day: int) -> str:
        if self.site.case.rng(f"aim/{day}").random() < 0.2:
            raise TimeoutError("battery empty")
        return "sighted"

    @trace_agent_action()
    async def change_battery(self, day: int) -> None: ...


class Registrar(Actor):
    """Decides which pieces belong together."""

    @trace_agent_action()
    async def judge(self, one: str, other: str) -> str:
        """Ask the matcher for pictures alike, look at the pieces, and decide."""
        site = self.site
        answer = f"{one} and {other} are alike"
        recorder.record_model_call(
            step_id=f"day_{site.now}", model_name="matcher", prompt=f"compare {one}, {other}", output=answer
        )
        same = site.finds[one].vessel == site.finds[other].vessel
        if same or (one, other) in site.unseen:
            await self.join(one, other)
            return "one vessel"
        await self.keep_apart(one, other)
        return "two vessels"

    @trace_agent_action()
    async def join(self, one: str, other: str) -> None:
        await self.site.store.put_together(one, other)

    @trace_agent_action()
    async def keep_apart(self, one: str, other: str) -> None: ...


class Store(Actor):
    """The boxes."""

    @trace_agent_action()
    async def put_together(self, one: str, other: str) -> None:
        self.site.together[one] = other

    @trace_agent_action()
    async def fetch(self, number: int, wish: str) -> str:
        return self.site.boxes[number]

    @trace_agent_action()
    async def hand_out(self, find: str, day: int) -> list[str]:
        return [find, *filter(None, [self.site.together.get(find)])]


class Draughtsman(Actor):
    """Draws vessels from their pieces."""

    @trace_agent_action()
    async def draw(self, find: str, day: int) -> str:
        pieces = await self.site.store.hand_out(find, day)
        return "fits" if len({self.site.finds[piece].vessel for piece in pieces}) == 1 else "does not fit"


class MuseumDesk(Actor):
    """Borrows finds."""

    @trace_agent_action()
    async def borrow(self, number: int, kind: str, wish: str) -> str:
        got = await self.site.store.fetch(number, wish)
        return "thanks" if self.site.finds[got].kind == kind else "another thing"


class Uplink(Actor):
    """A link by satellite, with so many megabytes for the season."""

    left = 0

    @trace_agent_action()
    async def send(self, item: str, megabytes: int, attempt: int) -> str:
        """Send; what breaks off is counted, too."""
        if self.left < megabytes:
            return "nothing left"
        self.left -= megabytes
        return "broken off" if self.site.is_weak and attempt and item.startswith("photo") else "sent"


class Photographer(Actor):
    """Sends pictures home in the evening."""

    @trace_agent_action()
    async def upload(self, item: str, day: int) -> str:
        """Send a picture; after a failure wait for the night."""
        link = self.site.link
        for attempt in range(1, 1 + self.site.attempts.get(item, 1)):
            if await link.send(item, 8, attempt) != "broken off":
                return "sent"
        return await link.send(item, 8, 0)


class WeatherPost(Actor):
    """Asks for the forecast, and warns."""

    @trace_agent_action()
    async def ask(self, day: int) -> str:
        if await self.site.link.send(f"forecast {day}", 9, 1) != "sent":
            return "no answer"
        return "rain" if day in self.site.rain else "dry"


class Director(Actor):
    """Walks around."""

    @trace_agent_action()
    async def visit(self, trench: str, day: int) -> str:
        return (
            "they dig" if self.site.trenches[trench].lifted >= self.site.due.get(trench, "") else "they wait"
        )


class Desk(Actor):
    """Writes the diary."""

    @trace_agent_action()
    async def write(self, page: int, matter: str) -> None: ...


async def pause(turns: int) -> None:
    """Let others go on for some turns."""
    for _ in range(turns):
        await asyncio.sleep(0)


@dataclass
class Site:
    """The excavation, and the trench `mine` of the case."""

    case: Case
    now: int = 0
    pages: int = 0
    is_over: bool = False
    is_weak: bool = False
    finds: dict[str, Find] = field(default_factory=dict)
    boxes: dict[int, str] = field(default_factory=dict)
    together: dict[str, str] = field(default_factory=dict)
    shifts: dict[str, int] = field(default_factory=dict)
    true_shifts: dict[str, int] = field(default_factory=dict)
    ways: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    due: dict[str, str] = field(default_factory=dict)
    hasty: set[str] = field(default_factory=set)
    unchecked: set[str] = field(default_factory=set)
    unseen: set[tuple[str, str]] = field(default_factory=set)
    other_way: set[tuple[str, str]] = field(default_factory=set)
    rain: set[int] = field(default_factory=set)
    planned: str = ""
    open: list[asyncio.Task[Any]] = field(default_factory=list)

    def build(self, days: int) -> None:
        """Build everybody."""
        rng = self.case.rng("camp")
        self.at_book = asyncio.Lock()
        self.trenches = {name: Trench(name, "trench", self) for name in TRENCHES}
        self.mine, self.second, self.other = rng.sample(TRENCHES, 3)
        self.quiet = [name for name in TRENCHES if name not in {self.mine, self.second}]
        self.book, self.store = Book("finds_book", "office", self), Store("finds_store", "office", self)
        self.pump, self.hoist = Tool("pump_1", "tool", self), Tool("hoist_1", "tool", self)
        self.grid, self.surveyor = Grid("grid", "office", self), Surveyor("Ilse", "surveyor", self)
        self.registrar = Registrar("Okoro", "registrar", self)
        self.draughtsman = Draughtsman("Petra", "draughtsman", self)
        self.museum, self.link = MuseumDesk("museum_desk", "office", self), Uplink("uplink", "link", self)
        self.camera = Photographer("Noor", "photographer", self)
        self.post = WeatherPost("weather_post", "office", self)
        self.director, self.desk = Director("Lindqvist", "director", self), Desk("site_diary", "office", self)
        self.link.left = 34 * days + 120
        self.shifts, self.true_shifts = dict.fromkeys(TRENCHES, 0), dict.fromkeys(TRENCHES, 0)
        self.rain = {day for day in range(days) if rng.random() < 0.15}
        if self.case.has("retry_storm"):
            self.rain = {day for day in self.rain if day < self.case.begin} | {self.case.end}

    def new_find(self, rng: Random, trench: str, kind: str = "") -> Find:
        """Let something be found."""
        code = f"F{len(self.finds) + 1:04}"
        find = Find(code, kind or rng.choice(KINDS), trench, len(self.finds))
        self.finds[code] = find
        return find

    async def tell(self, matter: str, *texts: str) -> None:
        """Somebody complains, the diary has it, and a user writes about it."""
        self.pages += 1
        await self.desk.write(self.pages, matter)
        fill = {"mine": self.mine, "second": self.second, "other": self.other}
        event = call("site_diary", "write", page=self.pages)
        self.case.symptom(event, *(text.format(**fill) for text in texts))


async def finds_of_day(site: Site, now: int) -> None:
    """Finds are numbered, side by side."""
    case, rng = site.case, site.case.rng(f"finds/{now}")
    tasks = []
    for _ in range(rng.randint(1, 4)):
        find = site.new_find(rng, rng.choice(TRENCHES))
        if rng.random() < 0.3:
            site.hasty.add(find.code)
        tasks.append(site.trenches[find.trench].note_find(find.code, find.kind))
    await asyncio.gather(*tasks)
    if case.has("race") and now == case.begin:
        names, kinds = (site.mine, site.second), rng.sample(KINDS, 2)
        pair = [site.new_find(rng, name, kind) for name, kind in zip(names, kinds, strict=True)]
        site.planned = pair[0].code
        for find in pair:
            site.hasty.add(find.code)
            if case.strikes("race", now):
                site.unchecked.add(find.code)
        for find in reversed(pair):
            case.root(
                call("finds_book", "enter", find=find.code), call(find.trench, "note_find", find=find.code)
            )
            case.root(call("finds_book", "look", find=find.code))
        await asyncio.gather(*(site.trenches[find.trench].note_find(find.code, find.kind) for find in pair))
    if rng.random() < 0.15:  # alone at the book, nobody can be in the way
        find = site.new_find(rng, rng.choice(TRENCHES))
        site.hasty.add(find.code)
        site.unchecked.add(find.code)
        await site.trenches[find.trench].note_find(find.code, find.kind)


async def loans(site: Site, now: int) -> None:
    """The museum borrows finds."""
    case, rng = site.case, site.case.rng(f"loans/{now}")
    known = [code for code, find in site.finds.items() if find.number]
    wishes = [rng.choice(known)] if rng.random() < 0.6 else []
    if case.has("race"):  # nobody asks before its time for what the case is about
        wishes = [code for code in wishes if site.finds[code].trench in site.quiet]
        wishes += [site.planned] if now == case.end else []
    for code in wishes:
        find, wish = site.finds[code], f"L{now:03}-{code}"
        if await site.museum.borrow(find.number, find.kind, wish) == "another thing":
            case.hop(call("finds_store", "fetch", wish=wish), call("museum_desk", "borrow", wish=wish))
            await site.tell(
                "wrong object",
                f"Number {find.number} should be a {find.kind}. It is not",
                "the museum_desk opened the box and found something quite different in it",
                f"where is our {find.kind}? did somebody swap it on the way to the museum_desk",
                "the exhibition opens tomorrow and the showpiece is another thing",
            )


async def joins(site: Site, now: int) -> None:
    """Pieces are judged, and vessels drawn."""
    case, rng = site.case, site.case.rng(f"joins/{now}")
    pairs = []
    for _ in range(rng.randint(0, 2)):
        one, other = (site.new_find(rng, rng.choice(site.quiet), "potsherd") for _ in range(2))
        if rng.random() < 0.5:
            other.vessel = one.vessel
        pairs.append((one, other))
    if case.has("wrong_merge") and now == case.begin:
        one, other = (site.new_find(rng, name, "potsherd") for name in (site.mine, site.second))
        site.planned = one.code
        if case.strikes("wrong_merge", now):
            site.unseen.add((one.code, other.code))
        case.root(call("Okoro", "judge", one=one.code, other=other.code))
        pairs.append((one, other))
    for one, other in pairs:
        for find in (one, other):
            await site.trenches[find.trench].note_find(find.code, find.kind)
        await site.registrar.judge(one.code, other.code)
    drawn = [rng.choice(list(site.finds))] if rng.random() < 0.5 else []
    drawn = [code for code in drawn if site.finds[code].trench in site.quiet]
    drawn += [site.planned] if case.has("wrong_merge") and now == case.end else []
    for code in drawn:
        if await site.draughtsman.draw(code, now) == "does not fit":
            case.hop(call("finds_store", "put_together", one=code))
            case.hop(call("finds_store", "hand_out", find=code), call("Petra", "draw", find=code, day=now))
            await site.tell(
                "impossible pot",
                "this pot cannot exist",
                "Petra sits before two pieces that do not touch anywhere and is told that they are one jar",
                f"{code} has two rims. Was something glued wrongly in the workshop?",
                "half of the vessel from {mine} is of another clay, please look into that",
            )


async def blocks(site: Site, now: int) -> None:
    """Blocks of soil are lifted with hoist and pump."""
    case, rng = site.case, site.case.rng(f"blocks/{now}")
    locked, job = case.has("deadlock"), f"B{now:03}"
    teams: list[str] = []
    if locked and now == case.begin:
        teams = [site.mine, site.second]
        if case.strikes("deadlock", now):
            site.other_way.add((site.second, job))
        case.root(call("pump_1", "lend", team=site.second, job=job), call(site.second, "lift_block", job=job))
        case.root(call("hoist_1", "lend", team=site.mine, job=job))
    elif rng.random() < 0.5 and not (locked and case.begin <= now <= case.end):
        teams = rng.sample(TRENCHES, rng.choice((1, 1, 2)))
        if len(teams) == 1 and rng.random() < 0.5:  # alone, one may take them in any order
            site.other_way.add((teams[0], job))
    for name in teams:
        site.due[name] = job
        site.open.append(asyncio.create_task(site.trenches[name].lift_block(job)))
    await pause(60)
    seen = [rng.choice(site.quiet)] if rng.random() < 0.3 else []
    seen += [site.mine] if locked and now == case.end else []
    for name in seen:
        if await site.director.visit(name, now) == "they wait" and name == site.mine:
            case.hop(call("hoist_1", "lend", team=site.mine, job=f"B{case.begin:03}"))
            case.hop(call("Lindqvist", "visit", trench=name, day=now))
            await site.tell(
                "standstill",
                "two teams sit on their buckets and say that they wait",
                "nothing at all has come out of {mine} lately, are they on strike?",
                "neither {mine} nor {second} has lifted anything, {other} works as ever",
                "half the camp stands still and each points at the other",
            )


async def measures(site: Site, now: int) -> None:
    """Corrections of the grid, and trenches that go on along it."""
    case, rng = site.case, site.case.rng(f"grid/{now}")
    try:
        await site.surveyor.aim(now)
    except TimeoutError:
        await site.surveyor.change_battery(now)
    orders = [(rng.choice(site.quiet), rng.random() < 0.3)] if rng.random() < 0.4 else []
    if case.has("out_of_order") and now == case.begin:
        orders.append((site.mine, False))
    for trench, is_late in orders:
        base = site.true_shifts[trench]
        first, last = base + rng.randint(3, 9), base + rng.randint(20, 60)
        strikes = trench == site.mine and case.strikes("out_of_order", now)
        one, two = f"{now:03}{trench[7]}1", f"{now:03}{trench[7]}2"
        site.ways[one], site.ways[two] = (9, 1) if strikes or is_late else (1, 9)
        if trench == site.mine:
            case.root(call("grid", "apply", trench=trench, revision=one))
            case.root(call("grid", "apply", trench=trench, revision=two))
            case.root(call("Ilse", "correct", trench=trench, revision=one))
        await asyncio.gather(
            site.surveyor.correct(trench, one, first), site.surveyor.correct(trench, two, last)
        )
        if is_late:  # seen in the evening, and written again
            await site.grid.apply(trench, two, last)
    going = [rng.choice(site.quiet)] if rng.random() < 0.5 else []
    going += [site.mine] if case.has("out_of_order") and now == case.end else []
    for trench in going:
        if await site.trenches[trench].extend(now) == "cable":
            case.hop(call(trench, "extend", day=now))
            await site.tell(
                "cable",
                "They have cut the telephone cable of the whole village",
                "{mine} dug where nothing was to be dug",
                "the new stretch of {mine} misses the wall by half a metre, that of {other} is right to the finger",
                "has somebody moved the pegs at night? we hit a cable",
            )


async def evening(site: Site, now: int) -> None:
    """Pictures go home; the forecast is asked for, and trenches are covered."""
    case, rng = site.case, site.case.rng(f"evening/{now}")
    storm = case.has("retry_storm") and case.begin <= now < case.end
    wet, covered = now in site.rain, rng.choice(TRENCHES)
    if (rng.random() < 0.35) | wet:
        forecast = await site.post.ask(now)
        if wet and forecast == "no answer":
            case.hop(call("weather_post", "ask", day=now), call(site.mine, "bail_out", day=now))
            await site.trenches[site.mine].bail_out(now)
            await site.tell(
                "flood",
                "everything is under water and nobody had put the covers on",
                "{mine} is a pond this morning, why was there no warning",
                "the weather_post slept, I think. {mine} and half the camp flooded",
                "mud. mud everywhere. they always used to tell us the evening before",
            )
        elif wet:
            await site.trenches[covered].cover(now)
    for number in range(rng.randint(1, 2)):
        item, mine = f"photo {now:03}-{number}", storm and number == 0
        site.is_weak = (rng.random() < 0.3) | mine
        if rng.random() < 0.3:
            site.attempts[item] = rng.randint(2, 3)
        if mine and case.strikes("retry_storm"):
            site.attempts[item] = max(4, -(-site.link.left // (8 * (case.end - now))))
        if mine and len(case.roots) < 3:
            case.root(call("Noor", "upload", item=item))
            case.hop(call("uplink", "send", item=item))
        await site.camera.upload(item, now)
    site.is_weak = False


async def chores(site: Site, now: int) -> None:
    """Tea, sieves and things that break."""
    rng = site.case.rng(f"chores/{now}")
    for _ in range(rng.randint(1, 3)):
        act = rng.choice(("sieve", "sharpen_trowels", "sweep", "draw_section"))
        AgentLogger(rng.choice(TRENCHES), "trench").log_action(act, {"day": now})
    if rng.random() < 0.2:
        AgentLogger("Lindqvist", "director").log_action("change_plan", {"tea_at": rng.randint(9, 16)})
    if rng.random() < 0.1:
        AgentLogger(rng.choice(TRENCHES), "trench").warning("handle broken", {"spades": rng.randint(1, 3)})
    if rng.random() < 0.3:
        site.pages += 1
        await site.desk.write(site.pages, rng.choice(("visitors", "new tent", "birthday", "lost hat")))
    if now == site.case.decoy_at:
        await site.trenches[site.mine].cover(now)


async def season(case: Case) -> None:
    """Play a season, day by day."""
    days = case.rng("days").choice((22, 38, 60, 88))
    case.window(days)
    site = Site(case)
    site.build(days)
    with recorder.run("season"):
        for now in range(days):
            site.now = now
            with recorder.step(f"day_{now}", "A day"):
                await asyncio.gather(chores(site, now), measures(site, now), blocks(site, now))
                await finds_of_day(site, now)
                await joins(site, now)
                await loans(site, now)
                await evening(site, now)
        site.is_over = True
        for tool in (site.hoist, site.pump):
            tool.freed.set()
        await asyncio.gather(*site.open)


def play(case: Case) -> None:
    """Play a season."""
    asyncio.run(season(case))


WORLD = World(
    "dig", "spans", ("race", "wrong_merge", "retry_storm", "deadlock", "out_of_order"), play, author=14
)
