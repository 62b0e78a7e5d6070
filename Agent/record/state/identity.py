"""What `instrument` was told about who the objects of a class are; `agents.py` asks here first."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from Agent.event.classes import remember

TRACED = "__agent_trace__"
"""The attribute that marks a traced function."""
traced_files: set[str] = set()
"""Where traced functions stand: the program's own code, though it may be an installed library's."""


class Identity:
    """How the objects of a class say who they are."""

    __slots__ = ("agent_id", "agent_role")

    def __init__(self, agent_id: str | Callable[[Any], object] | None, agent_role: str | None) -> None:
        self.agent_id = agent_id
        self.agent_role = agent_role


_identities: dict[type, Identity] = {}
_inherited: dict[type, Identity | None] = {}
"""What counts for the objects of a class, by itself or a base; empty again where something else is said."""
_object_identities: dict[int, tuple[Callable[[], object], Identity]] = {}


def set_identity(owner: type | object, identity: Identity) -> None:
    """Say how objects of a class, or one object, are named."""
    if isinstance(owner, type):
        _identities[owner] = identity
        _inherited.clear()
    else:
        _object_identities[id(owner)] = (_weakly(owner, id(owner)), identity)


def own_identity(owner: type | object) -> Identity | None:
    """What was said of exactly this class or object."""
    if isinstance(owner, type):
        return _identities.get(owner)
    known = _object_identities.get(id(owner))
    return known[1] if known is not None and known[0]() is owner else None


def clear_identity(owner: type | object) -> None:
    """Take that back."""
    if isinstance(owner, type):
        _identities.pop(owner, None)
        _inherited.clear()
    else:
        _object_identities.pop(id(owner), None)


def _weakly(obj: object, key: int) -> Callable[[], object]:
    def forget(gone: object) -> None:
        known = _object_identities.get(key)
        if known is not None and known[0] is gone:  # another object may have its place by now
            _object_identities.pop(key, None)

    try:
        return weakref.ref(obj, forget)
    except TypeError:
        return lambda: obj


def identity_of(obj: object) -> Identity | None:
    """What `instrument` was told about this object or its class."""
    if _object_identities:
        known = _object_identities.get(id(obj))
        if known is not None and known[0]() is obj:
            return known[1]
    if not _identities:
        return None
    cls = type(obj)
    try:
        return _inherited[cls]
    except KeyError:
        found = next((_identities[base] for base in cls.__mro__ if base in _identities), None)
        return remember(_inherited, cls, found)
