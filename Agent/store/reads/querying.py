"""Lists and single things: runs, steps, failures, events, sessions; each statement is of one project."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, Table, select

from Agent.errors import UsageError
from Agent.store.filters import EventFilter, RunFilter
from Agent.store.pages import Page, after_cursor, page_of
from Agent.store.schema import EVENTS, FAILURES, RUNS, SESSIONS, STEPS

__all__ = [
    "find_run",
    "list_events",
    "list_failures",
    "list_runs",
    "list_sessions",
    "list_steps",
    "narrowed_events",
    "narrowed_runs",
    "plain_rows",
]

_MAX_FAILURES = 1_000


def list_runs(
    connection: Connection, project_id: int, wanted: RunFilter, limit: int, cursor: str | None
) -> Page:
    """Runs, newest first."""
    statement = narrowed_runs(select(*_shown(RUNS)), project_id, wanted)
    return _page(connection, statement, RUNS, "listed_us", "run_id", limit, cursor, newest_first=True)


def narrowed_runs(statement: Select[Any], project_id: int, wanted: RunFilter) -> Select[Any]:
    """The statement over the runs of a project that are meant."""
    statement = statement.where(RUNS.c.project_id == project_id)
    for name in ("agent_id", "agent_version", "status", "failure_type", "failure_code", "session_uid"):
        value = getattr(wanted, name)
        if value is not None:
            statement = statement.where(RUNS.c[name] == value)
    if wanted.since_us is not None:
        statement = statement.where(RUNS.c.listed_us >= wanted.since_us)
    if wanted.until_us is not None:
        statement = statement.where(RUNS.c.listed_us < wanted.until_us)
    return statement


def find_run(connection: Connection, project_id: int, run_id: str) -> dict[str, Any] | None:
    """One run, None where the project has none of that id."""
    row = connection.execute(
        select(*_shown(RUNS)).where(RUNS.c.project_id == project_id, RUNS.c.run_id == run_id)
    ).first()
    return None if row is None else dict(row._mapping)  # noqa: SLF001 - the public name of SQLAlchemy's rows


def list_steps(connection: Connection, project_id: int, run_id: str, limit: int, cursor: str | None) -> Page:
    """The steps of a run, in order."""
    statement = select(*_shown(STEPS)).where(STEPS.c.project_id == project_id, STEPS.c.run_id == run_id)
    return _page(connection, statement, STEPS, "position", "step_key", limit, cursor)


def list_failures(connection: Connection, project_id: int, run_id: str) -> list[dict[str, Any]]:
    """The failures of a run, in order; at most a thousand."""
    rows = connection.execute(
        select(*_shown(FAILURES))
        .where(FAILURES.c.project_id == project_id, FAILURES.c.run_id == run_id)
        .order_by(FAILURES.c.occurred_us.nulls_last(), FAILURES.c.failure_id)
        .limit(_MAX_FAILURES)
    )
    return [dict(row) for row in rows.mappings()]


def list_events(
    connection: Connection, project_id: int, wanted: EventFilter, limit: int, cursor: str | None
) -> Page:
    """Events of a session or of a run, oldest first; one agent's are its journey.

    Raises:
        UsageError: neither a session nor a run is named.
    """
    if wanted.session_uid is None and wanted.run_id is None:
        raise UsageError("events are read by session or by run", remedy="give session_uid or run_id")
    statement = narrowed_events(connection, select(*_shown(EVENTS)), project_id, wanted)
    return _page(connection, statement, EVENTS, "ts_us", "event_id", limit, cursor)


def narrowed_events(
    connection: Connection, statement: Select[Any], project_id: int, wanted: EventFilter
) -> Select[Any]:
    """The statement over the events of a project that are meant."""
    statement = statement.where(EVENTS.c.project_id == project_id)
    session_uid = wanted.session_uid
    if session_uid is None and wanted.run_id is not None:
        # the session says in which partition a run's events lie
        run = find_run(connection, project_id, wanted.run_id)
        session_uid = run["session_uid"] if run is not None else None
    if session_uid is not None:
        statement = statement.where(EVENTS.c.session_uid == session_uid)
    for name in ("run_id", "agent_id", "kind"):
        value = getattr(wanted, name)
        if value is not None:
            statement = statement.where(EVENTS.c[name] == value)
    if wanted.min_severity is not None:
        statement = statement.where(EVENTS.c.severity >= wanted.min_severity)
    if wanted.since_us is not None:
        statement = statement.where(EVENTS.c.ts_us >= wanted.since_us)
    if wanted.until_us is not None:
        statement = statement.where(EVENTS.c.ts_us < wanted.until_us)
    return statement


def list_sessions(connection: Connection, project_id: int, limit: int, cursor: str | None) -> Page:
    """Sessions, newest first."""
    statement = select(*_shown(SESSIONS)).where(SESSIONS.c.project_id == project_id)
    return _page(connection, statement, SESSIONS, "first_us", "session_uid", limit, cursor, newest_first=True)


def _shown(table: Table) -> list[Any]:
    return [column for column in table.columns if column.name != "project_id"]


def _page(
    connection: Connection,
    statement: Select[Any],
    table: Table,
    number: str,
    text: str,
    limit: int,
    cursor: str | None,
    *,
    newest_first: bool = False,
) -> Page:
    ordered = after_cursor(statement, cursor, table.c[number], table.c[text], newest_first=newest_first)
    return page_of(plain_rows(connection, ordered.limit(limit + 1)), limit, number, text)


def plain_rows(connection: Connection, statement: Select[Any]) -> list[dict[str, Any]]:
    """What a statement gives, as dicts; SQLAlchemy's own mappings take as long to make as rows to find."""
    found = connection.execute(statement)
    names = tuple(found.keys())
    return [dict(zip(names, row, strict=True)) for row in found.all()]
