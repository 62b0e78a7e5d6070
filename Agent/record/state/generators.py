"""Random generators in an agent's fields, and their positions in their streams."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from types import ModuleType
from typing import Any

from Agent.event.classes import by_class, module_of_class
from Agent.event.values.plain import SCALARS
from Agent.record.encode.native import native
from Agent.record.state.introspection import (
    Sort,
    generators_in,
    is_random_class,
    items_perhaps,
    live_attributes,
    sort_of,
)

_MAX_DEPTH = 6
_MOST_ITEMS = 1000
"""Larger containers are not searched for generators."""
_BLOCK_WORDS = 624
_WORD_BITS = 32
_MOST_BLOCKS = 64
"""Further states are written in full: to count up to them would take longer."""
Position = tuple[int | str, ...]
"""The position of a generator in its stream."""


def is_own_stream(value: object) -> bool:
    """Whether it is a generator of numpy or `random` whose draws are not recorded one by one."""
    if sort_of(type(value)) is not Sort.GENERATOR:
        return False
    if module_of_class(type(value)).startswith("numpy.random"):
        return not hasattr(value, "agent_trace_adopted")
    return is_random_class(type(value)) and "getrandbits" not in vars(value)


def own_streams(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the values for which `is_own_stream` is true."""
    perhaps = items_perhaps(fields, _may_hold_generators.known)
    return {name: value for name, value in perhaps if is_own_stream(value)}


def generators_in_fields(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the generators in fields, including those in plain containers and dataclasses, with their places.

    The place of a field's own value is the field name; the place of a generator inside it is
    `<field>#<number>`, counted from 0.
    """
    for name, value in items_perhaps(fields, _may_hold_generators.known):
        if not _may_hold_generators(type(value)):
            continue
        for number, generator in enumerate(_generators(value, _MAX_DEPTH, {})):
            yield name if generator is value else f"{name}#{number}", generator


@by_class
def _may_hold_generators(cls: type) -> bool:
    """Whether objects of a class are generators, or are searched for them."""
    is_searched = issubclass(cls, tuple(_CONTAINERS)) or hasattr(cls, "__dataclass_fields__")
    return is_searched or sort_of(cls) is Sort.GENERATOR


def is_seen(value: object, depth: int, seen: dict[int, int]) -> bool:
    """Whether a walk has visited the value with at least as many remaining levels; notes the visit if not.

    Args:
        value: has to live as long as the walk.
        depth: the remaining levels.
        seen: the remaining levels of earlier visits, by id.
    """
    if seen.get(id(value), -1) >= depth:
        return True
    seen[id(value)] = depth
    return False


def _generators(value: Any, depth: int, seen: dict[int, int]) -> Iterator[Any]:
    if sort_of(type(value)) is Sort.GENERATOR:
        yield value
        return
    if not depth or is_seen(value, depth, seen):
        return
    for item in _items(value):
        if type(item) not in SCALARS:
            yield from _generators(item, depth - 1, seen)


def _items(value: Any) -> Collection[Any]:
    """Return the items of a container of at most `_MOST_ITEMS`, copied without running code of its class."""
    for base, read in _CONTAINERS.items():
        if issubclass(
            type(value), base
        ):  # `isinstance` would make a lazy object, when it reads its `__class__`
            return tuple(read(value)) if base.__len__(value) <= _MOST_ITEMS else ()
    is_dataclass = hasattr(type(value), "__dataclass_fields__")
    return tuple((live_attributes(value) or {}).values()) if is_dataclass else ()


_CONTAINERS: dict[Any, Any] = {
    dict: dict.values,
    list: list.__iter__,
    tuple: tuple.__iter__,
    set: set.__iter__,
    frozenset: frozenset.__iter__,
}


def generator_mark(generator: Any) -> str:
    """Return a short text that changes when a generator is drawn from."""
    return text_of_mark(position_of(generator))


def position_of(generator: Any) -> Position:
    """Return the parts of a generator's state that change when it is drawn from, or spawns others."""
    bits = getattr(generator, "bit_generator", None)
    if bits is None:
        return _drawn(generator, None)
    spawned = getattr(getattr(bits, "seed_seq", None), "n_children_spawned", None)
    drawn = _drawn(generator, bits)
    return (*drawn, spawned) if type(spawned) is int else drawn


def _drawn(generator: Any, bits: Any) -> Position:
    """Return the parts that change when a generator is drawn from; `bits` is numpy's, None for others."""
    if bits is not None:
        mark: Position | None = None if native is None else native.numpy_mark(generator)
        if mark is not None:
            return mark
        state = bits.state
        inner = state["state"]
        number = inner.get("state")
        if type(number) is int:
            return number, state["has_uint32"]
    elif hasattr(generator, "getstate"):
        found = None if native is None else native.random_mark(generator)
        if found is None:
            words = generator.getstate()[1]
            found = words[0], words[-1]
        return *found, str(getattr(generator, "gauss_next", None))
    else:
        state = generator.get_state(legacy=False)
        inner = state["state"]
    more = () if bits is not None else (str(state["has_gauss"]),)
    if "pos" in inner:
        return int(inner["key"][0]), int(inner["pos"]), *more
    if isinstance(inner.get("state"), int):
        return int(inner["state"]), state["has_uint32"]
    counted = inner.get("counter", inner.get("state"))
    return *map(int, counted), state.get("buffer_pos", 0), state["has_uint32"], *more


def stream_position(generator: Any) -> Position:
    """Return the same without the number of generators that it spawned, which full states have.

    For a `RandomState` also without whether it keeps half of a pair of normal numbers: numpy gives that only
    together with all 624 words, which takes 30 us.
    """
    if hasattr(generator, "getstate"):
        return _drawn(generator, None)
    found: Position | None = None if native is None else native.numpy_mark(generator)
    if found is not None:
        return found
    bits = getattr(generator, "bit_generator", None)
    position = _drawn(generator, bits)
    return position[:2] if bits is None and len(position) == _PARTS_OF_RANDOM_STATE else position


_PARTS_OF_RANDOM_STATE = 3
"""Of an MT19937's position in a `RandomState`; no other generator of numpy has as many."""


class WordCount:
    """Counts the 32-bit words that a `random.Random` has drawn since a known state.

    Args:
        base: a generator in that state; it is moved on.
        event_id: the event with that state.
    """

    __slots__ = ("_begin", "_block", "_walker", "event_id")

    def __init__(self, base: Any, event_id: str) -> None:
        self.event_id = event_id
        version, (*words, place), _ = base.getstate()
        base.setstate((version, (*words, _BLOCK_WORDS), None))
        self._walker = base
        self._block = _words_and_place(base)[0]
        self._begin = -int(place)
        """The position of the first word of the block, which is replaced after its last word was drawn."""

    def position_of(self, generator: Any) -> int | None:
        """Return the number of words up to the present state; None if it is not reached soon, and later."""
        block, place = _words_and_place(generator)
        for _ in range(_MOST_BLOCKS):
            if block == self._block:
                position = self._begin + place
                return position if position >= 0 else None
            self._walker.getrandbits(_BLOCK_WORDS * _WORD_BITS)
            self._block = _words_and_place(self._walker)[0]
            self._begin += _BLOCK_WORDS
        return None


def _words_and_place(generator: Any) -> tuple[object, int]:
    found: tuple[object, int] | None = None if native is None else native.random_words(generator)
    if found is not None:
        return found
    *words, place = type(generator).getstate(generator)[1]
    return words, place


def is_mark_of(generator: Any, mark: object) -> bool:
    """Whether a generator is at a recorded position; older recordings do not count what it spawned."""
    present = generator_mark(generator)
    if (
        type(mark) is str
        and hasattr(generator, "bit_generator")
        and present.count(".") == mark.count(".") + 1
    ):
        present = present.rpartition(".")[0]
    return present == mark


def text_of_mark(position: Position) -> str:
    """Join the parts of a position with dots, numbers in hexadecimal."""
    return ".".join(f"{part:x}" if type(part) is int else str(part) for part in position)


def global_generators(cls: type) -> dict[str, Any]:
    """Return the `random.Random` objects that are global in the module of a class, by name."""
    module = sys.modules.get(module_of_class(cls))
    return generators_in(vars(module)) if isinstance(module, ModuleType) else {}
