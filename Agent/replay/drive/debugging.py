"""A replayed action in the debugger: it stops at the first line of the user's method, arguments in place.

The child process of `replay --pdb` calls the action that differs by this; it has the terminal.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["in_debugger"]


def in_debugger(method: Callable[..., Any], call: Callable[[], None]) -> None:
    """Make a call, and open pdb at the first line of the function that the traced method stands for.

    Args:
        method: the traced method.
        call: calls it, and awaits what it gives where that is a coroutine.
    """
    import pdb  # noqa: T100 - somebody asked for the debugger

    function = inspect.unwrap(getattr(method, "__func__", method))
    code = getattr(function, "__code__", None)
    debugger = pdb.Pdb(nosigint=True, readrc=False)

    def look(frame: FrameType, event: str, _argument: Any) -> Any:
        if event != "call" or frame.f_code is not code:
            return None
        debugger.set_trace(frame)
        return debugger.trace_dispatch

    before = sys.gettrace()
    sys.settrace(look)
    try:
        call()
    finally:
        sys.settrace(before)
