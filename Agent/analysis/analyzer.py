"""`LogAnalyzer`, the facade of this package: each method imports the module that implements it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from Agent.analysis import session as analysis_session
from Agent.analysis.query.engine import Engine, open_engine
from Agent.analysis.query.tables import SqlResult
from Agent.analysis.session import SessionRef, check_agent, find, flush_recording
from Agent.archive.sealed.reader import open_reader
from Agent.errors import AgentNotFound, UsageError
from Agent.event.model import Event
from Agent.record.encode.safe_text import printable
from Agent.tree.read.reader import TreeReader

if TYPE_CHECKING:
    from Agent.analysis.causality import graph as causal_graph
    from Agent.analysis.debug import debug_issue as debug
    from Agent.analysis.query.tables import Rows
    from Agent.analysis.questions import comparison, journeys
    from Agent.analysis.questions.errors import Errors


_Id = TypeVar("_Id", str, str | None)


def _written(agent_id: _Id) -> _Id:
    """An agent's id as its events have it: a lone surrogate is an escape, since UTF-8 cannot encode it."""
    return agent_id if agent_id is None else printable(agent_id)


class LogAnalyzer:
    """Analyses one session from its files.

    Args:
        session: None for the current or newest one; an id, a unique prefix of one, or a path.
        root: the trace root; default: the configured one, else ./trace.
        deadline_s: the time in seconds after which a query stops with an InputError; None for no limit.

    Raises:
        SessionNotFound: the session does not exist, or is empty.
        UsageError: the deadline is not a number of seconds above 0.
    """

    def __init__(
        self,
        session: SessionRef = None,
        root: str | os.PathLike[str] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> None:
        self.path: Path = find(session, root)
        self._deadline_s = deadline_s
        self._reader = open_reader(self.path)
        self._engine = open_engine(self.path, deadline_s=deadline_s)

    def __repr__(self) -> str:
        return f"LogAnalyzer({str(self.path)!r})"

    def _repr_html_(self) -> str:
        from Agent.analysis.report import session_report

        return session_report.Analysis(self.session_summary())._repr_html_()

    @property
    def reader(self) -> TreeReader:
        """Return a reader of the session's events, after flushing the buffers of this process."""
        flush_recording()
        return self._reader

    @property
    def engine(self) -> Engine:
        """Return the SQL engine over the session's current files."""
        flush_recording()
        return self._engine

    def close(self) -> None:
        """Close the query engine; the next query opens it again."""
        self._engine.close()

    def __enter__(self) -> Self:
        """Return the analyzer; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _engine_of(self, agent_id: str | None) -> Iterator[Engine]:
        """Return an engine over one agent's files; None for the whole session."""
        if agent_id is None:
            yield self.engine
            return
        check_agent(self.reader, agent_id)
        with open_engine(self.path, agent_id, self._deadline_s) as engine:
            yield engine

    # one agent

    def analyze_agent_activity(self, agent_id: str) -> dict[str, Any]:
        """Count what one agent did (`journeys.agent_activity`)."""
        from Agent.analysis.questions import journeys

        return journeys.agent_activity(self.reader, _written(agent_id))

    def trace_agent_journey(self, agent_id: str, *, nested: bool = False) -> journeys.Journey:
        """Return one agent's events with their nesting depth (`journeys.agent_journey`); [] if unknown."""
        from Agent.analysis.questions import journeys

        try:
            return journeys.agent_journey(self.reader, _written(agent_id), nested=nested)
        except AgentNotFound:
            return journeys.Journey()

    def journey_overview(self, agent_id: str, *, gaps: bool = False) -> dict[str, Any]:
        """Summarise one agent's journey: totals, idle times, gaps (`journeys.journey_overview`)."""
        from Agent.analysis.questions import journeys

        return journeys.journey_overview(self.reader, _written(agent_id), self.engine if gaps else None)

    def journeys_overview(self, agent_id: str) -> dict[str, Any]:
        """Summarise one agent through every session (`journeys.journeys_overview`)."""
        from Agent.analysis.questions import journeys

        flush_recording()
        return journeys.journeys_overview(self.path.parent, _written(agent_id))

    def state_at(self, agent_id: str, when: str | int | datetime | None = None) -> dict[str, Any]:
        """Return an agent's state after an event, at a time or at the end of a tick (`states.state_at`).

        By default, its last state.
        """
        from Agent.analysis.questions import states

        return states.state_at(self.reader, self.engine, _written(agent_id), when)

    def field_changes(
        self, agent_id: str, name: str, when: str | int | datetime | None = None
    ) -> dict[str, Any]:
        """List how a field of an agent's state got its value (`states.field_changes`)."""
        from Agent.analysis.questions import states

        return states.field_changes(self.reader, self.engine, _written(agent_id), name, when)

    def field_course(
        self, agent_id: str, name: str, when: str | int | datetime | None = None
    ) -> dict[str, Any]:
        """Follow one number in an agent's state over time (`states.field_course`)."""
        from Agent.analysis.questions import states

        return states.field_course(self.reader, self.engine, _written(agent_id), name, when)

    def provenance(
        self, agent_id: str, name: str, when: str | int | datetime | None = None
    ) -> dict[str, Any]:
        """Follow a field's value back to the first input from outside (`provenance.provenance`)."""
        from Agent.analysis.questions import provenance

        return provenance.provenance(self.reader, self.engine, _written(agent_id), name, when)

    def watch(self, condition: str, agent_id: str | None = None) -> dict[str, Any]:
        """Find when a condition on agents' exposed fields held (`conditions.intervals`)."""
        from Agent.analysis.questions import conditions

        return conditions.intervals(self.reader, condition, _written(agent_id))

    # all agents

    def agent_vars(self, agents: str = "*", fields: Sequence[str] | None = None) -> Any:
        """Return the exposed fields by tick and agent as a data frame (`states.agent_vars`)."""
        from Agent.analysis.questions import states

        return states.agent_vars(self.reader, self.engine, agents, fields)

    def analyze_learning_progress(self, agent_id: str | None = None) -> dict[str, Any]:
        """Summarise how one agent, or all, learned (`learning.learning_progress`)."""
        from Agent.analysis.questions import learning

        with self._engine_of(_written(agent_id)) as engine:
            return learning.learning_progress(engine, _written(agent_id))

    def learning_report(self, agent_id: str | None = None, by: str | None = None) -> dict[str, Any]:
        """Report learning with curves, changes and convergence (`learning.learning_report`)."""
        from Agent.analysis.questions import learning

        with self._engine_of(_written(agent_id)) as engine:
            return learning.learning_report(engine, _written(agent_id), by)

    def learning_lineage(self, agent_id: str) -> dict[str, Any]:
        """Link each update to its experience and its use (`learning.learning_lineage`)."""
        from Agent.analysis.questions import learning

        return learning.learning_lineage(self.reader, _written(agent_id))

    def interaction_report(self, *, edges: bool = False) -> dict[str, Any]:
        """Report the graph, cascades as trees, and messages (`interactions.interaction_report`)."""
        from Agent.analysis.questions import interactions

        return interactions.interaction_report(self.engine, edges=edges)

    def cascade(self, content_id: str) -> dict[str, Any]:
        """Show how one piece of content spread (`interactions.cascade`)."""
        from Agent.analysis.questions import interactions
        from Agent.analysis.questions.interactions import interaction_lines

        with interaction_lines(self.engine) as lines:
            return interactions.cascade(self.engine, lines, content_id)

    def report(self, name: str, agent_id: str | None = None, **options: Any) -> dict[str, Any]:
        """Return one of `reports.REPORTS`, for all agents or one; UsageError: no such report or option."""
        from Agent.analysis.reports import REPORTS

        if name not in REPORTS:
            raise UsageError(f"no report {name!r}", remedy=f"use one of {', '.join(REPORTS)}")
        with self._engine_of(_written(agent_id)) as engine:
            return REPORTS[name].ask(
                engine, _written(agent_id), None if agent_id is None else self.reader, options
            )

    def performance_report(self) -> dict[str, Any]:
        """Report performance with slow spans as trees, and over time (`performance.performance_report`)."""
        from Agent.analysis.questions import performance

        return performance.performance_report(self.engine)

    def analyze_interactions(self) -> dict[str, Any]:
        """Summarise who interacted with whom and with what (`interactions.interaction_summary`)."""
        from Agent.analysis.questions import interactions

        return interactions.interaction_summary(self.engine)

    def performance_summary(self) -> dict[str, Any]:
        """Summarise the durations and the resource use (`performance.performance_summary`)."""
        from Agent.analysis.questions import performance

        return performance.performance_summary(self.engine)

    def find_error_patterns(self) -> dict[str, Any]:
        """Group errors by pattern (`errors.error_patterns`)."""
        from Agent.analysis.questions import errors

        return errors.error_patterns(self.engine)

    def get_errors(self, agent_id: str | None = None, limit: int | None = None) -> Errors:
        """Return errors as event dicts, newest last (`errors.errors`)."""
        from Agent.analysis.questions import errors

        return errors.errors(self.engine, _written(agent_id), limit)

    def checkpoints(self, agent_id: str | None = None, limit: int | None = None) -> Rows:
        """List the moments whose full state was recorded (`states.checkpoints`)."""
        from Agent.analysis.query.tables import Rows
        from Agent.analysis.questions import states

        return Rows(states.checkpoints(self.engine, _written(agent_id), limit))

    def timeline(self, buckets: int | None = None) -> dict[str, Any]:
        """Count events over time, with the marks (`journeys.timeline`)."""
        from Agent.analysis.questions import journeys

        return journeys.timeline(self.engine, journeys.DEFAULT_BUCKETS if buckets is None else buckets)

    # why

    def find_causality_chain(
        self, event: str | dict[str, Any] | Event, lookback_seconds: float = 60
    ) -> list[dict[str, Any]]:
        """Return what led to an event, nearest cause first (`chains.causality_chain`)."""
        from Agent.analysis.causality import chains

        return chains.causality_chain(self.reader, self.engine, event, lookback_seconds)

    def causal_graph(
        self, event: str | dict[str, Any] | Event, lookback_seconds: float = 60, *, with_effects: bool = False
    ) -> causal_graph.CausalGraph:
        """Return the causes as a graph, as text, DOT or SVG, including missing events (`graph`)."""
        from Agent.analysis.causality import graph as causal_graph

        return causal_graph.causal_graph(
            self.reader, self.engine, event, lookback_seconds, with_effects=with_effects
        )

    def debug_issue(
        self,
        text: str,
        *,
        baselines: Sequence[SessionRef] = (),
        test: bool = False,
        target: Any = None,
        outcome: str = "",
        live: bool | Collection[str] = False,
        seeds: int | None = None,
    ) -> debug.DebugReport:
        """Rank the likely causes of an issue described in words (`debug.debug_issue`)."""
        from Agent.analysis.debug import debug_issue as debug
        from Agent.analysis.debug.experiment_seam import HowToTest

        how = HowToTest(target, outcome, live, seeds) if test else None
        usual = [find(each, self.path.parent) for each in baselines]
        return debug.explain(text, self.path, self.reader, self.engine, how, usual)

    def compare(self, other: SessionRef) -> comparison.BehaviourComparison:
        """Compare another session with this one, and test for noise (`comparison`)."""
        from Agent.analysis.questions import comparison

        flush_recording()
        return comparison.compare_sessions(self.path, find(other, self.path.parent))

    def compare_by(self, field: str, chosen: Sequence[str] = ()) -> comparison.BehaviourComparison:
        """Compare events by the value of a field, such as agent_version (`comparison.compare_by`)."""
        from Agent.analysis.questions import comparison

        flush_recording()
        return comparison.compare_by(self.path, field, chosen)

    # completeness

    def in_flight(self) -> list[dict[str, Any]]:
        """List spans that began and did not end: agent, name, span, start, writer."""
        return analysis_session.in_flight(self.reader)

    def losses(self) -> dict[str, Any]:
        """Count missing events exactly: by writer, and in total."""
        return analysis_session.losses(self.path, self.reader, self.engine)

    def damaged_lines(self) -> dict[str, int]:
        """Count the lines of each file that are not events."""
        return self.engine.damaged_lines()

    # reports

    def session_summary(self) -> dict[str, Any]:
        """Summarise the session in one dict (`report.session_summary`)."""
        from Agent.analysis.report import session_report

        return session_report.session_summary(self.path, self.reader, self.engine)

    def export_analysis(self, path: str | os.PathLike[str]) -> Path:
        """Write the whole analysis to one JSON file, atomically; return its path."""
        from Agent.analysis.report import session_report

        return session_report.export_analysis(Path(path), self.path, self.reader, self.engine)

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the session as one HTML report (`session_report.write_page`); return its path."""
        from Agent.analysis.report import session_report

        return session_report.write_page(Path(path), self.path, self.reader, self.engine)

    def sql(self, query: str) -> SqlResult:
        """Run one reading SQL statement over the views (`views.names`); each row is a dict."""
        return SqlResult(self.engine, query)

    def to_df(self, query: str = "SELECT * FROM events ORDER BY ts_us, writer, seq") -> Any:
        """Return a query's rows, by default all events, as a pandas DataFrame (MissingExtra without it)."""
        return self.engine.user_frame(query)
