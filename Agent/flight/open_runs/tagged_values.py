"""A JSON value with its tags, in a form that is equal for equal values in whichever process they were made.

Two things differ between processes and are no part of a value: the module name of the script that runs, and
how an object without a codec is described beside its digest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import orjson

from Agent.event.pointers import fold_tags, value_at
from Agent.event.script_names import module_name, without_script
from Agent.event.values.digest import digest_named, without_tokens

__all__ = ["Compared", "Tagged", "compared", "is_unseen", "opaque_key"]

_SCRIPT = "__main__."
_SCRIPT_BYTES = b"__main__"
_COMPARED = ("digest", "reference", "handle")
_OF_CUTS = ("head", "class", "repr")
_LARGE = frozenset({"opaque", "truncated"})
_DESCRIBED = ("class", "repr", "attributes", "failure")


class Tagged(NamedTuple):
    """A JSON value and its tags, as pointers into it."""

    value: Any
    types: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Equal for equal arguments, in any order of their names; "" where a part of them cannot be seen."""
        kinds = self.types.values()
        if "opaque" not in kinds and "truncated" not in kinds:
            return digest_named(self.value, self.types)
        unseen: list[str] = []

        def reduced(tag: str, node: Any, at: str) -> Any:
            if tag == "opaque" and type(node) is dict:
                node = opaque_key(node)
            if is_unseen(tag, node):
                unseen.append(at)
            return node

        value = fold_tags(self.value, self.types, "", reduced)
        return "" if unseen else digest_named(value, self.types)

    @property
    def unseen(self) -> str | None:
        """The first part that cannot be seen, and why; None where all of it can."""
        for pointer, tag in self.types.items():
            node = value_at(self.value, pointer) if tag in {"opaque", "truncated"} else None
            if type(node) is dict and is_unseen(tag, node):
                return f"{pointer.removeprefix('/')} cannot be seen: {node['unseen']}"
        return None

    def with_script(self, modules: Collection[str]) -> Tagged:
        """The same value as the script itself would have recorded it.

        Args:
            modules: names under which this process imported the script, whose own name for itself is
                `__main__`.
        """
        if not modules or not self.types:
            return self
        names = "|".join(map(re.escape, sorted(modules, key=len, reverse=True)))
        in_tag, in_text = re.compile(rf":(?:{names})\."), re.compile(rf"(?<![\w.])(?:{names})\.")
        types = {at: in_tag.sub(f":{_SCRIPT}", tag, count=1) for at, tag in self.types.items()}
        if "opaque" not in types.values():
            return Tagged(self.value, types)

        def renamed(tag: str, node: Any, _at: str) -> Any:
            if tag != "opaque" or type(node) is not dict:
                return node
            texts = {key: node[key] for key in ("class", "repr") if type(node.get(key)) is str}
            return {**node, **{key: in_text.sub(_SCRIPT, text) for key, text in texts.items()}}

        return Tagged(fold_tags(self.value, self.types, "", renamed), types)


def opaque_key(node: Mapping[str, Any]) -> dict[str, Any]:
    """What tells an object without a codec from others.

    That is the digest of its content, or the name of what it refers to; in recordings made before content
    digests its description.
    """
    if "unseen" in node:
        return {"unseen": node["unseen"]}
    if str(node.get("digest", "")).startswith("c") or "reference" in node or "handle" in node:
        return {key: node[key] for key in _COMPARED if key in node}
    return {key: node[key] for key in _DESCRIBED if key in node}


def is_unseen(tag: str, node: Any) -> bool:
    """Whether that is all that is known of a value: that it could not be looked into."""
    return tag in {"opaque", "truncated"} and type(node) is dict and "unseen" in node


class Compared(NamedTuple):
    """What of a document is the same in another process that makes the same document."""

    content: bytes | None
    """The document without secrets, names of the script and descriptions; None where it has none of them."""
    unseen: tuple[str, ...]
    """Why parts of it cannot be seen, so that equal content proves nothing of them."""


def compared(content: bytes, types: Mapping[str, str]) -> Compared:
    """What is compared of a text or a JSON document.

    Args:
        content: in UTF-8.
        types: the tags of a JSON document, by pointer.
    """
    unseen: list[str] = []

    def reduced(tag: str, node: Any, _at: str) -> Any:
        if type(node) is not dict:
            return node
        if is_unseen(tag, node):
            unseen.append(str(node["unseen"]))
        if tag == "truncated":
            kept = {key: each for key, each in node.items() if key not in _OF_CUTS}
            name, mark, cls = str(node.get("tag", "")).partition(":")
            return {**kept, "tag": f"{name}{mark}{without_script(cls)}"}
        return {**opaque_key(node), "same_as": node.get("same_as")}

    told = content
    large = {at: tag for at, tag in types.items() if tag in _LARGE}
    if large:
        told = orjson.dumps(fold_tags(orjson.loads(content), large, "", reduced))
    if _SCRIPT_BYTES in told:
        told = told.replace(_SCRIPT_BYTES, str(module_name("__main__")).encode("utf-8", "replace"))
    told = without_tokens(told) or told
    return Compared(None if told == content else told, tuple(dict.fromkeys(unseen)))
