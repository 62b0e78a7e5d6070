"""A sweep in the worker process, which reaches the point once and forks itself there for every change.

What the forks do is recorded into nothing; each leaves its outcome in a file of the request's directory.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import orjson

from Agent.errors import AgentTraceError
from Agent.event.model import RedactedBytes
from Agent.event.values.serialise import to_json
from Agent.record.emit.memory_sink import LineSink
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import read_state
from Agent.replay.forks.drive import ForkTrigger
from Agent.replay.forks.fork import Brought, Fork
from Agent.replay.forks.patches import Patch, leaves, of_leaves
from Agent.replay.sweeps.sweep_outcome import STOPPED, OutcomeOf
from Agent.replay.worker.jobs import as_object, from_object
from Agent.replay.worker.progress import tell


class SweepVariant(NamedTuple):
    """One change that is tried."""

    patch: Patch | None
    seed: int | None


V = TypeVar("V")


class NoSink(LineSink):
    """Takes lines and keeps none; whoever waits for one hears it."""

    def __init__(self) -> None:
        super().__init__("sweeping")  # an id of a writer, since lines are read again
        self.triggers: list[ForkTrigger] = []

    def write(self, line: RedactedBytes) -> bool:
        """Let a line be heard and forget it."""
        for trigger in self.triggers:
            trigger.hear(line)
        return True


class Sweep(Generic[V]):
    """All forks of one point; `V` is what one of them is told to do.

    Args:
        workers: how many run at the same time.
        directory: where they leave their outcomes.
    """

    def __init__(
        self, fork: Fork, brought: Brought, outcome: OutcomeOf, workers: int, directory: Path
    ) -> None:
        self._fork = fork
        self._brought = brought
        self._outcome = outcome
        self._workers = workers
        self._directory = directory
        self._tried = self._ended = 0
        self._expected = 0
        self._sink = NoSink()
        self._pipeline = fork.pipeline_into(self._sink)
        fork.shows = outcome.concerns

    def try_all(self, variants: Sequence[V]) -> list[dict[str, Any]]:
        """What came of each change, in order."""
        gc.collect()
        gc.freeze()  # what is there already stays shared with the forks
        running: dict[int, int] = {}
        numbers = []
        self._expected += len(variants)
        for variant in variants:
            if len(running) == self._workers:
                self._wait(running)
            number, self._tried = self._tried, self._tried + 1
            numbers.append(number)
            pid = os.fork()
            if pid == 0:
                self._carry_out(number, variant)
            running[pid] = number
        while running:
            self._wait(running)
        return [self._read(number) for number in numbers]

    def _wait(self, running: dict[int, int]) -> None:
        pid, _ = os.wait()
        running.pop(pid, None)
        self._ended += 1
        tell(self._directory, self._ended, max(self._expected, self._ended))

    def _carry_out(self, number: int, variant: V) -> None:
        """Everything that one fork does, in a process of its own, which ends here."""
        told: dict[str, Any]
        try:
            self._brought.driver.leave_loop()
            told = self._told(variant)
        except AgentTraceError as error:
            told = {"error": as_object(error)}
        except BaseException as error:  # noqa: BLE001 - told to the process that waits; here nobody would hear it
            told = {"error": {"type": "ReplayError", "message": repr(error), "path": None, "remedy": None}}
        try:
            path = self._directory / f"variant-{number}.new"
            path.write_bytes(orjson.dumps(told, default=repr))
            path.rename(path.with_suffix(".json"))
        finally:
            os._exit(0)

    def _told(self, variant: V) -> dict[str, Any]:
        raise NotImplementedError

    def _read(self, number: int) -> dict[str, Any]:
        try:
            told: dict[str, Any] = orjson.loads((self._directory / f"variant-{number}.json").read_bytes())
        except (OSError, ValueError):
            return {"value": STOPPED, "stopped": "its process died", "errors": [], "steps": 0, "notes": []}
        return told


class PatchSweep(Sweep[SweepVariant]):
    """Forks that differ by a patch of the state, a seed, or both."""

    def _told(self, variant: SweepVariant) -> dict[str, Any]:
        fork, triggers = self._fork.fork, self._sink.triggers
        self._fork.go_on(self._brought, variant.patch, variant.seed, self._pipeline, triggers.append)
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
        before = _at(state, value["path"] if isinstance(value, dict) and "op" in value else pointer)
        if _is_number(before) and _is_number(change):
            distance += abs(change - before) / max(abs(before), 1)
        else:
            distance += 1
    return len(single), distance, len(orjson.dumps(patch))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _at(value: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        value = value.get(token) if isinstance(value, dict) else None
    return value


def _state_of(fork: Fork) -> Any:
    """The states at the point as JSON: of one agent its fields, of several by agent."""
    states = {
        name: orjson.loads(to_json(dict(read_state(obj).fields), "", agent_of=agent_id_of).json)
        for name, obj in fork.objects.items()
        if obj is not None
    }
    return next(iter(states.values())) if len(fork.objects) == 1 else states


def sweep(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `sweeping.py`."""
    began = time.monotonic()
    fork = Fork(request)
    fork.is_telling = False
    brought = fork.bring()
    fork.read_answers(brought)
    reached = time.monotonic()
    tried_here = PatchSweep(
        fork,
        brought,
        OutcomeOf.parse(request["outcome"]),
        request["workers"],
        Path(request["outcome_path"]).parent,
    )
    variants = [SweepVariant(each["patch"], each["seed"]) for each in request["variants"]]
    with silenced():
        told = tried_here.try_all([SweepVariant(None, None), *variants])
        baseline, *tried = told
        _raise_first(told)
        smallest = _smallest(tried_here, variants, tried, baseline["value"], _state_of(fork))
    return {
        "point": fork.fork.point,
        "start": fork.fork.start,
        "redriven": fork.fork.redriven,
        "remaining": fork.fork.remaining,
        "agents": fork.fork.agents,
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
