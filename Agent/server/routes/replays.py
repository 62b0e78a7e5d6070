"""The routes of replays: continue from a checkpoint, and read what came of it."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from Agent.export.allowed import is_label
from Agent.server.access import GrantedReplay
from Agent.server.errors import Problem
from Agent.server.limits import made_of_json
from Agent.server.replays import Replays, json_text
from Agent.server.routes.checkpoints import NO_CONTENT, NOT_FOUND
from Agent.server.routes.ingest import BODY_ERRORS, json_body
from Agent.server.routes.schemas import (
    ERRORS,
    Cursor,
    DiffAnswer,
    Limit,
    ListedReplayAnswer,
    PageAnswer,
    ReplayAnswer,
    listed_replay_answer,
    page_answer,
    replay_answer,
)
from Agent.store import Project

_KEYS: Final = frozenset("modified_input dry_run modified_state overrides executor timeout_seconds".split())
_REFUSED: Final = {
    "target": "the service does not load code named by a request",
    "live": "the service does not call tools or models",
}
_BODY: Final[dict[str, Any]] = {
    "properties": {
        "modified_input": {
            "description": "Another input. An object is a JSON merge patch of a recorded object; "
            "anything else replaces it."
        },
        "dry_run": {"type": "boolean", "description": "Run no code at all: the mock executor."},
        "modified_state": {
            "description": "A patch of the state: an object (JSON merge patch) or an array (JSON patch)."
        },
        "overrides": {"type": ["object", "null"], "description": "Passed to the executor unchanged."},
        "executor": {
            "type": ["string", "null"],
            "maxLength": 64,
            "description": "mock, generic, or one that this server's modules register.",
        },
        "timeout_seconds": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "description": "At most what the server allows.",
        },
    },
    "additionalProperties": False,
    "examples": [{"modified_input": {"query": "new question"}, "dry_run": True}],
}

Wait = Annotated[
    float, Query(ge=0, le=60, description="Seconds to wait for its end; after that the answer is 202.")
]


def replay_router(replays: Replays) -> APIRouter:
    """The routes over a store of replays."""
    router = APIRouter(prefix="/api", responses=ERRORS | NOT_FOUND)
    store, settings = replays.store, replays.settings

    def known(project: Project, replay_id: str) -> dict[str, Any]:
        found = store.find_replay(project, replay_id)
        if found is None:
            raise Problem(
                404,
                "not_found",
                "no replay with that id",
                remedy="GET /api/traces/{trace_id}/replays lists those of a run",
            )
        return found

    @router.post(
        "/checkpoints/{checkpoint_id}/replay",
        status_code=201,
        summary="Continue from a checkpoint",
        openapi_extra=json_body(_BODY, required=False),
        responses=BODY_ERRORS
        | NO_CONTENT
        | {202: {"model": ReplayAnswer, "description": "It is still running; query it by its id."}},
    )
    async def post_replay(
        request: Request, response: Response, project: GrantedReplay, checkpoint_id: str, wait_s: Wait = 20.0
    ) -> ReplayAnswer:
        """In a process of its own, with a limit of time and of memory. The network is out of its reach."""
        config = await made_of_json(
            request, settings, lambda value: _checked(value, settings.replay_timeout_s), optional=True
        )
        replay_id, future = await run_in_threadpool(replays.begin_replay, project, checkpoint_id, config)
        ended, _ = await asyncio.wait({asyncio.wrap_future(future)}, timeout=wait_s)
        for done in ended:
            if not done.cancelled() and isinstance(refused := done.exception(), Problem):
                raise refused
        told = replay_answer(await run_in_threadpool(known, project, replay_id), _now_us())
        response.status_code = 202 if told.status == "running" else 201
        response.headers["Location"] = f"/api/replays/{replay_id}"
        return told

    @router.get("/replays/{replay_id}", summary="Show a replay")
    def get_replay(project: GrantedReplay, replay_id: str) -> ReplayAnswer:
        """Its status, and what it gave once it has ended."""
        return replay_answer(known(project, replay_id), _now_us())

    @router.get("/replays/{replay_id}/diff", summary="Show what a replay changed", responses=NO_CONTENT)
    def get_diff(project: GrantedReplay, replay_id: str) -> DiffAnswer:
        """The recorded output beside the new one, key by key."""
        told = replay_answer(known(project, replay_id), _now_us())
        if told.result is None:
            why = told.problem.message if told.problem is not None else "it has not ended"
            raise Problem(409, "conflict", f"the replay has no result: {why}", remedy="ask for the replay")
        result = told.result
        return DiffAnswer(
            replay_id=replay_id,
            verdict=result.verdict,
            diff=result.diff,
            original_output=result.original_output,
            output=result.output,
        )

    @router.get(
        "/traces/{trace_id}/replays",
        summary="List the replays of a run, newest first",
        response_model=PageAnswer[ListedReplayAnswer],
    )
    def list_replays(
        project: GrantedReplay, trace_id: str, limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        """Without what they gave."""
        replays.trace(project, trace_id)
        page = store.list_replays(project, trace_id, limit=limit, cursor=cursor)
        now_us = _now_us()
        return page_answer(page, lambda row: listed_replay_answer(row, now_us))

    return router


def _checked(value: object, longest_s: float) -> dict[str, Any]:
    """What a body asks for, as `ReplayConfig` takes it.

    Raises:
        Problem: 422 with the place in it that is wrong.
    """
    if not isinstance(value, dict):
        raise Problem(
            422, "invalid", "the body is not an object", remedy='send {"dry_run": true}, or nothing'
        )
    for key in sorted(value.keys() - _KEYS):
        text = _REFUSED.get(key, f"unknown key {key[:40]!r}")
        raise Problem(422, "invalid", text, remedy=f"known keys: {', '.join(sorted(_KEYS))}")
    config = {key: each for key, each in value.items() if each is not None}
    seconds = config.get("timeout_seconds", longest_s)
    wrong = {
        "dry_run": not isinstance(config.get("dry_run", False), bool),
        "overrides": not isinstance(config.get("overrides", {}), dict),
        "modified_state": not isinstance(config.get("modified_state", {}), (dict, list)),
        "executor": "executor" in config
        and not (isinstance(config["executor"], str) and is_label(config["executor"])),
        "timeout_seconds": isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not 0 < seconds <= longest_s,
    }
    for key, is_wrong in wrong.items():
        if is_wrong:
            remedy = f"at most {longest_s:g} here" if key == "timeout_seconds" else "see /openapi.json"
            raise Problem(422, "invalid", f"{key} is invalid", path=f"/{key}", remedy=remedy)
    json_text(config, "")
    return config


def _now_us() -> int:
    return time.time_ns() // 1000
