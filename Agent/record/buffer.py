"""Events that may wait: performance metrics, held in memory and written a batch at a time.

They belong to a writer of their own, so that a kill, which may cost what was held, leaves no gap among the
events that had been promised.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from Agent.record.redaction import redacted
from Agent.tree.sink import Sink, Stream

if TYPE_CHECKING:
    from Agent.record.binding import AgentBinding, Slot
    from Agent.record.pipeline import Pipeline


class EventBuffer:
    """Holds lines until there are `buffer_entries` of them, they are `buffer_seconds` old, an error comes, or
    somebody reads, forks or ends.
    """

    def __init__(self, open_sink: Callable[[], Sink], pipeline: Pipeline) -> None:
        self._open_sink = open_sink
        self._pipeline = pipeline
        self._sink: Sink | None = None
        self._streams: dict[AgentBinding, Stream] = {}
        self._lines: deque[tuple[Stream, Slot, bytes]] = deque()
        self._lock = threading.Lock()
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
                    self._pipeline.announce(self._sink, "buffered")
        line, identity = self._pipeline.make_line(self._sink, rest)
        stream = self._streams.get(slot.binding)
        if stream is None:
            stream = self._sink.open_stream(slot.binding.agent_id, slot.category)
            self._streams[slot.binding] = stream
        now_ns = self._pipeline.clock.monotonic_ns()
        if not self._lines:
            self._oldest_ns = now_ns
        self._lines.append((stream, slot, line))
        options = self._pipeline.options
        if len(self._lines) >= options.buffer_entries or (
            now_ns - self._oldest_ns > options.buffer_seconds * 1e9
        ):
            self.flush()
        return identity

    def flush(self) -> None:
        """Write what is held."""
        pipeline = self._pipeline
        while self._lines:
            try:
                stream, slot, line = self._lines.popleft()
            except IndexError:  # another thread took the last one
                return
            if not stream.write(redacted(line)):
                pipeline.health.drop("the file system refused the write")
                continue
            pipeline.events += 1
            if slot.mirror is not None:
                slot.mirror(line)

    def forget(self) -> None:
        """Drop what was inherited over a fork: the parent writes it."""
        self._lines = deque()
        self._lock = threading.Lock()
        self._sink = None
        self._streams = {}

    def __len__(self) -> int:
        """How many events are held back now."""
        return len(self._lines)
