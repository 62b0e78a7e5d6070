"""Descriptors of files that a process keeps open for long beside those of the program that it records."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["give_back", "let_go", "most_open", "names", "out_of_the_way"]

_HIGHEST_NUMBER: Final = 4096
_ours: set[int] = set()
"""The numbers under which files of ours are open, as far as those who opened them know."""


def out_of_the_way(fd: int) -> int:
    """The same open file under a descriptor that is far from those which a program gets for its own files.

    A program that closes all descriptors and opens files gets the lowest numbers: a log that still wrote to
    one of those would write into the program's own file. At a high number it meets EBADF, and opens its file
    again. That has to hold for each file of ours, so no number is given to a second one before the first gave
    it back. Asking before each write which file the number names would cost a system call. The descriptor
    handed in is closed, unless there is no other.

    Raises:
        OSError: only a number is left that another file of ours had.
    """
    try:
        import fcntl
        import resource
    except ImportError:  # not a Unix
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


def most_open(wanted: int) -> int:
    """How many files may be kept open: as many as wanted, and at most an eighth of the process's limit.

    The high numbers that `out_of_the_way` uses have room for twice that, and mirrors and packs need some.
    """
    try:
        import resource
    except ImportError:  # not a Unix
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
