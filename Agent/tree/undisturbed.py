"""Keeps the signals of timers, or the garbage collector, away from a piece of work.

A handler that raises aborts the code it interrupts. If a program's timer raises every millisecond, an import
that takes longer would never complete, and no event would be written.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enumerations of `signal`
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from types import FrameType
from typing import Any, Final

_signals: Any = _signal
_TIMERS: Final = tuple(
    getattr(_signals, name) for name in ("SIGALRM", "SIGVTALRM", "SIGPROF") if hasattr(_signals, name)
)


class _Waiting:
    """Replaces a program's signal handler until the work is done, then calls and restores it.

    Args:
        over: non-empty once the work is done; shared, so that one append releases all handlers at once.
    """

    def __init__(
        self, number: int, handler: Callable[[int, FrameType | None], Any], over: list[None]
    ) -> None:
        self._number = number
        self._handler = handler
        self._over = over
        self._came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: note it during the work, pass it on afterwards."""
        if self._over:
            self.leave(frame)
            self._handler(number, frame)
        else:
            self._came = True

    def leave(self, frame: FrameType | None) -> None:
        """Restore the program's handler, and call it if a signal arrived."""
        if _signals.getsignal(self._number) is self:
            _signals.signal(self._number, self._handler)
        came, self._came = self._came, False
        if came:
            self._handler(self._number, frame)


def has_timers() -> bool:
    """Whether the program handles the signal of a timer, so that `undisturbed` does anything."""
    for number in _TIMERS:  # noqa: SIM110 - each new file asks, and a generator takes twice as long
        if callable(_signals.getsignal(number)):
            return True
    return False


class undisturbed(ContextDecorator):  # noqa: N801 - it is used like a function
    """Defer the signals of timers to the end of the block; a handler that raises does so there.

    Blocking the signals in this thread would not help, because another thread would receive them; so the
    handlers are replaced. Python runs handlers in the main thread only, so other threads do nothing.
    """

    def _recreate_cm(self) -> undisturbed:
        """Return a new instance for each call of a decorated function."""
        return undisturbed()

    def __enter__(self) -> None:
        self._over: list[None] = []
        self._waiting: list[_Waiting] = []
        if threading.get_ident() != threading.main_thread().ident:
            return
        try:
            for number in _TIMERS:
                handler = _signals.getsignal(number)
                if callable(handler) and type(handler) is not _Waiting:
                    self._waiting.append(_Waiting(number, handler, self._over))
                    _signals.signal(number, self._waiting[-1])
        except BaseException:  # a handler raised before it was replaced
            self.__exit__()
            raise

    def __exit__(self, *_error: object) -> None:
        self._over.append(None)
        _end(self._waiting)


@contextmanager
def no_collection() -> Iterator[None]:
    """Disable garbage collection: a million events hold no cycles, and the search takes 20% of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _end(waiting: list[_Waiting]) -> None:
    """Restore every handler; if one raises, the others are still restored."""
    if waiting:
        try:
            waiting.pop().leave(None)
        finally:
            _end(waiting)
