"""What an action costs by the fields that it changes: `python -m benchmarks.usual_fields [--baseline DIR]`.

Twenty agents of each class of `usual_fields_subject.py` act in a process of its own, traced by `instrument`, by
`eliot.log_call` and not at all, in turns. The figures are of the second half of the steps.
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
from benchmarks.table import Report, Table
from benchmarks.usual_fields_subject import AGENTS, CLASSES

_HERE = Path(__file__).resolve()
_STEPS = 300


def _took_us(name: str, how: str, directory: Path, package: Path) -> float:
    done = subprocess.run(
        [
            *(sys.executable, "-P", str(_HERE.with_name("usual_fields_subject.py"))),
            *(name, how, str(_STEPS), tempfile.mkdtemp(dir=directory)),
        ],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}, {how}: {done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1]) / (_STEPS - _STEPS // 2) / AGENTS * 1e6


def measure(given: argparse.Namespace, directory: Path) -> Report:
    """Microseconds that an action costs more than untraced."""
    package = _HERE.parents[1]
    contenders = {"none": package, "eliot": package, "ours": package}
    if given.baseline is not None:
        contenders["baseline"] = given.baseline.resolve()
    heads = ("fields", "+ eliot", "+ Agent Trace", *(["+ baseline"] * ("baseline" in contenders)))
    table = Table("Microseconds of processor time per action", heads)
    figures = {}
    for name, cls in CLASSES.items():
        progress(name)
        found: dict[str, list[float]] = {how: [] for how in contenders}
        for _ in range(3 if given.quick else 7):
            for how, path in contenders.items():
                found[how].append(_took_us(name, "ours" if how == "baseline" else how, directory, path))
        bare = statistics.median(found.pop("none"))
        added = [statistics.median(each) - bare for each in found.values()]
        table.lines.append(((cls.__doc__ or name).rstrip("."), *(f"{each:.1f}" for each in added)))
        figures[name] = found
    return Report(tables=[table], figures=figures)


def main(arguments: list[str]) -> int:
    """The command."""
    parser = options("benchmarks.usual_fields", "Actions that change fields of many types.")
    parser.add_argument(
        "--baseline", type=Path, help="another checkout of this project, with its native part"
    )
    given = parser.parse_args(arguments)
    require(parser, "numpy", "eliot", extras="bench,frameworks")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
