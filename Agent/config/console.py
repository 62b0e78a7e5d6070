"""Events on stderr, for those who ask for it: one line each, time, level, agent, message."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from Agent.tree.mirror import Mirrors


class ConsoleMirrors:
    """Mirrors that show each line on stderr before they take it; without mirrors it is only shown."""

    def __init__(self, mirrors: Mirrors | None) -> None:
        self._mirrors = mirrors
        self._shown = b""

    def adder(self, category: str) -> Callable[[bytes], None] | None:
        """The function that shows and takes a category's lines."""
        take = self._mirrors.adder(category) if self._mirrors is not None else None

        def show_and_take(line: bytes) -> None:
            # An error goes to two mirrors and is shown once.
            if line is not self._shown:
                self._shown = line
                show(line)
            if take is not None:
                take(line)

        return show_and_take

    def flush(self) -> None:
        """Write out what the mirrors hold."""
        if self._mirrors is not None:
            self._mirrors.flush()

    def close(self) -> None:
        """Write out and stop."""
        if self._mirrors is not None:
            self._mirrors.close()


def show(line: bytes) -> None:
    """One event for people."""
    event = orjson.loads(line)
    who = event["extra"].get("agent_id") or event["logger"]
    try:
        sys.stderr.write(f"{event['timestamp'][11:23]} {event['level']:<8} {who}: {event['message']}\n")
    except (OSError, ValueError):
        return
