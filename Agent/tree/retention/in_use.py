"""Whether some process still has a file open for writing: asked before a rolled segment is removed.

A rolled segment is never opened again, so one that nobody has open stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

from Agent.tree.files.lines import open_file
from Agent.tree.layout import FILE_MODE

__all__ = ["WriterWatch"]

# where the system cannot tell who has a file open, it is left alone for so long after its last change
_SETTLED_S: Final = 30.0


class WriterWatch:
    """Tells whether a file is open for writing, by the system's leases where they can be trusted.

    Args:
        directory: on the same file system; a file is made there once to see whether leases work.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._leases: bool | None = None

    def is_open(self, path: Path) -> bool:
        """Whether somebody may still write to that file; OSError if it cannot be opened."""
        if self._leases is None:
            self._leases = _leases_work(self._directory)
        fd, status = open_file(path)
        try:
            if self._leases:
                return not _can_lease(fd)
            age_s = time.time() - max(status.st_mtime, status.st_ctime)
            return age_s < _SETTLED_S
        finally:
            os.close(fd)


def _can_lease(fd: int) -> bool:
    """Whether a lease for reading is granted, which it is only if nobody has the file open for writing."""
    fcntl: Any = __import__("fcntl")
    try:
        # who opens the file in this moment makes the kernel send a signal, whose default must not be to die
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def _leases_work(directory: Path) -> bool:
    """Whether leases are refused for a file that is open for writing, and granted for one that is not."""
    try:
        import fcntl
    except ImportError:
        return False
    if not hasattr(fcntl, "F_SETLEASE") or not hasattr(fcntl, "F_SETSIG"):
        return False
    path = directory / f".lease.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        writing = os.open(path, flags, FILE_MODE)
        reading = -1
        try:
            reading = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
            refused = not _can_lease(reading)
            os.close(writing)
            writing = -1
            return refused and _can_lease(reading)
        finally:
            for fd in (writing, reading):
                if fd >= 0:
                    os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()
    except OSError:
        return False
