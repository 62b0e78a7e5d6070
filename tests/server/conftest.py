"""A service that runs: one on SQLite and one on PostgreSQL for a module, each test with a project of its own."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import pytest
from support.databases import postgres_server

from Agent.server import RunningServer, ServerSettings
from Agent.store import Scope, open_store

_numbers = itertools.count(1)


@dataclass
class Service:
    """A running service and a project of it."""

    server: RunningServer
    project: str
    ingest_key: str
    query_key: str

    def post(self, path: str, value: Any = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.ingest_key}"} | more.pop("headers", {})
        if value is not None:
            more["json"] = value
        return httpx.post(self.server.ingest_url + path, headers=headers, timeout=60, **more)

    def get(self, path: str, key: str | None = None, **parameters: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.query_key}"}
        return httpx.get(self.server.query_url + path, headers=headers, params=parameters, timeout=60)


@pytest.fixture(scope="package", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Each request of `httpx` would else read all certificates of the system, 22 ms of processor time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('service') / 'service.db'}"
    else:
        url = postgres_server().make_database(f"service_{next(_numbers)}")
    settings = ServerSettings(url, ingest_port=0, query_port=0, requests_per_second=0)
    with RunningServer(settings) as server:
        yield server


@pytest.fixture
def service(running: RunningServer) -> Service:
    """The service, seen with the keys of a new project."""
    project = f"project-{next(_numbers)}"
    with open_store(running.settings.database_url, role="admin") as store:
        keys = [store.issue_key(project, [scope]).token for scope in (Scope.INGEST, Scope.QUERY)]
    return Service(running, project, *keys)
