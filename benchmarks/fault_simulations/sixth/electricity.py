"""An electricity market: producers bid, an operator clears each round, wind and demand vary."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from Agent import LearningLogger, SystemLogger, trace_agent_action
from benchmarks.fault_simulations.kit import Fault, pick

ROUNDS = 140
CALM = {44, 45, 98, 99, 128, 129}


@dataclass(eq=False)
class Producer:
    """A power station that learns how much to ask above its cost."""

    agent_id: str
    cost: float
    capacity: float
    markup: float = 4.0
    cash: float = 900.0
    agent_role: str = "producer"

    @trace_agent_action("offer")
    def offer(self, period: int, mw: float, price: float) -> list[float]:
        """Offer power for a period."""
        return [mw, price]

    @trace_agent_action("learn")
    def learn(self, period: int, reward: float, step: float) -> float:
        """Move the markup by a step towards what paid off."""
        self.markup = round(max(-14.0, min(18.0, self.markup + step)), 2)
        return self.markup

    @trace_agent_action("book")
    def book(self, period: int, amount: float) -> float:
        """Book the margin of a period."""
        self.cash = round(self.cash + amount, 2)
        return self.cash


@dataclass(eq=False)
class Exchange:
    """Keeps the bids of a period and clears them."""

    agent_id: str = "exchange"
    agent_role: str = "exchange"

    @trace_agent_action("collect")
    def collect(self, period: int, files: int) -> int:
        """Count the files that came in."""
        return files

    @trace_agent_action("merge")
    def merge(self, period: int, producer: str, versions: list[float], total: float) -> float:
        """Merge the versions of a producer's bid."""
        return total

    @trace_agent_action("clear")
    def clear(self, period: int, sold: float, price: float) -> float:
        """Publish a period's result."""
        return price


@dataclass(eq=False)
class Operator:
    """Keeps the lights on: orders reserve and sheds load if there is too little power."""

    agent_id: str = "operator"
    agent_role: str = "operator"
    settings: dict[str, float] = field(default_factory=lambda: {"risk_share": 0.04})

    @trace_agent_action("set_limit")
    def set_limit(self, name: str, value: float) -> None:
        """Set a limit of the control room."""
        self.settings[name] = value

    @trace_agent_action("review")
    def review(self, period: int, risk: float, demand: float) -> bool:
        """Tell whether so much power at risk asks for reserve."""
        return risk > demand * self.settings["risk_share"]

    @trace_agent_action("balance")
    def balance(self, period: int, delivered: float, demand: float) -> float:
        """Return how much load is shed."""
        return round(max(0.0, demand * 0.965 - delivered), 1)


@dataclass(eq=False)
class Mast:
    """Measures wind and forecasts the power of one wind park."""

    agent_id: str
    agent_role: str = "forecaster"

    @trace_agent_action("forecast")
    def forecast(self, period: int, mw: float) -> float:
        """Forecast the power of the park."""
        return mw


@dataclass(eq=False)
class Retailer:
    """Buys for its customers and pays for what is missing."""

    agent_id: str
    agent_role: str = "retailer"
    bill: float = 0.0

    @trace_agent_action("pay")
    def pay(self, period: int, mwh: float, price: float) -> float:
        """Pay for a period."""
        self.bill = round(self.bill + mwh * price, 1)
        return self.bill


class _Market:
    def __init__(self, seed: int, case: str) -> None:
        self.case, self.rng, self.noise = case, random.Random(seed), random.Random(seed + 99)
        costs = [18 + 3.6 * n for n in range(1, 11)]
        self.producers = [
            Producer(f"g{n:02d}", round(c + self.rng.uniform(-1, 1), 1), float(self.rng.randrange(74, 98)))
            for n, c in enumerate(costs, 1)
        ]
        self.masts = [Mast(f"mast_{n}") for n in (1, 2, 3)]
        self.retailers = [Retailer(f"retail_{c}") for c in "abcde"]
        self.exchange, self.operator = Exchange(), Operator()
        self.learning = {p.agent_id: LearningLogger("hill climbing", p.agent_id) for p in self.producers}
        self.last: dict[str, tuple[float, float]] = {}
        self.sold: dict[str, tuple[float, float]] = {}
        self.shed: dict[str, float] = {}

    def _wind(self, period: int) -> list[float]:
        usual = 55 + 18 * math.sin(period / 9) + self.noise.uniform(-5, 5)
        calm = 0.35 if period in CALM else 1.0
        return [round(usual * calm * self.noise.uniform(0.92, 1.08), 1) for _ in self.masts]

    def _learn(self, producer: Producer, period: int, sold: float, asked: float) -> None:
        margin = round(sold * (asked - producer.cost), 1)
        flipped = self.case == "reward" and producer.agent_id == "g05" and period >= 50
        reward = -margin if flipped else margin
        before, move = self.last.get(producer.agent_id, (reward, 0.3))
        step = -0.6 if sold < 1 else move if reward >= before else -move
        self.learning[producer.agent_id].log_reward("offer", reward, round(producer.cash, 1))
        producer.learn(period, reward, step)
        self.last[producer.agent_id] = (reward, 0.3 if step > 0 else -0.3)
        producer.book(period, margin)

    def play(self) -> dict[str, Any]:
        system = SystemLogger("market")
        system.log_init("market", {"producers": len(self.producers), "rounds": ROUNDS})
        for period in range(ROUNDS):
            if period % 40 == 20:
                self.operator.set_limit("ramp", round(self.rng.uniform(20, 30), 1))
            if period == 104:
                self.operator.set_limit("risk_share", 0.42 if self.case == "limit" else 0.042)
            if period == 88:
                system.log_milestone("eclipse", {"minutes": 6})
            if self.rng.random() < 0.06:
                system.warning("a bid file came late and was fetched again", {"period": period})
            self._period(period)
        shed = self.shed
        return {
            "shed": shed, "shed_total": round(sum(shed.values()), 1),
            "cash_g05": self.producers[4].cash, "bills": {r.agent_id: r.bill for r in self.retailers},
        }  # fmt: skip

    def _period(self, period: int) -> None:
        demand = round(720 + 70 * math.sin(period / 7) + self.noise.uniform(-12, 12), 1)
        wind = self._wind(period)
        hidden = 2.0 if period in CALM else 1.0  # a calm is seen too late
        shown = [round(w * self.noise.uniform(0.97, 1.03) * hidden, 1) for w in wind]
        if self.case == "mast" and period >= 36:
            shown[1] = round(shown[1] * (1 + 0.007 * (period - 36)), 1)
        for mast, mw in zip(self.masts, shown, strict=True):
            mast.forecast(period, mw)
        offers = []
        amended = {self.producers[(period * 7) % 10].agent_id, self.producers[(period * 3 + 2) % 10].agent_id}
        self.exchange.collect(period, len(self.producers) + len(amended))
        for producer in self.producers:
            mw, price = producer.capacity, round(producer.cost + producer.markup, 2)
            producer.offer(period, mw, price)
            if producer.agent_id in amended:
                lower = round(mw * 0.9, 1)
                both = self.case == "versions" and 110 <= period
                total = round(mw + lower, 1) if both else lower
                self.exchange.merge(period, producer.agent_id, [mw, lower], total)
                offers.append((price, producer, total, lower))
            else:
                offers.append((price, producer, mw, mw))
        offers.sort(key=lambda o: (o[0], o[1].agent_id))
        wanted, price, sold, delivered = demand - sum(shown), 20.0, 0.0, sum(wind)
        for asked, producer, mw, real in offers:
            taken = max(0.0, min(mw, wanted - sold))
            if taken > 0:
                price = asked
            sold += taken
            producer_sold = min(taken, real)
            delivered += producer_sold
            self.sold[producer.agent_id] = (round(producer_sold, 1), asked)
        self.exchange.clear(period, round(sold, 1), price)
        for producer in self.producers:
            self._learn(producer, period, *self.sold[producer.agent_id])
        risk = round(sum(shown) * (0.45 if period in CALM else 0.06), 1)
        if self.operator.review(period, risk, demand):
            delivered += 64.0
        shed = self.operator.balance(period, round(delivered, 1), demand)
        if shed > 0:
            self.shed[str(period)] = shed
        share = round(demand / 5, 1)
        for retailer in self.retailers:
            retailer.pay(period, share, round(price + (40.0 if shed else 0.0), 2))


def run(seed: int, fault: str) -> Mapping[str, Any]:
    """Play all rounds of the market."""
    return _Market(seed, fault).play()


def _shed(outcome: Mapping[str, Any], first: int) -> int:
    return sum(int(period) >= first for period in outcome["shed"])


FAULTS = {
    "versions": Fault(
        "From period 110 on the lights go out again and again although plenty of power was bought.",
        lambda faulty, healthy: _shed(faulty, 110) >= _shed(healthy, 110) + 8,
        lambda events: pick(
            events, "exchange", "merge",
            where=lambda e: e.args["period"] >= 110 and e.args["total"] > e.args["versions"][0],
        ),
    ),
    "reward": Fault(
        "One of our cheapest stations ran day and night and still its account is deep in the red at the end.",
        lambda faulty, healthy: faulty["cash_g05"] < 0 < healthy["cash_g05"],
        lambda events: pick(
            events, "g05", "reward", where=lambda e: _is_flipped(e.record["extra"])
        ),
    ),
    "limit": Fault(
        "Blackout in periods 128 and 129 when the wind dropped. The calms before were no trouble at all.",
        lambda faulty, healthy: "128" in faulty["shed"] and "128" not in healthy["shed"],
        lambda events: pick(
            events, "operator", "set_limit", where=lambda e: e.args.get("name") == "risk_share"
        ),
    ),
    "mast": Fault(
        "Small outages nearly every period by the end of the week; retail_c asks why it pays the penalty each time.",
        lambda faulty, healthy: _shed(faulty, 100) >= _shed(healthy, 100) + 8,
        lambda events: pick(
            events, "mast_2", "forecast", where=lambda e: e.args["period"] >= 37
        ),
    ),
}  # fmt: skip


def _is_flipped(extra: Mapping[str, Any]) -> bool:
    return extra["reward"] < 0
