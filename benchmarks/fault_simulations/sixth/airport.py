"""Stands, fuel and turnaround crews of an airport, by a queue of events in minutes since four o'clock."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, trace_context
from benchmarks.fault_simulations.kit import Fault, pick

STANDS = [f"G{n}" for n in range(1, 11)]
CREWS = [f"crew_{c}" for c in "abcdefgh"]
END = 1140


class Airport:
    """All agents of the airport, the queue of what happens next, and the books."""

    def __init__(self, seed: int, case: str) -> None:
        """Open the airport at four o'clock."""
        self.case, self.rng = case, random.Random(seed)
        self.queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.order = count()
        self.stand_desk = AgentLogger("stand_desk", "planner")
        self.slots = AgentLogger("slot_desk", "planner")
        self.roster = AgentLogger("roster_desk", "planner")
        self.fuel_store = AgentLogger("fuel_store", "store")
        self.crew_logs = {c: AgentLogger(c, "crew") for c in CREWS}
        self.trucks = {f"fuel_{n}": 22000.0 for n in (1, 2, 3)}
        self.truck_logs = {t: AgentLogger(t, "fuel_truck") for t in self.trucks}
        self.metrics = PerformanceLogger("monitor", "monitor")
        self.system = SystemLogger("airport")
        self.until = {s: [] for s in STANDS}  # type: dict[str, list[tuple[float, float, str]]]
        self.on_stand: dict[str, str] = {}
        self.crew_free = dict.fromkeys(CREWS, 0.0)
        self.crew_ends = dict.fromkeys(CREWS, 9999.0)
        self.dry_until = dict.fromkeys(self.trucks, 0.0)
        self.waits: dict[str, int] = {}
        self.crew_late: dict[str, int] = {}
        self.fuel_late: dict[str, int] = {}
        self.done = 0
        self.last_pair = ""

    def at(self, minute: float, what: Callable[..., None], *args: Any) -> None:
        """Let something happen at a minute."""
        heapq.heappush(self.queue, (minute, next(self.order), what, args))

    def timetable(self) -> None:
        """Make the flights of the day and file their slots."""
        minute, number = 95.0, 0
        while minute < END - 110:
            number += 1
            flight = f"A{300 + number}"
            heavy = self.rng.random() < 0.3
            filed = max(1.0, minute - 130)
            self.at(filed, self.file_slot, flight, minute, heavy)
            self.at(minute + self.rng.uniform(-4, 9), self.land, flight, minute, heavy)
            busy = 150 <= minute <= 300 or 760 <= minute <= 960
            minute += self.rng.uniform(7, 11) if busy else self.rng.uniform(10, 16)

    def file_slot(self, flight: str, planned: float, heavy: bool) -> None:
        """File the arrival of a flight and reserve a stand for it."""
        shift = -60 if self.case == "clock" and flight in _MOVED else 0
        shown = round(planned + shift)
        self.slots.log_action("file_slot", {"flight": flight, "minute": shown, "heavy": heavy})
        lasts = 65 if heavy else 45
        begin, end = shown - 5, shown + lasts + 12
        options = [s for s in STANDS if all(end <= b or begin >= e for b, e, _ in self.until[s])]
        # Two desks share the table; each reads it before it writes.
        if self.case == "pair" and flight == "A341" and self.last_pair:
            options = [self.last_pair]
        options.sort(key=lambda s: begin - max([e for _, e, _ in self.until[s] if e <= begin], default=-99))
        stand = options[0] if options else min(STANDS, key=lambda s: max(e for _, e, _ in self.until[s]))
        self.until[stand].append((begin, end, flight))
        self.last_pair = stand
        self.stand_desk.log_decision(
            "reserve_stand", {"flight": flight, "stand": stand, "from": begin, "to": end}
        )

    def land(self, flight: str, planned: float, heavy: bool) -> None:
        """A flight has landed and goes to its stand, if that is free."""
        now = self.now
        stand = next(s for s in STANDS if any(f == flight for _, _, f in self.until[s]))
        pilot = AgentLogger(flight, "flight")
        if self.on_stand.get(stand):
            self.waits[flight] = self.waits.get(flight, 0) + 3
            if self.waits[flight] in (3, 15):
                pilot.log_action("hold_short", {"stand": stand, "minute": round(now)})
            self.at(now + 3, self.land, flight, planned, heavy)
            return
        self.on_stand[stand] = flight
        pilot.log_action("on_blocks", {"stand": stand, "minute": round(now)})
        self.at(now + 3, self.turn, flight, stand, heavy, now)

    def turn(self, flight: str, stand: str, heavy: bool, blocks: float) -> None:
        """A crew and a fuel truck turn a flight around."""
        now = self.now
        free = [c for c in CREWS if self.crew_free[c] <= now < self.crew_ends[c]]
        if not free:
            self.crew_late[flight] = self.crew_late.get(flight, 0) + 4
            self.at(now + 4, self.turn, flight, stand, heavy, blocks)
            return
        crew = self.rng.choice(free)
        lasts = self.rng.uniform(38, 50) if heavy else self.rng.uniform(24, 34)
        self.crew_free[crew] = now + lasts + 6
        with trace_context(self.crew_logs[crew], "turnaround", flight=flight):
            for job in ("unload", "clean", "cater", "load"):
                self.crew_logs[crew].log_action(job, {"stand": stand, "minute": round(now)})
            if self.rng.random() < 0.04:
                self.crew_logs[crew].warning("belt loader did not start, took another", {"stand": stand})
        self.at(now + 8, self.fuel, flight, stand, heavy, now + lasts, blocks)

    def fuel(self, flight: str, stand: str, heavy: bool, ready: float, blocks: float) -> None:
        """Fuel a flight from the truck of its pier."""
        now = self.now
        truck = f"fuel_{(STANDS.index(stand) // 2) % 3 + 1}"
        need = round(self.rng.uniform(4200, 6000) if heavy else self.rng.uniform(1400, 2300))
        if self.trucks[truck] < need and self.fuel_late.get(flight, 0) < 50:
            self.fuel_late[flight] = self.fuel_late.get(flight, 0) + 10
            self.at(now + 10, self.fuel, flight, stand, heavy, ready, blocks)
            return
        if self.trucks[truck] < need:
            truck = max(self.trucks, key=lambda t: self.trucks[t])
        self.trucks[truck] -= need
        self.truck_logs[truck].log_action(
            "refuel",
            {"flight": flight, "litres": need, "left": round(self.trucks[truck]), "minute": round(now)},
        )
        waiting = self.dry_until[truck] > now
        forgotten = self.case == "bowser" and truck == "fuel_2" and now >= 330
        if self.trucks[truck] < 12000 and not waiting and not forgotten:
            self.dry_until[truck] = now + 25
            message = self.truck_logs[truck].send("fuel_store", {"litres": 22000 - round(self.trucks[truck])})
            self.fuel_store.receive(message)
            self.at(now + 25, self.fill, truck)
        self.at(max(ready, now + 12), self.leave, flight, stand, blocks)

    def fill(self, truck: str) -> None:
        """Fill a truck at the store."""
        self.trucks[truck] = 22000.0
        self.fuel_store.log_action("fill", {"truck": truck, "minute": round(self.now)})

    def leave(self, flight: str, stand: str, blocks: float) -> None:
        """A flight leaves its stand."""
        self.on_stand[stand] = ""
        self.done += 1
        self.stand_desk.log_action(
            "release_stand", {"stand": stand, "flight": flight, "minute": round(self.now)}
        )
        self.metrics.log_metric("turnaround", round(self.now - blocks), "min", {"flight": flight})

    def plan_crews(self) -> None:
        """Choose the plan for the second half of the day."""
        options = {"long_day": 212, "late_wave": 205, "split": 209}
        late = 9999.0
        if self.case == "roster":
            options["split"] = 202
        plan = min(options, key=lambda o: options[o])
        self.roster.log_decision(
            "choose_plan", {"plan": plan, "costs": options}, reasoning="fewest paid hours"
        )
        for place, crew in enumerate(CREWS):
            self.crew_ends[crew] = 770.0 + 5 * place if plan == "split" and place >= 4 else late
            self.roster.log_action("publish_shift", {"crew": crew, "plan": plan})

    def play(self) -> dict[str, Any]:
        """Play the day."""
        self.system.log_simulation_start("airport", {"stands": len(STANDS), "crews": len(CREWS)})
        self.timetable()
        self.at(300, self.plan_crews)
        self.at(240, lambda: self.system.log_config("pushback_minutes", 6, 7, {"pier": "east"}))
        self.at(500, lambda: self.stand_desk.log_action("inspect", {"stand": "G9", "why": "loose paint"}))
        self.at(835, lambda: self.fuel_store.log_action("sample_fuel", {"tank": 2, "result": "clear"}))
        self.at(455, lambda: self.system.log_milestone("royal visit", {"minutes": 10}))
        while self.queue:
            self.now, _, what, args = heapq.heappop(self.queue)
            if self.now > END:
                break
            what(*args)
        self.system.log_simulation_end("airport", {"flights": self.done})
        return {
            "wait_a341": self.waits.get("A341", 0), "wait_clock": max(self.waits.get(f, 0) for f in _CLOCK),
            "waits": sum(self.waits.values()), "crew_late": sum(self.crew_late.values()),
            "fuel_late": sum(self.fuel_late.values()), "done": self.done,
        }  # fmt: skip


_MOVED = {"A328", "A329", "A330", "A332", "A333"}
_CLOCK = [f"A{n}" for n in range(326, 340)]


def run(seed: int, fault: str) -> Mapping[str, Any]:
    """Play one day of the airport."""
    return Airport(seed, fault).play()


FAULTS = {
    "pair": Fault(
        "A341 stood on the taxiway for half an hour because another aircraft was parked where it had to go.",
        lambda faulty, healthy: faulty["wait_a341"] >= healthy["wait_a341"] + 12,
        lambda events: pick(
            events, "stand_desk", "reserve_stand", where=lambda e: e.args.get("flight") == "A341"
        ),
    ),
    "clock": Fault(
        "Around ten an aircraft waited with everybody on board, there was no free place for it to park.",
        lambda faulty, healthy: faulty["wait_clock"] >= healthy["wait_clock"] + 12,
        lambda events: pick(
            events, "slot_desk", "file_slot", where=lambda e: e.args.get("flight") in _MOVED
        ),
    ),
    "bowser": Fault(
        "Passengers sat in the cabin for ages before noon: no kerosene on the east pier, and fuel_2 only stands there.",
        lambda faulty, healthy: faulty["fuel_late"] >= healthy["fuel_late"] + 30,
        lambda events: pick(
            events, "fuel_2", "refuel", where=lambda e: e.args["minute"] >= 330 and e.args["left"] < 12000
        ),
    ),
    "roster": Fault(
        "In the evening wave aircraft stand at the gates and nobody comes to unload, crew_a runs from one to the next.",
        lambda faulty, healthy: faulty["crew_late"] >= healthy["crew_late"] + 60,
        lambda events: pick(events, "roster_desk", "choose_plan"),
    ),
}  # fmt: skip
