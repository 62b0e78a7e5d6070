"""A sink that keeps lines in memory, so that nothing reaches a tree: replays and tests record into it."""

from __future__ import annotations

import itertools

from Agent.event.model import RedactedBytes

__all__ = ["LineSink"]


class LineSink:
    """Takes the lines of one pipeline; `lines` holds those since the last `clear()`.

    Args:
        writer: as whom it numbers events.
    """

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self.lines: list[bytes] = []
        self.next_seq = itertools.count(1).__next__

    def open_stream(self, agent_id: str | None, category: str) -> LineSink:  # noqa: ARG002 - one for all
        """This sink is its own only stream."""
        return self

    def write(self, line: RedactedBytes) -> bool:
        """Keep a line."""
        self.lines.append(line)
        return True

    def clear(self) -> None:
        """Forget what was written so far."""
        self.lines.clear()

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self, *, clean: bool = True) -> None:
        """Nothing is open."""
