"""A matching engine with heaps."""

import heapq
import itertools
import random
from typing import NamedTuple

from Agent import AgentLogger, setup_logging, shutdown_logging, trace_agent_action


class Fill(NamedTuple):
    buyer: str
    seller: str
    price: int


class Engine:
    def __init__(self):
        self.agent_id, self.agent_role = "engine", "matching"
        self.logger = AgentLogger(self.agent_id, self.agent_role)
        self.bids, self.asks = [], []
        self.counter = itertools.count(1)
        self.volume = {}

    @trace_agent_action()
    def place(self, owner, side, price):
        sequence = next(self.counter)
        heap = self.bids if side == "buy" else self.asks
        heapq.heappush(heap, (-price if side == "buy" else price, sequence, owner))
        fills = []
        while self.bids and self.asks and -self.bids[0][0] >= self.asks[0][0]:
            bid, ask = heapq.heappop(self.bids), heapq.heappop(self.asks)
            fills.append(Fill(bid[2], ask[2], ask[0]))
            self.volume[ask[0]] = self.volume.get(ask[0], 0) + 1
            self.logger.log_decision("fill", {"price": ask[0]}, reasoning="bid crosses ask")
        return fills


def build(spec):
    return Engine()


def main():
    setup_logging()
    engine, rng = Engine(), random.Random(3)
    for number in range(30):
        engine.place(f"owner{number % 4}", rng.choice(["buy", "sell"]), rng.randrange(95, 106))
    shutdown_logging()
    print(engine.volume)


if __name__ == "__main__":
    main()
