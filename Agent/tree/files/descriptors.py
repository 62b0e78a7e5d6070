"""Descriptors that a process keeps open for long beside its program, and locks that a fork does not keep."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from Agent.tree.layout import FILE_MODE, NO_FOLLOW

fcntl: Any
resource: Any
try:
    import fcntl
    import resource
except ImportError:  # not a Unix
    fcntl = resource = None

_HIGHEST_NUMBER: Final = 4096
_READ_BYTES: Final = 1024 * 1024
_ours: set[int] = set()
"""The numbers under which files of ours are open, as far as those who opened them know."""


def out_of_the_way(fd: int) -> int:
    """The same open file under a descriptor that is far from those which a program gets for its own files.

    A program that closes all descriptors and opens files gets the lowest numbers, and seldom comes as far as
    ours. No number is given to a second file of ours before the first gave it back, since `write_own` does
    not tell one log from another. The descriptor handed in is closed, unless there is no other.

    Raises:
        OSError: only a number is left that another file of ours had.
    """
    if fcntl is None or resource is None:
        return fd
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    least = _HIGHEST_NUMBER if soft == resource.RLIM_INFINITY else min(soft // 4 * 3, _HIGHEST_NUMBER)
    while fd < least or fd in _ours:
        try:
            high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(least, fd + 1) if fd in _ours else least)
        except OSError:
            if fd in _ours:
                os.close(fd)
                raise
            break
        os.close(fd)
        fd = high
    _ours.add(fd)
    return fd


def is_removed(fd: int, inode: tuple[int, int]) -> bool:
    """Whether a descriptor names that file (device, inode), which has no name any more."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return status.st_nlink == 0 and (status.st_dev, status.st_ino) == inode


def open_unnamed(fd: int) -> int:
    """A descriptor to read a file that may have lost its name, by one that writes to it.

    Raises:
        OSError: the system has no such way.
    """
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))


def read_behind(fd: int, offset: int) -> bytes:
    """All bytes of a file from an offset on."""
    data = bytearray()
    while block := os.pread(fd, _READ_BYTES, offset + len(data)):
        data += block
    return bytes(data)


def give_back(fd: int, inode: tuple[int, int]) -> None:
    """Close a descriptor of that file; not where it was closed from outside, and is somebody else's by now.

    Raises:
        OSError: the system tells so late that something was not written.
    """
    is_ours = names(fd, inode)
    # before it is closed: another thread may get it at once
    let_go(fd)
    if is_ours:
        os.close(fd)


def let_go(fd: int) -> None:
    """Forget a number that was closed from outside."""
    _ours.discard(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write the whole of some bytes, however many the system takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


_known_flags = -1
"""What the system tells of the descriptors of our log files; -1 where nothing is compared."""


def _write_own(fd: int, data: bytes) -> int:
    """`os.write` into a log file; into a descriptor that is no longer one, OSError(EBADF) and no byte.

    A log file is opened with flags that hardly anybody combines: to append, never to wait, never through a
    link. Asking for these costs a third of what asking for device and inode does.
    """
    if _known_flags >= 0 and _get_flags(fd) != _known_flags:
        raise OSError(errno.EBADF, "the descriptor names another file by now")
    return os.write(fd, data)


def know_log(fd: int) -> None:
    """Have `write_own` know the flags of a log file that was just opened.

    Where the system tells others of the next one, they say nothing, and nothing is compared any more.
    """
    global _known_flags, _is_known
    flags = _get_flags(fd)
    if flags == _known_flags:
        return
    _known_flags, _is_known = -1 if _is_known else flags, True
    if _know_flags is not None:
        _know_flags(_known_flags)


def _get_flags(fd: int) -> int:
    return -1 if fcntl is None else int(fcntl.fcntl(fd, fcntl.F_GETFL))


_is_known = False
_know_flags: Callable[[int], None] | None
write_own: Callable[[int, bytes], int]
try:
    from Agent.tree.files import _heads

    write_own, _know_flags = _heads.write_own, _heads.know_flags
except (ImportError, AttributeError):  # not built, or built from an older source
    write_own, _know_flags = _write_own, None


def most_open(wanted: int) -> int:
    """How many files may be kept open: as many as wanted, and at most an eighth of the process's limit.

    The high numbers that `out_of_the_way` uses have room for twice that, and mirrors and packs need some.
    """
    if resource is None:
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft // 8))


def names(fd: int, inode: tuple[int, int]) -> bool:
    """Whether a descriptor names that file (device, inode); not where it was closed from outside."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == inode


_open: set[int] = set()


def open_lock(path: Path, *, create: bool) -> int:
    """A descriptor to lock; to be given back by `close_lock`.

    Raises:
        OSError: it cannot be opened, or is not there and not to be made.
    """
    fd = os.open(path, (os.O_RDWR | os.O_CREAT if create else os.O_RDONLY) | NO_FOLLOW, FILE_MODE)
    _open.add(fd)
    return fd


def close_lock(fd: int) -> None:
    """Unlock and close: closing alone would leave the lock to a child that was forked meanwhile."""
    _open.discard(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked(path: Path, *, create: bool = False, wait: bool = False) -> Iterator[bool]:
    """Whether this process alone has that lock, which ends with the process, however that ends.

    Args:
        path: a file, or a directory that exists; where it may be a link it is followed unless it is made.
        create: whether to make the file.
        wait: for whoever has it; without, another process that has it is the answer False.

    Raises:
        OSError: it cannot be opened.
    """
    if fcntl is None:  # without advisory locks one process works alone
        yield True
        return
    fd = open_lock(path if create else path.resolve(), create=create)
    try:
        is_alone = True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_alone = False
        yield is_alone
    finally:
        close_lock(fd)


def _forget_in_child() -> None:
    """The thread that holds a lock is the parent's; a copy of its descriptor would hold on when that dies."""
    for fd in _open:
        with contextlib.suppress(OSError):  # the program has closed it
            os.close(fd)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
