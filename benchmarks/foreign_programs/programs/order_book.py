"""A limit order book with three trading desks and one exchange, price-time priority with heaps."""
import bisect
import heapq
import itertools
import os
import random
from collections import deque, namedtuple
from dataclasses import dataclass, field

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch

Fill = namedtuple("Fill", "buyer seller price qty")


@dataclass(order=True)
class Order:
    key: tuple
    owner: str = field(compare=False)
    side: str = field(compare=False)
    price: int = field(compare=False)
    qty: int = field(compare=False)


class Exchange:
    agent_id = "exchange"

    def __init__(self):
        self.bids, self.asks = [], []
        self.sequence = itertools.count()
        self.last_seq = -1
        self.tape = deque(maxlen=30)
        self.halted_for = 0
        self.volume = {}

    @trace_agent_action("submit")
    @watch
    def submit(self, owner, side, price, qty):
        if qty <= 0:
            raise ValueError(f"bad quantity {qty} from {owner}")
        if self.halted_for:
            self.halted_for -= 1
            return []
        self.last_seq = next(self.sequence)
        sign = -1 if side == "buy" else 1
        order = Order((sign * price, self.last_seq), owner, side, price, qty)
        book, other = (self.bids, self.asks) if side == "buy" else (self.asks, self.bids)
        fills = self._match(order, other)
        if order.qty:
            heapq.heappush(book, order)
        self._check_circuit(fills)
        return [tuple(f) for f in fills]

    def _match(self, order, other):
        fills = []
        while order.qty and other:
            best = other[0]
            crosses = best.price <= order.price if order.side == "buy" else best.price >= order.price
            if not crosses:
                break
            qty = min(order.qty, best.qty)
            buyer, seller = (order.owner, best.owner) if order.side == "buy" else (best.owner, order.owner)
            fill = Fill(buyer, seller, best.price, qty)
            fills.append(fill)
            self.tape.append(fill)
            self.volume[best.price] = self.volume.get(best.price, 0) + qty
            order.qty -= qty
            best.qty -= qty
            if best.qty == 0:
                heapq.heappop(other)
        return fills

    def _check_circuit(self, fills):
        if len(self.tape) < 10 or not fills:
            return
        prices = [f.price for f in list(self.tape)[-10:]]
        if max(prices) - min(prices) > 14:
            self.halted_for = 3

    def quote(self):
        bid = self.bids[0].price if self.bids else None
        ask = self.asks[0].price if self.asks else None
        return bid, ask


class Desk:
    limit = 40

    def __init__(self, agent_id, seed, lean):
        self.agent_id = agent_id
        self.log = AgentLogger(agent_id, "desk")
        self.rng = random.Random(seed)
        self.lean = lean
        self.cash = 0
        self.position = 0
        self.recent = []
        self.fair = 100.0

    @trace_agent_action()
    @watch
    def think(self, bid, ask):
        mid = self.fair if bid is None or ask is None else (bid + ask) / 2
        self.fair = round(0.8 * self.fair + 0.2 * mid + self.rng.gauss(self.lean, 1.2), 4)
        skew = -self.position / 20
        side = "buy" if self.rng.random() < 0.5 + self.lean / 4 + skew / 10 else "sell"
        if abs(self.position) > self.limit:
            side = "sell" if self.position > 0 else "buy"
            self.log.log_decision("flatten", {"position": self.position}, reasoning="over the limit")
        edge = self.rng.choice([-2, -1, 0, 1, 3])
        price = int(self.fair + skew) + (-edge if side == "buy" else edge)
        return side, price, self.rng.randint(1, 9)

    @trace_agent_action()
    @watch
    def on_fill(self, buyer, seller, price, qty):
        sign = (buyer == self.agent_id) - (seller == self.agent_id)
        self.position += sign * qty
        self.cash -= sign * qty * price
        bisect.insort(self.recent, price)
        if len(self.recent) > 15:
            self.recent.pop(0 if sign > 0 else -1)
        return self.cash + self.position * price


def world():
    desks = [Desk("alpha", 1, 0.15), Desk("beta", 2, -0.2), Desk("gamma", 3, 0.05)]
    return {a.agent_id: a for a in [Exchange(), *desks]}


def build(spec):
    agents = world()
    return agents if spec.agent_id is None else agents[spec.agent_id]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    agents = world()
    exchange = agents["exchange"]
    desks = [a for a in agents.values() if a is not exchange]
    for n in range(160):
        with tick(n):
            for desk in desks:
                side, price, qty = desk.think(*exchange.quote())
                for fill in exchange.submit(desk.agent_id, side, price, qty):
                    for name in sorted({fill[0], fill[1]}):
                        agents[name].on_fill(*fill)
    try:
        exchange.submit("alpha", "buy", 100, 0)
    except ValueError as error:
        print(error)
    for desk in desks:
        print(desk.agent_id, desk.cash, desk.position, desk.fair, desk.recent[:4])
    print(exchange.quote(), exchange.last_seq, sorted(exchange.volume.items())[:5])


if __name__ == "__main__":
    main()
