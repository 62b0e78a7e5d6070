"""Requests made of the OpenAPI documents, valid ones and broken ones: no 5xx, and every answer is as they say.

schemathesis makes the requests and judges the answers. Half of those that name something name what is there,
so that answers with contents are judged, too.
"""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

# It refuses more than SQLite does.
pytestmark = pytest.mark.database("postgresql")


@pytest.fixture(scope="module", autouse=True)
def library():
    """Loaded by the first test here, and not by each process of a test run."""
    global schemathesis
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")


SESSION = str(uuid.UUID("019a9f00-0000-7000-8000-000000000001"))
RUN = "019a9f00-0000-7000-8000-000000000002"
NAMES = {
    "run_id": RUN,
    "trace_id": RUN,
    "session_uid": SESSION,
    "agent_id": "creator_001",
    "event_id": "k3v7q2ma-4",
}
LEFT_OUT = {
    "positive_data_acceptance",  # a time, a label or a cursor is more than its schema can say
    "ignored_auth",  # a program on this machine needs no key
    "unsupported_method",
}
MORE_IS_TAKEN = {
    "POST /v1/events",  # refuses item by item
    "POST /v1/runs",  # an optional text or label that may not be kept is dropped, and counted in the answer
    "POST /v1/traces",  # the JSON of protobuf takes null for any field that is not there
}

DOCUMENT = {
    "run_id": "run-1",
    "agent_id": "a",
    "steps": [{"step_type": "tool", "metadata": {"attempt": 3}}],
}


@pytest.fixture
def filled(running) -> Any:
    """The service with a run, its steps, a failure, and events that led to one another."""
    events: list[dict[str, Any]] = [
        {"kind": "run.started", "extra": {"agent": "creator_001", "labels": {"agent_version": "1.0"}}},
        {"kind": "learning_update", "extra": {"learning_stage": "bandit"}},
        {
            "kind": "error",
            "level": "ERROR",
            "extra": {"error_type": "TimeoutError", "fingerprint": "aa11bb22"},
        },
        {
            "kind": "agent_action",
            "span_id": "a" * 16,
            "causes": ["k3v7q2ma-2"],
            "extra": {
                "action_type": "publish",
                "duration_ms": 2.5,
                "error_id": "k3v7q2ma-3",
                "outcome": "error",
            },
        },
        {"kind": "run.finished", "extra": {"ok": False, "status": "failure", "error_id": "k3v7q2ma-3"}},
    ]
    for number, event in enumerate(events, start=1):
        event |= {"id": f"k3v7q2ma-{number}", "timestamp": f"2026-11-20T10:30:0{number}Z"}
        event |= {"run_id": RUN, "agent_id": "creator_001"}
    # of no run: the session outlives the deletion of its run
    events.append({"kind": "log", "id": "k3v7q2ma-9", "timestamp": "2026-11-20T10:31:00Z"})
    for path, body in (
        ("/v1/events", {"session": {"session_uid": SESSION}, "events": events}),
        ("/v1/runs", DOCUMENT),
    ):
        assert httpx.post(running.ingest_url + path, json=body, timeout=60).is_success
    return running


def requests_of(operation: Any, mode: Any) -> st.SearchStrategy[Any]:
    """Requests in which everything is drawn, and such as name what is there."""
    drawn = operation.as_strategy(generation_mode=mode)
    if mode is schemathesis.GenerationMode.NEGATIVE:
        return drawn
    in_path = {each.name: NAMES[each.name] for each in operation.path_parameters if each.name in NAMES}
    in_query = {each.name: NAMES[each.name] for each in operation.query if each.name in NAMES}
    if not in_path and not in_query:
        return drawn
    named = operation.as_strategy(
        generation_mode=mode, path_parameters=in_path or None, query=in_query or None
    )
    return st.one_of(drawn, named)


def judged(url: str, operation: Any, mode: Any, count: int) -> Counter[int]:
    """How often which status came back; every answer has passed schemathesis's checks."""
    statuses: Counter[int] = Counter()
    left_out = LEFT_OUT | ({"negative_data_rejection"} if operation.label in MORE_IS_TAKEN else set())
    excluded = [each for each in schemathesis.checks.CHECKS.get_all() if each.__name__ in left_out]
    if operation.label == "POST /v1/runs" and mode is schemathesis.GenerationMode.POSITIVE:
        # hardly ever is a run drawn all of which is right
        case = operation.Case(body=DOCUMENT, media_type="application/json")
        answer = case.call(base_url=url, timeout=60)
        statuses[answer.status_code] += 1
        case.validate_response(answer, excluded_checks=excluded)

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(requests_of(operation, mode))
    def ask(case: Any) -> None:
        answer = case.call(base_url=url, timeout=60)
        statuses[answer.status_code] += 1
        case.validate_response(answer, excluded_checks=excluded)

    try:
        ask()
    except Unsatisfiable:
        assert (
            mode is schemathesis.GenerationMode.NEGATIVE
        )  # any text is a run's id: nothing can be wrong with it
    return statuses


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
@pytest.mark.parametrize("role", ["ingest", "query"])
def test_no_request_gets_a_5xx_or_an_answer_off_its_schema(filled, role, mode, count):
    url = filled.ingest_url if role == "ingest" else filled.query_url
    document = httpx.get(f"{url}/openapi.json", timeout=60).json()
    statuses: dict[str, Counter[int]] = {}
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()
        statuses[operation.label] = judged(url, operation, schemathesis.GenerationMode[mode], count)
    assert len(statuses) == sum(map(len, document["paths"].values()))
    if mode == "POSITIVE":
        assert all(statuses.values()), statuses
        assert sum(each[200] for each in statuses.values()) > 2 * count
        answered = {label for label, counts in statuses.items() if set(counts) & {200, 201, 204}}
        # a request must be drawn often before all of it is right
        wanted = {label for label in statuses if count > 3 and " /v1/" in label}
        assert wanted <= answered, (wanted - answered, statuses)
    else:
        assert sum(each[422] + each[400] for each in statuses.values()) > 5 * count / 2


def test_an_answer_off_its_schema_would_be_noticed(filled):
    document = httpx.get(f"{filled.query_url}/openapi.json", timeout=60).json()
    document["components"]["schemas"]["RunAnswer"]["properties"]["status"] = {"type": "integer"}
    operation = schemathesis.openapi.from_dict(document)["/v1/runs"]["GET"]
    with pytest.raises(BaseException, match="Response violates schema"):
        judged(filled.query_url, operation, schemathesis.GenerationMode.POSITIVE, 20)
