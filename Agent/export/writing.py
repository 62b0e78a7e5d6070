"""From the record to the wire: an event as it may leave the machine, and many as one body.

`reading.py` is the way back. Without content an event leaves as its envelope and what `allowed.py` lets
through; with content it leaves as it was recorded, which is after redaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from Agent.event.model import Event
from Agent.export.allowed import AllowList
from Agent.export.failure_classes import classify
from Agent.export.messages import WIRE_VERSION
from Agent.tree.files.session import SessionInfo

_ENVELOPE: Final = frozenset({"agent_id", "agent_role", "event_type"})
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS


def event_to_wire(
    event: Event, allowed: AllowList, *, content: bool = False, artifact_text: str | None = None
) -> bytes:
    """One event as a JSON object.

    Args:
        event: as the recording has it.
        allowed: decides what may leave, and counts what may not.
        content: let payload, message and state leave, too.
        artifact_text: with content, what the artifact holds that the event tells of.
    """
    wire: dict[str, Any] = {
        "timestamp": event.timestamp,
        "id": event.id,
        "schema_version": event.schema_version,
        "kind": event.kind,
    }
    if event.level != "INFO":
        wire["level"] = event.level
    if event.logger and (logger := allowed.label(event.logger, "/logger")):
        wire["logger"] = logger
    for name in ("run_id", "span_id", "parent_span_id"):
        value = getattr(event, name)
        if value is not None and (shown := allowed.identity(value, f"/{name}")) is not None:
            wire[name] = shown
    if event.tick is not None:
        wire["tick"] = event.tick
    if event.causes:
        wire["causes"] = event.causes
    for key in ("agent_id", "agent_role"):
        value = event.extra.get(key)
        if value is not None and (shown := allowed.name(value, f"/{key}")) is not None:
            wire[key] = shown
    if event.code is not None:
        wire["code"] = event.code
    payload = {key: value for key, value in event.extra.items() if key not in _ENVELOPE}
    error_type = payload.get("error_type") if event.kind == "error" else None
    if isinstance(error_type, str) and "failure_code" not in payload:
        module = payload.get("error_module")
        sort = classify(error_type, error_module=module if isinstance(module, str) else None)
        payload.update(failure_type=sort[0].value, failure_code=sort[1].value)
    if content:
        if "parent_run_id" in payload:  # called as that run is, whose id may leave as a digest
            payload["parent_run_id"] = allowed.identity(payload["parent_run_id"], "/extra/parent_run_id")
        wire["extra"] = payload
        _add_content(wire, event)
        if artifact_text is not None:
            wire["artifact_text"] = artifact_text
        return orjson.dumps(wire, option=_OPTIONS)
    wire["extra"] = allowed.payload(event.kind, payload)
    _note_content(event, allowed)
    return orjson.dumps(wire)


def _add_content(wire: dict[str, Any], event: Event) -> None:
    for name in ("message", "state", "types"):
        value = getattr(event, name)
        if value:
            wire[name] = value


def _note_content(event: Event, allowed: AllowList) -> None:
    """Count what stood beside the payload; messages of other kinds than `log` say what the payload says."""
    if event.kind == "log" and event.message:
        allowed.dropped.note("/message")
    if event.state:
        allowed.dropped.note("/state")


def session_to_wire(info: SessionInfo) -> dict[str, Any]:
    """What a body says of its session: its names and its time; host, arguments and settings stay here."""
    wire: dict[str, Any] = {"session_uid": info.session_uid, "session_id": info.session_id}
    if info.started_at:
        wire["started_at"] = info.started_at
    return wire


def encode_body(session: Mapping[str, Any], events: Sequence[bytes], *, content: bool = False) -> bytes:
    """The body of `POST /v1/events` with these events, which `event_to_wire` made."""
    head = orjson.dumps({"wire_version": WIRE_VERSION, "content": content, "session": session})
    return b'%s,"events":[%s]}' % (head[:-1], b",".join(events))
