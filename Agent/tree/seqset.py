"""A set of sequence numbers that stays small: a bit for each, nearly nothing where a run is complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["SeqSet"]

_BITS: Final = 1 << 16
_COMPLETE: Final = bytearray(b"\xff" * (_BITS // 8))


class SeqSet:
    """Which numbers of one writer were read; made for hundreds of millions in nearly ascending order."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}
        self._filled: dict[int, int] = {}
        self._count = 0
        self.highest = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, seq: int) -> bool:
        chunk = self._chunks.get(seq >> 16)
        return chunk is not None and bool(chunk[(seq & 0xFFFF) >> 3] & 1 << (seq & 7))

    def add(self, seq: int) -> bool:
        """Put a number in; False if it was there already."""
        index = seq >> 16
        chunk = self._chunks.get(index)
        if chunk is None:
            chunk = self._chunks[index] = bytearray(_BITS // 8)
            self._filled[index] = 0
        at, bit = (seq & 0xFFFF) >> 3, 1 << (seq & 7)
        if chunk[at] & bit:
            return False
        chunk[at] |= bit
        self._count += 1
        self._filled[index] += 1
        if self._filled[index] == _BITS:
            self._chunks[index] = _COMPLETE
        self.highest = max(self.highest, seq)
        return True

    def missing(self, last: int) -> Iterator[tuple[int, int]]:
        """The ranges (first, last) of the numbers from 1 to `last` that are not in."""
        first = end = 0
        for low, high in self._absent(last):
            if low != end + 1 or not first:
                if first:
                    yield first, end
                first = low
            end = high
        if first:
            yield first, end

    def _absent(self, last: int) -> Iterator[tuple[int, int]]:
        """Pieces of those ranges in ascending order, adjoining ones not yet joined."""
        at = 1
        # only chunks that exist are looked at, so one wild number costs nothing
        for index in sorted(self._chunks):
            start = index << 16
            if start > last:
                break
            if at < start:
                yield at, start - 1
            at = max(at, start)
            end = min(start + _BITS - 1, last)
            if self._chunks[index] is not _COMPLETE:
                yield from _clear_bits(self._chunks[index], start, at, end)
            at = end + 1
        if at <= last:
            yield at, last


def _clear_bits(chunk: bytearray, start: int, low: int, high: int) -> Iterator[tuple[int, int]]:
    for at in range((low - start) >> 3, ((high - start) >> 3) + 1):
        byte = chunk[at]
        if byte == 0xFF:
            continue
        for bit in range(8):
            seq = start + (at << 3) + bit
            if low <= seq <= high and not byte & 1 << bit:
                yield seq, seq
