"""The types of checkpoints, and the policies for saving and keeping them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol, runtime_checkable

from Agent.errors import UsageError
from Agent.event.clock import parse_timestamp
from Agent.event.values.digest import digest_bytes

ABOUT: Final = ("agent_version", "code", "tick", "phase", "reason", "event_id")
"""The optional fields of a checkpoint that are stored with every copy of it."""


STEP_EVENT: Final = "step_event"
"""The `step_type` of steps recorded from a `StepEvent`."""


@dataclass(slots=True)
class StepEvent:
    """One completed step of an agent, with everything that is needed to repeat it."""

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
        """All fields except `step_id`, which are recorded as the output of the step."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "step_id"}

    @classmethod
    def of(cls, source: object) -> StepEvent:
        """Make a step from an object or mapping with these names; raises TypeError without `step_id`."""
        if isinstance(source, cls):
            return source
        fields = _fields_of(source, cls.__dataclass_fields__)
        if "step_id" not in fields:
            raise TypeError(f"a step needs a step_id: {type(source).__name__} has none")
        return cls(**fields)

    def checkpoint(self, run_id: str, **more: Any) -> Checkpoint:
        """The checkpoint of the output state; `more` sets further fields of `Checkpoint`."""
        return Checkpoint(run_id, self.step_id, self.output_state, timestamp=self.timestamp, **more)


@dataclass(slots=True)
class Checkpoint:
    """The complete state after one step, of one agent or of a whole simulation.

    A loaded checkpoint holds Python values, with an `Unrestored` for each value that could not be restored.
    """

    run_id: str
    step_id: str
    state: Any = None
    messages: list[Any] = field(default_factory=list)
    tool_calls: list[Any] = field(default_factory=list)
    agent_id: str | None = None
    """None for the whole simulation, or for a run with one agent."""
    timestamp: datetime | None = None
    """The time of saving, UTC; None for now."""
    agent_version: str | None = None
    code: str | None = None
    """The digest of the code that ran, as in `code` events."""
    tick: int | None = None
    phase: str | None = None
    reason: str | None = None
    """Why it was saved: step, tick, time, phase, error, or the caller's reason."""
    event_id: str | None = None
    """The last event whose changes the state includes; later events are folded onto it."""
    info: CheckpointInfo | None = field(default=None, compare=False, repr=False)
    """How it is stored; set on a loaded checkpoint."""
    unrestored: tuple[str, ...] = field(default=(), compare=False)
    """Pointers below `state`, `messages`, `tool_calls` of the values that could not be restored."""

    @classmethod
    def of(cls, source: object) -> Checkpoint:
        """Make a checkpoint from an object or mapping with these names.

        Raises:
            TypeError: it has no `run_id`, `step_id` or `state`.
        """
        if isinstance(source, cls):
            return source
        fields = _fields_of(source, set(cls.__dataclass_fields__) - {"info", "unrestored"})
        lacking = [name for name in ("run_id", "step_id", "state") if name not in fields]
        if lacking:
            raise TypeError(f"a checkpoint needs {' and '.join(lacking)}: {type(source).__name__} has none")
        return cls(**fields)


def _fields_of(source: object, names: Iterable[str]) -> dict[str, Any]:
    """{name: value} for the names that a mapping or an object has."""
    if isinstance(source, Mapping):
        return {name: source[name] for name in names if name in source}
    return {name: getattr(source, name) for name in names if hasattr(source, name)}


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """Facts about a stored checkpoint that can be read without its state."""

    run_id: str
    step_id: str
    agent_id: str | None
    timestamp: str
    """RFC 3339, UTC."""
    kind: str
    """`snapshot` or `delta`."""
    size_bytes: int
    """The disk space that it added: its frame, and the chunks that are new in the run."""
    state_bytes: int
    """The length of the complete state as JSON."""
    digest: str
    """The digest of that JSON."""
    chain_length: int = 0
    """The number of deltas from its full snapshot to it, including its own; 0 for a snapshot."""
    agent_version: str | None = None
    code: str | None = None
    tick: int | None = None
    phase: str | None = None
    reason: str | None = None
    event_id: str | None = None
    opaque: int = 0
    """The number of its values that cannot be restored."""


@dataclass(frozen=True, slots=True)
class CheckpointProblem:
    """A checkpoint that cannot be loaded, or a file that belongs to no checkpoint."""

    path: str
    reason: str
    step_id: str | None = None
    agent_id: str | None = None


@dataclass(slots=True)
class Removed:
    """The result of a removal."""

    checkpoints: int = 0
    runs: int = 0
    size_bytes: int = 0
    """Bytes freed on the disk, less the bytes that were rewritten."""
    waiting: int = 0
    """Checkpoints that are no longer listed, but still on the disk, because a process writes to their chain.
    After it has ended, the next removal or `prune` deletes their bytes."""
    damaged: int = 0
    """Remaining checkpoints that could not be loaded before the removal either; see `check`."""

    def add(self, other: Removed) -> None:
        """Add the counts of another removal."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@runtime_checkable
class CheckpointStore(Protocol):
    """The interface of a checkpoint store; `LocalCheckpointStore` implements it on the local disk."""

    def save_checkpoint(
        self, checkpoint: Any, step_id: str | None = None, state: Any = None, /, **details: Any
    ) -> CheckpointInfo | None:
        """Save a `Checkpoint`, or `run_id, step_id, state` with further fields by name."""

    def load_checkpoint(self, run_id: str, step_id: str, agent_id: str | None = None) -> Checkpoint:
        """Load the checkpoint of a step; raises RunNotFound, EventNotFound or DamagedInput."""

    def list_checkpoints(self, run_id: str, agent_id: str | None = None) -> list[CheckpointInfo]:
        """List the checkpoints of a run, in the order in which they were saved."""

    def delete_checkpoints(
        self, run_id: str, step_ids: Iterable[str] | None = None, agent_id: str | None = None
    ) -> Removed:
        """Remove some or all checkpoints of a run."""

    def prune(self, policy: Any) -> Removed:
        """Remove the checkpoints that a `RetentionPolicy` does not keep."""


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
    """Names of phases at whose beginning a checkpoint is due; `*` for all."""
    on_error: bool = True
    sample: float = 1.0
    """The fraction of runs that are checkpointed, chosen by run id; `on_error` applies to every run."""
    of: str = "agents"
    """`agents`: one checkpoint per agent, by its steps; `run`: one of the whole run, by its steps; `both`."""

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
        """Whether the run is in the sample; the result is the same in every process."""
        share = int(digest_bytes(run_id.encode("utf-8", "surrogatepass")), 16) / (1 << 64)
        return share < self.sample

    def trigger(self, run_id: str) -> CheckpointTrigger:
        """Create the trigger for a run, or for one agent in it."""
        return CheckpointTrigger(self, is_sampled=self.samples(run_id))


@dataclass(slots=True)
class CheckpointTrigger:
    """Decides at each step of one run or agent whether a checkpoint is due."""

    policy: CheckpointPolicy
    is_sampled: bool = True
    _steps: int = 0
    _tick: int | None = None
    _phase: str | None = None
    _last_saved_ns: int | None = None

    def due(
        self,
        now_ns: int,
        *,
        tick: int | None = None,
        phase: str | None = None,
        error: bool = False,
        steps: int = 1,
    ) -> str | None:
        """Return why a checkpoint is due after this step: error, phase, tick, step or time; None if not due.

        Args:
            now_ns: the time of a monotonic clock.
            tick: the tick of the simulation.
            phase: the phase of the step.
            error: whether the step failed.
            steps: the number of steps that ended; 0 if only a tick ended.
        """
        policy = self.policy
        self._steps += steps
        if self._last_saved_ns is None:
            self._last_saved_ns = now_ns
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
        elif policy.every_seconds and now_ns - self._last_saved_ns >= policy.every_seconds * 1e9:
            reason = "time"
        if reason is not None:
            self._steps, self._last_saved_ns = 0, now_ns
            self._tick = self._tick if tick is None else tick
        return reason


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Which checkpoints `prune` keeps; any given condition is sufficient for removal.

    A run counts as failed if its `run.finished` event says so, or if it has none and its process has ended.
    Without run events, it failed if one of its checkpoints was saved after an error.
    """

    keep_days: float | None = 14.0
    """All checkpoints of a run are removed when the last one is older; None: never."""
    keep_failed_days: float | None = 90.0
    """The same for failed runs; at least `keep_days`."""
    keep_last: int | None = None
    """How many of the last checkpoints of each agent in a successful run are kept; None: all."""
    keep_last_failed: int | None = None
    """The same for failed runs."""
    keep_reasons: frozenset[str] = field(default=frozenset({"error", "phase"}))
    """Checkpoints saved for these reasons are kept beyond `keep_last`."""

    def __post_init__(self) -> None:
        for name in ("keep_days", "keep_failed_days", "keep_last", "keep_last_failed"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"{name} is {value}", remedy="give 0 or more, or None")
        if self.keep_days is not None and self.keep_failed_days is not None:
            longer = max(self.keep_days, self.keep_failed_days)
            # A user who raises `keep_days` alone still keeps failed runs at least as long as successful ones.
            object.__setattr__(self, "keep_failed_days", longer)

    def drops_run(self, newest_us: int, now_us: int, *, failed: bool) -> bool:
        """Whether all checkpoints of a run are removed, given the time of the last one."""
        days = self.keep_failed_days if failed else self.keep_days
        return days is not None and now_us - newest_us > days * _DAY_US

    def dropped(self, infos: Sequence[CheckpointInfo], *, failed: bool) -> list[CheckpointInfo]:
        """The checkpoints to remove from a run that is kept; the last one of each agent always stays."""
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
    """Whether a run failed: by its outcome, or if that is unknown, by a checkpoint saved after an error."""
    if outcome is not None:
        return outcome != "success"
    return any(info.reason == "error" for info in infos)


def newest_us(infos: Iterable[CheckpointInfo]) -> int:
    """The time of the newest of these checkpoints, in microseconds since 1970; 0 if there are none."""
    return max((parse_timestamp(info.timestamp) for info in infos), default=0)
