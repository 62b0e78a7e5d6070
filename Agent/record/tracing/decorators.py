"""Decorators that record an event for each call; the function keeps its signature and type.

Each works with and without parentheses, on functions, methods, static and class methods, sync and async,
and on sync and async generators. The first recorded call imports `traced_call.py` and what it needs; read
that module next.

Everything that is sent or thrown into a generator, and `close()`, is passed on to its body. Its span is the
current one only while the body runs, not while the generator waits to be resumed. The event is written when
the generator is exhausted, fails, is closed or is abandoned. A generator that is never resumed has no event.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from Agent.errors import ConfigurationError, RecordingMiss
from Agent.event.kinds import LEVELS, Category
from Agent.event.limits_of_time import undisturbed
from Agent.record import health
from Agent.record.emit import installed
from Agent.record.emit.context import Player, Response, SpanScope, TracedCall, current_player, current_scope
from Agent.record.emit.installed import LIMITS, current_pipeline, level_of
from Agent.record.encode.safe_text import as_text
from Agent.record.state.identity import TRACED
from Agent.record.tracing.failures import outcome_of, record_error
from Agent.record.tracing.function_facts import (
    CO_ITERABLE_COROUTINE,
    ConstructorFacts,
    FunctionFacts,
    is_async_generator,
    is_coroutine,
    is_generator,
)

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.capture import Types
    from Agent.record.state.tracker import Known
    from Agent.record.tracing.traced_call import Call


class TraceSpec(FunctionFacts):
    """A traced function; opens a `Call` for each of its calls. See `FunctionFacts` for the arguments."""

    def __init__(self, function: Callable[..., Any], kind: str, label: str, **facts: Any) -> None:
        super().__init__(function, kind, label, **facts)
        self.call_type: type[Call] | None = None
        self.open: Callable[[tuple[Any, ...], dict[str, Any]], Call | Response | None] = self.begin
        """`begin`; after the first call its faster equivalent in C, if that is available."""

    @undisturbed()
    def _prepare(self, pipeline: Pipeline) -> type[Call]:
        """Compute once what its recorded calls need: their class, and the head of their payload."""
        import orjson

        from Agent.record.encode.native import native
        from Agent.record.secrets.patterns import secrets_in
        from Agent.record.tracing.traced_call import Call, SteppedCall

        self.label, self.qualname = map(pipeline.redactor.text, (self.label, self.qualname))
        # The head is the same for every call, except for the mark of a root action.
        shared = {self.label_key: self.label, "call": self.qualname, **self.unit}
        self.head = orjson.dumps(shared)[1:-1] + b","
        self.head_root = orjson.dumps({**shared, "root": True})[1:-1] + b","
        call_type = SteppedCall if self.is_stepped else Call
        self.is_plain = self.kind != "metric" and not self.is_async and not self.is_stepped
        if not pipeline.redactor.enabled and any(map(secrets_in, (self.label, self.qualname))):
            return call_type  # the next recording of this process may redact them
        self.call_type = call_type
        if native is not None and call_type is Call:
            self.open = native.Opener(self, self.begin, vars(installed), current_player, current_scope, Call)
        return call_type

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | Response | None:
        """Return the open call, a Response that replaces the body, or None if nothing is recorded."""
        player = current_player.get()
        if self.limit.value > self.level or player is False:
            return None
        try:
            pipeline = installed.active
            if pipeline is None:
                pipeline = current_pipeline()
                if self.limit.value > self.level:
                    return None  # starting the pipeline set the level: this was the first call in the process
            target = args[0] if self.is_method and args and not self.is_undecided else self.target_of(args)
            known = pipeline.agents.find(target) if target is not None else None
            scope = current_scope.get()
            call_type = self.call_type or self._prepare(pipeline)
            if player is None:
                return call_type(self, pipeline, target, known, scope, args, kwargs)
            leave = self.admitted(player, known, scope, target, self.arguments(args, kwargs))
            if isinstance(leave, Response):
                return leave
            call = call_type(self, pipeline, target, known, scope, args, kwargs)
            call.leave = leave
        except Exception as error:
            if player is not None:
                raise  # in a replay, an exception is the player's answer to the call
            self.not_recorded(error)
            return None
        return call

    def not_recorded(self, error: Exception) -> None:
        """Report and count a call whose recording could not begin."""
        health.lost("a call could not be recorded")
        health.trouble(f"the call of {self.qualname}", error)

    def admitted(
        self,
        player: Player,
        known: Known | None,
        scope: SpanScope | None,
        target: object,
        arguments: dict[str, Any],
    ) -> Response | Callable[[Any, BaseException | None], None]:
        """Ask the player about a call: return a Response instead of the body, or a callback for its end."""
        agent = known.binding if known is not None else scope.agent if scope is not None else None
        # Positional arguments take half the time of keywords.
        described = TracedCall(
            self.kind,
            agent.agent_id if agent is not None else None,
            agent.agent_role if agent is not None else None,
            self.label,
            self.qualname,
            arguments,
            target,
            scope is None or not scope.actions,
            self.is_stepped,
        )
        answer = player.enter(described)
        return functools.partial(player.leave, described) if answer is None else answer


class Steps:
    """An observer of a generator's progress; this one ignores every step."""

    body: Callable[..., Any] | None = None
    """The function to run instead of the wrapped one; None for the wrapped one."""

    def suspend(self, item: Any) -> None:
        """The body yielded an item."""

    def resume(self) -> None:
        """The body is about to resume."""

    def end(self, result: Any) -> None:
        """The body returned."""

    def fail(self, error: BaseException) -> None:
        """The body raised."""

    def close(self) -> None:
        """The body was closed before its end."""


OpenSteps = Callable[[tuple[Any, ...], dict[str, Any]], Steps]
UNOBSERVED = Steps()


def steps_of(spec: TraceSpec) -> OpenSteps:
    """Return a function that opens the span of a generator when the generator is first resumed."""
    spec.is_stepped = True

    def open_steps(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps:
        call = spec.begin(args, kwargs)
        if call is None:
            return UNOBSERVED
        if isinstance(call, Response):
            if call.error is not None:
                raise call.error
            raise RecordingMiss(
                f"the items that {spec.qualname} yielded are not in the recording, only their number",
                remedy="let its code run, or trace the function that consumes it",
            )
        # `is_stepped` makes `_prepare` choose SteppedCall.
        return cast("Steps", call)

    return open_steps


def wrap_generator(
    function: Callable[..., Any], open_steps: OpenSteps, like: Callable[..., Any]
) -> Callable[..., Any]:
    """Wrap a generator function so that its steps are observed; `like` shows whether it is sync or async."""
    if is_async_generator(like):
        return _wrap_async(function, open_steps)
    wrapped = _wrap_sync(function, open_steps)
    code = getattr(like, "__code__", None)
    if code is not None and code.co_flags & CO_ITERABLE_COROUTINE:
        return types.coroutine(wrapped)
    return wrapped


def _wrap_sync(function: Callable[..., Any], open_steps: OpenSteps) -> Callable[..., Any]:
    @functools.wraps(function)
    def stepped(*args: Any, **kwargs: Any) -> Any:
        steps = open_steps(args, kwargs)
        given: Any = None
        try:
            body = (steps.body or function)(*args, **kwargs)
        except BaseException as error:
            steps.fail(error)
            raise
        step = body.send
        while True:
            try:
                item = step(given)
            except StopIteration as end:
                steps.end(end.value)
                return end.value
            except BaseException as error:
                steps.fail(error)
                raise
            steps.suspend(item)
            try:
                given, step = (yield item), body.send
            except GeneratorExit:
                steps.resume()
                try:
                    body.close()
                except BaseException as error:
                    steps.fail(error)
                    raise
                steps.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - it is the body's, which may well catch it
                given, step = thrown, body.throw
            steps.resume()

    return stepped


def _wrap_async(function: Callable[..., Any], open_steps: OpenSteps) -> Callable[..., Any]:
    @functools.wraps(function)
    async def stepped(*args: Any, **kwargs: Any) -> Any:
        steps = open_steps(args, kwargs)
        try:
            body = (steps.body or function)(*args, **kwargs)
            step = _first_step(body)
        except BaseException as error:
            steps.fail(error)
            raise
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                steps.end(None)
                return
            except BaseException as error:
                steps.fail(error)
                raise
            steps.suspend(item)
            try:
                given, send = (yield item), body.asend
            except GeneratorExit:
                steps.resume()
                try:
                    await body.aclose()
                except BaseException as error:
                    steps.fail(error)
                    raise
                steps.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - it is the body's, which may well catch it
                given, send = thrown, body.athrow
            steps.resume()
            step = send(given)

    return stepped


@coroutine
def step_by_step(
    body: Coroutine[Any, Any, Any], resumed: Callable[[], Awaitable[None] | None]
) -> Generator[Any, Any, Any]:
    """Await a coroutine, as `await` does, and call `resumed` whenever it resumes.

    Args:
        resumed: called before each step except the first; the step awaits its return value unless it is None.
    """
    step: Callable[[Any], Any] = body.send
    given: Any = None
    while True:
        try:
            waited = step(given)
        except StopIteration as end:
            return end.value
        try:
            given, step = (yield waited), body.send
            if (turn := resumed()) is not None:
                yield from turn.__await__()
        except GeneratorExit:
            body.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it is the body's, which may well catch it
            given, step = error, body.throw


def _first_step(body: Any) -> Any:
    """Return the first step of an async generator without registering it with the event loop.

    A loop that shuts down closes all registered generators concurrently. Only the wrapping generator is
    registered, and closing it closes this one.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return body.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


F = TypeVar("F", bound=Callable[..., Any])


def wrap(
    function: Callable[..., Any], spec: TraceSpec, like: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Wrap a function so that each of its calls is traced.

    Args:
        like: the function that shows whether this is a generator, if `function` only forwards to it.
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
            if type(call) is Response:
                return await call.awaited()
            call.turns = [call.pipeline.turns.next()]  # type: ignore[union-attr]
            try:
                body = function(*args, **kwargs)
                resumed = call.resumed  # type: ignore[union-attr]
                result = await (step_by_step(body, resumed) if type(body) is CoroutineType else body)
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
        if type(call) is Response:
            return call.given()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)  # type: ignore[union-attr]
            raise
        call.end(result)  # type: ignore[union-attr]
        return result

    setattr(traced, TRACED, spec)
    return traced


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
        below = f"; put it below {what}" if hasattr(type(function), "__get__") else ""
        raise ConfigurationError(
            f"a trace decorator was put on {what}, which is no function",
            remedy=f"decorate a function or a method{below}; "
            "for the methods of a class there is instrument()",
        )


def _traced(kind: str, given: Any, level: str | int, options: dict[str, Any]) -> Any:
    """Return the decorator; `given` is its label, or the decorated function if there are no parentheses."""
    number = level_of(level)
    # A property and the like, too, so that they are refused: as a label they would be replaced by a function.
    is_bare = callable(given) or hasattr(type(given), "__get__")
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


class _Watched(Steps):
    """An observer that records only the failure of a generator."""

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
    """Write the error of a watched function; never raises, so that the original error propagates."""
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
        health.lost("an error could not be recorded")
        health.trouble(f"the error of {spec.qualname}", trouble)


def record_construction(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a constructor so that its arguments are recorded with the first state of the new object."""
    facts = ConstructorFacts(original)

    @functools.wraps(original)
    def traced_init(self: Any, *args: Any, **kwargs: Any) -> None:
        # If a subclass has its own constructor, its arguments are recorded, not those of this inner call.
        cls = type(self)
        captured = _captured(cls, facts, args, kwargs) if cls.__init__ is traced_init else None
        original(self, *args, **kwargs)
        if captured is not None:
            _attach(self, captured)

    return traced_init


def _captured(
    cls: type, facts: ConstructorFacts, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bytes, Types | None] | None:
    """Encode the arguments before the constructor can change them."""
    if LIMITS[Category.AGENTS.value].value > LEVELS["INFO"]:
        return None
    try:
        from Agent.record.encode.large_contents import constructor_body

        secret = facts.secret_of(cls, len(args)) if args else None
        pipeline = current_pipeline()
        contents = pipeline.large_contents(facts)
        return constructor_body(pipeline.capture, contents, facts, args, kwargs, secret)
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
