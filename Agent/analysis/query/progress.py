"""Long queries: report their progress to a listener, and interrupt them cleanly."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future
    from queue import SimpleQueue

    _Asked = tuple[Callable[[], Any], Future[Any]]
    """A query, and its answer."""

Answer = TypeVar("Answer")

listener: ContextVar[Callable[[float], None] | None] = ContextVar("listener", default=None)
"""Called with the finished share, 0.0 to 1.0, every 0.2 s of a query that takes longer than 1 s."""

_PATIENCE_S: Final = 1.0
_GRACE_S: Final = 2.0
"""How long the engine may take to react to an interrupt."""
_INTERVAL_S: Final = 0.2


@contextmanager
def _beside(name: str, watch: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Run a function in another thread within the block; its last argument is set when the block ends."""
    ended = threading.Event()
    thread = threading.Thread(target=watch, args=(*arguments, ended), name=f"agent-trace {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(connection: Any, report_share: Callable[[float], None], ended: threading.Event) -> None:
    """Report the progress of a query until it has ended; a query shorter than 1 s reports nothing."""
    began = not ended.wait(_PATIENCE_S)
    while began and not ended.is_set():
        share = connection.query_progress() / 100
        # negative while the engine has no estimate yet
        report_share(min(max(share, 0.0), 1.0))
        ended.wait(_INTERVAL_S)
    if began:
        report_share(1.0)


class Bounds(NamedTuple):
    """Limits of one query; a command sets them for all of its queries."""

    deadline_s: float | None = None
    memory_bytes: int | None = None
    """The address space that the process may allocate after a query begins, because the engine's own memory
    limit does not count every allocation. The limit covers the whole process, so only a process that does
    nothing else sets it."""
    give_up: Callable[[float | None], None] | None = None
    """Ends the process. Called with the deadline in seconds, or with None after Ctrl-C, if the engine is
    still running 2 s later: the engine does not check for interrupts within one call of a function."""


bounds: ContextVar[Bounds] = ContextVar("bounds", default=Bounds())  # noqa: B039 - the default is immutable


def has_expired() -> bool:
    """Whether the current query was stopped by its deadline."""
    return _expired_s is not None


def shown_deadline(limit_s: float | None = None) -> str:
    """A deadline in words, by default the one that stopped the query."""
    return f"{_expired_s if limit_s is None else limit_s:g} s"


def interruptible(connection: Any, fetch: Callable[[], Answer], deadline_s: float | None = None) -> Answer:
    """Return the result of `fetch`, which queries this connection; Ctrl-C and the deadline stop the query.

    If called in the main thread, the query runs in another one so that the main thread can handle Ctrl-C,
    since the engine checks for signals only at the end.
    """
    own, report_share = bounds.get(), listener.get()
    limit_s = own.deadline_s if deadline_s is None else deadline_s
    with ExitStack() as block:
        if report_share is not None:
            block.enter_context(_beside("query progress", _follow, connection, report_share))
        block.enter_context(_in_little_memory(own.memory_bytes))
        block.callback(_set_expired, None)
        if threading.current_thread() is not threading.main_thread():
            if limit_s is not None:
                block.enter_context(_beside("deadline", _expire, connection, limit_s, own.give_up))
            return fetch()
        from concurrent.futures import Future  # here: every command loads this module, but few run a query

        answer, over = Future[Answer](), threading.Event()
        # not `join`: if interrupted, it marks the thread as ended (Python 3.11)
        answer.add_done_callback(lambda _: over.set())
        _queue_of_queries().put((fetch, answer))
        try:
            _expire(connection, limit_s, own.give_up, over)
        except BaseException:
            _interrupt(connection, None, own.give_up, over)
            raise
        return answer.result()


_expired_s: float | None = None


_GiveUp = Callable[[float | None], None] | None


def _expire(connection: Any, limit_s: float | None, give_up: _GiveUp, over: threading.Event) -> None:
    """Wait until a query is over; interrupt it after its deadline."""
    if over.wait(limit_s) or limit_s is None:
        return
    _set_expired(limit_s)
    _interrupt(connection, limit_s, give_up, over)


def _interrupt(connection: Any, limit_s: float | None, give_up: _GiveUp, over: threading.Event) -> None:
    """Interrupt a query until it is over; repeated, since an interrupt before its start is lost."""
    until_s = time.monotonic() + _GRACE_S
    while not over.is_set():
        connection.interrupt()
        over.wait(0.05)
        if give_up is not None and time.monotonic() > until_s:
            give_up(limit_s)


def _set_expired(limit_s: float | None) -> None:
    global _expired_s  # noqa: PLW0603 - the thread that runs the query reads it
    _expired_s = limit_s


@contextmanager
def _in_little_memory(memory_bytes: int | None) -> Iterator[None]:
    in_use_bytes = None if memory_bytes is None else _address_space_bytes()
    if memory_bytes is None or in_use_bytes is None:
        yield
        return
    import resource  # here: every command loads this module, but few run a query

    before = resource.getrlimit(resource.RLIMIT_AS)
    wanted = in_use_bytes + memory_bytes
    if before[0] != resource.RLIM_INFINITY:
        wanted = min(wanted, before[0])
    resource.setrlimit(resource.RLIMIT_AS, (wanted, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space_bytes() -> int | None:
    """The address space that the process has allocated; None where the system does not tell."""
    try:
        # opened as a descriptor, which takes a fraction of the time of a file object, for every query
        statm = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return None
    try:
        return int(os.read(statm, 100).split()[0]) * os.sysconf("SC_PAGESIZE")
    finally:
        os.close(statm)


class Interruptible(Protocol):
    """Something that can be interrupted."""

    def interrupt(self) -> None:
        """Stop the current operation."""


_running: list[tuple[Interruptible, threading.Thread]] = []
_at_exit: list[Callable[[], None]] = []
_EXIT_PATIENCE_S: Final = 2.0
_ending = False


def is_ending() -> bool:
    """Whether the interpreter is shutting down; a query in a daemon thread would then abort the process."""
    return _ending


def call_at_exit(close: Callable[[], None]) -> None:
    """Register a function to call at interpreter shutdown, after all queries have stopped."""
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
            # repeated, since an interrupt before the start of a query is lost
            engine.interrupt()
        time.sleep(0.01)
    for thread in threads:
        # its frames hold objects of the engine until the thread ends
        if thread is not threading.current_thread():
            thread.join(max(until_s - time.monotonic(), 0))
    for close in _at_exit:
        close()


@contextmanager
def in_use(engine: Interruptible) -> Iterator[None]:
    """Delay interpreter shutdown while an engine is in use."""
    thread = threading.current_thread()
    if _ending and thread is not threading.main_thread():
        raise SystemExit  # ends the thread silently, as the interpreter would soon
    entry = (engine, thread)
    _running.append(entry)
    try:
        yield
    finally:
        _running.remove(entry)


def _answer_all(asked: SimpleQueue[_Asked]) -> None:
    """Run the main thread's queries, one after another, until the process ends.

    One thread for all of them: each new thread leaves memory behind in its own malloc arena, so a process
    that runs for hours would grow.
    """
    while True:
        # no local variables: they would keep a query and its result alive until the next query
        _answer(*asked.get())


def _answer(fetch: Callable[[], Any], answer: Future[Any]) -> None:
    try:
        answer.set_result(fetch())
    except BaseException as error:  # noqa: BLE001 - raised by `result`, in the thread that asked
        answer.set_exception(error)


_running_in: list[tuple[threading.Thread, SimpleQueue[_Asked]]] = []
"""The thread for queries, and its queue; empty before the first query."""


def _queue_of_queries() -> SimpleQueue[_Asked]:
    """The queue of the query thread; a new thread for the first query, and after a fork."""
    if not _running_in or not _running_in[0][0].is_alive():
        from queue import SimpleQueue

        asked: SimpleQueue[_Asked] = SimpleQueue()
        thread = threading.Thread(target=_answer_all, args=(asked,), name="agent-trace query", daemon=True)
        _running_in[:] = [(thread, asked)]
        thread.start()
    return _running_in[0][1]
