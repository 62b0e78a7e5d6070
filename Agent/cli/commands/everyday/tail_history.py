"""The last few events of a session, read from the ends of its files; `tail` begins with them.

What was sealed and removed is asked of the archive, in stretches of time from its end backwards.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from Agent.event.codec import DamagedLine, decode_line
from Agent.event.model import Event

__all__ = ["Line", "Newest", "newest_lines"]

Line = tuple[bytes, Event]
"""An event behind its line as it stands in the recording, without the newline."""


class Newest(NamedTuple):
    """The end of a session, as far as it was asked for."""

    lines: list[Line]
    """Oldest first."""
    damaged: int
    """Lines on the way that are no event."""


BLOCK_BYTES = 64 * 1024
SLACK_US = 1_000_000
"""How far a file may be out of order: threads interleave, buffers are late, a file's time is coarse."""

_FIRST_STRETCH_US = 1_000_000
_LONGER = 8


def newest_lines(
    session: Path,
    files: Iterable[Path],
    count: int,
    wanted: Callable[[Event], bool],
    since_us: int | None = None,
) -> Newest:
    """The newest `count` events that are wanted; damaged lines are passed over and counted.

    Args:
        session: the session's directory, whose archive is asked for what is no longer there as files.
        files: which of its files are read, newest first, until all of a file is older than what was found.
        count: how many.
        wanted: which.
        since_us: where reading back may end.
    """
    newest = _Kept(count, since_us)
    if count <= 0:
        return newest.result()
    for modified_us, path in sorted(((_modified_us(path), path) for path in files), reverse=True):
        if newest.has_none_before(modified_us + SLACK_US):
            break
        for line, event in newest.events(_lines_backwards(path)):
            if newest.has_none_before(event.timestamp_us + SLACK_US):
                break
            if wanted(event):
                newest.add(line, event)
    for line, event in newest.events(_sealed(session, newest)):
        if wanted(event):
            newest.add(line, event)
    return newest.result()


class _Kept:
    """At most `count` events, the newest of those added."""

    def __init__(self, count: int, since_us: int | None) -> None:
        self._count = count
        self._since_us = since_us
        self._found: list[tuple[tuple[int, str, int], int, Line]] = []
        self._damaged = 0

    def events(self, lines: Iterable[bytes]) -> Iterator[Line]:
        """The events on some lines; one that is none is counted."""
        for line in lines:
            try:
                yield line, decode_line(line)
            except DamagedLine:
                self._damaged += 1

    def has_none_before(self, time_us: int) -> bool:
        """Whether nothing that is older than that can be among them."""
        if self._since_us is not None and time_us < self._since_us:
            return True
        return len(self._found) == self._count and time_us < self._found[0][0][0]

    def add(self, line: bytes, event: Event) -> None:
        # ids settle a tie, events have no order of their own
        entry = (event.order, id(event), (line, event))
        if len(self._found) < self._count:
            heapq.heappush(self._found, entry)
        elif entry > self._found[0]:
            heapq.heapreplace(self._found, entry)

    def result(self) -> Newest:
        return Newest([line for _, _, line in sorted(self._found)], self._damaged)


def _sealed(session: Path, newest: _Kept) -> Iterator[bytes]:
    """The lines of segments that were removed, stretch by stretch from the newest on."""
    from Agent.archive.sealed.parts import read_parts
    from Agent.archive.sealed.reader import ArchiveLines

    times_us = [
        time_us
        for part in read_parts(session)
        if part.json_removed
        for segment in part.segments
        for time_us in (segment.first_us, segment.last_us)
        if time_us is not None
    ]
    if not times_us:
        return
    archive = ArchiveLines(session)
    until_us, stretch_us = max(times_us) + 1, _FIRST_STRETCH_US
    while until_us > min(times_us) and not newest.has_none_before(until_us):
        for raw in archive.ordered_lines(until_us - stretch_us, until_us):
            yield raw.line
        until_us, stretch_us = until_us - stretch_us, stretch_us * _LONGER


def _modified_us(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1000
    except FileNotFoundError:
        # just rolled: its lines stand under the name that it has now
        return 0


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, last first; what stands behind the last newline is still being written."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # rolled since it was listed: whoever asks looks again
    with file:
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
