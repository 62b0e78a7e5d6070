"""A file of the recording in which a tick or a number is sought, reading some blocks of it and counting them.

`bisection.py` compares two sessions through these; `run_side.py` says which files belong together.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from Agent.errors import ReplayError
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.model import Event
from Agent.tree.files.lines import line_key

_BLOCK_BYTES = 2048
_TICK = re.compile(rb'"tick":(-?\d+)')
END = float("inf")
"""Where a line stands behind which nothing has a place any more."""

Axis = Callable[[bytes], int | None]
"""The place of a line: its tick, or its number."""


class OutOfOrder(ReplayError):
    """Places fall within a file, so nothing can be sought in it."""


@dataclass(slots=True)
class Meter:
    """How much of the recording was read, and how much of it there is."""

    lines: int = 0
    size_bytes: int = 0
    total_bytes: int = 0

    @property
    def share(self) -> float:
        """The part of all bytes that was read, 0 to 1; what is read twice counts twice."""
        return self.size_bytes / self.total_bytes if self.total_bytes else 0.0


def tick_of(line: bytes) -> int | None:
    """The tick of a line, None where it has none."""
    end = line.find(b',"extra":')
    found = _TICK.search(line, 0, end if end >= 0 else len(line))
    return None if found is None else int(found[1])


def number_of(line: bytes) -> int | None:
    """The number of a line among those of its writer."""
    key = line_key(line)
    return None if key is None else key[2]


class Track:
    """The segments of one stream, one behind the other, sorted by an axis.

    Args:
        paths: the files in order.
        axis: gives the place of a line.
        meter: counts what is read.
    """

    def __init__(self, paths: list[Path], axis: Axis, meter: Meter) -> None:
        self._axis = axis
        self._meter = meter
        self._parts: list[tuple[int, int, Path]] = []
        self.size = 0
        for path in paths:
            size = path.stat().st_size
            self._parts.append((self.size, self.size + size, path))
            self.size += size
        meter.total_bytes += self.size
        self._known: list[tuple[float, int]] = []
        """(place, offset) of lines that were met, in both orders ascending."""
        self._head: bytes | None = None

    def seek(self, place: float) -> int:
        """The offset of the first line that stands at that place or behind it.

        A line without a place belongs to the one before it.
        """
        low, high = self._bounds(place)
        halve = False
        while high - low > _BLOCK_BYTES:
            middle = (low + high) // 2 if halve else self._guess(place, low, high)
            halve = not halve
            _, end, found = self._placed_line(middle, high)
            if found >= place:
                high = middle
            else:
                low = end
        for start, line in self._lines(low, self.size):
            own = self._axis(line)
            if own is not None and own >= place:
                return start
        return self.size

    def _bounds(self, place: float) -> tuple[int, int]:
        at = bisect_left(self._known, (place, -1))
        low = self._known[at - 1][1] if at else 0
        high = self._known[at][1] if at < len(self._known) else self.size
        return low, high

    def _guess(self, place: float, low: int, high: int) -> int:
        """Where the place should be if places were spread evenly between what is known."""
        at = bisect_left(self._known, (place, -1))
        if not at or at == len(self._known) or self._known[at][0] == END:
            return (low + high) // 2
        before, behind = self._known[at - 1], self._known[at]
        share = (place - before[0]) / max(behind[0] - before[0], 1)
        guess = before[1] + int(share * (behind[1] - before[1])) - _BLOCK_BYTES // 2
        return min(max(guess, low + (high - low) // 16), high - (high - low) // 16)

    def _placed_line(self, offset: int, limit: int) -> tuple[int, int, float]:
        """(start, end, place) of the first line behind an offset that has a place; END where none has."""
        for start, line in self._lines(offset, self.size, whole=False):
            found = self._axis(line)
            if found is not None:
                self._note(found, start)
                return start, start + len(line) + 1, found
            if start > limit:
                break
        return self.size, self.size, END

    def _note(self, place: float, offset: int) -> None:
        at = bisect_left(self._known, (place, offset))
        if at < len(self._known) and self._known[at] == (place, offset):
            return
        before = self._known[at - 1][1] if at else -1
        behind = self._known[at][1] if at < len(self._known) else self.size
        if not before < offset < behind:
            raise OutOfOrder("events do not stand in the order of their places")
        self._known.insert(at, (place, offset))

    def head(self) -> bytes:
        """The first line, read once."""
        if self._head is None:
            self._head = next((line for _, line in self._lines(0, self.size)), b"")
        return self._head

    def first_place(self) -> float:
        """The place of the first line that has one; END where none has."""
        found = self._axis(self.head())
        return self._placed_line(0, self.size)[2] if found is None else found

    def last_place(self) -> float:
        """The place of the last line that has one; minus END where none is near the end."""
        budget = 2 * _BLOCK_BYTES
        while True:
            lines = self.before(self.size, budget)
            for start, line in reversed(lines):
                found = self._axis(line)
                if found is not None:
                    self._note(found, start)
                    return found
            if budget >= self.size:
                return -END
            budget *= 4

    def before(self, offset: int, budget_bytes: int) -> list[tuple[int, bytes]]:
        """The whole lines that end by an offset, as many as there are in that many bytes; at least one."""
        while True:
            begin = max(0, offset - budget_bytes)
            found = list(self._lines(begin, offset, whole=begin == 0))
            if found or begin == 0:
                return found
            budget_bytes *= 2

    def until(self, start: int, place: float) -> Iterator[tuple[int, bytes]]:
        """The lines from an offset, at which a line begins, up to the first at a place or behind it."""
        for offset, line in self._lines(start, self.size):
            found = self._axis(line)
            if found is not None and found >= place:
                return
            yield offset, line

    def _lines(self, offset: int, end: int, *, whole: bool = True) -> Iterator[tuple[int, bytes]]:
        """(offset, line) of whole lines from an offset on.

        Args:
            whole: a line begins at the offset; else what comes first may be the rest of one, and is left out.
        """
        at, rest, skips = offset, b"", not whole and offset > 0
        if skips:
            at -= 1  # a newline there says that a line begins right behind it
        position = at
        while position < end:
            data = self._read(position, min(_BLOCK_BYTES, end - position))
            if not data:
                return
            position += len(data)
            pieces = (rest + data).split(b"\n")
            rest = pieces.pop()
            for piece in pieces:
                start, at = at, at + len(piece) + 1
                if skips:
                    skips = False
                    continue
                self._meter.lines += 1
                yield start, piece

    def _read(self, offset: int, size: int) -> bytes:
        for begin, end, path in self._parts:
            if begin <= offset < end:
                fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
                try:
                    data = os.pread(fd, min(size, end - offset), offset - begin)
                finally:
                    os.close(fd)
                self._meter.size_bytes += len(data)
                return data
        return b""


def decoded(lines: list[tuple[int, bytes]]) -> list[Event]:
    """The events of lines; OutOfOrder where one is none, so that a reader that counts damage takes over."""
    try:
        return [decode_line(line) for _, line in lines if line]
    except DamagedLine as error:
        raise OutOfOrder(f"a line is damaged ({error})") from error
