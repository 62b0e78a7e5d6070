"""What recording a tool call costs: `python -m benchmarks.tools`, beside reeltime's recorder in the same run.

Each contender records the same method, two arguments in and a mapping out, in a process of its own; they take
turns as `turns.py` has it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.command import options, progress, run
from benchmarks.contenders import load, missing
from benchmarks.method import quartiles_of_ratios
from benchmarks.peers_table import BACKUPS, FULL, QUICK, SIZE_BYTES, Size, take_turns
from benchmarks.table import Report, Row, Table
from benchmarks.turns import Taker

OURS, PEER = "@record_tool", "@reeltime.tool"
NAMES = (OURS, PEER, "@trace_agent_action", "undecorated", "floor")
MOST = 0.5
"""What a call may cost of what the peer's costs."""


def measure(given: argparse.Namespace, directory: Path) -> Report:
    size = QUICK if given.quick else FULL
    if given.rounds:
        size = Size(size.calls, given.rounds, size.tail_share)
    report = Report()
    present = [name for name in NAMES if not missing(name)]
    report.notes += [f"{name}: not measured, {missing(name)}" for name in NAMES if missing(name)]
    with ExitStack() as stack:
        takers = {
            name: stack.enter_context(
                Taker(name, directory, decorated=name != "floor", size_bytes=SIZE_BYTES, backups=BACKUPS)
            )
            for name in present
        }
        progress(f"tools: {len(present)} contenders in processes of their own")
        figures, sound, invalid = take_turns(takers, size, "tools")
    if invalid:
        report.notes.append(f"{invalid} rounds left out, in which the floor took twice its median")
    table = Table(f"A call of a tool ({len(sound)} rounds side by side)", ("", "us a call", "until written"))
    for name, its in figures.items():
        written = statistics.median(its.turns[number].written_ns for number in sound)
        returned = statistics.median(its.returned(sound))
        table.lines.append((name, f"{returned / 1000:.1f}", f"{written / 1000:.1f}"))
        report.configurations[name] = load(name).how
        report.figures[name] = {"returned_ns": returned, "written_ns": written}
    report.tables.append(table)
    if PEER in figures:
        low, middle, high = quartiles_of_ratios(figures[OURS].returned(sound), figures[PEER].returned(sound))
        share = f"{middle:.2f} x ({low:.2f} to {high:.2f})"
        report.rows.append(Row("recording a tool call", share, PEER, f"<= {MOST} x", middle <= MOST))
        report.figures["ratio"] = middle
    return report


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.tools", "A recorded tool call measured, beside reeltime's.")
    parser.add_argument("--rounds", type=int, help="so many rounds instead")
    given = parser.parse_args(arguments)
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
