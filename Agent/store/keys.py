"""Projects and their API keys; only a hash of a key is stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from Agent.errors import InputError, UsageError
from Agent.store.schema import API_KEYS, PROJECTS, Project, insert_into, matching, now_us

DEFAULT_PROJECT: Final = "default"
"""The project of requests without a key."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def add_project(connection: Connection, name: str) -> Project:
    """Return the project of that name; create it if it is missing.

    Raises:
        UsageError: the name is not valid.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is not a name of a project",
            remedy="use up to 64 letters, digits, dots, underscores and dashes",
        )
    project = _find(connection, name)
    if project is None:
        statement = insert_into(connection, PROJECTS)
        statement = statement.values(name=name, content_allowed=False, created_us=now_us())
        # Another process may create it at the same time.
        connection.execute(statement.on_conflict_do_nothing(index_elements=["name"]))
        project = find_project(connection, name)
    return project


def find_project(connection: Connection, name: str) -> Project:
    """Return the project of that name.

    Raises:
        InputError: it is missing.
    """
    project = _find(connection, name)
    if project is None:
        raise InputError(
            f"no project {name[:80]!r}", remedy="create one with: agent-trace keys add --project NAME"
        )
    return project


def list_projects(connection: Connection) -> list[Project]:
    """Return all projects, sorted by name."""
    return [_project(row) for row in connection.execute(select(PROJECTS).order_by(PROJECTS.c.name))]


def set_content(connection: Connection, name: str, *, allowed: bool) -> Project:
    """Set whether a project accepts content from now on; stored content is kept.

    Raises:
        InputError: the project is missing.
    """
    project = find_project(connection, name)
    connection.execute(update(PROJECTS).where(matching(PROJECTS, project)).values(content_allowed=allowed))
    return project._replace(content_allowed=allowed)


def _find(connection: Connection, name: str) -> Project | None:
    row = connection.execute(select(PROJECTS).where(PROJECTS.c.name == name)).first()
    return None if row is None else _project(row)


def _project(row: Row[tuple[object, ...]]) -> Project:
    return Project(row.project_id, row.name, bool(row.content_allowed), row.created_us)


_ID_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_ID_CHARS: Final = 8
_SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(r"atk_([a-z0-9]{8})_([A-Za-z0-9_-]{43})", re.ASCII)
_LABEL_CHARS: Final = 100


class Scope(StrEnum):
    """The permissions of a key."""

    INGEST = "ingest"
    QUERY = "query"
    REPLAY = "replay"
    DELETE = "delete"


class ApiKey(NamedTuple):
    """One key, without its secret."""

    key_id: str
    project: str
    scopes: frozenset[Scope]
    label: str
    created_us: int
    revoked_us: int | None


class IssuedKey(NamedTuple):
    """A new key with its token, which is available only now."""

    key: ApiKey
    token: str


class Grant(NamedTuple):
    """The permissions of the holder of a token."""

    key_id: str
    project: Project
    scopes: frozenset[Scope]


def issue_key(
    connection: Connection, project_name: str, scopes: Iterable[Scope], *, label: str = ""
) -> IssuedKey:
    """Create a key of a project, and the project if it is missing.

    Raises:
        UsageError: no scope, a label that is too long, or an invalid project name.
    """
    granted = frozenset(scopes)
    if not granted:
        raise UsageError("a key needs a scope", remedy="give --scope ingest, query or replay")
    if len(label) > _LABEL_CHARS or not label.isprintable():
        raise UsageError(f"a label is one printable line of at most {_LABEL_CHARS} characters")
    project = add_project(connection, project_name)
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARS))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    created_us = now_us()
    connection.execute(
        insert(API_KEYS).values(
            key_id=key_id,
            project_id=project.project_id,
            scopes=",".join(sorted(granted)),
            label=label,
            digest=_digest(secret),
            created_us=created_us,
        )
    )
    return IssuedKey(ApiKey(key_id, project.name, granted, label, created_us, None), f"atk_{key_id}_{secret}")


def list_keys(connection: Connection) -> list[ApiKey]:
    """Return all keys, including revoked ones, oldest first."""
    rows = connection.execute(
        select(API_KEYS, PROJECTS.c.name.label("project"))
        .join(PROJECTS, PROJECTS.c.project_id == API_KEYS.c.project_id)
        .order_by(API_KEYS.c.created_us, API_KEYS.c.key_id)
    )
    return [
        ApiKey(row.key_id, row.project, _scopes(row.scopes), row.label, row.created_us, row.revoked_us)
        for row in rows
    ]


def revoke_key(connection: Connection, key_id: str) -> ApiKey:
    """Revoke a key; it is refused from the next request on. Revoking it again changes nothing.

    Raises:
        InputError: no key with that id.
    """
    # Users often paste the whole token: use the id in it, and never print the secret part.
    token = _TOKEN.fullmatch(key_id)
    wanted_id = token[1] if token else key_id
    connection.execute(
        update(API_KEYS)
        .where(API_KEYS.c.key_id == wanted_id, API_KEYS.c.revoked_us.is_(None))
        .values(revoked_us=now_us())
    )
    for key in list_keys(connection):
        if key.key_id == wanted_id:
            return key
    raise InputError("no key with that id", remedy="agent-trace keys list shows them")


def authenticate(connection: Connection, token: str) -> Grant | None:
    """Return the permissions of a token; None if it is malformed, unknown or revoked."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    row = connection.execute(
        select(API_KEYS, PROJECTS.c.name, PROJECTS.c.content_allowed, PROJECTS.c.created_us.label("made_us"))
        .join(PROJECTS, PROJECTS.c.project_id == API_KEYS.c.project_id)
        .where(API_KEYS.c.key_id == match[1])
    ).first()
    # Also compare if no row was found, so that the response time does not reveal which ids exist.
    same = hmac.compare_digest(_digest(match[2]), row.digest if row is not None else "0" * 64)
    if row is None or not same or row.revoked_us is not None:
        return None
    project = Project(row.project_id, row.name, bool(row.content_allowed), row.made_us)
    return Grant(row.key_id, project, _scopes(row.scopes))


def _scopes(text: str) -> frozenset[Scope]:
    return frozenset(Scope(each) for each in text.split(","))


def _digest(secret: str) -> str:
    """Hash a secret; a plain SHA-256 is enough, since 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()
