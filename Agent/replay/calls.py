"""A recorded call made again: the method on the object, and the recorded arguments as it takes them."""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakKeyDictionary

from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.event.pointers import escape
from Agent.replay.comparison import Recorded
from Agent.replay.values import Decoder

_OWN_KEYS = frozenset({"agent_id", "agent_role", "event_type", "call", "root", "duration_ms", "error_id"})


_signatures: WeakKeyDictionary[Any, inspect.Signature] = WeakKeyDictionary()


class MisfitArguments(Exception):
    """A method does not take the recorded arguments; the text says why."""


def bound_method(obj: object, call: str) -> Any:
    """The method that a recorded `call` names, as the object's users would get it; None if there is none.

    Args:
        obj: the object that the factory gave.
        call: the qualified name in the record; what stands before its last part may be another class by now.
    """
    owner, _, name = call.rpartition(".")
    if name.startswith("__") and not name.endswith("__"):
        name = f"_{owner.rpartition('.')[2].lstrip('_')}{name}"
    method = getattr(obj, name, None)
    return method if callable(method) else None


def bind_arguments(method: Any, recorded: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Recorded arguments as positions and keywords.

    Raises:
        MisfitArguments: the method takes others.
    """
    signature = _signature_of(method)
    if signature is None:
        return [], dict(recorded)
    keywords = dict(recorded)
    positions: list[Any] = []
    parameters = list(signature.parameters.values())
    rest = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
    has_rest = rest is not None and f"*{rest}" in keywords
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            if has_rest:
                positions.extend(keywords.pop(f"*{rest}"))
            break
        by_position = has_rest or parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        if by_position and parameter.name in keywords:
            positions.append(keywords.pop(parameter.name))
    try:
        signature.bind(*positions, **keywords)
    except TypeError as error:
        raise MisfitArguments(str(error)) from None
    return positions, keywords


def _signature_of(method: Any) -> inspect.Signature | None:
    """What a method takes, None where that is not known; a function's is looked up once."""
    function = getattr(method, "__func__", None)
    try:
        if function is None:
            return inspect.signature(method)
        known = _signatures.get(function)
        if known is None:
            known = _signatures[function] = inspect.signature(method)
    except (TypeError, ValueError):
        return None
    return known


def scope_fields(event: Event, decoder: Decoder) -> dict[str, Any]:
    """Fields that contexts around an action put into its event, and into all that happened inside it."""
    own = {field.name for field in KINDS[event.kind].fields} | _OWN_KEYS if event.kind in KINDS else _OWN_KEYS
    fields = {}
    for key, value in event.extra.items():
        if key not in own:
            fields[key] = decoder.restore(Recorded(value, event.types or {}, f"/extra/{escape(key)}")).value
    return fields
