"""What a program runs with when nothing of this project takes part: doubles that only note what was done.

`SEEN` holds, in order, each traced or recorded call with its arguments and ending, and each line that was
logged. The clock counts its readings, so that one more or less changes what the next one gives.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

SEEN: list[Any] = []


class time:
    """A clock that counts."""

    readings = 0

    @classmethod
    def time(cls) -> float:
        cls.readings += 1
        return float(cls.readings)


def _noted(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    def began(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        given = dict(signature.bind(*args, **kwargs).arguments)
        owner = getattr(given.pop("self", None), "agent_id", None)
        note = ["call", owner, function.__qualname__, copy.deepcopy(given)]
        SEEN.append(note)
        return note

    def ended(note: list[Any], *ending: Any) -> None:
        note.append(copy.deepcopy(ending))
        SEEN.append(["end", function.__qualname__])

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        note = began(args, kwargs)
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            ended(note, "raised", type(error).__name__, str(error))
            raise
        ended(note, "returned", result)
        return result

    @functools.wraps(function)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        note = began(args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except Exception as error:
            ended(note, "raised", type(error).__name__, str(error))
            raise
        ended(note, "returned", result)
        return result

    return call_async if inspect.iscoroutinefunction(function) else call


trace_agent_action = record_tool = _noted


def trace_learning_update(update_type: str) -> Callable[..., Any]:
    """The decorator with its one option."""
    return _noted


class AgentLogger:
    """Notes what is logged."""

    def __init__(self, agent_id: str, agent_role: str) -> None:
        self._agent_id = agent_id

    def __getattr__(self, name: str) -> Callable[..., None]:
        def log(*args: Any, **kwargs: Any) -> None:
            SEEN.append(["log", self._agent_id, name, copy.deepcopy(args), copy.deepcopy(kwargs)])

        if not name.startswith("log_") and name != "info":
            raise AttributeError(name)
        return log


@contextlib.contextmanager
def tick(number: int) -> Iterator[None]:
    """Ticks say nothing here."""
    yield


@contextlib.contextmanager
def recorded_sources() -> Iterator[None]:
    """Nothing is recorded."""
    yield


def setup_logging(**options: Any) -> None:
    """Nothing is recorded."""


shutdown_logging = setup_logging
