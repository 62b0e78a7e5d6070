"""The interface of the tree for recording: a sink provides streams, and each stream takes finished lines.

`writer.SessionWriter` writes to the tree; tests and replay use a sink in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from Agent.event.model import RedactedBytes


class NoRoom(Exception):
    """Raised by a sink that accepts no event now.

    `reason` is the drop reason to count; `next_seq` returns a number for an event that must be accepted.
    """

    def __init__(self, reason: str, next_seq: Callable[[], int]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_seq = next_seq


class Stream(Protocol):
    """Accepts the lines of one agent or category."""

    def write(self, line: RedactedBytes) -> bool:
        """Write one line with its newline; False if it was not written, which is counted. Never raises."""
        ...


class DurableStream(Stream, Protocol):
    """A stream that can also sync lines to the disk, so that they survive a power failure."""

    def write_synced(self, line: RedactedBytes) -> bool:
        """Write one line and sync it to the disk; concurrent calls share one `fdatasync`."""
        ...

    def sync(self) -> bool:
        """Sync the accepted lines to the disk; False if that may have failed, which is counted."""
        ...


class Sink(Protocol):
    """One durability stream of one process: a writer with its own id and its own count of events."""

    @property
    def writer(self) -> str:
        """The id of the writer, 8 characters; another one after a fork."""
        ...

    def open_stream(self, agent_id: str | None, category: str) -> Stream:
        """Return the stream of an agent, or of a category if `agent_id` is None; it stays valid."""
        ...

    def next_seq(self) -> int:
        """Return the number of the next event: 1, 2, 3 ...

        Raises:
            NoRoom: the sink is full and configured to refuse events.
        """
        ...

    def flush(self) -> None:
        """Write everything held in memory to the kernel, or to the disk if the durability requires it."""
        ...

    def close(self, *, clean: bool = True) -> None:
        """Write everything held in memory, close descriptors; `clean` says that `log.closed` was written."""
        ...


Waits = list[Callable[[], object]]


class _Collecting(threading.local):
    """The waits that a thread has collected; None if it waits in place."""

    waits: Waits | None = None


_collecting = _Collecting()


def collecting() -> bool:
    """Return whether the waits of this thread are collected."""
    return _collecting.waits is not None


def wait_for(work: Callable[[], object]) -> None:
    """Run a blocking operation now, or add it to the collected waits of this thread."""
    waits = _collecting.waits
    if waits is None:
        work()
    elif work not in waits:
        waits.append(work)


def collect_waits(waits: Waits | None) -> Waits | None:
    """Collect the waits of this thread in a list, or None to wait in place; returns the previous list."""
    before, _collecting.waits = _collecting.waits, waits
    return before
