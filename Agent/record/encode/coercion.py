"""Values that a payload needs as truth, list or rate, made of whatever a caller hands in."""

from __future__ import annotations

from itertools import islice
from typing import Any

_MAX_PARTICIPANTS = 10_000


def as_bool(value: Any) -> bool:
    """Whether the value counts as true; one that cannot say so counts as false."""
    try:
        return bool(value)
    except Exception:  # noqa: BLE001 - an array of several, or whatever a stranger's __bool__ does
        return False


def as_list(values: Any) -> list[Any]:
    """The values as a list; what cannot be iterated is the only one, and a text is one value."""
    if values is None:
        return []
    try:
        return [values] if isinstance(values, str) else list(islice(values, _MAX_PARTICIPANTS))
    except Exception:  # noqa: BLE001 - a stranger's __iter__ may do anything
        return [values]


def rate_of(count: Any, duration_s: Any) -> float | None:
    """How many a second; None where that is no number."""
    try:
        return float(count / duration_s)
    except Exception:  # noqa: BLE001 - no numbers, or no time that has passed
        return None
