"""The recording rows of the budget, each beside its peer and the floor: `python -m benchmarks.recording`.

Options: `--quick` (about twenty seconds), `--json`, `--directory DIR` (where the files go; a real disk, not
memory), `--events N` (length of the tail measurement). `method.py` says how it is timed, `peers.py` how each
peer is set up.
"""

from __future__ import annotations

import gc
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import eliot

import Agent
from benchmarks import command, peers, subjects
from benchmarks.method import Contender, Measured, empty, percentiles, run_rounds
from benchmarks.starts import measure_starts
from benchmarks.table import Report, Row

OWN, STRUCTLOG, ELIOT, FLOOR = "Agent Trace", "structlog", "eliot", "floor"


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
                {**names, "log_message": eliot.log_message},
                lambda: empty([eliot_path]),
            ),
            Contender(FLOOR, peers.FLOOR_STATEMENT, floor_names, lambda: empty([floor_path])),
        ]
        measured = run_rounds(contenders, calls=size.calls, rounds=size.rounds, floor=FLOOR)
        check_nothing_lost(report, f"log_action, {label}")
        note_left_out(report, f"log_action, {label}", measured)
    report.configurations |= {STRUCTLOG: structlog_how, ELIOT: eliot_how, FLOOR: floor_how}
    report.figures[f"log_action, {label}"] = {c.name: measured.median_ns(c.name) for c in contenders}
    tell_loggers(report, measured, label, most)


def tell_loggers(report: Report, measured: Measured, label: str, most: float) -> None:
    """The rows of what `loggers_row` measured: beside structlog, beside the floor, the peers beside it."""
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


def note_left_out(report: Report, what: str, measured: Measured) -> None:
    if measured.left_out:
        report.notes.append(f"{what}: {measured.left_out} rounds left out, in which the floor doubled")


def empty_record(root: Path) -> None:
    empty(peers.record_files(root))


def check_nothing_lost(report: Report, what: str) -> None:
    """A recorder that drops events would look fast, so its own account is asked."""
    health = Agent.health()
    trouble = {name: health[name] for name in ("dropped", "notes") if health[name]}
    if trouble:
        report.notes.append(f"{what}: health() reports {trouble}")


def decorator_rows(report: Report, directory: Path, size: Size) -> None:
    """`@trace_agent_action` on the same body as `eliot.log_call`: without state, with ten fields, strict."""
    rows: tuple[tuple[str, type[Any], dict[str, Any], float], ...] = (
        ("without exposed state", subjects.Stateless, {}, 0.30),
        ("ten fields, one changed", subjects.TenFields, {}, 0.40),
        ("the same, state strict", subjects.TenFields, {"state": "strict"}, 0.50),
    )
    for label, subject, options, most in rows:
        with place_for(directory, "decorators") as place:
            try:
                root = peers.start_agent_trace(place, **options)
            except Agent.errors.AgentTraceError as error:
                report.notes.append(f"decorator, {label}: not measured: {error}")
                continue
            eliot_path, _ = peers.eliot_file(place)
            act = subject().act
            act("ai", 30)
            floor_names, floor_path, _ = peers.floor_writer(place, peers.own_line(root))
            statement = "act('ai', 30)"
            contenders = [
                Contender(OWN, statement, {"act": act}, partial(empty_record, root)),
                Contender("log_call", statement, {"act": subjects.Eliot().act}, partial(empty, [eliot_path])),
                Contender("undecorated", statement, {"act": subjects.Undecorated().act}),
                Contender(FLOOR, peers.FLOOR_STATEMENT, floor_names, partial(empty, [floor_path])),
            ]
            measured = run_rounds(contenders, calls=size.calls, rounds=size.rounds, floor=FLOOR)
            note_left_out(report, f"decorator, {label}", measured)
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
        structlog_logger, _, _ = peers.structlog_logger(place)
        floor_names, _, _ = peers.floor_writer(place, peers.own_line(root))
        write, descriptor, dumps, line = (
            floor_names[name] for name in ("write", "descriptor", "dumps", "line")
        )
        data, context = peers.SMALL["action_data"], peers.SMALL["decision_context"]
        # Each keeps what it wrote: pages of a file that is emptied never reach the disk, and ours do.
        calls: dict[str, Callable[[int], object]] = {
            OWN: lambda number: logger.log_action(peers.ACTION, data, context),
            STRUCTLOG: lambda number: structlog_logger.info(
                "Agent action: create_content",
                event_type="agent_action",
                action_type=peers.ACTION,
                action_data=data,
                decision_context=context,
            ),
            FLOOR: lambda number: write(descriptor, dumps(line) + b"\n"),
        }
        times: dict[str, list[int]] = {name: [] for name in calls}
        for first in range(0, size.events, block):
            for name, call in calls.items():
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


def measure(directory: Path, size: Size) -> Report:
    """Every row of the budget."""
    report = Report()
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("starts of processes", lambda: start_rows(report, size)),
        (
            "log_action beside structlog, eliot and the floor",
            lambda: loggers_row(report, directory, size, peers.SMALL, "everything on", 0.45),
        ),
        (
            "the same with values that need a closer look",
            lambda: loggers_row(report, directory, size, peers.RICH, "UUIDs, nested and quoted values", 0.8),
        ),
        ("decorators beside eliot.log_call", lambda: decorator_rows(report, directory, size)),
        ("a disabled level", lambda: disabled_row(report, directory, size)),
        (f"the tail of {size.events:,} calls", lambda: tail_row(report, directory, size)),
    )
    for number, (what, step) in enumerate(steps, 1):
        command.progress(f"budgets, {number} of {len(steps)}: {what}")
        step()
    return report


def main(arguments: list[str]) -> int:
    parser = command.options(
        "benchmarks.recording", "The recording rows of the budget, each beside its peer."
    )
    parser.add_argument("--events", type=int, help="length of the tail measurement")
    given = parser.parse_args(arguments)
    size = QUICK if given.quick else FULL
    if given.events:
        size = replace(size, events=given.events)
    return command.run(given, lambda directory: measure(directory, size))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
