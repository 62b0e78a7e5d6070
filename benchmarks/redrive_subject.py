"""What `benchmarks.redrive` records and drives: an agent whose actions take as long as they are told to."""

from __future__ import annotations

import random
from typing import Any

from Agent.utils import trace_agent_action

WORDS = ("figs", "rye", "salt", "tea", "wool", "wax", "oats", "flax")


class Trader:
    """Each action does so many rounds of plain work, draws, and changes two fields.

    Args:
        rounds: how much work an action is.
    """

    def __init__(self, rounds: int) -> None:
        self.agent_id, self.agent_role = "trader", "trader"
        self.rng = random.Random(7)
        self.rounds = rounds
        self.cash = 1000.0
        self.stock: dict[str, int] = dict.fromkeys(WORDS, 5)

    def act(self, name: str, price: float) -> dict[str, Any]:
        total = 0
        for number in range(self.rounds):
            total = (total * 31 + number * len(name)) % 1_000_003
        amount = self.rng.randint(1, 3)
        self.stock[name] = (self.stock[name] + amount + total) % 100
        self.cash = round(self.cash - price * amount / 100, 4)
        return {"amount": amount, "total": total}


class TracedTrader(Trader):
    """The same, traced."""

    act = trace_agent_action(Trader.act)


def play(trader: Trader, actions: int) -> None:
    """So many actions, over the same arguments each time."""
    for number in range(actions):
        trader.act(WORDS[number % len(WORDS)], 1.5 + number % 7)


def build(spec: Any) -> TracedTrader:
    """The target."""
    return TracedTrader(spec.state["rounds"])
