"""Every parameter of every route and every field of an event with values at the edges: no 5xx, one shape of refusal."""

from __future__ import annotations

import base64
import dataclasses
import math
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest

from Agent.export import read_batch
from Agent.store import Scope, open_store

pytestmark = pytest.mark.database("sqlite", "postgresql")

SESSION = "019a9f00-0000-7000-8000-000000000001"
WRITER = "k3v7q2ma"
KNOWN = {
    "session_uid": SESSION,
    "run_id": "r1",
    "trace_id": "r1",
    "agent_id": "ag",
    "event_id": f"{WRITER}-3",
}


def cursor(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


CURSORS = [
    cursor(each)
    for each in (
        [0, ""], [-1, "x"], [2**63 - 1, "x"], [2**63, "x"], [-(2**63), SESSION], [True, "x"], [False, SESSION], [1.5, "x"],
        [0, "\0"], [0, 1], [None, "x"], [0], [], {}, [0, "x", 1], [0, "a" * 900], [2**62, f"{WRITER}-{10**18}"],
    )
]  # fmt: skip
TEXTS = [
    "", " ", "a", "~", "0", "-0", "-1", "1.5", "NaN", "Infinity", "1e400", "9223372036854775807", "9223372036854775808",
    "0x10", "1_000", "\u0661", "null", "true", "\0", "a\0b", "\n", "\x7f", "\u202e", "\ufeff", "e\u0301", "\U0001f600",
    "'", '"', "'; DROP TABLE runs; --", "%s", "%00", "$1", ":x", "../..", "a" * 200, "a" * 201, "a" * 5_000,
    "1970-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-23:59", "2026-11-20T10:30:60Z", SESSION.upper(), SESSION.replace("-", ""), "0" * 32,
    f"{WRITER}-0", f"{WRITER}-9223372036854775807", f"{WRITER}-9999999999999999999", "running", "ERROR",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 0.5, -5, 1e15, 1e300, -1e300, 2**31, 2**53, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64 - 1, "", "a", "a\0b",
    "~abc", "a" * 300, [], {}, [None], {"": 0}, {"a": {"b": [1]}}, {"agent_version": "1"}, {"x": None}, ["k3v7q2ma-1"],
    "2026-11-20T10:30:01Z", "9999-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "success", "tool", SESSION,
]  # fmt: skip
KINDS = "agent_action error run.started run.finished run.failure step.started step.finished tool.call".split()
INSIDE = (
    "action_type outcome duration_ms latency_ms state message labels ok status error_id step_id step_span step_type metadata "
    "fingerprint failure_type failure_code failure_message parent_run_id agent ref digest seq"
).split()
BESIDE = "agent_id agent_role run_id span_id parent_span_id causes tick level state message exception".split()


def drawn_event(chance: random.Random, number: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "id": f"{WRITER}-{number}",
        "timestamp": chance.choice(
            ["2026-11-20T10:30:01Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
        ),
        "kind": chance.choice(KINDS),
        "run_id": "r1",
        "agent_id": "ag",
        "span_id": "s" * 16,
        "extra": {key: chance.choice(VALUES) for key in chance.sample(INSIDE, 6)},
    }
    if chance.random() < 0.5:
        event[chance.choice(BESIDE)] = chance.choice(VALUES)
    return event


def drawn_run(chance: random.Random) -> dict[str, Any]:
    step = {
        key: chance.choice(VALUES)
        for key in chance.sample(["step_id", "seq", "latency_ms", "metadata", "name"], 2)
    }
    run = {"run_id": "r1", "agent_id": "ag", "steps": [step], "started_at": "2026-11-20T10:30:01Z"}
    more = ["metadata", "ended_at", "status", "agent_version", "failure", "failures"]
    return run | {key: chance.choice(VALUES) for key in chance.sample(more, 2)}


def batch_of(chance: random.Random, first: int) -> dict[str, Any]:
    events = [drawn_event(chance, first + place) for place in range(20)]
    return {
        "session": {"session_uid": SESSION},
        "content": chance.random() < 0.7,
        "events": events,
        "runs": [drawn_run(chance) for _ in range(3)],
    }


def numbers_in(value: Any) -> Iterator[float]:
    """The numbers in columns; those in documents are bounded by JSON alone."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from numbers_in(getattr(value, field.name))
    elif isinstance(value, tuple):
        for each in value:
            yield from numbers_in(each)
    elif isinstance(value, (int, float)):
        yield value


@pytest.mark.further
@pytest.mark.database("sqlite")
def test_whatever_numbers_are_sent_those_of_columns_fit_them():
    chance = random.Random(20261123)
    count = 0
    for _ in range(300):
        batch, _dropped = read_batch(batch_of(chance, 1), content=True)
        for number in numbers_in((batch.events, batch.runs)):
            count += 1
            assert math.isfinite(number) if isinstance(number, float) else abs(number) < 1 << 63, number
    assert count > 10_000


@pytest.mark.further
@pytest.mark.parametrize("count", [150, pytest.param(5_000, marks=pytest.mark.slow)])
def test_no_drawn_question_or_batch_gets_a_5xx(service, running, count):
    with open_store(running.settings.database_url, role="admin") as store:
        store.set_content(service.project, allowed=True)
        replay_key = store.issue_key(service.project, [Scope.REPLAY]).token
    operations = [
        (url, replay_key if path.startswith("/api/") else key, path, operation.get("parameters", []))
        for url, key in ((running.ingest_url, service.ingest_key), (running.query_url, service.query_key))
        for path, methods in httpx.get(f"{url}/openapi.json", timeout=60).json()["paths"].items()
        for method, operation in methods.items()
        if method == "get"
    ]
    chance = random.Random(count)
    statuses: Counter[int] = Counter()

    def judge(answer: httpx.Response, asked: object) -> None:
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, (asked, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"code", "message", "path", "remedy"}, asked

    def drawn(name: str) -> str:
        if name in KNOWN and chance.random() < 0.7:
            return KNOWN[name]
        return chance.choice(CURSORS if name == "cursor" else TEXTS)

    with httpx.Client(timeout=60) as client:
        for number in range(count):
            if number % 3 == 0:
                path, body = "/v1/events", batch_of(chance, 20 * number + 1)
                if number % 2:
                    path, body = "/v1/runs", drawn_run(chance)
                headers = {"Authorization": f"Bearer {service.ingest_key}"}
                judge(client.post(running.ingest_url + path, json=body, headers=headers), (path, body))
                continue
            url, key, path, parameters = chance.choice(operations)
            query = []
            for each in parameters:
                text = quote(drawn(each["name"]), safe="")
                if each["in"] == "path":
                    path = path.replace(f"{{{each['name']}}}", text or "x")
                elif each["name"] in KNOWN or chance.random() < 0.3:
                    query.append(f"{each['name']}={text}")
            address = f"{url}{path}?{'&'.join(query)}"
            judge(client.get(address, headers={"Authorization": f"Bearer {key}"}), address)
    assert statuses[200] > count // 5 and statuses[422] > count // 20, statuses
