"""Generated sessions: what the generator says is in them is what is read, and what every report says."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import orjson
import pytest
from support.known_truth import FAULTS, Truth, make_session
from support.known_truth.command import main

from Agent.analysis import LogAnalyzer
from Agent.archive import open_reader
from Agent.errors import UsageError
from Agent.event.codec import encode_event, validate_event
from Agent.event.model import Event
from Agent.tree.layout import tree_files


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_session(
        tmp_path_factory.mktemp("faulty"), events=16_000, agents=24, faults=list(FAULTS), seed=5
    )


@pytest.fixture(scope="module")
def events(faulty: Truth) -> list[Event]:
    return list(open_reader(faulty.session).events())


def started_us(event: Event) -> int:
    return event.timestamp_us - round(event.extra.get("duration_ms", 0) * 1000)


@pytest.mark.integration
def test_the_counts_told_are_those_of_the_files(faulty: Truth, events: list[Event]) -> None:
    assert len(events) == faulty.events
    assert Counter(event.kind for event in events) == faulty.by_kind
    assert Counter(event.agent_id for event in events if event.agent_id) == faulty.by_agent
    rewards: defaultdict[str, float] = defaultdict(float)
    for event in events:
        if event.kind == "reward":
            rewards[str(event.agent_id)] += event.extra["reward"]
    assert {agent: round(total, 3) for agent, total in rewards.items()} == faulty.rewards
    assert Counter(e.extra["error_type"] for e in events if e.kind == "error") == faulty.errors
    assert Counter(e.extra["action_type"] for e in events if e.kind == "agent_action") == faulty.actions


@pytest.mark.integration
def test_every_event_is_one_that_recording_could_have_written(faulty: Truth, events: list[Event]) -> None:
    by_id = {event.id: event for event in events}
    for event in events:
        validate_event(orjson.loads(encode_event(event)))
    lines = {
        line for path in tree_files(faulty.session) for line in path.read_bytes().splitlines(keepends=True)
    }
    assert {encode_event(event) for event in events} <= lines
    assert not [
        cause for event in events for cause in event.causes if cause not in by_id and not gone(faulty, cause)
    ]


def gone(truth: Truth, event_id: str) -> bool:
    writer, _, seq = event_id.rpartition("-")
    return int(seq) in truth.lost.get(writer, [])


def test_spans_are_nested_and_messages_and_experience_are_linked(events: list[Event]) -> None:
    spans = {event.span_id: event for event in events if event.span_id}
    assert len(spans) == sum(1 for event in events if event.span_id)
    for event in events:
        outer = spans.get(event.parent_span_id)
        assert (outer is None) == (event.parent_span_id is None), event
        if outer is not None:
            assert started_us(outer) <= started_us(event) and event.timestamp_us <= outer.timestamp_us
    by_id = {event.id: event for event in events}
    for event in events:
        if event.kind == "agent_message" and event.extra["direction"] == "received":
            (sent,) = (by_id[cause] for cause in event.causes)
            assert sent.extra == event.extra | {
                "direction": "sent", "agent_id": sent.agent_id, "agent_role": sent.agent_role,
            }  # fmt: skip
            assert (sent.agent_id, event.agent_id) == (event.extra["sender"], event.extra["recipient"])
        if event.kind == "learning_update":
            experience = [by_id[each] for each in event.extra["update_data"]["experience"]]
            assert {(each.kind, each.agent_id) for each in experience} == {("reward", event.agent_id)}


def test_times_never_decrease_within_a_writer(events: list[Event]) -> None:
    last: dict[str, tuple[int, int]] = {}
    for event in sorted(events, key=lambda event: (event.writer, event.seq)):
        before = last.get(event.writer, (0, 0))
        assert event.timestamp_us >= before[0], event
        last[event.writer] = (event.timestamp_us, event.seq)


@pytest.mark.further
def test_each_fault_names_events_that_are_there_and_say_it(faulty: Truth, events: list[Event]) -> None:
    by_id = {event.id: event for event in events}
    kinds = {fault.name: [by_id[each].kind for each in fault.cause_ids] for fault in faulty.faults}
    assert kinds == {
        "stuck_loop": ["state_change", "error"],
        "latency_step": ["system.config"],
        "reward_collapse": ["policy_update", "learning_update"],
        "poisoned_message": ["agent_message", "agent_message", "state_change"],
        "missing_action": ["strategy_update"],
        "torn_file": [],
    }
    # nobody is hit by two
    assert len({fault.agent for fault in faulty.faults}) == len(faulty.faults)


def test_faults_have_the_effects_that_are_told(faulty: Truth, events: list[Event]) -> None:
    fault = {each.name: each for each in faulty.faults}
    stuck = [e for e in events if e.extra.get("action_type") == "retry_publish" and e.kind == "agent_action"]
    assert {event.agent_id for event in stuck} == {fault["stuck_loop"].agent_id}
    assert len(stuck) == fault["stuck_loop"].effects["repeats"]
    slow = fault["latency_step"].tick
    lookups = [e for e in events if e.kind == "agent_action" and e.extra["action_type"] == "lookup"]
    assert max(e.extra["duration_ms"] for e in lookups if e.tick <= slow) < 0.5
    assert min(e.extra["duration_ms"] for e in lookups if e.tick > slow) >= 4
    collapse = fault["reward_collapse"]
    after = [
        e.extra["reward"]
        for e in events
        if e.kind == "reward" and e.agent_id == collapse.agent_id and e.tick > collapse.tick
    ]
    assert after and max(after) < 0.2
    missing = fault["missing_action"]
    published = [e.tick for e in events if e.kind == "content_generation" and e.agent_id == missing.agent_id]
    assert published and max(published) < missing.tick


@pytest.mark.integration
def test_every_report_says_what_is_true(faulty: Truth) -> None:
    analyzer = LogAnalyzer(faulty.session)
    summary = analyzer.session_summary()
    assert summary["total_events"] == faulty.events
    assert summary["event_types"] == faulty.by_kind
    assert summary["actions"] == faulty.actions
    assert {agent: told["events"] for agent, told in summary["agents"].items()} == faulty.by_agent
    assert summary["learning"]["total_rewards"] == pytest.approx(sum(faulty.rewards.values()))
    assert summary["damaged_lines"] == sum(faulty.damaged.values())
    assert summary["losses"]["lost"] == sum(map(len, faulty.lost.values()))
    patterns = analyzer.find_error_patterns()
    assert patterns["total_errors"] == sum(faulty.errors.values())
    found = {row["error_type"]: (row["count"], row["agents"]) for row in patterns["fingerprints"]}
    assert found == {name: (n, faulty.error_agents[name]) for name, n in faulty.errors.items()}


@pytest.mark.integration
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    def made(name: str, seed: int) -> dict[str, bytes]:
        truth = make_session(tmp_path / name, events=3_000, agents=10, seed=seed)
        return {path.name: path.read_bytes() for path in tree_files(truth.session)}

    first = made("a", 1)
    assert first == made("b", 1)
    assert first != made("c", 2)


def test_a_healthy_session_has_no_fault_and_loses_nothing(tmp_path: Path) -> None:
    truth = make_session(tmp_path, events=3_000, agents=10)
    assert (truth.faults, truth.lost, truth.damaged) == ((), {}, {})
    assert set(truth.errors) <= {"LookupTimeout"}
    assert open_reader(truth.session).losses().clean


@pytest.mark.integration
def test_a_sealed_session_holds_the_same_and_no_json_lines(faulty: Truth, tmp_path: Path) -> None:
    sealed = make_session(tmp_path, events=16_000, agents=24, faults=list(FAULTS), seed=5, sealed=True)
    assert tree_files(sealed.session) == []
    assert sealed.to_dict() == faulty.to_dict()
    assert list(open_reader(sealed.session).events()) == list(open_reader(faulty.session).events())


@pytest.mark.integration
def test_the_command_writes_the_truth_beside_the_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--events", "8000", "--agents", "18", "--out", str(tmp_path), "--fault", "stuck_loop"]
    assert main(arguments) == 0
    session = Path(capsys.readouterr().out.strip())
    told = orjson.loads((tmp_path / f"{session.name}.truth.json").read_bytes())
    assert told["events"] == LogAnalyzer(session).session_summary()["total_events"]
    assert [fault["name"] for fault in told["faults"]] == ["stuck_loop"]
    assert main(["--events", "3", "--out", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    "wrong",
    [{"events": 10}, {"agents": 1}, {"seed": -1}, {"faults": ["no_such"]}, {"faults": ["stuck_loop"]}],
)
def test_what_cannot_be_made_is_one_clear_error(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make_session(tmp_path, **{"events": 1000, "agents": 10, **wrong})  # type: ignore[arg-type]
