"""The signals of timers wait while something is done that is done once.

A handler that raises ends whatever it interrupts. Where a program's timer raises each millisecond, an import
that takes longer would be begun for ever, and no event be written.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enumerations of `signal`
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from types import FrameType
from typing import Any, Final

_signals: Any = _signal
_TIMERS: Final = tuple(
    getattr(_signals, name) for name in ("SIGALRM", "SIGVTALRM", "SIGPROF") if hasattr(_signals, name)
)


class _Waiting:
    """Stands in the place of a program's handler; once the work is done it hands on, and goes.

    Args:
        over: holds something once the work is done: one step for all, so that none goes on waiting.
    """

    def __init__(
        self, number: int, handler: Callable[[int, FrameType | None], Any], over: list[None]
    ) -> None:
        self._number = number
        self._handler = handler
        self._over = over
        self._came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """What the interpreter calls for a signal."""
        if self._over:
            self.leave(frame)
            self._handler(number, frame)
        else:
            self._came = True

    def leave(self, frame: FrameType | None) -> None:
        """Put the program's handler back, and call it if its signal came."""
        if _signals.getsignal(self._number) is self:
            _signals.signal(self._number, self._handler)
        came, self._came = self._came, False
        if came:
            self._handler(self._number, frame)


class undisturbed(ContextDecorator):  # noqa: N801 - it is used like a function
    """Let the signals of timers wait until the block has ended; a handler that raises does so then.

    Blocked in this thread they would come all the same, through another that takes them: it is the handlers
    that wait. These run in the main thread, so that any other has nothing to do.
    """

    def _recreate_cm(self) -> undisturbed:
        """One for each call of a function that it decorates."""
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


def _end(waiting: list[_Waiting]) -> None:
    """Let each hand on what came. Whatever a handler raises, the others have their turn."""
    if waiting:
        try:
            waiting.pop().leave(None)
        finally:
            _end(waiting)
