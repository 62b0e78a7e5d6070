"""What still needs a rolled segment: a process that has it open, a reader's lease, or a sender's cursor.

A rolled segment is never opened again, so one that nobody has open stays as it is. A file that is open stays
readable, so only readers that go by name, as a query engine does, take a lease.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.tree.files.descriptors import close_lock, locked, open_lock
from Agent.tree.files.lines import first_id, open_file
from Agent.tree.files.session import replace_file
from Agent.tree.layout import (
    DIRECTORY_MODE,
    FILE_MODE,
    cursors_dir,
    entries_in,
    reading_lock_file,
    retention_lock_file,
    safe_name,
)

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
            with contextlib.suppress(OSError):  # never made, or removed already
                path.unlink()
    except OSError:
        return False


_LOOK_AGAIN_S: Final = 0.02
_PATIENCE_S: Final = 3.0


@contextmanager
def nothing_retired(session: Path) -> Iterator[None]:
    """While this is open retention leaves the segments of a session; a pass under way is waited for.

    Where nothing was ever retired, or locks are not to be had, there is nothing to wait for.
    """
    try:
        import fcntl

        fd = open_lock(reading_lock_file(session), create=False)
    except (ImportError, OSError):
        yield
        return
    try:
        # past whoever removes, or waits to: readers that come one after another do not hold it up for ever
        entrance = open_lock(retention_lock_file(session), create=False)
        try:
            fcntl.flock(entrance, fcntl.LOCK_SH)
            fcntl.flock(fd, fcntl.LOCK_SH)
        finally:
            close_lock(entrance)
        yield
    finally:
        close_lock(fd)


@contextmanager
def nobody_reads(session: Path) -> Iterator[bool]:
    """Whether nobody reads by name, now and while this is open; waits a few seconds for those who do.

    To be opened by the one who has the lock of retention, which keeps others from beginning to read.
    """
    patience_s = time.monotonic() + _PATIENCE_S
    while True:
        with locked(reading_lock_file(session), create=True) as alone:
            if alone or time.monotonic() >= patience_s:
                yield alone
                return
        time.sleep(_LOOK_AGAIN_S)


IsHeld = Callable[[Path, os.stat_result], bool]
"""Whether somebody still has to read a segment; asked by retention, which then takes another one."""


def write_cursor(session: Path, name: str, cursor: dict[str, Any]) -> None:
    """Leave how far somebody is; OSError if it cannot be written."""
    directory = cursors_dir(session)
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    replace_file(
        directory / f"{safe_name(name)}.json", orjson.dumps(cursor, option=orjson.OPT_APPEND_NEWLINE)
    )


def held_by_cursors(session: Path) -> IsHeld:
    """What the cursors of a session say: a segment is held until each of them has read it to its end.

    A cursor that cannot be read holds everything.
    """
    read: list[dict[str, int] | None] = []
    for path in entries_in(cursors_dir(session), ".json"):
        try:
            files = orjson.loads(path.read_bytes())["files"]
            read.append({str(entry["first_id"]): int(entry["offset"]) for entry in files})
        except FileNotFoundError:
            continue  # its reader has finished and removed it
        except (OSError, ValueError, TypeError, KeyError):
            read.append(None)
    if not read:
        return lambda _path, _status: False

    def is_held(path: Path, status: os.stat_result) -> bool:
        begins_with = str(first_id(path))
        return any(far is None or far.get(begins_with, 0) < status.st_size for far in read)

    return is_held
