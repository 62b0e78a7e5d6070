"""`AgentTracer`: what it records, what it sends, and that a service that is away costs the agent nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time

import pytest
from support.ingest_double import IngestDouble
from support.processes import child_environment, run_python

from Agent import health
from Agent.client import AgentTracer
from Agent.errors import ConfigurationError, UsageError
from Agent.flight import list_runs, read_run
from Agent.flight.run_reading import find_run
from Agent.tree.layout import list_sessions
from Agent.tree.read.reader import TreeReader

PROSE = "please tell Jane Doe that her test was positive"


@pytest.fixture
def local():
    """A tracer that sends nothing."""
    return AgentTracer(agent_id="my_agent", agent_version="1.0.0", environment="test")


def only_run(root):
    (summary,) = list_runs(root)
    return read_run(find_run(summary.run_id, root))


def events_of(root, kind):
    return [event for event in only_run(root).events() if event.kind == kind]


def test_a_run_is_recorded_with_its_steps_metadata_and_failure(local, trace_root):
    with local.start_run(labels={"ticket": 7}) as run:
        with run.step("retrieve", "search_kb") as step:
            step.add_metadata({"result_count": 10})
            step.add_metadata(cached=True)
        with run.step("tool", "call_api"):
            run.record_failure(failure_type="tool", failure_code="timeout", message=PROSE)
    record = only_run(trace_root)
    assert (record.summary.agent, record.summary.state) == ("my_agent", "failure")
    assert record.summary.labels == {"agent_version": "1.0.0", "environment": "test", "ticket": 7}
    assert [(step.step_id, step.step_type, step.name, step.state) for step in record.steps] == [
        ("step_1", "retrieve", "search_kb", "ok"),
        ("step_2", "tool", "call_api", "ok"),
    ]
    assert events_of(trace_root, "step.finished")[0].extra["metadata"] == {"result_count": 10, "cached": True}
    (failure,) = events_of(trace_root, "run.failure")
    assert failure.extra["failure_message"] == PROSE
    assert (failure.extra["failure_type"], failure.extra["step_id"]) == ("tool", "step_2")
    assert health()["dropped"] == {}


def test_a_run_without_trouble_is_a_success_and_a_partial_one_says_so(local, trace_root):
    with local.start_run():
        pass
    with local.start_run() as run:
        run.finish("partial")
    run = local.start_run()
    assert run.finish() != ""
    assert run.finish() == ""
    states = [summary.state for summary in list_runs(trace_root)]
    assert sorted(states) == ["partial", "success", "success"]


def test_an_exception_goes_on_and_leaves_a_failure_of_its_sort(local, trace_root):
    def fail():
        with local.start_run() as run, run.step("plan", "outer"), run.step("tool", "inner"):
            raise TimeoutError(PROSE)

    with pytest.raises(TimeoutError):
        fail()
    (failure,) = events_of(trace_root, "run.failure")
    assert (failure.extra["failure_type"], failure.extra["failure_code"]) == ("tool", "timeout")
    assert failure.extra["step_id"] == "step_2"
    (error,) = [
        event for event in TreeReader(list_sessions(trace_root)[0].path).events() if event.kind == "error"
    ]
    assert failure.extra["error_id"] == error.id
    assert only_run(trace_root).summary.state == "failure"


def test_a_failure_that_was_recorded_is_not_recorded_again_by_the_exception(local, trace_root):
    def fail():
        with local.start_run() as run:
            run.record_failure("model", "schema_invalid")
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert len(events_of(trace_root, "run.failure")) == 1


def test_blocks_work_with_async_with_and_runs_of_tasks_do_not_mix(local, trace_root):
    async def one(number):
        async with local.start_run() as run, run.step("tool", f"call_{number}") as step:
            await asyncio.sleep(0.01)
            step.add_metadata({"number": number})
            if number == 1:
                run.record_failure("tool", "refused")
        return run.run_id

    async def all_of_them():
        return await asyncio.gather(*map(one, range(3)))

    ids = asyncio.run(all_of_them())
    for number, run_id in enumerate(ids):
        record = read_run(find_run(run_id, trace_root))
        assert [step.name for step in record.steps] == [f"call_{number}"]
        assert record.summary.state == ("failure" if number == 1 else "success")


def test_words_that_are_none_are_recorded_as_the_nearest_and_counted_never_raised(local, trace_root):
    with local.start_run() as run:
        with run.step("think", "x") as step:
            step.add_metadata(7)
        run.record_failure("bug", "own_code")
        run.finish("fine")
    assert events_of(trace_root, "step.started")[0].extra["step_type"] == "other"
    assert events_of(trace_root, "run.failure")[0].extra["failure_type"] == "orchestration"
    assert only_run(trace_root).summary.state == "failure"
    assert len(health()["notes"]) >= 3


def test_what_cannot_be_is_said_when_the_tracer_is_made():
    with pytest.raises(ConfigurationError, match="not an address of a service"):
        AgentTracer("a", api_url="localhost")
    with pytest.raises(UsageError, match="agent_id"):
        AgentTracer("")


@pytest.mark.process
def test_the_documents_example_arrives_without_its_message(trace_root):
    with IngestDouble() as service:
        tracer = AgentTracer(agent_id="my_agent", agent_version="1.0.0", api_url=service.url)
        assert tracer.health()["sent"] == 0
        with tracer.start_run() as run, run.step("tool", "call_api") as step:
            step.add_metadata({"attempt": 3, "prompt": PROSE})
            step.output = PROSE
            run.record_failure(failure_type="tool", failure_code="timeout", message=PROSE)
        assert tracer.flush(60)
        told = tracer.health()
        assert told["delivered"]
        assert told["dropped"]["/extra/failure_message"] == 1
        assert PROSE.encode() not in service.everything()
        (run_message,) = service.runs
        assert run_message.status == "failure"
        assert run_message.failures[0].failure_code == "timeout"
        assert run_message.steps[0].metadata == {"attempt": 3}
        tracer.close()
        assert tracer.flush(1) is False


PROGRAM = """
import sys
from Agent.client import AgentTracer
tracer = AgentTracer("my_agent", "1.0.0", sys.argv[1], exit_timeout_s=float(sys.argv[2]))
with tracer.start_run() as run:
    for number in range(20):
        with run.step("tool", "call"):
            pass
print("done", flush=True)
"""


@pytest.mark.further
@pytest.mark.process
def test_a_program_that_just_ends_has_sent_everything_its_last_line_included(tmp_path, trace_root):
    with IngestDouble() as service:
        done = run_python("-c", PROGRAM, service.url, "60", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        session = list_sessions(trace_root)[0].path
        assert {identity for _, identity in service.events} == {
            event.id for event in TreeReader(session).events()
        }
        assert {event.kind for event in service.events.values()} >= {"log.closed", "run.finished"}


@pytest.mark.integration
def test_with_nobody_there_a_program_ends_as_ever_says_so_once_and_ship_sends_it_later(tmp_path, trace_root):
    with IngestDouble() as service:
        port = service.port
    # Its output is read to the end, which the process that goes on sending must not hold open.
    done = run_python("-c", PROGRAM, f"http://127.0.0.1:{port}", "60", cwd=tmp_path)
    assert done.returncode == 0
    assert "nothing is lost: `agent-trace ship --to" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    with IngestDouble(port=port) as service:
        deadline = time.monotonic() + 60
        session = list_sessions(trace_root)[0].path
        whole = {event.id for event in TreeReader(session).events()}
        # The process that sends goes on for a while, so it may be faster than a command would be.
        while {identity for _, identity in service.events} != whole and time.monotonic() < deadline:
            time.sleep(0.1)
        assert {identity for _, identity in service.events} == whole


KILLED = """
import sys, time
from Agent.client import AgentTracer
tracer = AgentTracer("my_agent", "1.0.0", sys.argv[1])
run = tracer.start_run()
with run.step("tool", "call"):
    print("in the step", flush=True)
    time.sleep(60)
"""


@pytest.mark.integration
def test_of_an_agent_that_is_killed_everything_arrives_that_was_recorded(tmp_path, trace_root):
    with IngestDouble() as service:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, service.url],
            cwd=tmp_path,
            env=child_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "in the step\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        session = list_sessions(trace_root)[0].path
        whole = {event.id for event in TreeReader(session).events()}
        deadline = time.monotonic() + 60
        while {identity for _, identity in service.events} != whole and time.monotonic() < deadline:
            time.sleep(0.1)
        assert {identity for _, identity in service.events} == whole
        assert service.runs[-1].status == "running"


FORKED = """
import os, sys
from Agent.client import AgentTracer
tracer = AgentTracer("parent", "1.0.0", sys.argv[1], exit_timeout_s=60)
with tracer.start_run() as run:
    pass
pid = os.fork()
if pid == 0:
    with tracer.start_run() as run:
        with run.step("plan", "in_the_child"):
            pass
    tracer.flush(1)
    sys.exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.integration
def test_a_forked_child_is_sent_by_its_parents_process(tmp_path, trace_root):
    with IngestDouble() as service:
        done = run_python("-c", FORKED, service.url, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "in_the_child" in {event.name for event in service.events.values()}


@pytest.mark.integration
def test_the_key_is_in_no_argument_no_environment_and_no_file(tmp_path, trace_root):
    key = "atk_abcdef_swordfish0123"
    with IngestDouble() as service:
        tracer = AgentTracer("my_agent", "1.0.0", service.url, key)
        with tracer.start_run():
            pass
        sender = tracer._sender._process.pid
        for name in ("cmdline", "environ"):
            with open(f"/proc/{sender}/{name}", "rb") as file:
                assert key.encode() not in file.read()
        assert tracer.flush(60)
        assert service.headers[-1]["Authorization"] == f"Bearer {key}"
        tracer.close()
        files = [path for path in trace_root.rglob("*") if path.is_file()]
        assert not [path for path in files if key.encode() in path.read_bytes()]
        assert {path.stat().st_mode & 0o777 for path in files if ".state/cursors" in str(path)} == {0o600}


@pytest.mark.integration
def test_two_tracers_of_one_program_share_the_process_that_sends(trace_root):
    with IngestDouble() as service:
        first = AgentTracer("one", "1.0.0", service.url)
        second = AgentTracer("two", "1.0.0", service.url)
        for tracer in (first, second):
            with tracer.start_run():
                pass
        assert first._sender is second._sender
        assert first.flush(60)
        assert {run.agent_id for run in service.runs} == {"one", "two"}
        first.close()


@pytest.mark.process
def test_importing_the_client_loads_no_engine_and_starts_nothing(tmp_path):
    done = run_python(
        "-c",
        "import sys, json, Agent.client as c; c.AgentTracer('a', api_url='http://localhost:1');"
        "print(json.dumps([n for n in ('duckdb','rich','click','asyncio','fastapi','httpx','sqlalchemy') if n in sys.modules]))",
        cwd=tmp_path,
    )
    assert json.loads(done.stdout) == []
    assert list(tmp_path.iterdir()) == []
