"""`LogAnalyzer`, the face of this room: each question is one line here and has its own module."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from Agent.analysis import (
    activity,
    cascades,
    causal_graph,
    causality,
    comparison,
    debug,
    failures,
    html_page,
    integrity,
    interactions,
    journey_overview,
    journeys,
    learning,
    learning_curves,
    lineage,
    performance,
    report,
    sql_result,
    states,
    timeline,
)
from Agent.analysis.cause_tester import HowToTest
from Agent.analysis.engine import Engine, open_engine
from Agent.analysis.interaction_lines import interaction_lines
from Agent.analysis.session import SessionRef, find, flush_recording, unknown_agent
from Agent.archive.reader import open_reader
from Agent.errors import AgentNotFound
from Agent.event.model import Event
from Agent.tree.reader import TreeReader


class LogAnalyzer:
    """Questions about one session, answered from its own files.

    Args:
        session: None for the current or newest one; an id, a unique prefix of one, or a path.
        root: the trace root; default: the one configured, else ./trace.
        deadline_s: how long one query may take before it is stopped with an InputError; None for no limit.

    Raises:
        SessionNotFound: there is no such session, or it is empty.
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

    @property
    def reader(self) -> TreeReader:
        """The session's events; what this process still buffers is written out first."""
        flush_recording()
        return self._reader

    @property
    def engine(self) -> Engine:
        """SQL over the session's files as they are now."""
        flush_recording()
        return self._engine

    def close(self) -> None:
        """Let go of the query engine; the next question opens it again."""
        self._engine.close()

    def __enter__(self) -> Self:
        """The analyzer itself; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _engine_of(self, agent_id: str) -> Iterator[Engine]:
        """An engine over one agent's files alone."""
        flush_recording()
        if not self.reader.holds_agent(agent_id):
            raise unknown_agent(self.reader, agent_id)
        engine = open_engine(self.path, agent_id, self._deadline_s)
        try:
            yield engine
        finally:
            engine.close()

    # one agent

    def analyze_agent_activity(self, agent_id: str) -> dict[str, Any]:
        """What one agent did, in counts (`activity.agent_activity`)."""
        return activity.agent_activity(self.reader, agent_id)

    def trace_agent_journey(self, agent_id: str, *, nested: bool = False) -> list[dict[str, Any]]:
        """Every event of one agent with its depth (`journeys.agent_journey`); none of an unknown one."""
        try:
            return journeys.agent_journey(self.reader, agent_id, nested=nested)
        except AgentNotFound:
            return []

    def journey_overview(self, agent_id: str, *, gaps: bool = False) -> dict[str, Any]:
        """One agent's journey in totals, idle times and gaps (`journey_overview.journey_overview`)."""
        return journey_overview.journey_overview(self.reader, agent_id, self.engine if gaps else None)

    def journeys_overview(self, agent_id: str) -> dict[str, Any]:
        """The same through every session of the trace root (`journey_overview.journeys_overview`)."""
        flush_recording()
        return journey_overview.journeys_overview(self.path.parent, agent_id)

    def state_at(self, agent_id: str, when: str | int | datetime) -> dict[str, Any]:
        """What one agent was after an event, at a time or at the end of a tick (`states.state_at`)."""
        return states.state_at(self.reader, self.engine, agent_id, when)

    def field_changes(
        self, agent_id: str, name: str, when: str | int | datetime | None = None
    ) -> dict[str, Any]:
        """How a field of an agent's state became what it is (`states.field_changes`)."""
        return states.field_changes(self.reader, self.engine, agent_id, name, when)

    # everybody

    def analyze_learning_progress(self, agent_id: str | None = None) -> dict[str, Any]:
        """How one agent, or everybody, learned (`learning.learning_progress`)."""
        if agent_id is None:
            return learning.learning_progress(self.engine)
        with self._engine_of(agent_id) as engine:
            return learning.learning_progress(engine, agent_id)

    def learning_report(self, agent_id: str | None = None, by: str | None = None) -> dict[str, Any]:
        """Learning with curves, changes and convergence (`learning_curves.learning_report`)."""
        if agent_id is None:
            return learning_curves.learning_report(self.engine, None, by)
        with self._engine_of(agent_id) as engine:
            return learning_curves.learning_report(engine, agent_id, by)

    def learning_lineage(self, agent_id: str) -> dict[str, Any]:
        """Which experience led to which update and what used it (`lineage.learning_lineage`)."""
        return lineage.learning_lineage(self.reader, agent_id)

    def interaction_report(self, *, edges: bool = False) -> dict[str, Any]:
        """Graph, cascades as trees, messages (`interactions.interaction_report`)."""
        return interactions.interaction_report(self.engine, edges=edges)

    def cascade(self, content_id: str) -> dict[str, Any]:
        """How one piece of content spread (`cascades.cascade`)."""
        with interaction_lines(self.engine) as lines:
            return cascades.cascade(self.engine, lines, content_id)

    def performance_report(self) -> dict[str, Any]:
        """Performance with slow spans as trees, and over time (`performance.performance_report`)."""
        return performance.performance_report(self.engine)

    def analyze_interactions(self) -> dict[str, Any]:
        """Who dealt with whom and with what (`interactions.interaction_summary`)."""
        return interactions.interaction_summary(self.engine)

    def performance_summary(self) -> dict[str, Any]:
        """Where the time goes (`performance.performance_summary`)."""
        return performance.performance_summary(self.engine)

    def find_error_patterns(self) -> dict[str, Any]:
        """What the errors have in common (`failures.error_patterns`)."""
        return failures.error_patterns(self.engine)

    def get_errors(self, agent_id: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Every error as an event dict, newest last (`failures.errors`)."""
        return failures.errors(self.engine, agent_id, limit)

    def checkpoints(self, agent_id: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """The moments whose state is recorded in full (`states.checkpoints`)."""
        return states.checkpoints(self.engine, agent_id, limit)

    def timeline(self, buckets: int = timeline.DEFAULT_BUCKETS) -> dict[str, Any]:
        """How much happened when, and the marks set on the way (`timeline.timeline`)."""
        return timeline.timeline(self.engine, buckets)

    # why

    def find_causality_chain(
        self, event: str | dict[str, Any] | Event, lookback_seconds: float = 60
    ) -> list[dict[str, Any]]:
        """What led to an event, nearest cause first (`causality.causality_chain`)."""
        return causality.causality_chain(self.reader, self.engine, event, lookback_seconds)

    def causal_graph(
        self, event: str | dict[str, Any] | Event, lookback_seconds: float = 60, *, with_effects: bool = False
    ) -> causal_graph.CausalGraph:
        """The same as a graph, with what the record lacks, as text, DOT or SVG (`causal_graph`)."""
        return causal_graph.causal_graph(
            self.reader, self.engine, event, lookback_seconds, with_effects=with_effects
        )

    def debug_issue(
        self,
        text: str,
        *,
        test: bool = False,
        target: Any = None,
        outcome: str = "",
        live: bool | Collection[str] = False,
        seeds: int | None = None,
    ) -> debug.DebugReport:
        """What explains an issue that is told in words (`debug.debug_issue`)."""
        how = HowToTest(target, outcome, live, seeds) if test else None
        return debug.explain(text, self.path, self.reader, self.engine, how)

    def compare(self, other: SessionRef) -> comparison.Comparison:
        """How another session differs from this one, and whether noise explains it (`comparison`)."""
        flush_recording()
        return comparison.compare_sessions(self.path, find(other, self.path.parent))

    def compare_by(self, field: str, chosen: Sequence[str] = ()) -> comparison.Comparison:
        """How events differ by the value of a field, such as agent_version (`comparison.compare_by`)."""
        flush_recording()
        return comparison.compare_by(self.path, field, chosen)

    # the record itself

    def in_flight(self) -> list[dict[str, Any]]:
        """What had begun and not ended: agent, name, span, since when, writer."""
        return integrity.in_flight(self.reader)

    def losses(self) -> dict[str, Any]:
        """What the record lacks, exactly: by writer, and in total."""
        return integrity.losses(self.path, self.reader, self.engine)

    def damaged_lines(self) -> dict[str, int]:
        """How many lines of each file are no event."""
        return self.engine.damaged_lines()

    # the whole

    def session_summary(self) -> dict[str, Any]:
        """The session in one dict (`report.session_summary`)."""
        return report.session_summary(self.path, self.reader, self.engine)

    def export_analysis(self, path: str | os.PathLike[str]) -> Path:
        """Write the whole analysis into one JSON file, whole or not at all; the path written."""
        return report.export_analysis(Path(path), self.path, self.reader, self.engine)

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the session as one page to look at and to mail (`html_page.write_page`); the path written."""
        return html_page.write_page(Path(path), self)

    def sql(self, query: str) -> sql_result.SqlResult:
        """The answer to one reading SQL statement over the named views (`views.names`), a dict a row."""
        return sql_result.SqlResult(self.engine, query)

    def to_df(self, query: str = "SELECT * FROM events ORDER BY ts_us, writer, seq") -> Any:
        """A query's answer, by default every event, as a pandas DataFrame; MissingExtra without pandas."""
        return self.engine.user_frame(query)
