"""`TraceSaver` beside LangGraph's own `SqliteSaver`: size of the file and time of one graph, in one run.

`python -m benchmarks.langgraph_saver`; needs `langgraph` and `langgraph-checkpoint-sqlite`. The graph runs ten times
for 20 steps on one thread; each step adds a message of 60 words beside a document of 2,000 words that stays. Both
savers commit each checkpoint and each task's writes to disk (WAL, `synchronous = FULL`).
"""

from __future__ import annotations

import operator
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple, TypedDict

ROUNDS = 5
RUNS, STEPS = 10, 20
CHANCE = random.Random(1)
WORDS = ["".join(CHANCE.choices("abcdefghijklmnopqrstuvwxyz", k=CHANCE.randint(2, 9))) for _ in range(3000)]
DOCUMENT = " ".join(CHANCE.choices(WORDS, k=2000))


class State(TypedDict):
    messages: Annotated[list, operator.add]
    count: int
    document: str


class Measured(NamedTuple):
    wall_s: float
    processor_s: float
    size_bytes: int
    checkpoints: int


def answer(state: State) -> dict[str, Any]:
    words = random.Random(state["count"]).choices(WORDS, k=60)
    return {"messages": [{"role": "ai", "text": " ".join(words)}], "count": state["count"] + 1}


def measured(make: Callable[[str], AbstractContextManager[Any]]) -> Measured:
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(State)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_conditional_edges("answer", lambda state: "answer" if state["count"] % STEPS else END)
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": 100}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "graphs.sqlite"
        with make(str(path)) as saver:
            made = graph.compile(checkpointer=saver)
            wall, processor = time.perf_counter(), time.process_time()
            for number in range(RUNS):
                asked = {
                    "messages": [{"role": "user", "text": "go"}],
                    "count": number * STEPS,
                    "document": DOCUMENT,
                }
                made.invoke(asked, config)
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            checkpoints = sum(1 for _ in saver.list({"configurable": {"thread_id": "t"}}))
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Measured(wall, processor, path.stat().st_size, checkpoints)


def main() -> None:
    from langgraph.checkpoint.sqlite import SqliteSaver

    from Agent.flight import TraceSaver

    rounds = [(measured(SqliteSaver.from_conn_string), measured(TraceSaver)) for _ in range(ROUNDS)]
    for name, at in (("SqliteSaver", 0), ("TraceSaver", 1)):
        each = [one[at] for one in rounds]
        print(
            f"{name:12} {each[0].checkpoints} checkpoints, {each[0].size_bytes / 1e6:.2f} MB, "
            f"processor {median(one.processor_s for one in each):.2f} s, wall {median(one.wall_s for one in each):.2f} s"
        )
    for name in Measured._fields[:3]:
        ratios = sorted(getattr(ours, name) / getattr(theirs, name) for theirs, ours in rounds)
        print(f"{name:12} ours / theirs: median {median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
