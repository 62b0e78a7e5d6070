"""Bodies of OTLP/HTTP: protobuf and its JSON, whose ids are hexadecimal, into messages and back.

The messages are those of OpenTelemetry's own package, which is loaded by the first body.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import orjson

from Agent.server.errors import Problem
from Agent.server.request_bodies import json_of
from Agent.store.extra import extra_needed

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["JSON", "MAX_OTLP_BYTES", "PROTOBUF", "read_request", "write_answer"]

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
MAX_OTLP_BYTES: Final = 8 << 20
"""Of an unpacked body: empty messages of two bytes take thirty times as much once they are read."""

_MAX_DEPTH: Final = 64
_IDS: Final = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")


def read_request(media_type: str, body: bytes) -> ExportTraceServiceRequest:
    """The message in a body.

    Raises:
        Problem: 400, it holds none.
        MissingExtra: the library of the messages is not installed.
    """
    with extra_needed():
        from google.protobuf.json_format import ParseDict, ParseError
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    message = ExportTraceServiceRequest()
    try:
        if media_type == PROTOBUF:
            message.ParseFromString(body)
        else:
            value = json_of(body)
            _with_plain_ids(value)
            ParseDict(value, message, ignore_unknown_fields=True, max_recursion_depth=_MAX_DEPTH)
    except (DecodeError, ParseError, ValueError, TypeError, RecursionError):
        raise Problem(400, "malformed", "the body is not an ExportTraceServiceRequest") from None
    return message


def write_answer(media_type: str, rejected: int, message: str) -> bytes:
    """An ExportTraceServiceResponse; without a partial success where nothing is to be told."""
    with extra_needed():
        from google.protobuf.json_format import MessageToDict
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
    answer = ExportTraceServiceResponse()
    if rejected or message:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = message
    if media_type == PROTOBUF:
        return bytes(answer.SerializeToString())
    return orjson.dumps(MessageToDict(answer))


def _with_plain_ids(value: Any) -> None:
    """Turns ids of OTLP's JSON, which are hexadecimal, into what protobuf's JSON has: base64.

    Raises:
        ValueError: it is no object, or an id is no hexadecimal text.
    """
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004 - a body, not an argument
    for resource in _items(value, "resourceSpans", "resource_spans"):
        for scope in _items(resource, "scopeSpans", "scope_spans"):
            for span in _items(scope, "spans"):
                for holder in (span, *_items(span, "links")):
                    for name in _IDS:
                        if isinstance(holder.get(name), str):
                            holder[name] = base64.b64encode(bytes.fromhex(holder[name])).decode()


def _items(value: Any, *names: str) -> list[dict[str, Any]]:
    """The objects in an array of an object; what is no such thing is left to the reader behind this."""
    if not isinstance(value, dict):
        return []
    found = [value.get(name) for name in names]
    return [each for listed in found if isinstance(listed, list) for each in listed if isinstance(each, dict)]
