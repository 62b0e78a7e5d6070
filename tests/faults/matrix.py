"""The whole matrix of kills and faults, as a table: `python tests/faults/matrix.py`.

    --kills          scenario x system call x every k, until the program ends before its k-th call
    --random N       N kills at random moments, spread over the scenarios
    --faults         scenario x system call x error x every k, one call, three in a row, and all from k on
    --stride N       only every N-th k
    --most N         no k beyond
    --seed S         of the random kills; each line of failure names what is needed to run it again

Without any of the first three it does all, with 1000 random kills. Exit code 1 where something was wrong.
"""

from __future__ import annotations

import argparse
import itertools
import os
import queue
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[depth]) for depth in (0, 1, 2)]

from harness import CALLS, KillAtRandom, Launcher, Outcome, Tampering, why_no_tracing
from oracle import Verdict, judge, judge_fault

BUFFER_ENTRIES = 10
EVENTS = {
    "writing": 10,
    "rolling": 40,
    "mirroring": 12,
    "starting": 16,
    "forking": 24,
    "buffering": 24,
    "ending": 24,
    "summarising": 24,
    "faulting": 40,
}
"""How many events a scenario writes when it is killed at a system call."""
RANDOM_SCENARIOS = ("writing", "rolling", "mirroring", "forking", "buffering")
ERRORS = {
    "write": ("ENOSPC", "EIO", "EROFS", "EFBIG", "EINTR"),
    "openat": ("ENOSPC", "EIO", "EMFILE", "EROFS", "EINTR"),
    "rename": ("ENOSPC", "EIO", "EROFS"),
    "link": ("ENOSPC", "EIO", "EROFS", "EPERM"),
    "unlink": ("EIO", "EROFS"),
    "fsync": ("EIO", "ENOSPC", "EINTR"),
    "allocate": ("ENOSPC", "EIO"),
    "mkdir": ("ENOSPC", "EROFS"),
    "close": ("EIO",),
}
FAULT_SCENARIOS = ("faulting", "mirroring", "starting", "forking", "buffering", "ending")
WINDOWS = ("{k}", "{k}..{last}", "{k}+")


@dataclass
class Row:
    """One line of the table."""

    scenario: str
    call: str
    action: str
    runs: int = 0
    struck: int = 0
    acknowledged: int = 0
    refused: int = 0
    torn: int = 0
    unacknowledged: int = 0
    lost: int = 0
    problems: list[str] = field(default_factory=list)

    def take(self, outcome: Outcome, verdict: Verdict, struck: int, what: str) -> None:
        """Add one run."""
        self.runs += 1
        self.struck += struck
        self.acknowledged += verdict.acknowledged
        self.refused += len(outcome.refused)
        self.torn += verdict.torn
        self.unacknowledged += verdict.unacknowledged
        self.lost += verdict.lost + verdict.unknown
        self.problems += [f"{what}: {problem}" for problem in verdict.problems]


@dataclass(frozen=True)
class Cell:
    """A row to be filled: every k of one call in one scenario, or kills at random."""

    scenario: str
    call: str
    action: str
    stride: int = 1
    most: int = 400
    window: str = "{k}"
    start: int = 1
    seeds: tuple[int, ...] = ()

    def fill(self, launcher: Launcher, directory: Path) -> Row:
        """Run until the k-th call does not come any more."""
        row = Row(self.scenario, self.call, self.action)
        if self.seeds:
            for seed in self.seeds:
                self._kill_at_random(launcher, directory / str(seed), seed, row)
            return row
        for k in range(self.start, self.most + 1, self.stride):
            when = self.window.format(k=k, last=k + 2)
            struck = self._strike(launcher, directory / str(k), when, row)
            if not struck:
                break
        return row

    def _kill_at_random(self, launcher: Launcher, directory: Path, seed: int, row: Row) -> None:
        chance = random.Random(seed)
        outcome = launcher.run(
            self.scenario,
            directory,
            events=1_000_000,
            threads=chance.choice((1, 2, 3)),
            fault=KillAtRandom.drawn(chance),
            **_options(self.scenario),
        )
        verdict = judge(outcome, buffer_entries=_buffered(self.scenario))
        verdict.expect(outcome.killed, f"exit code {outcome.exit_code}")
        row.take(outcome, verdict, 1, f"{self.scenario} seed {seed}")
        _tidy(directory, verdict)

    def _strike(self, launcher: Launcher, directory: Path, when: str, row: Row) -> bool:
        events = EVENTS[self.scenario]
        tampering = Tampering(self.call, when, self.action)
        outcome = launcher.run(
            self.scenario, directory, events=events, fault=tampering, **_options(self.scenario)
        )
        if self.action == "signal=KILL":
            # in a child that was forked it strikes as well
            struck = outcome.exit_code != 0 or len(outcome.done) < len(outcome.pids)
            verdict = judge(outcome, buffer_entries=_buffered(self.scenario))
        else:
            struck = bool(outcome.injected or outcome.injected_later)
            verdict = judge_fault(
                outcome,
                calls_of(self.scenario, events),
                error=self.action.removeprefix("error="),
                buffer_entries=_buffered(self.scenario),
                lasting=when.endswith("+"),
            )
        row.take(outcome, verdict, int(struck), f"{self.scenario} {self.call} {self.action} when={when}")
        _tidy(directory, verdict)
        return struck


def calls_of(scenario: str, events: int) -> int:
    """How many calls of the package a scenario makes."""
    return {
        "faulting": 1 + events + 12,
        "mirroring": 1 + 4 * events,
        "starting": events,
        "forking": 1 + 2 * (events // 2) + events,
        "buffering": 1 + events + events // 7,
        "ending": events + 3,
        "limited": 1 + events + 12,
    }[scenario]


def _options(scenario: str) -> dict[str, int]:
    return {"buffer_entries": BUFFER_ENTRIES} if scenario == "buffering" else {}


def _buffered(scenario: str) -> int:
    return {"buffering": BUFFER_ENTRIES, "ending": 3}.get(scenario, 0)


def _tidy(directory: Path, verdict: Verdict) -> None:
    if not verdict.problems:
        shutil.rmtree(directory, ignore_errors=True)


def kill_cells(stride: int, most: int) -> Iterator[Cell]:
    """Every scenario and call."""
    for scenario, call in itertools.product(EVENTS, CALLS):
        yield Cell(scenario, call, "signal=KILL", stride, most)


def random_cells(kills: int, seed: int) -> Iterator[Cell]:
    """Kills at random, evenly over the scenarios; a seed for each."""
    share = -(-kills // len(RANDOM_SCENARIOS))
    for index, scenario in enumerate(RANDOM_SCENARIOS):
        first = seed + index * share
        yield Cell(scenario, "random", "signal=KILL", seeds=tuple(range(first, first + share)))


def fault_cells(stride: int, most: int) -> Iterator[Cell]:
    """Every scenario, call and error; one call, three in a row, and all from one on."""
    for scenario, (call, errors) in itertools.product(FAULT_SCENARIOS, ERRORS.items()):
        for error, window in itertools.product(errors, WINDOWS):
            if error == "EINTR" and window.endswith("+"):
                # a call that is interrupted for ever never ends, and that is right
                continue
            yield Cell(scenario, call, f"error={error}", stride, most, window)


def fill_all(cells: Iterable[Cell], directory: Path, workers: int = 2) -> Iterator[Row]:
    """The rows as they get ready; each worker has a launcher of its own."""
    waiting: queue.SimpleQueue[tuple[int, Cell]] = queue.SimpleQueue()
    ready: queue.SimpleQueue[Row | BaseException] = queue.SimpleQueue()
    count = 0
    for count, cell in enumerate(cells, 1):
        waiting.put((count, cell))

    def work() -> None:
        try:
            with Launcher() as launcher:
                while True:
                    try:
                        number, cell = waiting.get_nowait()
                    except queue.Empty:
                        return
                    ready.put(cell.fill(launcher, directory / str(number)))
        except BaseException as error:
            ready.put(error)
            raise

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for _ in range(count):
        row = ready.get()
        if isinstance(row, BaseException):
            raise row
        yield row


HEAD = ("scenario", "call", "action", "runs", "struck", "acknowledged", "refused", "torn", "unack.", "lost")
_SHAPE = "{:<12} {:<9} {:<13} {:>6} {:>7} {:>13} {:>8} {:>5} {:>7} {:>5}  {}"


def line_of(row: Row) -> str:
    """A row as text."""
    numbers = (row.runs, row.struck, row.acknowledged, row.refused, row.torn, row.unacknowledged, row.lost)
    return _SHAPE.format(
        row.scenario,
        row.call,
        row.action,
        *numbers,
        f"{len(row.problems)} problems" if row.problems else "ok",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", action="store_true")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--most", type=int, default=400)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default="", help="scenario/call, either may be missing")
    given = parser.parse_args()
    everything = not (given.kills or given.faults or given.random)
    reason = why_no_tracing()
    if reason is not None:
        print(reason, file=sys.stderr)
    cells: list[Cell] = []
    if (given.kills or everything) and reason is None:
        cells += kill_cells(given.stride, given.most)
    if given.random or everything:
        cells += random_cells(given.random or 1000, given.seed)
    if (given.faults or everything) and reason is None:
        cells += fault_cells(given.stride, given.most)
    scenario, _, call = given.only.partition("/")
    cells = [cell for cell in cells if cell.scenario.startswith(scenario) and cell.call.startswith(call)]
    directory = Path(tempfile.mkdtemp(prefix="faults-"))
    print(f"seed {given.seed}; what was wrong is kept under {directory}")
    print(_SHAPE.format(*HEAD, ""))
    total = Row("total", "", "")
    for row in fill_all(cells, directory, workers=os.cpu_count() or 2):
        if row.runs:
            print(line_of(row), flush=True)
            for problem, times in Counter(row.problems).most_common(3):
                print(f"    {problem[:400]}{f' (x{times})' if times > 1 else ''}", flush=True)
        for name in ("runs", "struck", "acknowledged", "refused", "torn", "unacknowledged", "lost"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
        total.problems += row.problems
    print(line_of(total))
    return 1 if total.problems else 0


if __name__ == "__main__":
    sys.exit(main())
