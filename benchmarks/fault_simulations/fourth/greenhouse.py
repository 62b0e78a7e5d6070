"""Ten days of a greenhouse with six zones: sensors, controllers, valves at one pump, and a boiler."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

HOURS = 240
ZONES = 6
POWER = 70.0
_setup: dict[str, Any] = {"seed": 0, "case": ""}


def _r(*key: object) -> random.Random:
    return random.Random(f"{_setup['seed']}.{key}")


@dataclass(eq=False)
class Sensor:
    """Measures a zone."""

    agent_id: str
    agent_role: str = "sensor"

    @trace_agent_action
    def read(self, hour: int) -> dict[str, float]:
        """Return temperature and humidity."""
        return _measured(int(self.agent_id[-1]), hour)


@dataclass(eq=False)
class Controller:
    """Sets the vent of a zone, and says how much heat and mist it needs."""

    agent_id: str
    agent_role: str = "controller"
    opening: int = 0

    @trace_agent_action
    def set_vent(self, hour: int, celsius: float, opening: int) -> None:
        """Move the vent."""
        self.opening = opening

    @trace_agent_action
    def mist(self, hour: int, humidity: float, seconds: int) -> None:
        """Spray mist."""


@dataclass(eq=False)
class Boiler:
    """Heats zones as long as there is power."""

    agent_id: str = "boiler"
    agent_role: str = "boiler"
    used: float = 0.0
    off_until: int = -1

    @trace_agent_action
    def free(self, hour: int, zone: str) -> float:
        """Return how much power is left for a zone."""
        return _left(hour, zone, self.used)

    @trace_agent_action
    def draw(self, hour: int, zone: str, kilowatts: float) -> bool:
        """Heat a zone; too much throws the breaker, which a mechanic resets hours later."""
        self.used = round(self.used + kilowatts, 1)
        if self.used > POWER + 0.5:
            self.off_until = hour + 6
        return self.off_until < hour


@dataclass(eq=False)
class PumpHouse:
    """Has three slots for valves that water at the same time."""

    agent_id: str = "pump_house"
    agent_role: str = "pump"
    taken: list[str] = field(default_factory=list)

    @trace_agent_action
    def reserve(self, hour: int, valve: str) -> bool:
        """Give a valve a slot, if one is free."""
        if len(self.taken) >= 3:
            return False
        self.taken.append(valve)
        return True

    @trace_agent_action
    def release(self, hour: int, valve: str) -> None:
        """Take a slot back."""
        self.taken.remove(valve)


@dataclass(eq=False)
class Valve:
    """Waters the beds of a zone, and rinses its filter once a day."""

    agent_id: str
    agent_role: str = "valve"

    @trace_agent_action
    def water(self, hour: int, litres: int) -> int:
        """Water the beds."""
        return litres

    @trace_agent_action
    def rinse(self, hour: int) -> None:
        """Rinse the filter after watering."""


class _Climate:
    """The air and the soil of all zones."""

    celsius: list[float] = []
    humid: list[float] = []
    soil: list[float] = []


def _measured(zone: int, hour: int) -> dict[str, float]:
    noise = _r("sensor", zone, hour)
    humidity = _Climate.humid[zone - 1] + noise.gauss(0, 0.8)
    if _setup["case"] == "humidity" and zone == 4 and hour >= 80:
        humidity -= min(28, 0.22 * (hour - 79))
    return {
        "celsius": round(_Climate.celsius[zone - 1] + noise.gauss(0, 0.2), 1),
        "humidity": round(humidity, 1),
    }


def _opening(zone: int, hour: int, celsius: float) -> int:
    above = celsius - 22
    if _setup["case"] == "vent" and zone == 2 and hour >= 126:
        above = -above
    return int(max(0, min(100, above * 14)))


def _left(hour: int, zone: str, used: float) -> float:
    if _setup["case"] == "power" and hour >= 168 and zone == "zone_6":
        used = 0.0
    return round(max(0.0, POWER - used), 1)


def _gives_back(valve: str, hour: int, rinsed: bool) -> bool:
    return not (_setup["case"] == "slots" and valve == "valve_5" and rinsed and hour >= 96)


def _outside(hour: int) -> float:
    cold = 5 if 144 <= hour < 200 else 0
    return 9 - cold + 7 * math.sin((hour % 24 - 9) / 24 * 2 * math.pi) + _r("air", hour).uniform(-1, 1)


def _physics(hour: int, controllers: list[Controller], heat: list[float], mist: list[int]) -> None:
    sun = max(0.0, math.sin((hour % 24 - 6) / 12 * math.pi)) if 6 <= hour % 24 <= 18 else 0.0
    for z in range(ZONES):
        vent = controllers[z].opening / 100
        inside = _Climate.celsius[z]
        inside += (_outside(hour) - inside) * (0.10 + 0.28 * vent) + 4.2 * sun + 0.13 * heat[z]
        _Climate.celsius[z] = inside
        wet = _Climate.humid[z]
        wet += (62 - wet) * (0.10 + 0.10 * vent) + 0.35 * mist[z] - 3.0 * sun
        _Climate.humid[z] = max(30.0, min(99.0, wet))
        _Climate.soil[z] = max(0.0, _Climate.soil[z] - 0.9 - 1.1 * sun)


class _House:
    """All devices, with the harm that plants took."""

    def __init__(self) -> None:
        self.sensors = [Sensor(f"sensor_{z}") for z in range(1, ZONES + 1)]
        self.controllers = [Controller(f"zone_{z}") for z in range(1, ZONES + 1)]
        self.valves = [Valve(f"valve_{z}") for z in range(1, ZONES + 1)]
        self.boiler, self.pump = Boiler(), PumpHouse()
        self.grower = AgentLogger("grower", "grower")
        self.mildew, self.hot, self.cold, self.dry = ([0] * ZONES for _ in range(4))

    def climate(self, hour: int) -> None:
        """Control air and heat of all zones for an hour."""
        heat, mist = [0.0] * ZONES, [0] * ZONES
        self.boiler.used = 0.0
        for z, (sensor, controller) in enumerate(zip(self.sensors, self.controllers, strict=True)):
            seen = sensor.read(hour)
            opening = _opening(z + 1, hour, seen["celsius"])
            if abs(opening - controller.opening) > 4 or hour % 6 == 0:
                controller.set_vent(hour, seen["celsius"], opening)
            if seen["humidity"] < 62:
                mist[z] = min(40, int((66 - seen["humidity"]) * 2.5))
                controller.mist(hour, seen["humidity"], mist[z])
            if seen["celsius"] < 15 and self.boiler.off_until < hour:
                wanted = round(min(22.0, (16.5 - seen["celsius"]) * 7), 1)
                given = min(wanted, self.boiler.free(hour, controller.agent_id))
                if given > 0 and self.boiler.draw(hour, controller.agent_id, given):
                    heat[z] = given
        if self.boiler.off_until >= hour:
            heat = [0.0] * ZONES
        _physics(hour, self.controllers, heat, mist)

    def watering(self, hour: int) -> None:
        """Water the zones whose turn it is, two at a time."""
        for z in (hour // 2 % 3, hour // 2 % 3 + 3):
            valve = self.valves[z]
            if not self.pump.reserve(hour, valve.agent_id):
                continue
            litres = 60 + _r("litres", z, hour).randrange(12)
            _Climate.soil[z] = min(100.0, _Climate.soil[z] + valve.water(hour, litres) / 5)
            rinsed = hour % 24 in {4, 6, 8}
            if rinsed:
                valve.rinse(hour)
            if _gives_back(valve.agent_id, hour, rinsed):
                self.pump.release(hour, valve.agent_id)

    def look(self, hour: int) -> None:
        """Count the hours that harm plants."""
        for z in range(ZONES):
            self.mildew[z] += _Climate.humid[z] > 80
            self.hot[z] += _Climate.celsius[z] > 31
            self.cold[z] += _Climate.celsius[z] < 7.5
            self.dry[z] += _Climate.soil[z] < 22


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play ten days and return how the plants of each zone fared."""
    _setup.update(seed=seed, case=fault)
    _Climate.celsius = [17.0 + _r("start", z).random() for z in range(ZONES)]
    _Climate.humid = [66.0] * ZONES
    _Climate.soil = [60.0] * ZONES
    house = _House()
    for hour in range(HOURS):
        with tick(hour):
            house.climate(hour)
            if hour % 2 == 0:
                house.watering(hour)
            house.look(hour)
            if hour % 24 == 7:
                notes = {"zone": f"zone_{1 + hour // 24 % 6}", "leaves": "green"}
                house.grower.log_action("walk", notes)
            if hour == 118:
                house.grower.log_action("wash_glass", {"hours": 2})
            if hour in {60, 160, 203}:
                house.grower.warning("hose burst, changed", {"zone": f"zone_{hour % 5 + 1}"})
    return {
        "mildew": house.mildew,
        "hot": house.hot,
        "cold": house.cold,
        "dry": house.dry,
        "slots": len(house.pump.taken),
    }


def _too_generous(events: Sequence[Event]) -> list[str]:
    found, used, hour = [], 0.0, -1
    for event in events:
        if event.act not in {"free", "draw"}:
            continue
        if event.args["hour"] != hour:
            used, hour = 0.0, event.args["hour"]
        if event.act == "free" and event.result > max(0.0, POWER - used) + 0.2:
            found.append(event.id)
        elif event.act == "draw":
            used += event.args["kilowatts"]
    return found[:3]


FAULTS: dict[str, Fault] = {
    "humidity": Fault(
        "The leaves in the fourth part are white with mildew. grower walked past every day and says that the display "
        "showed ordinary values.",
        lambda bad, good: bad["mildew"][3] > good["mildew"][3] + 15,
        lambda events: pick(events, "sensor_4", "read", tick=lambda hour: hour >= 80),
    ),
    "vent": Fault(
        "It was like an oven among the tomatoes in the second part yesterday at noon, with closed windows; next door "
        "in zone_3 it was pleasant.",
        lambda bad, good: bad["hot"][1] > good["hot"][1] + 2,
        lambda events: pick(events, "zone_2", "set_vent", tick=lambda hour: hour >= 126),
    ),
    "slots": Fault(
        "Everything is drooping in the last days, not only in zone_1; the soil is dust. The tank is full.",
        lambda bad, good: sum(bad["dry"]) > sum(good["dry"]) + 40,
        lambda events: pick(events, "valve_5", "rinse", tick=lambda hour: hour >= 96),
    ),
    "power": Fault(
        "In the coldest night the heating went off altogether, and the cucumbers of zone_3 are black from frost.",
        lambda bad, good: sum(bad["cold"]) > sum(good["cold"]) + 5,
        _too_generous,
    ),
}
