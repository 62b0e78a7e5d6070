"""How a replay builds one creator again: as it was, with the fault repaired, and with a changed learner.

Each is a `factory(spec)`, named on a command line as `Agent.demo.targets:creator`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from Agent.demo.creators import Arm, Creator, TrendError, TrendTimeout

SECONDS_PER_TICK = 6 * 3_600


def to_ticks(seconds: int) -> int:
    """How many ticks pass until that many seconds have, rounded up."""
    return -(-seconds // SECONDS_PER_TICK)


class RepairedCreator(Creator):
    """A creator that knows that a quota's `retry_after` is in seconds."""

    def ticks_to_wait(self, error: TrendError) -> int:
        """How long to leave the trend service alone after a failure."""
        return error.retry_after if isinstance(error, TrendTimeout) else to_ticks(error.retry_after)


class ForgetfulCreator(Creator):
    """A creator whose learner weighs recent rewards more: one changed line, and behaviour drifts away."""

    def step_size(self, arm: Arm) -> float:
        """How far one reward moves the value of an arm: never less than a fifth of the way."""
        return max(0.2, 1 / self.counts[arm])


def creator(spec: Any) -> Creator:
    """The creator as it is in the demo."""
    return _build(Creator, spec)


def repaired_creator(spec: Any) -> Creator:
    """The creator with the planted fault repaired."""
    return _build(RepairedCreator, spec)


def changed_creator(spec: Any) -> Creator:
    """The creator with another step size in its learner."""
    return _build(ForgetfulCreator, spec)


def _build(cls: Callable[..., Creator], spec: Any) -> Creator:
    """One creator whose trend service returns recorded responses; replay restores its recorded state."""
    return cls(spec.agent_id, seed="", trends=spec.peer("trend_service"), deliver=lambda _message: None)
