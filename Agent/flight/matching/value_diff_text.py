"""Two values that differ, on one line each: of long ones the part in which they begin to."""

from __future__ import annotations

from typing import Any

from Agent.event.pointers import unescape

__all__ = ["shown_where_they_part", "value_at"]

_SHOWN_CHARS = 160
_SHOWN_BEFORE = 40


def shown_where_they_part(one: Any, other: Any, chars: int = _SHOWN_CHARS) -> tuple[str, str]:
    """Both values as Python writes them, cut where they are longer than `chars`."""
    texts = repr(one), repr(other)
    shorter = min(map(len, texts))
    same = next((at for at in range(shorter) if texts[0][at] != texts[1][at]), shorter)
    begin = max(0, same - _SHOWN_BEFORE) if max(map(len, texts)) > chars else 0
    return _cut(texts[0], begin, chars), _cut(texts[1], begin, chars)


def _cut(text: str, begin: int, chars: int) -> str:
    end = begin + chars
    return f"{'...' if begin else ''}{text[begin:end]}{'...' if end < len(text) else ''}"


def value_at(value: Any, pointer: str, default: Any = None) -> Any:
    """The part of a JSON value at a JSON Pointer; the default if there is none."""
    for token in pointer.split("/")[1:]:
        if isinstance(value, dict) and unescape(token) in value:
            value = value[unescape(token)]
        elif isinstance(value, list) and token.isdigit() and int(token) < len(value):
            value = value[int(token)]
        else:
            return default
    return value
