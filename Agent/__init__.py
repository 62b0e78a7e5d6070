"""Record, explain and replay agents and multi-agent simulations from plain files.

Importing the package loads the decorators and loggers only, and creates nothing on disk: the first event does
the rest.
"""

from typing import TYPE_CHECKING

from Agent.config.first_event import begin_by_default as _begin_by_default
from Agent.lazy_names import lazy_names as _lazy_names
from Agent.record.emit import installed as _installed
from Agent.record.emit.context import caused_by
from Agent.record.emit.installed import tick
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
    from Agent.record.messages import adopt, carry, receive, send

__all__ = [
    "__version__",
    "adopt",
    "AgentLogger",
    "analyze_session",
    "carry",
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

__getattr__ = _lazy_names(
    __name__,
    {
        "Agent.analysis": "analyze_session debug_issue DebugReport LogAnalyzer",
        "Agent.config.logging_config": "health setup_logging shutdown_logging",
        "Agent.record.messages": "adopt carry receive send",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
