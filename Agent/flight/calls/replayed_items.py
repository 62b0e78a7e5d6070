"""Recorded items as a generator of the sort that the tool is: what it yielded, then how it ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from Agent.errors import RecordingMiss
from Agent.record.emit.player import Answer
from Agent.record.tracing.functions import is_async_generator

__all__ = ["replayed_items"]


def replayed_items(name: str, answer: Answer, like: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function that takes any arguments and gives the recorded items."""

    def steps(*_args: Any, **_kwargs: Any) -> Generator[Any, Any, Any]:
        for item in answer.items or ():
            sent = yield item
            if sent is not None:
                raise _was_sent(name)
        if answer.error is not None:
            raise answer.error
        return answer.result

    async def async_steps(*_args: Any, **_kwargs: Any) -> AsyncGenerator[Any, Any]:
        for item in answer.items or ():
            sent = yield item
            if sent is not None:
                raise _was_sent(name)
        if answer.error is not None:
            raise answer.error

    return async_steps if is_async_generator(like) else steps


def _was_sent(name: str) -> RecordingMiss:
    return RecordingMiss(
        f"a value was sent into the recorded generator {name}, but its response is not in the recording",
        remedy="record what it depends on as an argument, or allow the call",
    )
