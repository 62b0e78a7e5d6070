"""The routes that explain: the journey of an agent, errors that are one error, and what led to an event."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

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
    CauseAnswer,
    ErrorAnswer,
    ErrorGroupAnswer,
    JourneyStepAnswer,
    PageAnswer,
    cause_answer,
    error_group_answer,
    journey_step_answer,
)
from Agent.store import EventFilter, Page, Store

__all__ = ["add_explaining_routes"]

_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "The project has no event with that id in that session."}
}

AgentId = Annotated[str, AGENT]
Session = Annotated[str, UID]
EventId = Annotated[str, Query(pattern=r"^[a-z2-7]{8}-[1-9][0-9]{0,18}$", description="writer-number.")]
Lookback = Annotated[float, Query(ge=0, le=86_400, description="How far to look back for causes.")]


def _journey_asked(
    agent_id: AgentId, session_uid: Uid = None, run_id: Label = None, since: Time = None, until: Time = None
) -> EventFilter:
    return EventFilter(
        session_uid=plain_uid(session_uid),
        run_id=run_id,
        agent_id=agent_id,
        since_us=unix_us("since", since),
        until_us=unix_us("until", until),
    )


def _errors_asked(
    session_uid: Uid = None,
    run_id: Label = None,
    agent_id: Label = None,
    since: Time = None,
    until: Time = None,
) -> EventFilter:
    return EventFilter(
        session_uid=plain_uid(session_uid),
        run_id=run_id,
        agent_id=agent_id,
        since_us=unix_us("since", since),
        until_us=unix_us("until", until),
    )


def add_explaining_routes(router: APIRouter, store: Store) -> None:
    """Adds them to a router, over a store that may only read."""

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
        responses=_MISSING,
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
