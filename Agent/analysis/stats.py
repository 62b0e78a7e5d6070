"""Distributions, trends, change points and tests of means: plain functions of numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from Agent.analysis.query.views import ABOUT, TOTAL, is_finite
from Agent.event.values.plain import number_in

SIGNIFICANCE: Final = 0.01
LEAST_POINTS: Final = 10
_USUAL: Final = 250
"""Powers of two up to this one, and their inverses, can be raised to the fourth power and summed."""


def exponent_of(*samples: Sequence[float]) -> int:
    """The power of two by which to divide numbers before they are squared; 0 unless that is needed.

    Squares of numbers above 1e154 exceed a float, and those of numbers below 1e-162 vanish. A power of two
    changes no digit of a number.
    """
    most = max((max(map(abs, sample)) for sample in samples if sample), default=0.0)
    exponent = math.frexp(most)[1]
    return exponent if abs(exponent) > _USUAL else 0


def scaled(values: Sequence[float], exponent: int) -> Sequence[float]:
    """The values divided by 2 to the power of `exponent`."""
    return [math.ldexp(value, -exponent) for value in values] if exponent else values


def unscaled(value: float, exponent: int) -> float:
    """The value multiplied by 2 to the power of `exponent`; infinite if that exceeds a float."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def fmean(values: Sequence[float]) -> float:
    """The mean, as of `statistics.fmean`, also of numbers whose sum exceeds a float."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        exponent = exponent_of(values)
        return math.ldexp(math.fsum(scaled(values, exponent)) / len(values), exponent)


def _ranked(values: Sequence[float]) -> list[float]:
    """The values rounded to 12 digits, so that values that differ only by the order of summation tie."""
    return [float(f"{value:.12g}") for value in values]


def mann_kendall(values: Sequence[float]) -> float:
    """The two-sided p-value of a monotonic trend, corrected for ties.

    Source: H. B. Mann, Econometrica 13 (1945) 245; M. G. Kendall, Rank Correlation Methods (1975).
    """
    n = len(values)
    if n < 3:
        return 1.0
    values = _ranked(values)
    score = sum((b > a) - (b < a) for index, a in enumerate(values) for b in values[index + 1 :])
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(values).values())
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    if variance <= 0 or score == 0:
        return 1.0
    z = (abs(score) - 1) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def sen_slope(values: Sequence[float], places: Sequence[float] | None = None) -> float:
    """The median slope over all pairs of values; `places` are their positions, by default 0, 1, 2, ...

    Source: P. K. Sen, Journal of the American Statistical Association 63 (1968) 1379.
    """
    at = range(len(values)) if places is None else places
    exponent = exponent_of(values)
    values = scaled(values, exponent)
    slopes = [
        (values[right] - values[left]) / (at[right] - at[left])
        for left in range(len(values))
        for right in range(left + 1, len(values))
    ]
    from statistics import median

    return unscaled(median(slopes), exponent) if slopes else 0.0


def pettitt(values: Sequence[float]) -> tuple[int, float]:
    """The index where the second of two levels begins, and the p-value of that change point.

    Source: A. N. Pettitt, Applied Statistics 28 (1979) 126; the approximation of p is its equation for K.
    """
    n = len(values)
    if n < 4:
        return 0, 1.0
    values = _ranked(values)
    running = best = index = 0
    for t in range(n - 1):
        running += sum((values[t] > other) - (values[t] < other) for other in values)
        if abs(running) > best:
            best, index = abs(running), t + 1
    return index, min(1.0, 2 * math.exp(-6 * best * best / (n**3 + n**2)))


def mser(values: Sequence[float]) -> int:
    """The number of first values to discard so that the standard error of the mean of the rest is smallest.

    A result above half of the values means that the series did not settle. Source: K. P. White,
    Simulation 69 (1997) 323: the marginal standard error rule.
    """
    values = _ranked(values)
    values = scaled(values, exponent_of(values))
    n = len(values)
    total = squares = 0.0
    best, index = math.inf, 0
    for cut in range(n - 1, -1, -1):
        total += values[cut]
        squares += values[cut] * values[cut]
        left = n - cut
        if left < max(5, n // 10):
            continue
        error = max(squares - total * total / left, 0.0) / (left * left)
        # `<=`: of equal errors the earliest cut wins, so that no values are discarded unnecessarily
        if error <= best * (1 + 1e-9):
            best, index = error, cut
    return index


def plateau(values: Sequence[float]) -> dict[str, Any]:
    """Test whether a series settled, from which index, and at which level.

    It settled if MSER keeps at least half of the values and these show no Mann-Kendall trend. Fewer than
    10 values give `too few points`.

    Returns:
        `converged`, `state` (`settled`, `rising`, `falling`, `unsettled` or `too few points`), `since` (place
        of the first value of the plateau), `level` (its mean), `spread` (its standard deviation), `slope`
        (Sen's, per place), `p_value` (of the trend), `method`, `source`, `parameters`.
    """
    result: dict[str, Any] = {
        "converged": False,
        "state": "too few points",
        **dict.fromkeys(("since", "level", "spread", "slope", "p_value")),
        "method": "MSER truncation, then Mann-Kendall on the rest",
        "source": "White 1997; Mann 1945, Kendall 1975; slope: Sen 1968",
        "parameters": {"significance": SIGNIFICANCE, "least_points": LEAST_POINTS, "points": len(values)},
    }
    if len(values) < LEAST_POINTS:
        return result
    since = mser(values)
    unsettled = since > len(values) // 2
    rest = values[len(values) // 2 :] if unsettled else values[since:]
    p_value, slope = mann_kendall(rest), sen_slope(rest)
    exponent = exponent_of(rest)
    small = scaled(rest, exponent)
    level = fmean(small)
    spread = math.sqrt(math.fsum((each - level) ** 2 for each in small) / len(small))
    state = "unsettled" if unsettled else "settled"
    if p_value < SIGNIFICANCE:
        state = "rising" if slope > 0 else "falling" if slope < 0 else state
    return result | {
        "converged": state == "settled",
        "state": state,
        "since": since if state == "settled" else None,
        "level": unscaled(level, exponent),
        "spread": unscaled(spread, exponent),
        "slope": slope,
        "p_value": p_value,
    }


QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
EXACT_ROWS = 1_000_000


def quantile(ordered: Sequence[float], share: float) -> float:
    """The interpolated quantile of a sorted, non-empty sequence; `share` is between 0 and 1."""
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    apart = ordered[high] - ordered[low]
    if math.isinf(apart):
        return ordered[low] * (high - position) + ordered[high] * (position - low)
    return ordered[low] + apart * (position - low)


def describe(values: Sequence[float]) -> dict[str, Any]:
    """Count, mean, p50, p95, p99 and max of the finite numbers; {"count": 0} if there are none."""
    finite = sorted(value for value in values if math.isfinite(value))
    if not finite:
        return {"count": 0}
    described: dict[str, Any] = {"count": len(finite), "mean": fmean(finite)}
    described.update({name: quantile(finite, share) for name, share in QUANTILES.items()})
    described["max"] = finite[-1]
    return described


def quantile_columns(column: str, rows: int) -> tuple[str, str]:
    """`describe_columns` for a number of rows, and whether its quantiles are `exact` or `approximate`.

    Exact quantiles hold every number in memory, so above one million rows estimates replace them.
    """
    if rows <= EXACT_ROWS:
        return describe_columns(column), "exact"
    return describe_columns(column, exact=False), "approximate"


def describe_columns(column: str, *, exact: bool = True) -> str:
    """The same numbers as SQL columns over one numeric column, `count` named `measured`."""
    finite = f"FILTER (WHERE {is_finite(column)})"
    sort = f"WITHIN GROUP (ORDER BY {column})"
    quantiles = ", ".join(
        f"{f'percentile_cont({share}) {sort}' if exact else f'{ABOUT}({column}, {share})'} {finite} AS {name}"
        for name, share in QUANTILES.items()
    )
    return (
        f"count({column}) {finite} AS measured, {TOTAL}({column}) {finite} / measured AS mean, {quantiles}, "
        f"max({column}) {finite} AS max"
    )


def length_us(duration_ms: object) -> int:
    """A recorded duration in microseconds; 0 for what is none, or is longer than any run."""
    length_ms = number_in(duration_ms)
    return round(length_ms * 1000) if length_ms is not None and 0 <= length_ms < _LONGEST_MS else 0


_LONGEST_MS: Final = 1e12
CONFIDENCE = 0.95
_MAX_TERMS = 300
_TINY = 1e-300


class Welch(NamedTuple):
    """The difference of two means (second less first), its confidence interval and its p-value (`chance`).

    `low`, `high` and `chance` are None if a side has fewer than 2 values.
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
    """Welch's test on two samples; `level` is the confidence level of the interval.

    The p-value is at least that of the most extreme assignment of the values to the two samples: a few values
    that happen to be alike prove little, even if their spread is 0.
    B. L. Welch, "The generalization of Student's problem when several different population variances are
    involved", Biometrika 34 (1947).
    """
    mean_1, mean_2 = (fmean(sample) if sample else 0.0 for sample in (first, second))
    exponent = exponent_of(first, second)
    if exponent:
        small = welch(scaled(first, exponent), scaled(second, exponent), level)
        low, high = (None if end is None else unscaled(end, exponent) for end in (small.low, small.high))
        return Welch(mean_1, mean_2, low, high, small.chance)
    n1, n2 = len(first), len(second)
    if n1 < 2 or n2 < 2:
        return Welch(mean_1, mean_2, None, None, None)
    part_1 = math.fsum((value - mean_1) ** 2 for value in first) / (n1 - 1) / n1
    part_2 = math.fsum((value - mean_2) ** 2 for value in second) / (n2 - 1) / n2
    difference, error = mean_2 - mean_1, math.sqrt(part_1 + part_2)
    rounding = 1e-12 * max(abs(mean_1), abs(mean_2))
    if error <= rounding:
        chance = 1.0 if abs(difference) <= rounding else _rarest_deal(n1, n2)
        return Welch(mean_1, mean_2, difference, difference, chance)
    freedom = (part_1 + part_2) ** 2 / (part_1**2 / (n1 - 1) + part_2**2 / (n2 - 1))
    chance = max(two_sided(difference / error, freedom), _rarest_deal(n1, n2))
    half = _quantile(freedom, level) * error
    return Welch(mean_1, mean_2, difference - half, difference + half, chance)


def _rarest_deal(n1: int, n2: int) -> float:
    """The two-sided p-value of the most extreme of all assignments of n1 + n2 values to two samples."""
    return min(1.0, 2.0 * math.exp(math.lgamma(n1 + 1) + math.lgamma(n2 + 1) - math.lgamma(n1 + n2 + 1)))


def two_sided(t: float, freedom: float) -> float:
    """The two-sided p-value of Student's t, by the incomplete beta function."""
    return _beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def _quantile(freedom: float, level: float) -> float:
    """The two-sided quantile of Student's t, by bisection."""
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
    """The p-values corrected for multiple comparisons, in their original order.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6 (1979).
    """
    corrected = [1.0] * len(chances)
    worst = 0.0
    for done, index in enumerate(sorted(range(len(chances)), key=lambda index: chances[index])):
        worst = max(worst, min(1.0, chances[index] * (len(chances) - done)))
        corrected[index] = worst
    return corrected
