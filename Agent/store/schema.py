"""The tables for both databases, and the filters, rows and pages of the queries.

`migrations/` creates these tables in a database; a test checks that the two are equal. The key of every table
with data of a project starts with the project. Times are microseconds since 1970. Ids are ordered by bytes in
both databases, so that their pages are equal.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple, TypedDict

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
    and_,
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
    """Make a partial index: of the rows that meet a condition."""
    return Index(name, *columns.split(), postgresql_where=text(condition), sqlite_where=text(condition))


_COLUMN_TYPES: Final[dict[str, Any]] = {
    "str": _ID,
    "int": BigInteger(),
    "float": Float(53),
    "dict[str, Any]": _DOCUMENT,
    "tuple[str, ...]": _DOCUMENT,
}
"""{type of a field: type of its column}; an empty tuple is stored as NULL. Other types have no column."""


def _table(name: str, record: type[Any], key: str, *more: SchemaItem, **options: Any) -> Table:
    """Make the table of a record, with a column for each field that is not in `more`.

    Args:
        key: the columns of the primary key after the project.
    """
    column_names = {each.name for each in more if isinstance(each, Column)}
    types = dict.fromkeys(key.split(), "str") | {each.name: str(each.type) for each in fields(record)}
    columns: list[Column[Any]] = [Column("project_id", Integer, primary_key=True, autoincrement=False)]
    for column, of in types.items():
        kind = _UID if column == "session_uid" else _COLUMN_TYPES.get(of.removesuffix(" | None"))
        if kind is not None and column not in column_names:
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
"""The owners of data; no query reads data of two projects."""

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
"""API keys; only the digest of a key's secret is stored."""

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
"""Executions of programs, with the number of stored events of each."""

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
    _partial("events_of_models", "project_id run_id", "kind = 'model.call'"),
    _partial("events_within_span", "project_id session_uid parent_span_id", "parent_span_id IS NOT NULL"),
    postgresql_partition_by="RANGE (session_uid)",
)
"""One row per event; the key makes repeated batches harmless."""

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
"""One row per run. `listed_us` is its start, or the earliest known time if that is unknown."""

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
    """A state after a step of a run."""

    checkpoint_id: str
    run_id: str
    position: int
    """The sort key of the checkpoints of a run."""
    step_id: str
    saved_us: int
    state: str
    """The state as JSON text."""
    state_types: str = "{}"
    """Tags of the state's values by pointer, as JSON text."""
    agent_id: str | None = None
    tick: int | None = None
    reason: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """A replay at its start."""

    replay_id: str
    run_id: str
    checkpoint_id: str
    created_us: int
    due_us: int
    """The time by which it has ended, unless its server has stopped."""
    request: str
    """The request, as JSON text."""
    status: str = RUNNING_REPLAY


CHECKPOINTS: Final = _table(
    "checkpoints",
    CheckpointRow,
    "checkpoint_id",
    Column("state", Text, nullable=False),
    Column("state_types", Text, nullable=False),
    Index("checkpoints_by_run", "project_id", "run_id", "position", "checkpoint_id"),
)
"""States from which runs are continued, each after a step; as JSON texts, since JSONB refuses some texts."""

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
"""Replays from checkpoints. If one is not finished at `due_us`, its server has stopped."""


EventRow = EventMessage
FailureRow = FailureMessage
RunRow = RunMessage
StepRow = StepMessage


class Project(NamedTuple):
    """One project."""

    project_id: int
    name: str
    content_allowed: bool
    """Whether prompts, responses and messages may be stored, if a client sends them."""
    created_us: int = 0
    """The time of its creation, in microseconds since 1970."""

    @property
    def database_id(self) -> str:
        """Return an id of this project in this database; a rebuilt database has another one."""
        identity = f"{self.project_id}|{self.name}|{self.created_us}".encode()
        return hashlib.blake2b(identity, digest_size=8).hexdigest()


class Ingested(NamedTuple):
    """The result of a committed batch."""

    accepted: int
    """The number of new events."""
    duplicates: int
    runs: int
    runs_new: int
    """The number of new runs."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A filter of runs; None matches all."""

    agent_id: str | None = None
    agent_version: str | None = None
    status: str | None = None
    failure_type: str | None = None
    failure_code: str | None = None
    session_uid: str | None = None
    session_id: str | None = None
    """The session's name on the sender's machine; sessions of several machines may have the same."""
    label: str | None = None
    """KEY=VALUE of one label."""
    since_us: int | None = None
    """Runs that started at this time or later."""
    until_us: int | None = None
    """Runs that started before this time."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter of events of a session or run; None matches all."""

    session_uid: str | None = None
    session_id: str | None = None
    """See `RunFilter`."""
    run_id: str | None = None
    agent_id: str | None = None
    kind: str | None = None
    min_severity: int | None = None
    since_us: int | None = None
    until_us: int | None = None


MAX_LIMIT: Final = 1_000
"""The most items in a page."""

_CURSOR_CHARS: Final = 1_000


class Page(NamedTuple):
    """Some of the items, in order, and the cursor of the next page."""

    items: list[dict[str, Any]]
    next_cursor: str | None
    """None on the last page."""


def make_cursor(number: int, text: str, column: str) -> str:
    """Encode a position between items as text for URLs; `column` names that of the text, so also the list."""
    return base64.urlsafe_b64encode(orjson.dumps([number, text, column])).decode().rstrip("=")


def read_cursor(cursor: str, column: str) -> tuple[int, str]:
    """Decode the position in a cursor of a list with this column.

    Raises:
        UsageError: the text is not a valid cursor, or belongs to another list.
    """
    value = None
    if len(cursor) <= _CURSOR_CHARS:
        with contextlib.suppress(ValueError):  # not a valid cursor: refused below
            value = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    match value:
        case [int(number), str(text), str(of)]:
            if of == column and type(number) is int and abs(number) < 1 << 63 and "\0" not in text:
                return number, text
    raise _no_cursor()


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise _no_cursor() from None


def _no_cursor() -> UsageError:
    return UsageError("this is not a cursor of an earlier page of this list", remedy="begin without a cursor")


class Paging(TypedDict, total=False):
    """The options of every list; `limit` is 50 by default for the newest items, otherwise 200."""

    limit: int
    cursor: str | None


def read_page(
    connection: Connection,
    statement: Select[Any],
    number: ColumnElement[Any],
    text: ColumnElement[Any],
    *,
    limit: int | None = None,
    cursor: str | None = None,
    newest_first: bool = False,
) -> Page:
    """Read at most `limit` rows of a statement after the cursor, in the order of both columns.

    Raises:
        UsageError: an invalid limit or cursor.
    """
    if limit is None:
        limit = 50 if newest_first else 200
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit is {limit}", remedy=f"give a number from 1 to {MAX_LIMIT}")
    if cursor is not None:
        of_number, of_text = read_cursor(cursor, str(text.key))
        if isinstance(text.type, Uuid):
            of_text = _uuid(of_text)
        position = tuple_(bindparam(None, of_number, number.type), bindparam(None, of_text, text.type))
        key = tuple_(number, text)
        statement = statement.where(key < position if newest_first else key > position)
    order = (number.desc(), text.desc()) if newest_first else (number, text)
    # Read one row more than the page has, to find out whether more follow.
    rows, is_cut = rows_within(connection, statement.order_by(*order).limit(limit + 1))
    shown = rows[:limit]
    if len(rows) == len(shown) and not is_cut:
        return Page(shown, None)
    last, column = shown[-1], str(text.key)
    return Page(shown, make_cursor(last[str(number.key)], last[column], column))


def all_items(page_behind: Callable[[str | None], Page]) -> Iterator[dict[str, Any]]:
    """Yield the items of all pages, with one page in memory at a time."""
    cursor: str | None = None
    while True:
        page = page_behind(cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


_MOST_PAGE_BYTES: Final = 16 << 20
"""The approximate size limit of a page in memory, plus one item, which may have 32 MiB with content."""
_ROWS_AT_ONCE: Final = 16
_LARGE: Final = frozenset({"body", "labels", "metadata", "request"})
"""Columns with values of any size, as sent by clients."""


def rows_within(connection: Connection, statement: Select[Any]) -> tuple[list[dict[str, Any]], bool]:
    """Return the first rows of a statement, and whether the size limit cut off further rows."""
    if _LARGE.isdisjoint(column.key for column in statement.selected_columns):
        return plain_rows(connection, statement), False  # small rows; a server-side cursor costs round trips
    buffered = {"stream_results": True, "max_row_buffer": _ROWS_AT_ONCE}
    fetched = connection.execute(statement, execution_options=buffered)
    names = tuple(fetched.keys())
    large = [index for index, name in enumerate(names) if name in _LARGE]
    rows: list[dict[str, Any]] = []
    size_bytes = 0
    at_once = 1  # one row at first, since it may already be large
    while True:
        part = fetched.fetchmany(at_once)
        for row in part:
            if size_bytes > _MOST_PAGE_BYTES:
                fetched.close()
                return rows, True
            rows.append(dict(zip(names, row, strict=True)))
            for index in large:
                value = row[index]
                size_bytes += len(value if isinstance(value, str) else orjson.dumps(value))
        if len(part) < at_once:  # avoids another fetch, which on PostgreSQL is a round trip even if empty
            fetched.close()
            return rows, False
        at_once = _ROWS_AT_ONCE


def plain_rows(connection: Connection, statement: Select[Any]) -> list[dict[str, Any]]:
    """Return the rows of a statement as dicts; SQLAlchemy's mappings would double the time of a query."""
    result = connection.execute(statement)
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result.all()]


def shown_columns(table: Table, *hidden: str) -> list[Any]:
    """Return the columns of a table without that of the project and the hidden ones."""
    return [column for column in table.columns if column.name not in ("project_id", *hidden)]


def rows_of(table: Table, project: Project, *hidden: str, **equal: Any) -> Select[Any]:
    """Select the rows of a project with these values, without the hidden columns."""
    return select(*shown_columns(table, *hidden)).where(matching(table, project, **equal))


def matching(table: Table, project: Project | int, **equal: Any) -> ColumnElement[bool]:
    """Return the condition that a row is a project's and has these values; of a list, one of them."""
    project_id = project if isinstance(project, int) else project.project_id
    conditions = (
        table.c[name].in_(value) if isinstance(value, list) else table.c[name] == value
        for name, value in equal.items()
    )
    return and_(table.c.project_id == project_id, *conditions)


Upsert = postgresql.Insert | sqlite.Insert


def insert_into(connection: Connection, table: Table) -> Upsert:
    """Make an INSERT that supports ON CONFLICT, which both databases write in the same way."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def now_us() -> int:
    """Return the current time in microseconds since 1970."""
    return time.time_ns() // 1000
