"""Questions about one agent: journey, activity, state; from its own files alone."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from analysis_kit import START_US, SessionBuilder

from Agent.analysis import LogAnalyzer
from Agent.errors import AgentNotFound, EventNotFound, UsageError
from Agent.event.clock import EPOCH, format_timestamp


def nested_session(build: SessionBuilder) -> dict[str, str]:
    """An outer action with an inner one and a decision in it, written as recording does: spans at their end."""
    outer, inner = build.span(), build.span()
    ids = {"before": build.emit("log", "a", message="before")}
    build.pass_time(1)
    ids["decision"] = build.emit("decision", "a", parent=outer, decision_type="timing")
    build.pass_time(1)
    ids["deep"] = build.emit("log", "a", parent=inner, message="deep")
    build.pass_time(1)
    ids["inner"] = build.emit(
        "agent_action", "a", span=inner, parent=outer, action_type="think", duration_ms=1500
    )
    ids["outer"] = build.emit("agent_action", "a", span=outer, action_type="act", duration_ms=2500)
    return ids


def test_a_journey_is_in_order_of_time_and_says_how_deep_each_event_lies(builder: SessionBuilder) -> None:
    ids = nested_session(builder)
    journey = LogAnalyzer(builder.path).trace_agent_journey("a")
    assert [(step["id"], step["depth"]) for step in journey] == [
        (ids["before"], 0),
        (ids["decision"], 1),
        (ids["deep"], 2),
        (ids["inner"], 1),
        (ids["outer"], 0),
    ]
    assert [step["timestamp"] for step in journey] == sorted(step["timestamp"] for step in journey)
    keys = {
        "timestamp",
        "message",
        "id",
        "level",
        "event_type",
        "span_id",
        "parent_span_id",
        "duration_ms",
        "tick",
    }
    assert keys <= journey[0].keys()
    assert journey[-1]["duration_ms"] == 2500


def test_the_journey_of_an_agent_of_which_nothing_is_on_record_is_empty(builder: SessionBuilder) -> None:
    nested_session(builder)
    assert LogAnalyzer(builder.path).trace_agent_journey("problematic_agent_id") == []


def test_a_nested_journey_tells_each_span_before_what_happened_in_it(builder: SessionBuilder) -> None:
    ids = nested_session(builder)
    journey = LogAnalyzer(builder.path).trace_agent_journey("a", nested=True)
    assert [step["id"] for step in journey] == [
        ids[name] for name in ("before", "outer", "decision", "inner", "deep")
    ]
    assert [step["started_at"] for step in journey] == sorted(step["started_at"] for step in journey)


def test_spans_that_name_each_other_as_parents_do_not_hang_the_journey(builder: SessionBuilder) -> None:
    builder.emit("agent_action", "a", span="one", parent="two", action_type="x")
    builder.emit("agent_action", "a", span="two", parent="one", action_type="x")
    builder.emit("agent_action", "a", span="own", parent="own", action_type="x")
    assert len(LogAnalyzer(builder.path).trace_agent_journey("a")) == 3


def test_point_questions_read_only_the_agents_files_and_load_no_engine(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.emit("agent_action", "a", action_type="act")
    builder.emit("state", "a", fields={"x": 1}, reason="first", digest="0")
    builder.emit("agent_action", "b", action_type="act")
    monkeypatch.setitem(sys.modules, "duckdb", None)  # importing it would fail
    read: list[str] = []
    opened = Path.open

    import Agent.tree.files.lines as lines

    original = lines.open_file
    monkeypatch.setattr(lines, "open_file", lambda path: read.append(Path(path).name) or original(path))
    analyzer = LogAnalyzer(builder.path)
    assert analyzer.analyze_agent_activity("a")["total_logs"] == 2
    assert len(analyzer.trace_agent_journey("a")) == 2
    assert analyzer.state_at("a", 99)["fields"] == {"x": 1}
    assert set(read) == {"a.log"}
    assert opened is Path.open


def test_activity_tells_outcomes_and_durations_by_action(builder: SessionBuilder) -> None:
    for n in range(10):
        builder.emit("agent_action", "a", role="creator", action_type="act", duration_ms=float(n))
    builder.emit(
        "agent_action", "a", action_type="act", outcome="error", error_id="aaaabbbb-1", level="ERROR"
    )
    builder.emit("agent_action", "a", action_type="wait", outcome="cancelled")
    builder.emit("decision", "a", decision_type="timing")
    activity = LogAnalyzer(builder.path).analyze_agent_activity("a")
    assert activity["agent_role"] == "creator"
    assert activity["outcomes"] == {"act": {"ok": 10, "error": 1}, "wait": {"cancelled": 1}}
    durations = activity["durations_ms"]["act"]
    assert (durations["count"], durations["mean"], durations["p50"], durations["max"]) == (10, 4.5, 4.5, 9.0)
    assert durations["p95"] == pytest.approx(8.55)
    assert activity["errors"] == 0, "a span that points at an error is no second error"
    assert activity["decision_counts"] == {"timing": 1}


def state_session(build: SessionBuilder) -> dict[str, str]:
    build.tick = 1
    ids = {
        "first": build.emit(
            "state", "a", fields={"x": 1, "gone": True}, reason="first", digest="0", unseen=["rng"]
        )
    }
    build.pass_time(10)
    build.tick = 2
    ids["set"] = build.emit(
        "agent_action", "a", action_type="act", state={"set": {"x": 2, "y": [1]}, "unset": ["gone"]}
    )
    build.pass_time(10)
    build.tick = 3
    ids["other"] = build.emit("log", "b")
    build.pass_time(10)
    ids["told"] = build.emit(
        "state_change", "a", old_state={"mood": "calm"}, new_state={"mood": "wild"}, trigger="x"
    )
    ids["late"] = build.emit("agent_action", "a", action_type="act", state={"set": {"x": 3}, "unset": []})
    build.tick = 4
    ids["full"] = build.emit("state", "a", fields={"x": 4}, reason="periodic", digest="1")
    return ids


def test_the_state_at_any_moment_is_the_fold_of_full_states_and_changes(builder: SessionBuilder) -> None:
    ids = state_session(builder)
    analyzer = LogAnalyzer(builder.path)
    assert analyzer.state_at("a", ids["first"])["fields"] == {"x": 1, "gone": True}
    after = analyzer.state_at("a", ids["set"])
    assert after["fields"] == {"x": 2, "y": [1]}
    assert (after["base"]["id"], after["as_of"]["id"], after["changes"]) == (ids["first"], ids["set"], 1)
    assert after["unseen"] == ["rng"]
    assert analyzer.state_at("a", 2)["fields"] == {"x": 2, "y": [1]}
    assert analyzer.state_at("a", "3")["fields"] == {"x": 3, "y": [1]}
    assert analyzer.state_at("a", 3)["reported"] == {"mood": "wild"}
    assert analyzer.state_at("a", 4)["fields"] == {"x": 4}
    assert analyzer.state_at("a", ids["other"])["fields"] == {"x": 2, "y": [1]}, (
        "another agent's event is a moment too"
    )
    assert analyzer.state_at("a", format_timestamp(START_US + 5_000_000))["fields"] == {"x": 1, "gone": True}
    moment = EPOCH.fromtimestamp(START_US / 1e6 + 15, tz=UTC)
    assert isinstance(moment, datetime)
    assert analyzer.state_at("a", moment)["fields"] == {"x": 2, "y": [1]}


def test_before_its_first_state_an_agent_has_none_and_the_error_names_the_first(
    builder: SessionBuilder,
) -> None:
    ids = state_session(builder)
    with pytest.raises(EventNotFound, match=ids["first"]):
        LogAnalyzer(builder.path).state_at("a", 0)
    with pytest.raises(EventNotFound, match="no state of b was recorded"):
        LogAnalyzer(builder.path).state_at("b", 9)
    with pytest.raises(AgentNotFound):
        LogAnalyzer(builder.path).state_at("nobody", 9)


def test_a_moment_that_is_none_is_refused(builder: SessionBuilder) -> None:
    state_session(builder)
    analyzer = LogAnalyzer(builder.path)
    with pytest.raises(UsageError, match="not a moment"):
        analyzer.state_at("a", "yesterday")
    with pytest.raises(EventNotFound):
        analyzer.state_at("a", "aaaabbbb-99999")


def test_checkpoints_are_full_states_and_the_ones_that_the_program_named(builder: SessionBuilder) -> None:
    ids = state_session(builder)
    named = builder.emit("checkpoint", name="halfway", data={"epoch": 5})
    found = LogAnalyzer(builder.path).checkpoints()
    assert [(point["id"], point["name"]) for point in found] == [
        (ids["first"], "first"),
        (ids["full"], "periodic"),
        (named, "halfway"),
    ]
    assert [point["id"] for point in LogAnalyzer(builder.path).checkpoints("a")] == [
        ids["first"],
        ids["full"],
    ]
