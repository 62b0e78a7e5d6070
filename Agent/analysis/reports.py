"""Reports that need no option of their own: each is a function of an engine and a row of `REPORTS`.

A row makes the command, its line in `--help`, the page of the viewer and the service, and what
`LogAnalyzer.report` returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from Agent.analysis.query.views import QueryEngine
    from Agent.render.blocks import Section


class Report(NamedTuple):
    """One report on a session, or on many sealed ones."""

    name: str
    """Of the command, of `LogAnalyzer.report`, and in the address of the page."""
    summary: str
    """Its line in `--help`."""
    about: str
    """What it shows, for `agent-trace NAME --help`."""
    asks: str
    """`module:function` within this package, which takes an engine and returns a dict that JSON can hold."""
    draws: str
    """`module:function` that takes this dict and returns its sections, none if nothing was recorded."""
    nothing: str
    """What the command says if there is no section, with a remedy."""

    def ask(self, engine: QueryEngine) -> dict[str, Any]:
        """Return the report as data."""
        report: dict[str, Any] = _function(self.asks)(engine)
        return report

    def sections(self, report: dict[str, Any]) -> Iterator[Section]:
        """Return the sections of a report."""
        sections: Iterator[Section] = _function(self.draws)(report)
        return sections


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(f"Agent.analysis.{module}"), function)


REPORTS: Final = {
    each.name: each
    for each in (
        Report(
            "performance",
            "Show where the time goes.",
            "Every operation with its quantiles and its own time (without what was measured inside it), "
            "operations that became slower or faster, the slowest spans with what happened in them, "
            "throughput and resources.",
            "questions.performance:performance_report",
            "report.details:performance_sections",
            "nothing was measured; trace_performance and trace_agent_action measure",
        ),
    )
}
"""All of them by name."""
