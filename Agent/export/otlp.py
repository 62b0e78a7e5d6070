"""Encode spans as OTLP: requests in protobuf for HTTP, or lines of JSON for files.

A file has one `ExportTraceServiceRequest` a line, as the OTLP file exporter of OpenTelemetry writes it; it
needs no further library. The protobuf messages are those of the package opentelemetry-proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, Final

import orjson

from Agent.export.conventions import SCHEMA_URL
from Agent.export.spans import Span
from Agent.lazy_names import extra_needed
from Agent.version import __version__

TRACES_PATH: Final = "/v1/traces"
PROTOBUF: Final = "application/x-protobuf"
MAX_BATCH_SPANS: Final = 512
"""The spans of a request: the default of OpenTelemetry's batch processor."""
_SCOPE: Final = "agent-trace"
_LAST_NS: Final = (1 << 64) - 1
"""The last time that OTLP can express, in the year 2554; a wrong clock can be beyond it."""


_NONE: Final[Mapping[str, str]] = {}


def resource_of(service: str, attributes: Mapping[str, str] = _NONE) -> dict[str, str]:
    """Return the attributes of the program that recorded: its name (in Phoenix the project) and others."""
    return {
        "service.name": service,
        "openinference.project.name": service,
        **attributes,
        "telemetry.sdk.name": "agent-trace",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
    }


def in_batches(spans: Iterable[Span]) -> Iterator[Sequence[Span]]:
    """Split spans into portions for one request each."""
    left = iter(spans)
    while portion := list(islice(left, MAX_BATCH_SPANS)):
        yield portion


def as_json(spans: Iterable[Span], service: str, attributes: Mapping[str, str] = _NONE) -> bytes:
    """Return a request as one line of JSON, without a newline."""
    # In OTLP's JSON, ids are hexadecimal.
    return orjson.dumps(_json_of("", _request(spans, service, attributes)), default=bytes.hex)


def as_protobuf(spans: Iterable[Span], service: str, attributes: Mapping[str, str] = _NONE) -> bytes:
    """Return a request in protobuf.

    Raises:
        MissingExtra: opentelemetry-proto is not installed.
    """
    with extra_needed("otel", "OTLP over HTTP"):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    return bytes(ExportTraceServiceRequest(**_request(spans, service, attributes)).SerializeToString())


def _request(spans: Iterable[Span], service: str, attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of an `ExportTraceServiceRequest`, by their names in protobuf."""
    scope = {
        "scope": {"name": _SCOPE, "version": __version__},
        "spans": [_span(span) for span in spans],
        "schema_url": SCHEMA_URL,
    }
    resource = {"attributes": _key_values(resource_of(service, attributes))}
    return {"resource_spans": [{"resource": resource, "scope_spans": [scope]}]}


def _span(span: Span) -> dict[str, Any]:
    message: dict[str, Any] = {"trace_id": span.trace_id, "span_id": span.span_id}
    if span.parent_span_id:
        message["parent_span_id"] = span.parent_span_id
    message |= {
        "name": span.name,
        "kind": span.kind,
        "start_time_unix_nano": min(span.start_ns, _LAST_NS),
        "end_time_unix_nano": min(span.end_ns, _LAST_NS),
        "attributes": _key_values(span.attributes),
    }
    events = [
        {
            "time_unix_nano": min(each.time_ns, _LAST_NS),
            "name": each.name,
            "attributes": _key_values(each.attributes),
        }
        for each in span.events
    ]
    links = [
        {"trace_id": each.trace_id, "span_id": each.span_id, "attributes": _key_values(each.attributes)}
        for each in span.links
    ]
    more = {
        "events": events,
        "links": links,
        "dropped_events_count": span.dropped_events,
        "dropped_links_count": span.dropped_links,
        "status": {"code": span.status, "message": _text(span.status_message)} if span.status else None,
    }
    return message | {name: value for name, value in more.items() if value}


def _key_values(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value)} for key, value in attributes.items()]


def _any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:  # larger ones are texts, as OTLP's are
        return {"int_value": value}
    if isinstance(value, float):
        return {"double_value": value}
    if isinstance(value, list):
        return {"array_value": {"values": [_any_value(each) for each in value]}}
    return {"string_value": _text(value)}


def _text(value: object) -> str:
    """Return a text that UTF-8 can encode."""
    return str(value).encode("utf-8", "replace").decode()


_LONG: Final = frozenset({"int_value", "time_unix_nano", "start_time_unix_nano", "end_time_unix_nano"})
"""The fields of 64-bit integers, which are text in OTLP's JSON."""


def _json_of(name: str, value: Any) -> Any:
    """Convert a field of this name in protobuf to OTLP's JSON."""
    if isinstance(value, dict):
        return {_json_name(each): _json_of(each, of_it) for each, of_it in value.items()}
    if isinstance(value, list):
        return [_json_of("", each) for each in value]
    return str(value) if name in _LONG else value


@cache
def _json_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def rejected_in(content: bytes) -> tuple[int, str]:
    """Read the response to a request: the number of rejected spans, and why; (0, "") if none was."""
    with extra_needed("otel", "OTLP over HTTP"):
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
    answer = ExportTraceServiceResponse()
    try:
        answer.ParseFromString(content)
    except DecodeError:
        return 0, ""  # accepted by a receiver with another form of response
    return int(answer.partial_success.rejected_spans), str(answer.partial_success.error_message)


def status_message(content: bytes) -> str:
    """Read the message of an error response, a `google.rpc.Status`; "" if it is none."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess

    # Its two fields have the numbers and types of Status, which no package needed for OTLP contains.
    status = ExportTracePartialSuccess()
    try:
        status.ParseFromString(content)
    except DecodeError:
        return ""
    return str(status.error_message)
