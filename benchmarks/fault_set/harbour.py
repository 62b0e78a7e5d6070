"""A harbour: a traffic service lets ships in with tide, forecast, berth and tugs, and a planner learns to unload them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from Agent import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    PerformanceLogger,
    SystemLogger,
    receive,
    tick,
    trace_agent_action,
)
from Agent.record.messages import Message
from benchmarks.fault_set.case import Plan, Truth, World

MINUTES_A_TICK = 20
TIDE_MINUTES = 745
CHANNEL_M = 11.0
BERTHS = {"E1": 8.5, "E2": 9.5, "E3": 10.5, "N1": 11.5, "N2": 12.0, "N3": 12.5, "W1": 13.5, "W2": 14.5}
STOWAGE = {"loose": (6.0, 1), "mixed": (4.5, 3), "dense": (9.0, 9)}
"""Ticks that unloading takes, and boxes that are moved twice."""


def water_m(minutes: int) -> float:
    """How much the tide adds to the channel at that time."""
    return round(2.0 * math.sin(2 * math.pi * minutes / TIDE_MINUTES), 2)


class Weather:
    """A forecast service somewhere else."""

    def __init__(self, rng: random.Random, line_is_up: Callable[[], bool]) -> None:
        self.agent_id = "weather"
        self.agent_role = "service"
        self._rng = rng
        self._line_is_up = line_is_up  # asked, not kept: an agent's attributes are part of the record

    @trace_agent_action()
    def forecast(self, area: str) -> dict[str, float]:
        """Wind and swell; TimeoutError where there is no answer."""
        if not self._line_is_up() or self._rng.random() < 0.03:
            raise TimeoutError("forecast: no answer within 10 s")
        wind_kn, swell_m = self._rng.uniform(3, 25), self._rng.uniform(0.1, 0.9)
        return {"wind_kn": round(wind_kn, 1), "swell_m": round(swell_m, 1)}


class Gauge:
    """Tells the water level from a table, by its own clock."""

    def __init__(self) -> None:
        self.agent_id = "tide_gauge"
        self.agent_role = "sensor"
        self.offset_min = 0

    @trace_agent_action()
    def sync_clock(self, source: str, offset_min: int) -> int:
        """Puts the clock right by what a source tells."""
        self.offset_min = offset_min
        return offset_min

    @trace_agent_action()
    def level(self, now: int) -> float:
        """Water above the chart, in metres."""
        return water_m(now * MINUTES_A_TICK + self.offset_min)


class Register:
    """How deep the berths are."""

    def __init__(self) -> None:
        self.agent_id = "berth_register"
        self.agent_role = "database"
        self.depths = dict(BERTHS)

    @trace_agent_action()
    def restore(self, backup: str, depths: dict[str, float]) -> int:
        """Takes over the depths of a backup."""
        self.depths = dict(depths)
        return len(depths)


class Planner:
    """Learns which stowage plan unloads ships well."""

    def __init__(self, rng: random.Random) -> None:
        self.agent_id = "planner"
        self.agent_role = "learner"
        self._rng = rng
        self._learning = LearningLogger("bandit", "planner")
        self._values = {"loose": -6.3, "mixed": -5.1, "dense": -10.8}
        self._per_tick, self._per_restow = -1.0, -0.2

    @trace_agent_action()
    def set_reward(self, per_tick: float, per_restow: float) -> list[float]:
        """What time at the berth and boxes that are moved twice bring."""
        self._per_tick, self._per_restow = per_tick, per_restow
        return [per_tick, per_restow]

    @trace_agent_action()
    def stow(self, ship: str, boxes: int) -> str:
        """The plan for one ship."""
        explores = self._rng.random() < 0.12
        best = max(self._values, key=lambda name: self._values[name])
        plan = self._rng.choice(sorted(STOWAGE)) if explores else best
        self._learning.log_exploration_exploitation(plan, explores, 0.12)
        return plan

    def learn(self, plan: str, ticks: int, restows: int) -> None:
        """Moves the value of a plan towards what it has brought."""
        reward = round(self._per_tick * ticks + self._per_restow * restows, 2)
        self._values[plan] = round(self._values[plan] + 0.35 * (reward - self._values[plan]), 3)
        self._learning.log_reward(plan, reward)
        self._learning.log_learning_update("values", {plan: self._values[plan]})


class Tug:
    """Helps one ship at a time, when it hears that it shall."""

    def __init__(self, agent_id: str, channel: int, rng: random.Random) -> None:
        self.agent_id = agent_id
        self.agent_role = "tug"
        self._rng = rng
        self._channel = channel
        self.ship = ""

    @trace_agent_action()
    def hear(self, call: Message) -> str:
        """Answers a call on its channel."""
        receive(call)
        if call.recipient != self.agent_id:
            return "not for me"
        if self._rng.random() < 0.04:
            return "engine check, not now"
        self.ship = str(call.body["ship"])
        return "coming"

    @trace_agent_action()
    def cast_off(self, ship: str) -> None:
        """Free for the next one."""
        self.ship = ""


@dataclass
class Ship:
    """A container ship on its way in."""

    agent_id: str
    journal: AgentLogger
    draught_m: float
    boxes: int
    came: int
    berth: str = ""
    tugs: list[Tug] = field(default_factory=list)
    stage: str = "roads"
    until: int = 0
    plan: str = ""

    @property
    def tugs_needed(self) -> int:
        return 2 if self.draught_m < 10 else 3


class Harbour:
    """Everybody, and the traffic service, which logs by hand."""

    def __init__(self, plan: Plan, traffic: float) -> None:
        self.plan, self.traffic_share = plan, traffic
        self.names = [plan.name("tug", n) for n in range(plan.size)]
        self.tugs = [Tug(name, 60 + n, plan.chance(name)) for n, name in enumerate(self.names)]
        self.directory = {tug.agent_id: tug._channel for tug in self.tugs}
        self.line_is_up = True
        self.weather = Weather(plan.chance("weather"), lambda: self.line_is_up)
        self.gauge, self.register = Gauge(), Register()
        self.planner = Planner(plan.chance("planner"))
        self.vts, self.radio = AgentLogger("vts", "traffic service"), AgentLogger("radio_room", "service")
        self.tows, self.metrics = InteractionLogger("vts", "traffic service"), PerformanceLogger()
        self.ships: list[Ship] = []
        self.allotment = "all_at_once"
        self.quiet: dict[str, int] = {}  # tugs that did not answer, and when to ask again
        self.sea, self.hands = plan.chance("sea"), plan.chance("upkeep")
        self.numbered = 0

    def arrive(self, now: int) -> None:
        """Single ships, and every six hours a convoy."""
        convoy = self.plan.size - 1 if now % 18 == 9 else 0
        for number in range(convoy + 2):
            if number < convoy or self.sea.random() < self.traffic_share:
                self.numbered += 1
                name = f"ship_{self.numbered:03d}"
                draught = round(self.sea.uniform(7, 12.2), 1)
                ship = Ship(name, AgentLogger(name, "ship"), draught, self.sea.randint(200, 900), now)
                ship.journal.log_action("arrive", {"draught_m": draught, "boxes": ship.boxes})
                self.ships.append(ship)

    def reserve(self, ship: Ship) -> bool:
        """The least deep berth that is deep enough by the register."""
        if not ship.berth:
            taken = {one.berth for one in self.ships}
            deep = {name: m for name, m in self.register.depths.items() if m >= ship.draught_m + 0.3}
            free = sorted((m, name) for name, m in deep.items() if name not in taken)
            if free:
                ship.berth = free[0][1]
                self.vts.log_decision("berth", {"ship": ship.agent_id, "berth": ship.berth})
        return bool(ship.berth)

    def call(self, tug: Tug, ship: Ship, now: int) -> bool:
        """Calls a tug on the channel that the directory tells, and hears whether it comes."""
        call = self.vts.send(tug.agent_id, {"ship": ship.agent_id, "channel": self.directory[tug.agent_id]})
        answers = [one.hear(call) for one in self.tugs if one._channel == call.body["channel"]]
        if "coming" in answers:
            ship.tugs.append(tug)
            return True
        self.vts.log_action("no_tug", {"tug": tug.agent_id, "answers": answers})
        self.quiet[tug.agent_id] = now + 4
        return False

    def take_tugs(self, ship: Ship, now: int) -> bool:
        """Whether the ship has got all the tugs that it needs."""
        missing = ship.tugs_needed - len(ship.tugs)
        free = [tug for tug in self.tugs if not tug.ship and self.quiet.get(tug.agent_id, 0) <= now]
        if missing and self.allotment == "one_by_one":
            for tug in free[:1]:
                self.call(tug, ship, now)
        elif missing and len(free) >= missing:
            for tug in self.sea.sample(free, missing):
                self.call(tug, ship, now)
        if len(ship.tugs) < ship.tugs_needed and now % 3 == 0:
            has = [tug.agent_id for tug in ship.tugs]
            what = {"ship": ship.agent_id, "has": has, "needs": ship.tugs_needed}
            self.vts.log_action("wait_for_tugs", what)
        return len(ship.tugs) == ship.tugs_needed

    def may_enter(self) -> bool:
        """Whether wind and swell allow ships to come in."""
        try:
            forecast = self.weather.forecast("approach")
        except TimeoutError:
            self.vts.log_decision("hold", {"forecast": None}, "no forecast, nobody comes in")
            return False
        if forecast["wind_kn"] > 24:
            self.vts.log_decision("hold", forecast, "wind")
            return False
        return True

    def let_in(self, ship: Ship, now: int, level_m: float) -> None:
        """Lets a ship in where berth, water and tugs are as they should be."""
        under_keel_m = CHANNEL_M + level_m - ship.draught_m
        if not self.reserve(ship) or under_keel_m < 0.5 or not self.take_tugs(ship, now):
            return
        ship.stage, ship.until = "inbound", now + 2
        what = {"ship": ship.agent_id, "level_m": level_m, "waited": now - ship.came}
        self.vts.log_decision("let_in", what)
        self.tows.log_collaboration([ship.agent_id, *(tug.agent_id for tug in ship.tugs)], "tow")
        keel_m = CHANNEL_M + water_m(now * MINUTES_A_TICK) - ship.draught_m
        if keel_m < 0.2 or self.sea.random() < 0.01:
            ship.journal.warning("touched the ground", {"place": "approach", "speed_kn": 6})
            ship.until += 3

    def release(self, ship: Ship) -> None:
        for tug in ship.tugs:
            tug.cast_off(ship.agent_id)
        ship.tugs = []

    def moor(self, ship: Ship, now: int) -> None:
        """At its berth; unloading begins."""
        self.release(ship)
        ship.plan = self.planner.stow(ship.agent_id, ship.boxes)
        ticks, restows = STOWAGE[ship.plan]
        aground = BERTHS[ship.berth] < ship.draught_m
        if aground:
            ship.journal.warning("lies on the bottom", {"place": ship.berth, "draught_m": ship.draught_m})
        lasts = max(2, round(ticks * (0.6 + ship.boxes / 1400) + self.sea.uniform(-1, 1)) + 4 * aground)
        ship.stage, ship.until = "berth", now + lasts
        moved_twice = max(0, restows + self.sea.randint(-1, 1))
        ship.journal.log_action("unload", {"berth": ship.berth, "ticks": lasts, "moved_twice": moved_twice})
        self.planner.learn(ship.plan, lasts, moved_twice)
        self.metrics.log_metric("unloading", lasts, "ticks", {"plan": ship.plan})

    def minutes(self, now: int) -> None:
        """What happens in a tick."""
        self.arrive(now)
        level_m, allowed = self.gauge.level(now), self.may_enter()
        for ship in list(self.ships):
            if ship.stage == "roads":
                if allowed:
                    self.let_in(ship, now, level_m)
            elif ship.stage == "inbound" and ship.until <= now:
                self.moor(ship, now)
            elif ship.stage == "berth" and ship.until <= now:
                ship.journal.log_action("leave", {"berth": ship.berth, "stayed": now - ship.came})
                self.ships.remove(ship)
        self.metrics.log_metric("in_the_roads", sum(ship.stage == "roads" for ship in self.ships), "ships")

    def list_channel(self, tug: Tug, channel: int) -> str:
        """Where to call a tug from now on; gives the event."""
        self.directory[tug.agent_id] = channel
        return self.radio.log_action("list_channel", {"tug": tug.agent_id, "channel": channel})

    def allot(self, allotment: str, reason: str) -> str:
        """How tugs are given to ships; gives the event."""
        old, self.allotment = self.allotment, allotment
        return self.vts.log_strategy_update("tugs", {"allotment": old}, {"allotment": allotment}, reason)


def run(plan: Plan, truth: Truth, traffic: float = 0.1) -> None:
    """One session of the harbour, a tick being twenty minutes."""
    harbour, system = Harbour(plan, traffic), SystemLogger("harbour")
    system.log_simulation_start("harbour", {"tugs": plan.size, "berths": len(BERTHS)})
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 3:
                system.log_config("quay_lights_lux", 40, 55)
            _upkeep(harbour, now)
            _plant(plan, truth, harbour, now)
            harbour.minutes(now)
    system.log_simulation_end("harbour", "finished")


def _upkeep(harbour: Harbour, now: int) -> None:
    """What the harbour office sets in the ordinary course of things."""
    plan, rng = harbour.plan, harbour.hands
    tug = harbour.tugs[(now * 3 + 1) % plan.size]
    before, fault = now < plan.at - 4, plan.fault
    if now % 10 == 3 and (before or fault != "clock_skew"):
        harbour.gauge.sync_clock(f"ntp{rng.randint(1, 4)}", rng.randint(-2, 2))
    if now % 15 == 7 and (before or fault != "state_corruption"):
        harbour.register.restore(f"nightly-{300 + now}", dict(BERTHS))
    if now % 12 == 5 and (before or fault != "reward_bug"):
        harbour.planner.set_reward(round(rng.uniform(-1.1, -0.9), 2), round(rng.uniform(-0.3, -0.1), 2))
    if now % 6 == 2 and (before or fault is None or tug is not harbour.tugs[plan.victim]):
        harbour.list_channel(tug, tug._channel)
    if now % 16 == 11 and (before or fault != "deadlock"):
        harbour.allot("all_at_once", rng.choice(["season plan", "office review"]))


def _plant(plan: Plan, truth: Truth, harbour: Harbour, now: int) -> None:
    victim, other = harbour.tugs[plan.victim], harbour.tugs[plan.other]
    if plan.fault == "tool_outage":
        harbour.line_is_up = not plan.at <= now < plan.at + 16
        if now in {plan.at, plan.at + 1}:
            truth.seek("weather", "forecast", now)
    if plan.begins("clock_skew", now):
        minutes = plan.rng.choice([330, 360, 390])
        harbour.gauge.sync_clock(f"ntp{plan.rng.randint(1, 4)}", minutes)
        truth.seek("tide_gauge", "sync_clock", now, contains=f'"offset_min": {minutes}')
    if plan.begins("state_corruption", now):
        depths = dict(zip(BERTHS, reversed(BERTHS.values()), strict=True))
        harbour.register.restore("nightly-041", depths)
        truth.seek("berth_register", "restore", now, contains="nightly-041")
    if plan.begins("reward_bug", now):
        harbour.planner.set_reward(-1.0, 2.0)
        truth.seek("planner", "set_reward", now, contains='"per_restow": 2.0')
    if plan.begins("misrouting", now):
        truth.note(harbour.list_channel(victim, other._channel))
    if plan.begins("deadlock", now):
        truth.note(harbour.allot("one_by_one", "no tug shall lie idle"))


WORLD = World(
    name="harbour",
    run=run,
    prefix="tug",
    sizes=(5, 8),
    ticks=(130, 180),
    complaints={
        "tool_outage": "around tick {when} no ship was let in for hours although the sea was calm",
        "clock_skew": "ships touch the ground on their way in, although by the tables there is enough water then",
        "state_corruption": "captains report that they lie on the bottom at their berths",
        "reward_bug": "unloading takes far longer than it used to, the cranes move the same boxes twice",
        "misrouting": "{victim} lies at the pier all day and the others have more than they can do",
        "deadlock": "no ship comes in any more although there are berths free and enough water",
    },
)
CALM = World(
    name="harbour_summer",
    run=partial(run, traffic=0.2),
    prefix="tug",
    sizes=(4, 8),
    ticks=(110, 170),
    complaints={
        "suspects_agent": "is {victim} broken? I think it refuses more calls than it should",
        "suspects_gauge": "I do not trust the water levels since about tick {when}",
        "suspects_planner": "the planner seems to learn nothing, some ships still take long to unload",
    },
)
