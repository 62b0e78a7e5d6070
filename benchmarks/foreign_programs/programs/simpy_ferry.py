"""Ferries between three islands in simpy; captains (slots classes) wait for vans, the tide and each other."""
import os
import random
from collections import deque

import simpy

from Agent import instrument, setup_logging
from oracle import watch_class

ISLANDS = ("Skye", "Mull", "Iona")
CROSSING = {frozenset(("Skye", "Mull")): 35, frozenset(("Mull", "Iona")): 15, frozenset(("Skye", "Iona")): 55}


class Captain:
    __slots__ = ("ship", "port", "hold", "rng", "logbook", "fuel", "_friend", "__weakref__")

    def __init__(self, ship, port, seed):
        self.ship = ship
        self.port = port
        self.hold = []
        self.rng = random.Random(seed)
        self.logbook = deque(maxlen=5)
        self.fuel = 220.0
        self._friend = None

    @property
    def friend(self):
        return self._friend

    @friend.setter
    def friend(self, other):
        if other is self:
            raise ValueError("a ship cannot follow itself")
        self._friend = other

    def load(self, vans):
        """Takes vans in order of destination; at most eight."""
        for van in sorted(vans, key=lambda v: (v[1], v[0])):
            if len(self.hold) < 8:
                self.hold.append(tuple(van))
        return len(self.hold)

    def choose(self, tide):
        wishes = {}
        for _, goal in self.hold:
            wishes[goal] = wishes.get(goal, 0) + 1
        if self.friend is not None and self.friend.port in wishes:
            wishes[self.friend.port] -= 0.5
        if not wishes or tide < -0.9:
            return None
        return max(wishes, key=lambda p: (wishes[p], p))

    def sail(self, goal, tide):
        if goal == self.port:
            raise ValueError(f"{self.ship} is already at {goal}")
        minutes = CROSSING[frozenset((self.port, goal))] * (1 - 0.15 * tide) + self.rng.uniform(-2, 4)
        self.fuel = round(self.fuel - minutes / 4, 4)
        self.port = goal
        off = [van for van in self.hold if van[1] == goal]
        self.hold = [van for van in self.hold if van[1] != goal]
        self.logbook.append({"to": goal, "off": len(off), "min": round(minutes, 2)})
        if self.fuel < 40:
            self.fuel += 180
            minutes += 30
        return round(minutes, 3)


SHIP_METHODS = ("load", "choose", "sail")
watch_class(Captain, SHIP_METHODS, id_attr="ship")
instrument(Captain, methods=list(SHIP_METHODS), agent_id="ship", agent_role="captain")


def harbour():
    captains = [Captain("Brodick", "Skye", 1), Captain("Tiree", "Mull", 2), Captain("Gigha", "Iona", 3)]
    for one, other in zip(captains, captains[1:] + captains[:1]):
        one.friend = other
    return {c.ship: c for c in captains}


def build(spec):
    ships = harbour()
    return ships if spec.agent_id is None else ships[spec.agent_id]


def tide_at(now):
    phase = (now % 745) / 745
    return round(1 - 4 * abs(phase - 0.5), 4)


def traffic(env, docks, rng):
    for number in range(220):
        yield env.timeout(rng.expovariate(1 / 7))
        start, goal = rng.sample(ISLANDS, 2)
        docks[start].append((f"van{number}", goal))


def voyage(env, captain, docks, quay):
    while True:
        with quay[captain.port].request() as berth:
            yield berth
            waiting = docks[captain.port]
            room = 8 - len(captain.hold)
            taken, docks[captain.port] = waiting[:room], waiting[room:]
            captain.load(taken)
            goal = captain.choose(tide_at(env.now))
            yield env.timeout(12)
        if goal is None or goal == captain.port:
            yield env.timeout(20)
            continue
        yield env.timeout(captain.sail(goal, tide_at(env.now)))


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    env = simpy.Environment()
    ships = harbour()
    docks = {island: [] for island in ISLANDS}
    quay = {island: simpy.Resource(env, capacity=1) for island in ISLANDS}
    env.process(traffic(env, docks, random.Random(1745)))
    for captain in ships.values():
        env.process(voyage(env, captain, docks, quay))
    env.run(until=2200)
    for captain in ships.values():
        print(captain.ship, captain.port, len(captain.hold), captain.fuel, captain.logbook[-1])
    print({k: len(v) for k, v in docks.items()})


if __name__ == "__main__":
    main()
