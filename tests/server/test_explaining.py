"""Journeys, errors and causes over HTTP: what the stored rows tell, in pages, and of one project alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx
import pytest

from Agent.event.ids import uuid7
from Agent.store import open_store

T0 = datetime(2026, 11, 20, 10, 30)
SESSION = uuid7(1_795_170_645_000, b"explaining")
RUN = uuid7(1_795_170_645_000, b"explains.7")
PRINT, OTHER = "aa11bb22cc33dd44", "ff00ff00ff00ff00"


def stamp(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).isoformat(timespec="microseconds") + "Z"


def event(number: int, seconds: float | None = None, *, writer: str = "k3v7q2ma", **changes) -> dict:
    made = {
        "timestamp": stamp(number if seconds is None else seconds),
        "id": f"{writer}-{number}",
        "kind": "agent_action",
        "agent_id": "creator_001",
        "extra": {"action_type": "publish"},
    } | changes
    return {key: value for key, value in made.items() if value is not None}


def error(number: int, fingerprint: str | None = PRINT, **changes) -> dict:
    extra = {"error_type": "TimeoutError", "failure_type": "tool", "failure_code": "timeout"}
    if fingerprint is not None:
        extra["fingerprint"] = fingerprint
    return event(number, kind="error", level="ERROR", extra=extra, **changes)


def send(service, *events: dict, session_uid: str = SESSION) -> None:
    body = {"session": {"session_uid": session_uid}, "events": list(events)}
    answer = service.post("/v1/events", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["refused"] == []


def items(service, path: str, **parameters) -> list[dict]:
    answer = service.get(path, **parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def every_page(service, path: str, **parameters) -> list[dict]:
    seen, cursor = [], None
    for _ in range(100):
        page = service.get(path, **parameters, **({"cursor": cursor} if cursor else {})).json()
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return seen
    raise AssertionError("the pages do not end")


@pytest.mark.integration
def test_a_journey_is_in_order_with_the_time_between_its_steps(service):
    span = {"extra": {"action_type": "publish", "duration_ms": 500.0}}
    send(
        service,
        event(3, 9.5, span_id="aaaaaaaaaaaaaaa3", **span),
        event(1, 1.0),
        event(2, 2.0, span_id="aaaaaaaaaaaaaaa2", **span),
        event(4, 4.0, agent_id="moderator_001"),
    )
    steps = items(service, "/v1/journeys", session_uid=SESSION, agent_id="creator_001")
    assert [(step["id"], step["started_at"]) for step in steps] == [
        ("k3v7q2ma-1", stamp(1)),
        ("k3v7q2ma-2", stamp(1.5)),
        ("k3v7q2ma-3", stamp(9)),
    ]
    assert [step["gap_ms"] for step in steps] == [None, 500.0, 7000.0]
    # what happened inside a step is no gap
    send(service, event(5, 20.0, parent_span_id="aaaaaaaaaaaaaaa6"))
    send(service, event(6, 21.0, span_id="aaaaaaaaaaaaaaa6", extra={"duration_ms": 5000.0}))
    steps = items(service, "/v1/journeys", session_uid=SESSION, agent_id="creator_001")
    assert [step["gap_ms"] for step in steps[-2:]] == [10500.0, 0.0]


@pytest.mark.further
def test_a_journey_says_how_many_events_of_its_writers_are_missing(service):
    send(
        service,
        event(2),
        event(3, agent_id="moderator_001"),
        event(5),
        event(9, agent_id=None),
        event(12),
        event(1, 50, writer="zzzzzzzz"),
        event(4, 51, writer="zzzzzzzz"),
        event(9_000, 60),
        event(9_001, 61),
    )
    asked = {"session_uid": SESSION, "agent_id": "creator_001"}
    steps = items(service, "/v1/journeys", **asked)
    expected = [
        None,
        1,
        5,
        None,
        2,
        None,
        0,
    ]  # 4; 6, 7, 8, 10, 11; another writer: 2, 3; too many to look for
    assert [step["missing"] for step in steps] == expected
    # a page goes on where the last one ended
    pages = every_page(service, "/v1/journeys", limit=2, **asked)
    assert [step["id"] for step in pages] == [step["id"] for step in steps]
    assert [step["gap_ms"] for step in pages] == [step["gap_ms"] for step in steps]
    assert [step["missing"] for step in pages[:3]] == [None, 1, 5]


def test_a_journey_can_be_of_a_run_and_of_a_stretch_of_time(service):
    send(service, event(1), event(2, run_id=RUN), event(3, run_id=RUN), event(4))
    found = items(service, "/v1/journeys", run_id=RUN, agent_id="creator_001")
    assert [step["id"] for step in found] == ["k3v7q2ma-2", "k3v7q2ma-3"]
    found = items(
        service, "/v1/journeys", session_uid=SESSION.upper(), agent_id="creator_001", since=stamp(3)
    )
    assert [step["id"] for step in found] == ["k3v7q2ma-3", "k3v7q2ma-4"]
    assert items(service, "/v1/journeys", run_id="none", agent_id="creator_001") == []


@pytest.mark.further
def test_errors_are_grouped_by_fingerprint_the_latest_first(service):
    send(
        service,
        error(1),
        error(2, agent_id="moderator_001"),
        error(3, OTHER),
        error(4, run_id=RUN),
        event(5),
        error(6, None),
        event(7, level="ERROR", kind="log", extra={}),
    )
    of_log, nameless, first, second = items(service, "/v1/errors")
    assert (first["fingerprint"], first["count"], first["agents"]) == (PRINT, 3, 2)
    assert first["agent_ids"] == ["creator_001", "moderator_001"]
    assert (first["first_seen"], first["last_seen"]) == (stamp(1), stamp(4))
    assert first["example"] == {"session_uid": SESSION, "event_id": "k3v7q2ma-4", "run_id": RUN}
    assert (first["kind"], first["name"]) == ("error", "TimeoutError")
    assert (first["failure_type"], first["failure_code"]) == ("tool", "timeout")
    assert (second["fingerprint"], second["count"], second["agent_ids"]) == (OTHER, 1, ["creator_001"])
    assert (nameless["fingerprint"], nameless["name"], nameless["count"]) == (None, "TimeoutError", 1)
    assert (of_log["fingerprint"], of_log["kind"], of_log["count"]) == (None, "log", 1)
    assert [group["count"] for group in items(service, "/v1/errors", agent_id="moderator_001")] == [1]
    assert [group["count"] for group in items(service, "/v1/errors", run_id=RUN)] == [1]
    assert [group["count"] for group in items(service, "/v1/errors", since=stamp(4), until=stamp(6))] == [1]
    assert [
        group["fingerprint"] for group in items(service, "/v1/errors", session_uid=SESSION, until=stamp(4))
    ] == [
        OTHER,
        PRINT,
    ]


@pytest.mark.further
def test_pages_of_errors_hold_every_group_once(service):
    prints = [f"{number:016x}" for number in range(11)]
    # several come last at the same moment, so that the key has to tell them apart
    send(service, *(error(n + 1, each, seconds=n // 4) for n, each in enumerate(prints)))
    groups = every_page(service, "/v1/errors", limit=3)
    assert sorted(group["fingerprint"] for group in groups) == prints
    assert [group["last_seen"] for group in groups] == sorted(
        (group["last_seen"] for group in groups), reverse=True
    )
    assert groups == items(service, "/v1/errors")


@pytest.mark.further
def test_pages_of_errors_go_on_behind_a_fingerprint_of_any_length(service, running):
    with open_store(running.settings.database_url, role="admin") as store:
        store.set_content(service.project, allowed=True)
    prints = ["\x01" * 5_000, "\N{GRINNING FACE}" * 5_000, '"' * 5_000]
    body = {
        "session": {"session_uid": SESSION},
        "content": True,
        "events": [error(n + 1, each) for n, each in enumerate(prints)],
    }
    assert service.post("/v1/events", body).json()["accepted"] == 3
    assert len(every_page(service, "/v1/errors", limit=1)) == 3


def test_an_error_of_many_agents_names_those_whom_it_met_most(service):
    number = 0
    events = []
    for agent in range(25):
        for _ in range(agent + 1):
            number += 1
            events.append(error(number, agent_id=f"agent_{agent:02}"))
    send(service, *events)
    (group,) = items(service, "/v1/errors")
    assert (group["count"], group["agents"]) == (325, 25)
    assert group["agent_ids"] == [f"agent_{agent:02}" for agent in range(24, 4, -1)]


def test_causes_are_the_recorded_links_and_the_inferred_ones_each_with_its_reason(service):
    sent = {"direction": "sent", "message_id": "m-1", "sender": "boss", "recipient": "creator_001"}
    send(
        service,
        event(1, kind="learning_update", extra={"learning_stage": "bandit"}),
        event(2, kind="agent_message", agent_id="boss", extra=sent),
        event(3, kind="agent_message", extra=sent | {"direction": "received"}),
        event(4, kind="metric", agent_id=None, extra={"metric_name": "load"}),
        error(5, parent_span_id="aaaaaaaaaaaaaaaa"),
        event(
            6,
            span_id="aaaaaaaaaaaaaaaa",
            parent_span_id="bbbbbbbbbbbbbbbb",
            causes=["k3v7q2ma-4", "zzzzzzzz-1"],
            extra={
                "action_type": "publish",
                "duration_ms": 2500.0,
                "outcome": "error",
                "error_id": "k3v7q2ma-5",
            },
        ),
        event(7, span_id="bbbbbbbbbbbbbbbb", extra={"action_type": "day", "duration_ms": 6000.0}),
    )
    found = items(service, "/v1/causes", session_uid=SESSION, event_id="k3v7q2ma-6")
    edges = {each["event"]["id"]: each for each in found}
    assert {
        name: (each["edge"]["basis"], each["edge"]["rule"], each["hops"]) for name, each in edges.items()
    } == {
        "k3v7q2ma-5": ("recorded", "error", 1),
        "k3v7q2ma-4": ("recorded", "cause", 1),
        "k3v7q2ma-7": ("recorded", "span", 1),
        "k3v7q2ma-1": ("inferred", "learning_before_action", 1),
        "k3v7q2ma-3": ("inferred", "message_before_decision", 1),
        "k3v7q2ma-2": ("recorded", "message", 2),
    }
    assert edges["k3v7q2ma-5"]["edge"]["reason"] == "it ended with the error 'TimeoutError'"
    assert edges["k3v7q2ma-7"]["edge"]["reason"] == "it happened inside 'day'"
    assert edges["k3v7q2ma-2"]["inferred_hops"] == 1
    assert all(each["edge"]["reason"] for each in found)
    assert [each["hops"] for each in found] == sorted(each["hops"] for each in found)


@pytest.mark.further
def test_causes_end_where_the_lookback_does_and_where_nothing_is_stored(service):
    send(service, event(1, 0.0), event(2, 100.0, causes=["k3v7q2ma-1"]))
    asked = {"session_uid": SESSION, "event_id": "k3v7q2ma-2"}
    assert items(service, "/v1/causes", **asked) == []
    assert len(items(service, "/v1/causes", lookback_s=101, **asked)) == 1
    missing = service.get("/v1/causes", session_uid=SESSION, event_id="k3v7q2ma-9")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.further
def test_content_of_any_shape_leads_to_an_answer(service):
    with open_store(service.server.settings.database_url, role="admin") as store:
        store.set_content(service.project, allowed=True)
    odd = [[], {}, 7, "x", True, {"set": 3}, {"set": {"mood": "low"}}]
    names = "error_id message_id direction sender new_state old_state fingerprint failure_type".split()
    events = []
    for number, value in enumerate(odd, start=1):
        kind = ["error", "agent_message", "state_change"][number % 3]
        extra = dict.fromkeys(names, value)
        events.append(event(number, kind=kind, level="ERROR", extra=extra, message=value, state=value))
    body = {"content": True, "session": {"session_uid": SESSION}, "events": events}
    assert service.post("/v1/events", body).json()["accepted"] == len(odd)
    assert len(items(service, "/v1/errors")) >= 1
    assert len(items(service, "/v1/journeys", session_uid=SESSION, agent_id="creator_001")) == len(odd)
    for number in range(1, len(odd) + 1):
        answer = service.get("/v1/causes", session_uid=SESSION, event_id=f"k3v7q2ma-{number}")
        assert answer.status_code == 200, answer.text


@pytest.mark.further
@pytest.mark.parametrize(
    "path",
    [
        "/v1/journeys",
        "/v1/journeys?agent_id=a",
        f"/v1/journeys?session_uid={SESSION}",
        f"/v1/journeys?session_uid={SESSION}&agent_id=a&cursor=x",
        "/v1/errors?limit=0",
        "/v1/errors?since=yesterday",
        "/v1/causes",
        f"/v1/causes?session_uid={SESSION}",
        f"/v1/causes?session_uid={SESSION}&event_id=nothing",
        f"/v1/causes?session_uid={SESSION}&event_id=k3v7q2ma-1&lookback_s=-1",
        f"/v1/causes?session_uid={SESSION}&event_id=k3v7q2ma-1&lookback_s=nan",
    ],
)
def test_a_question_that_is_none_is_told_what_is_wrong(service, path):
    key = {"Authorization": f"Bearer {service.query_key}"}
    answer = httpx.get(service.server.query_url + path, headers=key, timeout=60)
    assert answer.status_code == 422, answer.text
    assert set(answer.json()["error"]) == {"code", "message", "path", "remedy"}


def test_another_project_gets_nothing_of_it(service, running):
    send(service, error(1), event(2, causes=["k3v7q2ma-1"]))
    with open_store(running.settings.database_url, role="admin") as store:
        stranger = store.issue_key("stranger", ["query"]).token
    assert service.get("/v1/errors", key=stranger).json()["items"] == []
    asked = {"session_uid": SESSION, "agent_id": "creator_001"}
    assert service.get("/v1/journeys", key=stranger, **asked).json()["items"] == []
    asked = {"session_uid": SESSION, "event_id": "k3v7q2ma-2"}
    assert service.get("/v1/causes", key=stranger, **asked).status_code == 404
    assert len(items(service, "/v1/causes", **asked)) == 1


def test_an_event_may_name_more_causes_than_a_statement_takes_parameters(service, running):
    named = [f"k3v7q2ma-{number}" for number in range(1, 70_001)]
    send(service, event(1), event(70_001, 5, causes=named[:1000]))
    found = items(service, "/v1/causes", session_uid=SESSION, event_id="k3v7q2ma-70001")
    assert [each["event"]["id"] for each in found] == ["k3v7q2ma-1"]
    with open_store(running.settings.database_url, role="query") as store:
        project = store.find_project(service.project)
        around = {"around": named, "within": named, "since_us": 0, "until_us": 2**62}
        assert len(store.events_by_id(project, SESSION, named)) == 1
        assert store.events_of_spans(project, SESSION, **around) == []
