"""What many forks cost: 100 of the demo simulation from its middle; `python -m benchmarks.forks`.

The simulation is recorded, and the processor time of its second half noted. Then the point is reached once
and forked with as many seeds; each fork drives the second half again, traced as then. Processor times are
compared, since other programs' work is no part of them; the time that passes is shown beside the cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

from Agent import setup_logging, shutdown_logging
from Agent.demo.platform import WHOLE, Platform, Settings
from Agent.replay import SweepReport, sweep_forks
from benchmarks.command import options, progress, run
from benchmarks.table import Report, Row, Table

FULL, QUICK = (100, Settings()), (10, Settings(agents=20, ticks=40))


def record(root: Path, settings: Settings) -> tuple[str, float]:
    """One session of the demo, and the processor seconds of its second half."""
    session = setup_logging(trace_root=root, mirrors=False)
    times = [time.process_time()]
    try:
        Platform(settings).run(lambda _: times.append(time.process_time()))
    finally:
        shutdown_logging()
    return session.session_id, times[-1] - times[settings.ticks // 2]


def measure(given: argparse.Namespace, directory: Path) -> Report:
    count, settings = QUICK if given.quick else FULL
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    progress("recording")
    name, rest = record(directory, settings)
    progress(f"{count} forks")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    report = sweep_forks(
        name,
        f"tick:{settings.ticks // 2}",
        seeds=range(1, count + 1),
        outcome="platform.outcome.likes",
        target=WHOLE,
        root=directory,
    )
    passed = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return table(report, settings, rest, passed, whole, is_quick=given.quick)


def table(
    report: SweepReport, settings: Settings, rest: float, passed: float, whole: float, *, is_quick: bool
) -> Report:
    """What was measured, beside the second half of the original."""
    count = len(report.forks)
    forks = sum(fork.process_seconds for fork in report.forks)
    ratio = forks / (rest * count)
    cores = len(os.sched_getaffinity(0))
    made = Report()
    beside = f"{count} x {rest:.2f} s, the rest of the run"
    # of a short rest what each fork costs anyway is the larger part
    met = None if is_quick else ratio <= 1.2
    made.rows.append(Row("forks, processor time", f"{ratio:.2f} x", beside, "<= 1.2 x", met))
    lines = {
        "the second half of the original, processor": f"{rest:.2f}",
        "one fork, processor, from fork to end": f"{forks / count:.2f}",
        "reaching the point, once, passed": f"{report.reached_seconds:.1f}",
        f"all forks in {report.workers} processes on {cores} cores, passed": f"{report.forks_seconds:.1f}",
        "everything, processor": f"{whole:.1f}",
        "everything, passed": f"{passed:.1f}",
    }
    title = f"{count} forks of {settings.agents} agents from tick {settings.ticks // 2} of {settings.ticks}"
    made.tables.append(Table(title, ("", "seconds"), list(lines.items())))
    made.notes += str(report).splitlines()
    made.figures["forks"] = {"ratio": ratio, "forks": count, "passed_seconds": passed, "all_seconds": whole}
    return made


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.forks", "Many forks of one point measured.")
    given = parser.parse_args(arguments)
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
