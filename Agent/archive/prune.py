"""Removes whole sessions by policy: by number, age or total size; sessions in use are skipped.

`prune_checkpoints` removes only checkpoints; events and artifacts of the runs stay.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Agent.errors import InputError, UsageError
from Agent.event.clock import parse_timestamp
from Agent.tree.files.session import open_session
from Agent.tree.layout import list_sessions
from Agent.tree.links import refuse_links
from Agent.tree.retention import (
    drop_dead_links,
    finish_removals,
    interrupted_removals,
    remove_session,
    why_in_use,
)

if TYPE_CHECKING:
    from Agent.flight.checkpoints.model import Removed, RetentionPolicy


@dataclass(frozen=True, slots=True)
class Policy:
    """The sessions to remove: those that match any rule; a rule of None matches none."""

    keep_sessions: int | None = None
    """Keep this many of the newest sessions."""
    older_than_s: float | None = None
    """Remove sessions that ended longer ago, in seconds."""
    max_bytes: int | None = None
    """Remove the oldest sessions until the total size is at most this."""


@dataclass(frozen=True, slots=True)
class PrunedSession:
    """One session that matches the policy."""

    session_id: str
    path: str
    size_bytes: int
    reason: str
    in_use: str | None
    """Why it is in use and kept; None if it is removed."""
    removed: bool


@dataclass(frozen=True, slots=True)
class Pruning:
    """The result: removed sessions, or those that would be removed."""

    sessions: tuple[PrunedSession, ...]
    dry_run: bool
    kept: int
    """How many sessions are kept."""
    kept_bytes: int
    finished: int
    """How many interrupted removals were finished."""

    @property
    def freed_bytes(self) -> int:
        """The total size of the removed sessions."""
        return sum(session.size_bytes for session in self.sessions if session.in_use is None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"freed_bytes": self.freed_bytes, **asdict(self)}


@dataclass(slots=True)
class _Candidate:
    session_id: str
    path: Path
    size_bytes: int
    ended_s: float
    reason: str | None = None


def prune(
    root: Path,
    policy: Policy,
    *,
    dry_run: bool = False,
    now_s: float | None = None,
    on_removed: Callable[[PrunedSession], None] = lambda _: None,
) -> Pruning:
    """Remove the sessions that match the policy, oldest first; after a kill, the next call continues.

    Args:
        root: the trace root.
        policy: the policy; at least one rule must be set.
        dry_run: remove nothing, only report.
        now_s: current time in seconds since 1970; default: now.
        on_removed: called for each removed session.

    Raises:
        UsageError: the policy has no rule.
        OSError: a session cannot be removed; earlier ones are already removed.
    """
    if policy == Policy():
        raise UsageError(
            "prune needs a policy", remedy="give --keep-sessions, --older-than or --max-bytes; try --dry-run"
        )
    now_s = time.time() if now_s is None else now_s
    candidates = [_candidate(ref.session_id, ref.path) for ref in list_sessions(root, even_empty=True)]
    _choose(candidates, policy, now_s)
    finished = len(interrupted_removals(root)) if dry_run else finish_removals(root)
    pruned: list[PrunedSession] = []
    for candidate in candidates:
        if candidate.reason is None:
            continue
        in_use = why_in_use(candidate.path, now_s=now_s)
        is_removed = in_use is None and not dry_run and remove_session(candidate.path)
        path, size_bytes = str(candidate.path), candidate.size_bytes
        session = PrunedSession(candidate.session_id, path, size_bytes, candidate.reason, in_use, is_removed)
        pruned.append(session)
        if session.removed:
            on_removed(session)
    if not dry_run:
        drop_dead_links(root)
    going = {session.session_id for session in pruned if session.in_use is None}
    staying = [candidate for candidate in candidates if candidate.session_id not in going]
    return Pruning(
        tuple(pruned), dry_run, len(staying), sum(candidate.size_bytes for candidate in staying), finished
    )


def prune_checkpoints(
    root: Path,
    policy: RetentionPolicy,
    *,
    dry_run: bool = False,
    on_session: Callable[[str, Removed], None] = lambda _session_id, _removed: None,
) -> Removed:
    """Remove the checkpoints and the `TraceSaver` threads that a policy does not keep.

    After a kill, the next call continues.

    Args:
        root: the trace root.
        policy: the policy, which keeps failed runs longer.
        dry_run: remove nothing, only count.
        on_session: called for each session that loses checkpoints, and with `graphs` for threads.

    Raises:
        OSError, DamagedInput: some cannot be read or removed; earlier ones are already removed.
    """
    from Agent.flight.checkpoints.graph_file import prune_graphs
    from Agent.flight.checkpoints.model import Removed
    from Agent.flight.checkpoints.store import LocalCheckpointStore
    from Agent.record.encode.redaction import Redactor

    total = Removed()
    for ref in list_sessions(root):
        refuse_links(ref.path)
        # Nothing is written here, so the redactor is never used.
        with LocalCheckpointStore(ref.path, redactor=Redactor(b"")) as store:
            removed = store.prune(policy, dry_run=dry_run)
        if removed != Removed():
            on_session(ref.session_id, removed)
        total.add(removed)
    removed = prune_graphs(root, policy, round(time.time() * 1e6), dry_run=dry_run)
    if removed != Removed():
        on_session("graphs", removed)
    total.add(removed)
    return total


def ended_before(root: Path, before_s: float) -> list[Path]:
    """Return the sessions that no process uses and that ended before a time, in seconds since 1970."""
    candidates = [_candidate(ref.session_id, ref.path) for ref in list_sessions(root)]
    return [each.path for each in candidates if each.ended_s < before_s and why_in_use(each.path) is None]


def _choose(candidates: list[_Candidate], policy: Policy, now_s: float) -> None:
    """Set the reason of each session that matches the policy; `candidates` is oldest first."""
    if policy.keep_sessions is not None:
        for candidate in candidates[: max(len(candidates) - policy.keep_sessions, 0)]:
            candidate.reason = f"beyond the newest {policy.keep_sessions}"
    if policy.older_than_s is not None:
        for candidate in candidates:
            if candidate.reason is None and now_s - candidate.ended_s > policy.older_than_s:
                candidate.reason = "too old"
    if policy.max_bytes is not None:
        left_bytes = sum(candidate.size_bytes for candidate in candidates if candidate.reason is None)
        for candidate in candidates:
            if left_bytes <= policy.max_bytes:
                return
            if candidate.reason is None:
                candidate.reason = "beyond the total size"
                left_bytes -= candidate.size_bytes


def _candidate(session_id: str, path: Path) -> _Candidate:
    size_bytes, newest_s = size_and_change(path)
    try:
        ended_at = open_session(path).ended_at
        ended_s = newest_s if ended_at is None else parse_timestamp(ended_at) / 1_000_000
    except (InputError, ValueError):
        ended_s = newest_s  # without a description, use the last modification of its files
    return _Candidate(session_id, path, size_bytes, ended_s)


def size_and_change(path: Path) -> tuple[int, float]:
    """Return the disk usage of a directory, without following links, and its newest modification time."""
    size_bytes, newest_s = 0, 0.0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                status = (Path(directory) / name).lstat()
            except FileNotFoundError:
                continue  # rolled or removed since it was listed
            size_bytes += status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size
            newest_s = max(newest_s, status.st_mtime)
    return size_bytes, newest_s or path.lstat().st_mtime
