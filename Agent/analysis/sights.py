"""What was odd at first sight, judged again in the light of all that came later."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from Agent.analysis.habits import AGAIN, BEYOND, LEAP, OTHER_SORT, Habit, Oddity, kind_of
from Agent.analysis.orders import CIRCLE, SAME, UPON

__all__ = ["FAILING", "PASSING", "TELLING", "Odd", "Sight", "bursts", "settled", "significance", "worth"]

FAILING: Final = "only what fails"
"""The path of a value that only failing calls say."""
PASSING: Final = ("after", UPON, CIRCLE, SAME)
"""Paths of what is no value that stays: each time counts."""
TELLING: Final = 0.3
"""A chance above this is nothing odd."""


class Odd(NamedTuple):
    """The oddest thing that an event says: where, what, how unlike, and by how much that is worth."""

    chance: float
    path: str
    value: Any
    oddity: Oddity
    said: int = 0
    """How often such a value is said in all; 0 where that is not counted."""


def significance(odd: Odd) -> float:
    """What the oddest of several is picked by: the less, the odder."""
    return max(odd.chance, _LEAST) / worth(odd.path)


class Sight(NamedTuple):
    """An oddity as it was seen: of which habit, how far the value moved, how many exceptions there were."""

    odd: Odd
    habit: Habit
    moved: float | None
    times: tuple[int, int] | None
    """So many exceptions of so many values; None where all values were known."""

    @property
    def of(self) -> tuple[int, str]:
        """The habit that was broken, and how."""
        return id(self.habit), self.odd.oddity.sort


def settled(sight: Sight, moments: int) -> Odd:
    """The chance of an oddity in the light of what came later.

    A leap that comes again and again is how the value moves; an exception that comes at several moments, and
    as often later as it could have come before, is none.
    """
    odd, habit, moved, times = sight
    chance = odd.chance
    if odd.oddity.sort == OTHER_SORT:
        said = habit.kinds.get(kind_of(odd.value), [])
        moments = max(moments, bursts(step for step, _ in said))
    if odd.oddity.sort in {LEAP, BEYOND}:
        if moved is not None:
            again = bursts(step for distance, step in habit.leaps if distance >= 0.5 * moved)
            if again > _OFTEN:
                chance = max(chance, TELLING)
            elif again > 1:
                chance = max(chance, again / max(1, habit.count))
    elif times is not None and (moments > 1 or not habit.still_holds(odd.oddity)):
        so_far, seen = times
        every, of = habit.times(odd.oddity, odd.value)
        # that one of few names comes again is the likelier, the more came before
        before = every * (seen / of) ** (2 if odd.oddity.sort == AGAIN else 1)
        share = moments / of if habit.still_holds(odd.oddity) else 1.0
        chance = max(chance, min(share, _at_most(so_far, before)))
    return odd._replace(chance=min(1.0, chance), said=habit.count)


def _at_most(count: int, mean: float) -> float:
    """The chance of that many or fewer where so many are usual."""
    if count > _COMMON or mean <= 0:
        return 1.0
    logs = (n * math.log(mean) - mean - math.lgamma(n + 1) for n in range(count + 1))
    return min(1.0, math.fsum(map(math.exp, logs)))


_COMMON: Final = 30
_OFTEN: Final = 3
_LEAST: Final = 1e-4


def worth(path: str) -> float:
    """How much an odd value says of a cause: what is given to a call all, what comes of it less."""
    if path.startswith("result"):
        return 0.3
    if path.startswith("state."):
        return 0.4
    if path in {"after", "failed"}:
        return 0.3
    if path.startswith(UPON):
        return 0.5
    return 0.16 if path in {"reward", "value"} else 1.0


def bursts(steps: Iterable[int]) -> int:
    """How many moments some steps are: neighbours are one, up to three."""
    count, begin = 0, -_MOMENT
    before = begin
    for step in sorted(set(steps)):
        if step - before > 1 or step - begin >= _MOMENT:
            count += 1
            begin = step
        before = step
    return count


_MOMENT: Final = 3
