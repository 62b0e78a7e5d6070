"""One run of the scaling table: a fresh parent, its workers behind a barrier, their times.

The parent is a process of its own, so that no contender leaves anything behind in the one that measures.
Workers are processes that were started (not forked), or threads of the parent; they begin together, and a
run lasts from there to the last call of the slowest, or until the last line is with the kernel.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from typing import Any

from benchmarks.contenders import load
from benchmarks.contenders.contract import Opened, Place, fields

PATIENCE_S = 180.0
_CONTEXT = multiprocessing.get_context("spawn")


class Stalled(RuntimeError):
    """A run did not come to its end."""


@dataclass(frozen=True)
class Run:
    """Who works, and how much; either number of workers is 1."""

    name: str
    processes: int
    threads: int
    each: int
    """Events of one worker."""

    @property
    def workers(self) -> int:
        return self.processes * self.threads


@dataclass(frozen=True)
class Took:
    """Seconds from the common beginning; and what the contender itself says that it lost."""

    calls_s: float
    written_s: float
    said_lost: int
    said_lost_copies: int


@dataclass(frozen=True)
class _Times:
    began_ns: int
    ended_ns: int
    settled_ns: int
    said_lost: int
    said_lost_copies: int


def run_once(run: Run, place: Place) -> Took:
    """Do it in a fresh process; Stalled when it does not end, RuntimeError when it fails."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    parent = _CONTEXT.Process(target=_lead, args=(theirs, run, place))
    parent.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE_S):
            _kill_all_of(parent)
            raise Stalled(f"{run}: no end after {PATIENCE_S:.0f} s")
        took: Took = ours.recv()
    except EOFError as error:
        raise RuntimeError(f"{run}: ended with exit code {parent.exitcode}") from error
    finally:
        parent.join(20)
        if parent.is_alive():
            parent.kill()
            parent.join()
    return took


def _kill_all_of(parent: BaseProcess) -> None:
    """End a run that hangs, its workers with it."""
    if parent.pid is not None:
        with suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)


def _lead(answer: Connection, run: Run, place: Place) -> None:
    """The parent of a run: it opens what is shared, starts the workers, and waits for the slowest."""
    os.setsid()
    if run.processes == 1:
        contender = load(run.name)
        opened = contender.open(_labelled(place, 0), None)
        times = _work_in_threads(opened, run)
        opened.close()
        answer.send(_took(times, times[0].settled_ns))
        return
    contender = load(run.name)
    inherited = contender.lead(place)
    barrier = _CONTEXT.Barrier(run.processes)
    pipes: list[Connection] = []
    workers = []
    for number in range(run.processes):
        ours, theirs = _CONTEXT.Pipe(duplex=False)
        arguments = (theirs, run, _labelled(place, number), number, inherited, barrier)
        worker = _CONTEXT.Process(target=_work, args=arguments, daemon=True)
        worker.start()
        theirs.close()
        pipes.append(ours)
        workers.append(worker)
    times = []
    while pipes:
        ready = [pipe for pipe in wait(pipes, PATIENCE_S) if isinstance(pipe, Connection)]
        if not ready:
            raise Stalled("workers do not end")
        for pipe in ready:
            times.append(pipe.recv())
            pipes.remove(pipe)
    settled_ns = max(time_.settled_ns for time_ in times)
    if inherited is not None:
        # the parent holds the queue into which all wrote
        inherited.complete()
        settled_ns = time.monotonic_ns()
    for worker in workers:
        worker.join(20)
    answer.send(_took(times, settled_ns))


def _labelled(place: Place, number: int) -> Place:
    return Place(place.directory, place.size_bytes, place.backups, f".{number}")


def _work(answer: Connection, run: Run, place: Place, worker: int, inherited: Any, barrier: Barrier) -> None:
    """A process that records; its files are open before the barrier falls."""
    opened = load(run.name).open(place, inherited)
    barrier.wait(PATIENCE_S)
    began = time.monotonic_ns()
    _write(opened, worker, run.each)
    ended = time.monotonic_ns()
    if inherited is None:
        opened.settle()
    settled = time.monotonic_ns()
    answer.send(_Times(began, ended, settled, opened.lost(), opened.lost_copies()))
    opened.close()


def _write(opened: Opened, worker: int, count: int) -> None:
    call = opened.call
    for number in range(count):
        call(fields(worker, number))


def _work_in_threads(opened: Opened, run: Run) -> list[_Times]:
    """The same by threads of this process; what settles, settles once for all of them."""
    barrier = threading.Barrier(run.threads)
    spans: list[tuple[int, int]] = []

    def work(worker: int) -> None:
        barrier.wait(PATIENCE_S)
        began = time.monotonic_ns()
        _write(opened, worker, run.each)
        spans.append((began, time.monotonic_ns()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(run.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened.settle()
    settled = time.monotonic_ns()
    lost, lost_copies = opened.lost(), opened.lost_copies()
    # what the process lost is said once
    return [
        _Times(began, ended, settled, lost if first else 0, lost_copies if first else 0)
        for first, (began, ended) in zip([True, *[False] * (len(spans) - 1)], spans, strict=True)
    ]


def _took(times: list[_Times], settled_ns: int) -> Took:
    began = min(each.began_ns for each in times)
    ended = max(each.ended_ns for each in times)
    return Took(
        calls_s=(ended - began) / 1e9,
        written_s=(settled_ns - began) / 1e9,
        said_lost=sum(each.said_lost for each in times),
        said_lost_copies=sum(each.said_lost_copies for each in times),
    )
