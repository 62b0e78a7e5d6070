"""Values that continue from the last one, and pairs that come once: a lost update, a double, a stale read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from itertools import combinations
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import Act, Log
from Agent.analysis.debug.root_causes.detectors.values import is_number
from Agent.analysis.debug.root_causes.scan import MAX_LEVELS, Finding, Observation, scan_rare

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
        yield from _goes_on(label, acts)
        yield from _once(label, acts)
        yield from _steps(label, acts)
        yield from _goes_back(label, acts)
        yield from _keeps(label, acts)
        yield from _stuck(label, acts)


def _owners(acts: list[Act]) -> list[str]:
    """Fields whose levels may have a value of their own; "" stands for the agent."""
    levels: dict[str, set[Any]] = defaultdict(set)
    for act in acts:
        for path, value in act.values.items():
            if isinstance(value, str) and len(levels[path]) <= 4 * MAX_LEVELS:
                levels[path].add(value)
    return ["", *(path for path, values in levels.items() if 2 <= len(values) <= 4 * MAX_LEVELS)][:4]


def _goes_on(label: str, acts: list[Act]) -> Iterator[Finding]:
    """What is replaced is what was set last."""
    for owner in _owners(acts):
        for path in {path for act in acts for path in act.before if path in act.values}:
            last: dict[Hashable, Any] = {}
            seen: list[Observation] = []
            for act in acts:
                key = act.values.get(owner) if owner else act.agent
                if path not in act.before:
                    continue
                if key in last:
                    seen.append(Observation(act, last[key][0] != act.before[path]))
                last[key] = (act.values.get(path), act)
            if len(seen) >= MIN_ACTS:
                yield from scan_rare("does not go on", f"{label}: {path}", seen, base=STRICT)


def _once(label: str, acts: list[Act]) -> Iterator[Finding]:
    """Values, or pairs of values, that are never said twice."""
    distinct: dict[str, set[Hashable]] = defaultdict(set)
    there: Counter[str] = Counter()
    for act in acts:
        for path, value in act.values.items():
            if isinstance(value, str | int) and not isinstance(value, bool):
                distinct[path].add(value)
                there[path] += 1
    paths = [path for path in distinct if there[path] >= 0.8 * len(acts) and len(distinct[path]) > 1]
    unique: set[str] = set()
    for path in paths:
        if len(distinct[path]) >= 0.9 * there[path]:
            unique.add(path)
            yield from _doubles(label, acts, (path,))
    others = [path for path in paths if path not in unique]
    pairs = sorted(combinations(others, 2), key=lambda pair: -len(distinct[pair[0]]) * len(distinct[pair[1]]))
    for pair in pairs[:MAX_PAIRS]:
        both = {(act.values.get(pair[0]), act.values.get(pair[1])) for act in acts}
        if len(both) >= 0.97 * len(acts) and len(distinct[pair[0]]) * len(distinct[pair[1]]) < 3 * len(acts):
            yield from _doubles(label, acts, pair)


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


def _steps(label: str, acts: list[Act]) -> Iterator[Finding]:
    """Numbers that go up by the same amount each time, by owner."""
    for owner in _owners(acts):
        for path in {path for act in acts for path, value in act.values.items() if is_number(value)}:
            last: dict[Hashable, float] = {}
            gaps: list[tuple[Act, float]] = []
            for act in acts:
                value = act.values.get(path)
                if value is None or not is_number(value):
                    continue
                key = act.values.get(owner) if owner else act.agent
                if key in last:
                    gaps.append((act, round(value - last[key], 6)))
                last[key] = value
            counts = Counter(gap for _, gap in gaps)
            if len(gaps) < MIN_ACTS or len(counts) < 2:
                continue
            usual, often = counts.most_common(1)[0]
            if often >= 0.8 * len(gaps) and usual != 0:
                seen = [Observation(act, gap != usual) for act, gap in gaps]
                yield from scan_rare("step breaks", f"{label}: {path}", seen, base=STRICT)


def _goes_back(label: str, acts: list[Act]) -> Iterator[Finding]:
    """Numbers that only ever rise, as versions and sequence numbers do, by owner or for all."""
    paths = {path for act in acts for path, value in act.values.items() if is_number(value)}
    for owner in [*_owners(acts), ALL]:
        for path in sorted(paths):
            last: dict[Hashable, float] = {}
            seen: list[Observation] = []
            rises = 0
            for act in acts:
                value = act.values.get(path)
                if not is_number(value):
                    continue
                key = None if owner == ALL else act.values.get(owner) if owner else act.agent
                if key in last:
                    seen.append(Observation(act, value < last[key]))
                    rises += value > last[key]
                last[key] = max(value, last.get(key, value))
            falls = sum(each.value for each in seen)
            # after the first fall of a group it may stay below its highest for good
            if rises >= max(MIN_RISES, MAX_FALLS * len(seen)) and 0 < falls <= MAX_FALLS * len(seen):
                yield from scan_rare("goes back", f"{label}: {path}", seen, most=MAX_FALLS, base=STRICT)


ALL: Final = "@all"
MIN_RISES: Final = 3
MAX_FALLS: Final = 0.25


def _keeps(label: str, acts: list[Act]) -> Iterator[Finding]:
    """What a thing keeps from one act to the next of that sort: to whom it goes, where it lies."""
    for path in sorted(_owners(acts)[1:]):
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


def _stuck(label: str, acts: list[Act]) -> Iterator[Finding]:
    """Numbers that are new each time, and then are not."""
    for path in sorted({path for act in acts for path, value in act.values.items() if is_number(value)}):
        last: dict[str, float] = {}
        seen: list[Observation] = []
        for act in acts:
            value = act.values.get(path)
            if is_number(value):
                if act.agent in last:
                    seen.append(Observation(act, value == last[act.agent]))
                last[act.agent] = value
        if len(seen) >= MIN_ACTS:
            # two readings are the same by chance now and then
            found = scan_rare("stuck", f"{label}: {path}", seen, most=MOST, base=STRICT)
            yield from (each for each in found if len(each.acts) >= MIN_STUCK)


MOST: Final = 0.65
MIN_STUCK: Final = 4
