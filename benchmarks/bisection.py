"""How fast two sessions' first divergence is found, and how much of them is read for it.

`python -m benchmarks.bisection`: two sessions of a million events each, in which one of a hundred walkers is
changed at one tick and pushes all others from there on. What is read is counted where files are read; it is
beside the walk that compares every event, with which the answer has to agree (`--quick` alone walks).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from Agent import setup_logging, shutdown_logging
from Agent.replay import RunComparison, compare_runs
from Agent.tree.layout import log_files
from benchmarks.command import options, progress, run
from benchmarks.subjects_that_part import Ring
from benchmarks.table import Report, Row, Table

FULL_AGENTS, FULL_TICKS = 100, 5_000
QUICK_AGENTS, QUICK_TICKS = 100, 500
ROUNDS = 5


def record(root: Path, agents: int, ticks: int, change: tuple[int, str, float] | None) -> str:
    """One session of walkers; its id."""
    session = setup_logging(trace_root=root, mirrors=False)
    try:
        ring = Ring(agents, change)
        for _ in range(ticks):
            ring.tick()
    finally:
        shutdown_logging()
    return session.session_id


def measure(given: argparse.Namespace, directory: Path) -> Report:
    agents, ticks = (QUICK_AGENTS, QUICK_TICKS) if given.quick else (FULL_AGENTS, FULL_TICKS)
    at, who = ticks * 2 // 3, f"walker_{agents * 2 // 5:03d}"
    progress(f"recording two sessions of {2 * agents * ticks:,} events")
    a, b = (record(directory, agents, ticks, change) for change in (None, (at, who, 1.5)))
    total = sum(lines_of(directory / f"session_{name}") for name in (a, b))
    progress("bisecting")
    seconds, found = [], None
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = compare_runs(a, b, directory)
        seconds.append(time.perf_counter() - began)
    assert found is not None
    report = Report()
    report.rows += budgets(found, total, statistics.median(seconds), (at, who))
    report.tables.append(
        Table(
            "Finding where two sessions part",
            ("", "seconds", "lines read", "of lines", "MB read", "of MB"),
            [line("bisection", found, total, statistics.median(seconds))],
        )
    )
    if given.quick:
        progress("walking, to compare the answers")
        began = time.perf_counter()
        walked = compare_runs(a, b, directory, exhaustive=True)
        taken = time.perf_counter() - began
        report.tables[0].lines.append(("every event", f"{taken:.2f}", f"{total:,}", "100 %", "", "100 %"))
        answers = [each.divergence and each.divergence.event_a for each in (walked, found)]
        same = answers[0] is not None and answers[0] == answers[1]
        report.rows.append(Row("the same answer as a walk", str(same), "", "True", same))
    report.figures["bisection"] = {
        "seconds": seconds,
        "lines": found.meter.lines,
        "of_lines": total,
        "size_bytes": found.meter.size_bytes,
        "of_bytes": found.meter.total_bytes,
    }
    return report


def lines_of(session: Path) -> int:
    """How many events the session's files hold."""
    count = 0
    for path in log_files(session):
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                count += chunk.count(b"\n")
    return count


def line(name: str, found: RunComparison, total: int, seconds: float) -> tuple[str, ...]:
    meter = found.meter
    return (
        name,
        f"{seconds:.2f}",
        f"{meter.lines:,}",
        f"{meter.lines / total:.2%}",
        f"{meter.size_bytes / 1e6:.1f}",
        f"{meter.share:.2%}",
    )


def budgets(found: RunComparison, total: int, seconds: float, truth: tuple[int, str]) -> list[Row]:
    """What is asked for, and whether the answer is the truth."""
    share = found.meter.lines / total
    answer = None if found.divergence is None else (found.divergence.tick, found.divergence.agent_id)
    return [
        Row("first divergence", f"{seconds:.2f} s", f"of {total:,} events", "< 2 s", seconds < 2),
        Row("events read", f"{share:.2%}", f"{found.meter.lines:,}", "< 1 %", share < 0.01),
        Row("found at", f"{answer}", f"changed at {truth}", "the same", answer == truth),
    ]


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.bisection", "Bisection measured: time, and how much is read.")
    given = parser.parse_args(arguments)
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
