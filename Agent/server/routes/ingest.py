"""The routes that write: whole runs, and batches of events. They respond after the commit."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from Agent.event.ids import SENT_ID
from Agent.export.messages import MAX_ITEMS, Batch, Dropped, WireError
from Agent.export.wire import RUN_SCHEMA, read_batch, read_run
from Agent.server.access import Granted, GrantedDelete
from Agent.server.counters import Counters
from Agent.server.errors import Problem
from Agent.server.limits import read_json_body
from Agent.server.routes import schemas
from Agent.server.settings import ServerSettings
from Agent.store import Ingested, Project, Store

T = TypeVar("T")

BODY_ERRORS: Final = schemas.refusals(
    {
        400: "The body is not JSON, or is cut off.",
        408: "The body did not arrive in time.",
        413: "The body is too large, as sent or decompressed.",
        415: "The body's type or encoding is not supported.",
    }
)


def object_schema(needed: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    """Return the OpenAPI schema of an object; `needed` are the required properties."""
    required = {"required": [*needed]} if needed else {}
    return {"type": "object", **required, "properties": properties}


def json_body(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """Return the OpenAPI description of a body that is a JSON object."""
    content = {"application/json": {"schema": {"type": "object", **schema}}}
    return {"requestBody": {"required": required, "content": content}}


_LABEL: Final = {"type": "string", "maxLength": 200}
_BATCH: Final = object_schema(
    wire_version={"type": "integer", "const": 1},
    content={"type": "boolean"},
    session=object_schema(
        ["session_uid"], session_uid={"type": "string", "format": "uuid"}, session_id=_LABEL
    ),
    events={
        "type": "array",
        "maxItems": MAX_ITEMS,
        "items": object_schema(
            ["timestamp", "id", "kind"],
            timestamp={"type": "string", "format": "date-time"},
            id={"type": "string", "pattern": f"^{SENT_ID}$"},
            kind=_LABEL,
            extra={"type": "object"},
        ),
    },
    runs={"type": "array", "items": {"type": "object", **RUN_SCHEMA}},
)


def ingest_router(store: Store, settings: ServerSettings, counters: Counters) -> APIRouter:
    """Make the routes that write, for a store with that right."""
    router = APIRouter(prefix="/v1", responses=schemas.ERRORS | BODY_ERRORS)

    def take(project: Project, batch: Batch, dropped: Dropped, session_id: str | None) -> Ingested:
        done = store.ingest(project, events=batch.events, runs=batch.runs, session_id=session_id)
        counters.add(project.project_id, "events_accepted_total", done.accepted)
        counters.add(project.project_id, "events_duplicate_total", done.duplicates)
        counters.add(project.project_id, "events_refused_total", len(batch.refused))
        counters.add(project.project_id, "runs_total", done.runs)
        counters.add(project.project_id, "values_dropped_total", sum(dropped.values()))
        return done

    def take_batch(project: Project, batch: Batch, dropped: Dropped) -> schemas.BatchAnswer:
        done = take(project, batch, dropped, batch.session_id)
        return schemas.BatchAnswer(
            accepted=done.accepted,
            duplicates=done.duplicates,
            runs=done.runs,
            refused=[schemas.RefusedItem(index=i, path=path, problem=why) for i, path, why in batch.refused],
            dropped=dropped,
            database=project.database_id,
        )

    @router.post(
        "/runs",
        status_code=201,
        summary="Store a run",
        openapi_extra=json_body(RUN_SCHEMA),
        responses={200: {"model": schemas.StoredRunAnswer, "description": "The run existed and was merged."}},
    )
    async def post_run(request: Request, response: Response, project: Granted) -> schemas.StoredRunAnswer:
        """One run as a document. A repeated or extended document is merged by run_id."""
        run, dropped = await read_json_body(request, settings, _refusing(read_run, project))
        done = await run_in_threadpool(take, project, Batch((), (run,)), dropped, None)
        response.status_code = 201 if done.runs_new else 200
        return schemas.StoredRunAnswer(run_id=run.run_id, stored=True, dropped=dropped)

    @router.post("/events", summary="Store a batch of events", openapi_extra=json_body(_BATCH))
    async def post_events(request: Request, project: Granted) -> schemas.BatchAnswer:
        """Events of one session, and runs. Items that are already stored are counted and not changed."""
        batch, dropped = await read_json_body(request, settings, _refusing(read_batch, project))
        return await run_in_threadpool(take_batch, project, batch, dropped)

    return router


_NOT_FOUND: Final = schemas.refusals({404: "The project has nothing with that id."})


def removal_router(store: Store) -> APIRouter:
    """Make the routes that delete, for a store that may write."""
    router = APIRouter(prefix="/v1", responses=schemas.ERRORS | _NOT_FOUND)

    @router.delete("/runs/{run_id}", status_code=204, summary="Delete a run")
    def delete_run(project: GrantedDelete, run_id: str) -> Response:
        """With its steps, failures, events, checkpoints and replays."""
        if store.delete_run(project, run_id) is None:
            raise Problem(404, "no run with that id", remedy="/v1/runs of the query role lists them")
        return Response(status_code=204)

    @router.delete("/sessions/{session_uid}", status_code=204, summary="Delete a session")
    def delete_session(
        project: GrantedDelete, session_uid: Annotated[str, Path(pattern=schemas.UUID_SHAPE)]
    ) -> Response:
        """With its events and all of its runs."""
        if store.delete_session(project, str(uuid.UUID(session_uid))) is None:
            raise Problem(404, "no session with that id", remedy="/v1/sessions of the query role lists them")
        return Response(status_code=204)

    return router


def _refusing(
    read: Callable[..., tuple[T, Dropped]], project: Project
) -> Callable[[object], tuple[T, Dropped]]:
    """Make the reader of a project's bodies, which converts a `WireError` to a `Problem` 422."""

    def checked(value: object) -> tuple[T, Dropped]:
        try:
            return read(value, content=project.content_allowed)
        except WireError as error:
            raise Problem(
                422, error.problem, code="malformed", path=error.path, errors=error.mistakes
            ) from None

    return checked
