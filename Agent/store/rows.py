"""The records of the wire under the names that rows go by, and what became of a batch of them."""

from __future__ import annotations

from typing import NamedTuple

from Agent.export.messages import EventMessage as EventRow
from Agent.export.messages import FailureMessage as FailureRow
from Agent.export.messages import RunMessage as RunRow
from Agent.export.messages import StepMessage as StepRow

__all__ = ["EventRow", "FailureRow", "Ingested", "RunRow", "StepRow"]


class Ingested(NamedTuple):
    """What became of a batch that was committed."""

    accepted: int
    """Events that were not there before."""
    duplicates: int
    runs: int
    runs_new: int
    """Runs that were not there before."""
