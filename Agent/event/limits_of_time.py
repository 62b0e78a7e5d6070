"""The program's signal handlers, such as those of time limits and timers, may interrupt recording.

What such a handler raises is meant for the program. So code that catches all exceptions of users' classes has
to raise it again: `pass_on`. It also aborts the code that it interrupts. If a program's timer raises every
millisecond, an import that takes longer would never complete, and no event would be written: `undisturbed`
keeps timers away from a piece of work.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enumerations of `signal`
import signal
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import Any, Final

RAISED: Final = (Exception, GeneratorExit, SystemExit, KeyboardInterrupt)
"""What code of the program may raise when recording calls it; whoever catches it has to call `pass_on`."""


def pass_on(error: BaseException) -> None:
    """Raise an error again if it is for the program: an interrupt, an exit, or one of a signal handler.

    An interrupt or exit that the called code itself raised is not for the program: recording made the call.
    """
    if is_of_signal(error) or (isinstance(error, (KeyboardInterrupt, SystemExit)) and not _is_raised(error)):
        raise error


def _is_raised(error: BaseException) -> bool:
    """Whether a statement or call of the program raised an exit or interrupt, and nothing from outside it.

    Python's own handler of Ctrl-C, and another thread, interrupt code between two instructions, where no
    `raise` is. `sys.exit()` is a call; nobody but such code exits there.
    """
    step: TracebackType | None = _TRACEBACK.__get__(error)
    if step is None:
        return False
    while step.tb_next is not None:
        step = step.tb_next
    from opcode import opmap, opname

    code = step.tb_frame.f_code
    if str(step.tb_frame.f_globals.get("__name__", "")).startswith("Agent."):
        return False
    at = code.co_code[step.tb_lasti] if 0 <= step.tb_lasti < len(code.co_code) else -1
    return at == opmap["RAISE_VARARGS"] or (
        isinstance(error, SystemExit) and opname[at].startswith(("CALL", "PRECALL"))
    )


def is_of_signal(error: BaseException) -> bool:
    """Whether a current signal handler was running when an error was raised.

    It does not access the variables of frames, since that would keep their values alive.
    """
    if isinstance(error, RecursionError):
        return False  # the stack is nearly full
    step: TracebackType | None = _TRACEBACK.__get__(error)
    if step is None or step.tb_next is None:
        return False  # raised by the code that caught it
    # of the functions of `signal`, since those convert each answer to a member of an enumeration
    found = (_signals.getsignal(number) for number in _SIGNALS)
    handlers = {code for each in found if type(each) is not int and (code := _code_of(each)) is not None}
    while step is not None and handlers:
        if step.tb_frame.f_code in handlers:
            return True
        step = step.tb_next
    return False


def _code_of(handler: Any) -> CodeType | None:
    """Return the code object that a call of a handler runs first; None if it is not written in Python."""
    while isinstance(handler, (partial, MethodType)):
        handler = handler.func if isinstance(handler, partial) else handler.__func__
    if type(handler) is not FunctionType:
        for base in type.__dict__["__mro__"].__get__(type(handler)):
            function = type.__dict__["__dict__"].__get__(base).get("__call__")
            if type(function) is FunctionType:
                return function.__code__
    return handler.__code__ if type(handler) is FunctionType else None


_TRACEBACK: Final[Any] = vars(BaseException)["__traceback__"]
_SIGNALS: Final = sorted(signal.valid_signals())
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


def _end(waiting: list[_Waiting]) -> None:
    """Restore every handler; if one raises, the others are still restored."""
    if waiting:
        try:
            waiting.pop().leave(None)
        finally:
            _end(waiting)
