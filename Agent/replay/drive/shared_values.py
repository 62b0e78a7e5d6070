"""Values that several fields, or several agents, hold as one object: they stay one when they are put back.

The record holds what a field looked like, not which object it was. What the target built tells: its list that
two agents hold is one list, and so is what is put in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import orjson

from Agent.event.classes import attributes_of, remove_attributes, restore_attributes
from Agent.event.pointers import value_at
from Agent.event.values.content import is_plain_class
from Agent.event.values.opaque import OpaqueKind
from Agent.event.values.serialise import to_json
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import Sort, read_state, sort_of

_MAX_DEPTH = 8
_PLACED = (dict, list, deque)
"""Containers in which a value can be put in the place of another."""


class SharedValues:
    """Puts recorded values in the places of the target's, for all agents of one replay."""

    def __init__(self) -> None:
        self._instead: dict[int, tuple[Any, Any]] = {}
        """By its id, an object of the target's and what was put in its place."""

    def fitted(self, present: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        """The recorded fields; what the target holds there stays as far as it is the same already."""
        return {
            name: self._fitted(present[name], value, _MAX_DEPTH) if name in present else value
            for name, value in fields.items()
        }

    def _fitted(self, present: Any, value: Any, depth: int) -> Any:
        kind = type(value)
        if type(present) is not kind or not _can_be_shared(kind):
            return value
        known = self._instead.get(id(present))
        if known is not None and _look_alike(known[1], value):
            return known[1]
        if _look_alike(present, value):
            if is_plain_class(kind):
                self._instead.setdefault(id(present), (present, present))
            return present
        if depth and known is None and is_plain_class(kind):
            return self._filled(present, value, depth - 1)
        if depth:
            self._fit_items(present, value, depth - 1)
        self._instead.setdefault(id(present), (present, value))
        return value

    def _filled(self, present: Any, value: Any, depth: int) -> Any:
        """The target's own object with the recorded attributes: whoever else holds it has them, too."""
        self._instead[id(present)] = present, present
        before, after = attributes_of(present), attributes_of(value)
        fitted = {
            name: self._fitted(before[name], item, depth) if name in before else item
            for name, item in after.items()
        }
        remove_attributes(present, before.keys() - after.keys())
        restore_attributes(present, fitted)
        return present

    def _fit_items(self, present: Any, value: Any, depth: int) -> None:
        if isinstance(value, dict):
            for key in value.keys() & present.keys():
                value[key] = self._fitted(present[key], value[key], depth)
        elif isinstance(value, _PLACED):
            for index, (one, other) in enumerate(zip(present, value, strict=False)):
                value[index] = self._fitted(one, other, depth)


def held_together(objects: Mapping[str, object]) -> list[dict[str, str]]:
    """The values that several agents hold as one object: {agent: its field that holds it, or leads to it}."""
    holders: dict[int, dict[str, str]] = {}
    kept: list[Any] = []  # what is looked at here lives until the last `id()`
    for agent_id, obj in objects.items():
        fields = read_state(obj).fields
        kept.append(fields)
        seen: dict[int, int] = {}
        for name, value in fields.items():
            _find_holders(value, (agent_id, name), holders, _MAX_DEPTH, seen)
    return [each for each in holders.values() if len(each) > 1]


def _find_holders(
    value: Any, place: tuple[str, str], holders: dict[int, dict[str, str]], depth: int, seen: dict[int, int]
) -> None:
    if not _can_be_shared(type(value)) or agent_id_of(value) is not None or is_seen(value, depth, seen):
        return
    agent_id, name = place
    holders.setdefault(id(value), {}).setdefault(agent_id, name)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, _PLACED) else ()
    for item in items if depth else ():
        _find_holders(item, place, holders, depth - 1, seen)


def is_seen(value: object, depth: int, seen: dict[int, int]) -> bool:
    """Whether a walk was at the value already, with at least as many levels below it to go; notes it if not.

    Args:
        value: lives as long as the walk.
        depth: the levels that are left.
        seen: the levels that were left, by id.
    """
    if seen.get(id(value), -1) >= depth:
        return True
    seen[id(value)] = depth
    return False


def _can_be_shared(kind: type) -> bool:
    """Whether it matters which object a value is; generators are put back in place."""
    return issubclass(kind, (*_PLACED, set, bytearray)) or sort_of(kind) in {Sort.ARRAY, Sort.UNKNOWN}


def _look_alike(one: Any, other: Any) -> bool:
    """Whether a record would hold the same of both."""
    left, right = (to_json(value, "", agent_of=agent_id_of) for value in (one, other))
    if left.json != right.json or left.types != right.types:
        return False
    forms = [orjson.loads(left.json)] if left.opaque else []
    return all(OpaqueKind.COMPARABLE in (value_at(forms[0], pointer) or ()) for pointer in left.opaque)
