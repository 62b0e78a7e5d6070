"""Error responses: all have one form, with a message of one sentence and no traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from http import HTTPStatus
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DatabaseError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from Agent.errors import AgentTraceError

_log = logging.getLogger(__name__)

PROBLEM_JSON: Final = "application/problem+json"
"""The media type of every answer from 400 up."""

_RETRY_AFTER_S: Final = 2
_QUERY_CANCELED: Final = "57014"
_LISTED: Final = {"session_uid": "/v1/sessions lists them", "event_id": "/v1/events lists them"}
_ASKS: Final = {"ingest": True, "query": False}
"""By role, whether the other role takes GET requests: an unknown GET request may be meant for that role."""

_OTHER_ROLES: Final = {
    "ingest": "use the query role, by default on port 8001",
    "query": "use the ingest role, by default on port 8000",
}
_METHOD_CHARS: Final = 20
_CODES: Final = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported",
    422: "invalid",
    429: "rate_limited",
    500: "internal",
    503: "unavailable",
}
"""{status: the default error code of a problem}; for all other statuses it is `malformed`."""


@dataclass(eq=False, repr=False)
class Problem(Exception):
    """A refused request.

    Args:
        status: the HTTP status.
        message: one sentence for display, which does not quote the body.
        code: one word for programs; default: the code of the status.
        path: a JSON Pointer to the error in the body.
        remedy: what the sender can do.
        headers: headers of the response.
        errors: (path, message) of each mistake, if there are several.
    """

    status: int
    message: str
    _: KW_ONLY
    code: str = ""
    path: str | None = None
    remedy: str | None = None
    headers: dict[str, str] | None = None
    errors: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        super().__init__(self.message)
        self.code = self.code or _CODES.get(self.status, "malformed")

    def answer(self) -> JSONResponse:
        """Return the response with this problem, in the form of RFC 9457."""
        error = {name: getattr(self, name) for name in ("code", "message", "path", "remedy")}
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.message,
            "error": error,
        }
        if self.errors:
            body["errors"] = [{"path": path, "message": message} for path, message in self.errors]
        return JSONResponse(body, self.status, self.headers, media_type=PROBLEM_JSON)


def install_problems(app: FastAPI, role: str) -> None:
    """Convert every error of an app with this role to a `Problem`."""
    makers: dict[type[Exception], Callable[[Any], Problem]] = {
        Problem: lambda problem: problem,
        AgentTraceError: lambda error: Problem(422, error.message, remedy=error.remedy),
        RequestValidationError: _of_parameters,
        OperationalError: _of_database,
        InterfaceError: _of_database,
        DatabaseError: _of_damage,
        PoolTimeout: _of_database,
        Exception: lambda _: Problem(500, "this is a bug in Agent Trace; the server's log has the details"),
    }
    for kind, maker in makers.items():
        app.add_exception_handler(kind, _handler(maker))

    async def of_routing(request: Request, error: HTTPException) -> JSONResponse:
        return _of_routing(request, error, role).answer()

    app.add_exception_handler(HTTPException, cast("Any", of_routing))


def _handler(maker: Callable[[Any], Problem]) -> Callable[[Request, Exception], Any]:
    async def handle(_request: Request, error: Exception) -> JSONResponse:
        return maker(error).answer()

    return handle


def _of_parameters(error: RequestValidationError) -> Problem:
    problems = [_of_parameter(each) for each in error.errors()]
    first = problems[0]
    if len(problems) > 1:
        first.errors = [("", each.message) for each in problems]
    return first


def _of_parameter(first: dict[str, Any]) -> Problem:
    name = ".".join(str(part) for part in first["loc"][1:2])
    if first["type"] == "missing":
        return Problem(422, f"parameter {name} is missing", remedy=_LISTED.get(name))
    if first["type"] == "string_pattern_mismatch":
        remedy = _LISTED.get(name, "/openapi.json describes its format")
        return Problem(422, f"parameter {name} has an invalid format", remedy=remedy)
    message = first["msg"].removeprefix("Input ").removeprefix("String ")
    return Problem(422, f"parameter {name} {message}")


def _of_routing(request: Request, error: HTTPException, role: str) -> Problem:
    status = error.status_code
    message, remedy = HTTPStatus(status).phrase.lower(), None
    if status in (404, 405):
        message = "unknown path"
        if status == 405:
            message = f"this path does not support {request.method[:_METHOD_CHARS]}"
        remedy = "/openapi.json lists all routes"
        path = request.url.path
        if path.startswith("/api/") and request.app.state.replays is None:
            message = f"{message}: this is the {role} role"
            remedy = "use the replay role, by default on port 8000"
        elif path.startswith("/v1/") and (request.method == "GET") is _ASKS.get(role):
            message = f"{message}: this is the {role} role"
            remedy = _OTHER_ROLES[role]
    return Problem(status, message, remedy=remedy, headers=dict(error.headers) if error.headers else None)


def _of_database(error: Exception) -> Problem:
    """Convert an error of an unreachable or busy database: nothing was stored, and the client may retry."""
    if getattr(getattr(error, "orig", None), "sqlstate", None) == _QUERY_CANCELED:
        return _unavailable(error, "the query took too long", "narrow it, for instance with since and until")
    return _unavailable(error, "the database does not answer", "send it again")


def _of_damage(error: Exception) -> Problem:
    """Convert an error of a damaged or read-only database file; others of these classes are our bugs."""
    if type(error) not in (DatabaseError, InternalError):
        raise error
    remedy = "the operator finds the reason in the server's log"
    return _unavailable(error, "the database cannot be used", remedy)


def _unavailable(error: Exception, message: str, remedy: str) -> Problem:
    # the database's message is for the operator: the client can do nothing about a full disk
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    _log.warning("the database does not answer: %s", lines[0][:200] if lines else type(error).__name__)
    return Problem(503, message, remedy=remedy, headers={"Retry-After": str(_RETRY_AFTER_S)})
