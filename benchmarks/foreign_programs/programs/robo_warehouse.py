"""Warehouse robots coordinated by an asyncio dispatcher; routes with A*, reservations in a set."""
import asyncio
import heapq
import os
from collections import deque
from typing import Iterator

from Agent import setup_logging, tick, trace_agent_action
from oracle import watch

FLOOR = """
.............
.##.##.##.##.
.##.##.##.##.
.............
.##.##.##.##.
.##.##.##.##.
.............
""".split()


def neighbours(cell) -> Iterator[tuple]:
    r, c = cell
    for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        if 0 <= r + dr < len(FLOOR) and 0 <= c + dc < len(FLOOR[0]) and FLOOR[r + dr][c + dc] == ".":
            yield r + dr, c + dc


def a_star(start, goal, avoid):
    heap, came, cost = [(0, start)], {start: None}, {start: 0}
    while heap:
        _, here = heapq.heappop(heap)
        if here == goal:
            path = []
            while here != start:
                path.append(here)
                here = came[here]
            return path[::-1]
        for cell in neighbours(here):
            price = cost[here] + 1 + (3 if cell in avoid else 0)
            if price < cost.get(cell, 10 ** 6):
                cost[cell], came[cell] = price, here
                heapq.heappush(heap, (price + abs(cell[0] - goal[0]) + abs(cell[1] - goal[1]), cell))
    return []


class Robot:
    def __init__(self, agent_id, home):
        self.agent_id = agent_id
        self.home = home
        self.cell = home
        self.route = deque()
        self.battery = 100
        self.reserved = set()
        self.trips = {"done": 0, "aborted": 0}
        self.partner = None

    @trace_agent_action()
    @watch
    async def assign(self, goal, occupied):
        await asyncio.sleep(0)
        occupied = {tuple(c) for c in occupied}
        self.route = deque(a_star(self.cell, tuple(goal), occupied - {self.cell}))
        self.reserved = set(list(self.route)[:3])
        if len(self.route) * 2 > self.battery:
            self.route.clear()
            self.reserved.clear()
            self.trips["aborted"] += 1
            raise RuntimeError(f"{self.agent_id} has {self.battery}% left, cannot reach {tuple(goal)}")
        return len(self.route)

    @trace_agent_action()
    @watch
    async def advance(self, occupied):
        await asyncio.sleep(0)
        if not self.route:
            self.battery = min(100, self.battery + 4)
            return "idle"
        following = self.route[0]
        if following in {tuple(c) for c in occupied}:
            if self.partner is not None and self.partner.cell == following and self.agent_id < self.partner.agent_id:
                self.route.rotate(0)
            return "blocked"
        self.cell = self.route.popleft()
        self.reserved.discard(self.cell)
        if len(self.reserved) < 2:
            self.reserved.update(list(self.route)[:3])
        self.battery -= 2 if self.battery > 30 else 1
        if not self.route:
            self.trips["done"] += 1
            return "arrived"
        return self.cell


def fleet():
    homes = [(0, 0), (0, 12), (6, 0), (6, 12)]
    robots = {f"r{k}": Robot(f"r{k}", home) for k, home in enumerate(homes)}
    for k in range(4):
        robots[f"r{k}"].partner = robots[f"r{(k + 1) % 4}"]
    return robots


def build(spec):
    robots = fleet()
    return robots if spec.agent_id is None else robots[spec.agent_id]


def orders():
    spots = [(3, 5), (0, 6), (6, 9), (3, 11), (6, 3), (0, 3), (3, 0), (1, 6), (5, 6), (2, 9), (4, 3)]
    n = 5
    while True:
        n = (n * 7 + 3) % 23
        yield spots[n % len(spots)]


async def shift(robots):
    queue = orders()
    for step in range(110):
        with tick(step):
            for robot in robots.values():
                others = sorted(r.cell for r in robots.values() if r is not robot)
                if not robot.route and step % 3 == 0:
                    try:
                        await robot.assign(next(queue), others)
                    except RuntimeError as error:
                        print(step, error)
                await robot.advance(others)
    for robot in robots.values():
        print(robot.agent_id, robot.cell, robot.battery, robot.trips, sorted(robot.reserved))


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(shift(fleet()))


if __name__ == "__main__":
    main()
