"""A night of snowmaking on three slopes: masts, guns, pump house, plant control, crew and groomer."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from Agent import SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

STEPS = 180
ZONES = {"upper": range(1, 6), "middle": range(6, 11), "lower": range(11, 17)}
OFFSETS = {"upper": -1.4, "middle": -0.6, "lower": 0.3}


def wet_bulb(temperature: float, humidity: float) -> float:
    """Return the wet-bulb temperature of cold air, roughly."""
    return round(temperature - (100 - humidity) * 0.05, 2)


class Mast:
    """A weather mast beside a slope."""

    agent_role = "mast"

    def __init__(self, agent_id: str) -> None:
        """Make a mast without readings."""
        self.agent_id = agent_id
        self.latest = 0.0

    @trace_agent_action
    def measure(self, temperature: float, humidity: float) -> float:
        """Take a reading and return the wet-bulb temperature."""
        self.latest = wet_bulb(temperature, humidity)
        return self.latest


class Plant:
    """The control of all guns: starts and stops zones by wet-bulb limits."""

    agent_role = "control"

    def __init__(self) -> None:
        """Begin with everything off."""
        self.agent_id = "plant"
        self.limits = dict.fromkeys(ZONES, -3.0)
        self.running = dict.fromkeys(ZONES, False)

    @trace_agent_action
    def set_limit(self, zone: str, limit: float) -> None:
        """Set the wet-bulb temperature below which a zone runs."""
        self.limits[zone] = limit

    @trace_agent_action
    def decide(self, zone: str, reading: float) -> bool:
        """Decide whether a zone runs, with some slack before it stops."""
        slack = 0.4 if self.running[zone] else 0.0
        self.running[zone] = reading <= self.limits[zone] + slack
        return self.running[zone]


class Gun:
    """A snow gun with its hose."""

    agent_role = "gun"

    def __init__(self, agent_id: str, nozzle: float) -> None:
        """Make a gun with a nozzle of some size."""
        self.agent_id = agent_id
        self.nozzle = nozzle
        self.thrown = 0.0

    @trace_agent_action
    def spray(self, pressure: float, flow: float) -> float:
        """Spray for five minutes and return the cubic metres used."""
        used = round(flow * self.nozzle, 3)
        self.thrown = round(self.thrown + used, 3)
        return used


class PumpHouse:
    """Pumps water from the pond to the guns, and into the pond from the valley."""

    agent_role = "pump"

    def __init__(self) -> None:
        """Begin with a full pond."""
        self.agent_id = "pump_house"
        self.level = 1330.0
        self.refill = 30.0

    @trace_agent_action
    def set_refill(self, litres_per_second: float) -> None:
        """Set the flow from the valley."""
        self.refill = litres_per_second

    @trace_agent_action
    def balance(self, drawn: float) -> float:
        """Book five minutes of use and refill; return the pond's level in cubic metres."""
        self.level = round(max(0.0, self.level - drawn + self.refill * 0.3), 2)
        return self.level


class Crew:
    """The people on the slopes."""

    agent_role = "crew"

    def __init__(self, agent_id: str) -> None:
        """Make a crew."""
        self.agent_id = agent_id
        self.rounds = 0

    @trace_agent_action
    def drain_round(self, zone: str, guns: list[str]) -> int:
        """Drain hoses of guns that stand still."""
        self.rounds += 1
        return len(guns)

    @trace_agent_action
    def clear_nozzle(self, gun: str) -> None:
        """Knock ice off a nozzle."""


class Groomer:
    """The snowcat's driver, who probes the new snow."""

    agent_role = "groomer"

    def __init__(self) -> None:
        """Make the driver."""
        self.agent_id = "groomer"

    @trace_agent_action
    def probe(self, zone: str, density: int, new_snow: float) -> str:
        """Judge the snow of a zone by kilograms per cubic metre."""
        return "slush" if density > 520 else "good" if density > 380 else "dry"


def air(step: int, rng: random.Random) -> tuple[float, float]:
    """Return temperature and humidity in the valley, with a warm wind between steps 94 and 122."""
    base = -4.6 - 1.6 * math.sin(step / STEPS * math.pi)
    warm = 4.6 * max(0.0, 1 - abs(step - 108) / 16) ** 0.5 if 92 < step < 124 else 0.0
    return base + warm + rng.uniform(-0.3, 0.3), 76 + 6 * math.sin(step / 17) + rng.uniform(-1, 1)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play one night in steps of five minutes."""
    rng = random.Random(f"snow{seed}")
    masts = {zone: Mast(f"mast_{zone}") for zone in ZONES}
    plant, pump, groomer = Plant(), PumpHouse(), Groomer()
    crews = [Crew("crew_evening"), Crew("crew_night")]
    guns = {
        zone: [Gun(f"gun_{n:02}", round(rng.uniform(0.93, 1.07), 3)) for n in numbers]
        for zone, numbers in ZONES.items()
    }
    system = SystemLogger("snow")
    system.log_simulation_start("night", {"steps": STEPS, "guns": 16})
    frozen: set[str] = set()
    density: dict[str, list[float]] = {zone: [] for zone in ZONES}
    new_snow = dict.fromkeys(ZONES, 0.0)
    before = 0.0
    still_since = dict.fromkeys(ZONES, 0)
    drained: set[str] = set()
    outcome: dict[str, Any] = {"slush": 0, "dry_steps": 0, "late": {}, "upper_snow": 0.0}
    settings = {8: ("upper", -3.2), 31: ("middle", -2.8), 55: ("lower", -3.4), 86: ("lower", -3.5),
                140: ("middle", -3.0), 151: ("upper", -3.1)}  # fmt: skip
    refills = {24: 28.0, 72: 27.5, 118: 29.0}
    if fault == "valley_water":
        refills |= {72: 7.6, 118: 8.1}  # cubic metres an hour on the operator's note
    for step in range(STEPS):
        crew = crews[step >= 96]
        with tick(step):
            if step in (0, 96):
                system.log_phase("evening shift" if step == 0 else "night shift")
            if step in settings:
                zone, limit = settings[step]
                if fault == "soft_limit" and step == 86:
                    limit = -0.5
                plant.set_limit(zone, limit)
            if refills.get(step):
                pump.set_refill(refills[step])
            temperature, humidity = air(step, rng)
            drawn = 0.0
            for zone, mast in masts.items():
                here = temperature + OFFSETS[zone] + rng.uniform(-0.1, 0.1)
                seen = here
                if fault == "iced_mast" and zone == "upper" and step >= 112:
                    seen = -0.9 + (here - temperature - OFFSETS[zone]) * 2
                reading = mast.measure(round(seen, 1), round(humidity, 1))
                was = plant.running[zone]
                runs = plant.decide(zone, reading)
                true_reading = wet_bulb(here, humidity)
                if was and not runs:
                    still_since[zone] = step
                    drained.clear()
                if not runs and step - still_since[zone] == 3 and step > 20:
                    names = [gun.agent_id for gun in guns[zone]]
                    if fault == "hose_left" and zone == "lower" and 90 < step < 125:
                        names.remove("gun_13")
                    crew.drain_round(zone, names)
                    frozen.update({gun.agent_id for gun in guns[zone]} - set(names))
                if not runs:
                    continue
                pressure = 24.0 if pump.level > 70 else 3.0
                for gun in guns[zone]:
                    flow = 1.0 + rng.uniform(-0.05, 0.05)
                    if pressure < 10:
                        flow, outcome["dry_steps"] = 0.0, outcome["dry_steps"] + 1
                    elif gun.agent_id in frozen:
                        flow = round(rng.uniform(0.0, 0.02), 3)
                    used = gun.spray(round(pressure + rng.uniform(-0.4, 0.4), 1), round(flow, 3))
                    drawn += used
                    if step > 150:
                        outcome["late"][gun.agent_id] = round(
                            outcome["late"].get(gun.agent_id, 0.0) + used, 2
                        )
                    new_snow[zone] += used
                    if used:
                        density[zone].append(405 + max(0.0, true_reading + 3.6) * 150 + rng.uniform(-15, 15))
            pump.balance(round(drawn, 2))
            if rng.random() < 0.03:
                system.warning("lost contact with a gun, back after a retry", {"gun": rng.randint(1, 16)})
            if rng.random() < 0.06:
                crew.clear_nozzle(f"gun_{rng.randint(1, 16):02}")
            if step == 103:  # a visitor's lamp broke, and somebody swept the yard meanwhile
                crew.clear_nozzle("gun_02")
            if step % 6 == 5:
                for zone in ZONES:
                    recent = density[zone][-25:]
                    mean = int(sum(recent) / len(recent)) if recent else 400
                    if groomer.probe(zone, mean, round(new_snow[zone], 1)) == "slush":
                        outcome["slush"] += 1
            if step == 126:
                before = new_snow["upper"]
    outcome["upper_snow"] = round(new_snow["upper"] - before, 2)
    outcome["level"] = pump.level
    system.log_simulation_end("night", {"level": pump.level})
    return outcome


def _limits(events: Sequence[Event]) -> list[str]:
    return pick(events, "plant", "set_limit", where=lambda e: e.args["limit"] > -2, first=1)


FAULTS = {
    "soft_limit": Fault(
        "The groomer drove into slush at the bottom of the slope after the warm wind came through; we can "
        "throw that snow away. Nobody should have been making snow down there then.",
        lambda faulty, healthy: faulty["slush"] > healthy["slush"],
        _limits,
    ),
    "iced_mast": Fault(
        "The upper slope got next to no snow in the second half of the night although the middle station ran "
        "for hours and it was colder up there.",
        lambda faulty, healthy: faulty["upper_snow"] < 0.5 * healthy["upper_snow"],
        lambda events: pick(events, "mast_upper", "measure", tick=lambda at: at >= 112),
    ),
    "hose_left": Fault(
        "gun_13 has not thrown anything worth mentioning since before dawn, its neighbours are all fine.",
        lambda faulty, healthy: faulty["late"]["gun_13"] < 0.3 * healthy["late"]["gun_13"],
        lambda events: pick(
            events,
            act="drain_round",
            where=lambda e: e.args["zone"] == "lower" and "gun_13" not in e.args["guns"],
            first=1,
        ),
    ),
    "valley_water": Fault(
        "gun_09 and all the others were hissing air in the last hour before sunrise, the pond was empty. That has not "
        "happened in five winters.",
        lambda faulty, healthy: faulty["dry_steps"] > healthy["dry_steps"] + 20,
        lambda events: pick(
            events, "pump_house", "set_refill", where=lambda e: e.args["litres_per_second"] < 10, first=2
        ),
    ),
}
