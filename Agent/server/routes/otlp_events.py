"""Events of received spans: journeys, errors and causes answer for them as for recorded ones.

A span is one event, an action, a call of a tool or model, or a `span`; each exception is an `error` within
the innermost span that it left. A trace is the session of its events. Ids are made from those of the spans,
so a repeated span is the same event.
"""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from Agent.event.ids import SEQ_DIGITS, new_writer_id
from Agent.export.conventions import (
    AGENT,
    BLOCK,
    COST,
    INPUT_TOKENS,
    MODEL,
    OUTPUT_TOKENS,
    OWN,
    TOOL,
    SpanSort,
)
from Agent.export.failure_classes import classify
from Agent.export.messages import EventMessage

EVENT_ID: Final = OWN + "event_id"
TICK: Final = OWN + "tick"
_KINDS: Final = {AGENT: "agent_action", TOOL: "tool.call", MODEL: "model.call"}
_INFO, _ERROR = 20, 40
_EVENT_ID: Final = re.compile(r"[a-z2-7]{8}-[1-9][0-9]{0,17}", re.ASCII)
_MAX_ANCESTORS: Final = 64


@dataclass(slots=True)
class SpanFacts:
    """One valid span of a request, reduced to what may be stored."""

    trace_id: str
    span_id: str
    parent_id: str | None
    sort: SpanSort
    name: str | None
    agent_id: str | None
    started_us: int
    ended_us: int
    failed: bool
    error_type: str | None
    metadata: Mapping[str, Any]
    exceptions: list[tuple[str | None, bytes, int]] = field(default_factory=list)
    """Of each exception: its class, a digest of class and text, and its time in microseconds."""
    causes: list[str] = field(default_factory=list)
    """The spans of the same trace to which it links."""
    event_id: str | None = None
    """The id under which our own exporter recorded it."""


def events_of(spans: Iterable[SpanFacts]) -> list[EventMessage]:
    """Return the events of some spans, oldest first for equal traces."""
    by_id = {(each.trace_id, each.span_id): each for each in spans}
    within: defaultdict[tuple[str, str | None], list[SpanFacts]] = defaultdict(list)
    for each in by_id.values():
        within[each.trace_id, each.parent_id].append(each)
    found = []
    for each in by_id.values():
        agent_id = _agent_of(each, by_id)
        found.append(_event(each, agent_id))
        found += _errors(each, agent_id, within[each.trace_id, each.span_id])
    return found


def _agent_of(span: SpanFacts, by_id: Mapping[tuple[str, str], SpanFacts]) -> str | None:
    """Return the agent of a span, else of the nearest span around it in the same request."""
    around: SpanFacts | None = span
    for _ in range(_MAX_ANCESTORS):
        if around is None or around.agent_id is not None:
            break
        around = by_id.get((around.trace_id, around.parent_id or ""))
    return None if around is None else around.agent_id


def session_of(trace_id: str) -> str:
    """Return the session of a trace's events: its id as a UUID."""
    return str(uuid.UUID(trace_id))


def _id(span: SpanFacts, *more: str) -> str:
    if span.event_id is not None and not more and _EVENT_ID.fullmatch(span.event_id):
        return span.event_id
    return id_of(span.trace_id, span.span_id, *more)


def id_of(trace_id: str, *parts: str) -> str:
    """Return an event id, writer-number, made from the ids of a trace and a span."""
    writer = new_writer_id(blake2b(trace_id.encode(), digest_size=5).digest())
    number = int.from_bytes(blake2b("/".join(parts).encode(), digest_size=8).digest())
    return f"{writer}-{number % (10**SEQ_DIGITS - 1) + 1}"


def _event(span: SpanFacts, agent_id: str | None) -> EventMessage:
    kind = _KINDS.get(span.sort, "span")
    tick = span.metadata.get(TICK)
    return EventMessage(
        session_uid=session_of(span.trace_id),
        event_id=_id(span),
        ts_us=span.ended_us,
        kind=kind,
        severity=_INFO,
        agent_id=agent_id,
        run_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        causes=tuple(id_of(span.trace_id, each) for each in span.causes),
        tick=tick if isinstance(tick, int) and not isinstance(tick, bool) else None,
        name=span.name,
        duration_ms=max(span.ended_us - span.started_us, 0) / 1000,
        outcome="error" if span.failed else None,
        body=_body(kind, span.metadata),
    )


def _body(kind: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "span":
        return {"attributes": dict(metadata)} if metadata else {}
    if kind != "model.call":
        return {}
    told = {
        "prompt_tokens": _first(metadata, INPUT_TOKENS, int),
        "completion_tokens": _first(metadata, OUTPUT_TOKENS, int),
        "cost": _first(metadata, (COST,), int, float),
        "model_provider": _first(metadata, ("gen_ai.provider.name", "gen_ai.system", "llm.provider"), str),
    }
    if told["cost"] is not None:
        told["currency"] = "USD"
    return {key: value for key, value in told.items() if value is not None}


def _first(metadata: Mapping[str, Any], names: Iterable[str], *types: type) -> Any:
    values = (metadata[name] for name in names if name in metadata)
    return next((each for each in values if isinstance(each, types) and not isinstance(each, bool)), None)


def _errors(span: SpanFacts, agent_id: str | None, within: Iterable[SpanFacts]) -> list[EventMessage]:
    """Return an error for each exception of a span that it does not have from a span within it."""
    known = {digest for each in within for _, digest, _ in each.exceptions}
    told = [each for each in span.exceptions if each[1] not in known]
    if span.failed and not span.exceptions and not any(each.failed for each in within):
        told = [(span.error_type, b"", span.ended_us)]
    return [
        _error(span, agent_id, number, error_type, occurred_us)
        for number, (error_type, _, occurred_us) in enumerate(told)
    ]


def _error(
    span: SpanFacts, agent_id: str | None, number: int, error_type: str | None, occurred_us: int
) -> EventMessage:
    module, _, name = (error_type or "").rpartition(".")
    step = span.sort.step_type.value if span.sort is not BLOCK and span.sort is not AGENT else None
    failure_type, code = classify(name, step, module)
    shown = f"{error_type}/{span.sort.operation}/{span.name}"
    return EventMessage(
        session_uid=session_of(span.trace_id),
        event_id=_id(span, "error", str(number)),
        ts_us=occurred_us,
        kind="error",
        severity=_ERROR,
        agent_id=agent_id,
        run_id=span.trace_id,
        parent_span_id=span.span_id,
        name=error_type or "_OTHER",
        body={
            "failure_type": failure_type.value,
            "failure_code": code.value,
            "fingerprint": blake2b(shown.encode("utf-8", "replace"), digest_size=8).hexdigest(),
        },
    )
