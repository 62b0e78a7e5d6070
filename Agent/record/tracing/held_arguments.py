"""Arguments that the agent itself holds: a replay passes the agent's own object, as the program did.

Given as a copy, what the method does to such an argument would not be seen in the agent's fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from Agent.event.classes import attributes_of, remember
from Agent.event.values.codecs import is_plain_class
from Agent.event.values.plain import SCALARS

__all__ = ["at_place", "places_held"]

_MOST_MEMBERS = 256
"""Longer lists and dicts in an agent's fields are not looked through for arguments."""
_MOST_OBJECTS = 8
"""Objects in an agent's fields whose attributes are looked at."""
_NONE: Any = object()

Place = list[str | int]


def places_held(arguments: Mapping[str, Any], target: object) -> dict[str, Place]:
    """{name of an argument: the path to it from the agent}, for objects and containers that the agent holds.

    The first step of a path is a field; then an attribute of the object there, a key or an index, or both.
    """
    wanted = {
        id(value): name
        for name, value in arguments.items()
        if (kind := type(value)) not in SCALARS and _can_change(kind)
    }
    found: dict[str, Place] = {}
    if not wanted:
        return found
    opened = 0
    for field, value in _attributes(target).items():
        kind = type(value)
        if kind in SCALARS:
            continue
        _look(value, [field], wanted, found)
        if kind is list or kind is dict or opened == _MOST_OBJECTS or not _can_change(kind):
            continue
        opened += 1
        for name, held in _attributes(value).items():
            if type(held) in SCALARS:
                continue
            _look(held, [field, name], wanted, found)
    return found


def _look(value: Any, place: Place, wanted: Mapping[int, str], found: dict[str, Place]) -> None:
    """Note which arguments a value is, or holds as a member."""
    name = wanted.get(id(value))
    if name is not None:
        found.setdefault(name, place)
        return
    kind = type(value)
    if (kind is not list and kind is not dict) or len(value) > _MOST_MEMBERS:
        return
    members = value.copy()  # another thread may change it
    # A sweep in C: nearly always nothing is found.
    if wanted.keys().isdisjoint(map(id, members if kind is list else members.values())):
        return
    for step, member in _members(members):
        name = wanted.get(id(member))
        if name is not None:
            found.setdefault(name, [*place, step])


def _members(value: Any) -> Iterable[tuple[str | int, Any]]:
    if type(value) is list:
        return enumerate(value)
    return [(key, member) for key, member in value.items() if type(key) is str or type(key) is int]


def _can_change(kind: type) -> bool:
    """Whether it matters which object a value of the class is."""
    try:
        return _changing[kind]
    except Exception:  # noqa: BLE001 - not there, or a metaclass whose __hash__ or __eq__ raises
        found = kind is list or kind is dict or (kind not in SCALARS and is_plain_class(kind))
        return remember(_changing, kind, found)


_changing: dict[type, bool] = {}


def _attributes(value: object) -> dict[str, Any]:
    try:
        return attributes_of(value)
    except (ValueError, RuntimeError):  # it hides them, or another thread changes them
        return {}


def at_place(target: object, place: Iterable[str | int]) -> Any:
    """What an agent holds at the end of that path; None where it ends before."""
    found: Any = target
    for step in place:
        is_container = type(found) is list or type(found) is dict
        steps = _members(found) if is_container else _attributes(found).items()
        found = next((value for known, value in steps if known == step and type(known) is type(step)), _NONE)
        if found is _NONE:
            return None
    return found
