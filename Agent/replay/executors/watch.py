"""Watch user code in this process: reads and child processes are noticed, and network access is refused.

The profiler is set only while the code itself runs: between the awaits of a coroutine, in the tasks that it
begins, and in its threads. Other work of the event loop is not observed.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache, partial
from types import FrameType
from typing import Any

from Agent.flight.integrations.driving import Stepped
from Agent.record.sources.adopted import asker_of, module_of
from Agent.replay.drive.thread_watch import is_pool_worker
from Agent.replay.drive.watched import (
    NETWORK,
    NEW_PROCESS,
    REFUSED,
    SourceWatch,
    announce_spawned_processes,
)

_open_watch: ContextVar[ExecutorWatch | None] = ContextVar("agent_trace_executor_watch", default=None)
_CHILD = "the result of a child process"


class ExecutorWatch(SourceWatch):
    """Notices the sources that user code reads, without the process-wide hooks of a replay worker.

    Args:
        allows_network: whether live calls are allowed.
        frameworks: top-level packages whose own reads do not count, such as ids that a framework creates.
    """

    def __init__(self, *, allows_network: bool, frameworks: Collection[str] = ()) -> None:
        super().__init__()
        self.allows_network = allows_network
        self._frameworks = frozenset(frameworks)

    def hook_in(self) -> None:
        """Do nothing: `open` and `noticing` set the hooks, only while user code runs and in its context."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Refuse the network and notice threads, in this context and in contexts copied from it."""
        _install_audit()
        _follow_threads()
        token = _open_watch.set(self)
        try:
            yield
        finally:
            _open_watch.reset(token)

    @contextmanager
    def noticing(self, step: int | None = None) -> Iterator[None]:
        """Notice what this thread reads in the block; a profiler set before is restored afterwards."""
        before = sys.getprofile()
        if step is not None:
            self._step = step
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(before)

    def stepped(self, awaitable: Awaitable[Any], step: int) -> Stepped:
        """Return the awaitable so that its reads are noticed while it runs, and those of its tasks."""
        return Stepped(awaitable, partial(self._notice, step))

    def carried(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function for another thread, with this context, so that its reads are noticed there."""
        context = copy_context()

        def run(*args: Any, **kwargs: Any) -> Any:
            with self.noticing():
                return context.run(function, *args, **kwargs)

        return run

    def _notice(self, step: int, resume: Callable[[], Any]) -> Any:
        with self.noticing(step), self._noticing_tasks(step):
            return resume()

    @contextmanager
    def _noticing_tasks(self, step: int) -> Iterator[None]:
        """Notice what the tasks read that begin in the block, as long as they run."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a coroutine that is closed after its loop begins no task
            yield
            return
        before = loop.get_task_factory()

        def begun(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
            noticed = _Noticed(coroutine, partial(self._notice, step))
            if before is None:
                return asyncio.Task(noticed, loop=loop, **options)
            return before(loop, noticed, **options)

        loop.set_task_factory(begun)
        try:
            yield
        finally:
            loop.set_task_factory(before)

    def _note(self, source: str, frame: FrameType) -> None:
        asker = asker_of(frame)
        if asker is not None and module_of(asker.frame) not in self._frameworks:
            self._add(source, asker.frame)

    def note_process(self, frame: FrameType) -> None:
        """Record that code starts another process or uses one, whose own reads nobody notices."""
        if asker_of(frame) is None:  # an event loop passes it on
            self.reads.append(self._unseen(_CHILD, "a library"))
        else:
            self._note(_CHILD, frame)

    def refuse(self, frame: FrameType) -> None:
        """Record an attempt to use the network, and the code that made it."""
        asker = asker_of(frame)
        if asker is not None:
            self._add("network", asker.frame)
        else:
            self.reads.append(self._unseen("network", "a library"))


class _Noticed(Coroutine[Any, Any, Any]):
    """The coroutine of a task, whose steps are executed by `notice`."""

    def __init__(self, coroutine: Any, notice: Callable[[Callable[[], Any]], Any]) -> None:
        self._coroutine = coroutine
        self._notice = notice
        self.__name__ = getattr(coroutine, "__name__", "coroutine")  # one of Cython may have none
        self.__qualname__ = getattr(coroutine, "__qualname__", self.__name__)

    def send(self, value: Any) -> Any:
        """Resume it."""
        return self._notice(partial(self._coroutine.send, value))

    def throw(self, *error: Any) -> Any:
        """Raise an exception in it."""
        return self._notice(partial(self._coroutine.throw, *error))

    def close(self) -> None:
        """End it."""
        self._notice(self._coroutine.close)

    def __await__(self) -> Generator[Any, Any, Any]:
        return Stepped(self._coroutine, self._notice).__await__()


@cache
def _follow_threads() -> None:
    """Give threads and pool tasks that watched code begins its context and watch; idle without a watch."""
    start = threading.Thread.start
    submit, submit_to_processes = ThreadPoolExecutor.submit, ProcessPoolExecutor.submit

    def started(thread: threading.Thread) -> None:
        watch = _open_watch.get()
        # A pool's own thread lives longer than the watch: its tasks count instead.
        if watch is not None and not is_pool_worker(thread):
            thread.run = watch.carried(thread.run)  # type: ignore[method-assign]
        start(thread)

    def submitted(pool: ThreadPoolExecutor, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        watch = _open_watch.get()
        return submit(pool, function if watch is None else watch.carried(function), *args, **kwargs)

    def sent(pool: ProcessPoolExecutor, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        watch = _open_watch.get()
        if watch is not None:
            watch.note_process(sys._getframe(1))  # noqa: SLF001 - the only way to a caller
        return submit_to_processes(pool, function, *args, **kwargs)

    setattr(threading.Thread, "start", started)  # noqa: B010 - as in ThreadWatch
    setattr(ThreadPoolExecutor, "submit", submitted)  # noqa: B010
    setattr(ProcessPoolExecutor, "submit", sent)  # noqa: B010


@cache
def _install_audit() -> None:
    """Install the audit hook once per process, since hooks cannot be removed; it is idle without a watch."""

    def audit(event: str, _arguments: tuple[Any, ...]) -> None:
        if event not in REFUSED:
            return
        watch = _open_watch.get()
        if watch is None:
            return
        frame = sys._getframe(1)  # noqa: SLF001 - the only way to a caller
        if REFUSED[event] == NEW_PROCESS:
            watch.note_process(frame)
        elif event in NETWORK and not watch.allows_network:
            watch.refuse(frame)
            raise PermissionError(
                "the network is not allowed during a replay; ReplayConfig(live=...) allows it"
            )

    announce_spawned_processes()
    sys.addaudithook(audit)
