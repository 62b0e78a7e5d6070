"""Where a tool or model is called from, in names that a later run can recognise, and who answers it there.

That is the player in context, else that of a replay open in the process: a thread has no context of its own
making, and a tool that it calls during a replay must not run live.
"""

from __future__ import annotations

import sys
from types import FrameType

from Agent.record.emit.player import Player, current_player

__all__ = ["OPEN_PLAYERS", "call_site", "player_here"]

OPEN_PLAYERS: list[Player] = []
"""The replays of tools that are open in this process, the newest last."""


def player_here() -> Player | None:
    """The player that is to be asked, None outside of every replay."""
    player = current_player.get()
    if player is None and OPEN_PLAYERS:
        return OPEN_PLAYERS[-1]
    return player


# What stands between a call and the function that made it: this package, event loops, executors, wrappers.
_BETWEEN = ("Agent.record.", "Agent.flight.", "asyncio.", "concurrent.futures.", "contextlib", "functools")
# Where a task or a thread begins: what stands below only waits for it, and differs from program to program.
_BEGINNINGS = frozenset({"asyncio.events", "asyncio.base_events", "asyncio.runners", "threading"})
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")


def call_site(depth: int) -> str:
    """The qualified name of the function that calls, "" if there is none, as of a task of its own.

    Args:
        depth: how many callers up the search begins; 1 is the caller of this function.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - the one way to the caller at this price
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module in _BEGINNINGS:
            return ""
        if not module.startswith(_BETWEEN):
            name = frame.f_code.co_qualname
            # From Python 3.12 on these have no frames of their own.
            if not name.endswith(_COMPREHENSIONS):
                return name
        frame = frame.f_back
    return ""
