"""What lower packages need of higher ones: connected when the package is imported, loaded when it is needed.

Commands and analysis load no code of recording; the first module of it that is loaded loads `first_event.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from Agent import record
from Agent.analysis.debug import experiment_seam
from Agent.tree import default_root

if TYPE_CHECKING:
    from pathlib import Path

    from Agent.analysis.debug.experiment_seam import CauseTester, HowToTest, Measurable


def _configured_root() -> Path:
    from Agent.config.load import configured_root

    return configured_root()


def _open_encrypted(session: Path) -> Path:
    from Agent.archive.encrypted import open_encrypted
    from Agent.config.keys import session_key

    key = session_key(session.parent)
    if key is None:
        raise default_root.no_key(session)
    return open_encrypted(session, key)


def _trials(session: Path, complaint: Measurable, how: HowToTest) -> CauseTester:
    from Agent.replay.forks.interventions import DEFAULT_SEEDS, CauseExperiments

    return CauseExperiments(
        session,
        complaint.sort,
        complaint.series,
        complaint.agents,
        outcome=how.outcome,
        target=how.target,
        live=how.live,
        worse=complaint.worse,
        seeds=DEFAULT_SEEDS if how.seeds is None else how.seeds,
        timeout_seconds=how.timeout_seconds,
    )


def _load_first_event() -> None:
    # Not by the first event itself: it may be deep in the stack, or in a fork made by another thread.
    import Agent.config.first_event  # noqa: F401


default_root.find = _configured_root
default_root.open_encrypted = _open_encrypted
experiment_seam.find = _trials
record.on_load = _load_first_event
