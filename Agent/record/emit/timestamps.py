"""Time and number of a line: what the next line of a stream begins with, and what the board keeps of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from Agent.event.clock import Clock, format_timestamp
from Agent.event.model import RedactedBytes
from Agent.record.encode.native import native
from Agent.tree.write.sink import Sink


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
