"""What a checkpoint is: a state with the step it stands behind; and the seam through which stores take it.

`values` turns it into text, `run` keeps that text, `store` has the checkpoints of a session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol, runtime_checkable

__all__ = [
    "ABOUT",
    "Checkpoint",
    "CheckpointInfo",
    "CheckpointProblem",
    "CheckpointStore",
    "Removed",
    "StepEvent",
]


ABOUT: Final = ("agent_version", "code", "tick", "phase", "reason", "event_id")
"""What is known of a checkpoint besides its place and its state, wherever it is kept."""


@dataclass(slots=True)
class StepEvent:
    """Everything that is needed to do one step of an agent again."""

    step_id: str
    input_state: dict[str, Any] = field(default_factory=dict)
    decision: str = ""
    tool_name: str = ""
    tool_args: dict[str, Any] = field(default_factory=dict)
    tool_result: Any = None
    output_state: dict[str, Any] = field(default_factory=dict)
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, source: object) -> StepEvent:
        """The step that an object or a mapping with such names describes; TypeError without `step_id`."""
        if isinstance(source, cls):
            return source
        found = _found(source, cls.__dataclass_fields__)
        if "step_id" not in found:
            raise TypeError(f"a step needs a step_id: {type(source).__name__} has none")
        return cls(**found)

    def checkpoint(self, run_id: str, **more: Any) -> Checkpoint:
        """The checkpoint behind this step: its output state; further fields of `Checkpoint` by name."""
        return Checkpoint(run_id, self.step_id, self.output_state, timestamp=self.timestamp, **more)


@dataclass(slots=True)
class Checkpoint:
    """The whole state behind one step, of one agent or of a whole simulation.

    What was loaded holds Python values; an `Unrestored` stands where a value could not be brought back.
    """

    run_id: str
    step_id: str
    state: Any = None
    messages: list[Any] = field(default_factory=list)
    tool_calls: list[Any] = field(default_factory=list)
    agent_id: str | None = None
    """None: of the whole simulation, or of a run with one agent."""
    timestamp: datetime | None = None
    """When it was saved, UTC; None: now."""
    agent_version: str | None = None
    code: str | None = None
    """Digest of the code that ran, as in the `code` events."""
    tick: int | None = None
    phase: str | None = None
    reason: str | None = None
    """Why it was taken: step, tick, time, phase, error, or what the caller says."""
    event_id: str | None = None
    """The last event that the state holds; later ones are folded onto it."""
    info: CheckpointInfo | None = field(default=None, compare=False, repr=False)
    """How it is stored, of one that was loaded."""
    unrestored: tuple[str, ...] = field(default=(), compare=False)
    """Pointers below `state`, `messages`, `tool_calls` of what could not be brought back."""

    @classmethod
    def of(cls, source: object) -> Checkpoint:
        """The checkpoint that an object or a mapping with such names describes.

        Raises:
            TypeError: it has no `run_id`, `step_id` or `state`.
        """
        if isinstance(source, cls):
            return source
        found = _found(source, set(cls.__dataclass_fields__) - {"info", "unrestored"})
        lacking = [name for name in ("run_id", "step_id", "state") if name not in found]
        if lacking:
            raise TypeError(f"a checkpoint needs {' and '.join(lacking)}: {type(source).__name__} has none")
        return cls(**found)


def _found(source: object, names: Iterable[str]) -> dict[str, Any]:
    """Those of the names that a mapping or an object has."""
    if isinstance(source, Mapping):
        return {name: source[name] for name in names if name in source}
    return {name: getattr(source, name) for name in names if hasattr(source, name)}


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What is known of a stored checkpoint without reading its state."""

    run_id: str
    step_id: str
    agent_id: str | None
    timestamp: str
    """RFC 3339, UTC."""
    kind: str
    """snapshot or delta."""
    size_bytes: int
    """What it added to the disk: its frame, and chunks that no earlier one of the run had."""
    state_bytes: int
    """Length of the whole state as JSON."""
    digest: str
    """Of that JSON."""
    chain_length: int = 0
    """Deltas between it and its full snapshot, its own included."""
    agent_version: str | None = None
    code: str | None = None
    tick: int | None = None
    phase: str | None = None
    reason: str | None = None
    event_id: str | None = None
    opaque: int = 0
    """Values in it that cannot be restored."""


@dataclass(frozen=True, slots=True)
class CheckpointProblem:
    """A checkpoint that cannot be read, or bytes that belong to none."""

    path: str
    reason: str
    step_id: str | None = None
    agent_id: str | None = None


@dataclass(slots=True)
class Removed:
    """What a removal came to."""

    checkpoints: int = 0
    runs: int = 0
    size_bytes: int = 0
    """Bytes of files that are gone, less those that were written in their place."""
    waiting: int = 0
    """Checkpoints that are no longer listed, and whose bytes go when the process that writes to their
    chain has ended: with the next removal, or `prune`."""
    damaged: int = 0
    """Checkpoints that stayed and cannot be loaded, nor could be before: `check` names what is wrong."""

    def add(self, other: Removed) -> None:
        """Take in what another removal came to."""
        self.checkpoints += other.checkpoints
        self.runs += other.runs
        self.size_bytes += other.size_bytes
        self.waiting += other.waiting
        self.damaged += other.damaged


@runtime_checkable
class CheckpointStore(Protocol):
    """Where checkpoints are kept; the local one is `LocalCheckpointStore`."""

    def save_checkpoint(
        self, checkpoint: Any, step_id: str | None = None, state: Any = None, /, **details: Any
    ) -> CheckpointInfo | None:
        """Keep a `Checkpoint`, or `run_id, step_id, state` with further fields of one by name."""

    def load_checkpoint(self, run_id: str, step_id: str, agent_id: str | None = None) -> Checkpoint:
        """The state behind a step; RunNotFound, EventNotFound or DamagedInput."""

    def list_checkpoints(self, run_id: str, agent_id: str | None = None) -> list[CheckpointInfo]:
        """The checkpoints of a run, in the order in which they were saved."""

    def delete_checkpoints(
        self, run_id: str, step_ids: Iterable[str] | None = None, agent_id: str | None = None
    ) -> Removed:
        """Remove some or all checkpoints of a run."""

    def prune(self, policy: Any) -> Removed:
        """Remove what a `RetentionPolicy` does not keep."""
