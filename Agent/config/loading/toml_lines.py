"""On which line of a TOML file a key stands: the parser of the standard library keeps no positions.

Only messages and `config show --origin` ask; a key in an unusual way of writing has the line of its table.
"""

from __future__ import annotations

import re

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\s*({_NAME})\s*\]\s*(?:#.*)?$")
_KEY = re.compile(rf"\s*({_NAME})\s*=")
_PARTS = re.compile(_PART)


def line_of(text: str, name: tuple[str, ...]) -> int | None:
    """The line, counted from 1, of a key or of what surrounds it nearest; None where neither was found."""
    table: tuple[str, ...] = ()
    nearest, depth = None, 0
    for number, line in enumerate(text.split("\n"), start=1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            full = table = _split(header[1])
        elif key:
            full = table + _split(key[1])
        else:
            continue
        if len(full) > depth and name[: len(full)] == full:
            nearest, depth = number, len(full)
    return nearest


def _split(name: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PARTS.findall(name))
