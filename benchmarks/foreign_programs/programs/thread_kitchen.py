"""A restaurant kitchen: waiters feed queues, each cook is one worker thread with its own queue and a tool rack."""
import os
import queue
import random
import threading
import time
from enum import Enum, auto

from Agent import setup_logging, trace_agent_action
from oracle import watch


class Doneness(Enum):
    RAW = auto()
    FINE = auto()
    BURNT = auto()


DISHES = {"soup": 4, "steak": 7, "salad": 2, "pie": 9, "rice": 5}


def patience_of(table):
    """Guests at the window wait longer. The office tables look at the clock."""
    return 9 if table % 4 else 6 + int(time.time() * 1000) % 5


class Cook(threading.Thread):
    def __init__(self, agent_id, station):
        super().__init__(name=agent_id, daemon=True)
        self.agent_id = agent_id
        self.station = station
        self.orders = queue.Queue()
        self.rng = random.Random(agent_id)
        self.served = {d: 0 for d in Doneness}
        self.heat = 3
        self.complaints = []

    def __getstate__(self):
        keep = ("agent_id", "station", "rng", "served", "heat", "complaints")
        return {k: getattr(self, k) for k in keep}

    @trace_agent_action()
    @watch
    def cook(self, dish, table):
        need = DISHES[dish]
        minutes = need + self.rng.choice([-2, -1, 0, 0, 1, 2])
        power = minutes * self.heat / 3
        result = Doneness.RAW if power < need - 1 else Doneness.BURNT if power > need + 1 else Doneness.FINE
        self.served[result] += 1
        if minutes > patience_of(table):
            self.complaints.append((table, dish))
        if result is Doneness.BURNT:
            self.heat = max(2, self.heat - 1)
        elif result is Doneness.RAW:
            self.heat = min(4, self.heat + 1)
        return result.name

    @trace_agent_action()
    @watch
    def clean(self, minute):
        if not self.complaints:
            raise LookupError("nobody complained")
        table, dish = self.complaints.pop(0)
        return f"{minute}: sorry, table {table}, for the {dish}"

    def run(self):
        for number, order in enumerate(iter(self.orders.get, None)):
            self.cook(*order)
            if number % 9 == 8:
                try:
                    self.clean(number)
                except LookupError:
                    pass
            self.orders.task_done()


STATIONS = {"gordon": "grill", "julia": "stove", "marco": "cold"}


def build(spec):
    cooks = {name: Cook(name, station) for name, station in STATIONS.items()}
    return cooks if spec.agent_id is None else cooks[spec.agent_id]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    cooks = [Cook(*row) for row in STATIONS.items()]
    rng = random.Random(31)
    for cook in cooks:
        cook.start()
    for table in range(240):
        cooks[table % 3].orders.put((rng.choice(list(DISHES)), table))
    for cook in cooks:
        cook.orders.put(None)
    for cook in cooks:
        cook.join()
        print(cook.agent_id, cook.heat, {d.name: n for d, n in cook.served.items()}, len(cook.complaints))


if __name__ == "__main__":
    main()
