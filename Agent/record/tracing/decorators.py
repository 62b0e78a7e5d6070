"""Decorators that record an event for each call; the function keeps its signature and type.

Each works with and without parentheses, on functions, methods, static and class methods, sync and async, and
on generators of both sorts (`traced_function.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVELS, Category
from Agent.record import health
from Agent.record.emit import installed
from Agent.record.emit.context import current_scope
from Agent.record.emit.installed import LIMITS, current_pipeline, level_of
from Agent.record.emit.player import Answer
from Agent.record.encode.safe_text import as_text
from Agent.record.state.identity import TRACED
from Agent.record.tracing.failures import outcome_of, record_error
from Agent.record.tracing.function_facts import is_coroutine, is_generator
from Agent.record.tracing.traced_function import TraceSpec, Unobserved, steps_of, wrap_generator

if TYPE_CHECKING:
    from Agent.record.encode.capture import Types


F = TypeVar("F", bound=Callable[..., Any])


def wrap(
    function: Callable[..., Any], spec: TraceSpec, like: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Wrap a function so that each of its calls is traced.

    Args:
        like: the function to inspect for being a generator, if `function` only forwards to it.
    """
    like = like or function
    if is_generator(like):
        stepped = wrap_generator(function, steps_of(spec), like)
        setattr(stepped, TRACED, spec)
        return stepped
    if is_coroutine(function):
        spec.is_async = True

        @functools.wraps(function)
        async def traced_async(*args: Any, **kwargs: Any) -> Any:
            call = spec.open(args, kwargs)
            if call is None:
                return await function(*args, **kwargs)
            if type(call) is Answer:
                return _answered(call)
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                call.fail(error)  # type: ignore[union-attr]
                raise
            call.end(result)  # type: ignore[union-attr]
            return result

        setattr(traced_async, TRACED, spec)
        return traced_async

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        call = spec.open(args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        if type(call) is Answer:
            return _answered(call)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)  # type: ignore[union-attr]
            raise
        call.end(result)  # type: ignore[union-attr]
        return result

    setattr(traced, TRACED, spec)
    return traced


def _answered(answer: Answer) -> Any:
    if answer.error is not None:
        raise answer.error
    return answer.result


def _decorate(function: Any, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    """Apply a wrapper to a function, or to the function inside a static or class method."""
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_decorate(function.__func__, make))
    refuse_untraceable(function)
    return make(function)


def refuse_untraceable(function: Any) -> None:
    """Raise a ConfigurationError for anything that is not a function."""
    if isinstance(function, type) or not callable(function) or not hasattr(function, "__qualname__"):
        what = f"the class {function.__qualname__}" if isinstance(function, type) else type(function).__name__
        raise ConfigurationError(
            f"a trace decorator was put on {what}, which is no function",
            remedy="decorate a function or a method; for the methods of a class there is instrument()",
        )


def _traced(kind: str, given: Any, level: str | int, options: dict[str, Any]) -> Any:
    """The decorator; `given` is its label or, where it stands without parentheses, what it decorates."""
    number = level_of(level)
    is_bare = callable(given) or isinstance(given, (staticmethod, classmethod))
    label = None if is_bare else given

    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        if kind == "agent_action" and function.__name__ == "__init__":
            return record_construction(function)
        name = function.__name__ if label is None else as_text(label)
        return wrap(function, TraceSpec(function, kind, name, level=number, **options))

    return _decorate(given, make) if is_bare else lambda function: _decorate(function, make)


@overload
def trace_agent_action(action_type: F, /) -> F: ...
@overload
def trace_agent_action(
    action_type: str | None = None,
    *,
    level: str = "INFO",
    capture_args: bool = True,
    capture_result: bool = True,
    state: str | None = None,
) -> Callable[[F], F]: ...
def trace_agent_action(
    action_type: Any = None,
    *,
    level: str = "INFO",
    capture_args: bool = True,
    capture_result: bool = True,
    state: str | None = None,
) -> Any:
    """Record each call as an `agent_action`: arguments, result or error, duration, and changed fields.

    Args:
        action_type: name of the action; default: the function's name.
        level: the level at which it is recorded.
        capture_args: whether to keep arguments.
        capture_result: whether to keep the result.
        state: "strict" also reads the agent's state when the action begins.
    """
    if state not in {None, "strict", "exit"}:
        raise ConfigurationError(f"state={state!r} is unknown", remedy='use state="strict" or leave it out')
    options = {
        "capture_args": capture_args,
        "capture_result": capture_result,
        "strict_state": None if state is None else state == "strict",
    }
    return _traced("agent_action", action_type, level, options)


@overload
def trace_learning_update(update_type: F, /) -> F: ...
@overload
def trace_learning_update(update_type: str | None = None, *, level: str = "INFO") -> Callable[[F], F]: ...
def trace_learning_update(update_type: Any = None, *, level: str = "INFO") -> Any:
    """Record each call as a `learning_update`: arguments, result or error, duration, and changed fields."""
    return _traced("learning_update", update_type, level, {})


@overload
def trace_performance(operation: F, /) -> F: ...
@overload
def trace_performance(operation: str | None = None, *, level: str = "INFO") -> Callable[[F], F]: ...
def trace_performance(operation: Any = None, *, level: str = "INFO") -> Any:
    """Record the duration of each call as a `metric`; metrics are buffered."""
    return _traced("metric", operation, level, {})


@overload
def trace_errors(function: F, /) -> F: ...
@overload
def trace_errors(function: None = None) -> Callable[[F], F]: ...
def trace_errors(function: Any = None) -> Any:
    """Record each exception of the function as an `error` event with its context, and re-raise it."""
    if function is None:
        return lambda inner: _decorate(inner, _watch)
    return _decorate(function, _watch)


class _Watched(Unobserved):
    """Of the steps of a generator, the one that fails."""

    def __init__(self, spec: TraceSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._call = (args, kwargs)
        self._spec = spec

    def fail(self, error: BaseException) -> None:
        """Write the error."""
        _record(self._spec, error, *self._call)


def _watch(function: Callable[..., Any]) -> Callable[..., Any]:
    spec = TraceSpec(function, "agent_action", function.__name__)
    if is_generator(function):
        return wrap_generator(function, lambda args, kwargs: _Watched(spec, args, kwargs), function)
    if is_coroutine(function):

        @functools.wraps(function)
        async def watched_async(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            except BaseException as error:
                _record(spec, error, args, kwargs)
                raise

        return watched_async

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            _record(spec, error, args, kwargs)
            raise

    return watched


def _record(spec: TraceSpec, error: BaseException, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Write the error of a watched function; never in the way of the error itself."""
    if outcome_of(error) != "error" or LIMITS[Category.ERRORS.value].value > LEVELS["ERROR"]:
        return
    try:
        pipeline = current_pipeline()
        target = spec.target_of(args)
        known = pipeline.agents.find(target) if target is not None else None
        scope = current_scope.get()
        if known is not None:
            binding = known.binding
        elif scope is not None and scope.agent is not None:
            binding = scope.agent
        else:
            binding = pipeline.binding(None, None, "errors", Category.ERRORS.value)
        more = {"call": spec.qualname, "args": spec.arguments(args, kwargs)}
        record_error(pipeline, binding, error, more=more)
    except Exception as trouble:  # noqa: BLE001 - the user's own exception is the one that must get out
        health.trouble(f"the error of {spec.qualname}", trouble)
        health.lost("an error could not be recorded")


def record_construction(original: Callable[..., Any]) -> Callable[..., Any]:
    """The constructor, which leaves its arguments to the first state of the object that it makes."""

    @functools.wraps(original)
    def traced_init(self: Any, *args: Any, **kwargs: Any) -> None:
        # A subclass that calls this one has a constructor of its own, whose arguments these are not.
        captured = _captured(args, kwargs) if type(self).__init__ is traced_init else None
        original(self, *args, **kwargs)
        if captured is not None:
            _attach(self, captured)

    return traced_init


def _captured(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, Types | None] | None:
    """The arguments as bytes, made before the constructor can change them."""
    if LIMITS[Category.AGENTS.value].value > LEVELS["INFO"]:
        return None
    try:
        return current_pipeline().capture.constructor_body(args, kwargs, "/extra/init")
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        health.trouble("a constructor's arguments", error)
        return None


def _attach(obj: Any, captured: tuple[bytes, Types | None]) -> None:
    pipeline = installed.active_pipeline()
    if pipeline is None:
        return
    try:
        known = pipeline.agents.find(obj)
        if known is not None:
            pipeline.agents.tracker(known, obj).init = captured
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        pipeline.health.trouble("a constructor's arguments", error)
