"""Convert recorded events to spans: a trace for each run, a span for each action, step, tool or model call.

The ids of traces and spans are those of the recording, or digests of them, so a second export gives the same
spans. Events that are not spans become events of the enclosing span; errors that failed it become its
`exception`. Without content, only what the allow-list permits becomes an attribute. Next: `otlp.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from Agent.archive.sealed.reader import open_reader
from Agent.event.clock import parse_timestamp
from Agent.event.code_places import code_name, code_place
from Agent.event.kinds import Meaning
from Agent.event.model import Event
from Agent.event.payloads import KINDS, kinds_of
from Agent.export import conventions as names
from Agent.export.allow_list import AllowList
from Agent.export.conventions import AGENT, BLOCK, MODEL, OWN, RUN, SpanSort, sort_of
from Agent.export.failure_classes import classify
from Agent.export.span_content import content_of, json_text
from Agent.tree.files.session import SessionInfo, lineage_within
from Agent.tree.layout import entries_in, read_file, run_dir
from Agent.tree.read.reader import OpenSpan
from Agent.tree.write.artifacts import ROOT_RUN

MAX_SPAN_EVENTS: Final = 128
"""The maximum number of events and of links of a span: the default limit of OpenTelemetry's SDKs."""
INTERNAL, CLIENT = 1, 3
OK, ERROR = 1, 2
_MAX_EVENT_SPANS: Final = 65_536
"""The number of recent events that can be named as causes; their spans are kept in memory."""
_NOT_EXPORTED: Final = kinds_of(Meaning.BOOKKEEPING, Meaning.OBSERVATION) - {"context_exit"} | frozenset(
    {"artifact.saved", "system.init", "system.config", "system.module"}
)
"""Kinds that are neither spans nor events of spans: bookkeeping of the recording, and metrics."""
_WRITTEN_ELSEWHERE: Final = frozenset({"duration_ms", "latency_ms", "error_id", "params", "call_id"})
_ABOUT_AGENT: Final = frozenset({"agent_id", "agent_role", "event_type"})
_SHOWN_KINDS: Final = {"step.finished": "step", "context_exit": "context", "metric": "measure"}
_US: Final = 1000


class SpanEvent(NamedTuple):
    """An event within a span."""

    name: str
    time_ns: int
    attributes: dict[str, Any]


class SpanLink(NamedTuple):
    """A span, possibly of another trace, that led to this one."""

    trace_id: bytes
    span_id: bytes
    attributes: dict[str, Any]


@dataclass(slots=True)
class Span:
    """One span; times are nanoseconds since 1970. Until it ends, it only has events and links."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes = b""
    """Empty for the span at the root of a trace."""
    name: str = ""
    start_ns: int = 0
    end_ns: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    kind: int = INTERNAL
    events: list[SpanEvent] = field(default_factory=list)
    links: list[SpanLink] = field(default_factory=list)
    dropped_events: int = 0
    dropped_links: int = 0
    status: int = 0
    """0 unset, 1 ok, 2 error."""
    status_message: str = ""
    error_type: str | None = None
    """The class of the first error in it."""

    def add(self, event: SpanEvent) -> None:
        """Add an event, or count it as dropped."""
        if len(self.events) < MAX_SPAN_EVENTS:
            self.events.append(event)
        else:
            self.dropped_events += 1

    def link(self, link: SpanLink) -> None:
        """Add a link, or count it as dropped."""
        if len(self.links) < MAX_SPAN_EVENTS:
            self.links.append(link)
        else:
            self.dropped_links += 1


@dataclass(slots=True)
class _Trace:
    """One run: its ids, and the data for its root span."""

    trace_id: bytes
    root_id: bytes
    run_id: str | None
    started_us: int | None = None
    last_us: int = 0
    is_used: bool = False
    """Whether any span of it was exported, so that it needs a root."""
    has_root: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    pending: dict[bytes, Span] = field(default_factory=dict)
    """The spans that have not ended, and have events or links, by id."""
    first_parent: bytes | None = None
    """The parent of its first step: the run's own span, unless an action began that step."""
    awaited: dict[bytes, None] = field(default_factory=dict)
    """The parents of exported spans that have not ended, in order."""

    def open_span(self, span_id: bytes) -> Span:
        """Return a span that has not ended."""
        return self.pending.setdefault(span_id, Span(self.trace_id, span_id))

    def ended(self, span_id: bytes) -> Span:
        """Return a span that ends."""
        return self.pending.pop(span_id, None) or Span(self.trace_id, span_id)


def trace_id_of(session_uid: str, run_id: str | None) -> bytes:
    """Return the trace id of a run, 16 bytes: its id if that is a UUID, else a digest of session and id."""
    text = session_uid if run_id is None else run_id
    return _id_in(text.replace("-", ""), 16) or _digest(16, session_uid, str(run_id))


def _id_in(digits: str, size: int) -> bytes:
    """Return the id that a text is in hexadecimal; empty if it is none, or all zeros, which OTLP forbids."""
    try:
        raw = bytes.fromhex(digits) if len(digits) == 2 * size else b""
    except ValueError:
        return b""
    return raw if any(raw) else b""


def _digest(size: int, *parts: str) -> bytes:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=size).digest()


@dataclass
class SpanMaker:
    """Makes the spans of one session, from its events in order.

    Args:
        session: the session's directory.
        info: its description.
        allowed: determines which values become attributes, and counts the others.
        content: also export arguments, results, prompts, messages and states, as they were recorded.
        runs: the runs to export, None among them for everything outside of runs; by default all.
    """

    session: Path
    info: SessionInfo
    allowed: AllowList
    content: bool = False
    runs: frozenset[str | None] | None = None
    _traces: dict[str | None, _Trace] = field(default_factory=dict)
    _steps: dict[str, Event] = field(default_factory=dict)
    """By span, the beginnings of the steps that have not ended."""
    _event_spans: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    """{event id: its own span, or the enclosing one}."""
    _errors: dict[str, str] = field(default_factory=dict)
    _codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """{digest of the code: the attributes with the function's location}."""
    _digests: dict[str, str | None] = field(default_factory=dict)
    """By name of a function, its digest; None if several functions have the name."""

    def __post_init__(self) -> None:
        self._payloads = self.allowed.uncounted() if self.content else self.allowed
        """The allow-list for content, which is not counted as dropped when it is exported."""

    def add(self, event: Event) -> Span | None:
        """Take one event; return the span that it ends, if any."""
        if event.kind == "code":
            self._note_code(event)
        if self.runs is not None and event.run_id not in self.runs:
            return None
        trace = self._trace(event.run_id)
        trace.last_us = max(trace.last_us, event.timestamp_us)
        kind = event.kind
        if kind == "run.started":
            self._begin(trace, event)
        elif kind == "step.started":
            trace.is_used = True
            if isinstance(span_id := event.extra.get("step_span"), str):
                self._steps[span_id] = event
            if trace.first_parent is None and event.parent_span_id is not None:
                trace.first_parent = span_bytes(event.parent_span_id)
        elif kind == "run.finished":
            return self._root(trace, event)
        elif event.span_id is not None or kind == "model.call":
            return self._span(trace, event)
        elif kind not in _NOT_EXPORTED and (kind != "log" or self.content):
            self._note(trace, event)
        return None

    def finish(self, open_spans: Iterable[OpenSpan] = ()) -> Iterator[Span]:
        """Yield the spans that never ended, and the roots of the session and of unfinished runs.

        Args:
            open_spans: the spans that were open when the session's processes ended or were killed.
        """
        is_open = {span_bytes(each.span_id): each for each in open_spans}
        begun = {span_bytes(span_id): event for span_id, event in self._steps.items()}
        for trace in list(self._traces.values()):
            if not trace.has_root and trace.run_id is not None:
                named = (span for span, each in is_open.items() if each.name == f"run {trace.run_id}")
                trace.root_id = next(named, trace.first_parent or trace.root_id)
            for span_id, event in begun.items():
                if event.run_id == trace.run_id:
                    trace.awaited |= {self._parent(trace, event): None, span_id: None}
            for span_id in [each for each in trace.awaited if each != trace.root_id]:
                trace.is_used = True
                yield self._unended(trace, span_id, is_open.get(span_id), begun.get(span_id))
            if not trace.has_root and (trace.is_used or trace.pending):
                yield self._root(trace, None)

    # Traces.

    def _trace(self, run_id: str | None) -> _Trace:
        trace = self._traces.get(run_id)
        if trace is None:
            trace_id = trace_id_of(self.info.session_uid, run_id)
            trace = self._traces[run_id] = _Trace(trace_id, root_span_id(trace_id), run_id)
            if run_id is None and self.info.started_at:
                trace.started_us = parse_timestamp(self.info.started_at)
        return trace

    def _begin(self, trace: _Trace, event: Event) -> None:
        trace.started_us = event.timestamp_us
        trace.is_used = True
        agent = event.extra.get("agent") or event.agent_id
        named = self._named(agent)
        trace.name = named.get(AGENT.written[0], trace.name)
        trace.attributes |= named
        payload = self._payloads.payload(event.kind, self._payload(event))
        payload.pop("agent", None)
        trace.attributes |= _attributes(payload)
        labels = payload.get("labels")
        if isinstance(labels, dict) and "agent_version" in labels:
            trace.attributes["gen_ai.agent.version"] = labels["agent_version"]
        if event.parent_span_id is not None:
            outer = trace_id_of(self.info.session_uid, event.extra.get("parent_run_id"))
            link = SpanLink(outer, span_bytes(event.parent_span_id), {OWN + "link": "started_in"})
            trace.open_span(trace.root_id).link(link)

    def _root(self, trace: _Trace, event: Event | None) -> Span:
        """Make the span of a whole run, from its last event if it has one."""
        begun_as = trace.root_id
        if event is not None and event.span_id is not None:
            trace.root_id = span_bytes(event.span_id)
        trace.has_root = True
        span = trace.ended(trace.root_id)
        earlier = trace.pending.pop(begun_as, None) if begun_as != trace.root_id else None
        if earlier is not None:
            for link in earlier.links:
                span.link(link)
            for noted in earlier.events:
                span.add(noted)
        trace.awaited.pop(trace.root_id, None)
        sort = AGENT if trace.name else RUN
        attributes = {
            names.OPERATION: sort.operation,
            names.SPAN_KIND: sort.kind,
            **self._common(trace),
            **trace.attributes,
        }
        ended_us, started_us = trace.last_us, trace.started_us
        error_type = span.error_type
        if event is not None:
            payload = self._payloads.payload(event.kind, self._payload(event))
            attributes |= _attributes(payload)
            ended_us = event.timestamp_us
            if started_us is None:
                started_us = _start_us(event)
            span.status = OK if event.extra.get("ok") else ERROR
            span.status_message = self._message(event)
            error_type = error_type or self._error_type(event)
        elif trace.run_id is not None:
            attributes[OWN + "unfinished"] = True
        if span.status == ERROR:
            attributes["error.type"] = error_type or "_OTHER"
        self._add_lineage(trace, attributes, span)
        for replay in self._replays(trace):
            span.add(replay)
        span.name, span.attributes = f"{sort.operation} {trace.name}".rstrip(), attributes
        span.start_ns = (started_us if started_us is not None else ended_us) * _US
        span.end_ns = ended_us * _US
        return span

    def _add_lineage(self, trace: _Trace, attributes: dict[str, Any], span: Span) -> None:
        """Add what a forked or resumed run continues, with a link to the original."""
        lineage = lineage_within(self.info)
        if lineage is None or trace.run_id not in {None, lineage.run_id}:
            return
        attributes[OWN + "fork.relation"] = lineage.relation
        for key in ("run", "step"):
            if (shown := self.allowed.identity(getattr(lineage, key), f"/fork/{key}")) is not None:
                attributes[f"{OWN}fork.{key}"] = shown
        if lineage.seed is not None:
            attributes[OWN + "fork.seed"] = lineage.seed
        if self.content and lineage.patch is not None:
            attributes[OWN + "fork.patch"] = json_text(lineage.patch)
        origin = trace_id_of(lineage.session_uid, None)
        span.link(SpanLink(origin, root_span_id(origin), {OWN + "link": lineage.relation}))

    def _replays(self, trace: _Trace) -> Iterator[SpanEvent]:
        """Yield the results of the run's replays, from their reports."""
        directory = run_dir(self.session, trace.run_id or ROOT_RUN) / "replays"
        for path in [file for place in entries_in(directory) for file in entries_in(place, "report.json")]:
            try:
                report = orjson.loads(read_file(path))
                verdict = str(report["verdict"])
                time_ns = path.stat().st_mtime_ns
            except (OSError, ValueError, KeyError, TypeError):
                self.allowed.dropped.note("/replays/*/report.json")  # listed with the dropped values
                continue
            attributes: dict[str, Any] = {
                OWN + "replay.id": path.parent.name,
                OWN + "replay.verdict": verdict,
            }
            counts = report.get("counts")
            if isinstance(counts, dict):
                attributes |= {
                    f"{OWN}replay.{key}": counts[key] for key in ("actions", "covered") if key in counts
                }
            yield SpanEvent(OWN + "replay", time_ns, attributes)
            divergence = report.get("divergence")
            if isinstance(divergence, dict):
                yield SpanEvent(OWN + "divergence", time_ns, self._divergence(path.parent.name, divergence))

    def _divergence(self, replay_id: str, divergence: Mapping[str, Any]) -> dict[str, Any]:
        attributes: dict[str, Any] = {OWN + "replay.id": replay_id}
        for key in ("step", "tick"):
            if isinstance(divergence.get(key), int):
                attributes[f"{OWN}divergence.{key}"] = divergence[key]
        for key in ("agent_id", "action", "field", "event_id"):
            value = divergence.get(key)
            if value and (shown := self.allowed.name(value, f"/divergence/{key}")) is not None:
                attributes[f"{OWN}divergence.{key}"] = shown
        if self.content:
            attributes |= {
                f"{OWN}divergence.{key}": json_text(divergence[key])
                for key in ("recorded", "replayed")
                if key in divergence
            }
        return attributes

    # Spans.

    def _span(self, trace: _Trace, event: Event) -> Span:
        trace.is_used = True
        own_id = event.span_id
        span_id = _digest(8, self.info.session_uid, event.id) if own_id is None else span_bytes(own_id)
        span = trace.ended(span_id)
        trace.awaited.pop(span_id, None)
        parent = self._parent(trace, event)
        if parent != trace.root_id or trace.run_id is not None:
            trace.awaited[parent] = None
        payload = self._payloads.payload(event.kind, self._payload(event))
        sort, name = self._sort(event, payload)
        attributes: dict[str, Any] = {}
        if sort.operation:
            attributes[names.OPERATION] = sort.operation
        attributes |= {names.SPAN_KIND: sort.kind, **self._common(trace, event)}
        agent = attributes.get("gen_ai.agent.name")
        if sort is not AGENT and name is not None:
            attributes |= dict.fromkeys(sort.written or (names.NAME,), name)
        if event.kind == "model.call":
            _add_model(attributes, payload)
        attributes |= _attributes(payload, about=KINDS[event.kind].about if event.kind in KINDS else "")
        if self.content:
            attributes |= content_of(event, sort, self.session)
        if event.extra.get("outcome") == "error":
            attributes["error.type"] = span.error_type or self._error_type(event) or "_OTHER"
            span.status, span.status_message = ERROR, self._message(event)
        self._remember(event, span)
        label = sort.operation or _SHOWN_KINDS.get(event.kind, event.kind)
        span.name = " ".join(each for each in (label, agent if sort is AGENT else None, name) if each)
        span.parent_span_id, span.attributes = parent, attributes
        span.start_ns, span.end_ns = max(_start_us(event), 0) * _US, event.timestamp_us * _US
        span.kind = CLIENT if sort is MODEL else INTERNAL
        return span

    def _sort(self, event: Event, payload: dict[str, Any]) -> tuple[SpanSort, str | None]:
        """Return the sort of a span and its name; removes the name from the payload."""
        about = KINDS[event.kind].about if event.kind in KINDS else ""
        name = payload.get(about)
        sort = names.SORT_OF_KIND.get(event.kind, BLOCK)
        if event.kind == "span":
            sort = sort_of(payload.get("attributes") or {})
        elif event.kind == "step.finished":
            name = name or payload.get("step_id")
            began = self._steps.pop(event.span_id or "", None)
            step_type = "" if began is None else str(began.extra.get("step_type") or "")
            sort = names.SORT_OF_STEP.get(step_type, BLOCK)
            if step_type:
                payload["step_type"] = step_type
        return sort, None if name is None else str(name)

    def _parent(self, trace: _Trace, event: Event) -> bytes:
        return trace.root_id if event.parent_span_id is None else span_bytes(event.parent_span_id)

    def _unended(self, trace: _Trace, span_id: bytes, open_span: OpenSpan | None, step: Event | None) -> Span:
        """Make a span for a step or parent without an end: its process died, or its level is not recorded."""
        span = trace.ended(span_id)
        attributes = {names.SPAN_KIND: BLOCK.kind, **self._common(trace), OWN + "unfinished": True}
        name, started_us, parent = "unrecorded span", trace.last_us, trace.root_id
        if step is not None:
            payload = self._payloads.payload(step.kind, self._payload(step))
            attributes |= self._of_agent(step) | _attributes(payload)
            name = f"step {payload.get('name') or payload.get('step_id') or ''}".rstrip()
            started_us, parent = step.timestamp_us, self._parent(trace, step)
        elif open_span is not None:
            started_us = open_span.started_us
            name = self.allowed.label(open_span.name, "/open_spans/*/name") or name
            attributes |= self._named(open_span.agent_id)
        span.parent_span_id, span.name, span.attributes = parent, name, attributes
        span.start_ns, span.end_ns = started_us * _US, max(trace.last_us, started_us) * _US
        return span

    # Events and links of spans.

    def _note(self, trace: _Trace, event: Event) -> None:
        """Keep an event for its enclosing span."""
        if event.parent_span_id is None:
            trace.is_used = True
        span = trace.open_span(self._parent(trace, event))
        self._remember(event, span)
        payload = self._payloads.payload(event.kind, self._payload(event))
        if event.kind == "error":
            error_type = self._full_type(event)
            span.error_type = span.error_type or error_type
            self._errors[event.id] = error_type
            _limit(self._errors)
            span.add(SpanEvent("exception", event.timestamp_us * _US, self._exception(event, payload)))
            return
        about = _attributes(payload)
        if self.content:
            about |= content_of(event, BLOCK, self.session)
        span.add(SpanEvent(OWN + event.kind, event.timestamp_us * _US, {**self._of_agent(event), **about}))

    def _exception(self, event: Event, payload: dict[str, Any]) -> dict[str, Any]:
        attributes = {"exception.type": self._full_type(event), **self._of_agent(event)}
        if self.content:
            for name, key in (("message", "error_message"), ("stacktrace", "traceback")):
                if isinstance(text := event.extra.get(key), str):
                    attributes[f"exception.{name}"] = text
        shown_keys = ("fingerprint", "call", "action_type")
        payload_keys: dict[str, Any] = {key: payload[key] for key in shown_keys if key in payload}
        module = event.extra.get("error_module")
        error_module = module if isinstance(module, str) else None
        sort = classify(str(event.extra.get("error_type")), error_module=error_module)
        payload_keys |= {"failure_type": sort[0].value, "failure_code": sort[1].value}
        return attributes | _attributes(payload_keys)

    def _full_type(self, event: Event) -> str:
        """Return the class of an error with its module, as OpenTelemetry names it; `_OTHER` if unknown."""
        parts = [event.extra.get(key) for key in ("error_module", "error_type")]
        shown = [
            text
            for part in parts
            if isinstance(part, str) and (text := self.allowed.label(part, "/extra/error_type")) is not None
        ]
        return ".".join(shown if shown[:1] != ["builtins"] else shown[1:]) or "_OTHER"

    def _error_type(self, event: Event) -> str | None:
        error_id = event.extra.get("error_id")
        return self._errors.get(error_id) if isinstance(error_id, str) else None

    def _message(self, event: Event) -> str:
        error = event.extra.get("error")
        return error if self.content and isinstance(error, str) else ""

    def _remember(self, event: Event, span: Span) -> None:
        """Remember the span of an event, and link it to the spans of the event's recorded causes."""
        own_ids = self._event_spans[event.id] = span.trace_id, span.span_id
        _limit(self._event_spans)
        for cause in event.causes:
            cause_ids = self._event_spans.get(cause)
            if cause_ids is not None and cause_ids != own_ids:
                span.link(SpanLink(*cause_ids, {OWN + "link": "cause", OWN + "event_id": cause}))

    # attributes

    def _common(self, trace: _Trace, event: Event | None = None) -> dict[str, Any]:
        attributes: dict[str, Any] = {"session.id": self.info.session_uid}
        run_id = None if trace.run_id is None else self.allowed.identity(trace.run_id, "/run_id")
        if run_id is not None:
            attributes[OWN + "run_id"] = run_id
        if event is None:
            return attributes
        attributes |= self._of_agent(event)
        attributes[OWN + "kind"], attributes[OWN + "event_id"] = event.kind, event.id
        if event.tick is not None:
            attributes[OWN + "tick"] = event.tick
        if event.code is not None:
            attributes[OWN + "code"] = event.code
        digest = event.code or self._digests.get(str(event.extra.get("call")))
        return attributes if digest is None else attributes | self._code(digest)

    def _code(self, digest: str) -> dict[str, Any]:
        """Return the attributes of a function; its event may be in a file that is read later."""
        if digest not in self._codes:
            for event in open_reader(self.session).category_events("system"):
                if event.kind == "code":
                    self._note_code(event)
            self._codes.setdefault(digest, {})  # searched only once
        return self._codes[digest]

    def _note_code(self, event: Event) -> None:
        digest, qualname = str(event.extra.get("digest")), str(event.extra.get("qualname"))
        if self._codes.get(digest):
            return
        attributes: dict[str, Any] = {}
        name = self.allowed.label(code_name(event.extra), "/extra/qualname")
        if name is not None:
            attributes[names.CODE_FUNCTION] = name
        location = code_place(event.extra)
        if location is not None:
            attributes[names.CODE_LINE] = location.line
            if self.content:
                attributes[names.CODE_FILE] = location.file
        self._codes[digest] = attributes
        if self._digests.setdefault(qualname, digest) != digest:
            self._digests[qualname] = None

    def _of_agent(self, event: Event) -> dict[str, Any]:
        attributes = self._named(event.agent_id or None)
        if event.agent_role and (role := self.allowed.name(event.agent_role, "/agent_role")) is not None:
            attributes[OWN + "role"] = role
        return attributes

    def _named(self, agent_id: str | None) -> dict[str, Any]:
        shown = None if agent_id is None else self.allowed.name(agent_id, "/agent_id")
        return {} if shown is None else dict.fromkeys(AGENT.written, shown)

    @staticmethod
    def _payload(event: Event) -> dict[str, Any]:
        return {key: value for key, value in event.extra.items() if key not in _ABOUT_AGENT}


def _limit(table: dict[str, Any]) -> None:
    if len(table) > _MAX_EVENT_SPANS:
        del table[next(iter(table))]


def root_span_id(trace_id: bytes) -> bytes:
    """Return the id of a trace's root span, if no recorded one is known."""
    return blake2b(trace_id, digest_size=8).digest()


def span_bytes(span_id: str) -> bytes:
    """Return the 8 bytes of a recorded span id; a digest for ids of another form."""
    return _id_in(span_id, 8) or _digest(8, span_id)


def _start_us(event: Event) -> int:
    for key in ("duration_ms", "latency_ms"):
        lasted_ms = event.extra.get(key)
        if isinstance(lasted_ms, (int, float)) and not isinstance(lasted_ms, bool) and lasted_ms >= 0:
            return max(event.timestamp_us - round(lasted_ms * 1000), 0)
    return event.timestamp_us


def _attributes(payload: Mapping[str, Any], about: str = "") -> dict[str, Any]:
    """Return the attributes of a payload that may leave; `about` is the key of its name."""
    attributes: dict[str, Any] = {}
    for key, value in payload.items():
        if key in _WRITTEN_ELSEWHERE or (key == about and about in {"name", "model_name"}):
            continue
        if key == "attributes" and isinstance(value, dict):
            attributes |= value  # attributes of a span of another library keep their names
            continue
        for name in names.PAYLOAD_NAMES.get(key, (OWN + key,)):
            attributes |= _flat(name, value)
    return attributes


def _flat(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        scalars = str | bool | int | float
        return [
            (f"{name}.{key}", each if isinstance(each, scalars) else json_text(each))
            for key, each in value.items()
        ]
    if isinstance(value, list) and not all(isinstance(each, str) for each in value):
        return [(name, json_text(value))]
    return [(name, value)]


def _add_model(attributes: dict[str, Any], payload: dict[str, Any]) -> None:
    """Add a model call's attributes of both conventions: parameters, counts, cost, time to first chunk."""
    params = payload.get("params")
    for key, value in params.items() if isinstance(params, dict) else ():
        attributes[names.PARAMETER_NAMES.get(key, f"{OWN}params.{key}")] = value
    counts = [payload.get(key) for key in ("prompt_tokens", "completion_tokens")]
    if all(isinstance(each, int) for each in counts):
        attributes[names.TOTAL_TOKENS] = sum(each for each in counts if each is not None)
    if isinstance(payload.get("cost"), (int, float)) and payload.get("currency") in {None, "USD"}:
        attributes[names.COST] = payload["cost"]
    if isinstance(first_ms := payload.get("first_chunk_ms"), (int, float)):
        attributes["gen_ai.response.time_to_first_chunk"] = first_ms / 1000
