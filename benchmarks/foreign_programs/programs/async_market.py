"""Farmers' market with asyncio: sellers and buyers talk over queues, a broker task pairs them."""
import asyncio
import os
import random
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch

CENT = Decimal("0.01")


def money(value):
    return Decimal(str(value)).quantize(CENT, rounding=ROUND_HALF_UP)


@dataclass
class Offer:
    seller: str
    good: str
    price: Decimal
    day: int


@dataclass
class Seller:
    agent_id: str
    goods: dict
    seed: int
    cash: Decimal = Decimal("0.00")
    unsold: dict = field(default_factory=dict)

    def __post_init__(self):
        self.rng = random.Random(self.seed)

    @trace_agent_action()
    @watch
    async def price(self, good, day):
        await asyncio.sleep(0)
        base = self.goods[good]
        streak = self.unsold.get(good, 0)
        factor = Decimal(1) - Decimal("0.04") * min(streak, 6)
        asked = money(base * factor * Decimal(str(round(self.rng.uniform(0.9, 1.15), 3))))
        return asked

    @trace_agent_action()
    @watch
    async def settle(self, good, price):
        if price is None:
            self.unsold[good] = self.unsold.get(good, 0) + 1
            return self.unsold[good]
        self.cash += price - money(price * Decimal("0.035"))
        self.unsold.pop(good, None)
        if self.cash > 120:
            self.goods[good] = money(self.goods[good] * Decimal("1.01"))
        return 0


class Buyer:
    def __init__(self, agent_id, purse, needs, seed):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "buyer")
        self.purse = money(purse)
        self.needs = list(needs)
        self.paid = {}
        self.rng = random.Random(seed)
        self.inbox = asyncio.Queue()

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "inbox"}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.inbox = asyncio.Queue()

    @trace_agent_action()
    @watch
    async def consider(self, seller, good, price):
        if good not in self.needs:
            return False
        usual = self.paid.get(good, [])
        if usual and price > max(usual[-3:]) * Decimal("1.05"):
            return False
        if price > self.purse:
            self.logger.log_decision("pass", {"good": good}, reasoning="too poor")
            return False
        self.purse -= price
        self.paid.setdefault(good, []).append(price)
        self.needs.remove(good)
        return True

    @trace_agent_action()
    @watch
    async def new_day(self, day):
        wage = money(9 + self.rng.random() * 4)
        self.purse += wage
        if len(self.needs) > 5:
            dropped = self.needs.pop(0)
            raise UserWarning(f"{self.agent_id} gives up on {dropped} on day {day}")
        self.needs.extend(self.rng.sample(["eggs", "honey", "leek", "cheese"], 2))
        return wage


def people():
    sellers = [Seller("Willem", {"eggs": money(3), "honey": money("6.5")}, 1),
               Seller("Fatma", {"leek": money("2.2"), "cheese": money(8), "eggs": money("3.3")}, 2)]
    buyers = [Buyer(n, p, ["eggs", "leek"], s) for n, p, s in (("Ines", 20, 3), ("Joao", 12, 4), ("Lena", 30, 5))]
    return sellers, buyers


def build(spec):
    sellers, buyers = people()
    everyone = {a.agent_id: a for a in sellers + buyers}
    return everyone if spec.agent_id is None else everyone[spec.agent_id]


async def stall(seller, day, offers):
    for good in list(seller.goods):
        await offers.put(Offer(seller.agent_id, good, await seller.price(good, day), day))


async def market():
    sellers, buyers = people()
    by_name = {s.agent_id: s for s in sellers}
    for day in range(30):
        with tick(day):
            for buyer in buyers:
                try:
                    await buyer.new_day(day)
                except UserWarning as warning:
                    print(warning)
            offers = asyncio.Queue()
            await asyncio.gather(*(stall(s, day, offers) for s in sellers))
            while not offers.empty():
                offer = offers.get_nowait()
                taken = None
                for buyer in buyers[day % 3:] + buyers[:day % 3]:
                    if await buyer.consider(offer.seller, offer.good, offer.price):
                        taken = offer.price
                        break
                await by_name[offer.seller].settle(offer.good, taken)
    for seller in sellers:
        print(seller.agent_id, seller.cash, {g: str(p) for g, p in seller.goods.items()}, seller.unsold)
    for buyer in buyers:
        print(buyer.agent_id, buyer.purse, len(buyer.needs), {g: len(v) for g, v in buyer.paid.items()})


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(market())


if __name__ == "__main__":
    main()
