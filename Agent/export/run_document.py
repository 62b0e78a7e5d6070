"""A run as one document, the body of `POST /v1/runs`: for programs that have no tracer of ours.

`reading.py` reads it. Keys that it does not know are left out with their path, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from Agent.event.kinds import FailureCode, FailureType, RunStatus, StepType
from Agent.export.allowed import AllowList
from Agent.export.messages import (
    MAX_ITEMS,
    NO_TIME,
    FailureMessage,
    RunMessage,
    StepMessage,
    WireError,
    elapsed_ms,
    read_time,
)

__all__ = ["run_of_document"]

_RUN_KEYS: Final = frozenset(
    "run_id agent_id agent_version environment status started_at ended_at metadata steps "
    "failures failure".split()
)
_STEP_KEYS: Final = frozenset(
    "step_id seq step_type name started_at ended_at latency_ms status metadata".split()
)
_FAILURE_KEYS: Final = frozenset("failure_type failure_code step_id message occurred_at".split())
_RUN_STATUSES: Final = (*(status.value for status in RunStatus), "running")
_STEP_STATUSES: Final = ("ok", "error", "cancelled", "interrupted", "running")
_STEP_TYPES: Final = tuple(kind.value for kind in StepType)
_FAILURE_TYPES: Final = tuple(kind.value for kind in FailureType)
_NO_LABEL: Final = (
    "it is not a label: letters, digits and _ . : / - alone, at most 64, in which nothing looks like an "
    "address, a telephone number or a key"
)
_NO_ID: Final = (
    "it is not an id: a UUID, a ULID, or at most 128 letters, digits and _ . : -, in which nothing looks "
    "like an address, a telephone number or a key"
)
_MAX_INTEGER: Final = 2**63 - 1
_MAX_TEXT_CHARS: Final = 20_000


def run_of_document(value: object, allowed: AllowList, *, content: bool = False) -> RunMessage:
    """The run that a document tells of.

    Args:
        value: the document as JSON.
        allowed: decides what may be kept, and counts what may not.
        content: whether the project takes content: the messages of failures.

    Raises:
        WireError: it is no run: where in it, and why.
    """
    if not isinstance(value, dict):
        raise WireError("", "a run is an object")
    _drop_others(value, _RUN_KEYS, allowed, "")
    listed = _listed(value, "failures")
    if value.get("failure") is not None:
        listed = [*listed, value["failure"]]
    failures = tuple(_failure(each, index, allowed, content=content) for index, each in enumerate(listed))
    started_us, ended_us = _time(value, "started_at", ""), _time(value, "ended_at", "")
    plain = RunStatus.FAILURE.value if failures else RunStatus.SUCCESS.value if ended_us else "running"
    labels = allowed.metadata(value["metadata"], "/metadata") if value.get("metadata") is not None else {}
    for key in ("agent_version", "environment"):
        if value.get(key) is not None and (label := allowed.label(value[key], f"/{key}")) is not None:
            labels[key] = label
    return RunMessage(
        run_id=_needed(value, "run_id", allowed.identity, _NO_ID),
        agent_id=_needed(value, "agent_id", allowed.name, _NO_LABEL),
        agent_version=labels.get("agent_version"),
        status=_one_of(value, "status", _RUN_STATUSES, "") or plain,
        started_us=started_us,
        ended_us=ended_us,
        labels=labels,
        steps=_steps(_listed(value, "steps"), allowed),
        failures=failures,
    )


def _steps(listed: list[Any], allowed: AllowList) -> tuple[StepMessage, ...]:
    found: list[StepMessage] = []
    taken: set[str] = set()
    for index, value in enumerate(listed):
        place = f"/steps/{index}"
        if not isinstance(value, dict):
            raise WireError(place, "a step is an object")
        _drop_others(value, _STEP_KEYS, allowed, "/steps/*")
        step_id = value.get("step_id")
        shown = None if step_id is None else allowed.identity(step_id, "/steps/*/step_id")
        shown = shown or f"step_{index + 1}"
        key = shown
        while key in taken:  # as in retries; what stands for the second one may be taken as well
            key = f"{key}.{index}"
        taken.add(key)
        seq, metadata = value.get("seq"), value.get("metadata")
        started_us, ended_us = _time(value, "started_at", place), _time(value, "ended_at", place)
        latency_ms = _milliseconds(value, place)
        if latency_ms is None:
            latency_ms = elapsed_ms(started_us, ended_us)
        found.append(
            StepMessage(
                step_id=shown,
                step_key=key,
                position=index if seq is None else _whole(seq, f"{place}/seq"),
                step_type=_one_of(value, "step_type", _STEP_TYPES, place) or StepType.OTHER.value,
                name=None if value.get("name") is None else allowed.name(value["name"], "/steps/*/name"),
                started_us=started_us,
                latency_ms=latency_ms,
                status=_one_of(value, "status", _STEP_STATUSES, place) or "ok",
                metadata={} if metadata is None else allowed.metadata(metadata, "/steps/*/metadata"),
            )
        )
    return tuple(found)


def _failure(value: object, index: int, allowed: AllowList, *, content: bool) -> FailureMessage:
    place = f"/failures/{index}"
    if not isinstance(value, dict):
        raise WireError(place, "a failure must be an object")
    _drop_others(value, _FAILURE_KEYS, allowed, "/failures/*")
    failure_type = _one_of(value, "failure_type", _FAILURE_TYPES, place)
    if failure_type is None:
        raise WireError(f"{place}/failure_type", f"it is missing; use one of {', '.join(_FAILURE_TYPES)}")
    code, step_id, message = (value.get(key) for key in ("failure_code", "step_id", "message"))
    step = None if step_id is None else allowed.identity(step_id, "/failures/*/step_id")
    if message is not None and not (content and isinstance(message, str)):
        allowed.dropped.note("/failures/*/message")
        message = None
    return FailureMessage(
        failure_id=str(index),
        failure_type=failure_type,
        failure_code=(None if code is None else allowed.label(code, "/failures/*/failure_code"))
        or FailureCode.UNKNOWN.value,
        step_id=step,
        step_key=step,
        occurred_us=_time(value, "occurred_at", place),
        message=None if message is None else _storable(message),
    )


def _storable(text: str) -> str:
    cut = text[:_MAX_TEXT_CHARS].replace("\0", "\ufffd")
    return cut.encode("utf-8", "replace").decode()


def _drop_others(value: Mapping[str, Any], known: frozenset[str], allowed: AllowList, path: str) -> None:
    for key in value.keys() - known:
        allowed.drop(path, key)


def _listed(value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or len(found) > MAX_ITEMS:
        raise WireError(f"/{key}", f"it must be an array of at most {MAX_ITEMS:,}")
    return found


def _needed(value: Mapping[str, Any], key: str, read: Any, problem: str) -> str:
    given = value.get(key)
    if given is None:
        raise WireError(f"/{key}", "it is missing")
    found: str | None = read(given, f"/{key}")
    if found is None:
        raise WireError(f"/{key}", problem)
    return found


def _one_of(value: Mapping[str, Any], key: str, choices: tuple[str, ...], place: str) -> str | None:
    given = value.get(key)
    if given is None:
        return None
    if not isinstance(given, str) or given not in choices:
        raise WireError(f"{place}/{key}", f"it must be one of {', '.join(choices)}")
    return given


def _time(value: Mapping[str, Any], key: str, place: str) -> int | None:
    given = value.get(key)
    if given is None:
        return None
    ts_us = read_time(given)
    if ts_us is None:
        raise WireError(f"{place}/{key}", NO_TIME)
    return ts_us


def _milliseconds(value: Mapping[str, Any], place: str) -> float | None:
    given = value.get("latency_ms")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= _MAX_INTEGER:
        raise WireError(f"{place}/latency_ms", "it is not a number of milliseconds")
    return float(given)


def _whole(value: object, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MAX_INTEGER:
        raise WireError(place, "it is not a whole number")
    return value
