"""Which trace root is meant where nobody names one: `config/` says so, since it alone reads settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

# Only named here: it is a twentieth of what importing the package costs.
if TYPE_CHECKING:
    from pathlib import Path


def _here() -> Path:
    from pathlib import Path

    return Path("trace")


find: Callable[[], Path] = _here
"""Set once, by `config/first_event.py`."""


def default_root() -> Path:
    """The configured trace root, `./trace` where nothing is configured.

    Raises:
        ConfigurationError: a configuration file or variable says something that cannot be.
    """
    return find()
