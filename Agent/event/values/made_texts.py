"""Recognise texts and numbers that a library may have made from a clock or randomness, by their form."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

EPOCH_S: Final = (946_684_800, 4_102_444_800)
"""2000 to 2100: numbers in this range, also in milli-, micro- or nanoseconds, count as moments."""
UNITS: Final = (1, 1_000, 1_000_000, 1_000_000_000)
MOST: Final = 64
"""Maximum number of them kept for one value."""
SHORTEST: Final = 16
_LONGEST: Final = 200
_HEX: Final = "[0-9a-fA-F]"
_find: Final = re.compile(  # one common prefix, which the search skips to at the speed of C
    rf"{_HEX}{{4}}(?:{_HEX}{{4}}(?:-{_HEX}{{4}}-|{_HEX}{{8}})|-\d\d-\d\d[T ]\d\d:\d\d:\d\d)"
).search


def may_be_made(value: Any) -> bool:
    """Whether a plain value has the form of an id, or of a moment since 2000 in seconds."""
    return any_may_be_made((value,))


def unit_of(value: Any) -> int | None:
    """Return the units per second of a number that may be a moment; None for others."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return next((unit for unit in UNITS if EPOCH_S[0] * unit <= value < EPOCH_S[1] * unit), None)


def any_may_be_made(values: Iterable[Any]) -> bool:
    """Whether any of the values may be made by a library."""
    for value in values:
        kind = type(value)
        if kind is str:
            if SHORTEST <= len(value) <= _LONGEST and _find(value) is not None:
                return True
        elif kind is float and EPOCH_S[0] <= value < EPOCH_S[1]:
            return True
    return False
