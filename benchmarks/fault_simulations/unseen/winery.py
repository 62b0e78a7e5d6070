"""A winery from the crush to the tasting: tanks ferment, hands measure and dose, a panel tastes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from Agent import (
    AgentLogger,
    PerformanceLogger,
    SystemLogger,
    setup_logging,
    shutdown_logging,
    tick,
    trace_agent_action,
)
from benchmarks.fault_simulations.kit import Event, Fault, pick

DAYS = 60
BLENDING, BOTTLING, TASTING = 46, 49, 53
ACIDS = {"tank_1": 6.8, "tank_2": 5.6, "tank_3": 7.1, "tank_4": 8.2, "tank_5": 5.1, "tank_6": 6.5}
ROUNDS = {"hand_ana": ("tank_1", "tank_2", "tank_3"), "hand_ben": ("tank_4", "tank_5", "tank_6")}
_PLAY = {"fault": ""}


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class Tank:
    """A steel tank with must that becomes wine."""

    def __init__(self, agent_id: str, acid: float, seed: int) -> None:
        self.agent_id, self.agent_role = agent_id, "tank"
        self.rng = random.Random(f"{seed}/{agent_id}")
        self.sugar = 205 + self.rng.uniform(-8, 8)
        self.acid = round(acid + self.rng.uniform(-0.15, 0.15), 2)
        self.temp, self.litres, self.nutrient, self.spilled = 19.0, 3000.0, 12.0, 0.0
        self.empty = False

    @trace_agent_action()
    def ferment(self, outside: float) -> dict[str, float]:
        """Let the yeast work for one day."""
        vigour = min(1.2, self.nutrient / 12) * (1 - abs(self.temp - 21) / 18)
        eaten = min(self.sugar, max(0.4, self.sugar * 0.17 * vigour * self.rng.uniform(0.9, 1.1)))
        self.sugar -= eaten
        self.temp = round(self.temp + 0.11 * eaten + 0.12 * (outside - self.temp) - 0.4, 2)
        lost = max(0.0, (self.nutrient - 34) * 9 * self.rng.uniform(0.9, 1.1)) if self.sugar > 15 else 0.0
        self.litres -= lost
        self.spilled += lost
        self.nutrient = max(3.0, self.nutrient - 1.1)
        return {"temp": self.temp, "gas": round(eaten * 0.49, 2), "level": round(self.litres, 1)}


class Hand:
    """A cellar hand with a hydrometer, who does what the board says."""

    def __init__(self, agent_id: str, tanks: dict[str, Tank], seed: int) -> None:
        self.agent_id, self.agent_role = agent_id, "cellar_hand"
        self.logger = AgentLogger(agent_id, "cellar_hand")
        self.rng = random.Random(f"{seed}/{agent_id}")
        self.tanks = tanks
        self.offset = 0.0

    @trace_agent_action()
    def measure(self, tank: str, day: int) -> dict[str, Any]:
        """Read density and temperature of a tank."""
        found = self.tanks[tank]
        wear = 1.3 * (day - 10) if _with("hydrometer") and self.agent_id == "hand_ben" and day >= 11 else 0.0
        density = found.sugar - wear + self.offset + self.rng.gauss(0, 0.5)
        if self.rng.random() < 0.02:
            self.logger.warning("bubbles on the hydrometer, read twice", {"tank": tank})
            density += self.rng.gauss(0, 0.2)
        return {"tank": tank, "density": round(density, 1), "temp": found.temp}

    @trace_agent_action()
    def take_order(self, order: dict[str, Any]) -> int:
        """Take an order from the board."""
        return int(order["number"])

    @trace_agent_action()
    def carry_out(self, number: int, what: str, tank: str, amount: float) -> float:
        """Do what an order says to a tank."""
        found = self.tanks[tank]
        if what == "cool":
            found.temp = round(found.temp - amount, 2)
        elif what == "feed":
            found.nutrient += amount
        elif what == "stir":
            found.temp = round(found.temp - 0.1, 2)
        return amount

    @trace_agent_action()
    def rack(self, tank: str, cask: str, label: str) -> dict[str, Any]:
        """Draw the wine off its lees into a cask and chalk the label on it."""
        found = self.tanks[tank]
        found.empty = True
        return {"cask": cask, "label": label, "litres": round(found.litres * 0.96, 1)}


class Cask:
    """What the cellar knows nothing about but the label: the wine in a cask."""

    def __init__(self, wine: Tank) -> None:
        self.acid, self.sugar, self.litres = wine.acid, wine.sugar, wine.litres * 0.96
        self.sulphite, self.tint = 16.0, 0.0

    def age(self) -> None:
        """Age one day; unprotected wine browns."""
        self.sulphite = max(0.0, self.sulphite - 0.5)
        if self.sulphite < 15:
            self.tint += 1.4


class Chemist:
    """The chemist, who analyses samples and advises on sulphite in mg per litre."""

    def __init__(self, seed: int) -> None:
        self.agent_id, self.agent_role = "chemist", "chemist"
        self.rng = random.Random(f"{seed}/chemist")
        self.acids: dict[str, float] = {}
        self.advised = 0

    @trace_agent_action()
    def analyse(self, tank: str, acid: float) -> float:
        """Titrate the acid of a sample."""
        self.acids[tank] = round(acid + self.rng.gauss(0, 0.05), 2)
        return self.acids[tank]

    @trace_agent_action()
    def advise_sulphite(self, cask: str, litres: float) -> dict[str, Any]:
        """Advise how much sulphite a new cask needs."""
        self.advised += 1
        dose = round(self.rng.uniform(26, 32), 1)
        if _with("sulphite") and self.advised >= 4:
            dose = round(dose / 10, 2)
        return {"cask": cask, "sulphite": dose, "litres": litres}


class Master:
    """The cellar master: reads the sheets, writes the board, walks the casks."""

    def __init__(self, seed: int) -> None:
        self.agent_id, self.agent_role = "cellar_master", "master"
        self.logger = AgentLogger("cellar_master", "master")
        self.rng = random.Random(f"{seed}/master")
        self.number = 0
        self.low: dict[str, int] = {}
        self.fed: set[str] = set()

    @trace_agent_action()
    def review(self, reading: dict[str, Any]) -> list[dict[str, Any]]:
        """Decide about one tank from its sheet."""
        tank, density, temp = reading["tank"], reading["density"], reading["temp"]
        orders = []
        if temp > 24.5:
            orders.append(self._order("cool", tank, round(temp - 21.0, 1)))
        if density < 150 and tank not in self.fed:
            self.fed.add(tank)
            orders.append(self._order("feed", tank, 21.0))
        if 40 < density < 120 and self.rng.random() < 0.12:
            orders.append(self._order("stir", tank, 1.0))
        self.low[tank] = self.low.get(tank, 0) + 1 if density < 2.0 else 0
        if self.low[tank] >= 2:
            self.logger.log_decision(
                "dry_enough", {"tank": tank, "density": density}, reasoning="dry on two days"
            )
            orders.append(self._order("rack", tank, 0.0))
        return orders

    def _order(self, what: str, tank: str, amount: float) -> dict[str, Any]:
        self.number += 1
        return {"number": self.number, "what": what, "tank": tank, "amount": amount}

    @trace_agent_action()
    def dose(self, cask: str, sulphite: float, litres: float) -> float:
        """Weigh out the sulphite that the chemist advised; grams."""
        return round(sulphite * litres / 1000, 1)

    @trace_agent_action()
    def inspect(self, cask: str, tint: float) -> str:
        """Hold a glass from a cask against the light."""
        return "brown" if tint > 2.5 else "straw" if tint > 1.2 else "clear"


class Blender:
    """Chooses casks for the two wines of the house from labels and analyses."""

    agent_id, agent_role = "blender", "blender"

    @trace_agent_action()
    def compose(self, labels: dict[str, str], acids: dict[str, float]) -> dict[str, list[str]]:
        """Choose the two softest casks for the Reserve, the rest for the Everyday."""
        order = sorted(labels, key=lambda cask: acids.get(labels[cask], 6.5))
        return {"reserve": order[:2], "everyday": order[2:]}

    @trace_agent_action()
    def fill(self, wine: str, casks: list[str]) -> dict[str, Any]:
        """Bottle a wine."""
        return {"wine": wine, "bottles": 4000 * len(casks) // 3}


class Taster:
    """One of the panel, who writes marks for each wine."""

    def __init__(self, agent_id: str, seed: int) -> None:
        self.agent_id, self.agent_role = agent_id, "taster"
        self.rng = random.Random(f"{seed}/{agent_id}")

    @trace_agent_action()
    def taste(self, wine: str, glass: dict[str, float]) -> dict[str, float]:
        """Mark the sourness and the prickle of a wine from 0 to 10."""
        sour = (glass["acid"] - 4) * 2.2 + self.rng.gauss(0, 0.3)
        return {"sour": round(sour, 1), "prickle": round(min(10.0, glass["sugar"] / 1.5), 1)}


class Cellar:
    """One autumn of the winery."""

    def __init__(self, seed: int) -> None:
        self.tanks = {name: Tank(name, acid, seed) for name, acid in ACIDS.items()}
        self.hands = {name: Hand(name, self.tanks, seed) for name in ROUNDS}
        self.chemist, self.master, self.blender = Chemist(seed), Master(seed), Blender()
        self.panel = [Taster(f"taster_{name}", seed) for name in ("ida", "jon", "kai")]
        self.weather = random.Random(f"{seed}/weather")
        self.casks: dict[str, Cask] = {}
        self.labels: dict[str, str] = {}
        self.system, self.metrics = SystemLogger("cellar"), PerformanceLogger("hall", "hall")
        self.tints: dict[str, str] = {}
        self.marks: dict[str, list[dict[str, float]]] = {"reserve": [], "everyday": []}
        self.wines: dict[str, list[str]] = {}

    def day(self, day: int) -> None:
        """Play one day."""
        outside = 15 + 4 * self.weather.random() - day / 15
        self.metrics.log_metric("hall_temperature", round(outside + 2, 1), "C")
        if day == 21:
            self.system.log_config("cooling_water", old_value=9, new_value=8, data={"by": "plumber"})
        for tank in self.tanks.values():
            if not tank.empty:
                tank.ferment(round(outside, 1))
        for name, tanks in ROUNDS.items():
            for tank_name in tanks:
                if not self.tanks[tank_name].empty:
                    self._look_after(self.hands[name], tank_name, day)
        self._walk(day)
        if day == BLENDING:
            self.wines = self.blender.compose(dict(self.labels), dict(self.chemist.acids))
        if day == BOTTLING:
            for wine, casks in self.wines.items():
                self.blender.fill(wine, casks)
        if day >= TASTING:
            self._taste()

    def _look_after(self, hand: Hand, tank: str, day: int) -> None:
        reading = hand.measure(tank, day)
        if day % 4 == 1:
            self.chemist.analyse(tank, self.tanks[tank].acid)
        for order in self.master.review(reading):
            if order["what"] == "rack":
                self._rack(hand, tank)
                continue
            takers = [hand]
            if _with("both_hands") and order["what"] == "feed" and tank == "tank_3":
                takers = list(self.hands.values())
            for taker in takers:
                taker.take_order(order)
            for taker in takers:
                taker.carry_out(order["number"], order["what"], tank, order["amount"])

    def _rack(self, hand: Hand, tank: str) -> None:
        cask = f"cask_{len(self.casks) + 1}"
        swap = {"tank_4": "tank_5", "tank_5": "tank_4"} if _with("labels") else {}
        done = hand.rack(tank, cask, swap.get(tank, tank))
        self.casks[cask] = Cask(self.tanks[tank])
        self.labels[done["cask"]] = done["label"]
        advice = self.chemist.advise_sulphite(cask, done["litres"])
        grams = self.master.dose(cask, advice["sulphite"], advice["litres"])
        self.casks[cask].sulphite += grams * 1000 / done["litres"]

    def _walk(self, day: int) -> None:
        for name, cask in self.casks.items():
            cask.age()
            if day % 2 == 0:
                self.tints[name] = self.master.inspect(name, round(cask.tint, 2))

    def _taste(self) -> None:
        for wine, names in self.wines.items():
            casks = [self.casks[name] for name in names]
            glass = {
                "acid": round(sum(cask.acid for cask in casks) / len(casks), 2),
                "sugar": round(max(cask.sugar for cask in casks), 2),
            }
            self.marks[wine] += [taster.taste(wine, glass) for taster in self.panel]


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play one autumn; return what the owner sees."""
    _PLAY["fault"] = fault
    setup_logging()
    cellar = Cellar(seed)
    for day in range(DAYS):
        with tick(day):
            cellar.day(day)
    shutdown_logging()
    marks = cellar.marks
    return {
        "spilled": round(sum(tank.spilled for tank in cellar.tanks.values()), 1),
        "brown": sum(tint == "brown" for tint in cellar.tints.values()),
        "sour": round(sum(mark["sour"] for mark in marks["reserve"]) / max(1, len(marks["reserve"])), 2),
        "prickle": max((mark["prickle"] for wine in marks.values() for mark in wine), default=0.0),
    }


def _second_takers(events: Any) -> list[str]:
    seen: set[int] = set()
    found = []
    for event in events:
        if event.act == "carry_out" and isinstance(event.args.get("number"), int):
            if event.args["number"] in seen:
                found.append(event.id)
            seen.add(event.args["number"])
    orders = [event for event in events if event.id in found]
    numbers = {event.args["number"] for event in orders}
    takes = pick(events, "hand_ben", "take_order", where=lambda event: event.result in numbers)
    return [*takes, *found][:3]


def _low_dose(event: Event) -> bool:
    return isinstance(event.result, Mapping) and event.result["sulphite"] < 10


FAULTS = {
    "labels": Fault(
        "The Reserve in the bottles is much sharper than it ought to be from the trials, "
        "and the Everyday is oddly soft.",
        lambda faulty, healthy: faulty["sour"] > healthy["sour"] + 1.5,
        lambda events: pick(
            events, act="rack", where=lambda event: event.args["label"] != event.args["tank"]
        ),
    ),
    "hydrometer": Fault(
        "Our tasters say one of the new wines fizzes on the tongue as if it had gone on "
        "fermenting in the bottle.",
        lambda faulty, healthy: faulty["prickle"] > 3 > healthy["prickle"],
        lambda events: pick(events, "hand_ben", "measure", tick=lambda at: at >= 11),
    ),
    "sulphite": Fault(
        "Some of the casks have turned brown within days of being filled, cask_5 for example.",
        lambda faulty, healthy: faulty["brown"] > 0 == healthy["brown"],
        lambda events: pick(events, "chemist", "advise_sulphite", where=_low_dose),
    ),
    "both_hands": Fault(
        "tank_3 foamed over and a few hundred litres ran down the drain.",
        lambda faulty, healthy: faulty["spilled"] > healthy["spilled"] + 60,
        _second_takers,
    ),
}
