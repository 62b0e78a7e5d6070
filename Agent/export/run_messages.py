"""What a batch of events says of the runs that they belong to: each as far as the batch goes.

A run's events may come in several batches and in any order. Whoever keeps runs adds up what they say: what
is None in a message is not known from its batch. A project that takes content may hold anything in a payload:
what is not of the right type there, or longer than can be looked for, tells nothing of a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from Agent.event.kinds import FailureCode, FailureType, RunStatus
from Agent.export.messages import EventMessage, FailureMessage, RunMessage, StepMessage

__all__ = ["runs_of_events"]

_TOLD_BY: Final = frozenset("run.started run.finished run.failure step.started step.finished".split())
_FAILED: Final = frozenset({RunStatus.FAILURE.value, RunStatus.PARTIAL.value})
_STATUSES: Final = frozenset(status.value for status in RunStatus)
_FAILURE_TYPES: Final = frozenset(kind.value for kind in FailureType)
_MOST_CHARS: Final = 200
"""Of a text that runs are found by; more than that no filter takes, and no index."""
_MOST_MESSAGE_CHARS: Final = 20_000


@dataclass(slots=True)
class _Known:
    """What is known of one run so far."""

    run: RunMessage
    steps: dict[str, StepMessage] = field(default_factory=dict)
    failures: dict[str, FailureMessage] = field(default_factory=dict)
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
        status = _one_of(event.body.get("status"), _STATUSES) or plain.value
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
            started_us = event.ts_us - round((event.duration_ms or 0.0) * 1000)
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

    def message(self, errors: dict[str, EventMessage]) -> RunMessage:
        """The run as the batch tells it; one that failed and does not say how is told by its error."""
        ending = self.ending
        if ending is not None and not self.failures and self.run.status in _FAILED:
            error_id = _text(ending.body.get("error_id"))
            if error_id is not None:
                self._add(_failure(errors.get(error_id, ending), error_id))
        return replace(self.run, steps=tuple(self.steps.values()), failures=tuple(self.failures.values()))


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
    return [each.message(errors) for each in known.values()]


def _failure(event: EventMessage, failure_id: str) -> FailureMessage:
    body = event.body
    # Of `run.failure` the code is what the event is named by, of `error` the class of the exception.
    code = event.name if event.kind == "run.failure" else body.get("failure_code")
    message = body.get("failure_message")
    return FailureMessage(
        failure_id=failure_id,
        failure_type=_one_of(body.get("failure_type"), _FAILURE_TYPES) or FailureType.ORCHESTRATION.value,
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
