"""Many replays at the same time, each a child process of its own, forked from one; only threads wait here.

`history.py` and the check of many golden traces use it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from contextvars import copy_context
from threading import Event
from typing import TypeVar

from Agent.replay.worker.fork_server import forked_children

__all__ = ["Progress", "cores", "in_parallel"]

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
