"""Notices of the operating system that something in a directory changed, through watchdog."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

__all__ = ["Notices", "start_notices"]


class _Waker(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        # reading gives notice too, which would wake the reader for ever
        if event.event_type in {"modified", "created", "moved"}:
            self._wake()


class Notices:
    """Notices that are running; to be stopped."""

    def __init__(self, observer: BaseObserver) -> None:
        self._observer = observer

    def stop(self) -> None:
        """End them."""
        self._observer.stop()
        self._observer.join(timeout=5.0)


def start_notices(directories: Iterable[Path], wake: Callable[[], None]) -> Notices | None:
    """Have `wake` called when something is written; None where the system gives no notice.

    That is so when inotify's watches or instances are used up; whoever waits has to look by himself then.
    """
    observer = Observer()
    try:
        for directory in directories:
            observer.schedule(_Waker(wake), str(directory), recursive=False)
        observer.start()
    except (OSError, RuntimeError):
        observer.stop()
        return None
    return Notices(observer)
