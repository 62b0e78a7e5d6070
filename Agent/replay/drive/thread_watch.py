"""Watch threads and pool tasks that a replayed action starts: whether they end with it, and overlap.

Work of threads is deterministic if the action takes their results in a fixed order. Work that outlives the
action is not, and neither are calls of agents and tools from threads that run at the same time.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import CodeType, FrameType
from typing import Any

from Agent.event.classes import is_of_library
from Agent.record.emit.context import current_scope
from Agent.record.sources.adopted import is_own, module_of, place_of

_OUTLIVES = "a thread that still runs when its action ends"
_NOBODYS = "a thread that the action does not join"
_CALLS_RUN = "_bootstrap_inner"
"""The method of a thread that calls its `run`, which may be a field of an agent."""


class ThreadWatch:
    """Follows the threads of each replayed action.

    Args:
        is_on: whether an action is being replayed.
        add: called for work that outlives its action, with the code and line that started it.
    """

    def __init__(self, is_on: Callable[[], bool], add: Callable[[str, CodeType, int], None]) -> None:
        self.overlaps = False
        """Whether two of them ran at the same time in this action."""
        self.begun = 0
        """Number of threads and tasks started in this action."""
        self.places: dict[str, None] = {}
        """Where threads were started, in all actions."""
        self._is_on = is_on
        self._add = add
        self._threads: list[tuple[threading.Thread, CodeType, int]] = []
        self._tasks: list[tuple[Future[Any], CodeType, int]] = []
        self._joined: set[threading.Thread] = set()

    def install(self) -> None:
        """Follow every thread and pool task from here on.

        A new thread gets the context of the one that starts it, so that no tool is called live in it; but
        neither its tick nor its open calls, which it lacks in the recording, too.
        """
        start, join, submit = threading.Thread.start, threading.Thread.join, ThreadPoolExecutor.submit
        bootstrap = vars(threading.Thread)[_CALLS_RUN]
        contexts: dict[int, contextvars.Context] = {}

        def joined(thread: threading.Thread, timeout: float | None = None) -> None:
            join(thread, timeout)
            self._joined.add(thread)

        def started(thread: threading.Thread) -> None:
            self._begun(sys._getframe(1), thread)  # noqa: SLF001 - the only way to a caller
            contexts[id(thread)] = context = contextvars.copy_context()
            context.run(current_scope.set, None)
            try:
                start(thread)
            finally:
                contexts.pop(id(thread), None)

        def begun(thread: threading.Thread) -> None:
            contexts.pop(id(thread), contextvars.Context()).run(bootstrap, thread)

        def submitted(pool: ThreadPoolExecutor, /, *args: Any, **kwargs: Any) -> Future[Any]:
            task = submit(pool, *args, **kwargs)
            self._begun(sys._getframe(1), task, is_alone=pool._max_workers == 1)  # noqa: SLF001 - as above
            return task

        for owner, name, function in (
            (threading.Thread, "start", started),
            (threading.Thread, _CALLS_RUN, begun),
            (threading.Thread, "join", joined),
            (ThreadPoolExecutor, "submit", submitted),
        ):
            setattr(owner, name, function)

    def begin(self) -> None:
        """Reset for the next action."""
        if not (self.begun or self._joined):
            return
        self.overlaps = False
        self.begun = 0
        self._threads.clear()
        self._tasks.clear()
        self._joined.clear()

    def end(self) -> None:
        """Report work that outlives the action."""
        if not self.begun:
            return
        for thread, code, line in self._threads:
            if _waits_for_work(thread, code, patience_seconds=_PATIENCE_SECONDS):
                continue
            if thread.is_alive() or thread not in self._joined:
                self._add(_OUTLIVES if thread.is_alive() else _NOBODYS, code, line)
        for task, code, line in self._tasks:
            if not task.done():
                self._add(_OUTLIVES, code, line)
        self._threads.clear()
        self._tasks.clear()

    def _begun(self, frame: FrameType, started: Any, *, is_alone: bool = False) -> None:
        if not self._is_on():
            return
        asker = first_frame(frame, _is_outside)
        if asker is None:
            return
        if isinstance(started, threading.Thread):
            if is_pool_worker(started):
                return  # a pool's thread: the pool's tasks count instead
            self._threads.append((started, asker.f_code, asker.f_lineno))
        else:
            self._tasks.append((started, asker.f_code, asker.f_lineno))
        self.begun += 1
        at_work = sum(not task.done() for task, *_ in self._tasks) + sum(
            thread is started or (thread.is_alive() and not _waits_for_work(thread, code))
            for thread, code, _ in self._threads
        )
        self.overlaps = self.overlaps or (at_work > 1 and not is_alone)
        self.places[place_of(asker)] = None


_worker: Any = vars(sys.modules[ThreadPoolExecutor.__module__])["_worker"]


def is_pool_worker(thread: threading.Thread) -> bool:
    """Return whether a thread that is about to start executes the tasks of a `ThreadPoolExecutor`."""
    return getattr(thread, "_target", None) is _worker


def _waits_for_work(thread: threading.Thread, begun_by: CodeType, patience_seconds: float = 0.0) -> bool:
    """Whether a thread is a library's worker that has ended or waits for new work, as in a pool.

    Args:
        patience_seconds: time that it may take to return to its queue.
    """
    if not is_of_library(begun_by.co_filename):
        return False
    deadline = time.monotonic() + patience_seconds
    while thread.is_alive() and not _is_at_queue(sys._current_frames().get(thread.ident or 0)):  # noqa: SLF001
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _is_at_queue(frame: FrameType | None) -> bool:
    """Whether a stack waits inside the standard library without program code on it."""
    if frame is None or module_of(frame) not in _WAITING:
        return False
    while frame is not None:
        is_standard = module_of(frame) in sys.stdlib_module_names
        if not is_standard and not is_own(frame) and not is_of_library(frame.f_code.co_filename):
            return False
        frame = frame.f_back
    return True


_WAITING = frozenset({"threading", "queue"})
_PATIENCE_SECONDS = 1.0
_LOOK_SECONDS = 0.002


def first_frame(
    frame: FrameType | None, is_meant: Callable[[FrameType], bool] = lambda frame: not is_own(frame)
) -> FrameType | None:
    """Return the innermost frame of this kind, by default outside this package; None if there is none."""
    while frame is not None and not is_meant(frame):
        frame = frame.f_back
    return frame


def _is_outside(frame: FrameType) -> bool:
    """Whether a frame belongs to the program or a library, so that it may start a thread by itself."""
    return module_of(frame) not in sys.stdlib_module_names and not is_own(frame)
