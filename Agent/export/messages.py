"""The messages that are sent and stored: runs with their steps and failures, and events.

`wire.py` converts recorded events to the wire format, and this format to these messages; `store/` stores
them. The fields of a message are the columns of its table, declared only here. Times are integers, in
microseconds since 1970; unknown values are None. A run or step may be partial: the part of it that one batch
contains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from Agent.event.clock import parse_timestamp
from Agent.event.kinds import FAILURE_TYPES, RUN_STATUSES, FailureCode, FailureType, RunStatus

WIRE_VERSION: Final = 1
MAX_ITEMS: Final = 10_000
"""The most events and runs in a batch."""
RUNNING: Final = "running"
"""The status of a run or step without a known end; its program may have died."""
_MAX_PATHS: Final = 100


class WireError(ValueError):
    """Raised for a body that is not in the wire format; `path` is a JSON Pointer to the problem.

    `mistakes` has (path, problem) of every mistake of a document, at most 100, if there are several.
    """

    def __init__(self, path: str, problem: str, mistakes: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(f"{path or '/'}: {problem}")
        self.path = path
        self.problem = problem
        self.mistakes = mistakes


class Dropped(Counter[str]):
    """The number of values that were dropped, by path, with `*` for each index."""

    @property
    def is_full(self) -> bool:
        """Whether further paths are counted together."""
        return len(self) >= _MAX_PATHS

    def note(self, path: str) -> None:
        """Count one value; more than 100 paths are counted together."""
        if path in self or not self.is_full:
            self[path] += 1
        else:
            self["/..."] += 1


class Refused(NamedTuple):
    """An invalid item of a batch: its index, the path of the error within it, and the problem."""

    number: int
    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class StepMessage:
    """One step of a run; unknown values are None."""

    step_key: str
    """Unique in the run."""
    position: int
    """The sort key of the steps of a run."""
    step_id: str
    """The id for display; several steps may have the same, as in retries."""
    step_type: str | None = None
    name: str | None = None
    started_us: int | None = None
    latency_ms: float | None = None
    status: str | None = None
    """`running`, `ok`, `error`, `cancelled` or `interrupted`."""
    metadata: dict[str, Any] = field(default_factory=dict)
    parent_step_id: str | None = None
    """The `step_key` of the step around it, or the id of the span around it."""


@dataclass(frozen=True, slots=True)
class FailureMessage:
    """One failure of a run: the part that failed, and how."""

    failure_id: str
    """Unique in the run."""
    failure_type: str
    failure_code: str
    fingerprint: str | None = None
    step_id: str | None = None
    step_key: str | None = None
    error_id: str | None = None
    occurred_us: int | None = None
    message: str | None = None
    """None unless the project accepts content."""


@dataclass(frozen=True, slots=True)
class RunMessage:
    """One run, or the part of it in one batch of events, in which many values may be unknown."""

    run_id: str
    agent_id: str | None = None
    agent_version: str | None = None
    status: str = RUNNING
    """`running`, `success`, `failure` or `partial`."""
    started_us: int | None = None
    ended_us: int | None = None
    session_uid: str | None = None
    parent_run_id: str | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    steps: tuple[StepMessage, ...] = ()
    failures: tuple[FailureMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class EventMessage:
    """One event; `body` has the allowed values that are not columns."""

    session_uid: str
    """A UUID; for version 7, the time in it determines the partition of the session's events."""
    event_id: str
    ts_us: int
    kind: str
    severity: int = 20
    agent_id: str | None = None
    agent_role: str | None = None
    run_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    causes: tuple[str, ...] = ()
    tick: int | None = None
    name: str | None = None
    """The action, tool, model, metric, step or class of error of the event."""
    duration_ms: float | None = None
    outcome: str | None = None
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """A body of `POST /v1/events`: events, their runs, and the invalid items."""

    events: tuple[EventMessage, ...]
    runs: tuple[RunMessage, ...]
    refused: tuple[Refused, ...] = ()
    session_uid: str | None = None
    session_id: str | None = None
    """The name of the session on the sender's disk."""


NO_TIME: Final = "it is not an RFC 3339 time between 1970 and 9999"
_MAX_CHARS: Final = 40
YEAR_10000_US: Final = 253_402_300_800_000_000
"""The first microsecond that no timestamp can express."""


def read_time(value: object) -> int | None:
    """Return microseconds since 1970 of an RFC 3339 time (UTC without an offset), None for other values."""
    if not isinstance(value, str) or len(value) > _MAX_CHARS:
        return None
    try:
        ts_us = parse_timestamp(value)
    except (ValueError, OverflowError):
        return None  # an invalid time is treated as unknown
    return ts_us if 0 <= ts_us < YEAR_10000_US else None


MAX_INTEGER: Final = 2**63 - 1


def is_number(value: object, *kinds: type) -> bool:
    """Return whether a value is a number of these types; a boolean is not a number."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def read_whole(value: Any) -> int | None:
    """Return an integer that fits into a database column, None for other values."""
    return value if is_number(value, int) and abs(value) <= MAX_INTEGER else None


def elapsed_ms(started_us: int | None, ended_us: int | None) -> float | None:
    """Return a duration; None if a time is unknown, or the end is before the start (a clock was set back)."""
    if started_us is None or ended_us is None or ended_us < started_us:
        return None
    return (ended_us - started_us) / 1000


_FAILED: Final = frozenset({RunStatus.FAILURE.value, RunStatus.PARTIAL.value})
_MOST_CHARS: Final = 200
"""The maximum length of a text by which runs are filtered; longer ones fit no filter and no index."""
_MOST_MESSAGE_CHARS: Final = 20_000


@dataclass(slots=True)
class RunParts:
    """The parts of one run that are known so far, with steps and failures by key."""

    run: RunMessage
    steps: dict[str, StepMessage] = field(default_factory=dict)
    failures: dict[str, FailureMessage] = field(default_factory=dict)

    def message(self) -> RunMessage:
        """Return the parts as one run."""
        return replace(self.run, steps=tuple(self.steps.values()), failures=tuple(self.failures.values()))


@dataclass(slots=True)
class _RunState(RunParts):
    """The parts of one run that are read from events."""

    ending: EventMessage | None = None

    def begin(self, event: EventMessage) -> None:
        labels = _object(event.body.get("labels"))
        self.run = replace(
            self.run,
            agent_id=event.agent_id or _text(event.body.get("agent")),
            agent_version=_text(labels.get("agent_version")),
            started_us=event.ts_us,
            parent_run_id=_text(event.body.get("parent_run_id")),
            labels=labels,
        )

    def end(self, event: EventMessage) -> None:
        ended_well = bool(event.body.get("ok"))
        plain = RunStatus.SUCCESS if ended_well else RunStatus.FAILURE
        status = _one_of(event.body.get("status"), RUN_STATUSES) or plain.value
        self.ending = event
        self.run = replace(
            self.run, agent_id=self.run.agent_id or event.agent_id, status=status, ended_us=event.ts_us
        )

    def begin_step(self, event: EventMessage) -> None:
        key = _text(event.body.get("step_span")) or event.event_id
        step = StepMessage(
            step_id=_text(event.body.get("step_id")) or key,
            step_key=key,
            position=event.ts_us,
            step_type=_text(event.body.get("step_type")),
            name=_text(event.name),
            started_us=event.ts_us,
            status="running",
            parent_step_id=_text(event.parent_span_id),
        )
        ended = self.steps.get(key)
        if ended is not None:
            step = replace(
                ended, step_type=step.step_type, position=step.position, started_us=step.started_us
            )
        self.steps[key] = step

    def end_step(self, event: EventMessage) -> None:
        key = event.span_id or event.event_id
        began = self.steps.get(key)
        started_us = began.started_us if began is not None else None
        if started_us is None:
            # The duration is untrusted input, so clamp it: a time may not be before 1970.
            started_us = max(0, event.ts_us - max(0, round((event.duration_ms or 0.0) * 1000)))
        self.steps[key] = StepMessage(
            step_id=_text(event.body.get("step_id")) or key,
            step_key=key,
            position=started_us,
            step_type=began.step_type if began is not None else None,
            name=_text(event.name),
            started_us=started_us,
            latency_ms=event.duration_ms,
            status=_text(event.outcome) or "ok",
            metadata=_object(event.body.get("metadata")),
            parent_step_id=_text(event.parent_span_id),
        )

    def fail(self, event: EventMessage) -> None:
        self.run = replace(self.run, agent_id=self.run.agent_id or event.agent_id)
        failure_id = _text(event.body.get("error_id")) or event.event_id
        self.failures.setdefault(failure_id, _failure(event, failure_id))

    def classify(self, errors: dict[str, EventMessage]) -> None:
        """Add the failure of a failed run without a recorded one, from its error event."""
        ending = self.ending
        if ending is not None and not self.failures and self.run.status in _FAILED:
            error_id = _text(ending.body.get("error_id"))
            if error_id is not None:
                self.failures[error_id] = _failure(errors.get(error_id, ending), error_id)


_TAKERS: Final = {
    "run.started": _RunState.begin,
    "run.finished": _RunState.end,
    "run.failure": _RunState.fail,
    "step.started": _RunState.begin_step,
    "step.finished": _RunState.end_step,
}


def runs_of_events(events: Iterable[EventMessage]) -> list[RunMessage]:
    """Return the explicit runs in some events, in order of their first event."""
    runs: dict[str, _RunState] = {}
    errors: dict[str, EventMessage] = {}
    for event in events:
        if event.kind == "error":
            errors[event.event_id] = event
        if event.run_id is None or event.kind not in _TAKERS:
            continue
        run_state = runs.get(event.run_id)
        if run_state is None:
            run = RunMessage(event.run_id, session_uid=event.session_uid)
            run_state = runs[event.run_id] = _RunState(run)
        _TAKERS[event.kind](run_state, event)
    for each in runs.values():
        each.classify(errors)
    return [each.message() for each in runs.values()]


def _failure(event: EventMessage, failure_id: str) -> FailureMessage:
    body = event.body
    # `run.failure` has the code as its name; the name of an `error` is the class of the exception.
    code = event.name if event.kind == "run.failure" else body.get("failure_code")
    message = body.get("failure_message")
    return FailureMessage(
        failure_id=failure_id,
        failure_type=_one_of(body.get("failure_type"), FAILURE_TYPES) or FailureType.ORCHESTRATION.value,
        failure_code=_text(code) or FailureCode.UNKNOWN.value,
        fingerprint=_text(body.get("fingerprint")),
        step_id=_text(body.get("step_id")),
        step_key=_text(body.get("step_span")),
        error_id=_text(body.get("error_id")) or (failure_id if event.kind == "error" else None),
        occurred_us=event.ts_us,
        message=message[:_MOST_MESSAGE_CHARS] if isinstance(message, str) else None,
    )


def _text(value: object) -> str | None:
    """Return a number or text of a payload as text, cut to the length of a filter; None for other values."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value[:_MOST_CHARS] if isinstance(value, str) and value else None


def _one_of(value: object, choices: frozenset[str]) -> str | None:
    return value if isinstance(value, str) and value in choices else None


def _object(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
