"""The source document of tools: `pytest --documents=DIR` reads it from DIR; without it these are skipped.

Its two blocks of tools run with nothing but an import line, the second in the place of a later program.
"""

from dataclasses import replace

import pytest
from support.markdown import Block, python_blocks, run_block

from Agent.flight import recorder

PATTERN = "004_*.txt"
RECORDING, REPLAYING = "from Agent.flight import record_tool\n", "from Agent.flight import ToolReplayer\n"


@pytest.fixture
def blocks(request) -> dict[str, Block]:
    directory = request.config.getoption("--documents")
    if directory is None:
        pytest.skip("needs the source document: give its directory with --documents=DIR")
    (document,) = (request.config.invocation_params.dir / directory).glob(PATTERN)
    found = python_blocks(document.read_text(encoding="utf-8"))
    (recording,) = (block for block in found if "@record_tool" in block.source)
    (replaying,) = (block for block in found if "ToolReplayer(" in block.source)
    return {"recording": recording, "replaying": replaying}


def with_import(block: Block, line: str) -> Block:
    return replace(block, source=line + block.source)


def test_the_tool_of_the_document_is_recorded_and_replayed(blocks, trace_root, tmp_path):
    namespace: dict = {}
    run_block(with_import(blocks["recording"], RECORDING), namespace, tmp_path)
    with recorder.run("agent") as run:
        answer = namespace["search_docs"]("...")
    later = {"run_id": run.run_id}
    run_block(with_import(blocks["replaying"], REPLAYING), later, tmp_path)
    assert later["result"] == answer
