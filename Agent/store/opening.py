"""`open_store`: from a URL to a database that is there, of the right version, and open for one role."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from Agent.errors import InputError
from Agent.store.database import Store
from Agent.store.engines import WRITES, Role, make_engine, parse_url, shown_url
from Agent.store.migrating import check_version, migrate
from Agent.store.projects import DEFAULT_PROJECT, add_project
from Agent.store.replay_store import ReplayStore

__all__ = ["open_store"]


def open_store(database_url: str, *, role: Role | str = Role.INGEST) -> Store:
    """A database, brought to this package's version by the roles that write.

    Args:
        database_url: `sqlite:////path/file.db`, a path, or `postgresql://user@host/database`.
        role: `ingest`, `admin`, `replay` (which gives a `ReplayStore`), or `query`, which the database itself
            keeps from writing.

    Raises:
        UsageError: the URL names no database that is supported.
        InputError: it does not answer, is no database, is of another version, or has nothing to query yet.
    """
    wanted = Role(role)
    url = parse_url(database_url)
    shown = shown_url(url)
    if url.get_backend_name() == "sqlite" and wanted is Role.QUERY and not Path(str(url.database)).exists():
        raise InputError(
            "there is no database",
            path=url.database,
            remedy="start the ingest role first: agent-trace serve --role ingest",
        )
    engine = make_engine(url, wanted)
    try:
        _prepare(engine, wanted)
    except DBAPIError as error:
        engine.dispose()
        raise InputError(
            f"the database {shown} cannot be opened: {_first_line(error)}",
            remedy="check that it runs, its URL and its permissions",
        ) from error
    except BaseException:
        engine.dispose()
        raise
    return (ReplayStore if wanted is Role.REPLAY else Store)(engine, wanted, shown)


def _prepare(engine: Engine, role: Role) -> None:
    if role is Role.QUERY:
        with engine.connect() as connection:
            check_version(connection)
        return
    with engine.connect() as plain:
        connection = plain.execution_options(**{WRITES: True})
        with connection.begin():
            migrate(connection)
            add_project(connection, DEFAULT_PROJECT, time.time_ns() // 1000)


def _first_line(error: DBAPIError) -> str:
    """What the database says, without the statement and without more than a line."""
    said = str(error.orig).strip().splitlines()
    return said[0][:200] if said else type(error).__name__
