"""What all calls that fail say and none that succeeds does: where it was said first, the failures begin.

An answer that no worker can read is tried by one after the other, and each fails. What is odd is not the
tenth failure but the event that brought it in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from Agent.analysis.deeds import Deed, Sort
from Agent.analysis.leaves import leaves

__all__ = ["Contrast", "contrasts"]

MIN_FAILED: Final = 3
MIN_OTHERS: Final = 8
_GIVEN: Final = ("args", "arguments", "action_data", "body")
_CALLS: Final = frozenset({"agent_action", "tool.call"})


class Contrast(NamedTuple):
    """A value that only failing calls say: how often chance leaves so many of them among the failed."""

    value: Any
    calls: tuple[int, ...]
    """Places of the failing calls that say it."""
    chance: float


def contrasts(deeds: Sequence[Deed]) -> list[Contrast]:
    """The most telling such value of each sort of call that fails now and then."""
    of_sort: defaultdict[Sort, list[int]] = defaultdict(list)
    failing = {deed.sort for deed in deeds if deed.kind in _CALLS and deed.failed}
    for place, deed in enumerate(deeds):
        if deed.sort in failing:
            of_sort[deed.sort].append(place)
    found = (_of_calls(deeds, places) for places in of_sort.values())
    return [contrast for contrast in found if contrast is not None]


def _of_calls(deeds: Sequence[Deed], places: Sequence[int]) -> Contrast | None:
    failed = [place for place in places if deeds[place].failed]
    # one that was cancelled neither failed nor succeeded
    passed = [p for p in places if not deeds[p].failed and deeds[p].extra.get("outcome") is None]
    if len(failed) < MIN_FAILED or len(passed) < MIN_OTHERS:
        return None
    well = {value for place in passed for value in _given(deeds[place].extra)}
    ill: defaultdict[Any, list[int]] = defaultdict(list)
    for place in failed:
        for value in _given(deeds[place].extra) - well:
            ill[value].append(place)
    # among equals the one that was said in the first call, which is the same in every run
    best = max(ill.items(), key=lambda each: (len(each[1]), -each[1][0], str(each[0])), default=None)
    if best is None or len(best[1]) < MIN_FAILED:
        return None
    value, calls = best
    # while all fail, whatever they are given, the value is not why
    failed_meanwhile = bisect_right(failed, calls[-1]) - bisect_left(failed, calls[0])
    passed_meanwhile = bisect_right(passed, calls[-1]) - bisect_left(passed, calls[0])
    share = failed_meanwhile / (failed_meanwhile + passed_meanwhile)
    tried = sum(len(own) == len(calls) for own in ill.values())
    return Contrast(value, tuple(calls), min(1.0, tried * share ** (len(calls) - 1)))


def _given(extra: Mapping[str, Any]) -> set[Any]:
    """What a call is given: texts, and numbers that are no mere count."""
    said = (pair for pair in leaves(extra, None) if pair[0].startswith(_GIVEN))
    return {
        value
        for path, value in said
        if path[-1] not in "}#~" and ((isinstance(value, str) and len(value) > 1) or type(value) is float)
    }
