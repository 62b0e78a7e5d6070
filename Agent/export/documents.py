"""A run as one document, `POST /v1/runs`: each field is declared once, with its reader and OpenAPI schema.

Values that are not allowed are dropped and counted; a document that is not a run is refused with the path of
the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from Agent.event.kinds import FailureCode, FailureType, RunStatus, StepType
from Agent.export import messages
from Agent.export.allow_list import AllowList
from Agent.export.messages import MAX_INTEGER, MAX_ITEMS, is_number

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


def _list_of(fields: Fields, *needed: str) -> _Field:
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
    "steps": _list_of(_STEP),
    "failures": _list_of(_FAILURE, "failure_type", "failure_code"),
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
            raise messages.WireError(*self[0], self if len(self) > 1 else ())


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
        message=None if message is None else _storable(message),
    )


def _storable(text: str) -> str:
    cut = text[:_MAX_TEXT_CHARS].replace("\0", "\ufffd")
    return cut.encode("utf-8", "replace").decode()
