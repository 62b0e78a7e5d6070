"""Generators, traced: the span is open while the body runs and out of sight while it waits to be resumed.

Everything that is sent, thrown or closed goes on to the body. The event is written when the generator is
exhausted, fails, is closed or is abandoned; one that is never resumed ran nothing and leaves nothing.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import Any, Protocol, cast

from Agent.errors import RecordingMiss
from Agent.record.emit.player import Answer
from Agent.record.tracing.functions import CO_ITERABLE_COROUTINE, is_async_generator
from Agent.record.tracing.traced_function import TraceSpec


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
