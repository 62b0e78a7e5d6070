"""Bridges from other libraries: `logging`, structlog, spans of OpenTelemetry. Names only.

The extras `[bridges]` and `[otel]` install the libraries; each name loads its own library on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.record.bridges.logging_bridge import TraceHandler
    from Agent.record.bridges.otel_bridge import AgentTraceSpanProcessor
    from Agent.record.bridges.structlog_bridge import structlog_processor, structlog_renderer

__all__ = ["AgentTraceSpanProcessor", "structlog_processor", "structlog_renderer", "TraceHandler"]

_BRIDGES = {"TraceHandler": "logging_bridge", "AgentTraceSpanProcessor": "otel_bridge"}


def __getattr__(name: str) -> Any:
    """The names of a bridge, loaded when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    bridge = _BRIDGES.get(name, "structlog_bridge")
    return getattr(import_module(f"Agent.record.bridges.{bridge}"), name)
