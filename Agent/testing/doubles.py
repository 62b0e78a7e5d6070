"""Test doubles for clock and sink, and a context that records everything into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from Agent.event.codec import decode_line
from Agent.event.model import Event, RedactedBytes
from Agent.record.emit.context import current_scope
from Agent.record.emit.installed import install_pipeline
from Agent.record.emit.pipeline import LineSink, RecordOptions, record_lines


class FakeClock:
    """A clock that changes only when it is advanced or, with `step_ns`, read.

    Args:
        start_ns: nanoseconds since 1970.
        step_ns: how far each reading advances it.
    """

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000, step_ns: int = 0) -> None:
        self.now_ns = start_ns
        self.step_ns = step_ns

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""
        self.now_ns += self.step_ns
        return self.now_ns

    def monotonic_ns(self) -> int:
        """Nanoseconds of the same clock, for durations."""
        return self.wall_ns()

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.now_ns += int(seconds * 1e9)


class MemorySink(LineSink):
    """A sink that stores lines in memory; `events` decodes them, in the order of writing.

    Set `is_failing` to make it refuse lines, like a full disk.
    """

    def __init__(self, writer: str = "aaaaaaaa") -> None:
        super().__init__(writer)
        self.is_failing = False

    def write(self, line: RedactedBytes) -> bool:
        """Store a line, or refuse it."""
        return not self.is_failing and super().write(line)

    @property
    def events(self) -> list[Event]:
        """The stored lines as events."""
        return [decode_line(line) for line in self.lines]


@contextmanager
def record_in_memory(
    *, options: RecordOptions | None = None, clock: FakeClock | None = None, redact: bool = True
) -> Iterator[MemorySink]:
    """Record everything in the block into memory instead of files; yields the sink."""
    sink = MemorySink()
    pipeline = record_lines(
        sink, "memory", redact=redact, key=b"a key for tests", options=options, clock=clock
    )
    before = install_pipeline(pipeline)
    token = current_scope.set(None)
    try:
        yield sink
    finally:
        current_scope.reset(token)
        # If the outer recording was closed in the meantime, it stays closed.
        install_pipeline(None if before is not None and before.closed else before)
