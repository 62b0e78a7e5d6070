"""Compare a session with baselines: sessions of the same program in which all was well.

Values and kinds of events that no baseline has are unusual even if the session has them from its beginning.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import MAX_LEVELS, Log, Sort, is_number
from Agent.analysis.debug.root_causes.detectors.values import columns
from Agent.analysis.debug.root_causes.scan import MAX_NATS, MIN_SEEN, Finding

__all__ = ["UNLIKE", "Baseline"]

UNLIKE: Final = "unlike baseline"
MAY_DIFFER: Final = 0.25
"""Largest share of the distinct values of a field that no baseline has."""
BEYOND: Final = 1.0
"""Numbers outside of the range of the baselines by less than this share of it are of another seed."""


class Baseline:
    """What some sessions have; the argument is their acts."""

    def __init__(self, logs: Sequence[Log]) -> None:
        self._acts = sum(len(log.acts) for log in logs)
        self._kinds = {act.sort[1:] for log in logs for act in log.acts}
        self._values: dict[tuple[Sort, str], Counter[Any]] = defaultdict(Counter)
        """{(sort, path): how often each value occurs}."""
        for log in logs:
            for sort, acts in log.by_sort.items():
                for path, seen in columns(acts, log.roles).items():
                    self._values[sort, path].update(each.value for each in seen)

    def find(self, log: Log) -> list[Finding]:
        """Return the events of a session whose kinds, or values, no baseline has."""
        found = [*self._unlike(log)]
        # Of many that differ from the baselines, each is the less likely to matter.
        many = math.log(max(1, len(found)))
        return [replace(each, nats=each.nats - many) for each in found if each.nats > many]

    def _unlike(self, log: Log) -> Iterator[Finding]:
        for sort, acts in log.by_sort.items():
            label = sort[2] or sort[1]
            if sort[1:] not in self._kinds:
                yield Finding(UNLIKE, label, acts[:1], _rarity(self._acts), of=self._acts)
                continue
            for path, seen in columns(acts, log.roles).items():
                usual = self._values[sort, path]
                number = usual.total()
                odd = [each for each in seen if number >= MIN_SEEN and _is_unlike(each.value, usual)]
                distinct, odd_ones = len({each.value for each in seen}), len({each.value for each in odd})
                # Many values that no baseline has are of another seed.
                if odd and odd_ones <= max(1.0, MAY_DIFFER * distinct):
                    yield Finding(
                        UNLIKE, f"{label} {path}", [each.act for each in odd], _rarity(number), of=number,
                        found=odd[0].value, usual=[value for value, _ in usual.most_common(3)],
                    )  # fmt: skip


def _rarity(number: int) -> float:
    """Return the nats of what happens in none of so many events."""
    return min(MAX_NATS, math.log1p(number))


def _is_unlike(value: Any, usual: Mapping[Any, int]) -> bool:
    """Whether a value is none of few levels, or far beyond the numbers of the baselines."""
    if value in usual:
        return False
    if len(usual) <= MAX_LEVELS:
        return True
    numbers = [each for each in usual if is_number(each)]
    if not is_number(value) or 2 * len(numbers) < len(usual):
        return False
    low, high = min(numbers), max(numbers)
    return not low - BEYOND * (high - low) <= value <= high + BEYOND * (high - low)
