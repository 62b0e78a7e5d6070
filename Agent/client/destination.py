"""The service that receives a session: address and key, one connection, and the meaning of its responses.

This uses the standard library's `http.client`: a series of POST requests over a kept-alive connection is all
that is needed, and the agent's process loads no HTTP library for it.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import random
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import orjson

from Agent.errors import ConfigurationError, NotDelivered
from Agent.export.wire import encode_body
from Agent.version import __version__

EVENTS_PATH: Final = "/v1/events"
_JSON: Final = "application/json"
_TIMEOUT_S: Final = 30.0
_LEAST_TIMEOUT_S: Final = 1.0
_LEAST_TRIES: Final = 2
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
# Level 1 takes a fifth of the time of level 6 for a tenth more bytes.
_GZIP_LEVEL: Final = 1
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Destination:
    """The address of a service and the key for it.

    Args:
        url: the address of the ingest service, such as `http://localhost:8000`.
        api_key: sent with each request; not needed for a service on this machine.
        is_compressed: whether bodies are compressed with gzip.

    Raises:
        ConfigurationError: not an http(s) address, or a key that is not valid in a header.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    is_compressed: bool = True

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

    def to_order(self) -> dict[str, Any]:
        """Return the data for the sender process."""
        return {"url": self.url, "api_key": self.api_key}

    @property
    def command(self) -> str:
        """Return the command that sends a session there later, without the session."""
        return f"ship --to {self.place}"

    @property
    def more_headers(self) -> Mapping[str, str]:
        """Return further headers of each request."""
        return {}

    def tls_context(self) -> ssl.SSLContext:
        """Return the settings of TLS connections."""
        return ssl.create_default_context()

    @property
    def place(self) -> str:
        """Return the address without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def cursor_name(self) -> str:
        """Return the name of a session's cursor for this service; another key is another project."""
        identity = f"{self.place}|{self.api_key or ''}".encode()
        return f"ship-{urlsplit(self.url).hostname}-{blake2b(identity, digest_size=5).hexdigest()}"

    @property
    def shows_key(self) -> bool:
        """Return whether the key would be sent unencrypted over a network."""
        return self.api_key is not None and self._is_open

    @property
    def _is_open(self) -> bool:
        """Return whether requests go over a network unencrypted."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and parts.hostname not in _LOOPBACK


@dataclass(frozen=True, slots=True)
class ServiceResponse:
    """The response of a service: its status, its JSON, and the requested wait."""

    status: int
    body: dict[str, Any]
    retry_after_s: float | None = None
    location: str | None = None

    content: bytes = field(default=b"", repr=False)

    def accounts_for(self, count: int) -> bool:
        """Return whether the response accounts for each of `count` events, or refuses the body.

        The login page of a proxy, or a truncated response, does not.
        """
        if self.status in _TOO_MUCH_OR_WRONG:
            return self.status == _TOO_MUCH or isinstance(self.body.get("error"), dict)
        if not 200 <= self.status < 300:
            return False
        if not count:
            return isinstance(self.body.get("database"), str)
        taken, duplicates, refused = (self.body.get(key) for key in ("accepted", "duplicates", "refused"))
        if type(taken) is not int or type(duplicates) is not int or not isinstance(refused, list):
            return False
        return taken >= 0 and duplicates >= 0 and taken + duplicates + len(refused) == count

    @property
    def problem(self) -> str:
        """Return the service's error message with the status, in one clause."""
        error = self.body.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        # other services: `google.rpc.Status` of OTLP, and RFC 9457
        message = message or self.body.get("message") or self.body.get("detail")
        suffix = f": {' '.join(message.split())[:300]}" if isinstance(message, str) and message else ""
        return f"it answers {self.status} {http.client.responses.get(self.status, '')}".rstrip() + suffix

    @property
    def remedy(self) -> str | None:
        """Return the service's advice on the error, or None."""
        error = self.body.get("error")
        remedy = error.get("remedy") if isinstance(error, dict) else None
        return " ".join(remedy.split())[:300] if isinstance(remedy, str) and remedy else None


class _TimedReader(io.RawIOBase):
    """Reads from a socket; the socket's timeout limits the whole response, not each part."""

    def __init__(self, received_from: socket.socket, holding: io.BufferedIOBase) -> None:
        self._socket = received_from
        self._holding = holding
        self._timeout_s = received_from.gettimeout() or _TIMEOUT_S
        self._deadline_s = time.monotonic() + self._timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left_s)
        return self._socket.recv_into(buffer)

    def close(self) -> None:
        self._holding.close()  # keeps the socket open until here, even after the connection was given up
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """A response whose total time is limited."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReader(sock, self.fp))


class Connection:
    """One connection to a service, opened by the first request and reopened after it was lost."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self._open: http.client.HTTPConnection | None = None
        self._timeout_s = _TIMEOUT_S

    def post(
        self,
        body: bytes,
        path: str = EVENTS_PATH,
        *,
        media_type: str = _JSON,
        timeout_s: float = _TIMEOUT_S,
    ) -> ServiceResponse:
        """Send a body, and return the response.

        Args:
            body: the body, of the given media type; the response is expected in the same.
            path: the path below the address.
            timeout_s: the timeout of each of connecting, sending and receiving the whole response.

        Raises:
            OSError: no response was received; the service may still have received the body.
        """
        self._timeout_s = timeout_s
        prefix = urlsplit(self.destination.place).path
        headers = {
            "Content-Type": media_type,
            "Accept": media_type,
            "User-Agent": f"agent-trace/{__version__}",
            **self.destination.more_headers,
        }
        if self.destination.api_key is not None:
            headers["Authorization"] = f"Bearer {self.destination.api_key}"
        if self.destination.is_compressed:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        target = prefix + path or "/"
        was_open = self._open is not None
        try:
            return self._exchange(target, body, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            # The service closed the kept-alive connection in the meantime; retry once with a new one.
            if not was_open:
                raise
            return self._exchange(target, body, headers)

    def _exchange(self, path: str, body: bytes, headers: dict[str, str]) -> ServiceResponse:
        connection = self._open or self._connect()
        self._open = connection
        try:
            if connection.sock is not None:
                connection.sock.settimeout(self._timeout_s)
            connection.request("POST", path, body, headers)
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
            content,
        )

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.destination.url)
        host = parts.hostname or ""
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = self.destination.tls_context()
            connection = http.client.HTTPSConnection(
                host, parts.port, timeout=self._timeout_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=self._timeout_s)
        connection.response_class = _TimedResponse
        return connection

    def close(self) -> None:
        """Close the connection."""
        connection, self._open = self._open, None
        if connection is not None:
            with contextlib.suppress(OSError):  # the connection is already broken
                connection.close()


def _object_in(content: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(text: str | None) -> float | None:
    """Parse the seconds of `Retry-After`; None for a date, which is ignored."""
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else None


MAX_BODY_EVENTS: Final = 2000
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 60.0
_NOT_THE_SERVICE: Final = "it answers as no service does; another program may listen there"
_RETRY_STATUSES: Final = frozenset({408, 425, 429})
_TOO_MUCH: Final = 413
_TOO_MUCH_OR_WRONG: Final = frozenset({400, _TOO_MUCH, 422})
_MOST_REASONS: Final = 100
# If the first 20 events are all refused, the cause is probably the sender or the service, not the events.
_MAX_REFUSED_AT_FIRST: Final = 20


class Stopped(Exception):
    """Raised when sending has to stop; the next sender sends the undelivered events again."""


@dataclass(slots=True)
class DeliveryOutcome:
    """Counts and state of the delivery so far."""

    sent: int = 0
    """The number of events that the service has; `stored` of them were new to it."""
    stored: int = 0
    refused: int = 0
    bodies: int = 0
    bytes: int = 0
    """The size of the bodies before compression."""
    retries: int = 0
    problem: str | None = None
    """The current problem, None while sending works."""
    database: str | None = None
    """The id of the database that answered last."""
    is_other_database: bool = False
    """Whether everything was sent again because another database answered than before."""
    reasons: Counter[str] = field(default_factory=Counter)
    """The reasons of refused events."""
    dropped: Counter[str] = field(default_factory=Counter)
    """The values that the service dropped, by path; none if events are sent without content."""


@dataclass(eq=False)
class Delivery:
    """Delivers the events of one session.

    Args:
        connection: the connection to the service.
        session: the session's data in each body.
        wait: waits for a number of seconds and returns whether to stop.
        content: whether the bodies declare content.
        patience_s: the seconds without a response after which `NotDelivered` is raised; None: never.
    """

    what: ClassVar = "events"

    _connection: Connection
    _session: Mapping[str, Any]
    _wait: Callable[[float], bool]
    _: KW_ONLY
    content: bool = False
    patience_s: float | None = None
    outcome: DeliveryOutcome = field(default_factory=DeliveryOutcome, init=False)

    def deliver(self, events: Sequence[bytes]) -> None:
        """Send events, and return when the service has all of them, except those it refused.

        An empty body requests the id of the database.

        Raises:
            Stopped: `wait` returned True.
            NotDelivered: the service accepts nothing from this sender, or `patience_s` is over.
        """
        body = encode_body(self._session, events, content=self.content)
        answer = self._final_response(body, len(events))
        if answer.status in _TOO_MUCH_OR_WRONG:
            self._divide(self.deliver, events, answer)
            if len(events) == 1 and not self.outcome.sent and self.outcome.refused >= _MAX_REFUSED_AT_FIRST:
                raise self._not_delivered(answer.problem, answer.remedy)
            return
        database = answer.body.get("database")
        self.outcome.database = database if isinstance(database, str) else None
        if not events:
            return
        refused = answer.body["refused"]
        count = len(refused)
        for each in refused[:_MOST_REASONS]:
            if isinstance(each, dict):
                self.outcome.reasons[str(each.get("problem") or each.get("reason"))[:200]] += 1
        dropped = answer.body.get("dropped")
        for path, times in dropped.items() if isinstance(dropped, dict) else ():
            self.outcome.dropped[str(path)[:200]] += times if isinstance(times, int) else 1
        self._count(body, len(events), count)
        self.outcome.stored += answer.body["accepted"]

    def _divide(self, send: Callable[[Any], None], items: Sequence[Any], answer: ServiceResponse) -> None:
        """Send what is too much for one body in two; refuse what cannot be divided."""
        if len(items) > 1:
            half = len(items) // 2
            send(items[:half])
            send(items[half:])
        elif items:
            self.outcome.refused += 1
            self.outcome.reasons[answer.problem] += 1

    def _count(self, body: bytes, items: int, refused: int) -> None:
        """Count a body with these items, some of which were refused."""
        self.outcome.bodies += 1
        self.outcome.bytes += len(body)
        self.outcome.refused += refused
        self.outcome.sent += items - refused

    def _final_response(self, body: bytes, count: int) -> ServiceResponse:
        """Send a body of `count` events until a response is final, and return that response."""
        waited_s, next_s, tries = 0.0, _FIRST_WAIT_S, 0
        while True:
            tries += 1
            asked_s: float | None = None
            began_s = time.monotonic()
            try:
                answer = self._post(body, self._longest_s(waited_s))
            except OSError as error:
                problem = _reason_of(error)
            else:
                if self._is_final(answer, count):
                    self.outcome.problem = None
                    return answer
                problem, asked_s = answer.problem, answer.retry_after_s
                if 200 <= answer.status < 300:
                    problem = _NOT_THE_SERVICE
                elif answer.status not in _RETRY_STATUSES and answer.status < 500:
                    self.outcome.problem = problem
                    raise self._not_delivered(problem, self._remedy_of(answer))
            waited_s += time.monotonic() - began_s
            self.outcome.problem = problem
            # A single stuck connection may use up all the time, so at least 2 connections are tried.
            is_over = self.patience_s is not None and waited_s >= self.patience_s
            if is_over and tries >= _LEAST_TRIES:
                raise self._not_delivered(problem, "nothing is lost: send again when it is back")
            # Random waits, so that many senders do not retry at the same time.
            wait_s = min(random.uniform(next_s / 2, next_s), _LONGEST_WAIT_S)
            if asked_s is not None:
                wait_s = min(asked_s, _LONGEST_WAIT_S)
            if self.patience_s is not None:
                wait_s = min(wait_s, max(self.patience_s - waited_s, 0.01))
            self.outcome.retries += 1
            if self._wait(wait_s):
                raise Stopped
            waited_s += wait_s
            next_s = min(next_s * 2, _LONGEST_WAIT_S)

    def _post(self, body: bytes, timeout_s: float) -> ServiceResponse:
        return self._connection.post(body, timeout_s=timeout_s)

    @staticmethod
    def _is_final(answer: ServiceResponse, count: int) -> bool:
        return answer.accounts_for(count)

    @staticmethod
    def _remedy_of(answer: ServiceResponse) -> str:
        if answer.status in {401, 403}:
            # The service's advice is about headers, which the user does not set.
            return (
                "give a key of that service, as api_key or --api-key; agent-trace keys add creates one there"
            )
        if answer.remedy is not None:
            return answer.remedy
        if answer.location is not None:
            return f"it redirects to {answer.location[:200]}: use that address"
        return "use the address of an Agent Trace service, such as http://localhost:8000"

    def _longest_s(self, waited_s: float) -> float:
        """Return the timeout of the next request, after `waited_s` without a response."""
        if self.patience_s is None:
            return _TIMEOUT_S
        return min(_TIMEOUT_S, max(self.patience_s - waited_s, _LEAST_TIMEOUT_S))

    def _not_delivered(self, problem: str, remedy: str | None) -> NotDelivered:
        url = self._connection.destination.place
        return NotDelivered(f"{url} accepts no {self.what}: {problem}", remedy=remedy)


def bodies_of(events: Sequence[bytes]) -> list[Sequence[bytes]]:
    """Split events into portions that fit into a body; an event that is too large is a separate portion."""
    portions: list[Sequence[bytes]] = []
    first, size_bytes = 0, 0
    for number, event in enumerate(events):
        if number > first and (number - first >= MAX_BODY_EVENTS or size_bytes + len(event) > MAX_BODY_BYTES):
            portions.append(events[first:number])
            first, size_bytes = number, 0
        size_bytes += len(event) + 1
    if first < len(events):
        portions.append(events[first:])
    return portions


def _reason_of(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); set SSL_CERT_FILE to a trusted one"
    reason = error.strerror or str(error) or type(error).__name__
    return f"no answer ({' '.join(str(reason).split())[:200].lower()})"
