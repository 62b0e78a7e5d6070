"""The source document of executors: `pytest --documents=DIR` reads it from DIR; without it these are skipped.

Its Python blocks run with nothing but the import lines changed, over a database of the service. Its curls are
asked of a service that the test starts.
"""

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from support.databases import postgres_server
from support.markdown import Block, blocks_of, python_blocks, run_block

from Agent import shutdown_logging
from Agent.flight import checkpoint_store, recorder
from Agent.replay.executors import registered_names, unregister_executor
from Agent.tree.layout import list_sessions

PATTERN = "001_*.txt"
POOL, NEW_POOL = "import asyncpg\n", "from Agent import store as asyncpg\n"
OLD = "from agenttrace_replay import CheckpointManager, ReplayExecutor, ReplayConfig"
NEW = "from Agent.replay import CheckpointManager, ReplayExecutor, ReplayConfig"
OLD_EXECUTORS, NEW_EXECUTORS = "from agenttrace_replay.executors import", "from Agent.replay.executors import"


@pytest.fixture
def blocks(document) -> list[Block]:
    return python_blocks(document.read_text(encoding="utf-8"))


def test_all_blocks_are_python_and_each_has_one_import_of_ours(blocks):
    assert [block.parses() for block in blocks] == [True, True]
    assert (blocks[0].source.count(OLD), blocks[1].source.count(OLD_EXECUTORS)) == (1, 1)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_quick_start_makes_checkpoints_replays_them_and_shows_the_difference(
    blocks, trace_root, tmp_path, capsys, monkeypatch, database
):
    pytest.importorskip("sqlalchemy", reason="the store needs the extra [server]")
    url = str(tmp_path / "service.db")
    if database == "postgresql":
        url = postgres_server().make_database("quick_start")
    fill(url, trace_root)
    monkeypatch.setenv("AGENT_TRACE_DATABASE", url)
    source = blocks[0].source.replace(POOL, NEW_POOL).replace(OLD, NEW)
    source += "await db_pool.close()\n"
    namespace: dict = {}
    run_block(replace(blocks[0], source=source), namespace, tmp_path)
    assert namespace["checkpoint_ids"] == ["trace-123:ask", "trace-123:answer"]
    result = namespace["result"]
    assert (result.executor, result.verdict, result.input) == (
        "mock",
        "UNVERIFIED",
        {"query": "new question"},
    )
    assert capsys.readouterr().out == "no changes\n"


def fill(url: str, root: Path) -> None:
    """Records a run, and sends it with content to a service on that database, which takes content."""
    from Agent.client.destination import Destination
    from Agent.client.shipment import Shipment
    from Agent.server import RunningServer, ServerSettings
    from Agent.store import open_store

    recorder.start_run("weather", run_id="trace-123")
    for step_id, output in (("ask", {"query": "weather"}), ("answer", {"text": "sunny"})):
        recorder.start_step(step_id)
        recorder.finish_step(step_id, output=output)
    recorder.finish_run()
    shutdown_logging()
    settings = ServerSettings(url, ingest_port=0)
    with RunningServer(settings, ["ingest"]) as server:
        with open_store(url, role="admin") as store:
            store.set_content("default", allowed=True)
        (session,) = list_sessions(root)
        with Shipment(session.path, Destination(server.ingest_url), lambda _s: True, content=True) as sending:
            assert sending.ship()


def test_the_executor_of_the_document_is_registered_and_its_output_compared(
    blocks, trace_root, tmp_path, capsys
):
    checkpoint_store.save_checkpoint("trace-123", "step_0", {"output": "sunny"})
    source = blocks[1].source.replace(OLD_EXECUTORS, NEW_EXECUTORS)
    namespace: dict = {}
    run_block(replace(blocks[1], source=source), namespace, tmp_path)
    assert "my_framework" in registered_names()
    try:
        lines = f"{NEW}\nmanager = CheckpointManager()\n" + (
            "result = await ReplayExecutor(manager).replay("
            "'trace-123:step_0', ReplayConfig(executor='my_framework'))\n"
        )
        run_block(Block("python", lines, 1), namespace, tmp_path)
    finally:
        unregister_executor("my_framework")
    assert namespace["result"].diff["changed"] == {"output": {"old": "sunny", "new": "..."}}
    assert namespace["result"].verdict == "DIVERGED"


@pytest.mark.integration
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_curls_of_the_document_are_answered_by_a_service_that_was_started_as_the_readme_says(
    document, blocks, trace_root, tmp_path, database
):
    pytest.importorskip("fastapi", reason="the service needs the extra [server]")
    from Agent.server import RunningServer, ServerSettings

    url = f"sqlite:///{tmp_path / 'service.db'}"
    if database == "postgresql":
        url = postgres_server().make_database("executor_curls")
    fill(url, trace_root)
    with RunningServer(ServerSettings(url, ingest_port=0, query_port=0)) as server:
        (curls,) = [
            block for block in blocks_of(document.read_text(encoding="utf-8")) if "curl" in block.source
        ]
        make, replay = curls.source.replace("http://localhost:8000", server.replay_url).split("# Execute")
        made = json.loads(asked(make))
        ends = time.monotonic() + 60
        while not made["checkpoint_ids"] and time.monotonic() < ends:  # on a busy machine: 202, ask again
            made = json.loads(asked(make))
        assert made["checkpoint_ids"] == ["trace-123:ask", "trace-123:answer"]
        told = json.loads(asked("#" + replay.replace("chk-456", made["checkpoint_ids"][0])))
        assert (told["status"], told["result"]["executor"]) == ("completed", "mock")
        # a checkpoint can be called so, too; then nothing is changed in the second one
        kept = {"step_id": "by hand", "state": {"query": "weather"}, "checkpoint_id": "chk-456"}
        sent = json.dumps(kept).encode()
        path = f"{server.replay_url}/api/traces/trace-123/checkpoints"
        with urlopen(Request(path, sent, {"Content-Type": "application/json"}), timeout=60) as answer:
            assert answer.status == 201
        told = json.loads(asked("#" + replay))
        assert (told["checkpoint_id"], told["status"]) == ("chk-456", "completed")


def asked(commands: str) -> str:
    """What the commands of a block print."""
    done = subprocess.run(
        ["bash", "-c", commands.replace("curl ", "curl -sS --fail-with-body ")],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
