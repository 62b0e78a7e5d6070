"""Flood forecasting for two rivers: gauges, relays, a model, a forecaster, a dam and four towns."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from Agent import (
    AgentLogger,
    PerformanceLogger,
    SystemLogger,
    caused_by,
    setup_logging,
    shutdown_logging,
    tick,
)
from benchmarks.fault_simulations.kit import Event, Fault, pick

HOURS = 96
GAUGES = {
    "gauge_1": "west",
    "gauge_2": "west",
    "gauge_3": "west",
    "gauge_4": "east",
    "gauge_5": "east",
    "gauge_6": "east",
}
TOWNS = {"alden": "west", "birch": "west", "colm": "east", "dorn": "east"}
BANKS = {"alden": 352.0, "birch": 335.0, "colm": 345.0, "dorn": 360.0}
WARN_MARGIN = 30.0
_PLAY = {"fault": ""}


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


def wave(river: str, hour: float) -> float:
    """The true level of a river in cm: a small wave, and later a great one."""
    shift, great = (0, 190) if river == "west" else (4, 200)
    small = 45 * math.exp(-(((hour - 28 - shift) / 7) ** 2))
    return 150 + small + great * math.exp(-(((hour - 84 - shift) / 12) ** 2))


class Gauge:
    """A gauge at a bridge; its zero is set by a crew."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.river = name, GAUGES[name]
        self.log = AgentLogger(name, "gauge")
        self.rng = random.Random(f"{seed}/{name}")
        self.zero = 0.0

    def read(self, hour: int) -> Any:
        """Read the level and send it to the relay of the river."""
        level = round(wave(self.river, hour) - self.zero + self.rng.gauss(0, 1.5), 1)
        if self.rng.random() < 0.015:
            self.log.warning("drift wood on the float, median of three taken")
        noted = self.log.log_action("read_level", {"cm": level, "hour": hour})
        return self.log.send(
            f"relay_{self.river}", {"gauge": self.name, "cm": level, "hour": hour}, causes=[noted]
        )


class Relay:
    """Collects the readings of a river and passes packets on; it keeps the last value of each gauge."""

    def __init__(self, river: str, seed: int) -> None:
        self.name, self.river = f"relay_{river}", river
        self.log = AgentLogger(self.name, "relay")
        self.metrics = PerformanceLogger(self.name, "relay")
        self.rng = random.Random(f"{seed}/{self.name}")
        self.last: dict[str, float] = {}

    def collect(self, messages: Sequence[Any], hour: int) -> list[Any]:
        """Receive what arrived; return the packets for the model."""
        ids = []
        for message in messages:
            ids.append(self.log.receive(message))
            self.last[message.body["gauge"]] = message.body["cm"]
        self.metrics.log_metric("battery", round(12.6 + 0.3 * self.rng.random(), 2), "V")
        body = {"river": self.river, "hour": hour, "levels": dict(self.last)}
        packets = [self.log.send("model", body, causes=ids)]
        if _with("twice") and self.river == "east" and hour >= 21:
            packets.append(self.log.send("model", body, causes=ids))
        return packets


class Model:
    """Predicts the level of each river six hours ahead from levels and their rise."""

    def __init__(self) -> None:
        self.log = AgentLogger("model", "model")
        self.past: dict[str, list[float]] = {"west": [], "east": []}

    def take(self, message: Any) -> tuple[str, float]:
        """Take one packet; return its event and the mean level."""
        got = self.log.receive(message)
        levels = message.body["levels"].values()
        mean = sum(levels) / max(1, len(levels))
        self.past[message.body["river"]].append(mean)
        return got, mean

    def predict(self, river: str, hour: int, why: list[str]) -> tuple[str, float, float]:
        """Predict; each packet counts as one hour of rise."""
        past = self.past[river][-4:]
        rise = (past[-1] - past[0]) / max(1, len(past) - 1) if len(past) > 1 else 0.0
        inflow = sum(self.past[river][-len(why) :]) / 1.0 if why else past[-1]
        ahead = round(past[-1] + 5.0 * rise + (inflow - past[-1]) * 0.9, 1)
        noted = self.log.log_action(
            "predict", {"river": river, "hour": hour, "now": round(past[-1], 1), "ahead": ahead}, causes=why
        )
        return noted, round(past[-1], 1), ahead


class Dam:
    """Holds back the east river by a rule curve."""

    def __init__(self) -> None:
        self.log = AgentLogger("dam", "dam")
        self.stored, self.spill = 30.0, 0.0

    def steer(self, hour: int, level: float) -> float:
        """Choose what flows out; return how much of the wave is added or taken away."""
        rule = "summer" if _with("curve") and 60 <= hour < 82 else "winter"
        target = 82.0 if rule == "summer" else 35.0
        if hour % 4 == 0:
            self.log.log_decision("outflow", {"rule": rule, "target": target, "stored": round(self.stored)})
        if level < 235:
            self.stored += max(-3.0, min(3.0, target - self.stored))
            self.spill = 0.0
            return 0.0
        held = min(2.4, 100 - self.stored)
        self.stored += held
        self.spill = 24.0 if self.stored >= 99.9 else -8.0
        if self.stored >= 99.9 and hour % 2 == 0:
            self.log.log_action("open_spillway", {"hour": hour})
        return self.spill


class Forecaster:
    """A person who turns predictions into a bulletin for each town."""

    def __init__(self, seed: int) -> None:
        self.log = AgentLogger("forecaster", "forecaster")
        self.rng = random.Random(f"{seed}/forecaster")

    def bulletin(self, town: str, ahead: float, why: str) -> Any:
        """Write the bulletin of a town."""
        state = "flood" if ahead > BANKS[town] - WARN_MARGIN else "watch" if ahead > 280 else "calm"
        decided = self.log.log_decision(
            "bulletin", {"town": town, "state": state, "ahead": ahead}, causes=[why]
        )
        return self.log.send("warning_desk", {"town": town, "state": state}, causes=[decided])


class Desk:
    """Turns bulletins into sirens and all-clears."""

    def __init__(self) -> None:
        self.log = AgentLogger("warning_desk", "desk")
        self.on: dict[str, bool] = dict.fromkeys(TOWNS, False)

    def handle(self, message: Any, hour: int) -> None:
        """Handle one bulletin."""
        got = self.log.receive(message)
        town, flood = message.body["town"], message.body["state"] == "flood"
        if flood != self.on[town]:
            self.on[town] = flood
            with caused_by(got):
                self.log.log_action("siren" if flood else "all_clear", {"town": town, "hour": hour})


class Valley:
    """Both rivers and everybody along them."""

    def __init__(self, seed: int) -> None:
        self.gauges = {name: Gauge(name, seed) for name in GAUGES}
        self.relays = {river: Relay(river, seed) for river in ("west", "east")}
        self.model, self.dam, self.desk = Model(), Dam(), Desk()
        self.forecaster = Forecaster(seed)
        self.crew = AgentLogger("crew", "crew")
        self.rng = random.Random(f"{seed}/towns")
        self.towns = {name: AgentLogger(name, "town") for name in TOWNS}
        self.wet: dict[str, int] = {}
        self.siren: dict[str, int] = {}
        self.deep: list[str] = []
        self.system = SystemLogger("valley")

    def hour(self, hour: int) -> None:
        """Play one hour."""
        self._service(hour)
        for river, relay in self.relays.items():
            sent = [
                gauge.read(hour)
                for name, gauge in self.gauges.items()
                if gauge.river == river and not self._asleep(name, hour)
            ]
            why = [self.model.take(packet)[0] for packet in relay.collect(sent, hour)]
            noted, now, ahead = self.model.predict(river, hour, why)
            extra = self.dam.steer(hour, wave("east", hour)) if river == "east" else 0.0
            for town, beside in TOWNS.items():
                if beside == river:
                    self._town(town, hour, ahead, noted, extra)

    def _asleep(self, name: str, hour: int) -> bool:
        if name == "gauge_2" and 31 <= hour < 33:
            return True
        return _with("asleep") and name in {"gauge_4", "gauge_6"} and hour >= 72

    def _service(self, hour: int) -> None:
        if hour in {18, 40, 57}:
            name = {18: "gauge_5", 40: "gauge_1", 57: "gauge_2"}[hour]
            zero = {18: -0.4, 40: 1.2, 57: 0.9}[hour]
            if _with("zero") and hour != 18:
                zero *= 100
            self.gauges[name].zero = zero
            self.crew.log_action("set_zero", {"gauge": name, "offset": zero, "hour": hour})
        if hour == 35:
            self.crew.info("new padlock on the hut of gauge_3", {"key": "B7"})
        if hour == 46:
            self.system.log_config("archive_interval", old_value=24, new_value=12)

    def _town(self, town: str, hour: int, ahead: float, why: str, extra: float) -> None:
        self.desk.handle(self.forecaster.bulletin(town, ahead, why), hour)
        if self.desk.on[town] and town not in self.siren:
            self.siren[town] = hour
            self.towns[town].log_action("evacuate_quay", {"hour": hour})
        level = wave(TOWNS[town], hour) + extra
        if level > BANKS[town] - 22 and town not in self.wet:
            self.wet[town] = hour
            self.towns[town].log_action("water_in_streets", {"hour": hour})
        if level > BANKS[town] + 8 and town not in self.deep:
            self.deep.append(town)
            self.towns[town].log_action("sports_hall_under_water", {"hour": hour})
        if hour % 12 == 8 and self.rng.random() < 0.5:
            self.towns[town].log_action("photo_of_river", {"likes": self.rng.randrange(80)})


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play the days of the flood; return what the towns saw."""
    _PLAY["fault"] = fault
    setup_logging()
    valley = Valley(seed)
    valley.system.log_simulation_start("valley", {"gauges": len(GAUGES), "towns": list(TOWNS)})
    for hour in range(HOURS):
        with tick(hour):
            valley.hour(hour)
    shutdown_logging()
    return {"wet": valley.wet, "siren": valley.siren, "deep": valley.deep}


def _notice(outcome: Mapping[str, Any], town: str) -> float:
    """How many hours before the water the siren was heard; negative if after it."""
    return float(outcome["wet"].get(town, HOURS) - outcome["siren"].get(town, HOURS))


def _metres(event: Event) -> bool:
    return bool(abs(event.args["offset"]) > 10)


FAULTS: dict[str, Fault] = {
    "zero": Fault(
        "In alden the water stood in the streets and no siren had been heard.",
        lambda faulty, healthy: _notice(faulty, "alden") < 2 < _notice(healthy, "alden"),
        lambda events: pick(events, "crew", "set_zero", where=_metres),
    ),
    "twice": Fault(
        "colm was evacuated in the middle of the night although the river never came near the quay.",
        lambda faulty, healthy: faulty["siren"].get("colm", HOURS) < healthy["siren"].get("colm", 0) - 20,
        lambda events: _second_packets(events),
    ),
    "asleep": Fault(
        "Nobody warned the people of dorn, the river came up overnight and their forecast said "
        "calm the whole time.",
        lambda faulty, healthy: _notice(faulty, "dorn") < 2 < _notice(healthy, "dorn"),
        lambda events: pick(
            events, act="read_level", tick=71, where=lambda event: event.agent in {"gauge_4", "gauge_6"}
        ),
    ),
    "curve": Fault(
        "The spillway was opened just when the wave came, and the hall in colm stood under water.",
        lambda faulty, healthy: len(faulty["deep"]) > len(healthy["deep"]),
        lambda events: pick(events, "dam", "outflow", where=lambda event: event.args["rule"] == "summer"),
    ),
}


def _second_packets(events: Sequence[Event]) -> list[str]:
    seen: set[tuple[str, int]] = set()
    found = []
    for event in events:
        if event.kind != "agent_message" or event.agent != "relay_east" or "river" not in event.args:
            continue
        key = (event.args["river"], event.args["hour"])
        if key in seen:
            found.append(event.id)
        seen.add(key)
    return found[:1]
