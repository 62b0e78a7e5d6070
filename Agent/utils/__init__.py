"""Loggers, decorators, blocks and analysis under the import path `Agent.utils`. Names only."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names
from Agent.record.loggers.loggers import AgentLogger
from Agent.record.loggers.program_loggers import PerformanceLogger, SystemLogger
from Agent.record.loggers.resources import ResourceSampler
from Agent.record.loggers.spans import measure_performance, trace_context
from Agent.record.loggers.typed_loggers import InteractionLogger, LearningLogger
from Agent.record.tracing.decorators import (
    trace_agent_action,
    trace_errors,
    trace_learning_update,
    trace_performance,
)

if TYPE_CHECKING:
    from Agent.analysis import DebugReport, LogAnalyzer, analyze_session, debug_issue

__all__ = [
    "AgentLogger",
    "analyze_session",
    "debug_issue",
    "DebugReport",
    "InteractionLogger",
    "LearningLogger",
    "LogAnalyzer",
    "measure_performance",
    "PerformanceLogger",
    "ResourceSampler",
    "SystemLogger",
    "trace_agent_action",
    "trace_context",
    "trace_errors",
    "trace_learning_update",
    "trace_performance",
]

__getattr__ = _lazy_names(__name__, {"Agent.analysis": "analyze_session debug_issue DebugReport LogAnalyzer"})
