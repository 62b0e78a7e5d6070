"""`make_app`: the factory of the service's apps, one per role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any, Final, cast

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from Agent.server.access import Access, Granted
from Agent.server.counters import Counters, CountRequests, gauges_text
from Agent.server.errors import PROBLEM_JSON, Problem, install_problems
from Agent.server.limits import large_bodies
from Agent.server.replays import Replays
from Agent.server.routes.ingest import ingest_router, removal_router
from Agent.server.routes.otlp import otlp_router
from Agent.server.routes.query import query_router
from Agent.server.routes.replays import checkpoint_router, replay_router
from Agent.server.routes.schemas import ERRORS, HealthAnswer
from Agent.server.settings import ServerRole, ServerSettings
from Agent.store import Role, Scope, Store, open_store
from Agent.store.database import ReplayStore
from Agent.version import __version__

_PARAMETERS: Final = {
    "trace_id": "A run by its id, or a session by its UUID.",
    "checkpoint_id": "A checkpoint by its id, as listed.",
    "replay_id": "A replay by its id.",
    "run_id": "A run by its full id.",
    "session_uid": "A session by its UUID.",
    "agent_id": "An agent by its id, as sent.",
    "agent_version": "A version of agents.",
    "status": "How runs ended; `running` if no end is known.",
    "session_id": "Sessions of this name, as commands print it; those of several machines may have the same.",
    "label": "Runs with this label, KEY=VALUE.",
    "failure_type": "Which part failed: tool, model, retrieval or orchestration.",
    "failure_code": "How it failed, such as timeout.",
    "kind": "A kind of events, such as tool.call.",
    "min_level": "Events of this level and above.",
}
_HEALTH_THREADS: Final = 2
_LEAST_PACKED_BYTES: Final = 1_000
_OPEN: Final = frozenset({"/health"})
_REFUSAL: Final = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
_SCHEME: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of a project. Not needed on a server that listens on loopback only.",
}


def complete_openapi(app: FastAPI, role: ServerRole, settings: ServerSettings) -> None:
    """Add descriptions of parameters, and the scopes of routes that need a key, to the OpenAPI document."""
    default_openapi: Callable[[], dict[str, Any]] = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = default_openapi()
        schema.setdefault("components", {})["securitySchemes"] = {"key": _SCHEME}
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                for parameter in operation.get("parameters", ()):
                    description = _PARAMETERS.get(parameter["name"])
                    if description is not None:
                        parameter.setdefault("description", description)
                for status, answer in operation["responses"].items():
                    if status >= "400":  # all errors have one form, whatever the media type of the route
                        answer["content"] = _REFUSAL
                if path not in _OPEN and settings.needs_keys:
                    scope: str = "replay" if path.startswith("/api/") else role
                    if method == "delete" and path.startswith("/v1/"):
                        scope = "delete"
                    operation["security"] = [{"key": [scope]}]
        return schema

    app.openapi = document  # type: ignore[method-assign]  # the way to extend it that FastAPI documents


def make_app(settings: ServerSettings, *, role: ServerRole, and_replay: bool = False) -> FastAPI:
    """Make an app of one role, with separate connections to the database, which are closed at its shutdown.

    Args:
        settings: its database, address and limits.
        role: `ingest` writes and reads nothing, `query` reads and cannot write, `replay` continues from
            checkpoints.
        and_replay: add the replay routes to the ingest role.

    Raises:
        InputError: the database does not open, or, for `query`, has no tables yet.
    """
    store = open_store(settings.database_url, role=Role(role))
    replays: Replays | None = None
    if and_replay or role == "replay":
        is_for_replay = isinstance(store, ReplayStore)
        replay_store = store if is_for_replay else open_store(settings.database_url, role=Role.REPLAY)
        replays = Replays(cast("ReplayStore", replay_store), settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        if replays is not None:
            await run_in_threadpool(replays.close)
        store.close()

    app = FastAPI(
        title=f"Agent Trace {role}",
        version=__version__,
        description=_ABOUT[role],
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,  # a redirect would go to the host in the request's Host header
        dependencies=[Depends(_without_nul), Depends(_known_parameters)],
    )
    counters = Counters()
    app.state.store = store
    app.state.large_bodies = large_bodies()
    app.state.health_threads = CapacityLimiter(_HEALTH_THREADS)
    app.state.replays = replays
    app.state.access = Access(store, Scope(role), settings)
    install_problems(app, role)
    _add_service_routes(app, store, counters, role)
    if replays is not None:
        app.state.replay_access = Access(replays.store, Scope.REPLAY, settings)
        app.include_router(checkpoint_router(replays))
        app.include_router(replay_router(replays))
    if role == "ingest":
        app.state.delete_access = Access(store, Scope.DELETE, settings)
        app.include_router(ingest_router(store, settings, counters))
        app.include_router(removal_router(store))
        app.include_router(otlp_router(store, settings, counters))
    elif role == "query":
        app.include_router(query_router(store))
    complete_openapi(app, role, settings)
    app.add_middleware(Conditional)
    # Level 1 takes a fifth of the time of level 9 for a tenth more bytes.
    app.add_middleware(GZipMiddleware, minimum_size=_LEAST_PACKED_BYTES, compresslevel=1)
    app.add_middleware(CountRequests, counters=counters)
    return app


_ABOUT: Final[dict[ServerRole, str]] = {
    "ingest": "Accepts runs and events, stores what may be stored, and reads nothing.",
    "query": "Reads runs, steps, failures and events of one project. It cannot write.",
    "replay": "Creates checkpoints of runs that were sent with content, and continues from them in workers.",
}


async def _without_nul(request: Request) -> None:
    """Refuse parameters with a NUL: no id contains one, and PostgreSQL does not accept it."""
    if "\0" in request.url.path or "\0" in "".join(request.query_params.values()):
        raise Problem(422, "a parameter holds a NUL character")


async def _known_parameters(request: Request) -> None:
    """Refuse unknown parameters, since a misspelt filter would have no effect; not on routes without any."""
    operations = request.app.openapi()["paths"].get(request.scope["route"].path, {})
    described = operations.get(request.method.lower(), {}).get("parameters", ())
    names = {each["name"] for each in described if each["in"] == "query"}
    parameter_names = [name for name, _ in request.query_params.multi_items()]
    twice = sorted(name for name in names if parameter_names.count(name) > 1)
    if twice:
        raise Problem(400, f"{twice[0]} is given more than once", remedy="give one value")
    unknown = sorted(request.query_params.keys() - names)
    if names and unknown:
        raise Problem(
            422,
            f"unknown parameter {unknown[0][:40]!r} here",
            remedy=f"known parameters: {', '.join(sorted(names))}",
        )


def _add_service_routes(app: FastAPI, store: Store, counters: Counters, role: ServerRole) -> None:
    @app.get(
        "/health",
        summary="Check that the service works",
        responses={status: ERRORS[status] for status in (500, 503)},
    )
    async def health() -> HealthAnswer:
        """Needs no key."""
        # In separate threads, since all shared ones may be waiting for the database.
        await to_thread.run_sync(store.ping, limiter=app.state.health_threads)
        return HealthAnswer(status="ok", role=role, version=__version__)

    @app.get(
        "/metrics",
        summary="Show counters for Prometheus",
        response_class=PlainTextResponse,
        responses=ERRORS,
    )
    def metrics(request: Request, project: Granted) -> PlainTextResponse:
        """Counters since the start: with a key, of its project only; without one, of the whole server."""
        project_id = None if request.headers.get("authorization") is None else project.project_id
        replays: Replays | None = app.state.replays
        gauges = {} if replays is None else replays.gauges(None if project_id is None else project)
        text = counters.text(project_id) + gauges_text(gauges)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


_BEGINNINGS: Final = ("/v1/", "/api/", "/openapi.json")
"""The paths whose answers have an ETag; `/health` and `/metrics` differ each time."""
_CACHE_CONTROL: Final = (b"cache-control", b"private, no-cache")
"""Clients may cache an answer, but must revalidate it each time."""


class Conditional:
    """ASGI application that answers HEAD like GET without the body, and adds an ETag to answers of GET.

    A client that already has the answer gets 304. The ETag is a digest of the body, so it is the same on
    every server of a database; it saves the transfer, not the query.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        if scope["method"] == "HEAD":
            # routes are declared for GET only; requests were already counted with their own method
            scope["method"] = "GET"
        await self._app(scope, receive, answer.send)


class _Answer:
    """One answer, whose head is held back until its body is complete."""

    def __init__(self, scope: AsgiScope, send: Send) -> None:
        self._send = send
        self._is_head = scope["method"] == "HEAD"
        self._has_tag = str(scope["path"]).startswith(_BEGINNINGS)
        headers = dict(scope["headers"])
        self._known = {
            each.strip().removeprefix(b"W/") for each in headers.get(b"if-none-match", b"").split(b",")
        }
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._has_tag and message["status"] == 200:
                self._head = message
            else:
                await self._send(message)
            return
        head, self._head = self._head, None
        if head is not None:
            if message.get("more_body"):
                await self._send(head)  # a streamed answer has no ETag: its body is not known yet
            elif await self._is_known(head, message.get("body", b"")):
                return
        await self._send({**message, "body": b""} if self._is_head else message)

    async def _is_known(self, head: Message, body: bytes) -> bool:
        """Send the head with its ETag; return whether the client has the body, which is then not sent."""
        tag = b'"%s"' % blake2b(body, digest_size=12).hexdigest().encode()
        headers: list[Any] = [*head["headers"], (b"etag", b"W/" + tag), _CACHE_CONTROL]
        if not self._known & {tag, b"*"}:
            await self._send({**head, "headers": headers})
            return False
        kept_headers = [(name, value) for name, value in headers if not name.startswith(b"content-")]
        await self._send({**head, "status": 304, "headers": kept_headers})
        await self._send({"type": "http.response.body", "body": b""})
        return True
