"""Recognises exceptions raised by the program's signal handlers, such as the handler of a time limit.

Such an exception may interrupt recording, but is meant for the program. So code that catches all exceptions
of users' classes has to raise it again.
"""

from __future__ import annotations

import signal
from functools import partial
from types import CodeType, FunctionType, MethodType, TracebackType
from typing import Any, Final


def pass_on(error: BaseException) -> None:
    """Raise an error again if it is for the program: an interrupt, an exit, or one of a signal handler."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)) or is_of_signal(error):
        raise error


def is_of_signal(error: BaseException) -> bool:
    """Whether a current signal handler was running when an error was raised.

    It does not access the variables of frames, since that would keep their values alive.
    """
    if isinstance(error, RecursionError):
        return False  # the stack is nearly full
    step: TracebackType | None = _TRACEBACK.__get__(error)
    if step is None or step.tb_next is None:
        return False  # raised by the code that caught it
    handlers = {code for number in _SIGNALS if (code := _code_of(signal.getsignal(number))) is not None}
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
