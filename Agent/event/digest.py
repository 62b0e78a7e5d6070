"""Digests by which two runs are compared: of a value with its tags, and of the code that ran."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from Agent.event.plain import ask_memory_for
from Agent.event.pointers import escape, fold_tags

__all__ = [
    "canonical_bytes",
    "code_digest",
    "differ_in_tokens_alone",
    "digest_bytes",
    "digest_json",
    "is_shape",
]

_UNORDERED_PAIRS = ("map", "Counter", "defaultdict")
_SETS = ("set", "frozenset")
_TOKEN = re.compile(r"\[redacted:[0-9a-f]{16}\]")
_SHAPE = re.compile(r"\[[^\[\]:]+:[0-9a-f]{16}\]")


def digest_bytes(data: bytes) -> str:
    """16 hex digits of BLAKE2b over the bytes."""
    # Not at the top: it loads OpenSSL, which importing the package should not cost.
    from hashlib import blake2b

    return blake2b(data, digest_size=8).hexdigest()


def digest_json(value: Any, types: Mapping[str, str] | None = None, pointer: str = "") -> str:
    """16 hex digits that are equal for equal tagged values, whatever the order of their keys.

    Args:
        value: a JSON value.
        types: {JSON Pointer: tag} of its event, or of the value alone.
        pointer: where the value stands in `types`.
    """
    return digest_bytes(canonical_bytes(value, types, pointer))


def code_digest(module: str, qualname: str, source: str) -> str:
    """16 hex digits of a function's identity and text; line endings and trailing blanks do not count."""
    lines = [line.rstrip() for line in source.splitlines()]
    return digest_bytes(_dump([module, qualname, "\n".join(lines).strip("\n")]))


def differ_in_tokens_alone(one: str, other: str) -> bool:
    """Whether two redacted texts are the same but for which secrets were hidden in them.

    A token says which secret it was only to the holder of the key, who may be another today.
    """
    return "[redacted:" in one and _TOKEN.sub("<hidden>", one) == _TOKEN.sub("<hidden>", other)


def is_shape(text: str) -> bool:
    """Whether a text is a shape, type and size and keyed digest, that stands in the place of a value."""
    return _SHAPE.fullmatch(text) is not None


def canonical_bytes(value: Any, types: Mapping[str, str] | None = None, pointer: str = "") -> bytes:
    """The one form in which a tagged value is hashed and ordered: sorted keys, tags inside."""
    prefix = pointer + "/"
    if not types or not any(p == pointer or p.startswith(prefix) for p in types):
        return _dump(value)
    # A tagged node becomes {marker: [tag, node]}; the marker is a key that the value itself does not use.
    plain = _dump(value)
    depth = 1
    while b'"' + b"\\u0000" * depth + b'"' in plain:
        depth += 1
    marker = "\0" * depth
    folded = fold_tags(value, types, pointer, lambda tag, node, _: {marker: [tag, _normal(tag, node)]})
    # No JSON text begins with a number and a colon, so tagged and untagged forms never meet.
    return b"%d:%s" % (depth, _dump(folded))


def _normal(tag: str, node: Any) -> Any:
    """The node without an order that equality does not see, and with the order that it does see."""
    name = tag.partition(":")[0]
    if name == "OrderedDict" and type(node) is dict:
        return [[key, value] for key, value in node.items()]
    if type(node) is list and (name in _UNORDERED_PAIRS or name in _SETS):
        return sorted(node, key=_dump)
    return node


def _dump(value: Any) -> bytes:
    ask_memory_for(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError):
        return _dump_flat(value)  # too deep, or of what orjson refuses


def _dump_flat(value: Any) -> bytes:
    """The same for what orjson refuses: lone surrogates, integers over 64 bit, great depth."""
    leaves: list[tuple[str, str]] = []
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, node = pending.pop()
        if type(node) is dict and node:
            pending.extend((f"{path}/{escape(str(key))}", child) for key, child in node.items())
        elif type(node) is list and node:
            pending.extend((f"{path}#{index}", child) for index, child in enumerate(node))
        elif type(node) is int:
            leaves.append((path, hex(node)))
        else:
            leaves.append((path, json.dumps(node, default=repr)))
    leaves.sort()
    return json.dumps(["flat", *leaves]).encode("ascii")
