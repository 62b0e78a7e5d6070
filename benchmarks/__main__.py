"""All measurements of recording in one go: `python -m benchmarks`.

Simulations of others (`foreign_steps.py`), the budgets (`recording.py`), the peers (`peers_table.py`) and the
scaling (`scaling.py`), one after the other; options: `--quick` (about five minutes), `--json`, `--directory DIR`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.command import options, progress, require, run
from benchmarks.table import Report


def measure(given: argparse.Namespace, directory: Path) -> Report:
    from benchmarks import foreign_steps, peers_table, recording, scaling

    progress("1 of 4: simulations of others")
    report = foreign_steps.measure(given, directory)
    progress("2 of 4: budgets")
    report.add(recording.measure(directory, recording.QUICK if given.quick else recording.FULL))
    progress("3 of 4: peers")
    report.add(peers_table.measure(given, directory))
    progress("4 of 4: scaling")
    report.add(scaling.measure(given, directory))
    return report


def main(arguments: list[str]) -> int:
    parser = options("benchmarks", "Recording measured: budgets, peers, threads and processes.")
    given = parser.parse_args(arguments)
    # what the single measurements would take from their own options
    given.only, given.events, given.rounds, given.baseline = None, None, None, None
    require(parser, "structlog", "eliot", "mesa", extras="bench,frameworks")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
