"""The analysis rows of the budget, beside DuckDB by hand, jq and lnav: `python -m benchmarks.analysis`.

Options: `--quick`, `--json`, `--markdown`, `--directory DIR` (a real disk), `--events N` (3,000,000), `--agents N`
(1,000), `--rounds N`, `--session PATH` (one that is there and not sealed; it is copied). A session of known
truth is made, asked live, sealed and asked again. Contenders take turns; a ratio is the median of those
within each round, and their answers are compared. `analysis_questions` holds the questions,
`analysis_commands` measures every command.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from Agent.analysis.query.engine import open_engine
from Agent.analysis.query.views import scan
from Agent.archive import seal
from Agent.archive.sealed.parts import archive_dir
from Agent.tree.layout import tree_files
from benchmarks.analysis_commands import Asked, about, measure_commands
from benchmarks.analysis_outside import measure_outside
from benchmarks.analysis_questions import QUESTIONS, Question, by_hand
from benchmarks.analysis_tail import measure_tail
from benchmarks.command import options, progress, run
from benchmarks.method import quartiles_of_ratios
from benchmarks.table import Report, Row, Table
from tests.support.known_truth import make_session

OWN, BY_HAND = "Agent Trace", "DuckDB by hand"


@dataclass(frozen=True)
class Size:
    """How much to measure."""

    events: int
    agents: int
    rounds: int
    tailed: int


QUICK = Size(events=60_000, agents=50, rounds=3, tailed=200)
FULL = Size(events=3_000_000, agents=1000, rounds=7, tailed=3000)


@dataclass
class Took:
    """Seconds of one contender in each round."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


def turns(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Took]:
    """What each contender took in each round, the order turning; the first round warms up."""
    took = {name: Took() for name in contenders}
    names = list(contenders)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            began, used = time.perf_counter(), time.process_time()
            contenders[name]()
            if number:
                took[name].wall_s.append(time.perf_counter() - began)
                took[name].cpu_s.append(time.process_time() - used)
    return took


def scans(report: Report, session: Path, form: str, most: float, rounds: int) -> None:
    """Each question over everything, in one process with connections that are open and files in memory."""
    is_sealed = form == "sealed"
    found = archive_dir(session).glob("*.parquet") if is_sealed else tree_files(session)
    files = sorted(map(str, found))
    engine = open_engine(session)
    connection = duckdb.connect(config={"memory_limit": "1GB"})
    headings = ("question", OWN, BY_HAND, "ratio", "quartiles", "of processor time")
    table = Table(f"Over everything, {form}: seconds", headings)
    ratios: list[float] = []
    for question in QUESTIONS:
        condition = _condition(question, engine)
        own, hand = question.own(condition), by_hand(question, condition, sealed=is_sealed)
        asked: dict[str, Callable[[], Any]] = {
            OWN: partial(engine.rows, own),
            BY_HAND: partial(_rows, connection, hand, files),
        }
        if _sorted(row.values() for row in asked[OWN]()) != _sorted(asked[BY_HAND]()):
            report.notes.append(f"ANSWERS DIFFER: {question.name}, {form}")
        took = turns(asked, rounds)
        low, middle, high = quartiles_of_ratios(took[OWN].wall_s, took[BY_HAND].wall_s)
        # on a machine with much else to do this one says more
        of_cpu = quartiles_of_ratios(took[OWN].cpu_s, took[BY_HAND].cpu_s)[1]
        ratios.append(middle)
        seconds = [f"{statistics.median(took[name].wall_s):.3f}" for name in (OWN, BY_HAND)]
        spread = f"{low:.2f} to {high:.2f}"
        table.lines.append((question.name, *seconds, f"{middle:.2f}", spread, f"{of_cpu:.2f}"))
        report.figures[f"{question.name}, {form}"] = {name: asdict(each) for name, each in took.items()}
    engine.close()
    connection.close()
    report.tables.append(table)
    worst = max(ratios)
    report.rows.append(
        Row(
            f"full scan, {form}",
            f"{statistics.median(ratios):.2f} x {BY_HAND}",
            f"the worst question {worst:.2f} x",
            f"<= {most} x",
            statistics.median(ratios) <= most,
        )
    )


def _rows(connection: Any, query: str, files: list[str]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = connection.execute(query, [files]).fetchall()
    return found


def _sorted(rows: Iterable[Iterable[Any]]) -> list[str]:
    return sorted(str(tuple(row)) for row in rows)


def _condition(question: Question, engine: Any) -> str:
    if not question.by_time:
        return question.condition
    ends = engine.row(f"SELECT min(ts_us) AS first_us, max(ts_us) AS last_us FROM {scan()}")
    first, last = ends["first_us"], ends["last_us"]
    start = first + (last - first) // 2
    return f"ts_us BETWEEN {start} AND {start + (last - first) // 50}"


def sealing(report: Report, session: Path) -> None:
    """How fast finished segments become Parquet, and how small."""
    began, used = time.perf_counter(), time.process_time()
    done = seal(session)
    took, used = time.perf_counter() - began, time.process_time() - used
    rate, of_cores = done.json_bytes / 1e6 / took, 2 * done.json_bytes / 1e6 / used
    report.rows += [
        Row(
            "sealing, checked and on the disk",
            f"{rate:,.0f} MB/s",
            f"{of_cores:,.0f} MB/s of two whole cores ({used:.1f} processor seconds)",
            ">= 150 MB/s",
            rate >= 150,
        ),
        Row(
            "size sealed",
            f"1/{done.json_bytes / done.parquet_bytes:.1f}",
            f"{done.json_bytes / 1e6:,.0f} MB in {done.parquet_bytes / 1e6:,.0f} MB",
            "<= 1/8",
            done.json_bytes >= 8 * done.parquet_bytes,
        ),
    ]


def removing(report: Report, session: Path) -> None:
    began = time.perf_counter()
    done = seal(session, remove=True)
    rate = done.removed_bytes / 1e6 / (time.perf_counter() - began)
    report.rows.append(Row("reading back byte by byte and removing the JSON lines", f"{rate:,.0f} MB/s"))


def measure(given: argparse.Namespace, directory: Path) -> Report:
    size = QUICK if given.quick else FULL
    events, agents = given.events or size.events, given.agents or size.agents
    rounds = given.rounds or size.rounds
    report = Report()
    session = _session(given, directory, events, agents, report)
    progress("full scans, live")
    scans(report, session, "live", 1.3, rounds)
    asked = about(session)
    measure_outside(report, asked, "live", rounds=min(rounds, 3), outside=True)
    _commands(report, asked, "live")
    progress("sealing")
    sealing(report, session)
    progress("full scans, sealed")
    scans(report, session, "sealed", 1.5, rounds)
    progress("removing the JSON lines")
    removing(report, session)
    measure_outside(report, asked, "sealed, JSON lines removed", rounds=min(rounds, 3), outside=False)
    _commands(report, asked, "sealed, JSON lines removed")
    measure_tail(report, directory, size.tailed)
    return report


def _session(given: argparse.Namespace, directory: Path, events: int, agents: int, report: Report) -> Path:
    if given.session is not None:
        progress("copying the session")
        return Path(shutil.copytree(given.session, directory / "trace" / given.session.name))
    progress(f"making {events:,} events")
    truth = make_session(directory / "trace", events=events, agents=agents, seed=1)
    report.notes.append(
        f"{truth.events:,} events of {truth.agents:,} agents, {truth.json_bytes / 1e6:,.0f} MB, made by "
        "tests.support.known_truth: they compress better than most"
    )
    return truth.session


def _commands(report: Report, asked: Asked, form: str) -> None:
    report.add(measure_commands(asked, f"Every command that reads, {form}"))


def main(arguments: Sequence[str]) -> int:
    parser = options("benchmarks.analysis", "The analysis rows of the budget.")
    parser.add_argument("--events", type=int, help="of the session that is made")
    parser.add_argument("--agents", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--session", type=Path, help="a session that is there instead, copied")
    given = parser.parse_args(arguments)
    if given.session is not None:
        given.session = given.session.resolve()
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
