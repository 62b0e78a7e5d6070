"""Tracing a class that cannot be edited: its methods, inherited ones included, are wrapped."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Self

from Agent.errors import ConfigurationError
from Agent.record.emit.installed import level_of
from Agent.record.state.identity import TRACED, Identity, clear_identity, own_identity, set_identity
from Agent.record.tracing.decorators import TraceSpec, record_construction, refuse_untraceable, wrap
from Agent.record.tracing.function_facts import is_coroutine

_ABSENT = object()


class Instrumented:
    """The changes made by `instrument`; undo them with `undo()` or a `with` block."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self._undone = ExitStack()
        identity = own_identity(owner)
        if identity is None:
            self._undone.callback(clear_identity, owner)
        else:
            self._undone.callback(set_identity, owner, identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def replace(self, name: str, value: object) -> None:
        """Set an attribute of the owner and remember the old value; ConfigurationError if that fails."""
        before = getattr(self.owner, "__dict__", {}).get(name, _ABSENT)
        try:
            setattr(self.owner, name, value)
        except (AttributeError, TypeError) as error:
            self.undo()
            raise ConfigurationError(
                f"{_name_of(self.owner)} takes no attribute {name!r}: {error}",
                remedy="instrument its class, or a subclass of it",
            ) from None
        if before is _ABSENT:
            self._undone.callback(delattr, self.owner, name)
        else:
            self._undone.callback(setattr, self.owner, name, before)

    def expose(self, cls: type, state: Callable[[Any], Mapping[str, Any]]) -> None:
        """Read the state of a class's objects with a function."""
        from Agent.record.state.introspection import clear_exposure, set_exposure

        set_exposure(cls, state)
        self._undone.callback(clear_exposure, cls)

    def ignore(self, cls: type, names: Iterable[str]) -> None:
        """Leave fields out of the state of a class's objects."""
        from Agent.record.state.introspection import set_ignored

        set_ignored(cls, names)
        self._undone.callback(set_ignored, cls, ())

    def undo(self) -> None:
        """Restore the original methods."""
        self._undone.close()


def instrument(
    cls_or_obj: Any,
    methods: Iterable[str],
    *,
    agent_id: str | Callable[[Any], object] | None = None,
    agent_role: str | None = None,
    state: Callable[[Any], Mapping[str, Any]] | None = None,
    ignore: Iterable[str] = (),
    level: str = "INFO",
) -> Instrumented:
    """Trace methods of a class, or of one object, without editing it.

    Args:
        cls_or_obj: the class, whose objects become agents, or a single object.
        methods: names of methods, including inherited ones; each call becomes an `agent_action`.
        agent_id: the attribute that names the agent, or a function of the object that returns the name;
            default: the first of `agent_id`, `unique_id`, `id` and `name` (of the last two, a text or a whole
            number), then the name of the class. Objects with the same name count as one agent.
        agent_role: the role of these agents; default: the name of the class.
        state: a function of the object that returns its state as a mapping, if its attributes are not the
            state.
        ignore: names of attributes that are not part of the state, such as caches. A class can set
            `trace_ignore = ("cache",)` instead. Replays name them and do not compare them.
        level: the level at which the calls are recorded.

    A method that is already traced is not traced again.

    Raises:
        ConfigurationError: a method does not exist, or the owner cannot be changed.
    """
    number = level_of(level)
    cls = cls_or_obj if isinstance(cls_or_obj, type) else type(cls_or_obj)
    names = [methods] if isinstance(methods, str) else list(methods)
    found = {name: _method(cls_or_obj, cls, name) for name in names}
    done = Instrumented(cls_or_obj)
    for name, method in found.items():
        if not hasattr(getattr(method, "__func__", method), TRACED):
            done.replace(name, _traced(cls_or_obj, cls, name, method, number))
    set_identity(cls_or_obj, Identity(agent_id, agent_role or cls.__name__))
    if state is not None:
        done.expose(cls, state)
    ignored = [ignore] if isinstance(ignore, str) else list(ignore)
    if ignored:
        done.ignore(cls, ignored)
    if isinstance(cls_or_obj, type) and cls.__init__ is not object.__init__:  # type: ignore[misc]
        done.replace("__init__", record_construction(cls.__init__))  # type: ignore[misc]
    return done


def _method(owner: Any, cls: type, name: str) -> Any:
    """Return the method of that name as the class or the object stores it, without binding it."""
    from inspect import getattr_static

    found = getattr_static(owner, name, None)
    function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    if isinstance(function, (type, property)) or not callable(function):
        raise ConfigurationError(
            f"{cls.__qualname__} has no method {name!r}",
            remedy=f"name methods of it, for example {_some_methods(cls)}",
        )
    refuse_untraceable(function)
    return found


def _traced(owner: Any, cls: type, name: str, found: Any, level: int) -> Any:
    """Return the wrapped method in the form in which the owner stores it."""
    from inspect import unwrap

    is_class = isinstance(owner, type)
    function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    # A function stored in the object itself takes no `self`: add one, so that the call finds its agent.
    is_own = not is_class and name in getattr(owner, "__dict__", {})
    called = _without_self(function) if is_own else function
    is_method = not isinstance(found, staticmethod)
    spec = TraceSpec(
        unwrap(function),
        "agent_action",
        name,
        attribute=name,
        level=level,
        is_method=is_method and not is_own,
    )
    spec.is_method = is_method
    traced: Any = wrap(called, spec, like=function)
    if not is_method:
        return staticmethod(traced) if is_class else traced
    if isinstance(found, classmethod):
        return classmethod(traced) if is_class else traced.__get__(cls, type(cls))
    return traced if is_class else traced.__get__(owner, cls)


def _without_self(function: Callable[..., Any]) -> Callable[..., Any]:
    if is_coroutine(function):

        @functools.wraps(function)
        async def call_async(_self: Any, *args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return call_async

    @functools.wraps(function)
    def call(_self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def _name_of(owner: Any) -> str:
    return owner.__qualname__ if isinstance(owner, type) else f"an object of {type(owner).__qualname__}"


def _some_methods(cls: type) -> str:
    names = [name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name, None))]
    return ", ".join(names[:4]) or "none that is public"
