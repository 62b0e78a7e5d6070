"""The source document of tools: `pytest --documents=DIR` reads it from DIR; without it these are skipped.

Its blocks of tools, steps and checkpoints run with nothing but an import line, the one of `ToolReplayer` in the
place of a later program.
"""

import importlib
from dataclasses import fields, replace

import pytest
from support.markdown import Block, python_blocks, run_block

from Agent import shutdown_logging
from Agent.flight import StepEvent, recorder
from Agent.replay import remember_target

PATTERN = "004_*.txt"
RECORDING, REPLAYING = "from Agent.flight import record_tool\n", "from Agent.flight import ToolReplayer\n"
STORING, STEPPING = "from Agent.flight import checkpoint_store\n", "from datetime import datetime\n"

TRAVELLING = "from Agent.replay import compare_runs, fork_run, resume_from_checkpoint\n"
AGENT = """
from Agent.flight import record_tool
from Agent.flight import recorder
from Agent.utils import trace_agent_action

@record_tool
def search_docs(query, page):
    return {"docs": [] if page < 9 else ["found"]}

class Agent:
    def __init__(self):
        self.agent_id, self.max_retries, self.tries = "agent", 20, 0

    @trace_agent_action
    def step(self, number):
        with recorder.step(f"step_{number}"):
            if self.tries < self.max_retries:
                self.tries += 1
                return search_docs("weather", number)["docs"]
        return "gave up"

def build(spec):
    return Agent()
"""


@pytest.fixture
def blocks(document) -> dict[str, Block]:
    found = python_blocks(document.read_text(encoding="utf-8"))
    marks = {
        "recording": "@record_tool",
        "replaying": "ToolReplayer(",
        "storing": "save_checkpoint",
        "stepping": "StepEvent",
        "travelling": "resume_from_checkpoint",
    }
    return {name: next(block for block in found if mark in block.source) for name, mark in marks.items()}


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


def test_the_step_event_of_the_document_has_our_fields_in_our_order(blocks, tmp_path):
    namespace: dict = {}
    run_block(with_import(blocks["stepping"], STEPPING), namespace, tmp_path)
    documented = namespace["StepEvent"].__annotations__
    assert list(documented) == [field.name for field in fields(StepEvent)]


def test_the_checkpoint_of_a_step_is_saved_and_loaded_by_the_lines_of_the_document(
    blocks, trace_root, tmp_path
):
    step = StepEvent("step_3", {"retries": 0}, "search", "search_docs", {"query": "q"}, [], {"retries": 1})
    with recorder.run("agent") as run:
        checkpoint = step.checkpoint(run.run_id)
        namespace = {"checkpoint": checkpoint, "run_id": run.run_id, "step_id": "step_3"}
        run_block(with_import(blocks["storing"], STORING), namespace, tmp_path)
    assert namespace["checkpoint"] == checkpoint
    assert namespace["checkpoint"] is not checkpoint
    assert namespace["checkpoint"].state == {"retries": 1}


def test_a_run_is_resumed_forked_and_compared_by_the_lines_of_the_document(
    blocks, trace_root, tmp_path, monkeypatch
):
    (tmp_path / "document_agent.py").write_text(AGENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("document_agent")
    with recorder.run("agent") as run:
        agent = module.Agent()
        for number in range(1, 11):
            agent.step(number)
        remember_target("document_agent:build")
    shutdown_logging()
    namespace = {"run_id": run.run_id}
    run_block(with_import(blocks["travelling"], TRAVELLING), namespace, tmp_path)
    result, divergence = namespace["result"], namespace["divergence"]
    assert result.fork_id == namespace["fork_id"] != run.run_id
    assert (result.completed, result.state["tries"]) == (True, 5), "it had made 5 tries, and 3 are allowed"
    assert divergence.divergence.agent_id == "agent"
    assert (divergence.a, divergence.b) == (run.run_id, namespace["fork_id"])
