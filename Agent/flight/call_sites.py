"""Where a tool or model is called from, as something that a later run can recognise: names, no lines."""

from __future__ import annotations

import sys
from types import FrameType

__all__ = ["call_site"]

# What stands between a call and the function that made it: this package, event loops, executors, wrappers.
_BETWEEN = ("Agent.record.", "Agent.flight.", "asyncio.", "concurrent.futures.", "contextlib", "functools")
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")


def call_site(depth: int) -> str:
    """The qualified name of the function that calls, "" where there is none.

    Args:
        depth: how many callers up the search begins; 1 is the caller of this function.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - the one way to the caller at this price
    while frame is not None:
        if not str(frame.f_globals.get("__name__", "")).startswith(_BETWEEN):
            name = frame.f_code.co_qualname
            # From Python 3.12 on these have no frames of their own.
            if not name.endswith(_COMPREHENSIONS):
                return name
        frame = frame.f_back
    return ""
