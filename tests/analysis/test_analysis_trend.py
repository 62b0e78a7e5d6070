"""The tests for trend, break and plateau against numbers known from elsewhere, and on series made for them."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.analysis.questions.journeys import Busy
from Agent.analysis.stats import mann_kendall, mser, pettitt, plateau, sen_slope


def test_mann_kendall_is_the_normal_approximation_of_the_exact_test() -> None:
    # n = 10, strictly rising: S = 45, variance 125, z = 44 / sqrt(125)
    assert mann_kendall(range(10)) == pytest.approx(math.erfc(44 / math.sqrt(125) / math.sqrt(2)))
    assert mann_kendall([1.0] * 10) == 1.0
    # all orders of seven values: how often a trend is seen that is not there
    found = [mann_kendall(order) < 0.05 for order in itertools.permutations(range(7))]
    assert 0.01 < sum(found) / len(found) < 0.05


def test_sen_slope_is_the_median_of_all_slopes_and_minds_no_outlier() -> None:
    assert sen_slope([0, 2, 4, 6, 100, 10]) == pytest.approx(2)
    assert sen_slope([5]) == 0


def test_pettitt_finds_where_the_level_changes() -> None:
    draw = random.Random(5)
    values = [draw.gauss(1 if n < 30 else 0.1, 0.3) for n in range(50)]
    place, p_value = pettitt(values)
    assert abs(place - 30) <= 1
    assert p_value < 0.001
    quiet = [pettitt([draw.gauss(0, 1) for _ in range(40)])[1] < 0.01 for _ in range(200)]
    assert sum(quiet) <= 4


def test_a_curve_that_levels_off_has_a_plateau_and_a_line_has_none() -> None:
    draw = random.Random(2)
    curve = [1 - math.exp(-n / 4) + draw.gauss(0, 0.05) for n in range(50)]
    found = plateau(curve)
    assert (found["state"], found["converged"]) == ("settled", True)
    assert 3 < found["since"] < 25
    assert found["level"] == pytest.approx(1, abs=0.05)
    rising = plateau([n / 50 + draw.gauss(0, 0.02) for n in range(50)])
    assert (rising["state"], rising["converged"], rising["since"]) == ("rising", False, None)
    assert plateau([1.0] * 9)["state"] == "too few points"
    assert plateau([1.0] * 10)["converged"]
    assert mser([9.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]) == 2


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 30)), min_size=1, max_size=60),
    st.sampled_from([4, 8, 1000]),
)
def test_busy_and_idle_are_the_union_of_the_intervals(spans: list[tuple[int, int]], most: int) -> None:
    spans.sort()
    busy = Busy(most)
    covered: set[int] = set()
    for number, (end, length) in enumerate(spans):
        busy.add(end - length, end, str(number))
        covered |= set(range(end - length, end))
    whole = max(end for end, _ in spans) - min(end - length for end, length in spans)
    assert busy.busy_us + busy.idle_us == whole
    if busy.blur_us == 0:
        assert busy.busy_us == len(covered)
    for stretch in busy.stretches(1000):
        assert stretch.length_us > 0
        assert not covered & set(range(stretch.start_us, stretch.end_us))
        # the events at its ends are the ones that end and begin there
        end, length = spans[int(stretch.before)]
        assert end - length == stretch.end_us
        assert spans[int(stretch.after)][0] == stretch.start_us
