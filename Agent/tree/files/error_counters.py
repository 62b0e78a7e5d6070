"""Counts of what went wrong while writing, by reason: recording never raises, so failures show here."""

from __future__ import annotations

import threading

from Agent.tree.files.segment import error_name

__all__ = ["ErrorCounters"]


class ErrorCounters:
    """Counts by reason, safe with threads and usable in signal handlers."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._by_reason: dict[str, int] = {}

    def add(self, reason: str, count: int = 1) -> None:
        """Count something, e.g. `short_write`."""
        with self._lock:
            self._by_reason[reason] = self._by_reason.get(reason, 0) + count

    def fail(self, what: str, error: OSError) -> None:
        """Count a failure of the operating system, e.g. `write:ENOSPC`."""
        self.add(f"{what}:{error_name(error)}")

    def snapshot(self) -> dict[str, int]:
        """The counts so far."""
        with self._lock:
            return dict(self._by_reason)

    def after_fork_in_child(self) -> None:
        """A child counts its own failures, under a lock that no thread of the parent holds."""
        self._lock = threading.RLock()
        self._by_reason = {}
