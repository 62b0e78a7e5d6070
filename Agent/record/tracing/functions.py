"""What a function takes and gives, read off its code; `inspect` is asked about what is no plain function.

It is slow to import and to answer, and most functions that are traced are plain.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, NamedTuple

# The flags of a code object, as `inspect` names them.
_CO_VARARGS = 0x04
_CO_GENERATOR = 0x20
_CO_COROUTINE = 0x80
CO_ITERABLE_COROUTINE = 0x100
_CO_ASYNC_GENERATOR = 0x200


class Parameters(NamedTuple):
    """The parameters of a function that take positional arguments."""

    positional: tuple[str, ...]
    rest: str | None
    """The name of `*rest`, None if there is none."""


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """The parameters of a function; none where it does not tell them."""
    code = _plain_code(function)
    if code is not None:
        named = code.co_argcount + code.co_kwonlyargcount
        rest = code.co_varnames[named] if code.co_flags & _CO_VARARGS else None
        return Parameters(code.co_varnames[: code.co_argcount], rest)
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return Parameters((), None)
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    rest = next((one.name for one in parameters if one.kind is inspect.Parameter.VAR_POSITIONAL), None)
    return Parameters(tuple(one.name for one in parameters if one.kind in by_position), rest)


def is_coroutine(function: Callable[..., Any]) -> bool:
    """Whether it is an `async def` without a yield, or says that it is like one."""
    return bool(_sort(function) & _CO_COROUTINE)


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a generator or an async generator."""
    return bool(_sort(function) & (_CO_GENERATOR | _CO_ASYNC_GENERATOR))


def is_async_generator(function: Callable[..., Any]) -> bool:
    """Whether calling it gives an async generator."""
    return bool(_sort(function) & _CO_ASYNC_GENERATOR)


def _plain_code(function: Callable[..., Any]) -> CodeType | None:
    """The code of a function that nobody wrapped, marked or gave another signature; None for all others."""
    return function.__code__ if type(function) is FunctionType and not function.__dict__ else None


def _sort(function: Callable[..., Any]) -> int:
    """The flags that tell what calling the function gives."""
    code = _plain_code(function)
    if code is not None:
        return code.co_flags
    import inspect

    return (
        _CO_COROUTINE * inspect.iscoroutinefunction(function)
        | _CO_GENERATOR * inspect.isgeneratorfunction(function)
        | _CO_ASYNC_GENERATOR * inspect.isasyncgenfunction(function)
    )
