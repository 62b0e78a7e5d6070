"""What recorded calls cost beside an earlier commit: `python -m benchmarks.recording_beside --baseline DIR`.

The directory is a checkout of that commit with its native parts built (`python hatch_build.py` in it). Both record the
same calls (`recording_subject.py`) in processes of their own that take turns; what is compared is processor time,
so that others at work on the machine disturb it less. With `--instructions ROW...` the instructions of a call are
counted instead, by valgrind: those are the same on a busy machine, and leave out the kernel.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.command import options, progress, run
from benchmarks.method import quartiles_of_ratios
from benchmarks.table import Report, Row

_OWN = Path(__file__).resolve().parents[1]
_SUBJECT = _OWN / "benchmarks" / "recording_subject.py"
MOST_WORSE = 1.05
MOST_OBJECT = 3.0
PLACES = ("result", "argument", "field")
COUNTED_CALLS = 400


def subject(tree: Path, *arguments: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """One child with the package of a checkout."""
    with tempfile.TemporaryDirectory() as directory:
        command = [*under, sys.executable, "-P", str(_SUBJECT), directory, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise RuntimeError(f"{tree}: {done.stderr}")
    return done


def instructions(tree: Path, row: str) -> float:
    """Instructions a call: the difference between two numbers of calls, which takes the process itself away."""
    counter = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
    counts = []
    for calls in (COUNTED_CALLS, 3 * COUNTED_CALLS):
        told = subject(tree, "0", str(calls), row, under=counter).stderr
        counts.append(int(re.findall(r"Collected : (\d+)", told)[0]))
    return (counts[1] - counts[0]) / (2 * COUNTED_CALLS)


def count(baseline: Path, wanted: list[str]) -> Report:
    report = Report()
    for row in wanted:
        progress(f"counting: {row}")
        before, now = instructions(baseline, row), instructions(_OWN, row)
        report.rows.append(
            Row(
                row,
                f"{now:,.0f} instructions",
                f"{now / before:.3f} x {before:,.0f}",
                f"<= {MOST_WORSE}",
                now <= MOST_WORSE * before,
            )
        )
    return report


def measure(baseline: Path, turns: int, batches: int, calls: int, wanted: list[str]) -> Report:
    """Each row beside the baseline, then objects beside dicts."""
    taken: dict[Path, list[dict[str, float]]] = {baseline: [], _OWN: []}
    for turn in range(turns):
        progress(f"turn {turn + 1} of {turns}")
        for tree in (baseline, _OWN) if turn % 2 else (_OWN, baseline):
            taken[tree].append(json.loads(subject(tree, str(batches), str(calls), *wanted).stdout))
    report = Report()
    report.figures["nanoseconds"] = {"baseline": taken[baseline], "now": taken[_OWN]}
    for row in taken[_OWN][0]:
        before, now = ([figures[row] for figures in taken[tree]] for tree in (baseline, _OWN))
        low, middle, high = quartiles_of_ratios(now, before)
        beside = f"{middle:.2f} x ({low:.2f} to {high:.2f}) {statistics.median(before):,.0f} ns"
        report.rows.append(
            Row(row, f"{statistics.median(now):,.0f} ns", beside, f"<= {MOST_WORSE}", middle <= MOST_WORSE)
        )
    for place, content in itertools.product(PLACES, ("", "differing ")):
        names = f"{place}, {content}object of ten", f"{place}, {content}dict of ten"
        if all(name in taken[_OWN][0] for name in names):
            objects, dicts = ([figures[name] for figures in taken[_OWN]] for name in names)
            low, middle, high = quartiles_of_ratios(objects, dicts)
            beside = f"{middle:.2f} x ({low:.2f} to {high:.2f}) a dict of ten"
            report.rows.append(
                Row(
                    f"{place}: an object of ten leaves{content and ', one of them another each time'}",
                    f"{statistics.median(objects):,.0f} ns",
                    beside,
                    f"<= {MOST_OBJECT}",
                    middle <= MOST_OBJECT,
                )
            )
    return report


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.recording_beside", "What recorded calls cost beside an earlier commit.")
    parser.add_argument("--baseline", type=Path, required=True, help="a checkout of that commit, built")
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions (needs valgrind, rows named)"
    )
    parser.add_argument("rows", nargs="*", help="only these rows")
    given = parser.parse_args(arguments)
    baseline = given.baseline.resolve()
    if given.instructions:
        return run(given, lambda _: count(baseline, given.rows))
    turns, batches, calls = (3, 10, 200) if given.quick else (15, 30, 200)
    return run(given, lambda _: measure(baseline, turns, batches, calls, given.rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
