"""Whether a value is data and nothing else, so that holding it keeps no agent and no resource alive."""

from __future__ import annotations

import gc
from collections.abc import Callable
from enum import Enum
from types import FunctionType
from typing import Any

from Agent.event.locks import is_lock
from Agent.event.values.class_codecs import class_reducer
from Agent.event.values.content import is_plain_class
from Agent.event.values.registered import REGISTERED
from Agent.record.state.introspection import Sort, sort_of

_MOST_CONTAINERS = 100_000


def is_plain_data(value: Any, owner: object, agent_of: Callable[[object], str | None]) -> bool:
    """Whether everything that a value leads to is data: no agent, no function, no object of an unknown class.

    Args:
        owner: the agent whose field it is; what leads there is none, whatever its class says.
        agent_of: the id of an object that is an agent, None for others.
    """
    try:
        return _leads_to_data_alone(value, owner, agent_of)
    except Exception:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        return False


def _leads_to_data_alone(value: Any, owner: object, agent_of: Callable[[object], str | None]) -> bool:
    # The collector's own view: it calls no code of the user's, and what it does not track leads nowhere.
    pending: list[Any] = [value] if gc.is_tracked(value) else []
    seen: set[int] = set()
    while pending:
        node = pending.pop()
        if id(node) in seen or isinstance(node, type):
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
        pending += filter(gc.is_tracked, gc.get_referents(node))
    return True


def _is_of_recording_or_numpy(node: object, cls: type, sort: Sort) -> bool:
    """Whether it is what an adopted `random.Random` has in place of its methods, or a generator of numpy."""
    if cls is FunctionType:
        return "agent_trace_adopted" in vars(node)
    return sort is Sort.GENERATOR and any(str(base.__module__).startswith("numpy.") for base in cls.__mro__)


def _is_data_class(node: object, cls: type, sort: Sort, agent_of: Callable[[object], str | None]) -> bool:
    """Whether it is of a user's class that can be restored, and no agent."""
    if sort is not Sort.UNKNOWN or agent_of(node) is not None:
        return False
    return class_reducer(cls) is not None or cls in REGISTERED or is_plain_class(cls) or is_lock(cls)
