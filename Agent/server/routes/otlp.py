"""`POST /v1/traces`: spans of OpenTelemetry, as its exporters send them over HTTP."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from Agent.export.messages import MAX_ITEMS
from Agent.server.access import Granted
from Agent.server.counters import Counters
from Agent.server.errors import Problem
from Agent.server.otlp.runs import ReadSpans, read_spans
from Agent.server.request_bodies import json_of, made_of_body
from Agent.server.routes.ingest import BODY_ERRORS
from Agent.server.routes.schemas import ERRORS
from Agent.server.settings import ServerSettings
from Agent.store import Project, Store
from Agent.store.extra import extra_needed

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["MAX_OTLP_BYTES", "otlp_router"]

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


_SHOWN_PATHS: Final = 5
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_REQUEST: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "An ExportTraceServiceRequest of OTLP 1.",
        "content": {
            PROTOBUF: _BINARY,
            JSON: {
                "schema": {
                    "type": "object",
                    "properties": {"resourceSpans": {"type": "array", "items": {"type": "object"}}},
                }
            },
        },
    }
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "An ExportTraceServiceResponse, encoded as the request. Its partial success says how "
        "many spans are invalid, and what was left out of the others.",
        "content": {
            PROTOBUF: _BINARY,
            JSON: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "partialSuccess": {
                            "type": "object",
                            "properties": {
                                "rejectedSpans": {"type": "string", "pattern": "^[0-9]+$"},
                                "errorMessage": {"type": "string"},
                            },
                        }
                    },
                }
            },
        },
    }
}


def otlp_router(store: Store, settings: ServerSettings, counters: Counters) -> APIRouter:
    """The route over a store that may write."""
    router = APIRouter(prefix="/v1", responses=ERRORS | BODY_ERRORS)

    def take(project: Project, media_type: str, read: ReadSpans) -> bytes:
        done = store.ingest(project, runs=read.runs)
        counters.add(project.project_id, "spans_accepted_total", read.spans - read.rejected)
        counters.add(project.project_id, "spans_rejected_total", read.rejected)
        counters.add(project.project_id, "runs_total", done.runs)
        counters.add(project.project_id, "values_dropped_total", sum(read.dropped.values()))
        return write_answer(media_type, read.rejected, _told(read))

    @router.post(
        "/traces",
        summary="Store spans of OpenTelemetry",
        openapi_extra=_REQUEST,
        response_class=Response,
        responses=_ANSWERS,
    )
    async def post_traces(request: Request, project: Granted) -> Response:
        """OTLP over HTTP. A trace becomes a run, a span a step of it; what comes again is stored once."""
        media_type, read = await made_of_body(
            request, settings, (PROTOBUF, JSON), _read, limit_bytes=MAX_OTLP_BYTES
        )
        return Response(await run_in_threadpool(take, project, media_type, read), media_type=media_type)

    return router


def _read(media_type: str, body: bytes) -> tuple[str, ReadSpans]:
    """The type of a body, in which the answer is to be as well, and the spans in it."""
    message = read_request(media_type, body)
    count = sum(len(scope.spans) for each in message.resource_spans for scope in each.scope_spans)
    if count > MAX_ITEMS:
        text = f"the body holds {count:,} spans, at most {MAX_ITEMS:,} are taken"
        raise Problem(413, "too_large", text, remedy="send it in parts")
    return media_type, read_spans(message)


def _told(read: ReadSpans) -> str:
    """What the sender should know, in one sentence each; empty where there is nothing."""
    what = "1 span is" if read.rejected == 1 else f"{read.rejected:,} spans are"
    parts = [f"{what} none that can be stored: {read.problem}"] if read.rejected else []
    if read.dropped:
        shown = ", ".join(f"{path} ({count})" for path, count in read.dropped.most_common(_SHOWN_PATHS))
        more = f" and {len(read.dropped) - _SHOWN_PATHS} more" if len(read.dropped) > _SHOWN_PATHS else ""
        parts.append(f"left out, for it may not be stored: {shown}{more}")
    return "; ".join(parts)
