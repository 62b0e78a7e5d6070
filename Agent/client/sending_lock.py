"""Who sends a session to a place: one process at a time, since it alone moves the cursor."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path

from Agent.client.destination import Destination
from Agent.errors import SessionInUse
from Agent.tree.files.descriptors import close_lock, open_lock
from Agent.tree.layout import DIRECTORY_MODE, cursors_dir, safe_name

__all__ = ["is_sent_by_another", "lock_sending"]


def lock_sending(session: Path, destination: Destination) -> int | None:
    """What says that this process sends; None where the tree cannot be written, as on a copy to read.

    Raises:
        SessionInUse: another process does.
    """
    directory = cursors_dir(session)
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        lock = open_lock(directory / f"{safe_name(destination.cursor_name)}.lock", create=True)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with contextlib.suppress(OSError):
            close_lock(lock)
        raise SessionInUse(
            f"another process is sending this session to {destination.place}",
            path=session,
            remedy="it continues while the program runs; send again after that",
        ) from None
    return lock


def is_sent_by_another(session: Path, destination: Destination) -> bool:
    """Whether another process sends it there at this moment."""
    try:
        lock = lock_sending(session, destination)
    except SessionInUse:
        return True
    if lock is not None:
        close_lock(lock)
    return False
