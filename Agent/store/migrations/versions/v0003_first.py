"""Version 3, the first one released: all tables, and on PostgreSQL the role that reads.

Written out in full, since later changes of `Agent.store.schema` must not affect it. The reading role has no
access to checkpoints and replays, since they contain content.
"""

from __future__ import annotations

from typing import Any, Final

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, SmallInteger, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = None

_ID: Final = Text().with_variant(Text(collation="C"), "postgresql")
_DOCUMENT: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_UID: Final = Uuid(as_uuid=False)

_READER: Final = """
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agent_trace_reader') THEN
    CREATE ROLE agent_trace_reader NOLOGIN;
  END IF;
  EXECUTE 'GRANT USAGE ON SCHEMA ' || quote_ident(current_schema()) || ' TO agent_trace_reader';
  GRANT SELECT ON projects, api_keys, sessions, events, runs, steps, failures, alembic_version
    TO agent_trace_reader;
  EXECUTE 'GRANT agent_trace_reader TO ' || quote_ident(current_user);
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'agent_trace_reader was not made: this user may not create roles';
END $$
"""


def upgrade() -> None:
    """Create all tables."""
    _make_tables()
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")
        op.execute("CREATE TABLE steps_default PARTITION OF steps DEFAULT")
        op.execute(_READER)


def _of_project(*keys: str) -> list[Column[Any]]:
    """The columns of the primary key: the project, and these texts."""
    project = Column("project_id", Integer, primary_key=True, autoincrement=False)
    return [project, *(Column(name, _ID, primary_key=True) for name in keys)]


def _texts(names: str) -> list[Column[Any]]:
    """Nullable text columns."""
    return [Column(name, _ID) for name in names.split()]


def _index(name: str, table: str, columns: str, condition: str | None = None) -> None:
    """An index of a project's rows; with a condition, a partial index."""
    where = None if condition is None else text(condition)
    op.create_index(name, table, ["project_id", *columns.split()], postgresql_where=where, sqlite_where=where)


def _make_tables() -> None:
    op.create_table(
        "projects",
        Column("project_id", Integer, primary_key=True, autoincrement=True),
        Column("name", _ID, nullable=False, unique=True),
        Column("content_allowed", Boolean, nullable=False),
        Column("created_us", BigInteger, nullable=False),
    )
    op.create_table(
        "api_keys",
        Column("key_id", _ID, primary_key=True),
        Column("project_id", Integer, nullable=False),
        Column("scopes", _ID, nullable=False),
        Column("label", Text, nullable=False),
        Column("digest", _ID, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("revoked_us", BigInteger),
    )
    op.create_table(
        "sessions",
        *_of_project(),
        Column("session_uid", _UID, primary_key=True),
        Column("session_id", _ID),
        Column("first_us", BigInteger, nullable=False),
        Column("last_us", BigInteger, nullable=False),
        Column("events", BigInteger, nullable=False),
    )
    _index("sessions_by_time", "sessions", "first_us session_uid")
    op.create_table(
        "events",
        *_of_project(),
        Column("session_uid", _UID, primary_key=True),
        Column("event_id", _ID, primary_key=True),
        Column("ts_us", BigInteger, nullable=False),
        Column("kind", _ID, nullable=False),
        Column("severity", SmallInteger, nullable=False),
        *_texts("agent_id agent_role run_id span_id parent_span_id"),
        Column("tick", BigInteger),
        Column("name", _ID),
        Column("duration_ms", Float(53)),
        Column("outcome", _ID),
        Column("causes", _DOCUMENT),
        Column("body", _DOCUMENT, nullable=False),
        postgresql_partition_by="RANGE (session_uid)",
    )
    _index("events_by_time", "events", "session_uid ts_us event_id")
    _index("events_by_agent", "events", "session_uid agent_id ts_us event_id")
    _index("events_by_run", "events", "run_id ts_us event_id", "run_id IS NOT NULL")
    _index("events_of_errors", "events", "ts_us event_id", "severity >= 40")
    for name, column in (("events_by_span", "span_id"), ("events_within_span", "parent_span_id")):
        _index(name, "events", f"session_uid {column}", f"{column} IS NOT NULL")
    op.create_table(
        "runs",
        *_of_project("run_id"),
        Column("session_uid", _UID),
        Column("listed_us", BigInteger, nullable=False),
        Column("started_us", BigInteger),
        Column("ended_us", BigInteger),
        Column("status", _ID, nullable=False),
        *_texts("agent_id agent_version parent_run_id failure_type failure_code"),
        Column("labels", _DOCUMENT, nullable=False),
    )
    _index("runs_by_time", "runs", "listed_us run_id")
    _index("runs_by_agent", "runs", "agent_id listed_us run_id")
    _index("runs_by_version", "runs", "agent_version listed_us run_id")
    _index("runs_by_status", "runs", "status listed_us run_id")
    is_failure = "failure_type IS NOT NULL"
    _index("runs_by_failure", "runs", "failure_type failure_code listed_us run_id", is_failure)
    _index("runs_by_session", "runs", "session_uid listed_us run_id", "session_uid IS NOT NULL")
    op.create_table(
        "steps",
        *_of_project("run_id", "step_key"),
        Column("position", BigInteger, nullable=False),
        Column("step_id", _ID, nullable=False),
        *_texts("step_type name"),
        Column("started_us", BigInteger),
        Column("latency_ms", Float(53)),
        Column("status", _ID),
        Column("metadata", _DOCUMENT, nullable=False),
        postgresql_partition_by="RANGE (run_id)",
    )
    _index("steps_by_position", "steps", "run_id position step_key")
    op.create_table(
        "failures",
        *_of_project("run_id", "failure_id"),
        Column("failure_type", _ID, nullable=False),
        Column("failure_code", _ID, nullable=False),
        *_texts("fingerprint step_id step_key error_id"),
        Column("occurred_us", BigInteger),
        Column("message", Text),
    )
    op.create_table(
        "checkpoints",
        *_of_project("checkpoint_id"),
        Column("run_id", _ID, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("step_id", _ID, nullable=False),
        Column("agent_id", _ID),
        Column("saved_us", BigInteger, nullable=False),
        Column("tick", BigInteger),
        *_texts("reason event_id"),
        Column("state", Text, nullable=False),
        Column("state_types", Text, nullable=False),
    )
    _index("checkpoints_by_run", "checkpoints", "run_id position checkpoint_id")
    op.create_table(
        "replays",
        *_of_project("replay_id"),
        Column("run_id", _ID, nullable=False),
        Column("checkpoint_id", _ID, nullable=False),
        Column("status", _ID, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("due_us", BigInteger, nullable=False),
        Column("finished_us", BigInteger),
        Column("request", Text, nullable=False),
        Column("result", Text),
        Column("problem", Text),
    )
    _index("replays_by_run", "replays", "run_id created_us replay_id")
