"""Every promised call, used once as a program would, and its results checked against the files themselves."""

import asyncio
import json
import time
from collections import Counter, defaultdict

import pytest
from support.session_files import kind_of, of_agent, of_kind, only_session, raw_lines, session_events

from Agent import shutdown_logging
from Agent.utils import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    LogAnalyzer,
    PerformanceLogger,
    SystemLogger,
    analyze_session,
    debug_issue,
    measure_performance,
    trace_agent_action,
    trace_context,
    trace_errors,
    trace_learning_update,
    trace_performance,
)


class BakerError(ValueError):
    """An oven that is too hot."""


class Baker:
    """An agent with every decorator, sync and async."""

    def __init__(self, agent_id):
        self.agent_id = agent_id
        self.agent_role = "baker"
        self.loaves = 0
        self.heat = 200

    @trace_agent_action(action_type="bake")
    async def bake(self, loaves, *, kind="rye"):
        await asyncio.sleep(0)
        with measure_performance("oven"):
            self.loaves += loaves
        return {"kind": kind, "loaves": loaves}

    @trace_agent_action
    def rest(self):
        return None

    @trace_learning_update(update_type="recipe")
    def learn(self, feedback):
        self.heat += feedback

    @trace_errors()
    async def overheat(self):
        raise BakerError(f"{self.heat + 300} degrees")

    @trace_performance("inventory")
    def count(self):
        return self.loaves


@pytest.fixture
def bakery(trace_root):
    """Two bakers' morning, through loggers and decorators alike."""

    async def morning():
        anna, bert = Baker("baker/anna"), Baker("baker_bert")
        for day in range(3):
            await anna.bake(day + 1)
            await bert.bake(2, kind="wheat")
        anna.rest()
        anna.learn(10)
        assert bert.count() == 6
        with pytest.raises(BakerError):
            await anna.overheat()

    asyncio.run(morning())
    logger = AgentLogger("baker/anna", "baker")
    logger.log_action("sell", {"price": 3}, {"queue": 4})
    logger.log_decision(decision_type="price", decision_data={"new": 4}, reasoning="long queue")
    logger.log_state_change(old_state={"open": False}, new_state={"open": True}, trigger="seven o'clock")
    logger.log_content_generation(content_type="sign", content_id="s1", metadata={"text": "fresh"})
    logger.log_learning_update(learning_stage="pricing", update_data={"elasticity": 0.2})
    with trace_context(logger, "evening", shop="north"):
        logger.info("sold out", extra={"left": 0})
    learning = LearningLogger(learning_type="bandit", agent_id="baker/anna")
    for step in range(4):
        learning.log_training_step(step=step, metrics={"loss": 1 / (step + 1)})
        learning.log_reward(action_id=f"a{step}", reward=0.5, cumulative_reward=0.5 * (step + 1))
    learning.log_exploration_exploitation(action_selected="rye", exploration=False, epsilon=0.05)
    SystemLogger().warning("flour is low")
    return trace_root


def test_each_promised_call_leaves_its_event(bakery):
    kinds = Counter(kind_of(event) for event in session_events(only_session(bakery)))
    expected = {
        "agent_action": 8,
        "decision": 1,
        "state_change": 1,
        "content_generation": 1,
        "learning_update": 2,
        "training_step": 4,
        "reward": 4,
        "exploration": 1,
        "context_entry": 1,
        "context_exit": 1,
        "error": 1,
    }
    assert {kind: kinds[kind] for kind in expected} == expected


def test_measured_blocks_are_in_the_files_once_the_buffer_was_flushed(bakery):
    shutdown_logging()
    metrics = of_kind(session_events(only_session(bakery)), "metric")
    names = Counter(event["extra"]["metric_name"] for event in metrics)
    assert names == {"oven": 6, "inventory": 1}
    assert all(event["extra"]["duration_ms"] >= 0 for event in metrics)


def test_arguments_results_and_times_of_a_decorated_call_are_recorded(bakery):
    events = of_agent(session_events(only_session(bakery)), "baker/anna")
    bakes = [event for event in of_kind(events, "agent_action") if event["extra"]["action_type"] == "bake"]
    assert [event["extra"]["args"] for event in bakes] == [
        {"loaves": 1},
        {"loaves": 2},
        {"loaves": 3},
    ]
    assert [event["extra"]["result"]["loaves"] for event in bakes] == [1, 2, 3]
    assert [event["state"]["set"]["loaves"] for event in bakes] == [1, 3, 6]


def test_an_error_is_one_event_and_its_caller_sees_it(bakery):
    events = session_events(only_session(bakery))
    (error,) = of_kind(events, "error")
    assert error["level"] == "ERROR"
    assert error["extra"]["agent_id"] == "baker/anna"
    assert error["extra"]["error_message"] == "510 degrees"
    twin = mirror_text(bakery / "errors" / "errors.log", "510 degrees")
    assert "510 degrees" in twin


def mirror_text(path, expected):
    """The text of a mirror, which is written a moment after the record."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if path.exists() and expected in path.read_text():
            break
        time.sleep(0.01)
    return path.read_text()


def test_files_of_an_agent_are_its_own_and_its_id_is_no_path(bakery):
    shutdown_logging()
    by_name = defaultdict(set)
    for path in (only_session(bakery) / "agents").iterdir():
        # A second writer, here that of the buffered metrics, has a file of its own for the same agent.
        name = path.name.removesuffix(".log").partition("@")[0]
        by_name[name] |= {json.loads(line)["extra"]["agent_id"] for line in raw_lines(path)}
    assert sorted(by_name.values(), key=str) == [{"baker/anna"}, {"baker_bert"}]


def test_agent_activity_is_counted_as_the_files_count_it(bakery):
    summary = LogAnalyzer().analyze_agent_activity("baker/anna")  # which writes out what was held back
    mine = of_agent(session_events(only_session(bakery)), "baker/anna")
    assert summary["total_logs"] == len(mine)
    assert dict(summary["action_counts"]) == dict(
        Counter(event["extra"]["action_type"] for event in of_kind(mine, "agent_action"))
    )


def test_learning_progress_is_summed_as_the_files_hold_it(bakery):
    progress = LogAnalyzer().analyze_learning_progress("baker/anna")
    assert progress["total_training_steps"] == 4
    assert progress["total_rewards"] == pytest.approx(2.0)


def test_error_patterns_count_the_errors(bakery):
    patterns = LogAnalyzer().find_error_patterns()
    assert patterns["total_errors"] == 1
    assert "510 degrees" in str(patterns["most_common_messages"])


def test_interactions_are_counted_and_viral_content_is_ranked(trace_root):
    logger = InteractionLogger()
    for n in range(5):
        logger.log_interaction(
            interaction_type="like", source_id=f"fan_{n}", target_id="baker/anna", content_id="s1"
        )
    logger.log_interaction(
        interaction_type="share", source_id="fan_1", target_id="baker/anna", content_id="s2"
    )
    logger.log_connection("fan_1", "baker/anna", connection_type="follow")
    logger.log_cascade(content_id="s1", size=40, depth=3)
    logger.log_cascade(content_id="s2", size=7, depth=1)
    events = session_events(only_session(trace_root))
    result = LogAnalyzer().analyze_interactions()
    assert result["total_interactions"] == len(of_kind(events, "interaction")) == 6
    ranked = [(content["content_id"], content["cascade_size"]) for content in result["top_viral_content"]]
    assert ranked == [("s1", 40), ("s2", 7)]


def test_a_journey_holds_every_event_of_the_agent_in_order(bakery):
    journey = LogAnalyzer().trace_agent_journey("baker/anna")
    mine = of_agent(session_events(only_session(bakery)), "baker/anna")
    assert [event["id"] for event in journey] == [event["id"] for event in mine]
    assert all(event["message"] and event["timestamp"] for event in journey)


@pytest.mark.further
def test_a_session_analysis_and_a_report_can_be_printed(bakery, tmp_path):
    assert "baker/anna" in str(analyze_session())
    report = debug_issue("baker/anna: oven at 510 degrees")
    assert "510 degrees" in str(report)
    path = tmp_path / "analysis.json"
    LogAnalyzer().export_analysis(path)
    assert "baker/anna" in path.read_text()
    assert json.loads(path.read_text())


def test_the_chain_behind_an_error_names_events_of_the_record(bakery):
    ids = {event["id"] for event in session_events(only_session(bakery))}
    analyzer = LogAnalyzer()
    error = analyzer.get_errors()[-1]
    assert error["id"] in ids
    chain = analyzer.find_causality_chain(error, lookback_seconds=60)
    assert chain
    assert all(event["id"] in ids for event in chain if "id" in event)


def test_the_mirrors_show_the_same_lines_as_the_record(bakery):
    shutdown_logging()
    record = {line for path in (only_session(bakery) / "agents").glob("*.log") for line in raw_lines(path)}
    mirror = {line for line in (bakery / "agents" / "agents.log").read_bytes().split(b"\n") if line}
    assert mirror
    assert mirror <= record


def test_a_summary_is_made_when_the_session_ends(bakery):
    shutdown_logging()
    session = only_session(bakery)
    summary = json.loads((session / "trace_summary.json").read_text())
    assert "baker/anna" in json.dumps(summary, ensure_ascii=False)
    events = session_events(session)
    closed = of_kind(events, "log.closed")
    assert closed
    by_writer = Counter(event["id"].rpartition("-")[0] for event in events)
    assert {event["extra"]["writer"]: event["extra"]["last_seq"] for event in closed} == dict(by_writer)


def test_metrics_are_buffered_until_a_hundred_then_written(trace_root):
    logger = PerformanceLogger()
    for n in range(250):
        logger.log_metric("latency", float(n))
    written = len(of_kind(session_events(only_session(trace_root)), "metric"))
    assert 200 <= written <= 250
    LogAnalyzer()  # reading in this process flushes
    assert len(of_kind(session_events(only_session(trace_root)), "metric")) == 250
