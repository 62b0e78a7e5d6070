"""Measure `debug_issue` on the fault simulations: `python -m benchmarks.fault_simulations.score --set unseen --seeds 1,2`.

Each run has a process of its own, and a trace root in a temporary directory. A hit: one of the first six `event_ids` of a
cause is an event at which the fault began. A false alarm: a cause of the healthy run has a confidence of 0.5 or more under
the same complaint.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.command import progress
from benchmarks.fault_benchmark.agent_fault_benchmark.scoring import ALARM, LOOKED_AT
from benchmarks.fault_simulations.kit import read_events

SETS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "unseen")
"""One author each; the trees of `debug` were fitted to the first two."""
LIMIT_S = 300
NAMED = 6


@dataclass(frozen=True)
class Played:
    """A faulty run and its healthy twin: their sessions, the complaint and the true events."""

    name: str
    complaint: str
    true: frozenset[str]
    session: Path
    healthy: Path


def simulations(name: str) -> Iterator[ModuleType]:
    """Yield the simulations of a set, by name."""
    package = importlib.import_module(f"benchmarks.fault_simulations.{name}")
    for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        yield importlib.import_module(f"{package.__name__}.{found.name}")


def played(simulation: ModuleType, seed: int, directory: Path) -> Iterator[Played]:
    """Play a simulation healthy and with each of its faults; leave out a fault that shows no symptom with this seed."""
    healthy, outcome = _run(simulation, seed, "", directory)
    for fault, about in simulation.FAULTS.items():
        session, faulty = _run(simulation, seed, fault, directory)
        true = frozenset(about.true(read_events(session)))
        if about.symptom(faulty, outcome) and true:
            name = f"{simulation.__name__.rpartition('.')[2]}, {fault}, seed {seed}"
            yield Played(name, about.complaint, true, session, healthy)


def _run(simulation: ModuleType, seed: int, fault: str, directory: Path) -> tuple[Path, Mapping[str, Any]]:
    """Play once in a process of its own; return the session and the outcome."""
    root = directory / f"{simulation.__name__}-{seed}-{fault}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AGENT_TRACE")}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fault_simulations.score", "--play", simulation.__name__, str(seed), fault],
        env=environment | {"AGENT_TRACE_ROOT": str(root)},
        capture_output=True, text=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    return next(root.glob("session_*")), json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_simulations.score", description=__doc__)
    parser.add_argument("--set", choices=SETS, default="unseen", help="default: unseen")
    parser.add_argument("--seeds", default="1,2", help="separated by commas, default 1,2")
    parser.add_argument("--play", nargs=3, metavar=("MODULE", "SEED", "FAULT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.play:
        module, seed, fault = options.play
        print(json.dumps(importlib.import_module(module).run(int(seed), fault), default=str))
        return 0
    from Agent import debug_issue

    cases = first = among = leading = sure = sure_true = alarms = 0
    with tempfile.TemporaryDirectory(prefix="fault_simulations_") as directory:
        for seed in map(int, options.seeds.split(",")):
            for simulation in simulations(options.set):
                for case in played(simulation, seed, Path(directory)):
                    causes = debug_issue(case.complaint, session=case.session).causes
                    hits = [not case.true.isdisjoint(cause.event_ids[:NAMED]) for cause in causes]
                    healthy = debug_issue(case.complaint, session=case.healthy).causes
                    cases += 1
                    first += hits[:1] == [True]
                    among += any(hits[:LOOKED_AT])
                    leading += bool(causes) and causes[0].event_ids[0] in case.true
                    if causes and causes[0].confidence >= ALARM:
                        sure, sure_true = sure + 1, sure_true + hits[0]
                    alarms += any(cause.confidence >= ALARM for cause in healthy)
                    progress(f"{case.name}: {hits.index(True) + 1 if True in hits else 'missed'}")
    print(
        f"{cases} cases: a true event in the first cause {first}, in the first three {among}; first named {leading}"
    )
    print(
        f"first causes of {ALARM} and more: {sure}, of these true {sure_true}; false alarms {alarms} of {cases}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
