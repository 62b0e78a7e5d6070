"""Robots of a warehouse bring totes from the aisles to packing places."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from Agent import SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Fault, pick

TICKS = 240
AISLES = ["a1", "a2", "a3", "a3", "a4", "a5", "a6"]
GOODS = ["kettle", "lamp", "drill", "novel", "mug", "scarf", "router", "puzzle"]


@dataclass(eq=False)
class Induction:
    """Fills totes and prints their labels."""

    agent_id: str = "induction"
    filled: int = 0

    @trace_agent_action("load")
    def load(self, tote: str, goods: str) -> int:
        """Put goods into a tote."""
        self.filled += 1
        return self.filled

    @trace_agent_action("label")
    def label(self, tote: str, order: str) -> str:
        """Print an order's label for a tote."""
        return f"{order}/{tote}"


@dataclass(eq=False)
class Planner:
    """Gives orders to robots and keeps the settings of the hall."""

    agent_id: str = "planner"
    settings: dict[str, float] = field(default_factory=lambda: {"charge_below": 0.25, "speed": 1.0})

    @trace_agent_action("configure")
    def configure(self, name: str, value: float) -> None:
        """Set one setting of the hall."""
        self.settings[name] = value

    @trace_agent_action("assign")
    def assign(self, order: str, robot: str, aisle: str) -> str:
        """Give an order to a robot."""
        return robot


@dataclass(eq=False)
class Traffic:
    """Lets at most two robots into an aisle."""

    agent_id: str = "traffic"
    inside: dict[str, int] = field(default_factory=dict)

    @trace_agent_action("request")
    def request(self, aisle: str, robot: str) -> bool:
        """Ask for a place in an aisle."""
        if self.inside.get(aisle, 0) >= 2:
            return False
        self.inside[aisle] = self.inside.get(aisle, 0) + 1
        return True

    @trace_agent_action("release")
    def release(self, aisle: str, robot: str) -> int:
        """Give a place in an aisle back."""
        self.inside[aisle] -= 1
        return self.inside[aisle]


@dataclass(eq=False)
class Robot:
    """Fetches totes and docks at packing places."""

    agent_id: str
    battery: float
    offset_mm: float = 0.0
    status: str = "free"

    @trace_agent_action("fetch")
    def fetch(self, tote: str, aisle: str, grasps: int) -> str:
        """Take a tote from a shelf."""
        self.status = "loaded"
        return tote

    @trace_agent_action("drive")
    def drive(self, station: str, slip_mm: float, used: float) -> float:
        """Drive to a packing place and return how far off the wheels say it is."""
        self.battery = round(self.battery - used, 3)
        self.offset_mm = round(self.offset_mm + slip_mm, 2)
        return self.offset_mm

    @trace_agent_action("dock")
    def dock(self, station: str) -> bool:
        """Try to dock; the pins take 12 mm."""
        fits = abs(self.offset_mm) <= 12
        if not fits:
            self.offset_mm = round(self.offset_mm * 0.6, 2)
        return fits

    @trace_agent_action("calibrate")
    def calibrate(self) -> None:
        """Set the position from the floor marks."""
        self.offset_mm = 0.0

    @trace_agent_action("charge")
    def charge(self, dock: str) -> None:
        """Charge the battery."""
        self.battery, self.status = 1.0, "charging"


@dataclass(eq=False)
class Station:
    """Packs what is in a tote for the order on its label."""

    agent_id: str
    packed: int = 0

    @trace_agent_action("scan")
    def scan(self, tote: str, contrast: float) -> str:
        """Read the label of a tote; a pale one cannot be read."""
        if contrast < 0.05:
            raise ValueError("label not readable")
        return tote

    @trace_agent_action("pack")
    def pack(self, tote: str, order: str, goods: str) -> int:
        """Pack goods for an order."""
        self.packed += 1
        return self.packed


@dataclass
class _Job:
    number: int
    wanted: str
    tote: str
    aisle: str
    goods: str = ""
    label: str = ""
    robot: str = ""
    stage: str = "new"
    due: int = 0


class _Hall:
    """The hall with everything in it; plays one tick after the other."""

    def __init__(self, seed: int, case: str) -> None:
        self.rng = random.Random(seed)
        self.case = case
        self.induction, self.planner, self.traffic = Induction(), Planner(), Traffic()
        names = [f"r{n:02d}" for n in range(1, 13)]
        self.robots = {n: Robot(n, round(self.rng.uniform(0.5, 1.0), 2)) for n in names}
        self.stations = [Station(f"pack_{n}") for n in range(1, 5)]
        self.free_at = dict.fromkeys(names, 0)
        self.jobs: list[_Job] = []
        self.next_wave = 1
        self.outcome: dict[str, Any] = {"wrong": [], "stranded": [], "redocks": 0, "packed": 0}

    def _wave(self, now: int) -> None:
        first = self.rng.sample(GOODS, 2)
        wave = []
        for goods in first:
            number = 1001 + len(self.jobs)
            job = _Job(number, goods, f"t{self.rng.randrange(100, 999)}", self.rng.choice(AISLES), goods)
            job.label, job.due = f"o{number}", now + 1
            self.jobs.append(job)
            wave.append(job)
        if self.case == "labels" and wave[0].number == 1031:
            wave[0].label, wave[1].label = wave[1].label, wave[0].label
        for job in wave:
            self.induction.load(job.tote, job.goods)
            self.induction.label(job.tote, job.label)
        self.next_wave = now + self.rng.choice([3, 4, 4, 5])

    def _slip(self, robot: str, now: int) -> float:
        slip = self.rng.gauss(0, 0.8)
        if self.case == "wheel" and robot == "r04" and now >= 36:
            slip += 0.6 + 0.1 * (now - 36)
        return round(slip, 2)

    def _advance(self, job: _Job, now: int) -> None:
        if job.stage == "new":
            below = self.planner.settings["charge_below"]
            ready = [r for r, at in self.free_at.items() if at <= now and self.robots[r].status == "free"]
            for name in [r for r in ready if self.robots[r].battery < below]:
                self.robots[name].charge(f"c{self.rng.randrange(1, 5)}")
                self.free_at[name] = now + 14
                ready.remove(name)
            if ready:
                job.robot = self.rng.choice(ready)
                self.planner.assign(job.label, job.robot, job.aisle)
                self.robots[job.robot].status = "moving"
                job.stage, job.due = "way", now + self.rng.randrange(2, 5)
        elif job.stage == "way":
            if self.traffic.request(job.aisle, job.robot):
                job.stage, job.due = "aisle", now + 2
            else:
                job.due = now + 3
        elif job.stage == "aisle":
            grasps = 2 if job.number % 3 == 0 else 1
            self.robots[job.robot].fetch(job.tote, job.aisle, grasps)
            if not (self.case == "places" and job.aisle == "a3" and grasps == 2 and now >= 90):
                self.traffic.release(job.aisle, job.robot)
            job.stage, job.due = "drive", now + self.rng.randrange(3, 6)
        elif job.stage == "drive":
            self._bring(job, now)

    def _bring(self, job: _Job, now: int) -> None:
        robot, station = self.robots[job.robot], self.stations[job.number % 4]
        used = round(self.rng.uniform(0.12, 0.17), 3)
        if robot.battery < used:
            robot.status, job.stage = "out", "lost"
            self.outcome["stranded"].append(robot.agent_id)
            return
        robot.drive(station.agent_id, self._slip(job.robot, now), used)
        for _ in range(4):
            if robot.dock(station.agent_id):
                break
            self.outcome["redocks"] += 1
        contrast = round(random.Random(job.number).random(), 2)
        try:
            station.scan(job.tote, contrast)
        except ValueError:
            station.scan(job.tote, 0.5)
        station.pack(job.tote, job.label, job.goods)
        wanted = self.jobs[int(job.label[1:]) - 1001].wanted
        if wanted != job.goods:
            self.outcome["wrong"].append(job.label)
        self.outcome["packed"] += 1
        robot.status, job.stage, self.free_at[job.robot] = "free", "done", now + 1

    def play(self) -> dict[str, Any]:
        """Play all ticks."""
        system = SystemLogger("hall")
        for now in range(TICKS):
            with tick(now):
                if now in (28, 150):
                    self.planner.configure("speed", 0.9 if now == 28 else 1.0)
                if now == 84:
                    self.planner.configure("charge_below", 0.08 if self.case == "charge" else 0.24)
                if now == 118:
                    system.log_milestone("fire drill", {"minutes": 2, "doors": "open"})
                for name, robot in self.robots.items():
                    if robot.status == "charging" and self.free_at[name] <= now:
                        robot.status = "free"
                    if robot.status == "free" and (now + int(name[1:]) * 5) % 70 == 0:
                        robot.calibrate()
                if now >= self.next_wave and now < TICKS - 25:
                    self._wave(now)
                for job in self.jobs:
                    if job.stage not in {"done", "lost"} and job.due <= now:
                        self._advance(job, now)
        self.outcome["waiting_a3"] = sum(j.aisle == "a3" and j.stage in {"new", "way"} for j in self.jobs)
        return self.outcome


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play one day of the hall."""
    return _Hall(seed, fault).play()


FAULTS = {
    "labels": Fault(
        "Order o1031 came with somebody else's goods in the box.",
        lambda faulty, healthy: "o1031" in faulty["wrong"] and not healthy["wrong"],
        lambda events: pick(
            events, "induction", "label", where=lambda e: e.args.get("order") in {"o1031", "o1032"}
        ),
    ),
    "places": Fault(
        "In the afternoon nothing from aisle a3 gets out any more, and the carts queue in front of it.",
        lambda faulty, healthy: faulty["waiting_a3"] >= healthy["waiting_a3"] + 4,
        lambda events: pick(
            events, act="fetch", tick=lambda t: t >= 90,
            where=lambda e: e.args.get("aisle") == "a3" and e.args.get("grasps") == 2,
        ),
    ),
    "charge": Fault(
        "Several carts stand dark in the middle of the hall and we have to push them away by hand.",
        lambda faulty, healthy: len(faulty["stranded"]) >= len(healthy["stranded"]) + 2,
        lambda events: pick(
            events, "planner", "configure", where=lambda e: e.args.get("name") == "charge_below"
        ),
    ),
    "wheel": Fault(
        "At the packing places, pack_2 for one, a cart bumps against the pins and needs several goes.",
        lambda faulty, healthy: faulty["redocks"] >= healthy["redocks"] + 2,
        lambda events: pick(events, "r04", "drive", tick=lambda t: t >= 36),
    ),
}  # fmt: skip
