"""Work at the same time: replays in worker processes, and tasks in forks of a worker process.

`history.py` and the check of many golden traces use `in_parallel`; sweeps and experiments use `Forks`.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from contextvars import copy_context
from pathlib import Path
from threading import Event
from typing import Any, NoReturn, TypeVar

import orjson

from Agent.errors import AgentTraceError, ReplayError
from Agent.replay.worker.fork_server import forked_children
from Agent.replay.worker.jobs import as_object
from Agent.replay.worker.progress import tell

__all__ = ["Forks", "Progress", "cores", "in_parallel"]

T = TypeVar("T")
Progress = Callable[[float], None]
"""Is told the share that is done."""


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(
    jobs: Sequence[Callable[[Event], T]], workers: int | None = None, progress: Progress | None = None
) -> list[T]:
    """What each job gives, in their order; an interrupt, or a job that fails, ends the others.

    Args:
        jobs: each takes an event that is set when it has to end.
        workers: how many at the same time; as many as there are cores without it.
        progress: is told the share that is done.
    """
    stop = Event()
    pool = ThreadPoolExecutor(max_workers=max(1, workers or cores()), thread_name_prefix="agent-trace-replay")
    forking = ExitStack()
    if len(jobs) > 1:
        forking.enter_context(forked_children())
    futures: list[Future[T]] = [pool.submit(copy_context().run, job, stop) for job in jobs]
    try:
        if progress is not None:
            progress(0.0)
        left = set(futures)
        while left:
            done, left = wait(left, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            if progress is not None:
                progress(1 - len(left) / len(futures))
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        forking.close()
    return [future.result() for future in futures]


class Forks:
    """Tasks in forks of this process, which share all that it has loaded.

    Args:
        directory: takes their answers; it goes when this process has ended.
        workers: how many run at the same time.
        is_telling: whether who waits for this process is told how many have ended.
    """

    def __init__(self, directory: Path, workers: int, *, is_telling: bool) -> None:
        self._directory = directory
        self._workers = workers
        self._is_telling = is_telling
        self._asked = self._ended = 0

    def run(self, tasks: Sequence[Callable[[], dict[str, Any]]]) -> list[dict[str, Any] | None]:
        """What each task returns, or `{"error": ...}`, in their order; None where the process died."""
        gc.collect()
        gc.freeze()  # what is there already stays shared with the forks
        self._asked += len(tasks)
        running: set[int] = set()
        answers = []
        for task in tasks:
            if len(running) == self._workers:
                self._wait(running)
            descriptor, path = tempfile.mkstemp(dir=self._directory)
            os.close(descriptor)
            answers.append(Path(path))
            pid = os.fork()
            if pid == 0:
                _answer(task, Path(path))
            running.add(pid)
        while running:
            self._wait(running)
        return [orjson.loads(path.read_bytes() or b"null") for path in answers]

    def _wait(self, running: set[int]) -> None:
        pid, _ = os.wait()
        running.discard(pid)
        self._ended += 1
        if self._is_telling:
            tell(self._directory, self._ended, max(self._asked, self._ended))


def _answer(task: Callable[[], dict[str, Any]], path: Path) -> NoReturn:
    """Everything that a fork does; its process ends here."""
    try:
        try:
            told = task()
        except AgentTraceError as error:
            told = {"error": as_object(error)}
        except BaseException as error:  # noqa: BLE001 - told to the process that waits; here nobody would hear it
            told = {"error": as_object(ReplayError(repr(error)))}
        written = path.with_suffix(".new")
        written.write_bytes(orjson.dumps(told, default=repr))
        written.replace(path)
    finally:
        os._exit(0)
