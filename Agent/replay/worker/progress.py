"""How far a child process is, told through a file to whoever waits for it.

`tell` is called in the child as often as it likes; `followed` reads what it told, in the process that waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

__all__ = ["followed", "listener", "tell"]

listener: ContextVar[Callable[[float], None] | None] = ContextVar("fork_listener", default=None)
"""Told the share that is done, 0.0 to 1.0, of forks that take longer than a second."""

_PATIENCE_S: Final = 1.0
_INTERVAL_S: Final = 0.2
_FILE: Final = "progress"

_told_at = 0.0


def tell(directory: Path, done: int, total: int) -> None:
    """Say how much is done; a few times a second it reaches who waits."""
    global _told_at  # noqa: PLW0603 - when this process told it last
    now = time.monotonic()
    if now - _told_at < _INTERVAL_S or total <= 0:
        return
    _told_at = now
    path = directory / f"{_FILE}.new"
    path.write_text(f"{min(done / total, 1.0):.4f}")
    path.rename(directory / _FILE)


@contextmanager
def followed(directory: Path) -> Iterator[None]:
    """Tell the listener what a child process tells in that directory while this is open."""
    told = listener.get()
    if told is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(
        target=_follow, args=(directory / _FILE, told, ended), name="agent-trace fork progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(path: Path, told: Callable[[float], None], ended: threading.Event) -> None:
    """Tell what stands in the file until it has ended; nothing of what is soon over."""
    began = not ended.wait(_PATIENCE_S)
    while began and not ended.is_set():
        told(_share(path))
        ended.wait(_INTERVAL_S)
    if began:
        told(1.0)


def _share(path: Path) -> float:
    try:
        return min(float(path.read_text()), 0.99)  # the end is told when the process has ended
    except (OSError, ValueError):
        return 0.0  # nothing was told yet
