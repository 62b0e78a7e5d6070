"""Analysis of what the loggers really write, while they write it."""

from __future__ import annotations

from pathlib import Path

import pytest

import Agent
from Agent.analysis.query.engine import open_engine
from Agent.analysis.session import code_places
from Agent.archive import seal
from Agent.utils import (
    AgentLogger,
    LearningLogger,
    LogAnalyzer,
    PerformanceLogger,
    analyze_session,
    debug_issue,
    trace_agent_action,
)


class Worker:
    def __init__(self) -> None:
        self.agent_id = "worker_001"
        self.agent_role = "worker"
        self.mood = "keen"
        self.done = 0

    @trace_agent_action(action_type="work")
    def work(self, hard: bool) -> int:
        self.done += 1
        if hard:
            self.mood = "tired"
            self.fail()
        return self.done

    @trace_agent_action(action_type="fail")
    def fail(self) -> None:
        raise ValueError("too hard")


def test_the_session_of_this_process_is_analysed_with_what_is_still_buffered(trace_root: Path) -> None:
    logger = AgentLogger("creator_001", "creator")
    logger.log_action("create_content", {"content_type": "video"})
    analyzer = LogAnalyzer()
    for n in range(7):  # fewer than a buffer holds
        PerformanceLogger().log_metric("queue", n)
    assert analyzer.performance_summary()["metrics"]["queue"]["count"] == 7
    LearningLogger("bandit", "creator_001").log_reward("a1", 1.5, 150.0)
    assert analyzer.analyze_learning_progress("creator_001")["total_rewards"] == 1.5
    assert analyzer.analyze_agent_activity("creator_001")["action_counts"] == {"create_content": 1}
    assert analyze_session()["session_id"] == analyzer.path.name.removeprefix("session_")


def test_the_session_of_this_process_is_found_wherever_its_root_is(tmp_path: Path) -> None:
    Agent.setup_logging(trace_root=tmp_path / "elsewhere")
    AgentLogger("creator_001", "creator").info("hello")
    assert LogAnalyzer().path.parent == tmp_path / "elsewhere"


def test_decorated_actions_give_errors_chains_and_states() -> None:
    worker = Worker()
    worker.work(hard=False)
    with pytest.raises(ValueError, match="too hard"):
        worker.work(hard=True)
    analyzer = LogAnalyzer()
    activity = analyzer.analyze_agent_activity("worker_001")
    assert activity["action_counts"] == {"work": 2, "fail": 1}
    assert activity["errors"] == 1, "one exception is one error, however many spans it ends"
    assert activity["outcomes"]["work"] == {"error": 1, "ok": 1}
    error = analyzer.get_errors()[-1]
    assert error["extra"]["error_type"] == "ValueError"
    journey = {step["id"]: step for step in analyzer.trace_agent_journey("worker_001")}
    assert journey[error["id"]]["depth"] == 2
    last = [step for step in journey.values() if step["extra"].get("action_type") == "work"][-1]
    edges = {cause["id"]: cause["edge"] for cause in analyzer.find_causality_chain(last)}
    assert (edges[error["id"]]["effect_id"], edges[error["id"]]["rule"]) == (last["id"], "error")
    assert analyzer.state_at("worker_001", last["id"])["fields"]["mood"] == "tired"
    assert analyzer.find_error_patterns()["by_type"] == {"ValueError": 1}


@pytest.mark.parametrize("is_sealed", [False, True])
def test_the_engine_finds_the_places_of_functions_that_the_reader_finds(is_sealed: bool) -> None:
    Worker().work(hard=False)
    path = LogAnalyzer().path
    Agent.shutdown_logging()
    if is_sealed:
        seal(path, remove=True)
    engine = open_engine(path)
    try:
        by_reader, by_engine = code_places(path), code_places(path, engine)
    finally:
        engine.close()
    places = [each.of("agent_action", {"call": "Worker.work"}) for each in (by_reader, by_engine)]
    assert places[0] is not None and places[0] == places[1]
    assert places[0].line == Worker.work.__wrapped__.__code__.co_firstlineno  # type: ignore[attr-defined]


def test_a_message_is_followed_from_its_receiver_to_its_sender() -> None:
    sender, receiver = AgentLogger("a", "worker"), AgentLogger("b", "worker")
    message = sender.send("b", {"ask": 1})
    receiver.receive(message)
    decision = receiver.log_decision("answer", {})
    analyzer = LogAnalyzer()
    assert analyzer.analyze_interactions()["messages"]["never_received"] == 0
    chain = analyzer.find_causality_chain(decision)
    assert [(cause["agent_id"], cause["edge"]["rule"]) for cause in chain][:2] == [
        ("b", "message_before_decision"),
        ("a", "message"),
    ]


def test_a_closed_session_is_told_to_be_complete() -> None:
    AgentLogger("a", "worker").info("hello")
    PerformanceLogger().log_metric("queue", 1)
    path = LogAnalyzer().path
    Agent.shutdown_logging()
    assert "Complete: no events were lost." in str(analyze_session(path))


@pytest.mark.parametrize(
    ("between", "told"),
    [
        (lambda line: b"\0" * 512 + line, "1 event is in none of these figures: `verify` names the lines."),
        (lambda line: line[:40] + line, "1 event is in none of these figures: `verify` names the lines."),
        (lambda line: line + line, "1 event is counted twice in these figures: `verify` names the lines."),
    ],
    ids=["zero bytes", "a torn line", "a repeated line"],
)
def test_a_report_says_how_many_events_damaged_lines_keep_from_its_figures(between, told) -> None:
    logger = AgentLogger("a", "worker")
    for text in ("one", "two"):
        logger.info(text)
    path = LogAnalyzer().path
    Agent.shutdown_logging()
    file = path / "agents" / "a.log"
    first, second, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([first, between(second), *rest]))
    report = str(analyze_session(path))
    assert told in report
    assert "Complete: " not in report


def test_the_calls_of_the_document_work_on_an_agent_that_is_not_there() -> None:
    AgentLogger("creator_002", "creator").info("hello")
    assert "Nothing found" in str(debug_issue("Agent creator_001 not generating content"))


def test_a_session_that_lasted_next_to_no_time_is_explained(trace_root: Path) -> None:
    worker = Worker()
    for _ in range(20):
        worker.work(False)
    with pytest.raises(ValueError, match="too hard"):
        worker.work(True)
    Agent.shutdown_logging()  # writes the last state, after the last action
    report = LogAnalyzer(root=trace_root).debug_issue("worker_001 fails")
    assert "too hard" in str(report)
