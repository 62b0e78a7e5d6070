"""`create_pool`: a database of the service, in the form that `CheckpointManager` and `ReplayExecutor` accept.

A requested run is rebuilt as a session with its checkpoints, under a temporary root of the pool; checkpoints
added or removed there are also changed in the database. So user code can replay, in its process, runs that a
team has sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from Agent.archive.run_import import StoredSession, restored_checkpoint
from Agent.errors import InputError, RunNotFound, SessionNotFound, UsageError
from Agent.flight.checkpoints.files import checkpoints_dir
from Agent.flight.checkpoints.model import CheckpointInfo
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.store.database import ReplayStore, Store, TraceSession, checkpoint_id_of
from Agent.store.engines import WRITES, Role, check_version, make_engine, migrate, parse_url, shown_url
from Agent.store.keys import DEFAULT_PROJECT, add_project
from Agent.store.schema import MAX_LIMIT, CheckpointRow, Project, ReplayRow, all_items, now_us
from Agent.tree.default_root import default_root
from Agent.tree.layout import make_private
from Agent.tree.retention import delete_tree
from Agent.tree.write.artifacts import ROOT_RUN, make_run_dir

_ELIDED: Final = "://..."
_NO_UID: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class _RebuiltSession:
    """A session under the root, with its number of events and the id of its root run in the database."""

    made: StoredSession
    events: int
    trace_id: str


class Pool:
    """Connections to one project of a database; `await` or `async with` opens it.

    Args:
        database_url: see `open_store`. The literal `postgresql://...` means the value of the environment
            variable AGENT_TRACE_DATABASE.
        project: the project of the runs.
        trace_root: the root of runs that the database does not have; default: the configured one.
    """

    def __init__(
        self, database_url: str, project: str, trace_root: str | os.PathLike[str] | None = None
    ) -> None:
        self._url = database_url
        self._name = project
        self._local_root = None if trace_root is None else Path(trace_root)
        self._lock = threading.RLock()
        self._store: ReplayStore | None = None
        self._project: Project | None = None
        self._temporary_directory: tempfile.TemporaryDirectory[str] | None = None
        self._sessions: dict[str, _RebuiltSession] = {}
        self._ids: dict[str, list[str]] = {}

    def __await__(self) -> Generator[Any, None, Self]:
        return self._opened().__await__()

    async def __aenter__(self) -> Self:
        return await self._opened()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections, and remove the rebuilt sessions."""
        await asyncio.to_thread(self._close)

    @property
    def trace_root(self) -> Path:
        """Return the root of the rebuilt sessions.

        Raises:
            UsageError: the pool is not open.
        """
        if self._temporary_directory is None:
            raise UsageError("the pool is not open", remedy="write: pool = await create_pool(url)")
        return Path(self._temporary_directory.name)

    @property
    def local_root(self) -> Path:
        """Return the root of the runs of this machine."""
        return default_root() if self._local_root is None else self._local_root

    @property
    def name(self) -> str:
        """Return the database, without a password, and the project, for error messages."""
        store, project = self._known()
        return f"the database {store.url} (project {project.name})"

    def bring(self, trace_id: str) -> None:
        """Rebuild a run under the root, or update it; do nothing if the database does not have it."""
        store, project = self._known()
        with self._lock:
            sent = store.find_sent(project, trace_id)
            if sent is None:
                return
            listed = self._checkpoints(trace_id)
            session = self._session_of(trace_id, sent, listed)
            ids = [row["checkpoint_id"] for row in listed]
            if self._ids.get(trace_id) != ids:
                self._restore(session, sent.run_id or ROOT_RUN, listed)
                self._ids[trace_id] = ids

    def keep(self, session: Path, infos: list[CheckpointInfo]) -> None:
        """Store checkpoints that were made under the root in the database.

        Raises:
            UsageError: the project stores no content.
        """
        store, project = self._known()
        if not project.content_allowed:
            raise UsageError(
                f"project {project.name} stores no content, so no checkpoint either",
                remedy=f"agent-trace keys content {project.name} --on",
            )
        with self._lock, LocalCheckpointStore(session) as local:
            rows = [
                _row(self._trace_id(session, info), position, info, local)
                for position, info in enumerate(infos)
            ]
            store.add_checkpoints(project, rows)
            for row in rows[:1]:
                self._ids[row.run_id] = [each["checkpoint_id"] for each in self._checkpoints(row.run_id)]

    def drop(self, session: Path, info: CheckpointInfo) -> None:
        """Remove a checkpoint, which was removed under the root, from the database."""
        store, project = self._known()
        trace_id = self._trace_id(session, info)
        checkpoint_id = checkpoint_id_of(trace_id, info.step_id, info.agent_id)
        with self._lock:
            store.delete_checkpoint(project, checkpoint_id)
            self._ids[trace_id] = [each for each in self._ids.get(trace_id, ()) if each != checkpoint_id]

    def keep_replay(
        self, session: Path, info: CheckpointInfo, replay_id: str, report: Mapping[str, Any]
    ) -> None:
        """Store the result of a replay in the database, so that the service can return it too."""
        store, project = self._known()
        trace_id = self._trace_id(session, info)
        at_us = now_us()
        result = {key: report[key] for key in report if key not in ("replay_id", "checkpoint_id", "run")}
        checkpoint_id = checkpoint_id_of(trace_id, info.step_id, info.agent_id)
        request = orjson.dumps({"executor": report["executor"]}).decode()
        store.begin_replay(project, ReplayRow(replay_id, trace_id, checkpoint_id, at_us, at_us, request))
        status = "completed" if report["completed"] else "failed"
        values = {"status": status, "finished_us": at_us, "result": orjson.dumps(result).decode()}
        store.end_replay(project, replay_id, values)

    async def _opened(self) -> Self:
        if self._store is None:
            await asyncio.to_thread(self._open)
        return self

    def _open(self) -> None:
        url = self._url
        if url.endswith(_ELIDED):
            url = os.environ.get("AGENT_TRACE_DATABASE", "")
            if not url:
                raise UsageError(
                    "the database URL is abbreviated, and AGENT_TRACE_DATABASE is not set",
                    remedy="give the full URL, or set the variable",
                )
        store = open_store(url, role="replay")
        assert isinstance(store, ReplayStore)  # noqa: S101 - the role determines the class
        try:
            self._project = store.find_project(self._name)
            self._temporary_directory = tempfile.TemporaryDirectory(prefix="agent-trace-pool-")
        except BaseException:
            store.close()
            raise
        self._store = store

    def _close(self) -> None:
        with self._lock:
            store, self._store = self._store, None
            directory, self._temporary_directory = self._temporary_directory, None
            self._sessions.clear()
            self._ids.clear()
        if store is not None:
            store.close()
        if directory is not None:
            directory.cleanup()

    def _known(self) -> tuple[ReplayStore, Project]:
        store, project = self._store, self._project
        if store is None or project is None:
            raise UsageError("the pool is not open", remedy="write: pool = await create_pool(url)")
        return store, project

    def _checkpoints(self, trace_id: str) -> list[dict[str, Any]]:
        store, project = self._known()
        return list(
            all_items(
                lambda cursor: store.list_checkpoints(project, trace_id, limit=MAX_LIMIT, cursor=cursor)
            )
        )

    def _session_of(self, trace_id: str, sent: TraceSession, listed: list[dict[str, Any]]) -> Path:
        """Return the directory of a run's session, rebuilt if the database has more events than before."""
        store, project = self._known()
        key = sent.session_uid if sent.events and sent.session_uid else f"of {trace_id}"
        before = self._sessions.get(key)
        if before is not None and before.events == sent.events:
            return before.made.path
        if before is not None:
            delete_tree(before.made.path)
            self._ids.clear()
        began_us = sent.first_us or min((row["saved_us"] for row in listed), default=0)
        stored = StoredSession(self.trace_root, sent.session_uid or _NO_UID, began_us)
        if sent.session_uid is not None and sent.events:
            stored.add(list(store.sent_events(project, sent.session_uid)))
        self._sessions[key] = _RebuiltSession(stored, sent.events, sent.session_uid or trace_id)
        return stored.path

    def _restore(self, session: Path, run_id: str, listed: list[dict[str, Any]]) -> None:
        """Make the checkpoints of a run in the local session equal to those in the database."""
        store, project = self._known()
        make_run_dir(session, run_id)
        make_private(checkpoints_dir(session, run_id), exist_ok=True)  # identifies the run
        with LocalCheckpointStore(session) as local:
            with contextlib.suppress(RunNotFound):  # the run has no checkpoints yet
                local.delete_checkpoints(run_id)
            for row in listed:
                checkpoint = store.find_checkpoint(project, row["checkpoint_id"])
                if checkpoint is not None:
                    local.save_checkpoint(restored_checkpoint(run_id, checkpoint[0]))

    def _trace_id(self, session: Path, info: CheckpointInfo) -> str:
        """Return the database's id of the run of a checkpoint: the run id, or the session's UUID.

        Raises:
            SessionNotFound: the session is not one that was rebuilt from the database.
        """
        if info.run_id != ROOT_RUN:
            return info.run_id
        for each in self._sessions.values():
            if each.made.path == session:
                return each.trace_id
        raise SessionNotFound(
            f"the session is not one of {self.name}",
            path=session,
            remedy="agent-trace ship --content sends it there",
        )


def create_pool(
    database_url: str, *, project: str = "default", trace_root: str | os.PathLike[str] | None = None
) -> Pool:
    """Make a pool for replays in this process; `await` it or use it with `async with`.

    Runs that the database does not have are read from `trace_root`, which has the runs of this machine. Their
    checkpoints and replays are stored there, since nothing is sent without a request.

    Args:
        database_url: `sqlite:////path/file.db`, a path, or `postgresql://user@host/database`.
        project: the project of the runs.
        trace_root: the root of this machine's runs; default: the configured one, else ./trace.

    Raises:
        UsageError: the URL is not that of a supported database.
        InputError: the database does not open, or the project is missing.
    """
    return Pool(database_url, project, trace_root)


def _row(trace_id: str, position: int, info: CheckpointInfo, local: LocalCheckpointStore) -> CheckpointRow:
    checkpoint_id = checkpoint_id_of(trace_id, info.step_id, info.agent_id)
    return CheckpointRow(checkpoint_id, trace_id, position, **local.as_row(info))


def open_store(database_url: str, *, role: Role | str = Role.INGEST) -> Store:
    """Open a database; roles that write first migrate it to this package's version.

    Args:
        database_url: `sqlite:////path/file.db`, a path, or `postgresql://user@host/database`.
        role: `ingest`, `admin`, `replay` (which returns a `ReplayStore`), or `query`, for which the database
            refuses all writes.

    Raises:
        UsageError: the URL is not that of a supported database. InputError: the database does not respond, is
        not a database, has another version, or has no tables yet.
    """
    role_value = Role(role)
    url = parse_url(database_url)
    shown = shown_url(url)
    if (
        url.get_backend_name() == "sqlite"
        and role_value is Role.QUERY
        and not Path(str(url.database)).exists()
    ):
        raise InputError(
            "the database does not exist",
            path=url.database,
            remedy="start the ingest role first: agent-trace serve --role ingest",
        )
    engine = make_engine(url, role_value)
    try:
        _prepare(engine, role_value)
    except DBAPIError as error:
        engine.dispose()
        why = _first_line(error)
        is_full = "disk is full" in why or "No space left" in why
        raise InputError(
            f"the database {shown} cannot be opened: {why}",
            remedy="make room there" if is_full else "check that it runs, its URL and its permissions",
        ) from error
    except BaseException:
        engine.dispose()
        raise
    return (ReplayStore if role_value is Role.REPLAY else Store)(engine, role_value, shown)


def _prepare(engine: Engine, role: Role) -> None:
    if role is Role.QUERY:
        with engine.connect() as connection:
            check_version(connection)
        return
    with engine.connect() as plain:
        connection = plain.execution_options(**{WRITES: True})
        with connection.begin():
            migrate(connection)
            add_project(connection, DEFAULT_PROJECT)


def _first_line(error: DBAPIError) -> str:
    """Return the first line of the database's error message, without the statement."""
    lines = str(error.orig).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
