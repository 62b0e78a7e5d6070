"""The recording rows of the budget, each beside its peer and the floor: `python -m benchmarks.recording`.

Options: `--quick` (about twenty seconds), `--json`, `--directory DIR` (where the files go; a real disk, not
memory), `--events N` (length of the tail measurement). `method.py` says how it is timed, `peers.py` how each
peer is set up.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import Agent
from benchmarks import peers, subjects
from benchmarks.method import Contender, Measured, empty, percentiles, run_rounds
from benchmarks.starts import measure_starts

OWN, STRUCTLOG, ELIOT, FLOOR = "Agent Trace", "structlog", "eliot", "floor"


@dataclass
class Row:
    """One line of the table: a figure, what it is compared with, and the budget."""

    what: str
    figure: str
    compared: str = ""
    budget: str = ""
    met: bool | None = None


@dataclass
class Report:
    """All rows, the peers' configurations and what could not be measured."""

    rows: list[Row] = field(default_factory=list)
    configurations: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Size:
    """How long to measure."""

    calls: int
    rounds: int
    starts: int
    events: int


# Mirrors are written 64 lines at a time: a multiple of that gives every round its share of them.
QUICK = Size(calls=128, rounds=80, starts=7, events=60_000)
FULL = Size(calls=192, rounds=400, starts=21, events=1_000_000)


@contextmanager
def place_for(directory: Path, name: str) -> Iterator[peers.Place]:
    place = peers.Place(directory / name)
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(place.directory, ignore_errors=True)


def ratio_text(measured: Measured, name: str, other: str) -> str:
    low, high = measured.spread(name, other)
    return f"{measured.ratio(name, other):.2f} x {other} ({low:.2f} to {high:.2f})"


def loggers_row(
    report: Report, directory: Path, size: Size, payload: dict[str, Any], label: str, most: float
) -> None:
    """`log_action` with everything on beside structlog, eliot and the floor."""
    with place_for(directory, "loggers") as place:
        root = peers.start_agent_trace(place)
        agent_logger = Agent.AgentLogger(peers.AGENT_ID, peers.AGENT_ROLE)
        agent_logger.log_action(peers.ACTION, **payload)
        structlog_logger, structlog_path, structlog_how = peers.structlog_logger(place)
        eliot_path, eliot_how = peers.eliot_file(place)
        floor_names, floor_path, floor_how = peers.floor_writer(place, peers.own_line(root))
        names = {"action": peers.ACTION, **payload}
        contenders = [
            Contender(
                OWN,
                "log_action(action, action_data, decision_context)",
                {**names, "log_action": agent_logger.log_action},
                lambda: empty(peers.record_files(root)),
            ),
            Contender(
                STRUCTLOG,
                "info('Agent action: create_content', event_type='agent_action', action_type=action,"
                " action_data=action_data, decision_context=decision_context)",
                {**names, "info": structlog_logger.info},
                lambda: empty([structlog_path]),
            ),
            Contender(
                ELIOT,
                "log_message('agent_action', agent_id='creator_001', agent_role='creator', action=action,"
                " action_data=action_data, decision_context=decision_context)",
                {**names, "log_message": peers.eliot.log_message},
                lambda: empty([eliot_path]),
            ),
            Contender(FLOOR, peers.FLOOR_STATEMENT, floor_names, lambda: empty([floor_path])),
        ]
        measured = run_rounds(contenders, calls=size.calls, rounds=size.rounds)
        check_nothing_lost(report, f"log_action, {label}")
    report.configurations |= {STRUCTLOG: structlog_how, ELIOT: eliot_how, FLOOR: floor_how}
    report.figures[f"log_action, {label}"] = {c.name: measured.median_ns(c.name) for c in contenders}
    own = measured.ratio(OWN, STRUCTLOG)
    report.rows.append(
        Row(
            f"log_action, {label}",
            f"{measured.median_ns(OWN):,.0f} ns",
            ratio_text(measured, OWN, STRUCTLOG),
            f"<= {most:.2f}",
            own <= most,
        )
    )
    floor_most = 2.5 if label == "everything on" else None
    report.rows.append(
        Row(
            "",
            f"floor {measured.median_ns(FLOOR):,.0f} ns",
            ratio_text(measured, OWN, FLOOR),
            f"<= {floor_most}" if floor_most else "",
            measured.ratio(OWN, FLOOR) <= floor_most if floor_most else None,
        )
    )
    for peer in (STRUCTLOG, ELIOT):
        report.rows.append(
            Row("", f"{peer} {measured.median_ns(peer):,.0f} ns", ratio_text(measured, peer, FLOOR))
        )


def check_nothing_lost(report: Report, what: str) -> None:
    """A recorder that drops events would look fast, so its own account is asked."""
    health = Agent.health()
    trouble = {name: health[name] for name in ("dropped", "notes") if health[name]}
    if trouble:
        report.notes.append(f"{what}: health() reports {trouble}")


def decorator_rows(report: Report, directory: Path, size: Size) -> None:
    """`@trace_agent_action` on the same body as `eliot.log_call`: without state, with ten fields, strict."""
    rows = (
        ("without exposed state", subjects.Stateless, {}, 0.40),
        ("ten fields, one changed", subjects.TenFields, {}, 0.55),
        ("the same, state strict", subjects.TenFields, {"state": "strict"}, 0.70),
    )
    for label, subject, options, most in rows:
        with place_for(directory, "decorators") as place:
            try:
                root = peers.start_agent_trace(place, **options)
            except Agent.errors.AgentTraceError as error:
                report.notes.append(f"decorator, {label}: not measured: {error}")
                continue
            eliot_path, _ = peers.eliot_file(place)
            statement = "act('ai', 30)"
            contenders = [
                Contender(
                    OWN, statement, {"act": subject().act}, lambda root=root: empty(peers.record_files(root))
                ),
                Contender(
                    "log_call", statement, {"act": subjects.Eliot().act}, lambda p=eliot_path: empty([p])
                ),
                Contender("undecorated", statement, {"act": subjects.Undecorated().act}),
            ]
            measured = run_rounds(contenders, calls=size.calls, rounds=size.rounds)
            check_nothing_lost(report, f"decorator, {label}")
        ratio = measured.ratio(OWN, "log_call")
        report.figures[f"decorator, {label}"] = {c.name: measured.median_ns(c.name) for c in contenders}
        report.rows.append(
            Row(
                f"@trace_agent_action, {label}",
                f"{measured.median_ns(OWN):,.0f} ns",
                ratio_text(measured, OWN, "log_call")
                + f", which takes {measured.median_ns('log_call'):,.0f} ns",
                f"<= {most:.2f}",
                ratio <= most,
            )
        )


def disabled_row(report: Report, directory: Path, size: Size) -> None:
    """A call below the level: nothing is written, so a call is all that it costs."""
    with place_for(directory, "disabled") as place:
        peers.start_agent_trace(place, level="INFO")
        own = Agent.AgentLogger(peers.AGENT_ID, peers.AGENT_ROLE)
        own.info("opened")
        other, _, _ = peers.structlog_logger(place)
        contenders = [
            Contender(OWN, "debug('nothing')", {"debug": own.debug}),
            Contender(
                "with a payload", "debug('nothing', extra=extra)", {"debug": own.debug, "extra": peers.SMALL}
            ),
            Contender("structlog", "debug('nothing')", {"debug": other.debug}),
            Contender(
                "structlog with keywords", "debug('nothing', kind=1, name='a')", {"debug": other.debug}
            ),
        ]
        measured = run_rounds(contenders, calls=size.calls * 50, rounds=size.rounds)
    report.figures["disabled level"] = {c.name: measured.median_ns(c.name) for c in contenders}
    others = ", ".join(f"{c.name} {measured.median_ns(c.name):.0f} ns" for c in contenders[1:])
    median = measured.median_ns(OWN)
    report.rows.append(
        Row("a disabled level, plain call", f"{median:.0f} ns", others, "<= 80 ns", median <= 80)
    )


def start_rows(report: Report, size: Size) -> None:
    starts = measure_starts(size.starts)
    report.figures["starts"] = starts
    for name, most in (("import Agent", 50), ("agent-trace --help", 120)):
        over = starts[name]["over_bare_ms"]
        peer = (
            f"; import structlog +{starts['import structlog']['over_bare_ms']:.0f} ms"
            if "import" in name
            else ""
        )
        report.rows.append(
            Row(
                name,
                f"bare Python +{over:.0f} ms",
                f"bare Python {starts['bare']['ms']:.0f} ms{peer}",
                f"<= +{most} ms",
                over <= most,
            )
        )


def call_times(call: Callable[[int], object], first: int, count: int) -> list[int]:
    clock = time.perf_counter_ns
    times = []
    for number in range(first, first + count):
        began = clock()
        call(number)
        times.append(clock() - began)
    return times


def tail_row(report: Report, directory: Path, size: Size) -> None:
    """Every call timed by itself, in blocks that take turns; ours rolls every 7,000 events or so."""
    block = 10_000
    with place_for(directory, "tail") as place:
        root = peers.start_agent_trace(place, segment_size_bytes=4 * 1024 * 1024)
        logger = Agent.AgentLogger(peers.AGENT_ID, peers.AGENT_ROLE)
        logger.log_action(peers.ACTION, **peers.SMALL)
        structlog_logger, structlog_path, _ = peers.structlog_logger(place)
        floor_names, floor_path, _ = peers.floor_writer(place, peers.own_line(root))
        write, descriptor, dumps, line = (
            floor_names[name] for name in ("write", "descriptor", "dumps", "line")
        )
        data, context = peers.SMALL["action_data"], peers.SMALL["decision_context"]
        calls: dict[str, tuple[Callable[[int], object], Callable[[], None]]] = {
            OWN: (lambda number: logger.log_action(peers.ACTION, data, context), lambda: None),
            STRUCTLOG: (
                lambda number: structlog_logger.info(
                    "Agent action: create_content",
                    event_type="agent_action",
                    action_type=peers.ACTION,
                    action_data=data,
                    decision_context=context,
                ),
                lambda: empty([structlog_path]),
            ),
            FLOOR: (lambda number: write(descriptor, dumps(line) + b"\n"), lambda: empty([floor_path])),
        }
        times: dict[str, list[int]] = {name: [] for name in calls}
        for first in range(0, size.events, block):
            for name, (call, clear) in calls.items():
                clear()
                gc.collect()
                times[name] += call_times(call, first, min(block, size.events - first))
        segments = len(list(root.glob(f"session_*/agents/{peers.AGENT_ID}.*.log")))
        check_nothing_lost(report, "tail")
    figures = {name: percentiles(sorted(values)) for name, values in times.items()}
    report.figures["tail"] = {**figures, "events": size.events, "rolled segments": segments}
    for name, shares in figures.items():
        text = ", ".join(f"{share} {value:,.1f}" for share, value in shares.items()) + " us"
        own = name == OWN
        report.rows.append(
            Row(
                f"a logging call, {size.events:,} events, {segments} rolls" if own else "",
                text,
                "" if own else name,
                "p99.9 <= structlog's" if own else "",
                figures[OWN]["p99.9"] <= figures[STRUCTLOG]["p99.9"] if own else None,
            )
        )


def print_table(report: Report) -> None:
    headings = Row("what", "figure", "beside", "budget")
    lines = [(row.what, row.figure, row.compared, row.budget, row.met) for row in [headings, *report.rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for what, figure, compared, budget, met in lines:
        mark = {True: "met", False: "MISSED", None: ""}[met]
        cells = (what, figure, compared, budget)
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            + f"  {mark}".rstrip()
        )
    print("\nRatios are medians of the ratios within each round, quartiles in brackets.")
    for name, text in report.configurations.items():
        print(f"{name}: {text}")
    for note in report.notes:
        print(f"note: {note}")


def machine() -> dict[str, str]:
    names = ("agent-trace", "orjson", "structlog", "eliot")
    versions = ", ".join(f"{name} {version_of(name)}" for name in names)
    return {"python": platform.python_version(), "system": platform.platform(), "packages": versions}


def version_of(name: str) -> str:
    return Agent.version.__version__ if name == "agent-trace" else version(name)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recording", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="about twenty seconds, with wider spreads")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument(
        "--directory", type=Path, help="where the files go (default: the temporary directory)"
    )
    parser.add_argument("--events", type=int, help="length of the tail measurement")
    given = parser.parse_args(arguments)
    size = QUICK if given.quick else FULL
    if given.events:
        size = Size(size.calls, size.rounds, size.starts, given.events)
    report = Report()
    directory = Path(tempfile.mkdtemp(prefix="agent-trace-benchmark-", dir=given.directory))
    os.environ["XDG_CONFIG_HOME"] = str(directory / "configuration")
    try:
        start_rows(report, size)
        loggers_row(report, directory, size, peers.SMALL, "everything on", 0.75)
        loggers_row(report, directory, size, peers.RICH, "UUIDs, nested and quoted values", 1.0)
        decorator_rows(report, directory, size)
        disabled_row(report, directory, size)
        tail_row(report, directory, size)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if given.json:
        rows = [asdict(row) for row in report.rows]
        everything = {**machine(), "rows": rows, "figures": report.figures, "notes": report.notes}
        print(json.dumps({**everything, "configurations": report.configurations}, indent=2))
    else:
        print("; ".join(machine().values()) + "\n")
        print_table(report)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
