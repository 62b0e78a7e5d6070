"""The way back from an `error` event to an exception that can be raised again; `failures.py` wrote it.

Used by replays for traced calls, tools and models that get recorded responses.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, NamedTuple

from Agent.event.classes import find_in_classes, solid_base

_MARK = "__agent_trace_error__"
_MAX_MESSAGE_CHARS = 4000
"""Where `failures.py` cuts a text, which then cannot be compared."""

LACKING = object()
"""Stands for a part of the event that is not there or cannot be restored."""

Part = Callable[[tuple[str, ...]], Any]
"""The restored value at a path of keys in the payload of an `error` event; `LACKING` for none."""


class Unanswerable(Exception):
    """The record holds the call, and its answer cannot be given again; the text says why."""


class Remade(NamedTuple):
    """An exception made again."""

    error: BaseException
    lack: str | None
    """In what it is less than what was raised then; None where it is the same."""


def remake_error(
    told: Mapping[str, Any],
    error_id: str,
    session_id: str,
    *,
    part: Part,
    find_class: Callable[[str], type | None],
) -> Remade:
    """The exception that an `error` event tells of, with its attributes, its notes and its causes.

    Args:
        told: the payload of the event.
        error_id: the id of the event.
        session_id: what marks the exception as recorded already, so that it is not recorded twice.
        part: restores what stands in the payload.
        find_class: the loaded class of a `module.QualName`.

    Raises:
        Unanswerable: its class is not loaded, or cannot be made.
    """
    error, lack = _remade(told, (), part, find_class)
    try:
        BaseException.__setattr__(error, _MARK, (session_id, error_id))
    except (AttributeError, TypeError):
        lack = lack or "it refuses the mark of an exception that was recorded already"
    return Remade(error, lack)


def _remade(
    told: Mapping[str, Any], path: tuple[str, ...], part: Part, find_class: Callable[[str], type | None]
) -> Remade:
    """The exception that stands at a path of an `error` event."""
    cls = _error_class(told, find_class)
    message = str(told.get("error_message", ""))
    lacks: list[str] = []
    args = part((*path, "error_args"))
    if not isinstance(args, list):
        args = [message]
        lacks.append(f"arguments of its {cls.__qualname__} cannot be restored")
    held = {
        name: part((*path, key, name))
        for key in ("error_attributes", "error_members")
        for name in _names(told.get(key))
    }
    error = None
    if not held and _has_own_constructor(cls):
        # It holds nothing of its own, or it was recorded before attributes were: the constructor tells.
        error = _construct(cls, args, message)
        if error is None and "error_attributes" not in told:
            lacks.append(
                f"attributes that the constructor of {cls.__qualname__} sets are not in the recording"
            )
    error = error or _bare(cls, tuple(args))
    for name, value in held.items():
        if value is LACKING or not _put(error, name, value):
            lacks.append(f"the attribute {name} of its {cls.__qualname__} cannot be restored")
    cause = told.get("error_cause")
    if isinstance(cause, Mapping):
        try:
            error.__cause__, lack = _remade(cause, (*path, "error_cause"), part, find_class)
            lacks += [lack] if lack is not None else []
        except Unanswerable as trouble:
            lacks.append(f"what it was raised from cannot be made again: {trouble}")
    if not lacks and len(message) < _MAX_MESSAGE_CHARS and _text(error) != message:
        lacks.append(f"the text of its {cls.__qualname__} is another here: {_text(error)!r}")
    return Remade(error, lacks[0] if lacks else None)


def value_in(told: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """What stands at a path of keys in a payload, as recorded; `LACKING` for nothing."""
    found: Any = told
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return LACKING
        found = found[key]
    return found


def _names(held: Any) -> list[str]:
    return list(held) if isinstance(held, dict) else []


def _put(error: BaseException, name: str, value: Any) -> bool:
    """Put a value where the exception held it: in a member of its class, or among its own attributes."""
    member = find_in_classes(type(error), name)
    try:
        if isinstance(member, MemberDescriptorType | GetSetDescriptorType):
            member.__set__(error, value)
        else:
            BaseException.__getattribute__(error, "__dict__")[name] = value
    except (AttributeError, TypeError):
        return False
    return True


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as trouble:  # noqa: BLE001 - a `__str__` that wants an attribute it does not have
        return f"<{type(trouble).__name__}>"


def _error_class(told: Mapping[str, Any], find_class: Callable[[str], type | None]) -> type[BaseException]:
    qualname = str(told.get("error_type"))
    module = told.get("error_module")
    if module is not None:
        found = find_class(f"{module}.{qualname}")
        candidates = [] if found is None else [found]
    else:
        candidates = _exceptions_named(qualname)
    if len(candidates) != 1 or not issubclass(candidates[0], BaseException):
        where = f"{module}." if module is not None else ""
        count = "not loaded here" if not candidates else f"{len(candidates)} loaded classes"
        raise Unanswerable(f"the class of its exception, {where}{qualname}, cannot be bound: {count}")
    return candidates[0]


def _exceptions_named(qualname: str) -> list[type]:
    """The loaded exception classes of a qualified name, where the record does not name the module."""
    known: Any = getattr(builtins, qualname, None)
    if isinstance(known, type) and issubclass(known, BaseException):
        return [known]
    found: dict[int, type] = {}
    for module in list(sys.modules.values()):
        value: Any = module
        for name in qualname.split("."):
            value = vars(value).get(name) if hasattr(value, "__dict__") else None
            if value is None:
                break
        if isinstance(value, type) and issubclass(value, BaseException) and value.__qualname__ == qualname:
            found[id(value)] = value
    return list(found.values())


def _has_own_constructor(cls: type[BaseException]) -> bool:
    return any("__init__" in vars(base) for base in cls.__mro__ if base.__module__ != "builtins")


def _construct(cls: type[BaseException], args: list[Any], message: str) -> BaseException | None:
    """An exception made by its constructor, None where that does not give the recorded text."""
    try:
        made = cls(*args)
        return made if isinstance(made, cls) and str(made) == message else None
    except Exception:  # noqa: BLE001 - a constructor that wants other arguments is passed by
        return None


def _bare(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An exception made around the constructors that are written in Python."""
    base: Any = solid_base(cls)
    try:
        bare: BaseException = base.__new__(cls, *args)
        base.__init__(bare, *args)
        bare.args = args
    except Exception as error:  # noqa: BLE001 - whatever a strange class does, it is named
        raise Unanswerable(f"its exception {cls.__qualname__} cannot be made again: {error}") from None
    return bare
