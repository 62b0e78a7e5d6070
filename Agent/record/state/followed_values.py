"""Containers and arrays of plain values in what agents hold: copied, compared, and changed in place.

Only the types below count, exactly: nothing here runs code of a class. What holds anything else, or is
too large, is not followed.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import EnumType
from fractions import Fraction
from typing import Any
from uuid import UUID

from Agent.event.values.plain import SCALARS

_MOST_ITEMS = 600
_MOST_DEPTH = 6
_MOST_ARRAY_BYTES = 32_768
_MOST_TEXT = 4_096
_LEAVES = SCALARS | {bytes, complex, date, datetime, time, timedelta, Decimal, Fraction, UUID, range}
_MAPPINGS = frozenset({dict, defaultdict, OrderedDict})
_SEQUENCES = frozenset({list, deque})
_SETS = frozenset({set, frozenset})
_KINDS_OF_ARRAYS = "biufcmM"


class _TooMuchError(Exception):
    """It is too large, or holds a value that is not plain."""


def copied(value: object) -> tuple[Any, int] | None:
    """A copy and the number of values in it; None for what is not followed."""
    if type(value) in _LEAVES:
        return None
    left = [_MOST_ITEMS]
    try:
        found = _copied(value, _MOST_DEPTH, left)
    except (_TooMuchError, RuntimeError):  # another thread changes it
        return None
    return found, _MOST_ITEMS - left[0]


def is_followed(value: object) -> bool:
    """Whether it is a container or an array whose changes are recorded."""
    return copied(value) is not None


def _copied(value: Any, depth: int, left: list[int]) -> Any:
    kind = type(value)
    left[0] -= 1
    if left[0] < 0 or depth < 0:
        raise _TooMuchError
    if kind in _LEAVES:
        if (kind is str or kind is bytes) and len(value) > _MOST_TEXT:
            raise _TooMuchError
        return value
    if kind in _MAPPINGS:
        found = {_copied_key(key, left): _copied(item, depth - 1, left) for key, item in tuple(value.items())}
        return found if kind is dict else _like(value, found)
    if kind is list or kind in _SETS or kind is tuple:
        if len(value) > left[0]:
            raise _TooMuchError
        return kind([_copied(item, depth - 1, left) for item in tuple(value)])
    if kind is deque:
        if len(value) > left[0]:
            raise _TooMuchError
        return deque([_copied(item, depth - 1, left) for item in tuple(value)], value.maxlen)
    if kind is bytearray and len(value) <= _MOST_TEXT:
        return bytearray(value)
    if _is_array(value):
        if value.dtype.kind not in _KINDS_OF_ARRAYS or value.nbytes > _MOST_ARRAY_BYTES:
            raise _TooMuchError
        return value.copy()
    if isinstance(kind, EnumType) or _is_scalar_of_numpy(value):
        return value
    raise _TooMuchError


def _copied_key(key: Any, left: list[int]) -> Any:
    return key if type(key) in _LEAVES else _copied(key, _MOST_DEPTH, left)


def _like(value: Any, items: dict[Any, Any]) -> Any:
    if type(value) is defaultdict:
        if value.default_factory not in _FACTORIES:
            raise _TooMuchError
        return defaultdict(value.default_factory, items)
    return OrderedDict(items)


_FACTORIES = (None, int, float, str, bool, list, dict, set)


def _is_array(value: object) -> bool:
    array = getattr(sys.modules.get("numpy"), "ndarray", None)
    return array is not None and type(value) is array


def _is_scalar_of_numpy(value: object) -> bool:
    generic = getattr(sys.modules.get("numpy"), "generic", None)
    return isinstance(generic, type) and isinstance(value, generic) and type(value).__name__ != "void"


def is_same(one: Any, other: Any) -> bool:
    """Whether a value is what a copy of it was."""
    kind = type(one)
    if kind is not type(other):
        return False
    if one is other:
        return True
    if _is_array(one):
        return (
            one.dtype == other.dtype and one.shape == other.shape and bool(one.tobytes() == other.tobytes())
        )
    try:
        is_equal = bool(one == other)  # leaves of a copy are the very same objects, even if they are NaN
    except ValueError:  # arrays inside
        return _is_same_inside(one, other)
    return is_equal and (kind is not dict or list(one) == list(other))


def _is_same_inside(one: Any, other: Any) -> bool:
    if len(one) != len(other):
        return False
    if type(one) in _MAPPINGS:
        return list(one) == list(other) and all(map(is_same, one.values(), tuple(other.values())))
    return all(map(is_same, one, tuple(other)))


def pour(present: Any, value: Any) -> bool:
    """Give a container or an array the content of another in place; False where that is not possible.

    What is inside and can change stays the same object where there is one at its place.
    """
    kind = type(value)
    if kind is not type(present) or kind is tuple or kind is frozenset:
        return False
    if kind in _MAPPINGS:
        _pour_mapping(present, value)
    elif kind is list:
        if len(present) != len(value):
            present[:] = value
        for number, item in enumerate(value):
            if not pour(present[number], item):
                present[number] = item
    elif kind is deque:
        present.clear()
        present.extend(value)
    elif kind is set:
        present.clear()
        present.update(value)
    elif kind is bytearray:
        present[:] = value
    elif _is_array(value):
        if present.shape != value.shape or present.dtype != value.dtype or not present.flags.writeable:
            return False
        present[...] = value
    else:
        return False
    return True


def _pour_mapping(present: Any, value: Any) -> None:
    if list(present) != list(value)[: len(present)]:
        kept = dict(present)
        present.clear()
        for name in value:
            present[name] = kept.get(name)
    for name, item in value.items():
        if name not in present or not pour(present[name], item):
            present[name] = item
