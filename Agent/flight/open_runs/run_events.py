"""The events of runs as flat lines: `run.*`, `step.*`, `model.call`, `tool.call`, `artifact.saved`.

Inside a run they go to its `events.jsonl`, outside one to the agent's file. They take the session's numbers
like all events, so that the account of losses covers them. `reading.py` reads them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any

import orjson

from Agent.event.codec import CURRENT_SCHEMA, run_key, run_pointer
from Agent.event.kinds import LEVEL_NAMES, Category
from Agent.event.payloads import KINDS
from Agent.flight.open_runs.context import Run, settled_scope
from Agent.record.emit import installed
from Agent.record.emit.context import SpanScope
from Agent.record.emit.installed import LIMITS, current_pipeline
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.safe_text import as_text, message_of
from Agent.record.health import say
from Agent.record.loggers.loggers import INFO, WARNING
from Agent.record.tracing.failures import outcome_of, record_error
from Agent.tree.layout import RUN_CATEGORY

_LIMIT = LIMITS[Category.EVENTS.value]
_NONE: Mapping[str, Any] = {}


def is_recorded(level: int = INFO) -> bool:
    """Whether events of runs of that level are recorded now."""
    return _LIMIT.value <= level


def emit_run_event(  # noqa: PLR0913 - what a line is made of
    pipeline: Pipeline,
    run: Run,
    kind: str,
    payload: Mapping[str, Any],
    *,
    scope: SpanScope | None = None,
    span_id: str | None = None,
    causes: tuple[str, ...] = (),
    fields: Mapping[str, Any] = _NONE,
    judged: bytes = b"",
    judged_types: Mapping[str, str] | None = None,
    level: int = INFO,
) -> str:
    """Write one event of a run and give its id, "" if it could not be written.

    Args:
        run: as `surrounding_run` gives it.
        kind: one whose home is the run view.
        payload: values of the kind's own keys.
        scope: in which it happened; the current one without it.
        span_id: its own span, where the event is one.
        causes: ids of events that led to this one.
        fields: the user's own keys; one that has the name of one of ours moves to `user.<key>`.
        judged: further members of the payload as JSON, in which no secret is left, and their tags.
    """
    scope = settled_scope() if scope is None else scope
    agent = scope.agent if scope is not None else None
    agent_id = agent.agent_id if agent is not None else None
    if run.agent_id is not None and (agent_id is None or kind.startswith("run.")):
        agent_id = run.agent_id
    about = {} if agent_id is None else {"agent_id": agent_id}
    if agent is not None and agent.agent_id == agent_id and agent.agent_role is not None:
        about["agent_role"] = agent.agent_role
    body, types = pipeline.capture.body({**about, **payload})
    if judged_types:
        types = {**(types or {}), **judged_types}
    around = scope.fields if scope is not None and scope.fields else _NONE
    if around or fields:
        users = _user_fields(pipeline, kind, {**around, **fields}, payload.keys() | about.keys())
        more, more_types = pipeline.capture.user_body(users, "/extra")
        body = b",".join((body, more)) if more else body
        types = {**(types or {}), **more_types} if more_types else types
    if judged:
        body = b",".join((body, judged)) if body else judged
    if scope is not None and scope.secrets:
        body, types = pipeline.redactor.without(scope.secrets, body, types, "/extra")
    if types:
        flat = {run_pointer(pointer): tag for pointer, tag in types.items()}
        body = b'%s,"types":%s' % (body, orjson.dumps(flat))
    slot = _binding_of(pipeline, run, agent).slot(kind, level)
    head = _head(pipeline.session_id, kind, level)
    return pipeline.put(slot, head, _links(run, scope, span_id, causes), b"," if body else b"", body + b"}\n")


def ending_of(pipeline: Pipeline, run: Run, error: str | BaseException | None) -> dict[str, Any]:
    """What an event says of the error that ended it."""
    if error is None:
        return {}
    if not isinstance(error, BaseException):
        return {"error": error, "outcome": "error"}
    outcome = outcome_of(error)
    told: dict[str, Any] = {"error": f"{type(error).__qualname__}: {message_of(error)}", "outcome": outcome}
    if outcome == "error":
        scope = settled_scope()
        agent = scope.agent if scope is not None else None
        binding = agent or pipeline.binding(run.agent_id, None, "flight", "errors")
        told["error_id"] = record_error(pipeline, binding, error)
    return told


def _user_fields(pipeline: Pipeline, kind: str, fields: Mapping[str, Any], own_keys: Any) -> dict[str, Any]:
    """The user's keys under names that are free in a flat line."""
    taken = own_keys | {field.name for field in KINDS[kind].fields} | {"agent_id", "agent_role"}
    moved = pipeline.health.moved(fields, taken)
    return {run_key(key) if type(key) is str else str(key): value for key, value in moved.items()}


def _binding_of(pipeline: Pipeline, run: Run, agent: AgentBinding | None) -> AgentBinding:
    """What an event of the run is written through: the run's file; for the root run the agent's."""
    if run.run_id is None:
        if agent is not None and agent.agent_id is not None:
            return agent
        return pipeline.binding(None, None, "flight", Category.EVENTS.value)
    if run.binding is None:
        category = RUN_CATEGORY + run.run_id
        # Not one of the pipeline's own, which it keeps as long as it lives: runs come and go.
        run.binding = AgentBinding(
            agent_id=None,
            agent_role=None,
            logger="flight",
            category=Category.EVENTS.value,
            stream=pipeline.sink.open_stream(None, category),
            envelope=b"",
            redactor=pipeline.redactor,
            emit_plain=pipeline.emit_plain,
            mirror_of=pipeline.mirror_of,
            room=pipeline.room,
        )
    return run.binding


@lru_cache(maxsize=256)
def _head(session_id: str, kind: str, level: int) -> bytes:
    """The bytes from the end of the id to the session or level."""
    begin = orjson.dumps({"type": kind, "session_id": session_id})[1:-1]
    head = b'","schema_version":%d,%s' % (CURRENT_SCHEMA, begin)
    return head if level == INFO else b'%s,"level":"%s"' % (head, LEVEL_NAMES[level].encode())


def _links(run: Run, scope: SpanScope | None, span_id: str | None, causes: tuple[str, ...]) -> bytes:
    # Ids are letters, digits and signs that JSON writes as they are.
    links = "" if run.run_id is None else f',"run_id":"{run.run_id}"'
    if span_id is not None:
        links += f',"span_id":"{span_id}"'
    if scope is not None:
        if scope.span_id is not None and scope.span_id != span_id:
            links += f',"parent_span_id":"{scope.span_id}"'
        if scope.causes:
            causes = tuple(dict.fromkeys((*scope.causes, *causes)))
    if causes:
        links += f',"causes":{orjson.dumps(causes).decode()}'
    if scope is not None and scope.tick is not None:
        links += f',"tick":{scope.tick}'
    return links.encode()


def note_misuse(pipeline: Pipeline, what: str, detail: str) -> None:
    """Count a call that makes no sense where it stands, tell it once, and record it each time."""
    pipeline.health.note(what)
    if pipeline.health.notes[what] == 1:
        say(f"{what} ({pipeline.redactor.text(detail)[:200]}); `Agent.health()` counts it")
    slot = pipeline.binding(None, None, "flight", Category.SYSTEM.value).slot("log", WARNING)
    pipeline.emit(slot, f"{what}: {detail}")


def pipeline_of_first_call() -> Pipeline | None:
    """The pipeline, set up by the first call of all; None where that shows that nothing is to be recorded."""
    try:
        pipeline = current_pipeline()
    except RuntimeError as error:
        # where recording was given up, or waits, that was said once
        if is_recorded() and not isinstance(error, installed.NotRecording):
            say(f"recording is not set up: {as_text(error)}")
        return None
    # Only now a level is set.
    return pipeline if is_recorded() else None


class Guard:
    """Gives the pipeline, None where nothing is recorded; no error of recording leaves the block."""

    __slots__ = ("_call", "_pipeline")

    def __init__(self, call: str) -> None:
        self._call = call
        self._pipeline: Pipeline | None = None

    def __enter__(self) -> Pipeline | None:
        if is_recorded():
            self._pipeline = installed.active or pipeline_of_first_call()
        return self._pipeline

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        if self._pipeline is not None:
            self._pipeline.health.trouble(f"recorder.{self._call}", error)
            self._pipeline.health.drop("an event of a run could not be made")
        return True
