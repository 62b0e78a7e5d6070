"""The wire format: convert events to bodies of requests, and bodies back to messages.

Without content, an event is sent as its envelope and the values that `allow_list.py` permits; with content it
is sent as recorded, that is after redaction. Reading applies the allow-list again, unless the project accepts
content, and is total: any JSON gives a result or a `WireError`. Other programs send a run as one document,
whose fields are declared once, each with its reader and OpenAPI schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from Agent.event.ids import SENT_ID, is_session_id
from Agent.event.kinds import LEVELS, FailureCode, FailureType, RunStatus, StepType
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.export import messages
from Agent.export.allow_list import UUID, AllowList
from Agent.export.failure_classes import classify
from Agent.export.messages import MAX_INTEGER, MAX_ITEMS, WireError, is_number
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


_EVENT_ID: Final = re.compile(SENT_ID)
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
    if len(items) + len(documents) > MAX_ITEMS:
        raise WireError("/events", f"a body may have at most {MAX_ITEMS:,} items")
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
    if not isinstance(value, str) or _EVENT_ID.fullmatch(value) is None:
        raise WireError("/id", "it is not a writer-number")
    return value


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


_MAX_TEXT_CHARS: Final = 20_000
_LOOKS_LIKE: Final = "nothing looks like an address, a telephone number or a key"


class _Field(NamedTuple):
    """One field of a document."""

    schema: Mapping[str, Any]
    """Its OpenAPI schema."""
    read: Callable[[AllowList, Any, str], Any]
    """Reads a value at a path; returns None for an invalid value."""
    problem: str
    is_dropped: bool = False
    """Whether an invalid value is dropped; if not, or if the field is required, the document is refused."""


Fields = Mapping[str, _Field]


def _checked(schema: Mapping[str, Any], read: Callable[[Any], Any], problem: str) -> _Field:
    return _Field(schema, lambda _allowed, value, _path: read(value), problem)


def _one_of(values: Iterable[str]) -> _Field:
    accepted = [*values]
    return _checked(
        {"type": "string", "enum": accepted},
        lambda value: value if isinstance(value, str) and value in accepted else None,
        f"it must be one of {', '.join(accepted)}",
    )


def _array_of(fields: Fields, *needed: str) -> _Field:
    return _checked(
        {"type": "array", "items": {"type": "object", **_schema(fields, *needed)}},
        lambda value: value if isinstance(value, list) and len(value) <= MAX_ITEMS else None,
        f"it must be an array of at most {MAX_ITEMS:,}",
    )


def _schema(fields: Fields, *needed: str) -> dict[str, Any]:
    required = {"required": [*needed]} if needed else {}
    return {**required, "properties": {name: field.schema for name, field in fields.items()}}


def _milliseconds(value: Any) -> float | None:
    return float(value) if is_number(value, int, float) and 0 <= value <= MAX_INTEGER else None


_SHORT: Final = {"type": "string", "maxLength": 200}
_NO_LABEL: Final = (
    f"it is not a label: letters, digits and _ . : / - alone, at most 64, in which {_LOOKS_LIKE}"
)
_LABEL: Final = _Field(_SHORT, AllowList.label, _NO_LABEL, is_dropped=True)
_NAME: Final = _Field(_SHORT, AllowList.name, _NO_LABEL, is_dropped=True)
_ID: Final = _Field(
    {"type": "string", "pattern": r"^~?[A-Za-z0-9_.:-]{1,128}$"},
    AllowList.identity,
    f"it is not an id: a UUID, a ULID, or at most 128 letters, digits and _ . : -, in which {_LOOKS_LIKE}",
    is_dropped=True,
)
_STEP_ID: Final = _ID._replace(schema=_SHORT)
_METADATA: Final = _Field({"type": "object"}, AllowList.metadata, "", is_dropped=True)
_TIME: Final = _checked({"type": "string", "format": "date-time"}, messages.read_time, messages.NO_TIME)

_STEP: Final = {
    "step_id": _STEP_ID,
    "parent_step_id": _STEP_ID,
    "seq": _checked({"type": "integer"}, messages.read_whole, "it is not a whole number"),
    "step_type": _one_of(kind.value for kind in StepType),
    "name": _NAME,
    "started_at": _TIME,
    "ended_at": _TIME,
    "latency_ms": _checked(
        {"type": "number", "minimum": 0}, _milliseconds, "it is not a number of milliseconds"
    ),
    "status": _one_of(("ok", "error", "cancelled", "interrupted", "running")),
    "metadata": _METADATA,
}
_FAILURE: Final = {
    "failure_type": _one_of(kind.value for kind in FailureType),
    "failure_code": _LABEL._replace(
        schema={"type": "string", "examples": [code.value for code in FailureCode]}
    ),
    "step_id": _STEP_ID,
    "message": _checked(
        {"type": "string", "description": "Stored only by projects that accept content."},
        lambda value: value,
        "",
    ),
    "occurred_at": _TIME,
}
_RUN: Final = {
    "run_id": _ID,
    "agent_id": _NAME,
    "agent_version": _LABEL,
    "environment": _LABEL,
    "status": _one_of([*(status.value for status in RunStatus), "running"]),
    "started_at": _TIME,
    "ended_at": _TIME,
    "labels": _METADATA,
    "metadata": _METADATA,
    "steps": _array_of(_STEP),
    "failures": _array_of(_FAILURE, "failure_type", "failure_code"),
    "failure": _checked({"type": "object", "description": "One more failure."}, lambda value: value, ""),
}
_NEEDED: Final = ("run_id", "agent_id")

RUN_SCHEMA: Final = _schema(_RUN, *_NEEDED)
"""The OpenAPI schema of the document."""


_MOST_MISTAKES: Final = 100


class _Mistakes(list[tuple[str, str]]):
    """The mistakes of a document so far, as (path, problem)."""

    def note(self, path: str, problem: str) -> None:
        """Add a mistake; at most 100 are listed."""
        if len(self) < _MOST_MISTAKES:
            self.append((path, problem))

    def refuse(self) -> None:
        """Raise WireError if there are mistakes."""
        if self:
            raise WireError(*self[0], self if len(self) > 1 else ())


def _read(
    value: Any,
    fields: Fields,
    allowed: AllowList,
    wrong: _Mistakes,
    prefix: str = "",
    path: str = "",
    needed: Iterable[str] = (),
) -> dict[str, Any]:
    """Read the fields of an object; a missing or dropped value is None.

    Args:
        wrong: receives the mistakes.
        prefix: the path of the object in the document.
        path: the same with `*` for each index, under which dropped values are counted.
        needed: the required fields.
    """
    if not isinstance(value, dict):
        wrong.note(prefix, "it is not an object")
        return dict.fromkeys(fields)
    for key in value.keys() - fields.keys():
        allowed.drop(path, key)
    read_fields: dict[str, Any] = {}
    for name, field in fields.items():
        raw = value.get(name)
        read_fields[name] = None if raw is None else field.read(allowed, raw, f"{path}/{name}")
        if read_fields[name] is not None:
            continue
        if name in needed or (raw is not None and not field.is_dropped):
            expectation = "" if field.is_dropped else f"; {field.problem}"
            wrong.note(f"{prefix}/{name}", f"it is missing{expectation}" if raw is None else field.problem)
    return read_fields


def run_of_document(value: object, allowed: AllowList, *, content: bool = False) -> messages.RunMessage:
    """Read the run in a document.

    Args:
        value: the document as JSON.
        allowed: determines the values that are kept, and counts the others.
        content: whether the project accepts content: the messages of failures.

    Raises:
        WireError: the document is not a run; with path and reason of each mistake.
    """
    wrong = _Mistakes()
    run = _read(value, _RUN, allowed, wrong, needed=_NEEDED)
    listed = [*(run["failures"] or ()), *([] if run["failure"] is None else [run["failure"]])]
    failures = tuple(
        _failure(each, index, allowed, wrong, content=content) for index, each in enumerate(listed)
    )
    steps = _steps(run["steps"] or (), allowed, wrong)
    wrong.refuse()
    plain = RunStatus.FAILURE.value if failures else RunStatus.SUCCESS.value if run["ended_at"] else "running"
    given = {key: run[key] for key in ("agent_version", "environment") if run[key] is not None}
    labels = {**(run["metadata"] or {}), **(run["labels"] or {}), **given}
    return messages.RunMessage(
        run_id=run["run_id"],
        agent_id=run["agent_id"],
        agent_version=labels.get("agent_version"),
        status=run["status"] or plain,
        started_us=run["started_at"],
        ended_us=run["ended_at"],
        labels=labels,
        steps=steps,
        failures=failures,
    )


def _steps(listed: Iterable[Any], allowed: AllowList, wrong: _Mistakes) -> tuple[messages.StepMessage, ...]:
    steps: dict[str, messages.StepMessage] = {}
    for index, value in enumerate(listed):
        step = _read(value, _STEP, allowed, wrong, f"/steps/{index}", "/steps/*")
        key = shown = step["step_id"] or f"step_{index + 1}"
        while key in steps:  # repeated ids, as in retries; the new key may be taken too
            key = f"{key}.{index}"
        lasted_ms = messages.elapsed_ms(step["started_at"], step["ended_at"])
        steps[key] = messages.StepMessage(
            step_id=shown,
            step_key=key,
            position=index if step["seq"] is None else step["seq"],
            step_type=step["step_type"] or StepType.OTHER.value,
            name=step["name"],
            started_us=step["started_at"],
            latency_ms=lasted_ms if step["latency_ms"] is None else step["latency_ms"],
            status=step["status"] or "ok",
            metadata=step["metadata"] or {},
            parent_step_id=step["parent_step_id"],
        )
    return tuple(steps.values())


def _failure(
    value: object, index: int, allowed: AllowList, wrong: _Mistakes, *, content: bool
) -> messages.FailureMessage:
    failure = _read(value, _FAILURE, allowed, wrong, f"/failures/{index}", "/failures/*", ["failure_type"])
    message = failure["message"]
    if message is not None and not (content and isinstance(message, str)):
        allowed.dropped.note("/failures/*/message")
        message = None
    return messages.FailureMessage(
        failure_id=str(index),
        failure_type=failure["failure_type"],
        failure_code=failure["failure_code"] or FailureCode.UNKNOWN.value,
        step_id=failure["step_id"],
        step_key=failure["step_id"],
        occurred_us=failure["occurred_at"],
        message=None if message is None else _plain(message[:_MAX_TEXT_CHARS], 0),
    )
