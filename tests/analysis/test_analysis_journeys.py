"""Journeys in totals, as trees and across sessions: idle times, gaps in the record, what has not ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from analysis_kit import SessionBuilder
from known import Known

from Agent.analysis import LogAnalyzer
from Agent.analysis.questions.journeys import journey_tree, journeys_overview
from Agent.errors import AgentNotFound
from Agent.event.payloads import NAMED_BY


def test_idle_is_where_no_span_was_open_and_nothing_was_said(builder: SessionBuilder) -> None:
    outer, inner = builder.span(), builder.span()
    first = builder.emit("log", "a", message="before")
    builder.pass_time(3)
    # two seconds of work with an inner second: the three seconds before are one less of idleness
    builder.emit("agent_action", "a", span=inner, parent=outer, action_type="think", duration_ms=1000)
    work = builder.emit("agent_action", "a", span=outer, action_type="act", duration_ms=2000)
    builder.pass_time(5)
    last = builder.emit("log", "a", message="after")
    found = LogAnalyzer(builder.path).journey_overview("a")
    assert found["busy_s"] == pytest.approx(2, abs=1e-4)
    assert found["idle_s"] == pytest.approx(6, abs=1e-4)
    assert [(stretch["after"], stretch["before"]) for stretch in found["idle"]] == [
        (first, work),
        (work, last),
    ]
    assert [stretch["seconds"] for stretch in found["idle"]] == pytest.approx([1, 5], abs=1e-4)
    assert found["duration_s"] == pytest.approx(8, abs=1e-4)
    assert (found["total_logs"], found["spans"], found["gaps"]) == (4, 2, None)


def test_a_key_names_only_the_events_of_its_own_kind(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NAMED_BY, "spending", "resource")
    for _ in range(2):
        builder.emit("spending", "a", resource="tokens", amount=2)
        builder.emit("log", "a", resource="tokens", message="m")
    rows = journey_tree(LogAnalyzer(builder.path).reader, "a")[0]
    assert [row["name"] for row in rows] == ["tokens", "log"] * 2


def test_a_tree_has_parents_first_and_tells_what_time_is_a_spans_own(builder: SessionBuilder) -> None:
    outer, inner, foreign = builder.span(), builder.span(), builder.span()
    builder.emit("decision", "a", parent=inner, decision_type="which")
    builder.emit("agent_action", "a", span=inner, parent=outer, action_type="think", duration_ms=4)
    builder.emit("agent_action", "a", span=outer, parent=foreign, action_type="act", duration_ms=10)
    builder.emit("metric", span=foreign, metric_name="tick", value=11, duration_ms=11)
    builder.emit("log", "a", message="alone")
    rows, left_out = journey_tree(LogAnalyzer(builder.path).reader, "a")
    assert left_out == 0
    assert [(row["depth"], row["name"], row["self_ms"], row["inside"]) for row in rows] == [
        (0, "act", 6, foreign),
        (1, "think", 4, None),
        (2, "which", None, None),
        (0, "log", None, None),
    ]
    rows, left_out = journey_tree(LogAnalyzer(builder.path).reader, "a", 2)
    assert ([row["name"] for row in rows], left_out) == (["act", "log"], 2)


def test_an_agent_is_followed_through_all_sessions(tmp_path: Path) -> None:
    for number in range(3):
        build = SessionBuilder(tmp_path, f"20261120_10304{number}", writer=f"aaaaaaa{'bcd'[number]}")
        build.now_us += number * 60_000_000
        if number != 1:
            build.emit("agent_action", "a", action_type="act")
            build.pass_time(2)
            build.emit("agent_action", "a", action_type="rest")
        build.emit("log", "b")
    found = journeys_overview(tmp_path, "a")
    assert [row["session_id"] for row in found["sessions"]] == ["20261120_103040", "20261120_103042"]
    assert (found["events"], found["action_counts"]) == (4, {"act": 2, "rest": 2})
    assert found["between_s"] == pytest.approx(118, abs=0.01), "that is neither idle nor a gap"
    assert sum(row["idle_s"] for row in found["sessions"]) == pytest.approx(4, abs=0.01)
    with pytest.raises(AgentNotFound, match="nobody"):
        journeys_overview(tmp_path, "nobody")
    assert LogAnalyzer("20261120_103042", tmp_path).journeys_overview("b")["events"] == 3


def test_a_session_that_cannot_be_read_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    for number in range(2):
        build = SessionBuilder(tmp_path, f"20261120_10304{number}", writer=f"aaaaaaa{'bc'[number]}")
        build.emit("agent_action", "a", action_type="act")
    damaged = tmp_path / "session_20261120_103040" / "archive"
    damaged.mkdir()
    (damaged / "part-1.json").write_text("{")
    found = journeys_overview(tmp_path, "a")
    assert [row["session_id"] for row in found["sessions"]] == ["20261120_103041"]
    assert list(found["unread"]) == ["20261120_103040"]
    assert str(damaged / "part-1.json") in found["unread"]["20261120_103040"]


@pytest.mark.integration
def test_numbers_that_are_missing_are_a_gap_and_no_idleness(known: Known) -> None:
    fault = known.fault("torn_file")
    analyzer = LogAnalyzer(known.truth.session)
    found = analyzer.journey_overview(fault.agent_id, gaps=True)
    [(writer, lost)] = known.truth.lost.items()
    told = [n for gap in found["gaps"] for n in range(gap["first_seq"], gap["last_seq"] + 1)]
    assert (told, {gap["writer"] for gap in found["gaps"]}) == (sorted(lost), {writer})
    assert {gap["verdict"] for gap in found["gaps"]} == {"lost"}
    assert all(gap["after"] < gap["before"] for gap in found["gaps"])
    assert found["damaged_lines"] == sum(known.truth.damaged.values())
    other = next(n for n in range(known.truth.agents) if n % 2 != fault.agent % 2)
    assert analyzer.journey_overview(f"agent_{other:05d}", gaps=True)["gaps"] == [], (
        "another process lost none"
    )
    analyzer.close()


@pytest.mark.integration
def test_the_overview_counts_what_the_session_is_known_to_hold(known: Known) -> None:
    analyzer = LogAnalyzer(known.truth.session)
    for agent, count in list(known.truth.by_agent.items())[::5]:
        found = analyzer.journey_overview(agent)
        assert found["total_logs"] == count
        assert (found["first_tick"], found["last_tick"]) == (0, known.truth.ticks - 1)
        # one burst of work a tick
        assert found["busy_s"] < 0.05 * found["duration_s"]
