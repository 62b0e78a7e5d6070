"""What may be kept longer than its agent keeps it: data alone, by the collector's own view of objects."""

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

from Agent.event.classes import class_name, find_in_classes, remember, solid_base
from Agent.event.values.class_codecs import class_reducer
from Agent.event.values.codecs import REGISTERED
from Agent.record.state.introspection import Sort, sort_of

_MOST_CONTAINERS = 100_000
_OF_MEMBERS = (Sort.VALUE, Sort.GENERATOR, Sort.ARRAY)


def is_plain_data(
    value: Any, owner: object, agent_of: Callable[[object], str | None], known: set[int] | None = None
) -> bool:
    """Whether holding a value longer than its agent holds it changes nothing for the program.

    It leads to no agent, no resource such as a file, no suspended generator, and to nothing with a `__del__`.

    Args:
        owner: the agent whose field it is; what leads there is none, whatever its class says.
        agent_of: the id of an object that is an agent, None for others.
        known: ids of objects that were found to be so in this very moment; those found now are added.
    """
    try:
        return _leads_to_data_alone(value, owner, agent_of, set() if known is None else known)
    except Exception:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        return False


def _leads_to_data_alone(
    value: Any, owner: object, agent_of: Callable[[object], str | None], known: set[int]
) -> bool:
    # The collector's own view: it calls no code of the user's, and what it does not track leads nowhere.
    # The nearest first: an agent is often a few steps away, in a world of thousands of cells.
    pending: deque[Any] = deque([value] if _leads_on(value) else ())
    seen: set[int] = set()
    while pending:
        node = pending.popleft()
        if id(node) in seen or id(node) in known or isinstance(node, (type, ModuleType, CodeType)):
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
    """Whether it is an array whose members are objects: the collector passes over these."""
    return sort_of(type(value)) is Sort.ARRAY and bool(value.dtype.hasobject)


def _inside(node: Any) -> list[Any]:
    """What a value holds, members of arrays of objects included."""
    if type(node) is FunctionType:
        return _held_by_function(node)
    held = gc.get_referents(node)
    if _holds_objects(node):
        numpy = sys.modules["numpy"]
        held += numpy.ndarray.tolist(numpy.ndarray.reshape(node, -1))
    return held


def references_within(value: Any) -> int:
    """How often what a value leads to holds the value itself."""
    pending, seen, found = [value], {id(value)}, 0
    while pending and len(seen) < _MOST_CONTAINERS:
        node = pending.pop()
        for each in _inside(node):
            found += each is value
            if id(each) not in seen and _leads_on(each) and not isinstance(each, (type, ModuleType)):
                seen.add(id(each))
                pending.append(each)
    return found


def _held_by_function(function: Any) -> list[Any]:
    # Not its globals: they are its module's, which it does not keep alive.
    return [function.__closure__, function.__defaults__, function.__kwdefaults__, vars(function)]


def _is_of_recording_or_numpy(node: object, cls: type, sort: Sort) -> bool:
    """Whether it is what an adopted `random.Random` has in place of its methods, or a generator of numpy."""
    if cls is FunctionType:
        return "agent_trace_adopted" in vars(node)
    return sort is Sort.GENERATOR and any(str(base.__module__).startswith("numpy.") for base in cls.__mro__)


def _is_data_class(node: object, cls: type, sort: Sort, agent_of: Callable[[object], str | None]) -> bool:
    """Whether it is no agent, and of a class whose objects do nothing when they go."""
    if sort is not Sort.UNKNOWN or agent_of(node) is not None:
        return False
    found = _go_quietly.get(cls)
    return remember(_go_quietly, cls, _goes_quietly(cls)) if found is None else found


_go_quietly: dict[type, bool] = {}


def _goes_quietly(cls: type) -> bool:
    """Whether nothing happens when an object of the class goes."""
    if cls in _SUSPENDED or find_in_classes(cls, "__del__") is not None:
        return False
    base = solid_base(cls)
    library = class_name(base).partition(".")[0]
    if base is object or library in sys.stdlib_module_names or library in _OF_DATA:
        return True
    return class_reducer(cls) is not None or cls in REGISTERED or _can_be_pickled(base)


def _can_be_pickled(base: type) -> bool:
    """Whether a class made in C says itself how it is copied, as one with a resource cannot."""
    found = [find_in_classes(base, name) for name in ("__reduce__", "__reduce_ex__", "__setstate__")]
    own = [each for each in found if each not in _REDUCTIONS_OF_ALL]
    return any(getattr(each, "__name__", "") not in _MADE_BY_CYTHON for each in own)


_REDUCTIONS_OF_ALL = (None, object.__reduce__, object.__reduce_ex__)
_MADE_BY_CYTHON = {"__reduce_cython__", "__setstate_cython__"}
"""Every class of Cython has these; of many they raise."""
_OF_DATA = frozenset({"pandas"})
"""Libraries whose classes in C hold data alone, and do not all say how they are copied."""
_SUSPENDED = (GeneratorType, CoroutineType, AsyncGeneratorType, FrameType, TracebackType)
