"""Awaitable twins of recording methods: `await logger.ainfo(...)` beside `logger.info(...)`.

The event is captured, numbered and handed over at the call; only what the call would have waited for, the
disk or room in a queue, is left to a thread beside the event loop (`tree/write/sink.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from Agent.tree.write.sink import Waits, collect_waits

Self = TypeVar("Self")
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def awaitable(
    method: Callable[Concatenate[Self, Given], Answer],
) -> Callable[Concatenate[Self, Given], Coroutine[Any, Any, Answer]]:
    """The awaitable twin of a recording method, to be assigned under its name with an `a` before it.

    Calling the twin records; awaiting gives what the method gives, once the event is as durable as after it.
    A task that is cancelled meanwhile neither loses nor repeats the event.
    """
    name = method.__name__

    @functools.wraps(method)
    def record(self: Self, /, *args: Given.args, **kwargs: Given.kwargs) -> Coroutine[Any, Any, Answer]:
        waits: Waits = []
        before = collect_waits(waits)
        try:
            # by its name, so that a subclass that changes the method changes its twin, too
            answer: Answer = getattr(self, name)(*args, **kwargs)
        finally:
            collect_waits(before)
        return _after(waits, answer)

    record.__name__ = f"a{name}"
    record.__qualname__ = f"{method.__qualname__.removesuffix(name)}a{name}"
    record.__doc__ = f"Awaitable `{name}`. {method.__doc__ or ''}"
    return record


async def _after(waits: Waits, answer: Answer) -> Answer:
    if waits:
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the event loop of another library
            _do(waits)
        else:
            await loop.run_in_executor(None, _do, waits)
    return answer


def _do(waits: Waits) -> None:
    for work in waits:
        work()
