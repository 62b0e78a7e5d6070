"""`checkpoint_store`: saves into the session that is recorded, finds checkpoints under the trace root.

Saving is recording, so it never raises into the program: what could not be kept is counted in `health()`,
told on stderr and in the recording. Everything else raises, like all reading.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from Agent.errors import RunNotFound
from Agent.event.kinds import Category
from Agent.flight.checkpoints.model import Checkpoint, CheckpointInfo, Removed
from Agent.flight.checkpoints.policy import RetentionPolicy
from Agent.flight.checkpoints.storage.files import checkpoints_dir
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.flight.open_runs.context import RunScope, is_run_id, settled_scope
from Agent.record.emit import installed as recording
from Agent.record.emit.context import SpanScope, current_scope
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.event_template import AgentBinding
from Agent.record.loggers.loggers import INFO, present
from Agent.tree.default_root import default_root
from Agent.tree.layout import list_sessions

__all__ = ["SessionCheckpoints", "checkpoint_store"]


def emit_checkpoint(pipeline: Pipeline, info: CheckpointInfo, binding: AgentBinding | None = None) -> str:
    """Write the event of a checkpoint that was saved, and give its id; it stands in the run of that."""
    payload = present(
        name=info.step_id,
        step_id=info.step_id,
        reason=info.reason,
        stored_as=info.kind,
        digest=info.digest,
        state_bytes=info.state_bytes,
        size_bytes=info.size_bytes,
        phase=info.phase,
        code_version=info.code,
        agent_version=info.agent_version,
        exposed=True if binding is not None else None,
    )
    scope = settled_scope()
    run_id = info.run_id if is_run_id(info.run_id) else None
    if (None if scope is None else scope.run_id) != run_id:
        scope = RunScope(None, run_id, None, None)
    if binding is None:
        category = Category.EVENTS if info.agent_id is None else Category.AGENTS
        binding = pipeline.binding(info.agent_id, None, "flight", category.value)
    token = current_scope.set(SpanScope(scope, tick=info.tick))
    try:
        return pipeline.emit(binding.slot("checkpoint", INFO), info.step_id, payload)
    finally:
        current_scope.reset(token)


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
            info = self._of(pipeline).save_checkpoint(checkpoint, step_id, state, **details)
        except TypeError:
            raise
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            return self._refused(pipeline, error)
        emit_checkpoint(pipeline, info)
        return info

    def take(
        self, pipeline: Pipeline, checkpoint: Checkpoint, binding: AgentBinding | None
    ) -> CheckpointInfo | None:
        """Keep a checkpoint of a run that is recorded; one of that step stays, and this one gets a number.

        Args:
            pipeline: that records the run.
            checkpoint: of it.
            binding: of the agent whose exposed state it is; None for one of the whole run.
        """
        try:
            info = self._of(pipeline).save_checkpoint(checkpoint, replace=False)
        except Exception as error:  # noqa: BLE001 - as above
            return self._refused(pipeline, error)
        emit_checkpoint(pipeline, info, binding)
        return info

    def note_outcome(self, run_id: str, *, ok: bool) -> None:
        """Say that a run has ended, and whether well, which decides how long its checkpoints are kept."""
        pipeline = recording.active_pipeline()
        if self._store is None or pipeline is None or self._pipeline is not pipeline:
            return
        try:
            self._of(pipeline).note_outcome(run_id, ok=ok)
        except Exception as error:  # noqa: BLE001 - as above; `prune` then goes by the run's events
            pipeline.health.trouble("the outcome of a run with checkpoints", error)

    @staticmethod
    def _refused(pipeline: Pipeline, error: Exception) -> None:
        pipeline.health.trouble("checkpoint", error)
        pipeline.health.drop("a checkpoint could not be written")

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
                # So that nobody takes what has ended for something that is written to.
                pipeline.at_close.append(lambda: self._end(pipeline))
            return self._store

    def _end(self, pipeline: Pipeline) -> None:
        """Write no more into a session that ends."""
        try:
            self._end_other_than(None)
        except Exception as error:  # noqa: BLE001 - as above; what was saved is whole all the same
            pipeline.health.trouble("the end of checkpoints", error)

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
            remedy="set the trace root with AGENT_TRACE_ROOT, or use LocalCheckpointStore(session)",
        )


checkpoint_store = SessionCheckpoints()
"""Where checkpoints go and come from; see `SessionCheckpoints`."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=checkpoint_store.after_fork_in_child)
