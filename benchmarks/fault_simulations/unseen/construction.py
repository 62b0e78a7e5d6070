"""Two towers rise on a building site: axes are set out, floors poured, panels hung, one crane for all."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, setup_logging, shutdown_logging, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

DAYS = 70
FLOORS, CYCLE = 10, 5
TOWERS = {"A": 0, "B": 2}
SLOTS = 17
LOADS = 5
NEED_TO_STRIKE = 19.0
_PLAY = {"fault": ""}


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class Surveyor:
    """Sets out the axes of a floor, and measures how far slabs sag."""

    def __init__(self, seed: int) -> None:
        self.log = AgentLogger("surveyor", "surveyor")
        self.rng = random.Random(f"{seed}/surveyor")
        self.errors: dict[tuple[str, int], float] = {}

    def set_out(self, tower: str, floor: int) -> None:
        """Apply the corrections in mm that the net of points asks for."""
        worst = 0.0
        for axis in range(1, 5):
            east, north = self.rng.randint(-9, 9), self.rng.randint(-9, 9)
            if abs(east - north) < 9:
                north = east - 10 if east > 0 else east + 10
            done = (east, north)
            if _with("east_north") and (tower, floor) == ("A", 4) and axis > 2:
                done = (north, east)
            worst = max(worst, abs(done[0] - east), abs(done[1] - north))
            body = {"tower": tower, "floor": floor, "axis": axis, "east_mm": done[0], "north_mm": done[1]}
            self.log.log_action("set_axis", body)
        self.errors[tower, floor] = worst

    def sag(self, tower: str, floor: int, strength: float) -> float:
        """Measure the sag of a slab on the day after its props were taken."""
        sag = round(max(1.0, 4 + (20 - strength) * 5) + self.rng.uniform(0, 1.5), 1)
        self.log.log_action("measure_sag", {"tower": tower, "floor": floor, "mm": sag})
        return sag


class Lab:
    """Follows how concrete hardens, and crushes cubes after four days."""

    def __init__(self, seed: int) -> None:
        self.log = AgentLogger("laboratory", "laboratory")
        self.rng = random.Random(f"{seed}/laboratory")

    def maturity(self, tower: str, floor: int, strength: float, day: int) -> float:
        """Report the strength by now, from the temperatures in the slab."""
        shown = round(strength, -1) if _with("tens") and day >= 40 else round(strength, 1)
        self.log.log_action("report_maturity", {"tower": tower, "floor": floor, "mpa": shown})
        return shown

    def crush(self, tower: str, floor: int, strength: float, asked: int) -> bool:
        """Crush three cubes."""
        values = [round(strength * 0.8 * self.rng.uniform(0.97, 1.03), 1) for _ in range(3)]
        fine = sum(values) / 3 >= asked * 0.49
        self.log.log_action("crush_cubes", {"tower": tower, "floor": floor, "mpa": values, "passed": fine})
        return fine


class Plant:
    """The concrete plant: the newest order for a floor counts."""

    def __init__(self) -> None:
        self.log = AgentLogger("concrete_plant", "plant")
        self.orders: dict[tuple[str, int], int] = {}

    def take(self, message: Any) -> None:
        """Take an order or a correction."""
        self.log.receive(message)
        body = message.body
        self.orders[body["tower"], body["floor"]] = body["grade"]

    def batch(self, tower: str, floor: int, load: int) -> int:
        """Mix one load."""
        grade = self.orders[tower, floor]
        self.log.log_action(
            "batch", {"tower": tower, "floor": floor, "load": load, "cement_kg": 190 + 5 * grade}
        )
        return grade


class Crane:
    """The crane and its calendar for the day."""

    def __init__(self, seed: int) -> None:
        self.log = AgentLogger("crane", "crane")
        self.metrics = PerformanceLogger("crane", "crane")
        self.rng = random.Random(f"{seed}/crane")
        self.left = SLOTS

    def morning(self) -> None:
        """Open the calendar of a new day."""
        self.left = SLOTS
        self.metrics.log_metric("wind", round(4 + 3 * self.rng.random(), 1), "m/s")

    def book(self, message: Any) -> bool:
        """Book a slot for whoever asks."""
        self.log.receive(message)
        if self.left <= 0:
            return False
        self.left -= 1
        return True


class Gang:
    """A gang that works with the crane."""

    def __init__(self, name: str, seed: int) -> None:
        self.log = AgentLogger(name, "gang")
        self.rng = random.Random(f"{seed}/{name}")
        self.done = 0

    def book(self, crane: Crane, slots: int) -> int:
        """Ask for slots of the crane, one message for each."""
        return sum(crane.book(self.log.send("crane", {"slot": number + 1})) for number in range(slots))


class Manager:
    """The site manager, who inspects and orders."""

    def __init__(self, seed: int) -> None:
        self.log = AgentLogger("site_manager", "manager")
        self.rng = random.Random(f"{seed}/manager")

    def order(self, plant: Plant, tower: str, floor: int) -> int:
        """Order concrete; transfer floors need a stronger one, which comes as a correction."""
        self.log.log_decision("release_floor", {"tower": tower, "floor": floor})
        messages = [self.log.send("concrete_plant", {"tower": tower, "floor": floor, "grade": 30})]
        asked = 30
        if floor in {3, 6, 9}:
            asked = 40
            messages.append(self.log.send("concrete_plant", {"tower": tower, "floor": floor, "grade": 40}))
        if _with("overtaken") and (tower, floor) == ("B", 6):
            messages.reverse()
        for message in messages:
            plant.take(message)
        return asked


class Site:
    """The site with both towers."""

    def __init__(self, seed: int) -> None:
        self.surveyor, self.lab, self.plant = Surveyor(seed), Lab(seed), Plant()
        self.crane, self.manager = Crane(seed), Manager(seed)
        names = ("carpenters", "steel_fixers", "facade_gang", "concrete_gang")
        self.gangs = {name: Gang(name, seed) for name in names}
        self.trucks = [AgentLogger(f"mixer_{n}", "truck") for n in (1, 2, 3)]
        self.roads = random.Random(f"{seed}/roads")
        self.sun = random.Random(f"{seed}/sun")
        self.system = SystemLogger("site")
        self.grades: dict[tuple[str, int], tuple[int, int]] = {}
        self.poured: dict[tuple[str, int], int] = {}
        self.struck: dict[tuple[str, int], tuple[int, float]] = {}
        self.out: dict[str, Any] = {"misfit": [], "weak": [], "sag": [], "stiff": 0}

    def strength(self, key: tuple[str, int], day: int) -> float:
        """How strong a slab is by now."""
        age = day - self.poured[key]
        return self.grades[key][0] * (1 - math.exp(-age / 3.4))

    def day(self, day: int) -> None:
        """Play one day."""
        self.crane.morning()
        mild = self.sun.uniform(-0.6, 0.6)
        self._facade(day)
        for tower, first in TOWERS.items():
            floor, step = divmod(day - first, CYCLE)
            if day >= first and floor < FLOORS:
                self._cycle(tower, floor + 1, step, day)
        self._harden(day, mild)
        if day == 25:
            self.system.info("mayor visits the site", {"helmets": 12})
        if day == 33:
            self.system.log_config("work_starts", old_value="07:00", new_value="06:30")

    def _cycle(self, tower: str, floor: int, step: int, day: int) -> None:
        carpenters, fixers = self.gangs["carpenters"], self.gangs["steel_fixers"]
        if step == 0:
            self.surveyor.set_out(tower, floor)
        elif step == 1:
            carpenters.log.log_action("set_forms", {"tower": tower, "floor": floor})
            carpenters.book(self.crane, 3)
        elif step == 2:
            fixers.book(self.crane, 3)
            fixers.log.log_action(
                "fix_steel", {"tower": tower, "floor": floor, "bars": 380 + fixers.rng.randrange(40)}
            )
        elif step == 3:
            asked = self.manager.order(self.plant, tower, floor)
            self.grades[tower, floor] = (asked, asked)
            if fixers.rng.random() < 0.15:
                fixers.log.warning("two spacers missing, added before the pour", {"floor": floor})
        else:
            self._pour(tower, floor, day)

    def _pour(self, tower: str, floor: int, day: int) -> None:
        gang = self.gangs["concrete_gang"]
        asked = self.grades[tower, floor][1]
        mixed = asked
        for load in range(1, LOADS + 1):
            mixed = self.plant.batch(tower, floor, load)
            truck = self.trucks[load % 3]
            minutes = round(self.roads.uniform(24, 40))
            truck.log_action("deliver", {"load": load, "minutes": minutes})
            waited = 0 if gang.book(self.crane, 1) else 75
            if minutes + waited > 90:
                self.out["stiff"] += 1
                gang.log.log_action("send_back_load", {"tower": tower, "floor": floor, "load": load})
            else:
                gang.log.log_action("place_load", {"tower": tower, "floor": floor, "load": load})
        self.grades[tower, floor] = (mixed, asked)
        self.poured[tower, floor] = day

    def _harden(self, day: int, mild: float) -> None:
        for key, since in list(self.poured.items()):
            tower, floor = key
            age = day - since
            now = self.strength(key, day) + mild
            if age == 4 and not self.lab.crush(tower, floor, now, self.grades[key][1]):
                self.out["weak"].append(f"{tower}{floor}")
            if key in self.struck:
                on, had = self.struck[key]
                if day == on + 1 and self.surveyor.sag(tower, floor, had) > 11:
                    self.out["sag"].append(f"{tower}{floor}")
                    self.gangs["carpenters"].log.log_action("prop_again", {"tower": tower, "floor": floor})
            elif age >= 2 and self.lab.maturity(tower, floor, now, day) >= NEED_TO_STRIKE:
                self.struck[key] = (day, now)
                self.gangs["carpenters"].log.log_action("strike_forms", {"tower": tower, "floor": floor})

    def _facade(self, day: int) -> None:
        gang = self.gangs["facade_gang"]
        stubborn = _with("asks_again") and day >= 46
        wanted = 4 if day >= 14 else 1
        got = gang.book(self.crane, wanted)
        if stubborn:
            got += gang.book(self.crane, 14)
        for tower, first in TOWERS.items():
            floor, step = divmod(day - first - 14, CYCLE)
            if day < first + 14 or floor >= FLOORS or step > 2 or not got:
                continue
            for panel in range(1, 4):
                side = step * 3 + panel
                error = self.surveyor.errors[tower, floor + 1] + gang.rng.uniform(0, 4)
                body = {"tower": tower, "floor": floor + 1, "panel": side}
                if error > 8:
                    self.out["misfit"].append(f"{tower}{floor + 1}")
                    gang.log.log_action("panel_jams", body)
                else:
                    gang.log.log_action("hang_panel", body)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play ten weeks of the site; return what people on it noticed."""
    _PLAY["fault"] = fault
    setup_logging()
    site = Site(seed)
    site.system.log_simulation_start("site", {"towers": list(TOWERS), "floors": FLOORS})
    for day in range(DAYS):
        with tick(day):
            site.day(day)
    shutdown_logging()
    return site.out


def _overtaken(events: Sequence[Event]) -> list[str]:
    return pick(
        events,
        "concrete_plant",
        where=lambda event: (
            event.kind == "agent_message" and (event.args["tower"], event.args["floor"]) == ("B", 6)
        ),
    )


def _asked_again(events: Sequence[Event]) -> list[str]:
    return pick(
        events,
        "facade_gang",
        tick=lambda at: at >= 46,
        where=lambda event: event.kind == "agent_message",
        first=7,
    )[4:]


FAULTS: dict[str, Fault] = {
    "east_north": Fault(
        "On one floor of tower A the panels of the outer wall will not go in, they jam by about a "
        "centimetre.",
        lambda faulty, healthy: len(faulty["misfit"]) > len(healthy["misfit"]),
        lambda events: pick(
            events,
            "surveyor",
            "set_axis",
            where=lambda event: (
                (event.args["tower"], event.args["floor"]) == ("A", 4) and event.args["axis"] > 2
            ),
        ),
    ),
    "overtaken": Fault(
        "The cubes of the sixth floor of B are far too weak, though the engineer had asked for "
        "the strong mix there.",
        lambda faulty, healthy: "B6" in faulty["weak"] and not healthy["weak"],
        _overtaken,
    ),
    "tens": Fault(
        "Slabs hang through since last week and the carpenters have to prop them up again.",
        lambda faulty, healthy: bool(faulty["sag"]) and not healthy["sag"],
        lambda events: pick(events, "laboratory", "report_maturity", tick=lambda at: at >= 40),
    ),
    "asks_again": Fault(
        "The concrete_gang had to send mixers away, the loads had gone stiff while they waited for the hook.",
        lambda faulty, healthy: faulty["stiff"] > 0 == healthy["stiff"],
        _asked_again,
    ),
}
