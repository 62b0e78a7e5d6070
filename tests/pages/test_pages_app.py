"""The app of the pages, in process: who is admitted, what it sends, and how it refuses."""

from __future__ import annotations

import json
import re
import struct

import pytest
from fastapi.testclient import TestClient
from support.fake_view import HOSTILE, FakeView

from Agent import view
from Agent.errors import SessionNotFound
from Agent.server.pages import Pages
from Agent.server.pages.app import OpenViews, static_files
from Agent.tree.files import control

TOKEN = "correct-horse-battery"
ID = "20261120_103045"
SESSION = f"/s/{ID}"
API = f"/api/{ID}"


@pytest.fixture
def opened(monkeypatch):
    """The sessions that were opened, by id."""
    made = {}

    def open_view(session, *, root=None):
        made[session] = FakeView(session)
        return made[session]

    listed = {
        "sessions": [
            {"id": ID, "started": "2026-11-25T10:30:45.000000Z", "size_bytes": 5, "is_running": True}
        ]
    }
    monkeypatch.setattr(view, "open_view", open_view)
    monkeypatch.setattr(view, "session_list", lambda root=None: listed)
    return made


@pytest.fixture
def root(tmp_path):
    for number in range(8):
        session = tmp_path / f"session_20261120_10304{number}"
        (session / "agents").mkdir(parents=True)
    return tmp_path


def client_of(root, *, token=TOKEN, host="127.0.0.1", asks="127.0.0.1"):
    app = Pages(root, token=token, host=host)
    return TestClient(
        app, base_url=f"http://{asks}:8123", raise_server_exceptions=False, follow_redirects=False
    )


@pytest.fixture
def client(root, opened):
    client = client_of(root)
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    return client


@pytest.fixture
def stranger(root, opened):
    return client_of(root)


# who is admitted


def test_nothing_but_static_files_is_shown_without_the_token(stranger):
    for path in (
        "/",
        "/sessions",
        SESSION,
        f"{SESSION}/report/errors",
        f"{API}/overview",
        "/api/sessions",
        "/static",
    ):
        assert stranger.get(path).status_code == 403, path
    assert stranger.get("/static/view.js").status_code == 200


def test_a_wrong_token_is_refused_wherever_it_is(stranger):
    assert stranger.get(f"{SESSION}?token=wrong").status_code == 403
    assert stranger.get(SESSION, headers={"Authorization": "Bearer wrong"}).status_code == 403
    assert stranger.get(SESSION, headers={"Cookie": "agent_trace_8123=wrong"}).status_code == 403
    assert stranger.get(SESSION, headers={"Cookie": "=;;;\x7f; agent_trace_8123"}).status_code == 403


def test_the_address_with_the_token_sets_a_cookie_that_admits_from_then_on(stranger):
    first = stranger.get(f"{SESSION}?token={TOKEN}")
    assert first.status_code == 200
    cookie = first.headers["set-cookie"]
    assert cookie == f"agent_trace_8123={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert stranger.get(f"{API}/overview").status_code == 200
    assert "set-cookie" not in stranger.get(SESSION).headers


def test_the_address_of_no_page_leads_to_the_newest_session_and_keeps_the_token(stranger):
    first = stranger.get(f"/?token={TOKEN}")
    assert (first.status_code, first.headers["location"]) == (303, f"/s/20261120_103047?token={TOKEN}")


def test_without_a_session_the_first_page_is_the_empty_list(tmp_path, opened):
    assert client_of(tmp_path, token=None).get("/").headers["location"] == "/sessions"


@pytest.mark.first_case
@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:8123", "127.0.0.1.evil.example", "", "10.0.0.7", "[::2]:80"]
)
def test_another_name_of_this_server_is_refused_even_with_the_token(client, name):
    assert client.get(f"{API}/overview", headers={"Host": name}).status_code == 421


@pytest.mark.parametrize("name", ["127.0.0.1:8123", "localhost", "LOCALHOST:8123", "[::1]:8123"])
def test_the_names_of_loopback_are_accepted(client, name):
    assert client.get(f"{API}/overview", headers={"Host": name}).status_code == 200


def test_beyond_loopback_addresses_are_accepted_and_foreign_names_are_not(root, opened):
    client = client_of(root, host="0.0.0.0")
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    assert client.get("/sessions", headers={"Host": "192.168.1.7:8123"}).status_code == 200
    assert client.get("/sessions", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_only_get_is_answered(client, method):
    refused = client.request(method, f"{API}/overview")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


# what every answer says


def test_every_answer_forbids_foreign_and_inline_content(client):
    for path in (
        "/sessions",
        SESSION,
        f"{API}/overview",
        "/static/view.css",
        "/nothing",
        f"{API}/event/missing-1",
    ):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy, (
            path
        )
        assert "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_pages_hold_no_inline_script_style_or_handler_and_no_foreign_address(client):
    for path in ("/sessions", SESSION):
        page = client.get(path).text
        assert "<style" not in page and " style=" not in page, path
        assert re.search(r"<script(?![^>]* src=)", page) is None and re.search(r"\son\w+=", page) is None
        assert re.search(r"""(src|href)=["'](?!/)""", page) is None


def test_static_files_have_a_digest_in_their_address_and_are_kept_only_with_it(client):
    page = client.get(SESSION).text
    address = re.search(r"/static/view\.js\?v=[0-9a-f]{16}", page)[0]
    assert address.endswith(static_files()["view.js"].digest)
    assert "immutable" in client.get(address).headers["cache-control"]
    assert client.get("/static/view.js?v=0").headers["cache-control"] == "no-cache"
    assert client.get(SESSION).headers["cache-control"] == "no-store"
    assert client.get(f"{API}/overview").headers["cache-control"] == "no-store"


def test_large_answers_are_compressed_and_small_ones_are_not(client):
    assert (
        client.get(f"{API}/overview", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"]
        == "gzip"
    )
    assert "content-encoding" not in client.get(f"{API}/counters?t=1").headers


def test_no_path_leads_out_of_the_static_files(client):
    for name in ("..%2fapp.py", "%2e%2e/app.py", "..%5capp.py", "app.py", ""):
        assert client.get(f"/static/{name}").status_code == 404, name


# the API


def test_the_parameters_of_the_contract_arrive(client):
    found = client.get(f"{API}/window?t0=1.5&t1=9&px=10&from=2&to=4&axis=tick&sum=1&lanes=4,9,2").content
    (size,) = struct.unpack("<I", found[:4])
    assert json.loads(found[4 : 4 + size]) == {
        "t0": 1.5, "t1": 9.0, "px": 10, "first": 2, "last": 4, "axis": "tick", "sum_lanes": True, "lanes": [4, 9, 2]
    }  # fmt: skip
    asked = client.get(f"{API}/events?lanes=3,5&t0=1&t1=2&limit=7&order=desc&kind=error&errors=1&q=a").json()[
        "asked"
    ]
    assert asked == {
        "lanes": [3, 5], "t0": 1, "t1": 2, "limit": 7, "order": "desc", "kind": "error", "errors": True, "q": "a"
    }  # fmt: skip
    for question, query, expected in (
        ("arrows", "t0=1&t1=2", {"t0": 1, "t1": 2, "limit": 400}),
        ("counters", "t=5", {"t": 5}),
        ("why", "agent=a&field=f&t=1", {"agent": "a", "field": "f", "t": 1}),
        ("series", "agent=a&field=f", {"agent": "a", "field": "f"}),
        ("step", "t=1&by=tick&direction=-1", {"t": 1, "lanes": None, "by": "tick", "direction": -1}),
        ("findings", "", {"q": None}),
        ("search", "q=x", {"q": "x"}),
    ):
        assert client.get(f"{API}/{question}?{query}").json() == {"question": question, "asked": expected}


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("window?t0=0&t1=1&px=5000", 400, "px is above 4000"),
        ("window?t0=x&t1=1&px=5", 400, "t0"),
        ("window?t0=0&t1=1&px=5&lanes=1,b", 400, "lanes are not numbers"),
        ("events?order=up", 400, "order"),
        ("events?limit=0", 400, "limit"),
        ("step?t=1&direction=on", 400, "direction"),
        ("search", 400, "q"),
        ("event/missing-1", 404, "missing-1"),
        ("state?agent=nobody&t=1", 404, "nobody"),
        ("nothing", 404, "nothing"),
    ],
)
def test_a_refusal_is_one_problem_with_a_message(client, query, status, says):
    refused = client.get(f"{API}/{query}")
    assert refused.status_code == status and refused.headers["content-type"] == "application/json"
    assert says in refused.json()["error"] and set(refused.json()) == {"error", "remedy"}


@pytest.mark.first_case
@pytest.mark.parametrize(
    "session",
    ["20261120", "%2e%2e", "%2e%2e%2fx", "..%2f..%2fetc", "x" * 300, "20261120_103099", "session_x"],
)
def test_a_session_is_named_by_its_whole_id_alone(client, session):
    assert client.get(f"/api/{session}/overview").status_code == 404
    assert client.get(f"/s/{session}").status_code == 404


def test_values_that_json_lacks_do_not_break_an_answer(client):
    found = json.loads(client.get(f"{API}/event/k3v9q2ma-1").content)["event"]
    assert found == {"id": "k3v9q2ma-1", "lone": "\ud800", "large": 1 << 80, "odd": None}


def test_a_defect_gives_no_traceback(client, opened, monkeypatch):
    monkeypatch.setattr(FakeView, "overview", lambda self: 1 // 0)
    refused = client.get(f"{API}/overview")
    assert refused.status_code == 500 and "bug" in refused.json()["error"] and "division" not in refused.text


def test_hostile_names_are_json_in_the_api_and_text_in_pages(client):
    answer = client.get(f"{API}/overview")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["lanes"][0]["agent"] == HOSTILE
    page = client.get("/s/%3Cscript%3Ealert(1)", headers={"Accept": "text/html"})
    assert page.status_code == 404 and "<script" not in page.text


# open sessions


def test_few_sessions_stay_open_and_all_are_closed_at_the_end(root, opened):
    views = OpenViews(root)
    for number in range(6):
        with views.use(f"20261120_10304{number}"):
            pass
    assert [view.is_closed for view in opened.values()] == [True, True, False, False, False, False]
    views.close()
    assert all(view.is_closed for view in opened.values())


def test_a_session_in_use_is_not_closed(root, opened):
    views = OpenViews(root)
    with views.use("20261120_103040") as first:
        for number in range(1, 7):
            with views.use(f"20261120_10304{number}"):
                pass
        assert not first.is_closed
    with pytest.raises(SessionNotFound), views.use("20261120_103"):
        pass


# forks


FORK = {"number": 1, "agent": "a", "at": "aaaaaaaa-1", "values": {"count": "3"}}
OWN = {"Origin": "http://127.0.0.1:8123", "Authorization": f"Bearer {TOKEN}"}


def forking(root, *, allow_fork=True, token=TOKEN):
    app = Pages(root, token=token, allow_fork=allow_fork)
    return TestClient(
        app, base_url="http://127.0.0.1:8123", raise_server_exceptions=False, follow_redirects=False
    )


def test_the_pages_themselves_may_fork_where_it_is_allowed(root, opened):
    answer = forking(root).post(f"{API}/forks", json=FORK, headers=OWN)
    assert answer.status_code == 200
    assert answer.json()["asked"] == {
        **FORK,
        "seed": None,
        "live": [],
        "outcome": None,
        "vary": [],
        "seeds": 0,
    }
    page = forking(root).get(f"{SESSION}?token={TOKEN}").text
    assert 'data-forks="allowed"' in page
    assert "data-forks" not in forking(root, allow_fork=False).get(f"{SESSION}?token={TOKEN}").text


@pytest.mark.first_case
@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:8123"},
        {"Origin": "https://127.0.0.1:8123"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Authorization": None},
        {"Authorization": "Bearer an-older-token"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
def test_nobody_else_may_fork_or_test_causes_by_forks(root, opened, changed):
    headers = {key: value for key, value in (OWN | changed).items() if value is not None}
    headers.setdefault("Content-Type", "application/json")
    for path, asked in (("forks", FORK), ("tests", {"q": "a_0 stopped"})):
        answer = forking(root).post(f"{API}/{path}", content=json.dumps(asked), headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "this request may not start a fork")
    assert opened == {}, "no session was even opened"


def test_the_token_of_an_address_and_another_name_of_the_host_start_no_fork(root, opened):
    client = forking(root)
    headers = {"Origin": OWN["Origin"]}
    assert client.post(f"{API}/forks?token={TOKEN}", json=FORK, headers=headers).status_code == 403
    evil = {**OWN, "Host": "evil.example:8123", "Origin": "http://evil.example:8123"}
    assert client.post(f"{API}/forks", json=FORK, headers=evil).status_code == 421
    assert opened == {}


def test_where_forks_are_not_allowed_there_are_none_and_nothing_else_takes_a_post(root, opened):
    for client in (forking(root, allow_fork=False), forking(root, token=None)):
        assert client.post(f"{API}/forks", json=FORK, headers=OWN).status_code == 405
        assert client.post(f"{API}/tests", json={"q": ""}, headers=OWN).status_code == 405
    client = forking(root)
    for path in (f"{API}/overview", "/sessions", f"{API}/forks/x", "/api/forks", f"{SESSION}/forks"):
        assert client.post(path, json=FORK, headers=OWN).status_code == 405, path
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.request(method, f"{API}/forks", headers=OWN).status_code == 405
    assert client.get(f"{API}/forks", headers=OWN).status_code == 405, "a link starts nothing"
    assert opened == {}


def test_a_large_body_or_one_of_unknown_length_is_refused_unread(root, opened):
    def read():
        raise AssertionError("the body was read")
        yield b""

    json_ = OWN | {"content-type": "application/json"}
    for headers in (json_ | {"content-length": str(1 << 21)}, json_):
        answer = forking(root).post(f"{API}/forks", content=read(), headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (413, "the body is too large")
        assert answer.json()["remedy"] == "give its Content-Length, at most 1,048,576 bytes"


def test_a_fork_that_is_asked_for_wrongly_is_refused_in_words(root, opened):
    for wrong in (
        {**FORK, "values": {"a": 3}},
        {**FORK, "more": 1},
        {"agent": "a"},
        [],
        {**FORK, "seed": "x"},
    ):
        answer = forking(root).post(f"{API}/forks", json=wrong, headers=OWN)
        assert answer.status_code == 400 and answer.json()["error"], wrong


# control


CONTROL = {"command": "set", "agent": "a", "field": "count", "text": "3"}


def controlling(root, *, allow_control=True, token=TOKEN):
    app = Pages(root, token=token, allow_control=allow_control)
    return TestClient(
        app, base_url="http://127.0.0.1:8123", raise_server_exceptions=False, follow_redirects=False
    )


@pytest.fixture
def requests(root, monkeypatch):
    """The requests that reach the program of a session, and an answer to each."""
    found = []

    def request(session, asked, wait_s):
        found.append((session.parent, asked))
        return {"id": "1", "tick": 4, "old": 1, "new": 3}

    monkeypatch.setattr(control, "request", request)
    return found


def test_the_pages_themselves_may_control_a_program_where_it_is_allowed(root, requests):
    client = controlling(root)
    answer = client.post(f"{API}/control", json=CONTROL, headers=OWN)
    assert answer.json() == {"done": True, "tick": 4, "old": 1, "new": 3}, answer.text
    client.post(f"{API}/control", json={"command": "step", "ticks": 5}, headers=OWN)
    (place, changed), (_, stepped) = requests
    assert place == root and changed["by"].endswith(", in a page")
    assert [changed[key] for key in ("agent_id", "field", "value", "text")] == ["a", "count", 3, "3"]
    assert (stepped["command"], stepped["ticks"]) == ("step", 5)
    page = client.get(f"{SESSION}?token={TOKEN}").text
    assert 'data-control="allowed"' in page and "data-forks" not in page
    assert "data-control" not in forking(root).get(f"{SESSION}?token={TOKEN}").text


@pytest.mark.first_case
@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:8123"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Authorization": None},
        {"Authorization": "Bearer an-older-token"},
        {"Content-Type": "text/plain"},
    ],
    ids=str,
)
def test_nobody_else_may_control_a_program(root, requests, changed):
    headers = {key: value for key, value in (OWN | changed).items() if value is not None}
    headers.setdefault("Content-Type", "application/json")
    answer = controlling(root).post(f"{API}/control", content=json.dumps(CONTROL), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (403, "this request may not control a program")
    evil = {**OWN, "Host": "evil.example:8123", "Origin": "http://evil.example:8123"}
    assert controlling(root).post(f"{API}/control", json=CONTROL, headers=evil).status_code == 421
    assert requests == []


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"x"', "[" * 5_000], ids=lambda body: body[:5])
def test_a_body_that_is_no_object_is_refused_by_its_name(root, requests, body):
    headers = OWN | {"Content-Type": "application/json"}
    answer = controlling(root).post(f"{API}/control", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "the body is not an object in JSON")
    assert requests == []


@pytest.mark.further
def test_where_control_is_not_allowed_nothing_takes_a_request(root, requests):
    for client in (controlling(root, allow_control=False), controlling(root, token=None), forking(root)):
        assert client.post(f"{API}/control", json=CONTROL, headers=OWN).status_code == 405
    assert controlling(root).post(f"{API}/forks", json=FORK, headers=OWN).status_code == 405
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert controlling(root).request(method, f"{API}/control", headers=OWN).status_code == 405
    assert controlling(root).get(f"{API}/control").status_code == 403
    assert requests == []


def test_a_session_without_a_program_that_allows_control_says_so(root):
    client = controlling(root)
    status = client.get(f"{API}/control", headers=OWN).json()
    assert status["state"] == "none" and "allows control" in status["why"], status
    answer = client.post(f"{API}/control", json={"command": "pause"}, headers=OWN).json()
    assert answer["done"] is False and "setup_logging(control=True)" in answer["why"]


@pytest.mark.further
def test_a_request_that_is_made_wrongly_is_refused_in_words(root, requests):
    for wrong in ({}, [], {"command": "kill"}, {**CONTROL, "more": 1}, {"command": "step", "ticks": 0}):
        answer = controlling(root).post(f"{API}/control", json=wrong, headers=OWN)
        assert answer.status_code == 400 and answer.json()["error"], wrong
    assert requests == []
