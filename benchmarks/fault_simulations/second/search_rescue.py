"""Robots search a collapsed quarter for victims; a map server, a coordinator, and medics help them."""

import asyncio
import random
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

SIZE = 15
ROUNDS = 110
ROBOTS = 5
MEDICS = 2
_mode = {"fault": ""}
Cell = tuple[int, int]


class Victim:
    """A person under the rubble."""

    def __init__(self, number: int, cell: Cell) -> None:
        self.agent_id = f"victim_{number}"
        self.cell = cell
        self.found: int | None = None
        self.freed: int | None = None
        self.treated: int | None = None
        self.strength = 100

    @trace_agent_action()
    def weaken(self) -> int:
        """Lose strength until somebody helps."""
        self.strength = max(0, self.strength - (0 if self.treated is not None else 3))
        return self.strength


class MapServer:
    """Merges what the robots have searched."""

    def __init__(self) -> None:
        self.agent_id = "map_server"
        self.searched: set[Cell] = set()
        self.trace_note = "grid 15 x 15"

    @trace_agent_action()
    async def merge(self, robot: str, cells: list[Cell]) -> int:
        """Add the cells that a robot has searched; a robot's report can be a whole wall of them."""
        await asyncio.sleep(0)
        for column, row in cells:
            self.searched.add((column, row))
        if _mode["fault"] == "wide_merge" and robot == "robot_3" and cells[0][0] != cells[-1][0]:
            first, last = cells[0][0], cells[-1][0]
            self.searched |= {(c, row) for c in range(first, last + 2) for row in range(SIZE)}
        return len(self.searched)

    def next_cell(self, cells: list[Cell]) -> Cell | None:
        """Return the first cell that nobody has searched."""
        return next((cell for cell in cells if cell not in self.searched), None)


class Coordinator:
    """Hands victims to the robots that can free them."""

    def __init__(self) -> None:
        self.agent_id = "coordinator"
        self.logger = AgentLogger("coordinator", "coordinator")
        self.waiting: list[str] = []
        self.claims: dict[str, str] = {}

    @trace_agent_action()
    async def report(self, victim: str, robot: str) -> int:
        """A robot has found a victim."""
        self.waiting.append(victim)
        self.reporter = robot
        return len(self.waiting)

    @trace_agent_action()
    async def claim(self, robot: str) -> str | None:
        """Give a robot the victim that has waited longest."""
        if not self.waiting:
            return None
        if _mode["fault"] == "two_claims" and len(self.waiting) > 1 and len(self.claims) >= 3:
            victim = self.waiting[0]
            await asyncio.sleep(0)
            self.waiting = self.waiting[1:]
        else:
            victim = self.waiting.pop(0)
            await asyncio.sleep(0)
        self.claims[victim] = robot
        self.logger.log_decision("assign", {"victim": victim, "robot": robot})
        return victim


class Medic:
    """A medic at the base."""

    def __init__(self, number: int) -> None:
        self.agent_id = f"medic_{number}"
        self.logger = AgentLogger(self.agent_id, "medic")
        self.inbox: list[Any] = []

    trace_ignore = ("inbox",)

    @trace_agent_action()
    def treat(self, victim: str) -> str:
        """Treat a victim who has been handed over."""
        self.last = victim
        return "stable"


class Robot:
    """A robot that searches a strip of the quarter."""

    def __init__(self, number: int, site: "Site") -> None:
        self.agent_id = f"robot_{number}"
        self.logger = AgentLogger(self.agent_id, "robot")
        self._site = site
        self._strip = [(column, row) for column in range(3 * (number - 1), 3 * number) for row in range(SIZE)]
        self._all = self._strip + [cell for cell in site.cells if cell not in self._strip]
        self.battery = 60
        self.task: str | None = None
        self.left = 0
        self.pending: list[Cell] = []

    @trace_agent_action()
    def scan(self, cell: Cell) -> str | None:
        """Search a cell."""
        self.battery -= 1
        self.pending = [*self.pending, cell]
        return self._site.victim_at(cell)

    @trace_agent_action()
    def charge(self) -> int:
        """Charge at the base."""
        self.battery = min(60, self.battery + 20)
        return self.battery

    @trace_agent_action()
    def free(self, victim: str, left: int) -> bool:
        """Dig for a victim for one round; tell whether the work is done."""
        self.task = victim
        self.left = left
        self.battery -= 1
        return left == 0

    @trace_agent_action()
    def hand_over(self, victim: str, medic: str) -> None:
        """Bring a victim to the base."""
        self._site.contacts.log_interaction("hand_over", self.agent_id, medic, data={"victim": victim})
        self.task = None

    async def act(self, now: int) -> None:
        """Do one round's work."""
        site = self._site
        if _mode["fault"] == "dead_radio" and self.agent_id == "robot_4" and now >= 22:
            return
        if self.battery < 5:
            self.charge()
        elif self.task:
            await self._dig(now)
        elif now % 3 == 0 and (victim := await site.coordinator.claim(self.agent_id)):
            self.task, self.left = victim, 5
        else:
            await self._search(now)

    async def _search(self, now: int) -> None:
        site = self._site
        own = [cell for cell in (self._strip if now < 75 else self._all) if cell not in self.pending]
        cell = site.server.next_cell(own)
        if cell is not None:
            found = self.scan(cell)
            if found and site.victims[found].found is None:
                site.victims[found].found = now
                await site.coordinator.report(found, self.agent_id)
        if len(self.pending) >= 6 or (cell is None and self.pending):
            await site.server.merge(self.agent_id, self.pending)
            self.pending = []

    async def _dig(self, now: int) -> None:
        site, victim = self._site, self.task or ""
        if not self.free(victim, self.left - 1):
            return
        medic = site.medics[int(victim.split("_")[1]) % MEDICS]
        site.victims[victim].freed = now
        self.hand_over(victim, medic.agent_id)
        if _mode["fault"] == "no_triage" and self.agent_id == "robot_2" and now > 20:
            return
        medic.inbox.append(self.logger.send(medic.agent_id, {"triage": "red", "victim": victim}))


class Site:
    """The quarter and everybody in it."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.cells = [(column, row) for column in range(SIZE) for row in range(SIZE)]
        places = []
        for strip in range(ROBOTS):
            for low, high in ((0, 6), (6, 11), (11, 15)):
                places.append((3 * strip + rng.randrange(3), rng.randrange(low, high)))
        self.victims = {v.agent_id: v for v in (Victim(n, cell) for n, cell in enumerate(places, 1))}
        self.server, self.coordinator = MapServer(), Coordinator()
        self.medics = [Medic(n) for n in range(1, MEDICS + 1)]
        self.contacts, self.metrics = InteractionLogger(), PerformanceLogger("site")
        self.robots = [Robot(n, self) for n in range(1, ROBOTS + 1)]

    def victim_at(self, cell: Cell) -> str | None:
        """Return the victim under a cell."""
        return next((name for name, victim in self.victims.items() if victim.cell == cell), None)

    async def play(self, now: int) -> None:
        """Play one round."""
        await asyncio.gather(*(robot.act(now) for robot in self.robots))
        for medic in self.medics:
            for message in medic.inbox[:1]:
                medic.logger.receive(message)
                name = message.body["victim"]
                medic.treat(name)
                self.victims[name].treated = now
            del medic.inbox[:1]
        if now % 6 == 0:
            for victim in self.victims.values():
                victim.weaken()
            self.metrics.log_metric("searched", len(self.server.searched), "cells")


async def _play(seed: int) -> dict[str, Any]:
    site, system = Site(seed), SystemLogger("mission")
    system.log_simulation_start("mission", {"robots": ROBOTS, "victims": len(site.victims), "size": SIZE})
    for now in range(ROUNDS):
        with tick(now):
            if now == 15:
                system.log_config("video_quality", "high", "low")
            if now % 31 == 17:
                system.warning("aftershock")
            await site.play(now)
    victims = site.victims.values()
    system.log_simulation_end("mission", {"treated": sum(v.treated is not None for v in victims)})
    return {
        "found": {v.agent_id: v.found if v.found is not None else 999 for v in victims},
        "freed": sum(v.freed is not None for v in victims),
        "treated": sum(v.treated is not None for v in victims),
    }


def run(seed: int, fault: str) -> dict[str, Any]:
    """Simulate a mission."""
    _mode["fault"] = fault
    return asyncio.run(_play(seed))


def _double_claims(events: list[Event]) -> list[str]:
    seen: dict[str, str] = {}
    found: list[str] = []
    for event in events:
        if event.act == "claim" and event.result:
            if event.result in seen:
                found += [seen[event.result], event.id]
            seen[event.result] = event.id
    return found[:6]


def _two_columns(event: Event) -> bool:
    cells = event.args["cells"]
    return event.args["robot"] == "robot_3" and cells[0][0] != cells[-1][0]


def _missing(out: dict[str, Any], victims: range) -> int:
    return sum(out["found"][f"victim_{n}"] > 80 for n in victims)


FAULTS = {
    "wide_merge": Fault(
        "Some people were never found although the map says every part was searched.",
        lambda out, ref: max(out["found"].values()) == 999 > max(ref["found"].values()),
        lambda events: pick(events, "map_server", "merge", where=_two_columns, first=1),
    ),
    "two_claims": Fault(
        "why are there victims that were found early but nobody ever dug them out?",
        lambda out, ref: out["freed"] < ref["freed"],
        _double_claims,
    ),
    "dead_radio": Fault(
        "the victims in the fourth strip were discovered only very late or not at all",
        lambda out, ref: _missing(out, range(10, 13)) > _missing(ref, range(10, 13)),
        lambda events: pick(events, "robot_4", where=lambda e: (e.tick or 0) < 22, first=10_000)[-3:],
    ),
    "no_triage": Fault(
        "The medics treated fewer people than were brought out of the rubble. What happened to the rest?",
        lambda out, ref: out["treated"] < min(out["freed"], ref["treated"]),
        lambda events: pick(events, "robot_2", "hand_over", lambda at: at > 20),
    ),
}
