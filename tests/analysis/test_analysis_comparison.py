"""Comparison in numbers: planted differences are found with their size, noise is called noise."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import LogAnalyzer
from Agent.analysis.questions.comparison import BehaviourComparison, BehaviourDifference, compare_sessions
from Agent.analysis.stats import holm, two_sided, welch
from Agent.errors import UsageError

Make = Callable[..., SessionBuilder]


def simulate(
    build: SessionBuilder,
    seed: int,
    *,
    agents: int = 12,
    ticks: int = 40,
    publish: float = 0.6,
    reward: float = 1.0,
    lookup_ms: float = 2.0,
    error: str | None = None,
    version: Callable[[int], str] | None = None,
) -> SessionBuilder:
    draw = random.Random(seed)
    for tick in range(ticks):
        build.tick = tick
        for n in range(agents):
            own = {"agent_version": version(n)} if version is not None else {}
            who = f"agent_{n:02d}"
            ms = lookup_ms * draw.uniform(0.7, 1.4)
            build.emit("agent_action", who, action_type="lookup", duration_ms=ms, span=build.span(), **own)
            if draw.random() < publish:
                build.emit("agent_action", who, action_type="publish", duration_ms=draw.uniform(1, 2), **own)
                build.emit("reward", who, reward=draw.gauss(reward, 0.5), action_id="x", **own)
            if draw.random() < 0.02:
                build.emit(
                    "error", who, level="ERROR", error_type="Timeout", error_message=f"after {tick}", **own
                )
            if error is not None and draw.random() < 0.3:
                build.emit("error", who, level="ERROR", error_type=error, error_message="bad", **own)
        build.pass_time(0.05)
    return build


def two(tmp_path: Path, *both: dict[str, object], seeds: tuple[int, int] = (1, 2)) -> BehaviourComparison:
    paths = [
        simulate(SessionBuilder(tmp_path / f"s{seeds[n]}{n}", f"2026112{n}_103045"), seeds[n], **changed).path  # type: ignore[arg-type]
        for n, changed in enumerate(both)
    ]
    return compare_sessions(paths[0], paths[1])


def real(found: BehaviourComparison) -> dict[tuple[str, str], BehaviourDifference]:
    return {(each.what, each.name): each for each in found.real}


@pytest.mark.integration
def test_the_same_program_twice_differs_by_noise_alone(tmp_path: Path) -> None:
    false_alarms = [
        name for seed in range(10, 22, 2) for name in real(two(tmp_path, {}, {}, seeds=(seed, seed + 1)))
    ]
    assert false_alarms == []


@pytest.mark.further
@pytest.mark.parametrize(
    ("changed", "named", "low", "high"),
    [
        ({"publish": 0.3}, ("action", "publish"), -0.6, -0.4),
        ({"reward": 0.5}, ("reward", "mean reward"), -0.6, -0.4),
        ({"lookup_ms": 6.0}, ("latency", "lookup p50 ms"), 1.7, 2.4),
    ],
)
def test_a_planted_difference_is_real_and_has_its_size(
    tmp_path: Path, changed: dict[str, object], named: tuple[str, str], low: float, high: float
) -> None:
    found = real(two(tmp_path, {}, changed))
    assert low < (found[named].change or 0) < high
    assert (found[named].chance or 0) < 0.01
    allowed = {named, ("latency", "lookup p95 ms"), ("kind", "reward")}
    assert found.keys() <= allowed


@pytest.mark.further
@pytest.mark.parametrize("agents", [3, 12])
def test_new_and_gone_errors_are_told(tmp_path: Path, agents: int) -> None:
    found = two(tmp_path, {"agents": agents}, {"error": "Broken", "agents": agents}, seeds=(3, 4))
    assert [(name, each.note) for name, each in real(found).items()] == [(("error", "error"), "new")]
    back = compare_sessions(
        tmp_path / "s41/session_20261121_103045", tmp_path / "s30/session_20261120_103045"
    )
    assert [each.note for each in back.real] == ["gone"]


def test_one_new_error_is_new_and_noise(tmp_path: Path) -> None:
    a = simulate(SessionBuilder(tmp_path / "a"), 1)
    b = simulate(SessionBuilder(tmp_path / "b"), 2)
    b.emit("error", "agent_00", level="ERROR", error_type="Odd", error_message="once", message="Odd: once")
    found = compare_sessions(a.path, b.path)
    (odd,) = (each for each in found.differences if each.name == "Odd: once")
    assert (odd.note, odd.is_real, found.real) == ("new", False, ())


def test_errors_of_one_side_that_come_close_together_are_not_called_noise(tmp_path: Path) -> None:
    a = simulate(SessionBuilder(tmp_path / "a"), 1, agents=3)
    b = simulate(SessionBuilder(tmp_path / "b"), 2, agents=3)
    for n in range(30):
        said = f"doc_{n} does not match"
        b.emit(
            "error", "agent_00", level="ERROR", error_type="KeyError", error_message=said,
            message=f"KeyError: {said}",
        )  # fmt: skip
    found = compare_sessions(a.path, b.path)
    (odd,) = (each for each in found.differences if each.name == "KeyError: doc_# does not match")
    assert (odd.note, odd.is_real) == ("new", False)
    shown = str(found)
    alone = shown.partition("Only on one side, but too few or too close together to be sure")[2]
    assert odd.name in alone.partition("Noise may explain")[0]
    assert odd.name not in alone.partition("Noise may explain")[2]


@pytest.mark.further
def test_latencies_that_only_recording_can_tell_apart_are_no_difference(tmp_path: Path) -> None:
    assert two(tmp_path, {"lookup_ms": 0.001}, {"lookup_ms": 0.003}).real == ()
    (lookup,) = real(two(tmp_path / "more", {"lookup_ms": 0.1}, {"lookup_ms": 0.3}))
    assert lookup == ("latency", "lookup p50 ms")


def test_the_limits_of_a_latency_fit_a_float_where_durations_are_damaged(tmp_path: Path) -> None:
    sides = []
    for n, durations in enumerate(([1.0, 1e-6, 1e-3], [1.0, 1e300, 1e305])):
        build = SessionBuilder(tmp_path / f"s{n}", f"2026112{n}_103045")
        for tick, duration_ms in enumerate(3 * durations):
            build.tick = tick
            for agent in range(4):
                build.emit(
                    "agent_action",
                    f"agent_{agent}",
                    action_type="lookup",
                    duration_ms=duration_ms,
                    span=build.span(),
                )
        sides.append(build.path)
    found = [each for each in compare_sessions(*sides).differences if each.what == "latency"]
    assert found and all(math.isfinite(each.high or 0.0) for each in found)


@pytest.mark.further
def test_an_action_that_only_one_side_has_is_shown_before_what_noise_explains(tmp_path: Path) -> None:
    a = simulate(SessionBuilder(tmp_path / "a"), 1)
    b = simulate(SessionBuilder(tmp_path / "b"), 2)
    b.emit("agent_action", "agent_00", action_type="refund")
    for first, second, note in ((a, b, "new"), (b, a, "gone")):
        found = compare_sessions(first.path, second.path)
        (refund,) = (each for each in found.differences if each.name == "refund")
        assert (refund.what, refund.note, refund.is_real) == ("action", note, False)
        assert "refund" in str(found).partition("Only on one side")[2].partition("Noise may explain")[0]


@pytest.mark.further
def test_a_longer_session_has_the_same_rates(tmp_path: Path) -> None:
    assert two(tmp_path, {"ticks": 40}, {"ticks": 120}).real == ()


@pytest.mark.further
def test_sides_are_told_by_a_field_even_where_only_some_events_carry_it(builder: SessionBuilder) -> None:
    simulate(builder, 1, agents=20, version=lambda n: "1.2" if n % 2 else "1.3")
    for tick in range(40):
        builder.tick = tick
        for n in range(20):
            if n % 2 == 0 or tick % 4 == 0:
                builder.emit("interaction", f"agent_{n:02d}", interaction_type="like")  # carries no version
    analyzer = LogAnalyzer(builder.path)
    found = analyzer.compare_by("agent_version")
    assert [found.first["label"], found.second["label"]] == ["1.2", "1.3"]
    assert found.first["agents"] == found.second["agents"] == 10
    (name,) = real(found)
    assert name == ("kind", "interaction")
    assert real(found)[name].second == pytest.approx(1.0)
    swapped = analyzer.compare_by("agent_version", ["1.3", "1.2"])
    assert real(swapped)[name].first == pytest.approx(1.0)
    assert json.loads(json.dumps(found.to_dict()))["real"] == 1
    assert "Differences that noise does not explain: 1" in str(found)
    assert "<td>interaction</td>" in found._repr_html_()


def test_a_field_without_two_values_is_refused_with_those_it_has(builder: SessionBuilder) -> None:
    simulate(builder, 1, agents=2, ticks=2, version=lambda n: "1.2")
    analyzer = LogAnalyzer(builder.path)
    with pytest.raises(UsageError, match=r"its values are: 1\.2"):
        analyzer.compare_by("agent_version")
    with pytest.raises(UsageError, match="never 'x'"):
        analyzer.compare_by("agent_version", ["x", "1.2"])
    with pytest.raises(UsageError, match="none"):
        analyzer.compare_by("no_such_field")


def test_an_empty_side_is_too_little_to_tell(tmp_path: Path) -> None:
    a, b = SessionBuilder(tmp_path / "a"), SessionBuilder(tmp_path / "b")
    a.emit("log", "x")
    b.emit("reward", "x", reward=1.0, action_id="a")
    found = compare_sessions(a.path, b.path)
    assert found.real == ()
    assert str(found)


def test_welch_agrees_with_tables() -> None:
    # Student's t at 97.5 % for 1, 10 and 1000 degrees of freedom
    for freedom, t in ((1, 12.706), (10, 2.2281), (1000, 1.9623)):
        assert two_sided(t, freedom) == pytest.approx(0.05, abs=2e-5)
    first = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
    second = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4]
    found = welch(first, second)
    assert found.chance == pytest.approx(0.021378, abs=1e-5)
    assert found.low is not None and found.high is not None
    assert found.low < found.difference < found.high
    assert found.low > 0


def test_few_values_prove_little_however_alike_they_are() -> None:
    assert welch([1.0, 1.0], [2.0, 2.0]).chance == pytest.approx(2 / 6)
    assert welch([1.0], [2.0, 2.0]).chance is None
    assert welch([3.0] * 5, [3.0] * 5).chance == 1.0


def test_holms_correction_is_that_of_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, math.nextafter(1, 0)])[1] <= 1.0
