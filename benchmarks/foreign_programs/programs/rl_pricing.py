"""Two shops learn prices against each other (independent Q-learning, numpy tables, attrs classes)."""
import os

import attrs
import numpy as np

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

PRICES = np.array([1.0, 1.2, 1.4, 1.6, 1.8, 2.0])


def default_rng():
    return np.random.default_rng()


@attrs.define(eq=False, slots=False)
class Experience:
    profit: np.ndarray = attrs.field(factory=lambda: np.zeros(len(PRICES)))
    count: np.ndarray = attrs.field(factory=lambda: np.zeros(len(PRICES), dtype=int))
    # which price to try when several look the same
    tiebreak: np.random.Generator = attrs.field(factory=default_rng, repr=False)

    def best(self):
        top = np.flatnonzero(self.profit == self.profit.max())
        return int(self.tiebreak.choice(top)) if len(top) > 1 else int(top[0])


@attrs.define(eq=False, slots=False)
class Shop:
    agent_id: str
    seed: int
    cost: float = 0.8
    rng: np.random.Generator = attrs.field(init=False)
    table: dict = attrs.field(factory=dict)
    cash: float = 0.0
    history: list = attrs.field(factory=list)

    def __attrs_post_init__(self):
        self.rng = np.random.default_rng(self.seed)

    @trace_agent_action()
    @watch
    def quote(self, rival_price):
        page = self.table.setdefault(rival_price, Experience())
        if self.rng.random() < 0.15:
            k = int(self.rng.integers(len(PRICES)))
        else:
            k = page.best()
        self.history.append(k)
        return float(PRICES[k])

    @trace_agent_action()
    @watch
    def sold(self, rival_price, price, units):
        page = self.table[rival_price]
        k = int(np.flatnonzero(PRICES == price)[0])
        profit = units * (price - self.cost)
        page.count[k] += 1
        rate = max(0.1, 1 / page.count[k])
        page.profit[k] += rate * (profit - page.profit[k])
        self.cash = round(self.cash + profit, 6)
        return round(float(page.profit[k]), 6)


SHOPS = [("north", 1), ("south", 2)]


def build(spec):
    shops = {name: Shop(name, seed) for name, seed in SHOPS}
    return shops if spec.agent_id is None else shops[spec.agent_id]


def demand(mine, other):
    share = 1 / (1 + np.exp(4 * (mine - other)))
    return int(round(40 * share * (2.4 - mine)))


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    north, south = (Shop(*row) for row in SHOPS)
    p, q = 1.4, 1.4
    for week in range(220):
        with tick(week):
            new_p, new_q = north.quote(q), south.quote(p)
            north.sold(q, new_p, demand(new_p, new_q))
            south.sold(p, new_q, demand(new_q, new_p))
            p, q = new_p, new_q
    for shop in (north, south):
        print(shop.agent_id, shop.cash, np.bincount(shop.history, minlength=6).tolist())


if __name__ == "__main__":
    main()
