"""The short walk: payloads of plain values with UUIDs, times, tuples and numpy's numbers among them.

`serialise.py` tries it between plain and the whole walk, and it gives what `encode_value` gives, or nothing.
"""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from typing import Any

import orjson

from Agent.event.limits import Limits
from Agent.event.pointers import escape
from Agent.event.values.arrays import number_tag
from Agent.event.values.plain import DUMP_OPTIONS, SCALARS, any_nonfinite

__all__ = ["common_bytes"]

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
        return None
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
