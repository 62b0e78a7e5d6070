"""Cut an answer to a number of characters, and say what was left out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import orjson

from Agent.event.pointers import escape
from Agent.render.words import plural

_STEPS: Final = (
    (200, 4000, 16),
    (100, 2000, 16),
    (60, 1000, 12),
    (30, 600, 10),
    (15, 300, 8),
    (8, 150, 6),
    (4, 80, 5),
    (2, 40, 4),
    (1, 20, 2),
)
"""Limits tried in order: items of a list or keys of an object, characters of a text, levels of nesting."""


def fitted(answer: dict[str, Any], max_chars: int) -> str:
    """Return an answer as JSON of at most `max_chars` characters.

    Long lists, objects and texts are cut, all by the same limits, which are the widest that fit. The key
    `left_out` then says by JSON Pointer how many items, or characters of texts, were cut where.

    Args:
        answer: JSON values; others become text.
        max_chars: at least 1,000.
    """
    text = ""
    for most, chars, depth in _STEPS:
        left_out: dict[str, str] = {}
        cut = _cut(answer, "", most, chars, depth, left_out)
        if left_out:
            cut["left_out"] = dict(list(left_out.items())[:_MOST_NOTES])
            if len(left_out) > _MOST_NOTES:
                cut["left_out"][""] = f"{plural(len(left_out) - _MOST_NOTES, 'more place')} cut"
        text = orjson.dumps(cut).decode()
        if len(text) <= max_chars:
            return text
    # an object of many keys, each with a little
    return orjson.dumps({"left_out": {"": f"an answer of {len(text)} characters at the least"}}).decode()


_MOST_NOTES: Final = 8


def _cut(value: Any, at: str, most: int, chars: int, depth: int, left_out: dict[str, str]) -> Any:
    """A copy of a value as JSON within the limits; what is cut is noted by its place."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < 1 << 63:
        return value  # not a NaN, which no comparison holds for
    if not isinstance(value, Mapping | Sequence) or isinstance(value, str | bytes):
        return _cut_text(value, at, chars, left_out)
    if depth == 0 and value:
        left_out[at] = plural(len(value), "item")
        return "…"
    if len(value) > most:
        left_out[at] = plural(len(value) - most, "item")
    if isinstance(value, Mapping):
        return {
            str(key): _cut(each, f"{at}/{escape(str(key))}", most, chars, depth - 1, left_out)
            for key, each in islice(value.items(), most)
        }
    return [
        _cut(each, f"{at}/{number}", most, chars, depth - 1, left_out)
        for number, each in enumerate(islice(value, most))
    ]


def _cut_text(value: Any, at: str, chars: int, left_out: dict[str, str]) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    if len(text) > chars:
        left_out[at] = f"{len(text) - chars:,} characters"
        text = f"{text[:chars]}…"
    return text.encode("utf-8", "backslashreplace").decode()
