"""How a run ended, as its events and the claims of its writers say: what retention of checkpoints goes by."""

from __future__ import annotations

from pathlib import Path

from Agent.errors import RunNotFound
from Agent.flight.open_runs.fold import RunFold
from Agent.tree.files.writer_claim import read_claims
from Agent.tree.read.reader import TreeReader

__all__ = ["is_written_by_somebody", "recorded_outcome"]


def is_written_by_somebody(fold: RunFold) -> bool:
    """Whether a process that wrote events of the run still runs."""
    claims = read_claims(fold.session)
    return any(claims[writer].is_alive() for writer in fold.writers if writer in claims)


def recorded_outcome(session: Path, run_id: str) -> str | None:
    """How a run ended by its events: `success` or another status, `crashed`, `running`; None without any."""
    fold = RunFold(run_id, session, keeps_rows=False)
    try:
        for event in TreeReader(session).run_events(run_id):
            fold.add(event)
    except RunNotFound:
        return None  # a run by its checkpoints alone
    fold.is_alive = is_written_by_somebody(fold)
    summary = fold.summary()
    if summary.state == "root":
        return None
    return "success" if summary.ok else summary.state
