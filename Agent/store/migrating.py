"""The schema of a database, brought to the version of this package, or only looked at."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from Agent.errors import DamagedInput, InputError
from Agent.version import __version__

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_LOCK_NUMBER: Final = 0x6167_7472  # "agtr": any number that others are unlikely to take


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def migrate(connection: Connection) -> None:
    """Brings the schema to this package's version; processes that come together wait for each other.

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
    """Passes where the schema is of this package's version.

    Raises:
        InputError: there is no schema yet, or it is of another version.
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
    """The whole schema as SQL for PostgreSQL, as `schema.sql` beside this module holds it."""
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
    known = {each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise InputError(
            f"the database has schema version {current[:40]}, which agent-trace {__version__} does not know",
            remedy="use the version of agent-trace that wrote it, or a newer one",
        )


if __name__ == "__main__":
    sys.stdout.write(schema_sql())  # python -m Agent.store.migrating > Agent/store/schema.sql
