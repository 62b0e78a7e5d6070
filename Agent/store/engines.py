"""Connections to both databases, with the rights that each role needs, and the migration of the schema."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import QueuePool

from Agent.errors import DamagedInput, InputError, UsageError
from Agent.tree.layout import make_private, open_private
from Agent.version import __version__

READER_ROLE: Final = "agent_trace_reader"
"""The PostgreSQL role of queries; it has only the right SELECT."""

WRITES: Final = "agent_trace_writes"
"""The execution option of a connection that will write."""

_FILE: Final = "agent_trace_file"
_FOLD_MS: Final = 1_000
_BUSY_MS: Final = 20_000
_CONNECT_S: Final = 5
_QUERY_MS: Final = 15_000
_POSTGRES_NAMES: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})


class Role(StrEnum):
    """The permitted operations of a store."""

    INGEST = "ingest"
    """Write events and runs."""
    QUERY = "query"
    """Read; the database refuses all other operations."""
    REPLAY = "replay"
    """Read events, and write checkpoints and replays."""
    ADMIN = "admin"
    """Manage keys and projects."""


def parse_url(database_url: str) -> URL:
    """Parse the URL of a supported database; a path is an SQLite file.

    Raises:
        UsageError: it is not the URL of a supported database.
    """
    remedy = "give sqlite:////path/to/file.db or postgresql://user@host/database"
    if "://" not in database_url:
        if not database_url:
            raise UsageError("the database's URL is empty", remedy=remedy)
        return URL.create("sqlite", database=database_url)
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        raise UsageError("this is not a URL of a database", remedy=remedy) from None
    if url.drivername in _POSTGRES_NAMES:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise UsageError(f"databases of {url.drivername!r} are not supported", remedy=remedy)
    if url.database in (None, "", ":memory:"):
        raise UsageError("an in-memory database would end with its connection", remedy=remedy)
    return url


def shown_url(url: URL) -> str:
    """Return the URL for display, without its password."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def make_engine(url: URL, role: Role) -> Engine:
    """Make a pool of connections with the rights of a role."""
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(Path(str(url.database)), role)
    return _postgres_engine(url, role)


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _sqlite_engine(path: Path, role: Role) -> Engine:
    reads = role is Role.QUERY
    if not reads:
        _make_file(path)
    mode = "ro" if reads else "rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}",
            uri=True,
            timeout=_BUSY_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        if reads:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # confirmed data survives a power failure
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        hide_parameters=True,  # errors are logged; what was sent is not
    )

    @event.listens_for(engine, "connect")
    def remember(_connection: Any, record: Any) -> None:
        record.info[_FILE] = _identity(path)

    @event.listens_for(engine, "checkout")
    def compare(_connection: Any, record: Any, _proxy: Any) -> None:
        # Even committed data is lost if it was written to a file that has been removed or replaced.
        if record.info[_FILE] != _identity(path):
            raise DisconnectionError(f"{path} was removed or replaced")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        # A writer takes the write lock at once: of two transactions that read first, only one could then
        # write.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; None if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def fold_log(engine: Engine) -> None:
    """Write SQLite's write-ahead log into the database file, so that the file alone is a complete copy.

    SQLite does this when the last connection closes, unless that is read-only. If another process reads an
    older snapshot for more than 1 s, the log remains, and nothing is lost.
    """
    try:
        connection = engine.raw_connection()
    except sqlite3.Error:
        return  # the file was removed, and the log with it
    try:
        connection.execute(f"PRAGMA busy_timeout = {_FOLD_MS}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        return  # the file was removed, or is no longer writable
    finally:
        connection.close()


def _make_file(path: Path) -> None:
    """Create the database file with access for the user only; SQLite uses its mode for the other files."""
    for directory in reversed(path.absolute().parents):
        make_private(directory, exist_ok=True)
    # An existing file must not be opened: closing it would release the POSIX locks of this process's other
    # connections, and the next process to close the database would then delete the log while they use it.
    with contextlib.suppress(FileExistsError):
        os.close(open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))


def _postgres_engine(url: URL, role: Role) -> Engine:
    reads = role is Role.QUERY
    options = f"-c statement_timeout={_QUERY_MS} -c default_transaction_read_only=on" if reads else ""
    engine = create_engine(
        url,
        connect_args={
            "connect_timeout": _CONNECT_S,
            "options": options,
            "application_name": f"agent-trace {role}",
        },
        pool_size=8,
        max_overflow=8,
        pool_timeout=10,
        pool_pre_ping=True,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        hide_parameters=True,  # errors are logged; what was sent is not
    )
    if reads:

        @event.listens_for(engine, "connect")
        def take_role(connection: Any, _record: Any) -> None:
            rows = connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s AND pg_has_role(oid, 'member')", (READER_ROLE,)
            )
            if rows.fetchone() is not None:
                connection.execute(f"SET ROLE {READER_ROLE}")
            connection.commit()

    return engine


_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_LOCK_NUMBER: Final = 0x6167_7472  # "agtr": a number that other programs are unlikely to use


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def migrate(connection: Connection) -> None:
    """Migrate the schema to this package's version; concurrent processes wait for each other.

    Raises:
        InputError: a newer version of this package wrote the database.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
    current = _current(connection)
    if current == _newest():
        return
    _refuse_unknown(current)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def check_version(connection: Connection) -> None:
    """Check that the schema has this package's version.

    Raises:
        InputError: the schema is missing or has another version.
    """
    current = _current(connection)
    if current is None:
        raise InputError(
            "the database has no Agent Trace schema yet",
            remedy="start the ingest role first: agent-trace serve --role ingest",
        )
    _refuse_unknown(current)
    if current != _newest():
        raise InputError(
            f"the database has schema version {current}, this package needs {_newest()}",
            remedy="start the ingest role once to migrate the schema",
        )


def schema_sql() -> str:
    """Return the whole schema as SQL for PostgreSQL, the content of `schema.sql` in this directory."""
    config = _config()
    output = io.StringIO()
    config.attributes["output"] = output
    command.upgrade(config, "head", sql=True)
    lines = [line.rstrip() for line in output.getvalue().splitlines()]
    return "\n".join(lines).strip() + "\n"


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _newest() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise DamagedInput("the package has no migrations", path=_MIGRATIONS, remedy="install it again")
    return head


def _refuse_unknown(current: str | None) -> None:
    revisions = {each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in revisions:
        raise InputError(
            f"the database has schema version {current[:40]}, which agent-trace {__version__} does not know",
            remedy="use the version of agent-trace that wrote it, or a newer one",
        )


if __name__ == "__main__":
    sys.stdout.write(schema_sql())  # python -m Agent.store.engines > Agent/store/schema.sql
