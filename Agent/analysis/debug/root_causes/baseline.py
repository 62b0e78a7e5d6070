"""Compare a session with baselines: sessions of the same program in which all was well.

A deviation that a baseline has as well is everyday, and counts by what it exceeds the one there. Values and
kinds of events that no baseline has are unusual even if the session has them from its beginning.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import MAX_LEVELS, Log, Sort, is_number
from Agent.analysis.debug.root_causes.detectors.values import columns
from Agent.analysis.debug.root_causes.scan import MIN_SEEN, Finding

__all__ = ["UNLIKE", "Baseline"]

UNLIKE: Final = "unlike baseline"
MAX_NATS: Final = 10.0
"""As in `ranking`: a session makes about as many comparisons."""
MAY_DIFFER: Final = 0.25
"""Largest share of the distinct values of a field that no baseline has."""
BEYOND: Final = 1.0
"""Numbers outside of the range of the baselines by less than this share of it are of another seed."""


class Baseline:
    """What is usual in some sessions.

    Args:
        logs: their acts.
        find: returns the findings of one of them.
    """

    def __init__(self, logs: Sequence[Log], find: Callable[[Log], Iterable[Finding]]) -> None:
        self._acts = sum(len(log.acts) for log in logs)
        self._nats: dict[tuple[str, str], float] = defaultdict(float)
        """{(rule, what it is about): nats of the strongest finding}."""
        self._kinds = {act.sort[1:] for log in logs for act in log.acts}
        self._values: dict[tuple[Sort, str], Counter[Any]] = defaultdict(Counter)
        """{(sort, path): how often each value occurs}."""
        for log in logs:
            for each in find(log):
                self._nats[each.rule, each.about] = max(self._nats[each.rule, each.about], each.nats)
            for sort, acts in log.by_sort.items():
                for path, seen in columns(acts, log.roles).items():
                    self._values[sort, path].update(each.value for each in seen)

    def judged(self, log: Log, findings: Sequence[Finding]) -> list[Finding]:
        """Return by what findings of a session exceed those of the baselines, and what these never have."""
        unlike = [*self._unlike(log)]
        # Of many that differ from the baselines, each is the less likely to matter.
        many = math.log(max(1, len(unlike)))
        found = [replace(each, nats=each.nats - many) for each in unlike if each.nats > many]
        for each in findings:
            usual = self._nats[each.rule, each.about]
            if each.nats > usual:
                found.append(replace(each, nats=each.nats - usual))
        return found

    def _unlike(self, log: Log) -> Iterator[Finding]:
        """Yield the first events of kinds, and with values, that no baseline has."""
        for sort, acts in log.by_sort.items():
            label = sort[2] or sort[1]
            if sort[1:] not in self._kinds:
                yield Finding(UNLIKE, label, acts[:1], self._rarity(self._acts), of=self._acts)
                continue
            for path, seen in columns(acts, log.roles).items():
                usual = self._values[sort, path]
                odd = [each for each in seen if usual.total() >= MIN_SEEN and _is_unlike(each.value, usual)]
                distinct, odd_ones = len({each.value for each in seen}), len({each.value for each in odd})
                # Many values that no baseline has are of another seed.
                if odd and odd_ones <= max(1.0, MAY_DIFFER * distinct):
                    yield Finding(
                        UNLIKE, f"{label} {path}", [each.act for each in odd], self._rarity(usual.total()),
                        of=usual.total(), found=odd[0].value,
                        usual=[value for value, _ in usual.most_common(3)],
                    )  # fmt: skip

    @staticmethod
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
