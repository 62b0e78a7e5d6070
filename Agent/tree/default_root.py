"""The default trace root, and the function that opens encrypted sessions.

`config/` sets both, because no other package reads settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

# Needed for annotations only: importing pathlib takes 5% of the package's import time.
if TYPE_CHECKING:
    import os
    from pathlib import Path


def _here() -> Path:
    from pathlib import Path

    return Path("trace")


find: Callable[[], Path] = _here
"""Returns the default root; `config/seams.py` sets it once."""


def default_root() -> Path:
    """Return the configured trace root, or `./trace` if none is configured.

    Raises:
        ConfigurationError: a configuration file or variable has an invalid value.
    """
    return find()


def trace_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The trace root: the one given, else the one configured, else ./trace."""
    from pathlib import Path

    return Path(root) if root is not None else default_root()


def no_key(session: Path) -> Exception:
    """Return the error for an encrypted session without a key."""
    from Agent.errors import SessionEncrypted

    return SessionEncrypted(
        "the session is encrypted",
        path=session,
        remedy="set AGENT_TRACE_ENCRYPTION_KEY_FILE to the file with its key",
    )


def _without_key(session: Path) -> Path:
    raise no_key(session)


open_encrypted: Callable[[Path], Path] = _without_key
"""Decrypts an encrypted session and returns the directory; `config/seams.py` sets it once."""
