"""`checkpoint_store`: saves into the session that is recorded, finds checkpoints under the trace root.

Saving is recording, so it never raises into the program: what could not be kept is counted in `health()`,
told on stderr and in the record. Everything else raises, like all reading.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from Agent.errors import RunNotFound
from Agent.flight.checkpoint_files import checkpoints_dir
from Agent.flight.checkpoint_model import Checkpoint, CheckpointInfo, Removed
from Agent.flight.checkpoint_policy import RetentionPolicy
from Agent.flight.checkpoints import LocalCheckpointStore
from Agent.record import installed as recording
from Agent.record.pipeline import Pipeline
from Agent.tree.default_root import default_root
from Agent.tree.layout import list_sessions

__all__ = ["SessionCheckpoints", "checkpoint_store"]


class SessionCheckpoints:
    """The checkpoint store of whatever session is recorded when it is asked."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._store: LocalCheckpointStore | None = None
        self._pipeline: Pipeline | None = None

    def save_checkpoint(
        self, checkpoint: Any, step_id: str | None = None, state: Any = None, /, **details: Any
    ) -> CheckpointInfo | None:
        """Keep a checkpoint in the session that is recorded, which begins now if there is none.

        Args:
            checkpoint: a `Checkpoint`, or an object or mapping with such names; or the run's id.
            step_id: with a run's id.
            state: with a run's id; anything.
            details: other fields of a `Checkpoint`; `full=True` stores it as a snapshot.

        Returns:
            How it is stored; None where it could not be, which `health()` counts.

        Raises:
            TypeError: something necessary is missing, or a field is unknown.
        """
        pipeline = recording.current_pipeline()
        try:
            return self._of(pipeline).save_checkpoint(checkpoint, step_id, state, **details)
        except TypeError:
            raise
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            pipeline.health.trouble("checkpoint", error)
            pipeline.health.drop("a checkpoint could not be written")
            return None

    def load_checkpoint(self, run_id: str, step_id: str, agent_id: str | None = None) -> Checkpoint:
        """The checkpoint of a step; RunNotFound, EventNotFound or DamagedInput."""
        return self._holding(run_id).load_checkpoint(run_id, step_id, agent_id)

    def list_checkpoints(self, run_id: str, agent_id: str | None = None) -> list[CheckpointInfo]:
        """The checkpoints of a run, in the order in which they were saved; RunNotFound."""
        return self._holding(run_id).list_checkpoints(run_id, agent_id)

    def delete_checkpoints(
        self, run_id: str, step_ids: Iterable[str] | None = None, agent_id: str | None = None
    ) -> Removed:
        """Remove some or all checkpoints of a run; RunNotFound."""
        return self._holding(run_id).delete_checkpoints(run_id, step_ids, agent_id)

    def prune(self, policy: RetentionPolicy | None = None) -> Removed:
        """Remove what the policy does not keep, from every session under the trace root."""
        outcome = Removed()
        for session in self._sessions():
            with LocalCheckpointStore(session) as store:
                outcome.add(store.prune(policy))
        return outcome

    def after_fork_in_child(self) -> None:
        """Begin with a lock that no thread of the parent can be holding."""
        self._lock = threading.RLock()

    def _of(self, pipeline: Pipeline) -> LocalCheckpointStore:
        """The store of the session that a pipeline records."""
        with self._lock:
            self._end_other_than(pipeline)
            if self._store is None:
                if pipeline.artifacts is None:
                    raise OSError("this recording keeps no files")
                self._store = LocalCheckpointStore(pipeline.artifacts.session, redactor=pipeline.redactor)
                self._pipeline = pipeline
            return self._store

    def _end_other_than(self, pipeline: Pipeline | None) -> None:
        """Write no more into a session that is recorded no longer."""
        with self._lock:
            if self._store is not None and self._pipeline is not pipeline:
                self._store.close()
                self._store = self._pipeline = None

    def _sessions(self) -> list[Path]:
        """The session that is recorded, then the others, newest first."""
        pipeline = recording.active_pipeline()
        own = [] if pipeline is None or pipeline.artifacts is None else [pipeline.artifacts.session]
        self._end_other_than(pipeline)
        others = [ref.path for ref in reversed(list_sessions(default_root()))]
        return own + [path for path in others if path not in own]

    def _holding(self, run_id: str) -> LocalCheckpointStore:
        """The store of the newest session with checkpoints of a run."""
        for session in self._sessions():
            if not checkpoints_dir(session, run_id).is_dir():
                continue
            pipeline = recording.active_pipeline()
            artifacts = None if pipeline is None else pipeline.artifacts
            if pipeline is not None and artifacts is not None and artifacts.session == session:
                return self._of(pipeline)
            return LocalCheckpointStore(session)
        raise RunNotFound(
            f"no session holds checkpoints of a run {run_id!r}",
            path=default_root(),
            remedy="name the trace root with AGENT_TRACE_ROOT, or ask LocalCheckpointStore(session)",
        )


checkpoint_store = SessionCheckpoints()
"""Where checkpoints go and come from; see `SessionCheckpoints`."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=checkpoint_store.after_fork_in_child)
