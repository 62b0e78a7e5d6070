"""Detect events that violate a relation of two fields: equality, or a constant difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from itertools import combinations
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import Act, Column, Log, columns_of, is_number
from Agent.analysis.debug.root_causes.scan import (
    MAY_BREAK,
    MIN_SEEN,
    STRICT,
    Finding,
    Observation,
    scan_rare,
)

__all__ = ["find"]

MAX_FIELDS: Final = 14


def find(log: Log) -> Iterator[Finding]:
    """Yield violations of the relations between fields of the same event."""
    for sort, acts in log.by_sort.items():
        if len(acts) < MIN_SEEN:
            continue
        yield from _equal(sort[2] or sort[1], acts, columns_of(acts))


def _is_common(column: Column, acts: list[Act]) -> bool:
    return len(column.at) >= 0.5 * len(acts)


def _aligned(column: Column, number: int) -> list[Hashable]:
    """Return the value of each act, None if it has none."""
    if len(column.at) == number:
        return [_key(value) for value in column.values]
    found: list[Hashable] = [None] * number
    for at, value in zip(*column, strict=True):
        found[at] = _key(value)
    return found


def _key(value: Any) -> Hashable:
    return round(value, 6) if isinstance(value, float) else value


def _equal(label: str, acts: list[Act], columns: dict[str, Column]) -> Iterator[Finding]:
    """Yield violations for pairs that are equal, or a constant apart, in nearly every event."""
    replaced = {f"<{path}": column for path, column in columns_of(acts, before=True).items()}
    both = {
        path: _aligned(column, len(acts))
        for path, column in [*columns.items(), *replaced.items()]
        if _is_common(column, acts) and len(set(map(_key, column.values))) > MIN_DISTINCT
    }
    for one, other in combinations([*both][:MAX_FIELDS], 2):
        pairs = list(zip(acts, both[one], both[other], strict=True))
        # A relation that fails in many of the first events does not hold.
        first = Counter(gap for _, gap in _gaps(pairs[:MANY]))
        if first and first.most_common(1)[0][1] < MAY_HOLD * first.total():
            continue
        gaps = list(_gaps(pairs))
        counts = Counter(gap for _, gap in gaps)
        if len(gaps) < MIN_SEEN or len(counts) < 2:
            continue
        usual, often = counts.most_common(1)[0]
        if often < (1 - MAY_BREAK) * len(gaps) or usual is False:
            continue
        seen = [Observation(act, gap != usual) for act, gap in gaps]
        for each in scan_rare(
            "amounts part", f"{label}: {one} and {other}", seen, most=MAY_BREAK, base=STRICT
        ):
            each.usual = usual
            yield each


def _gaps(pairs: Iterable[tuple[Act, Any, Any]]) -> Iterator[tuple[Act, Any]]:
    """Yield the difference of two numbers in an event, or whether two texts are equal."""
    for act, a, b in pairs:
        if is_number(a) and is_number(b):
            yield act, round(b - a, 6)
        elif isinstance(a, str) and isinstance(b, str):
            yield act, a == b


MIN_DISTINCT: Final = 5
MANY: Final = 100
MAY_HOLD: Final = 0.4
