"""`export perfetto`: the file parses with Perfetto's own classes, with the recorded counts, nesting and flows."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import pytest
from support.perfetto_classes import perfetto_classes
from support.session_files import session_events

from Agent import (
    AgentLogger,
    LearningLogger,
    LogAnalyzer,
    receive,
    send,
    setup_logging,
    shutdown_logging,
    tick,
    trace_agent_action,
)
from Agent.analysis.questions.perfetto import write_perfetto
from Agent.demo.platform import Settings, record_session

protos = perfetto_classes(allow_module_level=True)
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4


class Parsed:
    """A file of Perfetto as its user interface understands it."""

    def __init__(self, path: Path) -> None:
        trace = protos.Trace()
        trace.ParseFromString(path.read_bytes())
        names: dict[int, str] = {}
        self.tracks = {}
        self.slices = []
        """Dicts of id, name, track, begin, end, above (the slice around it)."""
        self.instants, self.values, self.flows = Counter(), defaultdict(list), set()
        events = []
        for packet in trace.packet:
            assert packet.trusted_packet_sequence_id == 1
            for row in packet.interned_data.event_names:
                names[row.iid] = row.name
            if packet.HasField("track_descriptor"):
                track = packet.track_descriptor
                self.tracks[track.uuid] = (track.name, track.parent_uuid)
            elif packet.HasField("track_event"):
                events.append((packet.timestamp, packet.track_event))
        events.sort(key=lambda each: each[0])  # stable, as trace_processor does
        stacks = defaultdict(list)
        begins, ends = defaultdict(list), defaultdict(list)
        for at, event in events:
            assert event.track_uuid in self.tracks
            notes = {note.name: note.string_value or note.int_value for note in event.debug_annotations}
            stack = stacks[event.track_uuid]
            if event.type == BEGIN:
                above = stack[-1] if stack else None
                made = {
                    "id": notes.get("id"), "name": names[event.name_iid], "track": event.track_uuid,
                    "begin": at, "end": None, "above": above, "tick": notes.get("tick"),
                }  # fmt: skip
                self.slices.append(made)
                stack.append(made)
            elif event.type == END:
                stack.pop()["end"] = at
            elif event.type == INSTANT:
                self.instants[names[event.name_iid]] += 1
            else:
                assert event.type == COUNTER
                self.values[self.tracks[event.track_uuid][0]].append(event.double_counter_value)
            for flow in event.flow_ids:
                begins[flow].append(notes["id"])
            for flow in event.terminating_flow_ids:
                ends[flow].append(notes["id"])
        self.unended = [each for stack in stacks.values() for each in stack]
        self.flows = {
            (one, other) for flow, causes in begins.items() for one in causes for other in ends[flow]
        }

    def agent_of(self, each) -> str:
        """The agent on whose track a slice is, or below whose track."""
        name, parent = self.tracks[each["track"]]
        return self.tracks[parent][0] if name.endswith(")") else name


def exported(session: Path, path: Path) -> Parsed:
    with LogAnalyzer(session) as analyzer:
        made = write_perfetto(path, analyzer.reader, analyzer.engine)
    parsed = Parsed(path)
    assert made.slices == len(parsed.slices)
    assert made.instants == parsed.instants.total()
    assert made.counter_values == sum(map(len, parsed.values.values()))
    assert made.flows == len(parsed.flows)
    assert made.tracks == len(parsed.tracks)
    return parsed


HIDDEN = {"state", "code", "log.opened", "log.closed", "source.state"}


def check_against_the_lines(parsed: Parsed, session: Path) -> None:
    """Compare the file with the session's lines, read without the package."""
    events = session_events(session)
    spans = {each["span_id"]: each for each in events if "span_id" in each}
    by_id = {each["id"]: each for each in events}
    assert sorted(each["id"] for each in parsed.slices) == sorted(each["id"] for each in spans.values())
    others = Counter(
        each["extra"]["event_type"]
        for each in events
        if "span_id" not in each and each["extra"]["event_type"] not in HIDDEN | {"reward"}
    )
    assert parsed.instants == others
    rewards = [each["extra"]["reward"] for each in events if each["extra"]["event_type"] == "reward"]
    assert sorted(parsed.values["reward"]) == sorted(map(float, rewards))
    for each in parsed.slices:
        event = by_id[each["id"]]
        agent = event["extra"].get("agent_id")
        assert parsed.agent_of(each) == (agent or "no agent")
        assert each["tick"] == event.get("tick")
        ended_us = datetime.fromisoformat(event["timestamp"]).timestamp() * 1e6
        assert abs(each["end"] / 1000 - ended_us) <= 2
        # an event is timed when it is written, a little late: a call began before the calls inside it
        began_us = [ended_us - event["extra"].get("duration_ms", 0) * 1000]
        began_us += [one["begin"] / 1000 for one in parsed.slices if one["above"] is each]
        assert abs(each["begin"] / 1000 - min(began_us)) <= 3
        parent = spans.get(event.get("parent_span_id"))
        if parent is not None and parent["extra"].get("agent_id") == agent:
            assert each["above"] is not None and each["above"]["id"] == parent["id"], event["id"]
    recorded = {(cause, each["id"]) for each in events for cause in each.get("causes", ()) if cause in by_id}
    assert parsed.flows == recorded


@pytest.mark.integration
def test_the_demo_has_equal_counts_nesting_times_and_flows(trace_root, tmp_path):
    record_session(trace_root, Settings(agents=12, ticks=24, seed=3))
    session = next(trace_root.glob("session_*"))
    parsed = exported(session, tmp_path / "demo.pftrace")
    check_against_the_lines(parsed, session)
    assert len(parsed.slices) > 500 and parsed.flows and not parsed.unended


class Worker:
    agent_role = "worker"

    def __init__(self, agent_id):
        self.agent_id = agent_id

    @trace_agent_action
    async def turn(self, number):
        await asyncio.sleep(0.002 * number)
        await self.part(number)

    @trace_agent_action
    async def part(self, number):
        await asyncio.sleep(0.002)

    @trace_agent_action
    def deep(self, depth):
        if depth:
            self.deep(depth - 1)


def test_tasks_of_an_agent_at_once_are_on_tracks_of_their_own_and_stay_nested(trace_root, tmp_path):
    setup_logging(trace_root=trace_root)
    worker = Worker("w")

    async def all_at_once():
        await asyncio.gather(*(worker.turn(number) for number in range(1, 6)))

    asyncio.run(all_at_once())
    worker.deep(40)
    shutdown_logging()
    session = next(trace_root.glob("session_*"))
    parsed = exported(session, tmp_path / "tasks.pftrace")
    check_against_the_lines(parsed, session)
    assert len({each["track"] for each in parsed.slices}) > 2


def test_messages_are_flows_and_rewards_counters(trace_root, tmp_path):
    setup_logging(trace_root=trace_root)
    sender, learner = AgentLogger("a"), LearningLogger("rl", "b")
    for number in range(3):
        with tick(number):
            message = sender.send("b", {"n": number}) if hasattr(sender, "send") else send("b", {"n": number})
            AgentLogger("b").receive(message) if hasattr(sender, "receive") else receive(message)
            learner.log_reward("x", number / 2)
    shutdown_logging()
    session = next(trace_root.glob("session_*"))
    parsed = exported(session, tmp_path / "messages.pftrace")
    assert len(parsed.flows) == 3
    assert parsed.values["reward"] == [0.0, 0.5, 1.0]
    assert parsed.instants["agent_message"] == 6


def test_a_span_that_never_ended_has_no_end(trace_root, tmp_path):
    setup_logging(trace_root=trace_root)
    worker = Worker("w")
    generator = None

    @trace_agent_action
    def hang(self):
        yield 1

    Worker.hang = hang
    try:
        generator = worker.hang()
        next(generator)
        worker.deep(1)
        with LogAnalyzer() as analyzer:
            write_perfetto(tmp_path / "open.pftrace", analyzer.reader, analyzer.engine)
            session = analyzer.path
        open_spans = [each["name"] for each in LogAnalyzer(session).in_flight()]
        parsed = Parsed(tmp_path / "open.pftrace")
        assert [each["name"] for each in parsed.unended] == open_spans
    finally:
        del Worker.hang
        if generator is not None:
            generator.close()


def test_an_existing_file_is_not_overwritten_and_a_failed_export_leaves_none(
    trace_root, tmp_path, monkeypatch
):
    record_session(trace_root, Settings(agents=3, ticks=12, seed=3))
    path = tmp_path / "x.pftrace"
    path.write_text("mine")
    with LogAnalyzer(next(trace_root.glob("session_*"))) as analyzer:
        with pytest.raises(FileExistsError):
            write_perfetto(path, analyzer.reader, analyzer.engine)
        assert path.read_text() == "mine"
        monkeypatch.setattr("Agent.analysis.questions.perfetto._OTHERS", "SELECT nothing FROM {}")
        with pytest.raises(Exception, match="query failed"):
            write_perfetto(tmp_path / "y.pftrace", analyzer.reader, analyzer.engine)
    assert not (tmp_path / "y.pftrace").exists()
