"""From the call that logs an event to the line that `agent-trace tail -f` prints: the row of the budget."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import orjson

import Agent
from benchmarks.children import OWN, child_environment
from benchmarks.command import progress
from benchmarks.method import percentiles
from benchmarks.table import Report, Row

__all__ = ["measure_tail"]

PAUSE_S = 0.004
MOST_MS = 50.0
_PATIENCE_S = 20.0


def measure_tail(report: Report, directory: Path, events: int) -> None:
    """Log so many events one after another while a tail follows, each with the time at which it was logged."""
    progress("event to screen")
    root = directory / "tailed"
    Agent.setup_logging(trace_root=root)
    logger = Agent.AgentLogger("tailed", "writer")
    logger.log_action("begin", {"n": -1})
    child = subprocess.Popen(
        [*OWN, "tail", "-f", "-n", "0", "--json", "--root", str(root)],
        stdout=subprocess.PIPE,
        env=child_environment(),
    )
    seen: dict[int, int] = {}
    reader = threading.Thread(target=_read, args=(child, seen), daemon=True)
    reader.start()
    try:
        if not _wait(lambda: _greet(logger, seen)):
            report.notes.append("tail printed nothing: left out")
            return
        for number in range(events):
            logger.log_action("step", {"n": number, "ns": time.monotonic_ns()})
            time.sleep(PAUSE_S)
        _wait(lambda: len([n for n in seen if n >= 0]) >= events)
    finally:
        child.kill()
        child.wait()
        reader.join()
        Agent.shutdown_logging()
    took = sorted(value for number, value in seen.items() if number >= 0)
    figures = percentiles(took)
    report.figures["event to screen, us"] = figures
    p50, p99, most = (figures[name] / 1000 for name in ("p50", "p99", "max"))
    report.rows.append(
        Row(
            "event to screen in tail",
            f"p99 {p99:.1f} ms",
            f"p50 {p50:.1f} ms, longest {most:.0f} ms, {len(took):,} of {events:,} events",
            f"<= {MOST_MS:.0f} ms",
            p99 <= MOST_MS and len(took) == events,
        )
    )


def _read(child: subprocess.Popen[bytes], seen: dict[int, int]) -> None:
    """Note when each line came; the clock is the one that the writer reads."""
    assert child.stdout is not None
    for line in child.stdout:
        now = time.monotonic_ns()
        data = orjson.loads(line)["extra"].get("action_data", {})
        if "ns" in data:
            seen[data["n"]] = now - data["ns"]


def _greet(logger: Agent.AgentLogger, seen: dict[int, int]) -> bool:
    """Log until the tail, which takes a while to start, prints it."""
    logger.log_action("greet", {"n": -2 - len(seen), "ns": time.monotonic_ns()})
    return any(number <= -2 for number in seen)


def _wait(is_done: Callable[[], bool]) -> bool:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if is_done():
            return True
        time.sleep(0.05)
    return False
