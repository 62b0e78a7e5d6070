"""Every number of an aggregate is also counted by a few independent lines over the files."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from analysis_kit import WRITER, SessionBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Agent.analysis import LogAnalyzer
from Agent.archive.sealed.sealing import seal
from Agent.errors import AgentNotFound
from Agent.event.codec import encode_event
from Agent.tree.read.removal_logs import read_removal

AGENTS = ["creator_001", "creator_002", "Ünï çödé", "a/b", "it's", None]

DAMAGED = [
    b'{"timestamp":"2026-11-20T10:30:45.0000',
    b"\x00\x00\x00\n",
    b"\xff\xfe{}\n",
    b"[1, 2]\n",
    b'{"a": 1}\n',
    b'{"timestamp":"yesterday","id":"aaaabbbb-99999","schema_version":1,"extra":{}}\n',
    b'{"timestamp":"2026-11-20T10:30:45.000000Z","id":"short-1","schema_version":1,"extra":{}}\n',
    b'{"timestamp":"2026-11-20T10:30:45.000000Z","id":"aaaabbbb-99998","schema_version":99,"extra":{}}\n',
    b'{"timestamp":"2026-11-20T10:30:45.000000Z","id":"aaaabbbb-99997","schema_version":1}\n',
]

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_number = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6), st.sampled_from(["NaN", "Infinity"]))
_payloads = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("agent_action"), "action_type": st.sampled_from(["create", "rest", "it's"])},
        optional={
            "duration_ms": st.floats(0, 1e4),
            "outcome": st.sampled_from(["error", "cancelled"]),
            "error_id": st.just("aaaabbbb-1"),
            "args": st.dictionaries(_text, st.integers(-9, 9), max_size=2),
        },
    ),
    st.fixed_dictionaries(
        {"kind": st.just("reward"), "reward": _number}, optional={"cumulative_reward": st.floats(-1e6, 1e6)}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("exploration"), "action_selected": _text, "exploration": st.booleans()}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("training_step"), "step": st.integers(0, 99)},
        optional={"metrics": st.dictionaries(_text, st.one_of(st.floats(-9, 9), _text), max_size=2)},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("interaction"), "interaction_type": st.sampled_from(["like", "share"])},
        optional={"content_id": st.one_of(st.sampled_from(["c1", "c2"]), st.integers(0, 3))},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("error"),
            "error_type": st.sampled_from(["ValueError", "OSError"]),
            "error_message": _text,
        }
    ),
    st.fixed_dictionaries({"kind": st.just("log"), "anything": _text}),
    st.fixed_dictionaries({"kind": st.just("a.later.kind"), "x": st.integers(-(2**63), 2**64 - 1)}),
)
_events = st.lists(
    st.tuples(
        st.sampled_from(AGENTS),
        _payloads,
        st.sampled_from(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
        st.one_of(st.none(), st.integers(0, 9)),
        st.one_of(st.none(), st.sampled_from(DAMAGED)),
    ),
    min_size=1,
    max_size=40,
)


def read_lines(session: Path) -> list[dict[str, Any]]:
    """The events of a session by other means than the package's: every line that is one whole JSON event."""
    found = []
    for path in [*session.glob("*.log"), *(session / "agents").glob("*.log")]:
        for line in path.read_bytes().split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if not isinstance(event, dict) or event.get("schema_version") != 1 or "extra" not in event:
                continue
            if event["timestamp"].startswith("2026") and event["id"].startswith("aaaabbbb-"):
                found.append(event)
    return found


def is_error(event: dict[str, Any]) -> bool:
    if event["extra"]["event_type"] == "error":
        return True
    return event["level"] in ("ERROR", "CRITICAL") and "error_id" not in event["extra"]


@pytest.mark.integration
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(_events)
def test_aggregates_equal_counts_made_by_hand(drawn: list[Any]) -> None:
    with TemporaryDirectory() as directory:
        build = SessionBuilder(Path(directory) / "trace")
        torn = 0
        for agent, payload, level, tick, damage in drawn:
            payload = dict(payload)
            build.tick = tick
            kind = payload.pop("kind")
            build.emit(kind, agent, level=level, message=f"{kind} {len(payload)}", **payload)
            if damage is not None:
                build.write_line(damage if damage.endswith(b"\n") else damage + b"\n", agent, kind)
                torn += 1
        analyzer = LogAnalyzer(build.path)
        check_all(analyzer, read_lines(build.path), len(build.events), torn)
        analyzer.close()


def check_all(analyzer: LogAnalyzer, lines: list[dict[str, Any]], written: int, torn: int) -> None:
    assert len(lines) == written, "the independent count itself is wrong"
    kinds = Counter(line["extra"]["event_type"] for line in lines)
    summary = analyzer.session_summary()
    assert summary["total_events"] == len(lines)
    assert summary["event_types"] == kinds
    assert summary["levels"] == Counter(line["level"] for line in lines)
    assert summary["damaged_lines"] == torn
    actions = Counter(
        line["extra"]["action_type"] for line in lines if line["extra"]["event_type"] == "agent_action"
    )
    assert summary["actions"] == actions
    errors = [line for line in lines if is_error(line)]
    assert summary["errors"]["total_errors"] == len(errors) == len(analyzer.get_errors())
    assert dict(summary["errors"]["most_common_messages"]) == Counter(line["message"] for line in errors)
    check_learning(analyzer, lines)
    check_interactions(analyzer, lines)
    check_durations(analyzer, lines)
    for agent in {line["extra"].get("agent_id") for line in lines} - {None}:
        check_agent(
            analyzer, agent, [line for line in lines if line["extra"].get("agent_id") == agent], summary
        )


def check_learning(analyzer: LogAnalyzer, lines: list[dict[str, Any]]) -> None:
    progress = analyzer.analyze_learning_progress()
    rewards = [float(line["extra"]["reward"]) for line in lines if line["extra"]["event_type"] == "reward"]
    finite = [reward for reward in rewards if math.isfinite(reward)]
    assert progress["reward_count"] == len(rewards)
    assert progress["total_rewards"] == pytest.approx(math.fsum(finite), rel=1e-12, abs=1e-9)
    assert progress["total_training_steps"] == sum(
        line["extra"]["event_type"] == "training_step" for line in lines
    )
    assert sum(point["count"] for point in progress["reward_curve"]) == len(finite)
    explored = [
        line["extra"]["exploration"] for line in lines if line["extra"]["event_type"] == "exploration"
    ]
    assert progress["exploration_share"] == (sum(explored) / len(explored) if explored else None)


def check_interactions(analyzer: LogAnalyzer, lines: list[dict[str, Any]]) -> None:
    found = analyzer.analyze_interactions()
    own = [line["extra"] for line in lines if line["extra"]["event_type"] == "interaction"]
    assert found["total_interactions"] == len(own)
    assert found["by_type"] == Counter(extra["interaction_type"] for extra in own)
    content = Counter(str(extra["content_id"]) for extra in own if "content_id" in extra)
    assert {item["content_id"]: item["interactions"] for item in found["top_viral_content"]} == content


def check_durations(analyzer: LogAnalyzer, lines: list[dict[str, Any]]) -> None:
    found = analyzer.performance_summary()["actions"]
    own: dict[str, list[float]] = {}
    for line in lines:
        if line["extra"]["event_type"] == "agent_action" and "duration_ms" in line["extra"]:
            own.setdefault(line["extra"]["action_type"], []).append(line["extra"]["duration_ms"])
    assert {name: row["count"] for name, row in found.items()} == {
        name: len(values) for name, values in own.items()
    }
    for name, values in own.items():
        assert found[name]["mean"] == pytest.approx(math.fsum(values) / len(values))
        assert found[name]["max"] == max(values)


def check_agent(
    analyzer: LogAnalyzer, agent: str, lines: list[dict[str, Any]], summary: dict[str, Any]
) -> None:
    activity = analyzer.analyze_agent_activity(agent)
    actions = [line["extra"] for line in lines if line["extra"]["event_type"] == "agent_action"]
    assert activity["total_logs"] == len(lines) == summary["agents"][agent]["events"]
    assert activity["action_counts"] == Counter(extra["action_type"] for extra in actions)
    assert activity["errors"] == sum(map(is_error, lines)) == summary["agents"][agent]["errors"]
    assert activity["first_seen"] == min(line["timestamp"] for line in lines)
    assert activity["last_seen"] == max(line["timestamp"] for line in lines)
    journey = analyzer.trace_agent_journey(agent)
    assert [event["id"] for event in journey] == [
        line["id"] for line in sorted(lines, key=lambda line: int(line["id"].split("-")[1]))
    ]
    assert len(analyzer.get_errors(agent)) == activity["errors"]
    rewards = analyzer.analyze_learning_progress(agent)
    assert rewards["reward_count"] == sum(line["extra"]["event_type"] == "reward" for line in lines)


def test_the_learning_of_one_agent_is_the_same_from_its_files_and_from_all(builder: SessionBuilder) -> None:
    for n in range(30):
        agent = f"learner_{n % 3}"
        builder.pass_time(0.1)
        builder.emit("reward", agent, reward=n * 0.5, cumulative_reward=n * 1.0)
        builder.emit("training_step", agent, step=n, metrics={"loss": 1 / (n + 1), "note": "x", "a/b": 2})
        builder.emit("exploration", agent, action_selected="x", exploration=n % 4 == 0, epsilon=0.5 - n / 100)
        builder.emit("learning_update", agent, learning_stage="bandit")
    analyzer = LogAnalyzer(builder.path)
    everything = analyzer.analyze_learning_progress()
    for agent, sums in everything["by_agent"].items():
        own = analyzer.analyze_learning_progress(agent)
        assert {key: own[key] for key in sums} == sums
    own = analyzer.analyze_learning_progress("learner_1")
    assert own["total_rewards"] == sum(n * 0.5 for n in range(30) if n % 3 == 1)
    assert own["cumulative_reward"] == 28.0
    assert own["epsilon"] == 0.5 - 28 / 100
    assert own["learning_stages"] == {"bandit": 10}
    assert set(own["metric_curves"]) == {"loss", "a/b"}
    assert sum(point["count"] for point in own["metric_curves"]["loss"]) == 10
    assert own["reward_curve"][-1]["cumulative"] == own["total_rewards"]


def test_curves_stay_bounded_however_long_the_session(builder: SessionBuilder) -> None:
    for n in range(400):
        builder.pass_time(0.01)
        builder.emit("reward", "a", reward=1)
    curve = LogAnalyzer(builder.path).analyze_learning_progress()["reward_curve"]
    assert len(curve) == 50
    assert sum(point["count"] for point in curve) == 400


def test_an_unknown_agent_is_refused_with_the_names_that_come_close(builder: SessionBuilder) -> None:
    builder.emit("log", "creator_001")
    analyzer = LogAnalyzer(builder.path)
    for question in (
        analyzer.analyze_agent_activity,
        analyzer.analyze_learning_progress,
        lambda agent: analyzer.state_at(agent, 1),
    ):
        with pytest.raises(AgentNotFound) as refused:
            question("creator_01")
        assert "creator_001" in str(refused.value)


TIMES = {
    "2026-11-20T10:30:45.000000Z": True,
    "2026-11-20T10:30:45Z": True,
    "2026-11-20 10:30:45Z": True,
    "2026-11-20T10:30:45.5": True,
    "2026-11-20T10:30:45.000000+00:00": True,
    "0001-01-01T00:00:00.000000Z": True,
    "9999-12-31T23:59:59.999999Z": True,
    **dict.fromkeys(
        [
            *("", "NaN", "epoch", "infinity", "-infinity", "2000-01-01 (BC)", "2026-11-20", "20261120T103045Z"),
            *("-271821-04-20T00:00:00Z", "290000-01-01T00:00:00.000000Z", "0000-01-01T00:00:00.000000Z"),
            *("2026-02-30T00:00:00.000000Z", "2026-11-20T24:00:00Z", "2026-11-20T10:30:60Z", "2026-1-7T10:30:45Z"),
            *("2026-11-20T10:30:45+14:00", "2026-11-20T10:30:45+99:99", "2026-11-20 10:30:45 UTC"),
            *("2026-W47-5T10:30:45.0000000Z", "2026-11-20T10:30:45.00000\u0663Z", " 2026-11-20T10:30:45Z"),
        ],
        False,
    ),
}  # fmt: skip


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(("text", "is_time"), TIMES.items())
def test_every_reader_agrees_which_times_an_event_can_have(
    builder: SessionBuilder, text: str, is_time: bool
) -> None:
    for number in range(3):
        builder.emit("reward", "a", reward=number)
    line = encode_event(replace(builder.events[-1], timestamp=text, id=f"{WRITER}-4"))
    builder.write_line(line, "a")
    removed = read_removal(builder.path, builder.file_of("a"), lambda writer: writer == WRITER)
    assert removed.removal.damaged_lines == (not is_time)
    for _ in ("live", "sealed"):
        analyzer = LogAnalyzer(builder.path)
        summary = analyzer.session_summary()
        assert (summary["total_events"], summary["damaged_lines"]) == (3 + is_time, not is_time)
        assert (
            len(analyzer.sql("SELECT id FROM events"))
            == len(analyzer.sql("SELECT * FROM events"))
            == 3 + is_time
        )
        assert len(analyzer.trace_agent_journey("a")) == 3 + is_time
        assert analyzer.analyze_learning_progress()["reward_count"] == 3 + is_time
        analyzer.close()
        seal(builder.path, remove=True)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("odd", ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"])
def test_every_question_is_answered_over_all_the_years_that_a_clock_can_show(
    builder: SessionBuilder, odd: str
) -> None:
    for number in range(9):
        builder.emit("reward", "a", reward=number)
        builder.emit("agent_action", "a", action_type="look", duration_ms=1.0)
        builder.emit("metric", "a", metric_name="process.memory", value=number)
        builder.emit(
            "error", "a", level="ERROR", message=f"failed {number}", error_type="E", error_message="m"
        )
        builder.emit("training_step", "a", step=number, metrics={"loss": number})
        if number % 2:
            last = builder.events[-1]
            builder.seq += 1
            builder.write_line(encode_event(replace(last, timestamp=odd, id=f"{WRITER}-{builder.seq}")), "a")
    analyzer = LogAnalyzer(builder.path)
    total = analyzer.session_summary()["total_events"]
    assert total == 49
    assert analyzer.get_errors()
    assert analyzer.analyze_learning_progress()["metric_curves"]["loss"]
    assert analyzer.performance_summary()["actions"]
    assert analyzer.debug_issue("a failed")
    assert analyzer.write_html(builder.path.parent / "report.html").stat().st_size


def test_debug_answers_about_a_program_whose_ticks_begin_again(builder: SessionBuilder) -> None:
    for episode in range(2):
        for builder.tick in range(200):
            builder.emit("agent_action", "a", action_type="look")
            if builder.tick >= 150 or episode:
                builder.emit("agent_action", "a", action_type="leap")
    assert LogAnalyzer(builder.path).debug_issue("a leaps too often")
