"""The level below which a category is not recorded; loggers and decorators ask before they do any work."""

from __future__ import annotations

from Agent.errors import ConfigurationError
from Agent.event.kinds import LEVELS, Category


class Limit:
    """The lowest level that is recorded; shared by all who ask, changed by `setup_logging`."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


LIMITS: dict[str, Limit] = {category.value: Limit(0) for category in Category}
"""One limit a category; 0 until something is set up, so that the first event can set it up."""


def level_of(level: object) -> int:
    """The number of a level that was given by its name or number; ConfigurationError for any other value."""
    number = LEVELS.get(level.upper()) if isinstance(level, str) else level
    if number not in LEVELS.values() or isinstance(number, bool):
        raise ConfigurationError(f"unknown level {level!r}", remedy=f"use one of {', '.join(LEVELS)}")
    return int(number)  # type: ignore[call-overload,no-any-return]
