"""Baggage handling of an airport: check-in desks, a sorter, chutes, tugs with dollies, and flights."""

from __future__ import annotations

import heapq
import random
from itertools import count
from typing import Any

from Agent import AgentLogger, SystemLogger
from benchmarks.fault_simulations.kit import Fault, pick

FLIGHTS = [f"KX{100 + 7 * i}" for i in range(14)]
DOLLIES = 4
REPAIR = (170, 258)


class Airport:
    """One morning of departures, driven by a queue of timed events."""

    def __init__(self, seed: int, fault: str) -> None:
        self.rng = random.Random(seed)
        self.fault = fault
        self.queue: list[tuple[float, int, str, dict[str, Any]]] = []
        self.number = count()
        self.logs: dict[str, AgentLogger] = {}
        self.departs = {flight: 90 + 22 * i for i, flight in enumerate(FLIGHTS)}
        self.chutes = {flight: f"chute_{i % 5}" for i, flight in enumerate(FLIGHTS)}
        self.waiting: dict[str, list[dict[str, Any]]] = {f"chute_{i}": [] for i in range(5)}
        self.free = DOLLIES
        self.runs = 0
        self.loaded: dict[str, list[dict[str, Any]]] = {flight: [] for flight in FLIGHTS}
        self.left: dict[str, int] = {}
        self.hold: dict[str, dict[str, float]] = {flight: {"fore": 0.0, "aft": 0.0} for flight in FLIGHTS}
        self.scale = dict.fromkeys(FLIGHTS, 0)
        self.reweighed: list[str] = []

    def log(self, agent: str, role: str = "ground") -> AgentLogger:
        """Return the logger of an agent."""
        if agent not in self.logs:
            self.logs[agent] = AgentLogger(agent, role)
        return self.logs[agent]

    def at(self, when: float, what: str, **data: Any) -> None:
        """Put an event in the queue."""
        heapq.heappush(self.queue, (when, next(self.number), what, data))

    def check_in(self, now: float, bag: dict[str, Any]) -> None:
        """Label a bag at a desk and put it on the belt."""
        desk = self.log(bag["desk"], "desk")
        self.scale[bag["flight"]] += bag["kilos"]
        label = {"bag": bag["bag"], "flight": bag["flight"], "kilos": bag["kilos"], "pieces": bag["pieces"]}
        if self.fault == "swapped" and bag["desk"] == "desk_2" and now > 95:
            label["kilos"], label["pieces"] = label["pieces"], label["kilos"]
        desk.log_action("check_in", {"time": round(now, 1), **label})
        self.at(now + 3, "sort", label=label)

    def sort(self, now: float, label: dict[str, Any]) -> None:
        """Read the label and divert the bag to a chute."""
        chute = self.chutes[label["flight"]]
        if chute == "chute_3" and REPAIR[0] < now < REPAIR[1]:
            self.log("sorter").log_action(
                "recirculate", {"time": round(now, 1), "bag": label["bag"], "chute": chute}
            )
            self.at(now + 20, "sort", label=label)
            return
        doubtful = self.rng.random() < 0.04
        if doubtful:
            self.log("sorter").warning("label read at the second camera", {"bag": label["bag"]})
        self.log("sorter").log_action("divert", {"time": round(now, 1), "bag": label["bag"], "chute": chute})
        self.waiting[chute].append(label)

    def reassign(self, now: float, flight: str, chute: str, reason: str) -> None:
        """Give a flight another chute, as the control room does now and then."""
        old = self.chutes[flight]
        told = (
            FLIGHTS[FLIGHTS.index(flight) + 1] if self.fault == "wrong_flight" and 110 < now < 150 else flight
        )
        self.chutes[told] = chute
        control = self.log("control_room", "planner")
        control.log_decision("reassign_chute", {"flight": told, "old": old, "new": chute}, reason)
        message = control.send("sorter", {"flight": told, "chute": chute})
        self.log("sorter").receive(message)

    def collect(self, now: float, tug: str) -> None:
        """Take a dolly to the chute that is to be emptied next and drive it to the stand."""
        self.at(now + 7, "collect", tug=tug)
        names = list(self.waiting)
        if self.fault == "starved" and now > 130:
            chute = min(
                names, key=lambda name: (not self.waiting[name], name == "chute_1", -len(self.waiting[name]))
            )
        else:
            chute = min(names, key=lambda name: self._urgency(name, now))
        bags = self.waiting[chute][:9]
        if not bags:
            return
        counts = {name: len(labels) for name, labels in self.waiting.items()}
        self.log(tug).log_decision("next_chute", {"time": round(now, 1), "chute": chute, "waiting": counts})
        if not self.free:
            self.log(tug).log_action("wait_for_dolly", {"time": round(now, 1), "chute": chute})
            return
        self.free -= 1
        self.runs += 1
        self.waiting[chute] = self.waiting[chute][9:]
        data = {"time": round(now, 1), "chute": chute, "bags": len(bags), "dollies_free": self.free}
        self.log(tug).log_action("haul", data)
        self.at(now + 9 + self.rng.random() * 3, "deliver", tug=tug, bags=bags)

    def _urgency(self, chute: str, now: float) -> float:
        times = [self.departs[label["flight"]] for label in self.waiting[chute]]
        return min((time for time in times if time > now), default=10_000.0)

    def deliver(self, now: float, tug: str, bags: list[dict[str, Any]]) -> None:
        """Load the bags of a dolly into the aircraft they belong to."""
        for label in bags:
            flight = label["flight"]
            if self.departs[flight] < now:
                self.left[flight] = self.left.get(flight, 0) + 1
                self.log("lost_and_found").log_action("rebook", {"bag": label["bag"], "flight": flight})
                continue
            side = min(self.hold[flight], key=lambda name: self.hold[flight][name])
            self.hold[flight][side] += label["kilos"]
            self.loaded[flight].append(label)
        stand = {"time": round(now, 1), "flights": sorted({label["flight"] for label in bags})}
        self.log(tug).log_action("unload", {**stand, "bags": len(bags)})
        if not (self.fault == "dolly_kept" and len(stand["flights"]) > 1):
            self.free += 1
            self.log(tug).log_action("return_dolly", {"time": round(now, 1), "dollies_free": self.free})

    def depart(self, now: float, flight: str) -> None:
        """Close the hold; the captain checks the weight against the scales of the aircraft."""
        missing = sum(label["flight"] == flight for labels in self.waiting.values() for label in labels)
        stated = sum(self.hold[flight].values())
        if missing == 0 and abs(stated - self.scale[flight]) > 40:
            self.reweighed.append(flight)
            scale = {"stated": stated, "scale": self.scale[flight]}
            self.log(flight, "flight").warning("load sheet does not match the scale, hold reweighed", scale)
        data = {
            "time": now,
            "bags": len(self.loaded[flight]),
            "kilos": round(stated, 1),
            "not_loaded": missing,
        }
        self.log(flight, "flight").log_action("depart", data)
        self.left[flight] = self.left.get(flight, 0) + missing
        for labels in self.waiting.values():
            labels[:] = [label for label in labels if label["flight"] != flight]


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play a morning."""
    airport = Airport(seed, fault)
    SystemLogger("airport").log_simulation_start("morning", {"flights": len(FLIGHTS), "dollies": DOLLIES})
    rng, bags = random.Random(seed + 100), count(1)
    for flight, time in airport.departs.items():
        for _ in range(26):
            bag = {
                "bag": next(bags),
                "flight": flight,
                "kilos": rng.randint(9, 31),
                "pieces": rng.choice([1, 1, 2]),
            }
            airport.at(
                max(0.0, time - rng.uniform(35, 85)),
                "check_in",
                bag=bag | {"desk": f"desk_{rng.randrange(5)}"},
            )
        airport.at(time, "depart", flight=flight)
    for i in range(3):
        airport.at(8 + 2.0 * i, "collect", tug=f"tug_{i}")
    airport.at(64, "reassign", flight=FLIGHTS[4], chute="chute_1", reason="chute is crowded")
    airport.at(130, "reassign", flight=FLIGHTS[8], chute="chute_0", reason="repair of chute_3")
    airport.at(190, "reassign", flight=FLIGHTS[11], chute="chute_4", reason="nearer to the stand")
    while airport.queue:
        now, _, what, data = heapq.heappop(airport.queue)
        if now > 400:
            break
        getattr(airport, what)(now, **data)
    return {"left": airport.left, "reweighed": airport.reweighed, "runs": airport.runs, "free": airport.free}


FAULTS = {
    "swapped": Fault(
        "why did the captains of so many flights after KX121 have to reweigh the hold?",
        lambda f, h: len(f["reweighed"]) >= len(h["reweighed"]) + 4,
        lambda events: pick(events, "desk_2", "check_in", where=lambda e: e.args["time"] > 95),
    ),
    "wrong_flight": Fault(
        "KX156 left without its bags",
        lambda f, h: f["left"]["KX156"] > h["left"]["KX156"] + 8,
        lambda events: (
            pick(events, "control_room", "reassign_chute", where=lambda e: e.args["flight"] == "KX163")
            + pick(events, where=lambda e: e.kind == "agent_message" and e.args.get("flight") == "KX163")
        ),
    ),
    "starved": Fault(
        "Some passengers to KX142 did not get their suitcases aboard. Where were they left, and why?",
        lambda f, h: f["left"]["KX142"] > h["left"]["KX142"],
        lambda events: pick(
            events,
            act="next_chute",
            where=lambda e: (
                e.args["time"] > 130 and e.args["waiting"]["chute_1"] > 0 and e.args["chute"] != "chute_1"
            ),
        ),
    ),
    "dolly_kept": Fault(
        "after minute 300 the tugs keep waiting for dollies and the last flights lose bags",
        lambda f, h: sum(f["left"].values()) > sum(h["left"].values()) + 10,
        lambda events: pick(events, act="unload", where=lambda e: len(e.args["flights"]) > 1),
    ),
}
