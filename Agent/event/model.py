"""`Event`, the immutable value that all packages exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NewType

from Agent.event.clock import parse_timestamp
from Agent.event.ids import split_event_id
from Agent.event.kinds import LEVELS

RedactedBytes = NewType("RedactedBytes", bytes)
"""Bytes after redaction; only these may be written to the trace tree."""

ENVELOPE_KEYS: Final = (
    "timestamp", "id", "schema_version", "session_id", "level", "logger", "message", "run_id", "span_id",
    "parent_span_id", "causes", "tick", "hlc", "extra", "code", "state", "types",
)  # fmt: skip
"""The keys of a line of the log view, in their order; `extra` holds the payload, the others the envelope."""


@dataclass(frozen=True, slots=True)
class Event:
    """One recorded event: one line of a log."""

    timestamp: str
    """RFC 3339, UTC, microseconds, Z; never decreasing within a thread."""
    id: str
    """`writer-seq`: the id of the writer and the number of the event within it."""
    schema_version: int
    kind: str
    """`event_type` of the log view, `type` of the run view."""
    session_id: str
    level: str = "INFO"
    logger: str = ""
    message: str = ""
    run_id: str | None = None
    span_id: str | None = None
    """The id of the span, if the event is one: a traced call, a context, a measured block."""
    parent_span_id: str | None = None
    """The id of the span in which the event happened."""
    causes: tuple[str, ...] = ()
    """Ids of events that led to this one, as recorded."""
    tick: int | None = None
    """The step of the simulation."""
    hlc: int | None = None
    """How many microseconds the writer's clock was behind the times it had received from other processes."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """The payload: the keys that `payloads.KINDS` lists for the kind, and keys that the user added."""
    code: str | None = None
    """Digest of the code that ran, on a root action."""
    state: Mapping[str, Any] | None = None
    """`{"set": {...}, "unset": [...]}`: the fields that a root action changed and removed."""
    types: Mapping[str, str] | None = None
    """{JSON Pointer: tag} for values that plain JSON cannot hold."""

    @property
    def agent_id(self) -> str | None:
        """Return the id of the agent that the event is about, or None."""
        value = self.extra.get("agent_id")
        return value if isinstance(value, str) else None

    @property
    def agent_role(self) -> str | None:
        """Return the role of the agent that the event is about, or None."""
        value = self.extra.get("agent_role")
        return value if isinstance(value, str) else None

    @property
    def writer(self) -> str:
        """Return the id of the writer of the event."""
        return split_event_id(self.id)[0]

    @property
    def seq(self) -> int:
        """Return the number of the event within its writer, counted from 1."""
        return split_event_id(self.id)[1]

    @property
    def timestamp_us(self) -> int:
        """Return the timestamp in microseconds since 1970."""
        return parse_timestamp(self.timestamp)

    @property
    def severity(self) -> int:
        """Return the level as a number, 10 (DEBUG) to 50 (CRITICAL); 20 for an unknown name."""
        return LEVELS.get(self.level, 20)

    @property
    def order(self) -> tuple[int, str, int]:
        """Return the sort key that merges events of several writers, effects after carried causes."""
        writer, seq = split_event_id(self.id)
        return self.timestamp_us + (self.hlc or 0), writer, seq
