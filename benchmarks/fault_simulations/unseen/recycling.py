"""A sorting plant for packaging waste: bays, a feeder, separators, a baler, and buyers who open bales."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from typing import Any

import simpy

from Agent import AgentLogger, PerformanceLogger, SystemLogger, setup_logging, shutdown_logging
from benchmarks.fault_simulations.kit import Event, Fault, pick

END = 72 * 60
BAYS = ("bay_1", "bay_2", "bay_3")
SORTERS = {"sorter_pet": "pet", "sorter_hdpe": "hdpe", "sorter_film": "film"}
BALE = {"pet": 420, "hdpe": 380, "film": 450, "rest": 500}
SHARES = {"pet": 0.3, "hdpe": 0.22, "film": 0.26, "rest": 0.22}
_PLAY = {"fault": ""}
Steps = Generator[simpy.Event, Any, None]


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class Compressor:
    """Makes the compressed air of a nozzle bar."""

    def __init__(self, env: simpy.Environment, number: int, seed: int) -> None:
        self.env, self.number = env, number
        self.name = f"compressor_{number}"
        self.metrics = PerformanceLogger(self.name, "compressor")
        self.rng = random.Random(f"{seed}/{self.name}")

    def pressure(self) -> float:
        """Return the pressure in bar; all of them run a little down between services."""
        loss = 0.00004 * (self.env.now % 1440)
        if _with("air") and self.number == 3:
            loss += max(0.0, self.env.now - 1500) * 0.00125
        return round(max(2.0, 7.0 - loss + self.rng.gauss(0, 0.05)), 2)

    def watch(self) -> Steps:
        """Write the pressure down from time to time."""
        while True:
            self.metrics.log_metric("air_pressure", self.pressure(), "bar")
            yield self.env.timeout(120)


class Sorter:
    """Recognises a material on the belt and blows it out; speed and delay of the nozzles belong together."""

    def __init__(self, name: str, air: Compressor, seed: int) -> None:
        self.name, self.material, self.air = name, SORTERS[name], air
        self.log = AgentLogger(name, "sorter")
        self.rng = random.Random(f"{seed}/{name}")
        self.speed, self.delay = 2.6, 2.6

    def set_speed(self, speed: float) -> None:
        """Change the speed of the belt."""
        self.log.log_action("set_speed", {"speed": speed})
        self.speed = speed

    def calibrate(self) -> None:
        """Fit the delay of the nozzles to the speed."""
        self.delay = self.speed
        self.log.log_action("calibrate_nozzles", {"targets": 40, "hits": 38 + self.rng.randrange(3)})

    def sort(self, load: str, kilos: dict[str, float]) -> tuple[float, float]:
        """Return how much of the own material is hit, and how much else is blown along."""
        air = self.air.pressure()
        hit = 0.93 * min(1.0, air / 6.2) ** 2 - 0.9 * abs(self.speed - self.delay)
        hit = min(0.97, max(0.2, hit + self.rng.gauss(0, 0.015)))
        wrong = min(0.4, 0.03 + 0.35 * abs(self.speed - self.delay) + abs(self.rng.gauss(0, 0.008)))
        own = kilos[self.material] * hit
        other = (sum(kilos.values()) - kilos[self.material]) * wrong * 0.5
        self.log.log_action("sort", {"load": load, "out": round(own + other), "air": air})
        return own, other


class Baler:
    """Presses one material after another into bales, by the count of its scale."""

    def __init__(self, plant: Plant, seed: int) -> None:
        self.plant = plant
        self.log = AgentLogger("baler", "baler")
        self.rng = random.Random(f"{seed}/baler")
        self.bales = 0
        self.rest = 0.0

    def press(self, material: str) -> Steps:
        """Press a bale from a bunker."""
        bunker = self.plant.bunkers[material]
        self.bales += 1
        jam = self.bales in {14, 31, 42}
        if jam:
            self.log.warning("wire jammed, press opened and cleared", {"bale": self.bales})
            yield self.plant.env.timeout(12)
            if not (_with("counter") and self.bales == 31):
                self.log.log_action("reset_count", {"bale": self.bales})
            else:
                self.rest = 190.0
        own, other = bunker
        total = own + other
        weight = min(BALE[material] + self.rng.uniform(-6, 6), total) + self.rest
        self.rest = 0.0
        part = min(1.0, weight / total)
        purity = own / total
        bunker[0] -= own * part
        bunker[1] -= other * part
        name = f"bale_{self.bales:03d}"
        self.log.log_action("press", {"bale": name, "material": material})
        yield self.plant.env.timeout(self.rng.uniform(6, 9))
        self.plant.stack.append((name, material, purity, weight))


class Loader:
    """The wheel loader, which empties the bays."""

    def __init__(self, plant: Plant, seed: int) -> None:
        self.plant = plant
        self.log = AgentLogger("loader", "loader")
        self.rng = random.Random(f"{seed}/loader")
        self.turn = 0

    def choose(self) -> str:
        """Choose the next bay: the one whose waste has waited longest."""
        filled = [bay for bay in BAYS if self.plant.bays[bay]]
        if not filled:
            return ""
        ages = {bay: self.plant.env.now - self.plant.bays[bay][0][1] for bay in filled}
        if _with("newest") and self.plant.env.now > 1900:
            best = min(filled, key=lambda bay: (self.plant.env.now - self.plant.bays[bay][-1][1], bay))
        else:
            best = max(filled, key=lambda bay: (ages[bay], bay))
        self.log.log_decision(
            "choose_bay", {"bay": best, "filled": len(filled), "minute": round(self.plant.env.now)}
        )
        return best


class Plant:
    """All machines and heaps of the plant."""

    def __init__(self, env: simpy.Environment, seed: int) -> None:
        self.env, self.seed = env, seed
        self.bays: dict[str, list[tuple[str, float, dict[str, float]]]] = {bay: [] for bay in BAYS}
        self.air = {n: Compressor(env, n, seed) for n in (1, 2, 3)}
        self.sorters = {
            name: Sorter(name, self.air[number], seed) for number, name in enumerate(SORTERS, start=1)
        }
        self.bunkers: dict[str, list[float]] = {name: [0.0, 0.0] for name in BALE}
        self.baler, self.loader = Baler(self, seed), Loader(self, seed)
        self.stack: list[tuple[str, str, float, float]] = []
        self.gate = AgentLogger("gate", "gate")
        self.sprinkler = AgentLogger("heat_camera", "sensor")
        self.lab = AgentLogger("quality_lab", "lab")
        self.buyers = {name: AgentLogger(f"buyer_{name}", "buyer") for name in BALE}
        self.chief = AgentLogger("shift_chief", "chief")
        self.rng = random.Random(f"{seed}/deliveries")
        self.checks = random.Random(f"{seed}/checks")
        self.out: dict[str, Any] = {"rejected": [], "burst": 0, "smoke": 0, "rest": []}
        self.rest_plastic = [0.0, 0.0]

    def deliveries(self) -> Steps:
        """Let trucks come; they tip where there is room."""
        number = 0
        while True:
            number += 1
            kilos = {
                name: round(1000 * share * self.rng.uniform(0.85, 1.15)) for name, share in SHARES.items()
            }
            bay = BAYS[number % 3]
            load = f"load_{number:03d}"
            self.bays[bay].append((load, self.env.now, {name: float(kilo) for name, kilo in kilos.items()}))
            self.gate.log_action("weigh_in", {"load": load, "bay": bay, "kg": sum(kilos.values())})
            yield self.env.timeout(self.rng.uniform(15, 23))

    def line(self) -> Steps:
        """Feed load after load to the sorters."""
        while True:
            if 480 <= self.env.now % 1440 < 580:
                yield self.env.timeout(10)
                continue
            bay = self.loader.choose()
            if not bay:
                yield self.env.timeout(5)
                continue
            place = -1 if _with("newest") and self.env.now > 1900 else 0
            load, _, kilos = self.bays[bay].pop(place)
            yield self.env.timeout(self.rng.uniform(15.5, 20.5))
            left = dict(kilos)
            for sorter in self.sorters.values():
                own, other = sorter.sort(load, left)
                bunker = self.bunkers[sorter.material]
                bunker[0] += own
                bunker[1] += other
                left[sorter.material] -= own
                left["rest"] = max(0.0, left["rest"] - other)
            self.bunkers["rest"][0] += left["rest"]
            self.bunkers["rest"][1] += sum(left.values()) - left["rest"]
            self.rest_plastic[0] += left["film"]
            self.rest_plastic[1] += sum(left.values())

    def pressing(self) -> Steps:
        """Press the fullest bunker."""
        while True:
            ready = [name for name, (own, other) in self.bunkers.items() if own + other > BALE[name] + 10]
            if not ready:
                yield self.env.timeout(4)
                continue
            name = max(ready, key=lambda each: (sum(self.bunkers[each]) / BALE[each], each))
            yield from self.baler.press(name)

    def shipping(self) -> Steps:
        """Take bales to the buyers, who open some of them."""
        while True:
            yield self.env.timeout(60)
            now, self.stack = self.stack, []
            for name, material, purity, weight in now:
                buyer = self.buyers[material]
                if weight > BALE[material] + 120:
                    self.out["burst"] += 1
                    buyer.log_action("wire_burst", {"bale": name})
                elif material != "rest" and purity < 0.885:
                    self.out["rejected"].append(material)
                    buyer.log_action("send_back", {"bale": name, "reason": "dirty"})
                else:
                    buyer.log_action("accept", {"bale": name})

    def heat(self) -> Steps:
        """Watch the heaps: what lies too long gets warm."""
        while True:
            yield self.env.timeout(180)
            for bay, heap in self.bays.items():
                oldest = max((self.env.now - since for _, since, _ in heap), default=0.0)
                degrees = round(18 + oldest / 25 + self.checks.uniform(-1, 1))
                self.sprinkler.log_action("look", {"bay": bay, "degrees": degrees})
                if degrees > 46:
                    self.out["smoke"] += 1
                    self.sprinkler.log_action("smoke_alarm", {"bay": bay})
                    heap.sort(key=lambda entry: entry[1])
                    heap.pop(0)

    def laboratory(self) -> Steps:
        """Look into the residue twice a shift."""
        while True:
            yield self.env.timeout(240)
            film, total = self.rest_plastic
            share = round(100 * film / max(1.0, total), 1)
            self.out["rest"].append(share)
            self.lab.log_action("residue_sample", {"film_percent": share})
            self.rest_plastic = [0.0, 0.0]

    def shifts(self) -> Steps:
        """Change a setting here and there, as chiefs do."""
        for minutes, name, speed in (
            (700, "sorter_film", 2.75),
            (1300, "sorter_hdpe", 2.7),
            (1400, "sorter_pet", 2.78),
        ):
            yield self.env.timeout(minutes)
            sorter = self.sorters[name]
            self.chief.log_decision("belt_plan", {"machine": name, "reason": "holiday tonnage"})
            sorter.set_speed(speed)
            yield self.env.timeout(3)
            if not (_with("nozzles") and name == "sorter_pet"):
                sorter.calibrate()
            if name == "sorter_hdpe":
                self.chief.info("lamp replaced above the picking table", {"watt": 40})


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play three days of the plant; return what lab, buyers and fire watch noticed."""
    _PLAY["fault"] = fault
    setup_logging()
    env = simpy.Environment()
    plant = Plant(env, seed)
    SystemLogger("plant").log_init("plant", {"bays": len(BAYS), "sorters": list(SORTERS)})
    for part in (plant.deliveries, plant.line, plant.pressing, plant.shipping, plant.heat, plant.laboratory):
        env.process(part())
    env.process(plant.shifts())
    for compressor in plant.air.values():
        env.process(compressor.watch())
    env.run(until=END)
    shutdown_logging()
    return plant.out


def _not_reset(events: Sequence[Event]) -> list[str]:
    reset = {event.args["bale"] for event in events if event.act == "reset_count"}
    return pick(
        events,
        "baler",
        where=lambda event: "wire jammed" in event.message and event.record["extra"]["bale"] not in reset,
    )


def _weak_air(events: Sequence[Event]) -> list[str]:
    marks = [event.number for event in events if event.agent == "compressor_3"]
    after = marks[13] if len(marks) > 13 else 0
    return pick(events, "compressor_3", "air_pressure", where=lambda event: event.number >= after)


FAULTS: dict[str, Fault] = {
    "nozzles": Fault(
        "buyer_pet keeps sending our bales back because they are full of other stuff.",
        lambda faulty, healthy: faulty["rejected"].count("pet") > 1 > healthy["rejected"].count("pet"),
        lambda events: (
            pick(events, "sorter_pet", "set_speed")
            + pick(
                events, "shift_chief", "belt_plan", where=lambda event: event.args["machine"] == "sorter_pet"
            )
        ),
    ),
    "counter": Fault(
        "A bale flew apart at the customer's yard when they cut it, it was far too heavy.",
        lambda faulty, healthy: faulty["burst"] > 0 == healthy["burst"],
        _not_reset,
    ),
    "air": Fault(
        "More and more plastic film ends up in the residue that we pay to have burnt.",
        lambda faulty, healthy: faulty["rest"][-1] > healthy["rest"][-1] + 6,
        _weak_air,
    ),
    "newest": Fault(
        "A heap in the hall started to smoke, that waste must have been lying there for half a day.",
        lambda faulty, healthy: faulty["smoke"] > 0 == healthy["smoke"],
        lambda events: pick(
            events,
            "loader",
            "choose_bay",
            where=lambda event: event.args["minute"] > 1900 and event.args["filled"] > 1,
        ),
    ),
}
