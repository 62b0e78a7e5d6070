"""`Store`: one database, asked in transactions; `opening.py` makes it, the modules beside it do the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Connection, Engine, text

from Agent.errors import UsageError
from Agent.store import keys, projects
from Agent.store.engines import READER_ROLE, WRITES, Role, fold_log
from Agent.store.filters import EventFilter, RunFilter
from Agent.store.pages import MAX_LIMIT, Page
from Agent.store.projects import Project
from Agent.store.reads import counting, error_groups, journeys, linked_events, querying
from Agent.store.rows import EventRow, Ingested, RunRow
from Agent.store.writes.ingesting import ingest_batch
from Agent.store.writes.partitions import Months, make_month

__all__ = ["Store"]


class Store:
    """One database in one role; safe for threads. Errors of the database come out as SQLAlchemy raises them.

    Args:
        engine: the connections, with the rights of the role.
        role: what may be done.
        url: shown to people, without its password.
    """

    def __init__(self, engine: Engine, role: Role, url: str) -> None:
        self.role = role
        self.url = url
        self._engine = engine
        self._months = Months()
        # SQLite takes one writer at a time; who waits here does not wait in its busy loop
        one_writer = engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[Any] = threading.Lock() if one_writer else nullcontext()

    def close(self) -> None:
        """Closes all connections; of SQLite the whole database is in its one file then."""
        if self.role is not Role.QUERY and self._engine.dialect.name == "sqlite":
            fold_log(self._engine)
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ping(self) -> None:
        """Asks the database for nothing; raises where it does not answer."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def read_only_by(self) -> str | None:
        """What keeps this store from writing: `file`, `role` or `transaction`; None where nothing does."""
        if self.role is not Role.QUERY:
            return None
        if self._engine.dialect.name == "sqlite":
            return "file"
        with self._engine.connect() as connection:
            current = connection.execute(text("SELECT current_user")).scalar()
        return "role" if current == READER_ROLE else "transaction"

    def ingest(
        self,
        project: Project,
        *,
        events: Sequence[EventRow] = (),
        runs: Sequence[RunRow] = (),
        session_id: str | None = None,
    ) -> Ingested:
        """Stores what is new of a batch; when it returns, that is committed."""
        ids = [run.run_id for run in runs if run.steps] + [event.session_uid for event in events]
        if self._engine.dialect.name == "postgresql":
            for month in self._months.missing(set(ids), datetime.now(UTC)):
                with self._writing() as connection:
                    make_month(connection, month)
                self._months.made(month)
        with self._writing() as connection:
            return ingest_batch(
                connection,
                project.project_id,
                events,
                runs,
                session_id=session_id,
                content=project.content_allowed,
                now_us=_now_us(),
            )

    def list_runs(
        self, project: Project, wanted: RunFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page:
        """Runs, newest first."""
        with self._engine.connect() as connection:
            return querying.list_runs(connection, project.project_id, wanted, _limit(limit), cursor)

    def find_run(self, project: Project, run_id: str) -> dict[str, Any] | None:
        """One run, None where the project has none of that id."""
        with self._engine.connect() as connection:
            return querying.find_run(connection, project.project_id, run_id)

    def list_steps(
        self, project: Project, run_id: str, *, limit: int = 200, cursor: str | None = None
    ) -> Page:
        """The steps of a run, in order."""
        with self._engine.connect() as connection:
            return querying.list_steps(connection, project.project_id, run_id, _limit(limit), cursor)

    def list_failures(self, project: Project, run_id: str) -> list[dict[str, Any]]:
        """The failures of a run, in order."""
        with self._engine.connect() as connection:
            return querying.list_failures(connection, project.project_id, run_id)

    def list_events(
        self, project: Project, wanted: EventFilter, *, limit: int = 200, cursor: str | None = None
    ) -> Page:
        """Events of a session or of a run, oldest first."""
        with self._engine.connect() as connection:
            return querying.list_events(connection, project.project_id, wanted, _limit(limit), cursor)

    def list_journey(
        self, project: Project, wanted: EventFilter, *, limit: int = 200, cursor: str | None = None
    ) -> Page:
        """One agent's events in a session or a run, oldest first, with the gaps between them."""
        with self._engine.connect() as connection:
            return journeys.list_journey(connection, project.project_id, wanted, _limit(limit), cursor)

    def list_error_groups(
        self, project: Project, wanted: EventFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page:
        """Errors by fingerprint, the one that came last first."""
        with self._engine.connect() as connection:
            return error_groups.list_error_groups(
                connection, project.project_id, wanted, _limit(limit), cursor
            )

    def events_by_id(self, project: Project, session_uid: str, ids: Collection[str]) -> list[dict[str, Any]]:
        """Those events of a session that are stored."""
        with self._engine.connect() as connection:
            return linked_events.events_by_id(connection, project.project_id, session_uid, ids)

    def events_of_agent(
        self, project: Project, session_uid: str, agent_id: str, *, since_us: int, until_us: int
    ) -> list[dict[str, Any]]:
        """What an agent did in a stretch of time, newest first."""
        with self._engine.connect() as connection:
            return linked_events.events_of_agent(
                connection, project.project_id, session_uid, agent_id, since_us, until_us
            )

    def events_of_spans(
        self,
        project: Project,
        session_uid: str,
        *,
        around: Collection[str],
        within: Collection[str],
        since_us: int,
        until_us: int,
    ) -> list[dict[str, Any]]:
        """Spans themselves, and what happened in others, in a stretch of time."""
        with self._engine.connect() as connection:
            return linked_events.events_of_spans(
                connection, project.project_id, session_uid, around, within, since_us, until_us
            )

    def list_sessions(self, project: Project, *, limit: int = 50, cursor: str | None = None) -> Page:
        """Sessions, newest first."""
        with self._engine.connect() as connection:
            return querying.list_sessions(connection, project.project_id, _limit(limit), cursor)

    def count_runs(self, project: Project, wanted: RunFilter) -> dict[str, Any]:
        """The runs that are meant, in numbers."""
        with self._engine.connect() as connection:
            return counting.count_runs(connection, project.project_id, wanted)

    def authenticate(self, token: str) -> keys.Grant | None:
        """What a token is good for, None where it is none, unknown or revoked."""
        with self._engine.connect() as connection:
            return keys.authenticate(connection, token)

    def issue_key(self, project: str, scopes: Iterable[keys.Scope], *, label: str = "") -> keys.IssuedKey:
        """Makes a key of a project, and the project where it is not there yet."""
        with self._writing() as connection:
            return keys.issue_key(connection, project, scopes, label, _now_us())

    def list_keys(self) -> list[keys.ApiKey]:
        """All keys, revoked ones too, oldest first."""
        with self._engine.connect() as connection:
            return keys.list_keys(connection)

    def revoke_key(self, key_id: str) -> keys.ApiKey:
        """Ends a key; it is refused from the next request on."""
        with self._writing() as connection:
            return keys.revoke_key(connection, key_id, _now_us())

    def find_project(self, name: str) -> Project:
        """The project of that name."""
        with self._engine.connect() as connection:
            return projects.find_project(connection, name)

    def list_projects(self) -> list[Project]:
        """All projects, by name."""
        with self._engine.connect() as connection:
            return projects.list_projects(connection)

    def set_content(self, project: str, *, allowed: bool) -> Project:
        """Lets a project store content from now on, or no longer."""
        with self._writing() as connection:
            return projects.set_content(connection, project, allowed=allowed)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        if self.role is Role.QUERY:
            raise UsageError(
                "this store was opened for queries", remedy='open it with role="ingest" or "admin"'
            )
        with self._turn, self._engine.connect() as plain:
            connection = plain.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection


def _now_us() -> int:
    return time.time_ns() // 1000


def _limit(limit: int) -> int:
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit is {limit}", remedy=f"give a number from 1 to {MAX_LIMIT}")
    return limit
