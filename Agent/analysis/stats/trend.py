"""Where a series rises, settles or breaks: four published tests over a short list of numbers, nothing more.

`curves` and `latency` ask; the numbers are means or medians of buckets, so that they are few and
that neighbours depend little on each other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["SIGNIFICANCE", "mann_kendall", "mser", "pettitt", "plateau", "sen_slope"]

SIGNIFICANCE: Final = 0.01
LEAST_POINTS: Final = 10


def _ranked(values: Sequence[float]) -> list[float]:
    """The values to twelve digits: what differs by the order of adding only is a tie."""
    return [float(f"{value:.12g}") for value in values]


def mann_kendall(values: Sequence[float]) -> float:
    """How likely so much rising or falling is by chance (two-sided p), ties allowed for.

    Source: H. B. Mann, Econometrica 13 (1945) 245; M. G. Kendall, Rank Correlation Methods (1975).
    """
    n = len(values)
    if n < 3:
        return 1.0
    values = _ranked(values)
    score = sum((b > a) - (b < a) for place, a in enumerate(values) for b in values[place + 1 :])
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(values).values())
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    if variance <= 0 or score == 0:
        return 1.0
    z = (abs(score) - 1) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def sen_slope(values: Sequence[float], places: Sequence[float] | None = None) -> float:
    """The median of the slopes between all pairs; `places` say where the values stand, by default 0, 1, 2 ...

    Source: P. K. Sen, Journal of the American Statistical Association 63 (1968) 1379.
    """
    at = range(len(values)) if places is None else places
    slopes = sorted(
        (values[right] - values[left]) / (at[right] - at[left])
        for left in range(len(values))
        for right in range(left + 1, len(values))
    )
    if not slopes:
        return 0.0
    middle = len(slopes) // 2
    return slopes[middle] if len(slopes) % 2 else (slopes[middle - 1] + slopes[middle]) / 2


def pettitt(values: Sequence[float]) -> tuple[int, float]:
    """Before which place the series breaks into two levels, and how likely that is by chance (p).

    Source: A. N. Pettitt, Applied Statistics 28 (1979) 126; the approximation of p is its equation for K.
    """
    n = len(values)
    if n < 4:
        return 0, 1.0
    values = _ranked(values)
    running = best = place = 0
    for t in range(n - 1):
        running += sum((values[t] > other) - (values[t] < other) for other in values)
        if abs(running) > best:
            best, place = abs(running), t + 1
    return place, min(1.0, 2 * math.exp(-6 * best * best / (n**3 + n**2)))


def mser(values: Sequence[float]) -> int:
    """How many of the first values to leave out so that the mean of the others is most certain.

    More than half says that the series did not settle. Source: K. P. White, Simulation 69 (1997) 323: the
    marginal standard error rule.
    """
    values = _ranked(values)
    n = len(values)
    total = squares = 0.0
    best, place = math.inf, 0
    for cut in range(n - 1, -1, -1):
        total += values[cut]
        squares += values[cut] * values[cut]
        left = n - cut
        if left < max(5, n // 10):
            continue
        error = max(squares - total * total / left, 0.0) / (left * left)
        # the earliest of equals: nothing is left out without need
        if error <= best * (1 + 1e-9):
            best, place = error, cut
    return place


def plateau(values: Sequence[float]) -> dict[str, Any]:
    """Whether a series settled, from where on, and at which level.

    What MSER leaves must be at least half of the series, and show no trend by Mann and Kendall. Enough for
    either are ten values.

    Returns:
        `converged`, `state` (`settled`, `rising`, `falling`, `unsettled` or `too few points`), `since` (place
        of the first value of the plateau), `level` (its mean), `spread` (its standard deviation), `slope`
        (Sen's, per place), `p_value` (of the trend), `method`, `source`, `parameters`.
    """
    found: dict[str, Any] = {
        "converged": False,
        "state": "too few points",
        "since": None,
        "level": None,
        "spread": None,
        "slope": None,
        "p_value": None,
        "method": "MSER truncation, then Mann-Kendall on the rest",
        "source": "White 1997; Mann 1945, Kendall 1975; slope: Sen 1968",
        "parameters": {"significance": SIGNIFICANCE, "least_points": LEAST_POINTS, "points": len(values)},
    }
    if len(values) < LEAST_POINTS:
        return found
    since = mser(values)
    unsettled = since > len(values) // 2
    rest = values[len(values) // 2 :] if unsettled else values[since:]
    p_value, slope = mann_kendall(rest), sen_slope(rest)
    level = math.fsum(rest) / len(rest)
    state = "unsettled" if unsettled else "settled"
    if p_value < SIGNIFICANCE:
        state = "rising" if slope > 0 else "falling" if slope < 0 else state
    return found | {
        "converged": state == "settled",
        "state": state,
        "since": since if state == "settled" else None,
        "level": level,
        "spread": math.sqrt(math.fsum((each - level) ** 2 for each in rest) / len(rest)),
        "slope": slope,
        "p_value": p_value,
    }
