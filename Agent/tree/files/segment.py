"""One open log file (descriptor, pins, room left), and the roll that turns it into a numbered segment.

Even if the process is killed during a roll, no file has two names that readers list, and no log file is
overwritten. `segment_writer` decides when to roll, and continues with the old file if a roll fails.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Final, NamedTuple

from Agent.tree.files.descriptors import give_back, know_log, out_of_the_way
from Agent.tree.files.session import give_name
from Agent.tree.layout import NO_FOLLOW, inode_at, open_private

_APPEND: Final = (
    os.O_WRONLY
    | os.O_APPEND
    | NO_FOLLOW
    # no effect on a regular file; without it, opening a pipe put in its place would block
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class Segment:
    """An open file that a stream appends to.

    `pins` holds one entry for each write in progress; a segment that was swapped out is closed once `pins` is
    empty. Each write reduces `room_bytes`; a write that does not fit takes the slow path. A torn line
    (`torn`) and a closed segment (`CLOSED`) have no room either, so the fast path needs no check for them.
    """

    __slots__ = ("fd", "inode", "pins", "room_bytes", "room_seen_bytes", "torn")

    def __init__(self, fd: int, room_bytes: int, inode: tuple[int, int], *, torn: bool = False) -> None:
        self.fd = fd
        self.room_bytes = room_bytes
        self.room_seen_bytes = -1
        self.inode = inode
        self.pins: list[None] = []
        self.torn = torn

    def size_bytes(self) -> int:
        """Return the size on disk."""
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        """Close the descriptor; only for a segment without pins."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            give_back(fd, self.inode)


CLOSED: Final = Segment(-1, -1, (-1, -1))
"""The segment of a file that is not open; it never has room."""


def claim_segment(path: Path | str, limit_bytes: int) -> Segment:
    """Create a new file for this writer; FileExistsError if it exists."""
    return _opened(open_private(path, _APPEND | os.O_CREAT | os.O_EXCL), limit_bytes)


def reopen_segment(path: str, limit_bytes: int, inode: tuple[int, int], *, torn: bool) -> Segment:
    """Reopen a file of this writer; FileNotFoundError if the path now refers to another file."""
    segment = _opened(os.open(path, _APPEND), limit_bytes)
    if segment.inode != inode:
        segment.close()
        raise FileNotFoundError(errno.ENOENT, "another file is there", path)
    segment.torn = torn
    return segment


def open_for_one_line(path: Path | str) -> int:
    """Open or create a file of this writer to append one line; returns the descriptor."""
    return open_private(path, _APPEND | os.O_CREAT)


def _opened(fd: int, limit_bytes: int) -> Segment:
    fd = out_of_the_way(fd)
    try:
        status = os.fstat(fd)
        know_log(fd, status.st_dev)
    except OSError:
        os.close(fd)
        raise
    return Segment(fd, limit_bytes - status.st_size, (status.st_dev, status.st_ino))


def error_name(error: OSError) -> str:
    """Return the symbolic name of an operating system error, such as ENOSPC."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


class Rolled(NamedTuple):
    """The result of a roll: the new segment, its live path, and the number of the old segment."""

    segment: Segment
    path: Path
    number: int
    untidy: OSError | None
    """The error that left the temporary name behind; readers ignore it, and the next roll removes it."""


def numbered(path: Path, number: int) -> Path:
    """Return the path of a rolled segment: `<stem>.<n>.log`."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def roll_segment(
    path: Path, further: Path, inode: tuple[int, int], number: int, limit_bytes: int, writer: str
) -> Rolled:
    """Rename the live file to its number and create a new one under the live name.

    The new file is open before anything is renamed. For a moment the live name is free; if another process
    claims it then, the new file gets the further name, which only this writer uses.

    Args:
        path: the live name.
        further: the name that only this writer uses.
        inode: the old file; it is renamed only if `path` refers to it.
        number: the lowest number that the old file may get.
        limit_bytes: size limit of the new file.
        writer: the writer's id.

    Raises:
        OSError: no new file was created; the old one stays in use, under its live name or its number.
    """
    temporary = path.with_name(f".{path.name}.{writer}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    segment = claim_segment(temporary, limit_bytes)
    try:
        # only this writer creates names with this stem, so a free number stays free
        while os.path.lexists(numbered(path, number)):
            number += 1
        # The file may have been moved away, or already renamed by a roll that failed later; another process
        # may have claimed the name since.
        if inode_at(path) == inode:
            path.rename(numbered(path, number))
        live, untidy = _put_in_place(temporary, path, further)
    except BaseException:
        segment.close()
        with contextlib.suppress(OSError):  # the original error is raised
            temporary.unlink()
        raise
    return Rolled(segment, live, number, untidy)


def _put_in_place(temporary: Path, path: Path, further: Path) -> tuple[Path, OSError | None]:
    """Give the new file the first free name; returns it, and the error if the temporary name remains."""
    for name in (path, further):
        try:
            give_name(temporary, temporary, name)
        except FileExistsError:
            continue  # another process has the name: the next one
        # readers ignore the temporary name, so a kill here leaves no event that counts twice
        try:
            temporary.unlink(missing_ok=True)
        except OSError as error:
            return name, error
        return name, None
    raise FileExistsError(errno.EEXIST, "the next name is taken", str(further))


class ErrorCounters:
    """Counts by reason; safe to use from several threads and in signal handlers."""

    def __init__(self) -> None:
        self.after_fork_in_child()

    def add(self, reason: str, count: int = 1) -> None:
        """Count something, e.g. `short_write`."""
        with self._lock:
            self._by_reason[reason] = self._by_reason.get(reason, 0) + count

    def fail(self, action: str, error: OSError) -> None:
        """Count a failure of the operating system, e.g. `write:ENOSPC`."""
        self.add(f"{action}:{error_name(error)}")

    def snapshot(self) -> dict[str, int]:
        """Return a copy of the counts."""
        with self._lock:
            return dict(self._by_reason)

    def after_fork_in_child(self) -> None:
        """Reset the counts and the lock, which a thread of the parent may have held during the fork."""
        self._lock = threading.RLock()
        self._by_reason: dict[str, int] = {}
