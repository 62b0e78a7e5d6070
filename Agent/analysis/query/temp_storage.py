"""Where the engine puts what does not fit into its memory: the session's cache, else a place of its own.

`engine` makes one with each connection and lets it go with it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import weakref
from pathlib import Path

__all__ = ["Spill"]


class Spill:
    """A directory for large sorts and joins, for its owner alone and gone after `close`.

    It lies in the session's `.state`, and is made when the engine needs it; what a killed process left there
    `seal` removes. Where nothing can be written there, as in the session of somebody else, it is a private
    temporary directory.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self.path = _place(session / ".state")
        """What the engine is told; empty where there is no room: what is too large is refused then."""
        # also where an engine is not closed but forgotten
        self._remove = weakref.finalize(self, _remove, self.path, os.getpid())

    def close(self) -> None:
        """Give the room back."""
        self._remove()


def _place(state: Path) -> str:
    if os.access(state, os.W_OK):
        return str(state / f"spill-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        return tempfile.mkdtemp(prefix="agent-trace-spill-")
    except OSError:
        return ""


def _remove(path: str, pid: int) -> None:
    # a child that was forked meanwhile has it from its parent, who may be using it
    if path and pid == os.getpid():
        shutil.rmtree(path, ignore_errors=True)
