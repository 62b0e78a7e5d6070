"""Six junctions of a road learn to set their lights by Q-learning, each with a detector of its own."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, LearningLogger, PerformanceLogger, SystemLogger, instrument, tick
from benchmarks.fault_simulations.kit import Fault, pick

TICKS = 168
NAMES = [f"junction_{i}" for i in range(1, 7)]
PHASES = ("ns", "ew")
SETUP = {"fault": ""}


class Junction:
    """Lights of a crossing, with a table of values that starts from a model of the city."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.dice = random.Random(f"{seed}{name}")
        self.learning = LearningLogger("q_learning", name, "junction")
        self.log = AgentLogger(name, "junction")
        self.counts = {"ns": 0, "ew": 0}
        self.phase = "ns"
        self.epsilon, self.alpha = 0.15, 0.3
        self.values: dict[tuple[int, int], dict[str, float]] = {}
        self.platoon = 0
        self.earned = 0.0

    def state(self) -> tuple[int, int]:
        """Return the two queues in classes of three cars."""
        return min(self.counts["ns"] // 3, 6), min(self.counts["ew"] // 3, 6)

    def row(self, state: tuple[int, int]) -> dict[str, float]:
        """Return the values of a state."""
        ns, ew = state
        return self.values.setdefault(state, {"ns": 0.5 * (ns - ew), "ew": 0.5 * (ew - ns)})

    def choose(self, counts: dict[str, int], platoon: int) -> str:
        """Choose the next phase; a platoon that comes from the left holds the green."""
        self.counts, self.platoon = dict(counts), platoon
        values = self.row(self.state())
        explore, any_phase = self.dice.random() < self.epsilon, self.dice.choice(PHASES)
        if platoon >= 4 and self.phase == "ew":
            return "ew"
        return any_phase if explore else max(PHASES, key=values.__getitem__)

    def learn(self, state: tuple[int, int], phase: str, reward: float) -> float:
        """Move the value of what was done towards what it brought."""
        values = self.row(state)
        goal = reward + 0.6 * max(self.row(self.state()).values())
        values[phase] = round(values[phase] + self.alpha * (goal - values[phase]), 4)
        return values[phase]


instrument(Junction, ["choose", "learn"], agent_role="junction", ignore=["values", "dice", "learning", "log"])


class Road:
    """The traffic between the junctions."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.junctions = [Junction(name, seed) for name in NAMES]
        self.queues = {name: {"ns": 3, "ew": 3} for name in NAMES}
        self.outflow = dict.fromkeys(NAMES, 0)
        self.detectors = {
            name: AgentLogger(name.replace("junction", "detector"), "detector") for name in NAMES
        }
        self.seen = {name: {"ns": 3, "ew": 3} for name in NAMES}
        self.memo: dict[str, int] = {}
        self.waits: dict[str, list[int]] = {name: [] for name in NAMES}

    def arrive(self) -> None:
        """Let cars come from outside."""
        for i, name in enumerate(NAMES):
            self.queues[name]["ns"] += self.rng.choice([0, 1, 1, 2, 3])
            west = self.rng.choice([0, 1, 2, 2, 3])
            self.queues[name]["ew"] += west if i == 0 else self.outflow[NAMES[i - 1]]

    def detect(self, now: int) -> None:
        """Send the counts of the loops in the road to the junctions."""
        for junction in self.junctions:
            name = junction.name
            if SETUP["fault"] == "silent_detector" and name == "junction_4" and now >= 62:
                continue
            counts = dict(self.queues[name])
            if self.rng.random() < 0.02:
                self.detectors[name].warning("loop reset by itself", extra={"tick": now})
            junction.log.receive(self.detectors[name].send(name, counts))
            self.seen[name] = counts

    def neighbour(self, i: int, now: int) -> int:
        """Return how many cars the junction on the left lets go, as this one believes."""
        if i == 0:
            return 0
        if SETUP["fault"] == "stale_platoon" and i == 4 and now > 55:
            if self.memo.get("value", 0) < 4:
                self.memo["value"] = self.outflow[NAMES[i - 1]]
            return self.memo["value"]
        return self.outflow[NAMES[i - 1]]

    def drive(self, i: int, phase: str) -> None:
        """Serve the green queue unless the next junction is full."""
        junction, queue = self.junctions[i], self.queues[NAMES[i]]
        changed = phase != junction.phase
        room = 6 if i == 5 or phase == "ns" or self.queues[NAMES[i + 1]]["ew"] < 24 else 1
        gone = min(queue[phase], 2 if changed else 6, room)
        queue[phase] -= gone
        self.outflow[junction.name] = gone if phase == "ew" else 0
        junction.phase = phase

    def step(self, now: int) -> None:
        """Play one cycle."""
        self.arrive()
        self.detect(now)
        choices = []
        for i, junction in enumerate(self.junctions):
            phase = junction.choose(self.seen[junction.name], self.neighbour(i, now))
            choices.append((junction.state(), phase))
        for i in range(6):
            self.drive(i, choices[i][1])
        for junction, (state, phase) in zip(self.junctions, choices, strict=True):
            waiting = sum(self.queues[junction.name].values())
            self.waits[junction.name].append(waiting)
            reward = -waiting / 3
            if SETUP["fault"] == "reward" and junction.name == "junction_3" and now >= 45:
                reward = 5.0 * (self.outflow[junction.name] - 2)
            junction.earned = round(junction.earned + reward, 2)
            junction.learn(state, phase, round(reward, 2))
            if now % 3 == 0:
                junction.learning.log_reward(phase, round(reward, 2), junction.earned)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Drive and learn for a day."""
    SETUP["fault"] = fault
    road, gauge, system = Road(seed), PerformanceLogger("control_centre"), SystemLogger("road")
    system.log_simulation_start("day", {"junctions": 6, "alpha": 0.3, "epsilon": 0.15})
    for now in range(TICKS):
        with tick(now):
            if now == 50:
                for junction in road.junctions:
                    wrong = fault == "epsilon" and junction.name == "junction_2"
                    new = 0.95 if wrong else 0.05
                    junction.log.log_strategy_update(
                        "epsilon", junction.epsilon, new, "less exploration by day"
                    )
                    junction.epsilon = new
            if now == 140:
                system.log_config("alpha", 0.3, 0.2)
                for junction in road.junctions:
                    junction.alpha = 0.2
            road.step(now)
            if now % 5 == 0:
                gauge.log_metric("cars_waiting", sum(sum(q.values()) for q in road.queues.values()), "cars")
    late = {name: round(sum(w[120:]) / len(w[120:]), 1) for name, w in road.waits.items()}
    return {"late": late, "total": round(sum(late.values()), 1)}


def _grew(name: str, by: float) -> Any:
    return lambda f, h: f["late"][name] > h["late"][name] + by


def _stale(event: Any, events: Any) -> bool:
    """Whether the platoon that was believed differs from the phase the left junction really had."""
    left = [e for e in events if e.agent == "junction_4" and e.act == "choose" and e.tick == event.tick - 1]
    return event.args["platoon"] >= 4 and left[0].result == "ns"


FAULTS = {
    "silent_detector": Fault(
        "Cars are stuck at junction_4 in the second half of the day, the lights just do not change",
        _grew("junction_4", 6),
        lambda events: (
            pick(events, "detector_4", tick=61, where=lambda e: e.kind == "agent_message")
            + pick(events, "junction_4", "choose", tick=lambda now: now >= 62)
        ),
    ),
    "stale_platoon": Fault(
        "why does junction_5 hardly ever give green to the side streets?",
        _grew("junction_5", 15),
        lambda events: pick(
            events, "junction_5", "choose", lambda now: now > 56, lambda e: _stale(e, events)
        ),
    ),
    "reward": Fault(
        "the side streets near junction_3 were jammed all afternoon, why did it not learn to serve them?",
        _grew("junction_3", 8),
        lambda events: pick(events, "junction_3", "learn", lambda now: now >= 45),
    ),
    "epsilon": Fault(
        "Why are there so many more cars waiting on the whole road from tick 60 on?",
        lambda f, h: f["total"] > h["total"] + 6,
        lambda events: pick(events, "junction_2", "strategy_update"),
    ),
}
