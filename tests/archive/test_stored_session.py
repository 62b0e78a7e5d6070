"""Events that were sent with content, and are stored as rows, are again the events of the record."""

import contextlib

import orjson
import pytest
from support.processes import run_python

from Agent import AgentLogger, shutdown_logging, trace_agent_action
from Agent.archive.run_import import StoredSession, restored_event
from Agent.client.shipment import artifact_text
from Agent.export.allow_list import AllowList, holds_content
from Agent.export.wire import event_to_wire, read_batch
from Agent.flight import recorder
from Agent.flight.run_reading import RunRef, read_run
from Agent.tree.files.session import open_session
from Agent.tree.layout import list_sessions
from Agent.tree.read.reader import TreeReader


class Counter:
    """An agent whose state is exposed."""

    agent_id = "counter"

    def __init__(self):
        self.total = 0

    def trace_state(self):
        return {"total": self.total, "seen": (1, self.total)}

    @trace_agent_action("add")
    def add(self, number):
        self.total += number
        return (number, self.total)


def recorded(root):
    """A session with actions, state, logs, errors and a run of two steps; its path, its events."""
    agent = Counter()
    for number in (1, 2):
        agent.add(number)
    AgentLogger("counter", "adder").log_action("publish", {"to": "Jane Doe"})
    with contextlib.suppress(TypeError):
        agent.add("Jane Doe")
    recorder.start_run("weather", run_id="run-one")
    for step in ("ask", "answer"):
        recorder.start_step(step, step)
        recorder.finish_step(step, step, {"of": [step, 1.5]}, metadata={"tries": 2})
    recorder.finish_run()
    shutdown_logging()
    (session,) = list_sessions(root)
    return session.path, list(TreeReader(session.path).events())


def rows_of(session, events, *, content=True):
    """The rows that a service keeps of events, after they crossed the wire."""
    uid = open_session(session).session_uid
    wire = []
    for event in events:
        text = artifact_text(session, event) if event.kind == "artifact.saved" else None
        wire.append(orjson.loads(event_to_wire(event, AllowList(), content=content, artifact_text=text)))
    batch, _ = read_batch(
        {"session": {"session_uid": uid}, "events": wire, "content": content}, content=content
    )
    assert batch.refused == ()
    names = (
        "event_id severity ts_us kind agent_id agent_role run_id span_id parent_span_id causes tick name"
        " duration_ms outcome body"
    )
    return [{name: getattr(each, name) for name in names.split()} for each in batch.events]


def test_events_come_back_as_they_were(trace_root):
    session, events = recorded(trace_root)
    session_id = session.name.removeprefix("session_")
    assert {"agent_action", "state", "code", "error", "run.started", "artifact.saved"} <= {
        e.kind for e in events
    }
    back = [restored_event(row, session_id) for row in rows_of(session, events)]
    for before, after in zip(events, back, strict=True):
        for name in (
            "timestamp",
            "id",
            "kind",
            "level",
            "logger",
            "message",
            "run_id",
            "span_id",
            "parent_span_id",
        ):
            assert getattr(after, name) == getattr(before, name), (name, before.kind)
        for name in ("causes", "tick", "code", "state", "types"):
            assert getattr(after, name) == getattr(before, name), (name, before.kind)
        # what the sender adds so that errors are sorted is all that is new
        added = {"failure_type", "failure_code"} if before.kind == "error" else set()
        assert {k: v for k, v in after.extra.items() if k not in added} == dict(before.extra), before.kind


def test_a_session_made_of_rows_reads_as_the_one_that_was_recorded(trace_root, tmp_path):
    session, events = recorded(trace_root)
    made = StoredSession(tmp_path / "again", open_session(session).session_uid, events[0].timestamp_us)
    made.add(rows_of(session, events))
    assert made.lacking == []
    before = read_run(RunRef(session, "run-one"))
    after = read_run(RunRef(made.path, "run-one"))
    assert (
        [step.step_id for step in after.steps] == [step.step_id for step in before.steps] == ["ask", "answer"]
    )
    for step in after.steps:
        assert b"".join(after.read(step.output_ref)) == b"".join(before.read(step.output_ref))
    assert [e.id for e in TreeReader(made.path).events("counter")] == [
        e.id for e in TreeReader(session).events("counter")
    ]
    assert {path.stat().st_mode & 0o077 for path in made.path.rglob("*") if not path.is_symlink()} == {0}


MADE_UNDER_A_LIMIT = """
import sys
from pathlib import Path
from Agent.archive.run_import import StoredSession
from Agent.server.worker_process import limit_process

row = dict.fromkeys("agent_role span_id parent_span_id causes tick name duration_ms outcome run_id".split())
row |= {"agent_id": "a", "kind": "agent_action", "severity": 20}
made = StoredSession(Path(sys.argv[1]), "01920000-0000-7000-8000-000000000000", 10**15)
limit_process(400 << 20, 60)
made.add(
    row | {"event_id": f"k3v7q2ma-{number}", "ts_us": 10**15 - number % 7,
           "body": {"result": [7] * (2000 if number % 2 else 1)}}
    for number in range(1, 20_001)
)
path = made.path / "agents" / "a.log"
print(path.stat().st_size >> 20, path.read_bytes().count(b"\\n"))
"""


@pytest.mark.further
@pytest.mark.process
def test_a_session_takes_about_as_much_memory_as_its_lines_while_it_is_made(tmp_path):
    done = run_python("-c", MADE_UNDER_A_LIMIT, str(tmp_path / "root"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "42 20000\n"), done.stderr


def test_only_what_was_sent_with_content_is_told_to_hold_some(trace_root):
    session, events = recorded(trace_root)
    assert not any(map(holds_content, rows_of(session, events, content=False)))
    assert any(map(holds_content, rows_of(session, events)))


def test_an_artifact_whose_path_leads_out_is_not_written(tmp_path):
    row = dict.fromkeys(
        "agent_id agent_role span_id parent_span_id causes tick name duration_ms outcome".split()
    )
    body = {"ref": "artifact://artifacts/../../../../escaped.txt", "artifact_text": "x"}
    row |= {
        "event_id": "k3v7q2ma-1",
        "ts_us": 10**15,
        "kind": "artifact.saved",
        "severity": 20,
        "run_id": "r",
    }
    made = StoredSession(tmp_path / "root", "01920000-0000-7000-8000-000000000000", 10**15)
    made.add([row | {"body": body}])
    assert not list(tmp_path.rglob("escaped.txt"))
