"""Which items of one list stand again in another: half of a delta of lists, `delta.py` is the other.

Blocks of equal items are found by what is unique in both lists, item by item at first and then by runs of
items, as `diff --patience` does for lines; so an insertion leaves the tail alone, and the time is that of
sorting, whatever the lists hold.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence

__all__ = ["Block", "matching_blocks"]

Block = tuple[int, int, int]
"""Position in the old list, position in the new one, number of equal items."""

_WIDTHS = (1, 2, 4, 16)
"""Lengths of runs that are tried: lists of few distinct values have no unique items, but unique runs."""


def matching_blocks(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Block]:
    """Blocks of equal items that rise in both lists, as many items as the search finds.

    Args:
        old: the items' bytes, or keys.
        new: the same of the other list.
    """
    blocks: list[Block] = []
    _between(old, new, (0, len(old)), (0, len(new)), _WIDTHS, blocks)
    return blocks


def _between(
    old: Sequence[Hashable],
    new: Sequence[Hashable],
    own: tuple[int, int],
    other: tuple[int, int],
    widths: tuple[int, ...],
    blocks: list[Block],
) -> None:
    """Add the blocks of one region; what lies between anchors is searched for longer runs."""
    (a, a_end), (b, b_end) = own, other
    begin = a
    while a < a_end and b < b_end and old[a] == new[b]:
        a += 1
        b += 1
    if a > begin:
        blocks.append((begin, b - (a - begin), a - begin))
    tail = 0
    while a < a_end - tail and b < b_end - tail and old[a_end - tail - 1] == new[b_end - tail - 1]:
        tail += 1
    a_end -= tail
    b_end -= tail
    for number, width in enumerate(widths) if a < a_end and b < b_end else ():
        anchors = _anchors(old, new, (a, a_end), (b, b_end), width)
        if not anchors:
            continue
        for a_next, b_next in [*anchors, (a_end, b_end)]:
            if a_next < a or b_next < b:
                continue  # the block before grew over it
            _between(old, new, (a, a_next), (b, b_next), widths[number + 1 :], blocks)
            a, b = a_next, b_next
            while a < a_end and b < b_end and old[a] == new[b]:
                a += 1
                b += 1
            if a > a_next:
                blocks.append((a_next, b_next, a - a_next))
        break
    if tail:
        blocks.append((a_end, b_end, tail))


def _anchors(
    old: Sequence[Hashable],
    new: Sequence[Hashable],
    own: tuple[int, int],
    other: tuple[int, int],
    width: int,
) -> list[tuple[int, int]]:
    """Pairs of positions whose run stands once in either region, the most that rise together."""
    theirs = _unique(new, other, width)
    pairs = [(a, theirs[run]) for run, a in _unique(old, own, width).items() if run in theirs]
    pairs.sort()
    seconds = [b for _, b in pairs]
    # Nothing moved, as nearly always: then they rise as they are.
    return pairs if seconds == sorted(seconds) else _rising(pairs)


def _unique(items: Sequence[Hashable], region: tuple[int, int], width: int) -> dict[Hashable, int]:
    """Each run of that width that stands once in the region, and where."""
    seen: dict[Hashable, int] = {}
    doubled: set[Hashable] = set()
    begin, end = region
    for position in range(begin, end - width + 1):
        run: Hashable = items[position] if width == 1 else tuple(items[position : position + width])
        if run in seen:
            doubled.add(run)
        else:
            seen[run] = position
    for run in doubled:
        del seen[run]
    return seen


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest series of the pairs, sorted by their first halves, whose second halves rise."""
    ends: list[int] = []
    tops: list[int] = []
    before: list[int] = []
    for number, (_, b) in enumerate(pairs):
        length = bisect_left(ends, b)
        before.append(tops[length - 1] if length else -1)
        if length == len(ends):
            ends.append(b)
            tops.append(number)
        else:
            ends[length] = b
            tops[length] = number
    series: list[tuple[int, int]] = []
    number = tops[-1] if tops else -1
    while number >= 0:
        series.append(pairs[number])
        number = before[number]
    series.reverse()
    return series
