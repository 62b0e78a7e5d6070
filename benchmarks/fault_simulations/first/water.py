"""Drinking water of a valley: two pumps fill four tanks, which feed five villages; a control room watches."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
TANKS = {"Oberdorf": 600.0, "Mitte": 800.0, "Au": 700.0, "Halde": 500.0}
VILLAGES = {"Berg": "Oberdorf", "Kirchen": "Mitte", "Muehle": "Mitte", "Auen": "Au", "Hang": "Halde"}
HOURS = 120


class Tank:
    """A reservoir with a level sensor; levels are in cubic metres."""

    def __init__(self, name: str, size: float) -> None:
        self.agent_id = f"tank_{name}"
        self.logger = AgentLogger(self.agent_id, "tank")
        self.size = size
        self.volume = 0.7 * size
        self.spilled = 0.0
        self.offset = 0.0

    @trace_agent_action()
    def measure(self, hour: int) -> float:
        """Read the sensor."""
        if "drift" in BROKEN and self.agent_id == "tank_Au" and hour >= 36:
            self.offset += 0.014 * self.size
        return round(max(0.0, self.volume + self.offset), 1)

    @trace_agent_action()
    def fill(self, amount: float) -> float:
        """Take water in; what does not fit runs off."""
        self.volume += amount
        spilled = max(0.0, self.volume - self.size)
        if spilled:
            self.logger.warning("overflow", extra={"spilled": round(spilled, 1)})
        self.spilled += spilled
        self.volume = round(self.volume - spilled, 2)
        return self.volume

    def draw(self, amount: float) -> float:
        """Give water to a village."""
        given = min(amount, self.volume)
        self.volume = round(self.volume - given, 2)
        return round(given, 2)


class Pump:
    """A pump with a flow that is regulated in steps, in cubic metres an hour."""

    def __init__(self, name: str, tanks: Sequence[str], most: float) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, "pump")
        self.tanks = list(tanks)
        self.most = most
        self.flow = most / 2
        self.gain = 0.08
        self.night_boost = 1.2

    @trace_agent_action()
    def tune(self, gain: float, night_boost: float) -> None:
        """Take new parameters of the controller."""
        self.gain = -gain if "sign" in BROKEN and self.agent_id == "pump_east" else gain
        self.night_boost = night_boost

    @trace_agent_action()
    def regulate(self, hour: int, gaps: Mapping[str, float]) -> dict[str, float]:
        """Share the flow among the tanks by what each lacks."""
        lack = sum(gaps.values())
        boost = self.night_boost if hour % 24 < 6 else 1.0
        self.flow = round(min(self.most, max(0.0, boost * (0.45 * self.most + self.gain * lack))), 1)
        weights = {tank: max(0.0, gap) + 1 for tank, gap in gaps.items()}
        total = sum(weights.values())
        return {tank: round(self.flow * weight / total, 2) for tank, weight in weights.items()}


class Meter:
    """The water meter of a village, which bills whole cubic metres and carries the rest."""

    def __init__(self, village: str, people: int, rng: random.Random) -> None:
        self.agent_id = village
        self.logger = AgentLogger(village, "village")
        self.people = people
        self.rng = rng
        self.carry = 0.0
        self.billed = 0
        self.dry_hours = 0

    trace_ignore = ("rng",)

    def demand(self, hour: int) -> float:
        """Return what the people want in this hour."""
        daily = 1 + 0.6 * math.sin((hour % 24 - 7) / 24 * 2 * math.pi)
        return round(self.people * 0.011 * daily * self.rng.uniform(0.85, 1.15), 2)

    @trace_agent_action()
    def supply(self, wanted: float, given: float) -> int:
        """Meter what came, and bill it."""
        if given < 0.8 * wanted:
            self.dry_hours += 1
            self.logger.warning("low pressure", extra={"wanted": wanted, "given": given})
        exact = given + self.carry
        whole = int(exact)
        self.carry = round(exact - whole, 3)
        if "rounding" in BROKEN and self.agent_id == "Kirchen" and self.billed >= 1000:
            self.carry = 0.0
        self.billed += whole
        return whole


class ControlRoom:
    """Compares what the sensors say with set points, and passes the gaps to the pumps."""

    def __init__(self) -> None:
        self.agent_id = "control_room"
        self.logger = AgentLogger(self.agent_id, "control_room")
        self.set_points = {f"tank_{name}": 0.75 * size for name, size in TANKS.items()}
        self.alarms = 0

    @trace_agent_action()
    def change_set_points(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Set new target levels, as shares of the size of a tank."""
        sizes = dict(TANKS)
        if "size" in BROKEN:
            sizes["Halde"] = 50.0
        self.set_points.update(
            {f"tank_{name}": round(share * sizes[name], 1) for name, share in shares.items()}
        )
        return dict(self.set_points)

    @trace_agent_action()
    def compare(self, levels: Mapping[str, float]) -> dict[str, float]:
        """Return how much each tank lacks."""
        gaps = {tank: round(self.set_points[tank] - level, 1) for tank, level in levels.items()}
        low = [tank for tank, level in levels.items() if level < 60]
        if low:
            self.alarms += 1
            self.logger.log_decision("alarm", {"low": low}, reasoning="level below 60")
        return gaps


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run the supply for five days."""
    BROKEN.clear()
    BROKEN.add(fault)
    tanks = {f"tank_{name}": Tank(name, size) for name, size in TANKS.items()}
    pumps = [
        Pump("pump_west", ["tank_Oberdorf", "tank_Mitte"], 120),
        Pump("pump_east", ["tank_Au", "tank_Halde"], 80),
    ]
    people = dict(zip(VILLAGES, (1900, 1800, 1500, 1900, 1400), strict=True))
    meters = [Meter(name, people[name], random.Random(f"{name}{seed}")) for name in VILLAGES]
    room, office, probe = ControlRoom(), SystemLogger("waterworks"), PerformanceLogger("control_room")
    delivered = dict.fromkeys(VILLAGES, 0.0)
    office.log_simulation_start("valley", {"seed": seed, "hours": HOURS})
    for hour in range(HOURS):
        with tick(hour):
            if hour == 24:
                room.change_set_points({"Oberdorf": 0.8, "Halde": 0.8})
            if hour == 48:
                office.log_config("tariff", 1.9, 2.1)
                for pump in pumps:
                    pump.tune(gain=0.12, night_boost=1.1)
            levels = {name: tank.measure(hour) for name, tank in tanks.items()}
            gaps = room.compare(levels)
            for pump in pumps:
                for name, flow in pump.regulate(hour, {name: gaps[name] for name in pump.tanks}).items():
                    tanks[name].fill(flow)
            for meter in meters:
                wanted = meter.demand(hour)
                given = tanks[f"tank_{VILLAGES[meter.agent_id]}"].draw(wanted)
                delivered[meter.agent_id] += given
                meter.supply(wanted, given)
            probe.log_metric("stored", round(sum(tank.volume for tank in tanks.values()), 1), "m3")
    lost = {meter.agent_id: delivered[meter.agent_id] - meter.billed for meter in meters}
    return {
        "dry": {meter.agent_id: meter.dry_hours for meter in meters},
        "spilled": {name: round(tank.spilled) for name, tank in tanks.items()},
        "lost": {name: round(value, 1) for name, value in lost.items()},
        "alarms": room.alarms,
    }


def _cut(events: Sequence[Event]) -> list[str]:
    billed, found = 0, []
    for event in events:
        if event.agent == "Kirchen" and event.act == "supply":
            if billed >= 1000:
                found.append(event.id)
            billed += event.result
    return found[:3]


FAULTS = {
    "drift": Fault(
        "Auen has no water in the last days while the control room shows a full tank",
        lambda f, h: f["dry"]["Auen"] > h["dry"]["Auen"] + 3,
        lambda events: pick(events, "tank_Au", "measure", tick=lambda hour: hour >= 36),
    ),
    "rounding": Fault(
        "Kirchen was billed thirty cubic metres less than it was given. Where did they go?",
        lambda f, h: f["lost"]["Kirchen"] > h["lost"]["Kirchen"] + 15,
        _cut,
    ),
    "sign": Fault(
        "tank_Halde overflows for hours, why does nobody stop filling it?",
        lambda f, h: f["spilled"]["tank_Halde"] > h["spilled"]["tank_Halde"] + 100,
        lambda events: pick(events, "pump_east", "tune"),
    ),
    "size": Fault(
        "alarm after alarm because of a low level in tank_Halde since the second evening",
        lambda f, h: f["alarms"] > h["alarms"] + 5,
        lambda events: pick(events, "control_room", "change_set_points"),
    ),
}
