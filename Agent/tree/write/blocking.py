"""What a call would wait for: the disk, room in a queue, a queue that is to be written.

A call waits in place. One that is awaited collects its waits here and has them done beside the event loop
(`record/loggers/loggers.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Waits", "collect_waits", "collecting", "wait_for"]

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
