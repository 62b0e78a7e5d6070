"""The whole matrix of kills and faults, as a table: `python tests/faults/matrix.py`.

    --kills          scenario x system call x every k, until the program ends before its k-th call
    --random N       N kills at random moments, spread over the scenarios
    --drawn-faults N N runs with a fault that is drawn from all of them
    --drawn N        N kills at system calls that are drawn from all of them, with 1 to 3 threads
    --faults         scenario x system call x error x every k, one call, three in a row, and all from k on
    --stride N       only every N-th k
    --most N         no k beyond
    --seed S         of the random and the drawn kills
    --workers N      threads that drive runs; one for each processor without it
    --again WHAT     one run as a problem's line names it

Without any of the first four it does all, with 1000 random kills. Exit code 1 where something was wrong.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[depth]) for depth in (0, 1, 2)]

from cells import Cell, Row, cell_of, drawn_cells, drawn_fault_cells, fault_cells, kill_cells, random_cells
from harness import Launcher, why_no_tracing


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
    parser.add_argument("--drawn", type=int, default=0)
    parser.add_argument("--drawn-faults", type=int, default=0)
    parser.add_argument("--again", default="")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--most", type=int, default=400)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--only", default="", help="scenario/call, either may be missing")
    given = parser.parse_args()
    everything = not (
        given.kills or given.faults or given.random or given.drawn or given.drawn_faults or given.again
    )
    directory = Path(tempfile.mkdtemp(prefix="faults-"))
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
    if given.drawn and reason is None:
        cells += drawn_cells(given.drawn, given.seed, directory)
    if given.drawn_faults and reason is None:
        cells += drawn_fault_cells(given.drawn_faults, given.seed, scenario)
    if given.again:
        cells = [cell_of(given.again)]
    print(f"seed {given.seed}; what was wrong is kept under {directory}")
    print(_SHAPE.format(*HEAD, ""))
    total, by_call = Row("total", "", ""), {}
    for row in fill_all(cells, directory, workers=given.workers):
        for problem, times in Counter(row.problems).most_common(3):
            print(f"    {problem[:400]}{f' (x{times})' if times > 1 else ''}", flush=True)
        if given.drawn or given.drawn_faults:
            by_call.setdefault((row.scenario, row.call), Row(row.scenario, row.call, row.action)).add(row)
        elif row.runs:
            print(line_of(row), flush=True)
        total.add(row)
        if by_call and total.runs % 250 == 0:
            print(line_of(total), file=sys.stderr, flush=True)
    for _, row in sorted(by_call.items()):
        print(line_of(row))
    print(line_of(total))
    return 1 if total.problems else 0


if __name__ == "__main__":
    sys.exit(main())
