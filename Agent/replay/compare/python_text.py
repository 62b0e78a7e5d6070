"""Recorded values and JSON Pointers in Python notation: `orders['a'].price`, `(1, 2)`, `Order(price=3)`.

Recordings contain JSON, tags and JSON Pointers. Reports of replays, forks, diffs and golden traces use this
module to show them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from os.path import commonprefix
from typing import Any, Final

import orjson

from Agent.event.pointers import unescape, value_at

_OF_ATTRIBUTES: Final = frozenset({"dataclass", "pydantic", "namedtuple", "opaque"})
_OF_PAIRS: Final = frozenset({"map", "Counter", "defaultdict", "OrderedDict"})
_MARKS: Final = {
    "<absent>": "no value",
    "<unchanged>": "unchanged",
    "<not made>": "not made",
    "<removed>": "removed",
}
_BEFORE: Final = 0.4
"""The share of a piece that precedes the first difference."""


def python_path(
    pointer: str,
    value: Any = None,
    types: Mapping[str, str] | None = None,
    at: str = "",
    start: str = "",
) -> str:
    """Return the Python expression for the place that a JSON Pointer names.

    Args:
        pointer: the place inside the value, as in a difference: a mapping that is recorded as a list of pairs
            is addressed by the key, not by the index of the pair.
        value: the recorded value; without it attributes look like keys.
        types: the tags of its event.
        at: the JSON Pointer of the value in its event.
        start: the beginning of the expression, such as the name of the field.
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
        value, at = value_at(value, f"/{token}"), f"{at}/{token}"
    return path


def _is_key(pair: Any, key: str) -> bool:
    if type(pair) is not list or len(pair) != 2:
        return False
    return bool(pair[0] == key) or (type(pair[0]) is not str and orjson.dumps(pair[0]).decode() == key)


def _key(text: str) -> str:
    """Return a key that only the replay has in Python notation, from its JSON."""
    try:
        return python_text(orjson.loads(text))
    except orjson.JSONDecodeError:
        return repr(text)


def python_text(value: Any) -> str:
    """Return a report's value in Python notation; `{"tag": ..., "value": ...}` is a value with that tag."""
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
    """Return an object without a codec as text: its class and its recorded plain attributes."""
    text, attributes = str(form.get("repr")), form.get("attributes")
    if type(attributes) is not dict:
        return text
    inside = ", ".join(f"{name}={python_text(value)}" for name, value in attributes.items())
    return f"{text.removesuffix('>')} with {inside}>"


def text_with_digest(form: Mapping[str, Any]) -> str:
    """Return an object without a codec as text: class, plain attributes and content digest."""
    text, digest = object_text(form), form.get("digest")
    return text if digest is None else f"{text} (content {str(digest).rpartition(':')[2]})"


def shared_text(place: str | None) -> str:
    """Describe where the same object occurs elsewhere in the value, or say that it does not."""
    return "a separate object" if place is None else f"the object at {place or 'the top'}"


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
    """Return a tagged value, whose type JSON does not have, in Python notation."""
    family, _, rest = tag.partition(":")
    try:
        if family == "deque" and rest:
            return f"deque([{_items(value)}], maxlen={rest})"
        if family == "uuid" and rest:
            return f"UUID({python_text(value)}, is_safe={rest})"
        if family in _WORDS:
            return _WORDS[family](value)
    except (TypeError, ValueError):  # the value does not fit its tag: an edited recording
        return f"{family} {python_text(value)}"
    rest, _, content = rest.partition("@") if family == "enum" else (rest, "", "")
    name = rest.rpartition(".")[2] or rest or family
    if content:
        member = value if type(value) is str else "|".join(map(str, value))
        return f"<{name}.{member}: {content}>"
    if family in _OF_ATTRIBUTES and type(value) is dict:
        return f"{name}({', '.join(f'{key}={python_text(item)}' for key, item in value.items())})"
    if family == "defaultdict":
        return f"defaultdict({rest}, {_pairs(value)})"
    return f"{name}({python_text(value)})"


def differing_texts(recorded: Any, replayed: Any, most_chars: int = 160) -> tuple[str, str]:
    """Return two differing values as texts of about `most_chars`, both around the first difference."""
    one, other = differing_pieces(python_text(recorded), python_text(replayed), most_chars)
    classes = [
        str(each.get("tag", "")).partition(":")[2] for each in (recorded, replayed) if type(each) is dict
    ]
    if one != other or len(set(classes)) < 2:
        return one, other
    return f"{one} of class {classes[0]}", f"{other} of class {classes[1]}"


def differing_pieces(one: str, other: str, most_chars: int) -> tuple[str, str]:
    """Return the pieces of two texts around the first differing character; short texts are returned whole.

    `…` marks omitted text.
    """
    if max(len(one), len(other)) <= most_chars:
        return one, other
    at, longest = len(commonprefix([one, other])), max(len(one), len(other))  # noqa: RUF071 - not paths
    begin = max(0, min(at - int(most_chars * _BEFORE), longest - most_chars))
    return _piece(one, begin, most_chars), _piece(other, begin, most_chars)


def _piece(text: str, begin: int, count: int) -> str:
    if begin >= len(text):
        begin = max(0, len(text) - count)
    end = begin + count
    return "…" * (begin > 0) + text[begin:end] + "…" * (end < len(text))
