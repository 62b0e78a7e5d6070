"""What the extra `server` brings, and the one error of an installation without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from Agent.errors import MissingExtra

__all__ = ["extra_needed"]

_OF_EXTRA: Final = {
    "alembic": "alembic",
    "fastapi": "fastapi",
    "google": "protobuf",
    "opentelemetry": "opentelemetry-proto",
    "psycopg": "psycopg[binary]",
    "pydantic": "fastapi",
    "sqlalchemy": "sqlalchemy",
    "starlette": "fastapi",
    "uvicorn": "uvicorn",
}


@contextmanager
def extra_needed() -> Iterator[None]:
    """Turns the failed import of a library of the extra into one clear error.

    Raises:
        MissingExtra: a library of the extra `server` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = _OF_EXTRA.get((error.name or "").partition(".")[0])
        if library is None:
            raise
        raise MissingExtra(
            f"the service needs {library}, which is not installed",
            remedy='install it with: pip install "agent-trace[server]"',
        ) from None
