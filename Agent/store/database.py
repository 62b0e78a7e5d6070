"""`Store`: one database, asked in transactions; `pool.py` opens it, the modules beside it do the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, Engine, text

from Agent.errors import UsageError
from Agent.store import keys, reads
from Agent.store.engines import READER_ROLE, WRITES, Role, fold_log
from Agent.store.keys import Project
from Agent.store.rows import EventRow, Ingested, RunRow
from Agent.store.writes import Months, ingest_batch, make_month

Its = ParamSpec("Its")
Given = TypeVar("Given")
_OfProject = Callable[Concatenate[Connection, int, Its], Given]
_Method = Callable[Concatenate[Any, Project, Its], Given]


def asked(question: _OfProject[Its, Given]) -> _Method[Its, Given]:
    """A question about one project as a method of a store, which asks it over a connection of its own."""

    @wraps(question)
    def method(store: Store, project: Project, /, *args: Its.args, **kwargs: Its.kwargs) -> Given:
        with store.engine.connect() as connection:
            return question(connection, project.project_id, *args, **kwargs)

    return method


def told(change: _OfProject[Its, Given]) -> _Method[Its, Given]:
    """A change of one project's data as a method of a store: it is committed when the method returns."""

    @wraps(change)
    def method(store: Store, project: Project, /, *args: Its.args, **kwargs: Its.kwargs) -> Given:
        with store.writing() as connection:
            return change(connection, project.project_id, *args, **kwargs)

    return method


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
        self.engine = engine
        self._months = Months()
        # SQLite takes one writer at a time; who waits here does not wait in its busy loop
        one_writer = engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[Any] = threading.Lock() if one_writer else nullcontext()

    def close(self) -> None:
        """Closes all connections; of SQLite the whole database is in its one file then."""
        if self.role is not Role.QUERY and self.engine.dialect.name == "sqlite":
            fold_log(self.engine)
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ping(self) -> None:
        """Asks the database for nothing; raises where it does not answer."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def read_only_by(self) -> str | None:
        """What keeps this store from writing: `file`, `role` or `transaction`; None where nothing does."""
        if self.role is not Role.QUERY:
            return None
        if self.engine.dialect.name == "sqlite":
            return "file"
        with self.engine.connect() as connection:
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
        if self.engine.dialect.name == "postgresql":
            for month in self._months.missing(set(ids), datetime.now(UTC)):
                with self.writing() as connection:
                    make_month(connection, month)
                self._months.made(month)
        with self.writing() as connection:
            return ingest_batch(
                connection,
                project.project_id,
                events,
                runs,
                session_id=session_id,
                content=project.content_allowed,
                now_us=_now_us(),
            )

    list_runs = asked(reads.list_runs)
    find_run = asked(reads.find_run)
    list_steps = asked(reads.list_steps)
    list_failures = asked(reads.list_failures)
    list_events = asked(reads.list_events)
    list_journey = asked(reads.list_journey)
    list_error_groups = asked(reads.list_error_groups)
    events_by_id = asked(reads.events_by_id)
    events_of_agent = asked(reads.events_of_agent)
    events_of_spans = asked(reads.events_of_spans)
    list_sessions = asked(reads.list_sessions)
    count_runs = asked(reads.count_runs)

    def authenticate(self, token: str) -> keys.Grant | None:
        """What a token is good for, None where it is none, unknown or revoked."""
        with self.engine.connect() as connection:
            return keys.authenticate(connection, token)

    def issue_key(self, project: str, scopes: Iterable[keys.Scope], *, label: str = "") -> keys.IssuedKey:
        """Makes a key of a project, and the project where it is not there yet."""
        with self.writing() as connection:
            return keys.issue_key(connection, project, scopes, label, _now_us())

    def list_keys(self) -> list[keys.ApiKey]:
        """All keys, revoked ones too, oldest first."""
        with self.engine.connect() as connection:
            return keys.list_keys(connection)

    def revoke_key(self, key_id: str) -> keys.ApiKey:
        """Ends a key; it is refused from the next request on."""
        with self.writing() as connection:
            return keys.revoke_key(connection, key_id, _now_us())

    def find_project(self, name: str) -> Project:
        """The project of that name."""
        with self.engine.connect() as connection:
            return keys.find_project(connection, name)

    def list_projects(self) -> list[Project]:
        """All projects, by name."""
        with self.engine.connect() as connection:
            return keys.list_projects(connection)

    def set_content(self, project: str, *, allowed: bool) -> Project:
        """Lets a project store content from now on, or no longer."""
        with self.writing() as connection:
            return keys.set_content(connection, project, allowed=allowed)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction, which is committed where the block ends well."""
        if self.role is Role.QUERY:
            raise UsageError(
                "this store was opened for queries", remedy='open it with role="ingest" or "admin"'
            )
        with self._turn, self.engine.connect() as plain:
            connection = plain.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection


def _now_us() -> int:
    return time.time_ns() // 1000
