"""Keys x routes x projects, made of the OpenAPI documents: whatever is not granted is refused, or not there.

A route that is added comes in by itself; one that needs a parameter or a body of another name fails here until
somebody says what it is about.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.databases import postgres_server
from support.routes import Operation, operations_of

from Agent.server import ServerSettings, make_app
from Agent.store import Scope, open_store

APPS: dict[str, dict[str, Any]] = {
    "ingest": {"role": "ingest", "and_replay": True},
    "query": {"role": "query"},
    "replay": {"role": "replay"},
}
PROJECTS = ("mine", "yours")
OPEN = {"/health"}
TELLS_NO_PROJECT = {"/health", "/metrics"}
TELLS_NO_NAME = {"/v1/stats", "/api/replays/{replay_id}/diff"}
NEEDS = {"/v1/traces": "opentelemetry.proto"}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Key:
    """A key, what it is good for, and whose."""

    token: str | None
    project: str | None = None
    scopes: frozenset[str] = frozenset()


def values_of(project: str) -> dict[str, str]:
    """What a route may be asked about, of a project."""
    return {
        "run_id": f"run-of-{project}",
        "agent_id": f"agent-of-{project}",
        "session_uid": str(uuid.uuid5(uuid.NAMESPACE_OID, project)),
        "event_id": f"{project[:4]}aaaa-2",
        "trace_id": f"run-of-{project}",
        "checkpoint_id": f"checkpoint-of-{project}",
    }


def marks_of(project: str) -> list[str]:
    """What must not be seen of a project by others."""
    values = values_of(project)
    return [f"of-{project}", values["session_uid"], values["event_id"]]


def bodies_of(project: str) -> dict[str, Any]:
    """What each route that writes is sent, about the things of a project."""
    values = values_of(project)
    run = {
        "run_id": values["run_id"],
        "agent_id": values["agent_id"],
        "status": "failure",
        "started_at": "2026-11-20T10:30:00Z",
        "steps": [{"step_id": f"step-of-{project}", "step_type": "tool", "name": f"step-of-{project}"}],
        "failures": [{"failure_type": "tool", "failure_code": "timeout", "step_id": f"step-of-{project}"}],
    }
    writer = values["event_id"].partition("-")[0]
    events = [
        {
            "timestamp": f"2026-11-20T10:30:0{number}Z",
            "id": f"{writer}-{number}",
            "kind": "error",
            "level": "ERROR",
            "agent_id": values["agent_id"],
            "run_id": values["run_id"],
            "causes": [f"{writer}-{number - 1}"] if number > 1 else [],
            "extra": {"error_type": f"error-of-{project}", "fingerprint": "aa11bb22cc33dd44"},
        }
        for number in (1, 2)
    ]
    batch = {"session": {"session_uid": values["session_uid"]}, "events": events}
    span = {
        "traceId": uuid.UUID(values["session_uid"]).hex,
        "spanId": "aaaaaaaaaaaaaaaa",
        "startTimeUnixNano": "1795170645000000000",
        "endTimeUnixNano": "1795170646000000000",
    }
    return {
        "/v1/runs": run,
        "/v1/events": batch,
        "/v1/traces": {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]},
        "/api/traces/{trace_id}/checkpoints": {
            "step_id": f"step-of-{project}",
            "state": {"query": f"state-of-{project}"},
            "checkpoint_id": values["checkpoint_id"],
        },
        "/api/checkpoints/{checkpoint_id}/replay": {"dry_run": True},
    }


class Service:
    """The apps of all roles over one database, as somebody from elsewhere meets them."""

    def __init__(self, url: str) -> None:
        open_store(url).close()
        settings = ServerSettings(url, host="0.0.0.0", requests_per_second=0)
        self.apps = {name: make_app(settings, **how) for name, how in APPS.items()}
        self.values = {project: values_of(project) for project in PROJECTS}
        self._loop = asyncio.Runner()
        self._clients = {
            role: httpx.AsyncClient(
                transport=httpx.ASGITransport(app, client=("192.168.1.7", 5000), raise_app_exceptions=False),
                base_url="http://service",
            )
            for role, app in self.apps.items()
        }
        self.operations = [
            (role, operation)
            for role, app in self.apps.items()
            for operation in operations_of(app.openapi())
            if operation.path not in NEEDS or is_installed(NEEDS[operation.path])
        ]
        # what one of them makes the next is about, and what deletes it comes last
        self.operations.sort(key=lambda each: each[1].method == "DELETE")
        self.keys = {"nobody": Key(None), "a wrong key": Key(f"atk_zzzzzzzz_{'a' * 43}")}
        with open_store(url, role="admin") as store:
            for project in PROJECTS:
                for name, scopes in {"ingest": ["ingest"], "query": ["query"], "all": list(Scope)}.items():
                    token = store.issue_key(project, map(Scope, scopes)).token
                    self.keys[f"{project}, {name}"] = Key(token, project, frozenset(map(str, scopes)))
                store.set_content(project, allowed=True)  # checkpoints are content
            revoked = store.issue_key("mine", list(Scope))
            store.revoke_key(revoked.key.key_id)
            self.keys["mine, revoked"] = Key(revoked.token)

    def ask(self, role: str, operation: Operation, key: Key, about: str, **more: Any) -> httpx.Response:
        headers = {} if key.token is None else {"Authorization": f"Bearer {key.token}"}
        if operation.method in ("POST", "PUT", "PATCH"):
            more["json"] = bodies_of(about)[operation.path]
        url = operation.url(self.values[about], narrowed_by=("run_id",) if key.scopes else ())
        if "wait_s" in operation.may_take:  # a busy machine may need longer than the service waits by itself
            more["params"] = {"wait_s": 60}
        asked = self._clients[role].request(operation.method, url, headers=headers, **more)
        return self._loop.run(asked)

    def seen_by(self, key: Key) -> list[str]:
        """Everything that the holder of a key can read of his own."""
        return [
            self.ask(role, operation, key, str(key.project)).text
            for role, operation in self.operations
            if reads(operation) and operation.path not in TELLS_NO_PROJECT
        ]

    def close(self) -> None:
        self._loop.close()
        for app in self.apps.values():
            app.state.store.close()


def reads(operation: Operation) -> bool:
    return operation.method == "GET"


def filled(directory: Path, kind: str) -> Service:
    """The service with things of each project."""
    if kind == "sqlite":
        url = f"sqlite:///{directory / 'service.db'}"
    else:
        url = postgres_server().make_database(f"isolation_{next(_numbers)}")
    made = Service(url)
    for project in PROJECTS:
        for role, operation in made.operations:
            # those of replays are in two of the apps
            if operation.method == "POST" and (role == "ingest") is not operation.path.startswith("/api/"):
                answer = made.ask(role, operation, made.keys[f"{project}, all"], project)
                assert answer.status_code in (200, 201), (operation, answer.text)
                if "replay_id" in answer.text:
                    made.values[project]["replay_id"] = answer.json()["replay_id"]
    return made


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests that only read."""
    with closing(filled(tmp_path_factory.mktemp("isolation"), request.param)) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """One that may be changed."""
    with closing(filled(tmp_path, request.param)) as made:
        yield made


def expected_refusal(role: str, operation: Operation, key: Key) -> int | None:
    """The status that a key must get here, None where it may ask."""
    if operation.path in OPEN:
        return None
    if key.project is None:
        return 401
    scope = "delete" if operation.method == "DELETE" else role
    if operation.path.startswith("/api/"):
        scope = "replay"
    return None if scope in key.scopes else 403


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # what it is part of is missing as well
        return False


@pytest.mark.integration
def test_every_cell_of_keys_routes_and_projects_gets_what_is_granted_and_no_more(service):
    cells = refused = shown = hidden = 0
    for (role, operation), (name, key), about in itertools.product(
        service.operations, service.keys.items(), PROJECTS
    ):
        if not reads(operation):
            continue
        cells += 1
        answer = service.ask(role, operation, key, about)
        cell = f"{name}: {operation.method} {operation.path} of {role} about {about}: {answer.text[:200]}"
        refusal = expected_refusal(role, operation, key)
        others = [mark for project in PROJECTS if project != key.project for mark in marks_of(project)]
        assert not [mark for mark in others if mark in answer.text], cell
        if refusal is not None:
            refused += 1
            assert answer.status_code == refusal, cell
            assert not [mark for mark in marks_of(about) if mark in answer.text], cell
        elif operation.path in TELLS_NO_PROJECT:
            assert answer.status_code == 200, cell
        elif about == key.project:
            shown += 1
            assert answer.status_code == 200, cell
            told = [mark for mark in marks_of(about) if mark in answer.text]
            assert told or operation.path in TELLS_NO_NAME, cell
        else:
            hidden += 1
            assert answer.status_code in (200, 404), cell
            assert answer.status_code == 404 or not operation.in_path, cell
    assert cells >= 9 * 2 * 13
    assert refused > shown >= 2 * 2 * 10
    assert hidden == shown


@pytest.mark.integration
def test_a_key_changes_its_own_project_alone_on_every_route_that_writes(written):
    deleting = [each for each in written.operations if each[1].method == "DELETE"]
    taken = ask_all(written, [each for each in written.operations if each not in deleting])
    assert taken >= 2 * 2 * 3
    # the same ids in two projects are two things
    (listed,) = [each for each in written.operations if each[1].path == "/v1/runs/{run_id}/steps"]
    for project in PROJECTS:
        answer = written.ask(*listed, written.keys[f"{project}, query"], "mine")
        assert len(answer.json()["items"]) == 1, answer.text
    assert ask_all(written, deleting) >= len(PROJECTS)
    for project in PROJECTS:
        assert written.ask(*listed, written.keys[f"{project}, query"], project).status_code == 404


def ask_all(written, operations):
    """Ask the operations that write with every key about every project; return how many were carried out."""
    taken = 0
    for project in (*PROJECTS, None):
        others = [written.keys[f"{other}, all"] for other in PROJECTS if other != project]
        before = [written.seen_by(other) for other in others]
        for (role, operation), (name, key), about in itertools.product(
            operations, written.keys.items(), PROJECTS
        ):
            runs_a_worker = operation.path.endswith("/replay") and about == project
            if reads(operation) or key.project != project or runs_a_worker:
                continue
            answer = written.ask(role, operation, key, about)
            refusal = expected_refusal(role, operation, key)
            # of its own things each is there already, or was deleted; of another's there is none by that id
            granted = (200, 201, 204, 404, 409)
            assert answer.status_code in (granted if refusal is None else (refusal,)), (
                name,
                operation,
                about,
            )
            taken += refusal is None and answer.is_success
        assert [written.seen_by(other) for other in others] == before, project
    return taken


@pytest.mark.integration
@pytest.mark.database("sqlite")
def test_a_route_that_asks_no_key_would_be_noticed(service):
    """The matrix fails where a route forgets to ask whose project it is about."""

    @service.apps["query"].get("/v1/forgotten")
    def forgotten() -> dict[str, str]:
        return {"run_id": "run-of-mine"}

    before = service.operations
    service.operations = [("query", Operation("GET", "/v1/forgotten", (), (), ()))]
    try:
        with pytest.raises(AssertionError, match="forgotten"):
            test_every_cell_of_keys_routes_and_projects_gets_what_is_granted_and_no_more(service)
    finally:
        service.operations = before
