"""Recording begins again when it can: a removed root, no descriptors, a root that cannot be written at first."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from support.processes import run_python
from support.session_files import record_files

import Agent
from Agent import AgentLogger, health, setup_logging, shutdown_logging
from Agent.archive.verify import verify
from Agent.config import process
from Agent.record.emit import installed


def recorded_ids(root: Path) -> set[str]:
    sessions = root.glob("session_*")
    lines = [
        line for path in sessions for file in record_files(path) for line in file.read_bytes().splitlines()
    ]
    return {json.loads(line)["id"] for line in lines}


def _remove(root):
    while root.exists():  # a thread of the recording may put a file into a directory that is being emptied
        shutil.rmtree(root, ignore_errors=True)


def test_a_removed_root_loses_counted_events_and_recording_goes_on_in_a_new_one(trace_root):
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("a", "r")
    before = {logger.log_action("before", {"n": n}) for n in range(50)}
    _remove(trace_root)
    ids = [logger.log_action("after", {"n": n}) for n in range(2000)]
    told = health()
    assert told["recording"]
    lost = told["dropped"]["the session's directory was removed"]
    written = recorded_ids(trace_root)
    missing = [i for i in ids if i not in written]
    # What was written in the millisecond before somebody looked is lost, and counted.
    assert len(missing) <= lost <= len(missing) + len(before) + 2
    assert len(missing) < 2000
    shutdown_logging()
    (session,) = trace_root.glob("session_*")
    assert verify(session).dropped == {"the session's directory was removed": lost}


def test_files_removed_within_a_session_lose_counted_events_and_another_writer_begins(trace_root):
    first = setup_logging(trace_root=trace_root).path
    logger = AgentLogger("a", "r")
    before = [logger.log_action("before", {"n": n}) for n in range(50)]
    time.sleep(0.005)
    before.append(logger.log_action("before"))
    _remove(first / "agents")
    time.sleep(0.005)
    assert logger.log_action("after") == ""
    process.unrecorded.try_again_ns = 0
    ids = [logger.log_action("after", {"n": n}) for n in range(2000)]
    lost = health()["dropped"]["the session's directory was removed"]
    written = recorded_ids(trace_root)
    missing = [i for i in ids if i not in written]
    assert missing == []
    # The one that noticed, and what was recorded in the millisecond before.
    assert 1 <= lost <= len(before) + 3


def test_nothing_is_made_in_a_root_that_is_being_removed(trace_root):
    first = setup_logging(trace_root=trace_root).path
    logger = AgentLogger("a", "r")
    logger.log_action("before")
    time.sleep(0.005)
    _remove(first)
    assert [logger.log_action("during", {"n": n}) for n in range(100)] == [""] * 100
    assert list(trace_root.glob("session_*")) == []
    told = health()
    assert told["recording"] is False
    assert told["obstacle"] == "the session's directory was removed"
    _remove(trace_root)
    assert logger.log_action("after")
    # One noticed, and is counted with the session that was removed.
    assert health()["dropped"]["nothing could be recorded"] == 99
    assert len(recorded_ids(trace_root)) > 0


def test_nothing_is_lost_twice_where_the_end_meets_the_removed_root(trace_root):
    setup_logging(trace_root=trace_root)
    AgentLogger("a", "r").log_action("x")
    _remove(trace_root)
    shutdown_logging()
    for session in trace_root.glob("session_*"):
        assert verify(session).sound
    assert (health()["recording"], health()["dropped"]) == (False, {})


def test_a_root_that_cannot_be_written_at_first_is_tried_again(trace_root, monkeypatch, capfd):
    trace_root.write_text("a file stands here")
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(trace_root))
    logger = AgentLogger("a", "r")
    assert [logger.log_action("x") for _ in range(20)] == [""] * 20
    told = health()
    assert told["recording"] is False
    assert told["dropped"] == {"nothing could be recorded": 20}
    assert str(trace_root) in told["obstacle"]
    assert capfd.readouterr().err.count("nothing is recorded") == 1
    trace_root.unlink()
    process.unrecorded.try_again_ns = 0
    assert logger.log_action("y")
    assert health()["dropped"] == {"nothing could be recorded": 20}
    shutdown_logging()
    (session,) = trace_root.glob("session_*")
    assert verify(session).dropped == {"nothing could be recorded": 20}
    assert (Agent.health()["recording"], Agent.health()["dropped"]) == (False, {})


def test_health_has_the_same_keys_whether_or_not_anything_is_recorded(trace_root, monkeypatch):
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(trace_root))
    trace_root.write_text("a file stands here")
    logger = AgentLogger("a", "r")
    logger.log_action("x")
    refused = health()
    trace_root.unlink()
    process.unrecorded.try_again_ns = 0
    assert logger.log_action("y")
    recording = health()
    shutdown_logging()
    ended = health()
    assert recording["recording"]
    assert not refused["recording"]
    assert not ended["recording"]
    assert list(refused) == list(recording) == list(ended)
    assert [type(each) for each in (refused["notes"], refused["writer"], ended["notes"])] == [dict] * 3


@pytest.mark.parametrize("durability", ["kernel", "disk", "queued"])
def test_a_call_that_is_under_way_when_recording_ends_is_counted_with_that_reason(
    trace_root, capfd, durability
):
    """What a daemon thread does as the interpreter exits: it has the pipeline, whose files are closed by now."""
    session = setup_logging(trace_root=trace_root, durability=durability)
    logger = AgentLogger("a", "r")
    assert logger.log_action("before")
    pipeline = installed.active_pipeline()
    shutdown_logging()
    installed.install_pipeline(pipeline)
    logger.log_action("during")
    installed.install_pipeline(None)
    told = capfd.readouterr().err
    assert "file system" not in told
    assert "events are being lost: recording ended before the event was written" in told
    assert verify(session.path).sound
    assert health()["dropped"] == {"recording ended before the event was written": 1}
    again = setup_logging(trace_root=trace_root)
    shutdown_logging()
    assert verify(again.path).dropped == {"recording ended before the event was written": 1}


PROGRAM = """
import os, resource, sys
from Agent import AgentLogger, health
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
lowest = os.open("/dev/null", os.O_RDONLY)
os.close(lowest)
# All numbers are in use, or the limit is the first that is free.
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest if sys.argv[1] == "lowered" else 64, most))
held = []
while True:
    try:
        held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        break
logger = AgentLogger("a", "r")
lost = [logger.log_action("x") for _ in range(100)]
assert lost == [""] * 100, lost
assert health()["dropped"] == {"nothing could be recorded": 100}, health()
assert "Too many open files" in health()["obstacle"], health()
for fd in held:
    os.close(fd)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
if sys.argv[2] == "goes on":
    ids = [logger.log_action("y") for _ in range(100)]
    assert all(ids), ids
    assert health()["dropped"] == {"nothing could be recorded": 100}, health()
"""


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(("way", "then"), [("used", "goes on"), ("lowered", "goes on"), ("used", "ends")])
def test_a_program_without_descriptors_at_its_first_event_is_recorded_from_when_it_has_some(
    tmp_path, way, then
):
    root = tmp_path / "trace"
    done = run_python(
        "-c",
        PROGRAM,
        way,
        then,
        cwd=tmp_path,
        HOME=str(tmp_path),
        AGENT_TRACE_ROOT=str(root),
        AGENT_TRACE_SESSION="",
    )
    assert done.returncode == 0, done.stderr
    (session,) = root.glob("session_*")
    assert verify(session).dropped == {"nothing could be recorded": 100}


@pytest.mark.process
def test_a_child_counts_no_calls_that_its_parent_could_not_record(trace_root, monkeypatch):
    trace_root.write_text("a file stands here")
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(trace_root))
    assert AgentLogger("a", "r").log_action("x") == ""
    child = os.fork()
    if child == 0:
        os._exit(process.unrecorded.calls)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert process.unrecorded.calls == 1


@pytest.mark.process
def test_a_program_that_never_gets_a_session_says_at_its_end_how_many_events_it_lost(tmp_path):
    (tmp_path / "file").write_text("no directory")
    program = "from Agent import AgentLogger\nfor _ in range(5): AgentLogger('a').log_action('x')"
    done = run_python(
        "-c", program, cwd=tmp_path, AGENT_TRACE_ROOT=str(tmp_path / "file" / "trace"), AGENT_TRACE_SESSION=""
    )
    assert done.returncode == 0
    first, last = done.stderr.splitlines()
    assert first.startswith("agent-trace: nothing is recorded: the trace root cannot be written")
    assert last.startswith("agent-trace: 5 events were not recorded: the trace root cannot be written")
