"""Numbers up to the largest float: no answer, curve or text fails, and a power of two changes no digit."""

import json
import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent import (
    AgentLogger,
    LearningLogger,
    LogAnalyzer,
    setup_logging,
    shutdown_logging,
    tick,
    trace_performance,
)
from Agent.analysis.causality.chains import judged, judged_chance
from Agent.analysis.debug.root_causes.scan import (
    Observation,
    scan_beyond,
    scan_drifts,
    scan_lone,
    scan_numbers,
)
from Agent.analysis.stats import describe, fmean, mser, pettitt, plateau, quantile, sen_slope, welch
from Agent.render import formats, html
from Agent.render.blocks import Curve, Ranges

LARGEST = 1.7976931348623157e308
EXTREMES = [LARGEST, -LARGEST, 1e308, -1e308, 1e154, 1e77, 1e17, 9007199254740992.0, 1.0, 0.0, -0.0]
EXTREMES += [1e-85, 1e-163, 2.2250738585072014e-308, 5e-324, -5e-324]
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(EXTREMES)
SAMPLES = st.lists(NUMBERS, min_size=1, max_size=25)
SERIES = st.lists(NUMBERS, min_size=16, max_size=40)


def lies_between(value, values):
    """Whether it lies between the least and the largest of the values, but for the rounding of two steps."""
    slack = max(map(abs, values)) * 1e-15 + 5e-324
    return min(values) - slack <= value <= max(values) + slack


@given(SAMPLES, SAMPLES)
def test_a_test_of_two_means_takes_numbers_of_any_size(first, second):
    result = welch(first, second)
    assert lies_between(result.mean_1, first)
    if result.chance is not None:
        assert 0.0 <= result.chance <= 1.0
        assert result.low <= result.difference <= result.high


@given(SAMPLES | SERIES)
def test_a_series_of_numbers_of_any_size_is_described(values):
    assert lies_between(fmean(values), values)
    for share in (0.0, 0.3, 0.5, 0.95, 1.0):
        assert lies_between(quantile(sorted(values), share), values)
    assert not any(math.isnan(each) for each in describe(values).values())
    assert 0 <= mser(values) < len(values)
    assert 0 <= pettitt(values)[0] < len(values)
    assert not math.isnan(sen_slope(values))
    result = plateau(values)
    if result["level"] is not None:
        assert lies_between(result["level"], values)
        assert result["spread"] >= 0.0


@pytest.mark.parametrize("exponent", [-900, -300, 300, 900])
def test_larger_numbers_give_the_same_digits(exponent):
    def times(value):
        return math.ldexp(value, exponent)

    first, second = [3.25, 4.5, 3.75, 6.125, 5.0] * 3, [4.125, 7.5, 6.25, 5.5, 8.0] * 3
    usual, large = welch(first, second), welch([*map(times, first)], [*map(times, second)])
    assert large.chance == usual.chance
    assert (large.mean_1, large.low, large.high) == tuple(map(times, (usual.mean_1, usual.low, usual.high)))
    usual, large = plateau(first), plateau([*map(times, first)])
    assert (large["level"], large["spread"]) == (times(usual["level"]), times(usual["spread"]))
    assert sen_slope([*map(times, second)]) == times(sen_slope(second))


@given(st.lists(NUMBERS, min_size=2, max_size=6), st.lists(NUMBERS, min_size=2, max_size=6))
def test_a_cause_is_judged_from_numbers_of_any_size(first, second):
    assert str(judged("without it", first, second, 1, expected=second[0]))
    assert str(judged_chance("other seeds", first[0], second, 1))


@given(SERIES)
def test_the_scans_of_possible_causes_take_numbers_of_any_size(values):
    acts = [SimpleNamespace(place=at, step=at, near=True, id=str(at)) for at in range(len(values))]
    seen = [Observation(act, value) for act, value in zip(acts, values, strict=True)]
    scan_beyond("far", "x", [each._replace(act=_far(each.act)) for each in seen])
    scan_drifts("drifts", "x", {"a": seen, "b": seen[::-1]})
    scan_numbers("levels", "x", {"a": seen})
    scan_lone("lone", "x", [Observation(act, values[act.place == 1]) for act in acts])


def _far(act):
    return SimpleNamespace(place=act.place, step=act.step, near=False, id=act.id)


def test_a_drift_of_a_diverging_learner_is_found_in_its_own_unit():
    acts = [SimpleNamespace(place=at, step=at, near=False, id=str(at)) for at in range(40)]
    usual = [max(0.0, at - 20.0) + at % 2 for at in range(40)]
    found = [
        scan_drifts("drifts", "x", {"a": [Observation(*pair) for pair in zip(acts, values, strict=True)]})
        for values in (usual, [math.ldexp(value, 900) for value in usual])
    ]
    assert [each.nats for each in found[0]] == [each.nats for each in found[1]] != []
    assert math.ldexp(found[0][0].usual, 900) == found[1][0].usual


@given(st.lists(st.floats() | st.none() | NUMBERS, min_size=1, max_size=30), st.integers(1, 8))
def test_a_curve_of_blocks_has_gaps_for_what_is_no_number(values, lines):
    drawn = formats.curve(values, lines)
    assert [len(line) for line in drawn] == [len(values)] * lines
    for at, value in enumerate(values):
        is_number = value is not None and math.isfinite(value)
        assert (drawn[-1][at] != " ") == is_number
    assert len(formats.fewer(values, 7)) == min(7, len(values))


@given(st.floats() | NUMBERS)
def test_a_number_is_shown_with_few_characters(value):
    for text in (formats.cell(value), formats.short_number(value), formats.number(value)):
        assert 1 <= len(text) <= 22


def test_usual_numbers_are_shown_as_before():
    assert [*map(formats.short_number, (3.0, 2.5, 1234.5, 0.00012, 999999999999999.0))] == [
        "3", "2.50", "1234", "0.00012", "999999999999999",
    ]  # fmt: skip
    assert [*map(formats.number, (3.0, 2.5, 1234.5, 0.00012, 10**20))] == [
        "3", "2.5", "1,234", "0.00012", "100,000,000,000,000,000,000",
    ]  # fmt: skip
    assert formats.curve([0, 1, 2, None, 8]) == ["▁▂▃ █"]


@given(st.lists(st.floats() | NUMBERS, min_size=1, max_size=30))
def test_the_curve_of_a_page_stays_inside_its_frame(values):
    drawing = html.curve(Curve(values, ["tip"] * len(values), ("begin", "end"), "values"))
    points = [each for each in drawing.shapes if each.name == "circle"]
    assert len(points) == sum(map(math.isfinite, values))
    for point in points:
        assert html.TOP - 1 <= float(point.places["cy"]) <= drawing.height - 21
    assert "nan" not in str(drawing.shapes) and len(drawing.words) < 20
    assert not any("inf" in str(text) for _, _, text, _ in drawing.words)


@given(st.lists(st.floats(min_value=0, allow_infinity=False, allow_nan=False) | st.just(0.0), min_size=1))
def test_the_ranges_of_a_page_take_durations_of_any_length(durations):
    rows = [(str(at), {"p50": each, "p95": each, "p99": max(durations)}) for at, each in enumerate(durations)]
    drawing = html.ranges(Ranges(rows, "durations"))
    assert len(drawing.shapes) > len(rows)


@pytest.mark.further
@pytest.mark.process
def test_a_session_with_the_largest_numbers_is_analysed_and_drawn(tmp_path):
    setup_logging(trace_root=tmp_path / "trace")
    learner = LearningLogger("sgd", "a")
    for number in range(120):
        with tick(number):
            sign = (-1) ** (number // 3)
            learner.log_reward("step", reward=1.5e308 * sign, cumulative_reward=1e308 * sign)
            AgentLogger("a", "r").log_action("x", {"v": 1.0 if number < 119 else -5e-324, "w": 1e308 * sign})
    shutdown_logging()
    analyzer = LogAnalyzer(root=tmp_path / "trace")
    report = analyzer.report("learning", "a")
    means = [each["mean"] for each in report["curves"]["rewards"]]
    assert len(means) > 20 and all(map(math.isfinite, means))
    assert all(math.isfinite(each["moving_mean"]) for each in report["curves"]["rewards"])
    assert json.loads(analyzer.export_analysis(tmp_path / "all.json").read_text())
    assert analyzer.write_html(tmp_path / "all.html").stat().st_size > 10_000


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    "numbers",
    [
        [-(2**63), 0, 1],
        [-(2**63), 2**63 - 1],
        [-1, 2**63 - 1],
        [*range(2**63 - 60, 2**63)],
        [-(2**63), *range(60), 2**63 - 1],
    ],
    ids=lambda numbers: f"{numbers[0]} to {numbers[-1]}",
)
def test_ticks_of_any_size_divide_a_session_into_parts(tmp_path, numbers):
    setup_logging(trace_root=tmp_path / "trace")

    @trace_performance("work")
    def work(name):
        LearningLogger(name, name).log_reward("walk", 1.0)
        LearningLogger(name, name).log_exploration_exploitation("walk", True, 0.5)

    for number in numbers:
        with tick(number):
            work("a")
            work("b")
    shutdown_logging()
    analyzer = LogAnalyzer(root=tmp_path / "trace")
    curves = analyzer.learning_report(by="tick")["curves"]
    for parts, key in ((curves["rewards"], "count"), (curves["exploration"], "choices")):
        assert sum(part[key] for part in parts) == 2 * len(numbers)
        assert (parts[0]["first"], parts[-1]["last"]) == (numbers[0], numbers[-1])
        assert len(parts) <= 50
    assert analyzer.performance_report()["latency_steps"]["by"] == "tick"
    compared = analyzer.compare_by("agent_id", ["a", "b"]).differences
    assert all(each.first == each.second for each in compared if each.what == "kind")
