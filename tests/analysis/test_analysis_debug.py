"""`debug_issue` finds faults that were planted, names them with their numbers, and leaves innocents alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from analysis_kit import Platform, SessionBuilder
from click.testing import CliRunner

from Agent.analysis import DebugReport, LogAnalyzer, debug_issue
from Agent.analysis.causality.chains import INFERRED, Edge, judged
from Agent.analysis.debug import debug_issue as debugging
from Agent.analysis.debug.experiment_seam import Measurable
from Agent.analysis.debug.experiments import _with_tests
from Agent.analysis.debug.report import NOTHING_FOUND, ONLY_HINTS, Cause
from Agent.analysis.debug.root_causes import reading
from Agent.analysis.query.engine import Engine
from Agent.cli.main import cli
from Agent.errors import AgentNotFound
from Agent.tree.layout import session_file

Planted = Callable[..., Platform]
INNOCENT_MAX = 0.5


def asked(platform: Platform, text: str) -> DebugReport:
    return debug_issue(text, session=platform.builder.path)


@pytest.mark.first_case
@pytest.mark.parametrize(
    "field",
    [
        ("mood", "discouraged"),
        pytest.param(("epsilon", 0.0), marks=pytest.mark.further),
        pytest.param(("backlog", list(range(40))), marks=pytest.mark.further),
        pytest.param(("cooldown", 9999), marks=pytest.mark.further),
    ],
)
@pytest.mark.parametrize("with_ticks", [True, False])
def test_a_creator_blocked_by_a_tool_error_is_found_with_the_field_and_the_error(
    planted: Planted, field: tuple[str, Any], with_ticks: bool
) -> None:
    platform = planted(fault="blocked", blocked_field=field, with_ticks=with_ticks)
    report = asked(platform, "Agent creator_005 not generating content")
    assert report.causes[0].agent_ids[0] == "creator_005"
    named = {event_id for cause in report.causes[:3] for event_id in cause.event_ids}
    assert platform.facts["trigger"] in named
    assert any(edge.cause_id == platform.facts["trigger"] for edge in report.causes[0].edges)
    assert "no create_content" in str(report)


@pytest.mark.further
def test_the_agent_need_not_be_named(planted: Planted) -> None:
    causes = asked(planted(fault="blocked"), "some creators seem broken").causes
    assert any("creator_005" in cause.agent_ids for cause in causes[:3])


@pytest.mark.further
@pytest.mark.parametrize("with_ticks", [True, False])
def test_rewards_that_collapse_after_a_strategy_update_are_found_with_it(
    planted: Planted, with_ticks: bool
) -> None:
    platform = planted(fault="collapse", with_ticks=with_ticks)
    # Without ticks a call just before it is as likely.
    causes = asked(platform, "the rewards of creator_005 collapsed").causes[: 1 if with_ticks else 3]
    named = [cause for cause in causes if platform.facts["strategy"] in cause.event_ids]
    assert any(cause.title.startswith("creator_005: set video from 0.7 to 0 at ") for cause in named)


@pytest.mark.further
def test_an_agent_that_retries_for_ever_is_found_in_its_loop(planted: Planted) -> None:
    platform = planted(fault="retry")
    report = asked(platform, "creator_005 is stuck")
    assert any("publish" in cause.title and "creator_005" in cause.agent_ids for cause in report.causes[:3])


@pytest.mark.further
def test_a_stop_without_a_reason_on_record_is_told_as_such(planted: Planted) -> None:
    platform = planted(fault="quit")
    causes = asked(platform, "creator_005 stopped creating content").causes[:3]
    title = "creator_005: no create_content from tick 40 on (0.825 per tick before)"
    cause = next(each for each in causes if title in each.title)
    assert not cause.edges or all(edge.basis == "inferred" for edge in cause.edges)
    assert cause.confidence < 0.8


@pytest.mark.integration
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("with_ticks", [True, False])
def test_a_system_that_works_is_not_accused(planted: Planted, with_ticks: bool, seed: int) -> None:
    platform = planted(seed=seed, ticks=50, with_ticks=with_ticks)
    for text in (
        "Agent creator_003 not generating content",
        "rewards of creator_007 dropped",
        "creator_002 is stuck in a loop",
        "something is wrong with the creators",
    ):
        report = asked(platform, text)
        assert all(cause.confidence < INNOCENT_MAX for cause in report.causes), (text, str(report))


@pytest.mark.further
def test_when_nothing_explains_it_the_report_says_so_and_what_was_looked_at(planted: Planted) -> None:
    report = asked(planted(), "Agent creator_003 not generating content")
    assert all(cause.confidence < INNOCENT_MAX for cause in report.causes)
    assert report.status in {"hint", "nothing"}
    text, answer = str(report), ONLY_HINTS if report.causes else NOTHING_FOUND
    assert answer in text
    assert "Examined" in text
    assert len(report.looked_at) >= 2
    assert any("creator_003 called create_content" in told for told in report.observations)
    assert answer in report.to_markdown()


@pytest.mark.further
def test_the_peers_of_a_victim_are_not_accused_in_its_place(planted: Planted) -> None:
    report = asked(planted(fault="blocked"), "Agent creator_004 not generating content")
    assert all(cause.confidence < INNOCENT_MAX for cause in report.causes), str(report)


@pytest.mark.further
def test_what_everybody_stops_doing_is_nobodys_fault(builder: SessionBuilder) -> None:
    for tick in range(40):
        builder.tick = tick
        for n in range(10):
            builder.emit("agent_action", f"worker_{n}", role="worker", action_type="step")
            if tick < 20:
                builder.emit("agent_action", f"worker_{n}", role="worker", action_type="warm_up")
        builder.pass_time(1)
    report = debug_issue("worker_3 stopped to warm up", session=builder.path)
    assert all(cause.confidence < INNOCENT_MAX for cause in report.causes), str(report)


@pytest.mark.further
def test_what_all_peers_do_and_one_never_did_is_found(builder: SessionBuilder) -> None:
    for tick in range(30):
        builder.tick = tick
        for n in range(8):
            builder.emit("agent_action", f"worker_{n}", role="worker", action_type="step")
            if n != 3:
                builder.emit("agent_action", f"worker_{n}", role="worker", action_type="report_status")
        builder.pass_time(1)
    report = debug_issue("why does worker_3 never report its status?", session=builder.path)
    assert report.causes[0].title == "worker_3: no report_status; its 7 peers have 30 each"


@pytest.mark.further
def test_an_agent_alone_is_compared_with_its_own_past(builder: SessionBuilder) -> None:
    for tick in range(40):
        builder.tick = tick
        builder.emit("agent_action", "solo", action_type="think")
        if tick < 20:
            builder.emit("agent_action", "solo", action_type="write")
        if tick == 20:
            builder.emit(
                "error",
                "solo",
                level="ERROR",
                error_type="DiskFull",
                error_message="no space",
                message="DiskFull: no space",
            )
        builder.pass_time(1)
    cause = debug_issue("solo does not write any more", session=builder.path).causes[0]
    assert cause.title == "solo: no write from tick 20 on (1 per tick before)"
    assert "DiskFull" in cause.explanation


def test_a_tool_that_fails_for_its_caller_is_found_from_the_caller(builder: SessionBuilder) -> None:
    for tick in range(30):
        builder.tick = tick
        span = builder.span()
        failed = {"outcome": "error", "error_id": "aaaabbbb-1"} if tick > 5 else {}
        builder.emit("agent_action", "search_tool", role="tool", parent=span, action_type="search", **failed)
        builder.emit("agent_action", "worker", role="worker", span=span, action_type="step", duration_ms=1.0)
        builder.pass_time(1)
    report = debug_issue("worker is stuck", session=builder.path)
    assert any(cause.sort == "fails" and "search" in cause.title for cause in report.causes), str(report)


@pytest.mark.further
@pytest.mark.parametrize("text", ["worker_2 failed with an error", "Bad input?", "why ValueError: bad input"])
def test_errors_that_the_text_asks_for_or_quotes_are_told_even_if_they_are_few(
    builder: SessionBuilder, text: str
) -> None:
    for n in range(6):
        builder.emit("agent_action", f"worker_{n}", role="worker", action_type="step")
        builder.pass_time(1)
    error = builder.emit(
        "error", "worker_2", role="worker", level="ERROR", message="ValueError: bad input",
        error_type="ValueError", error_message="bad input",
    )  # fmt: skip
    report = debug_issue(text, session=builder.path)
    assert error in report.causes[0].event_ids
    assert "ValueError: bad input" in report.causes[0].title


@pytest.mark.further
def test_the_errors_of_a_named_agent_are_told_even_where_they_explain_nothing(
    builder: SessionBuilder,
) -> None:
    builder.emit("agent_action", "a", action_type="act")
    error = builder.emit(
        "error", "a", level="ERROR", message="OSError: refused", error_type="OSError", error_message="x"
    )
    report = debug_issue("a does not create content", session=builder.path)
    assert any('"OSError: refused"' in told and error in told for told in report.observations)


def test_an_event_named_by_its_id_is_followed_back(builder: SessionBuilder) -> None:
    error = builder.emit(
        "error", "a", level="ERROR", message="OSError: gone", error_type="OSError", error_message="x"
    )
    action = builder.emit("agent_action", "a", action_type="act", outcome="error", error_id=error)
    report = debug_issue(f"what happened at {action}?", session=builder.path)
    assert report.causes[0].title == f"{action} was caused by 'OSError: gone'"
    assert set(report.causes[0].event_ids) == {action, error}


def test_messages_are_searched_for_the_words_of_the_text(builder: SessionBuilder) -> None:
    builder.emit("log", "a", level="WARNING", message="cache eviction storm in shard 7")
    builder.emit("log", "a", message="all is well")
    report = debug_issue("what is this eviction about", session=builder.path)
    assert [item["message"] for item in report.evidence] == ["cache eviction storm in shard 7"]


@pytest.mark.further
@pytest.mark.parametrize(
    "text", ["", "???", 'NEAR("x" * OR) AND NOT \'', "ünïcødé 😀", "x" * 5000, "a\nb\tc", "\ud800"]
)
def test_any_text_gets_an_answer(builder: SessionBuilder, text: str) -> None:
    builder.emit("log", "a", message="hello")
    assert NOTHING_FOUND in str(debug_issue(text, session=builder.path))


@pytest.mark.further
def test_the_report_is_plain_values_text_and_markdown_with_commands(planted: Planted) -> None:
    platform = planted(fault="blocked")
    report = LogAnalyzer(platform.builder.path).debug_issue("Agent creator_005 not generating content")
    values = json.loads(json.dumps(report.to_dict()))
    assert values["causes"][0]["event_ids"] == list(report.causes[0].event_ids)
    assert values["causes"][0]["edges"][0]["basis"] == "inferred"
    session, root = platform.builder.session_id, platform.builder.root
    assert f"agent-trace journey creator_005 --session {session} --root {root}" in report.commands
    assert not [each for each in report.commands if "replay" in each]  # neither a target nor a script is here
    assert report.causes[0].title in report.to_markdown()
    text = [line for line in str(report).splitlines() if "agent-trace" not in line]
    assert max(len(line) for line in text) <= 120


def test_where_a_field_has_an_unusual_value_its_provenance_is_a_next_step(builder: SessionBuilder) -> None:
    for tick in range(60):
        builder.tick = tick
        level = 90 if tick == 50 else 5 + tick % 3
        builder.emit("agent_action", "tank", action_type="fill", state={"set": {"level": level}})
    report = debug_issue("the tank overflows", session=builder.path)
    at = next(each for each in report.commands if each.startswith("agent-trace provenance"))
    assert at.startswith(f"agent-trace provenance tank level --at {report.causes[0].event_ids[0]} ")
    assert any(each.startswith("agent-trace play") for each in report.commands)


def test_an_agent_without_recorded_actions_is_not_to_be_played(builder: SessionBuilder) -> None:
    for tick in range(20):
        builder.tick = tick
        builder.emit("decision", "planner", decision_type="topic", topic=f"t{tick}")
    commands = debug_issue("the planner decides nothing good", session=builder.path).commands
    assert any(each.startswith("agent-trace journey planner") for each in commands)
    assert not any(each.startswith("agent-trace play") for each in commands)


def test_a_remembered_target_stands_in_the_command(builder: SessionBuilder) -> None:
    builder.emit("agent_action", "a", action_type="act")
    description = {"session_id": builder.session_id, "session_uid": "", "targets": {"*": "cafe:build"}}
    session_file(builder.path).write_text(json.dumps(description))
    commands = debug_issue("a does nothing", session=builder.path).commands
    assert f"agent-trace replay {builder.session_id}/a --target cafe:build" in commands


@pytest.mark.further
def test_ids_that_a_shell_would_read_are_quoted_in_commands(builder: SessionBuilder) -> None:
    builder.emit("agent_action", "it's; rm -rf", action_type="act")
    report = debug_issue("it's; rm -rf does nothing", session=builder.path)
    assert any("'it'\"'\"'s; rm -rf'" in command for command in report.commands)


def test_commands_need_no_root_where_the_session_lies_in_the_default_one(builder: SessionBuilder) -> None:
    builder.emit("agent_action", "a", action_type="act")
    commands = debug_issue("a does nothing", session=builder.path).commands
    assert f"agent-trace journey a --session {builder.session_id}" in commands


@pytest.mark.integration
def test_the_commands_of_a_report_are_commands_that_there_are(planted: Planted) -> None:
    from Agent.cli.main import SECTIONS

    known = {entry.name for _, entries in SECTIONS for entry in entries}
    for text in ("creator_005 stopped", "nothing in particular"):
        for command in asked(planted(fault="blocked"), text).commands:
            assert command.split()[1] in known


ASK = """
import json, sys
from Agent.analysis import debug_issue
print(json.dumps(debug_issue(sys.argv[2], session=sys.argv[1]).to_dict()))
"""


@pytest.mark.integration
def test_the_same_question_gets_the_same_answer_to_the_byte_whatever_the_hash_seed(planted: Planted) -> None:
    path = str(planted(fault="blocked").builder.path)
    text = "the creators do not create content any more, upstream timed out"

    def answer(seed: str) -> bytes:
        environment = os.environ | {"PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", ASK, path, text], env=environment, capture_output=True, check=True
        ).stdout

    first, *others = (answer(seed) for seed in ("1", "2", "3"))
    assert json.loads(first)["evidence"]
    assert others == [first, first]


@pytest.mark.further
def test_an_agent_of_which_nothing_more_is_heard_fell_silent(builder: SessionBuilder) -> None:
    for tick in range(40):
        builder.tick = tick
        for n in range(6):
            if n != 2 or tick < 25:
                builder.emit("agent_action", f"worker_{n}", role="worker", action_type="step")
        builder.pass_time(1)
    report = debug_issue("worker_2 does nothing", session=builder.path)
    assert report.causes[0].title == "worker_2: no step from tick 25 on (1 per tick before)"


@pytest.mark.integration
@pytest.mark.parametrize(("near", "far"), [("at tick 41", "at tick 12"), ("at 10:30", "at 18:00:00")])
def test_a_moment_that_the_text_names_counts(planted: Planted, near: str, far: str) -> None:
    platform = planted(fault="blocked")
    text = "creator_005 stopped generating content"
    sure, unsure = (asked(platform, f"{text} {moment}").causes[0].confidence for moment in (near, far))
    assert sure >= 1.5 * unsure


@pytest.mark.further
def test_a_step_that_repeats_a_call_as_all_steps_do_is_no_loop(builder: SessionBuilder) -> None:
    for tick in range(10):
        builder.tick = tick
        for _ in range(25):
            builder.emit("agent_action", "poller", action_type="poll", args={})
        for _ in range(60 if tick == 9 else 1):
            builder.emit("agent_action", "looper", action_type="poll", args={})
        builder.pass_time(1)
    innocent = debug_issue("poller is in a loop", session=builder.path)
    assert all(cause.confidence < INNOCENT_MAX for cause in innocent.causes)
    cause = debug_issue("looper is in a loop", session=builder.path).causes[0]
    assert cause.agent_ids[0] == "looper"
    assert "60" in cause.explanation


def test_messages_are_found_without_fts5_too(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    class WithoutFts5(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if "fts5" in sql:
                raise sqlite3.OperationalError("no such module: fts5")
            return super().execute(sql, *parameters)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name: connect(name, factory=WithoutFts5))
    builder.emit("log", "a", message="cache EvictionStorm in shard_7")
    builder.emit("log", "a", message="all is well")
    report = debug_issue("what is this eviction about", session=builder.path)
    assert [item["message"] for item in report.evidence] == ["cache EvictionStorm in shard_7"]


@pytest.mark.further
def test_a_report_is_as_wide_as_it_is_asked_to_be(planted: Planted) -> None:
    report = asked(planted(fault="blocked"), "Agent creator_005 not generating content")
    for width in (40, 70):
        for text in (report.to_screen(width=width), report.to_text(width)):
            prose, _, commands = text.partition("Next steps")
            assert commands
            assert max(map(len, prose.split("Messages about it")[0].splitlines())) <= width


def test_an_agent_with_a_bare_number_for_a_name_is_told_with_its_role_and_errors_only_if_there_are_any(
    builder: SessionBuilder,
) -> None:
    for tick in range(40):
        builder.tick = tick
        for n in range(2, 7):
            heat = 0.0 if tick >= 20 else 5.0 + n / 10
            builder.emit(
                "agent_action", str(n), role="Household", action_type="heat", result=heat,
                message="Agent action: heat", duration_ms=0.1,
            )  # fmt: skip
        if tick % 5 == 0:
            price = 30.0 if tick == 20 else 0.3
            builder.emit(
                "agent_action", "1", role="Utility", action_type="publish", args={"price": price},
                message="Agent action: publish", duration_ms=0.1,
            )  # fmt: skip
        builder.pass_time(0.1)
    report = debug_issue("the households do not heat enough", session=builder.path)
    titles = [cause.title for cause in report.causes[:3]]
    assert any(title.startswith("Utility 1: ") and "publish" in title for title in titles), str(report)
    # there is no error to look at, though the causes have several links
    assert max(len(cause.edges) for cause in report.causes) >= 1
    assert not any(command.startswith("agent-trace errors") for command in report.commands)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("by", ["index", "query", "growing index"])
def test_a_sample_of_a_large_session_is_the_same_however_its_payloads_are_read(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    platform = planted(fault="blocked")
    monkeypatch.setattr(reading, "MAX_ACTS", 400)
    monkeypatch.setattr(reading, "_CHUNK", 50)
    text = "Agent creator_005 not generating content"
    held = debug_issue(text, session=platform.builder.path)
    assert any("a sample" in told for told in held.looked_at)
    # from here on no events are held: they are read from the files again
    monkeypatch.setattr(debugging, "MAX_EVENTS", 0)
    if by == "query":
        monkeypatch.setattr(Engine, "is_indexed", False)
    if by == "growing index":
        indexed = iter([True, True, True, False])
        monkeypatch.setattr(Engine, "is_indexed", property(lambda self: next(indexed, False)))
    assert debug_issue(text, session=platform.builder.path).to_dict() == held.to_dict()


def test_a_sample_holds_a_named_agent_whole_and_what_stopped_it(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = planted(fault="blocked")
    monkeypatch.setattr(reading, "MAX_ACTS", 400)
    monkeypatch.setattr(reading, "SAMPLE", 600)
    report = asked(platform, "Agent creator_005 not generating content")
    assert any("a sample" in told for told in report.looked_at), str(report)
    assert platform.facts["trigger"] in {each for cause in report.causes[:3] for each in cause.event_ids}
    assert "no create_content" in str(report)


def test_forks_that_clear_the_first_event_of_a_cause_let_it_begin_where_the_effect_is() -> None:
    edges = (
        Edge("aaaaaaaa-1", "aaaaaaaa-2", INFERRED, "shared_value", "desk: sent bob a letter at tick 6"),
        Edge("aaaaaaaa-2", "aaaaaaaa-3", INFERRED, "shared_value", "bob: called look at tick 7"),
    )
    told = "first: bob: called rest at tick 3\nthen: desk: sent bob a letter at tick 6\nthen: bob: called look at tick 7"
    cause = Cause(
        "bob: called rest at tick 3; therefore called look at tick 7",
        told,
        ("aaaaaaaa-1",),
        ("bob",),
        edges,
        0.4,
    )
    complaint = Measurable("count", ("action:look",), ("bob",), 1)
    same = judged("left out", [5.0] * 4, [5.0] * 4, 1)
    fewer = judged("left out", [5.0, 5.1, 5.0, 5.1] * 5, [1.0, 1.1, 1.0, 1.1] * 5, 1)
    begun = _with_tests(cause, [("aaaaaaaa-1", "", same), ("aaaaaaaa-2", "", fewer)], complaint)
    assert begun.title == "desk: sent bob a letter at tick 6; therefore called look at tick 7"
    assert begun.explanation.splitlines()[0] == "first: desk: sent bob a letter at tick 6"
    assert (begun.event_ids[0], begun.confidence) == ("aaaaaaaa-2", 0.95)
    kept = _with_tests(cause, [("aaaaaaaa-1", "", fewer), ("aaaaaaaa-2", "", fewer)], complaint)
    assert kept.title == cause.title


@pytest.mark.further
def test_a_text_that_names_nothing_of_the_session_is_answered_as_such(planted: Planted) -> None:
    session = planted(fault="blocked").builder.path
    report = debug_issue("the moon shone purple", session=session)
    assert report.status == "unknown"
    assert report.to_dict()["status"] == "unknown"
    for text in (str(report), report.to_screen(), report.to_markdown()):
        assert "The text names nothing that this session has." in text
    for known in ("", "why is everything so slow", "creator_003 is odd", "at tick 7"):
        assert debug_issue(known, session=session).status != "unknown", known


@pytest.mark.further
def test_what_is_clear_is_no_answer_to_a_text_that_names_nothing(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = Cause(
        "bob: called rest at tick 3", "first: bob: called rest at tick 3", ("aaaaaaaa-1",), ("bob",), (), 0.9
    )
    monkeypatch.setattr("Agent.analysis.debug.debug_issue.root_causes", lambda *_: [clear])
    session = planted(fault="blocked").builder.path
    assert debug_issue("creator_003 is odd", session=session).status == "cause"
    assert debug_issue("the moon shone purple", session=session).status == "unknown"


@pytest.mark.further
def test_an_event_id_that_the_session_does_not_have_is_told(planted: Planted) -> None:
    report = asked(planted(fault="blocked"), "creator_004 stopped at zzzzzzzz-99")
    assert report.observations[0] == "No event of this session has the id zzzzzzzz-99."


def test_an_agent_of_the_run_that_the_session_does_not_have_is_an_error(planted: Planted) -> None:
    session = planted(fault="blocked").builder.path
    done = CliRunner().invoke(
        cli,
        [
            "debug",
            "it stopped",
            f"{session.name.removeprefix('session_')}/creator_99",
            "--root",
            str(session.parent),
        ],
    )
    assert isinstance(done.exception, AgentNotFound)
