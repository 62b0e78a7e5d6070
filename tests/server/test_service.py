"""The service over HTTP: what is sent comes back, once, to its own project, and without free text."""

from __future__ import annotations

import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import httpx
import orjson
import pytest
import zstandard

from Agent.event.ids import uuid7
from Agent.store import Scope, open_store

T0 = datetime(2026, 11, 20, 10, 30)
SESSION = uuid7(1_795_170_645_000, b"0123456789")
RUN = uuid7(1_795_170_645_000, b"abcdefghij")
MESSAGE = "API call failed after 3 attempts"


def stamp(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).isoformat(timespec="microseconds") + "Z"


def document(**changes) -> dict:
    """A run as document 002 has it."""
    return {
        "run_id": RUN,
        "agent_id": "my_agent",
        "agent_version": "1.0.0",
        "status": "failure",
        "started_at": stamp(0),
        "ended_at": stamp(2),
        "steps": [
            {"step_id": "s1", "step_type": "plan", "name": "analyze_query", "latency_ms": 3.5},
            {"step_id": "s2", "step_type": "retrieve", "name": "search_kb", "metadata": {"result_count": 10}},
            {"step_id": "s3", "step_type": "tool", "name": "call_api", "metadata": {"attempt": 3}},
        ],
        "failures": [
            {"failure_type": "tool", "failure_code": "timeout", "step_id": "s3", "message": MESSAGE}
        ],
    } | changes


def event(number: int, **changes) -> dict:
    return {
        "timestamp": stamp(number),
        "id": f"k3v7q2ma-{number}",
        "schema_version": 1,
        "kind": "agent_action",
        "agent_id": "creator_001",
        "extra": {"action_type": "publish", "duration_ms": 1.5},
    } | changes


def batch(*events: dict, **more) -> dict:
    session = {"session_uid": SESSION, "session_id": "20261120_103045"}
    return {"wire_version": 1, "content": False, "session": session, "events": list(events)} | more


def test_a_run_that_was_posted_is_listed_shown_and_counted(service):
    answer = service.post("/v1/runs", document())
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"run_id": RUN, "stored": True, "dropped": {"/failures/*/message": 1}}
    (listed,) = service.get("/v1/runs").json()["items"]
    shown = service.get(f"/v1/runs/{RUN}").json()
    assert {name: shown[name] for name in listed} == listed
    assert (listed["agent_id"], listed["agent_version"], listed["status"]) == ("my_agent", "1.0.0", "failure")
    assert (listed["started_at"], listed["duration_ms"]) == (stamp(0), 2000.0)
    steps = service.get(f"/v1/runs/{RUN}/steps").json()["items"]
    assert [step["name"] for step in steps] == ["analyze_query", "search_kb", "call_api"]
    assert (steps[0]["latency_ms"], steps[1]["metadata"]) == (3.5, {"result_count": 10})
    (failure,) = service.get(f"/v1/runs/{RUN}/failures").json()["items"]
    assert (failure["failure_type"], failure["failure_code"], failure["message"]) == ("tool", "timeout", None)
    stats = service.get("/v1/stats").json()
    assert (stats["runs"], stats["by_status"]) == (1, {"failure": 1})
    assert stats["failures"] == [{"failure_type": "tool", "failure_code": "timeout", "runs": 1}]
    assert (shown["steps"], shown["failures"], shown["next_steps_cursor"]) == (steps, [failure], None)


def test_the_same_run_again_is_one_run(service):
    assert [service.post("/v1/runs", document()).status_code for _ in range(3)] == [201, 200, 200]
    assert len(service.get("/v1/runs").json()["items"]) == 1
    assert len(service.get(f"/v1/runs/{RUN}/steps").json()["items"]) == 3


@pytest.mark.integration
def test_runs_posted_at_once_by_many_are_each_there_once(service):
    runs = [document(run_id=f"run-{number % 10}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda run: service.post("/v1/runs", run).status_code, runs))
    assert sorted(set(answers)) == [200, 201]
    assert answers.count(201) >= 10
    assert len(service.get("/v1/runs", limit=100).json()["items"]) == 10


def test_events_come_back_in_order_and_a_batch_that_comes_again_adds_nothing(service):
    first = service.post("/v1/events", batch(event(1), event(3), event(2)))
    assert first.status_code == 200, first.text
    assert (first.json()["accepted"], first.json()["duplicates"]) == (3, 0)
    again = service.post("/v1/events", batch(event(3), event(4))).json()
    assert (again["accepted"], again["duplicates"]) == (1, 1)
    found = service.get("/v1/events", session_uid=SESSION).json()["items"]
    assert [each["id"] for each in found] == [f"k3v7q2ma-{number}" for number in (1, 2, 3, 4)]
    assert (found[0]["timestamp"], found[0]["name"], found[0]["duration_ms"]) == (stamp(1), "publish", 1.5)
    (session,) = service.get("/v1/sessions").json()["items"]
    assert (session["events"], session["first_at"], session["last_at"]) == (4, stamp(1), stamp(4))


def test_one_bad_event_does_not_keep_the_others_out(service):
    answer = service.post("/v1/events", batch(event(1), {"id": "nonsense"}, 7, event(2))).json()
    assert answer["accepted"] == 2
    assert [each["index"] for each in answer["refused"]] == [1, 2]


def test_events_of_a_run_make_the_run_whichever_batch_comes_first(service):
    started = event(1, kind="run.started", run_id=RUN, extra={"labels": {"agent_version": "2.0"}})
    finished = event(9, kind="run.finished", run_id=RUN, extra={"ok": True, "status": "partial"})
    service.post("/v1/events", batch(finished))
    service.post("/v1/events", batch(started))
    run = service.get(f"/v1/runs/{RUN}").json()
    assert (run["status"], run["agent_id"], run["agent_version"]) == ("partial", "creator_001", "2.0")
    assert (run["started_at"], run["ended_at"], run["session_uid"]) == (stamp(1), stamp(9), SESSION)
    assert [each["kind"] for each in service.get(f"/v1/runs/{RUN}/events").json()["items"]] == [
        "run.started",
        "run.finished",
    ]


PACKED = {
    "identity": lambda data: data,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.further
@pytest.mark.parametrize("encoding", PACKED)
def test_bodies_are_taken_in_every_encoding_and_cut_ones_are_not(service, encoding):
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    sent = PACKED[encoding](orjson.dumps(document(run_id=f"run-{encoding}")))
    assert service.post("/v1/runs", content=sent, headers=headers).status_code == 201
    for wrong in (sent[:-9], b"", b"\x00" * 50, sent[:20]):
        assert service.post("/v1/runs", content=wrong, headers=headers).status_code == 400
    assert len(service.get("/v1/runs").json()["items"]) == 1


@pytest.mark.further
def test_pages_end_and_hold_every_run_once(service):
    for number in range(7):
        service.post("/v1/runs", document(run_id=f"run-{number}", started_at=stamp(number // 2)))
    seen, cursor = [], None
    for _ in range(10):
        page = service.get("/v1/runs", limit=3, **({"cursor": cursor} if cursor else {})).json()
        seen += [run["run_id"] for run in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"run-{number}" for number in reversed(range(7))]


@pytest.mark.further
def test_lists_are_narrowed_as_the_parameters_say(service):
    service.post("/v1/runs", document(run_id="run-1", agent_id="one", status="success", failures=[]))
    service.post(
        "/v1/runs", document(run_id="run-2", agent_id="two", started_at=stamp(60), ended_at=stamp(61))
    )

    def found(**parameters):
        return [run["run_id"] for run in service.get("/v1/runs", **parameters).json()["items"]]

    assert found(agent_id="one") == ["run-1"]
    assert found(status="failure") == ["run-2"]
    assert found(failure_type="tool", failure_code="timeout") == ["run-2"]
    assert found(since=stamp(30)) == ["run-2"]
    assert found(until=stamp(30)) == ["run-1"]
    assert found(since="2026-11-20T11:30:30+01:00") == ["run-2"]
    assert found(agent_version="9") == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/runs/no-such-run", 404),
        ("/v1/runs/no-such-run/steps", 404),
        ("/v1/runs/no-such-run/failures", 404),
        ("/v1/runs/no-such-run/events", 404),
        ("/v1/nothing", 404),
        ("/", 404),
        ("/v1/runs?limit=0", 422),
        ("/v1/runs?limit=1001", 422),
        ("/v1/runs?limit=many", 422),
        ("/v1/runs?cursor=x", 422),
        ("/v1/runs?status=odd", 422),
        ("/v1/runs?since=yesterday", 422),
        ("/v1/runs?session_uid=1", 422),
        ("/v1/runs?agent_id=a%00b", 422),
        ("/v1/runs/a%00b", 422),
        ("/v1/events", 422),
        ("/v1/runs?agent_id=%27%3B%20DROP%20TABLE%20runs%3B--", 200),
    ],
)
def test_a_wrong_question_has_one_answer_of_one_shape(service, path, status):
    answer = httpx.get(
        service.server.query_url + path, headers={"Authorization": f"Bearer {service.query_key}"}
    )
    assert answer.status_code == status
    if status != 200:
        assert set(answer.json()) == {"type", "title", "status", "detail", "error"}
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["status"], answer.json()["detail"]) == (
            status,
            answer.json()["error"]["message"],
        )
        assert set(answer.json()["error"]) == {"code", "message", "path", "remedy"}
        assert "Traceback" not in answer.text


@pytest.mark.further
def test_ingest_reads_nothing_and_query_writes_nothing(service):
    service.post("/v1/runs", document())
    key = {"Authorization": f"Bearer {service.ingest_key}"}
    assert httpx.get(f"{service.server.ingest_url}/v1/runs", headers=key).status_code == 405
    assert httpx.get(f"{service.server.ingest_url}/v1/runs/{RUN}", headers=key).status_code in {404, 405}
    key = {"Authorization": f"Bearer {service.query_key}"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("/v1/runs", f"/v1/runs/{RUN}"):
            answer = httpx.request(method, service.server.query_url + path, headers=key)
            assert answer.status_code == 405, (method, path)
    assert service.get(f"/v1/runs/{RUN}").status_code == 200


def test_health_and_metrics_tell_counts_and_no_names(service):
    service.post("/v1/runs", document())
    for url in (service.server.ingest_url, service.server.query_url):
        health = httpx.get(f"{url}/health")
        assert (health.status_code, health.json()["status"]) == (200, "ok")
    text = httpx.get(f"{service.server.ingest_url}/metrics").text
    assert 'agent_trace_requests_total{method="POST",route="/v1/runs",status="201"}' in text
    assert "agent_trace_values_dropped_total" in text
    assert RUN not in text and "my_agent" not in text and service.project not in text


def test_free_text_is_stored_only_where_the_project_takes_content(service):
    service.post("/v1/runs", document(run_id="run-1"))
    with open_store(service.server.settings.database_url, role="admin") as store:
        store.set_content(service.project, allowed=True)
    service.post("/v1/runs", document(run_id="run-2"))
    messages = [
        service.get(f"/v1/runs/{run_id}/failures").json()["items"][0]["message"]
        for run_id in ("run-1", "run-2")
    ]
    assert messages == [None, MESSAGE]


INGEST_PATHS = {
    "/v1/runs/{run_id}",
    "/v1/sessions/{session_uid}",
    "/v1/runs",
    "/v1/events",
    "/v1/traces",
    "/health",
    "/metrics",
    "/api/traces/{trace_id}/checkpoints",
    "/api/checkpoints/{checkpoint_id}",
    "/api/checkpoints/{checkpoint_id}/replay",
    "/api/traces/{trace_id}/replays",
    "/api/replays/{replay_id}",
    "/api/replays/{replay_id}/diff",
}


def test_the_openapi_document_names_every_route_and_every_error_of_it(service):
    for url, paths in (
        (service.server.ingest_url, INGEST_PATHS),
        (
            service.server.query_url,
            {
                "/v1/runs",
                "/v1/runs/{run_id}",
                "/v1/runs/{run_id}/steps",
                "/v1/runs/{run_id}/failures",
                "/v1/runs/{run_id}/events",
                "/v1/events",
                "/v1/sessions",
                "/v1/stats",
                "/v1/journeys",
                "/v1/errors",
                "/v1/causes",
                "/health",
                "/metrics",
            },
        ),
    ):
        document = httpx.get(f"{url}/openapi.json").json()
        assert set(document["paths"]) == paths
        for path, methods in document["paths"].items():
            for operation in methods.values():
                assert operation["summary"]
                assert path == "/health" or {"401", "403", "422", "429", "503"} <= set(operation["responses"])
                assert "HTTPValidationError" not in json.dumps(operation)


def test_a_parameter_that_is_misspelt_is_refused_and_not_passed_over(service):
    service.post("/v1/runs", document())
    answer = service.get("/v1/runs", agentid="somebody")
    error = answer.json()["error"]
    assert (answer.status_code, "'agentid'" in error["message"]) == (422, True)
    assert "agent_id" in error["remedy"]
    assert service.get("/health", anything="1").status_code == 200


def test_a_parameter_that_is_given_twice_is_refused(service):
    answer = service.get("/v1/runs", limit=["1", "2"])
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], "limit" in error["message"]) == (400, "malformed", True)


def test_an_empty_cursor_begins_the_list(service):
    service.post("/v1/runs", document())
    assert len(service.get("/v1/runs", cursor="").json()["items"]) == 1


def test_a_question_at_the_wrong_port_is_told_where_it_belongs(service):
    asked = httpx.get(f"{service.server.ingest_url}/v1/runs", timeout=60)
    assert (asked.status_code, "8001" in asked.json()["error"]["remedy"]) == (405, True)
    sent = httpx.post(f"{service.server.query_url}/v1/events", json={}, timeout=60)
    assert (sent.status_code, "8000" in sent.json()["error"]["remedy"]) == (405, True)
    other = httpx.get(f"{service.server.query_url}/docs", timeout=60)
    assert (other.status_code, other.json()["error"]["remedy"]) == (
        404,
        "/openapi.json lists all routes",
    )


@pytest.mark.parametrize(
    ("path", "asked", "words"),
    [
        ("/v1/causes", {"session_uid": SESSION}, "parameter event_id is missing"),
        ("/v1/sessions", {"limit": "0"}, "parameter limit should be greater than or equal to 1"),
        ("/v1/events", {"session_uid": "20261120_103045"}, "parameter session_uid has an invalid format"),
    ],
)
def test_a_parameter_that_is_wrong_is_named_in_plain_words(service, path, asked, words):
    answer = service.get(path, **asked)
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, words)


def test_a_run_without_status_and_end_is_running_and_its_labels_are_kept_and_found(service):
    labels = {"team": "shop", "retries": 3, "note": "tell Jane Doe that she is ill"}
    answer = service.post("/v1/runs", {"run_id": "r-1", "agent_id": "a", "labels": labels})
    assert answer.json()["dropped"] == {"/labels/note": 1}
    service.post("/v1/runs", {"run_id": "r-2", "agent_id": "a", "labels": {"team": "ware"}})
    shown = service.get("/v1/runs/r-1").json()
    assert (shown["status"], shown["labels"]) == ("running", {"team": "shop", "retries": 3})
    for label, found in (("team=shop", ["r-1"]), ("retries=3", ["r-1"]), ("team=none", [])):
        items = service.get("/v1/runs", label=label).json()["items"]
        assert [run["run_id"] for run in items] == found, label
    assert service.get("/v1/stats", label="team=ware").json()["runs"] == 1
    assert service.get("/v1/runs", label="team").status_code == 422


def test_all_mistakes_of_a_body_are_in_one_answer(service):
    wrong = {
        "run_id": "r-1", "status": "odd", "steps": [{"latency_ms": -1}, 7, {"step_type": "x"}],
        "failures": [{"failure_code": "timeout"}],
    }  # fmt: skip
    answer = service.post("/v1/runs", wrong)
    told = answer.json()
    assert answer.status_code == 422
    paths = ["/agent_id", "/status", "/failures/0/failure_type", "/steps/0/latency_ms", "/steps/1"]
    assert [each["path"] for each in told["errors"]] == [*paths, "/steps/2/step_type"]
    assert told["error"]["path"] == "/agent_id"
    single = service.post("/v1/runs", {"run_id": "r-1", "agent_id": "a", "status": "odd"}).json()
    assert "errors" not in single and single["error"]["path"] == "/status"
    asked = service.get("/v1/runs", limit=0, since="x" * 50).json()
    assert len(asked["errors"]) == 2


def test_a_session_is_found_by_the_name_that_commands_print(service):
    assert service.post("/v1/events", batch(event(1, agent_id="clerk"))).json()["accepted"] == 1
    name = service.get("/v1/sessions").json()["items"][0]["session_id"]
    assert name is not None
    assert len(service.get("/v1/sessions", session_id=name).json()["items"]) == 1
    assert len(service.get("/v1/events", session_id=name).json()["items"]) == 1
    assert len(service.get("/v1/journeys", session_id=name, agent_id="clerk").json()["items"]) == 1
    for path in ("events", "sessions", "runs", "errors"):
        assert service.get(f"/v1/{path}", session_id="19990101_000000").json()["items"] == [], path


def test_an_answer_that_a_client_has_is_not_sent_again(service):
    service.post("/v1/runs", document())
    headers = {"Authorization": f"Bearer {service.query_key}"}
    url = f"{service.server.query_url}/v1/runs/{RUN}"
    first = httpx.get(url, headers=headers)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    again = httpx.get(url, headers=headers | {"If-None-Match": f'"x", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    service.post("/v1/runs", {"run_id": RUN, "agent_id": "my_agent", "labels": {"seen": True}})
    changed = httpx.get(url, headers=headers | {"If-None-Match": tag})
    assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)


def test_head_is_get_without_the_body(service):
    headers = {"Authorization": f"Bearer {service.query_key}"}
    url = f"{service.server.query_url}/v1/runs"
    whole, head = httpx.get(url, headers=headers), httpx.head(url, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert httpx.head(url, headers={"Authorization": "Bearer atk_none"}).status_code == 401


def test_large_answers_are_compressed_for_clients_that_take_it(service):
    url = f"{service.server.query_url}/openapi.json"
    packed, plain = (httpx.get(url, headers={"Accept-Encoding": name}) for name in ("gzip", "identity"))
    assert (packed.headers.get("content-encoding"), plain.headers.get("content-encoding")) == ("gzip", None)
    assert packed.json() == plain.json() and packed.headers["etag"] == plain.headers["etag"]


def test_stats_are_by_version_and_by_time_with_tokens_and_cost(service):
    calls = [
        ("r-1", "1.0", 0, {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.5, "currency": "USD"}),
        ("r-2", "1.1", 3600, {"prompt_tokens": 7, "completion_tokens": 1}),
        ("r-3", "1.1", 7200, None),
    ]
    for number, (run_id, version, at_s, used) in enumerate(calls, start=1):
        began = stamp(at_s)
        run = {"run_id": run_id, "agent_id": "a", "agent_version": version, "started_at": began}
        service.post("/v1/runs", run | {"status": "failure" if run_id == "r-2" else "success"})
        if used is not None:
            extra = {"model_name": "gpt-4o", "call_id": "c1", **used}
            service.post("/v1/events", batch(event(number, kind="model.call", run_id=run_id, extra=extra)))
    stats = service.get("/v1/stats", interval="hour").json()
    assert stats["usage"] == {
        "model_calls": 2, "prompt_tokens": 17, "completion_tokens": 6, "cost": {"USD": 0.5},
    }  # fmt: skip
    versions = {each["agent_version"]: each for each in stats["versions"]}
    assert [versions["1.1"][name] for name in ("runs", "failed", "prompt_tokens")] == [2, 1, 7]
    assert versions["1.0"]["cost"] == {"USD": 0.5}
    hours = [(each["runs"], each["failed"], each["prompt_tokens"]) for each in stats["intervals"]]
    assert hours == [(1, 0, 10), (1, 1, 7), (1, 0, 0)]
    assert stats["intervals"][0]["begins_at"].endswith(":00:00.000000Z")
    assert service.get("/v1/stats").json()["intervals"] is None
    assert service.get("/v1/stats", agent_version="1.0").json()["usage"]["prompt_tokens"] == 10


def delete(service, path, key):
    url = service.server.ingest_url + path
    return httpx.delete(url, headers={"Authorization": f"Bearer {key}"}).status_code


@pytest.mark.further
def test_a_run_and_a_session_are_deleted_with_all_that_belongs_to_them(service):
    with open_store(service.server.settings.database_url, role="admin") as store:
        key = store.issue_key(service.project, [Scope.DELETE]).token
    assert service.post("/v1/runs", document()).status_code == 201
    service.post("/v1/events", batch(event(1, run_id="r-1"), event(2)))
    assert delete(service, f"/v1/runs/{RUN}", service.ingest_key) == 403
    assert [delete(service, f"/v1/runs/{RUN}", key) for _ in range(2)] == [204, 404]
    assert service.get("/v1/runs").json()["items"] == []
    assert service.get(f"/v1/runs/{RUN}/steps").status_code == 404
    assert service.post("/v1/runs", document()).status_code == 201, "it may be sent again"
    assert len(service.get("/v1/events", session_uid=SESSION).json()["items"]) == 2
    assert [delete(service, f"/v1/sessions/{SESSION}", key) for _ in range(2)] == [204, 404]
    assert service.get("/v1/sessions").json()["items"] == []
    assert service.get("/v1/events", session_uid=SESSION).json()["items"] == []
    assert delete(service, "/v1/sessions/x", key) == 422
    assert len(service.get("/v1/runs").json()["items"]) == 1


def test_another_projects_data_cannot_be_deleted(service):
    with open_store(service.server.settings.database_url, role="admin") as store:
        key = store.issue_key(f"{service.project}-other", [Scope.DELETE]).token
    service.post("/v1/runs", document())
    service.post("/v1/events", batch(event(1)))
    assert delete(service, f"/v1/runs/{RUN}", key) == delete(service, f"/v1/sessions/{SESSION}", key) == 404
    assert len(service.get("/v1/runs").json()["items"]) == 1


def test_what_is_older_than_an_age_is_deleted_and_a_dry_run_says_how_much(service):
    service.post("/v1/runs", document())  # of 2026
    service.post("/v1/runs", {"run_id": "r-new", "agent_id": "a"})
    service.post(
        "/v1/events", batch(event(1), event(2, run_id="r-old", kind="run.started", extra={"agent": "a"}))
    )
    with open_store(service.server.settings.database_url, role="admin") as store:
        project = store.find_project(service.project)
        recent = [
            each["run_id"] for each in service.get("/v1/runs", since="2026-11-24T00:00:00Z").json()["items"]
        ]
        before_us = 1_795_305_600_000_000  # 2026-11-22
        told = store.count_older(project, before_us)
        done = store.delete_older(project, before_us)
    assert told == done == (2, 1, 2)
    assert [run["run_id"] for run in service.get("/v1/runs").json()["items"]] == ["r-new"] == recent
    assert service.get("/v1/sessions").json()["items"] == []
