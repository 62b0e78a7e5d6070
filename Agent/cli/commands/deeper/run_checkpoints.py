"""What `runs --checkpoints` shows of the checkpoints of a run, and what `prune --checkpoints` takes away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Agent.cli.output import render

if TYPE_CHECKING:
    from Agent.flight.checkpoints.model import CheckpointInfo, Removed

_DAY_S = 86_400
_STYLES: dict[str, dict[str, Any]] = {"error": {"fg": "red"}}


def show(found: Sequence[CheckpointInfo]) -> None:
    """A row for each checkpoint, in the order in which they were saved, and their sum."""
    if not found:
        render.note(
            "no checkpoints in this run; recorder.run(..., checkpoints=CheckpointPolicy(...)) saves them"
        )
        return
    render.table(
        ("STEP", "AGENT", "TIME (UTC)", "WHY", "TICK", "PHASE", "STATE", "STORED", "AS", "VERSION", "CODE"),
        [
            (
                each.step_id,
                each.agent_id or "-",
                each.timestamp[11:23],
                each.reason or "-",
                "-" if each.tick is None else str(each.tick),
                each.phase or "-",
                render.size(each.state_bytes),
                render.size(each.size_bytes),
                each.kind,
                each.agent_version or "-",
                (each.code or "-")[:8],
            )
            for each in found
        ],
        right=("TICK", "STATE", "STORED"),
        styles={"WHY": _STYLES},
    )
    whole, stored = sum(each.state_bytes for each in found), sum(each.size_bytes for each in found)
    render.note(
        f"{render.plural(len(found), 'checkpoint')}: {render.size(whole)} of state in {render.size(stored)}"
    )


def prune_runs(
    root: Path,
    older_than_s: float | None,
    failed_older_than_s: float | None,
    keep_last: int | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove checkpoints by a policy, those of failed runs later."""
    from Agent.archive.maintenance.prune import prune_checkpoints
    from Agent.flight.checkpoints.policy import RetentionPolicy

    usual = RetentionPolicy()
    policy = RetentionPolicy(
        keep_days=usual.keep_days if older_than_s is None else older_than_s / _DAY_S,
        keep_failed_days=usual.keep_failed_days
        if failed_older_than_s is None
        else failed_older_than_s / _DAY_S,
        keep_last=keep_last,
    )
    verb = "would be removed" if dry_run else "removed"

    def tell(session_id: str, removed: Removed) -> None:
        if not as_json:
            render.emit(f"{session_id}: {_told(removed)} {verb}")

    done = prune_checkpoints(root, policy, dry_run=dry_run, on_session=tell)
    if as_json:
        render.emit_json({"root": str(root), "dry_run": dry_run, **asdict(done)})
        return
    freed = "" if dry_run else f", {render.size(max(done.size_bytes, 0))} freed"
    render.emit(f"{_told(done)} {verb}{freed}")
    if done.waiting:
        render.note(
            f"{done.waiting} more will be removed once the process that writes to their run has ended"
        )
    if done.damaged:
        render.note(f"{done.damaged} of the remaining ones cannot be loaded")


def _told(removed: Removed) -> str:
    runs = f", {render.plural(removed.runs, 'run')} whole" if removed.runs else ""
    return render.plural(removed.checkpoints, "checkpoint") + runs
