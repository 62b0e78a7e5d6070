"""The sweep that says whether orjson alone may write a value; `to_json` tries it before anything else.

Plain means: exact dict, list, str, int, float, bool and None, nothing that needs a tag and nothing to cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from Agent.event.values.reading import Limits

SCALARS = frozenset({str, int, float, bool, type(None)})
_STRINGS = frozenset({str})
_CONTAINERS = frozenset({dict, list})
_NESTING = _CONTAINERS | {tuple}
_PLAIN = SCALARS | _CONTAINERS
_FEW_CONTAINERS = 256
_MOST_LEVELS = 256  # orjson refuses to write more
_MOST_AGAIN = 100_000
_SWEPT_FROM = 6  # below, a loop is no dearer than a sweep in C

# Without these orjson would write subclasses, dataclasses and datetimes its own way, and without a tag.
DUMP_OPTIONS = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)


def has_own_hash(kind: type) -> bool:
    """Whether to look a class up in a set would run code of its metaclass."""
    return type(kind) is not type and type(kind).__hash__ is not type.__hash__


def least_bytes(value: Any, most_bytes: int) -> int:
    """How many bytes the JSON of a value has at least; beyond `most_bytes` the counting stops.

    It looks into dicts, lists and tuples alone, 256 levels deep. Where few containers are met again and
    again, so that the JSON would be much larger than the value, there are more than `most_bytes`.
    """
    least = 0
    pending = [value]
    for node in pending:
        kind = type(node)
        if kind is str:
            least += len(node)
        elif kind is dict or kind is list or kind is tuple:
            # n values take at least 2 n - 1 bytes, a string of n characters at least n
            least += 2 * len(node)
            children = list(node.values()) if kind is dict else node
            if kind is not dict and len(children) <= _SWEPT_FROM:
                for child in children:
                    child_kind = type(child)
                    if child_kind is str:
                        least += len(child)
                    elif child_kind in _NESTING:
                        pending.append(child)
            else:
                kinds = set(map(type, children))
                if kind is dict:
                    least += sum([len(key) for key in list(node) if type(key) is str])
                if str in kinds:
                    least += sum([len(child) for child in children if type(child) is str])
                if not kinds.isdisjoint(_NESTING):
                    pending += [child for child in children if type(child) in _NESTING]
        if least > most_bytes:
            break
        if len(pending) > _FEW_CONTAINERS:
            return _least_bytes_by_levels(value, most_bytes)
    return least


def _least_bytes_by_levels(value: Any, most_bytes: int) -> int:
    """What `least_bytes` gives, where there are so many containers that some may be met again and again."""
    least = 0
    level = [value]
    for _ in range(_MOST_LEVELS):
        below: list[Any] = []
        for node in level:
            children = list(node.values()) if type(node) is dict else node
            kinds = set(map(type, children))
            least += 2 * len(node)
            if type(node) is dict:
                least += sum([len(key) for key in list(node) if type(key) is str])
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


def exceeds(value: Any, most_bytes: int) -> bool:
    """Whether the JSON of a value is surely longer, so that orjson need not be asked."""
    return least_bytes(value, most_bytes) > most_bytes


# What orjson takes at most beside the value, in bytes of memory. It reserves eight bytes of its buffer for
# each byte of UTF-8, and 144 for each child of a container as it begins, 288 in a dict. The buffer doubles.
_AT_LEAST = 4_096
_OF_A_WALK = 262_144
_OF_A_BYTE = 24
_OF_AN_ITEM = 48  # its JSON, where it is no text
_OF_THE_WIDEST = 288  # for each key and each value of the container that has most
_OF_A_BYTE_READ = 32
_READ_LIST, _READ_DICT = 80, 240


def most_utf8(text: str) -> int:
    """How many bytes of UTF-8 a text has at most, but for characters beyond U+FFFF."""
    return len(text) if text.isascii() else 3 * len(text)


def ask_memory(utf8_bytes: int) -> None:
    """MemoryError where orjson might not get what it needs for texts of that length.

    An allocation that fails inside orjson ends the process with SIGSEGV; one that fails here raises.
    """
    bytes(_AT_LEAST + _OF_A_BYTE * utf8_bytes)


def ask_memory_for_more() -> None:
    """MemoryError while enough is left to take note of it: with nothing left, Python may hang."""
    bytes(_OF_A_WALK)


_FEW_ITEMS, _SHORT_CHARS = 12, 64
# So small a value takes at most 256 KiB, which are not asked for: asking takes ten times as long as writing.


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


def ask_memory_for(value: Any) -> None:
    """The same for any value without cycles, but for small ones."""
    if type(value) in _NESTING and _is_small(value, 1):
        return
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
    bytes(_AT_LEAST + _OF_A_BYTE * text_bytes + _OF_AN_ITEM * items + _OF_THE_WIDEST * widest)


def write_json(value: Any, options: int = 0) -> bytes:
    """`orjson.dumps`; MemoryError where there may be too little for it."""
    ask_memory_for(value)
    # 0, not None: orjson 3.13.0 leaks a reference to None that it is given as `option`
    return orjson.dumps(value, None, options)


def read_json(data: bytes) -> Any:
    """`orjson.loads`; MemoryError where there may be too little for it."""
    containers = _READ_LIST * data.count(b"[") + _READ_DICT * data.count(b"{")
    bytes(_AT_LEAST + _OF_A_BYTE_READ * len(data) + containers)
    return orjson.loads(data)


def plain_bytes(value: dict[str, Any] | list[Any], limits: Limits) -> bytes | None:
    """The JSON of a container that is plain all the way down and within the limits, else None.

    Raises what orjson raises for lone surrogates, keys that are no strings and integers over 64 bit.
    """
    if not _is_plain(value, limits):
        return None
    data = write_json(value, DUMP_OPTIONS)
    # orjson writes NaN and infinities as null.
    if data.find(b"null") >= 0 and _any_leaf_nonfinite(value):
        return None
    if len(data) <= limits.unread_bytes:
        return data
    return data if len(data) <= limits.max_bytes and _fits(value, limits) else None


def all_scalars(values: Iterable[Any]) -> bool:
    """Whether each value is exactly a str, int, float, bool or None."""
    try:
        return SCALARS.issuperset(map(type, values))
    except Exception:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        return False


def all_strings(values: Iterable[Any]) -> bool:
    """Whether each value is exactly a str."""
    try:
        return _STRINGS.issuperset(map(type, values))
    except Exception:  # noqa: BLE001 - as above
        return False


def scalars_fit(container: list[Any] | dict[str, Any], data: bytes, limits: Limits) -> bool:
    """Whether scalars that orjson wrote as `data` lost nothing: no NaN, no string or key too long."""
    values = list(container.values()) if type(container) is dict else container
    if data.find(b"null") >= 0 and any_nonfinite(values):
        return False
    if len(data) <= limits.max_string_chars:
        return True
    texts = [value for value in values if type(value) is str]
    if type(container) is dict:
        texts += container
    return not any(len(text) > limits.max_string_chars for text in texts)


def _is_plain(value: dict[str, Any] | list[Any], limits: Limits) -> bool:
    pending: list[Any] = [value]
    for node in pending:
        children = node.values() if type(node) is dict else node
        if len(node) > _SWEPT_FROM and SCALARS.issuperset(map(type, children)):
            continue
        for child in children:
            kind = type(child)
            if kind is dict or kind is list:
                pending.append(child)
            elif kind not in SCALARS:
                return False
        # As long as there are no more containers than levels allowed, none can lie too deep.
        if len(pending) > limits.max_depth:
            return _is_plain_by_levels(value, limits)
    return True


def _is_plain_by_levels(value: dict[str, Any] | list[Any], limits: Limits) -> bool:
    # Level by level instead of by recursion: two references to itself would double the calls at each level.
    level: list[Any] = [value]
    seen = 1
    for _ in range(limits.max_depth):
        below: list[Any] = []
        for node in level:
            children = node.values() if type(node) is dict else node
            if SCALARS.issuperset(map(type, children)):
                continue
            if not _PLAIN.issuperset(map(type, children)):
                return False
            below += [child for child in children if type(child) in _CONTAINERS]
            if seen + len(below) > limits.max_items:
                return False
        if not below:
            return True
        seen += len(below)
        level = below
    return False


def any_nonfinite(values: Iterable[Any]) -> bool:
    """Whether a NaN or an infinity is among the values, which orjson would write as null."""
    for value in values:  # noqa: SIM110 - a loop in place is half the price of a call for each
        if type(value) is float and value - value != 0.0:
            return True
    return False


def _any_leaf_nonfinite(value: Any) -> bool:
    pending = [value]
    while pending:
        node = pending.pop()
        children = list(node.values() if type(node) is dict else node)
        if any_nonfinite(children):
            return True
        pending += [child for child in children if type(child) in _CONTAINERS]
    return False


def _fits(value: Any, limits: Limits) -> bool:
    """Whether the value keeps the bounds on items and strings; its JSON is known to be short enough."""
    longest = limits.max_string_chars
    items = 1
    pending = [value]
    while pending:
        node = pending.pop()
        items += len(node)
        if items > limits.max_items:
            return False
        if type(node) is dict and any(len(key) > longest for key in list(node)):
            return False
        for child in list(node.values() if type(node) is dict else node):
            kind = type(child)
            if kind is str:
                if len(child) > longest:
                    return False
            elif kind in _CONTAINERS:
                pending.append(child)
    return True
