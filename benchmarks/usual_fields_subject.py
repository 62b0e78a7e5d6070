"""Agents with the fields that simulations and LLM agents usually have: `usual_fields_subject.py CLASS HOW STEPS DIRECTORY`.

HOW is `none`, `eliot` or `ours`. The last line is the processor time, in seconds, of the second half of the steps.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import random
import sys
import time
import uuid
from typing import Any

import numpy as np

AGENTS = 20


class Goal(enum.Enum):
    """What an agent is up to."""

    EAT = 1
    REST = 2


@dataclasses.dataclass
class Item:
    """Something in stock."""

    name: str
    price: float
    amount: int = 1


class World:
    """What all agents share."""

    def __init__(self) -> None:
        self.time = 0
        self.grid = [[0] * 20 for _ in range(20)]
        self.agents: list[Agent] = []
        self.prices = {"a": 1.0, "b": 2.0}


class Agent:
    """An agent of the shared world."""

    agent_role = "usual"

    def __init__(self, number: int, world: World) -> None:
        self.agent_id, self.world, self.rng = f"agent_{number}", world, random.Random(number)
        self.fields: Any = None
        self.mood = 0
        self.set_up()

    def set_up(self) -> None:
        """Make the fields."""

    def step(self, number: int) -> Any:
        """Change some of them."""


class Messages(Agent):
    """A growing list of messages."""

    def set_up(self) -> None:
        self.fields = []

    def step(self, number: int) -> Any:
        self.fields.append({"role": "user", "content": f"message {number} " + "x" * 80})
        return len(self.fields)


class Window(Agent):
    """A deque of the last 20 pairs."""

    def set_up(self) -> None:
        self.fields = collections.deque(maxlen=20)

    def step(self, number: int) -> Any:
        self.fields.append((number, self.rng.random()))
        return number


class ValuesByPair(Agent):
    """A defaultdict of 120 values by (state, action)."""

    def set_up(self) -> None:
        self.fields = collections.defaultdict(float)

    def step(self, number: int) -> Any:
        self.fields[number % 30, number % 4] += 1
        return number


class ValuesInArray(Agent):
    """An array of 50 x 4 values."""

    def set_up(self) -> None:
        self.fields = np.zeros((50, 4))

    def step(self, number: int) -> Any:
        self.fields[number % 50, number % 4] += 0.5
        return float(self.fields.max())


class Stock(Agent):
    """A list of ten dataclasses."""

    def set_up(self) -> None:
        self.fields = [Item(f"item {number}", number * 1.5) for number in range(10)]

    def step(self, number: int) -> Any:
        self.fields[number % 10].amount += 1
        self.mood -= 1
        return self.mood


class Beliefs(Agent):
    """A dict of twelve dicts, and a member of an enum."""

    def set_up(self) -> None:
        self.fields = {f"belief {number}": {"p": 0.5, "seen": 0, "from": ["x"]} for number in range(12)}
        self.goal = Goal.EAT

    def step(self, number: int) -> Any:
        belief = self.fields[f"belief {number % 12}"]
        belief["p"] = self.rng.random()
        belief["seen"] += 1
        self.goal = Goal.REST if number % 2 else Goal.EAT
        return self.goal


class Friends(Agent):
    """A list of other agents, which it writes to."""

    def set_up(self) -> None:
        self.fields, self.trust = [], {}

    def step(self, number: int) -> Any:
        if len(self.fields) < 8:
            self.fields.append(self.rng.choice(self.world.agents))
        friend = self.rng.choice(self.fields)
        self.trust[friend.agent_id] = self.rng.random()
        friend.mood = number
        return friend


class Walker(Agent):
    """A place in a grid of the world, which it writes to."""

    def set_up(self) -> None:
        self.fields = 0

    def step(self, number: int) -> Any:
        self.world.grid[self.fields][0] -= 1
        self.fields = (self.fields + 1) % 20
        self.world.grid[self.fields][0] += 1
        self.world.time += 1
        return self.fields, 0


class Orders(Agent):
    """Its last five orders with UUIDs, and a Decimal."""

    def set_up(self) -> None:
        self.fields, self.cash, self.due = [], decimal.Decimal(100), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def step(self, number: int) -> Any:
        order = {"id": uuid.UUID(int=self.rng.getrandbits(128)), "price": self.world.prices["a"]}
        self.fields = [*self.fields[-4:], order]
        self.cash -= decimal.Decimal("0.5")
        self.world.prices["a"] *= 1.01
        return order


class Visited(Agent):
    """A set of 105 places."""

    def set_up(self) -> None:
        self.fields = set()

    def step(self, number: int) -> Any:
        place = (number % 15, number % 7)
        self.fields.add(place)
        return place


class Plan(Agent):
    """A plan of dicts with tuples, and a memory of 40 of them."""

    def set_up(self) -> None:
        self.fields, self.memory = [], {}

    def step(self, number: int) -> Any:
        if not self.fields:
            self.fields = [{"do": "go", "to": (number, place)} for place in range(5)]
        act = self.fields.pop(0)
        self.memory[number % 40] = act
        return act


CLASSES: dict[str, type[Agent]] = {
    cls.__name__: cls
    for cls in (
        *(
            Messages,
            Window,
            ValuesByPair,
            ValuesInArray,
            Stock,
            Beliefs,
            Friends,
            Walker,
            Orders,
            Visited,
            Plan,
        ),
    )
}


def main(name: str, how: str, steps: int, directory: str) -> None:
    """Run it, and print what it took."""
    cls = CLASSES[name]
    if how == "ours":
        from Agent import instrument, setup_logging

        setup_logging(trace_root=directory)
        instrument(cls, methods=["step"])
    elif how == "eliot":
        import eliot

        log = open(f"{directory}/eliot.log", "ab")  # noqa: SIM115 - open until the process ends
        eliot.add_destinations(eliot.FileDestination(file=log))
        cls.step = eliot.log_call(cls.step, include_args=["number"])  # type: ignore[method-assign]
    world = World()
    world.agents = [cls(number, world) for number in range(AGENTS)]
    began = 0.0
    for number in range(steps):
        if number == steps // 2:
            began = time.process_time()
        for agent in world.agents:
            agent.step(number)
        world.time += 1
    print(time.process_time() - began)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
