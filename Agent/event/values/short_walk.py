"""The short walk: plain values, agents and what has a codec, with less to keep account of than the full walk.

`to_json` tries it after the check for plain values. It returns what `encode_value` returns, or nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from Agent.event.pointers import escape
from Agent.event.values.arrays import number_tag
from Agent.event.values.class_codecs import MEMBER, class_reducer
from Agent.event.values.codecs import builtin_reducer, registered_codec
from Agent.event.values.digest import canonical_bytes
from Agent.event.values.plain import DUMP_OPTIONS, SCALARS, any_nonfinite, write_json
from Agent.event.values.reading import AgentOf, Limits, Named

__all__ = ["common_bytes"]

_MAX_DEPTH = 12
_MOST_COPIED = 4_000
_NEVER_SPECIAL = SCALARS - {float}


class _Special(Exception):
    """A value that needs the full walk."""


def common_bytes(
    value: Any, pointer: str, limits: Limits, agent_of: AgentOf | None = None
) -> tuple[bytes, dict[str, str]] | None:
    """Return the JSON of the value and its tags; None if anything in it needs the full walk.

    Raises what orjson raises for surrogates and large integers.
    """
    if limits.max_depth <= _MAX_DEPTH + 1:
        return None
    walk = _ShortWalk(limits, agent_of)
    types = walk.types
    try:
        copy = walk.copy(value, pointer, 0)
    except _Special:
        return None  # left to the full walk
    data = write_json(copy, DUMP_OPTIONS)
    # Too short to exceed any limit; the tags of many small values count too.
    if len(data) > limits.unread_bytes or len(types) > limits.max_items // 64:
        return None
    return data, types


class _ShortWalk:
    """Copies a value into plain JSON, and notes its tags; raises `_Special` where it takes the full walk.

    Args:
        agent_of: as for `to_json`; None for a value without agents.
    """

    def __init__(self, limits: Limits, agent_of: AgentOf | None) -> None:
        self.types: dict[str, str] = {}
        self._limits = limits
        self._agent_of = agent_of
        self._left = _MOST_COPIED

    def copy(self, value: Any, pointer: str, depth: int) -> Any:
        kind = type(value)
        if kind in SCALARS:
            if value != value or value in (float("inf"), float("-inf")):
                raise _Special
            return value
        self._left -= 1
        if depth > _MAX_DEPTH or self._left < 0:
            raise _Special
        if kind is dict:
            return self._dict(value, pointer, depth)
        if kind is list:
            return self._list(value, pointer, depth)
        if kind is tuple:
            self.types[pointer] = "tuple"
            return self._list(value, pointer, depth)
        tag = number_tag(kind)
        if tag is not None:
            number = value.item()
            if type(number) is float and number - number != 0.0:
                raise _Special
            self.types[pointer] = tag
            return number
        return self._reduced(value, kind, pointer, depth)

    def _list(self, items: Sequence[Any], pointer: str, depth: int) -> list[Any]:
        if SCALARS.issuperset(map(type, items)) and not any_nonfinite(items):
            return list(items)
        return [self.copy(item, f"{pointer}/{index}", depth + 1) for index, item in enumerate(items)]

    def _dict(self, value: dict[Any, Any], pointer: str, depth: int) -> Any:
        if not all(type(key) is str for key in value):
            return self._pairs(value, pointer, depth)
        copy: dict[str, Any] = {}
        for key, item in value.items():
            kind = type(item)
            if kind in _NEVER_SPECIAL or (kind is float and item - item == 0.0):
                copy[key] = item
            else:
                copy[key] = self.copy(item, f"{pointer}/{escape(key)}", depth + 1)
        return copy

    def _pairs(self, value: dict[Any, Any], pointer: str, depth: int) -> list[Any]:
        pairs = []
        for index, (key, item) in enumerate(value.items()):
            at = f"{pointer}/{index}"
            pairs.append([self.copy(key, f"{at}/0", depth + 1), self.copy(item, f"{at}/1", depth + 1)])
        self.types[pointer] = "map"
        return pairs

    def _members(self, values: frozenset[Any], pointer: str, depth: int) -> list[Any]:
        items = list(values)
        if set(map(type, items)) in ({str}, {int}):
            return self._list(sorted(items), pointer, depth)
        rows: list[tuple[bytes, Any, dict[str, str]]] = []
        outer = self.types
        try:
            for item in items:
                self.types = {}
                copy = self.copy(item, "", depth + 1)
                rows.append((canonical_bytes(copy, self.types), copy, self.types))
        finally:
            self.types = outer
        rows.sort(key=itemgetter(0))
        for index, (_, _, types) in enumerate(rows):
            self.types.update({f"{pointer}/{index}{inner}": tag for inner, tag in types.items()})
        return [copy for _, copy, _ in rows]

    def _reduced(self, value: Any, kind: type, pointer: str, depth: int) -> Any:
        """Return the JSON of a value with a codec, or of an agent."""
        copy: Any
        reducer = builtin_reducer(kind)
        if reducer is None:
            if kind is Named or registered_codec(kind) is not None:
                raise _Special
            agent_id = None if self._agent_of is None else self._agent_of(value)
            if type(agent_id) is str or type(agent_id) is int:
                self.types[pointer] = "agent"
                return agent_id
            reducer = class_reducer(kind)
        if reducer is None:
            raise _Special
        tag, reduced = reducer(value, self._limits)
        if tag in {"opaque", "truncated"} or tag.startswith(MEMBER):
            raise _Special
        if kind is defaultdict and not isinstance(value.default_factory, (type, type(None))):
            raise _Special
        if type(reduced) is list:
            copy = self._list(reduced, pointer, depth)
        elif type(reduced) is dict:
            copy = self._dict(reduced, pointer, depth)
        elif type(reduced) is frozenset:
            copy = self._members(reduced, pointer, depth)
        elif type(reduced) in SCALARS:
            copy = self.copy(reduced, pointer, depth)
        else:
            raise _Special
        self.types[pointer] = tag
        return copy
