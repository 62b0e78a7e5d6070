"""`ReplayStore`: a database that reads events, and keeps checkpoints and replays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from Agent.store import replaying
from Agent.store.database import Store
from Agent.store.filters import EventFilter
from Agent.store.pages import MAX_LIMIT, Page
from Agent.store.projects import Project
from Agent.store.replaying import CheckpointRow, ReplayRow, SentSession

__all__ = ["ReplayStore"]


class ReplayStore(Store):
    """One database in the role of replays; `open_store(url, role="replay")` gives it."""

    def find_sent(self, project: Project, trace_id: str) -> SentSession | None:
        """Where the events of a run are, or of a session; None where the project knows neither."""
        with self._engine.connect() as connection:
            return replaying.find_sent(connection, project.project_id, trace_id)

    def sent_events(self, project: Project, session_uid: str) -> Iterator[dict[str, Any]]:
        """All events of a session, oldest first; a page is in memory at a time, and no connection is held."""
        wanted = EventFilter(session_uid=session_uid)
        cursor: str | None = None
        while True:
            page = self.list_events(project, wanted, limit=MAX_LIMIT, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def add_checkpoints(self, project: Project, rows: Sequence[CheckpointRow]) -> list[str]:
        """Keeps those that are not there yet; the ids that are new."""
        with self._writing() as connection:
            return replaying.add_checkpoints(connection, project.project_id, rows)

    def list_checkpoints(
        self, project: Project, run_id: str, *, limit: int = 200, cursor: str | None = None
    ) -> Page:
        """The checkpoints of a run in order, without their states."""
        with self._engine.connect() as connection:
            return replaying.list_checkpoints(connection, project.project_id, run_id, limit, cursor)

    def find_checkpoint(
        self, project: Project, checkpoint_id: str
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A checkpoint with its state, and the last one of the same run and agent."""
        with self._engine.connect() as connection:
            return replaying.find_checkpoint(connection, project.project_id, checkpoint_id)

    def delete_checkpoint(self, project: Project, checkpoint_id: str) -> bool:
        """Removes one; False where there was none."""
        with self._writing() as connection:
            return replaying.delete_checkpoint(connection, project.project_id, checkpoint_id)

    def begin_replay(self, project: Project, row: ReplayRow) -> None:
        """Keeps that a replay begins."""
        with self._writing() as connection:
            replaying.begin_replay(connection, project.project_id, row)

    def end_replay(self, project: Project, replay_id: str, values: Mapping[str, Any]) -> None:
        """Keeps how a replay ended."""
        with self._writing() as connection:
            replaying.end_replay(connection, project.project_id, replay_id, values)

    def find_replay(self, project: Project, replay_id: str) -> dict[str, Any] | None:
        """One replay, None where the project has none of that id."""
        with self._engine.connect() as connection:
            return replaying.find_replay(connection, project.project_id, replay_id)

    def list_replays(
        self, project: Project, run_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page:
        """The replays of a run, newest first, without what they gave."""
        with self._engine.connect() as connection:
            return replaying.list_replays(connection, project.project_id, run_id, limit, cursor)
