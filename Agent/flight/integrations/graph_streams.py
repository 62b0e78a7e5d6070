"""Chunks of a recorded graph on their way to whoever reads them: a state in them is kept, the rest goes by.

Between two chunks the reader's own code runs, so a call that is streamed runs in a context of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from Agent.flight.integrations.graph_calls import GraphCall

__all__ = ["Chunks", "astreamed", "streamed"]

_INTERRUPT = "__interrupt__"


class Chunks:
    """How a graph is asked for its chunks so that each state is among them, and what the caller gets of one.

    Args:
        call: keeps the states.
        more: the arguments of `stream` behind its configuration.
        is_own: the graph's own `invoke` reads them.
    """

    def __init__(self, call: GraphCall, more: dict[str, Any], *, is_own: bool) -> None:
        self._call = call
        graph = call.graph
        mode = more.get("stream_mode")
        if mode is None:
            mode = graph.stream_mode
        self._modes = [mode] if isinstance(mode, str) else list(mode)
        self._is_single = not isinstance(mode, list)
        self._has_places = bool(more.get("subgraphs"))
        self._is_typed = more.get("version") == "v2"
        self._keys: Any = None
        self.asked = {**more, "stream_mode": [*dict.fromkeys([*self._modes, "values"])]}
        keys = more.get("output_keys")
        if keys is not None and keys != graph.stream_channels_asis:
            if is_own and not self._is_typed:  # it looks at the last state alone
                self._keys = keys
                self.asked["output_keys"] = None
            else:
                call.output["partial"] = True

    def take(self, chunk: Any) -> tuple[Any, ...]:
        """Keep the state in a chunk; what the caller gets of it, nothing or one."""
        if self._is_typed:
            if chunk["type"] == "values" and not chunk.get("ns"):
                self._call.keep_state(self._as_fields(chunk))
            return (chunk,) if chunk["type"] in self._modes else ()
        *place, mode, payload = chunk
        if mode == "values" and not (place and place[0]):
            self._call.keep_state(payload)
            payload = self._wanted(payload)
        if mode not in self._modes:
            return ()
        told = (*place,) if self._is_single else (*place, mode)
        return ((*told, payload),) if told else (payload,)

    def _wanted(self, payload: Any) -> Any:
        """Of a whole state what was asked for."""
        keys = self._keys
        if keys is None or not isinstance(payload, dict):
            return payload
        if isinstance(keys, str):
            return payload.get(keys)
        return {key: payload[key] for key in (*keys, _INTERRUPT) if key in payload}

    def _as_fields(self, chunk: dict[str, Any]) -> Any:
        """A state that came as an object of the graph's schema, by its channels."""
        data = chunk["data"]
        channels = self._call.graph.stream_channels_asis
        if not isinstance(data, dict) and not isinstance(channels, str):
            data = {key: getattr(data, key) for key in channels if hasattr(data, key)}
        if chunk.get("interrupts") and isinstance(data, dict):
            data = {**data, _INTERRUPT: tuple(chunk["interrupts"])}
        return data


def streamed(
    call: GraphCall, chunks_of: Callable[..., Iterator[Any]], more: dict[str, Any]
) -> Generator[Any, None, None]:
    """The chunks of a call that is streamed, as a run or a step of one."""
    within = copy_context()
    within.run(call.__enter__)
    source: Any = None
    try:
        within.run(call.look_back)
        view = Chunks(call, more, is_own=False)
        source = within.run(partial(chunks_of, **view.asked))
        while True:
            try:
                chunk = within.run(next, source)
            except StopIteration:
                break
            for each in within.run(view.take, chunk):
                try:
                    yield each
                except Exception as error:
                    within.run(source.throw, error)  # as if the reader had the graph's own stream
                    raise
    except GeneratorExit:
        try:
            within.run(source.close)
        finally:
            within.run(call.leave)
        raise
    except BaseException as error:
        within.run(call.__exit__, type(error), error, error.__traceback__)
        raise
    within.run(call.ended, call.last_state)
    within.run(call.__exit__, None, None, None)


async def astreamed(
    call: GraphCall, chunks_of: Callable[..., AsyncIterator[Any]], more: dict[str, Any]
) -> AsyncIterator[Any]:
    """The same of an asynchronous stream."""
    within = copy_context()
    within.run(call.__enter__)
    source: Any = None
    try:
        await _Within(within, call.look_back_async())
        view = Chunks(call, more, is_own=False)
        source = within.run(partial(chunks_of, **view.asked))
        while True:
            try:
                chunk = await _Within(within, source.__anext__())
            except StopAsyncIteration:
                break
            for each in within.run(view.take, chunk):
                try:
                    yield each
                except (Exception, asyncio.CancelledError) as error:
                    await _Within(within, source.athrow(error))
                    raise
    except GeneratorExit:
        try:
            await _Within(within, source.aclose())
        finally:
            within.run(call.leave)
        raise
    except BaseException as error:
        within.run(call.__exit__, type(error), error, error.__traceback__)
        raise
    within.run(call.ended, call.last_state)
    within.run(call.__exit__, None, None, None)


class _Within:
    """An awaitable that runs in a context, in the task of whoever awaits it."""

    def __init__(self, context: Context, awaitable: Awaitable[Any]) -> None:
        self._context = context
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaitable.__await__()
        resume: Callable[[], Any] = partial(next, inner)
        while True:
            try:
                waited = self._context.run(resume)
            except StopIteration as end:
                return end.value
            try:
                sent = yield waited
            except GeneratorExit:
                self._context.run(inner.close)
                raise
            except BaseException as error:  # noqa: BLE001 - handed on to the code that waits
                resume = partial(inner.throw, error)
            else:
                resume = partial(next, inner) if sent is None else partial(inner.send, sent)
