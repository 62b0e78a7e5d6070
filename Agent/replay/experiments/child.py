"""Experiments in the worker process, which reads the run once and forks itself for every event to be tried.

Each of these forks comes to the action that holds the moment, and forks itself there for every variant.
Nothing is recorded.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from Agent.errors import AgentTraceError
from Agent.record.emit.pipeline import Pipeline
from Agent.replay.experiments.experiment import ExperimentVariant, Suspicion, Trial
from Agent.replay.experiments.interventions import Intervention
from Agent.replay.forks.fork import Brought
from Agent.replay.sweeps.sweep_child import Sweep, silenced
from Agent.replay.sweeps.sweep_outcome import OutcomeOf
from Agent.replay.worker.jobs import as_object
from Agent.replay.worker.progress import tell

MIN_SEEDS = 5
PATIENCE_S = 30.0
"""So long the other seeds of one event may take; fewer are tried where each takes long, but MIN_SEEDS."""


class Told(NamedTuple):
    """What one event's forks told, as it goes to the process that asked."""

    baseline: dict[str, Any]
    recorded: Any
    is_same: bool
    """Whether an unchanged fork did what the recording has."""
    tried: list[dict[str, Any]]
    """Of each intervention its words and its fork with the recorded chance."""
    chosen: int | None = None
    """The one of them that was tried with other seeds as well."""
    with_it: Sequence[dict[str, Any]] = ()
    without_it: Sequence[dict[str, Any]] = ()


class ExperimentForks(Sweep[ExperimentVariant]):
    """All forks of one moment."""

    def __init__(self, trial: Trial, brought: Brought, workers: int, directory: Path) -> None:
        outcome = OutcomeOf.parse(trial.measure.outcome or "error")
        super().__init__(trial, brought, outcome, workers, directory)
        self._trial = trial
        self._pipeline: Pipeline = trial.pipeline_into(trial.sink)

    def _told(self, variant: ExperimentVariant) -> dict[str, Any]:
        trial = self._trial
        trial.carry_out(self._brought, variant, self._pipeline)
        fork = trial.fork
        return {
            "value": trial.tally.value(fork),
            "stopped": fork.stopped,
            "errors": [error.error_type for error in fork.errors],
            "messages": [str(error) for error in fork.errors[:1]],
            "seconds": fork.seconds,
        }


def _tried(trial: Trial, suspicion: Suspicion, request: dict[str, Any], directory: Path) -> Told:
    """Everything about one event, in a process of its own."""
    brought = trial.bring_to(suspicion)
    trial.read_answers(brought)
    trials = ExperimentForks(trial, brought, request["workers"], directory)
    recorded = trial.recorded(brought)
    ways = trial.interventions()
    baseline, *first = trials.try_all([ExperimentVariant(each, None) for each in (None, *ways)])
    is_same = recorded is None or _is_equal(baseline["value"], recorded)
    told = Told(baseline, recorded, is_same, [_words(*pair) for pair in zip(ways, first, strict=True)])
    if not is_same or baseline["stopped"] is not None or baseline["value"] is None:
        return told
    if suspicion.event_id is None:
        return told._replace(
            with_it=trials.try_all([ExperimentVariant(None, seed) for seed in request["seeds"]])
        )
    if not ways:
        return told
    place = _most_telling(baseline, first, request["worse"])
    seeds = request["seeds"][: _affordable(request, baseline)]
    if first[place]["value"] == baseline["value"]:
        seeds = seeds[:MIN_SEEDS]  # what makes no difference here seldom makes one elsewhere
    both = [ExperimentVariant(each, seed) for each in (None, ways[place]) for seed in seeds]
    forks = trials.try_all(both)
    return told._replace(chosen=place, with_it=forks[: len(seeds)], without_it=forks[len(seeds) :])


def _words(way: Intervention, fork: dict[str, Any]) -> dict[str, Any]:
    return {"sort": way.sort, "told": way.told, "fork": fork}


def _most_telling(baseline: dict[str, Any], first: list[dict[str, Any]], worse: int) -> int:
    """The intervention that takes most of the complaint away under the recorded chance, else the first.

    What it does is measured under other chance, so that being chosen does not flatter it.
    """

    def gain(fork: dict[str, Any]) -> float:
        value = fork["value"]
        if fork["stopped"] is not None or not isinstance(value, (int, float)) or fork["errors"]:
            return -math.inf
        change = float(baseline["value"]) - float(value)
        return change * worse if worse else abs(change)

    if not isinstance(baseline["value"], (bool, int, float)):
        return 0
    return max(range(len(first)), key=lambda place: (gain(first[place]), -place))


def _affordable(request: dict[str, Any], baseline: dict[str, Any]) -> int:
    """How many seeds, with and without the event, can be tried in the time that one event may take."""
    each_s = 2 * max(baseline["seconds"], 1e-3) / request["workers"]
    return max(MIN_SEEDS, int(PATIENCE_S / each_s))


def _in_fork(number: int, trial: Trial, suspicion: Suspicion, request: dict[str, Any]) -> dict[str, Any]:
    """What a fork of this process tells of one event."""
    directory = Path(request["outcome_path"]).parent / f"event-{number}"
    directory.mkdir(mode=0o700)
    path = directory / "told.json"
    pid = os.fork()
    if pid == 0:
        try:
            try:
                told: dict[str, Any] = _tried(trial, suspicion, request, directory)._asdict()
            except AgentTraceError as error:
                told = {"error": as_object(error)}
            path.write_bytes(orjson.dumps(told, default=repr))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {"error": {"type": "ReplayError", "message": "its process died", "path": None, "remedy": None}}
    return found


def experiment(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `run_experiments.py`."""
    began = time.monotonic()
    trial = Trial(request)
    trial.import_target()
    suspicions = [Suspicion(each["event_id"], each["rule"], each["suspects"]) for each in request["events"]]
    told = []
    with silenced():
        for number, suspicion in enumerate(suspicions):
            told.append(_in_fork(number, trial, suspicion, request))
            tell(Path(request["outcome_path"]).parent, number + 1, len(suspicions))
    return {"told": told, "seconds": time.monotonic() - began}


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)
