"""The source document of the platform: `pytest --documents=DIR` reads it from DIR; without it these are skipped.

Its Python block runs with nothing but the import line changed, and its curls are asked, both of a service that
the test starts by its command, on SQLite and on PostgreSQL: the ports of the document may be taken, so others
are put in their place. The page of the service is followed in the same way.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from support.databases import contents_of, postgres_server
from support.markdown import blocks_of, python_blocks, run_block
from support.processes import REPOSITORY
from support.services import ServedProcess

PATTERN = "002_*.txt"
OLD_IMPORT, NEW_IMPORT = "from sdk.agenttrace import AgentTracer", "from Agent.client import AgentTracer"
FAILING = "# Your tool logic\n                break"
MESSAGE = "API call failed after 3 attempts"
_numbers = itertools.count(1)
CURL = re.compile(r"^curl (http://localhost:8001\S+)$", re.MULTILINE)

pytest.importorskip("fastapi", reason="the service needs the extra [server]")


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request, tmp_path):
    """A service that was started by its command, and its database."""
    if request.param == "sqlite":
        database = f"sqlite:///{tmp_path / 'service.db'}"
    else:
        database = postgres_server().make_database(f"platform_{next(_numbers)}")
    with ServedProcess(database, tmp_path) as running:
        yield running, database


def here(text: str, server) -> str:
    ports = {":8000": server.ingest_url.rpartition(":")[2], ":8001": server.query_url.rpartition(":")[2]}
    for port, own in ports.items():
        text = text.replace(port, f":{own}")
    return text


def ask(url: str) -> dict:
    assert shutil.which("curl"), "the document asks with curl"
    asked = subprocess.run(
        ["curl", "-sS", "--fail-with-body", url], capture_output=True, text=True, timeout=60
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
    return json.loads(asked.stdout)


@pytest.mark.integration
def test_its_example_is_recorded_sent_and_answered_by_its_curls(document, server, trace_root):
    running, database = server
    text = document.read_text(encoding="utf-8")
    (block,) = [block for block in python_blocks(text) if OLD_IMPORT in block.source]
    assert block.source.count("import") == 1
    namespace: dict = {}
    for source in (block.source, block.source.replace(FAILING, "raise TimeoutError('no answer')")):
        changed = here(source.replace(OLD_IMPORT, NEW_IMPORT), running)
        run_block(replace(block, source=changed), namespace, document)
    assert FAILING in block.source
    tracer = namespace["tracer"]
    assert tracer.flush(60)
    told = tracer.health()
    assert told["refused"] == 0
    assert told["dropped"]["/extra/failure_message"] == 1

    curls = CURL.findall(text)
    assert [curl.partition("8001")[2] for curl in curls] == ["/v1/runs", "/v1/runs/{run_id}", "/v1/stats"]
    listed = ask(here(curls[0], running))["items"]
    assert sorted(run["status"] for run in listed) == ["failure", "success"]
    failed = next(run for run in listed if run["status"] == "failure")
    one = ask(here(curls[1], running).replace("{run_id}", failed["run_id"]))
    assert (one["agent_id"], one["agent_version"]) == ("my_agent", "1.0.0")
    steps = ask(f"{running.query_url}/v1/runs/{failed['run_id']}/steps")["items"]
    assert [step["step_type"] for step in steps] == ["plan", "retrieve", "tool", "tool", "tool"]
    assert [step["name"] for step in steps] == [
        "analyze_query",
        "search_kb",
        "call_api",
        "call_api",
        "call_api",
    ]
    assert steps[1]["metadata"] == {"result_count": 10}
    assert all(step["latency_ms"] >= 0 for step in steps)
    (failure,) = ask(f"{running.query_url}/v1/runs/{failed['run_id']}/failures")["items"]
    assert (failure["failure_type"], failure["failure_code"]) == ("tool", "timeout")
    assert ask(here(curls[2], running))
    tracer.close()

    stored = b"".join(contents_of(database).values())
    assert failed["run_id"].encode() in stored
    assert MESSAGE.encode() not in stored
    written = b"".join(path.read_bytes() for path in trace_root.rglob("events.jsonl"))
    assert MESSAGE.encode() in written  # on this machine it is


@pytest.mark.integration
def test_a_run_posted_as_the_document_tells_is_taken_and_stores_no_free_text(server):
    import httpx

    running, database = server
    run = {
        "run_id": "run-1",
        "agent_id": "my_agent",
        "agent_version": "1.0.0",
        "status": "failure",
        "steps": [{"step_type": "tool", "name": "call_api", "latency_ms": 3, "metadata": {"attempt": 3}}],
        "failures": [{"failure_type": "tool", "failure_code": "timeout", "message": MESSAGE}],
    }
    for _ in range(2):
        answer = httpx.post(f"{running.ingest_url}/v1/runs", json=run, timeout=60)
        assert answer.is_success, answer.text
        assert "/failures/*/message" in answer.json()["dropped"]
    stored = b"".join(contents_of(database).values())
    assert MESSAGE.encode() not in stored
    assert len(httpx.get(f"{running.query_url}/v1/runs/run-1/failures", timeout=60).json()["items"]) == 1


def test_the_routes_that_the_document_lists_are_there(document, server):
    import httpx

    running, _ = server
    rows = re.findall(r"^\| `(/\S+)` \| (GET|POST) \|", document.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 9
    of_ingest, of_query = rows[:3], rows[3:]
    for url, listed in ((running.ingest_url, of_ingest), (running.query_url, of_query)):
        paths = httpx.get(f"{url}/openapi.json", timeout=60).json()["paths"]
        assert [(path, method) for path, method in listed if method.lower() not in paths.get(path, {})] == []


@pytest.mark.integration
def test_the_page_of_the_service_can_be_followed(server, tmp_path):
    running, _ = server
    blocks = blocks_of((REPOSITORY / "docs" / "SERVICE.md").read_text(encoding="utf-8"))
    run = next(block.source for block in blocks if block.language == "json")
    (tmp_path / "run.json").write_text(run, encoding="utf-8")
    lines = [line for block in blocks if block.language == "bash" for line in block.source.splitlines()]
    # those of checkpoints need a run that was recorded with content; the tests of replays ask them
    curls = [line.partition(" #")[0] for line in lines if line.startswith("curl ") and "/v1/" in line]
    assert len(curls) >= 3
    answers = []
    for curl in curls:
        asked = subprocess.run(
            ["bash", "-c", here(curl, running).replace("curl ", "curl -sS --fail-with-body ", 1)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
        )
        assert asked.returncode == 0, (curl, asked.stdout + asked.stderr)
        answers.append(json.loads(asked.stdout))
    assert answers[0] == {"run_id": "first-run", "stored": True, "dropped": {"/failures/*/message": 1}}
    assert answers[1]["items"][0]["run_id"] == "first-run"
    assert answers[2]["runs"] == 1
