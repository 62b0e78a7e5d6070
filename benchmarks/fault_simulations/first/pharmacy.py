"""A hospital pharmacy: picking robots serve the wards from a shared store, driven by a queue of events."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, instrument, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
DRUGS = {"heparin": 60, "insulin": 90, "morphine": 60, "amoxicillin": 80, "paracetamol": 120, "ramipril": 80}
CONTROLLED = {"morphine"}


class Store:
    """Shelves with packs, a reorder level for each drug, and a wholesaler behind them."""

    def __init__(self) -> None:
        self.name = "store"
        self.stock = dict(DRUGS)
        self.levels = {drug: {"low": full // 3, "high": full} for drug, full in DRUGS.items()}
        self.coming: dict[str, int] = {}
        self.shelves = {drug: f"S{n}" for n, drug in enumerate(DRUGS)}
        self.version = 1
        self.sent = 0

    def set_levels(self, drug: str, low: int, high: int) -> dict[str, int]:
        """Change the levels at which a drug is reordered."""
        if "levels" in BROKEN and drug == "heparin":
            low, high = high, low
        self.levels[drug] = {"low": low, "high": high}
        return self.levels[drug]

    def swap_shelves(self, one: str, other: str) -> int:
        """Put two drugs in each other's place."""
        shelves = self.shelves
        shelves[one], shelves[other] = shelves[other], shelves[one]
        self.version += 1
        return self.version

    def take(self, drug: str, packs: int) -> int:
        """Take packs off the shelf."""
        taken = min(packs, self.stock[drug])
        self.stock[drug] -= taken
        self.sent += taken
        return taken

    def review(self) -> dict[str, int]:
        """Order what is short."""
        for drug, level in self.levels.items():
            gap = level["high"] - self.stock[drug]
            if drug not in self.coming and self.stock[drug] <= level["low"] and gap > 0:
                self.coming[drug] = gap
        return dict(self.coming)

    def delivered(self, drug: str) -> int:
        """Put a delivery on its shelf."""
        self.stock[drug] += self.coming.pop(drug)
        return self.stock[drug]


class Robot:
    """Picks packs from the shelves by its map of them."""

    trace_ignore = ("store", "log")

    def __init__(self, name: str, store: Store) -> None:
        self.name, self.store = name, store
        self.log = AgentLogger(name, "robot")
        self.map = dict(store.shelves)
        self.licensed_until = 720
        self.picks = 0
        self.busy_until = 0

    def load_map(self) -> dict[str, str]:
        """Read the places of the drugs."""
        if not ("map" in BROKEN and self.busy_until > 0 and self.name == "robot_2"):
            self.map = dict(self.store.shelves)
        return self.map

    def renew_licence(self, start: int, hours: int) -> int:
        """Extend the permission for controlled drugs."""
        self.licensed_until = start + hours * 60
        if "licence" in BROKEN and self.name == "robot_3":
            self.licensed_until = start + min(hours, 5) * 60
        return self.licensed_until

    def fill(self, order: int, drug: str, packs: int, jam: bool, minute: int) -> dict[str, Any]:
        """Pick an order, in a second try after a jam."""
        if drug in CONTROLLED and minute > self.licensed_until:
            self.log.log_decision("hold", {"order": order, "drug": drug}, reasoning="not permitted")
            return {"order": order, "drug": None, "packs": 0}
        place = self.map[drug]
        found = next(name for name, shelf in self.store.shelves.items() if shelf == place)
        if jam and packs <= 4:
            self.log.warning("gripper jammed", extra={"order": order, "shelf": place})
            if "twice" in BROKEN and minute > 330:
                self.store.take(found, packs)
        self.picks += 1
        self.busy_until = minute + 2 * packs
        return {"order": order, "drug": found, "packs": self.store.take(found, packs)}


class Ward:
    """Orders by the needs of its patients, and checks what comes."""

    trace_ignore = ("log",)

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = AgentLogger(name, "ward")
        self.received: dict[str, int] = {}
        self.short: dict[str, int] = {}
        self.wrong = 0

    def accept(self, wanted: str, packs: int, got: dict[str, Any], minute: int) -> str:
        """Check a box against the order."""
        if got["drug"] not in {wanted, None}:
            self.wrong += 1
            self.log.warning("wrong drug in the box", extra={"wanted": wanted, "got": got["drug"]})
            return "returned"
        self.received[wanted] = self.received.get(wanted, 0) + got["packs"]
        if got["packs"] < packs:
            self.short[wanted] = self.short.get(wanted, 0) + packs - got["packs"]
            self.log.log_action(
                "ask_again", {"drug": wanted, "packs": packs - got["packs"], "minute": minute}
            )
            return "short"
        return "accepted"


instrument(Store, ["set_levels", "swap_shelves", "take", "review", "delivered"], agent_role="store")
instrument(Robot, ["load_map", "renew_licence", "fill"], agent_role="robot")
instrument(Ward, ["accept"], agent_role="ward")


class Day:
    """The clock, and everything that is planned on it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.queue: list[tuple[int, int, Callable[[int], None]]] = []
        self.number = itertools.count()
        self.store = Store()
        self.robots = [Robot(f"robot_{n}", self.store) for n in range(1, 5)]
        self.wards = [Ward(name) for name in ("icu", "surgery", "cardiology", "paediatrics", "oncology")]
        self.system, self.meter = SystemLogger("pharmacy"), PerformanceLogger("pharmacy")

    def at(self, minute: int, job: Callable[[int], None]) -> None:
        """Plan a job."""
        heapq.heappush(self.queue, (minute, next(self.number), job))

    def order(self, number: int) -> Callable[[int], None]:
        """Return the job of one order of a ward."""
        ward, robot = self.rng.choice(self.wards), self.robots[number % 4]
        drug, packs = self.rng.choice([*DRUGS, "heparin"]), self.rng.randint(1, 5)
        jam = self.rng.random() < 0.3

        def job(minute: int) -> None:
            box = robot.fill(number, drug, packs, jam, minute)
            self.at(minute + 6, lambda now: self.deliver(ward, drug, packs, box, now))

        return job

    def deliver(self, ward: Ward, drug: str, packs: int, box: dict[str, Any], minute: int) -> None:
        """Bring a box to its ward."""
        ward.accept(drug, packs, box, minute)

    def restock(self, minute: int) -> None:
        """Let the store order; deliveries take an hour and a half."""
        before = dict(self.store.coming)
        for drug in self.store.review():
            if drug not in before:
                self.at(minute + 90, lambda _, drug=drug: self.store.delivered(drug))
        self.meter.log_metric("packs_in_stock", sum(self.store.stock.values()), "packs")

    def morning(self, _minute: int) -> None:
        """Set the limits for the day, and license the robots."""
        for drug, full in DRUGS.items():
            self.store.set_levels(drug, low=full // 2 + 5, high=full + 10)
        for robot in self.robots:
            robot.renew_licence(start=120, hours=12)

    def move(self, _minute: int) -> None:
        """Rearrange two shelves at noon."""
        self.system.log_config("shelves", self.store.version, self.store.version + 1)
        self.store.swap_shelves("ramipril", "amoxicillin")
        for robot in self.robots:
            robot.load_map()


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run a day of twelve hours."""
    BROKEN.clear()
    BROKEN.add(fault)
    day = Day(seed)
    day.at(120, day.morning)
    day.at(250, day.move)
    for number in range(240):
        day.at(3 * number, day.order(number))
    for minute in range(60, 720, 60):
        day.at(minute, day.restock)
    while day.queue:
        minute, _, job = heapq.heappop(day.queue)
        with tick(minute):
            job(minute)
    short: dict[str, int] = {}
    for ward in day.wards:
        for drug, packs in ward.short.items():
            short[drug] = short.get(drug, 0) + packs
    gone = day.store.sent - sum(sum(ward.received.values()) for ward in day.wards)
    return {"short": short, "wrong": sum(ward.wrong for ward in day.wards), "gone": gone}


def _missing(drug: str, packs: int = 4) -> Callable[[dict[str, Any], dict[str, Any]], bool]:
    return lambda f, h: f["short"].get(drug, 0) >= h["short"].get(drug, 0) + packs


def _second_takes(events: Sequence[Event]) -> list[str]:
    jams = {event.parent for event in events if event.message == "gripper jammed" and (event.tick or 0) > 330}
    return pick(events, act="fill", where=lambda e: e.span in jams) + pick(
        events, act="take", where=lambda e: e.parent in jams, first=6
    )


FAULTS = {
    "levels": Fault(
        "the wards got too little heparin all afternoon, nobody reordered enough of it",
        _missing("heparin"),
        lambda events: pick(events, "store", "set_levels", where=lambda e: e.args["drug"] == "heparin"),
    ),
    "map": Fault(
        "Why do boxes with the wrong drug arrive at the wards after lunch?",
        lambda f, h: f["wrong"] >= h["wrong"] + 3,
        lambda events: pick(events, "robot_2", "load_map"),
    ),
    "licence": Fault(
        "Some morphine orders came back empty in the second half of the day; there was enough in the store.",
        _missing("morphine", 2),
        lambda events: pick(events, "robot_3", "renew_licence"),
    ),
    "twice": Fault(
        "More packs left the store than the wards ever received today",
        lambda f, h: f["gone"] > h["gone"] + 8,
        _second_takes,
    ),
}
