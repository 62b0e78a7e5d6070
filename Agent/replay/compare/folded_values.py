"""Values folded with their tags, as plain JSON, and as reports show them."""

from __future__ import annotations

from typing import Any, NamedTuple

from Agent.event.values.digest import canonical_bytes, digest_json
from Agent.event.values.opaque import NOT_READ, OpaqueKind
from Agent.replay.compare.python_text import differing_pieces

MAX_SHOWN_CHARS = 400


class Folded(NamedTuple):
    """A value with the tag of its type."""

    tag: str
    node: Any


class _Absent:
    def __repr__(self) -> str:
        return "<absent>"


ABSENT = _Absent()


def plain(value: Any, *, with_tags: bool = False) -> Any:
    """Return a folded value as plain JSON, by default without tags."""
    if type(value) is Folded:
        node = plain(value.node, with_tags=with_tags)
        return {"tag": value.tag, "value": node} if with_tags else node
    if type(value) is dict:
        return {key: plain(item, with_tags=with_tags) for key, item in value.items()}
    if type(value) is list:
        return [plain(item, with_tags=with_tags) for item in value]
    return value


def shown_with_tag(value: Any) -> Any:
    """Return a value with its tag, since values with different tags may have the same content."""
    if type(value) is Folded and not str(shown(value)).startswith("<"):
        return {"tag": value.tag, "value": shown(value)}
    return shown(value)


def is_tag_of_generator(tag: str) -> bool:
    """Whether a tag is that of a random generator."""
    return tag.startswith(("random.", "numpy.Generator", "numpy.RandomState"))


def shown(value: Any) -> Any:
    """Return a value as a report shows it: shortened plain JSON; a generator's state as a digest."""
    if value is ABSENT:
        return "<absent>"
    if type(value) is Folded and is_tag_of_generator(value.tag):
        return f"<{value.tag} state {digest_json(plain(value))}>"
    bare = plain(value)
    text = _text_of(bare)
    return bare if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 3] + "..."


def shown_beside(one: Any, other: Any) -> tuple[Any, Any]:
    """Return two differing values like `shown`, but cut long ones around the first difference."""
    left, right = shown(one), shown(other)
    if one is ABSENT or other is ABSENT or _is_digest(left) or _is_digest(right):
        return left, right
    one_text, other_text = (_text_of(plain(each)) for each in (one, other))
    if max(len(one_text), len(other_text)) <= MAX_SHOWN_CHARS:
        return left, right
    return differing_pieces(one_text, other_text, MAX_SHOWN_CHARS)


def _is_digest(value: Any) -> bool:
    return type(value) is str and value.startswith("<")


def _text_of(bare: Any) -> str:
    return canonical_bytes(bare).decode("utf-8", "replace")


def is_unread(value: Any) -> bool:
    """Whether the content of a value was not read in its call."""
    return type(value) is Folded and type(value.node) is dict and value.node.get("reference") == NOT_READ


def is_redacted(value: Any) -> bool:
    """Whether a token replaces a secret."""
    return type(value) is Folded and value.tag == "redacted"


def without_redaction(value: Any) -> Any:
    """Return a token without its tag; other values as they are."""
    return value.node if is_redacted(value) else value


def key_of(value: Any) -> bytes:
    """Return a sort key for set members and mapping keys that does not depend on hash order."""
    return canonical_bytes(plain(value, with_tags=True))


def by_key_of(pairs: list[Any]) -> dict[bytes, tuple[Any, Any]]:
    """Return the (key, value) pairs of a mapping by `key_of` of the key."""
    by_key: dict[bytes, tuple[Any, Any]] = {}
    for pair in pairs:
        if type(pair) is list and len(pair) == 2:
            by_key[key_of(pair[0])] = (pair[0], pair[1])
        else:
            by_key[key_of(pair)] = (pair, None)
    return by_key


def is_object(key: Any) -> bool:
    """Whether a folded value is an object without a codec."""
    return type(key) is Folded and key.tag == "opaque" and type(key.node) is dict


def name_of(key: Any) -> str:
    """Return a key as a text for a JSON Pointer."""
    value = plain(key)
    return value if type(value) is str else canonical_bytes(value).decode("utf-8", "replace")


class FormOfContent(NamedTuple):
    """The content of a value without a codec, as far as it was recorded."""

    kind: OpaqueKind
    text: str


def content_in(form: Any) -> FormOfContent:
    """Return the kind and text that describe the content of a value without a codec."""
    if type(form) is dict:
        for kind in OpaqueKind:
            if type(form.get(kind)) is str:
                return FormOfContent(kind, form[kind])
    return FormOfContent(OpaqueKind.UNSEEN, "its content was not recorded")
