"""Group commit: many lines that ask for the disk at the same time share one `fdatasync` a file."""

from __future__ import annotations

import os
import threading

from Agent.tree.files.error_counters import ErrorCounters
from Agent.tree.files.segment import Segment

__all__ = ["GroupCommit"]

_sync_data = getattr(os, "fdatasync", os.fsync)


class GroupCommit:
    """Brings segments to the disk; whoever comes while a sync is under way shares the next one."""

    def __init__(self, counts: ErrorCounters) -> None:
        self._counts = counts
        self._after_fork()

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._turn = threading.RLock()
        self._asked = 0
        self._waiting: list[tuple[int, Segment]] = []
        self._answers: dict[int, bool] = {}

    after_fork_in_child = _after_fork

    def sync(self, segment: Segment) -> bool:
        """Wait until what was written to the segment is on the disk; False if the disk refused, counted.

        The caller has the segment pinned. A refusal is not tried again: the kernel has marked those pages
        clean, so a second `fdatasync` would succeed without having written them.
        """
        with self._lock:
            self._asked += 1
            ticket = self._asked
            self._waiting.append((ticket, segment))
        with self._turn:
            with self._lock:
                if ticket in self._answers:
                    return self._answers.pop(ticket)
                batch, self._waiting = self._waiting, []
            verdicts: dict[int, bool] = {}
            for _, waiting in batch:
                if id(waiting) not in verdicts:
                    verdicts[id(waiting)] = self._sync_one(waiting)
            with self._lock:
                self._answers.update((number, verdicts[id(waiting)]) for number, waiting in batch)
                return self._answers.pop(ticket)

    def _sync_one(self, segment: Segment) -> bool:
        try:
            _sync_data(segment.fd)
        except OSError as error:
            self._counts.fail("sync", error)
            return False
        return True
