"""The tables, for both databases, and what questions take and give: filters in, rows out, a page at a time.

`migrations/` brings a database to these tables, a test holds the two equal. Every table of a project's data
begins its key with the project. Time is microseconds since 1970. Ids sort by their bytes on both databases,
so that a page ends in the same place on either.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Select,
    SmallInteger,
    Table,
    Text,
    Uuid,
    bindparam,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem

from Agent.errors import UsageError
from Agent.export.messages import EventMessage, FailureMessage, RunMessage, StepMessage

METADATA: Final = MetaData()

_ID: Final = Text().with_variant(Text(collation="C"), "postgresql")
_DOCUMENT: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_UID: Final = Uuid(as_uuid=False)


def _partial(name: str, columns: str, condition: str) -> Index:
    """An index of the rows alone for which a condition holds."""
    return Index(name, *columns.split(), postgresql_where=text(condition), sqlite_where=text(condition))


_COLUMN_TYPES: Final[dict[str, Any]] = {
    "str": _ID,
    "int": BigInteger(),
    "float": Float(53),
    "dict[str, Any]": _DOCUMENT,
    "tuple[str, ...]": _DOCUMENT,
}
"""By the type of a field; an empty tuple is stored as NULL. What has no type here is stored elsewhere."""


def _table(name: str, record: type[Any], key: str, *more: SchemaItem, **options: Any) -> Table:
    """The table of a record: a column for each of its fields, but for those that `more` has.

    Args:
        key: the columns by which a row of a project is found.
    """
    given = {each.name for each in more if isinstance(each, Column)}
    types = dict.fromkeys(key.split(), "str") | {each.name: str(each.type) for each in fields(record)}
    columns: list[Column[Any]] = [Column("project_id", Integer, primary_key=True, autoincrement=False)]
    for column, of in types.items():
        kind = _UID if column == "session_uid" else _COLUMN_TYPES.get(of.removesuffix(" | None"))
        if kind is not None and column not in given:
            nullable = of.endswith("None") or of.startswith("tuple")
            columns.append(Column(column, kind, primary_key=column in key.split(), nullable=nullable))
    return Table(name, METADATA, *columns, *more, **options)


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

EVENTS: Final = _table(
    "events",
    EventMessage,
    "session_uid event_id",
    Column("severity", SmallInteger, nullable=False),
    Index("events_by_time", "project_id", "session_uid", "ts_us", "event_id"),
    Index("events_by_agent", "project_id", "session_uid", "agent_id", "ts_us", "event_id"),
    _partial("events_by_run", "project_id run_id ts_us event_id", "run_id IS NOT NULL"),
    _partial("events_of_errors", "project_id ts_us event_id", "severity >= 40"),
    _partial("events_by_span", "project_id session_uid span_id", "span_id IS NOT NULL"),
    _partial("events_within_span", "project_id session_uid parent_span_id", "parent_span_id IS NOT NULL"),
    postgresql_partition_by="RANGE (session_uid)",
)
"""One row each event; the key makes a batch that comes again harmless."""

RUNS: Final = _table(
    "runs",
    RunMessage,
    "run_id",
    Column("listed_us", BigInteger, nullable=False),
    Column("failure_type", _ID),
    Column("failure_code", _ID),
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

STEPS: Final = _table(
    "steps",
    StepMessage,
    "run_id step_key",
    Index("steps_by_position", "project_id", "run_id", "position", "step_key"),
    postgresql_partition_by="RANGE (run_id)",
)

FAILURES: Final = _table("failures", FailureMessage, "run_id failure_id", Column("message", Text))

RUNNING_REPLAY: Final = "running"
"""The status of a replay that has not ended."""


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A state behind a step of a run."""

    checkpoint_id: str
    run_id: str
    position: int
    """Checkpoints of a run stand in the order of this."""
    step_id: str
    saved_us: int
    state: str
    """As JSON text."""
    state_types: str = "{}"
    """Tags of the state's values by pointer, as JSON text."""
    agent_id: str | None = None
    tick: int | None = None
    reason: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """A replay that begins."""

    replay_id: str
    run_id: str
    checkpoint_id: str
    created_us: int
    due_us: int
    """When it has ended at the latest, unless its server is gone."""
    request: str
    """What was asked for, as JSON text."""
    status: str = RUNNING_REPLAY


CHECKPOINTS: Final = _table(
    "checkpoints",
    CheckpointRow,
    "checkpoint_id",
    Column("state", Text, nullable=False),
    Column("state_types", Text, nullable=False),
    Index("checkpoints_by_run", "project_id", "run_id", "position", "checkpoint_id"),
)
"""States to continue from, each behind a step of a run; as JSON texts, for JSONB takes not every text."""

REPLAYS: Final = _table(
    "replays",
    ReplayRow,
    "replay_id",
    Column("request", Text, nullable=False),
    Column("finished_us", BigInteger),
    Column("result", Text),
    Column("problem", Text),
    Index("replays_by_run", "project_id", "run_id", "created_us", "replay_id"),
)
"""What came of continuing from a checkpoint. One that is not finished when it is due lost its server."""


EventRow = EventMessage
FailureRow = FailureMessage
RunRow = RunMessage
StepRow = StepMessage


class Project(NamedTuple):
    """One project."""

    project_id: int
    name: str
    content_allowed: bool
    """Whether prompts, answers and messages may be stored, where a client sends them."""
    created_us: int = 0
    """When it was made, in microseconds since 1970."""

    @property
    def database_id(self) -> str:
        """Of this project in this database: one that was rebuilt has another, whatever its address."""
        told = f"{self.project_id}|{self.name}|{self.created_us}".encode()
        return hashlib.blake2b(told, digest_size=8).hexdigest()


class Ingested(NamedTuple):
    """What became of a batch that was committed."""

    accepted: int
    """Events that were not there before."""
    duplicates: int
    runs: int
    runs_new: int
    """Runs that were not there before."""


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


MAX_LIMIT: Final = 1_000
"""How many items a page may hold."""

_CURSOR_CHARS: Final = 1_000


class Page(NamedTuple):
    """Some of the items, in order, and where to go on."""

    items: list[dict[str, Any]]
    next_cursor: str | None
    """None where nothing follows."""


def make_cursor(number: int, text: str) -> str:
    """A place between items, as text for URLs."""
    return base64.urlsafe_b64encode(orjson.dumps([number, text])).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[int, str]:
    """The place that a cursor names.

    Raises:
        UsageError: it is none of ours.
    """
    value = None
    if len(cursor) <= _CURSOR_CHARS:
        with contextlib.suppress(ValueError):  # none of ours: refused below
            value = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    match value:
        case [int(number), str(text)] if type(number) is int and abs(number) < 1 << 63 and "\0" not in text:
            return number, text
    raise _no_cursor()


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise _no_cursor() from None


def _no_cursor() -> UsageError:
    return UsageError("this is not a cursor of an earlier page", remedy="begin without a cursor")


def read_page(
    connection: Connection,
    statement: Select[Any],
    number: ColumnElement[Any],
    text: ColumnElement[Any],
    *,
    limit: int,
    cursor: str | None,
    newest_first: bool = False,
) -> Page:
    """At most `limit` rows of a statement in the order of both columns, from behind the cursor on.

    Raises:
        UsageError: no such limit, or a cursor that is none of ours.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit is {limit}", remedy=f"give a number from 1 to {MAX_LIMIT}")
    if cursor is not None:
        of_number, of_text = read_cursor(cursor)
        if isinstance(text.type, Uuid):
            of_text = _uuid(of_text)
        place = tuple_(bindparam(None, of_number, number.type), bindparam(None, of_text, text.type))
        key = tuple_(number, text)
        statement = statement.where(key < place if newest_first else key > place)
    order = (number.desc(), text.desc()) if newest_first else (number, text)
    # one row more than a page holds says that others follow
    rows, is_cut = rows_within(connection, statement.order_by(*order).limit(limit + 1))
    shown = rows[:limit]
    if len(rows) == len(shown) and not is_cut:
        return Page(shown, None)
    return Page(shown, make_cursor(*(shown[-1][str(column.key)] for column in (number, text))))


def all_items(page_behind: Callable[[str | None], Page]) -> Iterator[dict[str, Any]]:
    """The items of all pages; one page is in memory at a time."""
    cursor: str | None = None
    while True:
        page = page_behind(cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


_MOST_PAGE_BYTES: Final = 16 << 20
"""About as much is in memory of a page, and one item more: an item may hold 32 MiB where content is taken."""
_ROWS_AT_ONCE: Final = 16
_LARGE: Final = frozenset({"body", "labels", "metadata", "request"})
"""Columns that hold what was sent, and as much of it."""


def rows_within(connection: Connection, statement: Select[Any]) -> tuple[list[dict[str, Any]], bool]:
    """The first rows of a statement, and whether some behind them were left out for the size of these."""
    if _LARGE.isdisjoint(column.key for column in statement.selected_columns):
        return plain_rows(connection, statement), False  # no row is large, and a cursor takes round trips
    buffered = {"stream_results": True, "max_row_buffer": _ROWS_AT_ONCE}
    found = connection.execute(statement, execution_options=buffered)
    names = tuple(found.keys())
    large = [place for place, name in enumerate(names) if name in _LARGE]
    rows: list[dict[str, Any]] = []
    size_bytes = 0
    at_once = 1  # the first may be as large as any
    while True:
        part = found.fetchmany(at_once)
        for row in part:
            if size_bytes > _MOST_PAGE_BYTES:
                found.close()
                return rows, True
            rows.append(dict(zip(names, row, strict=True)))
            for place in large:
                value = row[place]
                size_bytes += len(value if isinstance(value, str) else orjson.dumps(value))
        if len(part) < at_once:  # on PostgreSQL each portion is a round trip, also an empty one
            found.close()
            return rows, False
        at_once = _ROWS_AT_ONCE


def plain_rows(connection: Connection, statement: Select[Any]) -> list[dict[str, Any]]:
    """What a statement gives, as dicts; SQLAlchemy's own mappings take as long to make as rows to find."""
    found = connection.execute(statement)
    names = tuple(found.keys())
    return [dict(zip(names, row, strict=True)) for row in found.all()]


def shown_columns(table: Table, *hidden: str) -> list[Any]:
    """The columns of a table without that of the project, and without some others."""
    return [column for column in table.columns if column.name not in ("project_id", *hidden)]


def rows_of(table: Table, project: Project, *hidden: str, **equal: Any) -> Select[Any]:
    """The rows of a project whose columns have these values, without the columns that are hidden."""
    wanted = (table.c[name] == value for name, value in equal.items())
    return select(*shown_columns(table, *hidden)).where(table.c.project_id == project.project_id, *wanted)


Upsert = postgresql.Insert | sqlite.Insert


def insert_into(connection: Connection, table: Table) -> Upsert:
    """An insertion that can say what happens on a conflict, which both databases write alike."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def now_us() -> int:
    """The time in microseconds since 1970."""
    return time.time_ns() // 1000
