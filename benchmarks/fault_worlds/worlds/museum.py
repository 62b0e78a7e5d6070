"""A museum that takes in loans and shows them: coroutines that call each other, in a run with steps. No ticks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World, call

LIMIT_LUX = {"watercolour": 50, "textile": 50, "oil": 200, "bronze": 300, "oak": 150}
ROOMS = ("room_ivory", "room_coral", "room_slate", "room_olive", "room_amber")


@dataclass
class Loan:
    """What an object truly is, where it hangs, and what was done to it."""

    name: str
    material: str
    room: str
    sealed: bool = True
    rested: bool = True
    lux: int = 0
    limit: int = 0
    bleached: bool = False


class Museum:
    """The objects, and the random draws that all who work there share."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("museum")
        self.loans: dict[str, Loan] = {}
        self.hooks: dict[str, list[str]] = {room: [] for room in ROOMS}


class Worker:
    """Somebody who works in the museum."""

    trace_ignore = ("museum",)

    def __init__(self, agent_id: str, museum: Museum) -> None:
        self.agent_id, self.museum = agent_id, museum


class Scanner(Worker):
    """A service that tells materials apart."""

    @trace_agent_action()
    async def scan(self, item: str) -> dict[str, Any]:
        """Return the material of an item."""
        case, loan = self.museum.case, self.museum.loans[item]
        material = loan.material
        if case.strikes("trusted_tool") and item == TARGET:
            material = "bronze"
            case.root(call(self.agent_id, "scan", item=item))
        return {"item": item, "material": material}


class Courier(Worker):
    """Packs objects at the lender's, and brings them."""

    @trace_agent_action()
    async def press_seal(self, item: str, attempt: int) -> dict[str, Any]:
        """Press the rubber of a crate; the first attempt fails for some."""
        rng = self.museum.case.rng(f"seal/{item}")
        weak = rng.random() < 0.3 or (item == TARGET and self.museum.case.has("swallowed_failure"))
        return {"item": item, "bar": 0.1 if weak and attempt == 1 else round(rng.uniform(0.8, 0.9), 2)}

    @trace_agent_action()
    async def close_crate(self, item: str) -> dict[str, Any]:
        """Close a crate, pressing until the seal is tight."""
        case = self.museum.case
        pressed = await self.press_seal(item, 1)
        if pressed["bar"] < 0.5:
            if case.strikes("swallowed_failure") and item == TARGET:
                self.museum.loans[item].sealed = False
                case.root(
                    call(self.agent_id, "close_crate", item=item),
                    call(self.agent_id, "press_seal", item=item),
                )
            else:
                await self.press_seal(item, 2)
        return {"item": item, "tight": True}

    @trace_agent_action()
    async def bring(self, item: str, papers: str) -> str:
        """Fetch an object with the lender's papers, which say what it is made of."""
        await self.close_crate(item)
        return "at the dock"


class Conservator(Worker):
    """Rests, examines and reviews objects."""

    @trace_agent_action()
    async def rest(self, item: str, hours: int) -> str:
        """Let the closed crate take on the air of the house."""
        return "rested"

    @trace_agent_action()
    async def examine(self, item: str) -> str:
        """Look an object over when it comes out of the crate."""
        return self.museum.rng.choice(("sound", "sound", "old scratch", "dusty"))

    @trace_agent_action()
    async def review(self, item: str, visit: int) -> dict[str, Any]:
        """Look an object over while it is on show."""
        loan = self.museum.loans[item]
        damp = "mould" if not loan.sealed else "cracked varnish" if not loan.rested else ""
        seen = damp or ("bleached" if loan.bleached else self.museum.rng.choice(("sound", "sound", "dusty")))
        return {"item": item, "room": loan.room, "condition": seen}


class Room(Worker):
    """A room with lamps; it keeps a copy of the limits of light."""

    def __init__(self, agent_id: str, museum: Museum) -> None:
        super().__init__(agent_id, museum)
        self.limits: dict[str, int] = {}

    @trace_agent_action()
    async def take_limit(self, item: str, lux: int) -> None:
        """Copy the limit of an item."""
        self.limits[item] = lux

    @trace_agent_action()
    async def light(self, item: str, evening: int) -> int:
        """Set the lamp of an item as bright as the copy allows."""
        self.museum.loans[item].lux = self.limits[item]
        return self.limits[item]

    @trace_agent_action()
    async def extend_hours(self, until: int, evening: int) -> None:
        """Stay open longer; what is lit too brightly bleaches."""
        for loan in self.museum.loans.values():
            if loan.room == self.agent_id and loan.lux > loan.limit:
                loan.bleached = True

    @trace_agent_action()
    async def hang(self, item: str, hook: int) -> dict[str, Any]:
        """Hang an item on the hook that was booked, if nothing hangs there."""
        there = next((one for one in self.museum.hooks[self.agent_id] if one.endswith(f"@{hook}")), "")
        self.museum.hooks[self.agent_id].append(f"{item}@{hook}")
        return {"item": item, "hung": not there, "occupied_by": there.partition("@")[0]}


class Catalogue(Worker):
    """The catalogue, which knows how much light an item bears."""

    rooms: dict[str, Room]

    @trace_agent_action()
    async def enter(self, item: str, material: str) -> int:
        """Enter an item with the limit for its material, and tell its room."""
        await self.rooms[self.museum.loans[item].room].take_limit(item, LIMIT_LUX[material])
        return LIMIT_LUX[material]

    @trace_agent_action()
    async def revise(self, item: str, lux: int) -> None:
        """Change a limit, and tell the room of the item."""
        case, loan = self.museum.case, self.museum.loans[item]
        loan.limit = lux
        if item == TARGET and case.strikes("stale_cache"):
            case.root(call(self.agent_id, "revise", item=item))
            return
        await self.rooms[loan.room].take_limit(item, lux)


class Curator(Worker):
    """Books hooks for openings to come."""

    @trace_agent_action()
    async def look(self, room: str, item: str, booked: dict[str, int]) -> int:
        """Return the first hook that is free."""
        return next(hook for hook in range(1, 999) if hook not in booked.values())

    @trace_agent_action()
    async def book(self, room: str, item: str, hook: int) -> None:
        """Book a hook of a room for an item."""

    @trace_agent_action()
    async def plan(self, room: str, item: str, booked: dict[str, int]) -> int:
        """Look for a hook and book it."""
        hook = await self.look(room, item, dict(booked))
        await asyncio.sleep(0)
        await self.book(room, item, hook)
        booked[item] = hook
        return hook


TARGET, RIVAL = "K500", "K501"


class Registrar(Worker):
    """Takes objects in."""

    scanner: Scanner
    catalogue: Catalogue

    @trace_agent_action()
    async def admit(self, item: str, courier: Courier, conservator: Conservator) -> str:
        """Have an object brought, rested, examined, scanned and entered."""
        case, loan = self.museum.case, self.museum.loans[item]
        await courier.bring(item, loan.material)
        if case.strikes("omitted_step") and item == TARGET:
            loan.rested = False
            case.root(
                call(courier.agent_id, "bring", item=item),
                call(conservator.agent_id, "examine", item=item),
                call(self.agent_id, "admit", item=item),
            )
        else:
            await conservator.rest(item, 24)
        await conservator.examine(item)
        case.hop(*([call(conservator.agent_id, "examine", item=item)] if item == TARGET else []))
        material = (await self.scanner.scan(item))["material"]
        await self.catalogue.enter(item, material)
        return loan.room


async def show(case: Case) -> None:
    """Play the loans and evenings of a season."""
    museum = Museum(case)
    rng = museum.rng
    evenings = rng.randint(50, 100)
    begin, end = case.window(evenings)
    rooms = {name: Room(name, museum) for name in ROOMS}
    couriers = [Courier(name, museum) for name in ("Jolanta", "Kaspar", "Liv")]
    conservators = [Conservator(name, museum) for name in ("Marit", "Tadeo", "Yuna")]
    curators = [Curator(name, museum) for name in ("Benedikt", "Lenore")]
    registrar, catalogue = Registrar("registrar", museum), Catalogue("catalogue", museum)
    registrar.scanner, registrar.catalogue, catalogue.rooms = Scanner("spectroscan", museum), catalogue, rooms
    booked: dict[str, dict[str, int]] = {room: {} for room in ROOMS}
    openings: dict[int, list[tuple[str, str, int]]] = {}
    who = case.rng("who")
    home, reviewer, numbers = who.choice(ROOMS), who.choice(conservators), iter(range(502, 9_999))

    async def take_in(item: str, material: str, room: str) -> None:
        museum.loans[item] = Loan(item, material, room, limit=LIMIT_LUX[material])
        with recorder.step(f"loan_{item}", "Take in a loan"):
            await registrar.admit(item, rng.choice(couriers), rng.choice(conservators))
        await rooms[room].light(item, -1)

    for evening in range(evenings):
        if evening == (2 if case.has("stale_cache") else begin):
            await take_in(TARGET, "oil" if case.has("stale_cache") else "watercolour", home)
            case.hop(call(home, "light", item=TARGET))
        if evening == begin and case.has("stale_cache"):
            await catalogue.revise(TARGET, 50)
        if evening == begin and case.has("race"):
            await take_in(RIVAL, "oil", home)
            one, two = (
                curator.plan(home, item, booked[home])
                for curator, item in zip(curators, (RIVAL, TARGET), strict=True)
            )
            if case.strikes("race", evening):
                hooks = await asyncio.gather(one, two)
                case.root(
                    *(
                        call(curator.agent_id, "book", item=item)
                        for curator, item in zip(curators, (RIVAL, TARGET), strict=True)
                    )
                )
                case.root(call(curators[1].agent_id, "look", item=TARGET))
            else:
                hooks = [await one, await two]
            openings.setdefault(end, []).extend([(home, RIVAL, hooks[0]), (home, TARGET, hooks[1])])
        if rng.random() < 0.8:
            item, room = f"K{next(numbers)}", rng.choice(ROOMS)
            await take_in(item, rng.choice(sorted(LIMIT_LUX)), room)
            day = evening + rng.randint(1, 25)
            openings.setdefault(day, []).append(
                (room, item, await rng.choice(curators).plan(room, item, booked[room]))
            )
        others = [name for name in museum.loans if name != TARGET]
        for item in rng.sample(others, min(3, len(others))):
            await rooms[museum.loans[item].room].light(item, evening)
            await rng.choice(conservators).review(item, evening)
        if others and rng.random() < 0.3:
            item = rng.choice(others)
            await catalogue.revise(item, rng.choice((50, 100, 150)))
            await rooms[museum.loans[item].room].light(item, evening)
        if TARGET in museum.loans and evening > begin:
            await rooms[home].light(TARGET, evening)
            case.hop(call(home, "light", item=TARGET, evening=evening))
        if rng.random() < 0.15:
            AgentLogger(rng.choice(ROOMS), "Room").warning("lamp replaced, same brightness")
        if rng.random() < 0.25:
            recorder.record_model_call(
                step_id=f"label_{evening}",
                call_id=f"label_{evening}",
                model_name="labels-2",
                prompt=f"Label for evening {evening}",
                output="On loan from a private collection.",
                prompt_tokens=7,
            )
        if evening == case.decoy_at:
            AgentLogger(home, "Room").warning("a visitor leaned on the rope, nothing was touched")
        quiet = [room for room in ROOMS if room != home]
        if rng.random() < 0.25:
            await rooms[rng.choice(quiet)].extend_hours(22, evening)
        for room, item, hook in openings.pop(evening, []):
            hung = await rooms[room].hang(item, hook)
            if not hung["hung"]:
                case.symptom(
                    call(room, "hang", item=item, hook=hook),
                    f"At the opening {item} could not be hung, something else was on its place in {room}.",
                    "One of the new loans stood in the corridor while the guests came in. Its place was taken already.",
                    f"{room} had one place for two pictures.",
                )
        if evening == end and not case.has("race"):
            if case.has("stale_cache") or case.has("trusted_tool"):
                case.trigger(call(home, "extend_hours", evening=evening))
                await rooms[home].extend_hours(23, evening)
            found = (await reviewer.review(TARGET, evening))["condition"]
            if found not in ("sound", "dusty"):
                case.symptom(
                    call(reviewer.agent_id, "review", item=TARGET, visit=evening),
                    f"{reviewer.agent_id} found {TARGET}: {found}. It came here in perfect condition!",
                    f"A picture in {home} is ruined, {found}. The others in there are fine.",
                    f"The lender of a loan is furious: {found}. What did we do to it?",
                    f"Why is {TARGET} {found}?",
                )


def play(case: Case) -> None:
    """Play a case in a run of its own."""
    with recorder.run("season"):
        asyncio.run(show(case))


WORLD = World(
    "museum",
    "spans",
    ("stale_cache", "trusted_tool", "race", "swallowed_failure", "omitted_step"),
    play,
    author=5,
)
