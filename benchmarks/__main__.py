"""All measurements of recording in one go: `python -m benchmarks`.

The budgets (`recording.py`), the peers (`peers_table.py`) and the scaling (`scaling.py`), one after the
other; options: `--quick` (about four minutes), `--json`, `--directory DIR`.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.command import options, progress, run
from benchmarks.table import Report


def measure(given: argparse.Namespace, directory: Path) -> Report:
    from benchmarks import peers_table, recording, scaling

    progress("1 of 3: budgets")
    report = recording.measure(directory, recording.QUICK if given.quick else recording.FULL)
    progress("2 of 3: peers")
    report.add(peers_table.measure(given, directory))
    progress("3 of 3: scaling")
    report.add(scaling.measure(given, directory))
    return report


def main(arguments: list[str]) -> int:
    parser = options("benchmarks", "Recording measured: budgets, peers, threads and processes.")
    given = parser.parse_args(arguments)
    # what the single measurements would take from their own options
    given.only, given.events, given.rounds = None, None, None
    absent = [name for name in ("structlog", "eliot") if find_spec(name) is None]
    if absent:
        parser.error(f"the budgets are compared with {' and '.join(absent)}: pip install '.[bench]'")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
