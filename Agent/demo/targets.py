"""Targets: a creator as it was, with the bug repaired, or with a changed learner; or the whole platform.

Each is a `factory(spec)`; its name on a command line is, for example, `Agent.demo.targets:creator`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from Agent.demo.creators import Arm, Creator, TrendError, TrendTimeout
from Agent.demo.platform import Platform

SECONDS_PER_TICK = 6 * 3_600


def to_ticks(seconds: int) -> int:
    """The number of ticks that a number of seconds takes, rounded up."""
    return -(-seconds // SECONDS_PER_TICK)


class RepairedCreator(Creator):
    """A creator that treats a quota's `retry_after` as seconds."""

    def ticks_to_wait(self, error: TrendError) -> int:
        """The number of ticks to wait after a failure of the trend service."""
        return error.retry_after if isinstance(error, TrendTimeout) else to_ticks(error.retry_after)


class ForgetfulCreator(Creator):
    """A creator that weights recent rewards more: one changed line, which changes its behaviour over time."""

    def step_size(self, arm: Arm) -> float:
        """The step size for one reward: at least 0.2."""
        return max(0.2, 1 / self.counts[arm])


def creator(spec: Any) -> Creator:
    """The creator as it is in the demo."""
    return _build(Creator, spec)


def repaired_creator(spec: Any) -> Creator:
    """The creator with the planted bug repaired."""
    return _build(RepairedCreator, spec)


def changed_creator(spec: Any) -> Creator:
    """The creator with another step size in its learner."""
    return _build(ForgetfulCreator, spec)


def platform(spec: Any) -> dict[str, Any]:
    """The whole simulation, with all its agents inside."""
    return {"platform": Platform(spec.of("platform").state["settings"]), **spec.nested}


def _build(cls: Callable[..., Creator], spec: Any) -> Creator:
    """Build a creator whose trend service returns recorded responses; replay restores its recorded state."""
    return cls(spec.agent_id, seed="", trends=spec.peer("trend_service"), deliver=lambda _message: None)
