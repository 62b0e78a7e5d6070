"""Events to lines and back, in both views, and the versions of the format.

A round trip loses nothing. Recording assembles lines from prepared bytes (`record/emit/pipeline.py`); a test
compares them with `encode_event`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import orjson

from Agent.event.clock import event_time
from Agent.event.ids import split_event_id
from Agent.event.kinds import LEVELS, Home
from Agent.event.model import ENVELOPE_KEYS, Event
from Agent.event.payloads import KINDS, Field
from Agent.event.pointers import is_deeper

LINE_PREFIX = b'{"timestamp":"'
"""The first bytes of every line; after damage, a reader searches for them to find the next line."""

MAX_DEPTH = 254
"""The deepest nesting of a line: orjson cannot write deeper JSON again. Recorded lines stay below it."""

_RUN_KEYS = frozenset(ENVELOPE_KEYS) - {"extra"} | {"type"}
_TEXTS = ("timestamp", "id", "kind", "session_id", "level", "logger", "message")
_OPTIONAL_TEXTS = ("run_id", "span_id", "parent_span_id", "code")
LONGEST_MS = 1e15
"""The longest duration that is accepted, 31,700 years; a longer one is damage."""


def _largest(kind: str, field: str) -> float:
    if field.endswith("_ms"):
        return LONGEST_MS
    return 2**63 - 1 if kind.startswith("log.") else sys.float_info.max


LARGEST_NUMBERS = {
    kind: tuple(
        (field.name, _largest(kind, field.name))
        for field in row.fields
        if field.type in {"integer", "number"}
    )
    for kind, row in KINDS.items()
}
"""The numbers in the payload of each kind, each with its largest valid value."""
_texts_of, _optional_texts_of = attrgetter(*_TEXTS), attrgetter(*_OPTIONAL_TEXTS)


class DamagedLine(ValueError):
    """Raised for a line that is not one complete event; the message names the reason."""


def event_to_object(event: Event) -> dict[str, Any]:
    """Return the event as the JSON object of its view, with keys in the order used on disk."""
    kind = KINDS.get(event.kind)
    is_of_run = kind is not None and kind.home is Home.RUN
    obj: dict[str, Any] = {}
    for name in ENVELOPE_KEYS[:-1]:
        value = getattr(event, name)
        if name == "extra":
            obj |= {run_key(key): item for key, item in value.items()} if is_of_run else {name: dict(value)}
        elif value != _DEFAULTS[name] or (name in _ALWAYS_IN_LOG and not is_of_run):
            obj[name] = list(value) if name == "causes" else value
        if name == "schema_version" and is_of_run:
            obj["type"] = event.kind
    if event.types:
        obj["types"] = {run_pointer(at) if is_of_run else at: tag for at, tag in event.types.items()}
    return obj


_DEFAULTS = {**{each.name: each.default for each in fields(Event)}, "session_id": ""}
"""Values that are left out, since readers assume them."""
_ALWAYS_IN_LOG = frozenset({"session_id", "level", "logger", "message"})
"""Most run events have the default of these, so the run view leaves that out, too."""


def _is_taken(key: str) -> bool:
    """Return whether a payload key, without its `user.` prefixes, is a key of the envelope."""
    while key.startswith("user."):
        key = key[5:]
    return key in _RUN_KEYS


def run_key(key: str) -> str:
    """Return the name of a payload key in the flat view: `user.` is put before names of the envelope."""
    return f"user.{key}" if _is_taken(key) else key


def _log_key(key: str) -> str:
    return key[5:] if key.startswith("user.") and _is_taken(key) else key


def run_pointer(pointer: str) -> str:
    """Convert a JSON Pointer of the log view to the flat view, whose payload keys are at the root."""
    if not pointer.startswith("/extra/"):
        return pointer
    key, slash, rest = pointer[7:].partition("/")
    return f"/{run_key(key)}{slash}{rest}"


def _log_pointer(pointer: str) -> str:
    key, slash, rest = pointer[1:].partition("/")
    if key in _RUN_KEYS:
        return pointer
    return f"/extra/{_log_key(key)}{slash}{rest}"


def encode_event(event: Event) -> bytes:
    """Return the line of the event, including the newline."""
    return orjson.dumps(event_to_object(event), option=orjson.OPT_APPEND_NEWLINE)


def decode_line(line: bytes) -> Event:
    """Decode a line of either view; DamagedLine, with the reason, for other bytes."""
    try:
        obj = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("Not enough memory"):
            raise MemoryError(error.msg) from None  # nothing is wrong with the line
        raise DamagedLine(f"not JSON: {error}") from None
    if not isinstance(obj, dict):
        raise DamagedLine("not a JSON object")
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and is_deeper(obj, MAX_DEPTH):
        raise DamagedLine(f"nested deeper than {MAX_DEPTH} levels")
    return event_from_object(obj)


_OPTIONAL_INTEGER: Final = (int, type(None))


def event_from_object(obj: Mapping[str, Any]) -> Event:
    """Convert an object of either view to an event of the current version; DamagedLine if it is not one.

    This is the only check of an envelope: each of its values must have the type that `Event` declares.
    """
    try:
        version = obj["schema_version"]
        if version != CURRENT_SCHEMA or type(version) is not int:
            obj = migrate_event(obj)
        get = obj.get
        run_view = "type" in obj
        extra = _run_extra(obj) if run_view else obj["extra"]
        if not isinstance(extra, dict):
            raise DamagedLine("extra is not an object")
        event = Event(
            timestamp=obj["timestamp"],
            id=obj["id"],
            schema_version=CURRENT_SCHEMA,
            kind=obj["type"] if run_view else extra.get("event_type", "log"),
            session_id=get("session_id", ""),
            level=get("level", "INFO"),
            logger=get("logger", ""),
            message=get("message", ""),
            run_id=get("run_id"),
            span_id=get("span_id"),
            parent_span_id=get("parent_span_id"),
            causes=_texts(obj["causes"], "causes") if "causes" in obj else (),
            tick=get("tick"),
            hlc=get("hlc"),
            extra=extra,
            code=get("code"),
            state=get("state"),
            types=_types(obj["types"], run_view=run_view) if get("types") is not None else None,
        )
    except SchemaError as error:
        raise DamagedLine(str(error)) from None
    except KeyError as error:
        raise DamagedLine(f"{error.args[0]} is missing") from None
    for name, text in zip(_TEXTS, _texts_of(event), strict=True):
        if type(text) is not str:
            raise DamagedLine(f"{name} is not text")
    for name, text in zip(_OPTIONAL_TEXTS, _optional_texts_of(event), strict=True):
        if text is not None and type(text) is not str:
            raise DamagedLine(f"{name} is not text")
    if type(event.tick) not in _OPTIONAL_INTEGER or type(event.hlc) not in _OPTIONAL_INTEGER:
        raise DamagedLine("tick or hlc is not an integer")
    if event.state is not None and not is_state_change(event.state):
        raise DamagedLine("state is not an object that sets fields")
    check_numbers(event.kind, extra)
    try:
        split_event_id(event.id)
    except ValueError as error:
        raise DamagedLine(f"malformed: {error}") from None
    try:
        event_time(event.timestamp)
    except ValueError as error:
        raise DamagedLine(f"malformed timestamp: {error}") from None
    return event


def check_numbers(kind: str, extra: Mapping[str, Any]) -> None:
    """Check the numbers of a payload.

    Raises:
        DamagedLine: one is too large to be added to others or to be a time.
    """
    for name, largest in LARGEST_NUMBERS.get(kind, ()):
        value = extra.get(name)
        if (type(value) is float or type(value) is int) and not -largest <= value <= largest:
            raise DamagedLine(f"{name} is out of range")


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise DamagedLine(f"{name} is not a list of texts")
    return tuple(value)


def is_state_change(value: Any) -> bool:
    """Return whether a JSON value has the form of `Event.state`."""
    if not isinstance(value, dict) or not isinstance(value.get("set", {}), dict):
        return False
    unset = value.get("unset", [])
    return isinstance(unset, list) and all(isinstance(name, str) for name in unset)


def _types(value: Any, *, run_view: bool) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(tag, str) for tag in value.values()):
        raise DamagedLine("types is not an object of texts")
    return {_log_pointer(pointer): tag for pointer, tag in value.items()} if run_view else value


def _run_extra(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {_log_key(key): value for key, value in obj.items() if key not in _RUN_KEYS}


# Versions of the event format: the requirements of each, and the migrations between them.
#
# To add a version: raise `CURRENT_SCHEMA`, add the migration from the previous version to `_UPCASTERS`, and
# keep a golden tree of the old version under `tests/golden/`.

CURRENT_SCHEMA = 1

# {version: migration to the next version}. Version 1 is the first, so the table is empty.
_UPCASTERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

_JSON_TYPES: dict[str, frozenset[type]] = {
    name: frozenset({*types, type(None)})
    for name, types in {
        "string": (str,),
        "number": (int, float),
        "integer": (int,),
        "boolean": (bool,),
        "object": (dict,),
        "array": (list,),
    }.items()
}
_PAYLOADS: dict[str, tuple[frozenset[str], dict[str, frozenset[type]]]] = {
    kind: (
        frozenset(field.name for field in row.fields if field.required),
        {field.name: _JSON_TYPES[field.type] for field in row.fields if field.type in _JSON_TYPES},
    )
    for kind, row in KINDS.items()
}
"""The keys that the payload of each kind must have, and the types of those that have one."""
_NUMBERS_AS_TEXT = {"number": {"float", "int", "decimal", "fraction"}, "integer": {"int"}}
"""The tags of numbers that JSON lacks, such as NaN and integers beyond 64 bits; they are written as text."""


class SchemaError(ValueError):
    """Raised for an event of an unknown version."""


def migrate_event(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Migrate an event of either view to the current version; SchemaError for an unknown version."""
    event = dict(obj)
    version = event.get("schema_version")
    if type(version) is not int or not 1 <= version <= CURRENT_SCHEMA:
        is_newer = type(version) is int and version > CURRENT_SCHEMA
        remedy = (
            "install a newer agent-trace"
            if is_newer
            else "it is not an event of Agent Trace, or it is damaged"
        )
        raise SchemaError(f"schema version {version!r}; this program reads 1 to {CURRENT_SCHEMA}: {remedy}")
    while version < CURRENT_SCHEMA:
        event = _UPCASTERS[version](event)
        version += 1
        event["schema_version"] = version
    return event


def validate_event(obj: Mapping[str, Any]) -> list[str]:
    """List what is wrong with an event given as an object, one sentence each; empty if it is valid."""
    problems = _envelope_problems(obj)
    run_view = "type" in obj
    payload = obj if run_view else obj.get("extra")
    if not isinstance(payload, Mapping):
        return [*problems, "extra is not an object"]
    name = obj.get("type") if run_view else payload.get("event_type")
    if not isinstance(name, str):
        return [*problems, "the event has no type"]
    try:
        types = _types(obj.get("types") or {}, run_view=run_view)
    except DamagedLine as error:
        return [*problems, str(error)]
    return [*problems, *payload_problems(name, _run_extra(obj) if run_view else payload, types)]


def payload_problems(
    kind: str, payload: Mapping[str, Any], types: Mapping[str, str] | None = None
) -> list[str]:
    """List where a payload differs from the table of kinds, one sentence each.

    Args:
        kind: an unknown kind is one of a later minor version, which cannot be checked.
        payload: the payload, as in `Event.extra`.
        types: the tags of its event, as in `Event.types`.
    """
    if kind not in _PAYLOADS:
        return []
    required, allowed = _PAYLOADS[kind]
    if required <= payload.keys():
        # `verify` asks for every event, and nearly always this is the answer.
        for name, value in payload.items():
            if name in allowed and type(value) not in allowed[name]:
                break
        else:
            return []
    tags = types or {}
    return [
        problem
        for field in KINDS[kind].fields
        if (problem := _field_problem(kind, field, payload, tags.get(f"/extra/{field.name}", "")))
    ]


def _field_problem(kind: str, field: Field, payload: Mapping[str, Any], tag: str) -> str:
    if field.name not in payload:
        return f"{kind} has no {field.name}" if field.required else ""
    value = payload[field.name]
    if field.type not in _JSON_TYPES or type(value) in _JSON_TYPES[field.type]:
        return ""
    if type(value) is str and (
        # The token of a secret, or the shape of a value that was not kept.
        tag in {"redacted", "opaque"}
        or tag in _NUMBERS_AS_TEXT.get(field.type, ())
        or (field.type == "number" and tag.startswith("numpy:float"))
    ):
        return ""
    # A truncated or opaque value is written as an object with its digest or its first part.
    if tag in {"truncated", "opaque"} and type(value) is dict and ("digest" in value or "head" in value):
        return ""
    return f"{kind}.{field.name} is {type(value).__name__}, not {field.type}"


def _envelope_problems(obj: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, check in (("timestamp", event_time), ("id", split_event_id)):
        try:
            check(obj[key])
        except KeyError:
            problems.append(f"no {key}")
        except (ValueError, TypeError, AttributeError):
            problems.append(f"{key} is malformed")
    version = obj.get("schema_version")
    if type(version) is not int:
        problems.append("schema_version is not a number")
    if "type" not in obj and obj.get("level") not in LEVELS:
        problems.append("level is none of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return problems
