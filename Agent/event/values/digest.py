"""Digests for comparing two runs: of a value with its tags, and of the code that ran."""

from __future__ import annotations

import json
import re
from _blake2 import blake2b  # of `hashlib`, without OpenSSL, which that loads
from collections.abc import Mapping
from typing import Any

import orjson

from Agent.event.pointers import escape, fold_tags, unescape
from Agent.event.values.plain import write_json

ALGORITHM = "c1"
"""Prefix of content digests (`c1:`); digests without it predate the reading of content."""

WITH_MORE = "c1.1"
"""The same for content with parts that digests of earlier versions leave out."""

HIDING = "/redacted"
"""Suffix of the algorithm of digests without secrets; such a digest stays equal if a secret changes."""

_UNORDERED_PAIRS = ("map", "Counter", "defaultdict")
_SETS = ("set", "frozenset")
_ATTRIBUTES = ("dataclass", "pydantic", "namedtuple")
_TOKEN = re.compile(r"\[redacted:[0-9a-f]{16}\]")
_TOKEN_BYTES = re.compile(_TOKEN.pattern.encode())
_SHAPE = re.compile(r"\[[^\[\]:]+:[0-9a-f]{16}\]")


def digest_bytes(data: bytes | memoryview) -> str:
    """Return 16 hex digits of BLAKE2b over the bytes."""
    return blake2b(data, digest_size=8).hexdigest()


def short_digest(data: bytes) -> bytes:
    """Return the same digest as 8 bytes."""
    return blake2b(data, digest_size=8).digest()


def digest_json(value: Any, types: Mapping[str, str] | None = None, pointer: str = "") -> str:
    """Return 16 hex digits that are equal for equal tagged values, in any order of keys.

    Args:
        value: a JSON value.
        types: {JSON Pointer: tag} of its event, or of the value only.
        pointer: the value's place in `types`.
    """
    return digest_bytes(canonical_bytes(value, types, pointer))


def digest_named(
    value: Any, types: Mapping[str, str] | None = None, pointer: str = "", raw: bytes | None = None
) -> str:
    """Return the digest, with its algorithm, of a mapping by names such as fields or arguments.

    The order of the names does not count; in the values under them the order of keys does.

    Args:
        value, types, pointer: as for `digest_json`.
        raw: the JSON of the value, if available.
    """
    return named_digest(named_bytes(value, types, pointer, raw))


def named_digest(named: bytes) -> str:
    """Return the digest, with its algorithm, of the bytes from `named_bytes`."""
    return f"{ALGORITHM}:{digest_bytes(named)}"


def named_bytes(
    value: Any, types: Mapping[str, str] | None = None, pointer: str = "", raw: bytes | None = None
) -> bytes:
    """Return the bytes that `digest_named` hashes."""
    if type(value) is dict:
        value = {name: value[name] for name in sorted(value)}
    return canonical_bytes(value, types, pointer, has_order=True, raw=raw)


def code_digest(module: str, qualname: str, source: str) -> str:
    """Return 16 hex digits of a function's identity and text, ignoring line endings and trailing blanks."""
    lines = [line.rstrip() for line in source.splitlines()]
    return digest_bytes(_dump([module, qualname, "\n".join(lines).strip("\n")]))


def differ_in_tokens_alone(one: str, other: str) -> bool:
    """Whether two redacted texts differ only in their hidden secrets.

    Without the key, two tokens do not show whether their secrets are equal, and the key may have changed.
    """
    return "[redacted:" in one and hidden(one) == hidden(other)


def hidden(text: str) -> str:
    """Return the text with one mark in place of every token."""
    return _TOKEN.sub("<hidden>", text)


def leaves_out_secrets(text: str) -> bool:
    """Whether a digest, or a text or tag that contains one, says nothing about secrets in the content."""
    return f"{HIDING}:" in text


def version_in(algorithm: str) -> str:
    """Return the Python version in a digest's algorithm (`c1/3.11`); "" for a digest without code."""
    return algorithm.removesuffix(HIDING).partition("/")[2]


def without_tokens(content: bytes) -> bytes | None:
    """Return the content with every token replaced by one mark; None if nothing was hidden."""
    if b"[redacted:" not in content and b"/redacted:" not in content:
        return None
    return _TOKEN_BYTES.sub(b"<hidden>", content)


def is_shape(text: str) -> bool:
    """Whether a text is a shape (type, size and keyed digest) that replaces a value."""
    return _SHAPE.fullmatch(text) is not None


def canonical_bytes(
    value: Any,
    types: Mapping[str, str] | None = None,
    pointer: str = "",
    *,
    has_order: bool = False,
    raw: bytes | None = None,
) -> bytes:
    """Return the canonical form in which a tagged value is hashed and ordered, with tags inside.

    Args:
        value, types, pointer: as for `digest_json`.
        has_order: keep the order of keys; otherwise they are sorted.
        raw: the JSON of the value, if available.
    """
    prefix = pointer + "/"
    if not types or not any(p == pointer or p.startswith(prefix) for p in types):
        return _dump(value, has_order=has_order)
    # A tagged node becomes {marker: [tag, node]}; the marker is a key that the value does not use.
    plain = raw if raw is not None and b"\\u0000" not in raw else _dump(value)
    depth = 1
    while b'"' + b"\\u0000" * depth + b'"' in plain:
        depth += 1
    marker = "\0" * depth
    normal = _with_order if has_order else _normal
    if len(types) == 1 and pointer in types:
        folded: Any = {marker: [types[pointer], normal(types[pointer], value)]}
    elif type(value) is dict and all(p.startswith(prefix) and "/" not in p[len(prefix) :] for p in types):
        # No tag is inside another tag's node, so a shallow copy suffices.
        folded = value.copy()
        for at, tag in types.items():
            name = unescape(at[len(prefix) :])
            if name in folded:
                folded[name] = {marker: [tag, normal(tag, folded[name])]}
    else:
        folded = fold_tags(value, types, pointer, lambda tag, node, _: {marker: [tag, normal(tag, node)]})
    # No JSON text begins with a number and a colon, so tagged and untagged forms never collide.
    return b"%d:%s" % (depth, _dump(folded, has_order=has_order))


def _normal(tag: str, node: Any) -> Any:
    """Return the node without order that equality ignores, and with order that it observes."""
    name = tag.partition(":")[0]
    if name == "OrderedDict" and type(node) is dict:
        return [[key, value] for key, value in node.items()]
    if type(node) is list and (name in _UNORDERED_PAIRS or name in _SETS):
        return sorted(node, key=_dump)
    return node


def _with_order(tag: str, node: Any) -> Any:
    """Return the node unchanged, except for sets and attributes, which have no order."""
    name = tag.partition(":")[0]
    if name in _ATTRIBUTES and type(node) is dict:
        return {key: node[key] for key in sorted(node)}
    return sorted(node, key=_dump) if name in _SETS and type(node) is list else node


def _dump(value: Any, *, has_order: bool = False) -> bytes:
    try:
        return write_json(value, 0 if has_order else orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError):
        return _dump_flat(value, has_order=has_order)  # too deep, or a value that orjson rejects


def _dump_flat(value: Any, *, has_order: bool) -> bytes:
    """Dump what orjson rejects: lone surrogates, integers over 64 bits, great depth."""
    leaves: list[tuple[str, str]] = []
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, node = pending.pop()
        if type(node) is dict and node:
            if has_order:
                leaves.append((path, json.dumps(list(node))))
            pending.extend((f"{path}/{escape(str(key))}", child) for key, child in node.items())
        elif type(node) is list and node:
            pending.extend((f"{path}#{index}", child) for index, child in enumerate(node))
        elif type(node) is int:
            leaves.append((path, hex(node)))
        else:
            leaves.append((path, json.dumps(node, default=repr)))
    leaves.sort()
    return json.dumps(["flat", *leaves]).encode("ascii")
