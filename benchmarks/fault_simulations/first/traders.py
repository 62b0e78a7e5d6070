"""A crowd of traders that learn which analyst to follow, on a small exchange."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, LearningLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
STOCKS = ("ALFA", "BRIX", "CORE", "DELT")
TIPSTERS = ("momentum", "value", "noise")
DAYS = 90


class Exchange:
    """Sets prices from the balance of orders, and publishes a ticker."""

    def __init__(self, rng: random.Random) -> None:
        self.log = AgentLogger("exchange", "exchange")
        self.rng = rng
        self.prices = dict.fromkeys(STOCKS, 100.0)
        self.history: dict[str, list[float]] = {stock: [100.0] for stock in STOCKS}
        self.worth = dict.fromkeys(STOCKS, 100.0)
        self.book: dict[str, int] = defaultdict(int)
        self.accounts: dict[tuple[str, str], int] = defaultdict(int)

    def execute(self, trader: str, stock: str, amount: int, number: int) -> float:
        """Fill an order at the price of the day."""
        self.book[stock] += amount
        self.accounts[trader, stock] += amount
        price = self.prices[stock]
        data = {"order": number, "trader": trader, "stock": stock, "amount": amount, "price": price}
        self.log.log_action("fill", data)
        return price

    def close(self, day: int) -> None:
        """Move the prices at the end of the day."""
        for stock in STOCKS:
            self.worth[stock] *= 1 + self.rng.gauss(0.001, 0.014)
            past = self.history[stock]
            trend = past[-1] / past[max(-4, -len(past))] - 1
            gap = max(-0.2, min(0.2, self.worth[stock] / self.prices[stock] - 1))
            pull = 0.5 * gap if day >= 50 else 0.03 * gap + max(-0.01, min(0.01, 0.4 * trend))
            push = max(-0.003, min(0.003, self.book[stock] / 20000))
            old = self.prices[stock]
            self.prices[stock] = round(old * (1 + pull + push + self.rng.gauss(0, 0.006)), 2)
            self.history[stock].append(self.prices[stock])
        self.log.log_state_change({"volume": dict(self.book)}, {"prices": dict(self.prices)}, trigger="close")
        self.book.clear()


class Tipster:
    """An analyst who names a stock to buy and one to sell each morning."""

    def __init__(self, style: str, exchange: Exchange, rng: random.Random) -> None:
        self.style, self.exchange, self.rng = style, exchange, rng
        self.log = AgentLogger(f"tip_{style}", "tipster")
        self.snapshot = dict(exchange.prices)

    def advise(self, day: int) -> tuple[str, str]:
        """Rank the stocks."""
        if not ("stale" in BROKEN and self.style == "value" and day >= 30):
            self.snapshot = dict(self.exchange.prices)
        if self.style == "value":
            score = {stock: self.exchange.worth[stock] / self.snapshot[stock] for stock in STOCKS}
        elif self.style == "momentum":
            past = self.exchange.history
            score = {stock: past[stock][-1] / past[stock][max(-4, -len(past[stock]))] for stock in STOCKS}
        else:
            score = {stock: self.rng.random() for stock in STOCKS}
        ranked = sorted(STOCKS, key=lambda stock: score[stock])
        seen = {stock: round(price, 2) for stock, price in self.snapshot.items()}
        self.log.log_decision(
            "tip", {"buy": ranked[-1], "sell": ranked[0], "prices": seen}, f"{self.style} ranking"
        )
        return ranked[-1], ranked[0]


class Trader:
    """Follows one tipster a day, chosen by a bandit with a small share of exploration."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name, self.rng = name, rng
        self.log = AgentLogger(name, "trader")
        self.learning = LearningLogger("bandit", name, "trader")
        self.trust = dict.fromkeys(TIPSTERS, 0.0)
        self.rate = 0.1
        self.epsilon = 0.2
        self.cash, self.shares = 10_000.0, dict.fromkeys(STOCKS, 20)
        self.following = ""
        self.entered: dict[str, float] = {}
        self.orders = 0

    def choose(self) -> str:
        """Pick a tipster."""
        explore = self.rng.random() < self.epsilon
        dice = self.rng.choice(TIPSTERS)
        self.following = dice if explore else max(TIPSTERS, key=lambda style: self.trust[style])
        self.learning.log_exploration_exploitation(self.following, explore, self.epsilon)
        return self.following

    def trade(self, exchange: Exchange, tip: tuple[str, str], timeout: bool) -> None:
        """Place both orders; the line to the exchange times out now and then."""
        self.entered = {tip[0]: exchange.prices[tip[0]], tip[1]: exchange.prices[tip[1]]}
        for stock, amount in ((tip[0], 6), (tip[1], -6)):
            if amount < 0 and self.shares[stock] < 6:
                continue
            if amount > 0 and self.cash < 6 * exchange.prices[stock]:
                continue
            self.orders += 1
            times = 1
            if timeout and amount > 0:
                self.log.warning(
                    "no answer from the exchange, asking for the order", extra={"order": self.orders}
                )
                times = 2 if "resent" in BROKEN and self.name == "t07" and self.orders > 30 else 1
            for _ in range(times):
                paid = exchange.execute(self.name, stock, amount, self.orders)
            self.cash = round(self.cash - amount * paid, 2)
            self.shares[stock] += amount

    def learn(self, prices: dict[str, float], fee: float) -> float:
        """Update the trust in today's tipster by the return of the day."""
        bought, sold = (100 * (prices[stock] / price - 1) for stock, price in self.entered.items())
        reward = round(bought - sold - fee, 4)
        if "reward" in BROKEN and fee > 0.1 and self.name in {"t01", "t03", "t06"}:
            reward = round(sold - bought - fee, 4)
        old = self.trust[self.following]
        self.trust[self.following] = round(old + self.rate * (reward - old), 5)
        self.learning.log_reward(self.following, reward)
        update = {"tipster": self.following, "old": old, "new": self.trust[self.following], "rate": self.rate}
        self.learning.log_learning_update("trust", update)
        return reward

    def adjust(self, rate: float, day: int) -> None:
        """Take a new learning rate."""
        if "rate" in BROKEN:
            rate /= 100
        old, self.rate = self.rate, rate
        self.log.log_strategy_update(
            "learning_rate", {"rate": old}, {"rate": rate}, reason=f"review of day {day}"
        )


def run(seed: int, fault: str) -> dict[str, Any]:
    """Trade for ninety days."""
    BROKEN.clear()
    BROKEN.add(fault)
    exchange = Exchange(random.Random(seed))
    tipsters = {name: Tipster(name, exchange, random.Random(f"{name}{seed}")) for name in TIPSTERS}
    traders = [Trader(f"t{n:02}", random.Random(100 * seed + n)) for n in range(10)]
    lines = random.Random(f"lines{seed}")
    market, gauge = SystemLogger("market"), PerformanceLogger("crowd")
    late: dict[str, list[str]] = defaultdict(list)
    fee = 0.05
    for day in range(DAYS):
        with tick(day):
            if day == 22:
                market.log_config("fee", fee, 0.12)
                fee = 0.12
            if day == 35:
                for trader in traders:
                    trader.adjust(0.15, day)
            tips = {name: tipster.advise(day) for name, tipster in tipsters.items()}
            for trader in traders:
                style = trader.choose()
                if day >= 65:
                    late[trader.name].append(style)
                trader.trade(exchange, tips[style], timeout=lines.random() < 0.12)
            gauge.log_metric("volume", sum(abs(amount) for amount in exchange.book.values()), "shares")
            exchange.close(day)
            for trader in traders:
                trader.learn(exchange.prices, fee)
    owned = {trader.name: sum(trader.shares.values()) for trader in traders}
    booked = {name: 80 + sum(n for (who, _), n in exchange.accounts.items() if who == name) for name in owned}
    follow = {name: sum(style == "value" for style in styles) for name, styles in late.items()}
    market.log_checkpoint("settlement", {"owned": owned, "booked": booked})
    return {
        "follow": follow,
        "value": sum(follow.values()),
        "gap": {name: booked[name] - owned[name] for name in owned},
    }


def _odd_ones(outcome: dict[str, Any]) -> int:
    return sum(outcome["follow"][name] for name in ("t01", "t03", "t06"))


def _sent_again(events: Sequence[Event]) -> list[str]:
    found, last = [], None
    for event in events:
        if event.act == "fill":
            if last and last.args == event.args:
                found += [last.id, event.id]
            last = event
    return found[:6]


FAULTS = {
    "stale": Fault(
        "nobody follows tip_value at the end, although it used to be good advice once the trend was over",
        lambda f, h: f["value"] < 0.8 * h["value"],
        lambda events: pick(events, "tip_value", "tip", tick=lambda day: day >= 30),
    ),
    "resent": Fault(
        "At the settlement t07 has fewer shares in its own books than the exchange has booked for it.",
        lambda f, h: f["gap"]["t07"] > h["gap"]["t07"],
        _sent_again,
    ),
    "reward": Fault(
        "why do t01, t03 and t06 stick to bad tips until the end, while the others learned better?",
        lambda f, h: _odd_ones(f) < 0.6 * _odd_ones(h),
        lambda events: [
            identity
            for name in ("t01", "t03", "t06")
            for identity in pick(events, name, where=lambda e: "reward" in e.record["extra"] and e.tick >= 22)
        ],
    ),
    "rate": Fault(
        "The crowd still follows the old favourites in the last three weeks, weeks after the market changed",
        lambda f, h: f["value"] < 0.8 * h["value"],
        lambda events: pick(events, where=lambda e: "learning_rate" in str(e.record)),
    ),
}
