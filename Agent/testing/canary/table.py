"""The table of the entrances through which `doctor --canary` plants secrets; others beside it fill it."""

from __future__ import annotations

from collections.abc import Callable

from Agent.testing.canary.secrets import Plant

__all__ = ["ARGV", "ENTRANCES", "NEEDS", "Enter", "entrance"]

Enter = Callable[[Plant], object]
ENTRANCES: dict[str, Enter] = {}
ARGV = "command line"
"""Planted by whoever starts the program that plants, in its arguments."""
NEEDS = {"logging bridge": "pythonjsonlogger", "structlog bridge": "structlog"}
"""Entrances that need a library, and its module."""


def entrance(name: str) -> Callable[[Enter], Enter]:
    """Enter a function into the table."""

    def enter(function: Enter) -> Enter:
        ENTRANCES[name] = function
        return function

    return enter
