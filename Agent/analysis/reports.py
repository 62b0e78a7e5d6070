"""Reports: each is a function of an engine and a row of `REPORTS`.

A row makes the command with its options, its line in `--help`, the page of the viewer and the service, and
what `LogAnalyzer.report` returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from Agent.errors import UsageError

if TYPE_CHECKING:
    from Agent.analysis.query.kept import QueryEngine
    from Agent.render.blocks import Section
    from Agent.tree.read.reader import TreeReader


class Report(NamedTuple):
    """One report on a session, or on many sealed ones."""

    name: str
    """Of the command, of `LogAnalyzer.report`, and in the address of the page."""
    summary: str
    """Its line in `--help`."""
    about: str
    """What it shows, for `agent-trace NAME --help`."""
    asks: str
    """`module:function` within this package; returns a dict that JSON can hold.

    The function takes an engine and, if it has such parameters, the `agent_id` that was asked for and the
    session's `reader`, both None for many sessions. Its keyword-only parameters are options of the command:
    the annotation is the type, and the docstring's Args section has the help.
    """
    draws: str
    """`module:function` that takes this dict and returns its sections, none if nothing was recorded."""
    nothing: str
    """What the command says if there is no section, with a remedy."""
    names_agent: bool = False
    """Whether its command takes an agent before the session."""
    examples: tuple[str, ...] = ()
    """Further examples for its help, after `agent-trace NAME`."""

    @property
    def function(self) -> Callable[..., dict[str, Any]]:
        """Return the function that makes the report."""
        function: Callable[..., dict[str, Any]] = _function(self.asks)
        return function

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """Return the parameters of the function that are options of the command."""
        parameters = inspect.signature(self.function).parameters
        return {name: each for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}

    def ask(
        self,
        engine: QueryEngine,
        agent_id: str | None = None,
        reader: TreeReader | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the report as data.

        Args:
            agent_id: the agent that it is about, if the engine is over one agent's files only.
            reader: of the session.

        Raises:
            UsageError: it does not have such an option.
        """
        options = options or {}
        unknown = next((name for name in options if name not in self.options), None)
        if unknown is not None:
            known = ", ".join(self.options) or "it has none"
            raise UsageError(
                f"the report {self.name} has no option {unknown!r}", remedy=f"its options: {known}"
            )
        wanted = inspect.signature(self.function).parameters
        about = {"agent_id": agent_id, "reader": reader}
        given = {name: value for name, value in about.items() if name in wanted}
        return self.function(engine, **given, **options)

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
            "learning",
            "Show how agents learned.",
            "Rewards and exploration over time, what changed the policy, and whether the rewards settled. "
            "For one agent, also which experience led to which update, and which later action used it.",
            "questions.learning:agent_learning",
            "report.details:learning_sections",
            "no learning events; LearningLogger and trace_learning_update record them",
            names_agent=True,
            examples=(
                "creator_001",
                "creator_001 --by time --json",
                "'*' --engine duckdb host-a/trace host-b/trace",
            ),
        ),
        Report(
            "performance",
            "Show where the time goes.",
            "Every operation with its quantiles and its own time (without what was measured inside it), "
            "operations that became slower or faster, the slowest spans with what happened in them, "
            "throughput and resources.",
            "questions.performance:performance_report",
            "report.details:performance_sections",
            "nothing was measured; trace_performance and trace_agent_action measure",
            examples=("last --json", "--engine duckdb host-a/trace host-b/trace"),
        ),
    )
}
"""All of them by name."""
