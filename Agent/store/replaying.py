"""Checkpoints and replays of a project, and the events of a session that a replay is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from Agent.store.pages import Page, after_cursor, page_of
from Agent.store.reads.querying import find_run, plain_rows
from Agent.store.schema import CHECKPOINTS, REPLAYS, SESSIONS
from Agent.tree.layout import safe_name

__all__ = [
    "RUNNING_REPLAY",
    "CheckpointRow",
    "ReplayRow",
    "SentSession",
    "add_checkpoints",
    "begin_replay",
    "checkpoint_id_of",
    "delete_checkpoint",
    "end_replay",
    "find_checkpoint",
    "find_replay",
    "find_sent",
    "list_checkpoints",
    "list_replays",
]

RUNNING_REPLAY: Final = "running"
"""The status of a replay that has not ended."""

_WHOLE: Final = [column for column in CHECKPOINTS.columns if column.name != "project_id"]
_LISTED: Final = [column for column in _WHOLE if column.name not in ("state", "state_types")]
_OF_REPLAY: Final = [column for column in REPLAYS.columns if column.name != "project_id"]


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


@dataclass(frozen=True, slots=True)
class SentSession:
    """The session that a trace's events were sent in."""

    session_uid: str | None
    """None of a run of which no events were sent."""
    run_id: str | None
    """None of a session's root run."""
    events: int = 0
    first_us: int | None = None
    """When the first of them happened."""


def checkpoint_id_of(trace_id: str, step_id: str, agent_id: str | None) -> str:
    """The id of a checkpoint: for people where its parts are plain, and in a URL as it is."""
    return ":".join([trace_id, safe_name(step_id), *([] if agent_id is None else [safe_name(agent_id)])])


def find_sent(connection: Connection, project_id: int, trace_id: str) -> SentSession | None:
    """Where the events of a run are, or of a session by its UUID; None where neither is known."""
    run = find_run(connection, project_id, trace_id)
    session_uid = trace_id if run is None else run["session_uid"]
    found = None
    if session_uid is not None and _is_uuid(session_uid):
        found = connection.execute(
            select(SESSIONS.c.events, SESSIONS.c.first_us).where(
                SESSIONS.c.project_id == project_id, SESSIONS.c.session_uid == session_uid
            )
        ).first()
    if found is None:
        return None if run is None else SentSession(session_uid, trace_id)
    return SentSession(session_uid, None if run is None else trace_id, found.events, found.first_us)


def add_checkpoints(connection: Connection, project_id: int, rows: Sequence[CheckpointRow]) -> list[str]:
    """Keeps those that are not there yet, behind those that are; the ids that are new."""
    found = connection.execute(
        select(CHECKPOINTS.c.checkpoint_id).where(
            CHECKPOINTS.c.project_id == project_id,
            CHECKPOINTS.c.checkpoint_id.in_([row.checkpoint_id for row in rows]),
        )
    )
    known = set(found.scalars())
    new = [row for row in rows if row.checkpoint_id not in known]
    if not new:
        return []
    last = connection.execute(
        select(func.max(CHECKPOINTS.c.position)).where(
            CHECKPOINTS.c.project_id == project_id, CHECKPOINTS.c.run_id == new[0].run_id
        )
    ).scalar()
    behind = 0 if last is None else last + 1
    values = [asdict(row) | {"project_id": project_id, "position": row.position + behind} for row in new]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(CHECKPOINTS).on_conflict_do_nothing(), values)
    return [row.checkpoint_id for row in new]


def list_checkpoints(
    connection: Connection, project_id: int, run_id: str, limit: int, cursor: str | None
) -> Page:
    """The checkpoints of a run in order, without their states."""
    statement = select(*_LISTED).where(CHECKPOINTS.c.project_id == project_id, CHECKPOINTS.c.run_id == run_id)
    ordered = after_cursor(
        statement, cursor, CHECKPOINTS.c.position, CHECKPOINTS.c.checkpoint_id, newest_first=False
    )
    rows = plain_rows(connection, ordered.limit(limit + 1))
    return page_of(rows, limit, "position", "checkpoint_id")


def find_checkpoint(
    connection: Connection, project_id: int, checkpoint_id: str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """A checkpoint with its state, and the last one of the same run and agent; None if there is none."""
    of_project = select(*_WHOLE).where(CHECKPOINTS.c.project_id == project_id)
    found = (
        connection.execute(of_project.where(CHECKPOINTS.c.checkpoint_id == checkpoint_id)).mappings().first()
    )
    if found is None:
        return None
    last = connection.execute(
        of_project.where(
            CHECKPOINTS.c.run_id == found["run_id"],
            CHECKPOINTS.c.agent_id.is_not_distinct_from(found["agent_id"]),
        )
        .order_by(CHECKPOINTS.c.position.desc(), CHECKPOINTS.c.checkpoint_id.desc())
        .limit(1)
    )
    return dict(found), dict(last.mappings().one())


def delete_checkpoint(connection: Connection, project_id: int, checkpoint_id: str) -> bool:
    """Removes one; False where there was none."""
    gone = connection.execute(
        delete(CHECKPOINTS).where(
            CHECKPOINTS.c.project_id == project_id, CHECKPOINTS.c.checkpoint_id == checkpoint_id
        )
    )
    return gone.rowcount > 0


def begin_replay(connection: Connection, project_id: int, row: ReplayRow) -> None:
    """Keeps that a replay begins."""
    connection.execute(insert(REPLAYS).values(**asdict(row), project_id=project_id))


def end_replay(connection: Connection, project_id: int, replay_id: str, values: Mapping[str, Any]) -> None:
    """Keeps how a replay ended: `status`, `finished_us`, and `result` or `problem` as JSON texts."""
    connection.execute(
        update(REPLAYS)
        .where(REPLAYS.c.project_id == project_id, REPLAYS.c.replay_id == replay_id)
        .values(**values)
    )


def find_replay(connection: Connection, project_id: int, replay_id: str) -> dict[str, Any] | None:
    """One replay, None if there is none."""
    row = connection.execute(
        select(*_OF_REPLAY).where(REPLAYS.c.project_id == project_id, REPLAYS.c.replay_id == replay_id)
    )
    found = row.mappings().first()
    return None if found is None else dict(found)


def list_replays(
    connection: Connection, project_id: int, run_id: str, limit: int, cursor: str | None
) -> Page:
    """The replays of a run, newest first, without what they gave."""
    shown = [column for column in _OF_REPLAY if column.name != "result"]
    statement = select(*shown).where(REPLAYS.c.project_id == project_id, REPLAYS.c.run_id == run_id)
    ordered = after_cursor(statement, cursor, REPLAYS.c.created_us, REPLAYS.c.replay_id, newest_first=True)
    rows = plain_rows(connection, ordered.limit(limit + 1))
    return page_of(rows, limit, "created_us", "replay_id")


def _is_uuid(text: str) -> bool:
    import uuid

    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
