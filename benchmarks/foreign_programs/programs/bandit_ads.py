"""Three bandit strategies compete for ad slots: Thompson, UCB and an epsilon-greedy with forgetting."""
import abc
import math
import os
from collections import OrderedDict

import numpy as np

from Agent import AgentLogger, LearningLogger, setup_logging, tick, trace_agent_action
from oracle import watch

ADS = ["shoes", "tea", "piano", "bicycle", "soap"]
TRUTH = {"shoes": 0.21, "tea": 0.34, "piano": 0.08, "bicycle": 0.30, "soap": 0.15}


class Arm:
    __slots__ = ("name", "shown", "clicks")

    def __init__(self, name):
        self.name, self.shown, self.clicks = name, 0, 0

    @property
    def rate(self):
        return self.clicks / self.shown if self.shown else 0.0


class Strategy(abc.ABC):
    registry = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        Strategy.registry[cls.__name__.lower()] = cls

    def __init__(self, agent_id):
        self.agent_id = agent_id
        self.log = AgentLogger(agent_id, "bandit")
        self.learning = LearningLogger("bandit", agent_id)
        self.arms = OrderedDict((name, Arm(name)) for name in ADS)
        self.earned = 0
        self.best = None

    @abc.abstractmethod
    def score(self, arm):
        ...

    @trace_agent_action()
    @watch
    def choose(self):
        scores = [(self.score(arm), arm.name) for arm in self.arms.values()]
        self.best = max(scores)[1]
        return self.best

    @trace_agent_action()
    @watch
    def feedback(self, name, clicked):
        arm = self.arms[name]
        arm.shown += 1
        arm.clicks += clicked
        self.earned += clicked
        self.arms.move_to_end(name, last=not clicked)
        self.learning.log_reward(name, reward=clicked, cumulative_reward=self.earned)
        return round(arm.rate, 4)


class Thompson(Strategy):
    def __init__(self, agent_id):
        super().__init__(agent_id)
        self.gen = np.random.default_rng(12)

    def score(self, arm):
        return float(self.gen.beta(1 + arm.clicks, 1 + arm.shown - arm.clicks))


class Ucb(Strategy):
    c = 0.5

    def score(self, arm):
        total = sum(a.shown for a in self.arms.values()) or 1
        if not arm.shown:
            return math.inf
        return arm.rate + self.c * math.sqrt(math.log(total) / arm.shown)


class Forgetful(Strategy):
    memory = 60

    def __init__(self, agent_id):
        super().__init__(agent_id)
        self.gen = np.random.default_rng(13)
        self.window = []

    def score(self, arm):
        if self.gen.random() < 0.04:
            return 1.0
        hits = [c for n, c in self.window if n == arm.name]
        return sum(hits) / len(hits) if hits else 0.5

    @trace_agent_action()
    @watch
    def feedback(self, name, clicked):
        self.window.append((name, clicked))
        if len(self.window) > self.memory:
            self.window = self.window[-self.memory:]
        self.arms[name].shown += 1
        self.arms[name].clicks += clicked
        self.earned += clicked
        return len(self.window)


def make(name):
    return Strategy.registry[name](name)


def build(spec):
    if spec.agent_id is None:
        return {name: make(name) for name in Strategy.registry}
    return make(spec.agent_id)


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    agents = [make(name) for name in Strategy.registry]
    crowd = np.random.default_rng(2024)
    for visitor in range(260):
        with tick(visitor):
            taste = crowd.random()
            for agent in agents:
                ad = agent.choose()
                drift = 0.15 if visitor > 150 and ad == "piano" else 0.0
                agent.feedback(ad, int(taste < TRUTH[ad] + drift))
    for agent in agents:
        table = ", ".join(f"{a.name} {a.clicks}/{a.shown}" for a in agent.arms.values())
        print(f"{agent.agent_id:10} earned {agent.earned:3}  {table}")


if __name__ == "__main__":
    main()
