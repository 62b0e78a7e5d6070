"""A set of sequence numbers that stays small: a bit for each, nearly nothing where a run is complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Self

from Agent.event.model import Event

_BITS: Final = 1 << 16
_COMPLETE: Final = bytearray(b"\xff" * (_BITS // 8))
_ALL: Final = (1 << _BITS) - 1


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

    @classmethod
    def of_ranges(cls, ranges: Iterable[tuple[int, int]]) -> Self:
        """The numbers in some ranges (first, last)."""
        found = cls()
        for first, last in ranges:
            found.add_range(first, last)
        return found

    def add_range(self, first: int, last: int) -> None:
        """Put in every number from `first` to `last`."""
        for index in range(first >> 16, (last >> 16) + 1):
            start = index << 16
            low, high = max(first - start, 0), min(last - start, _BITS - 1)
            self.add_bits(index, ((1 << (high - low + 1)) - 1) << low)

    def add_bits(self, index: int, bits: int) -> None:
        """Put in the numbers from `index * 65536` on whose bits are set, the lowest bit first."""
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
        """Put in every number of another set."""
        for index, bits in other.bits():
            self.add_bits(index, bits)

    def without(self, other: SeqSet) -> SeqSet:
        """The numbers that another set does not hold."""
        rest = SeqSet()
        for index, bits in self.bits():
            rest.add_bits(index, bits & ~other._bits(index))
        return rest

    def bits(self) -> Iterator[tuple[int, int]]:
        """The numbers as pieces of 65536 in ascending order, as `add_bits` takes them."""
        for index in sorted(self._chunks):
            yield index, self._bits(index)

    def _bits(self, index: int) -> int:
        chunk = self._chunks.get(index)
        if chunk is None:
            return 0
        return _ALL if chunk is _COMPLETE else int.from_bytes(chunk, "little")

    @property
    def lowest(self) -> int:
        """The lowest number, 0 if there is none."""
        index, bits = next(self.bits(), (0, 1))
        return (index << 16) + (bits & -bits).bit_length() - 1

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The ranges (first, last) of the numbers that are in, ascending and apart."""
        return _joined(run for index, bits in self.bits() for run in runs_of_bits(index << 16, bits))

    def missing(self, last: int) -> Iterator[tuple[int, int]]:
        """The ranges (first, last) of the numbers from 1 to `last` that are not in."""
        return _joined(self._absent(last))

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
            absent = ~self._bits(index) & ((2 << (end - start)) - 1)
            yield from runs_of_bits(at, absent >> (at - start))
            at = end + 1
        if at <= last:
            yield at, last


def _joined(pieces: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ascending ranges, those that adjoin as one."""
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
    """The runs (first, last) of set bits, the lowest of which stands for `start`."""
    at = start
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        ones = (~bits & (bits + 1)).bit_length() - 1
        bits >>= ones
        yield at + zeros, at + zeros + ones - 1
        at += zeros + ones


# What events say of their writers' numbers.


def last_seq_in(closed: Event) -> int:
    """The last number that a writer took, as its `log.closed` says; its own number where it says none."""
    last_seq = closed.extra.get("last_seq")
    return max(closed.seq, last_seq if isinstance(last_seq, int) else 0)


def dropped_by(event: Event) -> tuple[str, int]:
    """The reason of a `log.dropped`, and how many events were dropped for it."""
    count = event.extra.get("count")
    return str(event.extra.get("reason")), count if isinstance(count, int) else 0


def retired_by(event: Event) -> tuple[str, int, int] | None:
    """Writer, first and last number of a `log.retired` that accounts for its range.

    None for one with a count, which is for people: not all numbers of its range were retired, the account of
    retention has those that were.
    """
    writer, first, last = (event.extra.get(key) for key in ("writer", "first_seq", "last_seq"))
    if "count" in event.extra or not isinstance(writer, str):
        return None
    return (writer, first, last) if isinstance(first, int) and isinstance(last, int) else None
