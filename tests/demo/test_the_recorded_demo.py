"""The demo recorded: the record says what happened, a second run says the same, the planted fault is found."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from support.processes import run_python
from support.session_files import of_agent, of_kind, session_events

from Agent.demo.platform import DemoRecording, Settings, record_session

SETTINGS = Settings(agents=20, ticks=48, seed=11)
FAULTY = "creator_017"
FIELDS_THAT_DIFFER = ("timestamp", "id", "session_id", "span_id", "parent_span_id", "causes")

RECORD = """
import dataclasses, json, sys
from pathlib import Path
from Agent.demo.platform import Settings
from Agent.demo.platform import record_session

recording = record_session(Path(sys.argv[1]), Settings(**json.loads(sys.argv[2])))
print(recording.session)
"""


def record_elsewhere(root: Path, hash_seed: str, **settings: int) -> Path:
    """The session of a run in a process of its own."""
    done = run_python(
        "-c", RECORD, str(root), json.dumps(settings), cwd=root.parent, PYTHONHASHSEED=hash_seed
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture
def recording(trace_root) -> DemoRecording:
    return record_session(trace_root, SETTINGS)


def journeys(session: Path) -> dict[str, list[str]]:
    """What each agent did, without ids and times."""
    told: dict[str, list[str]] = {}
    renamed: dict[str, str] = {}
    for event in session_events(session):
        for key in FIELDS_THAT_DIFFER:
            event.pop(key, None)
        extra = event["extra"]
        for key in ("duration_ms", "error_id", "traceback", "pid", "writer"):
            extra.pop(key, None)
        if extra.get("unit") == "ms":
            extra.pop("value", None)
        if extra.get("agent_id") == "platform":
            extra.pop("digest", None)  # of all that it holds, with times that its loggers have measured
        agent = extra.get("agent_id")
        if agent is not None:
            told.setdefault(agent, []).append(json.dumps(without_ids(event, renamed), sort_keys=True))
    return told


def without_ids(value, renamed):
    """Ids of messages and of events that stand in payloads, numbered in the order in which they come."""
    if isinstance(value, dict):
        return {
            key: renamed.setdefault(each, f"id {len(renamed)}")
            if key in {"message_id", "event_id", "id"} and isinstance(each, str)
            else without_ids(each, renamed)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [without_ids(each, renamed) for each in value]
    return value


@pytest.mark.integration
def test_the_same_seed_gives_the_same_journeys_whatever_the_hash_seed(tmp_path):
    settings = {"agents": 12, "ticks": 36, "seed": 5}
    first = journeys(record_elsewhere(tmp_path / "first", "1", **settings))
    second = journeys(record_elsewhere(tmp_path / "second", "2", **settings))
    assert first.keys() == second.keys()
    for agent, told in first.items():
        assert told == second[agent], agent


@pytest.mark.integration
def test_another_seed_gives_another_journey(tmp_path):
    first = journeys(record_elsewhere(tmp_path / "first", "0", agents=6, ticks=24, seed=5))
    second = journeys(record_elsewhere(tmp_path / "second", "0", agents=6, ticks=24, seed=6))
    assert first.keys() == second.keys()
    assert all(first[agent] != second[agent] for agent in first if agent.startswith("creator"))


@pytest.mark.further
def test_the_record_counts_what_the_platform_counted(recording):
    events = session_events(recording.session)
    outcome = recording.outcome
    actions = Counter(event["extra"]["action_type"] for event in of_kind(events, "agent_action"))
    assert actions["step"] == SETTINGS.agents * SETTINGS.ticks
    assert actions["publish"] == actions["receive_feedback"] == outcome.posts > 100
    interactions = of_kind(events, "interaction")
    totals: Counter[str] = Counter()
    for event in interactions:
        data = event["extra"]["data"]
        totals[event["extra"]["interaction_type"]] += data.get("count", 1)
    assert totals == {"like": outcome.likes, "comment": outcome.comments, "share": outcome.shares}
    assert len(of_kind(events, "error")) == outcome.failures > 0
    assert len(of_kind(events, "cascade")) == len(outcome.cascades)
    assert len(of_kind(events, "collaboration")) == outcome.collaborations
    sent = [e for e in of_kind(events, "agent_message") if e["extra"]["direction"] == "sent"]
    assert len(sent) == outcome.messages


def test_only_the_throttled_creator_stops_and_its_cooldown_says_why(recording):
    outcome = recording.outcome
    assert recording.settings.throttled_client == FAULTY
    stopped = outcome.last_published.pop(FAULTY)
    assert stopped < SETTINGS.ticks // 2
    assert min(outcome.last_published.values()) > SETTINGS.ticks - 12
    changes = of_kind(of_agent(session_events(recording.session), FAULTY), "state_change")
    (planted,) = [event for event in changes if event["extra"]["trigger"] == "TrendQuotaExceeded"]
    assert planted["extra"]["new_state"]["cooldown_until"] == planted["tick"] + 3600


@pytest.mark.integration
def test_debug_issue_finds_the_planted_fault(recording, trace_root):
    from Agent import LogAnalyzer

    report = LogAnalyzer(recording.session_id, trace_root).debug_issue(f"Agent {FAULTY} stopped publishing")
    first = report.causes[0]
    assert FAULTY in first.agent_ids
    assert "cooldown_until" in first.explanation
    assert "TrendQuotaExceeded" in first.explanation
    events = {event["id"]: event for event in session_events(recording.session)}
    named = [events[identity] for identity in first.event_ids]
    assert any(event["extra"].get("error_type") == "TrendQuotaExceeded" for event in named) or any(
        events[edge.cause_id]["extra"].get("error_type") == "TrendQuotaExceeded" for edge in first.edges
    )


def test_every_creator_exposes_its_whole_state(recording):
    events = of_kind(of_agent(session_events(recording.session), FAULTY), "state")
    first = events[0]["extra"]
    assert {
        "skill", "followers", "epsilon", "counts", "values", "total_reward", "plan", "cooldown_until", "backlog",
        "pending", "partners", "published", "rng", "trends",
    } <= set(first["fields"])  # fmt: skip
    assert first["fields"]["trends"] == "trend_service"
    assert first.get("unseen", []) == []
    assert first.get("shared", []) == []


def test_progress_hears_every_tick(trace_root):
    heard = []
    record_session(trace_root, Settings(agents=2, ticks=12), heard.append)
    assert heard == list(range(1, 13))
