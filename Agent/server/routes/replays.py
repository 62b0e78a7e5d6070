"""The routes of checkpoints and replays: list, create, read and delete checkpoints; replay; get results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from Agent.export.allow_list import is_identity, is_label
from Agent.server.access import GrantedReplay
from Agent.server.errors import Problem
from Agent.server.limits import read_json_body
from Agent.server.replays import Replays, json_text, no_checkpoint
from Agent.server.routes import schemas
from Agent.server.routes.ingest import BODY_ERRORS, json_body
from Agent.store import Page, Project
from Agent.store.schema import now_us

NOT_FOUND: Final = schemas.refusals({404: "The project has nothing with that id."})
NO_CONTENT: Final = schemas.refusals(
    {409: "The run was sent without content, or cannot be replayed here; the message says why."}
)
WaitMade = Annotated[
    float, Query(ge=0, le=60, description="Seconds to wait for them; after that the answer is 202.")
]
_MAX_LISTED: Final = 1000


def _valid_if(is_right: Callable[[str], bool]) -> AfterValidator:
    def checked(text: str) -> str:
        if not is_right(text):
            raise ValueError
        return text

    return AfterValidator(checked)


_Name = Annotated[str, Field(min_length=1, max_length=200), _valid_if(str.isprintable)]
_Identity = Annotated[str, Field(max_length=128), _valid_if(is_identity)]
_Label = Annotated[str, Field(max_length=64), _valid_if(is_label)]


class _RequestModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AskedCheckpoints(_RequestModel):
    """One checkpoint with a state, or one after each step of the run."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"auto": True}, {"step_id": "step_3", "state": {"query": "weather"}}]}
    )

    auto: bool = Field(True, description="Create one after each step of the run. Not with a state.")
    step_id: _Name | None = Field(None, description="With a state: the step that it follows.")
    agent_id: _Name | None = None
    checkpoint_id: _Identity | None = Field(None, description="Its name.")
    state: Any = Field(None, description="Any JSON. Stores one checkpoint as given.")


def checkpoint_router(replays: Replays) -> APIRouter:
    """Make the routes of checkpoints."""
    router = APIRouter(prefix="/api", responses=schemas.ERRORS | NOT_FOUND)
    store, settings, lists = replays.store, replays.settings, partial(schemas.add_list, router)

    @lists("/traces/{trace_id}/checkpoints", schemas.CheckpointAnswer, schemas.checkpoint_answer, limit=200)
    def list_checkpoints(project: GrantedReplay, trace_id: str, **page: Any) -> Page:
        """List the checkpoints of a run, in order.

        A trace is a run by its id, or a session by its UUID.
        """
        replays.trace(project, trace_id)
        return store.list_checkpoints(project, trace_id, **page)

    @router.post(
        "/traces/{trace_id}/checkpoints",
        status_code=201,
        summary="Create the checkpoints of a run, or store one",
        openapi_extra=json_body(AskedCheckpoints.model_json_schema(), required=False),
        responses=BODY_ERRORS
        | NO_CONTENT
        | {202: {"model": schemas.CreatedAnswer, "description": "They are still being created; ask again."}},
    )
    async def post_checkpoints(
        request: Request,
        response: Response,
        project: GrantedReplay,
        trace_id: str,
        wait_s: WaitMade = 2.0,
    ) -> schemas.CreatedAnswer:
        """After each step whose state is known; existing checkpoints are kept. No code is executed."""
        body = await read_json_body(request, settings, _checked_checkpoint, optional=True)
        lacking: list[str] = []
        hidden: list[str] = []
        if "state" in body:
            created = [await run_in_threadpool(replays.keep_checkpoint, project, trace_id, body)]
        else:
            future = await run_in_threadpool(replays.begin_making, project, trace_id)
            waiting = asyncio.wrap_future(future)
            # After a timeout nobody awaits this future: the next request gets the result, so ignore errors
            # here.
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
            ended, _ = await asyncio.wait({waiting}, timeout=wait_s)
            response.headers["Location"] = f"/api/traces/{quote(trace_id, safe='')}/checkpoints"
            if not ended:
                response.status_code = 202
                return schemas.CreatedAnswer(
                    trace_id=trace_id, checkpoint_ids=[], created=[], not_sent=[], hidden_by=[]
                )
            replays.forget_result(project, trace_id)
            created, lacking, hidden = waiting.result()
        ids = await run_in_threadpool(_ids, project, trace_id)
        return schemas.CreatedAnswer(
            trace_id=trace_id, checkpoint_ids=ids, created=created, not_sent=lacking, hidden_by=hidden
        )

    def _ids(project: Project, trace_id: str) -> list[str]:
        page = store.list_checkpoints(project, trace_id, limit=_MAX_LISTED)
        return [row["checkpoint_id"] for row in page.items]

    @router.get("/checkpoints/{checkpoint_id}", summary="Show a checkpoint with its state")
    def get_checkpoint(project: GrantedReplay, checkpoint_id: str) -> schemas.WholeCheckpointAnswer:
        """By its id, as it is listed."""
        stored = store.find_checkpoint(project, checkpoint_id)
        if stored is None:
            raise no_checkpoint()
        return schemas.whole_checkpoint_answer(stored[0])

    @router.delete("/checkpoints/{checkpoint_id}", status_code=204, summary="Delete a checkpoint")
    def delete_checkpoint(project: GrantedReplay, checkpoint_id: str) -> Response:
        """Its replays are kept: they contain their results."""
        if not store.delete_checkpoint(project, checkpoint_id):
            raise no_checkpoint()
        return Response(status_code=204)

    return router


def _checked_checkpoint(value: object) -> dict[str, Any]:
    """Check the body of a request for checkpoints.

    Raises:
        Problem: 422 with the path of the error.
    """
    body = _validated(AskedCheckpoints, value)
    keys = body.model_fields_set
    if "state" not in keys:
        if not body.auto or keys - {"auto"}:
            raise Problem(422, "it is neither auto nor a state", remedy="give auto, or step_id and state")
    elif "auto" in keys and body.auto:
        raise Problem(422, "it is both auto and a state", remedy="give one of the two")
    elif body.step_id is None:
        raise Problem(422, "a state needs the step that it follows", path="/step_id", remedy="give step_id")
    return {name: getattr(body, name) for name in keys}


_REFUSED: Final = {
    "target": "the service does not load code named by a request",
    "live": "the service does not call tools or models",
}
M = TypeVar("M", bound=_RequestModel)


def _validated(model: type[M], value: object) -> M:
    """Check the body of a request by its model.

    Raises:
        Problem: 422 with the path of the first error, and all if there are several.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        locations = [each["loc"] for each in error.errors(include_url=False, include_input=False)]
    if () in locations:
        raise Problem(422, "the body is not an object", remedy="send {}, or nothing")
    mistakes = [
        (f"/{key}", f"{key} is invalid")
        if key in model.model_fields
        else ("", _REFUSED.get(key, f"unknown key {key[:40]!r}"))
        for key in dict.fromkeys(str(place[0]) for place in locations)
    ]
    (path, text), *more = mistakes
    remedy = f"known keys: {', '.join(model.model_fields)}; see /openapi.json"
    raise Problem(422, text, path=path or None, remedy=remedy, errors=mistakes if more else ())


class AskedReplay(_RequestModel):
    """The settings of a replay."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"modified_input": {"query": "new question"}, "dry_run": True}]}
    )

    modified_input: Any = Field(
        None,
        description="Another input. An object is a JSON merge patch of a recorded object; anything else "
        "replaces it.",
    )
    dry_run: bool | None = Field(None, description="Run no code at all: the mock executor.")
    modified_state: dict[str, Any] | list[Any] | None = Field(
        None, description="A patch of the state: an object (JSON merge patch) or an array (JSON patch)."
    )
    overrides: dict[str, Any] | None = Field(None, description="Passed to the executor unchanged.")
    executor: _Label | None = Field(
        None, description="mock, generic, or one that this server's modules register."
    )
    timeout_seconds: float | None = Field(None, gt=0, description="At most what the server allows.")


Wait = Annotated[
    float, Query(ge=0, le=60, description="Seconds to wait for its end; after that the answer is 202.")
]


def replay_router(replays: Replays) -> APIRouter:
    """Make the routes of replays."""
    router = APIRouter(prefix="/api", responses=schemas.ERRORS | NOT_FOUND)
    store, settings, lists = replays.store, replays.settings, partial(schemas.add_list, router)

    def existing_replay(project: Project, replay_id: str) -> dict[str, Any]:
        stored = store.find_replay(project, replay_id)
        if stored is None:
            raise Problem(
                404,
                "no replay with that id",
                remedy="GET /api/traces/{trace_id}/replays lists those of a run",
            )
        return stored

    @router.post(
        "/checkpoints/{checkpoint_id}/replay",
        status_code=201,
        summary="Continue from a checkpoint",
        openapi_extra=json_body(AskedReplay.model_json_schema(), required=False),
        responses=BODY_ERRORS
        | NO_CONTENT
        | {202: {"model": schemas.ReplayAnswer, "description": "It is still running; query it by its id."}},
    )
    async def post_replay(
        request: Request, response: Response, project: GrantedReplay, checkpoint_id: str, wait_s: Wait = 20.0
    ) -> schemas.ReplayAnswer:
        """In a separate process with limits of time and memory, without network."""
        config = await read_json_body(
            request, settings, lambda value: _checked(value, settings.replay_timeout_s), optional=True
        )
        replay_id, future = await run_in_threadpool(replays.begin_replay, project, checkpoint_id, config)
        ended, _ = await asyncio.wait({asyncio.wrap_future(future)}, timeout=wait_s)
        for done in ended:
            if not done.cancelled() and isinstance(refused := done.exception(), Problem):
                raise refused
        answer = schemas.replay_answer(await run_in_threadpool(existing_replay, project, replay_id), now_us())
        response.status_code = 202 if answer.status == "running" else 201
        response.headers["Location"] = f"/api/replays/{replay_id}"
        return answer

    @router.get("/replays/{replay_id}", summary="Show a replay")
    def get_replay(project: GrantedReplay, replay_id: str) -> schemas.ReplayAnswer:
        """Its status, and its result once it has ended."""
        return schemas.replay_answer(existing_replay(project, replay_id), now_us())

    @router.get("/replays/{replay_id}/diff", summary="Show what a replay changed", responses=NO_CONTENT)
    def get_diff(project: GrantedReplay, replay_id: str) -> schemas.DiffAnswer:
        """The recorded output beside the new one, key by key."""
        answer = schemas.replay_answer(existing_replay(project, replay_id), now_us())
        if answer.result is None:
            why = answer.problem.message if answer.problem is not None else "it has not ended"
            raise Problem(409, f"the replay has no result: {why}", remedy="ask for the replay")
        result = answer.result
        return schemas.DiffAnswer(
            replay_id=replay_id,
            verdict=result.verdict,
            diff=result.diff,
            original_output=result.original_output,
            output=result.output,
        )

    @lists(
        "/traces/{trace_id}/replays",
        schemas.ListedReplayAnswer,
        lambda row: schemas.listed_replay_answer(row, now_us()),
    )
    def list_replays(project: GrantedReplay, trace_id: str, **page: Any) -> Page:
        """List the replays of a run, newest first.

        Without their results.
        """
        replays.trace(project, trace_id)
        return store.list_replays(project, trace_id, **page)

    return router


def _checked(value: object, longest_s: float) -> dict[str, Any]:
    """Check the body of a replay request, and return the arguments of `ReplayConfig`.

    Raises:
        Problem: 422 with the path of the error.
    """
    body = _validated(AskedReplay, value)
    config = {name: each for name, each in body if each is not None}
    if config.get("timeout_seconds", 0) > longest_s:
        raise Problem(
            422,
            "timeout_seconds is invalid",
            path="/timeout_seconds",
            remedy=f"at most {longest_s:g} here",
        )
    json_text(config, "")
    return config
