"""Performance: quantiles, own times, slow spans as trees, and steps in latency, against independent counts."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from analysis_kit import SessionBuilder
from hypothesis import given
from hypothesis import strategies as st
from known import Known

from Agent.analysis import LogAnalyzer
from Agent.analysis import stats as trend
from Agent.analysis.query import engine as query_engine
from Agent.analysis.stats import describe

NAMES = {"agent_action": "action_type", "learning_update": "learning_stage", "metric": "metric_name"}


@pytest.fixture(scope="module")
def report(known: Known) -> dict[str, Any]:
    analyzer = LogAnalyzer(known.truth.session)
    found = analyzer.performance_report()
    analyzer.close()
    return found


def rows_of(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {("metric", name): row for name, row in report["operations"].items()}
    found |= {("agent_action", name): row for name, row in report["actions"].items()}
    return found | {(row["kind"], row["name"]): row for row in report["other_spans"]}


def test_every_operation_has_the_numbers_of_its_lines(known: Known, report: dict[str, Any]) -> None:
    durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    inner: defaultdict[str, float] = defaultdict(float)
    spans = [event for event in known.of_kind(*NAMES) if "duration_ms" in event["extra"]]
    for event in spans:
        extra = event["extra"]
        durations[extra["event_type"], extra[NAMES[extra["event_type"]]]].append(extra["duration_ms"])
        inner[event.get("parent_span_id", "")] += extra["duration_ms"]
    own: defaultdict[tuple[str, str], float] = defaultdict(float)
    for event in spans:
        extra = event["extra"]
        key = extra["event_type"], extra[NAMES[extra["event_type"]]]
        own[key] += max(0.0, extra["duration_ms"] - inner[event["span_id"]])
    found = rows_of(report)
    assert found.keys() == durations.keys()
    for key, values in durations.items():
        expected = describe(values)
        assert {name: found[key][name] for name in expected} == pytest.approx(expected), key
        assert found[key]["self_ms"] == pytest.approx(own[key])
    assert report["quantiles"] == "exact"
    assert sum(row["share"] for row in report["bottlenecks"]) == pytest.approx(1)


def test_a_step_in_latency_is_found_at_its_tick_and_nothing_else_is(
    known: Known, report: dict[str, Any]
) -> None:
    fault = known.fault("latency_step")
    width = -(-known.truth.ticks // 60)
    steps = {step["name"]: step for step in report["latency_steps"]["steps"]}
    assert abs(steps["lookup"]["tick"] - (fault.tick + 1)) <= width
    assert steps["lookup"]["ratio"] == pytest.approx(20, rel=0.2)
    # what holds the lookup became slower with it, and nothing else did
    assert steps.keys() <= {"lookup", "step", "tick"}


def test_the_slowest_spans_come_with_what_happened_in_them(known: Known, report: dict[str, Any]) -> None:
    spans = {e["id"]: e for e in known.of_kind(*NAMES) if "duration_ms" in e["extra"]}
    slowest = report["slowest"]
    assert [row["duration_ms"] for row in slowest] == sorted(
        (event["extra"]["duration_ms"] for event in spans.values()), reverse=True
    )[:10]
    for row in slowest:
        event = spans[row["id"]]
        children = sorted(e["id"] for e in spans.values() if e.get("parent_span_id") == event["span_id"])
        assert sorted(each["id"] for each in row["tree"] if each["depth"] == 1) == children


@pytest.mark.further
@given(st.lists(st.tuples(st.integers(-1, 30), st.integers(0, 50)), min_size=1, max_size=30))
def test_own_times_add_up_to_the_time_of_the_outermost(shape: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as directory:
        build = SessionBuilder(Path(directory))
        spans = [build.span() for _ in shape]
        parents = [min(parent, number - 1) for number, (parent, _) in enumerate(shape)]
        # a span takes its own time and that of what it holds: written from the inside out
        taken = [own for _, own in shape]
        for number in range(len(shape) - 1, 0, -1):
            if parents[number] >= 0:
                taken[parents[number]] += taken[number]
        for number in range(len(shape) - 1, -1, -1):
            parent = spans[parents[number]] if parents[number] >= 0 else None
            build.emit(
                "agent_action", "a", span=spans[number], parent=parent, action_type=f"n{number}",
                duration_ms=taken[number],
            )  # fmt: skip
        analyzer = LogAnalyzer(build.path)
        found = analyzer.performance_report()
        analyzer.close()
    assert {name: row["self_ms"] for name, row in found["actions"].items()} == {
        f"n{number}": own for number, (_, own) in enumerate(shape)
    }
    assert all(row["concurrent"] == 0 for row in found["actions"].values())
    deepest = found["slowest"][0]
    number = int(deepest["name"][1:])
    inside = {number}
    for child in range(len(shape)):
        if parents[child] in inside:
            inside.add(child)
    assert sorted(row["name"] for row in deepest["tree"]) == sorted(
        f"n{child}" for child in inside - {number}
    )


def test_children_side_by_side_are_said_to_be_so(builder: SessionBuilder) -> None:
    outer = builder.span()
    for _ in range(3):
        builder.emit(
            "agent_action", "a", span=builder.span(), parent=outer, action_type="wait", duration_ms=10
        )
    builder.emit("agent_action", "a", span=outer, action_type="gather", duration_ms=11)
    found = LogAnalyzer(builder.path).performance_report()["actions"]["gather"]
    assert (found["self_ms"], found["concurrent"]) == (0, 1)


@pytest.mark.integration
def test_many_rows_are_read_each_time_with_the_same_answer(
    known: Known, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_engine, "MAX_ROWS", 10)
    analyzer = LogAnalyzer(known.truth.session)
    again = analyzer.performance_report()
    assert json.dumps(again, sort_keys=True) == json.dumps(report, sort_keys=True) or rows_of(again) == {
        key: pytest.approx(row) for key, row in rows_of(report).items()
    }
    monkeypatch.setattr(trend, "EXACT_ROWS", 10)
    sketched = analyzer.performance_report()
    analyzer.close()
    assert sketched["quantiles"].startswith("approximate")
    for key, row in rows_of(report).items():
        assert rows_of(sketched)[key]["p50"] == pytest.approx(row["p50"], rel=0.1)


def test_memory_that_only_grows_is_told_from_memory_that_does_not(trace_root: Path) -> None:
    for name, grows in (("20261120_103045", True), ("20261120_103046", False)):
        build = SessionBuilder(trace_root, name)
        for number in range(40):
            build.pass_time(1)
            build.emit("resource", memory_bytes=10**8 + (number * 10**6 if grows else number % 7 * 10**6))
        memory = LogAnalyzer(build.path).performance_report()["resource_curve"]["memory"]
        assert memory["rising"] is grows
        if grows:
            assert memory["bytes_per_s"] == pytest.approx(10**6, rel=0.1)
