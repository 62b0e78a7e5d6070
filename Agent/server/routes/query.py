"""The routes that read: runs with their steps and failures, events, sessions, all of it in numbers, and why.

Why is the journey of an agent, errors that are one error, and what led to an event.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Response

from Agent.event.kinds import LEVELS
from Agent.server.access import Granted
from Agent.server.errors import Problem
from Agent.server.routes.causes import causes_of
from Agent.server.routes.parameters import (
    AGENT,
    UID,
    Cursor,
    Label,
    Limit,
    Time,
    Uid,
    page_answer,
    plain_uid,
    unix_us,
)
from Agent.server.routes.schemas import (
    ERRORS,
    CauseAnswer,
    CountsAnswer,
    ErrorGroupAnswer,
    EventAnswer,
    FailureAnswer,
    JourneyStepAnswer,
    PageAnswer,
    RunAnswer,
    SessionAnswer,
    Shown,
    StepAnswer,
    cause_answer,
    error_group_answer,
    event_answer,
    failure_answer,
    journey_step_answer,
    refusals,
    run_answer,
    session_answer,
    step_answer,
)
from Agent.store import EventFilter, Page, Project, RunFilter, Store

__all__ = ["query_router"]

_MISSING: Final = refusals({404: "The project has no run with that id."})
_NO_EVENT: Final = refusals({404: "The project has no event with that id in that session."})

Status = Literal["running", "success", "failure", "partial"]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
AgentId = Annotated[str, AGENT]
Session = Annotated[str, UID]
EventId = Annotated[str, Query(pattern=r"^[a-z2-7]{8}-[1-9][0-9]{0,18}$", description="writer-number.")]
Lookback = Annotated[float, Query(ge=0, le=86_400, description="How far to look back for causes.")]


def _runs_asked(
    agent_id: Label = None,
    agent_version: Label = None,
    status: Status | None = None,
    failure_type: Label = None,
    failure_code: Label = None,
    session_uid: Uid = None,
    since: Time = None,
    until: Time = None,
) -> RunFilter:
    return RunFilter(
        agent_id=agent_id,
        agent_version=agent_version,
        status=status,
        failure_type=failure_type,
        failure_code=failure_code,
        session_uid=plain_uid(session_uid),
        since_us=unix_us("since", since),
        until_us=unix_us("until", until),
    )


def _events_asked(
    session_uid: Uid = None,
    run_id: Label = None,
    agent_id: Label = None,
    kind: Label = None,
    min_level: Level | None = None,
    since: Time = None,
    until: Time = None,
) -> EventFilter:
    return EventFilter(
        session_uid=plain_uid(session_uid),
        run_id=run_id,
        agent_id=agent_id,
        kind=kind,
        min_severity=None if min_level is None else LEVELS[min_level],
        since_us=unix_us("since", since),
        until_us=unix_us("until", until),
    )


def _journey_asked(
    agent_id: AgentId, session_uid: Uid = None, run_id: Label = None, since: Time = None, until: Time = None
) -> EventFilter:
    return _events_asked(session_uid, run_id, agent_id, since=since, until=until)


def _errors_asked(
    session_uid: Uid = None,
    run_id: Label = None,
    agent_id: Label = None,
    since: Time = None,
    until: Time = None,
) -> EventFilter:
    return _events_asked(session_uid, run_id, agent_id, since=since, until=until)


def query_router(store: Store) -> APIRouter:
    """The routes over a store that may only read."""
    router = APIRouter(prefix="/v1", responses=ERRORS)
    _add_run_routes(router, store)
    _add_other_routes(router, store)
    _add_explaining_routes(router, store)
    return router


def _add_run_routes(router: APIRouter, store: Store) -> None:
    def known(project: Project, run_id: str) -> dict[str, Any]:
        run = store.find_run(project, run_id)
        if run is None:
            raise Problem(404, "not_found", "no run with that id", remedy="/v1/runs lists them")
        return run

    @router.get("/runs", summary="List runs, newest first", response_model=PageAnswer[RunAnswer])
    def list_runs(
        project: Granted,
        wanted: Annotated[RunFilter, Depends(_runs_asked)],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Each filter that is given narrows the list."""
        return page_answer(store.list_runs(project, wanted, limit=limit, cursor=cursor), run_answer)

    @router.get("/runs/{run_id}", summary="Show a run", responses=_MISSING, response_model=RunAnswer)
    def get_run(project: Granted, run_id: str) -> Shown:
        """One run by its whole id."""
        return run_answer(known(project, run_id))

    @router.get(
        "/runs/{run_id}/steps",
        summary="List the steps of a run, in order",
        responses=_MISSING,
        response_model=PageAnswer[StepAnswer],
    )
    def list_steps(project: Granted, run_id: str, limit: Limit = 200, cursor: Cursor = None) -> Response:
        """With their latency and metadata."""
        known(project, run_id)
        return page_answer(store.list_steps(project, run_id, limit=limit, cursor=cursor), step_answer)

    @router.get(
        "/runs/{run_id}/failures",
        summary="List the failures of a run",
        responses=_MISSING,
        response_model=PageAnswer[FailureAnswer],
    )
    def list_failures(project: Granted, run_id: str) -> Response:
        """The first thousand; there is one page."""
        known(project, run_id)
        return page_answer(Page(store.list_failures(project, run_id), None), failure_answer)

    @router.get(
        "/runs/{run_id}/events",
        summary="List the events of a run, oldest first",
        responses=_MISSING,
        response_model=PageAnswer[EventAnswer],
    )
    def list_run_events(project: Granted, run_id: str, limit: Limit = 200, cursor: Cursor = None) -> Response:
        """Of a run that was sent as a document there are none."""
        known(project, run_id)
        wanted = EventFilter(run_id=run_id)
        return page_answer(store.list_events(project, wanted, limit=limit, cursor=cursor), event_answer)


def _add_other_routes(router: APIRouter, store: Store) -> None:
    @router.get(
        "/events",
        summary="List events of a session or a run, oldest first",
        response_model=PageAnswer[EventAnswer],
    )
    def list_events(
        project: Granted,
        wanted: Annotated[EventFilter, Depends(_events_asked)],
        limit: Limit = 200,
        cursor: Cursor = None,
    ) -> Response:
        """With agent_id it is that agent's journey, with min_level=ERROR what went wrong."""
        return page_answer(store.list_events(project, wanted, limit=limit, cursor=cursor), event_answer)

    @router.get("/sessions", summary="List sessions, newest first", response_model=PageAnswer[SessionAnswer])
    def list_sessions(project: Granted, limit: Limit = 50, cursor: Cursor = None) -> Response:
        """Executions of programs whose events were sent."""
        return page_answer(store.list_sessions(project, limit=limit, cursor=cursor), session_answer)

    @router.get("/stats", summary="Count runs, failures and latencies")
    def get_stats(project: Granted, wanted: Annotated[RunFilter, Depends(_runs_asked)]) -> CountsAnswer:
        """Over the runs that the filters leave."""
        return CountsAnswer.model_validate(store.count_runs(project, wanted))


def _add_explaining_routes(router: APIRouter, store: Store) -> None:
    @router.get(
        "/journeys",
        summary="Show an agent's events in a session or a run",
        response_model=PageAnswer[JourneyStepAnswer],
    )
    def get_journey(
        project: Granted,
        wanted: Annotated[EventFilter, Depends(_journey_asked)],
        limit: Limit = 200,
        cursor: Cursor = None,
    ) -> Response:
        """Its events in order, with the time between them and how many are missing there."""
        return page_answer(
            store.list_journey(project, wanted, limit=limit, cursor=cursor), journey_step_answer
        )

    @router.get(
        "/errors",
        summary="List errors by fingerprint, the latest first",
        response_model=PageAnswer[ErrorGroupAnswer],
    )
    def list_errors(
        project: Granted,
        wanted: Annotated[EventFilter, Depends(_errors_asked)],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Over the newest 100,000 errors that the filters leave."""
        return page_answer(
            store.list_error_groups(project, wanted, limit=limit, cursor=cursor), error_group_answer
        )

    @router.get(
        "/causes",
        summary="Show what led to an event, the nearest cause first",
        responses=_NO_EVENT,
        response_model=PageAnswer[CauseAnswer],
    )
    def list_causes(
        project: Granted, session_uid: Session, event_id: EventId, lookback_s: Lookback = 60
    ) -> Response:
        """Recorded links, and such that a named rule infers; a hundred at most, on one page."""
        found = causes_of(store, project, session_uid, event_id, round(lookback_s * 1_000_000))
        if found is None:
            raise Problem(404, "not_found", "no event with that id", remedy="/v1/events lists them")
        return page_answer(Page(found, None), cause_answer)
