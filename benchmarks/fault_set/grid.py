"""A power grid: plants follow a forecast of the load; classes of a library, traced from outside, and few metrics."""

from __future__ import annotations

import math
import random
import time
from contextlib import suppress
from functools import cache, partial

from Agent import AgentLogger, PerformanceLogger, SystemLogger, instrument, tick
from benchmarks.fault_set.case import Plan, Truth, World


class Tripped(Exception):
    """The protection took a plant off the grid."""


def load_at(hour: float) -> float:
    """The typical load at an hour, as a share of the mean: low at night, high in the evening."""
    return 1.0 + 0.26 * math.sin(2 * math.pi * (hour - 11) / 24) + 0.05 * math.sin(4 * math.pi * hour / 24)


class Plant:
    """Follows a target as fast as its governor lets it."""

    def __init__(self, name: str, megawatts: float) -> None:
        self.name = name
        self.capacity = megawatts
        self.rating = megawatts
        self.gain = 0.85
        self.trip_share = 1.1
        self.output = 0.7 * megawatts
        self.off_for = 0

    def rate(self, megawatts: float) -> float:
        """What the plant is said to be able to give."""
        self.rating = megawatts
        return megawatts

    def tune(self, gain: float) -> float:
        """How much of the difference to its target it makes up in a step."""
        self.gain = gain
        return gain

    def protect(self, trip_share: float) -> float:
        """The share of the capacity at which the protection acts."""
        self.trip_share = trip_share
        return trip_share

    def follow(self, target: float) -> float:
        """Moves towards a target and gives the output; Tripped where it gets too much."""
        if self.off_for:
            self.off_for -= 1
            return 0.0
        wanted = self.output + self.gain * (target - self.output)
        self.output = round(min(self.capacity, max(0.0, wanted)), 1)
        if self.output > self.trip_share * self.capacity:
            self.output, self.off_for = 0.0, 3
            raise Tripped(f"overload at {target:.0f} MW")
        return self.output


class Forecast:
    """Knows the load of an ordinary day."""

    def __init__(self, mean: float) -> None:
        self.agent_id = "forecast"
        self.mean = mean
        self.ahead = 0

    def set_zone(self, zone: str, hours_ahead: int) -> int:
        """The zone that its hours are in."""
        self.ahead = hours_ahead
        return hours_ahead

    def predict(self, hour: int) -> float:
        """The load in megawatts that is to be expected."""
        return round(self.mean * load_at((hour + self.ahead) % 24), 1)


class Telemetry:
    """The line to the plants."""

    def __init__(self, rng: random.Random) -> None:
        self.agent_id = "telemetry"
        self._rng = rng
        self.delay_ms = 0.2

    def route(self, line: str, hops: int) -> int:
        """Which way the readings take."""
        self.delay_ms = 0.1 * hops
        return hops

    def poll(self, plant: str) -> bool:
        """Whether a plant answers; TimeoutError now and then."""
        time.sleep(self.delay_ms / 1000)
        if self._rng.random() < 0.008:
            raise TimeoutError(f"{plant} did not answer in time")
        return True


@cache
def _instrument() -> None:
    instrument(Plant, methods=["rate", "tune", "protect", "follow"], agent_id="name", agent_role="plant")
    instrument(Forecast, methods=["set_zone", "predict"], agent_id="agent_id", agent_role="service")
    instrument(Telemetry, methods=["route", "poll"], agent_id="agent_id", agent_role="service")


class Grid:
    """The plants and those who steer them."""

    def __init__(self, plan: Plan, winter: bool) -> None:
        self.plan = plan
        self.rng = plan.chance("load")
        self.hands = plan.chance("upkeep")
        ratings = plan.chance("ratings")
        self.plants = [
            Plant(plan.name("plant", n), float(ratings.randrange(160, 400, 20))) for n in range(plan.size)
        ]
        self.mean = sum(plant.capacity for plant in self.plants) * (0.7 if winter else 0.66)
        self.forecast = Forecast(self.mean)
        self.telemetry = Telemetry(plan.chance("line"))
        self.dispatch = AgentLogger("dispatch", "dispatcher")
        self.metrics = PerformanceLogger("dispatch")
        self.noise = 0.012 if winter else 0.006

    def hour(self, now: int) -> None:
        """Targets by rating, what the plants make of them, and the frequency that comes of it."""
        expected = self.forecast.predict(now % 24)
        ratings = sum(plant.rating for plant in self.plants if not plant.off_for)
        supply = 0.0
        for plant in self.plants:
            with suppress(TimeoutError):  # the last reading will do
                self.telemetry.poll(plant.name)
            try:
                share = 0.0 if plant.off_for else plant.rating / ratings
                supply += plant.follow(round(expected * share, 1))
            except Tripped:
                self.dispatch.warning("plant is off the grid", {"plant": plant.name})
        load = self.mean * load_at(now % 24) * (1 + self.rng.gauss(0, self.noise))
        balance = (supply - load) / load
        self.metrics.log_metric("frequency_hz", round(50 + 2.5 * balance, 3), "Hz")
        self.metrics.log_metric("supply_mw", round(supply, 1), "MW")
        if balance < -0.12:
            self.dispatch.log_action("shed_load", {"megawatts": round(load - supply, 1)})


def run(plan: Plan, truth: Truth, winter: bool = False) -> None:
    """One session of the grid, a tick being an hour."""
    _instrument()
    grid, system = Grid(plan, winter), SystemLogger("grid")
    system.log_simulation_start("grid", {"plants": plan.size, "reserve": 0.1})
    grid.forecast.set_zone("UTC", hours_ahead=0)
    grid.telemetry.route("fibre", hops=2)
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 6:
                system.log_config("archive_days", 30, 45)
            _upkeep(grid, now)
            _plant(plan, truth, grid, now)
            grid.hour(now)
    system.log_simulation_end("grid", "finished")


def _upkeep(grid: Grid, now: int) -> None:
    """What is set anew in the ordinary course of things."""
    plant = grid.plants[(now * 3 + 1) % grid.plan.size]
    fault, before = grid.plan.fault, now < grid.plan.at
    touchable = plant is not grid.plants[grid.plan.victim] or before or fault is None
    if now % 6 == 2 and touchable:
        plant.rate(megawatts=round(plant.capacity * grid.hands.uniform(0.97, 1.0), 1))
    if now % 7 == 5 and touchable:
        plant.tune(gain=round(grid.hands.uniform(0.8, 0.95), 2))
    if now % 9 == 3 and touchable:
        plant.protect(trip_share=round(grid.hands.uniform(1.05, 1.15), 2))
    if now % 19 == 11 and (before or fault != "clock_time_zone"):
        grid.forecast.set_zone("UTC", hours_ahead=0)
    if now % 17 == 9 and (before or fault != "slow_dependency"):
        grid.telemetry.route("fibre", hops=grid.hands.randint(2, 3))


def _plant(plan: Plan, truth: Truth, grid: Grid, now: int) -> None:
    victim = grid.plants[plan.victim]
    if plan.begins("unit_mixup", now):
        victim.rate(megawatts=victim.capacity * 1000)  # in kilowatts
        truth.seek(victim.name, "rate", now, contains=f'"megawatts": {victim.capacity * 1000}')
    if plan.begins("clock_time_zone", now):
        zone, hours = plan.rng.choice([("UTC-3", -3), ("UTC+4", 4), ("UTC-4", -4)])
        grid.forecast.set_zone(zone, hours_ahead=hours)
        truth.seek("forecast", "set_zone", now, contains=zone)
    if plan.begins("slow_dependency", now):
        hops = plan.rng.randint(70, 90)
        grid.telemetry.route("mesh", hops=hops)
        truth.seek("telemetry", "route", now, contains='"mesh"')
    if plan.begins("wrong_configuration", now):
        gain = round(plan.rng.uniform(2.2, 2.4), 2)
        victim.tune(gain=gain)
        truth.seek(victim.name, "tune", now, contains=f'"gain": {gain}')
    if plan.begins("bad_threshold", now):
        share = round(plan.rng.uniform(0.62, 0.7), 2)
        victim.protect(trip_share=share)
        truth.seek(victim.name, "protect", now, contains=f'"trip_share": {share}')


WORLD = World(
    name="grid",
    run=run,
    prefix="plant",
    sizes=(4, 7),
    ticks=(96, 144),
    complaints={
        "unit_mixup": "we shed load every hour in the second half, and most of the plants hardly run at all",
        "clock_time_zone": "at some hours of the day there is far too little power and at others too much, day after day",
        "slow_dependency": "one round of control took no time in the beginning, now it takes ages",
        "wrong_configuration": "the frequency goes up and down from hour to hour since about tick {when}",
        "bad_threshold": "{victim} falls off the grid again and again although its load is nothing special",
    },
)
CALM = World(
    name="grid_winter",
    run=partial(run, winter=True),
    prefix="plant",
    sizes=(3, 8),
    ticks=(80, 160),
    complaints={
        "suspects_agent": "{victim} gives less than it should, I think somebody changed its settings",
        "suspects_frequency": "was there a disturbance of the frequency around tick {when}?",
    },
)
