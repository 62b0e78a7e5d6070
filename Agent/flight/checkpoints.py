"""The local checkpoint store, over the runs of one session; it raises what it meets.

`checkpoint_recording` puts it behind the session that is recorded now.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from Agent.errors import EventNotFound, RunNotFound, UsageError
from Agent.event.clock import EPOCH
from Agent.flight.checkpoint_files import INDEX_NAME, RunFiles, checkpoints_dir, shared_chunks_dir
from Agent.flight.checkpoint_index import Row
from Agent.flight.checkpoint_model import Checkpoint, CheckpointInfo, CheckpointProblem, Removed
from Agent.flight.checkpoint_policy import RetentionPolicy, is_failed, newest_us
from Agent.flight.checkpoint_rebuild import rebuild
from Agent.flight.checkpoint_removal import problems, remove, sweep
from Agent.flight.checkpoint_rows import checkpoint_of, row_of
from Agent.flight.checkpoint_run import RunCheckpoints
from Agent.flight.checkpoint_values import (
    CHECKPOINT_LIMITS,
    decode_document,
    encode_document,
    plain_document,
)
from Agent.record import pipeline as recording
from Agent.record.agents import agent_id_of
from Agent.record.capture import Capture
from Agent.record.redaction import Redactor
from Agent.tree.layout import runs_dir

__all__ = ["LocalCheckpointStore"]

_OPEN_RUNS: Final = 8
"""Runs whose files are kept open; each holds at most five."""
_REMOVED_SUFFIX: Final = ".removed"


class LocalCheckpointStore:
    """The checkpoints of one session's runs, in its directory; threads and processes may share it.

    Args:
        session: the session's directory.
        redactor: judges every value; None: that of the session that is recorded now, else one whose tokens
            stand for nothing outside this store.
        durability: `kernel`: what was saved survives the death of the process; `disk`: of the machine, too.

    Raises:
        UsageError: another durability.
    """

    def __init__(
        self, session: str | os.PathLike[str], *, redactor: Redactor | None = None, durability: str = "kernel"
    ) -> None:
        if durability not in ("kernel", "disk"):
            raise UsageError(f"durability is {durability!r}", remedy="give kernel or disk")
        self.session = Path(session)
        self.durable = durability == "disk"
        if redactor is None:
            pipeline = recording.active_pipeline()
            redactor = pipeline.redactor if pipeline is not None else Redactor(os.urandom(32))
        self._capture = Capture(redactor, CHECKPOINT_LIMITS, agent_id_of)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._open: OrderedDict[str, RunCheckpoints] = OrderedDict()

    def save_checkpoint(
        self, checkpoint: Any, step_id: str | None = None, state: Any = None, /, **details: Any
    ) -> CheckpointInfo:
        """Keep a checkpoint, in the place of one of the same run, step and agent.

        Args:
            checkpoint: a `Checkpoint`, or an object or mapping with such names; or the run's id.
            step_id: with a run's id.
            state: with a run's id; anything, see "Values" in docs/FORMAT.md.
            details: other fields of a `Checkpoint`; `full=True` stores it as a snapshot.

        Raises:
            TypeError: something necessary is missing, or a field is unknown.
            OSError: it could not be written; the store is as it was before.
        """
        full = bool(details.pop("full", False))
        if isinstance(checkpoint, str):
            if step_id is None:
                raise TypeError("save_checkpoint needs a checkpoint, or run_id, step_id and state")
            given = Checkpoint(checkpoint, step_id, state, **details)
        elif step_id is not None or details:
            raise TypeError("save_checkpoint takes a checkpoint alone, or run_id, step_id and state")
        else:
            given = Checkpoint.of(checkpoint)
        values = {"state": given.state}
        if given.messages:
            values["messages"] = given.messages
        if given.tool_calls:
            values["tool_calls"] = given.tool_calls
        document = encode_document(values, self._capture)
        with self._lock:
            run = self._run(given.run_id, make=True)
            return run.save(row_of(given, self._capture.redactor), document, full=full).info(given.run_id)

    def load_checkpoint(self, run_id: str, step_id: str, agent_id: str | None = None) -> Checkpoint:
        """The checkpoint of a step, as Python values.

        Args:
            run_id, step_id: as they were saved.
            agent_id: whose; None: that of the whole simulation, or the only one of that step.

        Raises:
            RunNotFound: the session holds no checkpoints of that run.
            EventNotFound: the run has none of that step, or several agents have.
            DamagedInput: it cannot be read; path and remedy are told.
        """
        row, document, text = self._found(run_id, step_id, agent_id)
        unrestored: list[str] = []
        values = decode_document(document, text, unrestored)
        found = checkpoint_of(row, run_id)
        found.state = values.get("state")
        found.messages = values.get("messages", [])
        found.tool_calls = values.get("tool_calls", [])
        found.unrestored = tuple(unrestored)
        return found

    def recorded_state(
        self, run_id: str, step_id: str, agent_id: str | None = None
    ) -> tuple[Any, dict[str, str]]:
        """The state as it is recorded: plain JSON, and its tags by JSON Pointer below it; raises likewise.

        `StateFold.of` begins with it.
        """
        _, document, text = self._found(run_id, step_id, agent_id)
        value, types = plain_document(document, text)
        below = "/state"
        return value.get("state"), {
            pointer[len(below) :]: tag
            for pointer, tag in types.items()
            if pointer == below or pointer.startswith(f"{below}/")
        }

    def list_checkpoints(self, run_id: str, agent_id: str | None = None) -> list[CheckpointInfo]:
        """The checkpoints of a run, or of one agent in it, in the order in which they were saved.

        Raises:
            RunNotFound: the session holds no checkpoints of that run.
        """
        with self._lock:
            rows = self._run(run_id).files.index.listed(agent_id, everybody=agent_id is None)
        return [row.info(run_id) for row in rows]

    def delete_checkpoints(
        self, run_id: str, step_ids: Iterable[str] | None = None, agent_id: str | None = None
    ) -> Removed:
        """Remove checkpoints; what stood on them is written anew, and loads as before.

        Killed anywhere it leaves a store that reads, and the next removal or `prune` finishes it.

        Args:
            run_id: of whom.
            step_ids: which; None for all.
            agent_id: of one agent only.

        Raises:
            RunNotFound: the session holds no checkpoints of that run.
            OSError: something could not be written.
        """
        with self._lock:
            run = self._run(run_id)
            if step_ids is None and agent_id is None:
                gone = self._remove_run(run)
                if gone is not None:
                    return gone
            wanted = None if step_ids is None else set(step_ids)
            rows = run.files.index.listed(agent_id, everybody=agent_id is None)
            return remove(run, [row for row in rows if wanted is None or row.step_id in wanted])

    def prune(
        self, policy: RetentionPolicy | None = None, *, now: datetime | None = None, dry_run: bool = False
    ) -> Removed:
        """Remove what the policy does not keep, and whatever killed writers and removals left behind.

        Args:
            policy: None for its defaults.
            now: by which ages are counted; None for the clock's.
            dry_run: only count what would go.

        Raises:
            OSError: something could not be written; what was done counts.
        """
        policy = policy or RetentionPolicy()
        now_us = ((now or datetime.now(UTC)) - EPOCH) // timedelta(microseconds=1)
        outcome = Removed()
        with self._lock:
            if not dry_run:
                self._finish_removed_runs()
            for run_id in self.runs():
                outcome.add(self._prune_run(self._run(run_id), policy, now_us, dry_run=dry_run))
        return outcome

    def _prune_run(
        self, run: RunCheckpoints, policy: RetentionPolicy, now_us: int, *, dry_run: bool
    ) -> Removed:
        index = run.files.index
        rows = index.listed()
        infos = [row.info(run.run_id) for row in rows]
        failed = is_failed(index.fact("outcome"), infos)
        if infos and policy.drops_run(newest_us(infos), now_us, failed=failed):
            if dry_run:
                return Removed(checkpoints=len(infos), runs=1)
            return self._remove_run(run) or remove(run, rows)
        dropped = {(info.step_id, info.agent_id) for info in policy.dropped(infos, failed=failed)}
        gone = [row for row in rows if (row.step_id, row.agent_id) in dropped]
        if dry_run:
            return Removed(checkpoints=len(gone))
        return remove(run, gone) if gone else sweep(run)

    def runs(self) -> list[str]:
        """The ids of the runs that have checkpoints."""
        found = []
        for path in sorted(runs_dir(self.session).glob(f"*/checkpoints/{INDEX_NAME}")):
            known = next((run for run in self._open.values() if run.files.directory == path.parent), None)
            if known is None:
                known = self._opened(path.parent, make=False)
            found.append(known.run_id)
        return found

    def note_outcome(self, run_id: str, *, ok: bool) -> None:
        """Say whether a run succeeded, for `prune`; nothing where it has no checkpoints.

        Raises:
            OSError: it could not be written.
        """
        with self._lock:
            try:
                run = self._run(run_id)
            except RunNotFound:
                return
            with run.files.changing():
                run.files.index.note("outcome", "success" if ok else "failure")

    def check(self, run_id: str) -> list[CheckpointProblem]:
        """Every checkpoint of a run that cannot be loaded, and every file that belongs to none.

        Raises:
            RunNotFound: the session holds no checkpoints of that run.
        """
        with self._lock:
            return problems(self._run(run_id))

    def rebuild_index(self, run_id: str) -> int:
        """Make a run's index again from its packs; how many checkpoints it lists now.

        Raises:
            RunNotFound: the run has no packs either.
            SessionInUse: another process writes checkpoints of the run.
            OSError: it could not be written.
        """
        directory = checkpoints_dir(self.session, run_id)
        if not directory.is_dir():
            raise self._no_run(run_id)
        with self._lock:
            for name in [name for name, run in self._open.items() if run.files.directory == directory]:
                self._open.pop(name).close()
            count = rebuild(directory)
            self._opened(directory, make=True, run_id=run_id)
        return count

    def close(self) -> None:
        """End writing; what is saved afterwards begins with snapshots."""
        with self._lock:
            while self._open and self._pid == os.getpid():
                self._open.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _found(self, run_id: str, step_id: str, agent_id: str | None) -> tuple[Row, Any, bytes]:
        with self._lock:
            run = self._run(run_id)
            row = run.files.index.row(step_id, agent_id)
            if row is None and agent_id is None:
                others = run.files.index.rows_of_step(step_id)
                if len(others) > 1:
                    names = ", ".join(sorted(str(other.agent_id) for other in others[:5]))
                    raise EventNotFound(
                        f"{len(others)} agents have a checkpoint of step {step_id!r} in run {run_id!r}",
                        remedy=f"say whose, with agent_id: {names}",
                    )
                row = others[0] if others else None
            if row is None:
                raise self._no_step(run, step_id, agent_id)
            return row, *run.files.document(row)

    def _no_step(self, run: RunCheckpoints, step_id: str, agent_id: str | None) -> EventNotFound:
        rows = run.files.index.listed(agent_id, everybody=agent_id is None)
        whose = "" if agent_id is None else f" of {agent_id!r}"
        known = ", ".join(dict.fromkeys(row.step_id for row in rows[-3:])) or "none"
        return EventNotFound(
            f"run {run.run_id!r} has no checkpoint{whose} of step {step_id!r}",
            path=run.files.directory,
            remedy=f"it has {len(rows)}, the last of them: {known}",
        )

    def _no_run(self, run_id: str) -> RunNotFound:
        return RunNotFound(
            f"no checkpoints of a run {run_id!r} in this session",
            path=self.session,
            remedy="list_checkpoints and runs() say what there is",
        )

    def _run(self, run_id: str, *, make: bool = False) -> RunCheckpoints:
        """What is open of a run; after a fork everything is opened anew."""
        if self._pid != os.getpid():
            self._begin()
        run = self._open.get(run_id)
        # Somebody may have removed the run with its directory meanwhile.
        if run is not None and not run.files.index.path.exists():
            self._open.pop(run_id).close()
            run = None
        if run is None:
            directory = checkpoints_dir(self.session, run_id)
            if not make and not (directory / INDEX_NAME).exists():
                raise self._no_run(run_id)
            run = self._opened(directory, make=make, run_id=run_id)
        self._open.move_to_end(run_id)
        return run

    def _opened(self, directory: Path, *, make: bool, run_id: str | None = None) -> RunCheckpoints:
        files = RunFiles(directory, shared_chunks_dir(self.session), make=make, durable=self.durable)
        known = files.index.fact("run_id")
        if known is None and run_id is not None and make:
            with files.changing():
                files.index.note("run_id", run_id)
        if known is None:
            known = directory.parent.name if run_id is None else run_id
        run = RunCheckpoints(known, files)
        self._open[run.run_id] = run
        while len(self._open) > _OPEN_RUNS:
            self._open.popitem(last=False)[1].close()
        return run

    def _remove_run(self, run: RunCheckpoints) -> Removed | None:
        """Remove a run's checkpoints with their directory; None where another process writes there."""
        files = run.files
        if any(files.is_live(path.stem) for path in files.directory.glob("*.writer")):
            return None
        outcome = Removed(checkpoints=files.index.count(), runs=1)
        files.chunks.remove(files.chunks.names())
        outcome.size_bytes = sum(path.stat().st_size for path in files.directory.rglob("*") if path.is_file())
        self._open.pop(run.run_id, None)
        run.close()
        # Under another name at once, so that a kill leaves no half of it in its place.
        gone = files.directory.with_name(f"{files.directory.name}.{files.writer}{_REMOVED_SUFFIX}")
        files.directory.rename(gone)
        shutil.rmtree(gone)
        return outcome

    def _finish_removed_runs(self) -> None:
        for path in runs_dir(self.session).glob(f"*/checkpoints.*{_REMOVED_SUFFIX}"):
            shutil.rmtree(path)
