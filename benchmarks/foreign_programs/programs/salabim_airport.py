"""Airport security in salabim: guards (agents) screen passengers from lanes; a supervisor opens and closes lanes."""
import datetime as dt
import os
import random
from collections import ChainMap, Counter

import salabim as sim

from Agent import AgentLogger, setup_logging, trace_agent_action
from oracle import watch

sim.yieldless(False)
OPENING = dt.datetime(2019, 7, 1, 5, 0)
DEFAULTS = {"seconds": 45, "strict": 0.12, "break_after": 40}


class Guard:
    def __init__(self, agent_id, **overrides):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "guard")
        self.rules = ChainMap(dict(overrides), dict(DEFAULTS))
        self.rng = random.Random(agent_id)
        self.found = Counter()
        self.since_break = 0
        self.shift = [OPENING]

    @trace_agent_action()
    @watch
    def screen(self, number, bags, clock):
        seconds = self.rules["seconds"] * (1 + 0.4 * bags) + self.rng.gauss(0, 6)
        self.since_break += 1
        if self.rng.random() < self.rules["strict"] * (1 + bags):
            item = self.rng.choice(["bottle", "knife", "lighter", "powerbank"])
            self.found[item] += 1
            seconds += 90
            if item == "knife" and self.found["knife"] > 2:
                raise SystemError(f"alarm: passenger {number} with a knife at {OPENING + dt.timedelta(seconds=clock):%H:%M}")
        return max(20.0, round(seconds, 2))

    @trace_agent_action()
    @watch
    def needs_break(self, clock, queue):
        due = self.since_break >= self.rules["break_after"]
        if due and queue < 12:
            self.since_break = 0
            self.shift.append(OPENING + dt.timedelta(seconds=round(clock)))
            return True
        if queue > 12:
            self.rules["seconds"] = max(30, self.rules["seconds"] - 1)
        return False


class Supervisor:
    agent_id = "supervisor"

    def __init__(self):
        self.open = {"lane_a": True, "lane_b": True, "lane_c": False}
        self.history = []

    @trace_agent_action()
    @watch
    def review(self, clock, queues):
        total = sum(queues.values())
        closed = [lane for lane, state in self.open.items() if not state]
        if total > 14 and closed:
            self.open[closed[0]] = True
            self.history.append((round(clock), "open", closed[0]))
        elif total < 3 and len(closed) < 2:
            idle = min((lane for lane, state in self.open.items() if state), key=lambda lane: (queues[lane], lane))
            self.open[idle] = False
            self.history.append((round(clock), "close", idle))
        return dict(self.open)


def staff():
    return {a.agent_id: a for a in (Guard("lane_a"), Guard("lane_b", strict=0.2), Guard("lane_c", seconds=60, break_after=15), Supervisor())}


def build(spec):
    people = staff()
    return people if spec.agent_id is None else people[spec.agent_id]


class Lane(sim.Component):
    def setup(self, guard, queue, alarms):
        self.guard, self.line, self.alarms = guard, queue, alarms

    def process(self):
        while True:
            while not self.line:
                yield self.hold(15)
            number, bags = self.line.pop(0)
            try:
                yield self.hold(self.guard.screen(number, bags, self.env.now()))
            except SystemError as error:
                self.alarms.append(str(error))
                yield self.hold(240)
            if self.guard.needs_break(self.env.now(), len(self.line)):
                yield self.hold(300)


class Arrivals(sim.Component):
    def setup(self, queues, boss):
        self.queues, self.boss = queues, boss

    def process(self):
        rng = random.Random(707)
        for number in range(330):
            yield self.hold(rng.expovariate(1 / (25 if number % 120 < 70 else 70)))
            lanes = [lane for lane, state in self.boss.open.items() if state]
            min((self.queues[lane] for lane in lanes), key=len).append((number, rng.randint(0, 3)))
            if number % 10 == 0:
                self.boss.review(self.env.now(), {lane: len(q) for lane, q in self.queues.items()})


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    env = sim.Environment(trace=False, random_seed=1)
    people, alarms = staff(), []
    queues = {name: [] for name in people if name.startswith("lane")}
    for name, queue in queues.items():
        Lane(name=name, guard=people[name], queue=queue, alarms=alarms)
    Arrivals(queues=queues, boss=people["supervisor"])
    env.run(till=20000)
    for name in queues:
        guard = people[name]
        print(name, dict(guard.found), guard.rules["seconds"], [f"{t:%H:%M}" for t in guard.shift], len(queues[name]))
    print(people["supervisor"].history[-3:], alarms[:2])


if __name__ == "__main__":
    main()
