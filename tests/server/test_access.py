"""Who may ask: a matrix of keys, routes and projects made of the OpenAPI, and what loopback alone allows."""

from __future__ import annotations

import httpx
import pytest

from Agent.errors import UsageError
from Agent.server import ServerSettings, make_app
from Agent.server.access import RateLimit
from Agent.server.settings import default_database_url, is_loopback
from Agent.store import Scope, open_store

DOCUMENT = {"run_id": "run-1", "agent_id": "mine", "status": "success"}


@pytest.fixture
def database_url(tmp_path) -> str:
    url = f"sqlite:///{tmp_path / 'service.db'}"
    open_store(url).close()
    return url


@pytest.fixture
def asked(database_url):
    """Asks an app of a role; `host` is where its server listens, `peer` who asks."""

    def ask(
        role,
        method,
        path,
        *,
        host="127.0.0.1",
        peer="127.0.0.1",
        name="localhost",
        rate=0,
        keys=False,
        **more,
    ):
        settings = ServerSettings(database_url, host=host, requests_per_second=rate, require_key=keys)
        which = role, host, rate, keys
        app = apps[which] = apps.get(which) or make_app(settings, role=role)
        transport = httpx.ASGITransport(app, client=(peer, 5000), raise_app_exceptions=False)

        async def send():
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{name}") as client:
                return await client.request(method, path, **more)

        import asyncio

        return asyncio.run(send())

    apps: dict = {}
    yield ask
    for app in apps.values():
        app.state.store.close()


def routes_of(role: str, database_url: str) -> list[tuple[str, str]]:
    """Every method and path that the OpenAPI document names, with an id where one is needed."""
    app = make_app(ServerSettings(database_url), role=role)
    try:
        return [
            (method.upper(), path.replace("{run_id}", "run-1"))
            for path, methods in app.openapi()["paths"].items()
            for method in methods
        ]
    finally:
        app.state.store.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.first_case
@pytest.mark.parametrize("role", ["ingest", "query"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_everything_that_is_not_granted_is_refused(asked, database_url, role, host):
    with open_store(database_url, role="admin") as store:
        good = store.issue_key("mine", [Scope(role), Scope.DELETE]).token
        other_scope = store.issue_key("mine", [Scope.QUERY if role == "ingest" else Scope.INGEST]).token
        revoked = store.issue_key("mine", [Scope(role)])
        store.revoke_key(revoked.key.key_id)
    routes = routes_of(role, database_url)
    assert len(routes) >= 4
    for method, path in routes:
        body = {"json": DOCUMENT} if method == "POST" else {}

        def status(headers, method=method, path=path, body=body):
            return asked(role, method, path, host=host, headers=headers, **body).status_code

        if path == "/health":
            assert status({}) == 200
            continue
        for token in ("", "x", good[:-1], good.upper(), f"atk_zzzzzzzz_{'a' * 43}", revoked.token):
            assert status(bearer(token)) == 401, (method, path)
        assert status({"Authorization": f"Basic {good}"}) == 401
        assert status(bearer(other_scope)) == 403, (method, path)
        assert status(bearer(good)) not in (401, 403), (method, path)
        if host == "0.0.0.0":
            assert status({}) == 401, (method, path)


@pytest.mark.further
def test_a_key_sees_its_own_project_alone_on_every_route(asked, database_url):
    with open_store(database_url, role="admin") as store:
        keys = {
            name: {scope: store.issue_key(name, [scope]).token for scope in Scope}
            for name in ("mine", "yours")
        }
    posted = asked("ingest", "POST", "/v1/runs", json=DOCUMENT, headers=bearer(keys["mine"][Scope.INGEST]))
    assert posted.status_code == 201
    for method, path in routes_of("query", database_url):
        if path in ("/health", "/metrics"):
            continue
        mine = asked("query", method, path, headers=bearer(keys["mine"][Scope.QUERY]))
        yours = asked("query", method, path, headers=bearer(keys["yours"][Scope.QUERY]))
        assert "run-1" not in yours.text, path
        assert "mine" not in yours.text, path
        if "run-1" in path:
            assert (mine.status_code, yours.status_code) == (200, 404), path
    listed = asked("query", "GET", "/v1/runs", headers=bearer(keys["mine"][Scope.QUERY])).json()
    assert [run["run_id"] for run in listed["items"]] == ["run-1"]


@pytest.mark.further
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"name": "127.0.0.1:8001"}, 200),
        ({"name": "[::1]:8001"}, 200),
        ({"headers": {"Origin": "http://localhost:3000"}}, 200),
        ({"peer": "192.168.1.7"}, 401),
        ({"host": "0.0.0.0"}, 401),
        ({"host": "192.168.1.2"}, 401),
        ({"name": "evil.example"}, 401),
        ({"headers": {"Origin": "https://evil.example"}}, 401),
        ({"headers": {"Origin": "null"}}, 401),
        ({"headers": {"Host": "[::1]:8000"}}, 200),
        ({"headers": {"Host": "[::1].evil.example"}}, 401),
        ({"headers": {"Host": "evil.example@localhost"}}, 401),
        ({"headers": {"X-Forwarded-For": "10.0.0.1"}}, 401),
        ({"headers": {"Forwarded": "for=10.0.0.1"}}, 401),
    ],
)
def test_only_a_program_on_this_machine_needs_no_key(asked, changes, status):
    assert asked("query", "GET", "/v1/runs", **changes).status_code == status


@pytest.mark.further
def test_a_server_on_loopback_may_ask_for_keys_too(asked, database_url):
    with open_store(database_url, role="admin") as store:
        token = store.issue_key("mine", [Scope.QUERY]).token
    assert asked("query", "GET", "/health", keys=True).status_code == 200
    assert asked("query", "GET", "/v1/runs", keys=True).status_code == 401
    assert asked("query", "GET", "/v1/runs", keys=True, headers=bearer(token)).status_code == 200
    assert asked("query", "GET", "/v1/runs").status_code == 200


def test_metrics_of_a_key_are_those_of_its_project(asked, database_url):
    with open_store(database_url, role="admin") as store:
        keys = {
            name: bearer(store.issue_key(name, [Scope.INGEST]).token) for name in ("mine", "yours", "other")
        }
    for name, number in (("mine", 1), ("mine", 2), ("yours", 3)):
        asked("ingest", "POST", "/v1/runs", json={**DOCUMENT, "run_id": f"r{number}"}, headers=keys[name])

    def runs(**more):
        lines = asked("ingest", "GET", "/metrics", **more).text.splitlines()
        return [line.split()[1] for line in lines if line.startswith("agent_trace_runs_total")]

    assert {name: runs(headers=key) for name, key in keys.items()} == {
        "mine": ["2"],
        "yours": ["1"],
        "other": [],
    }
    assert runs() == ["3"]  # who needs no key sees the whole server


@pytest.mark.further
def test_a_wrong_key_is_refused_on_loopback_too(asked):
    assert asked("query", "GET", "/v1/runs", headers=bearer("wrong")).status_code == 401


def test_a_page_of_somebody_else_cannot_post_what_a_browser_sends_unasked(asked):
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = asked("ingest", "POST", "/v1/runs", content=b"{}", headers={"Content-Type": media_type})
        assert answer.status_code == 415


def test_a_key_that_asks_too_often_is_told_when_to_come_again(asked, database_url):
    with open_store(database_url, role="admin") as store:
        tokens = [store.issue_key("mine", [Scope.QUERY]).token for _ in range(2)]
    answers = [asked("query", "GET", "/v1/runs", rate=0.5, headers=bearer(tokens[0])) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert int(answers[1].headers["Retry-After"]) >= 1
    assert asked("query", "GET", "/v1/runs", rate=0.5, headers=bearer(tokens[1])).status_code == 200


def test_pace_lets_a_burst_through_and_then_the_rate():
    now_s = 0.0
    pace = RateLimit(10, lambda: now_s)
    assert [pace.wait_s("a") for _ in range(20)] == [0.0] * 20
    assert pace.wait_s("a") == pytest.approx(0.1)
    assert pace.wait_s("b") == 0.0
    now_s = 0.1
    assert [pace.wait_s("a") == 0.0 for _ in range(2)] == [True, False]


def test_what_loopback_is():
    assert all(map(is_loopback, ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST"]))
    assert not any(
        map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.com", "", "localhost.evil.example"])
    )


def test_the_database_that_nobody_named_is_the_users_own(tmp_path):
    home = str(tmp_path)
    assert default_database_url({"HOME": home}) == f"sqlite:///{home}/.local/share/agent-trace/service.db"
    assert default_database_url({"XDG_DATA_HOME": "/data", "HOME": home}).startswith(
        "sqlite:////data/agent-trace/"
    )
    assert default_database_url({"XDG_DATA_HOME": "relative", "HOME": home}).startswith(
        f"sqlite:///{home}/.local"
    )
    with pytest.raises(UsageError, match="--database"):
        default_database_url({})


@pytest.mark.further
@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-Host": "traces.example.com"}, {"Via": "1.1 proxy"},
        {"Forwarded": "for=203.0.113.9"}, {"CF-Connecting-IP": "203.0.113.9"}, {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://example.com"}, {"Origin": "null"},
    ],
)  # fmt: skip
def test_what_comes_through_a_proxy_or_from_somebody_elses_page_needs_a_key(asked, headers):
    assert asked("query", "GET", "/v1/runs", headers=headers).status_code == 401


def test_a_link_on_somebody_elses_page_can_be_followed(asked):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert asked("query", "GET", "/v1/runs", headers=headers).status_code == 200
    assert asked("ingest", "POST", "/v1/runs", headers=headers, json=DOCUMENT).status_code == 401
