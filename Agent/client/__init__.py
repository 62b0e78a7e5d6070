"""The client for agents whose runs are also sent to a service. Names only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.client.agent_run import AgentRun, AgentStep
    from Agent.client.tracer import AgentTracer

__all__ = [
    "AgentRun",
    "AgentStep",
    "AgentTracer",
]

_HOMES = {
    "AgentRun": "agent_run",
    "AgentStep": "agent_run",
    "AgentTracer": "tracer",
}


def __getattr__(name: str) -> Any:
    """A name, whose module is loaded when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value
