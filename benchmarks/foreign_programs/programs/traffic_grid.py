# Traffic lights on a 3x3 grid with actuated control; each light keeps four approach queues (deques).
import os
import random
from collections import deque
from datetime import datetime, timedelta
from enum import IntEnum

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

SIZE = 3
START = datetime(2021, 3, 8, 7, 30)
MIN_GREEN = 2
MAX_GREEN = 7


class Dir(IntEnum):
    N = 0
    E = 1
    S = 2
    W = 3


MOVE = {Dir.N: (0, -1), Dir.E: (1, 0), Dir.S: (0, 1), Dir.W: (-1, 0)}


class Vehicle:
    serial = 0

    def __init__(self, plate, route, entered):
        self.plate = plate
        self.route = route
        self.entered = entered

    def __repr__(self):
        return f"{self.plate}@{self.entered:%H:%M:%S}"


class Intersection:
    def __init__(self, x, y):
        self.agent_id = f"light_{x}{y}"
        self.x, self.y = x, y
        self.green = "NS"
        self.held = 0
        self.queues = {d: deque() for d in Dir}
        self.waits = []
        self.stats = {"switches": 0, "passed": 0, "worst": timedelta(0)}
        self.log_book = [START.isoformat()]

    def pressure(self, axis):
        dirs = (Dir.N, Dir.S) if axis == "NS" else (Dir.E, Dir.W)
        return sum(len(self.queues[d]) for d in dirs)

    @trace_agent_action()
    @watch
    def control(self, step):
        now = START + timedelta(seconds=10 * step)
        other = "EW" if self.green == "NS" else "NS"
        self.held += 1
        if self.held < MIN_GREEN:
            return self.green
        gain = self.pressure(other) - self.pressure(self.green)
        if gain > 1 or self.held >= MAX_GREEN and self.pressure(other):
            self.green, self.held = other, 0
            self.stats["switches"] += 1
            self.log_book.append(f"{now:%H:%M:%S} {other}")
        return self.green

    @trace_agent_action()
    @watch
    def discharge(self, step):
        now = START + timedelta(seconds=10 * step)
        gone = []
        for d in ((Dir.N, Dir.S) if self.green == "NS" else (Dir.E, Dir.W)):
            for _ in range(2 if self.held else 1):
                if not self.queues[d]:
                    break
                car = self.queues[d].popleft()
                wait = now - car.entered
                self.waits.append(wait.total_seconds())
                self.stats["worst"] = max(self.stats["worst"], wait)
                self.stats["passed"] += 1
                gone.append((car.plate, car.route))
        return gone

    @trace_agent_action()
    @watch
    def arrive(self, plate, heading, route, step):
        lane = self.queues[Dir(heading)]
        if len(lane) >= 5:
            raise OverflowError(f"{self.agent_id}: lane {Dir(heading).name} is full, {plate} turned away")
        lane.append(Vehicle(plate, route, START + timedelta(seconds=10 * step)))
        return len(lane)


def grid():
    return {f"light_{x}{y}": Intersection(x, y) for y in range(SIZE) for x in range(SIZE)}


def build(spec):
    lights = grid()
    return lights if spec.agent_id is None else lights[spec.agent_id]


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    lights = grid()
    rng = random.Random(20)
    plates = (f"{a}{b}-{n:03d}" for n in range(1000) for a in "KLM" for b in "XYZ")
    refused = []
    finished = 0
    for step in range(70):
        with tick(step):
            arrivals = []
            for _ in range(rng.choice([2, 3, 4, 6])):
                d = rng.choice(list(Dir))
                lane = rng.randrange(SIZE)
                x, y = {Dir.E: (0, lane), Dir.W: (SIZE - 1, lane), Dir.N: (lane, SIZE - 1), Dir.S: (lane, 0)}[d]
                turns = "".join(rng.choice("sslr") for _ in range(3))
                arrivals.append((x, y, next(plates), d, turns))
            for light in lights.values():
                light.control(step)
                for plate, route in light.discharge(step):
                    d = next(d for d in Dir if True) if not route else Dir((int(hash_turn(route)) + light.x) % 4)
                    dx, dy = MOVE[d]
                    x, y = light.x + dx, light.y + dy
                    if route and 0 <= x < SIZE and 0 <= y < SIZE:
                        arrivals.append((x, y, plate, d, route[1:]))
                    else:
                        finished += 1
            for x, y, plate, d, route in arrivals:
                try:
                    lights[f"light_{x}{y}"].arrive(plate, int(d), route, step)
                except OverflowError as error:
                    refused.append(str(error))
    for light in lights.values():
        mean = sum(light.waits) / max(1, len(light.waits))
        print(light.agent_id, light.stats["passed"], light.stats["switches"], f"{mean:.1f}s", light.stats["worst"])
    print("finished", finished, "refused", len(refused), refused[-1:])


def hash_turn(route):
    return {"s": 0, "l": 3, "r": 1}[route[0]] + len(route)


if __name__ == "__main__":
    main()
