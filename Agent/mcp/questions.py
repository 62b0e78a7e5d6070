"""The tools: each method of `Questions` is one, and its docstring is the description for the model."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
from pydantic import Field

from Agent.analysis import LogAnalyzer
from Agent.analysis.query.tables import SqlResult
from Agent.analysis.query.views import event_row
from Agent.analysis.questions.errors import error_patterns
from Agent.analysis.questions.listing import session_rows
from Agent.analysis.session import agent_events, check_agent
from Agent.errors import UsageError
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.tree.layout import find_session, session_id_of

MAX_ROWS: Final = 200
_OPEN_SESSIONS: Final = 4
_NAME: Final = re.compile(r"[\w-]{1,64}", re.ASCII)

Session = Annotated[str, Field(description="A session id, a unique prefix of one, or last.")]
Agent = Annotated[str, Field(description="The id of an agent; analyze lists those of a session.")]
Limit = Annotated[int, Field(ge=1, le=MAX_ROWS, description="The maximum number of rows.")]
Kinds = Annotated[
    list[str] | None, Field(description="Only these kinds of events, such as agent_action or error.")
]
FirstTick = Annotated[int | None, Field(description="The first tick.")]
LastTick = Annotated[int | None, Field(description="The last tick.")]
Newest = Annotated[bool, Field(description="Return the last matching events instead of the first.")]
Moment = Annotated[str | None, Field(description="tick:34, an event id, or a UTC time; default: the end.")]
Name = Annotated[str | None, Field(description="A field; the answer shows how it got its value.")]
EventId = Annotated[str, Field(description="The id of an event, as in other answers.")]
Lookback = Annotated[float, Field(ge=0, description="How many seconds before the event to look for causes.")]
Issue = Annotated[str, Field(description="The problem in a few words, naming agents and actions.")]
OtherSession = Annotated[str, Field(description="The session or run to compare with.")]
Query = Annotated[str | None, Field(description="One SELECT in DuckDB's dialect; without it, the views.")]


class Questions:
    """Questions about the sessions of one trace root.

    Args:
        root: the trace root. No file outside of it is read.
        deadline_s: the time limit of one SQL query in seconds.
    """

    def __init__(self, root: Path, deadline_s: float | None = None) -> None:
        self._root = root
        self._deadline_s = deadline_s
        self._open: dict[Path, LogAnalyzer] = {}

    def sessions(self, limit: Limit = 20) -> dict[str, Any]:
        """List the recorded sessions, newest last: id, times, counts of agents, events and errors, state."""
        rows = session_rows(self._root, limit)
        return {"sessions": [{key: row[key] for key in row if key != "path"} for row in rows]}

    def analyze(self, session: Session = "last") -> dict[str, Any]:
        """Summarise one session: its agents with their counts, kinds of events, ticks, errors, losses."""
        summary = self._analyzer(session).session_summary()
        return {key: summary[key] for key in _SUMMARY}

    def journey(
        self,
        agent: Agent,
        session: Session = "last",
        from_tick: FirstTick = None,
        to_tick: LastTick = None,
        kinds: Kinds = None,
        newest: Newest = True,
        limit: Limit = 40,
    ) -> dict[str, Any]:
        """Show the events of one agent in order, and the counts of all of its actions.

        Start without ticks for an overview; then give the ticks around a moment of interest.
        """
        for kind in kinds or ():
            if kind not in KINDS:
                raise UsageError(f"unknown kind of event {kind!r}", remedy=f"kinds are {', '.join(KINDS)}")
        analyzer = self._analyzer(session)

        def wanted(event: Event) -> bool:
            if (kinds and event.kind not in kinds) or (
                event.tick is None and (from_tick, to_tick) != (None, None)
            ):
                return False
            tick = event.tick or 0
            return (from_tick is None or tick >= from_tick) and (to_tick is None or tick <= to_tick)

        chosen = (event for event in agent_events(analyzer.reader, agent) if wanted(event))
        events = list(deque(chosen, limit)) if newest else list(islice(chosen, limit))
        counts = analyzer.analyze_agent_activity(agent)
        return {
            "session": session_id_of(analyzer.path),
            "agent": {key: counts[key] for key in _COUNTS},
            "events": [_slim({**event_row(event), "agent_id": None}) for event in events],
        }

    def errors(
        self, session: Session = "last", agent: Agent | None = None, limit: Limit = 10
    ) -> dict[str, Any]:
        """Group the errors by pattern, most frequent first; with an agent, list its own, newest last."""
        analyzer = self._analyzer(session)
        if agent is not None:
            check_agent(analyzer.reader, agent)
            return {"agent": agent, "errors": list(map(_slim, analyzer.get_errors(agent, limit)))}
        patterns = error_patterns(analyzer.engine)
        rows = [{key: row[key] for key in _PATTERN} for row in patterns["fingerprints"][:limit]]
        totals = {key: patterns[key] for key in ("total_errors", "total_fingerprints", "by_type", "by_agent")}
        return {"session": session_id_of(analyzer.path), **totals, "patterns": rows}

    def debug(self, issue: Issue, session: Session = "last") -> dict[str, Any]:
        """Rank what may explain a problem described in words.

        A cause lists the events that support it, with the path to the symptom; each step is recorded or
        inferred by a named rule. Below a confidence of `threshold` it is a hint: check it with state,
        journey and causes.
        """
        if not issue.strip():
            raise UsageError("the issue is empty", remedy="describe the problem in a few words")
        report = self._analyzer(session).debug_issue(issue).to_dict()
        report["causes"] = report["causes"][:_CAUSES]
        return {key: report[key] for key in report if report[key] not in ([], ())}

    def causes(
        self,
        event_id: EventId,
        session: Session = "last",
        lookback_s: Lookback = 60.0,
        effects: Annotated[bool, Field(description="Also return the effects of the event.")] = False,
        limit: Limit = 20,
    ) -> dict[str, Any]:
        """List the causes of an event across agents, nearest first."""
        graph = self._analyzer(session).causal_graph(event_id, lookback_s, with_effects=effects).to_dict()
        for side in ("causes", "effects"):
            graph[side] = [_slim(row) for row in graph[side][:limit]]
        graph["event"] = _slim(graph["event"])
        return graph

    def state(
        self, agent: Agent, session: Session = "last", at: Moment = None, why: Name = None
    ) -> dict[str, Any]:
        """Show an agent's state at a moment, with the event that set each field, or one field's changes."""
        analyzer = self._analyzer(session)
        if why is not None:
            answer = analyzer.field_changes(agent, why, at)
            return {**answer, "changes": list(map(_slim, answer["changes"]))}
        answer = analyzer.state_at(agent, at)
        answer["fields"] = {name: _shortened(value) for name, value in answer["fields"].items()}
        return {key: answer[key] for key in _STATE if answer[key]}

    def diff(
        self,
        a: Session,
        b: OtherSession,
        agent: Annotated[str | None, Field(description="Compare only this agent.")] = None,
    ) -> dict[str, Any]:
        """Find the first difference of two sessions or runs: tick, agent, field and both values."""
        from Agent.replay import compare_runs

        runs = [self._run(each, agent) for each in (a, b)]
        return compare_runs(runs[0], runs[1], self._root).to_dict()

    def sql(self, query: Query = None, session: Session = "last", limit: Limit = 50) -> dict[str, Any]:
        """Query the events of a session in SQL: one reading statement over the views.

        The views are events, actions, errors, messages, rewards, spans and more; without a query, the answer
        lists all of them with their columns. Every view has agent_id, tick and ts_us (microseconds).
        """
        analyzer = self._analyzer(session)
        if query is None or not query.strip():
            engine = analyzer.engine
            columns = {name: list(engine.user_columns(f"FROM {name}")) for name in engine.view_names()}
            return {"views": columns}
        result = SqlResult(analyzer.engine, query)
        rows = [row for batch in result.batches(limit + 1, limit + 1) for row in batch]
        answer: dict[str, Any] = {"columns": result.columns, "rows": rows[:limit]}
        if len(rows) > limit:
            answer["more"] = f"only the first {limit} rows; aggregate, or raise limit up to {MAX_ROWS}"
        return answer

    def close(self) -> None:
        """Close the open query engines."""
        for analyzer in self._open.values():
            analyzer.close()
        self._open.clear()

    def _path(self, session: str) -> Path:
        """The directory of a session under the root; paths are not accepted."""
        if _NAME.fullmatch(session) is None:
            raise UsageError(
                f"{session!r} is not a session id",
                remedy="the tool sessions lists the ids; last is the newest",
            )
        return find_session(self._root, session)

    def _analyzer(self, session: str) -> LogAnalyzer:
        path = self._path(session)
        analyzer = self._open.pop(path, None)
        if analyzer is None:
            analyzer = LogAnalyzer(path, self._root, deadline_s=self._deadline_s)
        self._open[path] = analyzer  # the most recently used is the last
        while len(self._open) > _OPEN_SESSIONS:
            self._open.pop(next(iter(self._open))).close()
        return analyzer

    def _run(self, name: str, agent: str | None) -> str:
        """The name of a run under the root for `compare_runs`; paths are not accepted."""
        if agent is None:
            if _NAME.fullmatch(name) is None:
                self._path(name)
            return name
        analyzer = self._analyzer(name)
        check_agent(analyzer.reader, agent)
        return f"{session_id_of(analyzer.path)}/{agent}"


TOOLS: Final = ("sessions", "analyze", "journey", "errors", "debug", "causes", "state", "diff", "sql")
"""The methods of `Questions` that are tools."""

_CAUSES: Final = 6
_SUMMARY: Final = (
    "session_id first_seen last_seen duration_s first_tick last_tick total_events event_types actions levels "
    "agents errors marks in_flight losses".split()
)
_COUNTS: Final = (
    "agent_id agent_role total_logs first_tick last_tick action_counts event_types errors outcomes".split()
)
_PATTERN: Final = (
    "error_type message place count agents agent_ids first_seen last_seen trend "
    "example_id example_agent".split()
)
_STATE: Final = "agent_id as_of fields made_by reported sampled unseen last_tick".split()
_ENVELOPE: Final = frozenset(
    "session_id logger schema_version code code_id span_id parent_span_id agent_role writer run_id".split()
)


def _slim(row: dict[str, Any]) -> dict[str, Any]:
    """A row of an event without empty values and without keys that are only useful in bulk."""
    fields = {key: value for key, value in row.items() if key not in _ENVELOPE and value not in _EMPTY}
    if isinstance(fields.get("extra"), dict):
        fields["extra"] = {key: value for key, value in fields["extra"].items() if key not in _REPEATED}
    return fields


def _shortened(value: Any) -> Any:
    """A field's value; if it is long, such as a generator, the beginning of its JSON."""
    text = orjson.dumps(value).decode()
    return (
        value if len(text) <= _FIELD_CHARS else f"{text[:_FIELD_CHARS]}… ({len(text):,} characters of JSON)"
    )


_FIELD_CHARS: Final = 400
_EMPTY: Final[tuple[Any, ...]] = (None, [], {}, "", {"set": {}, "unset": []})
_REPEATED: Final = frozenset("agent_id agent_role event_type root call traceback fingerprint digest".split())


def tool_method(questions: Questions, tool: str) -> Callable[..., dict[str, Any]]:
    """The method that answers a tool."""
    if tool not in TOOLS:
        raise UsageError(f"unknown tool {tool!r}", remedy=f"the tools are {', '.join(TOOLS)}")
    method: Callable[..., dict[str, Any]] = getattr(questions, tool)
    return method
