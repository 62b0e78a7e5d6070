"""JSON Pointers, and the traversal that applies the tags of a value, innermost first.

Decoding and digests both use `fold_tags`: decoding restores the value that a tag describes, a digest includes
the tag itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_SCALARS = frozenset({str, int, float, bool, type(None)})


def escape(key: str) -> str:
    """Escape a key as one token of a JSON Pointer: `~` becomes `~0`, `/` becomes `~1`."""
    if "~" in key or "/" in key:
        return key.replace("~", "~0").replace("/", "~1")
    return key


def unescape(token: str) -> str:
    """Return the key of a token of a JSON Pointer."""
    return token.replace("~1", "/").replace("~0", "~") if "~" in token else token


def value_at(value: Any, pointer: str, default: Any = None) -> Any:
    """Return the part of a JSON value at a JSON Pointer, the default if the pointer leads nowhere."""
    for token in pointer.split("/")[1:]:
        if type(value) is dict and token in value and "~" not in token:
            value = value[token]
            continue
        value = _child(value, token)
        if value is _NOTHING:
            return default
    return value


def tags_below(types: Mapping[str, str] | None, pointer: str) -> dict[str, str]:
    """Return the tags of the value at a pointer, by pointers relative to it."""
    return {
        at[len(pointer) :]: tag
        for at, tag in (types or {}).items()
        if at == pointer or at.startswith(f"{pointer}/")
    }


def leads_to(value: Any, pointer: str) -> bool:
    """Return whether a JSON Pointer leads to a part of a JSON value."""
    return value_at(value, pointer, _NOTHING) is not _NOTHING


def copy_tree(value: Any) -> Any:
    """Copy a JSON value of any depth, without recursion; the copy shares no dict or list with it."""
    if type(value) is dict and _SCALARS.issuperset(map(type, value.values())):
        return value.copy()  # the usual case: most arguments of actions, and all flat fields
    holder: list[Any] = [value]
    pending: list[Any] = [holder]
    while pending:
        node = pending.pop()
        for key, child in list(node.items() if type(node) is dict else enumerate(node)):
            kind = type(child)
            if kind is dict or kind is list:
                copied = child.copy()
                node[key] = copied
                if copied:
                    pending.append(copied)
    return holder[0]


def is_deeper(value: Any, levels: int) -> bool:
    """Return whether a JSON value is nested deeper than `levels`, without recursion."""
    nodes = [value]
    for _ in range(levels + 1):
        nodes = [
            child
            for node in nodes
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not nodes:
            return False
    return True


def fold_tags(
    value: Any,
    types: Mapping[str, str],
    pointer: str,
    apply: Callable[[str, Any, str], Any],
    unresolved: list[str] | None = None,
) -> Any:
    """Copy a JSON value, with each tagged node replaced by `apply(tag, node, pointer)`, innermost first.

    Args:
        value: a JSON value; it is not changed.
        types: {JSON Pointer: tag}; pointers outside `pointer` belong to other values and are ignored.
        pointer: the position of the value in its event; `""` if it is the whole event.
        apply: makes the new node from a node whose tagged children are already replaced.
        unresolved: if given, collects the pointers that lead nowhere.
    """
    prefix = pointer + "/"
    mine = [p for p in types if p == pointer or p.startswith(prefix)]
    holder = [copy_tree(value)]
    # Deepest first, so no pointer has to pass through a node that is no longer JSON.
    mine.sort(key=lambda p: p.count("/"), reverse=True)
    for full in mine:
        tokens = ["0", *full[len(pointer) :].split("/")[1:]]
        parent: Any = holder
        for token in tokens[:-1]:
            parent = _child(parent, token)
        node = _child(parent, tokens[-1])
        if node is _NOTHING:
            if unresolved is not None:
                unresolved.append(full)
            continue
        key: Any = int(tokens[-1]) if type(parent) is list else unescape(tokens[-1])
        parent[key] = apply(types[full], node, full)
    return holder[0]


_NOTHING: Any = object()


def _child(node: Any, token: str) -> Any:
    if type(node) is dict:
        return node.get(unescape(token), _NOTHING)
    if type(node) is list and token.isdecimal() and len(token) < 12 and token.isascii():
        index = int(token)
        if index < len(node) and (token[0] != "0" or token == "0"):
            return node[index]
    return _NOTHING
