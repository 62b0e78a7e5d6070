"""What a batch of events says of the runs that they belong to: each as far as the batch goes.

A run's events may come in several batches and in any order. Whoever keeps runs adds up what they say: what
is None in a message is not known from its batch.
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


@dataclass(slots=True)
class _Known:
    """What is known of one run so far."""

    run: RunMessage
    steps: dict[str, StepMessage] = field(default_factory=dict)
    failures: dict[str, FailureMessage] = field(default_factory=dict)
    ending: EventMessage | None = None

    def begin(self, event: EventMessage) -> None:
        labels = event.body.get("labels") or {}
        version = labels.get("agent_version")
        self.run = replace(
            self.run,
            agent_id=event.agent_id or event.body.get("agent"),
            agent_version=None if version is None else str(version),
            started_us=event.ts_us,
            parent_run_id=event.body.get("parent_run_id"),
            labels=dict(labels),
        )

    def end(self, event: EventMessage) -> None:
        ended_well = bool(event.body.get("ok"))
        plain = RunStatus.SUCCESS if ended_well else RunStatus.FAILURE
        status = event.body.get("status") or plain.value
        self.ending = event
        self.run = replace(
            self.run, agent_id=self.run.agent_id or event.agent_id, status=status, ended_us=event.ts_us
        )

    def begin_step(self, event: EventMessage) -> None:
        key = event.body.get("step_span") or event.id
        told = StepMessage(
            step_id=str(event.body.get("step_id") or key),
            step_key=key,
            position=event.ts_us,
            step_type=event.body.get("step_type"),
            name=event.name,
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
        key = event.span_id or event.id
        began = self.steps.get(key)
        started_us = began.started_us if began is not None else None
        if started_us is None:
            started_us = event.ts_us - round((event.duration_ms or 0.0) * 1000)
        self.steps[key] = StepMessage(
            step_id=str(event.body.get("step_id") or key),
            step_key=key,
            position=started_us,
            step_type=began.step_type if began is not None else None,
            name=event.name,
            started_us=started_us,
            latency_ms=event.duration_ms,
            status=event.outcome or "ok",
            metadata=dict(event.body.get("metadata") or {}),
        )

    def fail(self, event: EventMessage) -> None:
        self.run = replace(self.run, agent_id=self.run.agent_id or event.agent_id)
        self._add(_failure(event, event.body.get("error_id") or event.id))

    def _add(self, failure: FailureMessage) -> None:
        self.failures.setdefault(failure.failure_id, failure)

    def message(self, errors: dict[str, EventMessage]) -> RunMessage:
        """The run as the batch tells it; one that failed and does not say how is told by its error."""
        ending = self.ending
        if ending is not None and not self.failures and self.run.status in _FAILED:
            error_id = ending.body.get("error_id")
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
            errors[event.id] = event
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
    return FailureMessage(
        failure_id=failure_id,
        failure_type=body.get("failure_type") or FailureType.ORCHESTRATION.value,
        failure_code=code or FailureCode.UNKNOWN.value,
        fingerprint=body.get("fingerprint"),
        step_id=_text(body.get("step_id")),
        step_key=_text(body.get("step_span")),
        error_id=body.get("error_id") or (failure_id if event.kind == "error" else None),
        occurred_us=event.ts_us,
        message=_text(body.get("failure_message")),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
