"""The analysis rows of the budget, beside DuckDB by hand: `python -m benchmarks.analysis`.

Options: `--events N` (3,000,000), `--agents N` (1,000), `--directory DIR` (a real disk), `--rounds N`. A
session of known truth is made, asked live, sealed and asked again. Contenders take turns; a ratio is the
median of those within each round. DuckDB by hand reads the same files with the columns that the question
needs and nothing else: no damaged lines told apart, no envelope, no order.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from Agent.analysis.engine import open_engine
from Agent.analysis.views import scan
from Agent.archive import seal
from Agent.archive.sealed_parts import archive_dir
from Agent.testing import make_session
from Agent.tree.layout import tree_files

BY_HAND_JSON = (
    "SELECT agent_id, sum(reward) FROM (SELECT extra.agent_id AS agent_id, extra.event_type AS event_type, "
    "extra.reward AS reward FROM read_json(?, format='newline_delimited', records=true, ignore_errors=true, "
    "columns={id: 'VARCHAR', extra: 'STRUCT(agent_id VARCHAR, event_type VARCHAR, reward DOUBLE)'})) "
    "WHERE event_type = 'reward' GROUP BY agent_id"
)
BY_HAND_PARQUET = (
    "SELECT agent_id, sum(reward) FROM read_parquet(?) WHERE event_type = 'reward' GROUP BY agent_id"
)
OWN = (
    f"SELECT agent_id, sum(reward) AS total FROM {scan('reward')} "
    "WHERE event_type = 'reward' GROUP BY agent_id"
)


def turns(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round, the order turning."""
    took: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            began = time.perf_counter()
            contenders[name]()
            if number:  # the first round warms up
                took[name].append(time.perf_counter() - began)
    return took


def ratio(took: dict[str, list[float]], mine: str, other: str) -> float:
    return statistics.median(a / b for a, b in zip(took[mine], took[other], strict=True))


def compare(session: Path, by_hand: str, files: list[str], what: str, budget: float, rounds: int) -> None:
    engine = open_engine(session)
    connection = duckdb.connect(config={"memory_limit": "1GB"})
    took = turns(
        {
            "own": lambda: engine.rows(OWN),
            "by hand": lambda: connection.execute(by_hand, [files]).fetchall(),
        },
        rounds,
    )
    same = sorted((row["agent_id"], round(row["total"], 6)) for row in engine.rows(OWN)) == sorted(
        (agent, round(total, 6)) for agent, total in connection.execute(by_hand, [files]).fetchall()
    )
    engine.close()
    seconds = {name: statistics.median(values) for name, values in took.items()}
    print(
        f"| {what} | {seconds['own']:.2f} s, DuckDB by hand {seconds['by hand']:.2f} s | "
        f"{ratio(took, 'own', 'by hand'):.2f} x | <= {budget} x | {'' if same else 'ANSWERS DIFFER'} |"
    )


def journey(session: Path, what: str, rounds: int) -> None:
    """One agent's journey, the start of the process included, beside DuckDB over every line."""
    own = (
        "import sys; from Agent.analysis import LogAnalyzer; "
        "LogAnalyzer(sys.argv[1]).trace_agent_journey('agent_00017')"
    )
    bare = "pass"
    took = turns(
        {
            name: lambda code=code: subprocess.run([sys.executable, "-c", code, str(session)], check=True)
            for name, code in (("own", own), ("python", bare))
        },
        rounds,
    )
    print(
        f"| journey of one agent, {what} | {statistics.median(took['own']):.2f} s "
        f"(bare Python {statistics.median(took['python']):.2f} s) | | <= 0.3 s | |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as place:
        began, cpu = time.perf_counter(), time.process_time()
        truth = make_session(place, events=given.events, agents=given.agents, seed=1)
        took, used = time.perf_counter() - began, time.process_time() - cpu
        size = truth.json_bytes
        print(f"{truth.events:,} events, {size / 1e6:,.0f} MB, {truth.agents} agents\n")
        print("| what | figure | ratio | budget | |\n|---|---|---|---|---|")
        rate = truth.events / took / 1e3
        print(f"| generating | {rate:,.0f} k events/s, {used / took:.1f} cores | | >= 500 k | |")
        files = [str(path) for path in tree_files(truth.session)]
        compare(truth.session, BY_HAND_JSON, files, "full scan, live", 1.3, given.rounds)
        journey(truth.session, "live", given.rounds)
        cpu = time.process_time()
        done = seal(truth.session)
        used = time.process_time() - cpu
        print(
            f"| sealing | {size / 1e6 / done.duration_s:,.0f} MB/s wall, {2 * size / 1e6 / used:,.0f} MB/s "
            "of two whole cores | | >= 150 MB/s | |"
        )
        print(f"| size | 1/{done.json_bytes / done.parquet_bytes:.1f} | | <= 1/8 | |")
        parts = [str(path) for path in archive_dir(truth.session).glob("*.parquet")]
        compare(truth.session, BY_HAND_PARQUET, parts, "full scan, sealed", 1.5, given.rounds)
        began = time.perf_counter()
        seal(truth.session, remove=True)
        rate = size / 1e6 / (time.perf_counter() - began)
        print(f"| verifying byte by byte and removing | {rate:,.0f} MB/s | | | |")
        journey(truth.session, "removed", given.rounds)


if __name__ == "__main__":
    main()
