"""Long queries: how far one is, told to whoever listens, and an interrupt that stops it cleanly."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from queue import SimpleQueue

Answer = TypeVar("Answer")

listener: ContextVar[Callable[[float], None] | None] = ContextVar("listener", default=None)
"""Told the share that is done, 0.0 to 1.0, several times a second, of a query that takes longer than one."""

_PATIENCE_S: Final = 1.0
_GRACE_S: Final = 2.0
"""How long the engine may take to heed an interrupt."""
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


class Bounds(NamedTuple):
    """What one query may take; a command sets it for all that it asks."""

    deadline_s: float | None = None
    memory_bytes: int | None = None
    """How much address space the process may get beyond what it has when a query begins: the engine's own
    limit does not count every allocation. It is a limit of the process, so only a process that does nothing
    else sets it."""
    give_up: Callable[[float | None], None] | None = None
    """Ends the process: called where the engine goes on 2 s after its deadline (in seconds), or after an
    interrupt (None). The engine looks for neither within one call of a function."""


bounds: ContextVar[Bounds] = ContextVar("bounds", default=Bounds())  # noqa: B039 - it cannot change


def has_expired() -> bool:
    """Whether the query that this thread runs was stopped by its deadline."""
    return _expired_s is not None


def told_deadline(limit_s: float | None = None) -> str:
    """A deadline in words, by default that which stopped the query."""
    return f"{_expired_s if limit_s is None else limit_s:g} s"


def interruptible(connection: Any, fetch: Callable[[], Answer], deadline_s: float | None = None) -> Answer:
    """What `fetch` gives, which queries this DuckDB connection; Ctrl-C and the deadline stop the query.

    In the main thread the query runs beside it, which so can hear an interrupt: the engine itself would look
    for one when it is done.
    """
    with watched(connection), _bounded(connection, deadline_s):
        if threading.current_thread() is not threading.main_thread():
            return fetch()
        asked = _Query(fetch)
        _query_thread().asked.put(asked)
        try:
            asked.over.wait()
        except BaseException:
            _interrupt(connection, asked.over, None, bounds.get().give_up)
            raise
        return asked.answer()


_expired_s: float | None = None


@contextmanager
def _bounded(connection: Any, deadline_s: float | None) -> Iterator[None]:
    """Stop the query when its time is over, and refuse the process more memory than a command may have."""
    own = bounds.get()
    limit_s = own.deadline_s if deadline_s is None else deadline_s
    over = threading.Event()
    timer = None
    if limit_s is not None:
        timer = threading.Thread(
            target=_expire,
            args=(connection, limit_s, over, own.give_up),
            name="agent-trace deadline",
            daemon=True,
        )
        timer.start()
    try:
        with _in_little_memory(own.memory_bytes):
            yield
    finally:
        over.set()
        if timer is not None:
            timer.join()
        _set_expired(None)


def _expire(
    connection: Any,
    limit_s: float,
    over: threading.Event,
    give_up: Callable[[float | None], None] | None,
) -> None:
    if over.wait(limit_s):
        return
    _set_expired(limit_s)
    _interrupt(connection, over, limit_s, give_up)


def _interrupt(
    connection: Any,
    over: threading.Event,
    limit_s: float | None,
    give_up: Callable[[float | None], None] | None,
) -> None:
    """Interrupt a connection until its query is over; again and again, since it may come before it begins."""
    until_s = time.monotonic() + _GRACE_S
    while not over.is_set():
        connection.interrupt()
        over.wait(0.05)
        if give_up is not None and time.monotonic() > until_s:
            give_up(limit_s)


def _set_expired(limit_s: float | None) -> None:
    global _expired_s  # noqa: PLW0603 - read by the thread that runs the query, whichever that is
    _expired_s = limit_s


@contextmanager
def _in_little_memory(memory_bytes: int | None) -> Iterator[None]:
    # Not at the top: each command loads this module, and few ask.
    from pathlib import Path

    if memory_bytes is None or not Path("/proc/self/statm").exists():
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    wanted = in_use + memory_bytes
    if before[0] != resource.RLIM_INFINITY:
        wanted = min(wanted, before[0])
    resource.setrlimit(resource.RLIMIT_AS, (wanted, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class Interruptible(Protocol):
    """What can be asked to stop."""

    def interrupt(self) -> None:
        """Stop what it does."""


_running: list[tuple[Interruptible, threading.Thread]] = []
_at_exit: list[Callable[[], None]] = []
_EXIT_PATIENCE_S: Final = 2.0
_ending = False


def is_ending() -> bool:
    """Whether the interpreter is about to end, when a query in a daemon thread would abort the process."""
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
    threads = [thread for _, thread in _running]
    while _running and time.monotonic() < until_s:
        for engine, _ in _running[:]:
            # again and again: it may come before a query begins
            engine.interrupt()
        time.sleep(0.01)
    for thread in threads:
        # what it holds of the engine goes with its frames
        if thread is not threading.current_thread():
            thread.join(max(until_s - time.monotonic(), 0))
    for close in _at_exit:
        close()


@contextmanager
def in_use(engine: Interruptible) -> Iterator[None]:
    """Let the end of the interpreter wait for what is done with an engine meanwhile."""
    thread = threading.current_thread()
    if _ending and thread is not threading.main_thread():
        raise SystemExit  # ends a thread without a word, as the interpreter would soon
    entry = (engine, thread)
    _running.append(entry)
    try:
        yield
    finally:
        _running.remove(entry)


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
        from queue import SimpleQueue

        super().__init__(name="agent-trace query", daemon=True)
        self.asked: SimpleQueue[_Query[Any]] = SimpleQueue()

    def run(self) -> None:
        """Answer what is asked, for as long as the process lives."""
        while True:
            # no name keeps a query here, since its answer would live until the next one
            self.asked.get().run()


_threads: list[_QueryThread] = []


def _query_thread() -> _QueryThread:
    """The thread for queries, a new one if there is none: at first, and in a process that was forked."""
    if not _threads or not _threads[0].is_alive():
        _threads[:] = [_QueryThread()]
        _threads[0].start()
    return _threads[0]
