"""OpenTelemetry: an event as a span of its own with attributes, through the SDK's file exporter."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from benchmarks.contenders.contract import (
    ACTION,
    AGENT_ID,
    AGENT_ROLE,
    LOGGER,
    MESSAGE,
    Contender,
    Identity,
    Opened,
    Place,
    files,
    identity_of,
)

PACKAGES = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-json-file")


def file_processor(place: Place, batched: bool) -> Any:
    """A span processor that writes OTLP JSON lines to one file."""
    from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    # what a full queue drops is found by reading, not told on stderr
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = FileSpanExporter(place.directory / f"spans{place.label}.jsonl")
    return BatchSpanProcessor(exporter) if batched else SimpleSpanProcessor(exporter)


def tracer(place: Place, batched: bool) -> tuple[Any, Any]:
    """(tracer, provider) that write to the place."""
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(file_processor(place, batched))
    return provider.get_tracer(LOGGER), provider


def _open(place: Place, batched: bool) -> Opened:
    own_tracer, provider = tracer(place, batched)
    start = own_tracer.start_span

    def call(data: dict[str, Any]) -> object:
        attributes = {
            "agent_id": AGENT_ID,
            "agent_role": AGENT_ROLE,
            "event_type": "agent_action",
            "action_type": ACTION,
            # attributes have no mappings: a nested one is text
            "action_data": json.dumps(data),
        }
        return start(MESSAGE, attributes=attributes).end()

    return Opened(call, provider.force_flush, provider.shutdown)


def _identities(line: dict[str, Any]) -> Iterator[Identity]:
    """Those of all spans of an OTLP line, which holds a whole batch."""
    for resource in line["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                (data,) = (a["value"]["stringValue"] for a in span["attributes"] if a["key"] == "action_data")
                yield identity_of(json.loads(data))


_OPEN_TELEMETRY = "TracerProvider, FileSpanExporter of OTLP JSON (one file, no rotation), the mapping as text"

CONTENDERS = {
    "OpenTelemetry span": Contender(
        packages=PACKAGES,
        how=f"{_OPEN_TELEMETRY}; SimpleSpanProcessor",
        open=lambda place, _: _open(place, batched=False),
        grown=files("spans*.jsonl"),
        identities=_identities,
        tail_events=200_000,
        rotates=False,
    ),
    "OpenTelemetry span, batched": Contender(
        packages=PACKAGES,
        how=f"{_OPEN_TELEMETRY}; BatchSpanProcessor with its defaults: a thread writes, a full queue drops, "
        "a kill loses it",
        open=lambda place, _: _open(place, batched=True),
        grown=files("spans*.jsonl"),
        identities=_identities,
        tail_events=200_000,
        rotates=False,
    ),
}
