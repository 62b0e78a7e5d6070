"""One open file of the recording: its descriptor, its pins and the room left in it.

`open_files` keeps the bounded set of them, `rotation` swaps a full one for a new one, `writer` writes through
them.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from Agent.tree.files.descriptors import give_back, out_of_the_way
from Agent.tree.layout import FILE_MODE

__all__ = [
    "CLOSED",
    "Segment",
    "claim_segment",
    "error_name",
    "open_aside",
    "reopen_segment",
]


_APPEND: Final = (
    os.O_WRONLY
    | os.O_APPEND
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    # says nothing to a plain file; a pipe that somebody put in its place would be waited for
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class Segment:
    """An open file that a stream appends to.

    `pins` holds one entry for each write under way: a segment that was swapped out is closed only when it is
    empty. `room_bytes` falls with each write; a write that does not fit takes the slow path, which is also
    how a torn line (`torn`), a full segment and a closed one (`CLOSED`) are met without a question of their
    own on the fast path.
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
        """The true size on disk."""
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        """Give the descriptor back; only for a segment that nothing pins."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            give_back(fd, self.inode)


CLOSED: Final = Segment(-1, -1, (-1, -1))
"""What stands in a file that is not open: there is never room in it."""


def claim_segment(path: Path, limit_bytes: int) -> Segment:
    """Make a file that did not exist, for this writer alone; FileExistsError if it does."""
    return _opened(os.open(path, _APPEND | os.O_CREAT | os.O_EXCL, FILE_MODE), limit_bytes)


def reopen_segment(path: Path, limit_bytes: int, inode: tuple[int, int], *, torn: bool) -> Segment:
    """Open the file that this writer made before; FileNotFoundError if the name is another's by now."""
    segment = _opened(os.open(path, _APPEND), limit_bytes)
    if segment.inode != inode:
        segment.close()
        raise FileNotFoundError(errno.ENOENT, "another file is there", str(path))
    segment.torn = torn
    return segment


def open_aside(path: Path) -> int:
    """Open, or make, a file of this writer for one line."""
    return os.open(path, _APPEND | os.O_CREAT, FILE_MODE)


def _opened(fd: int, limit_bytes: int) -> Segment:
    fd = out_of_the_way(fd)
    try:
        status = os.fstat(fd)
    except OSError:
        os.close(fd)
        raise
    return Segment(fd, limit_bytes - status.st_size, (status.st_dev, status.st_ino))


def error_name(error: OSError) -> str:
    """The symbolic name of an operating system error, such as ENOSPC."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
