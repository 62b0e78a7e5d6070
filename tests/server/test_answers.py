"""Items of lists are written as plain values; they have the keys and the types of their models all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Table

from Agent.analysis.causality.chains import Edge
from Agent.server.routes import schemas as answers
from Agent.server.routes import schemas as replay_schemas
from Agent.store import schema

UID = "019a9f00-0000-7000-8000-000000000001"
VALUES = {
    "TEXT": "x",
    "BIGINT": 1_795_170_645_000_000,
    "SMALLINT": 40,
    "INTEGER": 1,
    "FLOAT": 1.5,
    "CHAR(32)": UID,
}
JOURNEY = {"started_us": None, "gap_ms": 1.5, "missing": None}
GROUP = {
    **dict.fromkeys(
        ("fingerprint", "kind", "name", "failure_type", "failure_code", "event_id", "run_id"), "x"
    ),
    "first_us": 1,
    "last_us": 2,
    "errors": 2,
    "agents": 1,
    "agent_ids": ["a"],
    "session_uid": UID,
}
EDGE = Edge("a-1", "a-2", "inferred", "error_before", "it came before")
CAUSE = {"edge": EDGE.to_dict(), "hops": 1, "inferred_hops": 0}
REPLAY = {"request": "{}", "problem": '{"message": "it failed", "remedy": null}'}


def row_of(table: Table, *, full: bool) -> dict[str, Any]:
    """A row in which every column has a value, or all those that may be empty are."""
    row: dict[str, Any] = {}
    for column in table.columns:
        kind = str(column.type)
        given = {} if kind == "JSON" else VALUES[kind]
        row[column.name] = given if full or not column.nullable else None
    if table is schema.EVENTS and full:
        row["causes"] = ["k3v7q2ma-1"]
    return row


def listed_replay(row: Mapping[str, Any]) -> dict[str, Any]:
    return replay_schemas.listed_replay_answer({**row, **REPLAY, "status": "completed"}, 0)


@pytest.mark.parametrize("full", [True, False], ids=["every column", "only what must be"])
@pytest.mark.parametrize(
    ("shape", "model", "table", "more"),
    [
        (answers.run_answer, answers.RunAnswer, schema.RUNS, {}),
        (answers.step_answer, answers.StepAnswer, schema.STEPS, {}),
        (answers.failure_answer, answers.FailureAnswer, schema.FAILURES, {}),
        (answers.event_answer, answers.EventAnswer, schema.EVENTS, {}),
        (answers.journey_step_answer, answers.JourneyStepAnswer, schema.EVENTS, JOURNEY),
        (answers.cause_answer, answers.CauseAnswer, schema.EVENTS, CAUSE),
        (answers.error_group_answer, answers.ErrorGroupAnswer, schema.EVENTS, GROUP),
        (answers.session_answer, answers.SessionAnswer, schema.SESSIONS, {}),
        (replay_schemas.checkpoint_answer, replay_schemas.CheckpointAnswer, schema.CHECKPOINTS, {}),
        (listed_replay, replay_schemas.ListedReplayAnswer, schema.REPLAYS, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_item_is_what_its_model_would_have_made_of_it(shape, model, table, more, full):
    item = shape(row_of(table, full=full) | more)
    assert list(item) == list(model.model_fields)
    assert model.model_validate(item, strict=True).model_dump(mode="json") == item
