"""Record, explain and replay agents and multi-agent simulations from plain files.

Importing the package loads the decorators and loggers only, and creates nothing on disk: the first event does
the rest.
"""

from typing import TYPE_CHECKING, Any

from Agent.config.first_event import begin_by_default as _begin_by_default
from Agent.record.emit import installed as _installed
from Agent.record.emit.context import caused_by, tick
from Agent.record.tracing.instrument import instrument
from Agent.utils import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    PerformanceLogger,
    ResourceSampler,
    SystemLogger,
    measure_performance,
    trace_agent_action,
    trace_context,
    trace_errors,
    trace_learning_update,
    trace_performance,
)
from Agent.version import __version__

if TYPE_CHECKING:
    from Agent.analysis import DebugReport, LogAnalyzer, analyze_session, debug_issue
    from Agent.config.logging_config import health, setup_logging, shutdown_logging
    from Agent.record.messages import receive, send

__all__ = [
    "__version__",
    "AgentLogger",
    "analyze_session",
    "caused_by",
    "debug_issue",
    "DebugReport",
    "health",
    "instrument",
    "InteractionLogger",
    "LearningLogger",
    "LogAnalyzer",
    "measure_performance",
    "PerformanceLogger",
    "receive",
    "ResourceSampler",
    "send",
    "setup_logging",
    "shutdown_logging",
    "SystemLogger",
    "tick",
    "trace_agent_action",
    "trace_context",
    "trace_errors",
    "trace_learning_update",
    "trace_performance",
]

_installed.bootstrap = _begin_by_default

_LATER = {
    "analyze_session": "Agent.analysis",
    "debug_issue": "Agent.analysis",
    "DebugReport": "Agent.analysis",
    "health": "Agent.config.logging_config",
    "LogAnalyzer": "Agent.analysis",
    "receive": "Agent.record.messages",
    "send": "Agent.record.messages",
    "setup_logging": "Agent.config.logging_config",
    "shutdown_logging": "Agent.config.logging_config",
}


def __getattr__(name: str) -> Any:
    """The names of analysis, set-up and messages, loaded when they are first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
