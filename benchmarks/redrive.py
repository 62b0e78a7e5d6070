"""What a re-drive costs beside the program that it drives: `python -m benchmarks.redrive`.

The same actions are done untraced, traced into files, and driven again with and without the watch for
unrecorded sources, each in a process of its own, in turns. What is compared is processor time a step, the
process's start and the first step left out of all; they stand apart with reading the record, since they are paid
once. Without the watch nothing would be proved: it is taken away here only to show what it costs.

With `--baseline DIR`, this checkout and another one record and drive the same steps in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.command import options, progress, run
from benchmarks.method import quartiles_of_ratios
from benchmarks.table import Report, Row, Table

_REPOSITORY = Path(__file__).resolve().parents[1]
WAYS = ("untraced", "traced", "driven again", "driven again, not watched")
MOST = 2.0
MOST_WORSE = 1.05
LONG_US = 50
"""Actions that take longer are compared with the untraced program, others with the traced one."""


class Size(NamedTuple):
    """How much is measured: rounds of work in an action to a number of actions, and turns."""

    actions: dict[int, int]
    turns: int


FULL = Size({0: 20_000, 600: 10_000, 3_000: 3_000}, 7)
QUICK = Size({0: 2_000, 600: 1_500, 3_000: 500}, 3)
BESIDE = 15
"""Turns beside another checkout."""


class Taken(NamedTuple):
    """Processor microseconds a step, and seconds of what is paid once."""

    step_us: float
    once_seconds: float


def once(way: str, rounds: int, actions: int, directory: Path, tree: Path = _REPOSITORY) -> Taken:
    """Measure one way in its own process, with the package of a checkout."""
    command = [sys.executable, "-m", "benchmarks.redrive", "--one", way, str(rounds), str(actions)]
    done = subprocess.run(
        [*command, str(directory)], cwd=directory, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tree)}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{way}, {rounds} rounds: {done.stderr}")
    return Taken(**json.loads(done.stdout.splitlines()[-1]))


def take(way: str, rounds: int, actions: int, directory: Path) -> Taken:
    """The same in this process."""
    from time import process_time

    from benchmarks.redrive_subject import TracedTrader, Trader, play

    root = directory / f"trace-{rounds}"
    if way.startswith("driven"):
        return _driven(root, actions, is_watched=way == WAYS[2])
    if way == "traced":
        from Agent import setup_logging, shutdown_logging

        # Each turn records anew; the last record is the one that is driven.
        setup_logging(trace_root=root)
        trader: Trader = TracedTrader(rounds)
        trader.act("tea", 1.0)
        began = process_time()
        play(trader, actions)
        taken = process_time() - began
        shutdown_logging()
    else:
        trader = Trader(rounds)
        began = process_time()
        play(trader, actions)
        taken = process_time() - began
    return Taken(taken / actions * 1e6, 0.0)


def _driven(root: Path, actions: int, *, is_watched: bool) -> Taken:
    """A re-drive in this process, as its child process does it."""
    from time import process_time

    from Agent.flight.run_reading import find_session_run
    from Agent.replay.compare.outcome import Verdict, judge
    from Agent.replay.worker.driver import Driver
    from Agent.replay.worker.workbench import Workbench, replay_on

    spent: list[float] = []
    drive = Driver.run

    def timed(driver: Any) -> None:
        began = 0.0
        step = driver._drive

        def first(action: Any) -> None:
            nonlocal began
            step(action)
            del driver._drive
            began = process_time()

        driver._drive = first
        if not is_watched:
            _take_watch_away(driver._watch)
        drive(driver)
        spent.append(process_time() - began)

    vars(sys.modules["Agent.replay.worker.driver"])["Driver"].run = timed
    reference = find_session_run("last/trader", root)
    bench = Workbench(
        {
            "session": str(reference.session),
            "agent_id": reference.agent_id,
            "target": "benchmarks.redrive_subject:build",
            "sys_path": sys.path,
            "outcome_path": str(root / "outcome.json"),
        }
    )
    replay_on(bench)
    verdict, reasons = judge(bench.outcome)
    if verdict is not Verdict.IDENTICAL:
        raise RuntimeError(f"{verdict}: {reasons}")
    return Taken(spent[0] / actions * 1e6, process_time() - spent[0])


def _take_watch_away(watch: Any) -> None:
    """Nothing is hooked in and no states are compared; only the patches know that an action is driven."""

    def begin(action: Any) -> None:
        watch.action, watch.is_on = action, True

    def end() -> None:
        watch.is_on = False

    watch.begin, watch.end = begin, end


def measure(given: argparse.Namespace, directory: Path) -> Report:
    size = QUICK if given.quick else FULL
    report = Report()
    headings = ("an action, untraced", *WAYS[1:], "once: start, reading, first step", "steps")
    table = Table(f"Processor microseconds a step (medians of {size.turns} turns)", headings)
    report.tables.append(table)
    for rounds, actions in size.actions.items():
        progress(f"actions of {rounds} rounds")
        turns = [
            {way: once(way, rounds, actions, directory) for way in WAYS} for _ in range(size.turns)
        ]  # each after the other within a turn, so that a slow phase strikes all
        of = {way: [turn[way].step_us for turn in turns] for way in WAYS}
        medians = {way: statistics.median(values) for way, values in of.items()}
        reading = statistics.median(turn[WAYS[2]].once_seconds for turn in turns)
        cells = tuple(f"{medians[way]:,.1f}" for way in WAYS)
        table.lines.append((*cells, f"{reading:.2f} s", f"{actions:,}"))
        beside = "untraced" if medians["untraced"] >= LONG_US else "traced"
        ratios = {}
        for way, what in ((WAYS[2], "re-drive, all of it"), (WAYS[3], "without the watch")):
            low, middle, high = quartiles_of_ratios(of[way], of[beside])
            ratios[way] = middle
            told = f"{what}, actions of {medians['untraced']:,.0f} us"
            figure = f"{middle:.2f} x ({low:.2f} to {high:.2f})"
            report.rows.append(Row(told, figure, f"the {beside} program", f"<= {MOST:g} x", middle <= MOST))
        watch = statistics.median(a - b for a, b in zip(of[WAYS[2]], of[WAYS[3]], strict=True))
        report.rows.append(Row("  the watch", f"{watch:,.1f} us a step", "", ""))
        report.figures[f"redrive_{rounds}"] = {**medians, "ratios": ratios, "watch": watch, "beside": beside}
    return report


def measure_beside(baseline: Path, given: argparse.Namespace, directory: Path) -> Report:
    """A recorded and a driven step beside those of another checkout."""
    size = QUICK if given.quick else FULL
    report = Report()
    places = {tree: directory / name for tree, name in ((baseline, "baseline"), (_REPOSITORY, "now"))}
    for place in places.values():
        place.mkdir()
    for rounds, actions in size.actions.items():
        of: dict[tuple[Path, str], list[Taken]] = {(tree, way): [] for tree in places for way in WAYS[1:3]}
        for turn in range(BESIDE):
            progress(f"actions of {rounds} rounds, turn {turn + 1} of {BESIDE}")
            for tree in list(places) if turn % 2 else reversed(places):
                for way in WAYS[1:3]:
                    of[tree, way].append(once(way, rounds, actions, places[tree], tree))
        for way, what in ((WAYS[1], "recorded"), (WAYS[2], "driven")):
            now, before = ([each.step_us for each in of[tree, way]] for tree in (_REPOSITORY, baseline))
            low, middle, high = quartiles_of_ratios(now, before)
            report.rows.append(
                Row(
                    f"a step of {rounds:,} rounds, {what}",
                    f"{statistics.median(now):,.1f} us",
                    f"{middle:.2f} x ({low:.2f} to {high:.2f}) {statistics.median(before):,.1f} us",
                    f"<= {MOST_WORSE}",
                    middle <= MOST_WORSE,
                )
            )
        now, before = ([each.once_seconds for each in of[tree, WAYS[2]]] for tree in (_REPOSITORY, baseline))
        low, middle, high = quartiles_of_ratios(now, before)
        report.rows.append(
            Row(
                f"  once: start, reading {actions:,} steps, first step",
                f"{statistics.median(now):.2f} s",
                f"{middle:.2f} x ({low:.2f} to {high:.2f}) {statistics.median(before):.2f} s",
            )
        )
    return report


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--one"]:
        way, rounds, actions, directory = arguments[1:]
        print(json.dumps(take(way, int(rounds), int(actions), Path(directory))._asdict()))
        return 0
    parser = options("benchmarks.redrive", "A re-drive measured beside the program that it drives.")
    parser.add_argument("--baseline", type=Path, help="another checkout, built, to measure beside this one")
    given = parser.parse_args(arguments)
    if given.baseline is not None:
        return run(given, lambda directory: measure_beside(given.baseline.resolve(), given, directory))
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
