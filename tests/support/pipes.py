"""Pipes in the place of files."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_WAITS_S = 2.0


@contextlib.contextmanager
def closed_pipe_later(path: Path) -> Iterator[None]:
    """A named pipe from which somebody who waits reads 32 bytes after 2 s, so that a test of it ends."""
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    os.write(fd, bytes(range(32)))
    closing = threading.Timer(_WAITS_S, os.close, [fd])
    closing.start()
    try:
        yield
    finally:
        closing.cancel()
        closing.join()
        with contextlib.suppress(OSError):  # closed by the timer
            os.close(fd)
