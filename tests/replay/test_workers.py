"""Agents of one session replayed by one process that forks: the same verdicts, each as if it were alone."""

import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from Agent.errors import AgentNotFound
from Agent.replay import replay_agents
from Agent.replay.attempts import RedriveOptions
from Agent.replay.plan.actions import make_plan
from Agent.replay.plan.recording import RecordingParts, ends_of, read_recording
from Agent.tree.layout import list_sessions

CROWD = """
import os, sys, time
print("imported")
COUNT = [0]

class Counter:
    def __init__(self, name):
        self.agent_id, self.agent_role = name, "counter"
        self.total = 0

    @trace_agent_action
    def add(self, amount):
        COUNT[0] += 1
        self.total += amount
        return self.total + COUNT[0] * 0

    @trace_agent_action
    def pass_on(self, other, amount):
        return other.add(amount)

def build(spec):
    COUNT.append(spec.agent_id)
    print("built", len(COUNT))
    return Counter(spec.agent_id)

def main():
    crowd = [Counter(f"c{number}") for number in range(6)]
    for amount in range(1, 4):
        for each in crowd:
            each.add(amount)
"""


@pytest.mark.integration
def test_each_agent_has_its_own_report_and_its_own_module_state(toy):
    toy.record(CROWD)
    told = []
    reports = replay_agents("last", f"{toy.name}:build", root=toy.root, progress=told.append)
    assert [report.agent_id for report in reports] == [f"c{number}" for number in range(6)]
    assert {report.verdict for report in reports} == {"IDENTICAL"}
    assert {report.stdout for report in reports} == {"imported\nbuilt 2\n"}
    assert told[-1] == 1.0
    assert len({report.path for report in reports}) == 6
    toy.change("return self.total + COUNT[0] * 0", "return self.total + (COUNT[0] > 2)")
    reports = replay_agents("last", f"{toy.name}:build", "c[12]", toy.root)
    assert [(report.verdict, report.divergence.step) for report in reports] == [("DIVERGED", 3)] * 2
    with pytest.raises(AgentNotFound, match="nobody"):
        replay_agents("last", f"{toy.name}:build", ["c1", "nobody"], toy.root)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("COUNT[0] += 1", "os._exit(3)", "UNVERIFIED"),
        ("COUNT = [0]", "COUNT = [0]\ntime.sleep(60)", "UNVERIFIED"),
        ("COUNT[0] += 1", "time.sleep(60 * (self.agent_id == 'c1'))", "UNVERIFIED"),
        ("COUNT = [0]", "COUNT = [0]\nimport threading\nthreading.Timer(0.1, print).start()", "IDENTICAL"),
        ("COUNT = [0]", "COUNT = [0]\nimport random\nrandom.seed()", "IDENTICAL"),
        ("def main", "TOLD = build(type('S', (), {'agent_id': 'c9'})).add(1)\ndef main", None),
    ],
)
def test_an_agent_that_dies_hangs_or_acts_at_import_harms_no_other(toy, old, new, verdict):
    toy.record(CROWD).change(old, new)
    options = RedriveOptions(timeout_seconds=5)
    one, other = replay_agents("last", f"{toy.name}:build", ["c1", "c2"], toy.root, options=options)
    if verdict is not None:
        assert one.verdict == verdict, one
    if "os._exit" in new:
        assert "ended with 3 before it could report" in one.reasons[0]
    if "sleep" in new:
        assert "did not end within 5 s" in one.reasons[0]
    if "sleep(60 *" in new:
        assert other.verdict == "IDENTICAL", other
    if verdict is None:  # what each process sees for itself
        assert str(one.verdict) == str(toy.replay("last/c1").verdict)


@pytest.mark.integration
def test_replays_of_a_worker_end_when_they_are_told_to(toy):
    toy.record(CROWD).change("COUNT[0] += 1", "time.sleep(60)")
    stop = threading.Event()
    from Agent.flight.run_reading import find_session_run
    from Agent.replay.rerun import drive_again
    from Agent.replay.worker.fork_server import Worker

    reference = find_session_run("last/c1", toy.root)
    threading.Timer(1.0, stop.set).start()
    began = time.monotonic()
    with Worker(reference.session, f"{toy.name}:build") as worker, pytest.raises(CancelledError):
        drive_again(reference, f"{toy.name}:build", RedriveOptions(stop=stop), worker)
    assert time.monotonic() - began < 30


@pytest.mark.first_case
@pytest.mark.parametrize("most_bytes", [32 << 20, 0])
def test_parts_of_a_recording_are_what_is_read_for_each_agent(recorded_parts, most_bytes, monkeypatch):
    """Also where a session is too large to be held in memory, and is read twice."""
    monkeypatch.setattr("Agent.replay.plan.recording._MOST_BYTES", most_bytes)
    for agent_id in recorded_parts.agents:
        alone = read_recording(recorded_parts.session, agent_id)
        part = RecordingParts(recorded_parts).of(agent_id)
        assert [event.id for event in part.events] == [event.id for event in alone.events]
        assert (part.agents, part.codes, part.is_complete) == (alone.agents, alone.codes, alone.is_complete)


@pytest.fixture(params=["nested", "killed"])
def recorded_parts(request, toy):
    """The whole of a session in which agents act inside others."""
    toy.record(CROWD.replace("each.add(amount)", "each.pass_on(crowd[0], amount)"))
    session = list_sessions(toy.root)[-1].path
    if request.param == "killed":
        file: Path = session / "agents" / "c2.log"
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(lines[:-3]))
        for name in ("events.log",):
            (session / name).unlink(missing_ok=True)
    return read_recording(session)


def test_a_state_whose_reason_and_owners_are_no_texts_is_read(tmp_path):
    line = (
        b'{"timestamp":"2026-11-20T10:30:45.123456Z","id":"k3v9q2ma-1","schema_version":1,"session_id":"s",'
        b'"level":"INFO","logger":"a","message":"m","extra":{"agent_id":"a","event_type":"state",'
        b'"reason":["exit"],"shared_with":{"x":["b"]}}}\n'
    )
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "a.log").write_bytes(line)
    recording = read_recording(tmp_path)
    assert (recording.agents["a"].shared_with, ends_of(recording.events[0])) == ({"['b']"}, {})


@pytest.mark.parametrize("around", [(0,), (1, 2, 0)])
def test_spans_that_lie_inside_each_other_in_edited_lines_are_planned(tmp_path, around):
    lines = (
        f'{{"timestamp":"2026-11-20T10:30:45.12345{number}Z","id":"k3v9q2ma-{number + 1}","schema_version":1,'
        f'"session_id":"s","level":"INFO","logger":"a","message":"m","span_id":"s{number}",'
        f'"parent_span_id":"s{other}","extra":{{"agent_id":"a","event_type":"agent_action",'
        '"action_type":"act","call":"A.act","args":{},"result":1,"duration_ms":0.001}}\n'
        for number, other in enumerate(around)
    )
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "a.log").write_text("".join(lines))
    plan = make_plan(read_recording(tmp_path), frozenset({"a"}), frozenset({"a"}))
    assert plan.actions == []
