"""SARSA and Q-learning walkers on a home-made gymnasium cliff; the environment is ours, the API is gymnasium's."""
import os

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from Agent import LearningLogger, setup_logging, tick, trace_agent_action
from oracle import watch

ROWS, COLS = 4, 8
ALPHA, GAMMA = 0.4, 0.95


class Cliff(gym.Env):
    def __init__(self, slip=0.1):
        self.observation_space = spaces.Discrete(ROWS * COLS)
        self.action_space = spaces.Discrete(4)
        self.slip = slip

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = (ROWS - 1, 0)
        return self._obs(), {}

    def _obs(self):
        return self.cell[0] * COLS + self.cell[1]

    def step(self, action):
        if self.np_random.random() < self.slip:
            action = (action + 1) % 4
        dr, dc = [(-1, 0), (0, 1), (1, 0), (0, -1)][action]
        r = min(max(self.cell[0] + dr, 0), ROWS - 1)
        c = min(max(self.cell[1] + dc, 0), COLS - 1)
        self.cell = (r, c)
        if r == ROWS - 1 and 0 < c < COLS - 1:
            self.cell = (ROWS - 1, 0)
            return self._obs(), -25.0, False, False, {"fell": True}
        return self._obs(), -1.0, self.cell == (ROWS - 1, COLS - 1), False, {}


class TabularAgent:
    def __init__(self, agent_id, on_policy, seed):
        self.agent_id = agent_id
        self.learning = LearningLogger("sarsa" if on_policy else "q", agent_id)
        self.on_policy = on_policy
        self.rng = np.random.default_rng(seed)
        self.q = np.zeros((ROWS * COLS, 4))
        self.epsilon = 0.3
        self.falls = 0
        self.returns = []
        self._pending = None

    def _pick(self, state):
        if self.rng.random() < self.epsilon:
            return int(self.rng.integers(4))
        return int(np.argmax(self.q[state]))

    @trace_agent_action()
    @watch
    def act(self, state):
        if self._pending is not None and self._pending[0] == state:
            action = self._pending[1]
            self._pending = None
            return action
        return self._pick(state)

    @trace_agent_action()
    @watch
    def update(self, state, action, reward, following, done):
        if done:
            target = reward
        elif self.on_policy:
            upcoming = self._pick(following)
            self._pending = (following, upcoming)
            target = reward + GAMMA * self.q[following, upcoming]
        else:
            target = reward + GAMMA * self.q[following].max()
        delta = target - self.q[state, action]
        self.q[state, action] += ALPHA * delta
        if reward <= -25:
            self.falls += 1
        return float(delta)

    @trace_agent_action()
    @watch
    def end_episode(self, number, total):
        self.returns.append(total)
        recent = np.mean(self.returns[-5:])
        if number > 12 and recent > -60:
            self.epsilon = max(0.02, self.epsilon * 0.8)
        self._pending = None
        self.learning.log_reward("episode", reward=total, cumulative_reward=sum(self.returns))
        return float(recent)


AGENTS = {"sarsa": (True, 5), "qlearn": (False, 6)}


def build(spec):
    if spec.agent_id is None:
        return {name: TabularAgent(name, *args) for name, args in AGENTS.items()}
    return TabularAgent(spec.agent_id, *AGENTS[spec.agent_id])


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    env = Cliff()
    for name, args in AGENTS.items():
        agent = TabularAgent(name, *args)
        state, _ = env.reset(seed=17)
        for episode in range(22):
            with tick(episode):
                state, _ = env.reset()
                total = 0.0
                for _ in range(28):
                    action = agent.act(state)
                    following, reward, done, _, _ = env.step(action)
                    agent.update(state, action, reward, following, done)
                    state, total = following, total + reward
                    if done:
                        break
                agent.end_episode(episode, total)
        print(name, agent.falls, [round(r) for r in agent.returns[-6:]], round(agent.epsilon, 4))
        arrows = np.array(list("^>v<"))[agent.q.argmax(axis=1)].reshape(ROWS, COLS)
        print("\n".join("".join(row) for row in arrows))


if __name__ == "__main__":
    main()
