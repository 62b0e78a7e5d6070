"""A checkpoint's values as one JSON text, and back: through the value codec and the redactor, like any event.

Events keep their tags beside the value, under JSON Pointers. Here the tag stands at its place,
`{"$type": tag, "$value": value}`, because pointers into a list change with every insertion above them, and
a delta would have to say so for each. `delta` and `chunks` come next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from Agent.errors import DamagedInput
from Agent.event.limits import Limits
from Agent.event.pointers import escape, unescape
from Agent.event.values.digest import digest_bytes
from Agent.event.values.values import decode_value
from Agent.record.encode.capture import Capture

__all__ = ["CHECKPOINT_LIMITS", "Document", "decode_document", "encode_document", "plain_document"]

CHECKPOINT_LIMITS: Final = Limits(
    max_string_chars=64 << 20, max_bytes=256 << 20, max_items=20_000_000, max_depth=100
)
"""Far wider than those of an event: a checkpoint that was cut could not be resumed from."""

_TYPE, _VALUE = "$type", "$value"
_MARK = b'"$type"'
_PLAIN = "plain"
_LOST_TAGS = ("opaque", "truncated")


class Document(NamedTuple):
    """A checkpoint's values as text."""

    text: bytes
    value: Any
    """The same parsed; whoever holds it does not change it."""
    digest: str
    opaque: tuple[str, ...]
    """Pointers of what cannot be restored."""


def encode_document(values: Mapping[str, Any], capture: Capture) -> Document:
    """The values under our own names as one JSON object, redacted; never raises for a value."""
    body, types = capture.body(values, "")
    text = b"{" + body + b"}"
    value = orjson.loads(text)
    if capture.levels is not None and capture.levels.reads_lines:
        types = dict(types or {})
        value = capture.levels.document(value, types)
        text = orjson.dumps(value)
    if types or _MARK in text:
        value = _marked(value, _trie(types or {}), escaping=_MARK in text)
        text = orjson.dumps(value)
    lost = tuple(pointer for pointer, tag in (types or {}).items() if tag in _LOST_TAGS)
    return Document(text, value, digest_bytes(text), lost)


def decode_document(document: Any, text: bytes, unrestored: list[str] | None = None) -> dict[str, Any]:
    """The Python values of a document.

    Args:
        document: what `encode_document` gave as `value`, used up.
        text: the same as text.
        unrestored: collects the pointers of what could not be brought back, where given.

    Raises:
        DamagedInput: it is no JSON object.
    """
    value, types = plain_document(document, text)
    return dict(decode_value(value, types, unrestored=unrestored)) if types else value


def plain_document(document: Any, text: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """The recorded form: plain JSON, and its tags by JSON Pointer, as an event has them; DamagedInput."""
    if type(document) is not dict:
        raise DamagedInput("a checkpoint's document is not a JSON object")
    types: dict[str, str] = {}
    if _MARK not in text:
        return document, types
    try:
        return _unmarked(document, [], types), types
    except LookupError:
        raise DamagedInput("a tag in a checkpoint's document has no value") from None


class _Tags:
    """The tags of a value and of what is below it."""

    __slots__ = ("below", "tag")

    def __init__(self) -> None:
        self.tag: str | None = None
        self.below: dict[str, _Tags] = {}


_NO_TAGS = _Tags()


def _trie(types: Mapping[str, str]) -> _Tags:
    root = _Tags()
    for pointer, tag in types.items():
        node = root
        for token in pointer.split("/")[1:]:
            node = node.below.setdefault(unescape(token), _Tags())
        node.tag = tag
    return root


def _marked(value: Any, tags: _Tags, *, escaping: bool) -> Any:
    """The value with its tags in place; a mapping that has a key `$type` of its own is tagged as plain."""
    kind = type(value)
    if kind is dict:
        for key in list(value) if escaping else [key for key in tags.below if key in value]:
            value[key] = _marked(value[key], tags.below.get(key, _NO_TAGS), escaping=escaping)
        if escaping and _TYPE in value:
            value = {_TYPE: _PLAIN, _VALUE: value}
    elif kind is list:
        if escaping:
            places = list(range(len(value)))
        else:
            places = [int(token) for token in tags.below if token.isdigit() and int(token) < len(value)]
        for place in places:
            below = tags.below.get(str(place), _NO_TAGS)
            value[place] = _marked(value[place], below, escaping=escaping)
    return value if tags.tag is None else {_TYPE: tags.tag, _VALUE: value}


def _unmarked(value: Any, path: list[str], types: dict[str, str]) -> Any:
    kind = type(value)
    if kind is dict:
        tag = value.get(_TYPE)
        if tag is not None:
            value = value[_VALUE]
            if tag == _PLAIN:
                return _members(value, path, types)
            types["".join(path)] = tag
            # What is tagged is no mark itself, unless a mapping was tagged as plain below it.
            return _unmarked(value, path, types) if _is_plain_mark(value) else _members(value, path, types)
    return _members(value, path, types)


def _is_plain_mark(value: Any) -> bool:
    return type(value) is dict and value.get(_TYPE) == _PLAIN


def _members(value: Any, path: list[str], types: dict[str, str]) -> Any:
    kind = type(value)
    if kind is dict:
        for key, child in value.items():
            if type(child) is dict or type(child) is list:
                path.append("/" + escape(key))
                value[key] = _unmarked(child, path, types)
                path.pop()
    elif kind is list:
        for place, child in enumerate(value):
            if type(child) is dict or type(child) is list:
                path.append(f"/{place}")
                value[place] = _unmarked(child, path, types)
                path.pop()
    return value
