"""`ReplayStore`: a database that reads events, and keeps checkpoints and replays of a project."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from Agent.store.database import Store, asked, told
from Agent.store.keys import Project
from Agent.store.reads import find_run
from Agent.store.rows import MAX_LIMIT, EventFilter, Page, plain_rows, read_page, shown_columns
from Agent.store.schema import CHECKPOINTS, REPLAYS, SESSIONS
from Agent.tree.layout import safe_name

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
    connection: Connection, project_id: int, run_id: str, *, limit: int = 200, cursor: str | None = None
) -> Page:
    """The checkpoints of a run in order, without their states."""
    listed = shown_columns(CHECKPOINTS, "state", "state_types")
    statement = select(*listed).where(CHECKPOINTS.c.project_id == project_id, CHECKPOINTS.c.run_id == run_id)
    order = CHECKPOINTS.c.position, CHECKPOINTS.c.checkpoint_id
    return read_page(connection, statement, *order, limit=limit, cursor=cursor)


def find_checkpoint(
    connection: Connection, project_id: int, checkpoint_id: str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """A checkpoint with its state, and the last one of the same run and agent; None if there is none."""
    of_project = select(*shown_columns(CHECKPOINTS)).where(CHECKPOINTS.c.project_id == project_id)
    found = plain_rows(connection, of_project.where(CHECKPOINTS.c.checkpoint_id == checkpoint_id))
    if not found:
        return None
    (last,) = plain_rows(
        connection,
        of_project.where(
            CHECKPOINTS.c.run_id == found[0]["run_id"],
            CHECKPOINTS.c.agent_id.is_not_distinct_from(found[0]["agent_id"]),
        )
        .order_by(CHECKPOINTS.c.position.desc(), CHECKPOINTS.c.checkpoint_id.desc())
        .limit(1),
    )
    return found[0], last


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
    wanted = REPLAYS.c.project_id == project_id, REPLAYS.c.replay_id == replay_id
    return next(iter(plain_rows(connection, select(*shown_columns(REPLAYS)).where(*wanted))), None)


def list_replays(
    connection: Connection, project_id: int, run_id: str, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """The replays of a run, newest first, without what they gave."""
    listed = shown_columns(REPLAYS, "result")
    statement = select(*listed).where(REPLAYS.c.project_id == project_id, REPLAYS.c.run_id == run_id)
    order = REPLAYS.c.created_us, REPLAYS.c.replay_id
    return read_page(connection, statement, *order, limit=limit, cursor=cursor, newest_first=True)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


class ReplayStore(Store):
    """One database in the role of replays; `open_store(url, role="replay")` gives it."""

    find_sent = asked(find_sent)
    add_checkpoints = told(add_checkpoints)
    list_checkpoints = asked(list_checkpoints)
    find_checkpoint = asked(find_checkpoint)
    delete_checkpoint = told(delete_checkpoint)
    begin_replay = told(begin_replay)
    end_replay = told(end_replay)
    find_replay = asked(find_replay)
    list_replays = asked(list_replays)

    def sent_events(self, project: Project, session_uid: str) -> Iterator[dict[str, Any]]:
        """All events of a session, oldest first; a page is in memory at a time, and no connection is held."""
        wanted = EventFilter(session_uid=session_uid)
        cursor: str | None = None
        while True:
            page = self.list_events(project, wanted, limit=MAX_LIMIT, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return
