"""Threads and processes beside peers: events a second, and losses counted by reading the files back.

`python -m benchmarks.scaling`. Options: `--quick` (two minutes), `--json`, `--directory DIR`, `--only NAME`
(repeatable), `--rounds N`. Every worker logs the same event for the same agent; files are rotated at the same
size by all that rotate, and nothing that was rotated is deleted. `scaling_run.py` has one run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree

from benchmarks.command import options, progress, run
from benchmarks.contenders import load, missing
from benchmarks.contenders.contract import Place
from benchmarks.method import quartiles_of_ratios, sound_rounds
from benchmarks.read_back import Kept, read_back
from benchmarks.scaling_run import Run, Stalled, run_once
from benchmarks.table import Report, Row, Table

SIZE_BYTES = 1024 * 1024
"""At which a file is rotated: every run rotates several times."""
LINE_BYTES = 1024
"""More than anybody's line, so that no backup is ever deleted."""

OWN, RIVAL, FLOOR = "Agent Trace", "concurrent-log-handler", "floor"
EVENTS: dict[str, int] = {
    OWN: 64_000,
    "structlog, a file each": 64_000,
    "structlog, one file": 64_000,
    RIVAL: 32_000,
    "stdlib logging": 32_000,
    "loguru, enqueued": 16_000,
    FLOOR: 128_000,
}
"""How many events the workers of a run share; fewer for the slow."""
POINTS = [(1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (1, 4), (1, 8)]
"""(processes, threads)."""
LEAST_RATIO = 3.0


@dataclass
class Figures:
    """Of one contender at one point, in the order of rounds."""

    rates: list[float] = field(default_factory=list)
    """Events a second up to the last call of the slowest."""
    written_rates: list[float] = field(default_factory=list)
    """The same up to the last line."""
    kept: list[Kept] = field(default_factory=list)
    copied: list[Kept] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    said_lost: list[int] = field(default_factory=list)
    said_lost_copies: list[int] = field(default_factory=list)
    stalled: bool = False
    """A run did not end; there is nothing more of it at this point."""

    def lost(self) -> str:
        return _sum_of(self.kept)

    def lost_copies(self) -> str:
        return _sum_of(self.copied)


Key = tuple[int, int]
Results = dict[Key, dict[str, Figures]]


def _sum_of(kept: list[Kept]) -> str:
    if not kept:
        return ""
    total = Kept(*(sum(getattr(each, name) for each in kept) for name in Kept.__dataclass_fields__))
    return str(total)


def measure_point(name: str, point: Key, share: float, directory: Path, figures: Figures) -> None:
    """One run and its reading, into the figures."""
    processes, threads = point
    each = int(EVENTS[name] * share) // (processes * threads)
    work = Run(name, processes, threads, each)
    backups = EVENTS[name] * LINE_BYTES // SIZE_BYTES + 2
    place = Place(Path(tempfile.mkdtemp(dir=directory)), SIZE_BYTES, backups)
    contender = load(name)
    try:
        took = run_once(work, place)
        total = work.workers * each
        figures.rates.append(total / took.calls_s)
        figures.written_rates.append(total / took.written_s)
        figures.events.append(total)
        figures.said_lost.append(took.said_lost)
        figures.said_lost_copies.append(took.said_lost_copies)
        assert contender.identities is not None
        figures.kept.append(
            read_back(contender.grown(place.directory), contender.identities, workers=work.workers, each=each)
        )
        if contender.copies is not None:
            copies = contender.copies(place.directory)
            figures.copied.append(read_back(copies, contender.identities, workers=work.workers, each=each))
    finally:
        rmtree(place.directory, ignore_errors=True)


def measure_rounds(report: Report, directory: Path, names: list[str], rounds: int, share: float) -> Results:
    """Rounds at each point until enough are sound; the others count for losses, not for rates."""
    results: Results = {point: defaultdict(Figures) for point in POINTS}
    for point in POINTS:
        figures = results[point]
        sound: list[int] = []
        total = 0
        while len(sound) < rounds and total < 2 * rounds:
            for name in names[total % len(names) :] + names[: total % len(names)]:
                if figures[name].stalled:
                    continue
                try:
                    measure_point(name, point, share, directory, figures[name])
                except Stalled as error:
                    report.notes.append(str(error))
                    figures[name].stalled = True
                    if name in {OWN, FLOOR}:
                        raise
            total += 1
            sound = sound_rounds([1 / rate for rate in figures[FLOOR].rates])
            own = figures[OWN].rates[-1]
            progress(f"{words(point)}: round {total}, {len(sound)} sound, {OWN} {own:,.0f} events/s")
        if total > len(sound):
            report.notes.append(
                f"{words(point)}: {total - len(sound)} rounds in which the floor doubled left out"
            )
        for its in figures.values():
            if its.stalled:
                continue
            its.rates = [its.rates[number] for number in sound]
            its.written_rates = [its.written_rates[number] for number in sound]
    return results


def words(point: Key) -> str:
    processes, threads = point
    if threads > 1:
        return f"{threads} threads"
    return f"{processes} process" + ("es" if processes > 1 else "")


def rate_table(results: Results, names: list[str]) -> Table:
    """Thousands of events a second until written, by point."""
    table = Table(
        "Thousands of events a second, all workers together, until the last line is with the kernel",
        ("", *(words(point) for point in POINTS)),
    )
    for name in names:
        cells = (
            "stalled" if its.stalled else f"{statistics.median(its.written_rates) / 1000:,.1f}"
            for its in (results[point][name] for point in POINTS)
        )
        table.lines.append((name, *cells))
    return table


def loss_table(results: Results, names: list[str]) -> Table:
    """Events that cannot be read back, over all rounds, by point."""
    rounds = max(len(results[POINTS[0]][name].kept) for name in names)
    table = Table(
        f"Events lost, of all that were called in {rounds} rounds or more, found by reading the files",
        ("", *(words(point) for point in POINTS), "of events"),
    )
    for name in names:
        events = sum(sum(results[point][name].events) for point in POINTS)
        table.lines.append((name, *(results[point][name].lost() for point in POINTS), f"{events:,}"))
        if results[POINTS[0]][name].copied:
            cells = (results[point][name].lost_copies() for point in POINTS)
            table.lines.append(("  its mirror", *cells, f"{events:,}"))
    return table


def ratio_rows(results: Results) -> list[Row]:
    """The budget: three times the rival at 1, 2, 4, 8 processes, the losses of both counted."""
    rows = []
    for point in POINTS:
        own, rival = results[point][OWN], results[point][RIVAL]
        if point[1] > 1 or rival.stalled:
            continue
        low, middle, high = quartiles_of_ratios(own.written_rates, rival.written_rates)
        lost, rival_lost = (sum(each.lost for each in its.kept) for its in (own, rival))
        rows.append(
            Row(
                f"events/s, {words(point)}",
                f"{statistics.median(own.written_rates):,.0f}, lost {lost:,}",
                f"{middle:.1f} x {RIVAL} ({low:.1f} to {high:.1f}), "
                f"{statistics.median(rival.written_rates):,.0f}, lost {rival_lost:,}",
                f">= {LEAST_RATIO:.0f} x, 0 lost",
                middle >= LEAST_RATIO and lost == 0,
            )
        )
    return rows


def note_copies(report: Report, results: Results) -> None:
    """Whether what the mirrors lack is what `health()` says they lack."""
    own = [figures[OWN] for figures in results.values()]
    lost = sum(each.lost for its in own for each in its.copied)
    said = sum(sum(its.said_lost_copies) for its in own)
    if lost or said:
        report.notes.append(f"{OWN}: its mirrors lack {lost:,} events, health() says {said:,}")


def measure(given: argparse.Namespace, directory: Path) -> Report:
    """All points, all contenders."""
    report = Report()
    names = []
    for name in EVENTS:
        reason = missing(name)
        if reason:
            report.notes.append(f"{name}: not measured, {reason}")
        elif not given.only or name in {*given.only, OWN, FLOOR}:
            names.append(name)
            report.configurations[name] = load(name).how
    rounds = given.rounds or (2 if given.quick else 7)
    results = measure_rounds(report, directory, names, rounds, 0.25 if given.quick else 1.0)
    report.tables += [rate_table(results, names), loss_table(results, names)]
    note_copies(report, results)
    if RIVAL in names:
        report.rows += ratio_rows(results)
    report.figures["scaling"] = {
        words(point): {
            name: {
                "events_a_second": statistics.median(its.rates),
                "events_a_second_until_written": statistics.median(its.written_rates),
                "events": sum(its.events),
                "lost": sum(each.lost for each in its.kept),
                "said_lost": sum(its.said_lost),
                "said_lost_in_mirrors": sum(its.said_lost_copies),
                "lost_in_mirrors": sum(each.lost for each in its.copied) if its.copied else None,
            }
            for name, its in figures.items()
            if not its.stalled
        }
        for point, figures in results.items()
    }
    return report


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.scaling", "Threads and processes beside peers, losses counted.")
    parser.add_argument("--only", action="append", metavar="NAME", help="beside Agent Trace, only this one")
    parser.add_argument("--rounds", type=int, help="how often each point is measured (default: 7)")
    given = parser.parse_args(arguments)
    unknown = set(given.only or ()) - {*EVENTS}
    if unknown:
        parser.error(f"unknown: {'; '.join(sorted(unknown))} (known: {'; '.join(EVENTS)})")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
