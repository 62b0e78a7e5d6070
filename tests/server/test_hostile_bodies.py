"""Bodies that nobody sends in good faith: none is stored, none gets a 5xx, none is repeated in the answer."""

from __future__ import annotations

import asyncio
import gzip
import random
import threading
import time
import zlib

import httpx
import orjson
import pytest
import sqlalchemy.exc
import zstandard
from sqlalchemy import text

from Agent.server import ServerSettings, make_app
from Agent.server import limits as bodies
from Agent.server.errors import Problem
from Agent.server.limits import json_of
from Agent.server.routes import otlp

SECRET = "hostile-canary-7f3a9c"
PATHS = ("/v1/runs", "/v1/events")


@pytest.fixture
def app(tmp_path):
    settings = ServerSettings(
        f"sqlite:///{tmp_path / 'service.db'}", max_sent_bytes=1 << 20, max_unpacked_bytes=1 << 21
    )
    made = make_app(settings, role="ingest")
    yield made
    made.state.store.close()


def send(app, requests):
    """The answers of an app to (path, body, headers), one after the other."""

    async def all_of_them():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [
                await client.post(path, content=body, headers={"Content-Type": "application/json"} | headers)
                for path, body, headers in requests
            ]

    return asyncio.run(all_of_them())


def rows_in(app) -> dict[str, int]:
    with app.state.store.engine.connect() as connection:
        return {
            table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()
            for table in ("events", "runs", "steps", "failures", "sessions")
        }


SCALARS = [
    None, True, 0, -1, 1.5, 1e308, 2**63, 2**64 - 1, -(2**63), "", "x" * 300, f"{SECRET} said the user", "\0", "\ud7ff",
    "'; DROP TABLE runs; --", "{{7*7}}", "${jndi:ldap://x}", "../../etc/passwd", "<script>", "%s%n", "😀" * 50, [], {},
]  # fmt: skip
KEYS = [
    "run_id", "agent_id", "status", "steps", "failures", "failure", "started_at", "session", "session_uid", "events", "runs",
    "wire_version", "content", "id", "kind", "timestamp", "extra", "metadata", "step_type", "name", "", "__proto__", "a" * 500,
]  # fmt: skip


def value(chance: random.Random, depth: int = 0):
    kind = chance.random()
    if depth > 4 or kind < 0.5:
        return chance.choice(SCALARS)
    if kind < 0.65:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(KEYS): value(chance, depth + 1) for _ in range(chance.randrange(6))}


def hostile(chance: random.Random) -> bytes:
    sort = chance.random()
    if sort < 0.7:
        return orjson.dumps(value(chance))
    good = orjson.dumps({"run_id": value(chance), "agent_id": value(chance), "steps": [value(chance)]})
    if sort < 0.8:
        return good[: chance.randrange(len(good))]
    if sort < 0.9:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
    depth = chance.choice([10, 200, 1_000, 50_000])
    opened, closed = chance.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return opened * depth + b"1" + closed * depth


@pytest.mark.integration
@pytest.mark.parametrize("count", [1_000, pytest.param(12_000, marks=pytest.mark.slow)])
def test_no_hostile_body_crashes_is_stored_or_comes_back(app, count):
    chance = random.Random(20261120 + count)
    requests = [(chance.choice(PATHS), hostile(chance), {}) for _ in range(count)]
    answers = send(app, requests)
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {200, 201, 400, 413, 422}, statuses
    assert {400, 422} <= statuses
    for answer in answers:
        assert SECRET not in answer.text
        assert "Traceback" not in answer.text
    # what was taken is what stands in a form that may be stored; no free text is among it
    with app.state.store.engine.connect() as connection:
        for table in ("events", "runs", "steps", "failures", "sessions"):
            assert SECRET not in repr(connection.execute(text(f"SELECT * FROM {table}")).all())


@pytest.mark.integration
def test_bodies_that_grow_are_stopped_at_the_limit(app):
    big = b"[" + b"0," * (40 << 20) + b"0]"
    packed = [
        ("gzip", gzip.compress(big)),
        ("deflate", zlib.compress(big)),
        ("zstd", zstandard.ZstdCompressor().compress(big)),
        ("gzip", gzip.compress(gzip.compress(big))),
    ]
    answers = send(app, [(path, body, {"Content-Encoding": name}) for path in PATHS for name, body in packed])
    assert {answer.status_code for answer in answers[:3]} == {413}
    assert {answer.status_code for answer in answers} <= {400, 413}
    assert "unpacked" in answers[0].json()["error"]["message"]


def test_a_body_that_is_too_large_is_refused_as_it_comes(app):
    async def endless():
        while True:
            yield b"x" * 65536

    answers = send(app, [("/v1/runs", b"[" + b"0," * (1 << 20) + b"0]", {})])
    assert answers[0].status_code == 413
    answers = send(app, [("/v1/events", endless(), {})])
    assert answers[0].status_code == 413
    assert "as sent" in answers[0].json()["error"]["message"]


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, gzip", "x" * 1000, "identity;q=1"])
def test_an_encoding_that_is_not_taken_is_refused(app, encoding):
    answers = send(app, [("/v1/runs", b"{}", {"Content-Encoding": encoding})])
    assert answers[0].status_code == 415


def test_a_refused_body_leaves_nothing(app):
    before = rows_in(app)
    run = {"run_id": "r", "agent_id": "a", "status": "no such status", "steps": [{"step_type": 7}]}
    wrong = [b"", b"nonsense", b"[]", b"7", b'{"run_id": "r"}', orjson.dumps(run | {"agent_id": ""})]
    answers = send(app, [("/v1/runs", body, {}) for body in wrong])
    assert {answer.status_code for answer in answers} <= {400, 422}
    assert rows_in(app) == before


def test_a_database_that_is_away_is_told_as_such_and_nothing_of_it_leaks(app, monkeypatch):
    from sqlalchemy.exc import OperationalError

    def away(*_args, **_more):
        raise OperationalError("INSERT INTO secret_table", {"x": SECRET}, Exception("password=hunter2"))

    monkeypatch.setattr(app.state.store, "find_project", away)
    answers = send(app, [("/v1/runs", b'{"run_id": "r", "agent_id": "a"}', {})])
    assert answers[0].status_code == 503
    assert int(answers[0].headers["Retry-After"]) > 0
    assert "hunter2" not in answers[0].text and "secret_table" not in answers[0].text


def test_a_bug_of_ours_is_one_sentence_and_no_traceback(app, monkeypatch):
    def broken(*_args, **_more):
        raise RuntimeError(f"{SECRET} in a local variable")

    monkeypatch.setattr(app.state.store, "ingest", broken)
    answers = send(app, [("/v1/runs", b'{"run_id": "r", "agent_id": "a"}', {})])
    assert answers[0].status_code == 500
    assert set(answers[0].json()["error"]) == {"code", "message", "path", "remedy"}
    assert SECRET not in answers[0].text and "RuntimeError" not in answers[0].text


@pytest.mark.further
def test_a_project_that_takes_content_stores_payloads_of_any_shape(app):
    app.state.store.set_content("default", allowed=True)
    chance = random.Random(20261121)
    kinds = [
        "run.started",
        "run.finished",
        "run.failure",
        "step.started",
        "step.finished",
        "error",
        "tool.call",
    ]
    keys = "agent parent_run_id labels status error_id step_id step_span step_type name failure_type failure_code".split()
    keys += "fingerprint metadata failure_message outcome duration_ms error_type message state code".split()
    requests = []
    for number in range(1, 201):
        extra = {chance.choice(keys): value(chance) for _ in range(chance.randrange(8))}
        item = {
            "timestamp": "2026-11-20T10:30:45Z", "id": f"abcdefgh-{number}", "kind": chance.choice(kinds),
            "run_id": chance.choice(["r1", "r2"]), "extra": extra, "state": value(chance), "types": value(chance),
        }  # fmt: skip
        body = {
            "session": {"session_uid": "01a1faff-075e-7c23-890d-c1a7a6022ab5"},
            "content": True,
            "events": [item],
        }
        requests.append(("/v1/events", orjson.dumps(body), {}))
    answers = send(app, requests)
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["accepted"] for answer in answers) == 200


RUN = b'{"run_id": "packed", "agent_id": "a"}'


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.ZstdCompressor().compress)],
)
def test_a_packed_body_is_taken_whole_or_not_at_all(app, encoding, pack):
    whole = pack(RUN)
    bodies = [whole, pack(RUN[:9]) + pack(RUN[9:]), whole[:-3], whole + b"and more", pack(b"") * 2_000, b""]
    answers = send(app, [("/v1/runs", body, {"Content-Encoding": encoding}) for body in bodies])
    assert [answer.status_code for answer in answers] == [201, 200, 400, 400, 400, 400]
    assert all(encoding in answer.json()["error"]["message"] for answer in answers[2:])


def test_what_the_database_says_is_in_the_servers_log_and_not_in_the_answer(app, monkeypatch, caplog):
    from sqlalchemy.exc import OperationalError

    def full(*_args, **_more):
        raise OperationalError("INSERT INTO runs", {"x": SECRET}, Exception("database or disk is full"))

    monkeypatch.setattr(app.state.store, "ingest", full)
    (answer,) = send(app, [("/v1/runs", RUN, {})])
    assert (answer.status_code, "disk" in answer.text) == (503, False)
    assert "disk is full" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.integration
@pytest.mark.parametrize(
    ("part", "values"),
    [(b"[],", 2), (b"{},", 2), (b"7,", 1), (b'"ab",', 1), (b'"\\",",', 1), (b'{"a":1},', 2)],
)
def test_a_body_that_is_made_of_too_many_values_is_refused_before_it_is_read(part, values):
    most = bodies._MAX_VALUES // values
    with pytest.raises(Problem) as refused:
        json_of(b"[" + part * most + b"0]")
    assert refused.value.status == 413
    assert len(json_of(b"[" + part * (most - 1) + b"0]")) == most


@pytest.mark.parametrize("text", [b",[{" * 400_000, b'\\",' * 600_000], ids=["plain", "escaped"])
@pytest.mark.parametrize("end", [b'"]', b"", b"\\"], ids=["whole", "cut", "cut in an escape"])
def test_what_stands_in_a_text_is_no_value_and_is_counted_in_no_time(text, end):
    begun_s = time.monotonic()
    if end == b'"]':
        assert len(json_of(b'["' + text + end)) == 1
    else:
        with pytest.raises(Problem, match="not JSON"):
            json_of(b'["' + text + end)
    assert time.monotonic() - begun_s < 10


def test_large_bodies_are_read_a_few_at_a_time_and_small_ones_beside_them(app, monkeypatch):
    at_once, most = 0, 0
    lock = threading.Lock()

    def slow(unpacked):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        with lock:
            at_once -= 1
        return orjson.loads(unpacked)

    monkeypatch.setattr(bodies, "json_of", slow)

    async def all_at_once(count, body, headers):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            headers = {"Content-Type": "application/json"} | headers
            posts = (client.post("/v1/runs", content=body, headers=headers) for _ in range(count))
            return {answer.status_code for answer in await asyncio.gather(*posts)}

    assert asyncio.run(all_at_once(12, gzip.compress(RUN), {"Content-Encoding": "gzip"})) <= {200, 201}
    assert most == 2
    most = 0
    assert asyncio.run(all_at_once(6, RUN, {})) == {200}
    assert most > 2


@pytest.mark.parametrize(
    ("name", "status"), [("DatabaseError", 503), ("InternalError", 503), ("ProgrammingError", 500)]
)
def test_a_damaged_database_is_the_operators_matter_and_a_wrong_statement_is_ours(
    app, monkeypatch, caplog, name, status
):
    def damaged(*_args, **_more):
        raise getattr(sqlalchemy.exc, name)("INSERT", {"x": SECRET}, Exception("the image is malformed"))

    monkeypatch.setattr(app.state.store, "ingest", damaged)
    (answer,) = send(app, [("/v1/runs", RUN, {})])
    assert answer.status_code == status
    assert ("malformed" in caplog.text) is (status == 503)
    assert SECRET not in answer.text


@pytest.mark.integration
def test_health_answers_while_everybody_else_waits_for_the_database(app, monkeypatch):
    monkeypatch.setattr("Agent.store.database._TURN_S", 5.0)

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            waiting = [
                asyncio.create_task(client.post("/v1/runs", json=orjson.loads(RUN))) for _ in range(60)
            ]
            await asyncio.sleep(1)
            begun_s = time.monotonic()
            health = await client.get("/health")
            took_s = time.monotonic() - begun_s
            return health, took_s, await asyncio.gather(*waiting)

    with app.state.store.writing():
        health, took_s, answers = asyncio.run(ask())
    assert (health.status_code, took_s < 2) == (200, True)
    assert {answer.status_code for answer in answers} == {503}


def delimited(tag: int, content: bytes) -> bytes:
    size, encoded = len(content), b""
    while size > 0x7F:
        encoded += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([tag << 3 | 2]) + encoded + bytes([size]) + content


@pytest.mark.parametrize(
    ("part", "around"),
    [(b"\x0a\x00", []), (b"\x12\x00", [1]), (b"\x12\x00", [2, 1]), (b"\x4a\x00", [2, 2, 1])],
)
def test_a_message_that_is_made_of_too_many_is_refused_before_it_is_read(monkeypatch, part, around):
    monkeypatch.setattr(otlp, "_SURELY_FEW_BYTES", 0)
    monkeypatch.setattr(otlp, "_MAX_MESSAGES", 1_000)

    def body(count: int) -> bytes:
        content = part * count
        for tag in around:
            content = delimited(tag, content)
        return content

    otlp.read_request(otlp.PROTOBUF, body(1_000 - len(around)))
    with pytest.raises(Problem) as refused:
        otlp.read_request(otlp.PROTOBUF, body(1_001 - len(around)))
    assert refused.value.status == 413
    for cut in (body(500)[:-1], b"\x0b\x0c", b"\xff" * 20, b"\x0a\xff"):
        with pytest.raises(Problem) as refused:
            otlp.read_request(otlp.PROTOBUF, cut)
        assert refused.value.status == 400
