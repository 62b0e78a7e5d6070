"""Tabular Q-learning on a 4 x 4 grid."""

import random
from collections import defaultdict

from Agent import setup_logging, shutdown_logging, tick, trace_agent_action

MOVES = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
GOAL = (3, 3)


class Learner:
    def __init__(self):
        self.agent_id = "learner"
        self.agent_role = "q-learning"
        self.rng = random.Random(42)
        self.q = defaultdict(lambda: dict.fromkeys(MOVES, 0.0))
        self.epsilon = 0.3
        self.lengths = []

    def choose(self, state):
        if self.rng.random() < self.epsilon:
            return self.rng.choice(list(MOVES))
        best = max(self.q[state].values())
        return next(move for move, value in self.q[state].items() if value == best)

    @trace_agent_action()
    def episode(self, number):
        state, steps, path = (0, 0), 0, []
        while state != GOAL and steps < 60:
            move = self.choose(state)
            dx, dy = MOVES[move]
            following = (min(3, max(0, state[0] + dx)), min(3, max(0, state[1] + dy)))
            reward = 1.0 if following == GOAL else -0.01
            learning_rate = 0.5
            target = reward + 0.9 * max(self.q[following].values())
            self.q[state][move] += learning_rate * (target - self.q[state][move])
            path.append((state, move))
            state, steps = following, steps + 1
        self.epsilon *= 0.95
        self.lengths.append(steps)
        return {"steps": steps, "path": path[-3:]}


def build(spec):
    return Learner()


def main():
    setup_logging()
    learner = Learner()
    for number in range(25):
        with tick(number):
            learner.episode(number)
    shutdown_logging()
    print(learner.lengths)


if __name__ == "__main__":
    main()
