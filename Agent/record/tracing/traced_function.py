"""Traced functions: a call is opened, a generator's span is closed and opened again as it goes on.

The first recorded call loads what else that takes: `traced_call.py` comes next. Everything that is sent to a
generator, thrown into it or closed goes on to its body. Its span is open while the body runs and out of sight
while it waits to be resumed. The event is written when the generator is exhausted, fails, is closed or is
abandoned; one that is never resumed ran nothing and leaves nothing.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from Agent.errors import RecordingMiss
from Agent.record import health
from Agent.record.emit import installed
from Agent.record.emit.context import SpanScope, current_scope
from Agent.record.emit.installed import current_pipeline
from Agent.record.emit.player import Answer, Player, TracedCall, current_player
from Agent.record.tracing.function_facts import CO_ITERABLE_COROUTINE, FunctionFacts, is_async_generator
from Agent.tree.undisturbed import undisturbed

if TYPE_CHECKING:
    from Agent.record.state.agents import Known
    from Agent.record.tracing.traced_call import Call


class TraceSpec(FunctionFacts):
    """A traced function, whose calls it opens; see `FunctionFacts` for the arguments."""

    def __init__(self, function: Callable[..., Any], kind: str, label: str, **facts: Any) -> None:
        super().__init__(function, kind, label, **facts)
        self.call_type: type[Call] | None = None
        self.open: Callable[[tuple[Any, ...], dict[str, Any]], Call | Answer | None] = self.begin
        """`begin`, or what does the same in less time once there was a call."""

    @undisturbed()
    def _prepare(self) -> type[Call]:
        """Make what its recorded calls need, once: their class, and the head of their payload."""
        import orjson

        from Agent.record.encode.native import native
        from Agent.record.tracing.traced_call import Call, SteppedCall

        # The head is the same for every call, but for the mark of a root action.
        shared = {self.label_key: self.label, "call": self.qualname, **self.unit}
        self.head = orjson.dumps(shared)[1:-1] + b","
        self.head_root = orjson.dumps({**shared, "root": True})[1:-1] + b","
        self.call_type = SteppedCall if self.is_stepped else Call
        self.is_plain = self.kind != "metric" and not self.is_async and not self.is_stepped
        if native is not None and self.call_type is Call:
            self.open = native.Opener(self, self.begin, vars(installed), current_player, current_scope, Call)
        return self.call_type

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | Answer | None:
        """The open call; an Answer that stands for the body; None where nothing is to be recorded."""
        if self.limit.value > self.level:
            return None
        try:
            pipeline = installed.active
            if pipeline is None:
                pipeline = current_pipeline()
                if self.limit.value > self.level:
                    return None  # only now a level is set: this was the first call of all
            target = args[0] if self.is_method and args and not self.is_undecided else self.target_of(args)
            known = pipeline.agents.find(target) if target is not None else None
            scope = current_scope.get()
            call_type = self.call_type or self._prepare()
            player = current_player.get()
            if player is None:
                return call_type(self, pipeline, target, known, scope, args, kwargs)
            leave = self.admitted(player, known, scope, target, self.arguments(args, kwargs))
            if isinstance(leave, Answer):
                return leave
            call = call_type(self, pipeline, target, known, scope, args, kwargs)
            call.leave = leave
        except Exception as error:
            if current_player.get() is not None:
                raise  # a replay's refusal is its answer
            self.not_recorded(error)
            return None
        return call

    def not_recorded(self, error: Exception) -> None:
        """Count a call that could not be begun."""
        health.trouble(f"the call of {self.qualname}", error)
        health.lost("a call could not be recorded")

    def admitted(
        self,
        player: Player,
        known: Known | None,
        scope: SpanScope | None,
        target: object,
        arguments: dict[str, Any],
    ) -> Answer | Callable[[Any, BaseException | None], None]:
        """What a player says of a call: the Answer that stands for the body, or whom to tell of its end."""
        agent = known.binding if known is not None else scope.agent if scope is not None else None
        # By position, which takes half the time.
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


class Steps(Protocol):
    """What is told how a generator goes on."""

    body: Callable[..., Any] | None
    """What runs in the place of the function; None for itself."""

    def suspend(self, item: Any) -> None:
        """The body yielded an item."""

    def resume(self) -> None:
        """The body is about to run on."""

    def end(self, result: Any) -> None:
        """The body returned."""

    def fail(self, error: BaseException) -> None:
        """The body raised."""

    def close(self) -> None:
        """The body was closed before its end."""


OpenSteps = Callable[[tuple[Any, ...], dict[str, Any]], Steps]


class Unobserved:
    """Steps of which nobody wants to know."""

    body: Callable[..., Any] | None = None

    def suspend(self, item: Any) -> None:
        """Nothing is told."""

    def resume(self) -> None:
        """Nothing is told."""

    close = resume

    def end(self, result: Any) -> None:
        """Nothing is told."""

    def fail(self, error: BaseException) -> None:
        """Nothing is told."""


UNOBSERVED = Unobserved()


def steps_of(spec: TraceSpec) -> OpenSteps:
    """What opens the span of a generator at its first resumption."""
    spec.is_stepped = True

    def open_steps(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps:
        call = spec.begin(args, kwargs)
        if call is None:
            return UNOBSERVED
        if isinstance(call, Answer):
            if call.error is not None:
                raise call.error
            raise RecordingMiss(
                f"the items that {spec.qualname} yielded are not in the recording, only their number",
                remedy="let its code run, or trace the function that consumes it",
            )
        # What the spec was told to make.
        return cast("Steps", call)

    return open_steps


def wrap_generator(
    function: Callable[..., Any], open_steps: OpenSteps, like: Callable[..., Any]
) -> Callable[..., Any]:
    """The generator function with its steps told; `like` is what says of which sort it is."""
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


def _first_step(body: Any) -> Any:
    """The first step of an async generator that no event loop gets to know.

    A loop that ends closes all it knows, at the same time; whoever closes the one outside closes this one.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return body.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)
