"""A compact set of sequence numbers: one bit per number, and one shared object for complete chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Self

from Agent.event.model import Event

_BITS: Final = 1 << 16
_COMPLETE: Final = bytearray(b"\xff" * (_BITS // 8))
_ALL: Final = (1 << _BITS) - 1


class SeqSet:
    """The numbers of one writer that were read; built for 10^8 numbers in almost ascending order."""

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
        """Add a number; False if it was already present."""
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

    @classmethod
    def of_ranges(cls, ranges: Iterable[tuple[int, int]]) -> Self:
        """Create a set of the numbers in ranges (first, last)."""
        numbers = cls()
        for first, last in ranges:
            numbers.add_range(first, last)
        return numbers

    def add_range(self, first: int, last: int) -> None:
        """Add every number from `first` to `last`."""
        for index in range(first >> 16, (last >> 16) + 1):
            start = index << 16
            low, high = max(first - start, 0), min(last - start, _BITS - 1)
            self.add_bits(index, ((1 << (high - low + 1)) - 1) << low)

    def add_bits(self, index: int, bits: int) -> None:
        """Add `index * 65536 + i` for each set bit i of `bits`."""
        if not bits:
            return
        before = self._filled.get(index, 0)
        bits |= self._bits(index)
        filled = bits.bit_count()
        full = filled == _BITS
        self._chunks[index] = _COMPLETE if full else bytearray(bits.to_bytes(_BITS // 8, "little"))
        self._filled[index] = filled
        self._count += filled - before
        self.highest = max(self.highest, (index << 16) + bits.bit_length() - 1)

    def update(self, other: SeqSet) -> None:
        """Add every number of another set."""
        for index, bits in other.bits():
            self.add_bits(index, bits)

    def without(self, other: SeqSet) -> SeqSet:
        """Return the numbers that another set does not contain."""
        remaining = SeqSet()
        for index, bits in self.bits():
            remaining.add_bits(index, bits & ~other._bits(index))
        return remaining

    def bits(self) -> Iterator[tuple[int, int]]:
        """Yield (index, bits) of the chunks in ascending order, as `add_bits` takes them."""
        for index in sorted(self._chunks):
            yield index, self._bits(index)

    def _bits(self, index: int) -> int:
        chunk = self._chunks.get(index)
        if chunk is None:
            return 0
        return _ALL if chunk is _COMPLETE else int.from_bytes(chunk, "little")

    @property
    def lowest(self) -> int:
        """The lowest number; 0 if the set is empty."""
        index, bits = next(self.bits(), (0, 1))
        return (index << 16) + (bits & -bits).bit_length() - 1

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges (first, last) of the numbers in the set, ascending and not adjacent."""
        return _joined(run for index, bits in self.bits() for run in runs_of_bits(index << 16, bits))

    def missing(self, last: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges (first, last) of the numbers from 1 to `last` that are missing."""
        return _joined(self._absent(last))

    def _absent(self, last: int) -> Iterator[tuple[int, int]]:
        """Yield these ranges in ascending order, split at chunk boundaries."""
        at = 1
        # iterates over existing chunks only, so a single huge number costs nothing
        for index in sorted(self._chunks):
            start = index << 16
            if start > last:
                break
            if at < start:
                yield at, start - 1
            at = max(at, start)
            end = min(start + _BITS - 1, last)
            absent = ~self._bits(index) & ((2 << (end - start)) - 1)
            yield from runs_of_bits(at, absent >> (at - start))
            at = end + 1
        if at <= last:
            yield at, last


def _joined(pieces: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join adjacent ranges of an ascending sequence."""
    first = end = 0
    for low, high in pieces:
        if low != end + 1 or not first:
            if first:
                yield first, end
            first = low
        end = high
    if first:
        yield first, end


def runs_of_bits(start: int, bits: int) -> Iterator[tuple[int, int]]:
    """Yield the runs (first, last) of set bits; bit 0 represents `start`."""
    at = start
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        ones = (~bits & (bits + 1)).bit_length() - 1
        bits >>= ones
        yield at + zeros, at + zeros + ones - 1
        at += zeros + ones


# Sequence numbers in the fields of events.


def last_seq_in(closed: Event) -> int:
    """Return a writer's last number: the higher of `last_seq` in its `log.closed` and that event's own."""
    last_seq = closed.extra.get("last_seq")
    return max(closed.seq, last_seq if isinstance(last_seq, int) else 0)


def dropped_by(event: Event) -> tuple[str, int]:
    """Return the reason and the number of dropped events of a `log.dropped` event."""
    count = event.extra.get("count")
    return str(event.extra.get("reason")), count if isinstance(count, int) else 0


def retired_by(event: Event) -> tuple[str, int, int] | None:
    """Return writer, first and last number of a `log.retired` event that covers its whole range.

    None for one with a count: it is only informative, because not every number of its range was removed; the
    account of retention lists those that were.
    """
    writer, first, last = (event.extra.get(key) for key in ("writer", "first_seq", "last_seq"))
    if "count" in event.extra or not isinstance(writer, str):
        return None
    return (writer, first, last) if isinstance(first, int) and isinstance(last, int) else None
