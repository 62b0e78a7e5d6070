"""Measure how unusual the values of an event are among those of its sort.

Texts by how rare they are, numbers by rank and by ratio: a number is compared with the one that it replaces,
the previous one of its agent and thing, those just before and after it, all of its field, and those of its
list.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeGuard

from Agent.analysis.debug.root_causes.acts import Act, is_number

__all__ = ["NumberContrast", "ValueRarity", "number_contrasts", "value_rarity"]

MIN_VALUES: Final = 3
FEW_VALUES: Final = 0.3
"""A field with more distinct values for each event identifies: none of its values is rare."""
MIN_NUMBERS: Final = 5
HUGE: Final = 1e150
"""Larger numbers have no distances that a float holds."""


class ValueRarity(NamedTuple):
    """How unusual the values of an event are among those of its sort."""

    rare_value: float = 0.0
    """Nats of its rarest value, beyond the mean of the field."""
    rare_second: float = 0.0
    """The same of the next one."""
    tail: float = 0.0
    """Log of 1 / the share of numbers that lie at least so far out by rank."""
    beyond: float = 0.0
    """Log of 1 + the distance from the median, in units of that to the outer tenths."""


def value_rarity(acts: Sequence[Act]) -> dict[int, ValueRarity]:
    """Return {place: how unusual the values are} of all events of one sort."""
    fields: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for act in acts:
        for path, value in act.values.items():
            fields[path].append((act.place, value))
    rare: dict[int, list[float]] = defaultdict(list)
    tail: dict[int, float] = defaultdict(float)
    beyond: dict[int, float] = defaultdict(float)
    for held in fields.values():
        # As dict keys True and 1 are equal.
        counts = Counter(str(value) for _, value in held)
        number = len(held)
        if number < MIN_VALUES or len(counts) == 1:
            continue
        if len(counts) <= max(MIN_VALUES, FEW_VALUES * number):
            usual = -sum(times / number * math.log(times / number) for times in counts.values())
            for place, value in held:
                rare[place].append(-math.log(counts[str(value)] / number) - usual)
        numbers = [(place, value) for place, value in held if is_number(value) and abs(value) < HUGE]
        if len(numbers) >= MIN_NUMBERS and len(counts) > MIN_VALUES:
            for place, by_rank, by_distance in _outlying(numbers):
                tail[place] = max(tail[place], by_rank)
                beyond[place] = max(beyond[place], by_distance)
    return {
        place: _rarity(rare.get(place, ()), tail[place], beyond[place])
        for place in (act.place for act in acts)
    }


def _rarity(rare: Sequence[float], tail: float, beyond: float) -> ValueRarity:
    first, second = sorted([*rare, 0.0, 0.0], reverse=True)[:2]
    return ValueRarity(first, second, tail, beyond)


def _outlying(numbers: Sequence[tuple[int, int | float]]) -> Iterator[tuple[int, float, float]]:
    """Yield (place, how far in the tail by rank, by distance) of each number."""
    ordered = sorted(value for _, value in numbers)
    size = len(ordered)
    middle, low, high = ordered[size // 2], ordered[size // 10], ordered[-1 - size // 10]
    spread = max(high - middle, middle - low, 1e-9 * abs(middle), 1e-12)
    for place, value in numbers:
        below = bisect_left(ordered, value)
        outside = min(below, size - 1 - below)
        yield place, math.log((size + 1) / (2 * outside + 1)), math.log1p(abs(value - middle) / spread)


MAX_RATIO: Final = 6.0
"""Cap on the log of a ratio: a factor of 400."""
OTHER_SIGN: Final = 1.5
"""Added where two numbers differ in sign."""
MAX_SPREADS: Final = 20.0
BESIDE: Final = 3
"""How many numbers before, and after, are around one; a list with so many has a usual one."""
LEAST_SPREAD: Final = 0.05


@dataclass(slots=True)
class NumberContrast:
    """How far the numbers of an event are from others: logs of ratios, of the number that is furthest."""

    replaced: float = 0.0
    """From the value that it replaces."""
    previous: float = 0.0
    """From the previous one in its field by the same agent about the same thing."""
    previous_rank: float = 0.0
    """Log of 1 / the share of events of its sort whose number moved as far."""
    usual: float = 0.0
    """From the median of its field."""
    spreads: float = 0.0
    """The same in units of the spread of the field."""
    around: float = 0.0
    """From the median of the numbers just before and after in its field, whoever did them."""
    around_rank: float = 0.0
    """Log of 1 / the share of events whose number is as far from those around it."""
    listed: float = 0.0
    """From the median of the numbers of its list or dict."""


def number_contrasts(acts: Sequence[Act]) -> dict[int, NumberContrast]:
    """Return {place: how far its numbers are from others} of all events of one sort."""
    found: dict[int, NumberContrast] = {}
    columns: dict[str, list[tuple[int, float]]] = defaultdict(list)
    moved: dict[str, list[tuple[int, float]]] = defaultdict(list)
    latest: dict[tuple[Any, ...], float] = {}
    for act in acts:
        held = {path: value for path, value in act.values.items() if _is_finite(value)}
        own = found[act.place] = NumberContrast(listed=_from_its_list(held))
        for path, value in held.items():
            columns[path].append((act.place, value))
            key = path, act.agent, *act.things[:1]
            if key in latest:
                moved[path].append((act.place, _ratio(value, latest[key])))
            latest[key] = value
            replaced = act.before.get(path)
            if _is_finite(replaced):
                own.replaced = max(own.replaced, _ratio(value, replaced))
    for ratios in moved.values():
        for place, ratio, rank in _ranked(ratios):
            own = found[place]
            own.previous, own.previous_rank = max(own.previous, ratio), max(own.previous_rank, rank)
    for numbers in columns.values():
        if len({value for _, value in numbers}) == 1:
            continue  # as far from all others: zero
        for place, ratio, rank in _ranked(_from_around(numbers)):
            own = found[place]
            own.around, own.around_rank = max(own.around, ratio), max(own.around_rank, rank)
        for place, ratio, spreads in _from_usual(numbers):
            own = found[place]
            own.usual, own.spreads = max(own.usual, ratio), max(own.spreads, spreads)
    return found


def _is_finite(value: object) -> TypeGuard[int | float]:
    return is_number(value) and abs(value) < HUGE


def _ratio(one: float, other: float) -> float:
    """Return the log of the ratio of two numbers; of zero and another, one that grows with that."""
    if one == other:
        return 0.0
    if not one or not other:
        return min(MAX_RATIO, 1 + math.log1p(abs(one or other))) / 2
    ratio = abs(math.log(abs(one)) - math.log(abs(other)))
    return min(MAX_RATIO, ratio + (OTHER_SIGN if (one < 0) != (other < 0) else 0.0))


def _from_its_list(held: Mapping[str, float]) -> float:
    """Return how far a number is from the median of those in its list or dict, at most."""
    lists: dict[str, list[float]] = defaultdict(list)
    for path, value in held.items():
        if value:
            lists[path.rpartition("." if "." in path else "[")[0]].append(math.log(abs(value)))
    furthest = 0.0
    for logs in lists.values():
        if len(logs) >= BESIDE:
            median = sorted(logs)[len(logs) // 2]
            furthest = max(furthest, *(abs(each - median) for each in logs))
    return min(MAX_RATIO, furthest)


def _ranked(ratios: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float, float]]:
    """Yield (place, ratio, log of 1 / the share that is as large) of each ratio above zero."""
    ordered, size = sorted(ratio for _, ratio in ratios), len(ratios)
    for place, ratio in ratios:
        if ratio:
            yield place, ratio, math.log((size + 1) / (size - bisect_left(ordered, ratio) + 1))


def _from_around(numbers: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return (place, log of the ratio to the median of those around it) of each number of a field."""
    found, values = [], [value for _, value in numbers]
    for at, (place, value) in enumerate(numbers):
        around = values[max(0, at - BESIDE) : at] + values[at + 1 : at + 1 + BESIDE]
        if len(around) > 1:
            around.sort()
            found.append((place, _ratio(value, around[len(around) // 2])))
    return found


def _from_usual(numbers: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float, float]]:
    """Yield (place, log of the ratio to the median, the same in spreads) of the numbers of a field."""
    logs = [(place, math.log(abs(value))) for place, value in numbers if value]
    if len(logs) < MIN_VALUES:
        return
    ordered, tenth = sorted(each for _, each in logs), len(logs) // 10
    median = ordered[len(ordered) // 2]
    spread = max(ordered[-1 - tenth] - median, median - ordered[tenth], LEAST_SPREAD)
    for place, each in logs:
        far = abs(each - median)
        yield place, min(MAX_RATIO, far), min(MAX_SPREADS, far / spread)
