"""The simulation of `benchmarks.bisection`: walkers on a ring that push each other."""

from __future__ import annotations

import math
import random

from Agent import tick
from Agent.utils import AgentLogger, trace_agent_action


class Walker:
    """Walks by chance; where it stands pushes whoever comes next on the ring."""

    def __init__(self, agent_id: str, seed: str) -> None:
        self.agent_id = agent_id
        self.agent_role = "walker"
        self.chance = random.Random(seed)
        self.logger = AgentLogger(agent_id, "walker")
        self.place = 0.0
        self.steps = 0
        self.length = 1.0

    @trace_agent_action
    def step(self, push: float) -> float:
        """One step; the decision is told, too."""
        way = self.chance.gauss(0.0, self.length) + math.sin(push)
        self.logger.log_decision("direction", {"way": round(way, 6)}, "by chance")
        self.place += way
        self.steps += 1
        return self.place


class Ring:
    """All walkers; `change` is what another version of the program does at one tick to one of them."""

    def __init__(self, agents: int, change: tuple[int, str, float] | None = None) -> None:
        self.walkers = {name: Walker(name, f"seed of {name}") for name in _names(agents)}
        self.change = change
        self.number = 0

    def tick(self) -> None:
        """Each walker steps, pushed by the one before it."""
        if self.change is not None and self.number == self.change[0]:
            self.walkers[self.change[1]].length = self.change[2]
        push = next(reversed(self.walkers.values())).place
        with tick(self.number):
            for walker in self.walkers.values():
                push = walker.step(push)
        self.number += 1


def _names(agents: int) -> list[str]:
    return [f"walker_{number:03d}" for number in range(agents)]
