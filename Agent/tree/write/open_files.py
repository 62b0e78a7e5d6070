"""The bounded set of open files of one writer: a few dozen descriptors serve any number of agents.

A file that was evicted is opened again by the next write to it (`segment_writer`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Final, Protocol

from Agent.tree.files.error_counters import ErrorCounters
from Agent.tree.files.segment import CLOSED, Segment

__all__ = ["Evictable", "OpenFiles"]

_PATIENCE_S: Final = 0.1


class Evictable(Protocol):
    """Something that holds an open segment and can do without."""

    segment: Segment

    def forget_segment(self, segment: Segment) -> None:
        """Keep what is needed to open the file again."""
        ...


class OpenFiles:
    """Second chance over the files that are open, and a graveyard for segments that a write still pins.

    Everything here happens under `lock`. It is re-entrant, because a signal handler may record an event while
    the same thread is inside; `busy` tells such a call that it must not touch what is half done.
    """

    def __init__(self, max_open: int, counts: ErrorCounters) -> None:
        self.lock = threading.RLock()
        self.busy = False
        self.counts = counts
        self.max_open = max(1, max_open)
        self._ring: deque[Evictable] = deque()
        self._graveyard: list[Segment] = []

    def __len__(self) -> int:
        return len(self._ring)

    def admit(self, file: Evictable, segment: Segment) -> None:
        """Put a newly opened segment into a file that had none."""
        file.segment = segment
        self._ring.append(file)
        while len(self._ring) > self.max_open:
            self.evict_one()
        self.sweep()

    def swap(self, file: Evictable, segment: Segment) -> None:
        """Put another segment into a file that has one; the old one is closed when nobody writes to it."""
        old, file.segment = file.segment, segment
        self._graveyard.append(old)
        self.sweep()

    def evict_one(self) -> bool:
        """Close the oldest file not written to since it was last looked at; False if none is open."""
        for _ in range(2 * len(self._ring)):
            file = self._ring.popleft()
            segment = file.segment
            if segment is CLOSED:
                return True
            if segment.room_bytes != segment.room_seen_bytes:
                segment.room_seen_bytes = segment.room_bytes
                self._ring.append(file)
                continue
            self._retire(file)
            return True
        if not self._ring:
            return False
        # every file is being written to right now, so the oldest has to go all the same
        self._retire(self._ring.popleft())
        return True

    def _retire(self, file: Evictable) -> None:
        segment, file.segment = file.segment, CLOSED
        file.forget_segment(segment)
        if segment is not CLOSED:
            self._graveyard.append(segment)

    def drop(self, file: Evictable) -> None:
        """Close one file."""
        if file in self._ring:
            self._ring.remove(file)
        self._retire(file)
        self.sweep()

    def sweep(self) -> None:
        """Close the segments in the graveyard that no write pins any more."""
        waiting = []
        while self._graveyard:
            segment = self._graveyard.pop()
            if segment.pins:
                waiting.append(segment)
                continue
            try:
                segment.close()
            except OSError as error:
                self.counts.fail("close", error)
        self._graveyard.extend(waiting)

    def files(self) -> list[Evictable]:
        """The files that are open now."""
        return list(self._ring)

    def close(self) -> None:
        """Close every file."""
        with self.lock:
            if self.busy:
                # a signal handler ends the program in the middle of a write, whose files are in use
                return
            while self._ring:
                self._retire(self._ring.popleft())
            self.sweep()

    def wait_until_closed(self) -> bool:
        """Whether no write is under way any more, which is waited for a little."""
        until = time.monotonic() + _PATIENCE_S
        while self._graveyard and time.monotonic() < until:
            time.sleep(_PATIENCE_S / 100)
            with self.lock:
                if self.busy:
                    return False
                self.sweep()
        return not (self._graveyard or self._ring)

    def after_fork_in_child(self) -> None:
        """Give up every descriptor that the parent goes on using.

        A pinned one may belong to a write that this very thread was in when a signal handler forked, so its
        number must not come to name another file: it is pointed at the null device instead of being closed.
        """
        self.lock = threading.RLock()
        self.busy = False
        segments = [*self._graveyard, *(file.segment for file in self._ring)]
        self._ring.clear()
        self._graveyard = []
        for segment in segments:
            try:
                if segment.pins:
                    null = os.open(os.devnull, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
                    os.dup2(null, segment.fd, inheritable=False)
                    os.close(null)
                else:
                    segment.close()
            except OSError as error:
                self.counts.fail("close", error)
