"""Every answer that is not what was asked for: one shape, one sentence, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from Agent.errors import AgentTraceError

__all__ = ["Problem", "install_problems"]

_RETRY_AFTER_S: Final = 2
_QUERY_CANCELED: Final = "57014"
_CODES: Final = {404: "not_found", 405: "not_allowed", 413: "too_large", 415: "unsupported"}


class Problem(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        code: one word for programs.
        message: one sentence for people, which repeats nothing of the body.
        path: where in the body, as a JSON pointer.
        remedy: what the sender can do.
        headers: for the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        path: str | None = None,
        remedy: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.path = path
        self.remedy = remedy
        self.headers = headers

    def answer(self) -> JSONResponse:
        """The answer that tells it."""
        error = {"code": self.code, "message": self.message, "path": self.path, "remedy": self.remedy}
        return JSONResponse({"error": error}, status_code=self.status, headers=self.headers)


def install_problems(app: FastAPI) -> None:
    """Lets every error of the app come out as a `Problem`."""
    makers: dict[type[Exception], Callable[[Any], Problem]] = {
        Problem: lambda problem: problem,
        AgentTraceError: _of_input,
        RequestValidationError: _of_parameters,
        HTTPException: _of_routing,
        OperationalError: _of_database,
        InterfaceError: _of_database,
        PoolTimeout: _of_database,
        Exception: _unforeseen,
    }
    for kind, maker in makers.items():
        app.add_exception_handler(kind, _handler(maker))


def _handler(maker: Callable[[Any], Problem]) -> Callable[[Request, Exception], Any]:
    async def handle(_request: Request, error: Exception) -> JSONResponse:
        return maker(error).answer()

    return handle


def _of_input(error: AgentTraceError) -> Problem:
    return Problem(422, "invalid", error.message, remedy=error.remedy)


def _of_parameters(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:2])
    return Problem(422, "invalid", f"parameter {name}: {first['msg']}")


def _of_routing(error: HTTPException) -> Problem:
    phrase = HTTPStatus(error.status_code).phrase.lower()
    return Problem(
        error.status_code,
        _CODES.get(error.status_code, "malformed"),
        f"{phrase}: /openapi.json lists what there is" if error.status_code in (404, 405) else phrase,
        headers=dict(error.headers) if error.headers else None,
    )


def _of_database(error: Exception) -> Problem:
    """The database is away or busy: nothing was stored, and the same request may come again."""
    headers = {"Retry-After": str(_RETRY_AFTER_S)}
    if getattr(getattr(error, "orig", None), "sqlstate", None) == _QUERY_CANCELED:
        remedy = "narrow it, with since and until for instance"
        return Problem(503, "unavailable", "the question took too long", remedy=remedy, headers=headers)
    return Problem(
        503, "unavailable", "the database does not answer now", remedy="send it again", headers=headers
    )


def _unforeseen(_error: Exception) -> Problem:
    return Problem(500, "internal", "this is a bug of Agent Trace; the server's own log has the details")
