"""Four days of a forest fire in twelve sectors: towers, a command post, brigades, aircraft and the weather."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import receive, send, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

STEPS = 96
WATER, EVERY = 2.1, 6
DROP = 4.0
GROWTH = 0.004
START = {"B2": 30.0, "B3": 24.0, "A3": 15.0}
SECTORS = [f"{row}{column}" for row in "ABC" for column in "1234"]
_world: dict[str, Any] = {"seed": 0, "plan": ""}


def _rand(*key: object) -> random.Random:
    return random.Random(f"{_world['seed']}/{key}")


def _near(sector: str) -> list[str]:
    row, column = "ABC".index(sector[0]), int(sector[1])
    around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return [f"{'ABC'[r]}{c}" for r, c in around if 0 <= r < 3 and 1 <= c <= 4]


@dataclass(eq=False)
class Tower:
    """Watches a column of sectors."""

    agent_id: str
    agent_role: str = "tower"
    told: dict[str, float] = field(default_factory=dict)
    told_at: dict[str, int] = field(default_factory=dict)

    @trace_agent_action
    def watch(self, step: int, smoke: dict[str, float]) -> list[str]:
        """Return the sectors whose smoke has changed enough to be reported, or was reported long ago."""
        return [
            sector for sector, height in smoke.items()
            if abs(height - self.told.get(sector, 0)) > 6 and step - self.told_at.get(sector, -99) > 2
        ]  # fmt: skip

    @trace_agent_action
    def report(self, step: int, sector: str, height: float) -> Any:
        """Radio the height of the smoke over a sector."""
        self.told[sector], self.told_at[sector] = height, step
        return send("command", {"sector": sector, "height": height})


@dataclass(eq=False)
class Command:
    """Has a map of the fire and sends brigades and aircraft."""

    agent_id: str = "command"
    agent_role: str = "command"
    map: dict[str, float] = field(default_factory=dict)

    @trace_agent_action
    def hear(self, step: int, message: Any) -> None:
        """Mark a report on the map."""
        receive(message)
        self.map[message.body["sector"]] = message.body["height"]

    @trace_agent_action
    def plan(self, step: int, brigades: dict[str, str]) -> dict[str, str]:
        """Divide the brigades among burning sectors, the worst first."""
        load = {sector: height for sector, height in self.map.items() if height > 3}
        chosen: dict[str, str] = {}
        for brigade, now in sorted(brigades.items()):
            if not load:
                chosen[brigade] = now
                continue
            best = max(load, key=lambda one: (load[one] + (6 if one == now else 0), one))
            load[best] -= 16
            chosen[brigade] = best
        return chosen

    @trace_agent_action
    def order(self, step: int, brigade: str, sector: str) -> Any:
        """Order a brigade to a sector."""
        return send(brigade, {"sector": sector})


@dataclass(eq=False)
class Brigade:
    """Drives to sectors and pumps water."""

    agent_id: str
    agent_role: str = "brigade"
    sector: str = "B2"
    arrives: int = 0
    tank: int = 9

    @trace_agent_action
    def go(self, step: int, message: Any, minutes: int) -> None:
        """Leave for another sector."""
        receive(message)
        self.sector, self.arrives = message.body["sector"], step + minutes // 20

    @trace_agent_action
    def pump(self, step: int, sector: str) -> float:
        """Pump for an hour; return the cubic metres."""
        self.tank -= 1
        return _output(self.agent_id, step)

    @trace_agent_action
    def refill(self, step: int) -> None:
        """Fill the tank and rinse the hoses."""
        self.tank = 9


@dataclass(eq=False)
class Aircraft:
    """Drops water where the smoke is highest, if the wind lets it."""

    agent_id: str
    agent_role: str = "aircraft"
    wind_limit: float = 17.0

    @trace_agent_action
    def set_wind_limit(self, step: int, metres_per_second: float) -> None:
        """Set up to which wind the crew may fly."""
        self.wind_limit = metres_per_second

    @trace_agent_action
    def decide(self, step: int, wind: float) -> bool:
        """Decide whether to fly."""
        return wind <= self.wind_limit

    @trace_agent_action
    def drop(self, step: int, sector: str) -> float:
        """Drop water; return the cubic metres."""
        return round(DROP + _rand("drop", self.agent_id, step).random(), 1)


@dataclass(eq=False)
class WeatherStation:
    """Measures the wind."""

    agent_id: str = "weather"
    agent_role: str = "weather"

    @trace_agent_action
    def measure(self, step: int) -> float:
        """Return the wind in metres per second."""
        gust = 5.5 if step % 24 in range(9, 19) else 0
        return round(6 + gust + 2.4 * _rand("wind", step).random(), 1)


def _lightning(step: int) -> str:
    """Return where lightning or a spark from a road lights a new fire, if it does."""
    known = {34: "C1", 40: "B4"}
    if step in known or step % EVERY != 2:
        return known.get(step, "")
    return _rand("lightning", step).choice(["A1", "A2", "A3", "A4", "B1", "B2", "B3", "C2", "C3"])


def _output(brigade: str, step: int) -> float:
    usual = WATER + 0.3 * _rand("pump", brigade, step).random()
    if _world["plan"] == "pump" and brigade in {"brigade_1", "brigade_3", "brigade_5"} and step >= 20:
        usual *= max(0.1, 1 - 0.05 * (step - 19))
    return round(usual, 2)


def _called(sector: str, step: int) -> str:
    """Return what a sector is called on the brigades' maps."""
    if _world["plan"] == "maps" and step >= 36:
        return {"C1": "C4", "C4": "C1"}.get(sector, sector)
    return sector


def _is_heard(tower: str, sector: str, step: int) -> bool:
    if _world["plan"] == "radio" and tower == "tower_4" and sector == "B4" and 40 <= step <= 58:
        return False
    return _rand("radio", tower, sector, step).random() > 0.03


def _wind_limit(aircraft: str, step: int) -> float:
    if _world["plan"] == "wind" and step == 24 and aircraft == "plane_1":
        return 7.0
    return 17.0 + _rand("limit", aircraft, step).randrange(3)


def _burn(fire: dict[str, float], step: int, wind: float, water: dict[str, float]) -> None:
    """Let the fire grow, be put out and spread."""
    for sector in SECTORS:
        if fire[sector] > 0:
            fire[sector] = max(
                0.0, min(100.0, fire[sector] * (1.01 + wind * GROWTH) + 0.7 - water.get(sector, 0))
            )
    for sector in SECTORS:
        for other in _near(sector) if fire[sector] > 45 else []:
            if fire[other] < 1 and _rand("spark", step, sector, other).random() < 0.05:
                fire[other] = 4.0


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play four days in hours and return how high the fire burned where."""
    _world.update(seed=seed, plan=fault)
    towers = [Tower(f"tower_{n}") for n in (1, 2, 3, 4)]
    command, weather = Command(), WeatherStation()
    brigades = {f"brigade_{n}": Brigade(f"brigade_{n}") for n in range(1, 9)}
    planes = [Aircraft("plane_1"), Aircraft("plane_2")]
    fire = dict.fromkeys(SECTORS, 0.0)
    fire.update(START)
    peak = dict.fromkeys(SECTORS, 0.0)
    burnt = flights = 0.0
    for step in range(STEPS):
        with tick(step):
            lit = _lightning(step)
            if lit:
                fire[lit] = max(fire[lit], 14.0)
            wind = weather.measure(step)
            for column, tower in enumerate(towers, 1):
                mine = [sector for sector in SECTORS if sector.endswith(str(column))]
                smoke = {
                    sector: max(0.0, round(fire[sector] + _rand("haze", step, sector).uniform(-2, 2), 1))
                    for sector in mine
                }
                for sector in tower.watch(step, smoke):
                    message = tower.report(step, sector, smoke[sector])
                    if _is_heard(tower.agent_id, sector, step):
                        command.hear(step, message)
            if step % 2 == 0:
                chosen = command.plan(step, {name: one.sector for name, one in brigades.items()})
                for name, sector in chosen.items():
                    named = _called(sector, step)
                    if named != brigades[name].sector:
                        minutes = 20 + 20 * _rand("road", name, step).randrange(2)
                        brigades[name].go(step, command.order(step, name, named), minutes)
            water: dict[str, float] = {}
            for brigade in brigades.values():
                if brigade.arrives > step:
                    continue
                if brigade.tank == 0 or (step == 52 and brigade.agent_id == "brigade_7"):
                    brigade.refill(step)
                elif fire[brigade.sector] > 0:
                    cubic = brigade.pump(step, brigade.sector)
                    water[brigade.sector] = water.get(brigade.sector, 0) + cubic
            for plane in planes:
                if step in {0, 24, 72}:
                    plane.set_wind_limit(step, _wind_limit(plane.agent_id, step) if step else 17.0)
                if step % 3 == 0 and max(command.map.values(), default=0) > 12 and plane.decide(step, wind):
                    worst = max(command.map, key=lambda one: (command.map[one], one))
                    water[worst] = water.get(worst, 0) + plane.drop(step, worst)
                    flights += 1
            _burn(fire, step, wind, water)
            for sector in SECTORS:
                peak[sector] = round(max(peak[sector], fire[sector]), 1)
                burnt += fire[sector]
    return {
        "peak": peak,
        "burnt": round(burnt),
        "flights": flights,
        "left": round(sum(fire.values()), 1),
    }


def _unheard(events: Sequence[Event]) -> list[str]:
    return pick(
        events, "tower_4", "report", tick=lambda step: step >= 40, where=lambda e: e.args["sector"] == "B4"
    )


def _misdirected(events: Sequence[Event]) -> list[str]:
    found: list[str] = []
    plan: dict[str, str] = {}
    radioed = ""
    for event in events:
        if event.act == "plan":
            plan = event.result
        elif event.kind == "agent_message" and event.agent == "command" and "height" not in event.args:
            radioed = event.id
        elif event.act == "order" and plan.get(event.args["brigade"]) != event.args["sector"]:
            found += [radioed, event.id]
    return found[:4]


FAULTS: dict[str, Fault] = {
    "pump": Fault(
        "On the second and third day the fire got away from the crews, with the same number of people and engines "
        "as on the first. Why did it not go down?",
        lambda bad, good: bad["burnt"] > 1.12 * good["burnt"],
        lambda events: [
            event.id
            for event in events
            if event.act == "pump"
            and event.agent in {"brigade_1", "brigade_3", "brigade_5"}
            and (event.tick or 0) >= 20
        ][:3],
    ),
    "maps": Fault(
        "The farm in C1 burned to the ground, and tower_1 had been calling for an hour. Not one engine came up "
        "our road, they were all over at the other edge.",
        lambda bad, good: bad["peak"]["C1"] > good["peak"]["C1"] + 3,
        _misdirected,
    ),
    "radio": Fault(
        "From my window I saw flames in B4 growing all morning; at the post they said there was no fire there.",
        lambda bad, good: bad["peak"]["B4"] > good["peak"]["B4"] + 8,
        _unheard,
    ),
    "wind": Fault(
        "Why was so little water dropped from the air on the second day? It was a light breeze, plane_2 flew, and "
        "the fire grew all the same.",
        lambda bad, good: bad["burnt"] > 1.15 * good["burnt"],
        lambda events: pick(events, "plane_1", "set_wind_limit", tick=24),
    ),
}
