"""Public names of the client, for agents whose runs are also sent to a service."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.client.otlp import export_otlp
    from Agent.client.tracer import AgentRun, AgentStep, AgentTracer

__all__ = ["AgentRun", "AgentStep", "AgentTracer", "export_otlp"]

_HOMES = {
    "otlp": "export_otlp",
    "tracer": "AgentRun AgentStep AgentTracer",
}

__getattr__ = _lazy_names(__name__, _HOMES)
