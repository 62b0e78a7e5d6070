"""The demo simulation as `benchmarks.forks` drives it: whole, through its own traced step."""

from __future__ import annotations

from typing import Any

from Agent import instrument
from Agent.demo.platform import Platform


def traced_platform() -> None:
    """Trace the platform from here on; its agents are traced anyway."""
    instrument(Platform, methods=["_tick"], agent_id=lambda _: "platform", agent_role="simulation")


def build(spec: Any) -> dict[str, Any]:
    """The target: a platform as it began, with its agents in it."""
    traced_platform()
    return {"platform": Platform(*spec.init.args, **spec.init.kwargs), **spec.nested}
