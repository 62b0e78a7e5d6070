"""`POST /v1/traces`: receive OpenTelemetry spans (OTLP over HTTP)."""

from __future__ import annotations

import base64
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from Agent.event.ids import SENT_ID, SEQ_DIGITS, new_writer_id
from Agent.event.kinds import FailureCode, RunStatus, StepType
from Agent.export import conventions
from Agent.export.allow_list import AllowList, is_label
from Agent.export.conventions import AGENT, BLOCK, MODEL, OWN, TOOL, SpanSort, sort_of
from Agent.export.failure_classes import classify
from Agent.export.messages import (
    MAX_ITEMS,
    YEAR_10000_US,
    Dropped,
    EventMessage,
    FailureMessage,
    RunMessage,
    RunParts,
    StepMessage,
    elapsed_ms,
)
from Agent.lazy_names import extra_needed
from Agent.server.access import Granted
from Agent.server.counters import Counters
from Agent.server.errors import Problem
from Agent.server.limits import json_of, read_body
from Agent.server.routes.ingest import BODY_ERRORS, object_schema
from Agent.server.routes.schemas import ERRORS
from Agent.server.settings import ServerSettings
from Agent.store import Project, Store

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


EVENT_ID: Final = OWN + "event_id"
TICK: Final = OWN + "tick"
_KINDS: Final = {AGENT: "agent_action", TOOL: "tool.call", MODEL: "model.call"}
_INFO_LEVEL, _ERROR_LEVEL = 20, 40
_EVENT_ID: Final = re.compile(SENT_ID)
_MAX_ANCESTORS: Final = 64


@dataclass(slots=True)
class SpanFacts:
    """What may be stored of one valid span: the step of its run, and what its events add."""

    trace_id: str
    step: StepMessage
    sort: SpanSort
    agent_id: str | None
    ended_us: int
    error_type: str | None
    exceptions: list[tuple[str | None, bytes, int]]
    """Of each exception: its class, a digest of class and text, and its time in microseconds."""
    causes: list[str]
    """The spans of the same trace to which it links."""
    event_id: str | None
    """The id under which our own exporter recorded it."""

    @property
    def failed(self) -> bool:
        """Return whether it ended with an error."""
        return self.step.status == "error"


def events_of(spans: Iterable[SpanFacts]) -> list[EventMessage]:
    """Return the events of some spans, oldest first for equal traces."""
    by_id = {(each.trace_id, each.step.step_key): each for each in spans}
    within: defaultdict[tuple[str, str | None], list[SpanFacts]] = defaultdict(list)
    for each in by_id.values():
        within[each.trace_id, each.step.parent_step_id].append(each)
    events = []
    for each in by_id.values():
        agent_id = _agent_of(each, by_id)
        events.append(_event(each, agent_id))
        events += _errors(each, agent_id, within[each.trace_id, each.step.step_key])
    return events


def _agent_of(span: SpanFacts, by_id: Mapping[tuple[str, str], SpanFacts]) -> str | None:
    """Return the agent of a span, else of the nearest span around it in the same request."""
    around: SpanFacts | None = span
    for _ in range(_MAX_ANCESTORS):
        if around is None or around.agent_id is not None:
            break
        around = by_id.get((around.trace_id, around.step.parent_step_id or ""))
    return None if around is None else around.agent_id


def session_of(trace_id: str) -> str:
    """Return the session of a trace's events: its id as a UUID."""
    return str(uuid.UUID(trace_id))


def _event_id(span: SpanFacts, *more: str) -> str:
    if span.event_id is not None and not more and _EVENT_ID.fullmatch(span.event_id):
        return span.event_id
    return id_of(span.trace_id, span.step.step_key, *more)


def id_of(trace_id: str, *parts: str) -> str:
    """Return an event id, writer-number, made from the ids of a trace and a span."""
    writer = new_writer_id(blake2b(trace_id.encode(), digest_size=5).digest())
    number = int.from_bytes(blake2b("/".join(parts).encode(), digest_size=8).digest())
    return f"{writer}-{number % (10**SEQ_DIGITS - 1) + 1}"


def _event(span: SpanFacts, agent_id: str | None) -> EventMessage:
    kind, step = _KINDS.get(span.sort, "span"), span.step
    tick = step.metadata.get(TICK)
    return EventMessage(
        session_uid=session_of(span.trace_id),
        event_id=_event_id(span),
        ts_us=span.ended_us,
        kind=kind,
        severity=_INFO_LEVEL,
        agent_id=agent_id,
        run_id=span.trace_id,
        span_id=step.step_key,
        parent_span_id=step.parent_step_id,
        causes=tuple(id_of(span.trace_id, each) for each in span.causes),
        tick=tick if isinstance(tick, int) and not isinstance(tick, bool) else None,
        name=step.name,
        duration_ms=step.latency_ms or 0.0,
        outcome="error" if span.failed else None,
        body=_body(kind, step.metadata),
    )


def _body(kind: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "span":
        return {"attributes": dict(metadata)} if metadata else {}
    if kind != "model.call":
        return {}
    body = {
        "prompt_tokens": _first(metadata, conventions.READ_INPUT_TOKENS, int),
        "completion_tokens": _first(metadata, conventions.READ_OUTPUT_TOKENS, int),
        "cost": _first(metadata, (conventions.COST,), int, float),
        "model_provider": _first(metadata, ("gen_ai.provider.name", "gen_ai.system", "llm.provider"), str),
    }
    if body["cost"] is not None:
        body["currency"] = "USD"
    return {key: value for key, value in body.items() if value is not None}


def _first(metadata: Mapping[str, Any], names: Iterable[str], *types: type) -> Any:
    values = (metadata[name] for name in names if name in metadata)
    return next((each for each in values if isinstance(each, types) and not isinstance(each, bool)), None)


def _errors(span: SpanFacts, agent_id: str | None, within: Iterable[SpanFacts]) -> list[EventMessage]:
    """Return an error for each exception of a span that it does not have from a span within it."""
    inner_digests = {digest for each in within for _, digest, _ in each.exceptions}
    exceptions = [each for each in span.exceptions if each[1] not in inner_digests]
    if span.failed and not span.exceptions and not any(each.failed for each in within):
        exceptions = [(span.error_type, b"", span.ended_us)]
    return [
        _error(span, agent_id, number, error_type, occurred_us)
        for number, (error_type, _, occurred_us) in enumerate(exceptions)
    ]


def _error(
    span: SpanFacts, agent_id: str | None, number: int, error_type: str | None, occurred_us: int
) -> EventMessage:
    module, _, name = (error_type or "").rpartition(".")
    step = span.sort.step_type.value if span.sort is not BLOCK and span.sort is not AGENT else None
    failure_type, code = classify(name, step, module)
    shown = f"{error_type}/{span.sort.operation}/{span.step.name}"
    return EventMessage(
        session_uid=session_of(span.trace_id),
        event_id=_event_id(span, "error", str(number)),
        ts_us=occurred_us,
        kind="error",
        severity=_ERROR_LEVEL,
        agent_id=agent_id,
        run_id=span.trace_id,
        parent_span_id=span.step.step_key,
        name=error_type or "_OTHER",
        body={
            "failure_type": failure_type.value,
            "failure_code": code.value,
            "fingerprint": blake2b(shown.encode("utf-8", "replace"), digest_size=8).hexdigest(),
        },
    )


PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
MAX_OTLP_BYTES: Final = 8 << 20
"""The limit of an unpacked body: empty messages of 2 bytes take 30 times as much memory when parsed."""

_MAX_MESSAGES: Final = 500_000
_SURELY_FEW_BYTES: Final = 1 << 20
_VARINT: Final = 0
_DELIMITED: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}
_MAX_DEPTH: Final = 64
_IDS: Final = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")


def read_request(media_type: str, body: bytes) -> ExportTraceServiceRequest:
    """Parse the message in a body.

    Raises:
        Problem: 400, the body is not such a message.
        MissingExtra: the library with the message types is not installed.
    """
    with extra_needed():
        from google.protobuf.json_format import ParseDict, ParseError
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    message = ExportTraceServiceRequest()
    try:
        if media_type == PROTOBUF:
            if len(body) > _SURELY_FEW_BYTES and _has_too_many(body, message.DESCRIPTOR):
                text = f"the body holds more than {_MAX_MESSAGES:,} messages"
                raise Problem(413, text, remedy="send it in parts")
            message.ParseFromString(body)
        else:
            value = json_of(body)
            _with_plain_ids(value)
            ParseDict(value, message, ignore_unknown_fields=True, max_recursion_depth=_MAX_DEPTH)
    except (DecodeError, ParseError, ValueError, TypeError, RecursionError, LookupError):
        raise Problem(400, "the body is not an ExportTraceServiceRequest") from None
    return message


def _has_too_many(body: bytes, of_whole: Any) -> bool:
    """Return whether a body has too many messages, each of which takes far more memory than its bytes.

    Raises:
        ValueError, LookupError: the body is not a message.
    """
    count = 0
    waiting = [(0, len(body), of_whole)]
    while waiting:
        at, end, kind = waiting.pop()
        while at < end:
            tag, at = _varint(body, at)
            wire_type = tag & 7
            if wire_type == _VARINT:
                _, at = _varint(body, at)
            elif wire_type == _DELIMITED:
                size, at = _varint(body, at)
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    count += 1
                    if count > _MAX_MESSAGES:
                        return True
                    waiting.append((at, at + size, field.message_type))
                at += size
            else:
                at += _FIXED_BYTES[wire_type]
    return False


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Read a protobuf varint; return the number and the position after it."""
    value = body[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no number")


def write_answer(media_type: str, rejected: int, message: str) -> bytes:
    """Encode an ExportTraceServiceResponse, with a partial success only if there is something to report."""
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
    """Convert the ids of OTLP's JSON from hexadecimal to base64, the form of protobuf's JSON.

    Raises:
        ValueError: the value is not an object, or an id is not hexadecimal text.
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
    """Return the objects in an array of an object; other values are left to protobuf's parser."""
    if not isinstance(value, dict):
        return []
    arrays = [value.get(name) for name in names]
    return [
        each for listed in arrays if isinstance(listed, list) for each in listed if isinstance(each, dict)
    ]


_SHOWN_PATHS: Final = 5
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_REQUEST: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "An ExportTraceServiceRequest of OTLP 1.",
        "content": {
            PROTOBUF: _BINARY,
            JSON: {"schema": object_schema(resourceSpans={"type": "array", "items": {"type": "object"}})},
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
                "schema": object_schema(
                    partialSuccess=object_schema(
                        rejectedSpans={"type": "string", "pattern": "^[0-9]+$"},
                        errorMessage={"type": "string"},
                    )
                )
            },
        },
    }
}


def otlp_router(store: Store, settings: ServerSettings, counters: Counters) -> APIRouter:
    """Make the route, for a store that may write."""
    router = APIRouter(prefix="/v1", responses=ERRORS | BODY_ERRORS)

    def take(project: Project, media_type: str, read: ReadSpans) -> bytes:
        done = store.ingest(project, events=read.events, runs=read.runs)
        counters.add(project.project_id, "spans_accepted_total", read.spans - read.rejected)
        counters.add(project.project_id, "spans_rejected_total", read.rejected)
        counters.add(project.project_id, "runs_total", done.runs)
        counters.add(project.project_id, "values_dropped_total", sum(read.dropped.values()))
        return write_answer(media_type, read.rejected, _partial_success(read))

    @router.post(
        "/traces",
        summary="Store spans of OpenTelemetry",
        openapi_extra=_REQUEST,
        response_class=Response,
        responses=_ANSWERS,
    )
    async def post_traces(request: Request, project: Granted) -> Response:
        """OTLP over HTTP. A trace becomes a run, a span one of its steps; repeated spans are stored once."""
        media_type, read = await read_body(
            request, settings, (PROTOBUF, JSON), _read, limit_bytes=MAX_OTLP_BYTES
        )
        return Response(await run_in_threadpool(take, project, media_type, read), media_type=media_type)

    return router


def _read(media_type: str, body: bytes) -> tuple[str, ReadSpans]:
    """Return the type of a body, which the response must have too, and its spans."""
    message = read_request(media_type, body)
    count = sum(len(scope.spans) for each in message.resource_spans for scope in each.scope_spans)
    if count > MAX_ITEMS:
        text = f"the body holds {count:,} spans, at most {MAX_ITEMS:,} are taken"
        raise Problem(413, text, remedy="send it in parts")
    return media_type, read_spans(message)


def _partial_success(read: ReadSpans) -> str:
    """Return messages for the sender about rejected spans and dropped values; empty if there are none."""
    subject = "1 span is" if read.rejected == 1 else f"{read.rejected:,} spans are"
    parts = [f"{subject} invalid: {read.problem}"] if read.rejected else []
    if read.dropped:
        shown = ", ".join(f"{path} ({count})" for path, count in read.dropped.most_common(_SHOWN_PATHS))
        more = f" and {len(read.dropped) - _SHOWN_PATHS} more" if len(read.dropped) > _SHOWN_PATHS else ""
        parts.append(f"left out, for it may not be stored: {shown}{more}")
    return "; ".join(parts)


_SPAN: Final = "/spans/*/attributes"
_RESOURCE: Final = "/resource/attributes"
_NS_PER_US: Final = 1000
_ERROR: Final = 2
_MAX_LISTED: Final = 16

_KNOWN_STEPS: Final = frozenset(kind.value for kind in StepType)


@dataclass(slots=True)
class ReadSpans:
    """The content of a body: runs, which may be partial, dropped values, and invalid spans."""

    runs: list[RunMessage] = field(default_factory=list)
    dropped: Dropped = field(default_factory=Dropped)
    rejected: int = 0
    problem: str = ""
    """Why the first rejected span is invalid."""
    spans: int = 0
    events: list[EventMessage] = field(default_factory=list)


class _NoSpan(ValueError):
    """Raised for a span without a required value."""


def read_spans(message: Any) -> ReadSpans:
    """Read the runs in an ExportTraceServiceRequest.

    A repeated span is the same step of the same run, in whichever batch it is sent.
    """
    read = ReadSpans()
    allowed = AllowList()
    traces: dict[str, RunParts] = {}
    facts: list[SpanFacts] = []
    for of_resource in message.resource_spans:
        service = _service(of_resource.resource.attributes, allowed)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                read.spans += 1
                try:
                    facts.append(_add(traces, span, service, allowed))
                except _NoSpan as problem:
                    read.rejected += 1
                    read.problem = read.problem or str(problem)
    read.dropped = allowed.dropped
    read.runs = [each.message() for each in traces.values()]
    read.events = events_of(facts)
    return read


def _add(traces: dict[str, RunParts], span: Any, service: Mapping[str, str], allowed: AllowList) -> SpanFacts:
    trace_id, span_id = _id(span.trace_id, 16, "trace_id"), _id(span.span_id, 8, "span_id")
    started_us, ended_us = _us(span.start_time_unix_nano, "start"), _us(span.end_time_unix_nano, "end")
    attributes = {each.key: _plain(each.value) for each in span.attributes}
    sort = sort_of(attributes)
    step_type = _step_type(sort, attributes)
    metadata = _metadata(attributes, allowed)
    failed = span.status.code == _ERROR
    trace = traces.setdefault(trace_id, RunParts(RunMessage(trace_id, session_uid=session_of(trace_id))))
    step = trace.steps[span_id] = StepMessage(
        step_id=span_id,
        step_key=span_id,
        position=started_us,
        step_type=step_type.value,
        name=_name(sort, metadata, span.name, allowed),
        started_us=started_us,
        latency_ms=elapsed_ms(started_us, ended_us),
        status="error" if failed else "ok",
        metadata=metadata,
        parent_step_id=span.parent_span_id.hex() if len(span.parent_span_id) == 8 else None,
    )
    if span.status.message:
        allowed.dropped.note("/spans/*/status/message")
    error_type = _error_type(span.events, metadata, allowed)
    if failed:
        trace.failures[span_id] = _failure(span_id, step_type, error_type, ended_us)
    agent_id = next((metadata[key] for key in AGENT.named_by if key in metadata), None)
    if not span.parent_span_id:
        trace.run = _whole_run(trace_id, agent_id or service.get("service.name"), step, ended_us, service)
    own_id = attributes.get(EVENT_ID)
    return SpanFacts(
        trace_id,
        step,
        sort,
        None if agent_id is None else str(agent_id),
        ended_us,
        error_type,
        [_exception(each, ended_us) for each in span.events[:_MAX_LISTED] if each.name == "exception"],
        [link.span_id.hex() for link in span.links[:_MAX_LISTED] if link.trace_id == span.trace_id],
        own_id if isinstance(own_id, str) else None,
    )


def _exception(event: Any, ended_us: int) -> tuple[str | None, bytes, int]:
    """Return the class of an exception, a digest of its class and text, and its time."""
    values = {each.key: _plain(each.value) for each in event.attributes}
    name = values.get("exception.type")
    text = repr((name, values.get("exception.message"))).encode("utf-8", "replace")
    occurred_us = event.time_unix_nano // _NS_PER_US
    is_class = isinstance(name, str) and is_label(name)
    return (
        str(name) if is_class else None,
        blake2b(text, digest_size=8).digest(),
        occurred_us if 0 < occurred_us < YEAR_10000_US else ended_us,
    )


def _whole_run(
    trace_id: str, agent_id: str | None, root: StepMessage, ended_us: int, service: Mapping[str, str]
) -> RunMessage:
    """Read the run's values from its root span only, so that the order of spans does not matter."""
    labels = {
        "service": service.get("service.name"),
        "conversation": root.metadata.get("gen_ai.conversation.id"),
    }
    return RunMessage(
        run_id=trace_id,
        agent_id=agent_id,
        agent_version=root.metadata.get("gen_ai.agent.version") or service.get("service.version"),
        status=(RunStatus.FAILURE if root.status == "error" else RunStatus.SUCCESS).value,
        started_us=root.started_us,
        ended_us=ended_us,
        session_uid=session_of(trace_id),
        labels={key: value for key, value in labels.items() if value is not None},
    )


def _service(attributes: Iterable[Any], allowed: AllowList) -> dict[str, str]:
    """Read name and version of the program; other values of a resource may name people and hosts."""
    service: dict[str, str] = {}
    for each in attributes:
        if each.key in ("service.name", "service.version"):
            text = allowed.label(_plain(each.value), f"{_RESOURCE}/{each.key}")
            if text is not None:
                service[each.key] = text
    return service


def _metadata(attributes: Mapping[str, Any], allowed: AllowList) -> dict[str, Any]:
    """Return numbers and booleans with harmless names, and known labels; other values are counted."""
    numbers = {key: value for key, value in attributes.items() if not isinstance(value, (str, list))}
    metadata = allowed.metadata(numbers, _SPAN) if numbers else {}
    for key, value in attributes.items():
        if key in numbers:
            continue
        if key not in conventions.LABELS:
            allowed.drop(_SPAN, key)
            continue
        listed = value[:_MAX_LISTED] if isinstance(value, list) else [value]
        labels = [text for each in listed if (text := allowed.label(each, f"{_SPAN}/{key}")) is not None]
        if labels:
            metadata[key] = ",".join(labels)
    return metadata


def _step_type(sort: SpanSort, attributes: Mapping[str, Any]) -> StepType:
    """Return the type of a step as our exporter wrote it, else that of its sort."""
    step_type = attributes.get(conventions.STEP_TYPE)
    return StepType(step_type) if isinstance(step_type, str) and step_type in _KNOWN_STEPS else sort.step_type


def _name(sort: SpanSort, metadata: Mapping[str, Any], span_name: str, allowed: AllowList) -> str | None:
    """Return the name of a step: its tool, model or agent, else the span's name if that is a label."""
    name = next((metadata[key] for key in (*conventions.OWN_NAMES, *sort.named_by) if key in metadata), None)
    if name is not None:
        return str(name)
    return allowed.label(span_name, "/spans/*/name")


def _error_type(events: Iterable[Any], metadata: Mapping[str, Any], allowed: AllowList) -> str | None:
    """Return the class of the exception that ended a span; the texts of its events are dropped."""
    error_type = metadata.get("error.type")
    for event in events:
        for each in event.attributes:
            if each.key == "exception.type":
                name = _plain(each.value)
                label = allowed.label(name, "/spans/*/events/*/attributes/exception.type")
                error_type = error_type or label
            else:
                allowed.drop("/spans/*/events/*/attributes", each.key)
    return None if error_type is None else str(error_type)


def _failure(span_id: str, step_type: StepType, error_type: str | None, occurred_us: int) -> FailureMessage:
    module, _, name = (error_type or "").rpartition(".")
    step = step_type.value
    failure_type, code = classify(name, step if step_type is not StepType.OTHER else None, module)
    return FailureMessage(
        failure_id=span_id,
        failure_type=failure_type.value,
        failure_code=code.value if name else FailureCode.UNKNOWN.value,
        step_id=span_id,
        step_key=span_id,
        occurred_us=occurred_us,
    )


def _id(value: bytes, length: int, name: str) -> str:
    if len(value) != length or not any(value):
        raise _NoSpan(f"{name} is not an id of {length} bytes")
    return value.hex()


def _us(unix_ns: int, name: str) -> int:
    unix_us = unix_ns // _NS_PER_US
    if not 0 < unix_us < YEAR_10000_US:
        raise _NoSpan(f"it has no time of its {name}")
    return unix_us


def _plain(value: Any) -> Any:
    """Return an attribute's value: a text, number, boolean or list of texts, with None for other values."""
    kind = value.WhichOneof("value")
    if kind in ("string_value", "bool_value", "int_value", "double_value"):
        return getattr(value, kind)
    if kind == "array_value":
        return [each.string_value or None for each in value.array_value.values]
    return [None]
