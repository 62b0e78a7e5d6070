"""Write the finished spans of OpenTelemetry to the tree, with one span processor.

A span becomes a `span` event of the agent whose action was running when it began, within that action's span
or within the span of OpenTelemetry around it. Its attributes are redacted like all payloads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from Agent.errors import MissingExtra
from Agent.event.kinds import Category
from Agent.record import health
from Agent.record.emit import installed
from Agent.record.emit.context import SpanScope, current_scope
from Agent.record.emit.installed import LIMITS, current_pipeline
from Agent.record.encode.safe_text import as_text

try:
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
    from opentelemetry.trace import StatusCode
except ImportError:
    raise MissingExtra(
        "opentelemetry-sdk, whose spans this records, is not installed",
        remedy='install it with pip install "agent-trace[otel]"',
    ) from None

_LIMIT: Final = LIMITS[Category.SYSTEM.value]
_INFO, _WARNING = 20, 30
_MAX_OPEN: Final = 65_536
"""The maximum number of open spans with a stored agent; further spans are recorded without one."""
_MAX_EVENTS: Final = 128


class _Opened(NamedTuple):
    """Where a span began."""

    scope: SpanScope | None
    parent: str | None
    """The span around it."""


class AgentTraceSpanProcessor(SpanProcessor):
    """Records each finished span as a `span` event: `provider.add_span_processor(AgentTraceSpanProcessor())`.

    Other processors of the provider, such as exporters, are not affected. Nothing here raises, and a span
    that is not sampled is not recorded.

    Args:
        ignore: names of instrumentation libraries whose spans are not recorded.

    Raises:
        MissingExtra: opentelemetry-sdk is not installed.
    """

    def __init__(self, ignore: Iterable[str] = ()) -> None:
        self._ignored = frozenset(ignore)
        self._open: dict[int, _Opened] = {}
        self._lock = threading.Lock()

    def on_start(self, span: Span, parent_context: Any = None) -> None:  # noqa: ARG002 - the span knows its parent
        """Store the action in which the span begins."""
        try:
            scope = current_scope.get()
            around = span.parent.span_id if span.parent is not None and not span.parent.is_remote else None
            parent = None if scope is None else scope.span_id
            with self._lock:
                outer = self._open.get(around) if around is not None else None
                # An action that began inside the outer span is nearer than the outer span.
                if (
                    around is not None
                    and outer is not None
                    and (outer.scope and outer.scope.span_id) == parent
                ):
                    parent = f"{around:016x}"
                if len(self._open) < _MAX_OPEN:
                    self._open[span.get_span_context().span_id] = _Opened(scope, parent)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            health.trouble("a span of another library", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Write the span as an event."""
        try:
            self._record(span)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            health.trouble("a span of another library", error)
            health.lost("a span of another library could not be recorded")

    def _record(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is None:
            return
        own_id = context.span_id
        with self._lock:
            opened = self._open.pop(own_id, None) or _Opened(None, None)
        library = span.instrumentation_scope.name if span.instrumentation_scope is not None else ""
        failed = span.status.status_code is StatusCode.ERROR
        level = _WARNING if failed else _INFO
        if level < _LIMIT.value or library in self._ignored:
            return
        pipeline = current_pipeline()
        scope = opened.scope
        acting = None if scope is None else scope.agent
        agent = (None, None) if acting is None else (acting.agent_id, acting.agent_role)
        binding = pipeline.binding(*agent, as_text(library) or "opentelemetry", Category.SYSTEM.value)
        token = current_scope.set(scope if opened.parent is None else SpanScope(scope, span_id=opened.parent))
        try:
            name = as_text(span.name)
            payload = {"name": name, "trace": f"{context.trace_id:032x}", **_payload(span, failed)}
            if library:
                payload["library"] = as_text(library)
            pipeline.emit(binding.slot("span", level), name, payload, span_id=f"{own_id:016x}")
        finally:
            current_scope.reset(token)

    def shutdown(self) -> None:
        """Write all buffered events to the files; recording continues."""
        installed.flush_active()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - nothing here takes that long
        """Write all buffered events to the files."""
        installed.flush_active()
        return True


def _payload(span: ReadableSpan, failed: bool) -> dict[str, Any]:
    payload: dict[str, Any] = {"span_kind": span.kind.name.lower()}
    if span.start_time is not None and span.end_time is not None:
        payload["duration_ms"] = (span.end_time - span.start_time) / 1e6
    attributes = _plain(span.attributes)
    if attributes:
        payload["attributes"] = attributes
    listed = [(each.name, _plain(each.attributes)) for each in span.events[:_MAX_EVENTS]]
    rest = [{"name": name, "attributes": of_event} for name, of_event in listed if name != "exception"]
    if rest:
        payload["events"] = rest
    if failed:
        raised = next((of_event for name, of_event in listed if name == "exception"), {})
        payload["outcome"] = "error"
        payload["error_type"] = raised.get("exception.type") or attributes.get("error.type") or "_OTHER"
        message = raised.get("exception.message") or span.status.description
        if message:
            payload["error_message"] = as_text(message)
    return payload


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attributes with lists instead of tuples, to which OpenTelemetry converts any sequence."""
    return {
        key: list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value
        for key, value in (attributes or {}).items()
    }
