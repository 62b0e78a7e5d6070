"""Fields of which one decides the other, as a phase its length, and the events in which they part."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import Act, Log, leaf
from Agent.analysis.debug.root_causes.detectors.values import OUTPUTS, is_number
from Agent.analysis.debug.root_causes.scan import Finding, Observation, scan_rare

__all__ = ["find"]

MIN_ACTS: Final = 12
MAX_FIELDS: Final = 14
MAX_LEVELS: Final = 40
HOLDS: Final = 0.75
MOST: Final = 0.65
STRICT: Final = 0.03
"""A relation that was broken more often before is none."""
MIN_LEVEL: Final = 5


def find(log: Log) -> Iterator[Finding]:
    """Violations of what one field says of another in the same event."""
    for sort, acts in log.by_sort.items():
        if len(acts) < MIN_ACTS:
            continue
        label = sort[2] or sort[1]
        yield from _decided(label, acts)
        yield from _equal(label, acts)
        yield from _agree(label, acts)


def _decided(label: str, acts: list[Act]) -> Iterator[Finding]:
    paths: Counter[str] = Counter(path for act in acts for path in act.values)
    levels = {
        path: len({_key(act.values[path]) for act in acts if path in act.values})
        for path, number in paths.most_common(3 * MAX_FIELDS)
        if number >= 0.5 * len(acts)
    }
    kept = [path for path, number in levels.items() if 2 <= number <= MAX_LEVELS][:MAX_FIELDS]
    deciding = [
        path
        for path in kept
        if not path.startswith("state.")
        and not (path.startswith("result") and any(is_number(act.values.get(path)) for act in acts))
    ]
    agents = {act.agent for act in acts}
    several = 2 <= len(agents) <= MAX_LEVELS
    ofs: list[tuple[str, ...]] = [(path,) for path in deciding]
    if several:
        ofs += [
            ("@agent",),
            *(("@agent", path) for path in deciding if levels[path] * len(agents) <= len(acts) / 4),
        ]
    tried = math.log(max(1, len(ofs) * len(kept)))
    for of in ofs:
        for path in kept:
            if path in of or any(leaf(path) == leaf(each) for each in of):
                continue
            for each in _parting(label, acts, of, path):
                each.nats -= tried
                yield each


def _parting(label: str, acts: list[Act], of: tuple[str, ...], path: str) -> Iterator[Finding]:
    """Acts whose value is not the one that the level had most often until then."""
    by_level: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)
    commonest: dict[Hashable, Hashable] = {}
    number: Counter[Hashable] = Counter()
    usual: dict[int, Hashable] = {}
    seen: list[Observation] = []
    plain = 0
    for act in acts:
        level = tuple(_of(act, each) for each in of)
        if path not in act.values or None in level:
            continue
        value = _key(act.values[path])
        if number[level] >= MIN_LEVEL:
            expected = commonest[level]
            seen.append(Observation(act, value != expected))
            plain += value != commonest[_ALL]
            usual[act.place] = expected
        for key in (level, _ALL):
            counts = by_level[key]
            counts[value] += 1
            number[key] += 1
            if key not in commonest or counts[value] > counts[commonest[key]]:
                commonest[key] = value
    broken = sum(each.value for each in seen)
    # it has to say more than the commonest value of all does
    if len(seen) < MIN_ACTS or not broken or broken > MOST * len(seen) or broken > 0.7 * plain:
        return
    told = " and ".join(each.lstrip("@") for each in of)
    for each in scan_rare("dependency broken", f"{label}: {path} by {told}", seen, most=MOST, base=STRICT):
        each.usual, each.found = usual[each.first.place], each.first.values[path]
        yield each


_ALL: Final = "all"


def _of(act: Act, path: str) -> Hashable:
    return act.agent if path == "@agent" else _key(act.values[path]) if path in act.values else None


def _key(value: Any) -> Hashable:
    return round(value, 6) if isinstance(value, float) else value


def _equal(label: str, acts: list[Act]) -> Iterator[Finding]:
    """Numbers or names that are equal, or a fixed amount apart, in nearly every event."""
    both: dict[str, list[Any]] = {}
    for path in Counter(path for act in acts for path in [*act.values, *(f"<{p}" for p in act.before)]):
        got = [act.before.get(path[1:]) if path[0] == "<" else act.values.get(path) for act in acts]
        there = [value for value in got if value is not None]
        if len(there) >= 0.5 * len(acts) and len({_key(value) for value in there}) > 5:
            both[path] = got
    paths = list(both)[:MAX_FIELDS]
    for n, one in enumerate(paths):
        for other in paths[n + 1 :]:
            gaps: list[tuple[Act, Any]] = []
            for act, a, b in zip(acts, both[one], both[other], strict=True):
                if a is None or b is None:
                    continue
                if is_number(a) and is_number(b):
                    gaps.append((act, round(b - a, 6)))
                elif isinstance(a, str) and isinstance(b, str):
                    gaps.append((act, a == b))
            counts = Counter(gap for _, gap in gaps)
            if len(gaps) < MIN_ACTS or len(counts) < 2:
                continue
            usual, often = counts.most_common(1)[0]
            if often < HOLDS * len(gaps) or usual is False:
                continue
            seen = [Observation(act, gap != usual) for act, gap in gaps]
            for each in scan_rare("amounts part", f"{label}: {one} and {other}", seen, base=STRICT):
                each.usual = usual
                yield each


def _agree(label: str, acts: list[Act]) -> Iterator[Finding]:
    """Answers to one question in one step, which are the same whoever asks."""
    asked: dict[Hashable, list[Act]] = defaultdict(list)
    for act in acts:
        question = tuple(
            (path, _key(value))
            for path, value in act.values.items()
            if not path.startswith(OUTPUTS) and "~" not in path
        )
        if question:
            asked[act.step, question].append(act)
    groups = [group for group in asked.values() if len({act.agent for act in group}) >= MIN_ASKED]
    if len(groups) < MIN_GROUPS:
        return
    for path in sorted({path for act in acts for path in act.values if path.startswith(OUTPUTS[0])}):
        seen: list[Observation] = []
        usual: dict[int, Any] = {}
        for group in groups:
            told = Counter(_key(act.values.get(path)) for act in group)
            common, often = told.most_common(1)[0]
            if 2 * often > len(group):
                for act in group:
                    seen.append(Observation(act, _key(act.values.get(path)) != common))
                    usual[act.place] = common
        seen.sort(key=lambda each: each.act.place)
        for each in scan_rare("answers differ", f"{label}: {path}", seen, most=0.1):
            each.usual, each.found = usual[each.first.place], each.first.values.get(path)
            yield each


MIN_ASKED: Final = 3
MIN_GROUPS: Final = 3
