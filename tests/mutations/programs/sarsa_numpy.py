"""SARSA on a windy corridor, the table a numpy array, transitions as dataclasses."""

from dataclasses import dataclass

import numpy as np

from Agent import LearningLogger, setup_logging, shutdown_logging, trace_agent_action


@dataclass(frozen=True)
class Transition:
    state: int
    action: int
    reward: float
    following: int


class Walker:
    agent_role = "sarsa"

    def __init__(self, size=8):
        self.agent_id = "walker"
        self.size = size
        self.rng = np.random.default_rng(7)
        self.table = np.zeros((size, 2))
        self.visits = np.zeros(size, dtype=np.int64)
        self.memory: list[Transition] = []
        self.learning = LearningLogger("sarsa", "walker")

    def act(self, state):
        if self.rng.random() < 0.2:
            return int(self.rng.integers(2))
        return int(np.argmax(self.table[state]))

    @trace_agent_action()
    def episode(self, number):
        state, total = 0, 0.0
        action = self.act(state)
        for _ in range(40):
            wind = 1 if self.rng.random() < 0.1 else 0
            following = int(np.clip(state + (1 if action else -1) - wind, 0, self.size - 1))
            reward = 10.0 if following == self.size - 1 else -1.0
            after = self.act(following)
            self.table[state, action] += 0.3 * (
                reward + 0.9 * self.table[following, after] - self.table[state, action]
            )
            self.memory.append(Transition(state, action, reward, following))
            self.visits[following] += 1
            total += reward
            state, action = following, after
            if reward > 0:
                break
        self.memory = self.memory[-20:]
        self.learning.log_reward("episode", reward=total, cumulative_reward=float(self.visits.sum()))
        return np.float64(total)


def build(spec):
    return Walker()


def main():
    setup_logging()
    walker = Walker()
    for number in range(12):
        walker.episode(number)
    shutdown_logging()
    print(walker.table.round(2).tolist())


if __name__ == "__main__":
    main()
