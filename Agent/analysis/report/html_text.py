"""Text as HTML: everything is escaped unless it was made here, so that what an agent said stays text.

`html_charts` and `html_page` build on it.
"""

from __future__ import annotations

import html
from typing import Final

__all__ = ["Markup", "tag", "text"]

MAX_CHARS: Final = 400


class Markup(str):
    """A piece of HTML; only the functions of this module make it."""

    __slots__ = ()


def text(value: object, most: int = MAX_CHARS) -> Markup:
    """A value as escaped text: cut after so many characters, without what cannot be shown."""
    if isinstance(value, Markup):
        return value
    plain = str(value)
    if len(plain) > most:
        plain = plain[: most - 1] + "…"
    if not plain.isprintable():
        plain = "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in plain)
    return Markup(html.escape(plain))


def tag(name: str, *inner: object, **attributes: object) -> Markup:
    """An element; what stands in it is escaped, an underscore in an attribute's name is a hyphen."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(text(each) for each in inner if each is not None)
    return Markup(f"<{name}{written}>{content}</{name}>")
