"""Runs, steps, failures, events, sessions, and events by their links; each statement is of one project."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import Column, Connection, Select, or_, select

from Agent.errors import UsageError
from Agent.store.filters import EventFilter, RunFilter
from Agent.store.pages import Page, plain_rows, read_page, shown_columns
from Agent.store.schema import EVENTS, FAILURES, RUNS, SESSIONS, STEPS

__all__ = [
    "events_by_id",
    "events_of_agent",
    "events_of_spans",
    "find_run",
    "list_events",
    "list_failures",
    "list_runs",
    "list_sessions",
    "list_steps",
    "narrowed_events",
    "narrowed_runs",
]

_MAX_FAILURES: Final = 1_000
_MOST_LINKED: Final = 5_000
_MOST_NAMED: Final = 5_000
"""Below the number of parameters that either database takes; of more the first are looked for."""


def list_runs(
    connection: Connection, project_id: int, wanted: RunFilter, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """Runs, newest first."""
    statement = narrowed_runs(select(*shown_columns(RUNS)), project_id, wanted)
    order = RUNS.c.listed_us, RUNS.c.run_id
    return read_page(connection, statement, *order, limit=limit, cursor=cursor, newest_first=True)


def narrowed_runs(statement: Select[Any], project_id: int, wanted: RunFilter) -> Select[Any]:
    """The statement over the runs of a project that are meant."""
    names = ("agent_id", "agent_version", "status", "failure_type", "failure_code", "session_uid")
    return _narrowed(statement, RUNS.c.listed_us, project_id, wanted, names)


def _narrowed(
    statement: Select[Any],
    time: Column[Any],
    project_id: int,
    wanted: RunFilter | EventFilter,
    names: Iterable[str],
) -> Select[Any]:
    """The statement over a project's rows with these values, of the time that is meant."""
    columns = time.table.c
    statement = statement.where(columns.project_id == project_id)
    for name in names:
        if (value := getattr(wanted, name)) is not None:
            statement = statement.where(columns[name] == value)
    if wanted.since_us is not None:
        statement = statement.where(time >= wanted.since_us)
    if wanted.until_us is not None:
        statement = statement.where(time < wanted.until_us)
    return statement


def find_run(connection: Connection, project_id: int, run_id: str) -> dict[str, Any] | None:
    """One run, None where the project has none of that id."""
    wanted = RUNS.c.project_id == project_id, RUNS.c.run_id == run_id
    return next(iter(plain_rows(connection, select(*shown_columns(RUNS)).where(*wanted))), None)


def list_steps(
    connection: Connection, project_id: int, run_id: str, *, limit: int = 200, cursor: str | None = None
) -> Page:
    """The steps of a run, in order."""
    statement = select(*shown_columns(STEPS)).where(
        STEPS.c.project_id == project_id, STEPS.c.run_id == run_id
    )
    return read_page(connection, statement, STEPS.c.position, STEPS.c.step_key, limit=limit, cursor=cursor)


def list_failures(connection: Connection, project_id: int, run_id: str) -> list[dict[str, Any]]:
    """The failures of a run, in order; at most a thousand."""
    return plain_rows(
        connection,
        select(*shown_columns(FAILURES))
        .where(FAILURES.c.project_id == project_id, FAILURES.c.run_id == run_id)
        .order_by(FAILURES.c.occurred_us.nulls_last(), FAILURES.c.failure_id)
        .limit(_MAX_FAILURES),
    )


def list_events(
    connection: Connection,
    project_id: int,
    wanted: EventFilter,
    *,
    limit: int = 200,
    cursor: str | None = None,
) -> Page:
    """Events of a session or of a run, oldest first; one agent's are its journey.

    Raises:
        UsageError: neither a session nor a run is named.
    """
    if wanted.session_uid is None and wanted.run_id is None:
        raise UsageError("events are read by session or by run", remedy="give session_uid or run_id")
    statement = narrowed_events(connection, select(*shown_columns(EVENTS)), project_id, wanted)
    return read_page(connection, statement, EVENTS.c.ts_us, EVENTS.c.event_id, limit=limit, cursor=cursor)


def narrowed_events(
    connection: Connection, statement: Select[Any], project_id: int, wanted: EventFilter
) -> Select[Any]:
    """The statement over the events of a project that are meant."""
    session_uid = wanted.session_uid
    if session_uid is None and wanted.run_id is not None:
        # the session says in which partition a run's events lie
        run = find_run(connection, project_id, wanted.run_id)
        session_uid = run["session_uid"] if run is not None else None
    if session_uid is not None:
        statement = statement.where(EVENTS.c.session_uid == session_uid)
    if wanted.min_severity is not None:
        statement = statement.where(EVENTS.c.severity >= wanted.min_severity)
    return _narrowed(statement, EVENTS.c.ts_us, project_id, wanted, ("run_id", "agent_id", "kind"))


def list_sessions(
    connection: Connection, project_id: int, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """Sessions, newest first."""
    statement = select(*shown_columns(SESSIONS)).where(SESSIONS.c.project_id == project_id)
    order = SESSIONS.c.first_us, SESSIONS.c.session_uid
    return read_page(connection, statement, *order, limit=limit, cursor=cursor, newest_first=True)


def events_by_id(
    connection: Connection, project_id: int, session_uid: str, ids: Collection[str]
) -> list[dict[str, Any]]:
    """Those of the ids that are stored, of the first 5,000."""
    return plain_rows(
        connection, _of_session(project_id, session_uid).where(EVENTS.c.event_id.in_(_named(ids)))
    )


def events_of_agent(
    connection: Connection, project_id: int, session_uid: str, agent_id: str, *, since_us: int, until_us: int
) -> list[dict[str, Any]]:
    """What an agent did in a stretch of time, newest first; the newest 5,000 of it."""
    return plain_rows(
        connection,
        _of_session(project_id, session_uid)
        .where(EVENTS.c.agent_id == agent_id, EVENTS.c.ts_us.between(since_us, until_us))
        .order_by(EVENTS.c.ts_us.desc(), EVENTS.c.event_id.desc())
        .limit(_MOST_LINKED),
    )


def events_of_spans(
    connection: Connection,
    project_id: int,
    session_uid: str,
    *,
    around: Collection[str],
    within: Collection[str],
    since_us: int,
    until_us: int,
) -> list[dict[str, Any]]:
    """The spans `around` themselves, and what happened right in those of `within`, in a stretch of time."""
    linked = or_(EVENTS.c.span_id.in_(_named(around)), EVENTS.c.parent_span_id.in_(_named(within)))
    return plain_rows(
        connection,
        _of_session(project_id, session_uid)
        .where(EVENTS.c.ts_us.between(since_us, until_us), linked)
        .order_by(EVENTS.c.ts_us.desc(), EVENTS.c.event_id.desc())
        .limit(_MOST_LINKED),
    )


def _of_session(project_id: int, session_uid: str) -> Select[Any]:
    return select(*shown_columns(EVENTS)).where(
        EVENTS.c.project_id == project_id, EVENTS.c.session_uid == session_uid
    )


def _named(names: Collection[str]) -> list[str]:
    return sorted(names)[:_MOST_NAMED]
