"""A sweep in the worker process, which reaches the point once and forks itself there for every change.

What the forks do is recorded into nothing; each leaves its outcome in a file of the request's directory.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson

from Agent.event.pointers import value_at
from Agent.event.values.values import to_json
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import read_state
from Agent.replay.forks.fork import Fork
from Agent.replay.forks.outcome import STOPPED, OutcomeOf, Patch, leaves, of_leaves
from Agent.replay.worker.fork_server import Forks
from Agent.replay.worker.jobs import from_object


class SweepVariant(NamedTuple):
    """One change that is tried."""

    patch: Patch | None
    seed: int | None


DIED = {
    "value": STOPPED, "stopped": "its process died", "errors": [], "messages": [], "steps": 0, "notes": [],
}  # fmt: skip
"""Stands for the answer of a fork whose process died."""


class PatchSweep:
    """Forks of one point that differ by a patch of the state, a seed, or both.

    Args:
        workers: how many run at the same time.
    """

    def __init__(self, fork: Fork, outcome: OutcomeOf, workers: int) -> None:
        self._fork = fork
        self._outcome = outcome
        self._forks = Forks(fork.bench.directory, workers, is_telling=True)
        self._pipeline = fork.unrecorded()

    def try_all(self, variants: Sequence[SweepVariant]) -> list[dict[str, Any]]:
        """What came of each change, in order."""
        return [told or DIED for told in self._forks.run([partial(self._told, each) for each in variants])]

    def _told(self, variant: SweepVariant) -> dict[str, Any]:
        self._fork.driver.leave_loop()
        self._fork.go_on(self._pipeline, *variant)
        fork = self._fork.outcome
        return {
            "value": self._outcome.of(fork),
            "stopped": fork.stopped,
            "errors": [str(error) for error in fork.errors[:3]],
            "steps": fork.steps,
            "notes": fork.notes,
            "seconds": fork.seconds,
            "processor_seconds": fork.processor_seconds,
            "process_seconds": time.process_time(),  # of a process that began with its fork
        }

    def smallest(self, patch: Patch, seed: int | None, baseline: Any) -> Patch:
        """The patch without whatever of it is not needed to change the outcome."""
        kept = leaves(patch)
        place = 0
        while place < len(kept) and len(kept) > 1:
            fewer = kept[:place] + kept[place + 1 :]
            (told,) = self.try_all([SweepVariant(of_leaves(patch, fewer), seed)])
            if "error" not in told and told["value"] not in (baseline, STOPPED):
                kept = fewer
            else:
                place += 1
        return of_leaves(patch, kept)


def _size(state: Any, patch: Patch) -> tuple[int, float, int]:
    """How large a change is: in single changes, in numbers by how far they go, in characters."""
    single = leaves(patch)
    distance = 0.0
    for pointer, value in single:
        change = value.get("value") if isinstance(value, dict) and "op" in value else value
        before = value_at(state, value["path"] if isinstance(value, dict) and "op" in value else pointer)
        if _is_number(before) and _is_number(change):
            distance += abs(change - before) / max(abs(before), 1)
        else:
            distance += 1
    return len(single), distance, len(orjson.dumps(patch))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _state_of(fork: Fork) -> Any:
    """The states at the point as JSON: of one agent its fields, of several by agent."""
    states = {
        name: orjson.loads(to_json(dict(read_state(obj).fields), "", agent_of=agent_id_of).json)
        for name, obj in fork.bench.given.items()
    }
    return next(iter(states.values())) if len(fork.bench.objects) == 1 else states


def sweep(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `sweeping.py`."""
    began = time.monotonic()
    outcome = OutcomeOf.parse(request["outcome"])
    fork = Fork(request, shows=outcome.concerns)
    fork.bring()
    reached = time.monotonic()
    tried_here = PatchSweep(fork, outcome, request["workers"])
    variants = [SweepVariant(each["patch"], each["seed"]) for each in request["variants"]]
    with silenced():
        told = tried_here.try_all([SweepVariant(None, None), *variants])
        baseline, *tried = told
        _raise_first(told)
        smallest = _smallest(tried_here, variants, tried, baseline["value"], _state_of(fork))
    return {
        "point": fork.outcome.point,
        "start": fork.outcome.start,
        "redriven": fork.outcome.redriven,
        "remaining": fork.outcome.remaining,
        "agents": fork.outcome.agents,
        "baseline": baseline,
        "tried": tried,
        "smallest": smallest,
        "reached_seconds": reached - began,
        "forks_seconds": time.monotonic() - reached,
    }


def _smallest(
    sweep: PatchSweep, variants: list[SweepVariant], tried: list[dict[str, Any]], baseline: Any, state: Any
) -> dict[str, Any] | None:
    flips = [
        variant
        for variant, told in zip(variants, tried, strict=True)
        if variant.patch is not None and told["value"] not in (baseline, STOPPED)
    ]
    patches: Callable[[SweepVariant], Any] = lambda each: _size(state, each.patch or {})  # noqa: E731
    if not flips:
        return None
    chosen = min(flips, key=patches)
    assert chosen.patch is not None  # noqa: S101 - those without were left out above
    return {"patch": sweep.smallest(chosen.patch, chosen.seed, baseline), "seed": chosen.seed}


def _raise_first(told: list[dict[str, Any]]) -> None:
    """A patch that does not fit is a mistake of whoever asked, not an outcome."""
    for each in told:
        if "error" in each:
            raise from_object(each["error"])


class silenced:  # noqa: N801 - used like a function
    """What forks print goes nowhere: a hundred of them at the same time say nothing that can be read."""

    def __enter__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._kept = [os.dup(number) for number in (1, 2)]
        null = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(null, number)
        os.close(null)

    def __exit__(self, *_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, number)
            os.close(kept)
