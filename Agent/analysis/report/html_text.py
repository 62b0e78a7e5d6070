"""Text as HTML: everything is escaped unless it was made here, so that what an agent said stays text.

`html_charts` and `html_page` build on it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

__all__ = [
    "Markup",
    "clock",
    "count",
    "details",
    "milliseconds",
    "number",
    "plural",
    "seconds",
    "table",
    "tag",
    "text",
]

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


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: frozenset[int] = frozenset()
) -> Markup:
    """Rows under their names; `right` holds the columns of numbers."""
    head = (tag("th", name, class_="n" if at in right else None) for at, name in enumerate(columns))
    body = (
        tag(
            "tr",
            *(tag("td", _cell(value), class_="n" if at in right else None) for at, value in enumerate(row)),
        )
        for row in rows
    )
    inner = tag("thead", tag("tr", *head)), tag("tbody", *body)
    return tag("div", tag("table", *inner), class_="wide")


def details(summary: object, *inner: object) -> Markup:
    """Something that is folded away until it is asked for."""
    return tag("details", tag("summary", summary), *inner)


def _cell(value: object) -> object:
    return "-" if value is None else value


def count(value: Any) -> str:
    """A whole number with its thousands set apart."""
    return "-" if value is None else f"{round(value):,}"


def plural(amount: int, noun: str) -> str:
    """A count with its noun: 1 error, 2 errors."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def number(value: Any) -> str:
    """A number in about four digits."""
    if value is None:
        return "-"
    if isinstance(value, int) or (value == value and abs(value) < 1e15 and value == int(value)):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def milliseconds(value: Any) -> str:
    """A duration that is given in milliseconds, in the unit that reads best."""
    if value is None or value != value:
        return "-"
    if value < 1:
        return f"{value * 1000:.3g} µs"
    return f"{value:.3g} ms" if value < 1000 else seconds(value / 1000)


def seconds(value: Any) -> str:
    """A duration that is given in seconds, in the unit that reads best."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def clock(timestamp: str | None, *, date: bool = False) -> str:
    """The time of day of a timestamp of the recording, in UTC."""
    if not timestamp:
        return "-"
    return f"{timestamp[:10]} {timestamp[11:19]}" if date else timestamp[11:23]
