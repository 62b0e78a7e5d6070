"""Any value to JSON bytes: by orjson alone, by the short walk, or by the full walk.

This is the step of the hot path between payload and line; redaction comes next. It never raises: the last
fallback is an object that says what failed.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime
from operator import itemgetter
from typing import Any

import orjson

from Agent.event.classes import attributes_of, class_name
from Agent.event.pointers import escape
from Agent.event.script_names import imported
from Agent.event.values.arrays import number_tag
from Agent.event.values.codecs import plan_of, registered_codec
from Agent.event.values.content_digest import short_digest
from Agent.event.values.digest import ALGORITHM
from Agent.event.values.opaque import LARGE_BYTES, SHOWN_ATTRIBUTES, TEXT_CHARS
from Agent.event.values.parts import name_of
from Agent.event.values.plain import (
    DUMP_OPTIONS,
    SCALARS,
    all_strings,
    any_nonfinite,
    ask_memory,
    ask_memory_for,
    least_bytes,
    plain_bytes,
)
from Agent.event.values.reading import DEFAULT_LIMITS, USUAL, AgentOf, Hides, Limits, Reading
from Agent.event.values.values import encode_value

__all__ = ["common_bytes", "DEFAULT_LIMITS", "Dumped", "form_of_scalars", "Limits", "to_json"]


class Dumped(tuple[bytes, "dict[str, str] | None", tuple[str, ...], "Collection[str] | None"]):
    """A value as bytes: (json, types, opaque, attributes).

    A tuple subclass, because a NamedTuple takes twice as long to build.
    """

    __slots__ = ()

    json: bytes = property(itemgetter(0), doc="One JSON value in UTF-8, no newline in it.")  # type: ignore[assignment]
    types: dict[str, str] | None = property(itemgetter(1), doc="{JSON Pointer: tag}, None for plain values.")  # type: ignore[assignment]
    opaque: tuple[str, ...] = property(itemgetter(2), doc="Pointers of what cannot be restored.")  # type: ignore[assignment]
    attributes: Collection[str] | None = property(
        itemgetter(3), doc="Names, if short scalars are all it holds."
    )  # type: ignore[assignment]


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
                    return Dumped((data, None, (), None))
            plain = plain_bytes(value, limits)
        elif kind is list:
            plain = plain_bytes(value, limits)
        else:
            plain = _scalar_bytes(value, limits)
            if plain is None and kind is not tuple and number_tag(kind) is None:
                form = form_of_scalars(agent_of, reading.hides, value)
                if form is not None:
                    return Dumped((_dumps(form), {pointer: "opaque"}, (pointer,), form["attributes"]))
        if plain is not None:
            return Dumped((plain, None, (), None))
        if agent_of is None or kind is dict or kind is list or kind is tuple or number_tag(kind) is not None:
            common = common_bytes(value, pointer, limits)
            if common is not None:
                return Dumped((common[0], common[1] or None, (), None))
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
            return Dumped((data, encoded.types or None, encoded.opaque, None))
        failure = "TooLarge"
    except Exception as error:  # noqa: BLE001 - the last rung: whatever failed, the line is written
        failure = type(error).__name__
    name = class_name(type(value))
    form = {"repr": "<not recorded>", "class": name, "failure": failure, "unseen": "it could not be read"}
    return Dumped((_dumps(form), {pointer: "opaque"}, (pointer,), None))


# The short walk: payloads of plain values with UUIDs, times, tuples and numpy's numbers among them.
#
# `to_json` tries it between plain and the whole walk, and it gives what `encode_value` gives, or
# nothing.

_MAX_DEPTH = 12
_NEVER_SPECIAL = SCALARS - {float}


class _Special(Exception):
    """Something for the whole walk."""


def common_bytes(value: Any, pointer: str, limits: Limits) -> tuple[bytes, dict[str, str]] | None:
    """The JSON of the value and its tags; None where anything in it is not common.

    Raises what orjson raises for surrogates and large integers.
    """
    if limits.max_depth <= _MAX_DEPTH + 1:
        return None
    types: dict[str, str] = {}
    try:
        copy = _copy(value, pointer, types, 0)
    except _Special:
        return None  # the whole walk takes it
    data = orjson.dumps(copy, None, DUMP_OPTIONS)
    # So short that no bound can be broken; the tags of many small values count, too.
    if len(data) > limits.unread_bytes or len(types) > limits.max_items // 64:
        return None
    return data, types


def _copy(value: Any, pointer: str, types: dict[str, str], depth: int) -> Any:
    kind = type(value)
    if kind is dict:
        return _copy_dict(value, pointer, types, depth)
    if kind is list or kind is tuple:
        if depth > _MAX_DEPTH:
            raise _Special
        if kind is tuple:
            types[pointer] = "tuple"
        if SCALARS.issuperset(map(type, value)) and not any_nonfinite(value):
            return list(value)
        return [_copy(item, f"{pointer}/{index}", types, depth + 1) for index, item in enumerate(value)]
    if kind in SCALARS:
        if value != value or value in (float("inf"), float("-inf")):
            raise _Special
        return value
    if kind is datetime:
        if (value.tzinfo is not None and value.tzinfo is not UTC) or value.fold:
            raise _Special
        types[pointer] = "datetime"
        return value.isoformat()
    if kind is date:
        types[pointer] = "date"
        return value.isoformat()
    if kind is getattr(sys.modules.get("uuid"), "UUID", None):
        types[pointer] = "uuid"
        return str(value)
    tag = number_tag(kind)
    if tag is not None:
        number = value.item()
        if type(number) is float and number - number != 0.0:
            raise _Special
        types[pointer] = tag
        return number
    raise _Special


def _copy_dict(value: dict[Any, Any], pointer: str, types: dict[str, str], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise _Special
    copy: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str:
            raise _Special
        kind = type(item)
        if kind in _NEVER_SPECIAL or (kind is float and item - item == 0.0):
            copy[key] = item
        else:
            copy[key] = _copy(item, f"{pointer}/{escape(key)}", types, depth + 1)
    return copy


def form_of_scalars(agent_of: AgentOf | None, hides: Hides | None, value: object) -> dict[str, Any] | None:
    """`describe(value, content_of(value))` in one step for an object of few short plain scalars.

    None for every other value, for agents, and where a name is not known or a text may hold a secret. Raises
    what orjson raises for surrogates and large integers, and what a hidden `__dict__` raises.
    """
    plan = plan_of(type(value))
    if plan.form is None or registered_codec(type(value)) is not None:
        return None
    if agent_of is not None and agent_of(value) is not None:
        return None
    if name_of(value) is not None:
        return None
    found = attributes_of(value)
    if not found or len(found) > SHOWN_ATTRIBUTES or not all_strings(found):
        return None
    if "__module__" in found or "_name_" in found:  # `_attributes` gives these in another way
        return None
    if not _are_short_scalars(found.values()):
        return None
    data = orjson.dumps(found, None, DUMP_OPTIONS | orjson.OPT_SORT_KEYS)
    if len(data) > TEXT_CHARS and (len(data) > LARGE_BYTES // 2 or max(map(len, found)) > TEXT_CHARS):
        return None
    if hides is not None and not hides.is_harmless(found, data):
        return None
    data = imported(data)
    digest = short_digest(b"%sj.%d:%s" % (plan.head, len(data), data)).hex()
    return {**plan.form, "attributes": found, "digest": f"{ALGORITHM}:{digest}"}


def _are_short_scalars(values: Iterable[Any]) -> bool:
    """Whether each value is one that `describe` shows as it is."""
    for value in values:
        kind = type(value)
        if kind is str:
            if len(value) > TEXT_CHARS:
                return False
        elif kind is int:
            if value.bit_length() > 63:
                return False
        elif kind is float:
            if value - value != 0.0:
                return False
        elif kind is not bool and value is not None:
            return False
    return True
