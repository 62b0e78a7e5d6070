"""Fields of which one decides the other, as a phase its length, and the events in which they part."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from itertools import combinations
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import Act, Column, Log, columns_of, is_number, leaf
from Agent.analysis.debug.root_causes.detectors.values import OUTPUTS
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
        columns = columns_of(acts)
        yield from _decided(label, acts, columns)
        yield from _equal(label, acts, columns)
        yield from _agree(label, acts)


def _decided(label: str, acts: list[Act], columns: dict[str, Column]) -> Iterator[Finding]:
    often = sorted(columns, key=lambda path: -len(columns[path].at))[: 3 * MAX_FIELDS]
    values = {path: _aligned(columns[path], len(acts)) for path in often if _is_common(columns[path], acts)}
    levels = {path: len({*own} - {None}) for path, own in values.items()}
    kept = [path for path, number in levels.items() if 2 <= number <= MAX_LEVELS][:MAX_FIELDS]
    deciding = [
        path
        for path in kept
        if not path.startswith("state.")
        and not (path.startswith("result") and any(map(is_number, columns[path].values)))
    ]
    agents: list[Hashable] = [act.agent for act in acts]
    number = len(set(agents))
    ofs: list[tuple[str, ...]] = [(path,) for path in deciding]
    if 2 <= number <= MAX_LEVELS:
        ofs.append(("@agent",))
        ofs += [("@agent", path) for path in deciding if levels[path] * number <= len(acts) / 4]
    tried = math.log(max(1, len(ofs) * len(kept)))
    for of in ofs:
        deciders = [agents if path == "@agent" else values[path] for path in of]
        told: list[Hashable] = [None if None in level else level for level in zip(*deciders, strict=True)]
        for path in kept:
            if path in of or any(leaf(path) == leaf(each) for each in of):
                continue
            for each in _parting(label, acts, of, told, path, values[path]):
                each.nats -= tried
                yield each


def _is_common(column: Column, acts: list[Act]) -> bool:
    return len(column.at) >= 0.5 * len(acts)


def _aligned(column: Column, number: int) -> list[Hashable]:
    """The value of each act, None where it says none."""
    if len(column.at) == number:
        return [_key(value) for value in column.values]
    found: list[Hashable] = [None] * number
    for at, value in zip(*column, strict=True):
        found[at] = _key(value)
    return found


def _parting(
    label: str,
    acts: list[Act],
    of: tuple[str, ...],
    levels: list[Hashable],
    path: str,
    values: list[Hashable],
) -> Iterator[Finding]:
    """Acts whose value is not the one that the level had most often until then."""
    if not _may_decide(levels, values):
        return
    by_level: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)
    commonest: dict[Hashable, Hashable] = {}
    number: Counter[Hashable] = Counter()
    usual: dict[int, Hashable] = {}
    seen: list[Observation] = []
    plain = 0
    for act, level, value in zip(acts, levels, values, strict=True):
        if level is None or value is None:
            continue
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


def _may_decide(levels: list[Hashable], values: list[Hashable]) -> bool:
    """Whether the commonest value of each level says more than that of all, and not all."""
    both = Counter(zip(levels, values, strict=True))
    most: dict[Hashable, int] = {}
    whole: Counter[Hashable] = Counter()
    for (level, value), number in both.items():
        if level is not None and value is not None:
            most[level] = max(most.get(level, 0), number)
            whole[value] += number
    parting = whole.total() - sum(most.values())
    return bool(whole) and 0 < parting <= MAY_PART * (whole.total() - max(whole.values()))


MAY_PART: Final = 0.8
_ALL: Final = "all"


def _key(value: Any) -> Hashable:
    return round(value, 6) if isinstance(value, float) else value


def _equal(label: str, acts: list[Act], columns: dict[str, Column]) -> Iterator[Finding]:
    """Numbers or names that are equal, or a fixed amount apart, in nearly every event."""
    replaced = {f"<{path}": column for path, column in columns_of(acts, before=True).items()}
    both = {
        path: _aligned(column, len(acts))
        for path, column in [*columns.items(), *replaced.items()]
        if _is_common(column, acts) and len(set(map(_key, column.values))) > MIN_DISTINCT
    }
    for one, other in combinations([*both][:MAX_FIELDS], 2):
        pairs = list(zip(acts, both[one], both[other], strict=True))
        # what does not hold in many of the first does not hold
        first = Counter(gap for _, gap in _gaps(pairs[:MANY]))
        if first and first.most_common(1)[0][1] < MAY_HOLD * first.total():
            continue
        gaps = list(_gaps(pairs))
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


def _gaps(pairs: Iterable[tuple[Act, Any, Any]]) -> Iterator[tuple[Act, Any]]:
    """How far two numbers of an event are apart, or whether two texts are the same."""
    for act, a, b in pairs:
        if is_number(a) and is_number(b):
            yield act, round(b - a, 6)
        elif isinstance(a, str) and isinstance(b, str):
            yield act, a == b


MIN_DISTINCT: Final = 5
MANY: Final = 100
MAY_HOLD: Final = 0.4


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
    answers = _answers(groups)
    for path in sorted(answers):
        seen: list[Observation] = []
        usual: dict[int, Any] = {}
        alike = 0
        for given in answers[path]:
            common, often = Counter(value for _, value in given).most_common(1)[0]
            if 2 * often > len(given):
                alike += 1
                for act, value in given:
                    seen.append(Observation(act, value != common))
                    usual[act.place] = common
        # where answers differ as a rule there is no rule
        if alike < max(MIN_GROUPS, HOLDS * len(answers[path])):
            continue
        seen.sort(key=lambda each: each.act.place)
        for each in scan_rare("answers differ", f"{label}: {path}", seen, most=0.1):
            each.usual, each.found = usual[each.first.place], each.first.values.get(path)
            yield each


def _answers(groups: list[list[Act]]) -> dict[str, list[list[tuple[Act, Hashable]]]]:
    """{path of a result: what each group says under it}."""
    found: dict[str, list[list[tuple[Act, Hashable]]]] = defaultdict(list)
    for group in groups:
        told: dict[str, list[tuple[Act, Hashable]]] = defaultdict(list)
        for act in group:
            for path, value in act.values.items():
                if path.startswith(OUTPUTS[0]):
                    told[path].append((act, _key(value)))
        for path, given in told.items():
            if len(given) >= MIN_ASKED:
                found[path].append(given)
    return found


MIN_ASKED: Final = 3
MIN_GROUPS: Final = 3
