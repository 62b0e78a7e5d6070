"""Bridges from other libraries: `logging`, structlog, spans of OpenTelemetry. Names only.

The extras `[bridges]` and `[otel]` install the libraries; each name loads its own library on first use.
"""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.record.bridges.logging_bridge import TraceHandler
    from Agent.record.bridges.otel_bridge import AgentTraceSpanProcessor
    from Agent.record.bridges.structlog_bridge import structlog_processor, structlog_renderer

__all__ = ["AgentTraceSpanProcessor", "structlog_processor", "structlog_renderer", "TraceHandler"]

_HOMES = {
    "Agent.record.bridges.logging_bridge": "TraceHandler",
    "Agent.record.bridges.otel_bridge": "AgentTraceSpanProcessor",
    "Agent.record.bridges.structlog_bridge": "structlog_processor structlog_renderer",
}

__getattr__ = _lazy_names(__name__, _HOMES)
