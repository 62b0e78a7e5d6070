"""Many lines of one file in few writes; `queued.py` brings them.

What cannot go the short way goes line by line through `SessionStream.write`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from Agent.event.model import RedactedBytes
from Agent.tree.write.segment_writer import OwnFile

__all__ = ["write_lines"]

_write = os.write


def write_lines(
    file: OwnFile, lines: Sequence[RedactedBytes], write_one: Callable[[RedactedBytes], bool]
) -> list[RedactedBytes]:
    """Hand lines to the kernel in their order; those that were not written.

    Args:
        file: whose open segment takes as many as fit.
        write_one: writes a single line: the first of a file, one that needs another segment.
    """
    refused: list[RedactedBytes] = []
    at = 0
    while at < len(lines):
        taken = _write_together(file, lines, at)
        if taken == 0:
            if not write_one(lines[at]):
                refused.append(lines[at])
            taken = 1
        at += taken
    return refused


def _write_together(file: OwnFile, lines: Sequence[RedactedBytes], begin: int) -> int:
    """Write as many lines as the open segment has room for at once; how many are whole on the disk.

    As in `SessionStream.write` the pin keeps the descriptor open. 0 says that no line was written.
    """
    segment = file.segment
    segment.pins.append(None)
    try:
        if file.segment is not segment or segment.torn:
            return 0
        end, size_bytes = begin, 0
        while end < len(lines) and size_bytes + len(lines[end]) <= segment.room_bytes:
            size_bytes += len(lines[end])
            end += 1
        if end - begin < 2:
            return 0
        segment.room_bytes -= size_bytes
        data = b"".join(lines[begin:end])
        try:
            sent_bytes = _write(segment.fd, data)
        except OSError:
            # Nothing was written. Each line meets the refusal by itself, where it is answered and counted.
            segment.room_bytes += size_bytes
            return 0
    finally:
        segment.pins.pop()
    if sent_bytes == size_bytes:
        return end - begin
    return _whole_lines(file, lines, begin, sent_bytes)


def _whole_lines(file: OwnFile, lines: Sequence[RedactedBytes], begin: int, sent_bytes: int) -> int:
    """How many lines are there after a short write; the torn one behind them is sent again, whole."""
    at = begin
    while sent_bytes >= len(lines[at]):
        sent_bytes -= len(lines[at])
        at += 1
    if sent_bytes > 0 and file.resend(lines[at]):
        at += 1
    return at - begin
