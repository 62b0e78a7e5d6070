"""Experiments in the worker process, which reads the run once and forks itself for every event to be tried.

Each of these forks comes to the action that holds the moment, and forks itself there for every variant.
Nothing is recorded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from Agent.errors import ReplayError
from Agent.record.emit.pipeline import Pipeline
from Agent.replay.experiments.experiment import Experiment, ExperimentVariant, Suspicion
from Agent.replay.experiments.interventions import Intervention
from Agent.replay.sweeps.sweep_child import DIED, silenced
from Agent.replay.worker.jobs import as_object, from_object
from Agent.replay.worker.parallel import Forks

MIN_SEEDS = 5
PATIENCE_S = 30.0
"""So long the other seeds of one event may take; fewer are tried where each takes long, but MIN_SEEDS."""


def _tried(experiment: Experiment, suspicion: Suspicion, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one event, in a process of its own."""
    experiment.bring_to(suspicion)
    forks = Forks(experiment.fork.bench.directory, request["workers"], is_telling=False)
    pipeline = experiment.fork.unrecorded(experiment.hear)

    def try_all(variants: Sequence[ExperimentVariant]) -> list[dict[str, Any]]:
        found = forks.run([partial(_in_fork, experiment, each, pipeline) for each in variants])
        return [_sound(told) for told in found]

    recorded = experiment.recorded()
    ways = experiment.interventions()
    baseline, *first = try_all([ExperimentVariant(each, None) for each in (None, *ways)])
    is_same = recorded is None or _is_equal(baseline["value"], recorded)
    told: dict[str, Any] = {
        "baseline": baseline,
        "recorded": recorded,
        "is_same": is_same,  # an unchanged fork did what the recording has
        "tried": [_words(*pair) for pair in zip(ways, first, strict=True)],
        "chosen": None,  # which of them was tried with other seeds as well
        "with_it": [],
        "without_it": [],
    }
    if not is_same or baseline["stopped"] is not None or baseline["value"] is None:
        return told
    if suspicion.event_id is None:
        return told | {"with_it": try_all([ExperimentVariant(None, seed) for seed in request["seeds"]])}
    if not ways:
        return told
    place = _most_telling(baseline, first, request["worse"])
    seeds = request["seeds"][: _affordable(request, baseline)]
    if first[place]["value"] == baseline["value"]:
        seeds = seeds[:MIN_SEEDS]  # what makes no difference here seldom makes one elsewhere
    both = [ExperimentVariant(each, seed) for each in (None, ways[place]) for seed in seeds]
    tried = try_all(both)
    return told | {"chosen": place, "with_it": tried[: len(seeds)], "without_it": tried[len(seeds) :]}


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


def _in_fork(experiment: Experiment, variant: ExperimentVariant, pipeline: Pipeline) -> dict[str, Any]:
    """What a fork of this process tells of one variant."""
    experiment.brought.driver.leave_loop()
    experiment.carry_out(variant, pipeline)
    fork = experiment.fork.outcome
    return {
        "value": experiment.tally.value(fork),
        "stopped": fork.stopped,
        "errors": [error.error_type for error in fork.errors],
        "messages": [str(error) for error in fork.errors[:1]],
        "seconds": fork.seconds,
    }


def _sound(told: dict[str, Any] | None) -> dict[str, Any]:
    if told is not None and "error" in told:
        raise from_object(told["error"])
    return told or DIED


def try_events(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `run_experiments.py`."""
    began = time.monotonic()
    experiment = Experiment(request)
    experiment.import_target()
    suspicions = [Suspicion(each["event_id"], each["rule"], each["suspects"]) for each in request["events"]]
    forks = Forks(experiment.fork.bench.directory, 1, is_telling=True)
    with silenced():
        told = forks.run([partial(_tried, experiment, each, request) for each in suspicions])
    died = {"error": as_object(ReplayError("its process died"))}
    return {"told": [each or died for each in told], "seconds": time.monotonic() - began}


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)
