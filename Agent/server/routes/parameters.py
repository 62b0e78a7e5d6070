"""What routes that read take from a URL, and how a page of rows becomes an answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated, Any, Final

import orjson
from fastapi import Query, Response
from pydantic import AfterValidator

from Agent.event.clock import parse_timestamp
from Agent.server.errors import Problem
from Agent.server.routes.schemas import Shown
from Agent.store import Page

__all__ = ["AGENT", "Cursor", "Label", "Limit", "page_answer", "plain_uid", "Time", "Uid", "UID", "unix_us"]

_UUID: Final = r"^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$"

AGENT: Final = Query(max_length=200, description="The agent's id, as sent.")
UID: Final = Query(pattern=_UUID, description="A session's UUID.")

Label = Annotated[str | None, Query(max_length=200)]
Uid = Annotated[str | None, UID]
Time = Annotated[str | None, Query(max_length=40, description="RFC 3339, in UTC unless it names a zone.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Items on a page.")]
Cursor = Annotated[
    str | None,
    Query(max_length=1000, description="next_cursor of the previous page; empty for the first."),
    AfterValidator(lambda text: text or None),
]


def plain_uid(text: str | None) -> str | None:
    """A UUID as the database has it, however it was written."""
    return None if text is None else str(uuid.UUID(text))


def unix_us(name: str, text: str | None) -> int | None:
    """The time in a parameter; Problem 422 where it holds none."""
    if text is None:
        return None
    try:
        # a plus in a URL that was not escaped arrives as a blank
        return parse_timestamp(text.strip().replace(" +", "+").replace(" ", "+" if "T" in text else " "))
    except (ValueError, OverflowError):
        raise Problem(
            422, "invalid", f"parameter {name} is not a time", remedy="write it as 2026-11-20T10:30:45Z"
        ) from None


def page_answer(page: Page, shape: Callable[[Any], Shown]) -> Response:
    """The page as JSON, each row in its shape: the answer itself, which nothing else looks through again."""
    told = {"items": [shape(row) for row in page.items], "next_cursor": page.next_cursor}
    return Response(orjson.dumps(told), media_type="application/json")
