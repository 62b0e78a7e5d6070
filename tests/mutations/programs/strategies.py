"""An iterated prisoner's dilemma: strategies are functions that players hold."""

import random
from functools import partial

from Agent import setup_logging, shutdown_logging, tick, trace_agent_action

PAYOFF = {("C", "C"): (3, 3), ("C", "D"): (0, 5), ("D", "C"): (5, 0), ("D", "D"): (1, 1)}


def tit_for_tat(mine, theirs):
    return theirs[-1] if theirs else "C"


def grudge(mine, theirs):
    return "D" if "D" in theirs else "C"


def generous(mine, theirs, every=3):
    return "C" if not theirs or len(theirs) % every == 0 else theirs[-1]


class Player:
    agent_role = "player"

    def __init__(self, name, strategy):
        self.agent_id = name
        self.strategy = strategy
        self.mine, self.theirs = [], []
        self.score = 0

    @trace_agent_action()
    def choose(self):
        return self.strategy(self.mine, self.theirs)

    @trace_agent_action()
    def learn(self, own, other):
        self.mine.append(own)
        self.theirs.append(other)
        self.score += PAYOFF[own, other][0]
        if len(self.mine) > 5 and self.score < 2 * len(self.mine):
            self.strategy = grudge


PLAYERS = {
    "tat": tit_for_tat,
    "kind": partial(generous, every=2),
    "noise": lambda mine, theirs: "D" if len(mine) % 4 == 3 else "C",
}


def build(spec):
    return Player(spec.agent_id, PLAYERS[spec.agent_id])


def main():
    setup_logging()
    players = [Player(name, strategy) for name, strategy in PLAYERS.items()]
    rng = random.Random(1)
    for number in range(20):
        with tick(number):
            first, second = rng.sample(players, 2)
            a, b = first.choose(), second.choose()
            first.learn(a, b)
            second.learn(b, a)
    shutdown_logging()
    print({player.agent_id: player.score for player in players})


if __name__ == "__main__":
    main()
