"""Each question beside one hand-written scan of the same files: `python -m benchmarks.questions_beside_scan`.

All are processes of their own, in turns, over JSON lines. The scan counts the events of each agent and kind
with DuckDB, which reads every line once. The budgets: 1.3 scans for a question, 2 for `analyze`, half a second
more for its page, 4 for `debug`; and 300 MB.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

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
SCAN = """
import sys, duckdb
print(duckdb.execute(
    "SELECT extra->>'agent_id' AS agent, extra->>'event_type' AS kind, count(*), min(timestamp) "
    "FROM read_json(?, format='newline_delimited', ignore_errors=true, "
    "columns={'timestamp': 'VARCHAR', 'extra': 'JSON'}) GROUP BY ALL", [sys.argv[1:]]).fetchall()[:3])
"""


def measure(directory: Path, *, events: int, agents: int, rounds: int) -> Report:
    """The table of one session, and a row for each budget."""
    progress(f"making {events:,} events")
    session = make_session(directory / "trace", events=events, agents=agents, seed=1).session
    commands = about(session).commands()
    asked = {"scan": [sys.executable, "-c", SCAN, *map(str, tree_files(session))]}
    asked |= {name: [*OWN, *commands[name]] for name in ASKED}
    ran: dict[str, list[Ran]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, command in asked.items():
            ran[name].append(run_child(command))
    seconds = {name: statistics.median(one.cpu_s for one in each) for name, each in ran.items()}
    headings = ("", "processor s", "scans", "wall s", "peak MB")
    table = Table(f"{events:,} events of {agents} agents, unsealed", headings)
    rows = []
    for name, each in ran.items():
        ratio, peak = seconds[name] / seconds["scan"], max(one.peak_mb for one in each)
        wall = statistics.median(one.wall_s for one in each)
        table.lines.append((name, f"{seconds[name]:.2f}", f"{ratio:.2f}", f"{wall:.2f}", f"{peak:.0f}"))
        most, what, told = MOST_SCANS_OF.get(name, MOST_SCANS), ratio, "{:.2f} x"
        if name == PAGE:
            most, what, told = MOST_PAGE_S, seconds[name] - seconds["analyze"], "{:.2f} s more"
        if name != "scan":
            rows.append(Row(name, told.format(what), budget=f"<= {told.format(most)}", met=what <= most))
    peak = max(one.peak_mb for each in ran.values() for one in each)
    rows.append(Row("memory", f"{peak:.0f} MB", budget=f"<= {MOST_MB} MB", met=peak <= MOST_MB))
    return Report(rows, [table], figures={"cpu_s": seconds, "peak_mb": peak})


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.questions_beside_scan", "Each question beside one hand-written scan.")
    parser.add_argument("--events", type=int, default=252_000)
    given = parser.parse_args(arguments)
    events = min(given.events, 30_000) if given.quick else given.events
    rounds = 1 if given.quick else 3
    return run(given, lambda directory: measure(directory, events=events, agents=200, rounds=rounds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
