"""Generators, traced: the span is open while the body runs and out of sight while it waits to be resumed.

Everything that is sent, thrown or closed goes on to the body. The event is written when the generator is
exhausted, fails, is closed or is abandoned; one that is never resumed ran nothing and leaves nothing.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, Protocol

from Agent.errors import RecordingMiss
from Agent.record.agents import Known
from Agent.record.context import Scope, current_scope
from Agent.record.pipeline import Pipeline
from Agent.record.player import Answer
from Agent.record.tracing import Call, TraceSpec


class Steps(Protocol):
    """What is told how a generator goes on."""

    def suspend(self) -> None:
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

    def suspend(self) -> None:
        """Nothing is told."""

    resume = close = suspend

    def end(self, result: Any) -> None:
        """Nothing is told."""

    def fail(self, error: BaseException) -> None:
        """Nothing is told."""


UNOBSERVED = Unobserved()


class SteppedCall(Call):
    """The traced call of a generator: `yielded` counts its items, which are not kept themselves."""

    __slots__ = ("active_ns", "outer", "resumed_ns", "scope", "yielded")

    def __init__(
        self,
        spec: TraceSpec,
        pipeline: Pipeline,
        target: object,
        known: Known | None,
        scope: Scope | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(spec, pipeline, target, known, scope, args, kwargs)
        self.outer = scope
        self.scope = current_scope.get()
        self.yielded = 0
        self.active_ns = 0
        self.resumed_ns = self.started_ns

    def suspend(self) -> None:
        """An item was yielded: what the consumer does now is not done in this span."""
        self.yielded += 1
        self.active_ns += self.pipeline.monotonic_ns() - self.resumed_ns
        self._leave_scope()

    def resume(self) -> None:
        """The body runs on, in its own span, at the step of the simulation that it is now."""
        self.resumed_ns = self.pipeline.monotonic_ns()
        scope, around = self.scope, current_scope.get()
        if around is not None and around.tick is not None and scope is not None and around.tick != scope.tick:
            scope = Scope(scope, tick=around.tick)
        self.token = current_scope.set(scope)

    def end(self, result: Any) -> None:
        """The body returned: write the event."""
        body = b""
        if result is not None and self.spec.capture_result:
            try:
                raw, returned_types = self.pipeline.capture.body({"returned": result})
            except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
                self._trouble(error)
            else:
                body = raw + b","
                if returned_types:
                    self.types = {**self.types, **returned_types} if self.types else returned_types
        self._finish(body, result)

    def close(self) -> None:
        """It was closed, or nobody wanted the rest: write the event."""
        self._finish(b'"outcome":"closed",', None)

    def fail(self, error: BaseException) -> None:
        """The body raised: write the error once, and the event."""
        if self._is_late():
            return
        super().fail(error)

    def _finish(self, ending: bytes, result: Any) -> None:
        if self._is_late():
            return
        duration_ns = self.pipeline.monotonic_ns() - self.started_ns
        try:
            self._close_scope()
            self._emit(self.args_body + ending, duration_ns)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)
        if self.leave is not None:
            self.leave(result, None)

    def _is_late(self) -> bool:
        """Whether the recording in which it began has ended, so that its end has no place to stand."""
        self.active_ns += self.pipeline.monotonic_ns() - self.resumed_ns
        if not self.pipeline.closed:
            return False
        self.pipeline.health.note("a generator outlived the recording that it began in")
        self._leave_scope()
        return True

    def _emit(self, body: bytes, duration_ns: int) -> None:
        """Write the event where the generator began, whoever consumed the last of it."""
        counted = b'%s"yielded":%d,"active_ms":%.6g,' % (body, self.yielded, self.active_ns / 1e6)
        token = current_scope.set(self.outer)
        try:
            super()._emit(counted, duration_ns)
        finally:
            current_scope.reset(token)


def steps_of(spec: TraceSpec) -> OpenSteps:
    """What opens the span of a generator at its first resumption."""
    spec.call_type = SteppedCall

    def open_steps(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps:
        call = spec.begin(args, kwargs)
        if call is None:
            return UNOBSERVED
        if isinstance(call, Answer):
            if call.error is not None:
                raise call.error
            raise RecordingMiss(
                f"the items that {spec.qualname} yielded are not in the record, only their number",
                remedy="let its code run, or trace the function that consumes it",
            )
        assert isinstance(call, SteppedCall)  # noqa: S101 - what the spec was told to make
        return call

    return open_steps


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a generator or an async generator."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def wrap_generator(
    function: Callable[..., Any], open_steps: OpenSteps, like: Callable[..., Any]
) -> Callable[..., Any]:
    """The generator function with its steps told; `like` is what says of which sort it is."""
    if inspect.isasyncgenfunction(like):
        return _wrap_async(function, open_steps)
    wrapped = _wrap_sync(function, open_steps)
    code = getattr(like, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_ITERABLE_COROUTINE:
        return types.coroutine(wrapped)
    return wrapped


def _wrap_sync(function: Callable[..., Any], open_steps: OpenSteps) -> Callable[..., Any]:
    @functools.wraps(function)
    def stepped(*args: Any, **kwargs: Any) -> Any:
        steps = open_steps(args, kwargs)
        given: Any = None
        try:
            body = function(*args, **kwargs)
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
            steps.suspend()
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
            body = function(*args, **kwargs)
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
            steps.suspend()
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

    A loop that ends closes all it knows, at one time; whoever closes the one outside closes this one.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return body.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)
