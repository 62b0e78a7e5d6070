"""Versions of the event format: the requirements of each, and the migrations between them.

To add a version: raise `CURRENT_SCHEMA`, add the migration from the previous version to `_UPCASTERS`, and
keep a golden tree of the old version under `tests/golden/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from Agent.event.clock import parse_timestamp
from Agent.event.ids import split_event_id
from Agent.event.kinds import LEVELS
from Agent.event.payloads import KINDS, Field

CURRENT_SCHEMA = 1

# From a version to the next. Version 1 is the first, so the table is empty.
_UPCASTERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


class SchemaError(ValueError):
    """Raised for an event of an unknown version."""


def migrate_event(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Migrate an event of either view to the current version; SchemaError for an unknown version."""
    event = dict(obj)
    version = event.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= CURRENT_SCHEMA:
        is_newer = isinstance(version, int) and not isinstance(version, bool) and version > CURRENT_SCHEMA
        remedy = "install a newer agent-trace" if is_newer else "it is no event of Agent Trace, or damaged"
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
        return [*problems, "the event does not say its type"]
    kind = KINDS.get(name)
    if kind is None:
        return problems  # a kind of a later minor version: kept, not judged
    problems.extend(
        problem for field in kind.fields if (problem := _field_problem(name, field, payload)) is not None
    )
    return problems


def _field_problem(kind: str, field: Field, payload: Mapping[str, Any]) -> str | None:
    if field.name not in payload:
        return f"{kind} has no {field.name}" if field.required else None
    expected = _JSON_TYPES.get(field.type)
    value = payload[field.name]
    if expected is None or value is None:
        return None
    # A tagged value (NaN, an integer beyond 64 bit) stands as text.
    if field.type in {"number", "integer"} and isinstance(value, str):
        return None
    if isinstance(value, expected) and not (isinstance(value, bool) and field.type in {"number", "integer"}):
        return None
    # A cut or opaque value stands as an object that says so.
    if isinstance(value, dict) and ("digest" in value or "head" in value):
        return None
    return f"{kind}.{field.name} is {type(value).__name__}, not {field.type}"


def _envelope_problems(obj: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, check in (("timestamp", parse_timestamp), ("id", split_event_id)):
        try:
            check(obj[key])
        except KeyError:
            problems.append(f"no {key}")
        except (ValueError, TypeError, AttributeError):
            problems.append(f"{key} is malformed")
    version = obj.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        problems.append("schema_version is not a number")
    if "type" not in obj and obj.get("level") not in LEVELS:
        problems.append("level is none of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return problems
