"""What is known of the objects of a class before one is looked at."""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from Agent.event.classes import (
    attributes_of,
    class_name,
    find_in_classes,
    has_own_reduction,
    mro_of,
    remember,
    solid_base,
)
from Agent.event.locks import attributes_without_waiters, has_waiters, is_lock
from Agent.event.script_names import (
    NAMED_CACHES,
    class_text,
    module_name,
)
from Agent.event.values.class_codecs import class_reducer
from Agent.event.values.codecs import builtin_reducer
from Agent.event.values.contents import (
    CALLABLE,
    Unreadable,
    handle_of,
)
from Agent.event.values.opaque import (
    StandIn,
    form_head,
)
from Agent.event.values.registered import registered_codec

__all__ = ["ClassPlan", "is_plain_class", "plan_attributes", "plan_of"]

_LAZY: dict[str, frozenset[str]] = {
    "pandas": frozenset({"_cache", "_item_cache", "_id", "_references", "_is_copy", "_engine"}),
    "numpy.ma": frozenset({"_basedict", "_sharedmask"}),
}
"""Attributes that libraries fill when something is asked of the object, and that say nothing of it."""


class ClassPlan(NamedTuple):
    """What is known of the objects of a class before one is looked at."""

    head: bytes
    base: type
    is_value: bool
    """They count by what they hold."""
    is_simple: bool
    """Attributes are all that they have."""
    is_named: bool
    """They may be classes, modules, functions that read a source, or handles."""
    lazy: frozenset[str]
    has_waiters: bool
    """They know who waits for them, which is none of their content."""
    form: dict[str, str] | None
    """What the form of each object begins with; None where more than attributes is told of one."""


def is_plain_class(cls: type) -> bool:
    """Whether attributes are all that an object of the class is, so that it can be made again from them.

    Classes that say themselves how they are copied, or what happens when an object goes, are left alone.
    """
    plan = plan_of(cls)
    return (
        plan.form is not None
        and registered_codec(cls) is None
        and not has_own_reduction(cls)
        and find_in_classes(cls, "__del__") is None
        and find_in_classes(cls, "__agent_trace_recorded__") is None
    )


_plans: dict[type, ClassPlan] = {}
NAMED_CACHES.append(_plans)


def plan_of(cls: type) -> ClassPlan:
    """What is known of the objects of a class."""
    try:
        return _plans[cls]
    except Exception:  # noqa: BLE001 - not there, or a metaclass whose __hash__ or __eq__ raises
        return remember(_plans, cls, _make_plan(cls))


def _make_plan(cls: type) -> ClassPlan:
    name = class_text(cls).encode("utf-8", "replace")
    base = solid_base(cls)
    line = [class_name(each) for each in mro_of(cls)]
    lazy = [names for library, names in _LAZY.items() if any(each.startswith(f"{library}.") for each in line)]
    is_value = class_reducer(cls) is not None
    is_simple = base is object and builtin_reducer(cls) is None and registered_codec(cls) is None
    is_named = handle_of(cls) is not None or issubclass(cls, type | ModuleType | StandIn) or cls in CALLABLE
    is_told = is_simple and not is_value and not is_named and not any(lazy) and not is_lock(cls)
    return ClassPlan(
        head=b"Os%d:" % len(name) + name,
        base=base,
        is_value=is_value,
        is_simple=is_simple,
        is_named=is_named,
        lazy=frozenset[str]().union(*lazy),
        has_waiters=has_waiters(cls),
        form=form_head(cls) if is_told else None,
    )


def plan_attributes(value: Any, plan: ClassPlan) -> dict[str, Any]:
    """Attributes by name; of an enum's member its name and value."""
    if plan.base is FunctionType or issubclass(plan.base, type):
        return {}  # their readers have them
    try:
        found = attributes_without_waiters(value) if plan.has_waiters else attributes_of(value)
    except ValueError as error:
        raise Unreadable(f"{class_name(type(value))} hides its attributes") from error
    if "_name_" in found and "_value_" in found:
        return {name: found[name] for name in ("_name_", "_value_")}
    if "__module__" in found:
        found = {**found, "__module__": module_name(found["__module__"])}
    if plan.lazy:
        return {name: item for name, item in found.items() if name not in plan.lazy}
    return found
