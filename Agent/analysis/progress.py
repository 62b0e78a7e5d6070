"""Long queries: how far one is, told to whoever listens, and an interrupt that stops it cleanly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

__all__ = ["interruptible", "listener", "watched"]

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
    with watched(connection):
        if threading.current_thread() is not threading.main_thread():
            return fetch()
        # not `join`, which takes a thread for ended when it is interrupted itself (Python 3.11)
        over = threading.Event()
        answers: list[Answer] = []
        errors: list[BaseException] = []

        def run() -> None:
            """Keep what the query gives, or what it raises."""
            try:
                answers.append(fetch())
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
                errors.append(error)
            finally:
                over.set()

        thread = threading.Thread(target=run, name="agent-trace query", daemon=True)
        thread.start()
        try:
            over.wait()
        except BaseException:
            while not over.is_set():
                # again, should it have come before the query began
                connection.interrupt()
                over.wait(0.1)
            raise
        if errors:
            raise errors[0]
        return answers[0]
