"""Which files consist of lines that begin as this package's own do; looked at in C, in files that only grow.

Who reads such a file needs no look at the number, the time and the version of each line. Without the native
part none is said to be regular, and every line is looked at by whoever asks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from Agent.event.schema import CURRENT_SCHEMA
from Agent.tree.files.lines import open_file

__all__ = ["RegularFiles", "is_built"]

_regular_bytes: Callable[[int, int, int, int], int] | None
try:
    from Agent.tree.files import _heads

    _regular_bytes = _heads.regular_bytes
except ImportError:  # built without a compiler, or run from a source tree in which nothing was built
    _regular_bytes = None

_IRREGULAR: Final = -1


def is_built() -> bool:
    """Whether the native part is there."""
    return _regular_bytes is not None


class RegularFiles:
    """The regular files among those of a session, each looked at once as far as it grows."""

    def __init__(self) -> None:
        self._reached: dict[int, tuple[int, int]] = {}
        """Inode to the time of change and how far its lines are regular."""

    def holds(self, path: Path, listed: tuple[int, int, int]) -> bool:
        """Whether every line of a file is whole and begins as ours do, as far as it was there when listed.

        Such a line can still be no event: where what follows its beginning is no JSON, or not ours.
        """
        inode, size_bytes, mtime_ns = listed
        if _regular_bytes is None or inode < 0:
            return False
        changed_ns, reached = self._reached.get(inode, (mtime_ns, 0))
        if reached == size_bytes and changed_ns == mtime_ns:
            return True
        if reached == _IRREGULAR and changed_ns == mtime_ns:
            return False
        if not 0 < reached < size_bytes:
            # what did not grow was written again
            reached = 0
        try:
            fd, status = open_file(path)
        except OSError:
            return False  # whoever reads it says what is wrong
        try:
            if status.st_ino != inode:
                return False
            reached = _regular_bytes(fd, reached, size_bytes, CURRENT_SCHEMA)
        except OSError:
            return False
        finally:
            os.close(fd)
        self._reached[inode] = mtime_ns, reached if reached == size_bytes else _IRREGULAR
        return reached == size_bytes
