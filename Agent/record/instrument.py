"""Tracing a class that cannot be edited: its methods are replaced by traced ones, inherited ones included."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from Agent.errors import ConfigurationError
from Agent.record import pipeline as installed
from Agent.record.agents import Identity, clear_identity, set_identity
from Agent.record.capture import Types
from Agent.record.decorators import wrap
from Agent.record.exposure import set_exposure
from Agent.record.pipeline import current_pipeline
from Agent.record.tracing import TraceSpec

_ABSENT = object()


class Instrumented:
    """What `instrument` did, so that it can be undone: call `undo()`, or use it in a `with`."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self._before: list[tuple[Any, str, object]] = []

    def __enter__(self) -> Instrumented:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def replace(self, owner: Any, name: str, value: object) -> None:
        """Set an attribute and remember what was there."""
        self._before.append((owner, name, vars(owner).get(name, _ABSENT)))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Put the original methods back."""
        while self._before:
            owner, name, before = self._before.pop()
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        clear_identity(self.owner)


def instrument(
    cls_or_obj: Any,
    methods: Iterable[str],
    *,
    agent_id: str | Callable[[Any], object] | None = None,
    agent_role: str | None = None,
    state: Callable[[Any], Mapping[str, Any]] | None = None,
    level: str = "INFO",
) -> Instrumented:
    """Trace methods of a class, or of one object, without editing it.

    Args:
        cls_or_obj: the class, whose objects are agents then, or a single object.
        methods: names of methods, inherited ones included; each call becomes an `agent_action`.
        agent_id: the attribute that names the agent, or a function of the object that gives the name;
            without it `agent_id`, then `unique_id`, then the name of the class.
        agent_role: the role of these agents; the name of the class without it.
        state: a function of the object that gives its state as a mapping, where its attributes are not it.
        level: the level at which the calls are recorded.

    Raises:
        ConfigurationError: there is no such method.
    """
    from Agent.event.kinds import LEVELS

    cls = cls_or_obj if isinstance(cls_or_obj, type) else type(cls_or_obj)
    done = Instrumented(cls_or_obj)
    for name in methods:
        found = inspect.getattr_static(cls_or_obj, name, None)
        function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
        if isinstance(function, property) or not callable(function):
            done.undo()
            raise ConfigurationError(
                f"{cls.__qualname__} has no method {name!r}",
                remedy=f"name methods of it, for example {_some_methods(cls)}",
            )
        spec = TraceSpec(inspect.unwrap(function), "agent_action", name, attribute=name, level=LEVELS[level])
        spec.qualname = f"{cls.__qualname__}.{name}"
        spec.is_method = not isinstance(found, staticmethod)
        spec.max_plain_args = len(spec.names) + spec.is_method
        traced: Any = wrap(function, spec)
        if isinstance(cls_or_obj, type):
            traced = type(found)(traced) if isinstance(found, (staticmethod, classmethod)) else traced
        else:
            traced = traced.__get__(cls_or_obj, cls)
        done.replace(cls_or_obj, name, traced)
    set_identity(cls_or_obj, Identity(agent_id, agent_role or cls.__name__))
    if state is not None:
        set_exposure(cls, state)
    if isinstance(cls_or_obj, type):
        _record_init(done, cls_or_obj)
    return done


def _some_methods(cls: type) -> str:
    names = [name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name, None))]
    return ", ".join(names[:4]) or "none that is public"


def _record_init(done: Instrumented, cls: type) -> None:
    """Keep the constructor's arguments for the first state event of each object."""
    original: Any = cls.__init__  # type: ignore[misc]
    if original is object.__init__:
        return

    @functools.wraps(original)
    def traced_init(self: Any, *args: Any, **kwargs: Any) -> None:
        captured = _capture_init(args, kwargs)
        original(self, *args, **kwargs)
        if captured is not None:
            _attach(self, captured)

    done.replace(cls, "__init__", traced_init)


def _capture_init(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, Types | None] | None:
    """The arguments as bytes, made before the constructor can change them."""
    try:
        pipeline = installed.active_pipeline() or current_pipeline()
        return pipeline.capture.body({"args": list(args), "kwargs": kwargs}, "/extra/init")
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        active = installed.active_pipeline()
        if active is not None:
            active.health.trouble("a constructor's arguments", error)
        return None


def _attach(obj: Any, captured: tuple[bytes, Types | None]) -> None:
    pipeline = installed.active_pipeline()
    if pipeline is None:
        return
    try:
        known = pipeline.agents.find(obj)
        if known is not None:
            tracker = pipeline.agents.tracker(known, obj)
            # A subclass's own constructor comes last and is the one that was called.
            tracker.init = captured
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        pipeline.health.trouble("a constructor's arguments", error)
