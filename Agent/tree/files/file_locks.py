"""Advisory locks that a forked child does not keep: they belong to whoever opened them, and end with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from Agent.tree.layout import FILE_MODE

__all__ = ["close_lock", "locked", "open_lock"]

_FLAGS: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_open: set[int] = set()


def open_lock(path: Path, *, create: bool) -> int:
    """A descriptor to lock; to be given back by `close_lock`.

    Raises:
        OSError: it cannot be opened, or is not there and not to be made.
    """
    fd = os.open(path, (os.O_RDWR | os.O_CREAT if create else os.O_RDONLY) | _FLAGS, FILE_MODE)
    _open.add(fd)
    return fd


def close_lock(fd: int) -> None:
    """Unlock and close: closing alone would leave the lock to a child that was forked meanwhile."""
    import fcntl

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
    try:
        import fcntl
    except ImportError:
        # without advisory locks one process works alone
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
        with contextlib.suppress(OSError):
            os.close(fd)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
