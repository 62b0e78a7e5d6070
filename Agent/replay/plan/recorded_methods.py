"""Repeating a recorded call: find the method that an action called, and bind the recorded arguments to it.

An action is the call of a traced function, so that function is called again: not the method that overrides
it, nor the decorators around it, whose effects the recording has as further actions or writes from outside.
`driver.py` makes the calls.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property, lru_cache
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from Agent.event.classes import mro_of, namespace_of
from Agent.event.model import Event
from Agent.record.state.identity import TRACED
from Agent.record.tracing.function_facts import BESIDE_PARAMETER, FunctionFacts, module_digest
from Agent.replay.plan.recording import Recording
from Agent.replay.plan.target import Decoder

_MOST_WRAPPERS = 100
"""An object that has every attribute, such as a remote one, is a wrapper without end."""


class RecordedMethods:
    """Finds the methods that recorded actions called, on the objects of the factory."""

    def __init__(self, recording: Recording, decoder: Decoder) -> None:
        self._recording = recording
        self._decoder = decoder
        self._known: dict[FunctionFacts, bool] = {}

    def find(self, obj: object, event: Event) -> Any:
        """Return the method of an object that an action called; None if it is missing.

        It is the traced function that attribute access leads to, without the decorators around it. A base
        class's is returned if the action called that although a subclass overrides it, as by `super()`.

        Args:
            obj: the object that the factory returned.
            event: the action; the class in its `call` may have been renamed since.
        """
        name = _attribute_of(str(event.extra.get("call")))
        kept = getattr(type(obj), name, None)
        # The getter of a property would run here already.
        method = None if isinstance(kept, (property, cached_property)) else getattr(obj, name, None)
        is_traced = isinstance(getattr(method, TRACED, None), FunctionFacts)
        is_innermost = is_traced and not hasattr(getattr(method, "__wrapped__", None), TRACED)
        if is_innermost and _likeness(method, event) == _SAME:
            return method
        own = max(_layers(method), key=lambda each: _likeness(each, event), default=None)
        inherited = max(_inherited(obj, name), key=lambda each: _likeness(each, event), default=None)
        if own is None and inherited is None and not callable(method):
            return _of_another_name(obj, event)
        if own is None:
            return inherited if inherited is not None else method
        is_other = inherited is not None and _likeness(inherited, event) > _likeness(own, event)
        return inherited if is_other and self._was_overridden(obj, event, getattr(own, TRACED)) else own

    def _was_overridden(self, obj: object, event: Event, override: FunctionFacts) -> bool:
        """Whether the agent had the override when it was recorded; an added one is a change to compare."""
        facts = self._recording.agents.get(str(event.agent_id))
        first = None if facts is None else facts.first_state
        if first is None or self._decoder.find_class(str(first.extra.get("class"))) is not type(obj):
            return False
        if override not in self._known:
            code, recorded = override.identify(), self._recording
            has_run = any(
                (each.module, each.qualname) == (code.module, code.qualname)
                for each in recorded.codes.values()
            )
            digest = recorded.modules.get(code.module)
            is_unchanged = digest is not None and digest == module_digest(code.module)
            self._known[override] = has_run or is_unchanged
        return self._known[override]


_SAME = (True, True, True)


def _likeness(method: Any, event: Event) -> tuple[bool, bool, bool]:
    """Return whether a traced function has the name, label and code of an action, most telling first."""
    spec: FunctionFacts = getattr(method, TRACED)
    return (
        spec.qualname == event.extra.get("call"),
        event.extra.get(spec.label_key) == spec.label,
        spec.identify().digest == event.code,
    )


def _layers(method: Any) -> Iterator[Any]:
    """Yield the traced functions in a decorated method, outermost first, bound as the method is."""
    bind: Any = None
    for _ in range(_MOST_WRAPPERS):
        if type(method) is MethodType:
            bind, method = method.__self__, method.__func__
        inner = getattr(method, "__wrapped__", None)
        spec = getattr(method, TRACED, None)
        # `functools.wraps` gives a decorator's function the attributes of the one that it wraps.
        if isinstance(spec, FunctionFacts) and getattr(inner, TRACED, None) is not spec:
            yield method if bind is None else MethodType(method, bind)
        if inner is None:
            return
        method = inner


def _inherited(obj: object, name: str) -> Iterator[Any]:
    """Yield the traced functions with an attribute's name in an object's classes, bound to the object."""
    for base in mro_of(type(obj)):
        found: Any = namespace_of(base).get(name)
        if isinstance(found, classmethod):
            yield from _layers(MethodType(found.__func__, type(obj)))
        elif isinstance(found, staticmethod):
            yield from _layers(found.__func__)
        elif isinstance(found, property):
            functions: tuple[Any, ...] = (found.fget, found.fset, found.fdel)
            for each in filter(None, functions):
                yield from _layers(MethodType(each, obj))
        elif isinstance(found, cached_property):
            yield from _layers(MethodType(found.func, obj))
        elif found is not None and callable(found) and not isinstance(found, type):
            yield from _layers(MethodType(found, obj))


def _of_another_name(obj: object, event: Event) -> Any:
    """Return the traced function of an action that an attribute of another name holds; None if several may.

    A decorator without `functools.wraps` gives the trace decorator a function with the name of its own one.
    """
    names = dict.fromkeys(name for base in mro_of(type(obj)) for name in namespace_of(base))
    traced = [
        max(_inherited(obj, name), key=lambda each: _likeness(each, event), default=None) for name in names
    ]
    likely = [each for each in traced if each is not None and _likeness(each, event)[:2] == _SAME[:2]]
    return likely[0] if len(likely) == 1 else None


@lru_cache(maxsize=1024)
def _attribute_of(call: str) -> str:
    """Return the attribute name of the method that a recorded `call` names."""
    owner, _, name = call.rpartition(".")
    if name.startswith("__") and not name.endswith("__"):
        return f"_{owner.rpartition('.')[2].lstrip('_')}{name}"
    return name


class _Binding(NamedTuple):
    """How a method takes arguments of certain names."""

    positions: tuple[str, ...]
    """Arguments passed by position."""
    rest: str | None
    """The list passed as `*args` after them; all others are passed by keyword."""


_BY_KEYWORD = _Binding((), None)


class MisfitArguments(Exception):
    """The method does not take the recorded arguments; the message says why."""


def bind_arguments(method: Any, recorded: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the recorded arguments as positional and keyword arguments.

    Raises:
        MisfitArguments: the method's signature does not take them.
    """
    try:
        binding = _binding(method, tuple(recorded))
    except MisfitArguments:
        renamed = _renamed(method, tuple(recorded))
        if not renamed:
            raise
        recorded = {renamed.get(name, name): value for name, value in recorded.items()}
        binding = _binding(method, tuple(recorded))
    if binding is _BY_KEYWORD:
        return [], recorded
    keywords = dict(recorded)
    positions = [keywords.pop(name) for name in binding.positions]
    if binding.rest is not None:
        positions.extend(keywords.pop(binding.rest))
    return positions, {name.removeprefix(BESIDE_PARAMETER): value for name, value in keywords.items()}


def _binding(method: Any, names: tuple[str, ...]) -> _Binding:
    if type(method) is MethodType and type(method.__func__) is FunctionType:
        return _binding_of(method.__func__, names)
    return _bind(method, names)


def _renamed(method: Any, names: tuple[str, ...]) -> dict[str, str]:
    """Return {recorded name: present name} if only names of parameters changed, else an empty dict."""
    parameters = inspect.signature(method).parameters.values()
    present = [each.name for each in parameters if each.kind not in _MANY]
    recorded = [name for name in names if name[:1] != "*"]
    renamed = {old: new for old, new in zip(recorded, present, strict=False) if old != new}
    is_other = not {*renamed}.isdisjoint(present) or not {*renamed.values()}.isdisjoint(names)
    return {} if is_other else renamed


@lru_cache(maxsize=1024)
def _binding_of(function: Any, names: tuple[str, ...]) -> _Binding:
    """Return how methods of a function take arguments, which depends only on the names of the arguments."""
    return _bind(MethodType(function, object()), names)


_MANY = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})
_NOT_BY_POSITION = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY})


def _takes_positions_alone(method: Any) -> bool:
    """Whether a decorator with `*args` and no keywords wraps the method."""
    function = getattr(method, "__func__", method)
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        own: set[Any] = set()
        # A function in C has no signature, such as the wrapper of `functools.lru_cache`.
        with suppress(TypeError, ValueError):
            parameters = inspect.signature(function, follow_wrapped=False).parameters
            own = {each.kind for each in parameters.values()}
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
    rest = next((each for each in names if each[:1] == "*" and not each.startswith(BESIDE_PARAMETER)), None)
    has_rest = rest is not None and any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
    beside = [name for name in names if name.startswith(BESIDE_PARAMETER)]
    takes_positions = has_rest or bool(beside) or _takes_positions_alone(method)
    positions: list[str] = []
    for parameter in parameters:
        if parameter.kind in _NOT_BY_POSITION or (takes_positions and parameter.name not in names):
            break
        by_position = takes_positions or parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        if by_position and parameter.name in names:
            positions.append(parameter.name)
    passed = {*positions, *([rest] if has_rest else [])}
    named = dict.fromkeys(name.removeprefix(BESIDE_PARAMETER) for name in names if name not in passed)
    try:
        signature.bind(*positions, **named)
    except TypeError as error:
        raise MisfitArguments(str(error)) from None
    if not (positions or has_rest or beside):
        return _BY_KEYWORD
    return _Binding(tuple(positions), rest if has_rest else None)
