"""Lifts that learn where to wait in a tall house: traced actions, rewards and values, and nobody talks to anybody."""

from __future__ import annotations

import random
from functools import partial

from Agent import AgentLogger, LearningLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_set.case import Plan, Truth, World

FLOORS = 24
PARKS = {"low": 1, "middle": 12, "high": 22}
PHASES = ("night", "morning", "noon", "evening")
TICKS_A_PHASE = 8
LEARNED = {
    "night": {"low": -2.4, "middle": -2.1, "high": -2.6},
    "morning": {"low": -1.2, "middle": -3.4, "high": -5.2},
    "noon": {"low": -2.7, "middle": -2.0, "high": -2.8},
    "evening": {"low": -4.9, "middle": -3.1, "high": -1.4},
}


class Clock:
    """Tells the lifts the time of day, in minutes."""

    def __init__(self) -> None:
        self.agent_id = "clock"
        self.agent_role = "service"
        self._offset_minutes = 0

    @trace_agent_action()
    def sync(self, server: str, offset_minutes: int) -> int:
        """Takes over the difference that a time server tells."""
        self._offset_minutes = offset_minutes
        return offset_minutes

    def phase(self, now: int) -> str:
        """The part of the day, where a part is six hours long."""
        minutes = now * (360 // TICKS_A_PHASE) + self._offset_minutes
        return PHASES[minutes // 360 % 4]


class Trainer:
    """What a second of waiting costs."""

    def __init__(self) -> None:
        self.agent_id = "trainer"
        self.agent_role = "trainer"
        self.per_second = -0.1

    @trace_agent_action()
    def set_reward(self, per_second: float) -> float:
        """The reward that each second of waiting brings."""
        self.per_second = per_second
        return per_second


class Lift:
    """Waits where it learned to wait at that time of day."""

    def __init__(self, agent_id: str, rng: random.Random) -> None:
        self.agent_id = agent_id
        self.agent_role = "lift"
        self._rng = rng
        self._log = AgentLogger(agent_id, "lift")
        self._learning = LearningLogger("q", agent_id)
        self._values = {
            phase: {park: round(value + rng.uniform(-0.2, 0.2), 2) for park, value in row.items()}
            for phase, row in LEARNED.items()
        }
        self._chosen = ("night", "low")
        self._rate = 0.05
        self._earned = 0.0
        self.floor = 1
        self._manual_until: int | None = None
        self.mode = "automatic"

    @trace_agent_action()
    def tune(self, learning_rate: float) -> float:
        """How much a new reward counts."""
        self._rate = learning_rate
        return learning_rate

    @trace_agent_action()
    def restore(self, checkpoint: str, values: dict[str, dict[str, float]]) -> str:
        """Goes on with the values of a checkpoint."""
        self._values = {phase: dict(row) for phase, row in values.items()}
        return checkpoint

    @trace_agent_action()
    def park(self, phase: str) -> str:
        """Goes where it is best to wait."""
        row = self._values[phase]
        explores = self._rng.random() < 0.08
        choice = self._rng.choice(list(row)) if explores else max(row, key=lambda park: row[park])
        self._learning.log_exploration_exploitation(choice, explores, 0.08)
        self._chosen = (phase, choice)
        self.floor = PARKS[choice] + self._rng.randint(-1, 1)
        return choice

    @trace_agent_action()
    def serve(self, floor: int, to: int, waited_s: float, passengers: int) -> int:
        """Fetches somebody and brings them where they want to go."""
        self.floor = to if passengers else floor
        return passengers

    def learn(self, floor: int, waited_s: float, per_second: float) -> None:
        """Moves the values of a time of day towards what each place would have earned."""
        phase, choice = self._chosen
        row, reward = self._values[phase], round(per_second * waited_s, 2)
        for park, at in PARKS.items():
            # In hindsight a lift knows what every place would have brought.
            would = reward if park == choice else per_second * (5.5 + 2.2 * abs(at - floor))
            row[park] = round(row[park] + self._rate * (would - row[park]), 3)
        self._earned = round(self._earned + reward, 3)
        self._learning.log_reward(f"{phase}/{choice}", reward, self._earned)
        self._learning.log_learning_update("values", {f"{phase}/{park}": row[park] for park in row})

    def turn_key(self, mode: str) -> str:
        """The key switch in the cabin; gives the event."""
        old, self.mode = self.mode, mode
        return self._log.log_state_change(old, mode, trigger="key switch")


class House:
    """Lifts, and a panel with a button on each floor."""

    def __init__(self, plan: Plan, calls_per_lift: float) -> None:
        self.plan, self.calls_per_lift = plan, calls_per_lift
        names = [plan.name("lift", n) for n in range(plan.size)]
        self.lifts = [Lift(name, plan.chance(name)) for name in names]
        self.clock, self.trainer, self.metrics = Clock(), Trainer(), PerformanceLogger()
        self.panels = [AgentLogger(f"panel_{floor:02d}", "panel") for floor in range(FLOORS)]
        self.latched: int | None = None
        self.people, self.hands = plan.chance("people"), plan.chance("upkeep")

    def call(self, floor: int, waiting: int) -> str:
        """Somebody presses a button, or the button thinks so; gives the event."""
        return self.panels[floor].log_action("hall_call", {"floor": floor, "waiting": waiting})

    def journey(self, phase: str) -> tuple[int, int]:
        """From where to where somebody wants to go at this time of day."""
        up = self.people.random() < {"night": 0.5, "morning": 0.9, "noon": 0.5, "evening": 0.1}[phase]
        floor = self.people.randint(3, FLOORS - 1) if phase == "noon" else self.people.randint(15, FLOORS - 1)
        return (0, floor) if up else (floor, 0)

    def minutes(self, now: int) -> list[str]:
        """What happens in a tick; gives the events of buttons that nobody pressed."""
        running = [lift for lift in self.lifts if lift.mode == "automatic"]
        for lift in running:
            lift.park(self.clock.phase(now))
        # People go by their own clocks.
        true_phase = PHASES[now // TICKS_A_PHASE % 4]
        calls = [self.journey(true_phase) for _ in range(round(self.calls_per_lift * self.plan.size))]
        asked = [(floor, to, 0 if self.people.random() < 0.03 else 1) for floor, to in calls]
        phantoms: list[str] = []
        if self.latched is not None:
            # A latched button calls again as soon as the doors have closed.
            asked += [(self.latched, self.latched, 0)] * 2
        free, waits = list(running), []
        for floor, to, passengers in asked:
            event = self.call(floor, passengers)
            if floor == to:
                phantoms.append(event)
            free = free or list(running)
            lift = min(free, key=lambda one: abs(one.floor - floor))
            free.remove(lift)
            waited = round(4 + 2.2 * abs(lift.floor - floor) + self.people.uniform(0, 3), 1)
            lift.serve(floor, to, waited, passengers)
            if passengers:
                waits.append(waited)
                lift.learn(floor, waited, self.trainer.per_second)
        if waits:
            self.metrics.log_metric("mean_wait_s", round(sum(waits) / len(waits), 2), "s")
        self.metrics.log_metric("empty_trips", sum(not one for _, _, one in asked), "trips")
        return phantoms


def run(plan: Plan, truth: Truth, calls_per_lift: float = 1.4) -> None:
    """One session of the house, a tick being three quarters of an hour."""
    house, system = House(plan, calls_per_lift), SystemLogger("house")
    system.log_simulation_start("house", {"lifts": plan.size, "floors": FLOORS})
    pressed = False
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 4:
                system.log_config("cabin_music", "jazz", "piano")
            _upkeep(house, now)
            _plant(plan, truth, house, now)
            phantoms = house.minutes(now)
            if phantoms and not pressed:
                truth.note(phantoms[0])
                pressed = True
            if now % 10 == 4:
                house.metrics.log_metric("motor_heat", round(house.hands.uniform(41, 55), 1), "C")
    system.log_simulation_end("house", "finished")


def _upkeep(house: House, now: int) -> None:
    """What a caretaker and the makers of the lifts do in the ordinary course of things."""
    plan, rng = house.plan, house.hands
    lift = house.lifts[(now * 3 + 2) % plan.size]
    before, fault = now < plan.at - 4, plan.fault
    touchable = before or fault is None or lift is not house.lifts[plan.victim]
    if now % 9 == 4 and (before or fault != "reward_bug"):
        house.trainer.set_reward(per_second=round(rng.uniform(-0.11, -0.09), 3))
    if now % 7 == 3 and touchable:
        lift.tune(learning_rate=round(rng.uniform(0.04, 0.06), 3))
    if now % 8 == 6 and touchable:
        lift.restore(f"nightly-{200 + now}", lift._values)
    if now % 12 == 1 and (before or fault != "clock_skew"):
        house.clock.sync(f"time{rng.randint(1, 3)}", offset_minutes=rng.randint(-1, 1) or 0)
    if now % 5 == 2:
        panel = rng.randrange(FLOORS)
        house.panels[panel].log_action("replace_button", {"floor": panel, "button": "momentary"})
    if now % 10 == 5 and touchable and plan.size > 2:
        lift.turn_key("manual")
        lift._manual_until = now + 3
    for one in house.lifts:
        if one._manual_until == now:
            one._manual_until = None
            one.turn_key("automatic")


def _plant(plan: Plan, truth: Truth, house: House, now: int) -> None:
    victim = house.lifts[plan.victim]
    if plan.begins("reward_bug", now):
        house.trainer.set_reward(per_second=0.1)
        truth.seek("trainer", "set_reward", now, contains='"per_second": 0.1')
    if plan.begins("divergence", now):
        rate = round(plan.rng.uniform(2.5, 2.9), 2)
        victim.tune(learning_rate=rate)
        truth.seek(victim.agent_id, "tune", now, contains=f'"learning_rate": {rate}')
    if plan.begins("bad_restore", now):
        upside_down = {phase: dict(row) for phase, row in LEARNED.items()}
        upside_down["morning"] = {"low": -9.5, "middle": -4.0, "high": -0.5}
        upside_down["evening"] = {"low": -0.5, "middle": -4.0, "high": -9.5}
        victim.restore("nightly-012", upside_down)
        truth.seek(victim.agent_id, "restore", now, contains="nightly-012")
    if plan.begins("stuck_sensor", now):
        house.latched = plan.rng.randint(5, 11)
        what = {"floor": house.latched, "button": "latching"}
        truth.note(house.panels[house.latched].log_action("replace_button", what))
    if plan.begins("silent_agent", now):
        truth.note(victim.turn_key("manual"))
    if plan.begins("clock_skew", now):
        minutes = plan.rng.choice([660, 720, 780])
        house.clock.sync(f"time{plan.rng.randint(1, 3)}", offset_minutes=minutes)
        truth.seek("clock", "sync", now, contains=f'"offset_minutes": {minutes}')


WORLD = World(
    name="lifts",
    run=run,
    prefix="lift",
    sizes=(3, 6),
    ticks=(90, 140),
    complaints={
        "reward_bug": "people wait much longer for a lift than in the first days, although the lifts are still learning",
        "divergence": "what {victim} has learned makes no sense any more, the values are enormous",
        "bad_restore": "{victim} used to be a good one, now it waits at the wrong end of the house",
        "stuck_sensor": "the lifts run to one of the floors all the time and nobody gets in there",
        "silent_agent": "nobody has seen {victim} move for a long time",
        "clock_skew": "in the mornings people stand in the lobby and all lifts are upstairs, in the evenings the opposite",
    },
)
CALM = World(
    name="lifts_hotel",
    run=partial(run, calls_per_lift=1.0),
    prefix="lift",
    sizes=(3, 8),
    ticks=(80, 130),
    complaints={
        "suspects_agent": "guests complain about {victim}, has anything been done to it?",
        "suspects_learning": "I think the lifts have unlearned something since tick {when}",
        "suspects_waits": "why do people wait longer at some times of the day?",
    },
)
