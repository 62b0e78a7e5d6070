"""What a traced call costs beside large values: `python -m benchmarks.large_worlds [--baseline DIR] [--only NAME ...]`.

Each world of `large_worlds_subject.py` has one large value: in a field, shared by agents, as an argument or as a result.
Its agents act in a process of its own, traced by `instrument` and not at all. The first step, in which states are recorded
whole, is shown apart from the last half of the steps.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.command import options, progress, require, run
from benchmarks.large_worlds_subject import WORLDS
from benchmarks.table import Report, Row, Table

_HERE = Path(__file__).resolve()
_BUDGET_US = 1_000
"""Of the later calls: more slows down most programs for good."""


def _printed(name: str, how: str, steps: int, directory: Path, package: Path) -> tuple[float, float, float]:
    root = tempfile.mkdtemp(dir=directory)
    done = subprocess.run(
        [sys.executable, "-P", str(_HERE.with_name("large_worlds_subject.py")), name, how, str(steps), root],
        env={**os.environ, "PYTHONPATH": str(package), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}, {how}: {done.stderr[-2000:]}")
    first, later, end = map(float, done.stdout.splitlines()[-1].split())
    return first, later, end


def measure(given: argparse.Namespace, directory: Path) -> Report:
    """Processor time per call of the first and of later steps, and at the end of recording."""
    package = _HERE.parents[1]
    contenders = {"none": package, "ours": package}
    if given.baseline is not None:
        contenders["baseline"] = given.baseline.resolve()
    report = Report()
    table = Table(
        "Processor time of traced calls, of each contender: " + ", ".join(contenders),
        ("world", "a call of the first step, ms", "a later call, us", "the end, ms"),
    )
    for name in given.only:
        progress(name)
        found = {
            contender: _printed(
                name, "none" if contender == "none" else "ours", 20 if given.quick else 60, directory, path
            )
            for contender, path in contenders.items()
        }
        table.lines.append(
            (
                str(WORLDS[name].__doc__).rstrip("."),
                " / ".join(f"{first * 1e3:.2f}" for first, _, _ in found.values()),
                " / ".join(f"{later * 1e6:.0f}" for _, later, _ in found.values()),
                " / ".join(f"{end * 1e3:.0f}" for _, _, end in found.values()),
            )
        )
        added_us = (found["ours"][1] - found["none"][1]) * 1e6
        report.rows.append(
            Row(
                f"a later call, {name}",
                f"{added_us:.0f} us",
                "",
                f"{_BUDGET_US:,} us",
                added_us <= _BUDGET_US,
            )
        )
        report.figures[name] = found
    report.tables.append(table)
    return report


def main(arguments: list[str]) -> int:
    """The command."""
    parser = options("benchmarks.large_worlds", "Traced calls beside large values.")
    parser.add_argument("--only", nargs="+", choices=list(WORLDS), default=list(WORLDS), metavar="NAME")
    parser.add_argument(
        "--baseline", type=Path, help="another checkout of this project, with its native part"
    )
    given = parser.parse_args(arguments)
    require(parser, "numpy", "pandas", "networkx", extras="bench,frameworks")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
