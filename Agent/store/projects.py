"""Projects: whose data it is, and whether content may be stored with it."""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects import postgresql, sqlite

from Agent.errors import InputError, UsageError
from Agent.store.schema import PROJECTS

__all__ = ["DEFAULT_PROJECT", "Project", "add_project", "find_project", "list_projects", "set_content"]

DEFAULT_PROJECT: Final = "default"
"""The project of requests without a key."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class Project(NamedTuple):
    """One project."""

    project_id: int
    name: str
    content_allowed: bool
    """Whether prompts, answers and messages may be stored, where a client sends them."""
    created_us: int = 0
    """When it was made, in microseconds since 1970."""

    @property
    def database_id(self) -> str:
        """Of this project in this database: one that was rebuilt has another, whatever its address."""
        told = f"{self.project_id}|{self.name}|{self.created_us}".encode()
        return hashlib.blake2b(told, digest_size=8).hexdigest()


def add_project(connection: Connection, name: str, now_us: int) -> Project:
    """The project of that name, made where there was none.

    Raises:
        UsageError: the name is none.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is not a name of a project",
            remedy="use up to 64 letters, digits, dots, underscores and dashes",
        )
    found = _find(connection, name)
    if found is None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(PROJECTS).values(name=name, content_allowed=False, created_us=now_us)
        # another process may make it at the same time
        connection.execute(statement.on_conflict_do_nothing(index_elements=["name"]))
        found = find_project(connection, name)
    return found


def find_project(connection: Connection, name: str) -> Project:
    """The project of that name.

    Raises:
        InputError: there is none.
    """
    found = _find(connection, name)
    if found is None:
        raise InputError(
            f"no project {name[:80]!r}", remedy="create one with: agent-trace keys add --project NAME"
        )
    return found


def list_projects(connection: Connection) -> list[Project]:
    """All of them, by name."""
    return [_project(row) for row in connection.execute(select(PROJECTS).order_by(PROJECTS.c.name))]


def set_content(connection: Connection, name: str, *, allowed: bool) -> Project:
    """Lets a project store content from now on, or no longer; what is stored stays.

    Raises:
        InputError: there is no project of that name.
    """
    project = find_project(connection, name)
    connection.execute(
        update(PROJECTS).where(PROJECTS.c.project_id == project.project_id).values(content_allowed=allowed)
    )
    return project._replace(content_allowed=allowed)


def _find(connection: Connection, name: str) -> Project | None:
    row = connection.execute(select(PROJECTS).where(PROJECTS.c.name == name)).first()
    return None if row is None else _project(row)


def _project(row: Row[tuple[object, ...]]) -> Project:
    return Project(row.project_id, row.name, bool(row.content_allowed), row.created_us)
