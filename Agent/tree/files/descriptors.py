"""Long-lived file descriptors, which avoid the program's numbers, and locks that a fork does not inherit."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from Agent.tree.layout import NO_FOLLOW, open_private

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
"""Descriptor numbers of our open files; may be stale if the program closed one."""


def out_of_the_way(fd: int) -> int:
    """Move an open file to a high descriptor number, which the program is unlikely to get for its own files.

    A program that closes all descriptors and then opens files gets the lowest numbers first. A number is not
    reused for another of our files before the first released it, because `write_own` cannot tell two logs
    apart. The old descriptor is closed if a higher one could be had, else it is returned.

    Raises:
        OSError: the only number left belonged to another of our files.
    """
    if fcntl is None or resource is None:
        return fd
    least = _least or _new_least()
    while fd < least or fd in _ours:
        try:
            high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(least, fd + 1) if fd in _ours else least)
        except OSError:
            if least > (least := _new_least()):  # the program has lowered its limit since
                continue
            if fd in _ours:
                os.close(fd)
                raise
            break
        os.close(fd)
        fd = high
    _ours.add(fd)
    return fd


_least = 0
"""The lowest number for our files, by the limit when it was read last; 0 if it was not read yet."""


def _new_least() -> int:
    global _least  # noqa: PLW0603 - a cache
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    _least = _HIGHEST_NUMBER if soft == resource.RLIM_INFINITY else min(soft // 4 * 3, _HIGHEST_NUMBER)
    return _least


def is_removed(fd: int, inode: tuple[int, int]) -> bool:
    """Return whether a descriptor refers to this file (device, inode) and the file was deleted."""
    status = status_of(fd, inode)
    return status is not None and status.st_nlink == 0


def open_unnamed(fd: int) -> int:
    """Open a file for reading by its write descriptor, even if the file was deleted.

    Raises:
        OSError: the system has no /proc/self/fd.
    """
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))


def read_behind(fd: int, offset: int) -> bytes:
    """Return all bytes of a file from an offset on."""
    data = bytearray()
    while block := os.pread(fd, _READ_BYTES, offset + len(data)):
        data += block
    return bytes(data)


def give_back(fd: int, inode: tuple[int, int]) -> None:
    """Close a descriptor if it still refers to this file; the program may have closed and reused it.

    Raises:
        OSError: closing reports a late write error.
    """
    is_ours = names(fd, inode)
    # before closing, because another thread may get the number at once
    let_go(fd)
    if is_ours:
        os.close(fd)


def let_go(fd: int) -> None:
    """Unregister a descriptor that the program has closed."""
    _ours.discard(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all bytes, with as many system calls as needed."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


_known_flags = -1
"""The flags (F_GETFL) of our log descriptors; -1 if flags are not compared."""


def _write_own(fd: int, data: bytes) -> int:
    """Call `os.write` on a log file; OSError(EBADF) if the descriptor is no longer that of a log file.

    Log files are opened with a rare combination of flags: append, non-blocking, no links. Reading the flags
    costs a third of reading device and inode.
    """
    if _known_flags >= 0 and _get_flags(fd) != _known_flags:
        raise OSError(errno.EBADF, "the descriptor names another file by now")
    return os.write(fd, data)


def know_log(fd: int, device: int | None = None) -> None:
    """Register the flags of a newly opened log file for `write_own`.

    If two log files have different flags, they identify nothing, and comparing is switched off. All files of
    one device have the same, so only the first one is asked.
    """
    global _known_flags, _is_known
    if device in _known_devices:
        return
    flags = _get_flags(fd)
    if device is not None:
        _known_devices.add(device)
    if flags == _known_flags:
        return
    _known_flags, _is_known = -1 if _is_known else flags, True
    if _know_flags is not None:
        _know_flags(_known_flags)


def _get_flags(fd: int) -> int:
    return -1 if fcntl is None else int(fcntl.fcntl(fd, fcntl.F_GETFL))


_is_known = False
_known_devices: set[int | None] = set()
_know_flags: Callable[[int], None] | None
write_own: Callable[[int, bytes], int]
try:
    from Agent.tree.files import _heads

    write_own, _know_flags = _heads.write_own, _heads.know_flags
except (ImportError, AttributeError):  # not built, or built from an older source
    write_own, _know_flags = _write_own, None


def is_built() -> bool:
    """Return whether the C extension is available."""
    return _know_flags is not None


def most_open(limit: int) -> int:
    """Return how many files may be kept open: `limit`, but at most 1/8 of the process's limit.

    `out_of_the_way` uses the upper 1/4 of the numbers, and mirrors and other files need some of them.
    """
    if resource is None:
        return limit
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit if soft == resource.RLIM_INFINITY else max(1, min(limit, soft // 8))


def names(fd: int, inode: tuple[int, int]) -> bool:
    """Return whether a descriptor refers to this file (device, inode); False if the program closed it."""
    return status_of(fd, inode) is not None


def status_of(fd: int, inode: tuple[int, int]) -> os.stat_result | None:
    """Return the status of this file by a descriptor; None if that refers to another file or is closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status if (status.st_dev, status.st_ino) == inode else None


_open: set[int] = set()


def open_lock(path: Path, *, create: bool) -> int:
    """Open a lock file; close the descriptor with `close_lock`.

    Raises:
        OSError: it cannot be opened, or is missing and `create` is false.
    """
    fd = open_private(path, (os.O_RDWR | os.O_CREAT if create else os.O_RDONLY) | NO_FOLLOW)
    _open.add(fd)
    return fd


def close_lock(fd: int) -> None:
    """Unlock and close: closing alone would leave the lock to a child that was forked in between."""
    _open.discard(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked(path: Path, *, create: bool = False, wait: bool = False) -> Iterator[bool]:
    """Hold a lock during the block; yields whether this process has it. It ends with the process.

    Args:
        path: a file, or an existing directory; a link is followed unless `create` is set.
        create: whether to create the file.
        wait: whether to wait for the lock; else False if another process holds it.

    Raises:
        OSError: it cannot be opened.
    """
    if fcntl is None:  # without advisory locks, assume that no other process is at work
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
    """Close inherited lock descriptors: they would hold the parent's locks after the parent's death."""
    for fd in _open:
        with contextlib.suppress(OSError):  # already closed by the program
            os.close(fd)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
