"""The signals of timers wait while something is done that is done once.

A handler that raises ends whatever it interrupts. Where a program's timer raises each millisecond, an import
that takes longer would be begun for ever, and no event be written.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_TIMERS: Final = ("SIGALRM", "SIGVTALRM", "SIGPROF")


class _Waiting:
    """Stands in the place of a program's handler; once the work is done it hands on, and goes.

    Args:
        signals: the module `signal`.
        over: holds something once the work is done: one step for all, so that none goes on waiting.
    """

    def __init__(
        self, signals: Any, number: int, handler: Callable[[int, FrameType | None], Any], over: list[None]
    ) -> None:
        self._signals = signals
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
        if self._signals.getsignal(self._number) is self:
            self._signals.signal(self._number, self._handler)
        came, self._came = self._came, False
        if came:
            self._handler(self._number, frame)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let the signals of timers wait until the block has ended; a handler that raises does so then.

    Blocked in this thread they would come all the same, through another that takes them: it is the handlers
    that wait. These run in the main thread, so that any other has nothing to do.
    """
    signals: Any = sys.modules.get("signal")  # nobody has a handler who did not load it
    is_main = threading.current_thread() is threading.main_thread()
    waiting: list[_Waiting] = []
    over: list[None] = []
    try:
        for name in _TIMERS if signals is not None and is_main else ():
            number = getattr(signals, name, None)
            handler = None if number is None else signals.getsignal(number)
            if number is not None and callable(handler) and type(handler) is not _Waiting:
                waiting.append(_Waiting(signals, number, handler, over))
                signals.signal(number, waiting[-1])
        yield
    finally:
        over.append(None)
        _end(waiting)


def _end(waiting: list[_Waiting]) -> None:
    """Let each hand on what came. Whatever a handler raises, the others have their turn."""
    if waiting:
        try:
            waiting.pop().leave(None)
        finally:
            _end(waiting)
