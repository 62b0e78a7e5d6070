"""Write a batch to the database in one transaction: its events and their runs.

An event that is already stored is skipped, or completed if it lacks content that the project now accepts: a
new body replaces the stored one only if it contains it. The parts of a run are merged independently of their
order: an unknown value overwrites nothing, an end is never undone, and of two different values the first is
kept. So a batch may be sent again, in whole or in part, at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError

from Agent.event.ids import uuid7_unix_ms
from Agent.export.messages import RUNNING
from Agent.store.schema import (
    CHECKPOINTS,
    EVENTS,
    FAILURES,
    REPLAYS,
    RUNS,
    SESSIONS,
    STEPS,
    EventRow,
    FailureRow,
    Ingested,
    Project,
    RunRow,
    StepRow,
    Upsert,
    insert_into,
    matching,
    now_us,
)

_IDS_PER_QUESTION: Final = 5_000
"""The most ids in one statement, below the parameter limits of both databases."""

_OF_EVENT: Final = tuple(field.name for field in fields(EventRow))
_OF_RUN: Final = tuple(field.name for field in fields(RunRow) if field.name in RUNS.c)
_OF_STEP: Final = tuple(field.name for field in fields(StepRow))
_OF_FAILURE: Final = tuple(field.name for field in fields(FailureRow))

_DIGESTED: Final = "~"
"""The first character of a name that was sent as a digest."""

# Events are inserted into PostgreSQL by one statement with arrays, which the database unpacks: one statement
# per event takes several times as long, and COPY cannot skip duplicates.
_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_TYPES: Final = {name: EVENTS.c[name].type.compile(_POSTGRESQL).partition(" ")[0] for name in _OF_EVENT}
_NAMES: Final = ", ".join(_OF_EVENT)
_CAST_COLUMNS: Final = ", ".join(f"CAST({name} AS {of})" for name, of in _TYPES.items())
_ARRAYS: Final = ", ".join(
    f"CAST(:{name} AS {'TEXT' if of == 'JSONB' else of}[])" for name, of in _TYPES.items()
)
_INSERT_ARRAYS: Final = text(
    f"INSERT INTO events (project_id, {_NAMES}) SELECT :project_id, {_CAST_COLUMNS} "  # noqa: S608 - names of the table
    f"FROM unnest({_ARRAYS}) AS given ({_NAMES}) ON CONFLICT DO NOTHING"
)
_UPDATE_ARRAYS: Final = text(
    "UPDATE events SET body = CAST(given.body AS JSONB) "
    "FROM unnest(CAST(:ids AS TEXT[]), CAST(:bodies AS TEXT[])) AS given (event_id, body) "
    "WHERE events.project_id = :project_id AND events.session_uid = CAST(:session_uid AS UUID) "
    "AND events.event_id = given.event_id"
)


def ingest_batch(
    connection: Connection,
    project_id: int,
    events: Sequence[EventRow],
    runs: Sequence[RunRow],
    *,
    session_id: str | None = None,
    content: bool = False,
) -> Ingested:
    """Store the new parts of a batch; the caller commits.

    Args:
        connection: a connection in a transaction for this batch.
        project_id: the project of the data.
        events: in any order; a repeated event counts once.
        runs: whole runs, or the parts of them in these events.
        session_id: the name of the events' session on the sender's machine.
        content: whether the project accepts content, so that events stored without it may be completed.
    """
    accepted = 0
    for session_uid, of_session in _by_session(events):
        stored = _write_events(connection, project_id, session_uid, of_session, session_id)
        if content and stored < len(of_session):
            _add_content(connection, project_id, session_uid, of_session)
        accepted += stored
    runs_new = _write_runs(connection, project_id, runs)
    return Ingested(accepted, len(events) - accepted, len(runs), runs_new)


def _by_session(events: Iterable[EventRow]) -> Iterator[tuple[str, list[EventRow]]]:
    """Yield the events of each session, each id once, sorted: a common order prevents deadlocks."""
    sessions: dict[str, dict[str, EventRow]] = {}
    for event in events:
        sessions.setdefault(event.session_uid, {}).setdefault(event.event_id, event)
    for session_uid in sorted(sessions):
        by_id = sessions[session_uid]
        yield session_uid, [by_id[event_id] for event_id in sorted(by_id)]


def _write_events(
    connection: Connection,
    project_id: int,
    session_uid: str,
    events: Sequence[EventRow],
    session_id: str | None,
) -> int:
    """Store events of one session without repetitions; return the number of new ones."""
    if connection.dialect.name == "postgresql":
        stored = _insert_arrays(connection, project_id, events)
    else:
        rows = [_values(event, _OF_EVENT) | {"project_id": project_id} for event in events]
        statement = insert_into(connection, EVENTS).on_conflict_do_nothing()
        counted = {"preserve_rowcount": True}
        stored = connection.execute(statement, rows, execution_options=counted).rowcount
    times = [event.ts_us for event in events]
    statement = insert_into(connection, SESSIONS)
    new, old = statement.excluded, SESSIONS.c
    merged = statement.on_conflict_do_update(
        index_elements=["project_id", "session_uid"],
        set_={
            "session_id": func.coalesce(old.session_id, new.session_id),
            "first_us": _least(old.first_us, new.first_us),
            "last_us": case((new.last_us > old.last_us, new.last_us), else_=old.last_us),
            "events": old.events + new.events,
        },
    )
    values = {
        "project_id": project_id,
        "session_uid": session_uid,
        "session_id": session_id,
        "first_us": min(times),
        "last_us": max(times),
        "events": stored,
    }
    connection.execute(merged, values)
    return stored


def _insert_arrays(connection: Connection, project_id: int, events: Sequence[EventRow]) -> int:
    """Insert the events that are not stored yet, and return their number."""
    columns: dict[str, Any] = {name: [getattr(event, name) for event in events] for name in _OF_EVENT}
    columns["causes"] = [_json(causes) if causes else None for causes in columns["causes"]]
    columns["body"] = [_json(body) for body in columns["body"]]
    return connection.execute(_INSERT_ARRAYS, columns | {"project_id": project_id}).rowcount


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _add_content(
    connection: Connection, project_id: int, session_uid: str, events: Sequence[EventRow]
) -> None:
    """Complete the stored events of a session that have less than the given ones."""
    of_session = matching(EVENTS, project_id, session_uid=session_uid)
    for begin in range(0, len(events), _IDS_PER_QUESTION):
        sent_bodies = {event.event_id: event.body for event in events[begin : begin + _IDS_PER_QUESTION]}
        stored = connection.execute(
            select(EVENTS.c.event_id, EVENTS.c.body).where(of_session, EVENTS.c.event_id.in_(sent_bodies))
        ).all()
        grown = {
            event_id: sent_bodies[event_id]
            for event_id, body in sorted(stored, key=lambda row: row.event_id)
            if body != sent_bodies[event_id] and _adds(body, sent_bodies[event_id])
        }
        if grown and connection.dialect.name == "postgresql":
            key = {"project_id": project_id, "session_uid": session_uid}
            bodies = {"ids": list(grown), "bodies": [_json(body) for body in grown.values()]}
            connection.execute(_UPDATE_ARRAYS, key | bodies)
        elif grown:
            connection.execute(
                update(EVENTS)
                .where(of_session, EVENTS.c.event_id == bindparam("of_event"))
                .values(body=bindparam("grown", type_=EVENTS.c.body.type)),
                [{"of_event": event_id, "grown": body} for event_id, body in grown.items()],
            )


def _adds(stored: Any, sent: Any) -> bool:
    """Return whether the given value contains everything in the stored value."""
    if isinstance(stored, Mapping):
        return isinstance(sent, Mapping) and all(
            name in sent and _adds(value, sent[name]) for name, value in stored.items()
        )
    if isinstance(stored, list):
        return isinstance(sent, list) and len(sent) == len(stored) and all(map(_adds, stored, sent))
    if isinstance(stored, str) and isinstance(sent, str) and stored.startswith(_DIGESTED):
        return True
    return bool(stored == sent)


def _write_runs(connection: Connection, project_id: int, runs: Sequence[RunRow]) -> int:
    """Store runs with their steps and failures; return the number of new runs."""
    if not runs:
        return 0
    ordered = sorted(runs, key=lambda run: run.run_id)
    existing = _stored_runs(connection, project_id, [run.run_id for run in ordered])
    connection.execute(_merge_runs(connection), [_run_values(project_id, run) for run in ordered])
    steps = [
        _values(step, _OF_STEP) | {"project_id": project_id, "run_id": run.run_id}
        for run in ordered
        for step in sorted(run.steps, key=lambda step: step.step_key)
    ]
    if steps:
        connection.execute(_merge_steps(connection), steps)
    failures = [
        _values(failure, _OF_FAILURE) | {"project_id": project_id, "run_id": run.run_id}
        for run in ordered
        for failure in sorted(run.failures, key=lambda failure: failure.failure_id)
    ]
    if failures:
        connection.execute(_merge_failures(connection), failures)
        _settle_failures(connection, project_id, {each["run_id"] for each in failures})
    return len({run.run_id for run in ordered} - existing)


def _stored_runs(connection: Connection, project_id: int, run_ids: Sequence[str]) -> set[str]:
    existing: set[str] = set()
    for begin in range(0, len(run_ids), _IDS_PER_QUESTION):
        some = list(run_ids[begin : begin + _IDS_PER_QUESTION])
        stored_ids = connection.execute(select(RUNS.c.run_id).where(matching(RUNS, project_id, run_id=some)))
        existing.update(stored_ids.scalars())
    return existing


def _run_values(project_id: int, run: RunRow) -> dict[str, Any]:
    times = [run.started_us, run.ended_us]
    times += [step.started_us for step in run.steps] + [failure.occurred_us for failure in run.failures]
    known_times = [each for each in times if each is not None]
    # A run without any known time gets the server's time.
    listed_us = run.started_us if run.started_us is not None else min(known_times, default=now_us())
    return _values(run, _OF_RUN) | {"project_id": project_id, "listed_us": listed_us}


def _values(row: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _least(old: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((new < old, new), else_=old)


def _merge_runs(connection: Connection) -> Upsert:
    statement = insert_into(connection, RUNS)
    new, old = statement.excluded, RUNS.c
    ends = and_(old.status == RUNNING, new.status != RUNNING)
    first_stays = ("started_us", "session_uid", "agent_id", "agent_version", "parent_run_id")
    changes: dict[str, Any] = {name: func.coalesce(old[name], new[name]) for name in first_stays}
    changes["status"] = case((ends, new.status), else_=old.status)
    changes["ended_us"] = case((ends, new.ended_us), else_=func.coalesce(old.ended_us, new.ended_us))
    changes["labels"] = _united(connection, old.labels, new.labels)
    changes["listed_us"] = case(
        (old.started_us.is_not(None), old.listed_us),
        (new.started_us.is_not(None), new.listed_us),
        else_=_least(old.listed_us, new.listed_us),
    )
    return statement.on_conflict_do_update(index_elements=["project_id", "run_id"], set_=changes)


def _merge_steps(connection: Connection) -> Upsert:
    statement = insert_into(connection, STEPS)
    new, old = statement.excluded, STEPS.c
    open_yet = func.coalesce(old.status, RUNNING) == RUNNING
    first_stays = ("step_type", "name", "started_us", "latency_ms", "parent_step_id")
    changes: dict[str, Any] = {name: func.coalesce(old[name], new[name]) for name in first_stays}
    changes["position"] = _least(old.position, new.position)
    changes["status"] = case((open_yet, func.coalesce(new.status, old.status)), else_=old.status)
    changes["metadata"] = _united(connection, old.metadata, new.metadata)
    return statement.on_conflict_do_update(index_elements=["project_id", "run_id", "step_key"], set_=changes)


def _merge_failures(connection: Connection) -> Upsert:
    statement = insert_into(connection, FAILURES)
    message = func.coalesce(FAILURES.c.message, statement.excluded.message)
    return statement.on_conflict_do_update(
        index_elements=["project_id", "run_id", "failure_id"], set_={"message": message}
    )


def _united(connection: Connection, old: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    """Merge two objects; for a key in both, the old value is kept."""
    if connection.dialect.name == "postgresql":
        return new.op("||")(old)
    return func.json_patch(new, old)


def _settle_failures(connection: Connection, project_id: int, run_ids: Iterable[str]) -> None:
    """Set the failure under which each run is listed: its first one."""
    rows: list[Mapping[str, Any]] = [{"of_run": run_id} for run_id in sorted(run_ids)]

    def first(column: ColumnElement[Any]) -> Any:
        return (
            select(column)
            .where(FAILURES.c.project_id == RUNS.c.project_id, FAILURES.c.run_id == RUNS.c.run_id)
            .order_by(FAILURES.c.occurred_us.nulls_last(), FAILURES.c.failure_id)
            .limit(1)
            .correlate(RUNS)
            .scalar_subquery()
        )

    connection.execute(
        update(RUNS)
        .where(matching(RUNS, project_id, run_id=bindparam("of_run")))
        .values(failure_type=first(FAILURES.c.failure_type), failure_code=first(FAILURES.c.failure_code)),
        rows,
    )


_FIRST_MONTH: Final = (2020, 1)
_MONTHS_AHEAD: Final = 3
_LOCK_NUMBER: Final = 0x6D6F_6E74  # "mont": the lock under which one process at a time makes a month

Month = tuple[int, int]


def month_of_id(text_id: str) -> Month | None:
    """Return the year and month in a UUIDv7; None for other ids."""
    try:
        moment = datetime.fromtimestamp(uuid7_unix_ms(text_id) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # not a UUIDv7, or a time outside the calendar
    return moment.year, moment.month


def _following(month: Month) -> Month:
    year, number = month
    return (year + 1, 1) if number == 12 else (year, number + 1)


def _bound(month: Month) -> str:
    """Return the first UUIDv7 of a month."""
    unix_ms = int(datetime(*month, 1, tzinfo=UTC).timestamp() * 1000)
    digits = f"{unix_ms:012x}"
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"


class Months:
    """A cache of the months that have partitions, so that ingest checks the database once for each."""

    def __init__(self) -> None:
        self._existing: set[Month] = set()
        self._lock = threading.Lock()

    def missing(self, ids: Iterable[str], now: datetime) -> list[Month]:
        """Return the months without partitions among those of the ids, this month and the next.

        Args:
            ids: ids of sessions and runs.
            now: the current time; months more than three ahead of it are not returned.
        """
        last = month = (now.year, now.month)
        for _ in range(_MONTHS_AHEAD):
            last = _following(last)
        months = {found for found in map(month_of_id, ids) if found and _FIRST_MONTH <= found <= last}
        months |= {month, _following(month)}
        with self._lock:
            return sorted(months - self._existing)

    def note_created(self, month: Month) -> None:
        """Note that the partitions of a month exist."""
        with self._lock:
            self._existing.add(month)


def make_month(connection: Connection, month: Month) -> None:
    """Create the partitions of a month if they are missing; the caller commits."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
    name = f"{month[0]}_{month[1]:02}"
    begin, end = _bound(month), _bound(_following(month))
    for table in ("events", "steps"):
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": f"{table}_{name}"}).scalar():
            continue
        try:
            with connection.begin_nested():
                connection.execute(
                    text(
                        f"CREATE TABLE IF NOT EXISTS {table}_{name} PARTITION OF {table} "
                        f"FOR VALUES FROM ('{begin}') TO ('{end}')"
                    )
                )
        except IntegrityError:
            continue  # the default partition has rows of that month, from before it was near enough


_OF_RUNS: Final = (STEPS, FAILURES, CHECKPOINTS, REPLAYS, RUNS)
_AT_ONCE: Final = 200


class Deleted(NamedTuple):
    """What was deleted, or would be."""

    runs: int = 0
    sessions: int = 0
    events: int = 0


def delete_run(connection: Connection, project: Project, run_id: str) -> Deleted | None:
    """Delete a run with its parts and events; None if the project does not have it."""
    row = connection.execute(select(RUNS.c.session_uid).where(matching(RUNS, project, run_id=run_id))).first()
    if row is None:
        return None
    events = 0
    if row.session_uid is not None:
        of_run = matching(EVENTS, project, session_uid=row.session_uid, run_id=run_id)
        events = connection.execute(delete(EVENTS).where(of_run)).rowcount
        _shrink_session(connection, project, row.session_uid, events)
    _delete_runs(connection, project, [run_id])
    return Deleted(runs=1, events=events)


def _shrink_session(connection: Connection, project: Project, session_uid: str, events: int) -> None:
    """Reduce the count of a session's events; delete the session when none remain."""
    shrunk = matching(SESSIONS, project, session_uid=session_uid)
    connection.execute(update(SESSIONS).where(shrunk).values(events=SESSIONS.c.events - events))
    connection.execute(delete(SESSIONS).where(shrunk, SESSIONS.c.events <= 0))


def delete_session(connection: Connection, project: Project, session_uid: str) -> Deleted | None:
    """Delete a session with its events and runs; None if the project does not have it."""
    statement = delete(SESSIONS).where(matching(SESSIONS, project, session_uid=session_uid))
    sessions = connection.execute(statement).rowcount
    runs = connection.execute(select(RUNS.c.run_id).where(matching(RUNS, project, session_uid=session_uid)))
    run_ids = list(runs.scalars())
    if not sessions and not run_ids:
        return None
    events = connection.execute(
        delete(EVENTS).where(matching(EVENTS, project, session_uid=session_uid))
    ).rowcount
    # A session's root run has the id of the session.
    _delete_runs(connection, project, [*run_ids, session_uid])
    return Deleted(len(run_ids), sessions, events)


def _delete_runs(connection: Connection, project: Project, run_ids: list[str]) -> None:
    for begin in range(0, len(run_ids), _AT_ONCE):
        some = run_ids[begin : begin + _AT_ONCE]
        for table in _OF_RUNS:
            connection.execute(delete(table).where(matching(table, project, run_id=some)))


def older_sessions(connection: Connection, project: Project, before_us: int) -> list[str]:
    """Return the sessions whose last event is older than a time, oldest first; 200 at most."""
    query = (
        select(SESSIONS.c.session_uid)
        .where(matching(SESSIONS, project), SESSIONS.c.last_us < before_us)
        .order_by(SESSIONS.c.last_us, SESSIONS.c.session_uid)
    )
    return list(connection.execute(query.limit(_AT_ONCE)).scalars())


def _alone_before(project: Project, before_us: int) -> tuple[ColumnElement[Any], ColumnElement[bool]]:
    """Return the age of a run, and the condition that it is older than a time and in no stored session.

    A run that was posted as a document has no session; its age is that of its end, or else of its start.
    """
    uids = select(SESSIONS.c.session_uid).where(matching(SESSIONS, project))
    age = func.coalesce(RUNS.c.ended_us, RUNS.c.listed_us)
    is_alone = RUNS.c.session_uid.is_(None) | RUNS.c.session_uid.not_in(uids)
    return age, is_alone & (age < before_us)


def older_runs(connection: Connection, project: Project, before_us: int) -> list[str]:
    """Return the runs older than a time that are in no stored session, oldest first; 200 at most."""
    age, is_old = _alone_before(project, before_us)
    query = select(RUNS.c.run_id).where(matching(RUNS, project), is_old).order_by(age, RUNS.c.run_id)
    return list(connection.execute(query.limit(_AT_ONCE)).scalars())


def count_older(connection: Connection, project: Project, before_us: int) -> Deleted:
    """Return how much of a project is older than a time."""

    def count(table: Table, *conditions: Any) -> int:
        statement = select(func.count()).select_from(table).where(matching(table, project), *conditions)
        return int(connection.execute(statement).scalar() or 0)

    old = matching(SESSIONS, project), SESSIONS.c.last_us < before_us
    of_old = RUNS.c.session_uid.in_(select(SESSIONS.c.session_uid).where(*old))
    events = connection.execute(select(func.sum(SESSIONS.c.events)).where(*old)).scalar()
    _, is_old = _alone_before(project, before_us)
    return Deleted(count(RUNS, of_old) + count(RUNS, is_old), count(SESSIONS, old[1]), int(events or 0))


def together(parts: Iterable[Deleted]) -> Deleted:
    """Return the sum of several deletions."""
    listed = list(parts)
    return Deleted(*(sum(numbers) for numbers in zip(*listed, strict=True))) if listed else Deleted()
