"""The local checkpoint store for the runs of one session; it raises all errors.

`recording` wraps it for the session that is being recorded.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from Agent.errors import EventNotFound, RunNotFound
from Agent.event.clock import moment_of, parse_timestamp, unix_us
from Agent.event.pointers import tags_below
from Agent.event.system_clock import SystemClock
from Agent.event.values.plain import write_json
from Agent.flight.checkpoints.delta import (
    CHECKPOINT_LIMITS,
    decode_document,
    encode_document,
    plain_document,
)
from Agent.flight.checkpoints.files import (
    INDEX_NAME,
    REMOVED_FACT,
    CheckpointIndex,
    RemovedMeanwhile,
    Row,
    checkpoints_dir,
    is_closed,
    remove_unshared,
    saved_runs,
    shared_chunks_dir,
)
from Agent.flight.checkpoints.model import (
    ABOUT,
    Checkpoint,
    CheckpointInfo,
    CheckpointProblem,
    Removed,
    RetentionPolicy,
    is_failed,
    newest_us,
)
from Agent.flight.checkpoints.run import RunCheckpoints, problems, rebuild, remove, sweep
from Agent.flight.run_fold import recorded_outcome
from Agent.record.emit import installed as recording
from Agent.record.encode.capture import Capture
from Agent.record.encode.redaction import Redactor
from Agent.record.state.agents import agent_id_of
from Agent.tree.layout import entries_in, files_below, run_dirs

_OPEN_RUNS: Final = 6
"""The number of runs whose files are kept open; each holds at most five."""
_MAX_CONTINUED_RUNS: Final = 30
"""The number of runs whose chains are continued; one that is not open holds one file, its claim.

A later save in any other run begins a new chain.
"""
_REMOVED_SUFFIX: Final = ".removed"


def row_of(checkpoint: Checkpoint, redactor: Redactor) -> Row:
    """The index row of a checkpoint; the user's texts are redacted."""
    saved_us = (
        SystemClock.wall_ns() // 1000 if checkpoint.timestamp is None else unix_us(checkpoint.timestamp)
    )

    def text(value: object) -> str | None:
        return None if value is None else redactor.text(str(value))

    return Row(
        step_id=redactor.text(str(checkpoint.step_id)),
        agent_id=None if checkpoint.agent_id is None else str(checkpoint.agent_id),
        saved_us=saved_us,
        agent_version=text(checkpoint.agent_version),
        code=text(checkpoint.code),
        tick=checkpoint.tick,
        phase=text(checkpoint.phase),
        reason=text(checkpoint.reason),
        event_id=checkpoint.event_id,
    )


class LocalCheckpointStore:
    """The checkpoints of one session's runs, in its directory; threads and processes may share it.

    Args:
        session: the session's directory.
        redactor: redacts every value; default: the redactor of the recorded session. Without one, its tokens
            get a random key, so that they cannot be compared with tokens elsewhere.
    """

    def __init__(self, session: str | os.PathLike[str], *, redactor: Redactor | None = None) -> None:
        self.session = Path(session)
        if redactor is None:
            pipeline = recording.active_pipeline()
            redactor = pipeline.redactor if pipeline is not None else Redactor(os.urandom(32))
        self._capture = Capture(redactor, CHECKPOINT_LIMITS, agent_id_of)
        self._abandoned: list[object] = []
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._own_lock = threading.RLock()
        self._runs: OrderedDict[str, RunCheckpoints] = OrderedDict()
        """The open runs; the last one was used last."""

    @property
    def _lock(self) -> threading.RLock:
        """The lock for the open runs; in a forked child, all files are opened again."""
        if self._pid != os.getpid():
            # Keep a reference: deallocating the connections would close the parent's files.
            self._abandoned.append(self._runs)
            self._begin()
        return self._own_lock

    def save_checkpoint(
        self, checkpoint: Any, step_id: str | None = None, state: Any = None, /, **details: Any
    ) -> CheckpointInfo:
        """Save a checkpoint; it replaces one of the same run, step and agent.

        Args:
            checkpoint: a `Checkpoint`, an object or mapping with the same names, or a run id.
            step_id: the step; only with a run id.
            state: the state, any value; only with a run id. See "Values" in docs/FORMAT.md.
            details: further fields of a `Checkpoint`; `full=True` stores it as a snapshot, `replace=False`
                keeps an existing checkpoint and adds a number to the name of this step.

        Raises:
            TypeError: a required field is missing, or a field is unknown.
            OSError: it could not be written; the store is unchanged.
        """
        how = {"full": bool(details.pop("full", False)), "replace": bool(details.pop("replace", True))}
        if isinstance(checkpoint, str):
            if step_id is None:
                raise TypeError("save_checkpoint needs a checkpoint, or run_id, step_id and state")
            to_save = Checkpoint(checkpoint, step_id, state, **details)
        elif step_id is not None or details:
            raise TypeError("save_checkpoint takes a checkpoint alone, or run_id, step_id and state")
        else:
            to_save = Checkpoint.of(checkpoint)
        values = {"state": to_save.state}
        if to_save.messages:
            values["messages"] = to_save.messages
        if to_save.tool_calls:
            values["tool_calls"] = to_save.tool_calls
        document = encode_document(values, self._capture)
        with self._lock:
            while True:
                run = self._open(to_save.run_id, make=True)
                # Another process may remove the run's checkpoints; `_open` then starts a new directory.
                with contextlib.suppress(RemovedMeanwhile):
                    row = run.save(row_of(to_save, self._capture.redactor), document, **how)
                    return row.info(to_save.run_id)

    def load_checkpoint(self, run_id: str, step_id: str, agent_id: str | None = None) -> Checkpoint:
        """Load the checkpoint of a step, with Python values.

        Args:
            run_id: as it was saved.
            step_id: likewise.
            agent_id: the agent; None for the whole simulation, or for the only agent with that step.

        Raises:
            RunNotFound: the session has no checkpoints of that run.
            EventNotFound: the step has no checkpoint, or it has one for each of several agents.
            DamagedInput: it cannot be read; the error has path and remedy.
        """
        row, document, text = self._find(run_id, step_id, agent_id)
        unrestored: list[str] = []
        values = decode_document(document, text, unrestored)
        return Checkpoint(
            run_id=run_id,
            step_id=row.step_id,
            state=values.get("state"),
            messages=values.get("messages", []),
            tool_calls=values.get("tool_calls", []),
            agent_id=row.agent_id,
            timestamp=moment_of(row.saved_us),
            **{name: getattr(row, name) for name in ABOUT},
            info=row.info(run_id),
            unrestored=tuple(unrestored),
        )

    def recorded_state(
        self, run_id: str, step_id: str, agent_id: str | None = None
    ) -> tuple[Any, dict[str, str]]:
        """Load the state in its recorded form, for `StateFold.of`: plain JSON, and its tags.

        Returns:
            The JSON value, and {JSON Pointer relative to it: tag}.

        Raises:
            RunNotFound, EventNotFound, DamagedInput: as `load_checkpoint`.
        """
        _, document, text = self._find(run_id, step_id, agent_id)
        value, types = plain_document(document, text)
        return value.get("state"), tags_below(types, "/state")

    def as_row(self, info: CheckpointInfo) -> dict[str, Any]:
        """A checkpoint as a row of the service's database: state and tags are JSON texts."""
        state, types = self.recorded_state(info.run_id, info.step_id, info.agent_id)
        return {
            **{name: getattr(info, name) for name in ("step_id", "agent_id", "tick", "reason", "event_id")},
            "saved_us": parse_timestamp(info.timestamp),
            "state": write_json(state).decode(),
            "state_types": write_json(types).decode(),
        }

    def list_checkpoints(self, run_id: str, agent_id: str | None = None) -> list[CheckpointInfo]:
        """List the checkpoints of a run, or of one agent in it, in the order in which they were saved.

        Raises:
            RunNotFound: the session has no checkpoints of that run.
        """
        with self._lock:
            rows = self._open(run_id).index.listed(agent_id, everybody=agent_id is None)
        return [row.info(run_id) for row in rows]

    def delete_checkpoints(
        self,
        run_id: str,
        step_ids: Iterable[str] | None = None,
        agent_id: str | None = None,
        *,
        exactly: bool = False,
    ) -> Removed:
        """Remove checkpoints; deltas that build on them are rewritten, so that they still load.

        If the process is killed, the store stays readable, and the next removal or `prune` finishes the work.

        Args:
            run_id: the run.
            step_ids: the steps; None for all.
            agent_id: the agent; None for all.
            exactly: if True, `agent_id=None` means only the checkpoints of the whole run.

        Raises:
            RunNotFound: the session has no checkpoints of that run.
            OSError: a file could not be written.
        """
        with self._lock:
            run = self._open(run_id)
            if step_ids is None and agent_id is None and not exactly:
                removed = self._removed(run)
                if removed is not None:
                    return removed
            names = None if step_ids is None else set(map(self._capture.strict.text, step_ids))
            rows = run.index.listed(agent_id, everybody=agent_id is None and not exactly)
            return remove(run, [row for row in rows if names is None or row.step_id in names])

    def prune(
        self, policy: RetentionPolicy | None = None, *, now: datetime | None = None, dry_run: bool = False
    ) -> Removed:
        """Remove the checkpoints that the policy does not keep, and leftovers of killed processes.

        Args:
            policy: the policy; default: `RetentionPolicy()`.
            now: the time from which ages are computed; default: the clock's.
            dry_run: only count the checkpoints that would be removed.

        Raises:
            OSError: a file could not be written; earlier removals stay done.
        """
        policy = policy or RetentionPolicy()
        now_us = unix_us(now or datetime.now(UTC))
        outcome = Removed()
        with self._lock:
            # The renamed directories of interrupted removals.
            for directory in () if dry_run else run_dirs(self.session):
                for path in entries_in(directory, _REMOVED_SUFFIX, "checkpoints."):
                    shutil.rmtree(path)
            for run_id in self.runs():
                # Opening a run whose removal was interrupted finishes that removal and raises RunNotFound.
                with contextlib.suppress(RunNotFound):
                    outcome.add(self._prune_run(self._open(run_id), policy, now_us, dry_run=dry_run))
            if not dry_run:
                remove_unshared(shared_chunks_dir(self.session))
        return outcome

    def _prune_run(
        self, run: RunCheckpoints, policy: RetentionPolicy, now_us: int, *, dry_run: bool
    ) -> Removed:
        """Remove the whole run or some of its checkpoints; with nothing to remove, only sweep its files."""
        index = run.index
        rows = index.listed()
        infos = [row.info(run.run_id) for row in rows]
        failed = is_failed(index.fact("outcome") or recorded_outcome(self.session, run.run_id), infos)
        if infos and policy.drops_run(newest_us(infos), now_us, failed=failed):
            if dry_run:
                return Removed(checkpoints=len(infos), runs=1)
            return self._removed(run) or remove(run, rows)
        dropped = {(info.step_id, info.agent_id) for info in policy.dropped(infos, failed=failed)}
        to_remove = [row for row in rows if (row.step_id, row.agent_id) in dropped]
        if dry_run:
            return Removed(checkpoints=len(to_remove))
        return remove(run, to_remove) if to_remove else sweep(run)

    def runs(self) -> list[str]:
        """The ids of the runs that have checkpoints."""
        run_ids = []
        with self._lock:
            at_hand = {run.directory: run.run_id for run in self._runs.values()}
            for directory in saved_runs(self.session):
                run_id = at_hand.get(directory)
                if run_id is None:
                    index = CheckpointIndex(directory / INDEX_NAME, make=False)
                    run_id = index.fact("run_id") or directory.parent.name
                    index.suspend()
                run_ids.append(run_id)
        return run_ids

    def note_outcome(self, run_id: str, *, ok: bool) -> None:
        """Store the outcome of a run for `prune`; does nothing if the run has no checkpoints.

        Raises:
            OSError: it could not be written.
        """
        with self._lock, contextlib.suppress(RunNotFound):  # without checkpoints there is nothing to prune
            run = self._open(run_id)
            with run.changing():
                run.index.note("outcome", "success" if ok else "failure")
            self._end(run)

    def check(self, run_id: str) -> list[CheckpointProblem]:
        """List the checkpoints of a run that cannot be loaded, and the files that belong to no checkpoint.

        Raises:
            RunNotFound: the session has no checkpoints of that run.
        """
        with self._lock:
            return problems(self._open(run_id))

    def rebuild_index(self, run_id: str) -> int:
        """Rebuild a run's index from its packs and return the number of checkpoints in it.

        Raises:
            RunNotFound: the run has no directory of checkpoints.
            SessionInUse: another process writes checkpoints of the run.
            OSError: it could not be written.
        """
        with self._lock:
            directory = checkpoints_dir(self.session, run_id)
            if not directory.is_dir():
                raise self._no_run(run_id)
            for run in [run for run in self._runs.values() if run.directory == directory]:
                self._end(run)
            count = rebuild(directory)
            self._opened(run_id, make=True)
            return count

    def close(self) -> None:
        """Close all files; checkpoints saved later begin with snapshots."""
        with self._lock:
            for run in list(self._runs.values()):
                self._end(run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # open runs; the caller holds the lock

    def _open(self, run_id: str, *, make: bool = False) -> RunCheckpoints:
        """A run, opened if necessary; raises RunNotFound if it has no checkpoints and `make` is False."""
        run = self._runs.get(run_id)
        path = checkpoints_dir(self.session, run_id) / INDEX_NAME
        # Another process may have removed the run's checkpoints, or the program closed its descriptors.
        if run is not None and (not run.index.path.exists() or run.index.was_closed()):
            self._end(run)
            run = None
        if run is None and is_closed(path):
            # The packs hold all saved checkpoints, so the index can be rebuilt from them.
            rebuild(path.parent)
        if run is None and (make or path.exists()):
            run = self._opened(run_id, make=make)
        if run is not None and run.index.fact(REMOVED_FACT) is not None:
            # A removal was interrupted: finish it.
            self._delete_directory(run)
            run = self._opened(run_id, make=True) if make else None
        if run is None:
            raise self._no_run(run_id)
        self._runs.move_to_end(run_id)
        if len(self._runs) > _OPEN_RUNS:
            list(self._runs.values())[-_OPEN_RUNS - 1].suspend()
        return run

    def _opened(self, run_id: str, *, make: bool) -> RunCheckpoints:
        directory, shared = checkpoints_dir(self.session, run_id), shared_chunks_dir(self.session)
        run = RunCheckpoints(directory, shared, make=make, run_id=run_id)
        self._runs[run.run_id] = run
        while len(self._runs) > _MAX_CONTINUED_RUNS:
            self._runs.popitem(last=False)[1].close()
        return run

    def _end(self, run: RunCheckpoints) -> None:
        """Close a run; a checkpoint saved later begins with a snapshot."""
        self._runs.pop(run.run_id, None)
        run.close()

    def _removed(self, run: RunCheckpoints) -> Removed | None:
        """Remove a run's checkpoints with their directory; None if another process writes there."""
        with run.changing():
            if any(run.is_live(path.stem) for path in entries_in(run.directory, ".writer")):
                return None
            count = len(run.index.listed())
            # The mark stops all saves; the next process that opens the run finishes an interrupted removal.
            run.index.note(REMOVED_FACT, "yes")
        return Removed(checkpoints=count, runs=1, size_bytes=self._delete_directory(run))

    def _delete_directory(self, run: RunCheckpoints) -> int:
        """Remove the directory of a run that is marked as removed; return the bytes freed."""
        freed = run.chunks.remove(run.chunks.names())
        freed += sum(path.stat().st_size for path in files_below(run.directory))
        self._end(run)
        # Rename first, so that a kill leaves no partial directory under the old name.
        renamed = run.directory.with_name(f"{run.directory.name}.{run.writer}{_REMOVED_SUFFIX}")
        try:
            run.directory.rename(renamed)
        except FileNotFoundError:
            return 0  # another process found the mark and removed it first
        shutil.rmtree(renamed)
        return freed

    def _no_run(self, run_id: str) -> RunNotFound:
        return RunNotFound(
            f"no checkpoints of a run {run_id!r} in this session",
            path=self.session,
            remedy="list_checkpoints and runs() list them",
        )

    def _find(self, run_id: str, step_id: str, agent_id: str | None) -> tuple[Row, Any, bytes]:
        """The row of a step's checkpoint, and its document, parsed and as text."""
        with self._lock:
            run = self._open(run_id)
            step_id = self._capture.strict.text(step_id)  # redacted, as when it was saved
            row = run.index.row(step_id, agent_id)
            if row is None and agent_id is None:
                others = run.index.rows(step_id=step_id)
                if len(others) > 1:
                    names = ", ".join(sorted(str(other.agent_id) for other in others[:5]))
                    raise EventNotFound(
                        f"{len(others)} agents have a checkpoint of step {step_id!r} in run {run_id!r}",
                        remedy=f"choose one with agent_id: {names}",
                    )
                row = others[0] if others else None
            if row is None:
                raise self._no_step(run, step_id, agent_id)
            return row, *run.document(row)

    def _no_step(self, run: RunCheckpoints, step_id: str, agent_id: str | None) -> EventNotFound:
        rows = run.index.listed(agent_id, everybody=agent_id is None)
        of_agent = "" if agent_id is None else f" of {agent_id!r}"
        last_steps = ", ".join(dict.fromkeys(row.step_id for row in rows[-3:])) or "none"
        return EventNotFound(
            f"run {run.run_id!r} has no checkpoint{of_agent} of step {step_id!r}",
            path=run.directory,
            remedy=f"it has {len(rows)}, the last of them: {last_steps}",
        )
