"""What forks with and without an event show: an effect with its interval, or why they show none.

Of numbers it is the difference of two means with Welch's interval (`welch`). Of shares it is Newcombe's,
which joins two Wilson intervals: R. G. Newcombe, "Interval estimation for the difference between independent
proportions", Statistics in Medicine 17 (1998), method 10. A run beside others of other chance is beyond them
all once in n + 1 times on either side: S. S. Wilks, "Determination of sample sizes for setting tolerance
limits", Annals of Mathematical Statistics 12 (1941).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from Agent.analysis.stats import welch
from Agent.analysis.text import plural, short_number

Verdict = Literal["SHOWN", "CONTRARY", "INCONCLUSIVE"]

LEVEL = 0.99
"""Of an interval: of five causes that are tested and are none, one is taken for one in twenty reports."""

MIN_OTHERS = 19
"""With so many other seeds a run does worse than all of them by chance once in twenty."""


@dataclass(frozen=True, slots=True)
class CauseTest:
    """What came of testing one cause."""

    verdict: Verdict
    """SHOWN: with it the complaint is worse; CONTRARY: better; INCONCLUSIVE: neither was shown."""
    told: str
    """What was done instead, in words."""
    with_it: float | None = None
    """The mean of what the complaint is about, with the cause."""
    without_it: float | None = None
    effect: float | None = None
    """The first less the second."""
    low: float | None = None
    high: float | None = None
    level: float | None = None
    """Of the interval from low to high."""
    forks: int = 0
    """How many there were with it and without it, together."""
    method: str = ""
    reason: str | None = None
    """Why nothing was shown."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        if self.effect is None:
            return f"INCONCLUSIVE: {self.reason}"
        assert self.with_it is not None and self.without_it is not None  # noqa: S101 - they come together
        numbers = (
            f"{short_number(self.with_it)} with it, {short_number(self.without_it)} without; effect "
            f"{self.effect:+.3g}"
        )
        if self.low is not None and self.high is not None and self.low != self.high:
            numbers += f" ({self.low:+.3g} to {self.high:+.3g})"
        numbers += f" in {plural(self.forks, 'fork')}, {self.method}"
        ending = "" if self.reason is None else f"; {self.reason}"
        return f"{self.verdict}: {self.told}: {numbers}{ending}"


def judged(told: str, with_it: Sequence[Any], without_it: Sequence[Any], worse: int) -> CauseTest:
    """What two sets of forks show of a cause.

    Args:
        told: what was done in the second.
        with_it: numbers, or booleans of a condition.
        worse: 1 where more is worse, -1 where less is, 0 where the complaint does not say.
    """
    values = [*with_it, *without_it]
    if not all(isinstance(value, (bool, int, float)) and math.isfinite(value) for value in values):
        return CauseTest(
            "INCONCLUSIVE", told, reason="what the complaint is about is not a number in the forks"
        )
    if len(with_it) < 1 or len(without_it) < 1:
        return CauseTest("INCONCLUSIVE", told, reason="nothing was compared")
    is_share = all(isinstance(value, bool) for value in values)
    first, second = [float(value) for value in with_it], [float(value) for value in without_it]
    mean_1, mean_2 = math.fsum(first) / len(first), math.fsum(second) / len(second)
    effect = mean_1 - mean_2
    if len({*first}) == 1 and len({*second}) == 1:
        low, high, method = effect, effect, "the same under every seed"
    elif len(first) < 2 or len(second) < 2:
        return CauseTest("INCONCLUSIVE", told, reason="chance matters, and there is only one fork of each")
    elif is_share:
        low, high = newcombe(sum(first), len(first), sum(second), len(second))
        method = f"Newcombe's interval at {LEVEL:.0%}"
    else:
        found = welch(second, first, LEVEL)
        assert found.low is not None and found.high is not None  # noqa: S101 - there are two of each
        low, high, method = found.low, found.high, f"Welch's interval at {LEVEL:.0%}"
    verdict, reason = _verdict(low, high, effect, worse)
    forks = len(first) + len(second)
    return CauseTest(verdict, told, mean_1, mean_2, effect, low, high, LEVEL, forks, method, reason)


def _verdict(low: float, high: float, effect: float, worse: int) -> tuple[Verdict, str | None]:
    if low <= 0.0 <= high:
        if low == high:
            return "INCONCLUSIVE", "the same happens without it"
        return "INCONCLUSIVE", "the interval contains zero"
    if worse and effect * worse < 0:
        return "CONTRARY", "the complaint is milder with it"
    return "SHOWN", None


def judged_chance(told: str, recorded: Any, others: Sequence[Any], worse: int) -> CauseTest:
    """Whether a run is beyond what other chance makes of it."""
    values = [recorded, *others]
    if not others or not all(isinstance(value, (bool, int, float)) for value in values):
        return CauseTest(
            "INCONCLUSIVE", told, reason="what the complaint is about is not a number in the forks"
        )
    numbers = [float(value) for value in others]
    own = float(recorded)
    mean = math.fsum(numbers) / len(numbers)
    low, high = own - max(numbers), own - min(numbers)
    share = 1 - 1 / (len(numbers) + 1)
    method = "from the nearest to the farthest of other seeds"
    test = CauseTest("INCONCLUSIVE", told, own, mean, own - mean, low, high, share, len(values), method)
    if len(numbers) < MIN_OTHERS:
        return _with(
            test, "INCONCLUSIVE", f"{len(numbers)} other seeds are too few; {MIN_OTHERS} are required"
        )
    if low <= 0.0 <= high:
        as_bad = sum((value - own) * worse >= 0 if worse else value == own for value in numbers)
        told_others = f"{as_bad} of {len(numbers)} other seeds do {'as badly' if worse else 'the same'}"
        return _with(test, "INCONCLUSIVE", told_others)
    return _with(test, *_verdict(low, high, own - mean, worse))


def _with(test: CauseTest, verdict: Verdict, reason: str | None) -> CauseTest:
    from dataclasses import replace

    return replace(test, verdict=verdict, reason=reason)


def newcombe(hits_1: float, n1: int, hits_2: float, n2: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of the first share less the second."""
    share_1, share_2 = hits_1 / n1, hits_2 / n2
    low_1, high_1 = wilson(hits_1, n1, level)
    low_2, high_2 = wilson(hits_2, n2, level)
    difference = share_1 - share_2
    return (
        difference - math.hypot(share_1 - low_1, high_2 - share_2),
        difference + math.hypot(high_1 - share_1, share_2 - low_2),
    )


def wilson(hits: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", J. American
    Statistical Association 22 (1927).
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
