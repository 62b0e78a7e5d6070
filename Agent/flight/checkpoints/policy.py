"""When a checkpoint is due, and how long it is kept: two values used by the recorder and `prune`.

Both are told what happened; neither reads a clock or a disk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from Agent.errors import UsageError
from Agent.event.clock import parse_timestamp
from Agent.event.values.digest import digest_bytes
from Agent.flight.checkpoints.model import CheckpointInfo

__all__ = ["CheckpointPolicy", "CheckpointTrigger", "RetentionPolicy"]

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
