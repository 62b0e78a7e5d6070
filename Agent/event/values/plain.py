"""The check whether orjson may write a value directly; `to_json` tries it first.

Plain means: exact dict, list, str, int, float, bool and None, with nothing to tag and nothing to cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from Agent.event.limits_of_time import pass_on
from Agent.event.values.reading import Limits

SCALARS = frozenset({str, int, float, bool, type(None)})
_STRINGS = frozenset({str})
_CONTAINERS = frozenset({dict, list})
_NESTING = _CONTAINERS | {tuple}
# By `id`, because a metaclass may have its own `__hash__`.
_SCALAR_IDS, _COUNTED_IDS = frozenset(map(id, SCALARS)), frozenset(map(id, (*_NESTING, set, frozenset)))
_MOST_LEVELS = 256  # orjson's limit
_MOST_AGAIN = 100_000
_SWEPT_FROM = 6  # for fewer items a loop is as fast as one call in C

# Without these, orjson writes subclasses, dataclasses and datetimes in its own format, and without a tag.
DUMP_OPTIONS = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)


def has_own_hash(kind: type) -> bool:
    """Whether a lookup of a class in a set would run code of its metaclass."""
    return type(kind) is not type and type(kind).__hash__ is not type.__hash__


def least_bytes(value: Any, most_bytes: int) -> int:
    """Return a lower bound for the JSON size of a value in bytes; counting stops beyond `most_bytes`.

    Only dicts, lists and tuples are searched, 256 levels deep. If few containers occur very often, so that
    the JSON would be much larger than the value, the result exceeds `most_bytes`.
    """
    least = len(value) if type(value) is str else 0
    level = [value] if type(value) in _NESTING else []
    for _ in range(_MOST_LEVELS):
        below: list[Any] = []
        for node in level:
            # n values take at least 2 n - 1 bytes, a string of n characters at least n.
            least += 2 * len(node)
            children = node
            if type(node) is dict:
                children = list(node.values())
                least += sum([len(key) for key in list(node) if type(key) is str])
            kinds = set(map(type, children))
            if str in kinds:
                least += sum([len(child) for child in children if type(child) is str])
            if not kinds.isdisjoint(_NESTING):
                below += [child for child in children if type(child) in _NESTING]
            if least > most_bytes:
                return least
        if len(below) > _MOST_AGAIN and len(set(map(id, below))) < len(below) // 2:
            return most_bytes + 1
        if not below:
            break
        level = below
    return least


class Census(NamedTuple):
    """What a container holds at all depths."""

    nodes: int
    """Number of values, itself included; at least, since what occurs twice is counted once."""
    containers: int
    is_data: bool
    """Whether everything in it is a scalar or a builtin container; False if counting stopped."""


def census(value: Any, most_nodes: int | None = None, most_levels: int | None = None) -> Census:
    """Count the values in nested dicts, lists, tuples and sets.

    Args:
        most_nodes: counting stops beyond it.
        most_levels: so many levels of containers are searched.
    """
    level = [value] if id(type(value)) in _COUNTED_IDS else []
    seen = set(map(id, level))
    nodes, is_data = 1, bool(level) or id(type(value)) in _SCALAR_IDS
    while level and most_levels != 0:
        most_levels = None if most_levels is None else most_levels - 1
        below: list[Any] = []
        for node in level:
            children = list(node)
            if type(node) is dict:
                children = [*node.values(), *([] if all_strings(children) else children)]
            nodes += len(children)
            if most_nodes is not None and nodes > most_nodes:
                return Census(nodes, len(seen), False)
            others = set(map(id, map(type, children))) - _SCALAR_IDS
            if others:
                is_data = is_data and _COUNTED_IDS.issuperset(others)
                below += [each for each in children if id(type(each)) in _COUNTED_IDS]
        fresh = {id(each): each for each in below if id(each) not in seen}
        seen.update(fresh)
        level = list(fresh.values())
    return Census(nodes, len(seen), is_data)


def exceeds(value: Any, most_bytes: int) -> bool:
    """Whether the JSON of a value certainly exceeds the limit, so that orjson need not be called."""
    return not 0 <= most_needed(value) <= most_bytes and least_bytes(value, most_bytes) > most_bytes


# Upper bounds in bytes for the memory of orjson besides the value. It reserves 8 bytes of its buffer for each
# byte of UTF-8, and 144 for each child of a container at its beginning, 288 in a dict. The buffer doubles.
_AT_LEAST = 4_096
_OF_A_WALK = 262_144
_OF_A_BYTE = 24
_OF_AN_ITEM = 48  # its JSON, unless it is a text
_OF_THE_WIDEST = 288  # for each key and value of the largest container
_OF_A_BYTE_READ = 32
_READ_LIST, _READ_DICT = 80, 240


def most_utf8(text: str) -> int:
    """Return an upper bound for a text's size in UTF-8, except for characters beyond U+FFFF."""
    return len(text) if text.isascii() else 3 * len(text)


def ask_memory(utf8_bytes: int) -> None:
    """Raise MemoryError if orjson might lack memory for texts of that length.

    An allocation that fails inside orjson ends the process with SIGSEGV; one that fails here raises.
    """
    bytes(_AT_LEAST + _OF_A_BYTE * utf8_bytes)


def ask_memory_for_more() -> None:
    """Raise MemoryError while enough memory is left to handle it: with none left, Python may hang."""
    bytes(_OF_A_WALK)


_FEW_ITEMS, _SHORT_CHARS = 12, 64
_OF_SMALL_VALUES = 262_144
# Small values need at most that; no check is made for them, as it takes 10 times as long as writing.


def _is_small(value: Any, levels: int) -> bool:
    is_dict = type(value) is dict
    if len(value) > _FEW_ITEMS or (is_dict and not _STRINGS.issuperset(map(type, value))):
        return False
    for child in value.values() if is_dict else value:
        kind = type(child)
        if kind is str:
            if len(child) > _SHORT_CHARS:
                return False
        elif kind in _NESTING and not (levels and _is_small(child, levels - 1)):
            return False
    return not is_dict or sum(map(len, value)) <= _FEW_ITEMS * _SHORT_CHARS


def _most_needed(_value: Any) -> int:
    return -1


most_needed: Callable[[Any], int] = _most_needed
"""Returns the bytes that orjson may need for a value; -1 if they have to be counted here.

`record/` replaces it by a C function.
"""


def is_surely_small(value: Any) -> bool:
    """Whether its JSON is so short that writing it is the fastest way to know its size."""
    return 0 <= most_needed(value) <= _OF_SMALL_VALUES


def ask_memory_for(value: Any) -> None:
    """Raise MemoryError if orjson might lack memory for a value without cycles; skips small values."""
    most_bytes = most_needed(value)
    if 0 <= most_bytes <= _OF_SMALL_VALUES or (type(value) in _NESTING and _is_small(value, 1)):
        return
    if most_bytes < 0:
        most_bytes = _counted_needs(value)
    if most_bytes > _OF_SMALL_VALUES:
        bytes(_AT_LEAST + most_bytes)


def _counted_needs(value: Any) -> int:
    text_bytes = items = widest = 0
    pending = [value]
    children: Sequence[Any]
    for node in pending:
        kind = type(node)
        if kind is dict:
            children = [*node, *node.values()]
        elif kind is list or kind is tuple:
            children = node
        else:
            children = (node,)
        count = len(children)
        items += count
        if count > widest:
            widest = count
        if count <= 2 * _SWEPT_FROM:
            for child in children:
                kind = type(child)
                if kind is str:
                    text_bytes += len(child) if child.isascii() else 3 * len(child)
                elif kind in _NESTING:
                    pending.append(child)
            continue
        kinds = set(map(type, children))
        if str in kinds:
            text_bytes += sum([most_utf8(child) for child in children if type(child) is str])
        if not kinds.isdisjoint(_NESTING):
            pending += [child for child in children if type(child) in _NESTING]
    return _OF_A_BYTE * text_bytes + _OF_AN_ITEM * items + _OF_THE_WIDEST * widest


def write_json(value: Any, options: int = 0) -> bytes:
    """Call `orjson.dumps`; raise MemoryError if it may lack memory."""
    ask_memory_for(value)
    # 0, not None: orjson 3.13.0 leaks a reference to None passed as `option`.
    return orjson.dumps(value, None, options)


def read_json(data: bytes) -> Any:
    """Call `orjson.loads`; raise MemoryError if it may lack memory."""
    containers = _READ_LIST * data.count(b"[") + _READ_DICT * data.count(b"{")
    bytes(_AT_LEAST + _OF_A_BYTE_READ * len(data) + containers)
    return orjson.loads(data)


def number_in(value: object) -> float | None:
    """A JSON number, or the text of one (NaN, an integer beyond 64 bit), as a float; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None  # not the text of a number


def json_or_text(text: str) -> Any:
    """Parse typed text as JSON; return the text itself if it is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def plain_bytes(value: dict[str, Any] | list[Any], limits: Limits) -> bytes | None:
    """Return the JSON of a container that is plain at all levels and within the limits, else None.

    Raises what orjson raises for lone surrogates and integers over 64 bits.
    """
    if not _is_plain(value, limits):
        return None
    data = write_json(value, DUMP_OPTIONS)
    # orjson writes NaN and infinities as null.
    if data.find(b"null") >= 0 and any(any_nonfinite(children) for _, children in _containers_in(value)):
        return None
    if len(data) <= limits.unread_bytes:
        return data
    return data if len(data) <= limits.max_bytes and _fits(value, limits) else None


def all_scalars(values: Iterable[Any]) -> bool:
    """Whether each value is exactly a str, int, float, bool or None."""
    try:
        return SCALARS.issuperset(map(type, values))
    except Exception as error:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        pass_on(error)
        return False


def all_strings(values: Iterable[Any]) -> bool:
    """Whether each value is exactly a str."""
    try:
        return _STRINGS.issuperset(map(type, values))
    except Exception as error:  # noqa: BLE001 - as above
        pass_on(error)
        return False


def scalars_fit(container: list[Any] | dict[str, Any], data: bytes, limits: Limits) -> bool:
    """Whether scalars that orjson wrote as `data` lost nothing: no NaN, no string or key too long."""
    values = list(container.values()) if type(container) is dict else container
    if data.find(b"null") >= 0 and any_nonfinite(values):
        return False
    return len(data) <= limits.max_string_chars or _fits(container, limits)


def _is_plain(value: dict[str, Any] | list[Any], limits: Limits) -> bool:
    # By levels, not recursion: a list with two references to itself would double the calls at each level.
    level: list[Any] = [value]
    seen = 1
    for _ in range(limits.max_depth):
        below: list[Any] = []
        for node in level:
            children = node.values() if type(node) is dict else node
            if type(node) is dict and not _STRINGS.issuperset(map(type, node)):
                return False
            if len(node) > _SWEPT_FROM and SCALARS.issuperset(map(type, children)):
                continue
            for child in children:
                kind = type(child)
                if kind is dict or kind is list:
                    below.append(child)
                elif kind not in SCALARS:
                    return False
            if seen + len(below) > limits.max_items:
                return False
        if not below:
            return True
        seen += len(below)
        level = below
    return False


def is_same_scalar(one: Any, other: Any) -> bool:
    """Whether two scalars have the same type and value: NaN equals NaN, and 0.0 differs from -0.0."""
    if type(one) is not type(other):
        return False
    if one == other:
        return one != 0.0 or type(one) is not float or math.copysign(1.0, one) == math.copysign(1.0, other)
    return bool(one != one and other != other)


def any_nonfinite(values: Iterable[Any]) -> bool:
    """Whether the values include a NaN or an infinity, which orjson would write as null."""
    for value in values:  # noqa: SIM110 - an inline loop costs half as much as a call per value
        if type(value) is float and value - value != 0.0:
            return True
    return False


def _containers_in(value: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield a container and those in it, each with its children."""
    pending = [value]
    while pending:
        node = pending.pop()
        children = list(node.values() if type(node) is dict else node)
        yield node, children
        pending += [child for child in children if type(child) in _CONTAINERS]


def _fits(value: Any, limits: Limits) -> bool:
    """Whether the value is within the limits on items and strings; its JSON is known to be short enough."""
    longest = limits.max_string_chars
    items = 1
    for node, children in _containers_in(value):
        items += len(node)
        texts = [*node, *children] if type(node) is dict else children
        if items > limits.max_items or any(type(text) is str and len(text) > longest for text in texts):
            return False
    return True


# Texts and numbers that a library may have made from a clock or randomness, by their form.

EPOCH_S: Final = (946_684_800, 4_102_444_800)
"""2000 to 2100: numbers in this range, also in milli-, micro- or nanoseconds, count as moments."""
UNITS: Final = (1, 1_000, 1_000_000, 1_000_000_000)
MOST_MADE: Final = 64
"""Maximum number of such texts and numbers that are kept for one value."""
SHORTEST_MADE: Final = 16
_LONGEST_MADE: Final = 200
_HEX: Final = "[0-9a-fA-F]"
_find: Final = re.compile(  # one common prefix, which the search skips to at the speed of C
    rf"{_HEX}{{4}}(?:{_HEX}{{4}}(?:-{_HEX}{{4}}-|{_HEX}{{8}})|-\d\d-\d\d[T ]\d\d:\d\d:\d\d)"
).search


def unit_of(value: Any) -> int | None:
    """Return the units per second of a number that may be a moment; None for others."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return next((unit for unit in UNITS if EPOCH_S[0] * unit <= value < EPOCH_S[1] * unit), None)


def any_may_be_made(values: Iterable[Any]) -> bool:
    """Whether any plain value has the form of an id, or of a moment since 2000 in seconds."""
    for value in values:
        kind = type(value)
        if kind is str:
            if SHORTEST_MADE <= len(value) <= _LONGEST_MADE and _find(value) is not None:
                return True
        elif kind is float and EPOCH_S[0] <= value < EPOCH_S[1]:
            return True
    return False
