"""Record, explain and replay agents and multi-agent simulations from plain files.

Importing the package loads nothing heavy and creates nothing on disk: the first event does.
"""

from typing import TYPE_CHECKING, Any

from Agent.config.logging_config import begin_by_default as _begin_by_default
from Agent.config.logging_config import health, setup_logging, shutdown_logging
from Agent.record import pipeline as _pipeline
from Agent.record.context import caused_by, tick
from Agent.record.instrument import instrument
from Agent.record.messages import receive, send
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

_pipeline.bootstrap = _begin_by_default


def __getattr__(name: str) -> Any:
    """The names of analysis, loaded when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from Agent import analysis

    return getattr(analysis, name)
