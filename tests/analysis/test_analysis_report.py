"""The report on a whole session, the exported file, the timeline, the account of the record."""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from analysis_kit import Platform, SessionBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Agent.analysis import LogAnalyzer, analyze_session
from Agent.analysis import session as lookup
from Agent.analysis.questions.errors import NUMBERS, shape_of
from Agent.analysis.report.details import learning_sections
from Agent.errors import AgentNotFound, EventNotFound, InputError
from Agent.flight.run_reading import find_session_run
from Agent.render.layout import sections_text
from Agent.tree.read.reader import TreeReader


@pytest.mark.further
def test_an_analysis_prints_as_a_report_and_reads_as_a_mapping(planted: Callable[..., Platform]) -> None:
    platform = planted()
    analysis = analyze_session(platform.builder.path)
    assert analysis["total_events"] == len(platform.builder.events)
    assert set(analysis["agents"]) == {*platform.creators, "trend_tool"}
    assert dict(analysis) == analysis.to_dict()
    text = str(analysis)
    for word in (
        "Session 20261120_103045",
        "create_content",
        "TrendToolError",
        "Learning",
        "rewards",
        "creator",
    ):
        assert word in text
    assert max(len(line) for line in text.splitlines()) <= 140


@pytest.mark.further
def test_a_session_with_one_line_has_a_report_too(builder: SessionBuilder) -> None:
    builder.emit("log")
    assert "1 event of 0 agents" in str(analyze_session(builder.path))


@pytest.mark.further
def test_the_report_without_arguments_is_on_the_newest_session(trace_root: Path) -> None:
    SessionBuilder(trace_root, "20261120_103045").emit("log")
    SessionBuilder(trace_root, "20261121_103045").emit("log")
    assert analyze_session()["session_id"] == "20261121_103045"


@pytest.mark.further
def test_an_export_is_one_private_json_file_and_replaces_the_one_before(
    planted: Callable[..., Platform], tmp_path: Path
) -> None:
    analyzer = LogAnalyzer(planted(fault="blocked").builder.path)
    target = tmp_path / "report.json"
    target.write_text("old")
    target.chmod(0o644)
    assert analyzer.export_analysis(target) == target
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    body = json.loads(target.read_bytes())
    assert body["total_events"] == len(planted(fault="blocked").builder.events)
    assert body["timeline"]["buckets"]
    assert body["errors"]["most_common_messages"][0][0] == "TrendToolError: upstream timed out"
    assert [path.name for path in tmp_path.iterdir() if "report" in path.name] == ["report.json"]


@pytest.mark.further
def test_an_export_that_cannot_be_written_is_one_clear_error(builder: SessionBuilder, tmp_path: Path) -> None:
    builder.emit("log")
    with pytest.raises(InputError, match="cannot be written"):
        LogAnalyzer(builder.path).export_analysis(tmp_path / "nowhere" / "report.json")


def test_the_timeline_covers_the_session_and_counts_every_event_once(
    planted: Callable[..., Platform],
) -> None:
    platform = planted()
    found = LogAnalyzer(platform.builder.path).timeline(buckets=25)
    buckets = found["buckets"]
    assert len(buckets) == 25
    assert sum(bucket["events"] for bucket in buckets) == len(platform.builder.events)
    assert all(earlier["end"] == later["start"] for earlier, later in pairwise(buckets))
    assert buckets[0]["start"] == platform.builder.events[0].timestamp
    assert (buckets[0]["first_tick"], buckets[-1]["last_tick"]) == (0, 79)
    for bucket in buckets:
        assert sum(bucket["by_type"].values()) == bucket["events"]


def test_marks_are_what_the_program_said_about_its_course(builder: SessionBuilder) -> None:
    for kind, extra in (
        ("simulation_start", {"name": "x"}),
        ("phase", {"name": "two"}),
        ("log", {}),
        ("milestone", {"name": "m"}),
    ):
        builder.emit(kind, **extra)
    marks = LogAnalyzer(builder.path).timeline(1)["marks"]
    assert [(mark["event_type"], mark["name"]) for mark in marks] == [
        ("simulation_start", "x"), ("phase", "two"), ("milestone", "m"),
    ]  # fmt: skip


def test_patterns_put_errors_together_that_differ_in_numbers_only(builder: SessionBuilder) -> None:
    first = None
    for n in range(5):
        made = builder.emit(
            "error",
            f"a{n % 2}",
            level="ERROR",
            message=f"T: after {n} ms",
            error_type="T",
            error_message=f"after {n} ms",
        )
        first = first or made
    builder.emit("log", "a0", level="CRITICAL", message="lost")
    builder.emit("log", level="ERROR", message="nobody's")
    patterns = LogAnalyzer(builder.path).find_error_patterns()
    assert patterns["total_errors"] == 7
    assert patterns["by_type"] == {"T": 5, "(logged)": 2}
    assert patterns["by_agent"] == {"a0": 4, "a1": 2, "(no agent)": 1}
    assert patterns["by_level"] == {"ERROR": 6, "CRITICAL": 1}
    top = patterns["fingerprints"][0]
    assert (top["count"], top["agents"], top["example_id"], top["message"]) == (5, 2, first, "T: after 0 ms")
    assert top["first_seen"] < top["last_seen"]


def test_errors_come_newest_last_and_the_newest_few_can_be_asked_for(builder: SessionBuilder) -> None:
    ids = [
        builder.emit("error", "a", level="ERROR", error_type="T", error_message=str(n), custom={"n": None})
        for n in range(5)
    ]
    analyzer = LogAnalyzer(builder.path)
    assert [error["id"] for error in analyzer.get_errors()] == ids
    assert [error["id"] for error in analyzer.get_errors(limit=2)] == ids[-2:]
    assert analyzer.get_errors()[-1]["extra"]["custom"] == {"n": None}


@pytest.mark.further
def test_errors_that_differ_in_a_number_are_one_line_of_the_report_with_their_whole_count(
    builder: SessionBuilder,
) -> None:
    for n in range(60):
        said = f"signature of doc_{n:04d} does not match"
        builder.emit(
            "error", "vault", level="ERROR", message=f"KeyError: {said}", error_type="KeyError",
            error_message=said,
        )  # fmt: skip
    for _ in range(7):
        builder.emit(
            "error", "vault", level="ERROR", message="OSError: disk 3 is full", error_type="OSError",
            error_message="disk 3 is full",
        )  # fmt: skip
    analysis = analyze_session(builder.path)
    lines = str(analysis).splitlines()
    assert "  67 errors in 2 patterns; most of vault (67)." in lines
    assert [line.split() for line in lines if " x  " in line] == [
        "60 x KeyError: signature of doc_# does not match".split(),
        "7 x OSError: disk 3 is full".split(),
    ]
    assert [row["varies"] for row in analysis["errors"]["fingerprints"]] == [True, False]


def test_content_that_was_shared_without_a_cascade_event_has_no_cascade_of_zero(
    builder: SessionBuilder,
) -> None:
    for content, kinds in (("tea", ["share"] * 3), ("rain", ["like"] * 5 + ["share"])):
        for n, kind in enumerate(kinds):
            builder.emit(
                "interaction", interaction_type=kind, source_id=f"u{n}", target_id="a", content_id=content
            )
    text = str(analyze_session(builder.path))
    assert "cascade of" not in text
    assert text.index("tea") < text.index("rain")
    assert ["tea", "-", "3", "3"] in [line.split() for line in text.splitlines()]


def test_interactions_are_told_in_full(builder: SessionBuilder) -> None:
    for n in range(6):
        kind = "share" if n % 2 else "like"
        builder.emit(
            "interaction", interaction_type=kind, source_id=f"u{n % 3}", target_id="creator", content_id="c1"
        )
    builder.emit("cascade", content_id="c2", size=40, depth=3, root_agent_id="u1")
    builder.emit("cascade", content_id="c2", size=90, depth=4, root_agent_id="u1")
    builder.emit("connection", source_id="u1", target_id="u2", connection_type="follow")
    builder.emit("collaboration", collaboration_type="duet", participants=["u1", "u2", "u3"])
    for direction, agent in (("sent", "u1"), ("received", "u2")):
        builder.emit(
            "agent_message", agent, direction=direction, message_id="m1", sender="u1", recipient="u2"
        )
    builder.emit("agent_message", "u1", direction="sent", message_id="m2", sender="u1", recipient="u3")
    found = LogAnalyzer(builder.path).analyze_interactions()
    assert (found["total_interactions"], found["by_type"]) == (6, {"like": 3, "share": 3})
    assert [(item["content_id"], item["cascade_size"], item["interactions"], item["shares"]) for item in found["top_viral_content"]] == [
        ("c2", 90, 0, 0), ("c1", 0, 6, 3),
    ]  # fmt: skip
    assert (found["cascades"]["total"], found["cascades"]["largest"], found["cascades"]["deepest"]) == (
        2,
        90,
        4,
    )
    assert found["connections"] == {
        "total": 1,
        "by_type": {"follow": 1},
        "most_connected": {"u1": 1, "u2": 1},
    }
    assert (found["collaborations"]["total"], found["collaborations"]["largest"]) == (1, 3)
    assert (found["messages"]["total"], found["messages"]["never_received"]) == (3, 1)
    assert found["messages"]["busiest_pairs"][0] == {"sender": "u1", "recipient": "u2", "n": 1}


def test_performance_tells_operations_values_throughput_and_resources(builder: SessionBuilder) -> None:
    for n in range(1, 5):
        builder.emit("metric", metric_name="render", value=float(n), unit="ms", duration_ms=float(n))
        builder.emit("metric", metric_name="queue", value=n * 10, unit="items")
    builder.emit(
        "metric", metric_name="render", value=90.0, duration_ms=90.0, outcome="error", error_id="aaaabbbb-1"
    )
    builder.emit("throughput", operation="posts", count=100, duration_s=4.0, per_second=25.0)
    builder.emit("resource", memory_bytes=1000, cpu_percent=50.0, open_files=3)
    found = LogAnalyzer(builder.path).performance_summary()
    render = found["operations"]["render"]
    assert (render["count"], render["errors"], render["total_ms"], render["p50"], render["max"]) == (
        5,
        1,
        100.0,
        3.0,
        90.0,
    )
    assert (found["metrics"]["queue"]["mean"], found["metrics"]["queue"]["unit"]) == (25.0, "items")
    assert found["throughput"]["posts"]["per_second"] == 25.0
    assert (found["resources"]["max_memory_bytes"], found["resources"]["max_open_files"]) == (1000, 3)
    assert found["slowest"][0]["duration_ms"] == 90.0
    assert found["bottlenecks"][0]["name"] == "render"


def test_a_gap_in_the_numbers_of_a_closed_writer_is_a_loss(builder: SessionBuilder) -> None:
    builder.emit("log", "a")
    builder.seq += 2
    builder.emit("log.closed", writer=builder.writer, last_seq=builder.seq + 1)
    losses = LogAnalyzer(builder.path).losses()
    assert (losses["total_lost"], losses["clean"], losses["read"]) == (2, False, 2)


@pytest.mark.further
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 12)), min_size=1, max_size=20),
    st.sampled_from([None, 3, 12, 15]),
    st.booleans(),
    st.booleans(),
)
def test_the_account_from_numbers_alone_is_the_account_of_who_reads_everything(
    numbers: list[tuple[str, int]], last: int | None, retires: bool, tears: bool
) -> None:
    with TemporaryDirectory() as directory:
        build = SessionBuilder(Path(directory) / "trace")
        for name, seq in dict.fromkeys(numbers):
            build.writer, build.seq = name * 8, seq - 1
            build.emit("log", name)
        build.writer, build.seq = "aaaaaaaa", 19
        if retires:
            build.emit("log.retired", writer="bbbbbbbb", first_seq=2, last_seq=5)
        if last is not None:
            build.emit("log.closed", writer=build.writer, last_seq=last)
        if tears:
            build.write_line(b'{"timestamp":"torn', "a")
        analyzer = LogAnalyzer(build.path)
        counted = lookup.counted_losses(analyzer.path, analyzer.engine)
        read = TreeReader(build.path).losses()
        assert counted is not None and counted.to_dict() == read.to_dict()
        assert analyzer.losses() == {"total_lost": read.total_lost, "dropped": {}} | read.to_dict()
        analyzer.close()


@pytest.mark.further
def test_what_recording_says_it_dropped_is_no_part_of_a_complete_record(builder: SessionBuilder) -> None:
    builder.emit("log.dropped", count=3, reason="disk full")
    builder.emit("log.dropped", count=4, reason="disk full")
    assert LogAnalyzer(builder.path).losses()["dropped"] == {"disk full": 7}
    text = str(analyze_session(builder.path))
    assert "7 events were dropped: disk full (7)." in text
    assert "complete" not in text
    report = LogAnalyzer(builder.path).debug_issue("nothing happens")
    assert any("7 events are missing" in told for told in report.observations)


@pytest.mark.further
def test_one_event_or_line_is_told_in_the_singular(builder: SessionBuilder) -> None:
    builder.emit("log.dropped", count=1, reason="disk full")
    builder.write_line(b'{"timestamp":"torn', "a")
    builder.emit("log", "a")
    text = str(analyze_session(builder.path))
    assert "1 event was dropped: disk full (1)." in text
    assert "1 damaged line was skipped." in text
    report = LogAnalyzer(builder.path).debug_issue("nothing happens")
    assert any("1 event is missing" in told for told in report.observations)


def test_nothing_is_in_flight_in_a_session_written_by_hand(builder: SessionBuilder) -> None:
    builder.emit("log")
    assert LogAnalyzer(builder.path).in_flight() == []


def test_a_name_with_line_breaks_makes_no_further_row(builder: SessionBuilder) -> None:
    name = "a\n  forged row    7"
    for agent in (name, "anna"):
        builder.emit("agent_action", agent, action_type="cook")
    text = str(analyze_session(builder.path))
    assert r"a\n  forged row    7" in text
    assert not any(line.strip().startswith("forged row") for line in text.splitlines())


def test_lists_count_all_that_they_leave_out(builder: SessionBuilder) -> None:
    for n in range(60):
        letters = chr(97 + n // 26) + chr(97 + n % 26)
        agent = f"agent {n}"
        builder.emit("agent_action", agent, action_type=f"act {letters}", role=f"role {n}", duration_ms=1.0)
        builder.emit("error", agent, message=f"bad {letters}", error_type=f"E{letters}", level="ERROR")
        builder.emit("log", agent, message=f"log of {letters}")
        builder.emit("interaction", agent, interaction_type=f"type {letters}", target="x")
    parts = map(str.splitlines, str(analyze_session(builder.path)).split("\n\n"))
    left_out = {
        part[0]: [line.strip() for line in part if line.endswith((" more", " more."))] for part in parts
    }
    assert {title: lines for title, lines in left_out.items() if lines} == {
        "Errors": ["... and 52 more"],
        "Warnings and log messages": ["48 more."],
        "Agents": ["... and 52 more"] * 2,
        "Actions": ["35 more."],
        "Performance": ["... and 52 more"],
        "Interactions": ["48 more."],
    }


def test_rewards_that_are_not_finite_are_counted_apart(builder: SessionBuilder) -> None:
    rewards = {"n": [1.0, "NaN", 3.0], "m": ["NaN", "Infinity"], "large": [1e308, 1e308, "-Infinity"]}
    for agent, values in rewards.items():
        for value in values:
            builder.emit("reward", agent, reward=value)
    analyzer = LogAnalyzer(builder.path)
    learning = analyzer.analyze_learning_progress()
    assert (learning["reward_count"], learning["finite_reward_count"]) == (8, 4)
    assert learning["mean_reward"] == pytest.approx(5e307)
    assert [row["mean_reward"] for row in learning["by_agent"].values()] == [1e308, None, 2.0]
    assert all(math.isfinite(point["mean"]) for point in learning["reward_curve"])
    for text in (
        str(analyze_session(builder.path)),
        sections_text(learning_sections(analyzer.report("learning"))),
    ):
        assert (
            "8 rewards, 4 of them not finite; total reward beyond the largest float, mean 5e+307."
            in " ".join(text.split())
        )
        rows = [line.split()[-4:] for line in text.splitlines() if line.split()[:1] in (["n"], ["m"])]
        assert ["4", "2", "3", "1"] in rows and ["0", "-", "2", "2"] in rows


def test_an_agent_without_a_name_is_named_so_everywhere(builder: SessionBuilder) -> None:
    for agent in ("", "anna"):
        builder.emit("error", agent, message="bad", error_type="E", level="ERROR")
        builder.emit("agent_message", agent, direction="sent", sender=agent, recipient="", message_id=agent)
    analyzer = LogAnalyzer(builder.path)
    text = " ".join(str(analyze_session(builder.path)).split())
    assert "most of (no name) (1), anna (1)" in text and "2 agents ((no name), anna)" in text
    assert "(no name) → (no name) 1" in text
    with pytest.raises(AgentNotFound) as unknown:
        analyzer.analyze_agent_activity("zzz")
    assert unknown.value.remedy == "it has 2 agents: (no name), anna"
    with pytest.raises(EventNotFound, match=r"no state of \(no name\) was recorded"):
        analyzer.state_at("")
    parts = find_session_run(f"{builder.session_id}/", builder.root)
    assert (parts.session, parts.agent_id) == (builder.path, "")


def test_columns_are_as_wide_as_what_is_printed_of_their_names(builder: SessionBuilder) -> None:
    for agent in ("\x1b[2Jx", "line\nbreak", "anna"):
        builder.emit("agent_action", agent, action_type="\x1b[31mcook", role="r\x9b1", duration_ms=1.0)
    text = str(analyze_session(builder.path))
    assert text.isprintable() or set(text) - {"\n"} == {char for char in text if char.isprintable()}
    lines = text.splitlines()
    rows = [line for line in lines if r"r\x9b1" in line and "agents" not in line][-3:]
    assert len({line.index(r"r\x9b1") for line in rows}) == 1
    assert any(r"line\nbreak" in row for row in rows) and any(r"\x1b[2Jx" in row for row in rows)


@pytest.mark.parametrize("message", ["bad \x1b[31mnews\x1b[0m of 3", "bad \x1b[38;5;196mnews\x1b[m of 17"])
def test_colours_are_no_part_of_the_pattern_of_an_error(message: str) -> None:
    assert shape_of(message) == "bad news of #"
    assert shape_of(re.sub(NUMBERS, "#", message)) == "bad news of #"


@pytest.mark.parametrize("agent", ["\ud800x", "\\ud800x"])
def test_an_agent_is_found_by_its_id_as_used_and_as_written(builder: SessionBuilder, agent: str) -> None:
    written = "\\ud800x"
    builder.emit("reward", written, reward=1.0)
    builder.emit("state", written, fields={"coins": 3}, reason="first", digest="0")
    builder.emit("error", written, message="bad", error_type="E", level="ERROR")
    analyzer = LogAnalyzer(builder.path)
    assert analyzer.analyze_agent_activity(agent)["total_logs"] == 3
    assert len(analyzer.trace_agent_journey(agent)) == 3
    assert analyzer.state_at(agent)["fields"] == {"coins": 3}
    assert len(analyzer.watch("coins == 3", agent)["intervals"]) == 1
    assert analyzer.learning_report(agent)["reward_count"] == 1
    assert analyzer.report("learning", agent)["reward_count"] == 1
    assert len(analyzer.get_errors(agent)) == 1
    assert analyze_session(builder.path, agent_id=agent)["total_events"] == 3
