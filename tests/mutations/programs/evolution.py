"""A genetic algorithm: genomes as arrays of bool, individuals as objects with slots."""

import numpy as np

from Agent import setup_logging, shutdown_logging, trace_agent_action


class Individual:
    __slots__ = ("genome", "score")

    def __init__(self, genome):
        self.genome = genome
        self.score = int(genome.sum())


class Population:
    def __init__(self, size=8, length=16, seed=2):
        self.agent_id, self.agent_role = "population", "evolution"
        self.rng = np.random.default_rng(seed)
        self.age = 0
        self.members = [Individual(self.rng.random(length) < 0.4) for _ in range(size)]

    @trace_agent_action()
    def generation(self):
        self.age += 1
        parents = sorted(self.members, key=lambda each: each.score, reverse=True)[:4]
        children = []
        for _ in range(len(self.members) - len(parents)):
            first, second = self.rng.choice(len(parents), size=2, replace=False)
            cut = self.rng.integers(1, len(parents[0].genome))
            genome = np.concatenate([parents[first].genome[:cut], parents[second].genome[cut:]])
            flips = self.rng.random(len(genome)) < 0.05
            children.append(Individual(genome ^ flips))
        self.members = parents + children
        return self.members[0]


def build(spec):
    return Population()


def main():
    setup_logging()
    population = Population()
    for _ in range(10):
        best = population.generation()
    shutdown_logging()
    print(best.score)


if __name__ == "__main__":
    main()
