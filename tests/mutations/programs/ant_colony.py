"""Ants on a complete graph: pheromone in a numpy array, tours as tuples."""

import numpy as np

from Agent import instrument, setup_logging, shutdown_logging


class Colony:
    def __init__(self, cities=7, seed=11):
        self.name = "colony"
        self.rng = np.random.default_rng(seed)
        self.places = self.rng.random((cities, 2))
        self.distance = np.linalg.norm(self.places[:, None] - self.places[None], axis=2)
        self.pheromone = np.ones((cities, cities))
        self.best = (float("inf"), ())
        self.age = 0

    def tour(self):
        order = [0]
        while len(order) < len(self.places):
            here = order[-1]
            weight = self.pheromone[here] / (self.distance[here] + 1e-9)
            weight[order] = 0
            order.append(int(self.rng.choice(len(weight), p=weight / weight.sum())))
        return tuple(order)

    def generation(self, ants=5):
        self.age += 1
        tours = [self.tour() for _ in range(ants)]
        lengths = [
            float(sum(self.distance[a, b] for a, b in zip(t, t[1:] + t[:1], strict=True))) for t in tours
        ]
        self.pheromone *= 0.9
        for tour, length in zip(tours, lengths, strict=True):
            self.pheromone[list(tour), list(tour[1:] + tour[:1])] += 1 / length
        self.best = min([self.best, *zip(lengths, tours, strict=True)])
        return self.best


instrument(Colony, methods=["generation"], agent_id="name", agent_role="colony")


def build(spec):
    return Colony()


def main():
    setup_logging()
    colony = Colony()
    for _ in range(12):
        colony.generation()
    shutdown_logging()
    print(colony.best)


if __name__ == "__main__":
    main()
