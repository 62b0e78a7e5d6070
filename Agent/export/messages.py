"""What crosses the wire and is stored behind it: runs with their steps and failures, and events.

`wire.py` makes the wire of the recording's events, and these of the wire; `store/` keeps them. Each is
declared here alone: its fields are the columns of its table. Times are whole microseconds since 1970; what
nobody said is None. A run, and a step, may be partial: what one batch says of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from Agent.event.clock import parse_timestamp
from Agent.event.kinds import FAILURE_TYPES, RUN_STATUSES, FailureCode, FailureType, RunStatus

WIRE_VERSION: Final = 1
MAX_ITEMS: Final = 10_000
"""How many events and runs a batch may hold."""
RUNNING: Final = "running"
"""The status of a run or step of which no end is known; whether its program still lives is not known here."""
_MAX_PATHS: Final = 100


class WireError(ValueError):
    """A body that is not the wire: where in it, as a JSON pointer, and what is wrong there."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or '/'}: {problem}")
        self.path = path
        self.problem = problem


class Dropped(Counter[str]):
    """What may not leave the machine and was left out: how often, by its path, with `*` for an index."""

    def note(self, path: str) -> None:
        """Count one value; beyond a hundred paths they are counted together."""
        if path in self or len(self) < _MAX_PATHS:
            self[path] += 1
        else:
            self["/..."] += 1


class Refused(NamedTuple):
    """An item of a batch that is none: its place from 0, where in it, and what is wrong there."""

    number: int
    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class StepMessage:
    """One step of a run, as far as it is known."""

    step_key: str
    """Unique in the run."""
    position: int
    """Steps of a run stand in the order of this."""
    step_id: str
    """For people; it may repeat, as in retries."""
    step_type: str | None = None
    name: str | None = None
    started_us: int | None = None
    latency_ms: float | None = None
    status: str | None = None
    """`running`, `ok`, `error`, `cancelled` or `interrupted`."""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FailureMessage:
    """One failure of a run: which part of it failed, and how."""

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
    """Only where the project takes content."""


@dataclass(frozen=True, slots=True)
class RunMessage:
    """One run, or what one batch of events says of it: then much is None, and the status `running`."""

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
    """One event; `body` is what the allow-list let through beside the columns."""

    session_uid: str
    """A UUID; the time in one of version 7 decides in which partition its events lie."""
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
    """The action, tool, model, metric, step or class of error that it is about."""
    duration_ms: float | None = None
    outcome: str | None = None
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """A body of `POST /v1/events`: events, the runs that they belong to, and the items that are none."""

    events: tuple[EventMessage, ...]
    runs: tuple[RunMessage, ...]
    refused: tuple[Refused, ...] = ()
    session_uid: str | None = None
    session_id: str | None = None
    """The name of the session on the disk of whoever sent it."""


NO_TIME: Final = "it is not an RFC 3339 time between 1970 and 9999"
_MAX_CHARS: Final = 40
_YEAR_10000_US: Final = 253_402_300_800_000_000


def read_time(value: object) -> int | None:
    """Microseconds since 1970 of an RFC 3339 time, None for what is none; without an offset it is UTC."""
    if not isinstance(value, str) or len(value) > _MAX_CHARS:
        return None
    try:
        ts_us = parse_timestamp(value)
    except (ValueError, OverflowError):
        return None  # a field that is no time says nothing
    return ts_us if 0 <= ts_us < _YEAR_10000_US else None


MAX_INTEGER: Final = 2**63 - 1


def is_number(value: object, *kinds: type) -> bool:
    """Whether a value is a number of these kinds; a flag is none."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def read_whole(value: Any) -> int | None:
    """A whole number that a database takes, None for what is none."""
    return value if is_number(value, int) and abs(value) <= MAX_INTEGER else None


def elapsed_ms(started_us: int | None, ended_us: int | None) -> float | None:
    """How long something took; None where one of both is not known, or a clock was set back meanwhile."""
    if started_us is None or ended_us is None or ended_us < started_us:
        return None
    return (ended_us - started_us) / 1000


_TOLD_BY: Final = frozenset("run.started run.finished run.failure step.started step.finished".split())
_FAILED: Final = frozenset({RunStatus.FAILURE.value, RunStatus.PARTIAL.value})
_MOST_CHARS: Final = 200
"""Of a text that runs are found by; more than that no filter takes, and no index."""
_MOST_MESSAGE_CHARS: Final = 20_000


@dataclass(slots=True)
class RunParts:
    """What is known of one run so far, its steps and failures by their keys."""

    run: RunMessage
    steps: dict[str, StepMessage] = field(default_factory=dict)
    failures: dict[str, FailureMessage] = field(default_factory=dict)

    def message(self) -> RunMessage:
        """All of it as one run."""
        return replace(self.run, steps=tuple(self.steps.values()), failures=tuple(self.failures.values()))


@dataclass(slots=True)
class _Known(RunParts):
    """What events tell of one run."""

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
        told = StepMessage(
            step_id=_text(event.body.get("step_id")) or key,
            step_key=key,
            position=event.ts_us,
            step_type=_text(event.body.get("step_type")),
            name=_text(event.name),
            started_us=event.ts_us,
            status="running",
        )
        ended = self.steps.get(key)
        if ended is not None:
            told = replace(
                ended, step_type=told.step_type, position=told.position, started_us=told.started_us
            )
        self.steps[key] = told

    def end_step(self, event: EventMessage) -> None:
        key = event.span_id or event.event_id
        began = self.steps.get(key)
        started_us = began.started_us if began is not None else None
        if started_us is None:
            # a duration may be any number that was sent, and a time is none before 1970
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
        )

    def fail(self, event: EventMessage) -> None:
        self.run = replace(self.run, agent_id=self.run.agent_id or event.agent_id)
        self._add(_failure(event, _text(event.body.get("error_id")) or event.event_id))

    def _add(self, failure: FailureMessage) -> None:
        self.failures.setdefault(failure.failure_id, failure)

    def classify(self, errors: dict[str, EventMessage]) -> None:
        """Take the failure of a run that failed and does not say how from its error."""
        ending = self.ending
        if ending is not None and not self.failures and self.run.status in _FAILED:
            error_id = _text(ending.body.get("error_id"))
            if error_id is not None:
                self._add(_failure(errors.get(error_id, ending), error_id))


_TAKERS: Final = {
    "run.started": _Known.begin,
    "run.finished": _Known.end,
    "run.failure": _Known.fail,
    "step.started": _Known.begin_step,
    "step.finished": _Known.end_step,
}


def runs_of_events(events: Iterable[EventMessage]) -> list[RunMessage]:
    """The explicit runs that some events tell of, in the order in which they are met."""
    known: dict[str, _Known] = {}
    errors: dict[str, EventMessage] = {}
    for event in events:
        if event.kind == "error":
            errors[event.event_id] = event
        if event.run_id is None or event.kind not in _TOLD_BY:
            continue
        found = known.get(event.run_id)
        if found is None:
            run = RunMessage(event.run_id, session_uid=event.session_uid)
            found = known[event.run_id] = _Known(run)
        _TAKERS[event.kind](found, event)
    for each in known.values():
        each.classify(errors)
    return [each.message() for each in known.values()]


def _failure(event: EventMessage, failure_id: str) -> FailureMessage:
    body = event.body
    # Of `run.failure` the code is what the event is named by, of `error` the class of the exception.
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
    """A text or a number of a payload, as far as it can be looked for; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value[:_MOST_CHARS] if isinstance(value, str) and value else None


def _one_of(value: object, choices: frozenset[str]) -> str | None:
    return value if isinstance(value, str) and value in choices else None


def _object(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
