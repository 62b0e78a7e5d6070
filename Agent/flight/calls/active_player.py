"""Who answers tools and models here: the player in context, else that of a replay open in the process.

A thread has no context of its own making, and a tool that it calls during a replay must not run live.
"""

from __future__ import annotations

from Agent.record.emit.player import Player, current_player

__all__ = ["OPEN_PLAYERS", "player_here"]

OPEN_PLAYERS: list[Player] = []
"""The replays of tools that are open in this process, the newest last."""


def player_here() -> Player | None:
    """The player that is to be asked, None outside of every replay."""
    player = current_player.get()
    if player is None and OPEN_PLAYERS:
        return OPEN_PLAYERS[-1]
    return player
