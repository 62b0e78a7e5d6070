"""How checkpoints, replays and forks under a trace root are doing: counted from what they left there."""

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
from Agent.tree.layout import entries_in, files_below, list_sessions, read_file, run_dirs


@dataclass(frozen=True, slots=True)
class ReplayMetrics:
    """Counts; each rate is None where there is nothing to divide by."""

    runs: int
    """Recorded runs, without root runs and forks."""
    checkpointed_runs: int
    """Those with checkpoints, all of which can be loaded."""
    storage_bytes: int
    """Of all stored states, as `runs --checkpoints` counts them, without their index; what several runs share
    counts once."""
    replays: int
    """Replays that left a report."""
    completed_replays: int
    """Those that came to their end: for verdicts, to one other than UNVERIFIED."""
    latency_ms: float | None
    """The median of those that say how long they took."""
    forks: int
    """Forked and resumed runs that could be compared with their origin."""
    diverged_forks: int
    unread: tuple[str, ...] = ()
    """Reports and forks that could not be read or compared, and why."""

    @property
    def checkpoint_success_rate(self) -> float | None:
        """The part of runs that were checkpointed."""
        return _part(self.checkpointed_runs, self.runs)

    @property
    def replay_success_rate(self) -> float | None:
        """The part of replays that came to their end."""
        return _part(self.completed_replays, self.replays)

    @property
    def divergence_rate(self) -> float | None:
        """The part of forks that differ from their origin."""
        return _part(self.diverged_forks, self.forks)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, rates among them."""
        rates = ("checkpoint_success_rate", "replay_success_rate", "divergence_rate")
        return asdict(self) | {name: getattr(self, name) for name in rates}


def replay_metrics(
    root: str | os.PathLike[str] | None = None, progress: Callable[[float], None] = lambda _: None
) -> ReplayMetrics:
    """Read every checkpoint and report under a root, and compare every fork with its origin.

    Args:
        root: the trace root; the one configured, then ./trace without it.
        progress: hears the share of sessions that are done.
    """
    place = Path(root) if root is not None else default_root()
    sessions = [ref.path for ref in list_sessions(place)]
    runs, good, size = 0, 0, 0
    done: list[tuple[bool, float | None]] = []
    forks: list[bool] = []
    unread: list[str] = []
    for number, session in enumerate(sessions, start=1):
        lineage = lineage_of(session)
        if lineage is None:
            own, sound = _checkpointed(place, session)
            runs, good = runs + own, good + sound
        else:
            _compare(lineage.run, lineage.run_id, place, forks, unread)
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


def _compare(origin: str, fork: str, root: Path, forks: list[bool], unread: list[str]) -> None:
    try:
        forks.append(bool(compare_runs(origin, fork, root)))
    except InputError as error:
        unread.append(f"fork {fork}: {error}")


def _stored_bytes(session: Path) -> int:
    """Bytes of the files that hold states, each file once however many names it has."""
    seen = {}
    for run in run_dirs(session):
        for path in files_below(run / "checkpoints"):
            if not path.name.startswith("index."):
                found = path.stat()
                seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def _reports(session: Path, unread: list[str]) -> Iterator[tuple[bool, float | None]]:
    """Whether each replay came to its end, and how long it took in milliseconds, where it says so."""
    replays = [place for run in run_dirs(session) for place in entries_in(run / "replays")]
    for path in [path for place in replays for path in entries_in(place) if path.name == "report.json"]:
        try:
            told = orjson.loads(read_file(path))
            completed = told.get("completed", True) and told["verdict"] != "UNVERIFIED"
            took = told.get("duration_ms")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            unread.append(f"{path}: {type(error).__name__}")
            continue
        yield bool(completed), float(took) if isinstance(took, (int, float)) else None
