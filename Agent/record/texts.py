"""Texts for people made of any value: messages, labels, names, which no `__str__` of a stranger may break."""

from __future__ import annotations

from collections.abc import Callable

_MAX_SHOWN_CHARS = 2000
# What may be cut off inside a secret; nothing shaped like one is longer, private keys aside.
_MARGIN_CHARS = 600


def as_text(value: object) -> str:
    """The value as text; one whose text cannot be made is named by its class."""
    if type(value) is str:
        return value
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a stranger's __str__ may do anything
        return f"<{type(value).__name__}>"


def printable(text: str) -> str:
    """The text with lone surrogates shown as escapes, since UTF-8 cannot hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def clean_head(text: str, redact: Callable[[str], str], max_chars: int = _MAX_SHOWN_CHARS) -> str:
    """The beginning of a text without its secrets; it is cut where no half of a secret is left."""
    if len(text) <= max_chars:
        return printable(redact(text))
    # The end of the piece may cut a secret in two, which then has no shape: it is read, and not shown.
    clean = redact(text[: max_chars + 2 * _MARGIN_CHARS])
    return printable(clean[: min(max_chars, len(clean) - _MARGIN_CHARS)])


def clean_tail(text: str, redact: Callable[[str], str], max_chars: int) -> str:
    """The end of a text of many lines without its secrets, from the beginning of a line on."""
    if len(text) <= max_chars:
        return printable(redact(text))
    clean = redact(text[-8 * max_chars :])[-max_chars:]
    return printable(clean[clean.find("\n") + 1 :])
