"""Version 4, the first one: all tables, and on PostgreSQL the role that reads.

Written out in full, since later changes of `Agent.store.schema` must not affect it. The reading role has no
access to checkpoints and replays, since they contain content.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, SmallInteger, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = None

_ID: Final = Text().with_variant(Text(collation="C"), "postgresql")
_KINDS: Final[dict[str, Any]] = {
    "id": _ID,
    "text": Text(),
    "uid": Uuid(as_uuid=False),
    "short": SmallInteger(),
    "int": BigInteger(),
    "number": Float(53),
    "document": JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"),
}
_TABLES: Final = {
    "sessions": ("session_uid:uid", "session_id:id first_us:int! last_us:int! events:int!"),
    "events": (
        "session_uid:uid event_id:id",
        "ts_us:int! kind:id! severity:short! agent_id:id agent_role:id run_id:id span_id:id "
        "parent_span_id:id tick:int name:id duration_ms:number outcome:id causes:document body:document!",
    ),
    "runs": (
        "run_id:id",
        "session_uid:uid listed_us:int! started_us:int ended_us:int status:id! agent_id:id agent_version:id "
        "parent_run_id:id failure_type:id failure_code:id labels:document!",
    ),
    "steps": (
        "run_id:id step_key:id",
        "position:int! step_id:id! step_type:id name:id started_us:int latency_ms:number status:id "
        "metadata:document! parent_step_id:id",
    ),
    "failures": (
        "run_id:id failure_id:id",
        "failure_type:id! failure_code:id! fingerprint:id step_id:id step_key:id error_id:id occurred_us:int "
        "message:text",
    ),
    "checkpoints": (
        "checkpoint_id:id",
        "run_id:id! position:int! step_id:id! agent_id:id saved_us:int! tick:int reason:id event_id:id "
        "state:text! state_types:text!",
    ),
    "replays": (
        "replay_id:id",
        "run_id:id! checkpoint_id:id! status:id! created_us:int! due_us:int! finished_us:int request:text! "
        "result:text problem:text",
    ),
}
"""{table: (its key after the project, its other columns)}: name:kind, with a ! if it is never NULL."""
_INDEXES: Final = (
    ("sessions_by_time", "sessions", "first_us session_uid", None),
    ("events_by_time", "events", "session_uid ts_us event_id", None),
    ("events_by_agent", "events", "session_uid agent_id ts_us event_id", None),
    ("events_by_run", "events", "run_id ts_us event_id", "run_id IS NOT NULL"),
    ("events_of_errors", "events", "ts_us event_id", "severity >= 40"),
    ("events_by_span", "events", "session_uid span_id", "span_id IS NOT NULL"),
    ("events_of_models", "events", "run_id", "kind = 'model.call'"),
    ("events_within_span", "events", "session_uid parent_span_id", "parent_span_id IS NOT NULL"),
    ("runs_by_time", "runs", "listed_us run_id", None),
    ("runs_by_agent", "runs", "agent_id listed_us run_id", None),
    ("runs_by_version", "runs", "agent_version listed_us run_id", None),
    ("runs_by_status", "runs", "status listed_us run_id", None),
    ("runs_by_failure", "runs", "failure_type failure_code listed_us run_id", "failure_type IS NOT NULL"),
    ("runs_by_session", "runs", "session_uid listed_us run_id", "session_uid IS NOT NULL"),
    ("steps_by_position", "steps", "run_id position step_key", None),
    ("checkpoints_by_run", "checkpoints", "run_id position checkpoint_id", None),
    ("replays_by_run", "replays", "run_id created_us replay_id", None),
)
"""(index, its table, its columns after the project, the condition of a partial one)."""
_PARTITIONED: Final = {"events": "RANGE (session_uid)", "steps": "RANGE (run_id)"}

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
        *_columns("scopes:id! label:text! digest:id! created_us:int! revoked_us:int"),
    )
    for name, (keys, others) in _TABLES.items():
        project_id = Column("project_id", Integer, primary_key=True, autoincrement=False)
        columns = [project_id, *_columns(keys, primary_key=True), *_columns(others)]
        op.create_table(name, *columns, postgresql_partition_by=_PARTITIONED.get(name))
    for index, name, listed, condition in _INDEXES:
        where = None if condition is None else text(condition)
        op.create_index(
            index, name, ["project_id", *listed.split()], postgresql_where=where, sqlite_where=where
        )
    if op.get_context().dialect.name == "postgresql":
        for name in _PARTITIONED:
            op.execute(f"CREATE TABLE {name}_default PARTITION OF {name} DEFAULT")
        op.execute(_READER)


def _columns(listed: str, **options: Any) -> Iterator[Column[Any]]:
    """The columns of such a list."""
    for each in listed.split():
        name, _, kind = each.removesuffix("!").partition(":")
        is_null = not each.endswith("!") and not options
        yield Column(name, _KINDS[kind], nullable=is_null, **options)
