"""Detect unusual values: new ones, numbers out of range, round ones, and ones that drift."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Final

from Agent.analysis.debug.root_causes.acts import Act, Log, is_number
from Agent.analysis.debug.root_causes.constants import BY_CHANCE, FEW, MAY_STAY, MIN_SEEN, SELDOM
from Agent.analysis.debug.root_causes.scan import (
    Finding,
    Observation,
    onset,
    scan_beyond,
    scan_drifts,
    scan_novel,
    scan_rare,
)

__all__ = ["find"]


def find(log: Log) -> Iterator[Finding]:
    """Yield values that depart from the baseline."""
    for sort, acts in log.by_sort.items():
        if len(acts) < 3 or sort[1] == "state":
            continue
        for path, seen in columns(acts, log.roles).items():
            label = f"{sort[2] or sort[1]} {path}"
            if path.startswith("error_"):
                continue
            distinct = {each.value for each in seen}
            if len(distinct) == 1:
                continue
            numbers = seen if _all_numbers(seen) else [each for each in seen if is_number(each.value)]
            if len(numbers) > (1 - SELDOM) * len(seen):
                yield from scan_beyond("value beyond range", label, numbers)
                if len(numbers) >= MIN_SEEN and not path.endswith("#"):
                    yield from _rounded(label, numbers)
                if len(distinct) >= FEW and "*" not in path:
                    yield from scan_drifts("drifts", label, numbers)
            elif path == "failed":
                yield from scan_rare("fails", sort[2] or sort[1], seen, most=MAY_STAY, base=BY_CHANCE)
            elif len(seen) >= MIN_SEEN:
                yield from scan_novel("new value", label, seen)
        # A call that lacks a field explains why it fails.
        paths = [
            Observation(act, tuple(sorted(path for path in act.values if "[" not in path))) for act in acts
        ]
        yield from scan_novel("fields differ", sort[2] or sort[1], paths)


def columns(acts: list[Act], agents: Collection[str]) -> dict[str, list[Observation]]:
    """Return {path: observations}; a replaced value counts as observed before, agents as keys share one path.

    The items of a list share one path too: their values say more than their positions.
    """
    found: dict[str, list[Observation]] = defaultdict(list)
    plain: dict[str, str] = {}

    def one(path: str) -> str:
        if path not in plain:
            parts = _ITEM.sub("[]", path).split(".")
            plain[path] = ".".join("*" if part in agents else part for part in parts)
        return plain[path]

    for act in acts:
        for path, value in act.before.items():
            if path in act.values:
                found[one(path)].append(Observation(act, value))
        for path, value in act.values.items():
            found[one(path)].append(Observation(act, value))
    return found


_ITEM: Final = re.compile(r"\[[0-9]+\]")


def _rounded(label: str, numbers: list[Observation]) -> Iterator[Finding]:
    """Yield where numbers become round: from there on their last digit has a higher place than before."""
    places = [_last_place(each.value) for each in numbers]
    counts = Counter(place for place in places if place is not None)
    finest = min((place for place, times in counts.items() if times >= FEW), default=None)
    if finest is None or finest == max(counts):
        return
    rounder = [
        Observation(each.act, place is None or place > finest)
        for each, place in zip(numbers, places, strict=True)
    ]
    values = {each.act.place: each.value for each in numbers}
    for each in scan_rare("rounded", label, rounder, most=MAY_STAY, base=BY_CHANCE):
        # One round number that recurs often does not show rounding.
        if len({values[act.place] for act in each.acts}) >= FEW:
            yield onset(each)


def _last_place(value: float) -> int | None:
    """Return the power of ten of the last nonzero digit: -2 for 5.25, 1 for 120; None for zero."""
    if not value or math.isinf(value):
        return None
    return int(Decimal(repr(value)).normalize().as_tuple().exponent)


def _all_numbers(seen: list[Observation]) -> bool:
    return {int, float}.issuperset(type(each.value) for each in seen) and all(
        each.value == each.value for each in seen
    )
