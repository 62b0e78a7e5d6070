"""Long queries: how far one is, told to whoever listens, and an interrupt that stops it cleanly."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

__all__ = ["call_at_exit", "interruptible", "is_ending", "listener", "watched"]

Answer = TypeVar("Answer")

listener: ContextVar[Callable[[float], None] | None] = ContextVar("listener", default=None)
"""Told the share that is done, 0.0 to 1.0, several times a second, of a query that takes longer than one."""

_PATIENCE_S: Final = 1.0
_INTERVAL_S: Final = 0.2


@contextmanager
def watched(connection: Any) -> Iterator[None]:
    """Tell the listener about what this DuckDB connection does meanwhile."""
    told = listener.get()
    if told is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(
        target=_tell, args=(connection, told, ended), name="agent-trace query progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tell(connection: Any, told: Callable[[float], None], ended: threading.Event) -> None:
    """Tell how far a connection's query is, until it has ended; nothing of one that is soon over."""
    began = not ended.wait(_PATIENCE_S)
    while began and not ended.is_set():
        share = connection.query_progress() / 100
        # negative while the engine cannot tell yet
        told(min(max(share, 0.0), 1.0))
        ended.wait(_INTERVAL_S)
    if began:
        told(1.0)


def interruptible(connection: Any, fetch: Callable[[], Answer]) -> Answer:
    """What `fetch` gives, which queries this DuckDB connection; Ctrl-C stops the query.

    In the main thread the query runs beside it, which so can hear an interrupt: the engine itself would look
    for one when it is done.
    """
    if is_ending() and threading.current_thread() is not threading.main_thread():
        raise SystemExit  # ends a thread without a word, as the interpreter would soon
    with watched(connection), _counted(connection):
        if threading.current_thread() is not threading.main_thread():
            return fetch()
        asked = _Query(fetch)
        _query_thread().asked.put(asked)
        try:
            asked.over.wait()
        except BaseException:
            while not asked.over.is_set():
                # again, should it have come before the query began
                connection.interrupt()
                asked.over.wait(0.1)
            raise
        return asked.answer()


_running: list[Any] = []
_at_exit: list[Callable[[], None]] = []
_EXIT_PATIENCE_S: Final = 2.0
_ending = False


def is_ending() -> bool:
    """Whether the interpreter is about to end, after which a query in a daemon thread would abort the process."""
    return _ending


def call_at_exit(close: Callable[[], None]) -> None:
    """Have something done when the interpreter ends and no query runs any more."""
    if not _at_exit:
        atexit.register(_end_queries)
    _at_exit.append(close)


def _end_queries() -> None:
    global _ending  # noqa: PLW0603 - an interpreter ends once
    _ending = True
    until_s = time.monotonic() + _EXIT_PATIENCE_S
    while _running and time.monotonic() < until_s:
        for connection in _running:
            # again and again: it may come before a query begins
            connection.interrupt()
        time.sleep(0.01)
    for close in _at_exit:
        close()


@contextmanager
def _counted(connection: Any) -> Iterator[None]:
    _running.append(connection)
    try:
        yield
    finally:
        # by identity: of two queries on one connection either entry may go
        _running.remove(connection)


class _Query(Generic[Answer]):
    """One query that the main thread waits for, and what came of it."""

    def __init__(self, fetch: Callable[[], Answer]) -> None:
        self.fetch = fetch
        # not `join`, which takes a thread for ended when it is interrupted itself (Python 3.11)
        self.over = threading.Event()
        self.answers: list[Answer] = []
        self.errors: list[BaseException] = []

    def run(self) -> None:
        """Keep what the query gives, or what it raises."""
        try:
            self.answers.append(self.fetch())
        except BaseException as error:  # noqa: BLE001 - raised by `answer`, in the thread that asked
            self.errors.append(error)
        finally:
            self.over.set()

    def answer(self) -> Answer:
        """What the query gave; raises what it raised."""
        if self.errors:
            raise self.errors[0]
        return self.answers[0]


class _QueryThread(threading.Thread):
    """The thread that the main thread's queries run in, one after the other.

    It lasts: a thread for each query leaves its memory in an arena of its own, and a process that asks for
    hours grows by that.
    """

    def __init__(self) -> None:
        super().__init__(name="agent-trace query", daemon=True)
        self.asked: SimpleQueue[_Query[Any]] = SimpleQueue()

    def run(self) -> None:
        """Answer what is asked, for as long as the process lives."""
        while True:
            # no name keeps a query here, since its answer would live until the next one
            self.asked.get().run()


_threads: list[_QueryThread] = []


def _query_thread() -> _QueryThread:
    """The thread for queries, a new one where there is none: at first, and in a process that was forked."""
    if not _threads or not _threads[0].is_alive():
        _threads[:] = [_QueryThread()]
        _threads[0].start()
    return _threads[0]
