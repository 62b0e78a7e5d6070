"""The short walk: plain values, agents and what has a codec, with less to keep account of than the full walk.

`to_json` tries it after the check for plain values. It returns what `encode_value` returns, or nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import orjson

from Agent.event.pointers import escape
from Agent.event.values.arrays import is_cut_array, number_tag
from Agent.event.values.class_codecs import MEMBER, class_reducer, known_tag_of_member
from Agent.event.values.codecs import builtin_reducer, registered_codec
from Agent.event.values.digest import canonical_bytes
from Agent.event.values.marks import content_by_mark
from Agent.event.values.opaque import Content, OpaqueKind
from Agent.event.values.plain import DUMP_OPTIONS, SCALARS, any_nonfinite, write_json
from Agent.event.values.reading import AgentOf, Hides, Limits, Named

__all__ = ["common_bytes"]

_MAX_DEPTH = 12
_MOST_COPIED = 4_000
_NEVER_SPECIAL = SCALARS - {float}
_COPIED = SCALARS | {dict, list}


class _Special(Exception):
    """A value that needs the full walk."""


def common_bytes(
    value: Any,
    pointer: str,
    limits: Limits,
    agent_of: AgentOf | None = None,
    hides: Hides | None = None,
) -> tuple[bytes, dict[str, str]] | None:
    """Return the JSON of the value and its tags; None if anything in it needs the full walk.

    Raises what orjson raises for surrogates and large integers.
    """
    if limits.max_depth <= _MAX_DEPTH + 1:
        return None
    walk = _ShortWalk(limits, agent_of, hides)
    types = walk.types
    try:
        copy = copied(walk, value, pointer, 0)
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
        hides: recognises secrets.
    """

    __slots__ = ("_agent_of", "_hides", "_limits", "_met", "left", "types")
    special = _Special

    def __init__(self, limits: Limits, agent_of: AgentOf | None, hides: Hides | None) -> None:
        self.types: dict[str, str] = {}
        self.left = _MOST_COPIED
        """Values that are no scalars, which may still be copied."""
        self._limits = limits
        self._agent_of = agent_of
        self._hides = hides
        self._met: dict[int, tuple[str, str]] = {}
        """Tags and names of members of enums that were met, by id: a list may hold one many times."""

    def copy(self, value: Any, pointer: str, depth: int) -> Any:
        kind = type(value)
        if kind in SCALARS:
            if value != value or value in (float("inf"), float("-inf")):
                raise _Special
            return value
        self.left -= 1
        if depth > _MAX_DEPTH or self.left < 0:
            raise _Special
        if kind is dict:
            return self._dict(value, pointer, depth)
        if kind is list:
            return self._list(value, pointer, depth)
        if kind is tuple:
            self.types[pointer] = "tuple"
            return self._list(value, pointer, depth)
        return self.reduced(value, pointer, depth)

    def _list(self, items: Sequence[Any], pointer: str, depth: int) -> list[Any]:
        if SCALARS.issuperset(map(type, items)) and not any_nonfinite(items):
            return list(items)
        return [copied(self, item, f"{pointer}/{index}", depth + 1) for index, item in enumerate(items)]

    def _dict(self, value: dict[Any, Any], pointer: str, depth: int) -> Any:
        if not all(type(key) is str for key in value):
            return self._pairs(value, pointer, depth)
        copy: dict[str, Any] = {}
        for key, item in value.items():
            kind = type(item)
            if kind in _NEVER_SPECIAL or (kind is float and item - item == 0.0):
                copy[key] = item
            else:
                copy[key] = copied(self, item, f"{pointer}/{escape(key)}", depth + 1)
        return copy

    def _pairs(self, value: dict[Any, Any], pointer: str, depth: int) -> list[Any]:
        pairs = []
        for index, (key, item) in enumerate(value.items()):
            at = f"{pointer}/{index}"
            pairs.append([copied(self, key, f"{at}/0", depth + 1), copied(self, item, f"{at}/1", depth + 1)])
        self.types[pointer] = "map"
        return pairs

    def _members(self, values: frozenset[Any], pointer: str, depth: int) -> list[Any]:
        items = list(values)
        if set(map(type, items)) in ({str}, {int}):
            return self._list(sorted(items), pointer, depth)
        if depth < _MAX_DEPTH and (flat := _flat_tuples(items)) is not None:
            self.left -= len(flat)
            if self.left < 0:
                raise _Special
            self.types.update([(f"{pointer}/{index}", "tuple") for index in range(len(flat))])
            return flat
        rows: list[tuple[bytes, Any, dict[str, str]]] = []
        outer = self.types
        try:
            for item in items:
                self.types = {}
                copy = copied(self, item, "", depth + 1)
                rows.append((canonical_bytes(copy, self.types), copy, self.types))
        finally:
            self.types = outer
        rows.sort(key=itemgetter(0))
        for index, (_, _, types) in enumerate(rows):
            self.types.update({f"{pointer}/{index}{inner}": tag for inner, tag in types.items()})
        return [copy for _, copy, _ in rows]

    def reduced(self, value: Any, pointer: str, depth: int) -> Any:
        """Return the JSON of a number of numpy, a value with a codec, or an agent."""
        member = self._met.get(id(value))
        if member is not None:
            self.types[pointer], name = member
            return name
        kind = type(value)
        number = number_tag(kind)
        if number is not None:
            plain = value.item()
            if type(plain) is float and plain - plain != 0.0:
                raise _Special
            self.types[pointer] = number
            return plain
        reducer = builtin_reducer(kind)
        if reducer is None:
            if kind is Named or registered_codec(kind) is not None:
                raise _Special
            agent_id = None if self._agent_of is None else self._agent_of(value)
            if type(agent_id) is str or type(agent_id) is int:
                self.types[pointer] = "agent"
                return agent_id
            reducer = class_reducer(kind)
        if reducer is None or is_cut_array(value, self._limits):
            raise _Special  # before an array is read
        tag, reduced = reducer(value, self._limits)
        if tag.startswith(MEMBER):
            tag = known_tag_of_member(value, self._hides) or "opaque"
            if tag != "opaque" and type(reduced) is str:
                self._met[id(value)] = tag, reduced
        if tag in {"opaque", "truncated"}:
            raise _Special
        if kind is defaultdict and not isinstance(value.default_factory, (type, type(None))):
            tag = self._with_factory(tag, value.default_factory)
        if type(reduced) is frozenset:
            copy: Any = self._members(reduced, pointer, depth)
        elif type(reduced) in _COPIED:
            copy = copied(self, reduced, pointer, depth)
        else:
            raise _Special
        self.types[pointer] = tag
        return copy

    def _with_factory(self, tag: str, factory: object) -> str:
        """Return the tag of a `defaultdict` whose factory is a function that the full walk has read."""
        if self._agent_of is None:
            raise _Special
        content = content_by_mark(factory, self._agent_of, self._hides, _unread)
        if content.kind is not OpaqueKind.COMPARABLE:
            raise _Special
        return f"{tag}@{content.text}"


def _unread(_factory: object) -> Content:
    raise _Special


def _flat_tuples(items: list[Any]) -> list[list[Any]] | None:
    """Return tuples of scalars as lists, in the order of their canonical bytes; None if one is another."""
    rows: list[tuple[bytes, Any]] = []
    for item in items:
        if type(item) is not tuple or not SCALARS.issuperset(map(type, item)) or any_nonfinite(item):
            return None
        raw = orjson.dumps(item)
        if b"\\u0000" in raw:
            return None  # perhaps a marker of tags
        rows.append((raw, item))
    rows.sort(key=itemgetter(0))
    return [list(item) for _, item in rows]


copied: Callable[[_ShortWalk, Any, str, int], Any] = _ShortWalk.copy
"""The same in C, if that was built; `record/` replaces it."""
