"""The short walk: plain values, agents, what has a codec, and objects of few small values.

It keeps account of less than the full walk.

`to_json` tries it after the check for plain values. It returns what `encode_value` returns, or nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any
from uuid import UUID

import orjson

from Agent.event.pointers import escape
from Agent.event.values.arrays import is_cut_array, number_tag
from Agent.event.values.class_codecs import MEMBER, class_reducer, known_tag_of_member
from Agent.event.values.codecs import (
    are_cut_bytes,
    builtin_reducer,
    plan_attributes,
    plan_of,
    registered_codec,
)
from Agent.event.values.content_digest import content_of
from Agent.event.values.digest import canonical_bytes
from Agent.event.values.marks import content_by_mark
from Agent.event.values.opaque import Content, OpaqueKind, ReachedObjects, describe
from Agent.event.values.plain import DUMP_OPTIONS, SCALARS, all_scalars, any_nonfinite, write_json
from Agent.event.values.reading import USUAL, AgentOf, Hides, Limits, Named, Reading

__all__ = ["common_bytes"]

_MAX_DEPTH = 12
_MOST_COPIED = 4_000
_BITS_OF_NUMBER, _MOST_BITS = 63, 1024
"""Of integers that JSON holds, and of those that are written here; longer ones are left to the full walk."""
_NEVER_SPECIAL = SCALARS - {float, int}
_COPIED = SCALARS | {dict, list}
_FEW = 16
_SMALL = frozenset({datetime, date, timedelta, Decimal, UUID})
FormOf = Callable[[AgentOf | None, Hides | None, object], dict[str, Any] | None]
"""Returns the form of an object of few short scalars; None for others."""


class _Special(Exception):
    """A value that needs the full walk."""


def common_bytes(
    value: Any,
    pointer: str,
    limits: Limits,
    agent_of: AgentOf | None = None,
    reading: Reading = USUAL,
    form_of: FormOf | None = None,
) -> tuple[bytes, dict[str, str]] | None:
    """Return the JSON of the value and its tags; None if anything in it needs the full walk.

    Raises what orjson raises for surrogates and large integers.

    Args:
        form_of: gives the form of objects of few scalars; None leaves them to the full walk.
    """
    if limits.max_depth <= _MAX_DEPTH + 1:
        return None
    walk = _ShortWalk(limits, agent_of, reading, form_of)
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
        reading: as for `to_json`.
        form_of: as for `common_bytes`.
    """

    __slots__ = (
        "_agent_of", "_described", "_form_of", "_hides", "_limits", "_met", "_reached", "_reading",
        "_sets_around", "left", "types",
    )  # fmt: skip
    special = _Special

    def __init__(
        self, limits: Limits, agent_of: AgentOf | None, reading: Reading, form_of: FormOf | None
    ) -> None:
        self.types: dict[str, str] = {}
        self.left = _MOST_COPIED
        """Values that are no scalars, which may still be copied."""
        self._limits = limits
        self._agent_of = agent_of
        self._hides = reading.hides
        self._reading = reading
        self._reached: ReachedObjects | None = None
        self._sets_around = 0
        self._form_of = form_of
        self._described: set[int] = set()
        """The ids of objects without a codec: the full walk writes where a second occurrence was first."""
        self._met: dict[int, tuple[str, str]] = {}
        """Tags and names of members of enums that were met, by id: a list may hold one many times."""

    def copy(self, value: Any, pointer: str, depth: int) -> Any:
        kind = type(value)
        if kind is int and value.bit_length() > _BITS_OF_NUMBER:
            return self.reduced(value, pointer, depth)
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
        if (
            SCALARS.issuperset(map(type, items))
            and not any_nonfinite(items)
            and not any(map(_is_long, items))
        ):
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
        self._sets_around += 1
        try:
            for item in items:
                self.types = {}
                copy = copied(self, item, "", depth + 1)
                rows.append((canonical_bytes(copy, self.types), copy, self.types))
        finally:
            self.types = outer
            self._sets_around -= 1
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
        if number is not None or kind is int:
            return self._number(value, pointer, number)
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
                return self._object(value, pointer)
        if is_cut_array(value, self._limits) or are_cut_bytes(value, self._limits):
            raise _Special  # before its digest is computed: the full walk does that
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

    def _number(self, value: Any, pointer: str, tag: str | None) -> Any:
        """Return the JSON of a number of numpy with its tag, or of an integer, which may be long."""
        if tag is not None:
            plain = value.item()
            if type(plain) is float and plain - plain != 0.0:
                raise _Special
            self.types[pointer] = tag
            return plain
        if -(2**63) <= value < 2**64:
            return value
        if value.bit_length() > _MOST_BITS:
            raise _Special
        self.types[pointer] = "int"
        return str(value)

    def _object(self, value: Any, pointer: str) -> dict[str, Any]:
        """Return the form of an object of few small values that is met for the first time."""
        if self._form_of is None or id(value) in self._described:
            raise _Special
        form = self._form_of(None, self._hides, value) or self._form_by_content(value)
        places = self._reading.places
        if form is None or (places is not None and places.field_of(value) is not None):
            raise _Special  # an object that is a field itself is recorded as the name of that field
        self._described.add(id(value))
        self.types[pointer] = "opaque"
        return form

    def _form_by_content(self, value: Any) -> dict[str, Any] | None:
        """Return the form of an object that is sure to have a content; None for others.

        In a set, the order of what was reached before it would count.
        """
        plan, reading = plan_of(type(value)), self._reading
        if self._sets_around or reading.keeps_content or reading.is_of_names:
            return None
        if not plan.is_simple or plan.is_value or plan.is_named or plan.carried is not None:
            return None
        attributes = plan_attributes(value, plan)
        if not 0 < len(attributes) <= _FEW or not all(map(_is_small, attributes.values())):
            return None
        if self._reached is None:
            self._reached = ReachedObjects(are_of_one_moment=True)
        content = content_of(value, self._agent_of, reading, self._reached)
        return describe(value, content) if content.kind is OpaqueKind.COMPARABLE else None

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


def _is_small(value: Any) -> bool:
    """Whether it is a scalar, a moment or a number of the standard library, or holds few scalars."""
    kind = type(value)
    if kind is tuple or kind is list:
        return len(value) <= _FEW and all_scalars(value)
    return kind in SCALARS or kind in _SMALL


def _is_long(scalar: Any) -> bool:
    return type(scalar) is int and scalar.bit_length() > _BITS_OF_NUMBER


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
