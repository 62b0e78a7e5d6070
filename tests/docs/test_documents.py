"""The source document, run as it stands: `pytest --documents=DIR` reads it from DIR; without it these are skipped.

Stand-ins are given only for names that the document uses and never defines. What its calls must leave in the
tree, and what its results must hold, is checked against the files, read by a few plain lines.
"""

import asyncio
import contextlib
import io
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.markdown import python_blocks, run_block
from support.session_files import kind_of, of_agent, of_kind, only_session, session_events

from Agent import shutdown_logging

PATTERN = "003_*.txt"
UNPARSABLE = ['"logger": {']
"""How the only block begins that is a fragment of configuration and no Python (its comment left out)."""


@dataclass
class Course:
    """What a run of the document left: its names, what it printed, and the results that later blocks replace."""

    root: Path
    namespace: dict[str, Any]
    printed: dict[int, str] = field(default_factory=dict)
    kept: dict[int, dict[str, Any]] = field(default_factory=dict)
    raised: dict[int, str] = field(default_factory=dict)

    @property
    def events(self) -> list[dict[str, Any]]:
        return session_events(only_session(self.root))

    def value(self, name: str) -> Any:
        """The first value that a block gave to the name."""
        return next(names[name] for names in self.kept.values() if name in names)

    def values(self, name: str) -> list[Any]:
        """Every distinct object that the name has held after a block, in order."""
        seen: list[Any] = []
        for names in self.kept.values():
            if name in names and not any(names[name] is other for other in seen):
                seen.append(names[name])
        return seen


async def generate_content() -> dict[str, str]:
    await asyncio.sleep(0.002)
    return {"id": "content_123", "body": "a video"}


def optimize_for_virality(content: dict[str, str]) -> dict[str, str]:
    return {**content, "hook": "first second"}


async def use_decorated_class(cls: type) -> None:
    """Call what the document only defines, so that its decorators have something to record."""

    class Failed(RuntimeError):
        """What the risky operation meets."""

    agent = cls()
    agent.agent_id = "creator_001"
    agent.agent_role = "creator"

    async def content(context: dict[str, Any]) -> dict[str, Any]:
        return {"topic": context["topic"], "seconds": 30}

    async def update(feedback: dict[str, Any]) -> None:
        agent.last_reward = feedback["reward"]

    async def fail() -> None:
        raise Failed("upload refused for creator_001")

    agent._generate_content = content
    agent.bandit_learner = SimpleNamespace(update=update)
    agent._complex_operation = fail
    assert await agent.create_content({"topic": "AI"}) == {"topic": "AI", "seconds": 30}
    assert await agent.update_strategy({"reward": 1.5}) is None
    for _ in range(2):
        with contextlib.suppress(Failed):
            await agent.risky_operation()
            raise AssertionError("the error did not reach the caller")


@pytest.fixture(scope="module")
def course(document, tmp_path_factory) -> Course:
    """What every block that parses left, run in order."""
    directory = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)  # a block writes its report to a relative path under trace/
        patch.setenv("AGENT_TRACE_ROOT", str(directory / "trace"))
        shutdown_logging()
        try:
            return follow(document, directory / "trace")
        finally:
            shutdown_logging()


def follow(document: Path, root: Path) -> Course:
    """Run the blocks; between two of them use the classes that the first of them defines."""
    namespace = {"generate_content": generate_content, "optimize_for_virality": optimize_for_virality}
    course = Course(root, namespace)
    for block in python_blocks(document.read_text(encoding="utf-8")):
        if not block.parses():
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                run_block(block, namespace, document)
            except Exception as error:
                # One test judges this, so that the others can still say what they found.
                course.raised[block.line] = f"{type(error).__name__}: {error}"
        course.printed[block.line] = printed.getvalue()
        course.kept[block.line] = {
            name: value for name, value in namespace.items() if not name.startswith("__")
        }
        if "risky_operation" in block.source:
            asyncio.run(use_decorated_class(namespace["CreatorAgent"]))
    return course


def test_the_blocks_that_are_no_python_are_exactly_the_known_ones(document):
    broken = [block for block in python_blocks(document.read_text(encoding="utf-8")) if not block.parses()]
    starts = [
        next(line for line in block.source.splitlines() if not line.startswith("#")) for block in broken
    ]
    assert starts == UNPARSABLE
    assert sum(block.parses() for block in python_blocks(document.read_text(encoding="utf-8"))) > 10


def test_every_block_runs_unchanged_in_one_session(course):
    assert course.raised == {}
    events = course.events
    assert len({event["session_id"] for event in events}) == 1
    kinds = Counter(kind_of(event) for event in events)
    assert kinds["agent_action"] >= 3  # two logged, one decorated call
    for kind in (
        "decision",
        "learning_update",
        "training_step",
        "reward",
        "exploration",
        "metric",
        "state_change",
    ):
        assert kinds[kind] >= 1, kind
    assert kinds["context_entry"] == kinds["context_exit"] == 1
    assert len({event["id"] for event in events}) == len(events)


def test_calls_of_the_document_left_the_values_that_it_shows(course):
    events = course.events
    action = of_kind(events, "agent_action")[0]
    assert action["extra"]["action_data"] == {"content_type": "video", "duration": 30}
    assert action["extra"]["decision_context"] == {"trending_topic": "AI"}
    assert action["extra"]["agent_role"] == "creator"
    assert action["logger"] == "agent.creator"
    assert action["message"] == "Agent action: create_content"
    decision = of_kind(events, "decision")[0]["extra"]
    assert decision["decision_data"] == {"scheduled_time": "2025-01-15 18:00"}
    assert decision["reasoning"] == "Peak audience activity time"
    step = of_kind(events, "training_step")[0]["extra"]
    assert (step["step"], step["metrics"], step["model_state"]) == (
        100,
        {"loss": 0.25, "accuracy": 0.85},
        {"learning_rate": 0.001},
    )
    reward = of_kind(events, "reward")[0]["extra"]
    assert (reward["action_id"], reward["reward"], reward["cumulative_reward"]) == ("action_123", 1.5, 150.0)
    exploration = of_kind(events, "exploration")[0]["extra"]
    assert (exploration["action_selected"], exploration["exploration"], exploration["epsilon"]) == (
        "create_video",
        True,
        0.1,
    )
    change = of_kind(events, "state_change")[0]["extra"]
    assert change["old_state"] == {"learning_stage": "bandit", "follower_count": 100}
    assert change["new_state"] == {"learning_stage": "reinforcement", "follower_count": 500}
    assert change["trigger"] == "threshold_reached"
    free = next(event for event in events if event["message"] == "Content generated")
    assert free["extra"]["content_id"] == "c123"
    assert free["extra"]["duration"] == 30


def test_events_in_a_context_carry_its_fields_and_its_duration(course):
    events = course.events
    entry, left = of_kind(events, "context_entry")[0], of_kind(events, "context_exit")[0]
    assert entry["extra"]["context"] == left["extra"]["context"] == "viral_optimization"
    assert entry["extra"]["content_id"] == left["extra"]["content_id"] == "content_123"
    assert left["extra"]["duration_ms"] >= 0
    assert left["span_id"] == entry["extra"]["context_span"]


def test_decorated_methods_record_what_really_happened(course):
    events = of_agent(course.events, "creator_001")
    action = next(event for event in of_kind(events, "agent_action") if "args" in event["extra"])
    assert action["extra"]["action_type"] == "create_content"
    assert action["extra"]["args"] == {"context": {"topic": "AI"}}
    assert action["extra"]["result"] == {"topic": "AI", "seconds": 30}
    assert action["extra"]["duration_ms"] >= 0
    update = next(event for event in of_kind(events, "learning_update") if "args" in event["extra"])
    assert update["extra"]["learning_stage"] == "bandit_update"
    assert update["extra"]["args"] == {"feedback": {"reward": 1.5}}
    errors = of_kind(events, "error")
    assert [event["level"] for event in errors] == ["ERROR", "ERROR"]
    assert errors[0]["extra"]["error_type"].endswith("Failed")
    assert errors[0]["extra"]["error_message"] == "upload refused for creator_001"
    assert "_complex_operation" in errors[0]["extra"]["traceback"]
    block = next(event for event in of_kind(course.events, "metric"))
    assert block["extra"]["metric_name"] == "content_generation"
    assert block["extra"]["duration_ms"] >= 2.0


def test_agent_summary_holds_counts_of_the_files(course, monkeypatch):
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(course.root))
    summary = course.value("agent_summary")
    # The document's own later calls add to the files, so compare with a summary made now.
    now = type(course.value("analyzer"))().analyze_agent_activity("creator_001")
    mine = of_agent(course.events, "creator_001")
    assert now["total_logs"] == len(mine)
    actions = Counter(event["extra"]["action_type"] for event in of_kind(mine, "agent_action"))
    assert dict(now["action_counts"]) == dict(actions)
    assert now["errors"] == summary["errors"] == len(of_kind(mine, "error")) == 2
    assert 0 < summary["total_logs"] <= now["total_logs"]


def test_learning_progress_holds_what_the_files_hold(course):
    progress = course.value("learning_progress")
    mine = of_agent(course.events, "creator_001")
    assert progress["total_training_steps"] == len(of_kind(mine, "training_step")) == 1
    assert (
        progress["total_rewards"] == sum(event["extra"]["reward"] for event in of_kind(mine, "reward")) == 1.5
    )


def test_error_patterns_hold_what_the_files_hold(course):
    patterns = course.value("error_patterns")
    errors = [event for event in course.events if event["level"] in {"ERROR", "CRITICAL"}]
    assert patterns["total_errors"] == len(errors) == 2
    ((message, count),) = patterns["most_common_messages"]
    assert "upload refused" in message
    assert count == 2


def test_interactions_of_a_session_without_any_are_none(course):
    interactions = course.value("interactions")
    assert interactions["total_interactions"] == 0
    assert len(interactions["top_viral_content"]) == 0


def test_a_journey_has_time_and_message_of_every_event_in_order(course):
    journey, *_ = course.values("journey")
    mine = [
        event
        for event in of_agent(course.events, "creator_001")
        if event["timestamp"] <= journey[-1]["timestamp"]
    ]
    assert [event["timestamp"] for event in journey] == [event["timestamp"] for event in mine]
    assert sorted(event["message"] for event in journey) == sorted(event["message"] for event in mine)
    assert course.values("journey")[-1] == []  # of an agent that is not there


def test_printed_lines_show_the_results_and_nothing_else_is_printed(course):
    summary = course.value("agent_summary")
    text = "".join(course.printed.values())
    assert f"Total logs: {summary['total_logs']}" in text
    assert f"Total errors: {course.value('error_patterns')['total_errors']}" in text
    silent = [line for line, names in course.printed.items() if line < 200 and names]
    assert silent == []


def test_the_session_analysis_and_the_report_say_something_about_it(course):
    assert "creator_001" in str(course.value("analysis"))
    report = str(course.value("report"))
    assert "creator_001" in report
    assert "upload refused" in report


def test_the_causes_of_the_last_error_name_events_of_the_record(course):
    ids = {event["id"] for event in course.events}
    error = course.value("recent_errors")
    assert error["extra"]["error_message"] == "upload refused for creator_001"
    causes = course.value("causes")
    assert causes
    chain = causes if isinstance(causes, list) else list(causes)
    assert all(event["id"] in ids for event in chain if isinstance(event, dict) and "id" in event)


def test_the_exported_report_is_where_the_document_says(course):
    report = course.root / "analysis_report.json"
    assert report.is_file()
    assert "creator_001" in report.read_text()


def test_the_agent_of_the_last_example_works_when_used(course, trace_root):
    cls = course.values("CreatorAgent")[-1]
    chance = random.Random(7)

    async def live() -> None:
        agent = cls("creator_002")

        async def make(context: dict[str, Any]) -> SimpleNamespace:
            return SimpleNamespace(type="video", id=f"c{context['n']}", metadata={"score": chance.random()})

        async def evolve() -> None:
            agent.generation = 2

        agent._generate_content = make
        agent.evolve_strategy = evolve
        agent.learning_stage = "bandit"
        content = await agent.create_content({"n": 1})
        assert (content.type, content.id) == ("video", "c1")
        await agent.update_from_feedback(SimpleNamespace(reward=2.5, action="create_video"))
        assert agent.generation == 2

    asyncio.run(live())
    shutdown_logging()  # metrics are held back until then
    recorded = session_events(only_session(trace_root))
    events = of_agent(recorded, "creator_002")
    started = next(event for event in events if event["message"] == "Agent initialized")
    assert started["extra"]["initial_state"] == {"followers": 0, "content_count": 0}
    (action,) = of_kind(events, "agent_action")
    assert action["extra"]["action_type"] == "create_content"
    assert action["extra"]["args"] == {"context": {"n": 1}}
    (made,) = of_kind(events, "content_generation")
    assert (made["extra"]["content_type"], made["extra"]["content_id"]) == ("video", "c1")
    assert made["parent_span_id"] == action["span_id"]
    (learned,) = of_kind(events, "learning_update")
    assert learned["extra"]["update_data"] == {"reward": 2.5, "action": "create_video"}
    measured = [
        event for event in of_kind(recorded, "metric") if event.get("parent_span_id") == action["span_id"]
    ]
    assert [event["extra"]["metric_name"] for event in measured] == ["content_generation"]
