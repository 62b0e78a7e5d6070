"""Send a session as spans to any receiver of OTLP over HTTP, while it is recorded or afterwards.

`export_otlp` starts the sender process of `sender.py` for it, which follows the session's files; so a slow or
dead receiver neither delays an agent nor loses events. Spans have the ids of the recording: what is sent
again is the same span, and no cursor is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from Agent.archive.sealed.reader import open_reader
from Agent.client.destination import Connection, Delivery, Destination, ServiceResponse
from Agent.client.sender import Sender, sender_for
from Agent.client.shipment import OutgoingSession
from Agent.config.load import redaction_key
from Agent.errors import ConfigurationError
from Agent.export.allowed import AllowList
from Agent.export.otlp import PROTOBUF, TRACES_PATH, as_protobuf, in_batches, rejected_in
from Agent.export.spans import Span, SpanMaker
from Agent.record.emit.installed import current_pipeline
from Agent.record.health import say
from Agent.tree.files.session import SessionInfo, open_session
from Agent.tree.read.follower import Follower

DEFAULT_SERVICE: Final = "agent-trace"
_TOO_LARGE: Final = 413
_EXIT_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class OtlpDestination(Destination):
    """The address of a receiver of OTLP over HTTP.

    Args:
        url: its address, with or without `/v1/traces`: `http://localhost:6006`.
        headers: further headers, such as a key.
        service: the name of the program that recorded, `service.name`; in Phoenix the project.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    service: str = DEFAULT_SERVICE

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self.headers:
            is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
            if not is_name or not value.isascii() or not value.isprintable():
                raise ConfigurationError(
                    f"the header {name[:40]!r} has invalid characters", remedy="use ASCII, NAME=VALUE"
                )

    @property
    def place(self) -> str:
        """Return the address without `/v1/traces` and without a slash at its end."""
        return self.url.rstrip("/").removesuffix(TRACES_PATH)

    @property
    def command(self) -> str:
        """Return the command that exports a session there later, without the session."""
        return f"export otlp --endpoint {self.place}"

    @property
    def shows_key(self) -> bool:
        """Return whether headers, which may hold a key, would be sent unencrypted over a network."""
        return bool(self.headers) and self._is_open

    @property
    def more_headers(self) -> Mapping[str, str]:
        """Return the further headers."""
        return dict(self.headers)

    @property
    def cursor_name(self) -> str:
        """Return the name of the lock of a session's exporter to this receiver."""
        told = repr((self.place, self.headers, self.service)).encode()
        return f"otlp-{urlsplit(self.url).hostname}-{blake2b(told, digest_size=5).hexdigest()}"

    def to_order(self) -> dict[str, Any]:
        """Return what the sender process needs to know."""
        return {"url": self.url, "headers": dict(self.headers), "service": self.service, "protocol": "otlp"}

    @classmethod
    def from_order(cls, order: Mapping[str, Any]) -> Self:
        """Read the result of `to_order`."""
        return cls(order["url"], headers=tuple(order["headers"].items()), service=order["service"])


def otlp_destination(
    endpoint: str | None, headers: Mapping[str, str] | None = None, service: str | None = None
) -> OtlpDestination:
    """Make a destination; what is not given is read from OpenTelemetry's own variables.

    Args:
        endpoint: default: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, then OTEL_EXPORTER_OTLP_ENDPOINT.
        headers: default: OTEL_EXPORTER_OTLP_HEADERS.
        service: default: OTEL_SERVICE_NAME, then `agent-trace`.

    Raises:
        ConfigurationError: there is no endpoint, or it is invalid.
    """
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    url = endpoint or next((os.environ[name] for name in names if os.environ.get(name)), None)
    if url is None:
        raise ConfigurationError(
            "no receiver is named", remedy="give its address, such as http://localhost:6006"
        )
    if headers is None:
        told = os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
        pairs = (each.partition("=") for each in told.split(",") if each.strip())
        headers = {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}
    name = service or os.environ.get("OTEL_SERVICE_NAME") or DEFAULT_SERVICE
    return OtlpDestination(url, headers=tuple(headers.items()), service=name)


class OtlpDelivery(Delivery):
    """Delivers spans; `outcome` counts them."""

    what = "spans"

    def __init__(
        self,
        connection: Connection,
        destination: OtlpDestination,
        wait: Callable[[float], bool],
        *,
        patience_s: float | None = None,
    ) -> None:
        super().__init__(connection, {}, wait, patience_s=patience_s)
        self._service = destination.service

    def send(self, spans: list[Span]) -> None:
        """Send spans, and return when the receiver has answered for all of them.

        Raises:
            Stopped: `wait` returned True.
            NotDelivered: the receiver accepts nothing, or `patience_s` is over.
            MissingExtra: opentelemetry-proto is not installed.
        """
        for portion in in_batches(spans):
            self._send(list(portion))

    def _send(self, spans: list[Span]) -> None:
        body = as_protobuf(spans, self._service)
        answer = self._answer_to(body, len(spans))
        if answer.status == _TOO_LARGE:
            if len(spans) > 1:
                half = len(spans) // 2
                self._send(spans[:half])
                self._send(spans[half:])
            else:
                self.outcome.refused += 1
                self.outcome.reasons[answer.problem] += 1
            return
        rejected, why = rejected_in(answer.content)
        rejected = min(max(rejected, 0), len(spans))
        if rejected:
            self.outcome.reasons[why[:200] or "the receiver does not say why"] += rejected
        self.outcome.refused += rejected
        self.outcome.sent += len(spans) - rejected
        self.outcome.bodies += 1
        self.outcome.bytes += len(body)

    def _post(self, body: bytes, timeout_s: float) -> ServiceResponse:
        return self._connection.post(body, TRACES_PATH, media_type=PROTOBUF, timeout_s=timeout_s)

    @staticmethod
    def _is_final(answer: ServiceResponse, count: int) -> bool:  # noqa: ARG004 - OTLP answers for a request
        return 200 <= answer.status < 300 or answer.status == _TOO_LARGE

    @staticmethod
    def _remedy_of(answer: ServiceResponse) -> str:
        if answer.status in {401, 403}:
            return "give the receiver's key as a header, --header NAME=VALUE"
        return "use the address of a receiver of OTLP over HTTP with protobuf, such as http://localhost:6006"


class OtlpShipment(OutgoingSession):
    """Sends one session as spans while it grows.

    Args:
        session: its directory.
        destination: the receiver.
        wait: waits for a number of seconds and returns whether to stop; see `Delivery`.
        content: also send arguments, results, prompts, messages and states.
        patience_s: see `Delivery`.

    Raises:
        SessionInUse: another process exports the session to this receiver.
        SessionNotFound, DamagedInput: the session cannot be read.
    """

    def __init__(
        self,
        session: Path,
        destination: OtlpDestination,
        wait: Callable[[float], bool],
        *,
        content: bool = False,
        patience_s: float | None = None,
    ) -> None:
        allowed = AllowList(redaction_key())
        self._maker = SpanMaker(session, open_session(session), allowed, content=content)
        connection = Connection(destination)
        delivery = OtlpDelivery(connection, destination, wait, patience_s=patience_s)
        super().__init__(session, destination, connection, delivery, allowed)
        self._spans = delivery
        self._waiting: list[Span] = []
        """Spans that the receiver does not have yet."""
        self._ended = False
        try:
            self._follower = Follower(session)
        except BaseException:
            self.close()
            raise

    def ship(self) -> int:
        """Send the spans that have ended since the last call; return the number of events that were read.

        Raises:
            Stopped, NotDelivered: see `Delivery`; the next call sends these spans again.
        """
        events = self._follower.poll()
        self._waiting += [span for event in events if (span := self._maker.add(event)) is not None]
        while self._waiting:
            portion = next(in_batches(self._waiting))
            self._spans.send(list(portion))
            del self._waiting[: len(portion)]
        return len(events)

    def end(self) -> bool:
        """Add the roots of the session's traces after its end; return whether there is something to send."""
        if self._ended:
            return False
        self._ended = True
        self._waiting += self._maker.finish(open_reader(self.session).in_flight())
        return bool(self._waiting)


def spans_of(
    session: Path,
    info: SessionInfo,
    allowed: AllowList,
    *,
    runs: frozenset[str | None] | None = None,
    content: bool = False,
) -> Iterator[Span]:
    """Yield the spans of a recorded session, sealed parts included, or of some of its runs.

    Args:
        session: its directory.
        info: its description.
        allowed: determines which values become attributes, and counts the others.
        runs: the runs; None among them for everything outside of runs; by default all.
        content: also arguments, results, prompts, messages and states.
    """
    reader = open_reader(session)
    maker = SpanMaker(session, info, allowed, content=content, runs=runs)
    for event in reader.events():
        span = maker.add(event)
        if span is not None:
            yield span
    yield from maker.finish(reader.in_flight())


def export_otlp(
    endpoint: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    service: str | None = None,
    content: bool = False,
    exit_timeout_s: float = _EXIT_TIMEOUT_S,
) -> Sender | None:
    """Export this program's session while it is recorded, from a process of its own.

    The first call begins to record if nothing did. A span is sent when it has ended, the root of the session
    after the program. At its end the program waits for what is not sent yet.

    Args:
        endpoint: the receiver, such as `http://localhost:6006`; default: OTEL_EXPORTER_OTLP_ENDPOINT.
        headers: further headers, such as a key; default: OTEL_EXPORTER_OTLP_HEADERS.
        service: the program's name; default: OTEL_SERVICE_NAME, then `agent-trace`.
        content: also send arguments, results, prompts, messages and states.
        exit_timeout_s: the seconds that the end of the program waits.

    Returns:
        The sender, with `flush(timeout_s)`; None if another process exports the session, or nothing is
        recorded on disk.

    Raises:
        ConfigurationError: the endpoint or a header is invalid.
    """
    destination = otlp_destination(endpoint, headers, service)
    if destination.shows_key:
        say(f"the headers go to {destination.place} unencrypted; use https")
    pipeline = current_pipeline()
    if pipeline.artifacts is None:
        return None
    return sender_for(pipeline.artifacts.session, destination, content=content, exit_timeout_s=exit_timeout_s)
