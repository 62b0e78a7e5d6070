"""A depot for electric buses at night: coroutines that book plugs, wash, mend and line up for the morning."""

from __future__ import annotations

import asyncio

from Agent import trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

BUSES = tuple(f"bus_{number}" for number in (11, 14, 17, 23, 26, 31, 38, 42))
PLUGS = ("plug_a", "plug_b", "plug_c", "plug_d", "plug_e", "plug_f")
LANES = ("lane_1", "lane_2", "lane_3", "lane_4")
LINES = ("ring", "airport", "hills", "docks", "campus")
OUT_OF_REACH, MANY_TRIES, MESSAGES_A_NIGHT = 99, 40, 24
RUNNING = 5
NEEDED_PERCENT = {"ring": 40, "campus": 45, "docks": 50, "hills": 60, "airport": 85}
PATIENCE = 8


class NoAnswerError(Exception):
    """The gateway did not answer this time."""


class Planner:
    """Books plugs for nights ahead, and keeps the roster of lines."""

    agent_id, agent_role = "planner", "planner"
    trace_ignore = ("plugs", "roster")

    def __init__(self) -> None:
        self.plugs: dict[str, str] = {}
        self.roster: dict[str, str] = {}

    @trace_agent_action()
    async def free_plugs(self, night: int, asker: str) -> list[str]:
        """Tell which plugs nobody has for a night."""
        await asyncio.sleep(0)
        return [plug for plug in PLUGS if f"{night}:{plug}" not in self.plugs]

    @trace_agent_action()
    async def put_down(self, night: int, plug: str, bus: str) -> str:
        """Put a bus down for a plug; whoever is put down last has it."""
        await asyncio.sleep(0)
        self.plugs[f"{night}:{plug}"] = bus
        return bus

    @trace_agent_action()
    async def assign_line(self, night: int, bus: str, line: str) -> str:
        """Write into the roster which line a bus will serve."""
        await asyncio.sleep(0)
        self.roster[f"{night}:{bus}"] = line
        return line

    @trace_agent_action()
    async def look_up(self, night: int, bus: str) -> str:
        """Tell which line a bus will serve."""
        await asyncio.sleep(0)
        return self.roster.get(f"{night}:{bus}", "ring")


class Gateway:
    """The radio gateway, with so many messages a month."""

    agent_id, agent_role = "gateway", "radio"
    trace_ignore = ("left", "most")

    def __init__(self, messages: int) -> None:
        self.left = self.most = messages

    @trace_agent_action()
    async def top_up(self, messages: int) -> None:
        """Get the messages of a day; no more are kept than the contract says."""
        await asyncio.sleep(0)
        self.left = min(self.most, self.left + messages)

    @trace_agent_action()
    async def relay(self, bus: str, number: int, answer: bool) -> int:
        """Relay the readings of a bus."""
        await asyncio.sleep(0)
        self.left -= 1
        if not answer:
            raise NoAnswerError(f"{bus} out of reach")
        return number

    @trace_agent_action()
    async def push_target(self, bus: str, percent: int, night: int) -> int:
        """Tell a bus how full it has to be; without messages left it keeps what it has."""
        await asyncio.sleep(0)
        if self.left <= 0:
            return 0
        self.left -= 1
        return percent


class Tools:
    """The tool room, which lends adapters and keys of hoists."""

    agent_id, agent_role = "tool_room", "tools"
    trace_ignore = ("adapters",)

    def __init__(self, adapters: int) -> None:
        self.adapters = adapters

    @trace_agent_action()
    async def lend_adapter(self, bus: str, night: int) -> bool:
        """Lend an adapter if there is one."""
        await asyncio.sleep(0)
        if self.adapters <= 0:
            return False
        self.adapters -= 1
        return True

    @trace_agent_action()
    async def take_back(self, bus: str, night: int) -> None:
        """Take an adapter back."""
        await asyncio.sleep(0)
        self.adapters += 1


class Fitter:
    """A fitter, who needs a hoist and a pit lamp for a repair."""

    agent_role = "fitter"
    trace_ignore = ("owner",)

    def __init__(self, name: str, owner: dict[str, str]) -> None:
        self.agent_id, self.owner = name, owner

    @trace_agent_action()
    async def begin_job(self, job: int, bus: str) -> None:
        """Begin a repair."""
        await asyncio.sleep(0)

    @trace_agent_action()
    async def take(self, thing: str, job: int) -> bool:
        """Take a thing if nobody has it."""
        await asyncio.sleep(0)
        if self.owner.get(thing, self.agent_id) != self.agent_id:
            return False
        self.owner[thing] = self.agent_id
        return True

    @trace_agent_action()
    async def wait_for(self, thing: str, job: int) -> bool:
        """Wait for a thing for a while; tell whether it came free."""
        for _ in range(PATIENCE):
            await asyncio.sleep(0)
        return self.owner.get(thing, self.agent_id) == self.agent_id

    @trace_agent_action()
    async def give_back(self, thing: str, job: int) -> None:
        """Give a thing back."""
        await asyncio.sleep(0)
        self.owner.pop(thing, None)

    @trace_agent_action()
    async def mend(self, bus: str, job: int) -> str:
        """Mend a bus."""
        await asyncio.sleep(0)
        return "mended"


class Bus:
    """A bus at night."""

    agent_role = "bus"
    trace_ignore = ("planner", "gateway", "tools", "sheet", "broken")

    def __init__(self, name: str, planner: Planner, gateway: Gateway, tools: Tools) -> None:
        self.agent_id, self.planner, self.gateway, self.tools = name, planner, gateway, tools
        self.sheet: dict[int, str] = {}
        self.broken = False
        self.percent, self.tries = 60, 3

    @trace_agent_action()
    async def set_firmware(self, version: str, install: int, tries: int) -> None:
        """Install firmware, which decides how often the radio tries."""
        await asyncio.sleep(0)
        self.tries = tries

    @trace_agent_action()
    async def book(self, night: int, booking: int, choose: int) -> str:
        """Book a plug for a night: look which is free, then put itself down."""
        free = await self.planner.free_plugs(night, self.agent_id)
        plug = free[choose % len(free)]
        await self.planner.put_down(night, plug, self.agent_id)
        return plug

    @trace_agent_action()
    async def copy_roster(self, night: int, copy: int) -> str:
        """Copy from the roster which line it will serve."""
        self.sheet[night] = await self.planner.look_up(night, self.agent_id)
        return self.sheet[night]

    @trace_agent_action()
    async def report(self, number: int, reached_after: int) -> int:
        """Send readings, and try again a few times."""
        for attempt in range(self.tries):
            try:
                return await self.gateway.relay(self.agent_id, number, attempt >= reached_after)
            except NoAnswerError:
                await asyncio.sleep(0)
        return -1

    @trace_agent_action()
    async def charge(self, night: int, plug: str, line: str) -> int:
        """Charge at a plug, with an adapter, as far as the line needs."""
        target = await self.gateway.push_target(self.agent_id, NEEDED_PERCENT[line], night)
        fits = await self.tools.lend_adapter(self.agent_id, night)
        holder = self.planner.plugs.get(f"{night}:{plug}", self.agent_id)
        if fits and holder == self.agent_id:
            self.percent = max(self.percent, target)
        return self.percent

    @trace_agent_action()
    async def unplug(self, night: int) -> None:
        """Leave the plug and give the adapter back."""
        await self.tools.take_back(self.agent_id, night)

    @trace_agent_action()
    async def wash(self, litres: int) -> None:
        """Go through the wash."""
        await asyncio.sleep(0)


class Lane:
    """A lane from which buses leave in the morning."""

    agent_role = "lane"

    def __init__(self, name: str) -> None:
        self.agent_id = name

    @trace_agent_action()
    async def line_up(self, night: int, bus: str, line: str, percent: int) -> str:
        """Line a bus up."""
        await asyncio.sleep(0)
        return line


class Marshal:
    """The marshal, who lets buses out."""

    agent_id, agent_role = "marshal", "marshal"

    @trace_agent_action()
    async def fire_drill(self, minutes: int) -> None:
        """Hold a fire drill."""
        await asyncio.sleep(0)

    @trace_agent_action()
    async def show_visitors(self, people: int) -> None:
        """Show visitors around."""
        await asyncio.sleep(0)

    @trace_agent_action()
    async def let_out(self, night: int, bus: str, line: str, percent: int, mended: bool) -> str:
        """Let a bus out, or send the reserve."""
        await asyncio.sleep(0)
        return "out" if mended and percent >= NEEDED_PERCENT[line] else "reserve sent"


class Depot:
    """The depot, played night by night."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("nights")
        self.nights = self.rng.randint(50, 90)
        self.begin, self.end = case.window(self.nights)
        who = case.rng("who")
        self.bus, self.rival = who.sample(BUSES, 2)
        self.number = 5_000
        lag = self.end - self.begin
        away = {self.bus, self.rival} if case.kind in ("race", "deadlock") else {self.bus}
        self.running = []
        for night in range(self.nights + 1):
            home = [name for name in BUSES if not (name in away and self.begin <= night < self.end)]
            chosen = who.sample(home, RUNNING)
            if night == self.begin and case.has("leaked_resource"):
                chosen = [self.rival, *(name for name in chosen if name != self.rival)][:RUNNING]
            if night == self.end:
                first = [self.rival] if case.has("race") else []
                rest = [name for name in chosen if name not in (self.bus, self.rival)]
                chosen = [*first, *rest, *(name for name in BUSES if name not in chosen)]
                chosen = [name for name in dict.fromkeys(chosen) if name != self.bus][: RUNNING - 1]
                chosen.append(self.bus)
            self.running.append(chosen)
        leaks = sum(self.rival in self.running[night] for night in range(self.begin, self.end))
        messages = max(60, 28 * lag) if case.has("retry_storm") else 10**6
        self.planner, self.gateway = Planner(), Gateway(messages)
        self.tools = Tools(RUNNING - 1 + leaks if case.has("leaked_resource") else RUNNING + 2)
        owner: dict[str, str] = {}
        self.buses = {name: Bus(name, self.planner, self.gateway, self.tools) for name in BUSES}
        self.fitters = [
            Fitter(name, owner) for name in ("fitter_ola", "fitter_per", "fitter_una", "fitter_wim")
        ]
        self.lanes, self.marshal = [Lane(name) for name in LANES], Marshal()
        self.plugs: dict[tuple[int, str], str] = {}
        self.noted = 0

    def next(self) -> int:
        """Return a new running number."""
        self.number += 1
        return self.number

    async def book(self, night: int, bus: str, choose: int) -> int:
        """Let a bus book a plug; return the number of the booking."""
        booking = self.next()
        self.plugs[night, bus] = await self.buses[bus].book(night, booking, choose)
        return booking

    async def assign(self, night: int, bus: str, line: str) -> None:
        """Assign a line, and let the bus copy it."""
        await self.planner.assign_line(night, bus, line)
        await self.buses[bus].copy_roster(night, self.next())

    async def repair(self, fitter: Fitter, bus: str, things: tuple[str, str], job: int) -> None:
        """Let a fitter take two things, one after the other, and mend a bus."""
        await fitter.begin_job(job, bus)
        for thing in things:
            if await fitter.take(thing, job):
                continue
            if not (await fitter.wait_for(thing, job) and await fitter.take(thing, job)):
                return
        await fitter.mend(bus, job)
        self.buses[bus].broken = False
        for thing in reversed(things):
            await fitter.give_back(thing, job)

    async def fault(self, night: int) -> None:
        """Do what the plan has for the night at which the fault can begin."""
        case, bus, rival = self.case, self.buses[self.bus], self.buses[self.rival]
        if case.has("race"):
            if case.strikes("race", night):
                one, two = await asyncio.gather(
                    self.book(self.end, self.bus, 1), self.book(self.end, self.rival, 1)
                )
            else:
                one = await self.book(self.end, self.bus, 1)
                two = await self.book(self.end, self.rival, 1)
            case.root(call(self.rival, "book", booking=two), call(self.bus, "book", booking=one))
            case.root(call("planner", "put_down", night=self.end, bus=self.rival))
            case.hop(call("planner", "put_down", night=self.end, bus=self.rival))
        if case.has("stale_cache"):
            await self.planner.assign_line(self.end, self.bus, "airport")
            case.root(call("planner", "assign_line", night=self.end, bus=self.bus, line="airport"))
            if not case.strikes("stale_cache", night):
                await bus.copy_roster(self.end, self.next())
        if case.has("retry_storm"):
            install = self.next()
            tries = MANY_TRIES if case.strikes("retry_storm", night) else 3
            await rival.set_firmware("7.2", install, tries)
            case.root(call(self.rival, "set_firmware", install=install))
        if case.has("deadlock"):
            self.buses[self.bus].broken = self.buses[self.rival].broken = True
            one, two = self.next(), self.next()
            usual = ("hoist_north", "pit_lamp_1")
            other = (usual[1], usual[0]) if case.strikes("deadlock", night) else usual
            first, second = self.fitters[:2]
            await asyncio.gather(
                self.repair(first, self.bus, usual, one), self.repair(second, self.rival, other, two)
            )
            case.root(call(second.agent_id, "take", job=two, thing=other[0]))
            case.root(call(second.agent_id, "wait_for", job=two, thing=usual[0]))
            if case.strikes("deadlock", night):
                case.root(call(first.agent_id, "wait_for", job=one))
                case.hop(call(first.agent_id, "wait_for", job=one))

    async def leave(self, night: int, place: int, name: str, percent: int) -> None:
        """Let a bus leave the plug, line up and go out."""
        case, bus = self.case, self.buses[name]
        if case.strikes("leaked_resource") and name == self.rival and self.begin <= night < self.end:
            if self.noted < 3:
                self.noted += 1
                case.root(call(name, "charge", night=night))
        else:
            await bus.unplug(night)
        real = self.planner.roster[f"{night}:{name}"]
        lane = self.lanes[place % len(self.lanes)]
        await lane.line_up(night, name, real, percent)
        said = await self.marshal.let_out(night, name, real, percent, not bus.broken)
        if said == "out":
            return
        case.hop(call(name, "charge", night=night), call(lane.agent_id, "line_up", night=night, bus=name))
        case.symptom(
            call("marshal", "let_out", night=night, bus=name),
            f"{name} could not go out on the {real} line on morning {night}. What is behind that?",
            f"Passengers of the {real} line waited for the reserve on morning {night}, although {name} had stood here all night.",
            f"Why was one departure of the {real} line replaced on morning {night}?",
            "A vehicle was not ready in the morning, and the night shift swears that nothing had happened.",
        )

    async def chores(self, night: int) -> None:
        """Wash, mend, install and report, as every night."""
        case, rng = self.case, self.rng
        await self.gateway.top_up(MESSAGES_A_NIGHT)
        for name in BUSES:
            reached_after = 1 if rng.random() < 0.12 else 0
            if name == self.rival and case.has("retry_storm"):
                reached_after = OUT_OF_REACH
            number = self.next()
            if case.strikes("retry_storm") and name == self.rival and night >= self.begin and self.noted < 3:
                self.noted += 1
                case.root(call(name, "report", number=number))
            await self.buses[name].report(number, reached_after)
            if rng.random() < 0.4:
                await self.buses[name].wash(rng.randint(150, 300))
        if rng.random() < 0.4:
            north = rng.random() < 0.5 and night < self.begin
            things = ("hoist_north", "pit_lamp_1") if north else ("hoist_south", "pit_lamp_2")
            if rng.random() < 0.3:
                things = (things[1], things[0])
            free = [name for name in BUSES if name not in (self.bus, self.rival)]
            third, fourth = self.fitters[:2] if north else self.fitters[2:]
            await asyncio.gather(
                self.repair(third, rng.choice(free), things, self.next()),
                self.repair(fourth, rng.choice(free), things, self.next()),
            )
        if rng.random() < 0.15:
            name = rng.choice([one for one in BUSES if one != self.rival])
            await self.buses[name].set_firmware(rng.choice(("7.1", "7.2")), self.next(), 3)

    async def prepare(self, night: int) -> None:
        """Book plugs and assign lines for a night; now and then a line is changed for one that needs no more."""
        case, rng = self.case, self.rng
        names = [name for name in self.running[night] if (night, name) not in self.plugs]
        await asyncio.gather(*(self.book(night, name, place) for place, name in enumerate(names)))
        for name in self.running[night]:
            if not (case.has("stale_cache") and night == self.end and name == self.bus):
                await self.assign(night, name, rng.choice(LINES))
                if rng.random() < 0.15 and self.buses[name].sheet[night] in ("airport", "hills"):
                    await self.planner.assign_line(night, name, rng.choice(("ring", "campus")))

    async def run(self) -> None:
        """Play all nights."""
        case, rng = self.case, self.rng
        for night in range(self.nights):
            for name in BUSES:
                self.buses[name].percent = rng.randint(18, 35)
            if night == 0:
                await self.prepare(0)
            if night == max(1, self.begin - 1) and case.has("stale_cache"):
                await self.assign(self.end, self.bus, "ring")
            if night == self.begin:
                await self.fault(night)
            await self.chores(night)
            if rng.random() < 0.05:
                await self.marshal.fire_drill(rng.randint(5, 20))
            if rng.random() < 0.05:
                await self.marshal.show_visitors(rng.randint(2, 30))
            if night == case.decoy_at:
                await self.buses[self.bus].wash(310)
            names = self.running[night]
            charges = [
                self.buses[name].charge(night, self.plugs[night, name], self.buses[name].sheet[night])
                for name in names
            ]
            for place, percent in enumerate(await asyncio.gather(*charges)):
                await self.leave(night, place, names[place], percent)
            if night + 1 < self.nights:
                await self.prepare(night + 1)


def play(case: Case) -> None:
    """Play a case."""
    asyncio.run(Depot(case).run())


WORLD = World(
    "busdepot",
    "spans",
    ("race", "deadlock", "retry_storm", "leaked_resource", "stale_cache"),
    play,
    author=7,
)
