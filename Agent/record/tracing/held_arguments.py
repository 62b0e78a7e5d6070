"""Arguments that the agent itself holds: a replay passes the agent's own object, as the program did.

Given as a copy, what the method does to such an argument would not be seen in the agent's fields.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from Agent.event.classes import attributes_of
from Agent.event.values.content import is_plain_class
from Agent.event.values.plain import SCALARS

__all__ = ["at_place", "places_held"]

_MOST_LOOKED_AT = 256
"""Values that are looked through for arguments in an agent's fields."""
_KEYS = frozenset({str, int})
_NONE: Any = object()


def places_held(arguments: Mapping[str, Any], target: object) -> dict[str, list[str | int]]:
    """{name of an argument: the path to it from the agent}, for objects and containers that the agent holds.

    The first step of a path is a field; then come attributes, keys and indices.
    """
    wanted = {id(value): name for name, value in arguments.items() if _can_change(type(value))}
    if not wanted:
        return {}
    found: dict[str, list[str | int]] = {}
    pending: deque[tuple[Any, list[str | int]]] = deque([(target, [])])
    seen = {id(target)}
    left = _MOST_LOOKED_AT
    while pending:
        holder, path = pending.popleft()
        for step, value in _steps(holder):
            if not _can_change(type(value)) or id(value) in seen:
                continue
            left -= 1
            if left < 0:
                return found
            seen.add(id(value))
            place = [*path, step]
            name = wanted.get(id(value))
            if name is not None:
                found[name] = place
                if len(found) == len(wanted):
                    return found
            pending.append((value, place))
    return found


def _can_change(kind: type) -> bool:
    return kind is list or kind is dict or (kind not in SCALARS and is_plain_class(kind))


def _steps(holder: Any) -> Iterable[tuple[str | int, Any]]:
    """What a value holds, with the step that leads there."""
    kind = type(holder)
    try:
        if kind is list:
            return enumerate(holder[:])
        if kind is dict:
            return [(key, value) for key, value in list(holder.items()) if type(key) in _KEYS]
        return attributes_of(holder).items()
    except (ValueError, RuntimeError):  # it hides its attributes, or another thread changes it
        return ()


def at_place(target: object, place: Iterable[str | int]) -> Any:
    """What an agent holds at the end of that path; None where it ends before."""
    found: Any = target
    for step in place:
        found = next((value for known, value in _steps(found) if known == step), _NONE)
        if found is _NONE:
            return None
    return found
