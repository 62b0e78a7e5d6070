"""The source document of runs: `pytest --documents=DIR` reads it from DIR; without it these are skipped.

Its blocks run in order with nothing but the import line changed. The last one reads a run back as plain files,
from the trace root, with the id of the run put where the document leaves a blank.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.markdown import Block, python_blocks, run_block

from Agent.flight.schema import CURRENT_SCHEMA, validate_event

PATTERN = "000_*.txt"
OLD_IMPORT, NEW_IMPORT = "from afr.recorder import recorder", "from Agent.flight import recorder"
UNPARSABLE = "# Finish the run (success)"
"""How the only block begins that is no Python: its `try` holds a comment alone."""


@pytest.fixture
def blocks(document) -> list[Block]:
    return python_blocks(document.read_text(encoding="utf-8"))


def test_only_the_known_block_is_no_python_and_only_one_line_is_an_import_of_ours(blocks):
    assert [block.source.splitlines()[0] for block in blocks if not block.parses()] == [UNPARSABLE]
    assert sum(OLD_IMPORT in block.source for block in blocks) == 1


def test_the_blocks_record_a_run_and_the_last_one_reads_it_back(
    blocks, document, trace_root, monkeypatch, capsys
):
    namespace: dict[str, Any] = {}
    *recording, reading = [block for block in blocks if block.parses()]
    for block in recording:
        run_block(replace(block, source=block.source.replace(OLD_IMPORT, NEW_IMPORT)), namespace, document)
    namespace["recorder"].finish_run(ok=True)  # the first call of the block that is no Python
    run_id, output_ref = namespace["run_id"], namespace["output_ref"]

    monkeypatch.chdir(trace_root)
    assert reading.source.count("<RUN_ID>") == 1
    capsys.readouterr()
    run_block(replace(reading, source=reading.source.replace("<RUN_ID>", run_id)), {}, document)
    expected = {"status": "success", "items_processed": 42}
    assert capsys.readouterr().out == f"Step data_processing output: {expected}\n"

    events = [json.loads(line) for line in Path("runs", run_id, "events.jsonl").read_text().splitlines()]
    assert [event["type"] for event in events if event["type"] != "artifact.saved"] == [
        "run.started",
        "step.started",
        "step.finished",
        "model.call",
        "run.finished",
    ]
    assert {event["schema_version"] for event in events} == {CURRENT_SCHEMA}
    assert [problem for event in events for problem in validate_event(event)] == []
    assert events[0]["labels"] == {"environment": "production", "version": "1.0.0"}
    call = next(event for event in events if event["type"] == "model.call")
    assert (call["output_ref"], call["prompt_tokens"], call["completion_tokens"]) == (output_ref, 5, 8)
    artifacts = Path("runs", run_id, "artifacts")
    assert (artifacts / output_ref.removeprefix("artifact://artifacts/")).read_text() == (
        "Hello, how can I help you today?"
    )
    assert {path.name for path in artifacts.iterdir()} == {"steps", "calls", "results"}
    assert json.loads((artifacts / "results" / "final_output.json").read_text())["result"] == "success"
