"""What crosses the wire and is stored behind it: runs with their steps and failures, and events.

`writing.py` makes the wire of the recording's events, `reading.py` makes these of the wire, `store/` keeps
them. Each is declared here alone: its fields are the columns of its table. Times are whole microseconds since
1970; what nobody said is None. A run, and a step, may be partial: what one batch says of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from Agent.event.clock import parse_timestamp

__all__ = [
    "Batch",
    "Dropped",
    "EventMessage",
    "FailureMessage",
    "MAX_ITEMS",
    "NO_TIME",
    "RUNNING",
    "Refused",
    "RunMessage",
    "StepMessage",
    "WIRE_VERSION",
    "WireError",
    "elapsed_ms",
    "read_time",
]

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
        return None
    return ts_us if 0 <= ts_us < _YEAR_10000_US else None


def elapsed_ms(started_us: int | None, ended_us: int | None) -> float | None:
    """How long something took; None where one of both is not known, or a clock was set back meanwhile."""
    if started_us is None or ended_us is None or ended_us < started_us:
        return None
    return (ended_us - started_us) / 1000
