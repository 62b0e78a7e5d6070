"""Our tests and intervals give what SciPy gives, over samples of all sizes, with ties and without."""

import math
import random

import pytest

from Agent.analysis.causality.chains import newcombe, wilson
from Agent.analysis.stats import mann_kendall, pettitt, sen_slope, two_sided, welch

pytestmark = pytest.mark.further  # SciPy takes a second to load
stats = None


@pytest.fixture(autouse=True)
def scipy_stats():
    global stats
    stats = pytest.importorskip("scipy.stats")


def series(seed):
    """A few numbers: coarse ones with many ties, fine ones, and some with a trend or a break."""
    draw = random.Random(seed)
    length, step = draw.randint(4, 40), draw.choice([0.0, 0.0, 0.1, 1.0])
    slope, jump = draw.choice([0.0, 0.2, -0.5]), draw.choice([0.0, 3.0])
    values = [draw.gauss(place * slope + jump * (place > length / 2), 1.0) for place in range(length)]
    return [round(value / step) * step for value in values] if step else values


def test_welchs_chance_and_interval_are_those_of_scipy():
    for seed in range(60):
        first, second = series(seed), [value * 1.5 + 0.3 for value in series(seed + 1000)]
        theirs = stats.ttest_ind(second, first, equal_var=False)
        rarest = 2 / math.comb(len(first) + len(second), len(first))
        ours = welch(first, second, 0.9)
        assert ours.chance == pytest.approx(max(theirs.pvalue, rarest), rel=1e-8), seed
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(0.9)), rel=1e-8), seed


def test_the_tails_of_students_distribution_are_those_of_scipy():
    for freedom in (1, 1.5, 2, 5, 30, 200.5, 10_000):
        for t in (0.0, 0.01, 0.1, 0.7, 1.0, 2.5, 12.0, 60.0):
            assert two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-8), (t, freedom)
            assert two_sided(-t, freedom) == two_sided(t, freedom)


def test_the_interval_of_a_share_is_that_of_scipy_and_newcombe_joins_two_of_them():
    def theirs(hits, n):
        return tuple(stats.binomtest(hits, n).proportion_ci(0.95, method="wilson"))

    for seed in range(40):
        draw = random.Random(seed)
        n1, n2 = draw.randint(1, 200), draw.randint(1, 200)
        k1, k2 = draw.choice([0, n1, draw.randint(0, n1)]), draw.randint(0, n2)
        assert wilson(k1, n1, 0.95) == pytest.approx(theirs(k1, n1), abs=1e-12), (k1, n1)
        (low_1, high_1), (low_2, high_2) = theirs(k1, n1), theirs(k2, n2)
        share_1, share_2 = k1 / n1, k2 / n2
        joined = (
            share_1 - share_2 - math.sqrt((share_1 - low_1) ** 2 + (high_2 - share_2) ** 2),
            share_1 - share_2 + math.sqrt((high_1 - share_1) ** 2 + (share_2 - low_2) ** 2),
        )
        assert newcombe(k1, n1, k2, n2, 0.95) == pytest.approx(joined, abs=1e-12), (k1, n1, k2, n2)


def test_mann_kendall_is_kendalls_tau_against_time_with_a_correction_for_continuity():
    compared = 0
    for seed in range(60):
        values = series(seed)
        theirs = stats.kendalltau(range(len(values)), values, method="asymptotic").pvalue
        score = abs(sum((b > a) - (b < a) for n, a in enumerate(values) for b in values[n + 1 :]))
        if not score:
            assert mann_kendall(values) == 1.0, seed
            continue
        deviation = score / stats.norm.isf(theirs / 2)  # SciPy corrects for ties, not for continuity
        assert mann_kendall(values) == pytest.approx(2 * stats.norm.sf((score - 1) / deviation), rel=1e-6), (
            seed
        )
        compared += 1
    assert compared > 40


def test_sens_slope_is_that_of_scipy():
    for seed in range(60):
        values = series(seed)
        places = [place * 1.5 + (place % 3) * 0.2 for place in range(len(values))]
        assert sen_slope(values) == pytest.approx(stats.theilslopes(values).slope, abs=1e-12), seed
        assert sen_slope(values, places) == pytest.approx(
            stats.theilslopes(values, places).slope, abs=1e-12
        ), seed


def test_pettitt_breaks_a_series_where_mann_and_whitneys_statistic_is_farthest_from_its_mean():
    for seed in range(60):
        values = series(seed)
        n = len(values)
        far = [
            abs(2 * stats.mannwhitneyu(values[:t], values[t:], method="asymptotic").statistic - t * (n - t))
            for t in range(1, n)
        ]
        place, p_value = pettitt(values)
        assert p_value == pytest.approx(min(1.0, 2 * math.exp(-6 * max(far) ** 2 / (n**3 + n**2)))), seed
        assert far[place - 1] == max(far) if place else not any(far), seed
