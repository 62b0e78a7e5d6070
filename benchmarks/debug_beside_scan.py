"""`debug` beside one hand-written scan of the same session: `python -m benchmarks.debug_beside_scan`.

Both are processes of their own, in turns. The scan counts the events of each agent and kind with DuckDB,
which reads every line once. The budget is four scans and 300 MB.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from Agent.tree.layout import tree_files
from benchmarks.children import OWN, run_child
from benchmarks.command import options, progress, run
from benchmarks.table import Report, Row, Table
from tests.support.known_truth import make_session

MOST_SCANS = 4.0
MOST_MB = 300
COMPLAINT = "lookup times out"
SCAN = """
import sys, duckdb
print(duckdb.execute(
    "SELECT extra->>'agent_id' AS agent, extra->>'event_type' AS kind, count(*), min(timestamp) "
    "FROM read_json(?, format='newline_delimited', ignore_errors=true, "
    "columns={'timestamp': 'VARCHAR', 'extra': 'JSON'}) GROUP BY ALL", [sys.argv[1:]]).fetchall()[:3])
"""


def measure(directory: Path, *, events: int, agents: int, rounds: int) -> Report:
    """The table of one session and the rows of its two budgets."""
    progress(f"making {events:,} events")
    session = make_session(directory / "trace", events=events, agents=agents, seed=1).session
    files = [str(path) for path in tree_files(session)]
    commands = {
        "debug": [*OWN, "debug", COMPLAINT, "-s", str(session)],
        "scan": [sys.executable, "-c", SCAN, *files],
    }
    ran = {name: [run_child(command) for _ in range(rounds)] for name, command in commands.items()}
    table = Table(f"{events:,} events, unsealed", ("", "processor s", "wall s", "peak MB"))
    seconds = {}
    for name, each in ran.items():
        seconds[name] = statistics.median(one.cpu_s for one in each)
        wall, peak = statistics.median(one.wall_s for one in each), max(one.peak_mb for one in each)
        table.lines.append((name, f"{seconds[name]:.1f}", f"{wall:.1f}", f"{peak:.0f}"))
    ratio, peak = seconds["debug"] / seconds["scan"], max(one.peak_mb for one in ran["debug"])
    rows = [
        Row(
            "debug beside one scan", f"{ratio:.1f} x", budget=f"<= {MOST_SCANS:g} x", met=ratio <= MOST_SCANS
        ),
        Row("memory of debug", f"{peak:.0f} MB", budget=f"<= {MOST_MB} MB", met=peak <= MOST_MB),
    ]
    return Report(rows, [table], figures={"ratio": ratio, "peak_mb": peak, "cpu_s": seconds})


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.debug_beside_scan", "debug beside one hand-written scan of its session.")
    parser.add_argument("--events", type=int, default=250_000)
    given = parser.parse_args(arguments)
    events = min(given.events, 30_000) if given.quick else given.events
    rounds = 1 if given.quick else 3
    return run(given, lambda directory: measure(directory, events=events, agents=100, rounds=rounds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
