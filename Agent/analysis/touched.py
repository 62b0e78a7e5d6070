"""Whether those whom something happened to change from there on, beside those whom it did not happen to.

`suspicion` asks it of matters that touch some agents of a role and leave others alone, where the text names
nobody: what a part of all does otherwise shows in no mean of all.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from typing import Final

from Agent.analysis.courses import Courses, Key
from Agent.analysis.series import spread

__all__ = ["chance_beside_untouched"]

MIN_TOUCHED: Final = 2
"""One alone parts from the others somewhere as a rule, whatever happened to it."""
MIN_UNTOUCHED: Final = 3
MAX_MEMBERS: Final = 60
_MIN_STEPS: Final = 3
_OUTCOMES: Final = ("result", "reward", "value", "failed", "exploration", "action_selected")


def chance_beside_untouched(
    courses: Courses, touched: Collection[str], role: str, step: int, sort: tuple[str, str]
) -> float:
    """How often chance alone parts the touched agents of a role so far from the others from a step on.

    The least chance of all outcomes, times their number; 1 where there are too few of either. What is done
    in events of `sort`, kind and label, is no outcome.
    """
    others = spread([agent for agent in courses.members.get(role, []) if agent not in touched], MAX_MEMBERS)
    if len(touched) < MIN_TOUCHED or len(others) < MIN_UNTOUCHED:
        return 1.0
    chances = []
    for name in {name for agent in touched for name in courses.tracks.get(agent, {})}:
        if name[:2] == sort or not (len(name) == 2 or name[2].startswith(_OUTCOMES)):
            continue
        measure = "count" if len(name) == 2 else "mean"
        moved = [_move(courses, agent, (*name, measure), step) for agent in touched]
        beside = [_move(courses, agent, (*name, measure), step) for agent in others]
        one, two = [m for m in moved if m is not None], [m for m in beside if m is not None]
        if len(one) >= max(MIN_TOUCHED, len(touched) / 2) and len(two) >= MIN_UNTOUCHED:
            chances.append(_chance(one, two))
    return min(1.0, min(chances, default=1.0) * len(chances))


def _move(courses: Courses, agent: str, key: Key, step: int) -> float | None:
    """How far the mean of a course after a step is from the one before it."""
    course = courses.of(agent, key)
    before = [value for at, value in course.items() if at < step]
    after = [value for at, value in course.items() if at > step]
    if min(len(before), len(after)) < _MIN_STEPS:
        return None
    return statistics.fmean(after) - statistics.fmean(before)


def _chance(touched: Sequence[float], others: Sequence[float]) -> float:
    """Student's test of two means."""
    freedom = len(others) + len(touched) - 2
    squares = sum((each - statistics.fmean(side)) ** 2 for side in (touched, others) for each in side)
    error = math.sqrt(squares / freedom * (1 / len(touched) + 1 / len(others)))
    difference = abs(statistics.fmean(touched) - statistics.fmean(others))
    if difference == 0 or not math.isfinite(difference):
        return 1.0
    z = difference / max(error, 1e-3 * difference)
    return math.erfc(math.sqrt(freedom * math.log1p(z * z / freedom) / 2))
