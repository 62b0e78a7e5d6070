"""Version 1: projects, keys, sessions, events, runs, steps, failures; on PostgreSQL with the role that reads.

Written out in full, for it must not follow later changes of `Agent.store.schema`.
"""

from __future__ import annotations

from typing import Final

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, SmallInteger, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
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
    """Makes all tables."""
    _make_tables()
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")
        op.execute("CREATE TABLE steps_default PARTITION OF steps DEFAULT")
        op.execute(_READER)


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
        Column("project_id", Integer, primary_key=True, autoincrement=False),
        Column("session_uid", _UID, primary_key=True),
        Column("session_id", _ID),
        Column("first_us", BigInteger, nullable=False),
        Column("last_us", BigInteger, nullable=False),
        Column("events", BigInteger, nullable=False),
    )
    op.create_index("sessions_by_time", "sessions", ["project_id", "first_us", "session_uid"])
    op.create_table(
        "events",
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
        postgresql_partition_by="RANGE (session_uid)",
    )
    op.create_index("events_by_time", "events", ["project_id", "session_uid", "ts_us", "event_id"])
    op.create_index(
        "events_by_agent", "events", ["project_id", "session_uid", "agent_id", "ts_us", "event_id"]
    )
    op.create_index(
        "events_by_run",
        "events",
        ["project_id", "run_id", "ts_us", "event_id"],
        postgresql_where=text("run_id IS NOT NULL"),
        sqlite_where=text("run_id IS NOT NULL"),
    )
    op.create_index(
        "events_of_errors",
        "events",
        ["project_id", "ts_us", "event_id"],
        postgresql_where=text("severity >= 40"),
        sqlite_where=text("severity >= 40"),
    )
    op.create_table(
        "runs",
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
    )
    op.create_index("runs_by_time", "runs", ["project_id", "listed_us", "run_id"])
    op.create_index("runs_by_agent", "runs", ["project_id", "agent_id", "listed_us", "run_id"])
    op.create_index("runs_by_version", "runs", ["project_id", "agent_version", "listed_us", "run_id"])
    op.create_index("runs_by_status", "runs", ["project_id", "status", "listed_us", "run_id"])
    op.create_index(
        "runs_by_failure",
        "runs",
        ["project_id", "failure_type", "failure_code", "listed_us", "run_id"],
        postgresql_where=text("failure_type IS NOT NULL"),
        sqlite_where=text("failure_type IS NOT NULL"),
    )
    op.create_index(
        "runs_by_session",
        "runs",
        ["project_id", "session_uid", "listed_us", "run_id"],
        postgresql_where=text("session_uid IS NOT NULL"),
        sqlite_where=text("session_uid IS NOT NULL"),
    )
    op.create_table(
        "steps",
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
        postgresql_partition_by="RANGE (run_id)",
    )
    op.create_index("steps_by_position", "steps", ["project_id", "run_id", "position", "step_key"])
    op.create_table(
        "failures",
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
