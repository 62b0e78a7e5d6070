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
    """A sink takes no further event now.

    `reason` is what it counts as dropped under; `next_seq` gives a number for one that has to be taken.
    """

    def __init__(self, reason: str, next_seq: Callable[[], int]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_seq = next_seq


class Stream(Protocol):
    """Where the lines of one agent, or of one category, go."""

    def write(self, line: RedactedBytes) -> bool:
        """Take one line, newline included; False if it was not written, which is counted. Never raises."""
        ...


class DurableStream(Stream, Protocol):
    """A stream that can also be asked to bring a line through a power cut."""

    def write_synced(self, line: RedactedBytes) -> bool:
        """Take one line and bring it to the disk itself; calls at the same time share one `fdatasync`."""
        ...

    def sync(self) -> bool:
        """Bring what was taken to the disk itself; False if it may not be there, which is counted."""
        ...


class Sink(Protocol):
    """One durability stream of one process: a writer with its own id and its own count of events."""

    @property
    def writer(self) -> str:
        """The id of the writer, 8 characters; another one after a fork."""
        ...

    def open_stream(self, agent_id: str | None, category: str) -> Stream:
        """The stream of an agent, or of a category where there is no single agent; valid for ever."""
        ...

    def next_seq(self) -> int:
        """The number of the next event: 1, 2, 3 ...

        Raises:
            NoRoom: there is none to be had; only a sink that was told to refuse does so.
        """
        ...

    def flush(self) -> None:
        """Hand everything that is held in memory to the kernel, or to the disk where durability says so."""
        ...

    def close(self, *, clean: bool = True) -> None:
        """Write out what is held, give back descriptors; `clean` says that `log.closed` was written."""
        ...


Waits = list[Callable[[], object]]


class _Collecting(threading.local):
    """What the thread collects; None where it waits in place."""

    waits: Waits | None = None


_collecting = _Collecting()


def collecting() -> bool:
    """Whether the waits of this thread are collected."""
    return _collecting.waits is not None


def wait_for(work: Callable[[], object]) -> None:
    """Do now what takes its time, or leave it to whoever collects the waits of this thread."""
    waits = _collecting.waits
    if waits is None:
        work()
    elif work not in waits:
        waits.append(work)


def collect_waits(waits: Waits | None) -> Waits | None:
    """Let the waits of this thread go into that list, None to wait in place; gives what held before."""
    before, _collecting.waits = _collecting.waits, waits
    return before
