"""Checkpoints and replays over HTTP: of runs that were sent with content, in processes that end in time."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import itertools
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.databases import postgres_server

from Agent import shutdown_logging, trace_agent_action
from Agent.client.destination import Destination
from Agent.client.shipment import Shipment
from Agent.flight import recorder
from Agent.server import RunningServer, ServerSettings, replays
from Agent.server.replays import ReplayWorkers
from Agent.server.replays import _environment as worker_environment
from Agent.store import Scope, open_store
from Agent.tree.files.session import open_session
from Agent.tree.layout import list_sessions

# A worker does not know which database there is.
pytestmark = pytest.mark.database("sqlite")

_numbers = itertools.count(1)
SECRET_PROSE = "the patient is Jane Doe"
EXECUTORS = (
    """
import asyncio, os, pathlib, socket, subprocess, sys, time
from Agent.replay.executors import register_executor

async def shout(input, state, config, overrides=None):
    return {"answer": str(state).upper(), "seen": sorted(os.environ)}

async def hang(input, state, config, overrides=None):
    if os.fork() == 0:
        time.sleep(600)
    while True:
        pass

async def nap(input, state, config, overrides=None):
    await asyncio.sleep(600)

async def swell(input, state, config, overrides=None):
    return len(bytearray(3 << 30))

async def die(input, state, config, overrides=None):
    os._exit(7)

async def crash(input, state, config, overrides=None):
    os.kill(os.getpid(), 11)

async def call_out(input, state, config, overrides=None):
    socket.create_connection(("127.0.0.1", 9))

async def fail(input, state, config, overrides=None):
    raise RuntimeError("no such luck")

async def escape(input, state, config, overrides=None):
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    return subprocess.Popen(words, start_new_session=True).pid

async def escape_and_hang(input, state, config, overrides=None):
    writing = "import pathlib, time\\nwhile True: pathlib.Path(str(time.time_ns())).touch()"
    subprocess.Popen([sys.executable, "-c", writing], start_new_session=True)
    time.sleep(600)

async def scream(input, state, config, overrides=None):
    for _ in range(300):
        sys.stderr.write("x" * (1 << 20))
    sys.stderr.write("\\n%s\\n")
    sys.stderr.flush()
    os._exit(3)

def left(text):
    pathlib.Path("outcome.json").write_text(text)
    os._exit(0)

async def leave_list(input, state, config, overrides=None):
    left("[]")

async def leave_half(input, state, config, overrides=None):
    left("{")

async def leave_other(input, state, config, overrides=None):
    left('{"result": 7}')

async def leave_link(input, state, config, overrides=None):
    os.symlink("/proc/self/environ", "outcome.json")
    os._exit(0)

async def leave_pipe(input, state, config, overrides=None):
    os.mkfifo("outcome.json")
    os._exit(0)

async def leave_nothing(input, state, config, overrides=None):
    import shutil
    shutil.rmtree(os.getcwd())
    os._exit(0)

for function in (escape, escape_and_hang, scream, leave_list, leave_half, leave_other, leave_link, leave_pipe, leave_nothing, shout, hang, nap, swell, die, crash, call_out, fail):
    register_executor(function.__name__, function)
"""
    % SECRET_PROSE
)


@dataclass
class Service:
    """A running service and two projects of it: one that stores content, and one that does not."""

    server: RunningServer
    project: str
    keys: dict[str, str]

    def ask(
        self, method: str, path: str, value: Any = None, key: str = "replay", **more: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[key]}"} | more.pop("headers", {})
        if value is not None:
            more["json"] = value
        return httpx.request(method, self.server.replay_url + path, headers=headers, timeout=90, **more)

    def ship(self, root: Path, *, content: bool = True, key: str = "ingest") -> None:
        """Sends every session under a root."""
        shutdown_logging()
        destination = Destination(self.server.ingest_url, self.keys[key])
        for session in list_sessions(root):
            with Shipment(session.path, destination, lambda _s: True, content=content) as shipment:
                while shipment.ship():
                    pass
                assert shipment.outcome.refused == 0


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    place = tmp_path_factory.mktemp("service")
    (place / "own_executors.py").write_text(EXECUTORS)
    if request.param == "sqlite":
        url = f"sqlite:///{place / 'service.db'}"
    else:
        url = postgres_server().make_database(f"replays_{next(_numbers)}")
    settings = ServerSettings(
        url,
        ingest_port=0,
        query_port=0,
        requests_per_second=0,
        executors=("own_executors",),
        replay_timeout_s=45,
        replay_memory_bytes=1 << 30,
    )
    with pytest.MonkeyPatch.context() as patch, RunningServer(settings) as server:
        patch.setenv("PYTHONPATH", str(place))
        patch.setenv("AGENT_TRACE_API_KEY", "atk_secret")
        yield server


@pytest.fixture
def service(running: RunningServer) -> Service:
    project = f"project-{next(_numbers)}"
    with open_store(running.settings.database_url, role="admin") as store:
        keys = {scope.value: store.issue_key(project, [scope]).token for scope in Scope}
        keys["other"] = store.issue_key(f"{project}-other", [Scope.REPLAY]).token
        store.set_content(project, allowed=True)
    return Service(running, project, keys)


@pytest.fixture
def sent(service: Service, trace_root: Path) -> str:
    """A run of two steps that was sent with content."""
    run_id = f"trace-{next(_numbers)}"
    record(run_id)
    service.ship(trace_root)
    return run_id


def record(run_id: str) -> None:
    recorder.start_run("weather", run_id=run_id)
    for step_id, output in (("ask", {"query": "weather"}), ("answer", {"text": SECRET_PROSE})):
        recorder.start_step(step_id, step_id)
        recorder.finish_step(step_id, step_id, output)
    recorder.finish_run()


@pytest.mark.process
@pytest.mark.database("sqlite", "postgresql")
def test_the_requests_of_the_document_make_checkpoints_replay_them_and_show_what_came_of_it(service, sent):
    made = service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60", {"auto": True})
    assert made.status_code == 201, made.text
    ids = made.json()["checkpoint_ids"]
    assert ids == [f"{sent}:ask", f"{sent}:answer"] == made.json()["created"]
    again = service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60", {"auto": True})
    assert (again.json()["checkpoint_ids"], again.json()["created"]) == (ids, [])
    listed = service.ask("GET", f"/api/traces/{sent}/checkpoints").json()["items"]
    assert [each["step_id"] for each in listed] == ["ask", "answer"]
    whole = service.ask("GET", f"/api/checkpoints/{ids[0]}").json()
    assert whole["state"] == {"ask": {"query": "weather"}}
    assert whole["trace_id"] == sent

    body = {"modified_input": {"query": "new question"}, "dry_run": True}
    answer = service.ask("POST", f"/api/checkpoints/{ids[0]}/replay", body)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["status"], told["request"]) == ("completed", body)
    assert told["result"]["verdict"] == "UNVERIFIED"
    assert told["result"]["output"] == {"text": SECRET_PROSE}
    replay = f"/api/replays/{told['replay_id']}"
    assert answer.headers["Location"] == replay
    assert service.ask("GET", replay).json() == told
    diff = service.ask("GET", f"{replay}/diff").json()
    assert (diff["diff"]["summary"], diff["diff"]["has_changes"]) == ("no changes", False)
    (one,) = service.ask("GET", f"/api/traces/{sent}/replays").json()["items"]
    assert one == {key: value for key, value in told.items() if key != "result"}

    assert service.ask("DELETE", f"/api/checkpoints/{ids[0]}").status_code == 204
    assert service.ask("GET", f"/api/checkpoints/{ids[0]}").status_code == 404
    assert service.ask("DELETE", f"/api/checkpoints/{ids[0]}").status_code == 404
    assert service.ask("GET", replay).json() == told


def replayed(service: Service, run_id: str, body: dict, step: str = "answer") -> dict:
    """What a replay of the run's checkpoint at a step came to."""
    service.ask("POST", f"/api/traces/{run_id}/checkpoints?wait_s=60", {"auto": True})
    answer = service.ask("POST", f"/api/checkpoints/{run_id}:{step}/replay?wait_s=60", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.integration
def test_metrics_say_how_checkpoints_and_replays_fare(service, sent):
    replayed(service, sent, {"dry_run": True}, "ask")
    text = service.ask("GET", "/metrics", key="ingest").text
    lines = [line.split() for line in text.splitlines() if line[0] != "#" and "{" not in line]
    told = {name: float(value) for name, value in lines}
    assert told["agent_trace_checkpoint_success_ratio"] == 1.0
    assert told["agent_trace_checkpoint_storage_bytes"] > 10
    assert told["agent_trace_replays"] == told["agent_trace_replay_success_ratio"] == 1.0
    assert 0 < told["agent_trace_replay_latency_seconds"] < 60
    assert told["agent_trace_replay_divergence_ratio"] in {0.0, 1.0}


@pytest.mark.integration
def test_an_executor_of_the_operator_goes_on_with_the_state_and_sees_nothing_of_the_server(service, sent):
    told = replayed(service, sent, {"executor": "shout"}, "ask")
    assert (told["status"], told["result"]["user_code_ran"]) == ("completed", True)
    assert told["result"]["output"]["answer"] == "{'ASK': {'QUERY': 'WEATHER'}}"
    seen = set(told["result"]["output"]["seen"])
    assert {"PATH", "HOME"} <= seen
    assert not {name for name in seen if name.startswith(("AGENT_TRACE", "PG"))}
    assert told["result"]["verdict"] == "DIVERGED"
    assert told["result"]["diff"]["removed"] == {"text": SECRET_PROSE}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("executor", "status", "words"),
    [
        ("swell", "out_of_memory", "MemoryError"),
        ("die", "failed", "its process ended with 7 before it could report"),
        ("crash", "failed", "was ended by SIGSEGV before it could report; libraries crash so where they get"),
        ("call_out", "failed", "network"),
        ("fail", "failed", "RuntimeError: no such luck"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_told_and_kept(service, sent, executor, status, words):
    told = replayed(service, sent, {"executor": executor})
    problem = told["result"]["error"] if told["result"] else told["problem"]["message"]
    assert (told["status"], words in problem) == (status, True), told
    assert "Traceback" not in str(told)
    assert service.ask("GET", f"/api/replays/{told['replay_id']}").json() == told
    alive = replayed(service, sent, {"dry_run": True})
    assert alive["status"] == "completed"


@pytest.mark.integration
def test_an_executor_that_is_not_there_is_the_mistake_of_who_asked(service, sent):
    service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60", {"auto": True})
    path = f"/api/checkpoints/{sent}:answer/replay?wait_s=60"
    answer = service.ask("POST", path, {"executor": "no_such_one"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid")
    assert "no executor 'no_such_one' is registered" in error["message"]
    assert "shout" in error["remedy"]
    (kept,) = service.ask("GET", f"/api/traces/{sent}/replays").json()["items"]
    assert kept["status"] == "failed"


@pytest.mark.integration
def test_executors_that_do_not_load_are_the_mistake_of_the_server(service, sent, monkeypatch):
    service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60", {"auto": True})
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    answer = service.ask("POST", f"/api/checkpoints/{sent}:answer/replay?wait_s=60", {"executor": "shout"})
    assert answer.status_code == 500
    assert "own_executors of this server's executors cannot be loaded" in answer.json()["error"]["message"]


def test_a_worker_gets_relative_places_of_modules_from_where_the_server_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", "code", "/opt/code"]))
    places = worker_environment(tmp_path / "worker")["PYTHONPATH"].split(os.pathsep)
    assert places[1:] == [str(tmp_path), str(tmp_path / "code"), "/opt/code"]


@pytest.fixture
def worker_root(tmp_path, monkeypatch) -> Path:
    """Where the directories of this test's workers are, so that they are told from those of others."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def running_workers(worker_root: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            told = path.read_bytes()
            if b"Agent.server.worker_process" in told and os.fsencode(worker_root) in told:
                found.append(path.parent.name)
    return found


@pytest.mark.integration
def test_a_replay_that_hangs_is_stopped_with_what_it_forked_and_answered_meanwhile(
    service, sent, monkeypatch, worker_root
):
    monkeypatch.setattr(replays, "_START_S", 8)  # what it gets beside its own half second
    service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60", {"auto": True})
    began_s = time.monotonic()
    body = {"executor": "hang", "timeout_seconds": 0.5}
    answer = service.ask("POST", f"/api/checkpoints/{sent}:ask/replay?wait_s=0", body)
    told = answer.json()
    assert (answer.status_code, told["status"], told["result"]) == (202, "running", None)
    replay = f"/api/replays/{told['replay_id']}"
    refused = service.ask("GET", f"{replay}/diff")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    seen: set[str] = set()
    while (told := service.ask("GET", replay).json())["status"] == "running":
        assert time.monotonic() - began_s < 90
        seen.update(running_workers(worker_root))
        time.sleep(0.1)
    assert (told["status"], len(seen) >= 2) == ("timed_out", True)  # the worker, and what it forked
    assert "was stopped" in told["problem"]["message"]
    assert running_workers(worker_root) == []


@pytest.mark.integration
def test_a_replay_that_only_waits_ends_at_its_own_limit(service, sent):
    told = replayed(service, sent, {"executor": "nap", "timeout_seconds": 0.2})
    assert (told["status"], told["result"]["error"]) == ("timed_out", "it did not end within 0.2 s")


@pytest.mark.integration
def test_a_run_that_was_sent_without_content_answers_409_and_says_why(service, trace_root):
    run_id = f"trace-{next(_numbers)}"
    record(run_id)
    service.ship(trace_root, content=False)
    answer = service.ask("POST", f"/api/traces/{run_id}/checkpoints?wait_s=60", {"auto": True})
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert (error["code"], "sent without content" in error["message"]) == ("without_content", True)
    assert "ship --content" in error["remedy"]
    assert service.ask("GET", f"/api/traces/{run_id}/checkpoints").json()["items"] == []
    service.ship(trace_root, content=True)
    answer = service.ask("POST", f"/api/traces/{run_id}/checkpoints?wait_s=60", {"auto": True})
    assert (answer.status_code, bool(answer.json().get("created"))) == (201, True), answer.text


@pytest.mark.integration
def test_content_that_the_project_does_not_take_is_not_there_to_be_replayed(service, trace_root):
    with open_store(service.server.settings.database_url, role="admin") as store:
        store.set_content(service.project, allowed=False)
    run_id = f"trace-{next(_numbers)}"
    record(run_id)
    service.ship(trace_root, content=True)
    for body in ({"auto": True}, {"step_id": "step_1", "state": {"text": SECRET_PROSE}}):
        answer = service.ask("POST", f"/api/traces/{run_id}/checkpoints?wait_s=60", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "without_content")
        assert "agent-trace keys content" in answer.json()["error"]["remedy"]


@pytest.mark.integration
def test_making_checkpoints_answers_202_until_they_are_there(service, trace_root):
    run_id = f"trace-{next(_numbers)}"
    record(run_id)
    service.ship(trace_root, content=True)
    path = f"/api/traces/{run_id}/checkpoints"
    first = service.ask("POST", f"{path}?wait_s=0", {"auto": True})
    assert (first.status_code, first.json()["checkpoint_ids"]) == (202, [])
    assert first.headers["Location"] == path
    second = service.ask("POST", f"{path}?wait_s=60")
    assert second.status_code == 201
    # the second request waited for the same worker, and was told what that made
    assert (
        second.json()["created"] == second.json()["checkpoint_ids"] == [f"{run_id}:ask", f"{run_id}:answer"]
    )


@pytest.mark.integration
def test_what_went_wrong_while_nobody_waited_is_told_to_the_next_request(service, trace_root):
    run_id = f"trace-{next(_numbers)}"
    record(run_id)
    service.ship(trace_root, content=False)
    path = f"/api/traces/{run_id}/checkpoints"
    service.ask("POST", f"{path}?wait_s=0")
    assert service.ask("POST", f"{path}?wait_s=60").status_code == 409


@pytest.mark.integration
def test_a_run_known_by_its_document_alone_is_replayed_from_a_state_that_was_sent(service):
    service.ask("POST", "/v1/runs", {"run_id": "trace-123", "agent_id": "my_agent"}, key="ingest")
    empty = service.ask("POST", "/api/traces/trace-123/checkpoints?wait_s=60")
    assert (empty.status_code, empty.json()["error"]["code"]) == (409, "without_content")
    state = {"query": "weather", "big": 2**70, "nul": "a\0b", "deep": [[[]]]}
    body = {"step_id": "step 1", "state": state, "checkpoint_id": "chk-456"}
    assert service.ask("POST", "/api/traces/trace-123/checkpoints?wait_s=60", body).json()["created"] == [
        "chk-456"
    ]
    assert service.ask("POST", "/api/traces/trace-123/checkpoints?wait_s=60", body).status_code == 409
    kept = service.ask("GET", "/api/checkpoints/chk-456").json()["state"]
    assert (kept["query"], kept["nul"]) == ("weather", "a\0b")
    body = {"modified_input": {"query": "new question"}, "dry_run": True}
    told = service.ask("POST", "/api/checkpoints/chk-456/replay", body).json()
    assert (told["status"], told["result"]["details"]["input"]) == ("completed", {"query": "new question"})


@pytest.mark.integration
@pytest.mark.database("sqlite", "postgresql")
def test_what_another_project_has_is_not_there_and_a_key_needs_the_scope(service, sent):
    ids = service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60").json()["checkpoint_ids"]
    replay_id = replayed(service, sent, {"dry_run": True})["replay_id"]
    paths = [
        ("GET", f"/api/traces/{sent}/checkpoints"),
        ("POST", f"/api/traces/{sent}/checkpoints?wait_s=60"),
        ("GET", f"/api/checkpoints/{ids[0]}"),
        ("POST", f"/api/checkpoints/{ids[0]}/replay"),
        ("GET", f"/api/replays/{replay_id}"),
        ("GET", f"/api/replays/{replay_id}/diff"),
        ("GET", f"/api/traces/{sent}/replays"),
        ("DELETE", f"/api/checkpoints/{ids[0]}"),
    ]
    for method, path in paths:
        other = service.ask(method, path, key="other")
        assert (other.status_code, SECRET_PROSE in other.text) == (404, False)
        for scope in ("ingest", "query"):
            assert service.ask(method, path, key=scope).status_code == 403
        assert httpx.request(method, service.server.replay_url + path).status_code == 404
    assert service.ask("GET", f"/api/checkpoints/{ids[0]}").status_code == 200


@pytest.mark.integration
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "not an object"),
        ({"target": "os:system"}, "does not load code"),
        ({"live": True}, "does not call tools or models"),
        ({"surprise": 1}, "unknown key"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": 46}, "timeout_seconds"),
        ({"executor": "a b"}, "executor"),
        ({"overrides": []}, "overrides"),
    ],
)
def test_a_replay_that_is_asked_for_wrongly_is_refused_with_its_place(service, sent, body, words):
    service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60")
    answer = service.ask("POST", f"/api/checkpoints/{sent}:ask/replay", body)
    assert (answer.status_code, words in answer.text) == (422, True), answer.text


@pytest.mark.first_case
@pytest.mark.parametrize(
    "body",
    [
        {"auto": False},
        {"state": {}},
        {"auto": True, "state": {}, "step_id": "a"},
        {"step_id": "a"},
        {"step_id": 7, "state": {}},
        {"step_id": "a", "state": 1, "checkpoint_id": "../x"},
        {"more": 1},
        [],
    ],
)
def test_a_checkpoint_that_is_asked_for_wrongly_is_refused(service, sent, body):
    answer = service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid"), answer.text


@pytest.mark.integration
def test_a_body_that_is_nested_too_deep_is_no_bug(service, sent):
    service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60")
    deep = b'{"modified_input": ' + b"[" * 900 + b"]" * 900 + b"}"
    for path in (f"/api/checkpoints/{sent}:ask/replay", f"/api/traces/{sent}/checkpoints"):
        body = deep.replace(b"modified_input", b"state") if path.endswith("checkpoints") else deep
        body = body.replace(b"{", b'{"step_id": "deep", ', 1) if path.endswith("checkpoints") else body
        answer = service.ask("POST", path, content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, "too deep" in answer.text) == (422, True), answer.text


@pytest.mark.integration
def test_a_server_that_ends_stops_its_replays_and_the_next_one_says_so(service, sent, worker_root):
    settings = dataclasses.replace(service.server.settings, ingest_port=0, query_port=0)
    with RunningServer(settings, ["replay"]) as own:
        here = dataclasses.replace(service, server=own)
        here.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60")
        told = here.ask("POST", f"/api/checkpoints/{sent}:ask/replay?wait_s=0", {"executor": "hang"}).json()
        assert told["status"] == "running"
    told = service.ask("GET", f"/api/replays/{told['replay_id']}").json()
    assert told["status"] == "interrupted"
    assert running_workers(worker_root) == []


@pytest.mark.integration
def test_more_replays_than_the_workers_take_are_put_off(service, sent):
    service.ask("POST", f"/api/traces/{sent}/checkpoints?wait_s=60")
    settings = dataclasses.replace(service.server.settings, ingest_port=0, query_port=0, replay_workers=1)
    with RunningServer(settings, ["replay"]) as own:
        here = dataclasses.replace(service, server=own)
        path = f"/api/checkpoints/{sent}:ask/replay?wait_s=0"
        answers = [here.ask("POST", path, {"executor": "nap"}) for _ in range(6)]
    assert [each.status_code for each in answers] == [202] * 5 + [503]
    assert int(answers[-1].headers["Retry-After"]) > 0
    listed = service.ask("GET", f"/api/traces/{sent}/replays").json()["items"]
    assert {each["status"] for each in listed} == {"interrupted", "failed"}


@pytest.mark.further
def test_a_role_of_ingest_alone_answers_no_replays(service):
    settings = dataclasses.replace(service.server.settings, ingest_port=0)
    with RunningServer(settings, ["ingest"]) as own:
        headers = {"Authorization": f"Bearer {service.keys['replay']}"}
        assert httpx.get(f"{own.ingest_url}/api/replays/x", headers=headers).status_code == 404
        assert not any(
            path.startswith("/api") for path in httpx.get(f"{own.ingest_url}/openapi.json").json()["paths"]
        )


class Counter:
    """An agent whose state is exposed."""

    def __init__(self) -> None:
        self.total = 0

    def trace_state(self):
        return {"total": self.total, "seen": (1, self.total)}

    @trace_agent_action("add")
    def add(self, number):
        self.total += number
        return self.total


@pytest.mark.integration
def test_traced_actions_outside_of_runs_are_replayed_by_their_session(service, trace_root):
    agent = Counter()
    agent.agent_id = "counter_one"
    for number in (1, 2, 3):
        agent.add(number)
    service.ship(trace_root)
    session_uid = open_session(list_sessions(trace_root)[0].path).session_uid
    made = service.ask("POST", f"/api/traces/{session_uid}/checkpoints?wait_s=60")
    assert made.status_code == 201, made.text
    last = service.ask("GET", f"/api/checkpoints/{made.json()['checkpoint_ids'][-1]}").json()
    assert (last["state"]["total"], last["agent_id"]) == (6, "counter_one")
    assert last["state_types"] == {"/seen": "tuple"}
    path = f"/api/checkpoints/{made.json()['checkpoint_ids'][2]}/replay"
    told = service.ask("POST", path, {"executor": "shout"}).json()
    # PostgreSQL does not keep the order of the keys of a state
    assert ast.literal_eval(told["result"]["output"]["answer"]) == {"TOTAL": 3, "SEEN": (1, 3)}


@pytest.mark.integration
def test_an_artifact_that_was_too_large_to_be_sent_is_named(service, trace_root):
    run_id = f"trace-{next(_numbers)}"
    recorder.start_run("weather", run_id=run_id)
    recorder.start_step("ask")
    recorder.finish_step("ask", output=["x" * 100] * 6000)
    recorder.finish_run()
    service.ship(trace_root)
    answer = service.ask("POST", f"/api/traces/{run_id}/checkpoints?wait_s=60")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict"), answer.text
    assert "were not sent, such as steps/ask.json" in answer.json()["error"]["message"]


def test_a_server_that_starts_removes_what_killed_ones_left_and_nothing_younger(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, age_s in (
        ("agent-trace-replay-old", 90_000),
        ("agent-trace-replay-new", 60),
        ("other", 90_000),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.jsonl").write_text(SECRET_PROSE)
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    ReplayWorkers(ServerSettings("unused.db")).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent-trace-replay-new", "other"]


@pytest.mark.integration
@pytest.mark.parametrize(
    "changes",
    [
        {"state": "text", "types": [1, 2]},
        {"message": {"a": 1}, "types": {"/state/set": "no such tag", "nowhere": "tuple"}},
        {"extra": {"args": {"a": 1}, "call": 7, "result": [1], "action_type": ["x"], "fields": 3}},
        {
            "kind": "state",
            "extra": {"fields": {"a": {"b": [[[[[1]]]]]}}, "reason": 5},
            "types": {"/extra/fields": "set"},
        },
        {"kind": "step.finished", "extra": {"step_id": "a", "output_ref": "artifact://artifacts/../../x"}},
        {"kind": "artifact.saved", "extra": {"ref": "artifact://artifacts/a/b"}, "artifact_text": "not json"},
    ],
)
def test_content_that_no_recorder_wrote_is_no_bug_of_the_service(service, changes):
    run_id = f"trace-{next(_numbers)}"
    uid = str(uuid.uuid4())
    whole = {"timestamp": "2026-11-20T10:30:45Z", "kind": "agent_action", "agent_id": "a", "run_id": run_id}
    events = [whole | {"id": f"k3v7q2ma-{number}", "code": "0" * 16} | changes for number in (1, 2)]
    events.append(whole | {"id": "k3v7q2ma-3", "kind": "run.started", "extra": {}})
    body = {"session": {"session_uid": uid}, "content": True, "events": events}
    sent = service.ask("POST", "/v1/events", body, key="ingest").json()
    assert (sent["accepted"], sent["refused"]) == (3, [])
    for trace_id in (run_id, uid):
        answer = service.ask("POST", f"/api/traces/{trace_id}/checkpoints?wait_s=60")
        assert answer.status_code in (201, 409), answer.text
        assert "Traceback" not in answer.text


@pytest.mark.integration
@pytest.mark.parametrize(
    "executor", ["leave_list", "leave_half", "leave_other", "leave_link", "leave_pipe", "leave_nothing"]
)
def test_what_a_worker_leaves_instead_of_an_outcome_is_none(service, sent, executor):
    told = replayed(service, sent, {"executor": executor})
    assert told["status"] == "failed"
    assert "before it could report" in told["problem"]["message"], told


@pytest.mark.integration
def test_a_process_that_leaves_its_workers_session_ends_with_the_replay(service, sent, worker_root):
    pid = replayed(service, sent, {"executor": "escape"})["result"]["output"]
    with contextlib.suppress(FileNotFoundError):
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    told = replayed(service, sent, {"executor": "escape_and_hang", "timeout_seconds": 0.5})
    assert told["status"] in ("timed_out", "failed"), told
    assert not list(worker_root.glob("agent-trace-replay-*"))


@pytest.mark.integration
def test_what_a_worker_says_is_neither_kept_in_memory_nor_in_the_log(service, sent, caplog):
    before_kib = resident_kib()
    told = replayed(service, sent, {"executor": "scream"})
    assert "ended with 3" in told["problem"]["message"], told
    assert resident_kib() - before_kib < 100_000
    assert "ended with 3" in caplog.text and SECRET_PROSE not in caplog.text


def resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.integration
@pytest.mark.parametrize("run_id", ["Trace-7", "A.b:C", "x.1", "CON"])
def test_a_run_whose_id_is_no_name_of_a_file_is_replayed(service, run_id):
    told = {"timestamp": "2026-11-20T10:30:01Z", "run_id": run_id}
    events = [
        told | {"id": f"k3v7q2ma-{number}", "kind": kind, "extra": {"agent": "weather", "ok": True}}
        for number, kind in enumerate(("run.started", "run.finished"), start=1)
    ]
    batch = {"session": {"session_uid": str(uuid.uuid4())}, "content": True, "events": events}
    assert service.ask("POST", "/v1/events", batch, key="ingest").json()["accepted"] == 2
    body = {"step_id": "answer", "state": {"query": "weather"}}
    made = service.ask("POST", f"/api/traces/{run_id}/checkpoints", body)
    assert made.status_code == 201, made.text
    replay = f"/api/checkpoints/{made.json()['created'][0]}/replay?wait_s=60"
    told = service.ask("POST", replay, {"dry_run": True}).json()
    assert told["status"] == "completed", told
