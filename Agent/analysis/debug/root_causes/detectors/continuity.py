"""Values that continue from the last one, and pairs that come once: a lost update, a double, a stale read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from itertools import combinations
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import MAX_LEVELS, Act, Column, Log, columns_of
from Agent.analysis.debug.root_causes.scan import Finding, Observation, scan_rare

__all__ = ["find"]

MIN_ACTS: Final = 12
MAX_PAIRS: Final = 12
STRICT: Final = 0.03


def find(log: Log) -> Iterator[Finding]:
    """Violations of continuity and of uniqueness."""
    for sort, acts in log.by_sort.items():
        if len(acts) < MIN_ACTS:
            continue
        label = sort[2] or sort[1]
        columns = columns_of(acts)
        owners = _owners(columns)
        yield from _goes_on(label, acts, columns, owners)
        yield from _once(label, acts, columns)
        yield from _moves(label, acts, columns, owners)
        yield from _keeps(label, acts, owners)


def _owners(columns: dict[str, Column]) -> list[str]:
    """Fields whose levels may have a value of their own; "" stands for the agent."""
    found = [""]
    for path, column in columns.items():
        levels = {value for value in column.values if isinstance(value, str)}
        if 2 <= len(levels) <= 4 * MAX_LEVELS:
            found.append(path)
    return found[:4]


def _keys(acts: list[Act], owner: str) -> list[Hashable]:
    """Of each act whose value it is."""
    if owner == ALL:
        return [None] * len(acts)
    return [act.values.get(owner) for act in acts] if owner else [act.agent for act in acts]


def _goes_on(label: str, acts: list[Act], columns: dict[str, Column], owners: list[str]) -> Iterator[Finding]:
    """What is replaced is what was set last."""
    replaced = columns_of(acts, before=True)
    for owner in owners:
        keys = _keys(acts, owner)
        for path, column in replaced.items():
            if path not in columns:
                continue
            last: dict[Hashable, Any] = {}
            seen: list[Observation] = []
            for at, old in zip(*column, strict=True):
                act, key = acts[at], keys[at]
                if key in last:
                    seen.append(Observation(act, last[key] != old))
                last[key] = act.values.get(path)
            if len(seen) >= MIN_ACTS:
                yield from scan_rare("does not go on", f"{label}: {path}", seen, base=STRICT)


def _once(label: str, acts: list[Act], columns: dict[str, Column]) -> Iterator[Finding]:
    """Values, or pairs of values, that are never said twice."""
    distinct: dict[str, int] = {}
    unique: set[str] = set()
    for path, column in columns.items():
        values = [value for value in column.values if isinstance(value, str | int) and value is not True]
        number = len(set(values))
        if len(values) < 0.8 * len(acts) or number <= 1:
            continue
        distinct[path] = number
        if number >= 0.9 * len(values):
            unique.add(path)
            yield from _doubles(label, acts, (path,))
    others = [path for path in distinct if path not in unique]
    pairs = sorted(combinations(others, 2), key=lambda pair: -distinct[pair[0]] * distinct[pair[1]])
    for one, other in pairs[:MAX_PAIRS]:
        if distinct[one] * distinct[other] < 0.97 * len(acts):
            break
        if distinct[one] * distinct[other] >= 3 * len(acts):
            continue
        both = {(act.values.get(one), act.values.get(other)) for act in acts}
        if len(both) >= 0.97 * len(acts):
            yield from _doubles(label, acts, (one, other))


def _doubles(label: str, acts: list[Act], paths: tuple[str, ...]) -> Iterator[Finding]:
    said: dict[Hashable, Act] = {}
    seen = []
    firsts: dict[int, Act] = {}
    for act in acts:
        key = tuple(act.values.get(path) for path in paths)
        if None in key:
            continue
        if key in said:
            firsts[act.place] = said[key]
        seen.append(Observation(act, key in said))
        said[key] = act
    half = sum(each.value for each in seen[: len(seen) // 2])
    later = sum(each.value for each in seen) - half
    # of values drawn from a large pool three times as many come again in the second half as in the first
    if half + later > 3 and later <= 4 * (half + 0.5) and half <= 2 * (later + 0.5):
        return
    for each in scan_rare("said twice", f"{label}: {' and '.join(paths)}", seen, most=0.1):
        each.extras = tuple(firsts[act.place] for act in each.acts[:3])
        yield each


def _moves(label: str, acts: list[Act], columns: dict[str, Column], owners: list[str]) -> Iterator[Finding]:
    """Numbers that go up by the same amount each time, only ever rise, or are new each time; and then not."""
    numbers = {path: column.numbers() for path, column in sorted(columns.items())}
    numbers = {path: column for path, column in numbers.items() if len(set(column.values)) > 1}
    for owner in [*owners, ALL]:
        keys = _keys(acts, owner)
        for path, (places, values) in numbers.items():
            last: dict[Hashable, float] = {}
            at: list[int] = []
            gaps: list[float] = []
            for place, value in zip(places, values, strict=True):
                key = keys[place]
                if key in last:
                    at.append(place)
                    gaps.append(value - last[key])
                last[key] = value
            if len(gaps) < MIN_ACTS:
                continue
            falls, stays = sum(gap < 0 for gap in gaps), sum(gap == 0 for gap in gaps)
            rises = len(gaps) - falls - stays
            about = f"{label}: {path}"
            if owner != ALL:
                yield from _steps(about, [acts[place] for place in at], gaps)
            if rises >= max(MIN_RISES, MAX_FALLS * len(gaps)) and 0 < falls <= MAX_FALLS * len(gaps):
                yield from _goes_back(about, acts, keys, places, values)
            if not owner and 0 < stays <= MOST * len(gaps):
                seen = [Observation(acts[place], gap == 0) for place, gap in zip(at, gaps, strict=True)]
                # two readings are the same by chance now and then
                found = scan_rare("stuck", about, seen, most=MOST, base=STRICT)
                yield from (each for each in found if len(each.acts) >= MIN_STUCK)


def _steps(about: str, acts: list[Act], gaps: list[float]) -> Iterator[Finding]:
    # where no step is common among the first, none is
    if Counter(gaps[:MANY]).most_common(1)[0][1] < MIN_COMMON * min(MANY, len(gaps)):
        gaps = [round(gap, 6) for gap in gaps]
        if Counter(gaps[:MANY]).most_common(1)[0][1] < MIN_COMMON * min(MANY, len(gaps)):
            return
    gaps = [round(gap, 6) for gap in gaps]
    counts = Counter(gaps)
    usual, often = counts.most_common(1)[0]
    if len(counts) > 1 and often >= 0.8 * len(gaps) and usual != 0:
        seen = [Observation(act, gap != usual) for act, gap in zip(acts, gaps, strict=True)]
        yield from scan_rare("step breaks", about, seen, base=STRICT)


MANY: Final = 60
MIN_COMMON: Final = 0.3


def _goes_back(
    about: str, acts: list[Act], keys: list[Hashable], places: list[int], values: list[Any]
) -> Iterator[Finding]:
    highest: dict[Hashable, float] = {}
    seen: list[Observation] = []
    falls = 0
    for place, value in zip(places, values, strict=True):
        key = keys[place]
        if key in highest:
            fell = value < highest[key]
            falls += fell
            seen.append(Observation(acts[place], fell))
            highest[key] = max(value, highest[key])
        else:
            highest[key] = value
    # after the first fall of a group it may stay below its highest for good
    if falls <= MAX_FALLS * len(seen):
        yield from scan_rare("goes back", about, seen, most=MAX_FALLS, base=STRICT)


ALL: Final = "@all"
MIN_RISES: Final = 3
MAX_FALLS: Final = 0.25


def _keeps(label: str, acts: list[Act], owners: list[str]) -> Iterator[Finding]:
    """What a thing keeps from one act to the next of that sort: to whom it goes, where it lies."""
    for path in sorted(owners[1:]):
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
        if len(seen) >= MIN_ACTS and len({each.act.values[path] for each in seen}) > 1:
            for each in scan_rare("not kept", f"{label}: {path}", seen, most=0.1):
                each.usual, each.found = usual[each.first.place], each.first.values[path]
                yield each


MOST: Final = 0.65
MIN_STUCK: Final = 4
