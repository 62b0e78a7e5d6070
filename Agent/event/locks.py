"""Locks, and what is built on them: conditions, semaphores, events and queues of the standard library.

Who holds or waits for one belongs to the process. One that nobody holds or waits for is its state alone, so
that a new one can take its place when a recorded value is made again.
"""

from __future__ import annotations

import _thread
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import RLock
from typing import Any

from Agent.event.classes import attributes_of, class_name, find_class, mro_of, restore_attributes

__all__ = [
    "attributes_without_waiters",
    "has_waiters",
    "is_lock",
    "is_name_of_lock",
    "make_lock",
    "parts_of_idle",
]

_ASYNC = ("Lock", "Event", "Semaphore", "BoundedSemaphore", "Barrier")
_QUEUES = ("Queue", "LifoQueue", "PriorityQueue")
_OF_C: dict[str, Callable[[], Any]] = {"_thread.lock": _thread.allocate_lock, "_thread.RLock": RLock}
_STATE: dict[str, tuple[str, ...]] = {
    "threading.Condition": ("_lock",),
    "asyncio.locks.Condition": ("_lock",),
    **{f"queue.{name}": ("maxsize", "queue", "unfinished_tasks", "is_shutdown") for name in _QUEUES},
}
"""What is passed on of those whose constructor makes the rest; of the others all attributes are."""
_KNOWN = frozenset(
    [
        *_OF_C,
        *_STATE,
        "threading._RLock",
        *(f"threading.{name}" for name in ("Event", "Semaphore", "BoundedSemaphore", "Barrier")),
        *(f"asyncio.locks.{name}" for name in _ASYNC),
        *(f"asyncio.queues.{name}" for name in _QUEUES),
    ]
)
_WAITING = ("_waiters", "_getters", "_putters")
_WITH_WAITERS = ("asyncio.locks.", "asyncio.queues.", "threading.Condition")
_WITHOUT_A_LIST = frozenset({"asyncio.locks.Lock", "asyncio.locks.Semaphore"})
"""Classes whose objects have no list of waiters before somebody waits."""


def is_name_of_lock(name: str) -> bool:
    """Whether the class of that name is one of those that this module can make."""
    return name in _KNOWN


def is_lock(cls: type) -> bool:
    """Whether it is one of those classes, and no subclass."""
    return class_name(cls) in _KNOWN


def has_waiters(cls: type) -> bool:
    """Whether objects of the class keep a list of who waits for them."""
    try:
        return _waited_for[cls]
    except Exception:  # noqa: BLE001 - not there, or a metaclass whose __hash__ or __eq__ raises
        found = any(class_name(base).startswith(_WITH_WAITERS) for base in mro_of(cls))
    if len(_waited_for) < _MOST_CLASSES:
        with suppress(Exception):  # as above: then it is looked at each time
            _waited_for[cls] = found
    return found


_waited_for: dict[type, bool] = {}
_MOST_CLASSES = 4096


def attributes_without_waiters(value: object) -> dict[str, Any]:
    """The attributes of an object whose class has waiters, as they are while nobody waits for it or holds it.

    Raises ValueError where the class hides its `__dict__`.
    """
    found = attributes_of(value)
    found.pop("_loop", None)  # the loop in which somebody waited first
    if "_locked" in found:
        found["_locked"] = False
    for name in _WAITING:
        if name in found:
            is_without = any(class_name(base) in _WITHOUT_A_LIST for base in mro_of(type(value)))
            found[name] = None if is_without else deque()
    return found


def parts_of_idle(value: object) -> dict[str, Any] | None:
    """What makes an object of one of these classes again; None while somebody holds it or waits for it."""
    if not _is_idle(value):
        return None
    name = class_name(type(value))
    if name in _OF_C:
        return {}
    parts = attributes_without_waiters(value)
    kept = _STATE.get(name)
    return parts if kept is None else {each: parts[each] for each in kept if each in parts}


def make_lock(name: str, parts: Mapping[str, Any]) -> Any:
    """An object of one of these classes with those parts; LookupError where its module is not loaded."""
    if name in _OF_C:
        return _OF_C[name]()
    cls: Any = find_class(name)
    if cls is None:
        raise LookupError(name)
    if name.endswith(".Condition"):
        made = cls(parts["_lock"])
    elif name in _STATE:
        made = cls()
        restore_attributes(made, parts)
    else:
        made = object.__new__(cls)
        restore_attributes(made, parts)
    return made


def _is_idle(value: Any) -> bool:
    name = class_name(type(value))
    if name == "_thread.lock":
        return not value.locked()
    if name == "_thread.RLock":
        return repr(value).startswith("<unlocked ")  # no method says it to other threads
    attributes = attributes_of(value)
    if attributes.get("_locked") or attributes.get("_owner") is not None:
        return False
    if any(attributes.get(each) for each in _WAITING):
        return False
    return all(_is_idle(held) for held in attributes.values() if class_name(type(held)) in _KNOWN)
