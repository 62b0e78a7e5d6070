"""Content that comes later: an event is stored without it and sent again with it, since it is asked for now.

A body takes the place of the stored one only where it adds to it. So nothing that is stored is ever changed
or taken away, in whatever order events come and however often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from Agent.store.rows import EventRow
from Agent.store.schema import EVENTS
from Agent.store.writes.event_arrays import update_bodies

__all__ = ["add_content"]

_IDS_PER_QUESTION: Final = 5_000
"""Below the number of parameters that either database takes in one statement."""

_DIGESTED: Final = "~"
"""How a name begins that left its machine as a digest."""


def add_content(
    connection: Connection, project_id: int, session_uid: str, events: Sequence[EventRow]
) -> None:
    """Completes those events of a session that are stored with less than is given here."""
    of_session = (EVENTS.c.project_id == project_id, EVENTS.c.session_uid == session_uid)
    for begin in range(0, len(events), _IDS_PER_QUESTION):
        given = {event.event_id: event.body for event in events[begin : begin + _IDS_PER_QUESTION]}
        stored = connection.execute(
            select(EVENTS.c.event_id, EVENTS.c.body).where(*of_session, EVENTS.c.event_id.in_(given))
        ).all()
        grown = {
            event_id: given[event_id]
            for event_id, body in sorted(stored, key=lambda row: row.event_id)
            if body != given[event_id] and _adds(body, given[event_id])
        }
        if grown and connection.dialect.name == "postgresql":
            update_bodies(connection, project_id, session_uid, grown)
        elif grown:
            connection.execute(
                update(EVENTS)
                .where(*of_session, EVENTS.c.event_id == bindparam("of_event"))
                .values(body=bindparam("grown", type_=EVENTS.c.body.type)),
                [{"of_event": event_id, "grown": body} for event_id, body in grown.items()],
            )


def _adds(stored: Any, given: Any) -> bool:
    """Whether everything that is stored is in what is given."""
    if isinstance(stored, Mapping):
        return isinstance(given, Mapping) and all(
            name in given and _adds(value, given[name]) for name, value in stored.items()
        )
    if isinstance(stored, list):
        return isinstance(given, list) and len(given) == len(stored) and all(map(_adds, stored, given))
    if isinstance(stored, str) and isinstance(given, str) and stored.startswith(_DIGESTED):
        return True
    return bool(stored == given)
