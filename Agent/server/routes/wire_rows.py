"""From messages of the wire to rows of the database: the one place where both are known."""

from __future__ import annotations

from Agent.event.kinds import LEVELS
from Agent.export.messages import EventMessage, FailureMessage, RunMessage, StepMessage
from Agent.store import EventRow, FailureRow, RunRow, StepRow

__all__ = ["event_row", "run_row"]


def event_row(message: EventMessage) -> EventRow:
    """An event as it is stored."""
    return EventRow(
        session_uid=message.session_uid,
        event_id=message.id,
        ts_us=message.ts_us,
        kind=message.kind,
        severity=LEVELS[message.level],
        agent_id=message.agent_id,
        agent_role=message.agent_role,
        run_id=message.run_id,
        span_id=message.span_id,
        parent_span_id=message.parent_span_id,
        tick=message.tick,
        name=message.name,
        duration_ms=message.duration_ms,
        outcome=message.outcome,
        causes=message.causes,
        body=message.body,
    )


def run_row(message: RunMessage) -> RunRow:
    """A run as it is stored, with its steps and failures."""
    return RunRow(
        run_id=message.run_id,
        agent_id=message.agent_id,
        agent_version=message.agent_version,
        status=message.status,
        started_us=message.started_us,
        ended_us=message.ended_us,
        session_uid=message.session_uid,
        parent_run_id=message.parent_run_id,
        labels=message.labels,
        steps=tuple(map(_step_row, message.steps)),
        failures=tuple(map(_failure_row, message.failures)),
    )


def _step_row(message: StepMessage) -> StepRow:
    return StepRow(
        step_key=message.step_key,
        position=message.position,
        step_id=message.step_id,
        step_type=message.step_type,
        name=message.name,
        started_us=message.started_us,
        latency_ms=message.latency_ms,
        status=message.status,
        metadata=message.metadata,
    )


def _failure_row(message: FailureMessage) -> FailureRow:
    return FailureRow(
        failure_id=message.failure_id,
        failure_type=message.failure_type,
        failure_code=message.failure_code,
        fingerprint=message.fingerprint,
        step_id=message.step_id,
        step_key=message.step_key,
        error_id=message.error_id,
        occurred_us=message.occurred_us,
        message=message.message,
    )
