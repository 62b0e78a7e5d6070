"""The client for agents whose runs are also sent to a service. Names only."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

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

__getattr__ = _lazy_names(__name__, _HOMES)
