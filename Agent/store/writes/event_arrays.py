"""Events into PostgreSQL, or more of them, as one statement of arrays, which the database unpacks.

A statement for each event takes several times as long, and COPY knows no duplicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Connection, text

from Agent.store.rows import EventRow

__all__ = ["insert_arrays", "update_bodies"]

_TYPES: Final = {
    "session_uid": "UUID",
    "event_id": "TEXT",
    "ts_us": "BIGINT",
    "kind": "TEXT",
    "severity": "SMALLINT",
    "agent_id": "TEXT",
    "agent_role": "TEXT",
    "run_id": "TEXT",
    "span_id": "TEXT",
    "parent_span_id": "TEXT",
    "tick": "BIGINT",
    "name": "TEXT",
    "duration_ms": "DOUBLE PRECISION",
    "outcome": "TEXT",
    "causes": "JSONB",
    "body": "JSONB",
}
_NAMES: Final = ", ".join(_TYPES)
_TAKEN: Final = ", ".join(f"CAST({name} AS {of})" for name, of in _TYPES.items())
_GIVEN: Final = ", ".join(
    f"CAST(:{name} AS {'TEXT' if of == 'JSONB' else of}[])" for name, of in _TYPES.items()
)
_STATEMENT: Final = text(
    f"INSERT INTO events (project_id, {_NAMES}) SELECT :project_id, {_TAKEN} "  # noqa: S608 - names of this module
    f"FROM unnest({_GIVEN}) AS given ({_NAMES}) ON CONFLICT DO NOTHING"
)
_UPDATE: Final = text(
    "UPDATE events SET body = CAST(given.body AS JSONB) "
    "FROM unnest(CAST(:ids AS TEXT[]), CAST(:bodies AS TEXT[])) AS given (event_id, body) "
    "WHERE events.project_id = :project_id AND events.session_uid = CAST(:session_uid AS UUID) "
    "AND events.event_id = given.event_id"
)


def insert_arrays(connection: Connection, project_id: int, events: Sequence[EventRow]) -> int:
    """Stores those events that are not there yet, and says how many they were."""
    columns: dict[str, Any] = {name: [getattr(event, name) for event in events] for name in _TYPES}
    columns["causes"] = [_json(causes) if causes else None for causes in columns["causes"]]
    columns["body"] = [_json(body) for body in columns["body"]]
    return connection.execute(_STATEMENT, columns | {"project_id": project_id}).rowcount


def update_bodies(
    connection: Connection, project_id: int, session_uid: str, bodies: Mapping[str, object]
) -> None:
    """Puts other bodies in the place of stored ones, by the ids of their events."""
    given = {"ids": list(bodies), "bodies": [_json(body) for body in bodies.values()]}
    connection.execute(_UPDATE, {"project_id": project_id, "session_uid": session_uid, **given})


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
