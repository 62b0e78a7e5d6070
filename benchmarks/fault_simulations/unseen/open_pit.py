"""An open pit for a day: shovels load trucks with ore and waste, a laboratory grades, a mill eats."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, setup_logging, shutdown_logging
from benchmarks.fault_simulations.kit import Event, Fault, pick

END = 26 * 60
CUTOFF = 0.62
TRUCKS, SHOVELS = 9, 3
BLOCK_TONNES = 2600
TRUCK_TONNES, TOO_HEAVY = 180, 206
ROADS = {"shovel_1": 7.0, "shovel_2": 8.5, "shovel_3": 9.5}
TANK = 900.0
_PLAY = {"fault": ""}


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class Pit:
    """The event queue, the ground and everybody who works on it."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.ground = random.Random(f"{seed}/ground")
        self.weather = random.Random(f"{seed}/weather")
        self.laboratory = Laboratory(self, seed)
        self.geologist = Geologist()
        self.shovels = {f"shovel_{n}": Shovel(self, f"shovel_{n}", seed) for n in range(1, SHOVELS + 1)}
        self.dispatcher = Dispatcher(self)
        self.fuel = FuelBay(self)
        self.trucks = [Truck(self, f"truck_{n:02d}", seed) for n in range(1, TRUCKS + 1)]
        self.mill = Mill(self)
        self.out: dict[str, Any] = {"dry": 0, "tyres": 0, "feed": [], "idle": []}

    def after(self, minutes: float, what: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self.queue, (self.now + minutes, next(self.order), what))

    def play(self) -> None:
        """Work until the end of the day."""
        while self.queue and self.queue[0][0] < END:
            self.now, _, what = heapq.heappop(self.queue)
            what()


class Laboratory:
    """Assays the drill holes of each block before it is dug."""

    def __init__(self, pit: Pit, seed: int) -> None:
        self.pit = pit
        self.log = AgentLogger("laboratory", "laboratory")
        self.rng = random.Random(f"{seed}/laboratory")
        self.runs = 0

    def assay(self, blocks: list[tuple[str, float]]) -> dict[str, float]:
        """Return the grade of each block in grams per tonne."""
        found = [round(max(0.05, grade + self.rng.gauss(0, 0.03)), 2) for _, grade in blocks]
        self.runs += 1
        if _with("samples") and self.runs == 9:
            found.reverse()
        for (block, _), grade in zip(blocks, found, strict=True):
            self.log.log_action("report_assay", {"block": block, "grade": grade})
        if self.rng.random() < 0.08:
            self.log.warning("standard out of range, run repeated", {"standard": "OREAS-60"})
        return dict(zip((name for name, _ in blocks), found, strict=True))


class Geologist:
    """Marks blocks as ore or waste."""

    def __init__(self) -> None:
        self.log = AgentLogger("geologist", "geologist")

    def mark(self, block: str, grade: float) -> str:
        """Mark one block."""
        kind = "ore" if grade >= CUTOFF else "waste"
        self.log.log_decision("mark_block", {"block": block, "kind": kind, "grade": grade})
        return kind


class Shovel:
    """Digs one block after another and fills trucks by its own scale."""

    def __init__(self, pit: Pit, name: str, seed: int) -> None:
        self.pit, self.name = pit, name
        self.log = AgentLogger(name, "shovel")
        self.rng = random.Random(f"{seed}/{name}")
        self.number = int(name[-1])
        self.left, self.block, self.grade, self.kind = 0.0, "", 0.0, "waste"
        self.busy_until, self.loads, self.hour_loads = 0.0, 0, 0
        self.marked: list[tuple[str, float, str]] = []
        self.count = 0

    def prepare(self) -> None:
        """Have the next two blocks assayed and marked."""
        rich = self.pit.ground.choice([0, 1])
        blocks = []
        for place in range(2):
            self.count += 1
            high = (place + rich) % 2 == 0
            grade = self.pit.ground.uniform(0.85, 1.5) if high else self.pit.ground.uniform(0.1, 0.4)
            blocks.append((f"S{self.number}-B{self.count:02d}", round(grade, 2)))
        grades = self.pit.laboratory.assay(blocks)
        for name, true in blocks:
            self.marked.append((name, true, self.pit.geologist.mark(name, grades[name])))

    def next_block(self) -> None:
        """Move to the next block."""
        if len(self.marked) < 2:
            self.prepare()
        self.block, self.grade, self.kind = self.marked.pop(0)
        self.left = BLOCK_TONNES
        self.log.log_action("move_to_block", {"block": self.block, "kind": self.kind})

    def load(self, truck: Truck) -> float:
        """Fill a truck; return how long it takes."""
        if self.left <= 0:
            self.next_block()
        self.loads += 1
        self.hour_loads += 1
        tonnes = TRUCK_TONNES + self.rng.gauss(0, 4)
        shown = tonnes + self.rng.gauss(0, 1)
        if _with("scale") and self.number == 2 and self.pit.now < 1150:
            tonnes += max(0.0, (self.pit.now - 600) * 0.065)
        self.left -= tonnes
        truck.tonnes, truck.grade, truck.kind = tonnes, self.grade, self.kind
        self.log.log_action("load", {"truck": truck.name, "shown": round(shown), "at": round(self.pit.now)})
        start = max(self.busy_until, self.pit.now)
        self.busy_until = start + self.rng.uniform(2.4, 3.4)
        return self.busy_until - self.pit.now


class Dispatcher:
    """Sends each empty truck to where it is loaded soonest, by a table of travel times."""

    def __init__(self, pit: Pit) -> None:
        self.pit = pit
        self.log = AgentLogger("dispatcher", "dispatcher")
        self.table = dict(ROADS)
        self.sent: dict[str, float] = dict.fromkeys(ROADS, 0.0)

    def assign(self, truck: str) -> str:
        """Choose a shovel for a truck."""
        costs = {
            name: self.table[name] * 2 + 3.0 * max(0.0, self.sent[name] - self.pit.now) / 3.0
            for name in ROADS
        }
        best = min(costs, key=lambda name: (costs[name], name))
        self.sent[best] = max(self.sent[best], self.pit.now) + 6.0
        self.log.log_decision("assign", {"truck": truck, "shovel": best})
        return best

    def refresh(self, message: Any) -> None:
        """Take over what the road crew says about a road."""
        self.log.receive(message)
        road = message.body["road"]
        minutes = message.body["minutes"]
        if _with("detour") and message.body["state"] == "open" and self.pit.now > 900:
            minutes = self.table[road]
        self.table[road] = minutes
        self.log.log_action("update_table", {"road": road, "minutes": minutes})


class FuelBay:
    """Two pumps for the trucks."""

    def __init__(self, pit: Pit) -> None:
        self.pit = pit
        self.log = AgentLogger("fuel_bay", "fuel")
        self.free = 2

    def ask(self, truck: Truck) -> bool:
        """Give a pump to a truck, if one is free."""
        given = self.free > 0
        self.free -= given
        self.log.log_action(
            "pump_given" if given else "pump_refused", {"truck": truck.name, "free": self.free}
        )
        return given

    def give_back(self, truck: str) -> None:
        """Take a pump back."""
        self.free += 1
        self.log.log_action("pump_back", {"truck": truck, "free": self.free})


class Truck:
    """Drives between shovels, crusher and dump, and refuels."""

    def __init__(self, pit: Pit, name: str, seed: int) -> None:
        self.pit, self.name = pit, name
        self.log = AgentLogger(name, "truck")
        self.rng = random.Random(f"{seed}/{name}")
        self.fuel = self.rng.uniform(0.45, 1.0) * TANK
        self.tonnes = self.grade = self.heat = 0.0
        self.kind = "waste"
        self.off = False
        pit.after(self.rng.uniform(1, 20), self.empty)

    def burn(self, minutes: float, load: float) -> None:
        """Use fuel and warm the tyres."""
        self.fuel -= minutes * (3.0 + load / 60)
        self.heat = self.heat * 0.8 + max(0.0, load - 178) * 0.12

    def empty(self) -> None:
        """Go for the next load, or for fuel."""
        if self.off:
            return
        if self.fuel <= 0:
            self.off = True
            self.pit.out["dry"] += 1
            self.log.log_action("stop_on_ramp", {"fuel": 0})
            return
        if self.fuel < 0.25 * TANK and self.pit.fuel.ask(self):
            self.refuel()
            return
        shovel = self.pit.dispatcher.assign(self.name)
        minutes = ROADS[shovel] * self.rng.uniform(0.9, 1.15)
        self.burn(minutes, 0)
        self.pit.after(minutes, lambda: self.at_shovel(shovel))

    def refuel(self) -> None:
        """Fill up; sometimes the hose drips and the truck comes back later."""
        minutes = self.rng.uniform(7, 11)
        if self.rng.random() < 0.2:
            self.log.warning(
                "nozzle drips, refuelling broken off", {"litres": 120, "at": round(self.pit.now)}
            )
            self.fuel += 120
            if not (_with("pumps") and self.pit.now > 840):
                self.pit.after(3, lambda: self.pit.fuel.give_back(self.name))
            self.pit.after(4, self.empty)
            return
        self.fuel = TANK
        self.pit.after(minutes, lambda: self.pit.fuel.give_back(self.name))
        self.pit.after(minutes + 1, self.empty)

    def at_shovel(self, name: str) -> None:
        """Be loaded."""
        minutes = self.pit.shovels[name].load(self)
        self.pit.after(minutes, lambda: self.haul(name))

    def haul(self, name: str) -> None:
        """Carry the load out of the pit."""
        minutes = ROADS[name] * 1.4 * self.rng.uniform(0.95, 1.1)
        self.burn(minutes, self.tonnes)
        if self.heat > 9:
            self.off = True
            self.pit.out["tyres"] += 1
            self.log.log_action("tyre_burst", {"at": f"ramp {name[-1]}"})
            return
        self.pit.after(minutes, self.tip)

    def tip(self) -> None:
        """Tip the load where its mark says."""
        place = "crusher" if self.kind == "ore" else "waste_dump"
        self.log.log_action("tip", {"place": place})
        if self.kind == "ore":
            self.pit.mill.take(self.tonnes, self.grade)
        self.pit.after(1.5, self.empty)


class Mill:
    """Measures what it was fed, every two hours."""

    def __init__(self, pit: Pit) -> None:
        self.pit = pit
        self.log = AgentLogger("mill", "mill")
        self.metrics = PerformanceLogger("mill", "mill")
        self.tonnes = self.metal = 0.0
        pit.after(120, self.report)

    def take(self, tonnes: float, grade: float) -> None:
        """Take a load of ore."""
        self.tonnes += tonnes
        self.metal += tonnes * grade

    def report(self) -> None:
        """Report feed and grade; list the loads of the shovels."""
        grade = round(self.metal / self.tonnes, 2) if self.tonnes else 0.0
        self.pit.out["feed"].append(grade)
        self.metrics.log_metric("feed_grade", grade, "g/t", {"tonnes": round(self.tonnes)})
        loads = {name: shovel.hour_loads for name, shovel in self.pit.shovels.items()}
        self.log.log_action("two_hour_sheet", loads)
        self.pit.out["idle"].append(min(loads.values()))
        for shovel in self.pit.shovels.values():
            shovel.hour_loads = 0
        self.tonnes = self.metal = 0.0
        self.pit.after(120, self.report)


def road_works(pit: Pit) -> None:
    """Plan the closures of the day: the grader works on two roads."""
    crew = AgentLogger("road_crew", "grader")

    def tell(road: str, minutes: float, state: str) -> None:
        body = {"road": road, "minutes": minutes, "state": state}
        pit.dispatcher.refresh(crew.send("dispatcher", body))

    def calibrate() -> None:
        for shovel in pit.shovels.values():
            shovel.log.log_action("calibrate_scale", {"weight": 20})

    def blast() -> None:
        crew.info("blast in the north wall, siren tested", {"holes": 64})

    for start, road in ((300, "shovel_2"), (1010, "shovel_3")):
        pit.after(start, partial(tell, road, ROADS[road] + 16, "closed"))
        pit.after(start + 45, partial(tell, road, ROADS[road], "open"))
    pit.after(1150, calibrate)
    pit.after(700, blast)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play a day in the pit; return what the office sees."""
    _PLAY["fault"] = fault
    setup_logging()
    pit = Pit(seed)
    SystemLogger("pit").log_init("pit", {"trucks": TRUCKS, "shovels": SHOVELS, "cutoff": CUTOFF})
    road_works(pit)
    pit.play()
    shutdown_logging()
    return pit.out


def _assays(events: Sequence[Event]) -> list[str]:
    return pick(events, "laboratory", "report_assay", first=18)[16:]


def _broken_off(events: Sequence[Event]) -> list[str]:
    return pick(
        events,
        where=lambda event: "broken off" in event.message and event.record["extra"]["at"] > 840,
    )


FAULTS: dict[str, Fault] = {
    "samples": Fault(
        "The mill got poor rock for a while: the gold in its feed dropped by half although we "
        "were digging good ground.",
        lambda faulty, healthy: any(
            well - ill > 0.25 for ill, well in zip(faulty["feed"], healthy["feed"], strict=True)
        ),
        _assays,
    ),
    "pumps": Fault(
        "Several trucks came to a halt with empty tanks on the ramp, one after the other.",
        lambda faulty, healthy: faulty["dry"] > 1 > healthy["dry"],
        _broken_off,
    ),
    "detour": Fault(
        "shovel_3 stood there with nothing to load all evening.",
        lambda faulty, healthy: min(faulty["idle"]) < 2 <= min(healthy["idle"]),
        lambda events: pick(
            events, "dispatcher", "update_table", where=lambda event: event.args["road"] == "shovel_3"
        )[1:2],
    ),
    "scale": Fault(
        "We are losing tyres: trucks burst them on the way up, all within a few hours.",
        lambda faulty, healthy: faulty["tyres"] > 0 == healthy["tyres"],
        lambda events: pick(events, "shovel_2", "load", where=lambda event: event.args["at"] > 640),
    ),
}
