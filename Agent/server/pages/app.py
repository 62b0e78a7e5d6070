"""`Pages`: the app of the pages and their API; `ui/README.md` describes it, `Agent.view` implements it."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlencode

import orjson
import uvicorn
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

from Agent import errors, view
from Agent.event.values.plain import json_or_text
from Agent.render import html
from Agent.server.pages.documents import SECTIONS, Document, report_page, sessions_page
from Agent.server.pages.editor import Editor
from Agent.server.pages.guard import Guard, path_of, refused
from Agent.server.server_thread import ServerInThread, server_config
from Agent.server.settings import is_loopback, listen_on
from Agent.tree.files import control
from Agent.tree.layout import find_session, session_id_of
from Agent.version import __version__
from Agent.view.sessions import Watch, release_large_arrays
from Agent.view.sharing import moment_of

_DIRECTORY: Final = Path(__file__).parent
_STATIC: Final = _DIRECTORY / "static"
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_A_YEAR: Final = "public, max-age=31536000, immutable"
_SESSION: Final = re.compile(r"[A-Za-z0-9_.\-]{1,200}")
_NEWEST: Final = "newest"
_MISSING: Final = (errors.SessionNotFound, errors.RunNotFound, errors.AgentNotFound, errors.EventNotFound)
_GZIP_BYTES: Final = 1024
_NEWS_INTERVAL_S: Final = 0.02
_QUIET_S: Final = 1.0
_CONTROL_S: Final = 10.0
"""How long a request waits for the next tick of a program."""
_MOST_OPEN: Final = 4
"""The maximum number of open sessions."""


@dataclass(slots=True)
class _Opened:
    view: view.SessionView
    users: int = 0
    last_use: int = 0


@dataclass(slots=True)
class OpenViews:
    """The open sessions of one trace root: those in use, and the `_MOST_OPEN` last used."""

    root: Path
    _open: dict[str, _Opened] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _uses: int = 0

    @contextmanager
    def use(self, session: str) -> Iterator[view.SessionView]:
        """Return the view of a session, by its full id or `newest`.

        Raises:
            SessionNotFound: the root has no session of this id.
        """
        with self._lock:
            name = self.id_of(session)
            opened = self._open.get(name)
            if opened is None:
                opened = self._open[name] = _Opened(view.open_view(name, root=self.root))
            self._uses += 1
            opened.users, opened.last_use = opened.users + 1, self._uses
        try:
            yield opened.view
        finally:
            with self._lock:
                opened.users -= 1
                self._close_oldest()

    def id_of(self, session: str) -> str:
        """Return the full id of a session of this root.

        Raises:
            SessionNotFound: the root has no session of this id.
        """
        if session in self._open:
            return session
        if _SESSION.fullmatch(session) is None:
            raise errors.SessionNotFound("this is not the id of a session", remedy="/sessions lists them")
        # Only the command line accepts prefixes of ids, and paths.
        session_id = session_id_of(find_session(self.root, None if session == _NEWEST else session))
        if session not in (_NEWEST, session_id):
            raise errors.SessionNotFound(f"no session has the id {session}", remedy="/sessions lists them")
        return session_id

    def _close_oldest(self) -> None:
        idle = sorted((one.last_use, name) for name, one in self._open.items() if not one.users)
        for _, name in idle[: max(0, len(self._open) - _MOST_OPEN)]:
            self._open.pop(name).view.close()

    def close(self) -> None:
        """Close all sessions."""
        with self._lock:
            for one in self._open.values():
                one.view.close()
            self._open.clear()


class Pages:
    """The app of the pages of a trace root. It only reads, unless forks or control are allowed.

    Args:
        root: the trace root.
        token: the secret in the address of the first page; None admits every program on the machine.
        host: the address that the server listens on; it determines the accepted host names.
        allow_fork: whether the holder of the token may fork runs, which executes the code of their targets in
            child processes.
        allow_control: whether the holder of the token may pause running programs and change their agents.
        editor: opens lines of the recorded program on the reader's machine; None for no links.

    Raises:
        MissingExtra: a library of the extra `view` is not installed.
    """

    def __init__(
        self,
        root: Path,
        *,
        token: str | None,
        host: str = "127.0.0.1",
        allow_fork: bool = False,
        allow_control: bool = False,
        editor: Editor | None = None,
    ) -> None:
        _ = view.open_view  # imported now, so that a missing library is reported at the start
        self._views = OpenViews(root)
        app = FastAPI(
            title="Agent Trace pages",
            version=__version__,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
        )
        may = {"allow_fork": allow_fork, "allow_control": allow_control}
        app.include_router(_api(self._views, editor, may))
        app.include_router(_pages(self._views, may))
        _install_problems(app)
        for route in app.routes:
            # prepares all routes, so that the first request need not wait for it
            route.matches({"type": "http", "method": "GET", "path": "/", "headers": []})
        compressed = GZipMiddleware(app, minimum_size=_GZIP_BYTES, compresslevel=1)
        # Outermost, so that error responses have its headers, too.
        self._app = Guard(compressed, token=token, host=host, **may)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)

    def close(self) -> None:
        """Close all sessions; no request may follow."""
        self._views.close()


# the API


def answer(value: Any) -> Response:
    """Return a value as JSON."""
    return Response(encoded(value), media_type="application/json")


def encoded(value: Any) -> bytes:
    """Return a value as JSON; values without a JSON form become null, lone surrogates become escapes."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # A lone surrogate or an integer beyond 64 bits: the standard library can encode both.
        return json.dumps(_finite(value)).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _numbers(lanes: str | None) -> list[int] | None:
    """Parse `4,9,2`; None if nothing is given."""
    if not lanes:
        return None
    try:
        return [int(each) for each in lanes.split(",")]
    except ValueError:
        raise errors.UsageError("lanes are not numbers", remedy="write lanes=4,9,2") from None


_Lanes = Annotated[str | None, Query(max_length=100_000)]
_ROUTES: Final[dict[str, dict[str, Any]]] = {
    **{name: {} for name in "overview search arrows counters state why provenance series".split()},
    "window": {
        "lanes": _Lanes,
        "first": Annotated[int, Query(alias="from")],
        "last": Annotated[int | None, Query(alias="to")],
        "axis": Literal["time", "tick"],
        "sum_lanes": Annotated[bool, Query(alias="sum")],
    },
    "events": {
        "lanes": _Lanes,
        "limit": Annotated[int, Query(ge=1, le=1000)],
        "order": Literal["asc", "desc"],
    },
    "step": {"lanes": _Lanes, "by": Literal["event", "tick", "error"]},
}
"""The methods of a view that are routes, with the parameters whose types differ in a request."""


def _api(views: OpenViews, editor: Editor | None, may: Mapping[str, bool]) -> APIRouter:
    api = APIRouter(prefix="/api")
    for name, types in _ROUTES.items():
        api.get(f"/{{session}}/{name}")(_route_of(views, name, types))
    _add_reads(api, views, editor)
    if may["allow_fork"]:
        _add_forks(api, views)
    if may["allow_control"]:
        _add_control(api, views)
    return api


def _route_of(views: OpenViews, name: str, types: Mapping[str, Any]) -> Callable[..., Response]:
    """Return the route that returns the result of this method of a view."""

    def route(session: str, **parameters: Any) -> Response:
        with views.use(session) as opened:
            if "lanes" in parameters:
                parameters["lanes"] = _numbers(parameters["lanes"])
            result = getattr(opened, name)(**parameters)
        if isinstance(result, bytes):
            return Response(result, media_type="application/octet-stream")
        return answer(result)

    session_parameter, _ = inspect.signature(route, eval_str=True).parameters.values()
    _, *of_method = inspect.signature(getattr(view.SessionView, name), eval_str=True).parameters.values()
    parameters = [each.replace(annotation=types.get(each.name, each.annotation)) for each in of_method]
    route.__signature__ = inspect.Signature([session_parameter, *parameters])  # type: ignore[attr-defined]
    return route


def _add_reads(api: APIRouter, views: OpenViews, editor: Editor | None) -> None:
    @api.get("/sessions")
    def sessions() -> Response:
        return answer(view.session_list(views.root))

    @api.get("/{session}/live")
    async def live(session: str) -> Response:
        return StreamingResponse(_live_events(views, session), media_type="text/event-stream")

    @api.get("/{session}/findings")
    def findings(session: str, q: str | None = None) -> Response:
        with views.use(session) as opened:
            return answer(opened.findings(q=q or None))

    @api.get("/{session}/compare")
    def compare(session: str, other: str, agent: str | None = None) -> Response:
        with views.use(session) as opened, views.use(other) as beside:
            result = opened.comparison(beside) if agent is None else opened.differences(beside, agent=agent)
            return answer(result)

    @api.get("/{session}/moment")
    def moment(session: str, at: str) -> Response:
        with views.use(session) as opened:
            return answer(asdict(moment_of(opened, at)))

    @api.get("/{session}/event/{event_id:path}")
    def event(session: str, event_id: str, links: bool = True) -> Response:
        with views.use(session) as opened:
            details = opened.event(event_id, links=links)
        if editor is not None and details["code"] is not None:
            editor.add_link(details["code"], details["event"]["timestamp"])
        return answer(details)


async def _live_events(views: OpenViews, session: str) -> AsyncIterator[bytes]:
    """Yield the news of a session as server-sent events, until the page disconnects."""
    with views.use(session) as opened, Watch(opened) as watch:
        quiet_s = 0.0
        while True:
            # Sent without news, too: this detects that the program has ended or the page has disconnected.
            if watch.is_behind or quiet_s >= _QUIET_S:
                quiet_s = 0.0
                yield b"data: %b\n\n" % encoded(await run_in_threadpool(watch.news))
            await asyncio.sleep(_NEWS_INTERVAL_S)
            quiet_s += _NEWS_INTERVAL_S


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AskedFork(_Asked):
    """A page's request for a fork; a repeated request returns whether the fork has ended."""

    number: int = Field(ge=0, description="distinguishes forks that are otherwise the same")
    agent: str = Field(max_length=1_000)
    at: str = Field(max_length=200, description="the event after which the fork begins")
    values: dict[str, str] = Field(max_length=1_000, description="{field: its new value as JSON}")
    seed: int | None = None
    live: list[str] = Field(default=[], max_length=100, description="what may be called live")
    outcome: str | None = Field(None, max_length=1_000, description="of the point of no return, or a sweep")
    vary: list[str] = Field(default=[], max_length=20, description="FIELD=VALUE,VALUE each: a sweep")
    seeds: int = Field(0, ge=0, le=1_000, description="how many seeds a sweep tries with each combination")


class AskedTest(_Asked):
    """A page's request to test the causes of a complaint by forks."""

    q: str = Field("", max_length=2_000, description="the complaint; empty for the leading findings")


def _add_forks(api: APIRouter, views: OpenViews) -> None:
    @api.post("/{session}/forks")
    def fork(session: str, body: AskedFork) -> Response:
        with views.use(session) as opened:
            return answer(opened.fork(**body.model_dump()))

    @api.post("/{session}/tests")
    def test(session: str, body: AskedTest) -> Response:
        with views.use(session) as opened:
            return answer(opened.findings(q=body.q, is_tested=True))


# control


class AskedControl(_Asked):
    """A page's request to a running program."""

    command: Literal["pause", "step", "resume", "set"]
    ticks: int = Field(1, ge=1, le=1_000_000, description="of a step")
    agent: str = Field("", max_length=1_000, description="of a change")
    field: str = Field("", max_length=1_000, description="of a change")
    text: str = Field("", max_length=100_000, description="its new value: JSON, or a text")


def _add_control(api: APIRouter, views: OpenViews) -> None:
    @api.get("/{session}/control")
    def status(session: str) -> dict[str, Any]:
        try:
            program = control.controlled(find_session(views.root, views.id_of(session)))
        except errors.InputError as error:
            return {"state": "none", "why": error.message}
        return {"state": program.state, "tick": program.tick, "since": program.since}

    @api.post("/{session}/control")
    def ask(session: str, body: AskedControl) -> dict[str, Any]:
        request: dict[str, Any] = {"command": body.command, "by": f"{control.user_name()}, in a page"}
        if body.command == "set":
            value = json_or_text(body.text)
            request |= {"agent_id": body.agent, "field": body.field, "value": value, "text": body.text}
        elif body.command == "step":
            request["ticks"] = body.ticks
        try:
            answer = control.request(find_session(views.root, views.id_of(session)), request, _CONTROL_S)
        except (control.NoTick, errors.InputError) as error:
            return {"done": False, "why": str(error)}
        refused = answer.get("refused")
        if refused is not None:
            return {"done": False, "why": "; ".join(filter(None, (refused["message"], refused["remedy"])))}
        return {"done": True, **{name: value for name, value in answer.items() if name != "id"}}


# the pages


def _pages(views: OpenViews, may: Mapping[str, bool]) -> APIRouter:
    pages = APIRouter()

    @pages.get("/")
    def newest(request: Request) -> Response:
        base, query = request.scope.get("root_path", ""), request.url.query
        try:
            session = views.id_of(_NEWEST)
        except errors.SessionNotFound:
            target = f"{base}/sessions"
        else:
            target = f"{base}/s/{session}"
        # Keep the token in the redirect, since the first page sets the cookie.
        return RedirectResponse(f"{target}?{query}" if query else target, status_code=303)

    @pages.get("/sessions")
    def sessions(request: Request) -> Response:
        base = request.scope.get("root_path", "")
        return _document(request, None, "", sessions_page(view.session_list(views.root), base))

    @pages.get("/s/{session}")
    def session_page(request: Request, session: str) -> Response:
        return _page(request, "session.html", session=views.id_of(session), reports=SECTIONS, **may)

    @pages.get("/s/{session}/report/{section}")
    def report(request: Request, session: str, section: str) -> Response:
        name = views.id_of(session)
        return _document(request, name, section, report_page(views.root, name, section))

    @pages.get("/static/{name}")
    def static(request: Request, name: str) -> Response:
        file = static_files().get(name)
        if file is None:
            raise HTTPException(404)
        is_versioned = request.query_params.get("v") == file.digest
        headers = {"Cache-Control": _A_YEAR if is_versioned else "no-cache"}
        return Response(file.content, media_type=file.media_type, headers=headers)

    return pages


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the package that pages load."""

    content: bytes
    media_type: str
    digest: str
    """A part of its address, so that a browser never uses a file of another version."""


@lru_cache(maxsize=1)
def static_files() -> dict[str, StaticFile]:
    """Return the static files by name: those of the pages, and the style sheet of reports."""
    paths = [*sorted(_STATIC.iterdir()), html.STYLE_SHEET]
    files = {}
    for path in paths:
        media_type = _TYPES.get(path.suffix)
        if media_type is not None:
            content = path.read_bytes()
            files[path.name] = StaticFile(content, media_type, hashlib.sha256(content).hexdigest()[:16])
    return files


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates of the package."""
    return Environment(
        loader=FileSystemLoader(_DIRECTORY / "templates"), autoescape=True, undefined=StrictUndefined
    )


def _page(request: Request, template: str, **values: Any) -> HTMLResponse:
    base = request.scope.get("root_path", "")

    def static(name: str) -> str:
        return f"{base}/static/{name}?v={static_files()[name].digest}"

    rendered = environment().get_template(template)
    return HTMLResponse(rendered.render(base=base, static=static, version=__version__, **values))


def _document(request: Request, session: str | None, section: str, page: Document) -> HTMLResponse:
    return _page(
        request,
        "document.html",
        session=session,
        section=section,
        sections=SECTIONS,
        page=page,
        shown=html.shown,
    )


# refusals

_NO_PAGE: Final = "nothing exists at this address"


def _install_problems(app: FastAPI) -> None:
    def handle(kind: type[Exception], make: Callable[[Any], tuple[int, str, str | None]]) -> None:
        async def handler(request: Request, error: Exception) -> Response:
            status, message, remedy = make(error)
            is_page = not path_of(request.scope).startswith(("/api/", "/static/"))
            return refused(status, html.shown(message), remedy and html.shown(remedy), as_page=is_page)

        app.add_exception_handler(kind, handler)

    handle(errors.AgentTraceError, _of_internal_error)
    handle(RequestValidationError, _of_parameters)
    handle(HTTPException, _of_http)
    handle(
        Exception, lambda _error: (500, "this is a bug in Agent Trace; the terminal has the details", None)
    )


def _of_internal_error(error: errors.AgentTraceError) -> tuple[int, str, str | None]:
    status = (
        400 if isinstance(error, errors.UsageError) else 422 if isinstance(error, errors.InputError) else 500
    )
    if isinstance(error, _MISSING):
        status = 404
    return status, error.message, error.remedy


_REQUESTS: Final = "ui/README.md lists them"
_NO_BODY: Final = "the body is not an object in JSON"


def _of_http(error: HTTPException) -> tuple[int, str, str | None]:
    # FastAPI has this status for one thing only: a body that is too deep for its parser of JSON.
    return (400, _NO_BODY, _REQUESTS) if error.status_code == 400 else (error.status_code, _NO_PAGE, None)


def _of_parameters(error: RequestValidationError) -> tuple[int, str, str | None]:
    first = error.errors()[0]
    where = first["loc"]
    if where == ("body",) or first["type"] == "json_invalid":
        return 400, _NO_BODY, _REQUESTS
    return 400, f"parameter {where[1]}: {first['msg'][:1].lower()}{first['msg'][1:]}", _REQUESTS


_BACKLOG = 64
_DRAIN_S = 1
"""Seconds that running requests get after an interrupt."""


class PagesServer:
    """A server of the pages of one trace root.

    Args:
        root: the trace root.
        host: the address to listen on.
        port: its port; 0 for any free one.
        editor: see `Pages`.
        may: `allow_fork` and `allow_control`, as for `Pages`.

    Raises:
        InputError: the address cannot be used.
    """

    def __init__(
        self,
        root: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        editor: Editor | None = None,
        **may: bool,
    ) -> None:
        self.root = root
        self.token = secrets.token_urlsafe(24)
        self.host = host
        self._listening = listen_on(host, port, _BACKLOG)
        self.port: int = self._listening.getsockname()[1]
        self._app = Pages(root, token=self.token, host=host, editor=editor, **may)
        self._server: ServerInThread | None = None

    def address(self, path: str = "/", **query: str | None) -> str:
        """Return the address of a page with the token; it is a secret."""
        name = {"0.0.0.0": "localhost", "::": "localhost"}.get(self.host, self.host)  # noqa: S104 - only read here
        name = f"[{name}]" if ":" in name else name
        parameters = {"token": self.token} | {key: value for key, value in query.items() if value is not None}
        return f"http://{name}:{self.port}{path}?{urlencode(parameters)}"

    @property
    def loopback(self) -> bool:
        """Return whether only this machine can reach the server."""
        return is_loopback(self.host)

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve in this thread until SIGINT or SIGTERM, which is raised again afterwards.

        Args:
            started: called before; the socket already listens, so requests wait for the server.
        """
        release_large_arrays()
        try:
            started()
            uvicorn.Server(self._config()).run(sockets=[self._listening])
        finally:
            self._app.close()

    def __enter__(self) -> Self:
        """Serve in a thread."""
        self._server = ServerInThread(self._config())
        self._server.start(self._listening, "pages")
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stop()
        self._app.close()

    def _config(self) -> uvicorn.Config:
        return server_config(self._app, timeout_graceful_shutdown=_DRAIN_S, http="h11")
