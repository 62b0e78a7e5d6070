"""`make_app`: the one factory of the service's apps, each of one role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, cast

from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse

from Agent.server.access import Access, Granted
from Agent.server.answers import ERRORS, HealthAnswer
from Agent.server.counters import Counters, CountRequests
from Agent.server.ingest_routes import ingest_router
from Agent.server.problems import Problem, install_problems
from Agent.server.query_routes import query_router
from Agent.server.settings import ServerSettings
from Agent.store import Role, Scope, Store, open_store
from Agent.version import __version__

__all__ = ["make_app"]


def make_app(settings: ServerSettings, *, role: Literal["ingest", "query"]) -> FastAPI:
    """An app of one role, with its own connections to the database; they are closed when it shuts down.

    Args:
        settings: its database, where it listens, and its limits.
        role: `ingest` writes and reads nothing, `query` reads and cannot write.

    Raises:
        InputError: the database does not open, or for `query` holds nothing to read yet.
    """
    store = open_store(settings.database_url, role=Role(role))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    app = FastAPI(
        title=f"Agent Trace {role}",
        version=__version__,
        description=_ABOUT[role],
        lifespan=lifespan,
        docs_url=None,  # the pages that come with FastAPI load their scripts from elsewhere
        redoc_url=None,
        dependencies=[Depends(_without_nul)],
    )
    counters = Counters()
    app.state.store = store
    app.state.access = Access(store, Scope(role), settings)
    install_problems(app)
    _add_own_routes(app, store, counters, role)
    if role == "ingest":
        app.include_router(ingest_router(store, settings, counters))
    else:
        app.include_router(query_router(store))
    app.add_middleware(CountRequests, counters=counters)
    return app


_ABOUT = {
    "ingest": "Takes runs and events, stores what may be stored, and reads nothing.",
    "query": "Reads runs, steps, failures and events of one project. It cannot write.",
}


def _without_nul(request: Request) -> None:
    """No id holds a NUL, and PostgreSQL takes none."""
    if "\0" in request.url.path or "\0" in "".join(request.query_params.values()):
        raise Problem(422, "invalid", "a parameter holds a NUL character")


def _add_own_routes(app: FastAPI, store: Store, counters: Counters, role: Literal["ingest", "query"]) -> None:
    @app.get("/health", summary="Say whether the service works", responses=cast("Any", _only(500, 503)))
    def health() -> HealthAnswer:
        """Needs no key and tells nothing else."""
        store.ping()
        return HealthAnswer(status="ok", role=role, version=__version__)

    @app.get(
        "/metrics",
        summary="Count what the service did, for Prometheus",
        response_class=PlainTextResponse,
        responses=ERRORS,
    )
    def metrics(_project: Granted) -> PlainTextResponse:
        """Since it was started, over all projects, without a name of any."""
        return PlainTextResponse(counters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: ERRORS[status] for status in statuses}
