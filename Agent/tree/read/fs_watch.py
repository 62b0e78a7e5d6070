"""Notices of the operating system that something in a directory changed, through watchdog."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import (
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

# Openings and closings, the reader's own among them, would be most of what is told in a busy session.
_WANTED: list[type[FileSystemEvent]] = [FileModifiedEvent, FileCreatedEvent, FileMovedEvent]


class _Waker(FileSystemEventHandler):
    def __init__(self, wake: Callable[[Path | None], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        # reading gives notice too, which would wake the reader for ever
        if event.event_type == "modified":
            # a directory is said to be modified whenever a file in it is closed
            if not event.is_directory:
                self._wake(Path(os.fsdecode(event.src_path)))
        elif event.event_type in {"created", "moved"}:
            self._wake(None)


class Notices:
    """Notices that are running; to be stopped."""

    def __init__(self, observer: BaseObserver) -> None:
        self._observer = observer

    def stop(self) -> None:
        """End them."""
        self._observer.stop()
        self._observer.join(timeout=5.0)


def start_notices(directories: Iterable[Path], wake: Callable[[Path | None], None]) -> Notices | None:
    """Have `wake` called with each file that is written to, and with None where names change.

    None where the system gives no notice.

    That is so when inotify's watches or instances are used up; whoever waits has to look by himself then.
    """
    # a queue that overflowed costs nothing here, since a look at the files decides: it is not worth a warning
    logging.getLogger("watchdog").addHandler(logging.NullHandler())
    observer = Observer()
    try:
        for directory in directories:
            observer.schedule(_Waker(wake), str(directory), recursive=False, event_filter=_WANTED)
        observer.start()
    except (OSError, RuntimeError):
        observer.stop()
        return None
    return Notices(observer)
