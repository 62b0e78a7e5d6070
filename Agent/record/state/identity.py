"""Agent ids and roles that `instrument` set (`agents.py` looks here first), and calls of the program."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from Agent.event.classes import remember

TRACED = "__agent_trace__"
"""The attribute that marks a traced function."""
traced_files: set[str] = set()
"""Files of traced functions: they count as the program's own code, even in an installed library."""


player_of_calls: ContextVar[Any] = ContextVar("agent_trace_player", default=None)
"""The player of traced calls; False while recording itself calls the program: they are not recorded."""


def unrecorded(function: Callable[[Any], Any], value: object) -> Any:
    """Call a function of the program without recording the traced calls in it, which could recurse."""
    token = player_of_calls.set(False)
    try:
        return function(value)
    finally:
        player_of_calls.reset(token)


class Identity:
    """How to get the agent id and role of the objects of a class."""

    __slots__ = ("agent_id", "agent_role")

    def __init__(self, agent_id: str | Callable[[Any], object] | None, agent_role: str | None) -> None:
        self.agent_id = agent_id
        self.agent_role = agent_role


identities: dict[type, Identity] = {}
inherited: dict[type, Identity | None] = {}
"""Cache of the identity that a class has itself or inherits; cleared at each change."""
object_identities: dict[int, tuple[Callable[[], object], Identity]] = {}


def set_identity(owner: type | object, identity: Identity) -> None:
    """Set the identity of the objects of a class, or of one object."""
    if isinstance(owner, type):
        identities[owner] = identity
        inherited.clear()
    else:
        object_identities[id(owner)] = (_weakly(owner, id(owner)), identity)


def own_identity(owner: type | object) -> Identity | None:
    """Return the identity set for exactly this class or object, without inheritance."""
    if isinstance(owner, type):
        return identities.get(owner)
    known = object_identities.get(id(owner))
    return known[1] if known is not None and known[0]() is owner else None


def clear_identity(owner: type | object) -> None:
    """Remove the identity of a class or an object."""
    if isinstance(owner, type):
        identities.pop(owner, None)
        inherited.clear()
    else:
        object_identities.pop(id(owner), None)


def _weakly(obj: object, key: int) -> Callable[[], object]:
    def forget(gone: object) -> None:
        known = object_identities.get(key)
        if known is not None and known[0] is gone:  # a new object may already have the same id
            object_identities.pop(key, None)

    try:
        return weakref.ref(obj, forget)
    except TypeError:
        return lambda: obj


def identity_of(obj: object) -> Identity | None:
    """Return the identity that `instrument` set for this object or its class, or None."""
    if object_identities:
        known = object_identities.get(id(obj))
        if known is not None and known[0]() is obj:
            return known[1]
    if not identities:
        return None
    cls = type(obj)
    try:
        return inherited[cls]
    except KeyError:
        found = next((identities[base] for base in cls.__mro__ if base in identities), None)
        return remember(inherited, cls, found)
