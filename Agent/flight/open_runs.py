"""Open runs and steps with their scopes, and the event lines that they write.

`run_recorder.py` opens and closes runs and steps; tools and checkpoints call `surrounding_run()` to find the
run they belong to. The events of a run are flat lines: `run.*`, `step.*`, `model.call`, `tool.call`,
`artifact.saved`. Inside a run they go to its `events.jsonl`, outside a run to the agent's file. They share
the writer's sequence numbers with all other events, so that lost ones are detected. `run_reading.py` reads
them back.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from os import urandom  # programs patch that of the module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import orjson

from Agent.event.codec import CURRENT_SCHEMA, DamagedLine, decode_line, run_key, run_pointer
from Agent.event.ids import uuid7
from Agent.event.kinds import LEVEL_NAMES, Category
from Agent.event.payloads import KINDS
from Agent.event.system_clock import SystemClock
from Agent.record.emit import installed
from Agent.record.emit.context import SpanScope, current_scope, hlc_link
from Agent.record.emit.installed import LIMITS, current_pipeline
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.safe_text import as_text, message_of
from Agent.record.health import say
from Agent.record.loggers.loggers import INFO, WARNING
from Agent.record.tracing.failures import outcome_of, record_error
from Agent.tree.layout import RUN_CATEGORY, open_file, run_files, safe_name
from Agent.tree.write.artifacts import ROOT_RUN

_MAX_FIRST_BYTES = 4 * 1024 * 1024


class RunScope(SpanScope):
    """The scope inside a run or a step. One closed out of order is skipped by `settled_scope`."""

    __slots__ = ("before", "closed")

    def __init__(
        self,
        before: SpanScope | None,
        run_id: str | None,
        span_id: str | None,
        agent: AgentBinding | None,
        name: str | None = None,
    ) -> None:
        super().__init__(before, span_id=span_id, name=name, agent=agent)
        if run_id is not None and (before is None or before.run_id is None):
            self.path = ()  # paths start at the run, so that they match wherever the run is begun
        self.run_id = run_id
        self.before = before
        self.closed = False

    def enter(self) -> None:
        """Make it the current scope."""
        current_scope.set(self)

    def leave(self) -> None:
        """Close it and make the innermost open scope the current one."""
        self.closed = True
        current_scope.set(settled_scope())

    def detach(self) -> None:
        """Close it without changing the current scope, since other threads and tasks may be inside it."""
        self.closed = True
        self.run_id = self.span_id = None
        self.links = b""


def settled_scope() -> SpanScope | None:
    """The innermost scope that is still open."""
    scope = current_scope.get()
    while isinstance(scope, RunScope) and scope.closed:
        scope = scope.before
    return scope


def open_on_board(pipeline: Pipeline, span_id: str, agent: AgentBinding | None, name: str) -> int:
    """Put a span on the board of open spans, which survives a crash; return its slot, -1 without a board."""
    if pipeline.board is None:
        return -1
    agent_id = None if agent is None else agent.agent_id
    return pipeline.board.open_span(span_id, agent_id, name, pipeline.wall_ns() // 1000)


class _Open:
    """An open span, listed on the board of open spans, so that it is reported after a crash."""

    __slots__ = ("_board", "_slot", "scope", "span_id", "started_ns")

    def __init__(self, pipeline: Pipeline, scope: RunScope, name: str) -> None:
        self.scope = scope
        self.span_id = scope.span_id or ""
        self.started_ns = pipeline.monotonic_ns()
        self._board = pipeline.board
        self._slot = open_on_board(pipeline, self.span_id, scope.agent, name)

    def close(self, pipeline: Pipeline) -> float:
        """Remove it from the board and leave its scope; return its duration in milliseconds."""
        # After a fork, the child has a new board, where this slot may belong to another span.
        if self._slot >= 0 and self._board is not None and self._board is pipeline.board:
            self._board.close_span(self._slot)
            self._slot = -1
        self.scope.leave()
        return (pipeline.monotonic_ns() - self.started_ns) / 1e6


class OpenStep(_Open):
    """A step that was started and has not been finished."""

    __slots__ = ("name", "step_id")

    def __init__(self, pipeline: Pipeline, scope: RunScope, step_id: str, name: str | None) -> None:
        super().__init__(pipeline, scope, pipeline.redactor.text(name or step_id))
        self.step_id = step_id
        self.name = name


class CheckpointsOfRun(Protocol):
    """Saves the checkpoints of one run while it is recorded; implemented in `checkpoints.recording`."""

    def set_state(self, state: Any) -> None:
        """Take the state that the program passed."""

    def step_ended(self, step_id: str, *, failed: bool) -> None:
        """React to the end of a step."""

    def run_ended(self, *, ok: bool) -> None:
        """React to the end of the run."""


@dataclass(eq=False, repr=False)
class Run:
    """A run that this process takes part in: its own, another process's, or the session's root run.

    Args:
        run_id: the `run_id` of its events; None for the root run, whose events have none.
        agent_id: the agent of the run.
        parent: the enclosing run of the same recorder.
    """

    pipeline: Pipeline
    run_id: str | None
    agent_id: str | None = None
    parent: Run | None = None
    steps: dict[str, list[OpenStep]] = field(default_factory=dict)
    span: _Open | None = None
    ended: bool = False
    binding: AgentBinding | None = None
    """The binding that writes its events; created with the first event."""
    checkpoints: CheckpointsOfRun | None = None
    """Saves its checkpoints; None if the run was begun without a policy and a state."""
    graph_calls: int = 0
    """The number of calls of recorded graphs begun in it."""

    def enter(self, pipeline: Pipeline, before: SpanScope | None, agent: AgentBinding | None) -> None:
        """Open its span and make its scope the current one."""
        scope = RunScope(before, self.run_id, pipeline.next_span_id(), agent, f"run {self.agent_id or '-'}")
        self.span = _Open(pipeline, scope, f"run {self.run_id}")
        scope.enter()

    def end(self, *, ok: bool) -> None:
        """Close it. The outcome decides how long its checkpoints are kept."""
        self.steps.clear()
        if self.checkpoints is not None:
            self.checkpoints.run_ended(ok=ok)
        elif (recording := sys.modules.get("Agent.flight.checkpoints.recording")) is not None:
            # A run without a policy may have checkpoints that the program saved itself.
            recording.checkpoint_store.note_outcome(self.directory_id, ok=ok)
        self.ended = True
        OPEN_RUNS.pop(self.run_id or "", None)

    def add(self, step: OpenStep) -> None:
        """Register a started step."""
        self.steps.setdefault(step.step_id, []).append(step)

    def take(self, step_id: str) -> OpenStep | None:
        """Remove and return the open step with that id: the innermost around the caller, else the newest."""
        open_steps = self.steps.get(step_id)
        if not open_steps:
            return None
        around = _scopes_around()
        matching = next((step for step in reversed(open_steps) if step.scope in around), open_steps[-1])
        open_steps.remove(matching)
        if not open_steps:
            self.steps.pop(step_id, None)
        return matching

    def open_steps(self) -> list[OpenStep]:
        """The steps that are not finished, oldest first."""
        steps = [step for same in list(self.steps.values()) for step in same]
        return sorted(steps, key=lambda step: step.started_ns)

    @property
    def directory_id(self) -> str:
        """The name of the directory of its artifacts."""
        return self.run_id or ROOT_RUN


def _scopes_around() -> list[Any]:
    scopes = []
    scope = current_scope.get()
    while isinstance(scope, RunScope):
        scopes.append(scope)
        scope = scope.before
    return scopes


OPEN_RUNS: dict[str, Run] = {}
"""The runs that this process takes part in, by id."""
_roots: dict[Pipeline, Run] = {}


def new_run_id() -> str:
    """A new UUIDv7, so that ids sort by the time of creation."""
    unix_ms, rest_ns = divmod(SystemClock.wall_ns(), 1_000_000)
    # The 12 bits after the millisecond hold its fraction (RFC 9562, method 3): ids sort below 1 ms, too.
    part = (rest_ns << 12) // 1_000_000
    return uuid7(unix_ms, part.to_bytes(2, "big") + urandom(8))


def is_run_id(text: str) -> bool:
    """Whether the text is a valid run id: lowercase letters, digits, `_`, `.` and `-`."""
    return safe_name(text) == text and text != ROOT_RUN


def recorded_root() -> Path | None:
    """The trace root of the active recording; None if there is none or it keeps no files."""
    pipeline = installed.active_pipeline()
    return None if pipeline is None or pipeline.artifacts is None else pipeline.artifacts.session.parent


def open_run(run_id: str, pipeline: Pipeline) -> Run:
    """The run with that id; a run that was begun elsewhere is added to `OPEN_RUNS`."""
    run = OPEN_RUNS.get(run_id)
    if run is None or run.pipeline is not pipeline:
        run = OPEN_RUNS[run_id] = Run(pipeline, run_id, _agent_of(pipeline, run_id))
    return run


def is_open(run_id: str) -> bool:
    """Whether this process takes part in the run and has not finished it."""
    return run_id in OPEN_RUNS


def _agent_of(pipeline: Pipeline, run_id: str) -> str | None:
    """The agent of a run, read from its first event; None if that cannot be read."""
    if pipeline.artifacts is None:
        return None
    for path in run_files(pipeline.artifacts.session, run_id):
        try:
            with os.fdopen(open_file(path)[0], "rb") as file:
                return decode_line(file.readline(_MAX_FIRST_BYTES)).agent_id
        except FileNotFoundError:
            continue  # deleted after it was listed
        except (OSError, DamagedLine) as error:
            pipeline.health.trouble("reading whose run it is", error)
    return None


def surrounding_run(pipeline: Pipeline) -> Run:
    """The innermost run around the caller; outside of runs, the session's root run."""
    scope = settled_scope()
    run = OPEN_RUNS.get(scope.run_id) if scope is not None and scope.run_id is not None else None
    if run is not None and not run.ended and run.pipeline is pipeline:
        return run
    root = _roots.get(pipeline)
    if root is None:
        root = _roots.setdefault(pipeline, Run(pipeline, None))
        pipeline.at_close.append(lambda: _leave_all(pipeline))
    return root


def _leave_all(pipeline: Pipeline) -> None:
    """Detach all runs of a closed session, so that events of a later session do not refer to them."""
    runs = [run for run in list(OPEN_RUNS.values()) if run.pipeline is pipeline]
    for run in (*runs, _roots.pop(pipeline)):
        for span in (run.span, *run.open_steps()):
            if span is not None:
                span.scope.detach()
        OPEN_RUNS.pop(run.run_id or "", None)


_LIMIT = LIMITS[Category.EVENTS.value]
_NONE: Mapping[str, Any] = {}


def is_recorded(level: int = INFO) -> bool:
    """Whether run events of that level are recorded now."""
    return _LIMIT.value <= level


def emit_run_event(
    pipeline: Pipeline,
    run: Run,
    kind: str,
    payload: Mapping[str, Any],
    *,
    scope: SpanScope | None = None,
    span_id: str | None = None,
    fields: Mapping[str, Any] = _NONE,
    judged: bytes = b"",
    judged_types: Mapping[str, str] | None = None,
    level: int = INFO,
) -> str:
    """Write one event of a run and return its id, "" if it could not be written.

    Args:
        run: the run, as returned by `surrounding_run`.
        kind: an event kind whose home is the run view.
        payload: values of the kind's own keys.
        scope: the scope in which it happened; default: the current one.
        span_id: its own span, if the event is a span.
        fields: the user's keys; one that collides with a key of the kind moves to `user.<key>`.
        judged: further members of the payload as JSON, already redacted.
        judged_types: the tags of these members.
        level: the level of the event.
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
    head = _line_prefix(pipeline.session_id, kind, level)
    return pipeline.put(slot, head, _links(run, scope, span_id), b"," if body else b"", body + b"}\n")


def ending_of(pipeline: Pipeline, run: Run, error: str | BaseException | None) -> dict[str, Any]:
    """The payload keys for the error that ended a run or step; an exception is also recorded as an event."""
    if error is None:
        return {}
    if not isinstance(error, BaseException):
        return {"error": error, "outcome": "error"}
    outcome = outcome_of(error)
    keys: dict[str, Any] = {"error": f"{type(error).__qualname__}: {message_of(error)}", "outcome": outcome}
    if outcome == "error":
        scope = settled_scope()
        agent = scope.agent if scope is not None else None
        binding = agent or pipeline.binding(run.agent_id, None, "flight", "errors")
        keys["error_id"] = record_error(pipeline, binding, error)
    return keys


def _user_fields(pipeline: Pipeline, kind: str, fields: Mapping[str, Any], own_keys: Any) -> dict[str, Any]:
    """The user's fields, renamed where a name is already used in a flat line."""
    taken = own_keys | {field.name for field in KINDS[kind].fields} | {"agent_id", "agent_role"}
    moved = pipeline.health.moved(fields, taken)
    return {run_key(key) if type(key) is str else str(key): value for key, value in moved.items()}


def _binding_of(pipeline: Pipeline, run: Run, agent: AgentBinding | None) -> AgentBinding:
    """The binding that writes a run's events: to the run's file, or for the root run to the agent's file."""
    if run.run_id is None:
        if agent is not None and agent.agent_id is not None:
            return agent
        return pipeline.binding(None, None, "flight", Category.EVENTS.value)
    if run.binding is None:
        category = RUN_CATEGORY + run.run_id
        # Not `pipeline.binding`, whose bindings live as long as the pipeline: there may be many runs.
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
def _line_prefix(session_id: str, kind: str, level: int) -> bytes:
    """The bytes of a line from the end of the id to the session id or the level."""
    begin = orjson.dumps({"type": kind, "session_id": session_id})[1:-1]
    head = b'","schema_version":%d,%s' % (CURRENT_SCHEMA, begin)
    return head if level == INFO else b'%s,"level":"%s"' % (head, LEVEL_NAMES[level].encode())


def _links(run: Run, scope: SpanScope | None, span_id: str | None) -> bytes:
    # Ids contain only characters that JSON does not escape.
    links = "" if run.run_id is None else f',"run_id":"{run.run_id}"'
    if span_id is not None:
        links += f',"span_id":"{span_id}"'
    if scope is not None:
        if scope.span_id is not None and scope.span_id != span_id:
            links += f',"parent_span_id":"{scope.span_id}"'
        if scope.causes:
            links += f',"causes":{orjson.dumps(tuple(dict.fromkeys(scope.causes))).decode()}'
        if scope.tick is not None:
            links += f',"tick":{scope.tick}'
    return (links + hlc_link()).encode()


def note_misuse(pipeline: Pipeline, misuse: str, detail: str) -> None:
    """Count an invalid call, print a message the first time, and log a warning each time."""
    pipeline.health.note(misuse)
    if pipeline.health.notes[misuse] == 1:
        say(f"{misuse} ({pipeline.redactor.text(detail)[:200]}); `Agent.health()` counts it")
    slot = pipeline.binding(None, None, "flight", Category.SYSTEM.value).slot("log", WARNING)
    pipeline.emit(slot, f"{misuse}: {detail}")


def pipeline_of_first_call() -> Pipeline | None:
    """The pipeline, created if this is the first call; None if nothing is to be recorded."""
    try:
        pipeline = current_pipeline()
    except RuntimeError as error:
        # NotRecording means that recording was disabled or is pending, which was already reported.
        if is_recorded() and not isinstance(error, installed.NotRecording):
            say(f"recording is not set up: {as_text(error)}")
        return None
    # Setting up the pipeline also sets the level, so check it again.
    return pipeline if is_recorded() else None


class RecordingGuard:
    """A block that yields the pipeline, None if nothing is recorded, and counts and swallows exceptions."""

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
