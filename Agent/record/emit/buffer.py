"""Events that may wait: performance metrics, held in memory and written a batch at a time.

They belong to a writer of their own, so that a kill, which may cost what was held, leaves no gap among the
events that had been promised.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from Agent.event.clock import Clock
from Agent.record.emit.timestamps import Stamps
from Agent.record.encode.event_template import AgentBinding, Slot
from Agent.record.encode.redaction import redacted
from Agent.record.health import Health
from Agent.tree.write.sink import Sink, Stream


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
        self._lines: deque[tuple[Stream, Slot, bytes]] = deque()
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
        line, identity = self._stamps.line(self._sink, rest)
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
            if not stream.write(redacted(line)):
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
