"""What the parts of one replay share; the workbench makes it when the target's objects are there."""

from __future__ import annotations

from dataclasses import dataclass

from Agent.event.model import Event
from Agent.record.emit.pipeline import LineSink, Pipeline
from Agent.replay.compare.comparison import Comparison
from Agent.replay.compare.emitted_events import Identifiers
from Agent.replay.compare.outcome import ReplayOutcome
from Agent.replay.drive.player import RecordedPlayer
from Agent.replay.drive.states import FieldRules
from Agent.replay.plan.recording import Recording
from Agent.replay.plan.target import Decoder


@dataclass(frozen=True, slots=True)
class ReplayKit:
    """What records, restores, answers and compares, and what takes the findings."""

    recording: Recording
    live: frozenset[str]
    """Agents whose code runs."""
    errors: dict[str, Event]
    """The recorded error events by id."""
    outcome: ReplayOutcome
    pipeline: Pipeline
    sink: LineSink
    decoder: Decoder
    comparison: Comparison
    identifiers: Identifiers
    fields: FieldRules
    """Which fields take part."""
    player: RecordedPlayer
