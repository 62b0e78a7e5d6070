"""Mesa: Boltzmann wealth with loans and grudges."""
import os

import mesa

from Agent import instrument, setup_logging, tick
from oracle import watch_class


class Trader(mesa.Agent):
    def __init__(self, model, thrift):
        super().__init__(model)
        self.wealth = 5
        self.thrift = thrift
        self.debts = {}
        self.grudges = set()
        self.trail = []

    def give(self):
        """Give one coin to somebody, if there is one to give."""
        if self.wealth <= 0:
            return self.borrow_needed()
        if self.random.random() < self.thrift:
            self.trail.append("kept")
            return None
        other = self.random.choice([a for a in self.model.traders if a is not self and a.unique_id not in self.grudges])
        self.wealth -= 1
        other.wealth += 1
        self.trail.append(other.unique_id)
        if len(self.trail) > 6:
            del self.trail[:2]
        return other.unique_id

    def borrow_needed(self):
        rich = max(self.model.traders, key=lambda a: (a.wealth, a.unique_id))
        if rich.wealth < 8:
            self.grudges.add(rich.unique_id)
            if len(self.grudges) > 4:
                self.grudges.discard(min(self.grudges))
            return "refused"
        rich.wealth -= 3
        self.wealth += 3
        self.debts[rich.unique_id] = self.debts.get(rich.unique_id, 0) + 3
        return "borrowed"

    def settle(self, rate=1):
        paid = 0
        for owner in list(self.debts):
            if self.wealth > 6:
                part = min(self.debts[owner], rate)
                self.debts[owner] -= part
                self.wealth -= part
                paid += part
                if not self.debts[owner]:
                    del self.debts[owner]
        return paid


class Market(mesa.Model):
    def __init__(self, n=14, seed=7):
        super().__init__(seed=seed)
        self.traders = [Trader(self, 0.05 * (k % 5)) for k in range(n)]
        self.lost = 0


watch_class(Trader, ["give", "settle"])
instrument(Trader, methods=["give", "settle"], agent_id="unique_id", agent_role="trader")


def build(spec):
    market = Market()
    traders = {str(t.unique_id): t for t in market.traders}
    return traders if spec.agent_id is None else traders[str(spec.agent_id)]


def gini(values):
    values = sorted(values)
    n = len(values)
    return sum((2 * i - n + 1) * v for i, v in enumerate(values)) / (n * max(1, sum(values)))


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    market = Market()
    for step in range(50):
        with tick(step):
            for trader in market.random.sample(market.traders, len(market.traders)):
                trader.give()
            if step % 4 == 3:
                for trader in market.traders:
                    trader.settle(rate=1 + step // 25)
        if step % 10 == 9:
            print(step, f"gini {gini([t.wealth for t in market.traders]):.3f}")
    for trader in market.traders:
        print(trader.unique_id, trader.wealth, trader.debts, sorted(trader.grudges))


if __name__ == "__main__":
    main()
