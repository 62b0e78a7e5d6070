"""What is open: runs, their steps, and the scope that each of them puts around what happens in it.

`recorder.py` opens and closes them; `run_events.py` writes their events. Tools and checkpoints ask
`surrounding_run()` where they are.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from Agent.event.codec import DamagedLine, decode_line
from Agent.event.ids import uuid7
from Agent.record.emit.context import SpanScope, current_scope
from Agent.tree.layout import run_files, safe_name
from Agent.tree.write.artifacts import ROOT_RUN

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.event_template import AgentBinding

_MAX_FIRST_BYTES = 4 * 1024 * 1024


class RunScope(SpanScope):
    """The scope inside a run or a step; one that was closed out of turn is left as soon as that is seen."""

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
            self.path = ()  # a run is the same wherever it is begun
        self.run_id = run_id
        self.before = before
        self.closed = False

    def enter(self) -> None:
        """Let what happens from here on happen in it."""
        current_scope.set(self)

    def leave(self) -> None:
        """Close it; where it is the current one, what is still open around it becomes that."""
        self.closed = True
        current_scope.set(settled_scope())

    def detach(self) -> None:
        """Close it where it cannot be left, since other threads and tasks may stand in it."""
        self.closed = True
        self.run_id = self.span_id = None
        self.links = b""


def settled_scope() -> SpanScope | None:
    """The current scope without those that were closed meanwhile."""
    scope = current_scope.get()
    while isinstance(scope, RunScope) and scope.closed:
        scope = scope.before
    return scope


class _Open:
    """A span that is open on the board, too, so that it is named after a crash."""

    __slots__ = ("_board", "_slot", "scope", "span_id", "started_ns")

    def __init__(self, pipeline: Pipeline, scope: RunScope, name: str) -> None:
        self.scope = scope
        self.span_id = scope.span_id or ""
        self.started_ns = pipeline.monotonic_ns()
        self._board = board = pipeline.board
        self._slot = -1
        if board is not None:
            agent_id = scope.agent.agent_id if scope.agent is not None else None
            self._slot = board.open_span(self.span_id, agent_id, name, pipeline.wall_ns() // 1000)

    def close(self, pipeline: Pipeline) -> float:
        """Take it off the board and out of the scope; how long it was open, in milliseconds."""
        # After a fork the board is another one, on which this place is somebody else's.
        if self._slot >= 0 and self._board is not None and self._board is pipeline.board:
            self._board.close_span(self._slot)
            self._slot = -1
        self.scope.leave()
        return (pipeline.monotonic_ns() - self.started_ns) / 1e6


class OpenStep(_Open):
    """A step that was started and not finished."""

    __slots__ = ("name", "step_id")

    def __init__(self, pipeline: Pipeline, scope: RunScope, step_id: str, name: str | None) -> None:
        super().__init__(pipeline, scope, pipeline.redactor.text(name or step_id))
        self.step_id = step_id
        self.name = name


class CheckpointsOfRun(Protocol):
    """What takes the checkpoints of one run while it is recorded; `checkpoints.recording` has it."""

    def state_told(self, state: Any) -> None:
        """The program said what its state is."""

    def step_ended(self, step_id: str, *, failed: bool) -> None:
        """A step of the run has ended."""

    def run_ended(self, *, ok: bool) -> None:
        """The run has ended."""


class Run:
    """A run as this process knows it: one that it began, one of another process, or a session's root run.

    Args:
        run_id: stands in its events; None for the root run, whose events carry none.
        agent_id: whose run it is.
        parent: the run around it.
    """

    def __init__(
        self, pipeline: Pipeline, run_id: str | None, agent_id: str | None = None, parent: Run | None = None
    ) -> None:
        self.run_id = run_id
        self.agent_id = agent_id
        self.parent = parent
        self.pipeline = pipeline
        self.steps: dict[str, list[OpenStep]] = {}
        self.span: _Open | None = None
        self.ended = False
        self.binding: AgentBinding | None = None
        """What its events are written through, made with the first."""
        self.checkpoints: CheckpointsOfRun | None = None
        """What takes them, where the run was begun with a policy."""
        self.graph_calls = 0
        """How many calls of recorded graphs were begun in it."""

    def enter(self, pipeline: Pipeline, before: SpanScope | None, agent: AgentBinding | None) -> None:
        """Let what happens from here on be part of it."""
        scope = RunScope(before, self.run_id, pipeline.next_span_id(), agent, f"run {self.agent_id or '-'}")
        self.span = _Open(pipeline, scope, f"run {self.run_id}")
        scope.enter()

    def end(self, *, ok: bool) -> None:
        """Let nothing more happen in it; its outcome says how long its checkpoints are kept."""
        self.steps.clear()
        if self.checkpoints is not None:
            self.checkpoints.run_ended(ok=ok)
        elif (recording := sys.modules.get("Agent.flight.checkpoints.recording")) is not None:
            recording.checkpoint_store.note_outcome(self.directory_id, ok=ok)  # saved by the program itself
        self.ended = True
        OPEN_RUNS.pop(self.run_id or "", None)

    def add(self, step: OpenStep) -> None:
        """Keep a step that was started."""
        self.steps.setdefault(step.step_id, []).append(step)

    def take(self, step_id: str) -> OpenStep | None:
        """The open step of that id, no longer open: of several the one around the caller, else the newest."""
        open_steps = self.steps.get(step_id)
        if not open_steps:
            return None
        around = _scopes_around()
        found = next((step for step in reversed(open_steps) if step.scope in around), open_steps[-1])
        open_steps.remove(found)
        if not open_steps:
            self.steps.pop(step_id, None)
        return found

    def open_steps(self) -> list[OpenStep]:
        """The steps that were started and not finished, oldest first."""
        found = [step for same in list(self.steps.values()) for step in same]
        return sorted(found, key=lambda step: step.started_ns)

    @property
    def directory_id(self) -> str:
        """The name under which its artifacts lie."""
        return self.run_id or ROOT_RUN


def _scopes_around() -> list[Any]:
    found = []
    scope = current_scope.get()
    while isinstance(scope, RunScope):
        found.append(scope)
        scope = scope.before
    return found


OPEN_RUNS: dict[str, Run] = {}
"""The runs that this process takes part in, by id."""
_roots: dict[Pipeline, Run] = {}


def new_run_id() -> str:
    """A UUIDv7."""
    unix_ms, rest_ns = divmod(time.time_ns(), 1_000_000)
    # Behind the millisecond stands which part of it (RFC 9562, method 3): ids sort as runs began.
    part = (rest_ns << 12) // 1_000_000
    return uuid7(unix_ms, part.to_bytes(2, "big") + os.urandom(8))


def is_run_id(text: str) -> bool:
    """Whether the text can be the id of a run: letters, digits, `_`, `.` and `-`, in small letters."""
    return safe_name(text) == text and text != ROOT_RUN


def open_run(run_id: str, pipeline: Pipeline) -> Run:
    """The run of that id; one that was begun elsewhere is joined."""
    run = OPEN_RUNS.get(run_id)
    if run is None or run.pipeline is not pipeline:
        run = OPEN_RUNS[run_id] = Run(pipeline, run_id, _agent_of(pipeline, run_id))
    return run


def is_open(run_id: str) -> bool:
    """Whether this process takes part in that run and it has not been finished."""
    return run_id in OPEN_RUNS


def _agent_of(pipeline: Pipeline, run_id: str) -> str | None:
    """Whose run it is, as the process that began it wrote down; None where that cannot be read."""
    if pipeline.artifacts is None:
        return None
    for path in run_files(pipeline.artifacts.session, run_id):
        try:
            with path.open("rb") as file:
                return decode_line(file.readline(_MAX_FIRST_BYTES)).agent_id
        except FileNotFoundError:
            continue  # removed since it was listed
        except (OSError, DamagedLine) as error:
            pipeline.health.trouble("reading whose run it is", error)
    return None


def surrounding_run(pipeline: Pipeline) -> Run:
    """The run in which the caller stands; the session's root run outside of any."""
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
    """Let nothing that is recorded into a later session look as if it happened in a run of this one."""
    runs = [run for run in list(OPEN_RUNS.values()) if run.pipeline is pipeline]
    for run in (*runs, _roots.pop(pipeline)):
        for span in (run.span, *run.open_steps()):
            if span is not None:
                span.scope.detach()
        OPEN_RUNS.pop(run.run_id or "", None)
