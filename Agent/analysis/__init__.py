"""Explain: from the files of one session to journeys, curves, patterns, causal chains and a debug report.

Start at `analyzer`, the thin face. `session` finds what is asked about, `query` puts SQL over its files, each
question has its package (`journeys`, `learning`, `interactions`, `performance`, `errors`, `causality`,
`compare`), and `report` and `debug` put the answers together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.analysis.analyzer import LogAnalyzer
    from Agent.analysis.debug.debug_issue import DebugReport, debug_issue
    from Agent.analysis.report.session_report import analyze_session

__all__ = ["DebugReport", "LogAnalyzer", "analyze_session", "debug_issue"]

_HOMES = {
    "DebugReport": "Agent.analysis.debug.debug_issue",
    "LogAnalyzer": "Agent.analysis.analyzer",
    "analyze_session": "Agent.analysis.report.session_report",
    "debug_issue": "Agent.analysis.debug.debug_issue",
}


def __getattr__(name: str) -> Any:
    """The public names, each loaded from its module when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value
