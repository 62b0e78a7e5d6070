"""The tables, for both databases; `migrations/` brings a database to them, a test holds the two equal.

Every table of a project's data begins its key with the project. Time is microseconds since 1970. Ids sort by
their bytes on both databases, so that a page ends in the same place on either.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

METADATA: Final = MetaData()

_ID: Final = Text().with_variant(Text(collation="C"), "postgresql")
_DOCUMENT: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_UID: Final = Uuid(as_uuid=False)


def _partial(name: str, columns: str, condition: str) -> Index:
    """An index of the rows alone for which a condition holds."""
    return Index(name, *columns.split(), postgresql_where=text(condition), sqlite_where=text(condition))


PROJECTS: Final = Table(
    "projects",
    METADATA,
    Column("project_id", Integer, primary_key=True, autoincrement=True),
    Column("name", _ID, nullable=False, unique=True),
    Column("content_allowed", Boolean, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)
"""Whose data it is; nothing is ever read across two of them."""

API_KEYS: Final = Table(
    "api_keys",
    METADATA,
    Column("key_id", _ID, primary_key=True),
    Column("project_id", Integer, nullable=False),
    Column("scopes", _ID, nullable=False),
    Column("label", Text, nullable=False),
    Column("digest", _ID, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
)
"""Who may ask; of a key's secret only its digest is here."""

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("session_uid", _UID, primary_key=True),
    Column("session_id", _ID),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Index("sessions_by_time", "project_id", "first_us", "session_uid"),
)
"""Executions of programs, with how many events of each are stored."""

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("session_uid", _UID, primary_key=True),
    Column("event_id", _ID, primary_key=True),
    Column("ts_us", BigInteger, nullable=False),
    Column("kind", _ID, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("agent_id", _ID),
    Column("agent_role", _ID),
    Column("run_id", _ID),
    Column("span_id", _ID),
    Column("parent_span_id", _ID),
    Column("tick", BigInteger),
    Column("name", _ID),
    Column("duration_ms", Float(53)),
    Column("outcome", _ID),
    Column("causes", _DOCUMENT),
    Column("body", _DOCUMENT, nullable=False),
    Index("events_by_time", "project_id", "session_uid", "ts_us", "event_id"),
    Index("events_by_agent", "project_id", "session_uid", "agent_id", "ts_us", "event_id"),
    _partial("events_by_run", "project_id run_id ts_us event_id", "run_id IS NOT NULL"),
    _partial("events_of_errors", "project_id ts_us event_id", "severity >= 40"),
    _partial("events_by_span", "project_id session_uid span_id", "span_id IS NOT NULL"),
    _partial("events_within_span", "project_id session_uid parent_span_id", "parent_span_id IS NOT NULL"),
    postgresql_partition_by="RANGE (session_uid)",
)
"""One row each event; the key makes a batch that comes again harmless."""

RUNS: Final = Table(
    "runs",
    METADATA,
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("run_id", _ID, primary_key=True),
    Column("session_uid", _UID),
    Column("listed_us", BigInteger, nullable=False),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("status", _ID, nullable=False),
    Column("agent_id", _ID),
    Column("agent_version", _ID),
    Column("parent_run_id", _ID),
    Column("failure_type", _ID),
    Column("failure_code", _ID),
    Column("labels", _DOCUMENT, nullable=False),
    Index("runs_by_time", "project_id", "listed_us", "run_id"),
    Index("runs_by_agent", "project_id", "agent_id", "listed_us", "run_id"),
    Index("runs_by_version", "project_id", "agent_version", "listed_us", "run_id"),
    Index("runs_by_status", "project_id", "status", "listed_us", "run_id"),
    _partial(
        "runs_by_failure", "project_id failure_type failure_code listed_us run_id", "failure_type IS NOT NULL"
    ),
    _partial("runs_by_session", "project_id session_uid listed_us run_id", "session_uid IS NOT NULL"),
)
"""One row each run. `listed_us` is its start, or while that is not known the earliest known time."""

STEPS: Final = Table(
    "steps",
    METADATA,
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("run_id", _ID, primary_key=True),
    Column("step_key", _ID, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("step_id", _ID, nullable=False),
    Column("step_type", _ID),
    Column("name", _ID),
    Column("started_us", BigInteger),
    Column("latency_ms", Float(53)),
    Column("status", _ID),
    Column("metadata", _DOCUMENT, nullable=False),
    Index("steps_by_position", "project_id", "run_id", "position", "step_key"),
    postgresql_partition_by="RANGE (run_id)",
)

FAILURES: Final = Table(
    "failures",
    METADATA,
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("run_id", _ID, primary_key=True),
    Column("failure_id", _ID, primary_key=True),
    Column("failure_type", _ID, nullable=False),
    Column("failure_code", _ID, nullable=False),
    Column("fingerprint", _ID),
    Column("step_id", _ID),
    Column("step_key", _ID),
    Column("error_id", _ID),
    Column("occurred_us", BigInteger),
    Column("message", Text),
)

CHECKPOINTS: Final = Table(
    "checkpoints",
    METADATA,
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("checkpoint_id", _ID, primary_key=True),
    Column("run_id", _ID, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("step_id", _ID, nullable=False),
    Column("agent_id", _ID),
    Column("saved_us", BigInteger, nullable=False),
    Column("tick", BigInteger),
    Column("reason", _ID),
    Column("event_id", _ID),
    Column("state", Text, nullable=False),
    Column("state_types", Text, nullable=False),
    Index("checkpoints_by_run", "project_id", "run_id", "position", "checkpoint_id"),
)
"""States to continue from, each behind a step of a run; as JSON texts, for JSONB takes not every text."""

REPLAYS: Final = Table(
    "replays",
    METADATA,
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("replay_id", _ID, primary_key=True),
    Column("run_id", _ID, nullable=False),
    Column("checkpoint_id", _ID, nullable=False),
    Column("status", _ID, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger),
    Column("request", Text, nullable=False),
    Column("result", Text),
    Column("problem", Text),
    Index("replays_by_run", "project_id", "run_id", "created_us", "replay_id"),
)
"""What came of continuing from a checkpoint. One that is not finished when it is due lost its server."""
