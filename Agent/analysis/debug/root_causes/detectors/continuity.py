"""Detect things that change hands: values that should stay the same for one thing but change."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import MAX_LEVELS, Act, Column, Log, columns_of
from Agent.analysis.debug.root_causes.scan import (
    MIN_SEEN,
    Finding,
    Observation,
    scan_rare,
)

__all__ = ["find"]

MAX_KEPT: Final = 3


def find(log: Log) -> Iterator[Finding]:
    """Yield things that change hands."""
    for sort, acts in log.by_sort.items():
        if len(acts) < MIN_SEEN:
            continue
        label = sort[2] or sort[1]
        columns = columns_of(acts)
        yield from _keeps(label, acts, _owners(columns))


def _owners(columns: dict[str, Column]) -> list[str]:
    """Return text fields with few distinct values, which a thing may keep."""
    found = []
    for path, column in columns.items():
        levels = {value for value in column.values if isinstance(value, str)}
        if 2 <= len(levels) <= 4 * MAX_LEVELS:
            found.append(path)
    return found[:MAX_KEPT]


def _keeps(label: str, acts: list[Act], paths: list[str]) -> Iterator[Finding]:
    """Yield changes in what a thing keeps between acts of one sort: its recipient, its location."""
    for path in sorted(paths):
        last: dict[Hashable, Any] = {}
        seen: list[Observation] = []
        usual: dict[int, Any] = {}
        for act in acts:
            value = act.values.get(path)
            if value is None or value in act.things:
                continue
            known = next((last[thing] for thing in act.things if thing in last), None)
            if known is not None:
                seen.append(Observation(act, value != known))
                usual[act.place] = known
            last.update(dict.fromkeys(act.things, value))
        if len(seen) >= MIN_SEEN and len({each.act.values[path] for each in seen}) > 1:
            for each in scan_rare("not kept", f"{label}: {path}", seen):
                each.usual, each.found = usual[each.first.place], each.first.values[path]
                yield each
