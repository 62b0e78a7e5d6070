"""Bridges from other logging libraries: a handler for `logging`, a processor for structlog. Names only.

The extra `[bridges]` installs the libraries; each name loads its own library on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.record.bridges.logging_bridge import TraceHandler
    from Agent.record.bridges.structlog_bridge import structlog_processor, structlog_renderer

__all__ = ["structlog_processor", "structlog_renderer", "TraceHandler"]


def __getattr__(name: str) -> Any:
    """The names of a bridge, loaded when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    bridge = "logging_bridge" if name == "TraceHandler" else "structlog_bridge"
    return getattr(import_module(f"Agent.record.bridges.{bridge}"), name)
