"""Whether a value still holds the objects that it held: its members by identity, and how many there are."""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import EnumType
from functools import partial
from typing import Any
from uuid import UUID

from Agent.event.classes import forgetting
from Agent.event.values.codecs import (
    container_below,
    is_all_attributes,
    is_queue,
    parts_of_queue,
)
from Agent.event.values.plain import SCALARS
from Agent.record.encode.native import native

_UNCHANGING = (date, timedelta, Decimal, UUID, range)


def _stays(cls: type) -> bool | type | None:
    """Whether objects of exactly this class are immutable; None if they have nothing but attributes.

    Of a class whose objects have the items of a builtin container and attributes only, that container.
    """
    if cls in _UNCHANGING or issubclass(type(cls), EnumType):
        return True
    if is_all_attributes(cls):
        return None
    if (base := container_below(cls)) is not None:
        return base
    generic = getattr(sys.modules.get("numpy"), "generic", None)
    return isinstance(generic, type) and issubclass(cls, generic) and cls.__name__ not in {"void", "object_"}


_ALWAYS_SAME = SCALARS | {bytes, complex}
_OF_ITEMS = frozenset({list, tuple, set, frozenset})
_OF_MEMBERS = frozenset({set, frozenset, deque})
_HEAP_TYPE = 1 << 9
_MOST_DEPTH, _MOST_HELD = 8, 512
"""Limits of snapshots; the C code has the same ones, so that both refuse the same values."""


def _snapshot(value: Any) -> tuple[Any, ...] | None:
    met: list[Any] = []
    try:
        return tuple(met) if _meets_all(value, met, 0) else None
    except RuntimeError:  # another thread is changing a container in it
        return None


def _count_members(value: Any, depth: int = 0) -> int:
    kind = type(value)
    if depth > _MOST_DEPTH:
        return 0
    if kind is dict or kind is list or kind is tuple:
        items = value.values() if kind is dict else value
        return 1 + sum(1 + _count_members(item, depth + 1) for item in items)
    return 1 + len(value) if kind in _OF_MEMBERS else 0


def measure(value: Any) -> int:
    """Return the number of members of a container or a queue, plus 1 per container; 0 for other values."""
    return count_members(parts_of_queue(value)["queue"] if is_queue(type(value)) else value)


def _still_is(value: Any, before: tuple[Any, ...]) -> bool:
    now = _snapshot(value)
    return now is not None and len(now) == len(before) and all(map(operator.is_, now, before))


def _meets_all(value: Any, met: list[Any], depth: int) -> bool:
    """Append a container, its members, and the container again as an end mark to `met`.

    Returns False if these objects do not show every change, or are too many.
    """
    if depth > _MOST_DEPTH or not _meets(value, met):
        return False
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if not _meets_all(key, met, depth + 1) or not _meets_all(item, met, depth + 1):
                return False
    elif kind in _OF_ITEMS:
        if not all(_meets_all(item, met, depth + 1) for item in value):
            return False
    else:
        return _is_unchanging(value)
    return _meets(value, met)


def _meets(value: Any, met: list[Any]) -> bool:
    met.append(value)
    return len(met) <= _MOST_HELD


def _is_unchanging(value: Any) -> bool:
    kind = type(value)
    if kind in _ALWAYS_SAME:
        return True
    if kind is datetime:
        return value.tzinfo is None or value.tzinfo is UTC
    if kind.__flags__ & _HEAP_TYPE and type(kind) not in (type, EnumType):
        return False
    return _stays(kind) is True


snapshot: Callable[[Any], tuple[Any, ...] | None] = _snapshot
"""Returns all objects in a value; None if one of them is mutable without being a container, or at a limit."""
still_is: Callable[[Any, tuple[Any, ...]], bool] = _still_is
"""Whether a value holds the same objects as before, so that nothing changed."""
count_members: Callable[[Any], int] = _count_members
"""Returns the number of members of a container and its nested containers; 0 for any other value."""
if native is not None:
    forgetting.append(partial(native.judge_types, _stays, EnumType))
    forgetting[-1]()
    snapshot, still_is, count_members = native.snapshot, native.still_is, native.count_members
