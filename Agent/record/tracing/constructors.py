"""Finds which positional arguments of a constructor are secrets by the names of their parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from Agent.event.classes import mro_of, namespace_of
from Agent.record.secrets.names import name_says
from Agent.record.tracing.function_facts import Parameters, parameters_of
from Agent.tree.undisturbed import undisturbed

_MOST_KEPT = 64


class ConstructorNames:
    """The names of a constructor's positional parameters that are names of secrets; looked up once.

    Where `*args` takes the arguments, the parameters to which they are passed on have the names: those of
    `__new__`, and those of the next constructors if `*args` takes all.
    """

    __slots__ = ("_function", "_kept", "_own")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._own: Parameters | None = None
        self._kept: tuple[Any, dict[int, Mapping[int, str]]] = (None, {})
        """`__new__` of the last class, and what was found, by the number of arguments."""

    def secret_of(self, cls: type, count: int) -> Mapping[int, str]:
        """Return the names of secrets among the first `count` arguments of a class, by position."""
        new, known = self._kept
        if new is cls.__new__ and (found := known.get(count)) is not None:
            return found
        return self._look_up(cls, count)

    @undisturbed()
    def _look_up(self, cls: type, count: int) -> Mapping[int, str]:
        if self._own is None:
            self._own = _without_first(self._function)
        found: dict[int, str] = {}
        for names in _all_names(cls, self._own, count):
            for position, name in enumerate(names):
                if name_says(name) > name_says(found.get(position, "")):
                    found[position] = name
        new, known = self._kept
        is_same = new is cls.__new__ and len(known) < _MOST_KEPT
        self._kept = (cls.__new__, {**(known if is_same else {}), count: found})
        return found


def _all_names(cls: type, own: Parameters, count: int) -> Iterator[list[str]]:
    """Yield the names of the first `count` arguments for each function that takes them."""
    yield _names_in(own, count)
    new: Any = cls.__new__
    if new is not object.__new__:
        yield _names_in(_without_first(new), count)
    if own.rest is None or own.positional:
        return
    for base in mro_of(cls)[1:]:
        function = namespace_of(base).get("__init__")
        if function is not None and base is not object:
            next_one = _without_first(function)
            yield _names_in(next_one, count)
            if next_one.positional or next_one.rest is None:
                return


def _names_in(parameters: Parameters, count: int) -> list[str]:
    names = list(parameters.positional[:count])
    return names + [parameters.rest] * (count - len(names)) if parameters.rest is not None else names


def _without_first(function: Callable[..., Any]) -> Parameters:
    """Return the parameters without the one that takes the object or the class."""
    positional, rest = parameters_of(function)
    return Parameters(positional[1:], rest)
