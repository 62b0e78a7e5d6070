"""Errors on their way through a power cut: what the line that tells of trouble asks of the disk.

A line is in the kernel when its call returns. For an error that is not enough, and yet a program that fails a
thousand times a second is not to wait for the disk each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from Agent.tree.write.blocking import wait_for
from Agent.tree.write.sink import Stream

_REST_PER_WAIT = 9


class DurableErrors:
    """Brings streams that took an error to the disk, spending a tenth of the time on it at most.

    Errors that come too soon after others share the sync that follows: that of a later error, or of `finish`.
    """

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self.forget()

    def forget(self) -> None:
        """Begin again, in a child process: what its parent wrote the parent brings to the disk."""
        # Threads come and signal handlers come between: each operation on it is one step.
        self._waiting: deque[Stream] = deque()
        self._resting_until_ns = 0

    def ask(self, stream: Stream) -> None:
        """An error was written to this stream."""
        self._waiting.append(stream)
        if self._monotonic_ns() >= self._resting_until_ns:
            wait_for(self.finish)

    def finish(self) -> None:
        """Bring to the disk what still waits for it."""
        if not self._waiting:
            return
        begun_ns = self._monotonic_ns()
        waiting: set[Stream] = set()
        while self._waiting:
            try:
                waiting.add(self._waiting.popleft())
            except IndexError:  # another thread took the last one
                break
        for stream in waiting:
            # One that is kept in memory knows no disk. A refusal is counted where it is met.
            sync: Callable[[], bool] | None = getattr(stream, "sync", None)
            if sync is not None:
                sync()
        ended_ns = self._monotonic_ns()
        self._resting_until_ns = ended_ns + _REST_PER_WAIT * (ended_ns - begun_ns)
