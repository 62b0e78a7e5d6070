"""Blocks world. Two planners share a table; each plans with iterative deepening, executes one step, replans."""
from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from functools import cached_property

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch


@dataclass(frozen=True)
class State:
    on: tuple  # (block, support) pairs, sorted by block

    @classmethod
    def of(cls, mapping):
        return cls(tuple(sorted(mapping.items())))

    @cached_property
    def mapping(self):
        return dict(self.on)

    def clear(self, block):
        return all(support != block for _, support in self.on)

    def moves(self):
        for block, support in self.on:
            if not self.clear(block):
                continue
            if support != "table":
                yield block, "table"
            for other, _ in self.on:
                if other not in (block, support) and self.clear(other):
                    yield block, other

    def apply(self, move):
        block, to = move
        if block not in self.mapping:
            raise KeyError(f"no block {block}")
        return replace(self, on=tuple((b, to if b == block else s) for b, s in self.on))


def estimate(state, goal):
    return sum(state.mapping.get(block) != support for block, support in goal)


class Planner:
    max_depth = 5

    def __init__(self, agent_id, goals):
        self.agent_id = agent_id
        self.log = AgentLogger(agent_id, "planner")
        self.goals = [tuple(g) for g in goals]
        self.plan = []
        self.expanded = 0
        self.cache = {}
        self.history = {"moves": [], "replans": 0, "failures": []}

    @trace_agent_action()
    @watch
    def think(self, world):
        state = State.of(world)
        goal = self.goals[0]
        key = (state.on, goal)
        if key in self.cache:
            self.plan = list(self.cache[key])
            return len(self.plan)
        for depth in range(self.max_depth + 1):
            found = self._search(state, goal, depth, set())
            if found is not None:
                break
        else:
            found = self._greedy(state, goal)
        self.plan = found
        self.history["replans"] += 1
        if len(self.cache) > 25:
            self.cache.pop(next(iter(self.cache)))
        self.cache[key] = tuple(found)
        return len(found)

    def _search(self, state, goal, depth, seen):
        self.expanded += 1
        misplaced = estimate(state, goal)
        if misplaced == 0:
            return []
        if misplaced > depth:
            return None
        seen = seen | {state.on}
        for move in sorted(state.moves()):
            child = state.apply(move)
            if child.on in seen:
                continue
            rest = self._search(child, goal, depth - 1, seen)
            if rest is not None:
                return [move] + rest
        return None

    def _greedy(self, state, goal):
        moves = sorted(state.moves(), key=lambda m: (estimate(state.apply(m), goal), m))
        return moves[:1]

    @trace_agent_action()
    @watch
    def act(self, world):
        if not self.plan:
            raise StopIteration_(f"{self.agent_id} has nothing to do, expanded {self.expanded}")
        move = self.plan.pop(0)
        state = State.of(world)
        if move not in set(state.moves()):
            self.history["failures"].append(move)
            self.plan.clear()
            return None
        self.history["moves"].append(move)
        if len(self.history["moves"]) > 10:
            del self.history["moves"][0]
        return move

    @trace_agent_action()
    @watch
    def next_goal(self):
        self.goals.append(self.goals.pop(0))
        self.log.log_decision("goal", {"goal": [list(p) for p in self.goals[0]]}, reasoning="done")
        return self.goals[0]


class StopIteration_(RuntimeError):
    pass


GOALS = {
    "stacker": [[("a", "b"), ("b", "c")], [("d", "a")], [("e", "d"), ("c", "table")]],
    "tidier": [[("a", "table"), ("b", "table")], [("d", "table"), ("e", "c")]],
}


def build(spec):
    if spec.agent_id is None:
        return {name: Planner(name, goals) for name, goals in GOALS.items()}
    return Planner(spec.agent_id, GOALS[spec.agent_id])


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    planners = [Planner(*row) for row in GOALS.items()]
    world = {"a": "table", "b": "a", "c": "table", "d": "c", "e": "table"}
    bumps = random.Random(6)
    for step in range(70):
        with tick(step):
            planner = planners[step // 5 % 2]
            planner.think(dict(world))
            if bumps.random() < 0.2:
                state = State.of(world)
                block, to = bumps.choice(sorted(state.moves()))
                world[block] = to
            try:
                move = planner.act(dict(world))
            except StopIteration_ as stop:
                if step % 9 == 0:
                    print(step, stop)
                planner.next_goal()
                continue
            if move:
                world[move[0]] = move[1]
    for planner in planners:
        print(planner.agent_id, planner.expanded, planner.history["replans"], planner.history["failures"], len(planner.cache))
    print(world)


if __name__ == "__main__":
    main()
