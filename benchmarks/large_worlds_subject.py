"""Runs a program with one large value: `large_worlds_subject.py WORLD HOW STEPS DIRECTORY`.

HOW is `none` or `ours`. The last line has the processor time of a call of the first step, of a call of the last half of the
steps, and of the end of recording, in seconds.
"""

from __future__ import annotations

import collections
import sys
import time
from collections.abc import Callable
from typing import Any

Action = Callable[[Any, int], Any]
Made = tuple[list["Actor"], Action]


class Actor:
    """An agent with the fields that it is given, whose action is given, too."""

    def __init__(self, number: int, **fields: Any) -> None:
        self.agent_id = f"actor_{number}"
        self.__dict__.update(fields)

    def act(self, do: Action, step: int) -> Any:
        """Do it."""
        return do(self, step)

    def take(self, given: Any) -> int:
        """Do nothing with an argument."""
        return 1


class Cell:
    """A cell of a grid, with its neighbours."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y, self.food = x, y, 1
        self.near: list[Cell] = []


def _grid(size: int) -> list[list[Cell]]:
    grid = [[Cell(x, y) for x in range(size)] for y in range(size)]
    for row in grid:
        for cell in row:
            around = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
            cell.near = [grid[(cell.y + dy) % size][(cell.x + dx) % size] for dx, dy in around]
    return grid


class World:
    """What all agents hold."""

    def __init__(self, **fields: Any) -> None:
        self.step = 0
        self.__dict__.update(fields)


def _walk(actor: Any, step: int) -> int:
    actor.cell.food -= 1
    actor.cell = actor.cell.near[step % 9]
    return int(actor.cell.x)


def large_grid() -> Made:
    """5 agents on a grid of 10,000 linked cells."""
    grid = _grid(100)
    world = World(grid=grid)
    return [Actor(n, world=world, cell=grid[n][n]) for n in range(5)], _walk


def small_grid() -> Made:
    """5 agents on a grid of 25 linked cells."""
    grid = _grid(5)
    world = World(grid=grid)
    return [Actor(n, world=world, cell=grid[n][n]) for n in range(5)], _walk


def array_in_field() -> Made:
    """3 agents with an array of 40 MB each."""
    import numpy as np

    def act(actor: Any, step: int) -> float:
        actor.weights[step] += 1
        return float(actor.weights[0])

    return [Actor(n, weights=np.zeros(5_000_000)) for n in range(3)], act


def shared_array() -> Made:
    """20 agents that share an array of 8 MB."""
    import numpy as np

    field = np.zeros((1000, 1000))

    def act(actor: Any, step: int) -> float:
        actor.field[step] += 1
        return float(actor.field[0, 0])

    return [Actor(n, field=field) for n in range(20)], act


def shared_dict() -> Made:
    """10 agents that share a dict of 3,600 cells."""
    cells = {(x, y): {"food": 1, "agents": []} for x in range(60) for y in range(60)}

    def act(actor: Any, step: int) -> int:
        actor.cells[step % 60, 3]["food"] -= 1
        return step

    return [Actor(n, cells=cells) for n in range(10)], act


def table_of_values() -> Made:
    """5 learners with a table of 20,000 values each."""

    def act(actor: Any, step: int) -> int:
        actor.values[step % 5000, step % 4] += 0.1
        return 1

    tables = [{(state, action): 0.0 for state in range(5000) for action in range(4)} for _ in range(5)]
    return [Actor(n, values=table) for n, table in enumerate(tables)], act


def long_memory() -> Made:
    """3 agents with 20,000 memories each."""

    def act(actor: Any, step: int) -> int:
        actor.memory.append({"step": step, "text": "saw something"})
        return len(actor.memory)

    return [Actor(n, memory=[{"step": k, "text": "y" * 50} for k in range(20_000)]) for n in range(3)], act


def replay_buffer() -> Made:
    """3 learners with a buffer of up to 5,000 transitions with arrays."""
    import numpy as np

    def act(actor: Any, step: int) -> int:
        actor.buffer.append((np.zeros(4), step, 1.0, np.zeros(4), False))
        return 1

    return [Actor(n, buffer=collections.deque(maxlen=5000)) for n in range(3)], act


def many_friends() -> Made:
    """300 agents that know each other."""
    actors = [Actor(n, friends=[], last_step=0) for n in range(300)]
    for each in actors:
        vars(each)["friends"] = list(actors)

    def act(actor: Any, step: int) -> int:
        actor.last_step = step
        return len(actor.friends)

    return actors, act


def network() -> Made:
    """20 agents that hold a network of 20,000 nodes."""
    import networkx

    graph = networkx.barabasi_albert_graph(20_000, 3, seed=1)

    def act(actor: Any, step: int) -> int:
        actor.graph.nodes[step]["value"] = step
        return int(actor.graph.degree[step])

    return [Actor(n, graph=graph) for n in range(20)], act


def data_frame() -> Made:
    """5 agents that share a table of pandas with 1.6 million values."""
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(np.zeros((200_000, 8)))

    def act(actor: Any, step: int) -> float:
        actor.frame.iloc[step, 0] = step
        return float(actor.frame.iloc[0, 0])

    return [Actor(n, frame=frame) for n in range(5)], act


def _takes(given: Any) -> Made:
    return [Actor(n) for n in range(5)], lambda actor, _step: actor.take(given)


def array_as_argument() -> Made:
    """5 agents that are given an array of 16 MB."""
    import numpy as np

    return _takes(np.zeros(2_000_000))


def frame_as_argument() -> Made:
    """5 agents that are given a colour frame of 210 x 160 pixels."""
    import numpy as np

    return _takes(np.zeros((210, 160, 3), np.uint8))


def bytes_as_argument() -> Made:
    """5 agents that are given 10 MB of bytes."""
    return _takes(b"x" * 10_000_000)


def array_in_function() -> Made:
    """5 agents that are given a function that holds an array of 16 MB, and return it."""
    import numpy as np

    array = np.zeros(2_000_000)
    return [Actor(n) for n in range(5)], lambda _actor, _step: array


WORLDS: dict[str, Callable[[], Made]] = {
    each.__name__: each
    for each in (
        *(large_grid, small_grid, array_in_field, shared_array, shared_dict, table_of_values, long_memory),
        *(replay_buffer, many_friends, network, data_frame),
        *(array_as_argument, frame_as_argument, bytes_as_argument, array_in_function),
    )
}


def main(name: str, how: str, steps: int, directory: str) -> None:
    """Run it, and print what it took."""
    end: Callable[[], object] = lambda: None  # noqa: E731 - replaced where it is traced
    if how == "ours":
        from Agent import instrument, setup_logging, shutdown_logging

        setup_logging(trace_root=directory)
        end = shutdown_logging
    actors, do = WORLDS[name]()
    if how == "ours":
        instrument(Actor, methods=["take"] if name.endswith("_argument") else ["act"])
    took: list[float] = []
    for step in range(steps):
        began = time.process_time()
        for actor in actors:
            actor.act(do, step)
        took.append((time.process_time() - began) / len(actors))
    began = time.process_time()
    end()
    later = took[steps // 2 :]
    print(took[0], sum(later) / len(later), time.process_time() - began)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
