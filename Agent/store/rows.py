"""What questions to the database take and give: filters in, rows out, a page at a time."""

from __future__ import annotations

import base64
import contextlib
import uuid
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, Select, Table, Uuid, bindparam, tuple_

from Agent.errors import UsageError
from Agent.export.messages import EventMessage, FailureMessage, RunMessage, StepMessage

EventRow = EventMessage
FailureRow = FailureMessage
RunRow = RunMessage
StepRow = StepMessage


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
        case [int(number), str(text)] if abs(number) < 1 << 63 and "\0" not in text:
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
    rows = plain_rows(connection, statement.order_by(*order).limit(limit + 1))
    shown = rows[:limit]
    if len(rows) == len(shown):
        return Page(shown, None)
    return Page(shown, make_cursor(*(shown[-1][str(column.key)] for column in (number, text))))


def plain_rows(connection: Connection, statement: Select[Any]) -> list[dict[str, Any]]:
    """What a statement gives, as dicts; SQLAlchemy's own mappings take as long to make as rows to find."""
    found = connection.execute(statement)
    names = tuple(found.keys())
    return [dict(zip(names, row, strict=True)) for row in found.all()]


def shown_columns(table: Table, *hidden: str) -> list[Any]:
    """The columns of a table without that of the project, and without some others."""
    return [column for column in table.columns if column.name not in ("project_id", *hidden)]
