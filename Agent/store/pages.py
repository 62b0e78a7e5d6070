"""Pages by key: each begins behind the last item of the one before, so depth costs nothing."""

from __future__ import annotations

import base64
import contextlib
import uuid
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Select, Uuid, bindparam, tuple_

from Agent.errors import UsageError

__all__ = ["MAX_LIMIT", "Page", "after_cursor", "make_cursor", "page_of", "read_cursor"]

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
        with contextlib.suppress(ValueError):
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


def after_cursor(
    statement: Select[Any],
    cursor: str | None,
    number: ColumnElement[Any],
    text: ColumnElement[Any],
    *,
    newest_first: bool,
) -> Select[Any]:
    """The statement in the order of both columns, from behind the cursor on."""
    if cursor is not None:
        of_number, of_text = read_cursor(cursor)
        if isinstance(text.type, Uuid):
            of_text = _uuid(of_text)
        place = tuple_(bindparam(None, of_number, number.type), bindparam(None, of_text, text.type))
        key = tuple_(number, text)
        statement = statement.where(key < place if newest_first else key > place)
    if newest_first:
        return statement.order_by(number.desc(), text.desc())
    return statement.order_by(number, text)


def page_of(rows: Sequence[dict[str, Any]], limit: int, number: str, text: str) -> Page:
    """A page of at most `limit` rows; one row more than that says that others follow."""
    shown = list(rows[:limit])
    if len(rows) <= limit or not shown:
        return Page(shown, None)
    return Page(shown, make_cursor(shown[-1][number], shown[-1][text]))
