"""Finds private keys in text form: within one text, or split into lines, as `readlines()` returns them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from Agent.event.pointers import value_at
from Agent.record.secrets.names import compiled, is_words

Span = tuple[int, int]

_BEGINS: Final = r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_ENDS: Final = r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_BODY: Final = r"[\w+/=\s\\:,]{0,20000}+"
_DRAWN: Final = r"[A-Za-z0-9+/]{16,}"
_LONGEST: Final = 20_000
_LINE_OF_BODY: Final = r"\s*(?:\d{1,5}[\s:|\u2192]{1,8})?(?:[A-Za-z0-9+/]*+={0,2}|(?:Proc-Type|DEK-Info|Comment|Version|Subject): .*)\s*"
"""A line of a key, perhaps numbered, or one of the headers before it."""
_PUTTY_BEGINS: Final = r"(?i)private-lines:[ ]\d{1,4}\s*\Z"
_MOST_LINES: Final = 1_000


def private_keys(text: str) -> Iterator[Span]:
    """Yield private keys in text form, up to their end line.

    Without an end line, the key is the rest of the text, or in a long text the characters that fit a key.
    """
    end: re.Match[str] | None = None
    has_end = True
    done = 0
    for begin in compiled(_BEGINS).finditer(text):
        if begin.start() < done:
            continue
        if has_end and (end is None or end.start() < begin.end()):
            end = compiled(_ENDS).search(text, begin.end())
            has_end = end is not None
        if end is not None and end.start() - begin.end() <= _LONGEST:
            done = end.end()
        elif len(text) - begin.end() <= _LONGEST:
            done = len(text)
        else:
            body = compiled(_BODY).match(text, begin.end())
            done = body.end() if body is not None else begin.end()
        if _is_drawn(text, begin.end(), done):
            yield begin.start(), done


def _is_drawn(text: str, begin: int, end: int) -> bool:
    """Whether a key follows its first line; in code that searches for that line, none does."""
    return any(not is_words(run[0]) for run in compiled(_DRAWN).finditer(text, begin, end))


def begins_key(text: str) -> bool:
    """Whether a text has the first line of a private key, and not its last."""
    if "rivate" not in text and "PRIVATE" not in text:
        return False
    if compiled(_PUTTY_BEGINS).search(text) is not None:
        return True
    begin = compiled(_BEGINS).search(text)
    return begin is not None and compiled(_ENDS).search(text, begin.end()) is None


def lines_of_key(lines: Iterable[tuple[str, str]]) -> list[str]:
    """Return the places of the texts, of (place, text), that belong to the key whose first line is before them.

    These are all before its last line; without one, those that look like lines of a key.
    """
    places: list[str] = []
    fitting = chars = 0
    is_drawn = False
    for place, line in islice(lines, _MOST_LINES):
        end = compiled(_ENDS).search(line)
        stop = end.start() if end is not None else len(line)
        chars += stop
        if chars > _LONGEST or begins_key(line):
            break
        has_part = _is_drawn(line, 0, stop)
        is_drawn = is_drawn or has_part
        if end is not None:
            return [*places, *([place] if has_part else [])] if is_drawn else []
        if fitting == len(places) and compiled(_LINE_OF_BODY).fullmatch(line) is not None:
            fitting += 1
        places.append(place)
    return places[:fitting] if is_drawn else []


def columns_behind(value: Any, pointer: str) -> Iterator[Iterator[tuple[str, str]]]:
    """Yield what may follow a text: for each list around its pointer, innermost first, the same place in the next items.

    Each is the pointers and texts up to an item that has no text there.
    """
    steps = pointer.split("/")
    for at in range(len(steps) - 1, 0, -1):
        holder = "/".join(steps[:at])
        items = value_at(value, holder)
        if isinstance(items, list):
            yield _column(items, int(steps[at]) + 1, holder, "".join(f"/{step}" for step in steps[at + 1 :]))


def _column(items: list[Any], first: int, pointer: str, below: str) -> Iterator[tuple[str, str]]:
    for index in range(first, len(items)):
        text = value_at(items[index], below)
        if not isinstance(text, str):
            return
        yield f"{pointer}/{index}{below}", text
