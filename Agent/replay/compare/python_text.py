"""Recorded values and places in them as Python writes them: `orders['a'].price`, `(1, 2)`, `Order(price=3)`.

Recordings hold JSON, tags and JSON Pointers. Reports of replays, forks, diffs and golden traces come here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from Agent.event.pointers import unescape

_OF_ATTRIBUTES: Final = frozenset({"dataclass", "pydantic", "namedtuple", "opaque"})
_OF_PAIRS: Final = frozenset({"map", "Counter", "defaultdict", "OrderedDict"})
_MARKS: Final = {
    "<absent>": "no value",
    "<unchanged>": "unchanged",
    "<not made>": "not made",
    "<removed>": "removed",
}
_BEFORE: Final = 0.4
"""The share of a piece that stands before the first difference."""


def python_path(
    pointer: str,
    value: Any = None,
    types: Mapping[str, str] | None = None,
    at: str = "",
    start: str = "",
) -> str:
    """The place that a JSON Pointer names, as Python would reach it.

    Args:
        pointer: the place inside the value, as differences name it: below mappings with other keys than texts
            the key itself stands in the pointer.
        value: the value as it is recorded; without it attributes look like keys.
        types: the tags of its event.
        at: where the value stands in its event.
        start: what the path begins with, the name of the field for one.
    """
    tags, path = types or {}, start
    for token in pointer.split("/")[1:]:
        key = unescape(token)
        family = tags.get(at, "").partition(":")[0]
        if family in _OF_PAIRS and type(value) is list:
            index = next((i for i, pair in enumerate(value) if _is_key(pair, key)), None)
            if index is None:
                path, value, at = f"{path}[{_key(key)}]", None, "?"
                continue
            shown = value[index][0]
            tag = tags.get(f"{at}/{index}/0", "")
            path += f"[{python_text({'tag': tag, 'value': shown} if tag else shown)}]"
            value, at = value[index][1], f"{at}/{index}/1"
            continue
        if family in _OF_ATTRIBUTES and key.isidentifier():
            path += f".{key}" if path else key
        elif type(value) is list or (type(value) is not dict and key.isdigit()):
            path += f"[{key}]"
        else:
            path += f"[{key!r}]"
        value, at = _child(value, key), f"{at}/{token}"
    return path


def _is_key(pair: Any, key: str) -> bool:
    if type(pair) is not list or len(pair) != 2:
        return False
    return bool(pair[0] == key) or (type(pair[0]) is not str and orjson.dumps(pair[0]).decode() == key)


def _key(text: str) -> str:
    """A key that only the replay has, known by its JSON."""
    try:
        return python_text(orjson.loads(text))
    except orjson.JSONDecodeError:
        return repr(text)


def _child(value: Any, key: str) -> Any:
    if type(value) is dict:
        return value.get(key)
    if type(value) is list and key.isdigit() and int(key) < len(value):
        return value[int(key)]
    return None


def python_text(value: Any) -> str:
    """A value of a report as Python writes it; `{"tag": ..., "value": ...}` is a value of that type."""
    if type(value) is str:
        return _MARKS.get(value, repr(value))
    if type(value) is list:
        return f"[{_items(value)}]"
    if type(value) is not dict:
        return repr(value)
    if value.keys() == {"tag", "value"} and type(value["tag"]) is str:
        return _tagged(value["tag"], value["value"])
    if value.keys() == {"order of keys"}:
        return f"keys in the order {_items(value['order of keys'])}"
    if {"repr", "class"} <= value.keys():
        return object_text(value)
    return "{" + ", ".join(f"{key!r}: {python_text(item)}" for key, item in value.items()) + "}"


def object_text(form: Mapping[str, Any]) -> str:
    """An object without a codec: its class and its plain attributes, as they were recorded."""
    text, attributes = str(form.get("repr")), form.get("attributes")
    if type(attributes) is not dict:
        return text
    inside = ", ".join(f"{name}={python_text(value)}" for name, value in attributes.items())
    return f"{text.removesuffix('>')} with {inside}>"


def _items(values: Any) -> str:
    return ", ".join(map(python_text, values)) if type(values) is list else python_text(values)


def _pairs(value: Any) -> str:
    if type(value) is not list:
        return python_text(value)
    pairs = [pair for pair in value if type(pair) is list and len(pair) == 2]
    return "{" + ", ".join(f"{python_text(key)}: {python_text(item)}" for key, item in pairs) + "}"


def _tuple(value: Any) -> str:
    if type(value) is not list:
        return f"tuple {python_text(value)}"
    return f"({_items(value)}{',' * (len(value) == 1)})"


def _bytes(value: Any) -> str:
    try:
        return repr(base64.b64decode(value, validate=True))
    except (ValueError, TypeError):
        return f"bytes {python_text(value)}"


def _called(name: str) -> Callable[[Any], str]:
    return lambda value: f"{name}({python_text(value)})"


_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "tuple": _tuple,
    "set": lambda value: f"{{{_items(value)}}}" if value else "set()",
    "frozenset": lambda value: f"frozenset({{{_items(value)}}})" if value else "frozenset()",
    "bytes": _bytes,
    "bytearray": lambda value: f"bytearray({_bytes(value)})",
    "map": _pairs,
    "Counter": lambda value: f"Counter({_pairs(value)})",
    "OrderedDict": lambda value: f"OrderedDict({_pairs(value)})",
    "deque": lambda value: f"deque([{_items(value)}])",
    "int": str,
    "float": lambda value: {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(value, str(value)),
    "decimal": _called("Decimal"),
    "uuid": _called("UUID"),
    "path": _called("Path"),
    "complex": lambda value: str(complex(*value)),
    "range": lambda value: f"range({_items(value)})",
    "slice": lambda value: f"slice({_items(value)})",
    "ellipsis": lambda _: "...",
    "agent": lambda value: f"agent {value}",
    "opaque": lambda value: object_text(value) if type(value) is dict and "repr" in value else str(value),
}


def _tagged(tag: str, value: Any) -> str:
    """A value whose type JSON does not have."""
    family, _, rest = tag.partition(":")
    try:
        if family == "deque" and rest:
            return f"deque([{_items(value)}], maxlen={rest})"
        if family in _WORDS:
            return _WORDS[family](value)
    except (TypeError, ValueError):  # a recording that was edited
        return f"{family} {python_text(value)}"
    name = rest.rpartition(".")[2] or rest or family
    if family in _OF_ATTRIBUTES and type(value) is dict:
        return f"{name}({', '.join(f'{key}={python_text(item)}' for key, item in value.items())})"
    if family == "defaultdict":
        return f"defaultdict({rest}, {_pairs(value)})"
    return f"{name}({python_text(value)})"


def differing_texts(recorded: Any, replayed: Any, most_chars: int = 160) -> tuple[str, str]:
    """Two values that differ as texts of at most about that length, both around the first difference."""
    return differing_pieces(python_text(recorded), python_text(replayed), most_chars)


def differing_pieces(one: str, other: str, most_chars: int) -> tuple[str, str]:
    """The pieces of two texts around the first character in which they differ; whole where both are short.

    `…` stands for what was left out.
    """
    if max(len(one), len(other)) <= most_chars:
        return one, other
    at = next(
        (i for i, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )
    longest = max(len(one), len(other))
    begin = max(0, min(at - int(most_chars * _BEFORE), longest - most_chars))
    return _piece(one, begin, most_chars), _piece(other, begin, most_chars)


def _piece(text: str, begin: int, count: int) -> str:
    if begin >= len(text):
        begin = max(0, len(text) - count)
    end = begin + count
    return "…" * (begin > 0) + text[begin:end] + "…" * (end < len(text))
