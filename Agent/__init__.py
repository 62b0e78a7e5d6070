"""Record, explain and replay agents and multi-agent simulations from plain files.

Importing the package creates nothing on disk, and each name is loaded when it is first used. Decorators and
loggers load only themselves; the first event loads the rest of recording.
"""

from typing import TYPE_CHECKING

# The hooks of `process` run in the order of their registration; `seams` connects the packages.
from Agent.config import process as _process  # noqa: F401
from Agent.config import seams as _seams  # noqa: F401
from Agent.lazy_names import lazy_names as _lazy_names
from Agent.version import __version__

if TYPE_CHECKING:
    from Agent.analysis import DebugReport, LogAnalyzer, analyze_session, debug_issue
    from Agent.config.logging_config import health, setup_logging, shutdown_logging
    from Agent.record.emit.context import caused_by
    from Agent.record.emit.installed import tick
    from Agent.record.messages import adopt, carry, receive, send
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

__getattr__ = _lazy_names(
    __name__,
    {
        "Agent.analysis": "analyze_session debug_issue DebugReport LogAnalyzer",
        "Agent.config.logging_config": "health setup_logging shutdown_logging",
        "Agent.record.emit.context": "caused_by",
        "Agent.record.emit.installed": "tick",
        "Agent.record.messages": "adopt carry receive send",
        "Agent.record.tracing.instrument": "instrument",
        "Agent.utils": """
            AgentLogger InteractionLogger LearningLogger PerformanceLogger ResourceSampler SystemLogger
            measure_performance trace_agent_action trace_context trace_errors trace_learning_update
            trace_performance
        """,
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
