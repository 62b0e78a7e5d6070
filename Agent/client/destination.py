"""The service that a record is sent to: its address and key, and one connection to it.

The standard library's `http.client` does it: one kept-alive POST after another is all that is asked, and the
agent's process loads no HTTP library for it. `delivery.py` says what is made of the answers.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import ssl
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from Agent.errors import ConfigurationError
from Agent.version import __version__

__all__ = ["Connection", "Destination", "ServiceResponse"]

EVENTS_PATH: Final = "/v1/events"
_TIMEOUT_S: Final = 30.0
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
# Level 1 takes a fifth of the time of level 6 for a tenth more bytes.
_GZIP_LEVEL: Final = 1
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Destination:
    """Where to send to.

    Args:
        url: of the ingest service, such as `http://localhost:8000`.
        api_key: stands in every request; not needed by a service on this machine.

    Raises:
        ConfigurationError: no http(s) address, or a key that no header can hold.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            port, host = parts.port, parts.hostname
        except (ValueError, TypeError, AttributeError):
            port, host, parts = None, None, urlsplit("")
        if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
            raise ConfigurationError(
                f"{str(self.url)[:200]!r} is not an address of a service",
                remedy="give one such as http://localhost:8000",
            )
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError(
                "the address of the service contains a password", remedy="give it as api_key"
            )
        if port == 0 or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise ConfigurationError(
                "the address of the service has invalid characters", remedy="use ASCII without spaces"
            )
        key = self.api_key
        if key is not None and (not key or not key.isascii() or not key.isprintable() or " " in key):
            raise ConfigurationError(
                "the API key is empty, or has invalid characters", remedy="use the key as it was created"
            )

    @property
    def place(self) -> str:
        """The address without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def cursor_name(self) -> str:
        """Under which a session keeps how far it was sent there; another key is another project."""
        told = f"{self.place}|{self.api_key or ''}".encode()
        return f"ship-{urlsplit(self.url).hostname}-{blake2b(told, digest_size=5).hexdigest()}"

    @property
    def shows_key(self) -> bool:
        """Whether the key would go over a network that anybody may read."""
        parts = urlsplit(self.url)
        return self.api_key is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK


@dataclass(frozen=True, slots=True)
class ServiceResponse:
    """What a service answered: its status, its JSON, and how long it wants to be left alone."""

    status: int
    body: dict[str, Any]
    retry_after_s: float | None = None
    location: str | None = None

    @property
    def problem(self) -> str:
        """What the service says is wrong, in one clause."""
        error = self.body.get("error")
        told = error.get("message") if isinstance(error, dict) else None
        said = f": {' '.join(told.split())[:300]}" if isinstance(told, str) and told else ""
        return f"it answers {self.status} {http.client.responses.get(self.status, '')}".rstrip() + said

    @property
    def remedy(self) -> str | None:
        """What the service says can be done about it."""
        error = self.body.get("error")
        told = error.get("remedy") if isinstance(error, dict) else None
        return " ".join(told.split())[:300] if isinstance(told, str) and told else None


class Connection:
    """One connection to a service, opened by the first request and again whenever it was lost."""

    def __init__(self, destination: Destination, timeout_s: float = _TIMEOUT_S) -> None:
        self.destination = destination
        self._timeout_s = timeout_s
        self._open: http.client.HTTPConnection | None = None

    def post(self, body: bytes, path: str = EVENTS_PATH) -> ServiceResponse:
        """Send a body of JSON, compressed, and give the answer.

        Raises:
            OSError: no answer came. What was sent may have arrived all the same.
        """
        prefix = urlsplit(self.destination.place).path
        headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "Accept": "application/json",
            "User-Agent": f"agent-trace/{__version__}",
        }
        if self.destination.api_key is not None:
            headers["Authorization"] = f"Bearer {self.destination.api_key}"
        packed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        was_open = self._open is not None
        try:
            return self._exchange(prefix + path, packed, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            # A kept-alive connection that the service closed meanwhile; a new one is tried once.
            if not was_open:
                raise
            return self._exchange(prefix + path, packed, headers)

    def _exchange(self, path: str, packed: bytes, headers: dict[str, str]) -> ServiceResponse:
        connection = self._open or self._connect()
        self._open = connection
        try:
            connection.request("POST", path, packed, headers)
            response = connection.getresponse()
            content = response.read(_MAX_ANSWER_BYTES)
        except http.client.HTTPException as error:
            self.close()
            if isinstance(error, OSError):
                raise
            raise OSError(f"the answer is not HTTP ({type(error).__name__})") from None
        except BaseException:
            self.close()
            raise
        if response.will_close or not response.isclosed():
            self.close()
        return ServiceResponse(
            response.status,
            _object_in(content),
            _seconds(response.headers.get("Retry-After")),
            response.headers.get("Location"),
        )

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.destination.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(host, parts.port, timeout=self._timeout_s)

    def close(self) -> None:
        """Hang up."""
        connection, self._open = self._open, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _object_in(content: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: str | None) -> float | None:
    """What `Retry-After` asks for; a date is left to the usual patience."""
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else None
