"""What options and handlers check alike: names that are nearly right, and levels by name."""

from __future__ import annotations

from collections.abc import Iterable

from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVEL_OFF, LEVELS


def near_miss(name: object, names: Iterable[str]) -> str:
    """` (did you mean ...?)` where one of the names is near, else nothing."""
    import difflib

    near = difflib.get_close_matches(str(name).lower(), list(map(str, names)), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def level_number(name: str) -> int:
    """The number of a level's name; ConfigurationError for any other word."""
    upper = str(name).upper()
    if upper == "OFF":
        return LEVEL_OFF
    if upper not in LEVELS:
        raise ConfigurationError(f"unknown level {name!r}", remedy=f"use one of {', '.join(LEVELS)} or OFF")
    return LEVELS[upper]
