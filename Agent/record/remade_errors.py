"""The way back from an `error` event to an exception that can be raised again; `failures.py` wrote it.

Replays ask here: for a traced call that is answered from the record, and for a tool or a model that is.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_MARK = "__agent_trace_error__"


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
    part: Callable[[str], Any],
    find_class: Callable[[str], type | None],
) -> Remade:
    """The exception that an `error` event tells of.

    Args:
        told: the payload of the event.
        error_id: the id of the event.
        session_id: what marks the exception as recorded already, so that it is not recorded twice.
        part: the restored value of a key of the payload, None where it is not there or cannot be restored.
        find_class: the loaded class of a `module.QualName`.

    Raises:
        Unanswerable: its class is not loaded, or cannot be made.
    """
    cls = _error_class(told, find_class)
    message = str(told.get("error_message", ""))
    args = part("error_args")
    error = _construct(cls, args, message) if isinstance(args, list) else None
    lack = None
    if error is None:
        error = _bare(cls, tuple(args) if isinstance(args, list) else (message,))
        attributes = part("error_attributes")
        if isinstance(attributes, dict):
            vars(error).update(attributes)
        elif _has_own_constructor(cls):
            lack = f"attributes that the constructor of {cls.__qualname__} sets are not in the record"
    try:
        setattr(error, _MARK, (session_id, error_id))
    except (AttributeError, TypeError):
        lack = lack or "it refuses the mark of an exception that was recorded already"
    return Remade(error, lack)


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
    """An exception made around its constructor."""
    try:
        bare = cls.__new__(cls, *args)
        bare.args = args
    except Exception as error:  # noqa: BLE001 - whatever a strange class does, it is named
        raise Unanswerable(f"its exception {cls.__qualname__} cannot be made again: {error}") from None
    return bare
