"""A season of an apiary: hives forage, a keeper feeds, the honey house extracts, a stall sells."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Fault, pick

DAYS = 112
HARVEST = 63
SETUP = {"fault": ""}


def nectar(day: int) -> float:
    """Return the nectar flow of a day of the season."""
    return 0.6 if day < 14 else 1.25 if day < 70 else 0.07


class Hive:
    """A colony on a scale."""

    def __init__(self, agent_id: str, seed: int, queen_age: int, box: str) -> None:
        self.agent_id = agent_id
        self.dice = random.Random(f"{seed}-{agent_id}")
        self.bees = 24.0 + self.dice.random() * 4
        self.stores = 12.0
        self.mites = 0.8 + self.dice.random() * 0.2
        self.queen_age = queen_age
        self.box = box
        self.hungry_days = 0

    @trace_agent_action()
    def forage(self, flow: float, sun: float) -> dict[str, float]:
        """Fly out for a day; return what came in and what was eaten."""
        luck = self.dice.uniform(0.85, 1.15)
        gain, eaten = self.bees * 0.03 * flow * sun * luck, self.bees * 0.012
        self.stores = round(max(0.0, self.stores + gain - eaten), 3)
        laying = 0.036 if self.queen_age < 2 else 0.012
        loss = 0.03 + (0.02 if self.mites > 4 else 0) + (0.06 if self.stores == 0 else 0)
        self.hungry_days += self.stores == 0
        self.bees = round(min(36.0, self.bees * (1 + laying - loss)), 3)
        self.mites = round(self.mites * 1.03, 4)
        return {"gain": round(gain, 3), "eaten": round(eaten, 3)}

    @trace_agent_action()
    def weigh(self, day: int) -> float:
        """Read the scale below the hive, in kilograms of stores."""
        reading = self.stores + self.dice.uniform(-0.3, 0.3)
        if SETUP["fault"] == "drift" and self.agent_id == "hive_3" and day >= 22:
            reading -= 0.8 * (day - 21)
        return round(max(0.0, reading), 2)


class HoneyHouse:
    """Extracts the supers and keeps the book of the tank."""

    def __init__(self) -> None:
        self.agent_id = "honey_house"
        self.log = AgentLogger(self.agent_id, "processing")
        self.tank = 0.0
        self.book = 0.0

    @trace_agent_action()
    def extract(self, hive: str, box: str, gross: float, tare: float) -> float:
        """Spin the frames of a super; return the net weight that is booked."""
        self.tank = round(self.tank + gross - tare, 2)
        net = gross - tare
        if SETUP["fault"] == "tare" and box == "deep":
            net = gross + tare
        self.book = round(self.book + net, 2)
        if gross > 26:
            self.log.warning("filter clogged, cleaned and continued", extra={"hive": hive})
        return round(net, 2)

    @trace_agent_action()
    def draw(self, kilos: float) -> float:
        """Fill jars from the tank; return what came out."""
        out = round(min(kilos, self.tank), 2)
        self.tank = round(self.tank - out, 2)
        self.book = round(self.book - kilos, 2)
        return out


class Keeper:
    """Visits each hive once a week."""

    def __init__(self) -> None:
        self.agent_id = "keeper"
        self.log = AgentLogger(self.agent_id, "beekeeper")
        self.sugar = 64.0
        self.feed_below = 7.0
        self.unfed: dict[str, int] = {}
        self.second_dose: dict[str, int] = {}

    @trace_agent_action()
    def inspect(self, hive: Hive, day: int, reading: float) -> list[str]:
        """Open a hive and do what it needs; return the tasks done."""
        done = []
        if self.second_dose.get(hive.agent_id, DAYS) <= day:
            self.treat(hive, dose=2)
            del self.second_dose[hive.agent_id]
            done.append("second dose")
        elif hive.mites > 2.6 and day < 70:
            self.treat(hive, dose=1)
            if not (SETUP["fault"] == "no_second_dose" and hive.agent_id == "hive_5"):
                self.second_dose[hive.agent_id] = day + 7
            done.append("first dose")
        if reading < self.feed_below and day > 20:
            done.append(self.feed(hive, reading))
        return done

    @trace_agent_action()
    def treat(self, hive: Hive, dose: int) -> float:
        """Put in the strips; return the mites that are left per hundred bees."""
        hive.mites = round(hive.mites * (0.45 if dose == 1 else 0.3), 4)
        return hive.mites

    def feed(self, hive: Hive, reading: float) -> str:
        """Give syrup if there is sugar."""
        if self.sugar < 4:
            self.log.warning("the sugar is used up", extra={"hive": hive.agent_id, "reading": reading})
            self.unfed[hive.agent_id] = self.unfed.get(hive.agent_id, 0) + 1
            return "not fed"
        self.sugar -= 4
        hive.stores += 4
        self.log.log_action("feed", {"hive": hive.agent_id, "kilos": 4, "sugar_left": self.sugar})
        return "fed"

    def judge_queen(self, hive: Hive) -> None:
        """Decide in spring whether a colony gets a new queen."""
        old = hive.queen_age >= 2
        renew = old and not (SETUP["fault"] == "old_queen" and hive.agent_id == "hive_1")
        reason = "two years old or more" if renew else "lays well"
        self.log.log_decision("requeen", {"hive": hive.agent_id, "renew": renew}, reasoning=reason)
        if renew:
            hive.queen_age = 0


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play a season."""
    SETUP["fault"] = fault
    weather = random.Random(seed)
    ages = [3, 1, 0, 1, 2, 0, 1, 0]
    hives = [Hive(f"hive_{i}", seed, age, "deep" if i in {2, 5} else "half") for i, age in enumerate(ages, 1)]
    house, keeper = HoneyHouse(), Keeper()
    stall, gauge, system = AgentLogger("stall", "market"), PerformanceLogger("keeper"), SystemLogger("apiary")
    system.log_simulation_start("season", {"hives": len(hives), "days": DAYS})
    refused = 0.0
    for day in range(DAYS):
        with tick(day):
            sun = weather.uniform(0.6, 1.0)
            readings = {}
            for hive in hives:
                hive.forage(nectar(day), round(sun, 2))
                readings[hive.agent_id] = hive.weigh(day)
            if day == 14:
                for hive in hives:
                    keeper.judge_queen(hive)
            if day == HARVEST:
                for hive in hives:
                    honey, tare = max(0.0, hive.stores - 12), 6.5 if hive.box == "deep" else 3.0
                    hive.stores = round(hive.stores - honey, 3)
                    house.extract(hive.agent_id, hive.box, round(honey + tare, 2), tare)
            if day == 66:
                system.log_config("feed_below", keeper.feed_below, 8.0)
                keeper.feed_below = 8.0
            keeper.inspect(hives[day % 8], day, readings[hives[day % 8].agent_id])
            for i, hive in enumerate(hives):
                if hive.mites > 4:  # robbers carry mites home
                    hives[(i + 1) % 8].mites = round(hives[(i + 1) % 8].mites + 0.2, 4)
            if day > 70:
                order = round(house.book / (DAYS - day) if house.book > 0 else 0.0, 2)
                sold = house.draw(order)
                refused += order - sold
                stall.log_action("sell", {"ordered": order, "sold": sold})
            if day % 7 == 6:
                gauge.log_metric("sugar", keeper.sugar, "kg")
    return {
        "unfed": keeper.unfed, "bees": {h.agent_id: h.bees for h in hives}, "refused": round(refused, 1),
        "mites": {h.agent_id: h.mites for h in hives}, "sugar": keeper.sugar,
    }  # fmt: skip


def _around_first_dose(events: Any) -> list[str]:
    visits = [e for e in events if e.act == "inspect" and "hive_5" in str(e.args)]
    at = next(i for i, e in enumerate(visits) if "first dose" in str(e.result))
    return [e.id for e in visits[at : at + 2]]


FAULTS = {
    "drift": Fault(
        "Several colonies got no syrup in the last weeks, why was there no sugar left for them?",
        lambda f, h: len(f["unfed"].keys() - {"hive_3"}) >= len(h["unfed"]) + 2,
        lambda events: pick(events, "hive_3", "weigh", lambda day: day >= 22),
    ),
    "no_second_dose": Fault(
        "hive_6 is full of mites in autumn although it had both doses",
        lambda f, h: f["mites"]["hive_6"] > h["mites"]["hive_6"] + 0.5,
        lambda events: (
            pick(events, "keeper", "treat", where=lambda e: "hive_5" in str(e.args), first=1)
            + [
                e
                for e in pick(events, "keeper", "inspect", where=lambda e: "hive_5" in str(e.args), first=99)
                if e in _around_first_dose(events)
            ]
        ),
    ),
    "old_queen": Fault(
        "What made hive_1 dwindle so badly over the summer?",
        lambda f, h: f["bees"]["hive_1"] < 0.6 * h["bees"]["hive_1"],
        lambda events: pick(events, "keeper", "requeen", where=lambda e: e.args["hive"] == "hive_1"),
    ),
    "tare": Fault(
        "the stall could not fill its orders at the end, the tank was empty but the book still had honey",
        lambda f, h: f["refused"] > h["refused"] + 5,
        lambda events: pick(events, "honey_house", "extract", where=lambda e: e.args["box"] == "deep"),
    ),
}
