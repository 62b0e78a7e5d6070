"""What a list is narrowed by; every field that is None narrows nothing."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EventFilter", "RunFilter"]


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are meant."""

    agent_id: str | None = None
    agent_version: str | None = None
    status: str | None = None
    failure_type: str | None = None
    failure_code: str | None = None
    session_uid: str | None = None
    since_us: int | None = None
    """Runs that began then or later."""
    until_us: int | None = None
    """Runs that began earlier."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant; those of a session or of a run."""

    session_uid: str | None = None
    run_id: str | None = None
    agent_id: str | None = None
    kind: str | None = None
    min_severity: int | None = None
    since_us: int | None = None
    until_us: int | None = None
