"""Events of one session by their links: their ids, an agent's stretch of time, spans around and within."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, Select, or_, select

from Agent.store.schema import EVENTS

__all__ = ["events_by_id", "events_of_agent", "events_of_spans"]

_MOST_OF_AGENT: Final = 5_000
_MOST_LINKED: Final = 5_000
_MOST_NAMED: Final = 5_000
"""Below the number of parameters that either database takes; of more the first are looked for."""

_SHOWN: Final = [column for column in EVENTS.columns if column.name != "project_id"]


def events_by_id(
    connection: Connection, project_id: int, session_uid: str, ids: Collection[str]
) -> list[dict[str, Any]]:
    """Those of the ids that are stored, of the first 5,000."""
    return _rows(connection, _of_session(project_id, session_uid).where(EVENTS.c.event_id.in_(_named(ids))))


def events_of_agent(
    connection: Connection, project_id: int, session_uid: str, agent_id: str, since_us: int, until_us: int
) -> list[dict[str, Any]]:
    """What an agent did in a stretch of time, newest first; the newest 5,000 of it."""
    return _rows(
        connection,
        _of_session(project_id, session_uid)
        .where(EVENTS.c.agent_id == agent_id, EVENTS.c.ts_us.between(since_us, until_us))
        .order_by(EVENTS.c.ts_us.desc(), EVENTS.c.event_id.desc())
        .limit(_MOST_OF_AGENT),
    )


def events_of_spans(
    connection: Connection,
    project_id: int,
    session_uid: str,
    around: Collection[str],
    within: Collection[str],
    since_us: int,
    until_us: int,
) -> list[dict[str, Any]]:
    """The spans `around` themselves, and what happened right in those of `within`, in a stretch of time."""
    linked = or_(EVENTS.c.span_id.in_(_named(around)), EVENTS.c.parent_span_id.in_(_named(within)))
    return _rows(
        connection,
        _of_session(project_id, session_uid)
        .where(EVENTS.c.ts_us.between(since_us, until_us), linked)
        .order_by(EVENTS.c.ts_us.desc(), EVENTS.c.event_id.desc())
        .limit(_MOST_LINKED),
    )


def _of_session(project_id: int, session_uid: str) -> Select[Any]:
    return select(*_SHOWN).where(EVENTS.c.project_id == project_id, EVENTS.c.session_uid == session_uid)


def _named(names: Collection[str]) -> list[str]:
    return sorted(names)[:_MOST_NAMED]


def _rows(connection: Connection, statement: Select[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(statement).mappings()]
