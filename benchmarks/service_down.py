"""What an agent's steps take while the service is up, gone, or hangs: `python -m benchmarks.service_down`.

One agent records steps and is sent to a service on this machine. In every round it works the same number of
steps while the service is up, while it hangs (stopped, so that it takes connections and answers nothing), and
while it is killed, the order turning by one each time; before a turn the service is brought to that state and,
where it is up, everything is delivered first. Every step is timed by itself; a ratio is that of two medians of
one round. Steps come as fast as they can, with no work in them, and with half a millisecond of computing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns

from benchmarks.command import options, progress, run
from benchmarks.method import quartiles_of_ratios
from benchmarks.served import Served
from benchmarks.table import Report, Row, Table

STATES = ("up", "hangs", "gone")
FULL, QUICK = (12, 2.0), (4, 1.0)
"""Rounds, and seconds of each kind of step in a turn."""
MOST = 1.05
COMPUTED = 12_000
"""Additions that take about half a millisecond."""


def compute() -> None:
    total = 0
    for number in range(COMPUTED):
        total += number


KINDS: dict[str, Callable[[], None]] = {"an empty step": lambda: None, "a step that computes": compute}


def turn(tracer, work: Callable[[], None], seconds: float) -> float:
    """The median microseconds of a step, of as many as fit."""
    taken = []
    with tracer.start_run() as made:
        end_ns = perf_counter_ns() + int(seconds * 1e9)
        while (began_ns := perf_counter_ns()) < end_ns:
            with made.step("tool", "call_api") as step:
                work()
                step.add_metadata({"attempt": 1})
            taken.append(perf_counter_ns() - began_ns)
            if work is KINDS["an empty step"]:
                time.sleep(0.0005)  # some 1,500 steps a second, which is more than agents make
    return statistics.median(taken) / 1000


def bring(service: Served, state: str, tracer) -> None:
    """The service in that state; where it is up, with nothing left to send."""
    if state == "hangs":
        service.hold()
    elif state == "gone":
        service.kill()
    elif not tracer.flush(120):
        raise RuntimeError("not everything was delivered before a turn")


def back(service: Served, state: str) -> None:
    if state == "hangs":
        service.let_go()
    elif state == "gone":
        service.start()


def measure(given: argparse.Namespace, directory: Path) -> Report:
    from Agent import setup_logging, shutdown_logging
    from Agent.client import AgentTracer

    rounds, seconds = QUICK if given.quick else FULL
    setup_logging(trace_root=directory / "trace")
    times: dict[str, dict[str, list[float]]] = {kind: {state: [] for state in STATES} for kind in KINDS}
    with Served(f"sqlite:///{directory / 'service.db'}", directory) as service:
        tracer = AgentTracer("agent", "1.0.0", service.ingest_url, exit_timeout_s=60)
        turn(tracer, compute, 1.0)
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for offset in range(len(STATES)):
                state = STATES[(number + offset) % len(STATES)]
                bring(service, state, tracer)
                for kind, work in KINDS.items():
                    times[kind][state].append(turn(tracer, work, seconds))
                back(service, state)
        delivered = tracer.flush(120)
        told = tracer.health()
        tracer.close()
    shutdown_logging()
    return report(times, rounds, delivered=delivered, refused=told["refused"])


def report(times: dict[str, dict[str, list[float]]], rounds: int, *, delivered: bool, refused: int) -> Report:
    made = Report()
    table = Table("Microseconds a step, medians of rounds", ("", *(f"service {state}" for state in STATES)))
    for kind, of_kind in times.items():
        table.lines.append((kind, *(f"{statistics.median(of_kind[state]):,.1f}" for state in STATES)))
        for state in ("gone", "hangs"):
            low, middle, high = quartiles_of_ratios(of_kind[state], of_kind["up"])
            made.rows.append(
                Row(
                    f"{kind}, service {state}",
                    f"{middle:.3f} x ({low:.3f} to {high:.3f})",
                    "the same while it is up",
                    f"<= {MOST} x",
                    middle <= MOST,
                )
            )
    made.tables.append(table)
    made.notes.append(
        f"{rounds} rounds; afterwards everything was delivered: {delivered}, refused: {refused}"
    )
    made.figures["step_us"] = times
    return made


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.service_down", __doc__.partition("\n")[0])
    given = parser.parse_args(arguments)
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
