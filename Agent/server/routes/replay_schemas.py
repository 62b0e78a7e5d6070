"""What the routes of checkpoints and replays take and answer, as OpenAPI tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel

from Agent.server.routes.schemas import Shown, shape_of
from Agent.store.replay_store import RUNNING_REPLAY

__all__ = [
    "INTERRUPTED",
    "CheckpointAnswer",
    "CreatedAnswer",
    "DiffAnswer",
    "ListedReplayAnswer",
    "ReplayAnswer",
    "WholeCheckpointAnswer",
    "checkpoint_answer",
    "listed_replay_answer",
    "replay_answer",
    "whole_checkpoint_answer",
]

INTERRUPTED: Final = "interrupted"
ReplayStatus = Literal["running", "completed", "failed", "timed_out", "out_of_memory", "interrupted"]


class CheckpointAnswer(BaseModel):
    """A checkpoint without its state."""

    checkpoint_id: str
    trace_id: str
    step_id: str
    agent_id: str | None
    saved_at: str | None
    tick: int | None
    reason: str | None
    event_id: str | None


class WholeCheckpointAnswer(CheckpointAnswer):
    """A checkpoint; `state_types` tags what plain JSON cannot hold, by its pointer in `state`."""

    state: Any
    state_types: dict[str, str]


class CreatedAnswer(BaseModel):
    """The checkpoints of a run, and those that are new.

    `not_sent` names artifacts that are missing, `hidden_by` fields that are recorded in full states only, so
    that the state behind other steps is not known.
    """

    trace_id: str
    checkpoint_ids: list[str]
    created: list[str]
    not_sent: list[str]
    hidden_by: list[str]


class ProblemAnswer(BaseModel):
    """Why a replay has no result."""

    message: str
    remedy: str | None


class DifferenceAnswer(BaseModel):
    """What a replay gave differently, key by key."""

    summary: str
    has_changes: bool
    changed: dict[str, Any]
    added: dict[str, Any]
    removed: dict[str, Any]


class ResultAnswer(BaseModel):
    """What continuing from a checkpoint gave, beside what was recorded.

    `verdict` is null of a comparison: where something was modified.
    """

    executor: str
    verdict: str | None
    reasons: list[str]
    completed: bool
    user_code_ran: bool
    error: str | None
    duration_ms: float
    input: Any
    output: Any
    original_output: Any
    diff: DifferenceAnswer
    divergence: str | None
    notes: list[str]
    details: dict[str, Any]


class ListedReplayAnswer(BaseModel):
    """A replay, with what was asked for."""

    replay_id: str
    trace_id: str
    checkpoint_id: str
    status: ReplayStatus
    created_at: str
    finished_at: str | None
    request: dict[str, Any]
    problem: ProblemAnswer | None


class ReplayAnswer(ListedReplayAnswer):
    """A replay with what it gave; `result` is null while it runs, and where it gave nothing."""

    result: ResultAnswer | None


class DiffAnswer(BaseModel):
    """The difference that a replay found."""

    replay_id: str
    verdict: str | None
    diff: DifferenceAnswer
    original_output: Any
    output: Any


_checkpoint = shape_of(CheckpointAnswer, trace_id="run_id")
_listed_replay = shape_of(ListedReplayAnswer, trace_id="run_id")


def checkpoint_answer(row: Mapping[str, Any]) -> Shown:
    """A checkpoint as lists show it."""
    item = _checkpoint(row)
    if not row["saved_us"]:  # the state before the first step, which was given and not saved
        item["saved_at"] = None
    return item


def whole_checkpoint_answer(row: Mapping[str, Any]) -> WholeCheckpointAnswer:
    """A checkpoint with its state."""
    state, types = orjson.loads(row["state"]), orjson.loads(row["state_types"])
    return WholeCheckpointAnswer(**checkpoint_answer(row), state=state, state_types=types)


def listed_replay_answer(row: Mapping[str, Any], now_us: int) -> Shown:
    """A replay as lists show it."""
    status = row["status"]
    problem = None if row["problem"] is None else orjson.loads(row["problem"])
    if status == RUNNING_REPLAY and now_us > row["due_us"]:
        status = INTERRUPTED
        problem = {"message": "the server that ran it has stopped", "remedy": "replay the checkpoint again"}
    told = {"status": status, "request": orjson.loads(row["request"]), "problem": problem}
    return _listed_replay(row) | told


def replay_answer(row: Mapping[str, Any], now_us: int) -> ReplayAnswer:
    """A replay with what it gave."""
    result = None if row["result"] is None else orjson.loads(row["result"])
    return ReplayAnswer(**listed_replay_answer(row, now_us), result=result)
