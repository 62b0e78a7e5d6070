"""What an answered call did to its arguments, done again: `changed_arguments.py` wrote it.

Containers and objects keep their identity, since whoever called holds them elsewhere, too.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from Agent.event.classes import attributes_of, mro_of, restore_attributes
from Agent.event.values.plain import SCALARS
from Agent.record.emit.player import Answer
from Agent.record.state.agents import agent_id_of
from Agent.record.tracing.error_restore import LACKING, Part, Unanswerable

__all__ = ["with_changes"]

_MAPPINGS = (OrderedDict, dict)
_FILL: Mapping[type, Callable[[Any, Any], None]] = {
    list: list.extend,
    set: set.update,
    deque: deque.extend,
    bytearray: bytearray.extend,
}


def with_changes(told: Mapping[str, Any], part: Part, given: Mapping[str, Any], answer: Answer) -> Answer:
    """The answer with what it changes of the arguments; it may be one of them itself.

    Args:
        told: the payload of the call's event.
        part: restores what stands in it.
        given: the arguments of this call by name, as the objects that were passed.
        answer: what the call gave.

    Raises:
        Unanswerable: an argument was changed in a way that cannot be done again; the text names it. So may
            `change` of the answer.
    """
    changed, same = told.get("args_after"), told.get("result_is")
    if changed is None and same is None:
        return answer
    if isinstance(same, str) and same in given and answer.error is None:
        answer = answer._replace(result=given[same])
    if not isinstance(changed, dict):
        if changed is not None:
            raise Unanswerable("it changed an argument in place, and what it became is not in the recording")
        return answer
    wanted = {name: part(("args_after", name)) for name in changed}
    for name, value in wanted.items():
        if name not in given:
            raise Unanswerable(f"it changed its argument {name} in place, which is not given here")
        if value is LACKING:
            raise Unanswerable(
                f"it changed its argument {name} in place, a {type(given[name]).__qualname__} that cannot be "
                "restored: let that call return the change, or drive both agents together"
            )

    def change() -> None:
        for name, value in wanted.items():
            if not _become(given[name], value):
                raise Unanswerable(
                    f"it changed its argument {name} in place, and the {type(given[name]).__qualname__} "
                    f"given here cannot become the recorded {type(value).__qualname__}"
                )

    return answer._replace(change=change)


def _become(current: Any, wanted: Any) -> bool:
    """Give a value the content of another one of its kind; False where it cannot have it."""
    if current is wanted:
        return True
    base: Any = next((cls for cls in mro_of(type(current)) if cls in _MAPPINGS or cls in _FILL), None)
    if base is list and isinstance(wanted, list):
        kept = [_merged(*pair) for pair in zip(list.__iter__(current), wanted, strict=False)]
        list.__setitem__(current, slice(None), [*kept, *wanted[len(kept) :]])
    elif base in _MAPPINGS and isinstance(wanted, dict):
        known = dict(base.items(current))
        base.clear(current)
        for key, value in wanted.items():
            base.__setitem__(current, key, _merged(known.get(key), value))
    elif base is not None and isinstance(wanted, base):
        base.clear(current)
        _FILL[base](current, wanted)
    elif isinstance(current, tuple) and isinstance(wanted, tuple):
        pairs = list(zip(tuple.__iter__(current), tuple.__iter__(wanted), strict=False))
        return len(current) == len(wanted) and all(
            type(one) in SCALARS or _become(one, other) for one, other in pairs
        )
    elif hasattr(current, "dtype") and hasattr(current, "shape"):
        return _fill_array(current, wanted)
    elif type(current) in SCALARS or agent_id_of(current) is not None:
        return False
    else:
        return _take_attributes(current, wanted)
    return base is None or type(current) is base or _take_attributes(current, wanted)


def _merged(current: Any, wanted: Any) -> Any:
    """The value that is there, made what is wanted; the wanted one where that cannot be."""
    is_kept = type(current) is type(wanted) and type(current) not in SCALARS and _become(current, wanted)
    return current if is_kept else wanted


def _take_attributes(current: Any, wanted: Any) -> bool:
    """Attributes of an object: from another one of its class, or from a mapping of their names."""
    told = wanted
    try:
        known = attributes_of(current)
        if type(current) is type(wanted):
            wanted = attributes_of(wanted)
        elif type(wanted) is not dict or not known:
            return False
        if not known and not wanted:
            return bool(current == told)
        restore_attributes(current, {name: _merged(known.get(name), value) for name, value in wanted.items()})
        for name in known.keys() - wanted.keys():
            object.__delattr__(current, name)
    except (ValueError, AttributeError, TypeError):
        return False
    return True


def _fill_array(current: Any, wanted: Any) -> bool:
    """The items of an array; one of another shape or type is another array."""
    if getattr(wanted, "shape", None) != current.shape or getattr(wanted, "dtype", None) != current.dtype:
        return False
    try:
        current[...] = wanted
    except (ValueError, TypeError):  # it is read-only, or a data frame
        return False
    return True
