"""The wire format: convert events to bodies of requests, and bodies back to messages.

Without content, an event is sent as its envelope and the values that `allow_list.py` permits; with content it
is sent as recorded, that is after redaction. Reading applies the allow-list again, unless the project accepts
content, and is total: any JSON gives a result or a `WireError`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from Agent.event.ids import is_session_id, split_event_id
from Agent.event.kinds import LEVELS
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.export import messages
from Agent.export.allow_list import UUID, AllowList
from Agent.export.documents import run_of_document
from Agent.export.failure_classes import classify
from Agent.export.messages import MAX_INTEGER, WireError, is_number
from Agent.tree.files.session import SessionInfo

_OUTSIDE_PAYLOAD: Final = frozenset({"agent_id", "agent_role", "event_type"})
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS


def event_to_wire(
    event: Event, allowed: AllowList, *, content: bool = False, artifact_text: str | None = None
) -> bytes:
    """Encode one event as a JSON object.

    Args:
        event: the recorded event.
        allowed: determines the values that may leave, and counts the others.
        content: include the whole payload, the message and the state.
        artifact_text: with content, the text of the artifact of an `artifact.saved` event.
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
    payload = {key: value for key, value in event.extra.items() if key not in _OUTSIDE_PAYLOAD}
    error_type = payload.get("error_type") if event.kind == "error" else None
    if isinstance(error_type, str) and "failure_code" not in payload:
        module = payload.get("error_module")
        sort = classify(error_type, error_module=module if isinstance(module, str) else None)
        payload.update(failure_type=sort[0].value, failure_code=sort[1].value)
    if content:
        if "parent_run_id" in payload:  # must equal the id of the parent run, which may be sent as a digest
            payload["parent_run_id"] = allowed.identity(payload["parent_run_id"], "/extra/parent_run_id")
        wire["extra"] = payload
        beside = {name: getattr(event, name) for name in ("message", "state", "types")}
        wire |= {name: value for name, value in beside.items() if value}
        if artifact_text is not None:
            wire["artifact_text"] = artifact_text
        return orjson.dumps(wire, option=_OPTIONS)
    wire["extra"] = allowed.payload(event.kind, payload)
    _note_content(event, allowed)
    return orjson.dumps(wire)


def _note_content(event: Event, allowed: AllowList) -> None:
    """Count the dropped values outside the payload; only a `log` message adds something to its payload."""
    if event.kind == "log" and event.message:
        allowed.dropped.note("/message")
    if event.state:
        allowed.dropped.note("/state")


def session_to_wire(info: SessionInfo) -> dict[str, Any]:
    """Return the session in a body: its names and start; host, arguments and settings are not sent."""
    wire: dict[str, Any] = {"session_uid": info.session_uid, "session_id": info.session_id}
    if info.started_at:
        wire["started_at"] = info.started_at
    return wire


def encode_body(session: Mapping[str, Any], events: Sequence[bytes], *, content: bool = False) -> bytes:
    """Return the body of `POST /v1/events` with events made by `event_to_wire`."""
    head = orjson.dumps({"wire_version": messages.WIRE_VERSION, "content": content, "session": session})
    return b'%s,"events":[%s]}' % (head[:-1], b",".join(events))


_EVENT_ID: Final = re.compile(r"[a-z2-7]{8}-[1-9][0-9]{0,18}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{8,64}")
_MAX_CAUSES: Final = 1000
_MAX_DEPTH: Final = 32

_ENVELOPE: Final = frozenset(
    "timestamp id schema_version kind level logger run_id span_id parent_span_id causes tick agent_id "
    "agent_role code extra message state types".split()
)
_BESIDE: Final[dict[str, type]] = {"message": str, "state": dict, "types": dict, "artifact_text": str}
"""The values next to the payload that are sent as content, with their types."""
_RESERVED: Final = frozenset({*_BESIDE, "logger", "code"})


def read_batch(value: object, *, content: bool = False) -> tuple[messages.Batch, messages.Dropped]:
    """Read the events of a body and their runs, and count the dropped values by path.

    Args:
        value: the body as JSON.
        content: whether the project accepts content; it is kept only if the body also declares content.

    Raises:
        WireError: the body is not in the wire format. A single invalid item is added to `refused` instead.
    """
    if not isinstance(value, dict):
        raise WireError("", "the body is not an object")
    version = value.get("wire_version", messages.WIRE_VERSION)
    if version != messages.WIRE_VERSION or isinstance(version, bool):
        raise WireError("/wire_version", f"this server reads version {messages.WIRE_VERSION}")
    items, documents = _list_of(value, "events"), _list_of(value, "runs")
    if len(items) + len(documents) > messages.MAX_ITEMS:
        raise WireError("/events", f"a body may have at most {messages.MAX_ITEMS:,} items")
    allowed = AllowList()
    with_content = content and value.get("content") is True
    session = value.get("session")
    uid = _session_uid(session) if items else ""
    events, refused = [], []
    for index, item in enumerate(items):
        try:
            events.append(_event(item, uid, allowed, with_content=with_content))
        except WireError as error:
            refused.append(messages.Refused(index, f"/events/{index}{error.path}", error.problem))
    runs = messages.runs_of_events(events)
    for index, document in enumerate(documents):
        try:
            runs.append(run_of_document(document, allowed, content=content))
        except WireError as error:
            refused.append(messages.Refused(len(items) + index, f"/runs/{index}{error.path}", error.problem))
    name = session.get("session_id") if isinstance(session, dict) else None
    if name is not None and not (isinstance(name, str) and len(name) < 40 and is_session_id(name)):
        allowed.dropped.note("/session/session_id")
        name = None
    return messages.Batch(tuple(events), tuple(runs), tuple(refused), uid or None, name), allowed.dropped


def read_run(value: object, *, content: bool = False) -> tuple[messages.RunMessage, messages.Dropped]:
    """Read the run in a document of `POST /v1/runs`, and count the dropped values by path.

    Raises:
        WireError: the document is not a run, or a required field is missing.
    """
    allowed = AllowList()
    return run_of_document(value, allowed, content=content), allowed.dropped


def _list_of(value: Mapping[str, Any], key: str) -> list[Any]:
    items = value.get(key, [])
    if not isinstance(items, list):
        raise WireError(f"/{key}", "it is not an array")
    return items


def _session_uid(session: object) -> str:
    uid = session.get("session_uid") if isinstance(session, dict) else None
    if not isinstance(uid, str) or not UUID.fullmatch(uid):
        raise WireError("/session/session_uid", "the session has no UUID")
    return uid


def _event(item: object, uid: str, allowed: AllowList, *, with_content: bool) -> messages.EventMessage:
    if not isinstance(item, dict):
        raise WireError("", "it is not an object")
    kind, extra = item.get("kind"), item.get("extra", {})
    if not isinstance(kind, str) or (kind not in KINDS and allowed.label(kind, "/kind") is None):
        raise WireError("/kind", "it is not a known kind")
    if not isinstance(extra, dict):
        raise WireError("/extra", "it is not an object")
    level = item.get("level", "INFO")
    if not isinstance(level, str) or level not in LEVELS:
        raise WireError("/level", "it is not a level")
    body = _content(item, extra, allowed) if with_content else allowed.payload(kind, extra)
    if not with_content:
        for key in item.keys() - _ENVELOPE | item.keys() & _BESIDE.keys():
            allowed.drop("", key)
    for key, read in (("logger", allowed.label), ("code", _digest)):
        if item.get(key) is not None and (text := read(item[key], f"/{key}")) is not None:
            body[key] = text
    run_id = None if item.get("run_id") is None else allowed.identity(item["run_id"], "/run_id")
    if run_id is None and item.get("run_id") is not None:
        raise WireError("/run_id", "it is not an id")
    name, duration_ms, outcome = _columns(kind, body)
    return messages.EventMessage(
        session_uid=uid,
        event_id=_event_id(item.get("id")),
        ts_us=_timestamp(item.get("timestamp")),
        kind=kind,
        severity=LEVELS[level],
        agent_id=_optional(allowed.name, item, "agent_id"),
        agent_role=_optional(allowed.name, item, "agent_role"),
        run_id=run_id,
        span_id=_optional(allowed.identity, item, "span_id"),
        parent_span_id=_optional(allowed.identity, item, "parent_span_id"),
        causes=_causes(item.get("causes"), allowed),
        tick=_tick(item.get("tick"), allowed),
        name=name,
        duration_ms=duration_ms,
        outcome=outcome,
        body=body,
    )


def _optional(read: Any, item: Mapping[str, Any], key: str) -> str | None:
    value = item.get(key)
    text: str | None = None if value is None else read(value, f"/{key}")
    return text


def _event_id(value: object) -> str:
    is_one = isinstance(value, str) and _EVENT_ID.fullmatch(value) is not None
    if not is_one or split_event_id(str(value))[1] > MAX_INTEGER:
        raise WireError("/id", "it is not a writer-number")
    return str(value)


def _timestamp(value: object) -> int:
    ts_us = messages.read_time(value)
    if ts_us is None:
        raise WireError("/timestamp", messages.NO_TIME)
    return ts_us


def _causes(value: object, allowed: AllowList) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        allowed.dropped.note("/causes")
        return ()
    causes = [each for each in value[:_MAX_CAUSES] if isinstance(each, str) and _EVENT_ID.fullmatch(each)]
    for _ in range(len(value) - len(causes)):
        allowed.dropped.note("/causes/*")
    return tuple(causes)


def _tick(value: object, allowed: AllowList) -> int | None:
    tick = messages.read_whole(value)
    if tick is None and value is not None:
        allowed.dropped.note("/tick")
    return tick


def _digest(value: object, _path: str) -> str | None:
    return value if isinstance(value, str) and _DIGEST.fullmatch(value) else None


def _columns(kind: str, body: dict[str, Any]) -> tuple[str | None, float | None, str | None]:
    """Remove name, duration and outcome from a body and return them; invalid ones remain in the body."""
    key = KINDS[kind].about if kind in KINDS else ""
    name, outcome = body.get(key), body.get("outcome")
    name = str(body.pop(key)) if isinstance(name, str) or is_number(name, int, float) else None
    outcome = body.pop("outcome") if isinstance(outcome, str) else None
    for key in ("duration_ms", "latency_ms"):
        value: Any = body.get(key)
        if is_number(value, int, float) and abs(value) <= MAX_INTEGER and math.isfinite(value):
            return name, float(body.pop(key)), outcome
    return name, None, outcome


def _content(item: Mapping[str, Any], extra: Mapping[str, Any], allowed: AllowList) -> dict[str, Any]:
    """Return the whole payload with the values next to it, in a form that any database accepts.

    A payload key with the name of one of these values becomes `user.<key>`, as in the recording.
    """
    beside: dict[str, Any] = {}
    for key, of_type in _BESIDE.items():
        value = item.get(key)
        if value and isinstance(value, of_type):
            beside[key] = value
        elif value:
            allowed.dropped.note(f"/{key}")
    fields = {f"user.{key}" if key in _RESERVED else key: value for key, value in extra.items()}
    cleaned: dict[str, Any] = _plain({**fields, **beside}, 0)
    return cleaned


def _plain(value: Any, depth: int) -> Any:
    """Remove what a database refuses: NUL, lone surrogates, integers over 64 bits and deep nesting."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if depth >= _MAX_DEPTH and isinstance(value, (dict, list)):
        return None
    if isinstance(value, dict):
        return {_plain(str(key), depth): _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return str(value)[:64] if abs(value) < 10**60 else None
    return None if isinstance(value, float) and not math.isfinite(value) else value
