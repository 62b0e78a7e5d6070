"""Every step of Mesa's examples traced by `instrument`, beside `eliot.log_call`: `python -m benchmarks.foreign_steps`.

The agents' methods are traced, no line of the models is changed. Each turn runs every contender once, in a process
of its own, and compares processor time per traced call, less that of the untraced program. The first step, in which every
agent writes its whole state, counts; what it takes is shown apart, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.command import options, progress, require, run
from benchmarks.foreign_steps_subject import MODELS
from benchmarks.table import Report, Row, Table

_HERE = Path(__file__).resolve()
_BUDGET = 0.40
"""Of what `eliot.log_call` adds on the same methods."""
_STEPS = {
    "boltzmann": 100, "schelling": 60, "wolf_sheep": 60, "game_of_life": 40, "boid_flockers": 60,
    "virus_on_network": 60, "prisoners_dilemma": 30, "sugarscape": 20, "civil_violence": 20,
}  # fmt: skip


def _printed(model: str, how: str, steps: int, directory: Path, package: Path) -> list[float]:
    # Left there until the end: soon after thousands were removed, ext4 took 400 instead of 15 us to make a file.
    root = tempfile.mkdtemp(dir=directory)
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            str(_HERE.with_name("foreign_steps_subject.py")),
            model,
            how,
            str(steps),
            root,
        ],
        env={**os.environ, "PYTHONPATH": str(package), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{model}, {how}: {done.stderr[-2000:]}")
    return [float(number) for number in done.stdout.splitlines()[-1].split()]


def measure(given: argparse.Namespace, directory: Path) -> Report:
    """Microseconds that a call costs, and what that is of eliot's."""
    turns = 3 if given.quick else 7
    package = _HERE.parents[1]
    contenders = {"none": package, "eliot": package, "ours": package}
    if given.baseline is not None:
        contenders["baseline"] = given.baseline.resolve()
    report = Report()
    table = Table(
        "Microseconds of processor time per traced call",
        (
            "model",
            "calls",
            "untraced",
            "+ eliot",
            "+ Agent Trace",
            *(["+ baseline"] * ("baseline" in contenders)),
            "first step, ms, of each",
        ),
    )
    for model in given.models:
        progress(model)
        steps = _STEPS[model]
        (calls,) = _printed(model, "count", steps, directory, package)
        found: dict[str, list[float]] = {name: [] for name in contenders}
        first_ms: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(turns):
            for name, path in contenders.items():
                first, whole = _printed(model, "ours" if name == "baseline" else name, steps, directory, path)
                found[name].append(whole / calls * 1e6)
                first_ms[name].append(first * 1e3)
        added = {
            name: [mine - bare for mine, bare in zip(found[name], found["none"], strict=True)]
            for name in contenders
            if name != "none"
        }
        ratios = [mine / theirs for mine, theirs in zip(added["ours"], added["eliot"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        bare = statistics.median(found["none"])
        columns = [f"{statistics.median(values):.1f}" for values in added.values()]
        columns.append(" / ".join(f"{statistics.median(values):.0f}" for values in first_ms.values()))
        table.lines.append((model, f"{calls:.0f}", f"{bare:.1f}", *columns))
        report.rows.append(
            Row(
                f"a traced call of {model}",
                f"{statistics.median(added['ours']):.1f} us",
                f"{middle:.2f} x eliot.log_call ({low:.2f} to {high:.2f})",
                f"{_BUDGET:.2f}",
                middle <= _BUDGET,
            )
        )
        report.figures[model] = {"calls": calls, "us": found, "first_ms": first_ms}
    report.tables.append(table)
    return report


def main(arguments: list[str]) -> int:
    """The command."""
    parser = options("benchmarks.foreign_steps", "Simulations of others, every step of their agents traced.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    parser.add_argument(
        "--baseline", type=Path, help="another checkout of this project, with its native part"
    )
    given = parser.parse_args(arguments)
    require(parser, "mesa", "eliot", extras="bench,frameworks")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
