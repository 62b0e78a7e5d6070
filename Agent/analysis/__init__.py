"""Analyse one session: journeys, learning curves, error patterns, causal chains and debug reports.

Start at `analyzer`, the facade. `session` finds the session, `query` runs SQL over its files, `questions` has
a module for each kind of analysis, `causality` follows links, and `report` and `debug` combine the answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.analysis.analyzer import LogAnalyzer
    from Agent.analysis.debug.debug_issue import DebugReport, debug_issue
    from Agent.analysis.report.session_report import analyze_session

__all__ = ["DebugReport", "LogAnalyzer", "analyze_session", "debug_issue"]

_HOMES = {
    "analyzer": "LogAnalyzer",
    "debug.debug_issue": "debug_issue DebugReport",
    "report.session_report": "analyze_session",
}

__getattr__ = _lazy_names(__name__, _HOMES)
