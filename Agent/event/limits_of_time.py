"""Recognises exceptions that the program's handler of a signal raised, such as that of a time limit.

They only happen to interrupt recording, and belong to the program: code that catches whatever users' classes
raise passes them on.
"""

from __future__ import annotations

from types import FrameType, TracebackType
from typing import Any, Final


def pass_on(error: BaseException) -> None:
    """Raise an error again if the program's handler of a signal raised it."""
    if is_of_signal(error):
        raise error


def is_of_signal(error: BaseException) -> bool:
    """Whether the handler of a signal, a function called with a number and a frame, raised an error."""
    if isinstance(error, RecursionError):
        return False  # the stack is nearly full
    step: TracebackType | None = _TRACEBACK.__get__(error)
    while step is not None:
        code = step.tb_frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _TAKES_MORE)
        if 0 < count <= _ARGUMENTS_OF_HANDLERS and code.co_filename != __file__:
            known = step.tb_frame.f_locals
            given = [known.get(name) for name in code.co_varnames[:count]]
            if any(_is_frame(one) for one in given):
                return True
        step = step.tb_next
    return False


_TRACEBACK: Final[Any] = vars(BaseException)["__traceback__"]
_TAKES_MORE: Final = 0x04
"""The flag of code that takes `*args`."""
_ARGUMENTS_OF_HANDLERS: Final = 4
"""Number, frame, `self`, and one more."""


def _is_frame(given: object) -> bool:
    """Whether an argument is a frame, or holds all arguments of a handler, `(number, frame)`."""
    kind = type(given)
    return kind is FrameType or (kind is tuple and len(given) == 2 and type(given[1]) is FrameType)  # type: ignore[arg-type,index]
