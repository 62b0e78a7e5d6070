"""Recording beside every peer: cost of a call, tail, and what can be read afterwards.

`python -m benchmarks.peers_table`. Options: `--quick` (about half a minute), `--json`, `--directory DIR`,
`--only NAME` (repeatable), `--events N` (single calls of the tail). Each contender stands in a process of
its own (`turns.py`); how each is set up is printed below the tables, and a peer that is not installed is
named.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.command import options, progress, run
from benchmarks.contenders import load, missing
from benchmarks.method import quartiles_of_ratios, sound_rounds
from benchmarks.read_back import Kept
from benchmarks.table import Report, Table
from benchmarks.turns import Taker, Turn

SIZE_BYTES, BACKUPS = 4 * 1024 * 1024, 3
TURN_NS, LEAST_CALLS = 2_000_000, 16
BLOCK = 10_000
"""Single calls of one turn in the tail; also the length of the burst that is read back."""

EVENTS = (
    "Agent Trace",
    "structlog, one file",
    "structlog, rotating",
    "eliot",
    "stdlib logging",
    "concurrent-log-handler",
    "loguru",
    "loguru, enqueued",
    "OpenTelemetry span",
    "OpenTelemetry span, batched",
    "floor",
)
DECORATORS = (
    "@trace_agent_action",
    "@eliot.log_call",
    "OpenTelemetry span around",
    "OpenTelemetry span around, batched",
    "@logfire.instrument",
    "@reeltime.tool",
    "undecorated",
    "floor",
)


@dataclass(frozen=True)
class Size:
    """How long to measure."""

    calls: int
    rounds: int
    tail_share: float


# With the lead-in a multiple of 64: mirrors are written 64 lines at a time.
QUICK = Size(calls=128, rounds=20, tail_share=0.02)
FULL = Size(calls=192, rounds=150, tail_share=1.0)


@dataclass
class Figures:
    """What was measured of one contender."""

    turns: list[Turn] = field(default_factory=list)
    tail: dict[str, float] = field(default_factory=dict)
    tail_events: int = 0
    kept: Kept | None = None

    def returned(self, rounds: list[int]) -> list[float]:
        return [self.turns[number].returned_ns for number in rounds]


def calls_of_a_turn(taker: Taker, size: Size) -> int:
    """So many that a turn takes two milliseconds or so: a longer one meets the scheduler and looks slow."""
    cost_ns = min(taker.turn(size.calls).returned_ns for _ in range(3))
    return min(size.calls, max(LEAST_CALLS, int(TURN_NS / cost_ns)))


def take_turns(takers: dict[str, Taker], size: Size, what: str) -> tuple[dict[str, Figures], list[int], int]:
    """Rounds until enough of them are sound; the sound ones' numbers, and how many were not."""
    figures = {name: Figures() for name in takers}
    calls = {name: calls_of_a_turn(taker, size) for name, taker in takers.items()}
    sound: list[int] = []
    total = 0
    while len(sound) < size.rounds and total < 2 * size.rounds:
        names = [*takers]
        for name in names[total % len(names) :] + names[: total % len(names)]:
            figures[name].turns.append(takers[name].turn(calls[name]))
        total += 1
        sound = sound_rounds([turn.returned_ns for turn in figures["floor"].turns])
        if total % 25 == 0:
            progress(f"{what}: {len(sound)} of {size.rounds} rounds, {total - len(sound)} invalid")
    return figures, sound, total - len(sound)


def time_tails(takers: dict[str, Taker], figures: dict[str, Figures], size: Size, what: str) -> None:
    """Every call by itself, in blocks that take turns; whoever has enough drops out."""
    wanted = {name: max(BLOCK, int(load(name).tail_events * size.tail_share)) for name in takers}
    block = 0
    while any(figures[name].tail_events < wanted[name] for name in takers):
        for name, taker in takers.items():
            if figures[name].tail_events < wanted[name]:
                taker.block(BLOCK)
                figures[name].tail_events += BLOCK
        block += 1
        if block % 10 == 0:
            progress(f"{what}: {block * BLOCK:,} single calls each")
    for name, taker in takers.items():
        figures[name].tail = taker.tail()


def measure_group(
    report: Report, directory: Path, size: Size, names: tuple[str, ...], *, decorated: bool
) -> None:
    """One table: contenders of one kind, beside the first of them and the floor."""
    what = "decorators" if decorated else "events"
    present = []
    for name in names:
        reason = missing(name)
        if reason:
            report.notes.append(f"{name}: not measured, {reason}")
        else:
            present.append(name)
    with ExitStack() as stack:
        takers = {}
        for name in present:
            takers[name] = stack.enter_context(
                Taker(
                    name,
                    directory,
                    decorated=decorated and name != "floor",
                    size_bytes=SIZE_BYTES,
                    backups=BACKUPS,
                )
            )
        kept = {name: taker.burst(BLOCK) for name, taker in takers.items()}
        progress(f"{what}: {len(present)} contenders in processes of their own, burst read back")
        figures, sound, invalid = take_turns(takers, size, what)
        time_tails(takers, figures, size, what)
    for name in present:
        figures[name].kept = kept[name]
        report.configurations[name] = load(name).how
    if invalid:
        report.notes.append(f"{what}: {invalid} rounds left out, in which the floor took twice its median")
    report.tables.append(table_of(figures, sound, decorated=decorated))
    report.figures[what] = {
        name: {
            "returned_ns": statistics.median(its.returned(sound)),
            "written_ns": statistics.median(its.turns[number].written_ns for number in sound),
            "tail_us": its.tail,
            "tail_events": its.tail_events,
            "lost_of_burst": its.kept.lost if its.kept else None,
        }
        for name, its in figures.items()
    }


def table_of(figures: dict[str, Figures], sound: list[int], *, decorated: bool) -> Table:
    """The figures in words: microseconds, ratios with their quartiles, percentiles."""
    own = next(iter(figures))
    title = (
        f"A decorated call ({len(sound)} rounds side by side)"
        if decorated
        else f"An event of agent, action and four fields ({len(sound)} rounds side by side)"
    )
    headings = (
        "",
        "us a call",
        "until written",
        f"x {own}",
        "x floor",
        "p50",
        "p99",
        "p99.9",
        "max us",
        "of calls",
        f"lost of {BLOCK:,}",
    )
    table = Table(title, headings)
    mine, floor = figures[own].returned(sound), figures["floor"].returned(sound)
    for name, its in figures.items():
        returned = its.returned(sound)
        written = statistics.median(its.turns[number].written_ns for number in sound)
        low, middle, high = quartiles_of_ratios(returned, mine)
        table.lines.append(
            (
                name,
                f"{statistics.median(returned) / 1000:.1f}",
                f"{written / 1000:.1f}",
                f"{middle:.2f} ({low:.2f} to {high:.2f})",
                f"{quartiles_of_ratios(returned, floor)[1]:.1f}",
                *(f"{its.tail[share]:,.1f}" for share in ("p50", "p99", "p99.9", "max")),
                f"{its.tail_events:,}",
                str(its.kept) if its.kept else "",
            )
        )
    return table


def measure(given: argparse.Namespace, directory: Path) -> Report:
    """Both tables."""
    size = QUICK if given.quick else FULL
    if given.events:
        size = Size(size.calls, size.rounds, given.events / 1_000_000)
    report = Report()
    for names, decorated in ((EVENTS, False), (DECORATORS, True)):
        chosen = tuple(name for name in names if not given.only or name in given.only)
        if chosen:
            # the first is what the others are compared with, the last what says whether a round is sound
            measure_group(
                report,
                directory,
                size,
                tuple(dict.fromkeys((names[0], *chosen, names[-1]))),
                decorated=decorated,
            )
    return report


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.peers_table", "Recording beside every peer, and the tail of each.")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only this one, as the table calls it"
    )
    parser.add_argument("--events", type=int, help="single calls of the tail (default: 1,000,000)")
    given = parser.parse_args(arguments)
    unknown = set(given.only or ()) - {*EVENTS, *DECORATORS}
    if unknown:
        parser.error(f"unknown: {'; '.join(sorted(unknown))} (known: {'; '.join((*EVENTS, *DECORATORS))})")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
