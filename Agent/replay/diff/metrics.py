"""Metrics of the checkpoints, replays and forks under a trace root, computed from their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from Agent.errors import InputError
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.flight.run_reading import list_runs
from Agent.replay.diff.run_comparison import compare_runs
from Agent.tree.default_root import default_root
from Agent.tree.files.session import lineage_of
from Agent.tree.layout import entries_in, files_below, read_file, readable_sessions, run_dirs


@dataclass(frozen=True, slots=True)
class ReplayMetrics:
    """Counts and rates; a rate is None if its denominator is 0."""

    runs: int
    """Recorded runs, without root runs and forks."""
    checkpointed_runs: int
    """Runs with checkpoints, all of which can be loaded."""
    storage_bytes: int
    """The size of all stored states as in `runs --checkpoints`, without their index; a file that several runs
    share counts once."""
    replays: int
    """Replays with a report."""
    completed_replays: int
    """Replays that finished, with a verdict other than UNVERIFIED."""
    latency_ms: float | None
    """The median duration of the replays whose report has one."""
    forks: int
    """Forked and resumed runs that could be compared with their origin."""
    diverged_forks: int
    """Forks that differ from their origin."""
    unread: tuple[str, ...] = ()
    """Reports and forks that could not be read or compared, and why."""

    @property
    def checkpoint_success_rate(self) -> float | None:
        """The share of runs with checkpoints that can all be loaded."""
        return _part(self.checkpointed_runs, self.runs)

    @property
    def replay_success_rate(self) -> float | None:
        """The share of replays that finished."""
        return _part(self.completed_replays, self.replays)

    @property
    def divergence_rate(self) -> float | None:
        """The share of forks that differ from their origin."""
        return _part(self.diverged_forks, self.forks)

    def to_dict(self) -> dict[str, Any]:
        """Return counts and rates as JSON values."""
        rates = ("checkpoint_success_rate", "replay_success_rate", "divergence_rate")
        return asdict(self) | {name: getattr(self, name) for name in rates}


def replay_metrics(
    root: str | os.PathLike[str] | None = None, progress: Callable[[float], None] = lambda _: None
) -> ReplayMetrics:
    """Read every checkpoint and report under a root, and compare every fork with its origin.

    Args:
        root: the trace root; by default the configured one, then ./trace.
        progress: called with the share of sessions that are done.
    """
    directory = Path(root) if root is not None else default_root()
    sessions = [ref.path for ref in readable_sessions(directory)]
    runs, good, size = 0, 0, 0
    done: list[tuple[bool, float | None]] = []
    forks: list[bool] = []
    unread: list[str] = []
    for number, session in enumerate(sessions, start=1):
        lineage = lineage_of(session)
        if lineage is None:
            own, sound = _checkpointed(directory, session)
            runs, good = runs + own, good + sound
        else:
            try:
                forks.append(bool(compare_runs(lineage.run, lineage.run_id, directory)))
            except InputError as error:
                unread.append(f"fork {lineage.run_id}: {error}")
        size += _stored_bytes(session)
        done += _reports(session, unread)
        progress(number / len(sessions))
    times = [each for _, each in done if each is not None]
    return ReplayMetrics(
        runs,
        good,
        size,
        len(done),
        sum(completed for completed, _ in done),
        median(times) if times else None,
        len(forks),
        sum(forks),
        tuple(unread),
    )


def _part(count: int, of: int) -> float | None:
    return count / of if of else None


def _checkpointed(root: Path, session: Path) -> tuple[int, int]:
    names = {each.run_id for each in list_runs(root, session.name)}
    with LocalCheckpointStore(session) as store:
        kept = names & set(store.runs())
        sound = sum(not any(problem.step_id for problem in store.check(run_id)) for run_id in kept)
    return len(names), sound


def _stored_bytes(session: Path) -> int:
    """Return the size of a session's state files; a file with several hard links counts once."""
    seen = {}
    for run in run_dirs(session):
        for path in files_below(run / "checkpoints"):
            if not path.name.startswith("index."):
                status = path.stat()
                seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())


def _reports(session: Path, unread: list[str]) -> Iterator[tuple[bool, float | None]]:
    """Yield whether each replay finished, and its duration in milliseconds if recorded."""
    replays = [directory for run in run_dirs(session) for directory in entries_in(run / "replays")]
    for path in [
        path for directory in replays for path in entries_in(directory) if path.name == "report.json"
    ]:
        try:
            report = orjson.loads(read_file(path))
            completed = report.get("completed", True) and report["verdict"] != "UNVERIFIED"
            took = report.get("duration_ms")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            unread.append(f"{path}: {type(error).__name__}")
            continue
        yield bool(completed), float(took) if isinstance(took, (int, float)) else None
