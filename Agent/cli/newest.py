"""The last few events of a session, read from the ends of its files; `tail` begins with them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from pathlib import Path

from Agent.event.codec import DamagedLine, decode_line
from Agent.event.model import Event

__all__ = ["newest_events"]

BLOCK_BYTES = 64 * 1024
SLACK_US = 1_000_000
"""How far a file may be out of order: threads interleave, buffers are late, a file's time is coarse."""


def newest_events(files: list[Path], count: int, wanted: Callable[[Event], bool]) -> list[Event]:
    """The newest `count` events of the files that are wanted, oldest first; damaged lines are passed over.

    Files are taken newest first, and left out once all of a file is older than what was found.
    """
    if count <= 0:
        return []
    found: list[tuple[tuple[int, str, int], int, Event]] = []
    for modified_us, path in sorted(((_modified_us(path), path) for path in files), reverse=True):
        if len(found) == count and modified_us + SLACK_US < found[0][0][0]:
            break
        for event in _backwards(path):
            if len(found) == count and event.timestamp_us + SLACK_US < found[0][0][0]:
                break
            if not wanted(event):
                continue
            entry = (event.order, id(event), event)  # ids settle a tie, events have no order of their own
            if len(found) < count:
                heapq.heappush(found, entry)
            elif entry > found[0]:
                heapq.heapreplace(found, entry)
    return [event for _, _, event in sorted(found)]


def _modified_us(path: Path) -> int:
    return path.stat().st_mtime_ns // 1000


def _backwards(path: Path) -> Iterator[Event]:
    """The events of one file, last first."""
    for line in _lines_backwards(path):
        try:
            yield decode_line(line)
        except DamagedLine:
            continue


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, last first; what stands behind the last newline is still being written."""
    with path.open("rb") as file:
        position = file.seek(0, 2)
        rest = b""
        at_end = True
        while position > 0:
            step = min(BLOCK_BYTES, position)
            position -= step
            file.seek(position)
            pieces = (file.read(step) + rest).split(b"\n")
            rest = pieces[0]
            whole = pieces[1:]
            if at_end and whole:
                whole, at_end = whole[:-1], False
            yield from (piece for piece in reversed(whole) if piece)
        if rest and not at_end:
            yield rest
