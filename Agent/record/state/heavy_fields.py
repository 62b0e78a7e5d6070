"""Which fields of an agent are heavy: read only at full states, not compared at each action."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

from Agent.event.values.codecs import registered_codec
from Agent.event.values.plain import census
from Agent.event.values.reading import DEFAULT_LIMITS
from Agent.record.state.introspection import is_object
from Agent.record.state.same_members import count_members

HEAVY_BYTES = 4096
"""A field with more bytes is read only at full states."""
MOST_NODES = 500
"""So is one for whose digests more values are visited: that takes 0.5 ms at each action that changes one."""
MOST_QUEUE_BYTES = 65_536
"""A queue is read at each action up to this size, because others put items there between the actions."""
_MANY_OBJECTS = 104
"""The form of one takes at least 40 bytes, without names of modules."""

_MARKS = (b'"', b":", b"<")
"""The byte before a module name in the JSON, the tag or the `repr` of a value."""
_SCRIPT = "__main__"
_scripts = [_SCRIPT]


def is_heavy(raw: bytes) -> bool:
    """Whether a field with this JSON and these tags is read only at full states.

    The name of the script's module does not count. It is `__main__` when the script runs and another name
    when a replay imports it, and the result has to be the same in both cases.
    """
    size = len(raw)
    if size <= HEAVY_BYTES:
        return False
    for script in _scripts:
        name = script.encode() + b"."
        size -= len(name) * sum(raw.count(mark + name) for mark in _MARKS)
    return size > HEAVY_BYTES


def count_as_script(module: str) -> None:
    """Treat a module as the recorded script from now on, so that `is_heavy` ignores its name."""
    _scripts[1:] = [module] if module != _SCRIPT else []


def holds_many_objects(value: Any, agent_of: Callable[[object], str | None]) -> bool:
    """Whether the forms of objects without a codec in a container certainly take over 4 KiB together."""
    kind = type(value)
    if (kind is not list and kind is not tuple and kind is not dict) or len(value) < _MANY_OBJECTS:
        return False
    members = tuple(value.values() if kind is dict else value)[:_MANY_OBJECTS]
    return all(
        type(each) is not MethodType and is_object(each, agent_of) and registered_codec(type(each)) is None
        for each in members
    )


def is_large_data(value: object) -> bool:
    """Whether a value is plain data whose JSON certainly takes over `HEAVY_BYTES`."""
    most = HEAVY_BYTES // 2 + 1  # n values take at least 2 n - 1 bytes
    if count_members(value) <= most:
        return False
    return census(value, most, DEFAULT_LIMITS.max_depth).nodes > most and census(value).is_data
