"""The routes that read: runs with their steps and failures, events, sessions, counts and explanations.

The explanations are the journey of an agent, groups of equal errors, and the causes of an event.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from inspect import Parameter, Signature
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Depends, Query

from Agent.analysis.causality.chains import MAX_HOPS, chain
from Agent.analysis.causality.event_links import EventWindow, Row, time_us
from Agent.event.clock import format_timestamp
from Agent.event.ids import SENT_ID
from Agent.event.kinds import LEVEL_NAMES, LEVELS
from Agent.export.messages import YEAR_10000_US
from Agent.server.access import Granted
from Agent.server.errors import Problem
from Agent.server.routes import schemas
from Agent.store import EventFilter, Page, Project, RunFilter, Store
from Agent.store.schema import MAX_LIMIT

_MISSING: Final = schemas.refusals({404: "The project has no run with that id."})
_NO_EVENT: Final = schemas.refusals({404: "The project has no event with that id in that session."})

Status = Literal["running", "success", "failure", "partial"]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
AgentId = Annotated[str, schemas.AGENT]
Session = Annotated[str, schemas.UID]
Interval = Annotated[Literal["hour", "day"] | None, Query(description="Also count by hour or by day (UTC).")]
EventId = Annotated[str, Query(pattern=f"^{SENT_ID}$", description="writer-number.")]
Lookback = Annotated[float, Query(ge=0, le=86_400, description="How far to look back for causes.")]


_PARAMETERS: Final[dict[str, Any]] = {
    **dict.fromkeys("agent_id agent_version failure_type failure_code run_id kind".split(), schemas.Label),
    "status": Status | None,
    "session_uid": schemas.Uid,
    "session_id": schemas.Label,
    "label": schemas.Label,
    "min_level": Level | None,
    "since": schemas.Time,
    "until": schemas.Time,
}
"""{name in a request: type} of the filters of lists."""
FilterT = TypeVar("FilterT", RunFilter, EventFilter)


def _reader_of(filter_type: type[FilterT], names: str, **needed: Any) -> Callable[..., FilterT]:
    """Make a dependency that reads these parameters of a request into a filter.

    Args:
        needed: the types of required parameters, which come first in the signature.
    """
    types = needed | {name: _PARAMETERS[name] for name in names.split()}

    def read(**values: Any) -> FilterT:
        values["session_uid"] = schemas.plain_uid(values["session_uid"])
        if (level := values.pop("min_level", None)) is not None:
            values["min_severity"] = LEVELS[level]
        for name in ("since", "until"):
            values[f"{name}_us"] = schemas.unix_us(name, values.pop(name))
        return filter_type(**values)

    # FastAPI reads and documents the parameters of this signature.
    defaults = {name: Parameter.empty if name in needed else None for name in types}
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name], annotation=of)
        for name, of in types.items()
    ]
    read.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return read


_run_filter: Final = _reader_of(
    RunFilter,
    "agent_id agent_version status failure_type failure_code session_uid session_id label since until",
)
_event_filter: Final = _reader_of(
    EventFilter, "session_uid session_id run_id agent_id kind min_level since until"
)
_journey_filter: Final = _reader_of(
    EventFilter, "session_uid session_id run_id since until", agent_id=AgentId
)
_error_filter: Final = _reader_of(EventFilter, "session_uid session_id run_id agent_id since until")


def query_router(store: Store) -> APIRouter:
    """Make the routes that read, for a read-only store."""
    router = APIRouter(prefix="/v1", responses=schemas.ERRORS)
    _add_run_routes(router, store)
    _add_other_routes(router, store)
    return router


def _add_run_routes(router: APIRouter, store: Store) -> None:
    lists = partial(schemas.add_list, router)

    def known(project: Project, run_id: str) -> dict[str, Any]:
        run = store.find_run(project, run_id)
        if run is None:
            raise Problem(404, "no run with that id", remedy="/v1/runs lists them")
        return run

    @lists("/runs", schemas.RunAnswer, schemas.run_answer)
    def list_runs(project: Granted, filters: Annotated[RunFilter, Depends(_run_filter)], **page: Any) -> Page:
        """List runs, newest first.

        All given filters apply.
        """
        return store.list_runs(project, filters, **page)

    @router.get(
        "/runs/{run_id}", summary="Show a run", responses=_MISSING, response_model=schemas.WholeRunAnswer
    )
    def get_run(project: Granted, run_id: str) -> schemas.Snapshot:
        """One run by its whole id, with its first thousand steps and failures."""
        run = schemas.run_answer(known(project, run_id))
        steps = store.list_steps(project, run_id, limit=MAX_LIMIT)
        failures = store.list_failures(project, run_id)
        return run | {
            "steps": [schemas.step_answer(row) for row in steps.items],
            "failures": [schemas.failure_answer(row) for row in failures],
            "next_steps_cursor": steps.next_cursor,
        }

    of_run = partial(lists, limit=200, responses=_MISSING)

    @of_run("/runs/{run_id}/steps", schemas.StepAnswer, schemas.step_answer)
    def list_steps(project: Granted, run_id: str, **page: Any) -> Page:
        """List the steps of a run, in order.

        With their latency and metadata.
        """
        known(project, run_id)
        return store.list_steps(project, run_id, **page)

    @of_run("/runs/{run_id}/failures", schemas.FailureAnswer, schemas.failure_answer, limit=None)
    def list_failures(project: Granted, run_id: str) -> Page:
        """List the failures of a run.

        The first thousand; there is one page.
        """
        known(project, run_id)
        return Page(store.list_failures(project, run_id), None)

    @of_run("/runs/{run_id}/events", schemas.EventAnswer, schemas.event_answer)
    def list_run_events(project: Granted, run_id: str, **page: Any) -> Page:
        """List the events of a run, oldest first.

        A run that was sent as a document has none.
        """
        known(project, run_id)
        return store.list_events(project, EventFilter(run_id=run_id), **page)


def _add_other_routes(router: APIRouter, store: Store) -> None:
    lists = partial(schemas.add_list, router)

    @lists("/events", schemas.EventAnswer, schemas.event_answer, limit=200)
    def list_events(
        project: Granted, filters: Annotated[EventFilter, Depends(_event_filter)], **page: Any
    ) -> Page:
        """List events of a session or a run, oldest first.

        With agent_id: that agent's journey; with min_level=ERROR: the errors.
        """
        return store.list_events(project, filters, **page)

    @lists("/sessions", schemas.SessionAnswer, schemas.session_answer)
    def list_sessions(project: Granted, session_id: schemas.Label = None, **page: Any) -> Page:
        """List sessions, newest first.

        Executions of programs whose events were sent; `session_id` is the name that commands print.
        """
        return store.list_sessions(project, session_id=session_id, **page)

    @router.get("/stats", summary="Count runs, failures and latencies")
    def get_stats(
        project: Granted, filters: Annotated[RunFilter, Depends(_run_filter)], interval: Interval = None
    ) -> schemas.CountsAnswer:
        """Of the matching runs, by version, and by interval if one is given."""
        return schemas.counts_answer(store.count_runs(project, filters, interval=interval))

    @lists("/journeys", schemas.JourneyStepAnswer, schemas.journey_step_answer, limit=200)
    def get_journey(
        project: Granted, filters: Annotated[EventFilter, Depends(_journey_filter)], **page: Any
    ) -> Page:
        """Show an agent's events in a session or a run.

        Its events in order, with the time and the number of missing events between them.
        """
        return store.list_journey(project, filters, **page)

    @lists("/errors", schemas.ErrorGroupAnswer, schemas.error_group_answer)
    def list_errors(
        project: Granted, filters: Annotated[EventFilter, Depends(_error_filter)], **page: Any
    ) -> Page:
        """List errors by fingerprint, the latest first.

        Of the newest 100,000 matching errors.
        """
        return store.list_error_groups(project, filters, **page)

    @lists("/causes", schemas.CauseAnswer, schemas.cause_answer, limit=None, responses=_NO_EVENT)
    def list_causes(
        project: Granted, session_uid: Session, event_id: EventId, lookback_s: Lookback = 60
    ) -> Page:
        """Show what led to an event, the nearest cause first.

        Recorded links and those inferred by a named rule; at most a hundred, on one page.
        """
        causes = causes_of(store, project, session_uid, event_id, round(lookback_s * 1_000_000))
        if causes is None:
            raise Problem(404, "no event with that id", remedy="/v1/events lists them")
        return Page(causes, None)


_TRAIL_US: Final = 60_000_000
"""The time after an event within which the end of an enclosing span is searched, in microseconds."""
_TEXTS: Final = frozenset({"error_id", "message_id", "direction", "sender", "outcome"})
"""Keys that the causality search expects to be texts; with content, a client may send any type."""


def causes_of(
    store: Store, project: Project, session_uid: str, event_id: str, lookback_us: int
) -> list[dict[str, Any]] | None:
    """Find the causes of an event, nearest first, recorded before inferred; None if the event is not stored.

    Args:
        store: the store with the events.
        project: the project of the event.
        session_uid: the session of the event.
        event_id: the event's id in the session.
        lookback_us: the maximum time between a cause and the event.

    Returns:
        Rows of the store with `edge`, `hops` and `inferred_hops`, as in `causality.chain`.
    """
    session_uid = str(uuid.UUID(session_uid))
    rows = store.events_by_id(project, session_uid, [event_id])
    if not rows:
        return None
    row = _row(rows[0])
    at = time_us(row)
    since_us = max(0, at - lookback_us)
    links = _StoredLinks(store, project, session_uid, since_us, at)
    links.take(rows)
    causes = chain(row, links, since_us=since_us)
    of_walk = ("edge", "hops", "inferred_hops")
    return [links.stored[each["id"]] | {name: each[name] for name in of_walk} for each in causes]


class _StoredLinks(EventWindow):
    """A window over a time range of a stored session."""

    def __init__(
        self, store: Store, project: Project, session_uid: str, since_us: int, until_us: int
    ) -> None:
        super().__init__(MAX_HOPS)
        self.stored: dict[str, dict[str, Any]] = {}
        self._store = store
        self._scope = project, session_uid
        self._since_us, self._until_us = since_us, until_us

    def take(self, event_rows: Iterable[dict[str, Any]]) -> None:
        """Add rows of the store to the window."""
        rows = {each["event_id"]: each for each in event_rows}
        self.stored = rows | self.stored
        self.add([_row(each) for each in rows.values()])

    def _ask(self, ids: set[str], around: set[str], inside: set[str]) -> None:
        if ids:
            self.take(self._store.events_by_id(*self._scope, ids))
        if around or inside:
            until_us = min(self._until_us + (_TRAIL_US if around else 0), YEAR_10000_US - 1)
            rows = self._store.events_of_spans(
                *self._scope, around=around, within=inside, since_us=self._since_us, until_us=until_us
            )
            self.take(rows)

    def _add_agent(self, agent_id: str) -> None:
        since_us, until_us = self._since_us, self._until_us
        rows = self._store.events_of_agent(*self._scope, agent_id, since_us=since_us, until_us=until_us)
        self.take(rows)


def _row(stored: Mapping[str, Any]) -> Row:
    """Convert a row of the store to the form that the causality search uses."""
    body = dict(stored["body"])
    message, state = body.pop("message", None), body.pop("state", None)
    extra = {key: value for key, value in body.items() if key not in _TEXTS or isinstance(value, str)}
    if stored["duration_ms"] is not None:
        extra["duration_ms"] = stored["duration_ms"]
    if stored["outcome"] is not None:
        extra["outcome"] = stored["outcome"]
    named = stored["name"] or stored["kind"]
    return {
        "timestamp": format_timestamp(min(max(stored["ts_us"], 0), YEAR_10000_US - 1)),
        "id": stored["event_id"],
        "level": LEVEL_NAMES.get(stored["severity"], "INFO"),
        "message": message if isinstance(message, str) and message else named,
        "event_type": stored["kind"],
        "agent_id": stored["agent_id"],
        "run_id": stored["run_id"],
        "span_id": stored["span_id"],
        "parent_span_id": stored["parent_span_id"],
        "causes": stored["causes"] or [],
        "extra": extra,
        "state": state if isinstance(state, dict) else None,
    }
