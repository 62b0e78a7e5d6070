"""A parcel network: five depots, two hubs, and the trucks between them, in minutes of one day."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import simpy

from Agent import AgentLogger, SystemLogger
from benchmarks.fault_simulations.kit import Fault, pick

DEPOTS = {"d1": "north", "d2": "north", "d3": "north", "d4": "south", "d5": "south"}
TOWNS = {"Aurich": "d1", "Bremen": "d2", "Celle": "d3", "Dillingen": "d4", "Erding": "d5"}
DAY = 1440
LOAD_KG = 165.0


@dataclass
class Parcel:
    """One parcel on its way."""

    number: str
    origin: str
    town: str
    weight_kg: float
    posted: float
    arrived: float = -1.0


class Network:
    """All depots and hubs, played as processes of SimPy."""

    def __init__(self, seed: int, case: str) -> None:
        """Make the agents and their timetables."""
        self.case, self.rng, self.env = case, random.Random(seed), simpy.Environment()
        self.weights = random.Random(seed + 1)
        self.logs = {d: AgentLogger(f"depot_{d}", "depot") for d in DEPOTS}
        self.logs |= {h: AgentLogger(f"hub_{h}", "hub") for h in ("north", "south")}
        self.office = AgentLogger("timetable_office", "office")
        self.system = SystemLogger("network")
        self.tables = {h: dict(TOWNS) for h in ("north", "south")}
        self.piles: dict[str, dict[str, list[Parcel]]] = {
            p: {q: [] for q in [*DEPOTS, "north", "south"]} for p in self.logs
        }
        self.parcels: list[Parcel] = []
        self.last_run = dict.fromkeys(DEPOTS, 1170)
        self.caged: dict[str, list[Parcel]] = {d: [] for d in DEPOTS}
        self.astray: list[str] = []
        self.trips = 0

    def posting(self, depot: str) -> Iterator[Any]:
        """Customers post parcels at a depot."""
        log, env = self.logs[depot], self.env
        while env.now < 1150:
            yield env.timeout(self.rng.expovariate(1 / 11))
            town = self.rng.choice([t for t, d in TOWNS.items() if d != depot])
            kg = round(min(30.0, self.weights.lognormvariate(2.2, 0.5)), 1)
            parcel = Parcel(f"p{len(self.parcels) + 1:04d}", depot, town, kg, env.now)
            self.parcels.append(parcel)
            shown = round(kg * 2.2046, 1) if self.case == "scale" and depot == "d4" and env.now > 240 else kg
            log.log_action("weigh", {"parcel": parcel.number, "kg": shown, "minute": int(env.now)})
            parcel.weight_kg = shown
            if self.rng.random() < 0.02:
                log.warning("label printer jammed, printed again", {"parcel": parcel.number})
            self.piles[depot][DEPOTS[depot]].append(parcel)

    def line(self, origin: str, target: str, first: int, every: int) -> Iterator[Any]:
        """A truck that goes between two places all day."""
        env, log = self.env, self.logs[origin]
        yield env.timeout(first)
        while env.now < DAY - 60:
            last = self.last_run.get(origin, 2000) if target in {"north", "south"} else 2000
            if env.now <= last + 5:
                self.trips += 1
                truck = f"truck_{origin}_{target}"
                load, left, kg = [], [], 0.0
                for parcel in self.piles[origin][target]:
                    fits = kg + parcel.weight_kg <= LOAD_KG
                    (load if fits else left).append(parcel)
                    kg += parcel.weight_kg if fits else 0
                self.piles[origin][target] = left
                note = {"truck": truck, "parcels": [p.number for p in load], "minute": int(env.now)}
                message = self.logs[origin].send(
                    f"{'hub' if target in self.tables else 'depot'}_{target}", note
                )
                log.log_action(
                    "depart", {"truck": truck, "count": len(load), "kg": round(kg, 1), "left": len(left),
                               "minute": int(env.now)}
                )  # fmt: skip
                env.process(self.arrive(target, load, message, int(env.now)))
            yield env.timeout(every)

    def arrive(self, target: str, load: list[Parcel], message: Any, left_at: int) -> Iterator[Any]:
        """A truck reaches its place, after the notice of what it carries."""
        log, env = self.logs[target], self.env
        yield env.timeout(3)
        lost = self.case == "notice" and target == "d2" and 600 <= left_at < 700
        if not lost:
            log.receive(message)
        yield env.timeout(self.rng.uniform(45, 60))
        log.log_action("unload", {"count": len(load), "minute": int(env.now)})
        if target in self.tables:
            for parcel in load:
                depot = self.tables[target][parcel.town]
                to = depot if DEPOTS[depot] == target else DEPOTS[depot]
                log.log_decision("sort", {"parcel": parcel.number, "town": parcel.town, "chute": to})
                self.piles[target][to].append(parcel)
        elif lost:
            self.caged[target] += load
            log.log_action("set_aside", {"count": len(load), "place": "cage", "minute": int(env.now)})
        else:
            yield env.timeout(15)
            for parcel in load:
                self.deliver(target, parcel)

    def deliver(self, depot: str, parcel: Parcel) -> None:
        """Bring a parcel to its door, or find that it is not for this depot."""
        if TOWNS[parcel.town] != depot:
            self.astray.append(parcel.number)
            self.logs[depot].log_action("return_to_hub", {"parcel": parcel.number, "town": parcel.town})
            return
        parcel.arrived = self.env.now
        self.logs[depot].log_action("deliver", {"parcel": parcel.number, "minute": int(self.env.now)})

    def routine(self) -> Iterator[Any]:
        """What the offices change during a day."""
        env = self.env
        yield env.timeout(180)
        self.system.log_config("north.sort.Bremen", "d2", "d2", {"reason": "chute repainted"})
        yield env.timeout(230)
        for depot in DEPOTS:
            hour = 1170 - (120 if self.case == "zone" and depot == "d1" else 0)
            self.last_run[depot] = hour
            self.office.log_action("set_last_run", {"depot": depot, "minute_of_day": hour})
        yield env.timeout(120)
        row = "d2" if self.case == "route" else "d3"
        self.tables["south"]["Celle"] = "d3"
        self.tables["north"]["Celle"] = row
        self.logs["north"].log_action("set_row", {"town": "Celle", "depot": row, "minute": int(env.now)})
        yield env.timeout(90)
        self.logs["south"].log_action("belt_stop", {"minutes": 4, "why": "glove on the belt"})
        yield env.timeout(420)
        self.logs["north"].log_action("test_siren", {"minute": int(env.now)})

    def play(self) -> dict[str, Any]:
        """Play one day."""
        self.system.log_simulation_start("parcels", {"depots": len(DEPOTS), "minutes": DAY})
        for number, (depot, hub) in enumerate(DEPOTS.items()):
            self.env.process(self.posting(depot))
            self.env.process(self.line(depot, hub, 90 + 9 * number, 90))
            self.env.process(self.line(hub, depot, 120 + 7 * number, 90))
        self.env.process(self.line("north", "south", 100, 75))
        self.env.process(self.line("south", "north", 110, 75))
        self.env.process(self.routine())
        self.env.run(until=DAY)
        self.system.log_simulation_end("parcels", {"trips": self.trips})
        pile = sum(len(p) for p in self.piles["d4"].values()) + sum(
            len(p) for p in self.piles["south"].values()
        )
        return {
            "astray": len(self.astray),
            "caged": len(self.caged["d2"]),
            "left_south": pile,
            "left_d1": sum(p.origin == "d1" and p.arrived < 0 for p in self.parcels),
            "delivered": sum(p.arrived >= 0 for p in self.parcels),
            "posted": len(self.parcels),
        }


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play one day of the network."""
    return Network(seed, fault).play()


FAULTS = {
    "route": Fault(
        "Depot d2 keeps getting boxes in the afternoon that are addressed to people in Celle.",
        lambda faulty, healthy: faulty["astray"] >= healthy["astray"] + 5,
        lambda events: pick(events, "hub_north", "set_row"),
    ),
    "notice": Fault(
        "A whole truckload sits in our cage in Bremen since noon, nobody knew that it would come.",
        lambda faulty, healthy: faulty["caged"] > healthy["caged"],
        lambda events: pick(
            events, "hub_north", "agent_message",
            where=lambda e: e.args.get("truck") == "truck_north_d2" and 600 <= e.args["minute"] < 700,
        ),
    ),
    "scale": Fault(
        "Trucks in the south leave half empty, yet the pile that stays behind grows from hour to hour.",
        lambda faulty, healthy: faulty["left_south"] >= healthy["left_south"] + 15,
        lambda events: pick(
            events, "depot_d4", "weigh", where=lambda e: e.args["minute"] >= 240
        ),
    ),
    "zone": Fault(
        "What I posted in Aurich in the evening was still lying there at midnight.",
        lambda faulty, healthy: faulty["left_d1"] >= healthy["left_d1"] + 5,
        lambda events: pick(
            events, "timetable_office", "set_last_run", where=lambda e: e.args.get("depot") == "d1"
        ),
    ),
}  # fmt: skip
