"""The source document of executors: `pytest --documents=DIR` reads it from DIR; without it these are skipped.

Its Python blocks run with nothing but the import line changed. The pool of connections is a stand-in: what the
document calls `asyncpg` gives an object that says under which trace root the runs are.
"""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.markdown import Block, python_blocks, run_block

from Agent.flight import checkpoint_store
from Agent.replay.executors import registered_names, unregister_executor

PATTERN = "001_*.txt"
POOL = "import asyncpg\n"
OLD = "from agenttrace_replay import CheckpointManager, ReplayExecutor, ReplayConfig"
NEW = "from Agent.replay import CheckpointManager, ReplayExecutor, ReplayConfig"
OLD_EXECUTORS, NEW_EXECUTORS = "from agenttrace_replay.executors import", "from Agent.replay.executors import"


@pytest.fixture
def blocks(request) -> list[Block]:
    directory = request.config.getoption("--documents")
    if directory is None:
        pytest.skip("needs the source document: give its directory with --documents=DIR")
    (document,) = (request.config.invocation_params.dir / directory).glob(PATTERN)
    return python_blocks(document.read_text(encoding="utf-8"))


def test_all_blocks_are_python_and_each_has_one_import_of_ours(blocks):
    assert [block.parses() for block in blocks] == [True, True]
    assert (blocks[0].source.count(OLD), blocks[1].source.count(OLD_EXECUTORS)) == (1, 1)


def test_the_quick_start_makes_checkpoints_replays_them_and_shows_the_difference(
    blocks, trace_root, tmp_path, capsys
):
    for number, answer in enumerate(["", "sunny"]):
        checkpoint_store.save_checkpoint(
            "trace-123", f"step_{number}", {"query": "weather", "answer": answer}
        )

    async def create_pool(url):
        return SimpleNamespace(url=url, trace_root=trace_root)

    namespace: dict = {"asyncpg": SimpleNamespace(create_pool=create_pool)}
    source = blocks[0].source.replace(POOL, "").replace(OLD, NEW)
    run_block(replace(blocks[0], source=source), namespace, tmp_path)
    assert namespace["checkpoint_ids"] == ["trace-123:step_0", "trace-123:step_1"]
    result = namespace["result"]
    assert (result.executor, result.verdict, result.input) == (
        "mock",
        "UNVERIFIED",
        {"query": "new question"},
    )
    assert capsys.readouterr().out == "no changes\n"


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
