"""The level below which a category is not recorded; every logger and decorator asks before it does any work."""

from __future__ import annotations

from Agent.event.kinds import Category


class Limit:
    """The lowest level that is recorded; shared by all who ask, changed by `setup_logging`."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


LIMITS: dict[str, Limit] = {category.value: Limit(0) for category in Category}
"""One limit a category; 0 until something is set up, so that the first event can set it up."""
