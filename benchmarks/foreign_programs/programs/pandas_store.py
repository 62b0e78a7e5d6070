"""Store managers forecast demand and reorder stock; each keeps its ledger in a data frame."""
import os

import numpy as np
import pandas as pd

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

SKUS = ["rice", "oil", "salt", "jam"]
LEAD_TIME = 2


class StoreManager:
    def __init__(self, agent_id, smoothing):
        self.agent_id = agent_id
        self.smoothing = smoothing
        self.stock = pd.Series({sku: 40 for sku in SKUS}, dtype="int64")
        self.forecast = pd.DataFrame({"level": [10.0] * 4, "error": [0.0] * 4}, index=SKUS)
        self.pipeline = []
        self.lost = {sku: 0 for sku in SKUS}
        self.ledger = pd.DataFrame(columns=["day", "sku", "sold"])

    @trace_agent_action()
    @watch
    def sell(self, day, demand):
        sold = {}
        rows = []
        for sku, wanted in demand.items():
            have = int(self.stock[sku])
            sold[sku] = min(have, wanted)
            self.lost[sku] += wanted - sold[sku]
            self.stock[sku] = have - sold[sku]
            rows.append((day, sku, sold[sku]))
        fresh = pd.DataFrame(rows, columns=["day", "sku", "sold"])
        self.ledger = fresh if self.ledger.empty else pd.concat([self.ledger, fresh], ignore_index=True)
        self.ledger = self.ledger[self.ledger.day > day - 7].reset_index(drop=True)
        return sold

    @trace_agent_action()
    @watch
    def learn(self, demand):
        for sku, wanted in demand.items():
            miss = wanted - self.forecast.loc[sku, "level"]
            self.forecast.loc[sku, "level"] = round(self.forecast.loc[sku, "level"] + self.smoothing * miss, 5)
            self.forecast.loc[sku, "error"] = round(0.9 * self.forecast.loc[sku, "error"] + 0.1 * abs(miss), 5)
        return float(self.forecast["error"].sum().round(4))

    @trace_agent_action()
    @watch
    def reorder(self, day):
        arrived = [(due, sku, n) for due, sku, n in self.pipeline if due <= day]
        self.pipeline = [row for row in self.pipeline if row[0] > day]
        for _, sku, n in arrived:
            self.stock[sku] += n
        orders = {}
        for sku in SKUS:
            coming = sum(n for _, s, n in self.pipeline if s == sku)
            wish = 3 * self.forecast.loc[sku, "level"] + 1.5 * self.forecast.loc[sku, "error"]
            gap = int(np.ceil(wish)) - int(self.stock[sku]) - coming
            if gap > 4:
                orders[sku] = gap
                self.pipeline.append((day + LEAD_TIME, sku, gap))
        return orders

    @trace_agent_action()
    @watch
    def weekly(self):
        table = self.ledger.groupby("sku")["sold"].agg(["sum", "max"])
        best = table.sort_values(["sum", "max"], ascending=False).index[0]
        if self.lost[best] > 10:
            self.smoothing = round(min(0.9, self.smoothing + 0.05), 3)
        return best


STORES = {"harbour": 0.3, "station": 0.15, "campus": 0.5}


def build(spec):
    if spec.agent_id is None:
        return {name: StoreManager(name, s) for name, s in STORES.items()}
    return StoreManager(spec.agent_id, STORES[spec.agent_id])


def demand_for(rng, store, day):
    base = {"harbour": 9, "station": 12, "campus": 7}[store]
    season = 1 + 0.5 * np.sin(day / 3)
    return {sku: int(rng.poisson(base * season * (1 + k / 6))) for k, sku in enumerate(SKUS)}


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    stores = [StoreManager(*row) for row in STORES.items()]
    rng = np.random.default_rng(77)
    for day in range(28):
        with tick(day):
            for store in stores:
                demand = demand_for(rng, store.agent_id, day)
                store.sell(day, demand)
                store.learn(demand)
                store.reorder(day)
                if day % 7 == 6:
                    print(day, store.agent_id, store.weekly(), store.lost)
    for store in stores:
        print(store.agent_id, store.stock.to_dict(), store.smoothing, store.pipeline[-1:])


if __name__ == "__main__":
    main()
