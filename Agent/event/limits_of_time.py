"""Recognises exceptions raised by the program's signal handlers, such as the handler of a time limit.

Such an exception may interrupt recording, but is meant for the program. So code that catches all exceptions
of users' classes has to raise it again.
"""

from __future__ import annotations

import signal
from functools import partial
from types import CodeType, FunctionType, MethodType, TracebackType
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
