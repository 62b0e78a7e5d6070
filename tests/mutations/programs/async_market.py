"""Three traders and an exchange, each a coroutine."""

import asyncio
import random
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from Agent import setup_logging, shutdown_logging, tick, trace_agent_action


class Side(Enum):
    BUY = "buy"
    SELL = "sell"


@dataclass
class Order:
    trader: str
    side: Side
    price: Decimal
    amount: int = 1
    tags: set = field(default_factory=set)


class Exchange:
    agent_role = "exchange"

    def __init__(self):
        self.agent_id = "exchange"
        self.book = {Side.BUY: [], Side.SELL: []}
        self.trades = []

    @trace_agent_action()
    async def submit(self, order):
        await asyncio.sleep(0)
        other = self.book[Side.SELL if order.side is Side.BUY else Side.BUY]
        for resting in list(other):
            crosses = resting.price <= order.price if order.side is Side.BUY else resting.price >= order.price
            if crosses and resting.trader != order.trader:
                other.remove(resting)
                self.trades.append((resting.trader, order.trader, resting.price))
                return {"filled": True, "price": resting.price}
        self.book[order.side].append(order)
        return {"filled": False, "price": None}


class Trader:
    agent_role = "trader"

    def __init__(self, name, exchange, seed):
        self.agent_id = name
        self.exchange = exchange
        self.rng = random.Random(seed)
        self.cash = Decimal("100.00")
        self.stock = 5

    @trace_agent_action()
    async def trade(self, day):
        side = self.rng.choice([Side.BUY, Side.SELL])
        price = Decimal(self.rng.randrange(900, 1100)) / 100
        answer = await self.exchange.submit(Order(self.agent_id, side, price, tags={"day", str(day)}))
        if answer["filled"]:
            sign = 1 if side is Side.BUY else -1
            self.cash -= sign * answer["price"]
            self.stock += sign
        return answer["filled"]


def make():
    exchange = Exchange()
    traders = [Trader(name, exchange, seed) for seed, name in enumerate(["ann", "bob", "cid"])]
    return {"exchange": exchange, **{trader.agent_id: trader for trader in traders}}


def build(spec):
    agents = make()
    return agents[spec.agent_id] if spec.agent_id else agents


async def market():
    agents = make()
    for day in range(15):
        with tick(day):
            await asyncio.gather(*(agents[name].trade(day) for name in ("ann", "bob", "cid")))
    return agents


def main():
    setup_logging()
    agents = asyncio.run(market())
    shutdown_logging()
    print(agents["ann"].cash, agents["exchange"].trades)


if __name__ == "__main__":
    main()
