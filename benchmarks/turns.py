"""A contender in a process of its own, which works only when it is its turn.

Recorders change their process: they patch the clock, add threads, hold the one global logger. So each has
its own, and the others sleep meanwhile; ratios are still made within a round, as `method.py` says.
"""

from __future__ import annotations

import gc
import multiprocessing
import shutil
import tempfile
import timeit
from array import array
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, perf_counter_ns
from types import TracebackType
from typing import Any, NamedTuple, Self

from benchmarks.contenders import load
from benchmarks.contenders.contract import Contender, Opened, Place, fields
from benchmarks.method import LEAD_IN, empty, percentiles
from benchmarks.read_back import Kept, read_back

PATIENCE_S = 120.0


class Turn(NamedTuple):
    """Nanoseconds a call until it returned, and until its line was with the kernel."""

    returned_ns: float
    written_ns: float


class Taker:
    """The parent's side: asks, and waits for the answer."""

    def __init__(self, name: str, directory: Path, *, decorated: bool, size_bytes: int, backups: int) -> None:
        self.name = name
        self.directory = Path(tempfile.mkdtemp(dir=directory))
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        place = Place(self.directory, size_bytes, backups)
        self._process = context.Process(target=_attend, args=(theirs, name, place, decorated), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._pipe.send(("end",))
            self._process.join(10)
        except OSError:
            pass
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, *request: Any) -> Any:
        """The answer of the process; RuntimeError if it gives none."""
        self._pipe.send(request)
        if not self._pipe.poll(PATIENCE_S):
            raise RuntimeError(f"{self.name} did not answer {request} in {PATIENCE_S:.0f} s")
        try:
            return self._pipe.recv()
        except EOFError as error:
            raise RuntimeError(f"{self.name} ended at {request}") from error

    def turn(self, calls: int) -> Turn:
        return Turn(*self.ask("turn", calls))

    def block(self, calls: int) -> None:
        """Time each of so many calls by itself."""
        self.ask("block", calls)

    def tail(self) -> dict[str, float]:
        """Percentiles over all blocks so far, in microseconds."""
        answer: dict[str, float] = self.ask("tail")
        return answer

    def burst(self, calls: int) -> Kept | None:
        """So many calls without a pause, then what of them can be read; None where lines have no number."""
        answer = self.ask("burst", calls)
        return Kept(**answer) if answer is not None else None


class _Work:
    """The other side: the contender, opened, and what was timed of it."""

    def __init__(self, contender: Contender, opened: Opened, place: Place, decorated: bool) -> None:
        self.contender = contender
        self.opened = opened
        self.place = place
        self.decorated = decorated
        self.times = array("Q")
        statement = "call('ai', 30)" if decorated else "call(data)"
        names = {"call": opened.call, "data": fields(0, 0)}
        # the body of a method is in every figure of its decorators; the call of an event is not
        idle = {**names, "call": lambda data: None}
        self.timer = timeit.Timer(statement, "import gc; gc.enable()", globals=names)
        self.idle = timeit.Timer("pass" if decorated else statement, "import gc; gc.enable()", globals=idle)

    def empty_files(self) -> None:
        grown, copies = self.contender.grown, self.contender.copies
        directory = self.place.directory
        empty([*grown(directory), *(copies(directory) if copies is not None else [])])

    def turn(self, calls: int) -> tuple[float, float]:
        self.empty_files()
        gc.collect()
        overhead = min(self.idle.repeat(3, calls))
        self.timer.timeit(min(LEAD_IN, calls))
        self.opened.settle()
        seconds = self.timer.timeit(calls)
        began = perf_counter()
        self.opened.settle()
        settling = perf_counter() - began
        returned = (seconds - overhead) / calls * 1e9
        return returned, returned + settling / calls * 1e9

    def block(self, calls: int) -> None:
        if not self.contender.rotates:
            self.empty_files()
        gc.collect()
        # bound when this module was imported: reeltime records the reading of a clock that is looked up later
        clock, note = perf_counter_ns, self.times.append
        call = self.opened.call
        arguments: tuple[Any, ...] = ("ai", 30) if self.decorated else (fields(0, 0),)
        for _ in range(calls):
            began = clock()
            call(*arguments)
            note(clock() - began)
        self.opened.settle()

    def tail(self) -> dict[str, float]:
        return percentiles(sorted(self.times))

    def burst(self, calls: int) -> dict[str, int] | None:
        if self.contender.identities is None:
            return None
        for number in range(calls):
            self.opened.call(fields(0, number))
        self.opened.settle()
        kept = read_back(
            self.contender.grown(self.place.directory), self.contender.identities, workers=1, each=calls
        )
        return asdict(kept)


def _attend(pipe: Connection, name: str, place: Place, decorated: bool) -> None:
    contender = load(name)
    opened = contender.open(place, None)
    work = _Work(contender, opened, place, decorated)
    answers: dict[str, Callable[..., Any]] = {
        "turn": work.turn,
        "block": work.block,
        "tail": work.tail,
        "burst": work.burst,
    }
    while True:
        try:
            verb, *arguments = pipe.recv()
        except EOFError:
            verb = "end"
        if verb == "end":
            break
        pipe.send(answers[verb](*arguments))
    opened.close()
