"""Island model genetic algorithm: every island is an agent and evolves in a thread pool; migrants travel after each epoch."""
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from Agent import LearningLogger, setup_logging, tick, trace_agent_action
from oracle import watch

TARGET = np.array([int(b) for b in "110100111010001011010011"])


def fitness(genomes):
    hits = (genomes == TARGET).sum(axis=1)
    runs = (genomes[:, 1:] == genomes[:, :-1]).sum(axis=1)
    return hits * 2.0 - 0.1 * runs


@dataclass
class Record:
    best: float = -1.0
    genome: tuple = ()
    epoch: int = -1
    improved: list = field(default_factory=list)


class Island:
    def __init__(self, agent_id, size, mutation):
        self.agent_id = agent_id
        self.learning = LearningLogger("ga", agent_id)
        self.gen = np.random.default_rng([ord(c) for c in agent_id])
        self.mutation = mutation
        self.population = self.gen.integers(0, 2, size=(size, len(TARGET)))
        self.record = Record()
        self.visitors = {}

    @trace_agent_action()
    @watch
    def evolve(self, epoch):
        scores = fitness(self.population)
        order = np.argsort(-scores, kind="stable")
        elite = self.population[order[: len(order) // 3]]
        children = []
        while len(children) < len(self.population) - 2:
            a, b = self.gen.integers(len(elite), size=2)
            cut = int(self.gen.integers(1, len(TARGET)))
            child = np.concatenate([elite[a][:cut], elite[b][cut:]])
            flips = self.gen.random(len(child)) < self.mutation
            children.append(np.where(flips, 1 - child, child))
        self.population = np.vstack([elite[:2], children])
        top = float(fitness(self.population).max())
        if top > self.record.best:
            winner = self.population[int(fitness(self.population).argmax())]
            self.record = Record(top, tuple(int(g) for g in winner), epoch, self.record.improved + [epoch])
        elif epoch - self.record.epoch > 4:
            self.mutation = round(min(0.2, self.mutation * 1.2), 6)
        self.learning.log_reward("evolve", reward=top, cumulative_reward=self.record.best)
        return round(top, 3)

    @trace_agent_action()
    @watch
    def emigrate(self, count):
        order = np.argsort(-fitness(self.population), kind="stable")
        return ["".join(map(str, self.population[k])) for k in order[:count]]

    @trace_agent_action()
    @watch
    def immigrate(self, origin, genomes):
        if origin == self.agent_id:
            raise ValueError(f"{origin} cannot migrate to itself")
        worst = np.argsort(fitness(self.population), kind="stable")[: len(genomes)]
        for k, text in zip(worst, genomes):
            self.population[k] = [int(c) for c in text]
        self.visitors[origin] = self.visitors.get(origin, 0) + len(genomes)
        return self.visitors[origin]


ISLANDS = {"java": (18, 0.01), "bali": (12, 0.03), "timor": (24, 0.002)}


def build(spec):
    if spec.agent_id is None:
        return {name: Island(name, *args) for name, args in ISLANDS.items()}
    return Island(spec.agent_id, *ISLANDS[spec.agent_id])


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    islands = [Island(name, *args) for name, args in ISLANDS.items()]
    with ThreadPoolExecutor(max_workers=3) as pool:
        for epoch in range(40):
            with tick(epoch):
                tops = list(pool.map(lambda island: island.evolve(epoch), islands))
                if epoch % 5 == 4:
                    packets = list(pool.map(lambda island: island.emigrate(2), islands))
                    for k, packet in enumerate(packets):
                        islands[(k + 1) % 3].immigrate(islands[k].agent_id, packet)
                    print(epoch, tops)
    try:
        islands[0].immigrate("java", [])
    except ValueError as error:
        print(error)
    for island in islands:
        print(island.agent_id, island.mutation, island.record.best, island.record.improved, island.visitors)


if __name__ == "__main__":
    main()
