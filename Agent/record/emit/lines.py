"""What a line begins with, its time and number, and lines that may wait in memory or for the disk.

Buffered events, the performance metrics, belong to a writer of their own, so that a kill, which may cost
what was held, leaves no gap among the events that had been promised. An error is brought to the disk
itself, and yet a program that fails a thousand times a second does not wait for the disk each time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from Agent.event.clock import Clock, format_timestamp
from Agent.event.model import RedactedBytes
from Agent.record.encode.event_template import AgentBinding, Slot
from Agent.record.encode.native import native
from Agent.record.health import Health
from Agent.tree.write.sink import Sink, Stream, wait_for


def _stamped(
    prefix: str, microsecond: int, writer: str, seq: int, /, *parts: bytes
) -> tuple[RedactedBytes, str]:
    identity = f"{writer}-{seq}"
    begin = f'{prefix}{microsecond:06d}Z","id":"{identity}'.encode()
    # Its parts are a head, links and a payload, each of which went through redaction.
    return RedactedBytes(b"".join((begin, *parts))), identity


_LOOK_EVERY_US = 1000
_NEVER_US = 1 << 62
Stamped = Callable[..., tuple[RedactedBytes, str]]
stamped: Stamped = _stamped if native is None else native.stamped
"""`stamped(prefix, microsecond, writer, seq, *parts)`: a whole line, and the id that stands in it."""


class SpanBoard(Protocol):
    """Where open spans and last sequence numbers survive the death of the process."""

    def thread_slot(self) -> Callable[[int], None]:
        """A store for the last number that the calling thread took."""

    def open_span(self, span_id: str, agent_id: str | None, name: str, started_us: int) -> int:
        """Enter a span; its place in the table, negative if the table is full."""

    def close_span(self, slot: int) -> None:
        """Take it out again."""


def _forget(_seq: int) -> None:
    """Where there is no board, nothing is kept of a number."""


class ThreadStamps:
    """What each thread keeps for itself: its latest time and its place on the board."""

    __slots__ = ("generation", "last_us", "store")

    def __init__(self) -> None:
        self.last_us = 0
        self.store: Callable[[int], None] = _forget
        self.generation = -1


class _OfEachThread(threading.local):
    """Gives each thread its own."""

    def __init__(self) -> None:
        self.own = ThreadStamps()


class Stamps:
    """Stamps the lines of one pipeline.

    Args:
        sink: the stream whose numbers the board keeps.
        clock: tells the time.
        board: None for none.
    """

    __slots__ = ("_is_there", "_sink", "_wall_ns", "board", "generation", "look_at_us", "second", "threads")

    def __init__(self, sink: Sink, clock: Clock, board: SpanBoard | None) -> None:
        self._sink = sink
        self._wall_ns = clock.wall_ns
        self.board = board
        self.generation = 0
        self.threads = _OfEachThread()
        # One value, so that no thread pairs the text of one second with the number of another.
        self.second = (-1, "")
        self._is_there: Callable[[], bool] | None = None
        self.look_at_us = _NEVER_US
        """When somebody has to look whether the session is still there."""

    def watch(self, is_there: Callable[[], bool]) -> None:
        """Have a question answered by every call of `look`, and by an event at most each millisecond."""
        self._is_there, self.look_at_us = is_there, 0

    def look(self, now_us: int = 0) -> bool:
        """Whether the session is still there, as far as anybody watches it."""
        if self._is_there is None:
            return True
        self.look_at_us = now_us + _LOOK_EVERY_US
        return self._is_there()

    def begin_second(self, second_us: int) -> str:
        """The beginning of all lines of a second that starts so many microseconds after 1970."""
        prefix = '{"timestamp":"' + format_timestamp(second_us)[:20]
        self.second = (second_us, prefix)
        return prefix

    def join_board(self, thread: ThreadStamps) -> None:
        """Give a thread its place on the board of this process."""
        thread.generation = self.generation
        thread.store = self.board.thread_slot() if self.board is not None else _forget

    def after_fork_in_child(self, board: SpanBoard | None) -> None:
        """Go on with the board of the child."""
        self.generation += 1
        self.board = board

    def now_us(self) -> int:
        """The time; a clock that was set back does not reorder what one thread did."""
        thread = self.threads.own
        thread.last_us = max(self._wall_ns() // 1000, thread.last_us)
        return thread.last_us

    def line(
        self, sink: Sink, *parts: bytes, now_us: int, seq: int | None = None
    ) -> tuple[RedactedBytes, str]:
        """The line of an event of that durability stream, and its id.

        Args:
            parts: of the line, behind the id.
            seq: its number, where it was taken before; else it is the stream's next.
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
    """Holds lines until there are enough, they are old, an error comes, or somebody reads, forks or ends.

    Args:
        open_sink: makes the durability stream of buffered events, at the first of them.
        stamps: stamps their lines.
        entries: how many lines are held at most.
        seconds: how old the oldest may become.
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
        self._waker: threading.Thread | None = None
        self._sink: Sink | None = None
        self._streams: dict[AgentBinding, Stream] = {}
        self._lines: deque[tuple[Stream, Slot, RedactedBytes]] = deque()
        # Re-entrant: a signal handler may measure something while its own thread opens the sink.
        self._lock = threading.RLock()
        self._oldest_ns = 0

    @property
    def sink(self) -> Sink | None:
        """The sink of buffered events, None before the first."""
        return self._sink

    def add(self, slot: Slot, rest: bytes) -> str:
        """Hold one event back and give its id."""
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
        """See to it that what is held does not wait for others to come."""
        try:
            self._waker = threading.Thread(target=self._flush_late, name="agent-trace-buffer", daemon=True)
            self._waker.start()
        except RuntimeError:  # at the end of the interpreter no thread begins any more; the end flushes
            return
        except BaseException:  # thrown by a signal's handler: the next line begins another
            self._waker = None
            raise

    def _flush_late(self) -> None:
        while self._lines:
            time.sleep(self._age_s)
            self.flush()
        self._waker = None
        if self._lines:  # one came between the last look and the end of this thread
            self._wake_later()

    def flush(self) -> None:
        """Write what is held."""
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
        """Drop what was inherited over a fork: the parent writes it."""
        self._lines = deque()
        self._lock = threading.RLock()
        self._sink = None
        self._streams = {}
        self._waker = None

    def __len__(self) -> int:
        """How many events are held back now."""
        return len(self._lines)


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
