"""Send a session as spans to any receiver of OTLP over HTTP, while it is recorded or afterwards.

The receiver is given by arguments or by OpenTelemetry's environment variables (`otlp_destination`).

`export_otlp` starts the sender process of `sender.py` for it, which follows the session's files; so a slow or
dead receiver neither delays an agent nor loses events. Spans have the ids of the recording, so a repeated
span is the same span. A cursor stores which events' spans the receiver has, so that the next export resumes.
"""

from __future__ import annotations

import os
import shlex
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from Agent.archive.sealed.reader import open_reader
from Agent.client.destination import Connection, Delivery, Destination, ServiceResponse
from Agent.client.sender import Sender, sender_for
from Agent.client.shipment import OutgoingSession, stored_cursor
from Agent.errors import ConfigurationError, NotDelivered
from Agent.event.model import Event
from Agent.export.allow_list import AllowList
from Agent.export.otlp import (
    MAX_BATCH_SPANS,
    PROTOBUF,
    TRACES_PATH,
    as_protobuf,
    in_batches,
    rejected_in,
    status_message,
)
from Agent.export.spans import Span, SpanMaker
from Agent.record.emit.installed import current_pipeline
from Agent.record.health import say
from Agent.record.user_key import redaction_key
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.files.session import SessionInfo, open_session
from Agent.tree.read.follower import CURSOR_VERSION, Follower

_TOO_LARGE: Final = 413
_EXIT_TIMEOUT_S: Final = 5.0
DEFAULT_SERVICE: Final = "agent-trace"
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_SERVICE_NAME: Final = "service.name"


class Certificates(NamedTuple):
    """The paths of files for TLS; None if unused."""

    authority: str | None = None
    """The certificates to trust."""
    client: str | None = None
    client_key: str | None = None


@dataclass(frozen=True)
class OtlpDestination(Destination):
    """The address of a receiver of OTLP over HTTP.

    Args:
        url: its address, with or without `/v1/traces`: `http://localhost:6006`.
        headers: further headers, such as a key.
        service: the name of the program that recorded, `service.name`; in Phoenix the project.
        attributes: further attributes of the program, such as `deployment.environment.name`.
        is_whole: whether `url` is the whole address, to which `/v1/traces` is not added.
        is_compressed: whether bodies are compressed with gzip.
        certificates: files for TLS.

    Raises:
        ConfigurationError: an invalid address or header, or a certificate that cannot be read.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    service: str = DEFAULT_SERVICE
    attributes: tuple[tuple[str, str], ...] = ()
    is_whole: bool = False
    certificates: Certificates = field(default_factory=Certificates)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self.headers:
            is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
            if not is_name or not value.isascii() or not value.isprintable():
                raise ConfigurationError(
                    f"the header {name[:40]!r} has invalid characters", remedy="use ASCII, NAME=VALUE"
                )
        try:
            self.tls_context()
        except OSError as error:
            files = ", ".join(path for path in self.certificates if path)
            raise ConfigurationError(
                f"a certificate for {self.place} cannot be read ({error.strerror or error})",
                remedy=f"look at the files that OTEL_EXPORTER_OTLP_CERTIFICATE and its like name: {files}",
            ) from None

    @property
    def place(self) -> str:
        """Return the address without `/v1/traces` and without a slash at its end; the whole one as it is."""
        return self.url if self.is_whole else self.url.rstrip("/").removesuffix(TRACES_PATH)

    @property
    def path(self) -> str:
        """Return the path that a request appends to `place`."""
        return "" if self.is_whole else TRACES_PATH

    @property
    def command(self) -> str:
        """Return the command that exports the rest of a session there, without the session and keys."""
        option = "--traces-endpoint" if self.is_whole else "--endpoint"
        service = "" if self.service == DEFAULT_SERVICE else f" --service {shlex.quote(self.service)}"
        headers = "".join(f" --header {name}=..." for name, _ in self.headers)
        return f"export otlp --resume {option} {self.place}{service}{headers}"

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
        """Return the name of a session's cursor for this receiver, and of the lock of its exporter."""
        identity = repr((self.place, self.headers, self.service)).encode()
        return f"otlp-{urlsplit(self.url).hostname}-{blake2b(identity, digest_size=5).hexdigest()}"

    def tls_context(self) -> ssl.SSLContext:
        """Return the settings of TLS connections; OSError if a file cannot be read or is invalid."""
        files = self.certificates
        context = ssl.create_default_context(cafile=files.authority)
        if files.client is not None:
            context.load_cert_chain(files.client, files.client_key)
        return context

    def to_order(self) -> dict[str, Any]:
        """Return the data for the sender process."""
        return {**asdict(self), "certificates": list(self.certificates), "protocol": "otlp"}

    @classmethod
    def from_order(cls, order: Mapping[str, Any]) -> Self:
        """Read the result of `to_order`."""
        fields = {name: value for name, value in order.items() if name in cls.__dataclass_fields__}
        for name in ("headers", "attributes"):
            fields[name] = tuple(map(tuple, fields[name]))
        return cls(**{**fields, "certificates": Certificates(*fields["certificates"])})


def otlp_destination(
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    service: str | None = None,
    *,
    traces_endpoint: str | None = None,
) -> OtlpDestination:
    """Make a destination; missing values are read from OpenTelemetry's environment variables.

    A variable for traces, such as OTEL_EXPORTER_OTLP_TRACES_HEADERS, takes precedence over that for all
    signals. Compression, certificates and attributes of the program can only be set by variables.

    Args:
        endpoint: default: OTEL_EXPORTER_OTLP_ENDPOINT.
        headers: default: OTEL_EXPORTER_OTLP_HEADERS.
        service: default: OTEL_SERVICE_NAME, then that of OTEL_RESOURCE_ATTRIBUTES, then `agent-trace`.
        traces_endpoint: the whole address, if no endpoint is given; default:
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.

    Raises:
        ConfigurationError: the endpoint is missing, or it or a certificate is invalid.
    """
    full_endpoint = None if endpoint else traces_endpoint or os.environ.get(TRACES_ENDPOINT)
    url = endpoint or full_endpoint or os.environ.get(ENDPOINT)
    if not url:
        raise ConfigurationError(
            "no receiver is named", remedy="give its address, such as http://localhost:6006"
        )
    if not (endpoint or traces_endpoint) and _variable("PROTOCOL") == "grpc":
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_PROTOCOL asks for grpc; spans are exported over HTTP",
            remedy="give the receiver's HTTP address, which usually has port 4318",
        )
    if headers is None:
        headers = _pairs(_variable("HEADERS"))
    name, attributes = described_program(service)
    return OtlpDestination(
        url,
        headers=tuple(headers.items()),
        service=name,
        attributes=tuple(attributes.items()),
        is_whole=full_endpoint is not None and not full_endpoint.rstrip("/").endswith(TRACES_PATH),
        is_compressed=_variable("COMPRESSION") != "none",
        certificates=Certificates(
            *(_variable(each) or None for each in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"))
        ),
    )


def described_program(service: str | None = None) -> tuple[str, dict[str, str]]:
    """Return the name and further attributes of the program, as given or from the environment."""
    attributes = _pairs(os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    named = attributes.pop(_SERVICE_NAME, None)
    return service or os.environ.get("OTEL_SERVICE_NAME") or named or DEFAULT_SERVICE, attributes


def _variable(name: str) -> str:
    """Return the variable for traces, else that for all signals; "" without either."""
    start = "OTEL_EXPORTER_OTLP_"
    return os.environ.get(f"{start}TRACES_{name}") or os.environ.get(start + name, "")


def _pairs(text: str) -> dict[str, str]:
    """Read `name=value,name=value`, percent-encoded."""
    pairs = (each.partition("=") for each in text.split(","))
    return {unquote(name.strip()): unquote(value.strip()) for name, equals, value in pairs if equals}


@dataclass(eq=False)
class OtlpDelivery(Delivery):
    """Delivers spans; `outcome` counts them."""

    what: ClassVar = "spans"

    destination: OtlpDestination = field(kw_only=True)

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
        body = as_protobuf(spans, self.destination.service, dict(self.destination.attributes))
        answer = self._final_response(body, len(spans))
        if answer.status == _TOO_LARGE:
            self._divide(self._send, spans, answer)
            return
        rejected, why = rejected_in(answer.content)
        rejected = min(max(rejected, 0), len(spans))
        if rejected:
            self.outcome.reasons[why[:200] or "the receiver does not say why"] += rejected
        self._count(body, len(spans), rejected)

    def _post(self, body: bytes, timeout_s: float) -> ServiceResponse:
        answer = self._connection.post(body, self.destination.path, media_type=PROTOBUF, timeout_s=timeout_s)
        if answer.status < 400 or answer.body:
            return answer
        return replace(answer, body={"error": {"message": status_message(answer.content)}})

    @staticmethod
    def _is_final(answer: ServiceResponse, count: int) -> bool:  # noqa: ARG004 - OTLP answers for a request
        return 200 <= answer.status < 300 or answer.status == _TOO_LARGE

    @staticmethod
    def _remedy_of(answer: ServiceResponse) -> str:
        if answer.status in {401, 403}:
            return "give the receiver's key as a header, --header NAME=VALUE"
        return "use the address of a receiver of OTLP over HTTP with protobuf, such as http://localhost:6006"


class OtlpShipment(OutgoingSession):
    """Sends one session as spans, while it grows or afterwards.

    Spans depend on the whole session, so all events are read each time; spans that the receiver has according
    to the cursor are not sent again.

    Args:
        session: its directory.
        destination: the receiver.
        wait: waits for a number of seconds and returns whether to stop; see `Delivery`.
        content: also send arguments, results, prompts, messages and states. Spans that were sent without
            content before are then sent again.
        patience_s: see `Delivery`.
        resume: skip spans that were sent according to the cursor; else everything is sent and the cursor
            starts again.

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
        resume: bool = False,
    ) -> None:
        allowed = AllowList(redaction_key())
        self._maker = SpanMaker(session, open_session(session), allowed, content=content)
        connection = Connection(destination)
        delivery = OtlpDelivery(connection, {}, wait, destination=destination, patience_s=patience_s)
        super().__init__(session, destination, connection, delivery, allowed)
        self.already = 0
        """The spans that were left out, since the receiver has them."""
        self._spans = delivery
        self._waiting: list[tuple[Event | None, Span]] = []
        """Spans that the receiver does not have yet, with the event that ended each."""
        self._ended = False
        self._content = content
        self._events = 0
        self._seen = _EventSet()
        """The events that were read since all spans were sent."""
        try:
            self._follower = Follower(session)
            stored = stored_cursor(session, destination)
            self._cursor = _OtlpCursor.read(stored) if resume else _OtlpCursor()
            if content and not self._cursor.content:
                self._cursor = _OtlpCursor()
            if stored and not resume:
                # If nothing can be sent now, the next one that resumes has to send everything.
                self._keep(self._cursor.place)
        except BaseException:
            self.close()
            raise

    def ship(self) -> int:
        """Send the spans that have ended since the last call; return the number of events that were read.

        Raises:
            Stopped, NotDelivered: see `Delivery`; the next call sends these spans again.
        """
        events = self._take()
        is_new = bool(self._waiting) or any(event not in self._cursor.sent for event in events)
        self._send_waiting()
        if is_new:
            self._keep(self._follower.cursor())
        return len(events)

    def ship_recorded(self) -> None:
        """Send the spans of everything recorded so far, including sealed parts, and the roots of its traces.

        Raises:
            Stopped: see `Delivery`.
            NotDelivered: see `Delivery`; it says how many spans were sent, and how many were not.
        """
        cursor = Follower(self.session, from_start=False).cursor()
        events = open_reader(self.session).events()
        try:
            for event in events:
                self._add(event)
                if len(self._waiting) >= MAX_BATCH_SPANS:
                    self._send_waiting()
                    self._keep(self._cursor.place)
            self.end()
            self._send_waiting()
        except NotDelivered as error:
            for event in events:
                self._add(event)
            self.end()
            message = f"{error.message}; {self.outcome.sent} spans were sent, {len(self._waiting)} were not"
            raise NotDelivered(message, remedy=f"{error.remedy}; --resume sends the rest") from None
        self._keep(cursor)

    def unsent(self) -> int:
        """Return the number of ended spans that the receiver does not have."""
        while self._take():
            pass
        return len(self._waiting)

    def end(self) -> bool:
        """Add the roots of the session's traces after its end; return whether anything has to be sent."""
        if self._ended:
            return False
        self._ended = True
        roots = list(self._maker.finish(open_reader(self.session).in_flight()))
        if self._cursor.ended_after == self._events:
            self.already += len(roots)
        else:
            self._waiting += [(None, span) for span in roots]
        return bool(self._waiting)

    def _take(self) -> list[Event]:
        events = self._follower.poll()
        for event in events:
            self._add(event)
        return events

    def _add(self, event: Event) -> None:
        self._events += 1
        self._seen.add(event)
        span = self._maker.add(event)
        if span is None:
            return
        if event in self._cursor.sent:
            self.already += 1
        else:
            self._waiting.append((event, span))

    def _send_waiting(self) -> None:
        """Send the waiting spans; the cursor has each portion once the receiver has it."""
        is_sent = False
        try:
            while self._waiting:
                portion = self._waiting[:MAX_BATCH_SPANS]
                self._spans.send([span for _, span in portion])
                is_sent = True
                for event, _ in portion:
                    if event is not None:
                        self._cursor.sent.add(event)
                del self._waiting[: len(portion)]
        except BaseException:
            if is_sent:
                self._keep(self._cursor.place)
            raise
        # Also the events without a span, since complete ranges of numbers are short.
        self._cursor.sent.update(self._seen)
        self._seen = _EventSet()
        if self._ended:
            self._cursor.ended_after = self._events

    def _keep(self, cursor: Mapping[str, Any]) -> None:
        self._cursor.place, self._cursor.content = cursor, self._content
        self._write_cursor(self._cursor.to_object())


class _EventSet:
    """A set of events: the numbers of each writer."""

    def __init__(self) -> None:
        self._of_writer: dict[str, SeqSet] = {}

    def __contains__(self, event: Event) -> bool:
        numbers = self._of_writer.get(event.writer)
        return numbers is not None and event.seq in numbers

    def add(self, event: Event) -> None:
        self._of_writer.setdefault(event.writer, SeqSet()).add(event.seq)

    def update(self, other: _EventSet) -> None:
        for writer, numbers in other._of_writer.items():
            self._of_writer.setdefault(writer, SeqSet()).update(numbers)

    def to_object(self) -> dict[str, list[tuple[int, int]]]:
        """Return the ranges of each writer's numbers, first and last."""
        return {writer: list(known.ranges()) for writer, known in self._of_writer.items()}

    @classmethod
    def from_object(cls, stored: Mapping[str, Any]) -> Self:
        """Read the result of `to_object`; ValueError or TypeError if it is invalid."""
        restored = cls()
        for writer, ranges in stored.items():
            restored._of_writer[writer] = SeqSet.of_ranges((int(first), int(last)) for first, last in ranges)
        return restored


@dataclass
class _OtlpCursor:
    """The events whose spans a receiver has.

    Unlike that of `Shipment`, it is more than a position: events before a position are needed again for the
    spans after it.
    """

    place: Mapping[str, Any] = field(default_factory=lambda: {"version": CURSOR_VERSION, "files": []})
    """The position up to which everything was sent, for retention."""
    content: bool = False
    ended_after: int | None = None
    """The number of events of the session when the roots of its traces were sent."""
    sent: _EventSet = field(default_factory=_EventSet)
    """The events whose spans the receiver has, or that made none."""

    def to_object(self) -> dict[str, Any]:
        options = {"content": self.content, "ended_after": self.ended_after, "sent": self.sent.to_object()}
        return {**self.place, **options}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """Return a stored cursor; an empty one, with which all is sent, if it is missing or damaged."""
        try:
            place = {"version": stored["version"], "files": list(stored["files"])}
            sent = _EventSet.from_object(stored["sent"])
            return cls(place, stored["content"] is True, stored["ended_after"], sent)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()


def spans_of(
    session: Path,
    info: SessionInfo,
    allowed: AllowList,
    *,
    runs: frozenset[str | None] | None = None,
    content: bool = False,
) -> Iterator[Span]:
    """Yield the spans of a recorded session, including sealed parts, or of some of its runs.

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
    """Export this program's session while it is recorded, from a separate process.

    The first call starts recording if necessary. A span is sent when it has ended, the root of the session
    after the end of the program. At its end, the program waits for unsent spans.

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
