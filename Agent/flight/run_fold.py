"""Fold a run's events into a summary and rows; defined for damaged and missing events, too.

`run_reading.py` feeds it. A run without `run.finished` has crashed, unless one of its writers still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from Agent.errors import RunNotFound
from Agent.event.clock import seconds_between
from Agent.event.model import Event
from Agent.tree.files.session import read_claims
from Agent.tree.layout import session_id_of
from Agent.tree.read.reader import TreeReader


@dataclass(slots=True)
class Step:
    """One step; `state` is `ok`, `error`, `cancelled`, `interrupted` or `open`."""

    step_id: str
    name: str | None = None
    step_type: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    duration_ms: float | None = None
    state: str = "open"
    output_ref: str | None = None
    error: Any = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model."""

    call_id: str
    model_name: str
    timestamp: str
    step_id: str | None = None
    model_provider: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: float | None = None
    prompt_ref: str | None = None
    output_ref: str | None = None
    outcome: str | None = None
    cost: float | None = None
    currency: str | None = None
    chunks: int | None = None
    first_chunk_ms: float | None = None
    path: tuple[str, ...] = ()
    answered_by: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool; `path` names the spans around it, `answered_by` is the id of the recorded call."""

    name: str
    call_id: str
    timestamp: str
    outcome: str | None = None
    duration_ms: float | None = None
    kind: str | None = None
    site: str | None = None
    path: tuple[str, ...] = ()
    error: Any = None
    answered_by: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file that the run kept."""

    path: str
    ref: str
    media_type: str | None = None
    size_bytes: int | None = None
    digest: str | None = None
    step_id: str | None = None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one row; `state` is `success`, `failure`, `partial`, `running` or `crashed`.

    A root run has no start and finish events; its state is `root`.
    """

    run_id: str
    session_id: str
    session: Path
    agent: str | None
    labels: dict[str, Any]
    parent_run_id: str | None
    started_at: str | None
    finished_at: str | None
    duration_s: float | None
    state: str
    ok: bool | None
    error: Any
    steps: int
    open_steps: tuple[str, ...]
    model_calls: int
    tool_calls: int
    artifacts: int
    prompt_tokens: int
    completion_tokens: int
    costs: dict[str, float] = field(default_factory=dict)
    """The cost of its model calls by currency; calls without a known price are left out."""


@dataclass(slots=True)
class RunFold:
    """Collects the events of one run, which must be added in order.

    Args:
        keeps_rows: whether steps, calls and artifacts are kept as rows; False keeps only their counts.
    """

    run_id: str
    session: Path
    keeps_rows: bool = True
    steps: list[Step] = field(default_factory=list)
    model_calls: list[ModelCall] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    writers: set[str] = field(default_factory=set)
    is_alive: bool = False
    _counts: dict[str, int] = field(default_factory=dict)
    _open: dict[str, Step] = field(default_factory=dict)
    _started: Event | None = None
    _finished: Event | None = None
    _first: str | None = None
    _last: str | None = None
    _tokens: list[int] = field(default_factory=lambda: [0, 0])
    _costs: dict[str, float] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Add the next event."""
        self.writers.add(event.writer)
        self._first = self._first or event.timestamp
        self._last = event.timestamp
        self._counts[event.kind] = self._counts.get(event.kind, 0) + 1
        match event.kind:
            case "run.started":
                self._started = self._started or event
            case "run.finished":
                self._finished = event
            case "step.started":
                self._start_step(event)
            case "step.finished":
                self._finish_step(event)
            case "model.call":
                self._call_model(event)
            case "tool.call" if self.keeps_rows:
                self.tool_calls.append(_row_of(ToolCall, event, kind="tool_kind"))
            case "artifact.saved" if self.keeps_rows:
                self.artifacts.append(self._in_step(_row_of(Artifact, event), event))

    def _in_step(self, row: _InStep, event: Event) -> _InStep:
        """Return a row with the step in which the event happened, unless the program named one."""
        step = self._open.get(event.parent_span_id or "")
        return row if step is None or row.step_id is not None else replace(row, step_id=step.step_id)

    def _start_step(self, event: Event) -> None:
        extra = event.extra
        step = Step(
            _text(extra.get("step_id")) or "",
            _text(extra.get("name")),
            _text(extra.get("step_type")),
            started_at=event.timestamp,
        )
        # Keyed by span, since a step id may be used several times.
        self._open[_text(extra.get("step_span")) or event.id] = step
        if self.keeps_rows:
            self.steps.append(step)

    def _finish_step(self, event: Event) -> None:
        extra = event.extra
        step = self._open.pop(event.span_id or "", None)
        if step is None:
            # Its start event was lost, or never written.
            step = Step(_text(extra.get("step_id")) or "", _text(extra.get("name")))
            self._counts["step.started"] = self._counts.get("step.started", 0) + 1
            if self.keeps_rows:
                self.steps.append(step)
        step.name = _text(extra.get("name")) or step.name
        step.finished_at = event.timestamp
        step.duration_ms = _number(extra.get("duration_ms"))
        step.state = _text(extra.get("outcome")) or "ok"
        step.output_ref = _text(extra.get("output_ref"))
        step.error = extra.get("error")
        step.problem = _text(extra.get("problem"))

    def _call_model(self, event: Event) -> None:
        extra = event.extra
        cost, currency = _number(extra.get("cost")), _text(extra.get("currency"))
        if cost is not None and currency is not None:
            self._costs[currency] = self._costs.get(currency, 0.0) + cost
        tokens = [_count(extra.get("prompt_tokens")), _count(extra.get("completion_tokens"))]
        if extra.get("answered_by") is None:  # a recorded response was paid for when it was recorded
            self._tokens = [total + (more or 0) for total, more in zip(self._tokens, tokens, strict=True)]
        if self.keeps_rows:
            self.model_calls.append(self._in_step(_row_of(ModelCall, event), event))

    def summary(self) -> RunSummary:
        """The run in one row; fields without an event are None or 0."""
        begin = self._started.extra if self._started is not None else {}
        end = self._finished.extra if self._finished is not None else {}
        finished_at = self._finished.timestamp if self._finished is not None else None
        labels = begin.get("labels")
        ok = end.get("ok")
        count = self._counts.get
        return RunSummary(
            run_id=self.run_id,
            session_id=session_id_of(self.session),
            session=self.session,
            agent=_text(begin.get("agent")),
            labels=labels if isinstance(labels, dict) else {},
            parent_run_id=_text(begin.get("parent_run_id")),
            started_at=self._first,
            finished_at=finished_at,
            duration_s=seconds_between(self._first, finished_at or self._last),
            state=self._state(_text(end.get("status"))),
            ok=ok if isinstance(ok, bool) else None,
            error=end.get("error"),
            steps=count("step.started", 0),
            open_steps=tuple(step.step_id for step in self._open.values()),
            model_calls=count("model.call", 0),
            tool_calls=count("tool.call", 0),
            artifacts=count("artifact.saved", 0),
            prompt_tokens=self._tokens[0],
            completion_tokens=self._tokens[1],
            costs={currency: round(cost, 12) for currency, cost in self._costs.items()},
        )

    def _state(self, status: str | None) -> str:
        if self._finished is not None:
            return status or ("success" if self._finished.extra.get("ok") else "failure")
        if self._started is None:
            return "root"
        return "running" if self.is_alive else "crashed"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _names(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "str": lambda value: _text(value) or "",
    "str | None": _text,
    "float | None": _number,
    "int | None": _count,
    "tuple[str, ...]": _names,
    "Any": lambda value: value,
}
"""Readers of payload values by field type; a value of another type counts as missing."""
_Row = TypeVar("_Row", ModelCall, ToolCall, Artifact)
_InStep = TypeVar("_InStep", ModelCall, Artifact)


def _row_of(row: type[_Row], event: Event, **keys: str) -> _Row:
    """The row of an event: each field is read from the key of its name, or from the key given in `keys`."""
    payload = {**event.extra, "timestamp": event.timestamp}
    values = ((each.name, each.type, payload.get(keys.get(each.name, each.name))) for each in fields(row))
    return row(**{name: _READERS[str(of_type)](value) for name, of_type, value in values})


def fold_run(run_id: str, session: Path, events: Iterable[Event], *, keeps_rows: bool = False) -> RunFold:
    """Fold the events of a run, and find out whether a process that wrote some of them is still alive."""
    fold = RunFold(run_id, session, keeps_rows)
    for event in events:
        fold.add(event)
    claims = read_claims(session)
    fold.is_alive = any(claims[writer].is_alive() for writer in fold.writers if writer in claims)
    return fold


def recorded_outcome(session: Path, run_id: str) -> str | None:
    """The outcome of a run: `success` or another status, `crashed`, or `running`; None without run events."""
    try:
        summary = fold_run(run_id, session, TreeReader(session).run_events(run_id)).summary()
    except RunNotFound:
        return None  # a run that has checkpoints but no events
    if summary.state == "root":
        return None
    return "success" if summary.ok else summary.state
