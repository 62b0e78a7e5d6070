"""One open file of the recording (descriptor, pins, room left), and how it becomes a numbered segment.

No file ever has two names that a reader looks at, and no step overwrites a file of the recording, wherever
the process is killed; `segment_writer` decides when, and continues with the old file where this fails.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Final, NamedTuple

from Agent.tree.files.descriptors import give_back, know_log, out_of_the_way
from Agent.tree.layout import FILE_MODE, NO_FOLLOW, NO_LINK, inode_at

_APPEND: Final = (
    os.O_WRONLY
    | os.O_APPEND
    | NO_FOLLOW
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
        know_log(fd)
    except OSError:
        os.close(fd)
        raise
    return Segment(fd, limit_bytes - status.st_size, (status.st_dev, status.st_ino))


def error_name(error: OSError) -> str:
    """The symbolic name of an operating system error, such as ENOSPC."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


class Rolled(NamedTuple):
    """What a roll came to: the new segment, the live name it stands under, the number the old one got."""

    segment: Segment
    path: Path
    number: int
    untidy: OSError | None
    """Why the temporary name still stands, which no reader looks at; the next roll takes it away."""


def numbered(path: Path, number: int) -> Path:
    """The name of a rolled segment: `<stem>.<n>.log`."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def roll_segment(
    path: Path, further: Path, inode: tuple[int, int], number: int, limit_bytes: int, writer: str
) -> Rolled:
    """Give the live file its number and put a new one under the live name.

    The new file is open before anything is renamed. For a moment nothing stands under the live name; should
    another process claim it then, the new file goes under the further name, which is this writer's own.

    Args:
        path: the live name.
        further: the name that only this writer uses.
        inode: the old file, which is renamed only if it stands there.
        number: the lowest number that the old file may get.
        limit_bytes: how much the new one takes.
        writer: the writer's id.

    Raises:
        OSError: there is no new file; the old one goes on, under its live name or already under its number.
    """
    temporary = path.with_name(f".{path.name}.{writer}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    segment = claim_segment(temporary, limit_bytes)
    try:
        # only this writer makes names of this stem, so a number that is free stays free
        while os.path.lexists(numbered(path, number)):
            number += 1
        # Somebody may have moved it away, or an earlier roll came only so far; then another process may have
        # claimed the name since.
        if inode_at(path) == inode:
            path.rename(numbered(path, number))
        live, untidy = _put_in_place(temporary, path, further)
    except BaseException:
        segment.close()
        with contextlib.suppress(OSError):  # the error that is raised counts
            temporary.unlink()
        raise
    return Rolled(segment, live, number, untidy)


def _put_in_place(temporary: Path, path: Path, further: Path) -> tuple[Path, OSError | None]:
    """Name the new file, exclusively; the name that it got, and why it has two."""
    for name in (path, further):
        try:
            os.link(temporary, name, follow_symlinks=False)
        except FileExistsError:
            continue  # another process has the name: the next one
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
            # a file system that knows no links has no exclusive renaming either
            temporary.rename(name)
            return name, None
        # under its temporary name no reader looks at it, so being killed here leaves nothing that counts
        # twice
        try:
            temporary.unlink()
        except OSError as error:
            return name, error
        return name, None
    raise FileExistsError(errno.EEXIST, "the next name is taken", str(further))


class ErrorCounters:
    """Counts by reason, safe with threads and usable in signal handlers."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._by_reason: dict[str, int] = {}

    def add(self, reason: str, count: int = 1) -> None:
        """Count something, e.g. `short_write`."""
        with self._lock:
            self._by_reason[reason] = self._by_reason.get(reason, 0) + count

    def fail(self, what: str, error: OSError) -> None:
        """Count a failure of the operating system, e.g. `write:ENOSPC`."""
        self.add(f"{what}:{error_name(error)}")

    def snapshot(self) -> dict[str, int]:
        """The counts so far."""
        with self._lock:
            return dict(self._by_reason)

    def after_fork_in_child(self) -> None:
        """A child counts its own failures, under a lock that no thread of the parent holds."""
        self._lock = threading.RLock()
        self._by_reason = {}
