"""Decides which values may be kept longer than their agent keeps them: only plain data.

References are followed with the garbage collector's functions, which run no code of the objects.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Callable
from enum import Enum
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
    TracebackType,
)
from typing import Any

from Agent.event.classes import by_class, class_name, find_in_classes, module_of_class, solid_base
from Agent.event.values.class_codecs import class_reducer
from Agent.event.values.codecs import REGISTERED
from Agent.event.values.opaque import often_reference
from Agent.event.values.plain import census
from Agent.record.state.introspection import Sort, sort_of

_MOST_CONTAINERS = 100_000
_BUILTIN = (dict, list, tuple, set, frozenset)
_OF_MEMBERS = (Sort.VALUE, Sort.GENERATOR, Sort.ARRAY)


def is_plain_data(
    value: Any, owner: object, agent_of: Callable[[object], str | None], known: set[int] | None = None
) -> bool:
    """Whether holding a value longer than its agent holds it changes nothing for the program.

    That is the case if no agent, no resource such as a file, no suspended generator and no object with a
    `__del__` is reachable from it.

    Args:
        owner: the agent whose field it is; a value from which it is reachable is not plain data.
        agent_of: returns the id of an object that is an agent, None for others.
        known: ids of objects that earlier calls at the same time found to be plain data; extended here.
    """
    try:
        if not any(type(owner) is each for each in _BUILTIN):  # a lookup might run code of a metaclass
            counted = census(value)
            if counted.is_data and counted.containers < _MOST_CONTAINERS:
                return True
        return _leads_to_data_alone(value, owner, agent_of, set() if known is None else known)
    except Exception:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        return False


def _leads_to_data_alone(
    value: Any, owner: object, agent_of: Callable[[object], str | None], known: set[int]
) -> bool:
    # `gc` runs no user code, and objects that it does not track hold no references to follow.
    # Breadth-first, because an agent is often a few steps away in a world of thousands of cells.
    pending: deque[Any] = deque([value] if _leads_on(value) else ())
    seen: set[int] = set()
    while pending:
        node = pending.popleft()
        if id(node) in seen or id(node) in known or issubclass(type(node), (type, ModuleType, CodeType)):
            continue
        if node is owner or len(seen) >= _MOST_CONTAINERS:
            return False
        seen.add(id(node))
        cls = type(node)
        sort = sort_of(cls)
        if issubclass(cls, Enum) or _is_of_recording_or_numpy(node, cls, sort):
            continue
        if sort not in _OF_MEMBERS and not _is_data_class(node, cls, sort, agent_of):
            return False
        inside = _inside(node)
        pending += filter(gc.is_tracked, inside)
        if any(sort_of(kind) is Sort.ARRAY for kind in set(map(type, inside))):
            pending += filter(_holds_objects, inside)
    known |= seen
    return True


def _leads_on(value: object) -> bool:
    return gc.is_tracked(value) or _holds_objects(value)


def _holds_objects(value: Any) -> bool:
    """Whether it is an array of objects, whose members the garbage collector does not report."""
    return sort_of(type(value)) is Sort.ARRAY and bool(value.dtype.hasobject)


def _inside(node: Any) -> list[Any]:
    """Return the objects that a value refers to, including members of object arrays."""
    if type(node) is FunctionType:
        # without its globals, which belong to its module
        return [node.__closure__, node.__defaults__, node.__kwdefaults__, vars(node)]
    held = gc.get_referents(node)
    if _holds_objects(node):
        numpy = sys.modules["numpy"]
        held += numpy.ndarray.tolist(numpy.ndarray.reshape(node, -1))
    return held


def references_within(value: Any) -> int:
    """Count the references to a value from objects reachable from it."""
    pending, seen, found = [value], {id(value)}, 0
    while pending and len(seen) < _MOST_CONTAINERS:
        node = pending.pop()
        for each in _inside(node):
            found += each is value
            if id(each) not in seen and _leads_on(each) and not issubclass(type(each), (type, ModuleType)):
                seen.add(id(each))
                pending.append(each)
    return found


def _is_of_recording_or_numpy(node: object, cls: type, sort: Sort) -> bool:
    """Whether it is a method that adoption put on a `random.Random`, or a numpy generator."""
    if cls is FunctionType:
        return "agent_trace_adopted" in vars(node)
    return sort is Sort.GENERATOR and any(module_of_class(base).startswith("numpy.") for base in cls.__mro__)


def _is_data_class(node: object, cls: type, sort: Sort, agent_of: Callable[[object], str | None]) -> bool:
    """Whether it is not an agent, and its class has no side effects at deallocation.

    Agents are reachable from an environment; so an object of a class of environments is none.
    """
    if sort is not Sort.UNKNOWN or often_reference(cls) is not None or agent_of(node) is not None:
        return False
    return _goes_quietly(cls)


@by_class
def _goes_quietly(cls: type) -> bool:
    """Whether deallocating an object of the class has no side effects."""
    if cls in _SUSPENDED or find_in_classes(cls, "__del__") is not None:
        return False
    base = solid_base(cls)
    library = class_name(base).partition(".")[0]
    if base is object or library in sys.stdlib_module_names or library in _OF_DATA:
        return True
    return class_reducer(cls) is not None or cls in REGISTERED or _can_be_pickled(base)


def _can_be_pickled(base: type) -> bool:
    """Whether a class made in C defines how it is pickled, which a class with a resource cannot."""
    found = [find_in_classes(base, name) for name in ("__reduce__", "__reduce_ex__", "__setstate__")]
    own = [each for each in found if each not in _REDUCTIONS_OF_ALL]
    return any(getattr(each, "__name__", "") not in _MADE_BY_CYTHON for each in own)


_REDUCTIONS_OF_ALL = (None, object.__reduce__, object.__reduce_ex__)
_MADE_BY_CYTHON = {"__reduce_cython__", "__setstate_cython__"}
"""Every Cython class has these methods; in many they only raise."""
_OF_DATA = frozenset({"pandas"})
"""Libraries whose classes in C hold only data, although not all of them define how they are pickled."""
_SUSPENDED = (GeneratorType, CoroutineType, AsyncGeneratorType, FrameType, TracebackType)
