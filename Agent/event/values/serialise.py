"""Any value to JSON bytes: by orjson alone if nothing needs a tag, otherwise by the walk.

This is the step of the hot path between payload and line; redaction comes next. It never raises: the last
fallback is an object that says what failed.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import orjson

from Agent.event.classes import class_name
from Agent.event.limits import DEFAULT_LIMITS, Limits
from Agent.event.values.arrays import number_tag
from Agent.event.values.plain import (
    DUMP_OPTIONS,
    SCALARS,
    any_nonfinite,
    ask_memory,
    ask_memory_for,
    least_bytes,
    plain_bytes,
)
from Agent.event.values.reading import USUAL, AgentOf, Reading
from Agent.event.values.short_walk import common_bytes, form_of_scalars
from Agent.event.values.values import encode_value

__all__ = ["DEFAULT_LIMITS", "Dumped", "Limits", "to_json"]


class Dumped(tuple[bytes, "dict[str, str] | None", tuple[str, ...]]):
    """A value as bytes: (json, types, opaque).

    A tuple subclass, because a NamedTuple takes twice as long to build.
    """

    __slots__ = ()

    json: bytes = property(itemgetter(0), doc="One JSON value in UTF-8, no newline in it.")  # type: ignore[assignment]
    types: dict[str, str] | None = property(itemgetter(1), doc="{JSON Pointer: tag}, None for plain values.")  # type: ignore[assignment]
    opaque: tuple[str, ...] = property(itemgetter(2), doc="Pointers of what cannot be restored.")  # type: ignore[assignment]


_dumps = orjson.dumps
_is_scalar = SCALARS.issuperset


def to_json(
    value: Any,
    pointer: str,
    limits: Limits = DEFAULT_LIMITS,
    agent_of: AgentOf | None = None,
    reading: Reading = USUAL,
) -> Dumped:
    """Return the value as JSON bytes with its tags; never raises.

    Args:
        value: anything; it may change afterwards.
        pointer: its place in the event, as a JSON Pointer.
        limits: the value is cut so that `len(json) <= limits.max_bytes`.
        agent_of: distinguishes agents from other objects; an agent is recorded as its id.
        reading: how the content of values without a codec is read.
    """
    try:
        kind = type(value)
        least = least_bytes(value, limits.max_bytes)
        if least > limits.max_bytes:
            return _walked(value, pointer, limits, agent_of, reading)
        ask_memory(least)
        if kind is dict:
            # Two sweeps in C: over the types of the values, and for the null that a NaN would leave.
            if _is_scalar(map(type, value.values())):
                data = _dumps(value, None, DUMP_OPTIONS)
                if (data.find(b"null") < 0 or not any_nonfinite(value.values())) and len(
                    data
                ) <= limits.unread_bytes:
                    return Dumped((data, None, ()))
            plain = plain_bytes(value, limits)
        elif kind is list:
            plain = plain_bytes(value, limits)
        else:
            plain = _scalar_bytes(value, limits)
            if plain is None and kind is not tuple and number_tag(kind) is None:
                form = form_of_scalars(agent_of, reading.hides, value)
                if form is not None:
                    return Dumped((_dumps(form), {pointer: "opaque"}, (pointer,)))
        if plain is not None:
            return Dumped((plain, None, ()))
        if agent_of is None or kind is dict or kind is list or kind is tuple or number_tag(kind) is not None:
            common = common_bytes(value, pointer, limits)
            if common is not None:
                return Dumped((common[0], common[1] or None, ()))
    except Exception:  # noqa: BLE001, S110 - a surrogate, a big integer, a dict that another thread changes
        pass  # nothing is lost: the walk encodes the value again, and records what it cannot read
    return _walked(value, pointer, limits, agent_of, reading)


def _scalar_bytes(value: Any, limits: Limits) -> bytes | None:
    if type(value) not in SCALARS:
        return None
    data = _dumps(value, None, DUMP_OPTIONS)
    if len(data) > limits.unread_bytes or (data == b"null" and value is not None):
        return None
    return data


def _walked(value: Any, pointer: str, limits: Limits, agent_of: AgentOf | None, reading: Reading) -> Dumped:
    try:
        encoded = encode_value(value, pointer, limits, agent_of, reading)
        ask_memory_for(encoded.value)
        data = _dumps(encoded.value, None, DUMP_OPTIONS)
        if len(data) <= limits.max_bytes:
            return Dumped((data, encoded.types or None, encoded.opaque))
        failure = "TooLarge"
    except Exception as error:  # noqa: BLE001 - the last rung: whatever failed, the line is written
        failure = type(error).__name__
    name = class_name(type(value))
    form = {"repr": "<not recorded>", "class": name, "failure": failure, "unseen": "it could not be read"}
    return Dumped((_dumps(form), {pointer: "opaque"}, (pointer,)))
