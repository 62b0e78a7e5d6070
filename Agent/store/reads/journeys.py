"""The way of one agent through a session or a run: its events in order, and what is missing between them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select

from Agent.errors import UsageError
from Agent.event.ids import event_id, split_event_id
from Agent.store.filters import EventFilter
from Agent.store.pages import Page, read_cursor
from Agent.store.reads.querying import list_events
from Agent.store.schema import EVENTS

__all__ = ["list_journey"]

_MOST_LOOKED_FOR: Final = 5_000
"""How many ids a page may ask for to know what is missing; gaps beyond that stay unknown."""

_Gap = tuple[str, range]


def list_journey(
    connection: Connection,
    project_id: int,
    wanted: EventFilter,
    *,
    limit: int = 200,
    cursor: str | None = None,
) -> Page:
    """Events of one agent, oldest first, each with what lies between it and the one before.

    Beside its columns an item has `started_us`; `gap_ms`, the time of which nothing of the agent is told,
    None for the first; and `missing`, how many events of the same writer between the two are not stored,
    None where that was not looked at.

    Raises:
        UsageError: no agent is named, or neither a session nor a run.
    """
    if wanted.agent_id is None:
        raise UsageError("a journey is of one agent", remedy="give agent_id")
    page = list_events(connection, project_id, wanted, limit=limit, cursor=cursor)
    before = read_cursor(cursor) if cursor is not None else None
    ended_us = None if before is None else before[0]
    for item in page.items:
        item["started_us"] = _started_us(item)
        item["gap_ms"] = None if ended_us is None else max(0, item["started_us"] - ended_us) / 1000
        ended_us = item["ts_us"]
    _count_missing(connection, project_id, page.items, None if before is None else before[1])
    return page


def _started_us(item: dict[str, Any]) -> int:
    ended_us: int = item["ts_us"]
    duration_ms: float | None = item["duration_ms"]
    if item["span_id"] is None or duration_ms is None:
        return ended_us
    return max(0, ended_us - max(0, round(duration_ms * 1000)))


def _count_missing(
    connection: Connection, project_id: int, items: Sequence[dict[str, Any]], before: str | None
) -> None:
    """Writes `missing` into the items: numbers that their writers took in between and that are not stored."""
    gaps = _gaps(items, before)
    asked: defaultdict[str, set[str]] = defaultdict(set)
    left = _MOST_LOOKED_FOR
    looked_at: dict[int, _Gap] = {}
    for place, (writer, numbers) in gaps.items():
        if len(numbers) <= left:
            left -= len(numbers)
            looked_at[place] = (writer, numbers)
            asked[items[place]["session_uid"]].update(event_id(writer, number) for number in numbers)
    stored = {
        (uid, known) for uid, ids in asked.items() for known in _stored(connection, project_id, uid, ids)
    }
    for place, item in enumerate(items):
        gap = looked_at.get(place)
        item["missing"] = None
        if gap is not None:
            ids = ((item["session_uid"], event_id(gap[0], number)) for number in gap[1])
            item["missing"] = sum(each not in stored for each in ids)


def _gaps(items: Sequence[dict[str, Any]], before: str | None) -> dict[int, _Gap]:
    """The numbers between an item and the last one of its writer, by the item's place."""
    last: dict[str, int] = {}
    gaps: dict[int, _Gap] = {}
    if before is not None:
        with contextlib.suppress(ValueError):  # the cursor may be somebody's own, and name no event
            last = dict([split_event_id(before)])
    for place, item in enumerate(items):
        writer, number = split_event_id(item["event_id"])
        if writer in last:
            gaps[place] = (writer, range(last[writer] + 1, number))
        last[writer] = max(number, last.get(writer, 0))
    return gaps


def _stored(connection: Connection, project_id: int, session_uid: str, ids: Iterable[str]) -> set[str]:
    wanted = sorted(ids)
    if not wanted:
        return set()
    found = connection.execute(
        select(EVENTS.c.event_id).where(
            EVENTS.c.project_id == project_id,
            EVENTS.c.session_uid == session_uid,
            EVENTS.c.event_id.in_(wanted),
        )
    )
    return set(found.scalars())
