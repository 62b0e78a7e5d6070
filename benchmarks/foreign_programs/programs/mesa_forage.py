"""Ants on a Mesa grid: food, pheromone (numpy layer), nest. Each ant keeps a short memory."""
import os

import mesa
import numpy as np
from mesa.space import MultiGrid

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

NEST = (2, 2)
DECAY = 0.9


class Ant(mesa.Agent):
    def __init__(self, model):
        super().__init__(model)
        self.agent_id = f"ant-{self.unique_id}"
        self.noise = np.random.default_rng(100 + self.unique_id)
        self.carrying = 0.0
        self.energy = 20.0
        self.memory = np.zeros(4)
        self.delivered = []

    @trace_agent_action("sense_and_move")
    @watch
    def walk(self, smells, cells):
        smells = np.asarray(smells, dtype=float)
        if self.carrying:
            scores = -np.array([abs(x - NEST[0]) + abs(y - NEST[1]) for x, y in cells], dtype=float)
        else:
            scores = smells + 0.3 * self.noise.random(len(cells))
        best = int(np.argmax(scores))
        self.memory = np.roll(self.memory, 1)
        self.memory[0] = round(float(smells[best]), 6)
        self.energy -= 0.5 if self.carrying else 0.25
        target = tuple(int(v) for v in cells[best])
        self.model.grid.move_agent(self, target)
        return target

    @trace_agent_action("take_food")
    @watch
    def take(self, available):
        bite = min(1.0, available, self.energy / 5)
        self.carrying = round(bite, 4)
        return self.carrying

    @trace_agent_action("deliver")
    @watch
    def deliver(self, day):
        if not self.carrying:
            raise RuntimeError(f"{self.agent_id} brings nothing")
        self.delivered.append((day, self.carrying))
        self.energy = min(20.0, self.energy + 4 * self.carrying)
        if len(self.delivered) == 3:
            self.memory *= 0.5
        self.carrying = 0.0
        return len(self.delivered)


class Colony(mesa.Model):
    def __init__(self, ants=6, size=9, seed=5):
        super().__init__(seed=seed)
        self.grid = MultiGrid(size, size, torus=False)
        self.food = np.zeros((size, size))
        for x, y in [(6, 6), (7, 3), (1, 7), (4, 5)]:
            self.food[x, y] = 8
        self.pheromone = np.zeros((size, size))
        self.ants = [Ant(self) for _ in range(ants)]
        for ant in self.ants:
            self.grid.place_agent(ant, NEST)

    def step_day(self, day):
        for ant in self.ants:
            cells = sorted(self.grid.get_neighborhood(ant.pos, moore=True))
            smells = [float(self.pheromone[c] + self.food[c] / 8) for c in cells]
            spot = ant.walk(smells, cells)
            if not ant.carrying and self.food[spot] > 0:
                self.food[spot] -= ant.take(float(self.food[spot]))
            elif spot == NEST and ant.carrying:
                ant.deliver(day)
            if ant.carrying:
                self.pheromone[spot] += 0.2
        self.pheromone *= DECAY
        if day == 40:
            try:
                self.ants[0].carrying = 0.0
                self.ants[0].deliver(day)
            except RuntimeError as error:
                print(error)


def build(spec):
    ants = {ant.agent_id: ant for ant in Colony().ants}
    return ants if spec.agent_id is None else ants[spec.agent_id]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    colony = Colony()
    for day in range(90):
        with tick(day):
            colony.step_day(day)
    print("left", round(float(colony.food.sum()), 3), "smell", round(float(colony.pheromone.sum()), 4))
    for ant in colony.ants:
        print(ant.agent_id, ant.pos, round(ant.energy, 2), ant.delivered[-2:], ant.memory.round(3).tolist())


if __name__ == "__main__":
    main()
