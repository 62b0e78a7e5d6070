"""What a checkpoint is, and the policies: when to save one, and how long to keep it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol, runtime_checkable

from Agent.errors import UsageError
from Agent.event.clock import parse_timestamp
from Agent.event.values.digest import digest_bytes

ABOUT: Final = ("agent_version", "code", "tick", "phase", "reason", "event_id")
"""What is known of a checkpoint besides its place and its state, wherever it is kept."""


STEP_EVENT: Final = "step_event"
"""The type of a step that was recorded whole."""


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

    @property
    def output(self) -> dict[str, Any]:
        """What the output of its step keeps of it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "step_id"}

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
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


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


_DAY_US: Final = 86_400_000_000
_SCOPES: Final = ("agents", "run", "both")


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """When to save checkpoints; any given condition is sufficient.

    Raises:
        UsageError: an invalid number.
    """

    every_steps: int | None = None
    every_ticks: int | None = None
    every_seconds: float | None = None
    phases: Collection[str] = frozenset()
    """Names of phases that begin with one; `*` for each."""
    on_error: bool = True
    sample: float = 1.0
    """The part of all runs that is checkpointed, chosen by run id; errors are, in every run."""
    of: str = "agents"
    """`agents`: each by its own steps; `run`: all of it at once, by the steps of the run; or `both`."""

    def __post_init__(self) -> None:
        if self.of not in _SCOPES:
            raise UsageError(f"of is {self.of!r}", remedy=f"give {', '.join(_SCOPES)}")
        phases: object = self.phases
        if isinstance(phases, str):
            raise UsageError(f"phases is {self.phases!r}", remedy="give names in a list or a set")
        for name in ("every_steps", "every_ticks", "every_seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"{name} is {value}", remedy="give a number above 0, or None")
        if not 0 <= self.sample <= 1:
            raise UsageError(f"sample is {self.sample}", remedy="give a part between 0 and 1")
        object.__setattr__(self, "phases", frozenset(self.phases))

    def samples(self, run_id: str) -> bool:
        """Whether the run is among those that are checkpointed, the same in every process."""
        share = int(digest_bytes(run_id.encode("utf-8", "surrogatepass")), 16) / (1 << 64)
        return share < self.sample

    def trigger(self, run_id: str) -> CheckpointTrigger:
        """The trigger of one run, or of one agent in it."""
        return CheckpointTrigger(self, is_sampled=self.samples(run_id))


@dataclass(slots=True)
class CheckpointTrigger:
    """Says at each step whether a checkpoint is due; one for each run, or agent."""

    policy: CheckpointPolicy
    is_sampled: bool = True
    _steps: int = 0
    _tick: int | None = None
    _phase: str | None = None
    _taken_ns: int | None = None

    def due(
        self,
        now_ns: int,
        *,
        tick: int | None = None,
        phase: str | None = None,
        error: bool = False,
        steps: int = 1,
    ) -> str | None:
        """Why a checkpoint is due behind this step: error, phase, tick, step or time; None if none is.

        Args:
            now_ns: of a clock that never runs backwards.
            tick: of the simulation.
            phase: that the step belongs to.
            error: whether the step failed.
            steps: how many steps came to their end; 0 where only a tick did.
        """
        policy = self.policy
        self._steps += steps
        if self._taken_ns is None:
            self._taken_ns = now_ns
        if self._tick is None:
            self._tick = tick
        began = phase is not None and phase != self._phase
        self._phase = phase if phase is not None else self._phase
        reason = None
        if error and policy.on_error:
            reason = "error"
        elif not self.is_sampled:
            return None
        elif began and (phase in policy.phases or "*" in policy.phases):
            reason = "phase"
        elif (
            policy.every_ticks
            and tick is not None
            and self._tick is not None
            and tick // policy.every_ticks > self._tick // policy.every_ticks
        ):
            reason = "tick"
        elif policy.every_steps and self._steps >= policy.every_steps:
            reason = "step"
        elif policy.every_seconds and now_ns - self._taken_ns >= policy.every_seconds * 1e9:
            reason = "time"
        if reason is not None:
            self._steps, self._taken_ns = 0, now_ns
            self._tick = self._tick if tick is None else tick
        return reason


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Which checkpoints `prune` keeps; any given condition is sufficient for removal.

    A run failed if its end says so, if it began, never ended and its process is gone, or, if its events do
    not tell, if one of its checkpoints was saved after an error.
    """

    keep_days: float | None = 14.0
    """Runs whose last checkpoint is older go whole; None: none does."""
    keep_failed_days: float | None = 90.0
    """The same for failed runs."""
    keep_last: int | None = None
    """Of each agent in a successful run only so many of the last ones, and what `keep_reasons` says."""
    keep_last_failed: int | None = None
    """The same in failed runs."""
    keep_reasons: frozenset[str] = field(default=frozenset({"error", "phase"}))
    """Reasons for which a checkpoint stays beyond `keep_last`."""

    def __post_init__(self) -> None:
        for name in ("keep_days", "keep_failed_days", "keep_last", "keep_last_failed"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"{name} is {value}", remedy="give 0 or more, or None")
        if self.keep_days is not None and self.keep_failed_days is not None:
            longer = max(self.keep_days, self.keep_failed_days)
            # Whoever raises one and forgets the other still keeps failures at least as long.
            object.__setattr__(self, "keep_failed_days", longer)

    def drops_run(self, newest_us: int, now_us: int, *, failed: bool) -> bool:
        """Whether a run goes as a whole, by the time of its last checkpoint."""
        days = self.keep_failed_days if failed else self.keep_days
        return days is not None and now_us - newest_us > days * _DAY_US

    def dropped(self, infos: Sequence[CheckpointInfo], *, failed: bool) -> list[CheckpointInfo]:
        """Which checkpoints of a run that stays go; the last one of each agent never does."""
        keep = self.keep_last_failed if failed else self.keep_last
        if keep is None:
            return []
        by_agent: dict[str | None, list[CheckpointInfo]] = {}
        for info in infos:
            by_agent.setdefault(info.agent_id, []).append(info)
        return [
            info
            for saved in by_agent.values()
            for info in saved[: len(saved) - max(keep, 1)]
            if info.reason not in self.keep_reasons
        ]


def is_failed(outcome: str | None, infos: Iterable[CheckpointInfo]) -> bool:
    """Whether a run failed: what was said of it counts, else a checkpoint that an error caused."""
    if outcome is not None:
        return outcome != "success"
    return any(info.reason == "error" for info in infos)


def newest_us(infos: Iterable[CheckpointInfo]) -> int:
    """When the last of these checkpoints was saved, microseconds since 1970; 0 of none."""
    return max((parse_timestamp(info.timestamp) for info in infos), default=0)
