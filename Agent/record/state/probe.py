"""Whether something else than traced actions changes generators, and objects that several agents hold.

Whose action changed such a value a single agent's state does not tell. So each one is looked at whenever one
of the first outermost actions of the program ends, and again when the next one begins.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

from Agent.event.values.content import content_of
from Agent.event.values.opaque import OpaqueKind
from Agent.record.state.introspection import Sort, sort_of

_ACTIONS = 24
_MOST_VALUES = 16
_LARGE_BYTES = 64 * 1024
_AS_MANY_SMALL = 8


class Probe:
    """What one pipeline finds out about values that change between actions.

    Args:
        agent_of: the id of an object that is an agent, None for others.
    """

    __slots__ = ("_agent_of", "_digests", "_held", "_open", "_written", "left")

    def __init__(self, agent_of: Callable[[object], str | None], *, is_on: bool) -> None:
        self._agent_of = agent_of
        self.left = _ACTIONS if is_on else 0
        """Of so many more actions the values are looked at; large ones count for several."""
        self._open = 0
        self._held: dict[int, Callable[[], object]] = {}
        self._digests: dict[int, str] = {}
        self._written: dict[int, Callable[[], object]] = {}

    def begins(self) -> bool:
        """An action begins: what differs from the end of the last one was changed in between. True."""
        self._open += 1
        digests, self._digests = self._digests, {}
        # While others run they may change it.
        for key, before in digests.items() if self._open == 1 else ():
            if self._digest(self._held[key]()) != before:
                self._written[key] = self._held.pop(key)
        return True

    def ended(self, values: Iterable[object]) -> None:
        """An action ended.

        Args:
            values: those of its agent that others may change.
        """
        self._open -= 1
        self.left -= 1
        for value in map(_changing, values):
            if len(self._held) < _MOST_VALUES and not self.is_written(value):
                self._held.setdefault(id(value), _reference(value))
        self._digests = {} if self._open else {key: self._digest(held()) for key, held in self._held.items()}
        if self.left <= 0:
            self._held.clear()
            self._digests.clear()

    @property
    def has_found(self) -> bool:
        """Whether any value was seen to change between actions."""
        return bool(self._written)

    def is_written(self, value: object) -> bool:
        """Whether something else than an action was seen to change that very value."""
        known = self._written.get(id(_changing(value)))
        return known is not None and known() is _changing(value)

    def _digest(self, value: object) -> str:
        content = content_of(value, self._agent_of)
        if content.size_bytes > _LARGE_BYTES:
            self.left -= _AS_MANY_SMALL
        return content.text if content.kind is OpaqueKind.COMPARABLE else ""


def _changing(value: object) -> object:
    """What a value changes in: of a generator of numpy, which nobody can refer to weakly, its bits."""
    for name in ("bit_generator", "_bit_generator"):
        found: object = getattr(value, name, None) if sort_of(type(value)) is Sort.GENERATOR else None
        if found is not None:
            return found
    return value


def _reference(value: object) -> Callable[[], object]:
    try:
        return weakref.ref(value)
    except TypeError:
        is_bits = type(value).__module__.startswith("numpy.random")
        return (lambda: value) if is_bits else (lambda: None)
