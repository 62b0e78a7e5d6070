"""The demo recorded: sets up a session, runs the platform in it, closes it; commands and tests begin here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from Agent import setup_logging, shutdown_logging
from Agent.demo.platform import Outcome, Settings, run_demo
from Agent.tree.files.session import update_session

TARGET = "Agent.demo.targets:creator"
"""What replays a creator; the session remembers it for each."""


@dataclass(frozen=True)
class DemoRecording:
    """A finished recording: where it lies and what really happened in it."""

    session_id: str
    session: Path
    settings: Settings
    outcome: Outcome


def record_session(
    root: Path, settings: Settings, progress: Callable[[int], None] = lambda _: None
) -> DemoRecording:
    """Runs the simulation as one session under `root`; `progress` hears the number of each tick.

    Raises:
        ConfigurationError: the root cannot be written, or the environment holds a wrong setting.
    """
    session = setup_logging(trace_root=root, level="DEBUG")
    try:
        outcome = run_demo(settings, progress)
    finally:
        shutdown_logging()
    update_session(session.path, targets=dict.fromkeys(outcome.last_published, TARGET))
    return DemoRecording(session.session_id, session.path, settings, outcome)
