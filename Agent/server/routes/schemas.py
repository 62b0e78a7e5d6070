"""The models of the service's responses for OpenAPI, and the conversion of database rows to responses."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, cleandoc, signature
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel

from Agent.event.clock import format_timestamp, parse_timestamp
from Agent.event.kinds import LEVEL_NAMES
from Agent.export.messages import YEAR_10000_US, elapsed_ms
from Agent.server.errors import Problem
from Agent.store import Page
from Agent.store.schema import RUNNING_REPLAY

T = TypeVar("T")

Snapshot = dict[str, Any]
"""An item of a list as a dict for JSON; a test checks that its keys equal those of its model.

A page may have 1,000 items, and making and validating a model for each took most of the time of a response.
"""


class ErrorDetail(BaseModel):
    """The error, and what to do about it."""

    code: str
    message: str
    path: str | None = None
    remedy: str | None = None


class MistakeAnswer(BaseModel):
    """One of several mistakes of a request."""

    path: str
    message: str


class ErrorAnswer(BaseModel):
    """Every answer of 400 and above, in the form of RFC 9457; `error` has further details."""

    type: str
    title: str
    status: int
    detail: str
    error: ErrorDetail
    errors: list[MistakeAnswer] | None = None


def refusals(texts: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the declaration of error responses of a route, from a description of each status."""
    return {status: {"model": ErrorAnswer, "description": text} for status, text in texts.items()}


ERRORS: Final = refusals(
    {
        400: "A parameter is given more than once.",
        401: "No key, or one that is unknown or revoked.",
        403: "The key does not have the scope.",
        422: "The request is invalid.",
        429: "Too many requests with this key; see Retry-After.",
        500: "A bug in Agent Trace.",
        503: "The database does not answer; retry the same request.",
    }
)
"""The error responses that any route may return."""


class HealthAnswer(BaseModel):
    """Whether the service works."""

    status: Literal["ok"]
    role: Literal["ingest", "query", "replay"]
    version: str


class RefusedItem(BaseModel):
    """An item of a batch that was not stored, and why."""

    index: int
    path: str
    problem: str


class BatchAnswer(BaseModel):
    """The result of a batch; accepted items are committed.

    `database` identifies the project's database: if it differs from that of an earlier answer, the database
    was rebuilt and lacks what was sent before.
    """

    accepted: int
    duplicates: int
    runs: int
    refused: list[RefusedItem]
    dropped: dict[str, int]
    database: str


class StoredRunAnswer(BaseModel):
    """A stored run; `dropped` counts the values that may not be stored, by path."""

    run_id: str
    stored: Literal[True]
    dropped: dict[str, int]


class RunAnswer(BaseModel):
    """One run; unknown values are null."""

    run_id: str
    status: str
    agent_id: str | None
    agent_version: str | None
    started_at: str | None
    ended_at: str | None
    duration_ms: float | None
    failure_type: str | None
    failure_code: str | None
    session_uid: str | None
    parent_run_id: str | None
    labels: dict[str, Any]


class StepAnswer(BaseModel):
    """One step of a run, in order."""

    step_id: str
    step_key: str
    parent_step_id: str | None
    step_type: str | None
    name: str | None
    status: str | None
    started_at: str | None
    latency_ms: float | None
    metadata: dict[str, Any]


class FailureAnswer(BaseModel):
    """One failure of a run; with the message only if the project stores content."""

    failure_id: str
    failure_type: str
    failure_code: str
    step_id: str | None
    step_key: str | None
    fingerprint: str | None
    error_id: str | None
    occurred_at: str | None
    message: str | None


class WholeRunAnswer(RunAnswer):
    """One run with its steps and failures; `next_steps_cursor` is that of /steps if there are more steps."""

    steps: list[StepAnswer]
    failures: list[FailureAnswer]
    next_steps_cursor: str | None


class EventAnswer(BaseModel):
    """One event, with the values that may be stored."""

    session_uid: str
    id: str
    timestamp: str | None
    kind: str
    level: str
    agent_id: str | None
    agent_role: str | None
    run_id: str | None
    span_id: str | None
    parent_span_id: str | None
    causes: list[str]
    tick: int | None
    name: str | None
    duration_ms: float | None
    outcome: str | None
    body: dict[str, Any]


class JourneyStepAnswer(EventAnswer):
    """One event of an agent, with the gap to the previous one.

    `gap_ms` is the time without recorded events of the agent; `missing` counts events of the same writer that
    are not stored, null if unknown.
    """

    started_at: str | None
    gap_ms: float | None
    missing: int | None


class EventPlace(BaseModel):
    """The location of an event."""

    session_uid: str
    event_id: str
    run_id: str | None


class ErrorGroupAnswer(BaseModel):
    """Errors with one fingerprint; `agent_ids` are the at most twenty agents with the most errors."""

    fingerprint: str | None
    kind: str
    name: str | None
    failure_type: str | None
    failure_code: str | None
    first_seen: str | None
    last_seen: str | None
    count: int
    agents: int
    agent_ids: list[str]
    example: EventPlace


class EdgeAnswer(BaseModel):
    """One event led to another, as recorded or as inferred by the named rule."""

    cause_id: str
    effect_id: str
    basis: Literal["recorded", "inferred"]
    rule: str
    reason: str


class CauseAnswer(BaseModel):
    """A cause of the requested event, `hops` steps before it, of which `inferred_hops` are inferred.

    Its `timestamp` is the end of an action, `started_at` the beginning.
    """

    event: EventAnswer
    started_at: str | None
    edge: EdgeAnswer
    hops: int
    inferred_hops: int


class SessionAnswer(BaseModel):
    """One execution of a program, with the number of its stored events."""

    session_uid: str
    session_id: str | None
    first_at: str | None
    last_at: str | None
    events: int


class PageAnswer(BaseModel, Generic[T]):
    """Some items, and the cursor of the next page; null on the last page."""

    items: list[T]
    next_cursor: str | None


class LatencyAnswer(BaseModel):
    """Durations in milliseconds; p50 and p95 are values that occurred."""

    count: int
    mean: float
    p50: float
    p95: float
    max: float


class StepLatencyAnswer(LatencyAnswer):
    """Durations of the steps of one type."""

    step_type: str | None


class AgentCount(BaseModel):
    """Runs of one agent."""

    agent_id: str | None
    runs: int
    failed: int


class FailureCount(BaseModel):
    """Runs by their failure."""

    failure_type: str
    failure_code: str
    runs: int


class UsageAnswer(BaseModel):
    """Model calls with their tokens, and their cost by currency."""

    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: dict[str, float]


class VersionCount(UsageAnswer):
    """Runs with one version of the agents."""

    agent_version: str | None
    runs: int
    failed: int


class IntervalCount(UsageAnswer):
    """Runs that began within one hour or day."""

    begins_at: str | None
    runs: int
    failed: int


class CountsAnswer(BaseModel):
    """Statistics of runs; latencies, tokens and cost are of the newest `sampled_runs` runs.

    `intervals` is null unless the request names an interval; intervals without runs are left out.
    """

    runs: int
    by_status: dict[str, int]
    agents: list[AgentCount]
    versions: list[VersionCount]
    intervals: list[IntervalCount] | None
    usage: UsageAnswer
    failures: list[FailureCount]
    run_ms: LatencyAnswer | None
    steps: list[StepLatencyAnswer]
    sampled_runs: int


def shape_of(model: type[BaseModel], **columns: str | None) -> Callable[[Mapping[str, Any]], Snapshot]:
    """Make a function that converts a row to an item: each field of the model is the column of that name.

    A field that ends in `_at` is the column that ends in `_us`, and such a column is converted to text.

    Args:
        model: the model of the item.
        columns: {field: its column} for other names; None for a field that the caller adds.
    """
    fields = {
        name: f"{name.removesuffix('_at')}_us" if name.endswith("_at") else name
        for name in model.model_fields
    }
    fields |= {name: column or "" for name, column in columns.items()}
    times = [name for name, column in fields.items() if column.endswith("_us")]

    def shape(row: Mapping[str, Any]) -> Snapshot:
        item = {name: row[column] if column else None for name, column in fields.items()}
        for name in times:
            item[name] = _time(item[name])
        return item

    return shape


step_answer = shape_of(StepAnswer)
failure_answer = shape_of(FailureAnswer)
session_answer = shape_of(SessionAnswer)
_run = shape_of(RunAnswer, duration_ms=None)
_event = shape_of(EventAnswer, id="event_id", timestamp="ts_us", level=None)
_error_group = shape_of(
    ErrorGroupAnswer, first_seen="first_us", last_seen="last_us", count="errors", example=None
)


def counts_answer(counts: Mapping[str, Any]) -> CountsAnswer:
    """Convert counts to a response."""
    intervals = counts["intervals"]
    if intervals is not None:
        intervals = [{**row, "begins_at": _time(row["begins_us"])} for row in intervals]
    return CountsAnswer.model_validate({**counts, "intervals": intervals})


def run_answer(row: Mapping[str, Any]) -> Snapshot:
    """Convert a row to a run of a response."""
    return _run(row) | {"duration_ms": elapsed_ms(row["started_us"], row["ended_us"])}


def event_answer(row: Mapping[str, Any]) -> Snapshot:
    """Convert a row to an event of a response."""
    level = LEVEL_NAMES.get(row["severity"], "INFO")
    return _event(row) | {"level": level, "causes": row["causes"] or []}


def journey_step_answer(row: Mapping[str, Any]) -> Snapshot:
    """Convert a row to a step of a journey."""
    between = {"started_at": _time(row["started_us"]), "gap_ms": row["gap_ms"], "missing": row["missing"]}
    return event_answer(row) | between


def error_group_answer(row: Mapping[str, Any]) -> Snapshot:
    """Convert a row to a group of errors."""
    session_uid = str(uuid.UUID(row["session_uid"]))
    example = {"session_uid": session_uid, "event_id": row["event_id"], "run_id": row["run_id"]}
    return _error_group(row) | {"example": example}


def cause_answer(row: Mapping[str, Any]) -> Snapshot:
    """Convert a row to a cause of an event."""
    ended_us, duration_ms = row["ts_us"], row["duration_ms"] if row["span_id"] else None
    started_us = ended_us if ended_us is None or not duration_ms else ended_us - round(duration_ms * 1000)
    walked = {name: row[name] for name in ("edge", "hops", "inferred_hops")}
    return {"event": event_answer(row), "started_at": _time(started_us), **walked}


def _time(unix_us: int | None) -> str | None:
    """Format a time; None if it is unknown or outside the years 1970 to 9999."""
    return format_timestamp(unix_us) if unix_us is not None and 0 <= unix_us < YEAR_10000_US else None


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
    """A checkpoint; `state_types` tags the values that JSON cannot express, by pointer in `state`."""

    state: Any
    state_types: dict[str, str]


class CreatedAnswer(BaseModel):
    """The checkpoints of a run, and the new ones.

    `not_sent` names missing artifacts; `hidden_by` names fields that are recorded in full states only, so
    that the state after other steps is unknown.
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
    """The differences of a replay's output, by key."""

    summary: str
    has_changes: bool
    changed: dict[str, Any]
    added: dict[str, Any]
    removed: dict[str, Any]


class ResultAnswer(BaseModel):
    """The result of continuing from a checkpoint, beside the recorded one.

    `verdict` is null if the replay modified something: then the result is a comparison.
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
    """A replay, with its request."""

    replay_id: str
    trace_id: str
    checkpoint_id: str
    status: ReplayStatus
    created_at: str
    finished_at: str | None
    request: dict[str, Any]
    problem: ProblemAnswer | None


class ReplayAnswer(ListedReplayAnswer):
    """A replay with its result; `result` is null while it runs, and if it failed."""

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


def checkpoint_answer(row: Mapping[str, Any]) -> Snapshot:
    """Convert a row to a checkpoint of a list."""
    item = _checkpoint(row)
    if not row["saved_us"]:  # the state before the first step was given, not saved
        item["saved_at"] = None
    return item


def whole_checkpoint_answer(row: Mapping[str, Any]) -> WholeCheckpointAnswer:
    """Convert a row to a checkpoint with its state."""
    state, types = orjson.loads(row["state"]), orjson.loads(row["state_types"])
    return WholeCheckpointAnswer(**checkpoint_answer(row), state=state, state_types=types)


def listed_replay_answer(row: Mapping[str, Any], now_us: int) -> Snapshot:
    """Convert a row to a replay of a list; one past its due time is shown as interrupted."""
    status = row["status"]
    problem = None if row["problem"] is None else orjson.loads(row["problem"])
    if status == RUNNING_REPLAY and now_us > row["due_us"]:
        status = INTERRUPTED
        problem = {"message": "the server that ran it has stopped", "remedy": "replay the checkpoint again"}
    changes = {"status": status, "request": orjson.loads(row["request"]), "problem": problem}
    return _listed_replay(row) | changes


def replay_answer(row: Mapping[str, Any], now_us: int) -> ReplayAnswer:
    """Convert a row to a replay with its result."""
    result = None if row["result"] is None else orjson.loads(row["result"])
    return ReplayAnswer(**listed_replay_answer(row, now_us), result=result)


UUID_SHAPE: Final = r"^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$"

AGENT: Final = Query(max_length=200, description="The agent's id, as sent.")
UID: Final = Query(pattern=UUID_SHAPE, description="A session's UUID.")

Label = Annotated[str | None, Query(max_length=200)]
Uid = Annotated[str | None, UID]
Time = Annotated[str | None, Query(max_length=40, description="RFC 3339, in UTC unless it names a zone.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Items on a page.")]
Cursor = Annotated[
    str | None,
    Query(max_length=1000, description="next_cursor of the previous page; empty for the first."),
    AfterValidator(lambda text: text or None),
]


def plain_uid(text: str | None) -> str | None:
    """Return a UUID in the database's form, from any form of it."""
    return None if text is None else str(uuid.UUID(text))


def unix_us(name: str, text: str | None) -> int | None:
    """Parse the time in a parameter; Problem 422 if it is not one."""
    if text is None:
        return None
    try:
        # An unescaped plus sign in a URL is received as a space.
        return parse_timestamp(text.strip().replace(" +", "+").replace(" ", "+" if "T" in text else " "))
    except (ValueError, OverflowError):
        raise Problem(
            422, f"parameter {name} is not a time", remedy="write it as 2026-11-20T10:30:45Z"
        ) from None


def add_list(
    router: APIRouter,
    path: str,
    item: Any,
    shape: Callable[[Any], Snapshot],
    *,
    limit: int | None = 50,
    **more: Any,
) -> Callable[[Callable[..., Page]], None]:
    """Add a route that returns pages; OpenAPI describes their items by the model `item`.

    The first line of the function's docstring is the summary of the route, the rest its description.

    Args:
        shape: converts a row to an item; FastAPI does not validate it again.
        limit: the default of the parameter `limit`, which the decorated function gets beside `cursor` as
            `**page`; None if there is only one page.
    """

    def added(read: Callable[..., Page]) -> None:
        @wraps(read)
        def answer(**values: Any) -> Response:
            page = read(**values)
            body = {"items": [shape(row) for row in page.items], "next_cursor": page.next_cursor}
            return Response(orjson.dumps(body), media_type="application/json")

        given = signature(read, eval_str=True)
        parameters = [each for each in given.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        for name, of, default in (("limit", Limit, limit), ("cursor", Cursor, None)):
            if limit is not None:
                parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=of))
        # FastAPI reads and documents the parameters of this signature.
        answer.__signature__ = given.replace(parameters=parameters)  # type: ignore[attr-defined]
        summary, _, description = cleandoc(read.__doc__ or "").partition(".\n\n")
        model = PageAnswer[item]
        router.get(path, summary=summary, description=description, response_model=model, **more)(answer)

    return added
