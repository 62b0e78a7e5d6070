"""Ids of checkpoints: one text that names run, step and agent, and can stand in a URL as it is.

`saved_points.py` gives and takes them.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote

from Agent.errors import UsageError


class CheckpointName(NamedTuple):
    """What an id stands for."""

    run: str
    """A run's id; a session's, for its root run."""
    step_id: str
    agent_id: str | None = None

    def __str__(self) -> str:
        parts = (self.run, self.step_id) if self.agent_id is None else self
        return ":".join(quote(part, safe="") for part in parts if part is not None)


def parse_checkpoint_id(checkpoint_id: str) -> CheckpointName:
    """What an id stands for.

    Raises:
        UsageError: it is none.
    """
    parts = [unquote(part) for part in str(checkpoint_id).split(":")]
    if len(parts) not in {2, 3} or not parts[0]:
        raise UsageError(
            f"{checkpoint_id!r} is not an id of a checkpoint",
            remedy="auto_checkpoint_trace and list_checkpoints give them: RUN:STEP or RUN:STEP:AGENT",
        )
    return CheckpointName(*parts)
