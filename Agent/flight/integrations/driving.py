"""Shared code of the model wrappers: make or replay a call, and copy a model with recording methods."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from functools import partial, wraps
from importlib import import_module
from typing import Any, NamedTuple

from Agent.errors import MissingExtra, RecordingMiss, UsageError
from Agent.flight.model_calls import Driven, OpenModelCall, Usage, streamed, streamed_async

RECORDED = "__agent_trace_recorded__"
"""The attribute that marks the class of a recorded model."""


class Shape(NamedTuple):
    """Converts the responses of an interface to plain values and back."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    usage: Callable[[Any], Usage | None]
    encode_chunk: Callable[[Any], Any]
    decode_chunk: Callable[[Any], Any]
    combine: Callable[[list[Any]], Any]
    """Combines the pieces of a stream to a response; None if that is not possible."""


def optional_module(module: str, package: str) -> Any:
    """Import a module of an optional package.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(f"{package} is not installed: {error}", remedy=f"pip install {package}") from None


def recorded_copy(model: Any, methods: Mapping[str, Any]) -> Any:
    """Copy a model and override these methods of its class; a recorded model is returned as is.

    The subclass keeps the name of the class, which tracing, serialisation and provider defaults depend on.

    Raises:
        UsageError: the model cannot be copied.
    """
    base = type(model)
    if getattr(base, RECORDED, False):
        return model
    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    metaclass: Any = type(base)
    cls = metaclass(base.__name__, (base,), {**names, **methods})
    try:
        copied = model.model_copy() if hasattr(model, "model_copy") else copy.copy(model)
        object.__setattr__(copied, "__class__", cls)
    except Exception as error:
        raise UsageError(
            f"{base.__module__}.{base.__qualname__} cannot be copied, so it cannot be recorded: {error}"
        ) from error
    setattr(cls, RECORDED, True)
    return copied


@contextmanager
def _live(call: OpenModelCall, shape: Shape) -> Iterator[Callable[[Any], None]]:
    """Return a block for a live call; pass the response to the function that it yields."""
    answers: list[Any] = []
    try:
        with call.inside():
            yield answers.append
    except BaseException as error:
        call.fail(error)
        raise
    call.end(lambda: shape.encode(answers[0]), lambda: shape.usage(answers[0]))


Begin = Callable[[], OpenModelCall]


def drive(begin: Begin, live: Callable[[], Any], shape: Shape) -> Any:
    """Return the recorded response if there is one, otherwise call the model and record it.

    Args:
        begin: opens the call.
        live: calls the model.
        shape: converts the response.
    """
    call = begin()
    if call.answer is not None:
        return _answered(call, shape)
    with _live(call, shape) as keep:
        keep(answer := live())
    return answer


async def drive_async(begin: Begin, live: Callable[[], Awaitable[Any]], shape: Shape) -> Any:
    """Do the same for an asynchronous model."""
    call = begin()
    if call.answer is not None:
        return _answered(call, shape)
    with _live(call, shape) as keep:
        keep(answer := await live())
    return answer


def drive_stream(begin: Begin, live: Callable[[], Any], shape: Shape) -> Generator[Any, None, None]:
    """Yield the recorded pieces if there are any, otherwise those of the model; record them in both cases.

    The call is opened when the generator first runs.
    """
    call = begin()
    yield from streamed(call, _driven(call, live, shape))


async def drive_stream_async(
    begin: Begin, live: Callable[[], Any], shape: Shape
) -> AsyncGenerator[Any, None]:
    """Do the same for an asynchronous stream."""
    call = begin()
    async with aclosing(streamed_async(call, _driven(call, live, shape))) as pieces:
        async for piece in pieces:
            yield piece


class Method(NamedTuple):
    """A method of an interface that calls a model."""

    name: str
    drive: Callable[[Begin, Callable[[], Any], Shape], Any]
    """One of the four functions above."""
    shape: Shape

    def recorded(self, live: Callable[..., Any], opened: Callable[..., OpenModelCall]) -> Callable[..., Any]:
        """Make the method that records.

        Args:
            live: the method of the model's class.
            opened: opens the call of a model, its method, positional and keyword arguments, and `streams`.
        """
        streams = self.drive in (drive_stream, drive_stream_async)

        @wraps(live)
        def method(model: Any, /, *args: Any, **kwargs: Any) -> Any:
            return self.drive(
                lambda: opened(model, live, args, kwargs, streams=streams),
                lambda: live(model, *args, **kwargs),
                self.shape,
            )

        return method


def recorded_by(
    model: Any, methods: Iterable[Method], opened: Callable[..., OpenModelCall], plain: type = object
) -> Any:
    """Copy a model and record the given methods that it has; see `recorded_copy`.

    Args:
        opened: see `Method.recorded`.
        plain: the base class of models, whose own methods call another one, which records.
    """
    recorded: dict[str, Any] = {}
    for each in methods:
        live = getattr(type(model), each.name, None)
        if live is not None and live is not getattr(plain, each.name, None):
            recorded[each.name] = each.recorded(live, opened)
    return recorded_copy(model, recorded)


def _driven(call: OpenModelCall, live: Callable[[], Any], shape: Shape) -> Driven:
    """The callbacks for `streamed`; output and usage are computed from the pieces seen so far."""
    seen: list[Any] = []

    def take(chunk: Any) -> None:
        call.chunk(lambda: shape.encode_chunk(chunk))
        seen.append(chunk)

    def with_response(read: Callable[[Any], Any]) -> Any:
        answer = shape.combine(seen) if seen else None
        return None if answer is None else read(answer)

    begin = live if call.answer is None else partial(_recorded_chunks, call, shape)
    return begin, take, partial(with_response, shape.encode), partial(with_response, shape.usage)


def _answered(call: OpenModelCall, shape: Shape) -> Any:
    answer = call.answer
    assert answer is not None  # noqa: S101 - asked before, for the type checker
    if answer.error is not None:
        call.fail(answer.error)
        raise answer.error
    with call.inside():
        if answer.result is None and answer.items is not None:  # it was recorded as a stream
            response = shape.combine([decoded(shape.decode_chunk, item, call) for item in answer.items])
        else:
            response = decoded(shape.decode, answer.result, call)
    call.end(lambda: shape.encode(response), lambda: shape.usage(response))
    return response


def _recorded_chunks(call: OpenModelCall, shape: Shape) -> Iterator[Any]:
    answer = call.answer
    assert answer is not None  # noqa: S101 - as above
    if answer.items is None:
        raise RecordingMiss(
            "the recorded answer was not a stream, but a stream is requested now",
            remedy="call it as in the recording, or record the run again",
        )
    for item in answer.items:
        yield decoded(shape.decode_chunk, item, call)


def decoded(decode: Callable[[Any], Any], recorded: Any, call: OpenModelCall) -> Any:
    """Restore a recorded value to an object of the interface.

    Raises:
        RecordingMiss: the value cannot be restored.
    """
    try:
        return decode(recorded)
    except Exception as error:
        event_id = call.answer.event_id if call.answer is not None else None
        raise RecordingMiss(
            f"the recorded response of a model (event {event_id}) cannot be rebuilt: "
            f"{type(error).__name__}: {error}",
            remedy="check whether it was recorded with another version of the library",
        ) from error


class Stepped:
    """An awaitable whose steps are executed by `run`, in the task that awaits it."""

    def __init__(self, awaitable: Awaitable[Any], run: Callable[..., Any]) -> None:
        self._awaitable = awaitable
        self._run = run

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaitable.__await__()
        resume: Callable[[], Any] = partial(next, inner)
        while True:
            try:
                waited = self._run(resume)
            except StopIteration as end:
                return end.value
            try:
                sent = yield waited
            except GeneratorExit:
                self._run(inner.close)
                raise
            except BaseException as error:  # noqa: BLE001 - passed to the awaited code
                resume = partial(inner.throw, error)
            else:
                resume = partial(next, inner) if sent is None else partial(inner.send, sent)
