"""Where what came now and then begins to come thick and fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["dense_from"]

_DENSE: Final = 1.3
_DENSEST: Final = 4.0


def dense_from(steps: Sequence[int], count: int) -> int:
    """The place from which on what came now and then comes thick and fast; 0 where it always did.

    The stretch whose excess over the usual rate is the largest.
    """
    usual = _DENSE * len(steps) / count
    best = excess = 0.0
    begin = best_begin = 0
    for place, step in enumerate(steps):
        gap = usual * (step - steps[place - 1]) if place else 0.0
        if excess - gap <= 0:
            excess, begin = 0.0, place
        else:
            excess -= gap
        excess += 1
        if excess > best:
            best, best_begin = excess, begin
    return best_begin if best >= max(_DENSEST, 0.3 * len(steps)) and best_begin < 0.5 * len(steps) else 0
