"""What may be kept longer than its agent keeps it: data alone, by the collector's own view of objects."""

from __future__ import annotations

import gc
import sys
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
    pending: list[Any] = [value] if gc.is_tracked(value) else []
    seen: set[int] = set()
    while pending:
        node = pending.pop()
        if id(node) in seen or id(node) in known or isinstance(node, (type, ModuleType, CodeType)):
            continue
        if node is owner or len(seen) >= _MOST_CONTAINERS:
            return False
        seen.add(id(node))
        cls = type(node)
        sort = sort_of(cls)
        if sort is Sort.ARRAY or issubclass(cls, Enum) or _is_of_recording_or_numpy(node, cls, sort):
            continue
        if sort not in (Sort.VALUE, Sort.GENERATOR) and not _is_data_class(node, cls, sort, agent_of):
            return False
        # The globals of a function are its module's, which it does not keep alive.
        inside = _held_by_function(node) if cls is FunctionType else gc.get_referents(node)
        pending += filter(gc.is_tracked, inside)
    known |= seen
    return True


def references_within(value: Any) -> int:
    """How often what a value leads to holds the value itself."""
    pending, seen, found = [value], {id(value)}, 0
    while pending and len(seen) < _MOST_CONTAINERS:
        node = pending.pop()
        inside = _held_by_function(node) if type(node) is FunctionType else gc.get_referents(node)
        for each in inside:
            found += each is value
            if id(each) not in seen and gc.is_tracked(each) and not isinstance(each, (type, ModuleType)):
                seen.add(id(each))
                pending.append(each)
    return found


def _held_by_function(function: Any) -> list[Any]:
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
    if base is object or library in sys.stdlib_module_names or library in _OF_SCHEMAS:
        return True
    return class_reducer(cls) is not None or cls in REGISTERED


_OF_SCHEMAS = frozenset({"pydantic_core"})
"""Libraries whose classes in C hold schemas and no resource: agents of Pydantic AI, `TypeAdapter`s."""
_SUSPENDED = (GeneratorType, CoroutineType, AsyncGeneratorType, FrameType, TracebackType)
