"""Nine farms share a canal with three gates; a ditch rider gives out turns to water the fields."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_simulations.kit import Fault, pick

HOURS = 264
FARMS = [f"farm_{i}" for i in range(1, 10)]


class Scheme:
    """What the farms, the gates and the rider know of each other."""

    def __init__(self, seed: int, fault: str) -> None:
        self.rng = random.Random(seed)
        self.fault = fault
        self.logs = {name: AgentLogger(name, "farm") for name in FARMS}
        self.rider = AgentLogger("rider", "ditch_rider")
        self.gates = {f"gate_{i}": AgentLogger(f"gate_{i}", "gate") for i in (1, 2, 3)}
        self.opening = dict.fromkeys(self.gates, 0.5)
        self.level = dict.fromkeys(self.gates, 1.0)
        self.soil = {name: self.rng.uniform(55, 75) for name in FARMS}
        self.asked: dict[str, bool] = dict.fromkeys(FARMS, False)
        self.requests: deque[str] = deque()
        self.turns: dict[str, int] = {}
        self.stress: dict[str, int] = dict.fromkeys(FARMS, 0)
        self.got: dict[str, float] = dict.fromkeys(FARMS, 0.0)
        self.seepage = 0.08
        self.lost_mail = 0
        self.dry_hours = dict.fromkeys(self.gates, 0)


def reach(farm: str) -> str:
    """Return the gate that serves a farm."""
    return f"gate_{(int(farm[-1]) - 1) // 3 + 1}"


def farm_life(s: Scheme, name: str) -> Iterator[None]:
    """Let the field dry, ask for water when it gets low, and water in one's own turn."""
    hour = 0
    while True:
        s.soil[name] = max(0.0, s.soil[name] - s.rng.uniform(0.3, 0.6) * (1.3 if 9 < hour % 24 < 18 else 0.8))
        if s.soil[name] < 45 and not s.asked[name]:
            s.asked[name] = True
            astray = s.fault == "wrong_box" and name == "farm_8" and hour > 70
            to = "rider_north" if astray else "rider"
            letter = s.logs[name].send(to, {"farm": name, "moisture": round(s.soil[name])})
            if astray:
                s.lost_mail += 1
            else:
                s.rider.receive(letter)
                s.requests.append(name)
        start = s.turns.get(name)
        if start is not None and start <= hour:
            supply = min(12.0, 14 * s.level[reach(name)])
            taken = round(supply * s.rng.uniform(0.9, 1.0), 2)
            s.level[reach(name)] = round(max(0.0, s.level[reach(name)] - taken / 30), 3)
            s.soil[name] = min(95.0, s.soil[name] + taken * 0.75)
            s.got[name] += taken
            used = {"hour": hour, "granted": start, "taken": taken, "level": s.level[reach(name)]}
            s.logs[name].log_action("water", used)
            over = s.soil[name] > 80 or hour >= start + 5
            if over and not (s.fault == "open_valve" and name == "farm_5" and hour > 60):
                s.logs[name].log_action("close_valve", {"hour": hour, "moisture": round(s.soil[name])})
                del s.turns[name]
                s.asked[name] = False
        if s.soil[name] < 25:
            s.stress[name] += 1
            if s.stress[name] % 6 == 1:
                s.logs[name].warning("leaves are wilting", extra={"moisture": round(s.soil[name])})
        hour += 1
        yield


def gate_life(s: Scheme, name: str) -> Iterator[None]:
    """Hold the level of a reach with a proportional controller."""
    hour = 0
    names = list(s.gates)
    while True:
        above = 1.0 if name == "gate_1" else s.level[names[names.index(name) - 1]]
        error = 1.0 - s.level[name]
        sign = -1 if s.fault == "sign" and name == "gate_2" and hour >= 75 else 1
        s.opening[name] = round(min(1.0, max(0.05, s.opening[name] * 0.7 + 0.3 * (0.4 + sign * error))), 3)
        inflow = 0.5 * s.opening[name] * above
        outflow = 0.06 + s.seepage * s.level[name]
        s.level[name] = round(min(1.3, max(0.0, s.level[name] + inflow - outflow)), 3)
        if name != "gate_1":
            up = names[names.index(name) - 1]
            s.level[up] = round(max(0.0, s.level[up] - 0.25 * inflow), 3)
        s.gates[name].log_action("adjust", {"error": round(error, 3), "opening": s.opening[name]})
        hour += 1
        yield


def rider_life(s: Scheme) -> Iterator[None]:
    """Give out turns, as many as the canal is believed to carry."""
    hour = 0
    planned = 0.08
    while True:
        if hour == 96:
            new = 0.9 if s.fault == "seepage" else 0.09
            SystemLogger("scheme").log_config("seepage", planned, new, {"source": "survey of the lining"})
            planned = new
        if hour % 3 == 0:
            share = 1.0 - planned
            width = max(1, int(3 * share + 0.5))
            running = [name for name, start in s.turns.items() if start <= hour + 3]
            while s.requests and len(running) < width and (hour % 6 == 0 or share > 0.5):
                name = s.requests.popleft()
                start = hour + 13
                s.turns[name] = start
                running.append(name)
                data = {"farm": name, "start": start, "width": width, "waiting": len(s.requests)}
                s.rider.log_decision("grant_turn", data, "first come, first served")
                s.logs[name].receive(s.rider.send(name, {"start": start}))
        hour += 1
        yield


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run the scheme for eleven days."""
    s = Scheme(seed, fault)
    system, gauge = SystemLogger("scheme"), PerformanceLogger("gauge")
    system.log_simulation_start("irrigation", {"farms": len(FARMS), "gates": 3, "seepage": s.seepage})
    lives = [gate_life(s, name) for name in s.gates]
    lives += [rider_life(s), *(farm_life(s, name) for name in FARMS)]
    for hour in range(HOURS):
        with tick(hour):
            for life in lives:
                next(life)
            for name, level in s.level.items():
                s.dry_hours[name] += level < 0.35
            if hour == 40:
                s.gates["gate_3"].warning("weeds in the screen, removed by hand")
            if hour % 6 == 0:
                for name, level in s.level.items():
                    gauge.log_metric("level", level, "m", {"gate": name})
    return {
        "stress": s.stress, "waiting": len(s.requests), "got": {k: round(v) for k, v in s.got.items()},
        "dry_hours": s.dry_hours,
    }  # fmt: skip


def _dry(*names: str) -> Any:
    return lambda f, h: sum(f["stress"][n] for n in names) > sum(h["stress"][n] for n in names) + 15


def _late_water(events: Any) -> list[str]:
    """Return the watering that should have been the last of the turn, and two more."""
    watering = [e for e in events if e.agent == "farm_5" and e.act == "water" and e.args["hour"] > 60]
    turn = watering[-1].args["granted"]
    return [e.id for e in watering if e.args["granted"] == turn and e.args["hour"] >= turn + 3][:4]


FAULTS = {
    "wrong_box": Fault(
        "Why is farm_8 wilting at the end while its neighbours are fine? It says it asked for water.",
        _dry("farm_8"),
        lambda events: pick(
            events, "farm_8", where=lambda e: "rider_north" in e.message and e.kind == "agent_message"
        ),
    ),
    "open_valve": Fault(
        "The reach behind gate_2 is nearly empty day after day. Who takes all the water?",
        lambda f, h: f["dry_hours"]["gate_2"] > h["dry_hours"]["gate_2"] + 30,
        _late_water,
    ),
    "sign": Fault(
        "the farms at the end of the canal get hardly any water any more",
        _dry("farm_7", "farm_8", "farm_9"),
        lambda events: pick(events, "gate_2", "adjust", lambda hour: hour >= 75),
    ),
    "seepage": Fault(
        "Requests pile up and turns come far too late in the second week although the canal is full",
        lambda f, h: f["waiting"] > h["waiting"] + 2,
        lambda events: (
            pick(events, where=lambda e: e.kind == "system.config")
            + pick(events, "rider", "grant_turn", lambda hour: hour >= 96, first=1)
        ),
    ),
}
