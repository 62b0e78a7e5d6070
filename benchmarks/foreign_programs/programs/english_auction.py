"""English and Dutch auctions for a box of used cameras. Bidders have private values and a budget."""
import os
import random
from dataclasses import dataclass, field
from enum import Enum

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch


class Style(Enum):
    TIMID = 1
    STEADY = 2
    JUMPER = 3


@dataclass
class Lot:
    name: str
    reserve: int
    tags: frozenset = frozenset()
    history: list = field(default_factory=list)


def catalogue(seed=11):
    rng = random.Random(seed)
    makers = ["Leica", "Nikon", "Zorki", "Canon", "Rollei"]
    kinds = ["rangefinder", "reflex", "folding", "box"]
    lots = []
    for n in range(24):
        tags = {rng.choice(kinds), rng.choice(["mint", "worn", "parts"])}
        lots.append(Lot(f"{rng.choice(makers)}-{n:02d}", rng.randrange(20, 60, 5), frozenset(tags)))
    return lots


def increment(price):
    if price < 50:
        return 2
    return 5 if price < 120 else 10


class Bidder:
    def __init__(self, agent_id, style, budget):
        self.agent_id = agent_id
        self.style = style
        self.budget = budget
        self.rng = random.Random(f"bidder/{agent_id}")
        self.tastes = {"rangefinder": 1.4, "reflex": 1.1, "folding": 0.9, "box": 0.6, "mint": 1.3, "parts": 0.5}
        self.won = []
        self.limits = {}
        self.seen_rivals = set()
        self.mood = 0

    @trace_agent_action()
    @watch
    def appraise(self, name, reserve, tags):
        value = float(reserve)
        for tag in sorted(tags):
            value *= self.tastes.get(tag, 1.0)
        value *= self.rng.uniform(0.9, 1.8)
        if self.style is Style.TIMID:
            value *= 0.85
        self.limits[name] = min(int(value), self.budget)
        return self.limits[name]

    @trace_agent_action()
    @watch
    def respond(self, name, price, leader):
        if leader is not None and leader != self.agent_id:
            self.seen_rivals.add(leader)
        limit = self.limits.get(name, 0)
        offer = price + increment(price)
        if self.style is Style.JUMPER and self.rng.random() < 0.3:
            offer += 2 * increment(price)
        if offer > limit:
            self.mood -= 1
            return None
        return offer

    @trace_agent_action()
    @watch
    def win(self, name, price):
        if price > self.budget:
            raise ValueError(f"{self.agent_id} cannot pay {price}, has {self.budget}")
        self.budget -= price
        self.won.append((name, price))
        self.mood = min(self.mood + 5, 10)
        if len(self.won) >= 4:
            self.tastes["box"] = round(self.tastes["box"] * 0.75, 4)
        del self.limits[name]
        return self.budget


def make_bidders():
    return {b.agent_id: b for b in (
        Bidder("anneke", Style.STEADY, 420),
        Bidder("bruno", Style.JUMPER, 520),
        Bidder("carla", Style.TIMID, 610),
        Bidder("dmitri", Style.JUMPER, 300),
        Bidder("eun", Style.STEADY, 380),
    )}


def build(spec):
    bidders = make_bidders()
    return bidders if spec.agent_id is None else bidders[spec.agent_id]


def sell(lot, bidders):
    active = []
    for bidder in bidders.values():
        if bidder.appraise(lot.name, lot.reserve, sorted(lot.tags)) >= lot.reserve:
            active.append(bidder)
    price, leader = lot.reserve, None
    while active:
        still = []
        for bidder in active:
            if leader == bidder.agent_id:
                still.append(bidder)
                continue
            offer = bidder.respond(lot.name, price, leader)
            if offer is not None:
                price, leader = offer, bidder.agent_id
                lot.history.append((leader, price))
                still.append(bidder)
        active = still
        if len(active) <= 1:
            break
    return leader, price


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    bidders = make_bidders()
    turnover = 0
    for number, lot in enumerate(catalogue()):
        with tick(number):
            leader, price = sell(lot, bidders)
            if leader is None:
                print(f"{lot.name:12} passed at {lot.reserve}")
                continue
            try:
                bidders[leader].win(lot.name, price)
                turnover += price
                print(f"{lot.name:12} {leader:8} {price:4}  bids {len(lot.history)}")
            except ValueError as error:
                print(f"{lot.name:12} void: {error}")
    for bidder in bidders.values():
        print(bidder.agent_id, bidder.budget, bidder.mood, sorted(bidder.seen_rivals))
    print("turnover", turnover)


if __name__ == "__main__":
    main()
