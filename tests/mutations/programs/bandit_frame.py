"""A bandit that keeps its history in a pandas frame."""

import random

import pandas as pd

from Agent import setup_logging, shutdown_logging, trace_agent_action


class Bandit:
    agent_role = "bandit"

    def __init__(self):
        self.agent_id = "bandit"
        self.rng = random.Random(5)
        self.means = {"red": 0.2, "green": 0.5, "blue": 0.7}
        self.history = pd.DataFrame({"arm": pd.Series(dtype="object"), "reward": pd.Series(dtype="float64")})

    @trace_agent_action()
    def pull(self, number):
        if self.rng.random() < 0.3 or self.history.empty:
            arm = self.rng.choice(sorted(self.means))
        else:
            arm = self.history.groupby("arm")["reward"].mean().idxmax()
        reward = float(self.rng.random() < self.means[arm])
        self.history.loc[len(self.history)] = [arm, reward]
        return arm, reward

    @trace_agent_action()
    def summary(self):
        return self.history.groupby("arm")["reward"].agg(["mean", "count"])


def build(spec):
    return Bandit()


def main():
    setup_logging()
    bandit = Bandit()
    for number in range(20):
        bandit.pull(number)
        if number % 5 == 4:
            bandit.summary()
    shutdown_logging()
    print(bandit.history["reward"].sum())


if __name__ == "__main__":
    main()
