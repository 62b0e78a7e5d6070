"""Async money changers quote currencies to each other; a ring of callbacks spreads price updates."""
import asyncio
import functools
import math
import os
import random

from Agent import LearningLogger, setup_logging, tick, trace_agent_action
from oracle import watch

CURRENCIES = ("EUR", "NOK", "PLN", "CHF")


class Bus:
    def __init__(self):
        self.handlers = {}

    def on(self, topic, handler):
        self.handlers.setdefault(topic, []).append(handler)

    async def emit(self, topic, *args):
        return [await handler(*args) for handler in self.handlers.get(topic, [])]


class Changer:
    def __init__(self, agent_id, spread, seed):
        self.agent_id = agent_id
        self.learning = LearningLogger("quote", agent_id)
        self.spread = spread
        self.rng = random.Random(seed)
        self.vault = dict.fromkeys(CURRENCIES, 1000.0)
        self.rates = {"EUR": 1.0, "NOK": 0.087, "PLN": 0.23, "CHF": 1.04}
        self.watchlist = {c: {"high": r, "low": r, "moves": []} for c, r in self.rates.items()}

    def subscribe(self, bus):
        for currency in CURRENCIES[1:]:
            bus.on(currency, functools.partial(self.rate_changed, currency))

    @trace_agent_action()
    @watch
    async def rate_changed(self, currency, rate):
        await asyncio.sleep(0)
        page = self.watchlist[currency]
        move = math.log(rate / self.rates[currency])
        page["moves"].append(round(move, 8))
        del page["moves"][:-5]
        page["high"], page["low"] = max(page["high"], rate), min(page["low"], rate)
        self.rates[currency] = rate
        if sum(m > 0 for m in page["moves"]) == 5:
            self.spread = round(self.spread * 1.01, 6)
        return round(sum(page["moves"]), 6)

    @trace_agent_action()
    @watch
    async def quote(self, sell, buy, amount):
        if sell == buy:
            raise ValueError(f"{self.agent_id} does not change {sell} into itself")
        value = amount * self.rates[sell] / self.rates[buy]
        nerves = abs(sum(self.watchlist[buy]["moves"]))
        price = round(value * (1 - self.spread - nerves / 4), 4)
        if price > self.vault[buy]:
            return None
        return price

    @trace_agent_action()
    @watch
    async def trade(self, sell, buy, amount, price):
        self.vault[sell] = round(self.vault[sell] + amount, 4)
        self.vault[buy] = round(self.vault[buy] - price, 4)
        worth = sum(self.vault[c] * self.rates[c] for c in CURRENCIES)
        poorest = min(self.vault, key=self.vault.get)
        if self.vault[poorest] < 400 and self.rng.random() < 0.5:
            self.vault = {poorest: self.vault.pop(poorest) + 50, **self.vault}
        self.learning.log_reward("trade", reward=round(worth, 2), cumulative_reward=round(worth, 2))
        return round(worth, 3)


def offices():
    rows = [("airport", 0.05, 1), ("station", 0.03, 2), ("mall", 0.02, 3)]
    return {row[0]: Changer(*row) for row in rows}


def build(spec):
    changers = offices()
    return changers if spec.agent_id is None else changers[spec.agent_id]


async def day(changers, rng):
    bus = Bus()
    for changer in changers.values():
        changer.subscribe(bus)
    world = {"NOK": 0.087, "PLN": 0.23, "CHF": 1.04}
    for minute in range(90):
        with tick(minute):
            currency = rng.choice(CURRENCIES[1:])
            world[currency] = round(world[currency] * math.exp(rng.gauss(0.002, 0.01)), 6)
            await bus.emit(currency, world[currency])
            sell, buy = rng.choice(CURRENCIES), rng.choice(CURRENCIES)
            amount = rng.randint(10, 60)
            offers = await asyncio.gather(*(c.quote(sell, buy, amount) for c in changers.values()), return_exceptions=True)
            good = [(o, n) for o, n in zip(offers, changers) if isinstance(o, float)]
            if good:
                price, name = max(good)
                await changers[name].trade(sell, buy, amount, price)
            elif minute < 30:
                print(minute, offers[0])
    for changer in changers.values():
        print(changer.agent_id, changer.spread, changer.vault)


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(day(offices(), random.Random(500)))


if __name__ == "__main__":
    main()
