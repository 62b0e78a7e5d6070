"""The default trace root. `config/` sets it, because no other package reads settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

# Needed for annotations only: importing pathlib takes 5% of the package's import time.
if TYPE_CHECKING:
    from pathlib import Path


def _here() -> Path:
    from pathlib import Path

    return Path("trace")


find: Callable[[], Path] = _here
"""Returns the default root; `config/first_event.py` sets it once."""


def default_root() -> Path:
    """Return the configured trace root, or `./trace` if none is configured.

    Raises:
        ConfigurationError: a configuration file or variable has an invalid value.
    """
    return find()
