"""Analysis: from the files of one session to journeys, curves, patterns, causal chains and debug reports.

Start at `analyzer`, the thin facade. `session` finds the session, `engine` and `views` put SQL over its
files, each question has its own module (`activity`, `journeys`, `states`, `learning`, `interactions`,
`performance`, `failures`, `timeline`, `causality`, `comparison`), and `report` and `debug` combine the
answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.analysis.analyzer import LogAnalyzer
    from Agent.analysis.debug import DebugReport, debug_issue
    from Agent.analysis.report import analyze_session

__all__ = ["DebugReport", "LogAnalyzer", "analyze_session", "debug_issue"]

_HOMES = {
    "DebugReport": "Agent.analysis.debug",
    "LogAnalyzer": "Agent.analysis.analyzer",
    "analyze_session": "Agent.analysis.report",
    "debug_issue": "Agent.analysis.debug",
}


def __getattr__(name: str) -> Any:
    """The public names, each loaded from its module when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value
