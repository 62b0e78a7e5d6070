"""The calls that `benchmarks.recording_beside` times: run by its path, so that `Agent` may be of another checkout.

`python -P recording_subject.py DIRECTORY BATCHES CALLS [ROW...]` records into the directory and prints
{row: processor nanoseconds a call of its fastest batch} as JSON. No batches: one, of which instructions are counted,
so without the mirrors' thread and with a clock of its own.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import Agent
from Agent import trace_agent_action

NESTED = 16
"""Calls in one action, so that the action itself is a small part of what is measured."""

LEAVES: dict[str, Any] = {
    "name": "north", "speed": 3, "load": 0.25, "ready": True, "owner": "bob", "stock": 17, "rank": 2,
    "price": 9.5, "note": "calm", "goal": None,
}  # fmt: skip


class Plan:
    """An object of ten leaves that no codec restores."""

    def __init__(self) -> None:
        self.__dict__.update(LEAVES)


class Trader:
    """An agent with few fields."""

    def __init__(self) -> None:
        self.agent_id, self.agent_role = "trader", "trader"
        self.count = 0

    @trace_agent_action(action_type="act")
    def act(self, topic: str, budget: int) -> dict[str, Any]:
        return {"topic": topic, "spent": budget, "ok": True}

    @trace_agent_action
    def give(self, kind: str) -> Any:
        return GIVEN[kind]

    @trace_agent_action
    def differ(self, kind: str) -> Any:
        value = DIFFERING[kind]
        _leaves_of(value)["stock"] += 1
        return value

    @trace_agent_action
    def take(self, plan: Any) -> None:
        pass

    @trace_agent_action
    def step(self, plan: Any) -> None:
        for _ in range(NESTED):
            SCALES.weigh(plan)


class Scales:
    """Another agent, which a replay of the first may answer for."""

    def __init__(self) -> None:
        self.agent_id, self.agent_role = "scales", "scales"

    @trace_agent_action
    def weigh(self, plan: Any) -> int:
        return 3


SCALES = Scales()

GIVEN: dict[str, Any] = {"nothing": None, "dict": dict(LEAVES), "object": Plan()}
DIFFERING: dict[str, Any] = {"differing dict": dict(LEAVES), "differing object": Plan()}
"""The same, one leaf of which changes before each call."""


def _leaves_of(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else vars(value)


class Holder:
    """An agent with one more field, of which an action changes one leaf."""

    def __init__(self, plan: Any) -> None:
        self.agent_id, self.agent_role = f"holder_{type(plan).__name__}", "holder"
        self.plan = plan
        self._leaves = {"stock": 0} if plan is None else _leaves_of(plan)

    @trace_agent_action
    def act(self) -> None:
        self._leaves["stock"] += 1


class Newcomer:
    """An agent with five fields, two of which name it."""

    numbers = itertools.count()

    def __init__(self) -> None:
        self.agent_id, self.agent_role = f"newcomer_{next(self.numbers)}", "newcomer"
        self.count, self.mood, self.rank = 0, "calm", 2

    @trace_agent_action
    def act(self, n: int) -> int:
        self.count += n
        return self.count


class TenFields:
    """Ten exposed fields, of which each call changes one."""

    def __init__(self, **more: Any) -> None:
        self.agent_id, self.agent_role = f"fields_{len(more)}", "creator"
        self.followers = 0
        self.mood, self.energy, self.seen, self.rank = "calm", 0.75, 17, 3
        self.topics = ["ai", "tech"]
        self.best = {"video": 0.5, "text": 0.25}
        self.active, self.region, self.epsilon = True, "north", 0.1
        self.__dict__.update(more)

    @trace_agent_action(action_type="act")
    def act(self, topic: str, budget: int) -> dict[str, Any]:
        self.followers += 1
        return {"topic": topic, "spent": budget, "ok": True}


SMALL = {
    "action_data": {
        "content_type": "video",
        "duration": 30,
        "topic": "AI",
        "reach": 10000,
        "quality": 0.8125,
    },
    "decision_context": {"topic": "AI", "epsilon": 0.1, "time_of_day": "evening", "followers": 1250},
}
RICH = {
    "action_data": {
        "content_id": UUID("0192f3a4-5b6c-7d8e-9f01-23456789abcd"),
        "title": 'The "quiet" model\nand what it said',
        "variants": [{"kind": "short", "seconds": 15}, {"kind": "long", "seconds": 240}],
    },
    "decision_context": {"topic": "AI", "reason": 'peers said "post now"', "scores": [0.1, 0.25, 0.5]},
}


def rows() -> dict[str, tuple[Callable[[], object], int]]:
    """{row: (a call, how many recorded calls that is)}."""
    trader, fields = Trader(), TenFields()
    lists = TenFields(
        orders=[{"n": n, "price": 1.5 * n} for n in range(8)], seen_by=("a", "b"), tags={"x", "y"}
    )
    logger = Agent.AgentLogger("creator_001", "creator")
    holders = {
        kind: Holder(plan) for kind, plan in (("nothing", None), ("dict", dict(LEAVES)), ("object", Plan()))
    }
    small_dict, small_list = {"kind": "buy", "amount": 3, "price": 9.5}, ["tea", "rye", 3]
    found: dict[str, tuple[Callable[[], object], int]] = {
        "a new agent's first action": (lambda: Newcomer().act(3), 1),
        "an action": (lambda: trader.act("ai", 30), 1),
        "an action, ten fields, one changed": (lambda: fields.act("ai", 30), 1),
        "an action, fields of containers": (lambda: lists.act("ai", 30), 1),
        "log_action": (lambda: logger.log_action("create", **SMALL), 1),
        "log_action, UUIDs, nested and quoted": (lambda: logger.log_action("create", **RICH), 1),
        "a nested call, a number": (lambda: trader.step(3), NESTED + 1),
        "a nested call, a small dict": (lambda: trader.step(small_dict), NESTED + 1),
        "a nested call, a small list": (lambda: trader.step(small_list), NESTED + 1),
        "a nested call, a dict of ten": (lambda: trader.step(GIVEN["dict"]), NESTED + 1),
        "a nested call, an object of ten": (lambda: trader.step(GIVEN["object"]), NESTED + 1),
    }
    for kind, value in GIVEN.items():
        what = kind if kind == "nothing" else f"{kind} of ten"
        found[f"result, {what}"] = (lambda kind=kind: trader.give(kind), 1)
        found[f"argument, {what}"] = (lambda value=value: trader.take(value), 1)
        found[f"field, {what}"] = (holders[kind].act, 1)
    for kind, value in DIFFERING.items():

        def take(value: Any = value) -> None:
            _leaves_of(value)["stock"] += 1
            trader.take(value)

        found[f"result, {kind} of ten"] = (lambda kind=kind: trader.differ(kind), 1)
        found[f"argument, {kind} of ten"] = (take, 1)
    return found


def taken_ns(call: Callable[[], object], batches: int, calls: int) -> float:
    """The fastest of the batches, processor time, a call."""
    best = float("inf")
    for _ in range(batches):
        gc.collect()
        began = time.process_time_ns()
        for _ in range(calls):
            call()
        best = min(best, (time.process_time_ns() - began) / calls)
    return best


def stop_time() -> None:
    """Have each reading of the clock be 10 us after the last, so that a run takes the same instructions again."""
    from Agent.event.system_clock import SystemClock

    start_ns = 1_763_000_000_000_000_000
    SystemClock.wall_ns = itertools.count(start_ns, 10_000).__next__  # type: ignore[assignment]
    SystemClock.monotonic_ns = itertools.count(start_ns, 10_000).__next__  # type: ignore[assignment]


def main(directory: Path, batches: int, calls: int, wanted: list[str]) -> None:
    is_counted = batches == 0
    if is_counted:
        stop_time()
    Agent.setup_logging(trace_root=directory, mirrors=not is_counted)
    figures = {}
    try:
        for row, (call, in_one) in rows().items():
            if not wanted or row in wanted:
                times = max(calls // in_one, 1)
                taken_ns(call, 1, 8 if is_counted else min(times, 64))
                figures[row] = taken_ns(call, batches or 1, times) / in_one
        if is_counted:
            os._exit(0)  # what ends a session is none of a call's cost
        health = Agent.health()
    finally:
        Agent.shutdown_logging()
    if health["dropped"] or health["notes"]:
        raise RuntimeError(f"events were lost: {health}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
