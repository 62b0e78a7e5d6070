"""Keeps retention from removing segments while somebody reads them by name, as a query engine does.

`reader` and `follower` need none of it: a file that they have open stays readable.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from Agent.tree.files.file_locks import close_lock, locked, open_lock
from Agent.tree.layout import reading_lock_file, retention_lock_file

__all__ = ["nobody_reads", "nothing_retired"]

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
