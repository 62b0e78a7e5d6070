"""Recognises exceptions that the program's handler of a signal raised, such as that of a time limit.

They only happen to interrupt recording, and belong to the program: code that catches whatever users' classes
raise passes them on.
"""

from __future__ import annotations

import signal
from functools import partial
from types import CodeType, FunctionType, MethodType, TracebackType
from typing import Any, Final


def pass_on(error: BaseException) -> None:
    """Raise an error again if it is the program's: an interrupt, an exit, or one of a signal's handler."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)) or is_of_signal(error):
        raise error


def is_of_signal(error: BaseException) -> bool:
    """Whether a function that is the handler of a signal now was running when an error was raised.

    Looks at no variable of a frame, since that would keep the variable's value alive.
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
    """Return the code that runs first if a handler is called; None if it is not written in Python."""
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
