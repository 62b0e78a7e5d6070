"""Fish schooling in agentpy with zones and fright; agentpy's agents are instrumented from outside."""
import os

import agentpy as ap
import numpy as np

from Agent import instrument, setup_logging, tick
from oracle import watch_class


def unit(vector):
    norm = np.linalg.norm(vector)
    return vector if norm == 0 else vector / norm


class Fish(ap.Agent):
    def setup(self):
        gen = self.model.nprandom
        self.place = gen.uniform(0, 50, 2)
        self.heading = unit(gen.uniform(-1, 1, 2))
        self.energy = 30.0
        self.fright = 0
        self.zones = {"close": 0, "near": 0, "far": 0}
        self.meals = []

    def steer(self, places, headings):
        """New heading from the neighbours; all vectors come as lists."""
        pull, align, push = np.zeros(2), np.zeros(2), np.zeros(2)
        for place, heading in zip(places, headings):
            offset = np.array(place) - self.place
            distance = float(np.hypot(*offset))
            if distance < 4:
                push -= offset
                self.zones["close"] += 1
            elif distance < 12:
                align += np.array(heading)
                self.zones["near"] += 1
            elif distance < 25:
                pull += offset / 10
                self.zones["far"] += 1
        wish = 1.5 * push + align + 0.4 * pull
        if self.fright:
            wish = push
            self.fright -= 1
        self.heading = unit(0.7 * self.heading + 0.3 * unit(wish))
        return np.round(self.heading, 6).tolist()

    def swim(self, speed):
        self.place = (self.place + speed * self.heading) % 50
        self.energy = round(self.energy - 0.1 * speed, 4)
        if self.energy < 20:
            self.energy += 8
            self.meals.append(round(float(self.place[0]), 2))
        return np.round(self.place, 6).tolist()

    def scare(self, where):
        distance = float(np.hypot(*(np.array(where) - self.place)))
        if distance > 30:
            return 0
        self.fright = 3 if distance < 15 else 1
        self.heading = -self.heading
        return self.fright


class Pond(ap.Model):
    def setup(self):
        self.fish = ap.AgentList(self, self.p.population, Fish)


PARAMETERS = {"population": 10, "seed": 42}
FISH_METHODS = ["steer", "swim", "scare"]
watch_class(Fish, FISH_METHODS, id_attr="id")
instrument(Fish, methods=FISH_METHODS, agent_id="id", agent_role="fish")


def make_pond():
    pond = Pond(PARAMETERS)
    pond.sim_setup(seed=PARAMETERS["seed"])
    return pond


def build(spec):
    fish = {str(f.id): f for f in make_pond().fish}
    return fish if spec.agent_id is None else fish[str(spec.agent_id)]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    fish = list(make_pond().fish)
    for step in range(55):
        with tick(step):
            seen = [(f.place.tolist(), f.heading.tolist()) for f in fish]
            for k, one in enumerate(fish):
                others = seen[:k] + seen[k + 1:]
                one.steer([p for p, _ in others], [h for _, h in others])
            for one in fish:
                one.swim(2 + step % 3)
            if step % 18 == 17:
                print(step, [one.scare([25, 25]) for one in fish])
    heading = np.mean([f.heading for f in fish], axis=0)
    print("polarisation", round(float(np.hypot(*heading)), 5))
    for one in fish:
        print(one.id, np.round(one.place, 3).tolist(), one.energy, one.zones, one.meals)


if __name__ == "__main__":
    main()
