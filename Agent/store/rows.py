"""What goes into the database, as plain values: events, and runs with their steps and failures.

Times are microseconds since 1970; what nobody said is None. A run, and a step, may be partial: what one batch
says of it. `ingesting` merges such parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

__all__ = ["RUNNING", "EventRow", "FailureRow", "Ingested", "RunRow", "StepRow"]

RUNNING: Final = "running"
"""The status of a run or step of which no end is known; whether its program still lives is not known here."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event."""

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
    tick: int | None = None
    name: str | None = None
    """The action, tool, model, metric or class of error that it is about."""
    duration_ms: float | None = None
    outcome: str | None = None
    causes: tuple[str, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepRow:
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
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One failure of a run."""

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


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run, as far as it is known."""

    run_id: str
    agent_id: str | None = None
    agent_version: str | None = None
    status: str = RUNNING
    started_us: int | None = None
    ended_us: int | None = None
    session_uid: str | None = None
    parent_run_id: str | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[StepRow, ...] = ()
    failures: tuple[FailureRow, ...] = ()


class Ingested(NamedTuple):
    """What became of a batch that was committed."""

    accepted: int
    """Events that were not there before."""
    duplicates: int
    runs: int
    runs_new: int
    """Runs that were not there before."""
