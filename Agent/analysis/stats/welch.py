"""Welch's test: whether two sets of values differ in their mean by more than their spread explains.

B. L. Welch, "The generalization of Student's problem when several different population variances are
involved", Biometrika 34 (1947). `comparison` uses it; nothing here knows of sessions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
_MAX_TERMS = 300
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Welch:
    """The difference of two means (second less first), its interval, and how often chance makes it.

    `chance` is None where there are too few values to tell; the interval then is, too.
    """

    mean_1: float
    mean_2: float
    low: float | None
    high: float | None
    chance: float | None

    @property
    def difference(self) -> float:
        """The second mean less the first."""
        return self.mean_2 - self.mean_1


def welch(first: Sequence[float], second: Sequence[float], level: float = CONFIDENCE) -> Welch:
    """The test on two sets of values; `level` is that of the interval.

    The chance is never below that of the rarest of all ways in which the values could have been dealt to the
    two sets: a few values that happen to be alike prove little, however small their spread.
    """
    n1, n2 = len(first), len(second)
    mean_1 = math.fsum(first) / n1 if n1 else 0.0
    mean_2 = math.fsum(second) / n2 if n2 else 0.0
    if n1 < 2 or n2 < 2:
        return Welch(mean_1, mean_2, None, None, None)
    part_1 = math.fsum((value - mean_1) ** 2 for value in first) / (n1 - 1) / n1
    part_2 = math.fsum((value - mean_2) ** 2 for value in second) / (n2 - 1) / n2
    difference, error = mean_2 - mean_1, math.sqrt(part_1 + part_2)
    if error <= 1e-12 * max(abs(mean_1), abs(mean_2)):
        if abs(difference) <= 1e-12 * max(abs(mean_1), abs(mean_2)):
            return Welch(mean_1, mean_2, difference, difference, 1.0)
        return Welch(mean_1, mean_2, difference, difference, _rarest_deal(n1, n2))
    freedom = (part_1 + part_2) ** 2 / (part_1**2 / (n1 - 1) + part_2**2 / (n2 - 1))
    chance = max(two_sided(difference / error, freedom), _rarest_deal(n1, n2))
    half = _quantile(freedom, level) * error
    return Welch(mean_1, mean_2, difference - half, difference + half, chance)


def _rarest_deal(n1: int, n2: int) -> float:
    """Two of all ways to deal the values to the two sets: those in which one holds the largest."""
    return min(1.0, 2.0 * math.exp(math.lgamma(n1 + 1) + math.lgamma(n2 + 1) - math.lgamma(n1 + n2 + 1)))


def two_sided(t: float, freedom: float) -> float:
    """The chance that Student's t is at least that far from 0, by the incomplete beta function."""
    return _beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def _quantile(freedom: float, level: float) -> float:
    """How far from 0 that share of Student's t lies at most."""
    low, high = 0.0, 2.0
    while two_sided(high, freedom) > 1 - level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if two_sided(middle, freedom) > 1 - level:
            low = middle
        else:
            high = middle
    return high


def _beta(a: float, b: float, x: float) -> float:
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    scale = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return scale * _fraction(a, b, x) / a
    return 1.0 - scale * _fraction(b, a, 1.0 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1.0 / (_safe(1.0 - (a + b) * x / (a + 1)))
    value = d
    for m in range(1, _MAX_TERMS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _safe(1.0 + numerator * d)
            c = _safe(1.0 + numerator / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return value


def _safe(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def holm(chances: Sequence[float]) -> list[float]:
    """The chances corrected for their number, so that one false alarm among all stays as rare as each says.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6 (1979).
    """
    corrected = [1.0] * len(chances)
    worst = 0.0
    for done, place in enumerate(sorted(range(len(chances)), key=lambda place: chances[place])):
        worst = max(worst, min(1.0, chances[place] * (len(chances) - done)))
        corrected[place] = worst
    return corrected
