"""`Store`: one database, used in transactions; `ReplayStore` also stores checkpoints and replays.

`pool.py` opens it; the other modules of this package contain the queries.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, Self, TypeVar, Unpack

from sqlalchemy import Connection, Engine, Table, case, cast, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import TimeoutError as PoolTimeout

from Agent.errors import UsageError
from Agent.store import keys, reads, writes
from Agent.store.engines import WRITES, Role, fold_log
from Agent.store.reads import find_run
from Agent.store.schema import (
    CHECKPOINTS,
    MAX_LIMIT,
    REPLAYS,
    RUNNING_REPLAY,
    RUNS,
    SESSIONS,
    CheckpointRow,
    EventFilter,
    EventRow,
    Ingested,
    Page,
    Paging,
    Project,
    ReplayRow,
    RunRow,
    all_items,
    insert_into,
    matching,
    plain_rows,
    read_page,
    rows_of,
)
from Agent.store.writes import Months, ingest_batch, make_month
from Agent.tree.layout import safe_name

Its = ParamSpec("Its")
ResultT = TypeVar("ResultT")
_Question = Callable[Concatenate[Connection, Its], ResultT]
_Method = Callable[Concatenate[Any, Its], ResultT]


def query_method(question: _Question[Its, ResultT]) -> _Method[Its, ResultT]:
    """Convert a query function to a method of a store, which opens a connection for each call."""

    @wraps(question)
    def method(store: Store, /, *args: Its.args, **kwargs: Its.kwargs) -> ResultT:
        with store.engine.connect() as connection:
            return question(connection, *args, **kwargs)

    return method


def change_method(change: _Question[Its, ResultT]) -> _Method[Its, ResultT]:
    """Convert a function that writes to a method of a store, which commits before it returns."""

    @wraps(change)
    def method(store: Store, /, *args: Its.args, **kwargs: Its.kwargs) -> ResultT:
        with store.writing() as connection:
            return change(connection, *args, **kwargs)

    return method


_TURN_S: Final = 20.0
"""The seconds that a writer waits for earlier ones, each of which may wait as long for another process."""


class _WriterTurn:
    """A lock for one writer at a time, with a timeout."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=_TURN_S):
            raise PoolTimeout(f"other writers took longer than {_TURN_S:g} s")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Store:
    """One database in one role; thread-safe. Errors of the database are raised as SQLAlchemy's exceptions.

    Args:
        engine: the connections, with the rights of the role.
        role: the permitted operations.
        url: the URL for display, without its password.
    """

    def __init__(self, engine: Engine, role: Role, url: str) -> None:
        self.role = role
        self.url = url
        self.engine = engine
        self._months = Months()
        # SQLite allows one writer at a time; waiting for this lock avoids SQLite's busy loop.
        one_writer = engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[Any] = _WriterTurn() if one_writer else nullcontext()

    def close(self) -> None:
        """Close all connections; an SQLite database is then completely in its one file."""
        if self.role is not Role.QUERY and self.engine.dialect.name == "sqlite":
            fold_log(self.engine)
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ping(self) -> None:
        """Run a trivial query; raises if the database does not respond."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def ingest(
        self,
        project: Project,
        *,
        events: Sequence[EventRow] = (),
        runs: Sequence[RunRow] = (),
        session_id: str | None = None,
    ) -> Ingested:
        """Store the new parts of a batch; they are committed when this returns."""
        ids = [run.run_id for run in runs if run.steps] + [event.session_uid for event in events]
        if self.engine.dialect.name == "postgresql":
            for month in self._months.missing(set(ids), datetime.now(UTC)):
                with self.writing() as connection:
                    make_month(connection, month)
                self._months.note_created(month)
        with self.writing() as connection:
            return ingest_batch(
                connection,
                project.project_id,
                events,
                runs,
                session_id=session_id,
                content=project.content_allowed,
            )

    list_runs = query_method(reads.list_runs)
    find_run = query_method(reads.find_run)
    list_steps = query_method(reads.list_steps)
    list_failures = query_method(reads.list_failures)
    list_events = query_method(reads.list_events)
    list_journey = query_method(reads.list_journey)
    list_error_groups = query_method(reads.list_error_groups)
    events_by_id = query_method(reads.events_by_id)
    events_of_agent = query_method(reads.events_of_agent)
    events_of_spans = query_method(reads.events_of_spans)
    list_sessions = query_method(reads.list_sessions)
    count_runs = query_method(reads.count_runs)

    delete_run = change_method(writes.delete_run)
    delete_session = change_method(writes.delete_session)
    count_older = query_method(writes.count_older)

    def delete_older(self, project: Project, before_us: int) -> writes.Deleted:
        """Delete sessions and runs older than a time, each in a separate transaction."""
        done: list[writes.Deleted] = []
        for older, deleted in (
            (writes.older_sessions, self.delete_session),
            (writes.older_runs, self.delete_run),
        ):
            while names := query_method(older)(self, project, before_us):
                done += [found for name in names if (found := deleted(project, name)) is not None]
        return writes.together(done)

    authenticate = query_method(keys.authenticate)
    issue_key = change_method(keys.issue_key)
    list_keys = query_method(keys.list_keys)
    revoke_key = change_method(keys.revoke_key)
    find_project = query_method(keys.find_project)
    list_projects = query_method(keys.list_projects)
    set_content = change_method(keys.set_content)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in a transaction, which is committed if the block does not raise."""
        if self.role is Role.QUERY:
            raise UsageError(
                "this store was opened for queries", remedy='open it with role="ingest" or "admin"'
            )
        with self._turn, self.engine.connect() as plain:
            connection = plain.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection


@dataclass(frozen=True, slots=True)
class TraceSession:
    """The session with the events of a trace."""

    session_uid: str | None
    """None for a run without stored events."""
    run_id: str | None
    """None for a session's root run."""
    events: int = 0
    first_us: int | None = None
    """The time of the first event."""


def checkpoint_id_of(trace_id: str, step_id: str, agent_id: str | None) -> str:
    """Return the id of a checkpoint, which is valid in a URL and readable if its parts are plain."""
    return ":".join([trace_id, safe_name(step_id), *([] if agent_id is None else [safe_name(agent_id)])])


def find_sent(connection: Connection, project: Project, trace_id: str) -> TraceSession | None:
    """Return the session of a run, or of a session's UUID; None if neither is stored."""
    run = find_run(connection, project, trace_id)
    session_uid = trace_id if run is None else run["session_uid"]
    row = None
    if session_uid is not None and _is_uuid(session_uid):
        row = connection.execute(rows_of(SESSIONS, project, session_uid=session_uid)).first()
    if row is None:
        return None if run is None else TraceSession(session_uid, trace_id)
    return TraceSession(session_uid, None if run is None else trace_id, row.events, row.first_us)


def add_checkpoints(connection: Connection, project: Project, rows: Sequence[CheckpointRow]) -> list[str]:
    """Store the checkpoints that are missing, after the existing ones; return the new ids."""
    sent = matching(CHECKPOINTS, project, checkpoint_id=[row.checkpoint_id for row in rows])
    sent_ids = set(connection.execute(select(CHECKPOINTS.c.checkpoint_id).where(sent)).scalars())
    new = [row for row in rows if row.checkpoint_id not in sent_ids]
    if not new:
        return []
    of_run = matching(CHECKPOINTS, project, run_id=new[0].run_id)
    last = connection.execute(select(func.max(CHECKPOINTS.c.position)).where(of_run)).scalar()
    behind = 0 if last is None else last + 1
    values = [
        asdict(row) | {"project_id": project.project_id, "position": row.position + behind} for row in new
    ]
    connection.execute(insert_into(connection, CHECKPOINTS).on_conflict_do_nothing(), values)
    return [row.checkpoint_id for row in new]


def list_checkpoints(connection: Connection, project: Project, run_id: str, **page: Unpack[Paging]) -> Page:
    """Return a page of the checkpoints of a run, in order, without their states."""
    statement = rows_of(CHECKPOINTS, project, "state", "state_types", run_id=run_id)
    order = CHECKPOINTS.c.position, CHECKPOINTS.c.checkpoint_id
    return read_page(connection, statement, *order, **page)


def find_checkpoint(
    connection: Connection, project: Project, checkpoint_id: str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return a checkpoint with its state, and the last one of the same run and agent; None if missing."""
    rows = plain_rows(connection, rows_of(CHECKPOINTS, project, checkpoint_id=checkpoint_id))
    if not rows:
        return None
    (last,) = plain_rows(
        connection,
        rows_of(CHECKPOINTS, project, run_id=rows[0]["run_id"])
        .where(CHECKPOINTS.c.agent_id.is_not_distinct_from(rows[0]["agent_id"]))
        .order_by(CHECKPOINTS.c.position.desc(), CHECKPOINTS.c.checkpoint_id.desc())
        .limit(1),
    )
    return rows[0], last


def delete_checkpoint(connection: Connection, project: Project, checkpoint_id: str) -> bool:
    """Delete a checkpoint; return False if it was missing."""
    statement = delete(CHECKPOINTS).where(matching(CHECKPOINTS, project, checkpoint_id=checkpoint_id))
    return connection.execute(statement).rowcount > 0


class ReplayCounts(NamedTuple):
    """The checkpoints and replays of one project, or of all."""

    runs: int
    checkpointed_runs: int
    """The traces that have a checkpoint."""
    storage_bytes: int
    """The size of all states, as JSON text."""
    replays: int
    """The replays that have ended."""
    completed: int
    diverged: int
    """Of the completed ones, those that differ from what was recorded."""
    latency_s: float
    """The time of all replays that have ended, together."""


def count_replays(connection: Connection, project: Project | None, at_us: int) -> ReplayCounts:
    """Return the counts at a time; a replay past its due time has ended, not completed."""

    def of(table: Table, *columns: Any) -> Any:
        statement = select(*columns).select_from(table)
        if project is not None:
            statement = statement.where(matching(table, project))
        return connection.execute(statement).one()

    runs = of(RUNS, func.count())
    stored = of(
        CHECKPOINTS,
        func.count(CHECKPOINTS.c.run_id.distinct()),
        func.coalesce(func.sum(func.length(CHECKPOINTS.c.state)), 0),
    )
    ended = (REPLAYS.c.status != RUNNING_REPLAY) | (REPLAYS.c.due_us < at_us)
    completed = REPLAYS.c.status == "completed"
    if connection.dialect.name == "postgresql":
        changed = cast(REPLAYS.c.result, postgresql.JSON)[("diff", "has_changes")].astext == "true"
    else:
        changed = func.json_extract(REPLAYS.c.result, "$.diff.has_changes") == 1
    diverged = completed & changed
    took = REPLAYS.c.finished_us - REPLAYS.c.created_us
    done = of(
        REPLAYS,
        *(func.coalesce(func.sum(case((which, 1), else_=0)), 0) for which in (ended, completed, diverged)),
        func.coalesce(func.sum(took), 0),
    )
    return ReplayCounts._make([*map(int, [*runs, *stored, *done[:-1]]), float(done[-1]) / 1e6])


def begin_replay(connection: Connection, project: Project, row: ReplayRow) -> None:
    """Store a replay at its start."""
    connection.execute(insert(REPLAYS).values(**asdict(row), project_id=project.project_id))


def end_replay(connection: Connection, project: Project, replay_id: str, values: Mapping[str, Any]) -> None:
    """Store the end of a replay: `status`, `finished_us`, and `result` or `problem` as JSON texts."""
    connection.execute(
        update(REPLAYS).where(matching(REPLAYS, project, replay_id=replay_id)).values(**values)
    )


def find_replay(connection: Connection, project: Project, replay_id: str) -> dict[str, Any] | None:
    """Return one replay, None if it is missing."""
    return next(iter(plain_rows(connection, rows_of(REPLAYS, project, replay_id=replay_id))), None)


def list_replays(connection: Connection, project: Project, run_id: str, **page: Unpack[Paging]) -> Page:
    """Return a page of the replays of a run, newest first, without their results."""
    statement = rows_of(REPLAYS, project, "result", run_id=run_id)
    order = REPLAYS.c.created_us, REPLAYS.c.replay_id
    return read_page(connection, statement, *order, newest_first=True, **page)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


class ReplayStore(Store):
    """One database in the role of replays; `open_store(url, role="replay")` returns it."""

    find_sent = query_method(find_sent)
    add_checkpoints = change_method(add_checkpoints)
    list_checkpoints = query_method(list_checkpoints)
    find_checkpoint = query_method(find_checkpoint)
    delete_checkpoint = change_method(delete_checkpoint)
    count_replays = query_method(count_replays)
    begin_replay = change_method(begin_replay)
    end_replay = change_method(end_replay)
    find_replay = query_method(find_replay)
    list_replays = query_method(list_replays)

    def sent_events(self, project: Project, session_uid: str) -> Iterator[dict[str, Any]]:
        """Yield all events of a session, oldest first, page by page; no connection is open between pages."""
        filters = EventFilter(session_uid=session_uid)
        return all_items(lambda cursor: self.list_events(project, filters, limit=MAX_LIMIT, cursor=cursor))
