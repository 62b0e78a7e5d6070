"""The local checkpoint store, over the runs of one session; it raises what it meets.

`recording` puts it behind the session that is recorded now.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from Agent.errors import EventNotFound, RunNotFound, UsageError
from Agent.event.clock import moment_of, parse_timestamp, unix_us
from Agent.event.values.plain import write_json
from Agent.flight.checkpoints.delta import (
    CHECKPOINT_LIMITS,
    Document,
    decode_document,
    encode_document,
    plain_document,
)
from Agent.flight.checkpoints.files import RemovedMeanwhile, Row
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
from Agent.flight.checkpoints.run import OpenRuns, RunCheckpoints, problems, remove, sweep
from Agent.flight.run_fold import recorded_outcome
from Agent.record.emit import installed as recording
from Agent.record.encode.capture import Capture
from Agent.record.encode.redaction import Redactor
from Agent.record.state.agents import agent_id_of


def row_of(given: Checkpoint, redactor: Redactor) -> Row:
    """What the index says of a checkpoint; texts of the user's pass the redactor as values do."""
    saved_us = time.time_ns() // 1000 if given.timestamp is None else unix_us(given.timestamp)

    def text(value: object) -> str | None:
        return None if value is None else redactor.text(str(value))

    return Row(
        step_id=redactor.text(str(given.step_id)),
        agent_id=None if given.agent_id is None else str(given.agent_id),
        saved_us=saved_us,
        agent_version=text(given.agent_version),
        code=text(given.code),
        tick=given.tick,
        phase=text(given.phase),
        reason=text(given.reason),
        event_id=given.event_id,
    )


def checkpoint_of(row: Row, run_id: str) -> Checkpoint:
    """What the index knows of a checkpoint; its values are the caller's business."""
    return Checkpoint(
        run_id=run_id,
        step_id=row.step_id,
        agent_id=row.agent_id,
        timestamp=moment_of(row.saved_us),
        **{name: getattr(row, name) for name in ABOUT},
        info=row.info(run_id),
    )


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
        if redactor is None:
            pipeline = recording.active_pipeline()
            redactor = pipeline.redactor if pipeline is not None else Redactor(os.urandom(32))
        self._capture = Capture(redactor, CHECKPOINT_LIMITS, agent_id_of)
        self._runs = OpenRuns(self.session, durable=durability == "disk")

    def save_checkpoint(
        self, checkpoint: Any, step_id: str | None = None, state: Any = None, /, **details: Any
    ) -> CheckpointInfo:
        """Keep a checkpoint, in the place of one of the same run, step and agent.

        Args:
            checkpoint: a `Checkpoint`, or an object or mapping with such names; or the run's id.
            step_id: with a run's id.
            state: with a run's id; anything, see "Values" in docs/FORMAT.md.
            details: other fields of a `Checkpoint`; `full=True` stores it as a snapshot, `replace=False` lets
                what is there stand and gives the step's name a number.

        Raises:
            TypeError: something necessary is missing, or a field is unknown.
            OSError: it could not be written; the store is as it was before.
        """
        how = {"full": bool(details.pop("full", False)), "replace": bool(details.pop("replace", True))}
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
        with self._runs.lock:
            try:
                return self._saved(given, document, how)
            except RemovedMeanwhile:
                return self._saved(given, document, how)

    def _saved(self, given: Checkpoint, document: Document, how: dict[str, bool]) -> CheckpointInfo:
        run = self._runs.get(given.run_id, make=True)
        return run.save(row_of(given, self._capture.redactor), document, **how).info(given.run_id)

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

    def as_row(self, info: CheckpointInfo) -> dict[str, Any]:
        """A checkpoint as the database of the service keeps it: state and tags as JSON texts."""
        state, types = self.recorded_state(info.run_id, info.step_id, info.agent_id)
        return {
            **{name: getattr(info, name) for name in ("step_id", "agent_id", "tick", "reason", "event_id")},
            "saved_us": parse_timestamp(info.timestamp),
            "state": write_json(state).decode(),
            "state_types": write_json(types).decode(),
        }

    def list_checkpoints(self, run_id: str, agent_id: str | None = None) -> list[CheckpointInfo]:
        """The checkpoints of a run, or of one agent in it, in the order in which they were saved.

        Raises:
            RunNotFound: the session holds no checkpoints of that run.
        """
        with self._runs.lock:
            rows = self._runs.get(run_id).files.index.listed(agent_id, everybody=agent_id is None)
        return [row.info(run_id) for row in rows]

    def delete_checkpoints(
        self,
        run_id: str,
        step_ids: Iterable[str] | None = None,
        agent_id: str | None = None,
        *,
        exactly: bool = False,
    ) -> Removed:
        """Remove checkpoints; what stood on them is written again, and loads as before.

        Killed anywhere it leaves a store that reads, and the next removal or `prune` finishes it.

        Args:
            run_id: of whom.
            step_ids: which; None for all.
            agent_id: of one agent only; None for all.
            exactly: None for an agent means those of the whole run alone.

        Raises:
            RunNotFound: the session holds no checkpoints of that run.
            OSError: something could not be written.
        """
        with self._runs.lock:
            run = self._runs.get(run_id)
            if step_ids is None and agent_id is None and not exactly:
                gone = self._runs.remove(run)
                if gone is not None:
                    return gone
            wanted = None if step_ids is None else set(map(self._capture.strict.text, step_ids))
            rows = run.files.index.listed(agent_id, everybody=agent_id is None and not exactly)
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
        now_us = unix_us(now or datetime.now(UTC))
        outcome = Removed()
        with self._runs.lock:
            if not dry_run:
                self._runs.finish_removals()
            for run_id in self.runs():
                # One whose removal was interrupted is finished when it is opened, and then is none.
                with contextlib.suppress(RunNotFound):
                    outcome.add(self._prune_run(self._runs.get(run_id), policy, now_us, dry_run=dry_run))
            if not dry_run:
                self._runs.sweep_shared()
        return outcome

    def _prune_run(
        self, run: RunCheckpoints, policy: RetentionPolicy, now_us: int, *, dry_run: bool
    ) -> Removed:
        index = run.files.index
        rows = index.listed()
        infos = [row.info(run.run_id) for row in rows]
        failed = is_failed(index.fact("outcome") or recorded_outcome(self.session, run.run_id), infos)
        if infos and policy.drops_run(newest_us(infos), now_us, failed=failed):
            if dry_run:
                return Removed(checkpoints=len(infos), runs=1)
            return self._runs.remove(run) or remove(run, rows)
        dropped = {(info.step_id, info.agent_id) for info in policy.dropped(infos, failed=failed)}
        gone = [row for row in rows if (row.step_id, row.agent_id) in dropped]
        if dry_run:
            return Removed(checkpoints=len(gone))
        return remove(run, gone) if gone else sweep(run)

    def runs(self) -> list[str]:
        """The ids of the runs that have checkpoints."""
        with self._runs.lock:
            return self._runs.ids()

    def note_outcome(self, run_id: str, *, ok: bool) -> None:
        """Say that a run has ended, and whether well, for `prune`; nothing where it has no checkpoints.

        Raises:
            OSError: it could not be written.
        """
        with self._runs.lock:
            try:
                run = self._runs.get(run_id)
            except RunNotFound:
                return  # no checkpoint, so nothing to prune
            with run.files.changing():
                run.files.index.note("outcome", "success" if ok else "failure")
            self._runs.end(run)

    def check(self, run_id: str) -> list[CheckpointProblem]:
        """Every checkpoint of a run that cannot be loaded, and every file that belongs to none.

        Raises:
            RunNotFound: the session holds no checkpoints of that run.
        """
        with self._runs.lock:
            return problems(self._runs.get(run_id))

    def rebuild_index(self, run_id: str) -> int:
        """Make a run's index again from its packs; how many checkpoints it lists now.

        Raises:
            RunNotFound: the run has no packs either.
            SessionInUse: another process writes checkpoints of the run.
            OSError: it could not be written.
        """
        with self._runs.lock:
            return self._runs.rebuilt(run_id)

    def close(self) -> None:
        """End writing; what is saved afterwards begins with snapshots."""
        with self._runs.lock:
            self._runs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _found(self, run_id: str, step_id: str, agent_id: str | None) -> tuple[Row, Any, bytes]:
        with self._runs.lock:
            run = self._runs.get(run_id)
            step_id = self._capture.strict.text(step_id)  # as it was saved
            row = run.files.index.row(step_id, agent_id)
            if row is None and agent_id is None:
                others = run.files.index.rows(step_id=step_id)
                if len(others) > 1:
                    names = ", ".join(sorted(str(other.agent_id) for other in others[:5]))
                    raise EventNotFound(
                        f"{len(others)} agents have a checkpoint of step {step_id!r} in run {run_id!r}",
                        remedy=f"choose one with agent_id: {names}",
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
