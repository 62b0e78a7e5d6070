"""Each question beside one hand-written scan of the same files: `python -m benchmarks.questions_beside_scan`.

All are processes of their own, in turns, over JSON lines, and again over the same session sealed. The scan counts
the events of each agent and kind with DuckDB, which reads every line once. The budgets: 1.3 scans for a question, 2
for `analyze`, half a second more for its page, 4 for `debug`; and 300 MB. `--cold` drops the session's files from the
page cache before each process.
"""

from __future__ import annotations

import os
import statistics
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from Agent.archive.sealed.parts import archive_dir
from Agent.tree.layout import tree_files
from benchmarks.analysis_commands import about
from benchmarks.children import OWN, Ran, run_child
from benchmarks.command import options, progress, run
from benchmarks.table import Report, Row, Table
from tests.support.known_truth import make_session

MOST_SCANS = 1.3
MOST_SCANS_OF = {"analyze": 2.0, "debug, of an error": 4.0}
PAGE, MOST_PAGE_S = "analyze --html", 0.5
ASKED = (
    "sql, rewards by agent", "errors", "learning", "interactions", "performance", "sessions", "journey", "causes",
    "analyze", PAGE, "debug, of an error",
)  # fmt: skip
MOST_MB = 300
SEALED_SCAN = """
import sys, duckdb
print(duckdb.execute(
    "SELECT agent_id, event_type, count(*), min(ts_us) FROM read_parquet(?) GROUP BY ALL", [sys.argv[1:]]
).fetchall()[:3])
"""
SCAN = """
import sys, duckdb
print(duckdb.execute(
    "SELECT extra->>'agent_id' AS agent, extra->>'event_type' AS kind, count(*), min(timestamp) "
    "FROM read_json(?, format='newline_delimited', ignore_errors=true, "
    "columns={'timestamp': 'VARCHAR', 'extra': 'JSON'}) GROUP BY ALL", [sys.argv[1:]]).fetchall()[:3])
"""


def measure(directory: Path, given: Namespace, *, events: int, agents: int, rounds: int) -> Report:
    """A table of the session as it was recorded and one of it sealed, and a row for each budget."""
    progress(f"making {events:,} events")
    session = make_session(directory / "trace", events=events, agents=agents, seed=1).session
    report = Report(figures={})
    for form in ("unsealed", "sealed"):
        scan = [sys.executable, "-c", SCAN, *map(str, tree_files(session))]
        if form == "sealed":
            run_child([*OWN, "seal", str(session), "--remove"])
            scan = [sys.executable, "-c", SEALED_SCAN, *map(str, archive_dir(session).glob("*.parquet"))]
        found = beside(session, scan, only=given.only, rounds=rounds, cold=given.cold)
        of = f"{events:,} events of {agents} agents, {form}{', cold' if given.cold else ''}"
        _report(report, of, form, found)
    return report


def beside(
    session: Path, scan: list[str], *, only: Iterable[str], rounds: int, cold: bool
) -> dict[str, list[Ran]]:
    """What each process took, the scan first in each round."""
    commands = about(session).commands()
    asked = {"scan": scan} | {name: [*OWN, *commands[name]] for name in only or ASKED}
    ran: dict[str, list[Ran]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, command in asked.items():
            if cold:
                drop_from_cache(session)
            ran[name].append(run_child(command))
            progress(f"{name}: {ran[name][-1].cpu_s:.2f} s")
    return ran


def drop_from_cache(session: Path) -> None:
    """Let the kernel forget the session's files, so that the next reader meets the disk."""
    for path in session.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _report(report: Report, title: str, form: str, ran: dict[str, list[Ran]]) -> None:
    seconds = {name: statistics.median(one.cpu_s for one in each) for name, each in ran.items()}
    # of each round: what disturbs one process of a round disturbs the others as well
    ratios = {
        name: [one.cpu_s / scan.cpu_s for one, scan in zip(each, ran["scan"], strict=True)]
        for name, each in ran.items()
    }
    headings = ("", "processor s", "scans", "wall s", "peak MB")
    table = Table(title, headings)
    for name, each in ran.items():
        ratio, peak = statistics.median(ratios[name]), max(one.peak_mb for one in each)
        spread = f"{ratio:.2f} ({min(ratios[name]):.2f} to {max(ratios[name]):.2f})"
        wall = statistics.median(one.wall_s for one in each)
        table.lines.append((name, f"{seconds[name]:.2f}", spread, f"{wall:.2f}", f"{peak:.0f}"))
        most, what, told = MOST_SCANS_OF.get(name, MOST_SCANS), ratio, "{:.2f} x"
        if name == PAGE and "analyze" in seconds:
            most, what, told = MOST_PAGE_S, seconds[name] - seconds["analyze"], "{:.2f} s more"
        if name != "scan":
            report.rows.append(
                Row(f"{form}: {name}", told.format(what), budget=f"<= {told.format(most)}", met=what <= most)
            )
    peak = max(one.peak_mb for each in ran.values() for one in each)
    report.rows.append(
        Row(f"{form}: memory", f"{peak:.0f} MB", budget=f"<= {MOST_MB} MB", met=peak <= MOST_MB)
    )
    report.tables.append(table)
    report.figures[form] = {"cpu_s": seconds, "scans": ratios, "peak_mb": peak}


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.questions_beside_scan", "Each question beside one hand-written scan.")
    parser.add_argument("--events", type=int, default=252_000)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="with files that are not in the page cache")
    parser.add_argument("--only", action="append", choices=ASKED, help="only this question; repeatable")
    given = parser.parse_args(arguments)
    events = min(given.events, 30_000) if given.quick else given.events
    rounds = 1 if given.quick else given.rounds

    def measured(directory: Path) -> Report:
        return measure(directory, given, events=events, agents=given.agents, rounds=rounds)

    return run(given, measured)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
