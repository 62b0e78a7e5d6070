"""Encode spans as OTLP: requests in protobuf for HTTP, or lines of JSON for files.

A file has one `ExportTraceServiceRequest` a line, as the OTLP file exporter of OpenTelemetry writes it; it
needs no further library. The protobuf messages are those of the package opentelemetry-proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    scope = {
        "scope": {"name": _SCOPE, "version": __version__},
        "spans": [_span_object(span) for span in spans],
        "schemaUrl": SCHEMA_URL,
    }
    resource = {"attributes": _objects(resource_of(service, attributes))}
    return orjson.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})


def _span_object(span: Span) -> dict[str, Any]:
    # In OTLP's JSON, ids are hexadecimal, and 64-bit integers are text.
    span_object: dict[str, Any] = {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
    if span.parent_span_id:
        span_object["parentSpanId"] = span.parent_span_id.hex()
    span_object |= {
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _objects(span.attributes),
    }
    if span.events:
        span_object["events"] = [
            {"timeUnixNano": str(each.time_ns), "name": each.name, "attributes": _objects(each.attributes)}
            for each in span.events
        ]
    if span.links:
        span_object["links"] = [
            {
                "traceId": each.trace_id.hex(),
                "spanId": each.span_id.hex(),
                "attributes": _objects(each.attributes),
            }
            for each in span.links
        ]
    for name, count in (
        ("droppedEventsCount", span.dropped_events),
        ("droppedLinksCount", span.dropped_links),
    ):
        if count:
            span_object[name] = count
    if span.status:
        span_object["status"] = {"code": span.status, "message": span.status_message}
    return span_object


def _objects(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value_object(value)} for key, value in attributes.items()]


def _value_object(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value_object(each) for each in value]}}
    return {"stringValue": _text(value)}


def _text(value: object) -> str:
    """Return a text that UTF-8 can encode."""
    return str(value).encode("utf-8", "replace").decode()


def as_protobuf(spans: Iterable[Span], service: str, attributes: Mapping[str, str] = _NONE) -> bytes:
    """Return a request in protobuf.

    Raises:
        MissingExtra: opentelemetry-proto is not installed.
    """
    with extra_needed("otel", "OTLP over HTTP"):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    _fill(resource.resource.attributes, resource_of(service, attributes))
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version, scope.schema_url = _SCOPE, __version__, SCHEMA_URL
    for span in spans:
        message = scope.spans.add(
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_span_id=span.parent_span_id,
            name=span.name,
            kind=span.kind,
            start_time_unix_nano=span.start_ns,
            end_time_unix_nano=span.end_ns,
            dropped_events_count=span.dropped_events,
            dropped_links_count=span.dropped_links,
        )
        _fill(message.attributes, span.attributes)
        for event in span.events:
            _fill(
                message.events.add(time_unix_nano=event.time_ns, name=event.name).attributes, event.attributes
            )
        for link in span.links:
            _fill(message.links.add(trace_id=link.trace_id, span_id=link.span_id).attributes, link.attributes)
        if span.status:
            message.status.code, message.status.message = span.status, _text(span.status_message)
    return bytes(request.SerializeToString())


def _fill(target: Any, attributes: dict[str, Any]) -> None:
    for key, value in attributes.items():
        _set(target.add(key=key).value, value)


def _set(target: Any, value: Any) -> None:
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, list):
        target.array_value.SetInParent()
        for each in value:
            _set(target.array_value.values.add(), each)
    else:
        target.string_value = _text(value)


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
