# Dyna-Q in a maze that changes half way; the model is a dict of dicts, planning uses a priority heap
import heapq
import os
import random
from typing import NamedTuple

from Agent import LearningLogger, setup_logging, tick, trace_agent_action
from oracle import watch

MAZE = ["..........",
        "..####....",
        "..#..#.##.",
        "..#..#..#.",
        "S.#.....#G"]
ACTIONS = {"u": (-1, 0), "d": (1, 0), "l": (0, -1), "r": (0, 1)}


class Step(NamedTuple):
    reward: float
    cell: tuple
    tries: int


class Dyna:
    def __init__(self, agent_id, planning=4, bonus=0.0):
        self.agent_id = agent_id
        self.learning = LearningLogger("dyna", agent_id)
        self.planning = planning
        self.bonus = bonus
        self.rng = random.Random(agent_id + "-dyna")
        self.q = {}
        self.model = {}
        self.queue = []
        self.steps_to_goal = []
        self.epsilon = 0.2

    def value(self, cell):
        return max((self.q.get((cell, a), 0.0) for a in ACTIONS), default=0.0)

    @trace_agent_action()
    @watch
    def act(self, cell):
        cell = tuple(cell)
        if self.rng.random() < self.epsilon:
            return self.rng.choice("udlr")
        scored = [(round(self.q.get((cell, a), 0.0), 9) + self.bonus * (a not in self.model.get(cell, ())), a) for a in ACTIONS]
        top = max(s for s, _ in scored)
        return self.rng.choice([a for s, a in scored if s == top])

    @trace_agent_action()
    @watch
    def learn(self, cell, action, reward, following):
        cell, following = tuple(cell), tuple(following)
        tries = self.model.get(cell, {}).get(action, Step(0, cell, 0)).tries
        self.model.setdefault(cell, {})[action] = Step(reward, following, tries + 1)
        error = abs(reward + 0.9 * self.value(following) - self.q.get((cell, action), 0.0))
        if error > 1e-3:
            heapq.heappush(self.queue, (-round(error, 6), cell, action))
        done = 0
        while self.queue and done < self.planning:
            _, c, a = heapq.heappop(self.queue)
            step = self.model[c][a]
            old = self.q.get((c, a), 0.0)
            self.q[c, a] = old + 0.5 * (step.reward + 0.9 * self.value(step.cell) - old)
            for before, moves in self.model.items():
                for b, s in moves.items():
                    if s.cell == c:
                        gap = abs(s.reward + 0.9 * self.value(c) - self.q.get((before, b), 0.0))
                        if gap > 1e-3:
                            heapq.heappush(self.queue, (-round(gap, 6), before, b))
            done += 1
        del self.queue[40:]
        heapq.heapify(self.queue)
        return done

    @trace_agent_action()
    @watch
    def finish(self, steps):
        self.steps_to_goal.append(steps)
        if len(self.steps_to_goal) > 6:
            self.epsilon = 0.05
        self.learning.log_reward("episode", reward=-steps, cumulative_reward=-sum(self.steps_to_goal))


def make(name):
    return {"plain": lambda: Dyna("plain"), "curious": lambda: Dyna("curious", 6, 0.02)}[name]()


def build(spec):
    if spec.agent_id is None:
        return {name: make(name) for name in ("plain", "curious")}
    return make(spec.agent_id)


def world(walls, cell, action):
    r, c = cell[0] + ACTIONS[action][0], cell[1] + ACTIONS[action][1]
    if not (0 <= r < len(MAZE) and 0 <= c < len(MAZE[0])) or (r, c) in walls:
        return cell, -0.05
    return (r, c), (1.0 if MAZE[r][c] == "G" else -0.01)


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    for name in ("plain", "curious"):
        agent = make(name)
        walls = {(r, c) for r, row in enumerate(MAZE) for c, x in enumerate(row) if x == "#"}
        for episode in range(12):
            with tick(episode):
                if episode == 7:
                    walls ^= {(0, 6), (2, 5)}
                cell = (4, 0)
                for n in range(1, 56):
                    action = agent.act(cell)
                    following, reward = world(walls, cell, action)
                    agent.learn(cell, action, reward, following)
                    cell = following
                    if reward == 1.0:
                        break
                agent.finish(n)
        print(name, agent.steps_to_goal, len(agent.q), len(agent.queue), round(agent.value((4, 0)), 5))


if __name__ == "__main__":
    main()
