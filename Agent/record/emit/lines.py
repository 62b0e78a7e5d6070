"""The beginning of each line (time and number), the buffer of lines in memory, and the sync of errors.

Buffered events, the performance metrics, have a separate writer: if a kill loses buffered lines, the numbers
of the other events still have no gap. Errors are synced to disk, but a program with 1,000 errors a second
does not wait for a sync at each.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from Agent.event.background_threads import BackgroundThread
from Agent.event.clock import Clock, format_timestamp
from Agent.event.model import RedactedBytes
from Agent.event.system_clock import SystemClock
from Agent.record.encode.event_template import AgentBinding, Slot
from Agent.record.encode.native import native
from Agent.record.health import Health
from Agent.tree.write.sink import Sink, Stream, wait_for

if TYPE_CHECKING:
    from Agent.tree.write.crash_board import Board


def _stamped(
    prefix: str, microsecond: int, writer: str, seq: int, /, *parts: bytes
) -> tuple[RedactedBytes, str]:
    identity = f"{writer}-{seq}"
    begin = f'{prefix}{microsecond:06d}Z","id":"{identity}'.encode()
    # RedactedBytes is correct here: head, links and payload were all redacted before.
    return RedactedBytes(b"".join((begin, *parts))), identity


_LOOK_EVERY_US = 2000
_NEVER_US = 1 << 62
Stamped = Callable[..., tuple[RedactedBytes, str]]
stamped: Stamped = _stamped if native is None else native.stamped
"""`stamped(prefix, microsecond, writer, seq, *parts)` returns a whole line and the id in it."""


def _forget(_seq: int) -> None:
    """Do nothing: the store of a thread without a board."""


class ThreadStamps:
    """The data of one thread: its latest time and its store on the board."""

    __slots__ = ("generation", "last_us", "store")

    def __init__(self) -> None:
        self.last_us = 0
        self.store: Callable[[int], None] = _forget
        self.generation = -1


class _OfEachThread(threading.local):
    """A `ThreadStamps` per thread."""

    def __init__(self) -> None:
        self.own = ThreadStamps()


class Stamps:
    """Stamps the lines of one pipeline.

    Args:
        sink: the stream whose last numbers are stored on the board.
        clock: the time source.
        board: None for no board.
    """

    __slots__ = ("_is_there", "_sink", "_wall_ns", "board", "generation", "look_at_us", "second", "threads")

    def __init__(self, sink: Sink, clock: Clock, board: Board | None) -> None:
        self._sink = sink
        self._wall_ns = clock.wall_ns
        self.board = board
        self.generation = 0
        self.threads = _OfEachThread()
        # A single tuple, so that no thread combines the number of one second with the text of another.
        self.second = (-1, "")
        self._is_there: Callable[[], bool] | None = None
        self.look_at_us = _NEVER_US
        """The time from which the next event has to check whether the session still exists."""

    def watch(self, is_there: Callable[[], bool]) -> None:
        """Set the check for an existing session: each call of `look` makes it, events at most every 2 ms."""
        self._is_there, self.look_at_us = is_there, 0

    def look(self, now_us: int = 0) -> bool:
        """Return whether the session still exists; True if no check is set."""
        if self._is_there is None:
            return True
        self.look_at_us = now_us + _LOOK_EVERY_US
        return self._is_there()

    def begin_second(self, second_us: int) -> str:
        """Return and cache the beginning of the lines of a second, given in microseconds since 1970."""
        prefix = '{"timestamp":"' + format_timestamp(second_us)[:20]
        self.second = (second_us, prefix)
        return prefix

    def join_board(self, thread: ThreadStamps) -> None:
        """Set the store of a thread to one on the board of this process."""
        thread.generation = self.generation
        thread.store = self.board.thread_slot() if self.board is not None else _forget

    def after_fork_in_child(self, board: Board | None) -> None:
        """Use the board of the child; threads get their stores on it at their next line."""
        self.generation += 1
        self.board = board

    def now_us(self) -> int:
        """Return the time; it does not decrease within a thread, even if the clock is set back."""
        thread = self.threads.own
        thread.last_us = max(self._wall_ns() // 1000, thread.last_us)
        return thread.last_us

    def line(
        self, sink: Sink, *parts: bytes, now_us: int, seq: int | None = None
    ) -> tuple[RedactedBytes, str]:
        """Return the line of an event of a sink, and the event's id.

        Args:
            parts: the parts of the line after the id.
            seq: its number if already taken; default: the next number of the sink.
        """
        fraction = now_us % 1_000_000
        second, prefix = self.second
        if second != now_us - fraction:
            prefix = self.begin_second(now_us - fraction)
        if seq is None:
            seq = sink.next_seq()
        if sink is self._sink:
            thread = self.threads.own
            if thread.generation != self.generation:
                self.join_board(thread)
            thread.store(seq)
        return stamped(prefix, fraction, sink.writer, seq, *parts)


class EventBuffer:
    """Holds lines until it is full, the oldest line is too old, an error occurs or a flush is requested.

    Args:
        open_sink: makes the sink of buffered events; called at the first event.
        stamps: stamps their lines.
        entries: the most lines that are held.
        seconds: the maximum age of the oldest line.
    """

    def __init__(
        self,
        open_sink: Callable[[], Sink],
        stamps: Stamps,
        health: Health,
        clock: Clock,
        *,
        entries: int,
        seconds: float,
        read: Callable[[Slot, bytes], None] | None = None,
    ) -> None:
        self._read = read
        self._open_sink = open_sink
        self._stamps = stamps
        self._health = health
        self._monotonic_ns = clock.monotonic_ns
        self._entries = entries
        self._age_s = seconds
        self._age_ns = int(seconds * 1e9)
        self._waker: BackgroundThread | None = None
        self._sink: Sink | None = None
        self._streams: dict[AgentBinding, Stream] = {}
        self._lines: deque[tuple[Stream, Slot, RedactedBytes]] = deque()
        # Re-entrant: a signal handler may record a metric while the same thread opens the sink.
        self._lock = threading.RLock()
        self._oldest_ns = 0

    @property
    def sink(self) -> Sink | None:
        """Return the sink of buffered events, None before the first event."""
        return self._sink

    def add(self, slot: Slot, rest: bytes) -> str:
        """Buffer one event and return its id."""
        if self._sink is None:
            with self._lock:
                if self._sink is None:
                    self._sink = self._open_sink()
        line, identity = self._stamps.line(self._sink, rest, b"}\n", now_us=self._stamps.now_us())
        stream = self._streams.get(slot.binding)
        if stream is None:
            stream = self._sink.open_stream(slot.binding.agent_id, slot.category)
            self._streams[slot.binding] = stream
        now_ns = self._monotonic_ns()
        if not self._lines:
            self._oldest_ns = now_ns
        self._lines.append((stream, slot, line))
        if self._waker is None:
            self._wake_later()
        if len(self._lines) >= self._entries or now_ns - self._oldest_ns > self._age_ns:
            self.flush()
        return identity

    def _wake_later(self) -> None:
        """Start a thread that writes the held lines, in case no further line triggers it."""
        try:
            self._waker = BackgroundThread(self._flush_late, "agent-trace-buffer")
            self._waker.start()
        except RuntimeError:  # the interpreter is shutting down and starts no threads; the exit flushes
            return
        except BaseException:  # raised by a signal handler: the next line starts another thread
            self._waker = None
            raise

    def _flush_late(self) -> None:
        while self._lines:
            SystemClock.pause(self._age_s)
            self.flush()
        self._waker = None
        if self._lines:  # a line was added after the flush, when this thread still counted as the waker
            self._wake_later()

    def flush(self) -> None:
        """Write the held lines."""
        while self._lines:
            try:
                stream, slot, line = self._lines.popleft()
            except IndexError:  # another thread took the last one
                return
            if not stream.write(line):
                self._health.drop("the file system refused the write")
                continue
            self._health.events += 1
            if self._read is not None:
                self._read(slot, line)
            if slot.mirror is not None:
                slot.mirror(line)

    def forget(self) -> None:
        """Drop the lines inherited by a fork: the parent writes them."""
        self._lines = deque()
        self._lock = threading.RLock()
        self._sink = None
        self._streams = {}
        self._waker = None

    def __len__(self) -> int:
        """Return the number of held events."""
        return len(self._lines)


_REST_PER_WAIT = 9


class DurableErrors:
    """Syncs streams with errors to disk, for at most a tenth of the time.

    Errors too soon after others wait for a shared sync: that of a later error, or of `finish`.
    """

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self.forget()

    def forget(self) -> None:
        """Reset in a child process: the parent syncs what it wrote."""
        # A deque, since its operations are atomic: other threads and signal handlers use it at any time.
        self._waiting: deque[Stream] = deque()
        self._resting_until_ns = 0

    def ask(self, stream: Stream) -> None:
        """Request a sync of a stream to which an error was written."""
        self._waiting.append(stream)
        if self._monotonic_ns() >= self._resting_until_ns:
            wait_for(self.finish)

    def finish(self) -> None:
        """Sync all waiting streams."""
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
            # A stream in memory has no `sync`. A failed sync is counted by the stream.
            sync: Callable[[], bool] | None = getattr(stream, "sync", None)
            if sync is not None:
                sync()
        ended_ns = self._monotonic_ns()
        self._resting_until_ns = ended_ns + _REST_PER_WAIT * (ended_ns - begun_ns)
