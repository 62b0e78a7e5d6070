"""A sweep in the worker process, which reaches the point once and forks itself there for every change.

The forks are not recorded; each writes its outcome to a file in the request's directory.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import orjson

from Agent.event.pointers import value_at
from Agent.event.values.values import to_json
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import read_state
from Agent.replay.forks.fork import Fork
from Agent.replay.forks.outcome import STOPPED, OutcomeOf, Patch, leaves, of_leaves
from Agent.replay.worker.fork_server import Forks
from Agent.replay.worker.jobs import from_object

_DIED = {
    "value": STOPPED, "stopped": "its process died", "errors": [], "types": [], "steps": 0, "notes": [],
}  # fmt: skip
"""The result of a fork whose process died."""


def fork_each(fork: Fork, forks: Forks, tasks: Sequence[Callable[[], Any]]) -> list[dict[str, Any]]:
    """Run each task in a fork of this process; return the results in order.

    Args:
        tasks: each continues from the point with its change, and returns the `value` to report.

    Returns:
        For each task the keys of `_DIED` and times in seconds, or only `error` if it raised one.
    """

    def result_of(task: Callable[[], Any]) -> dict[str, Any]:
        fork.driver.leave_loop()
        value = task()
        outcome = fork.outcome
        return {
            "value": value,
            "stopped": outcome.stopped,
            "errors": [str(error) for error in outcome.errors[:3]],
            "types": [error.error_type for error in outcome.errors],
            "steps": outcome.steps,
            "notes": outcome.notes,
            "seconds": outcome.seconds,
            "process_seconds": time.process_time(),  # the process started with this fork
        }

    return [answer or _DIED for answer in forks.run([partial(result_of, task) for task in tasks])]


def raise_first(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Raise the first error, since a patch that does not fit is the caller's mistake, not an outcome."""
    for each in results:
        if "error" in each:
            raise from_object(each["error"])
    return results


@contextmanager
def silenced() -> Iterator[None]:
    """Discard what forks print in the block, since the mixed output of many forks is unreadable."""
    saved_descriptors = _pointed_at([os.open(os.devnull, os.O_WRONLY)] * 2)
    try:
        yield
    finally:
        _pointed_at(saved_descriptors)


def _pointed_at(targets: list[int]) -> list[int]:
    """Redirect stdout and stderr to these descriptors, close them, and return duplicates of the old ones."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved_descriptors = [os.dup(number) for number in (1, 2)]
    for number, target in zip((1, 2), targets, strict=True):
        os.dup2(target, number)
    for target in set(targets):
        os.close(target)
    return saved_descriptors


def sweep(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `sweep_forks`; the entry point of the worker process."""
    began = time.monotonic()
    outcome = OutcomeOf.parse(request["outcome"])
    fork = Fork(request, shows=outcome.concerns)
    fork.bring()
    reached = time.monotonic()
    pipeline = fork.unrecorded()
    forks = Forks(fork.bench.directory, request["workers"], reports_progress=True)

    def value(patch: Patch | None, seed: int | None) -> Any:
        fork.go_on(pipeline, patch, seed)
        return outcome.of(fork.outcome)

    def try_all(variants: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return fork_each(fork, forks, [partial(value, **each) for each in variants])

    variants = request["variants"]
    with silenced():
        baseline, *tried = raise_first(try_all([{"patch": None, "seed": None}, *variants]))
        smallest = _smallest(try_all, variants, tried, baseline["value"], _state_of(fork))
    before = fork.plan.actions[fork.point.index - 1].event if fork.point.index else None
    return {
        "point": fork.outcome.point,
        "actions": len(fork.plan.actions),
        "actions_before": fork.point.index,
        "tick": None if before is None else before.tick,
        "event_id": None if before is None else before.id,
        "start": fork.outcome.start,
        "redriven": fork.outcome.redriven,
        "baseline": baseline["value"],
        "tried": tried,
        "smallest": smallest,
        "reached_seconds": reached - began,
        "forks_seconds": time.monotonic() - reached,
    }


def _smallest(
    try_all: Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]],
    variants: Sequence[dict[str, Any]],
    tried: Sequence[dict[str, Any]],
    baseline: Any,
    state: Any,
) -> dict[str, Any] | None:
    """Return the smallest patch that changes the outcome, without unnecessary parts; None if none does."""
    flips = [
        variant
        for variant, result in zip(variants, tried, strict=True)
        if variant["patch"] is not None and result["value"] not in (baseline, STOPPED)
    ]
    if not flips:
        return None
    chosen = min(flips, key=lambda variant: _size(state, variant["patch"]))
    kept_leaves, index = leaves(chosen["patch"]), 0
    while index < len(kept_leaves) and len(kept_leaves) > 1:
        fewer = kept_leaves[:index] + kept_leaves[index + 1 :]
        (result,) = try_all([chosen | {"patch": of_leaves(chosen["patch"], fewer)}])
        if "error" not in result and result["value"] not in (baseline, STOPPED):
            kept_leaves = fewer
        else:
            index += 1
    return {"patch": of_leaves(chosen["patch"], kept_leaves), "seed": chosen["seed"]}


def _size(state: Any, patch: Patch) -> tuple[int, float, int]:
    """Return the size of a patch: number of single changes, relative distance, length in bytes."""
    single = leaves(patch)
    distance = 0.0
    for pointer, value in single:
        is_operation = isinstance(value, dict) and "op" in value
        change = value.get("value") if is_operation else value
        before = value_at(state, value["path"] if is_operation else pointer)
        if _is_number(before) and _is_number(change):
            distance += abs(change - before) / max(abs(before), 1)
        else:
            distance += 1
    return len(single), distance, len(orjson.dumps(patch))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _state_of(fork: Fork) -> Any:
    """Return the states at the point as JSON: the fields of a single agent, or {agent: fields}."""
    states = {
        name: orjson.loads(to_json(dict(read_state(obj).fields), "", agent_of=agent_id_of).json)
        for name, obj in (fork.bench.given if fork.is_of_one else fork.everybody()).items()
    }
    return next(iter(states.values())) if fork.is_of_one else states
