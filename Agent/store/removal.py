"""Delete runs and sessions with all that belongs to them: steps, failures, events, checkpoints, replays.

Each run or session is one transaction. What is deleted may be sent again, and is then stored again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, delete, func, select, update

from Agent.store.schema import (
    CHECKPOINTS,
    EVENTS,
    FAILURES,
    REPLAYS,
    RUNS,
    SESSIONS,
    STEPS,
    Project,
)

_OF_RUNS: Final = (STEPS, FAILURES, CHECKPOINTS, REPLAYS, RUNS)
_AT_ONCE: Final = 200


class Deleted(NamedTuple):
    """What was deleted, or would be."""

    runs: int = 0
    sessions: int = 0
    events: int = 0


def delete_run(connection: Connection, project: Project, run_id: str) -> Deleted | None:
    """Delete a run with its parts and events; None if the project does not have it."""
    found = connection.execute(
        select(RUNS.c.session_uid).where(RUNS.c.project_id == project.project_id, RUNS.c.run_id == run_id)
    ).first()
    if found is None:
        return None
    events = 0
    if found.session_uid is not None:
        of_run = (
            EVENTS.c.project_id == project.project_id,
            EVENTS.c.session_uid == found.session_uid,
            EVENTS.c.run_id == run_id,
        )
        events = connection.execute(delete(EVENTS).where(*of_run)).rowcount
        _shrink_session(connection, project, found.session_uid, events)
    _delete_runs(connection, project, [run_id])
    return Deleted(runs=1, events=events)


def _shrink_session(connection: Connection, project: Project, session_uid: str, events: int) -> None:
    """Reduce the count of a session's events; without any left, the session goes."""
    own = (SESSIONS.c.project_id == project.project_id, SESSIONS.c.session_uid == session_uid)
    connection.execute(update(SESSIONS).where(*own).values(events=SESSIONS.c.events - events))
    connection.execute(delete(SESSIONS).where(*own, SESSIONS.c.events <= 0))


def delete_session(connection: Connection, project: Project, session_uid: str) -> Deleted | None:
    """Delete a session with its events and runs; None if the project does not have it."""
    own = (SESSIONS.c.project_id == project.project_id, SESSIONS.c.session_uid == session_uid)
    sessions = connection.execute(delete(SESSIONS).where(*own)).rowcount
    runs = connection.execute(
        select(RUNS.c.run_id).where(
            RUNS.c.project_id == project.project_id, RUNS.c.session_uid == session_uid
        )
    )
    run_ids = list(runs.scalars())
    if not sessions and not run_ids:
        return None
    of_session = (EVENTS.c.project_id == project.project_id, EVENTS.c.session_uid == session_uid)
    events = connection.execute(delete(EVENTS).where(*of_session)).rowcount
    # A session's root run has the id of the session.
    _delete_runs(connection, project, [*run_ids, session_uid])
    return Deleted(len(run_ids), sessions, events)


def _delete_runs(connection: Connection, project: Project, run_ids: list[str]) -> None:
    for begin in range(0, len(run_ids), _AT_ONCE):
        some = run_ids[begin : begin + _AT_ONCE]
        for table in _OF_RUNS:
            connection.execute(
                delete(table).where(table.c.project_id == project.project_id, table.c.run_id.in_(some))
            )


def older_sessions(connection: Connection, project: Project, before_us: int) -> list[str]:
    """Return the sessions whose last event is older than a time, oldest first; 200 at most."""
    found = (
        select(SESSIONS.c.session_uid)
        .where(SESSIONS.c.project_id == project.project_id, SESSIONS.c.last_us < before_us)
        .order_by(SESSIONS.c.last_us, SESSIONS.c.session_uid)
    )
    return list(connection.execute(found.limit(_AT_ONCE)).scalars())


def older_runs(connection: Connection, project: Project, before_us: int) -> list[str]:
    """Return the runs older than a time that are in no stored session, oldest first; 200 at most.

    A run that was posted as a document has no session; its age is that of its end, or else of its start.
    """
    known = select(SESSIONS.c.session_uid).where(SESSIONS.c.project_id == project.project_id)
    age = func.coalesce(RUNS.c.ended_us, RUNS.c.listed_us)
    found = (
        select(RUNS.c.run_id)
        .where(RUNS.c.project_id == project.project_id, age < before_us)
        .where(RUNS.c.session_uid.is_(None) | RUNS.c.session_uid.not_in(known))
        .order_by(age, RUNS.c.run_id)
    )
    return list(connection.execute(found.limit(_AT_ONCE)).scalars())


def count_older(connection: Connection, project: Project, before_us: int) -> Deleted:
    """Return how much of a project is older than a time."""

    def count(table: Table, *conditions: Any) -> int:
        statement = select(func.count()).select_from(table).where(table.c.project_id == project.project_id)
        return int(connection.execute(statement.where(*conditions)).scalar() or 0)

    old = SESSIONS.c.last_us < before_us
    uids = select(SESSIONS.c.session_uid).where(SESSIONS.c.project_id == project.project_id)
    age = func.coalesce(RUNS.c.ended_us, RUNS.c.listed_us)
    alone = (RUNS.c.session_uid.is_(None) | RUNS.c.session_uid.not_in(uids)) & (age < before_us)
    events = connection.execute(
        select(func.coalesce(func.sum(SESSIONS.c.events), 0)).where(
            SESSIONS.c.project_id == project.project_id, old
        )
    )
    runs = count(RUNS, RUNS.c.session_uid.in_(uids.where(old))) + count(RUNS, alone)
    return Deleted(runs, count(SESSIONS, old), int(events.scalar() or 0))


def together(parts: Iterable[Deleted]) -> Deleted:
    """Return the sum of several deletions."""
    listed = list(parts)
    return Deleted(*(sum(numbers) for numbers in zip(*listed, strict=True))) if listed else Deleted()
