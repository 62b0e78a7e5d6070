"""Repeat a recorded call: find the method on the object, and bind the recorded arguments to it.

For `replay --pdb` the debugger opens at the first line of the method, with its arguments set.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from types import FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

from Agent.event.classes import mro_of, namespace_of
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.event.pointers import escape, unescape, value_at
from Agent.event.values.opaque import OpaqueKind
from Agent.record.emit.context import SpanScope
from Agent.record.state.identity import TRACED
from Agent.replay.compare.comparison import Recorded
from Agent.replay.compare.python_text import python_path
from Agent.replay.plan.actions import PlannedCall
from Agent.replay.plan.target import Decoder

_OWN_KEYS = frozenset(
    {
        "agent_id",
        "agent_role",
        "event_type",
        "call",
        "root",
        "duration_ms",
        "error_id",
        "capture_ms",
        "loop_turns",
    }
)


class _Binding(NamedTuple):
    """How a method takes arguments of certain names."""

    positions: tuple[str, ...]
    """Arguments passed by position."""
    rest: str | None
    """The list passed as `*args` after them; all others are passed by keyword."""


_BY_KEYWORD = _Binding((), None)


class MisfitArguments(Exception):
    """The method does not take the recorded arguments; the message says why."""


def bound_method(obj: object, call: str) -> Any:
    """Return the method that a recorded `call` names, by attribute access; None if it is missing.

    If an untraced override called the recorded method of a base class with `super()`, return that of the
    base.

    Args:
        obj: the object that the factory returned.
        call: the qualified name in the recording; the class in it may have been renamed since.
    """
    name = _attribute_of(call)
    method = getattr(obj, name, None)
    if not callable(method) or hasattr(method, TRACED):
        return method if callable(method) else None
    inherited = [namespace_of(base).get(name) for base in mro_of(type(obj))]
    traced = [each for each in inherited if type(each) is FunctionType and hasattr(each, TRACED)]
    if not traced:
        return method
    of_call = next((each for each in traced if getattr(each, TRACED).qualname == call), traced[0])
    return MethodType(of_call, obj)


@lru_cache(maxsize=1024)
def _attribute_of(call: str) -> str:
    """Return the attribute name of the method that a recorded `call` names."""
    owner, _, name = call.rpartition(".")
    if name.startswith("__") and not name.endswith("__"):
        return f"_{owner.rpartition('.')[2].lstrip('_')}{name}"
    return name


def bind_arguments(method: Any, recorded: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the recorded arguments as positional and keyword arguments.

    Raises:
        MisfitArguments: the method's signature does not take them.
    """
    if type(method) is MethodType and type(method.__func__) is FunctionType:
        binding = _binding_of(method.__func__, tuple(recorded))
    else:
        binding = _bind(method, tuple(recorded))
    if binding is _BY_KEYWORD:
        return [], recorded
    keywords = dict(recorded)
    positions = [keywords.pop(name) for name in binding.positions]
    if binding.rest is not None:
        positions.extend(keywords.pop(binding.rest))
    return positions, keywords


@lru_cache(maxsize=1024)
def _binding_of(function: Any, names: tuple[str, ...]) -> _Binding:
    """Return how methods of a function take arguments, which depends only on the names of the arguments."""
    return _bind(MethodType(function, object()), names)


_NOT_BY_POSITION = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY})


def _takes_positions_alone(method: Any) -> bool:
    """Whether a decorator with `*args` and no keywords wraps the method."""
    function = getattr(method, "__func__", method)
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        own = {each.kind for each in inspect.signature(function, follow_wrapped=False).parameters.values()}
        if inspect.Parameter.VAR_POSITIONAL in own and inspect.Parameter.VAR_KEYWORD not in own:
            return True
        function = inner
    return False


def _bind(method: Any, names: tuple[str, ...]) -> _Binding:
    """Implement `bind_arguments`."""
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return _BY_KEYWORD  # the signature is not known
    parameters = list(signature.parameters.values())
    rest = next((f"*{p.name}" for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
    has_rest = rest in names
    takes_positions = has_rest or _takes_positions_alone(method)
    positions: list[str] = []
    for parameter in parameters:
        if parameter.kind in _NOT_BY_POSITION or (takes_positions and parameter.name not in names):
            break
        by_position = takes_positions or parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        if by_position and parameter.name in names:
            positions.append(parameter.name)
    named = dict.fromkeys(name for name in names if name not in positions and not (has_rest and name == rest))
    try:
        signature.bind(*positions, **named)
    except TypeError as error:
        raise MisfitArguments(str(error)) from None
    return _Binding(tuple(positions), rest if has_rest else None) if positions or has_rest else _BY_KEYWORD


@cache
def _own_keys(kind: str) -> frozenset[str]:
    """Return the fields that events of a kind have by definition."""
    return _OWN_KEYS.union(field.name for field in KINDS[kind].fields) if kind in KINDS else _OWN_KEYS


def scope_around(event: Event, decoder: Decoder, parent: SpanScope | None = None) -> SpanScope | None:
    """Return the scope that was open around an action, with its tick and the fields that contexts added.

    Args:
        parent: the scope to open it in.
    """
    own = _own_keys(event.kind)
    if own.issuperset(event.extra):
        return parent if event.tick is None else SpanScope(parent, tick=event.tick)
    fields = {}
    for key, value in event.extra.items():
        if key not in own:
            fields[key] = decoder.restore(Recorded(value, event.types or {}, f"/extra/{escape(key)}")).value
    return SpanScope(parent, tick=event.tick, fields=fields)


def in_debugger(method: Callable[..., Any], call: Callable[[], None]) -> None:
    """Make a call with pdb open at the first line of the traced method's function.

    Args:
        method: the traced method.
        call: calls it, and awaits the result if it is a coroutine.
    """
    import pdb  # noqa: T100 - the user requested the debugger

    function = inspect.unwrap(getattr(method, "__func__", method))
    code = getattr(function, "__code__", None)
    debugger = pdb.Pdb(nosigint=True, readrc=False)

    def look(frame: FrameType, event: str, _argument: Any) -> Any:
        if event != "call" or frame.f_code is not code:
            return None
        debugger.set_trace(frame)
        return debugger.trace_dispatch

    before = sys.gettrace()
    sys.settrace(look)
    try:
        call()
    finally:
        sys.settrace(before)


def describe_unrestored(call: PlannedCall, unrestored: Sequence[str]) -> str:
    """Return why an argument cannot be passed again, and what to do about it."""
    if not unrestored:
        return f"the arguments of {call.description} cannot be restored: they are not a mapping of names"
    event, at = call.event, unrestored[0].partition(" at ")[2]
    form = value_at(event.extra, at.removeprefix("/extra"))
    args, first = event.extra["args"], unescape(at.split("/")[3])
    place = python_path(
        at[len(f"/extra/args/{escape(first)}") :],
        args.get(first),
        event.types,
        f"/extra/args/{escape(first)}",
        first,
    )
    what = unrestored[0].partition(" at ")[0]
    if type(form) is dict:
        what = str(form.get("class", what))
        if OpaqueKind.UNSEEN in form:
            what = f"{what}: {form[OpaqueKind.UNSEEN]}"
    return (
        f"argument {place} of {call.description} cannot be restored ({what}): pass plain data, or call "
        "`Agent.flight.register_codec(cls, encode, decode)` for a class in it, in the program and in the "
        "factory's module"
    )
