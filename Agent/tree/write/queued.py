"""A sink that wraps another: lines wait in a bounded queue, and one thread writes them in order.

`config/recording.py` wraps the `SessionWriter` with it if durability is `queued`. Nothing here waits for a
lock that a signal handler could find held by its own thread: adding a line is one atomic operation, and
waiting callers poll.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal, cast

from Agent.event.background_threads import BackgroundThread
from Agent.event.model import RedactedBytes
from Agent.tree.layout import RUN_CATEGORY
from Agent.tree.write.sink import DurableStream, NoRoom, Sink, Stream, wait_for

WhenFull = Literal["block", "drop_new"]
QUEUE_FULL: Final = "queue_full"
"""The drop reason of events that did not fit in the queue."""

_BATCH_LINES = 4096
_WRITE_BYTES = 1024 * 1024
_GATHER_S = 0.005
_QUIET_ROUNDS = 20
_IDLE_S = 1.0
_PATIENCE_S = 0.05
_BY: Final = "by"
_Item = tuple[Stream | None, RedactedBytes | threading.Lock]


class QueuedStream:
    """The queued stream of one agent or category."""

    __slots__ = ("_queue", "_stream")

    def __init__(self, queue: QueuedSink, stream: Stream) -> None:
        self._queue = queue
        self._stream = stream

    def write(self, line: RedactedBytes) -> bool:
        """Queue one line; always True, because failures are reported later and counted."""
        queue = self._queue
        lines = queue.lines
        lines.append((self._stream, line))
        if queue.idle:
            queue.attend()
        if len(lines) + queue.in_hand > queue.limit:
            wait_for(queue.wait_for_room)
        return True

    def write_synced(self, line: RedactedBytes) -> bool:
        """Queue one line, wait until it is written, and sync it to the disk."""
        return self.write(line) and self.sync()

    def sync(self) -> bool:
        """Write the queued lines and sync them; False if that may have failed, which is counted."""
        self._queue.wait_until_written()
        sync: Callable[[], bool] | None = getattr(self._stream, "sync", None)
        return True if sync is None else sync()


class QueuedSink:
    """Queues the lines of one durability stream until its thread has written them.

    Args:
        sink: the sink that the lines are written to.
        size: maximum number of queued lines; a few more while calls wait for room.
        when_full: `block` makes the call wait for room, `drop_new` refuses to number the event.
        gather_s: how long the thread waits for more lines before it writes, in seconds.

    A flush writes the queue at once; if the thread has ended, the caller writes it.
    """

    defers: Final = True
    """Whether a line that `write` accepted may be refused later."""

    def __init__(
        self, sink: Sink, *, size: int, when_full: WhenFull = "block", gather_s: float = _GATHER_S
    ) -> None:
        self._sink = sink
        self._size = size
        self._blocks = when_full == "block"
        # with `drop_new` no call waits: an event that has a number is always queued
        self.limit = size if self._blocks else sys.maxsize
        self._gather_s = gather_s
        self._refused: Callable[[Sequence[bytes]], None] | None = None
        self._streams: dict[Stream, QueuedStream] = {}
        self._through = False
        self._written_last = True
        self._begin()

    def _begin(self) -> None:
        """Start with an empty queue, under the current writer id of the sink."""
        self.writer = self._sink.writer
        self.next_seq: Callable[[], int] = self._sink.next_seq if self._blocks else self._next_seq
        self.lines: deque[_Item] = deque()
        self.in_hand = 0
        """Number of lines that were taken from the queue and are not written yet."""
        self.idle = True
        """Whether the thread does not check for new lines and has to be woken."""
        self._waiting_for_room: deque[threading.Lock] = deque()
        self._thread: BackgroundThread | None = None
        # Not a lock: an exception of a signal handler right after `acquire` would leave it locked forever.
        self._starting: dict[str, object] = {}
        self._turn = threading.RLock()
        self._wake = _taken_lock()

    def __len__(self) -> int:
        """Return how many lines are not written yet."""
        return len(self.lines) + self.in_hand

    def on_refused(self, refused: Callable[[Sequence[bytes]], None]) -> None:
        """Set the callback for queued lines that the file system refused."""
        self._refused = refused

    def open_stream(self, agent_id: str | None, category: str) -> QueuedStream:
        """Return the stream of an agent, or of a category if `agent_id` is None; it stays valid."""
        stream = self._sink.open_stream(agent_id, category)
        if category.startswith(RUN_CATEGORY):  # not cached: a session can have many short runs
            return QueuedStream(self, stream)
        return self._streams.get(stream) or self._streams.setdefault(stream, QueuedStream(self, stream))

    def _next_seq(self) -> int:
        if len(self.lines) + self.in_hand >= self._size and not self._through:
            raise NoRoom(QUEUE_FULL, self._sink.next_seq)
        return self._sink.next_seq()

    # Called by callers: make sure that lines are written, and wait.

    def attend(self) -> None:
        """Wake the thread, or start it; write in the calling thread if none can be started."""
        if self._through:
            self._write_in_caller()
        else:
            mine, starting = object(), self._starting
            try:
                if starting.setdefault(_BY, mine) is not mine:
                    return
                self._start()
            except RuntimeError:
                # no thread can start at interpreter exit
                self._through = True
            finally:
                # without a call, since Python runs signal handlers after calls
                try:
                    if starting[_BY] is mine:
                        del starting[_BY]
                except KeyError:
                    pass  # another thread had it, and has ended
            if self._through:
                self._write_in_caller()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = BackgroundThread(self._run, "agent-trace-queue")
            self._thread.start()
        self.idle = False
        self._wake_thread()

    def _wake_thread(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:  # already released: the thread has not acquired it yet
            return

    def wait_for_room(self) -> None:
        """Wait until the number of queued lines is within the limit."""
        if self._is_writer():
            self._write_in_caller()
            return
        while len(self.lines) + self.in_hand > self.limit:
            lock = _taken_lock()
            self._waiting_for_room.append(lock)
            self._wait(lock)

    def flush(self) -> None:
        """Write all queued lines to the kernel."""
        wait_for(self.wait_until_written)
        self._sink.flush()

    def wait_until_written(self) -> None:
        """Wait until every line queued so far is written, or counted as refused."""
        if not self.lines and not self.in_hand:
            return
        if self._is_writer():
            # called from a finaliser during a batch: the rest of that batch is written afterwards
            self._write_in_caller()
            return
        written = _taken_lock()
        self.lines.append((None, written))
        self._wait(written)

    def _wait(self, done: threading.Lock) -> None:
        """Wait until the thread releases the lock; do its work if it has ended."""
        self._wake_thread()
        while not done.acquire(timeout=_PATIENCE_S):
            if self._thread is None or not self._thread.is_alive():
                self._write_in_caller()
                self._admit_waiting()
            else:
                self._wake_thread()

    def _is_writer(self) -> bool:
        return self._thread is not None and self._thread.is_current()

    def _write_in_caller(self) -> None:
        """Write the queue in the calling thread, which is the writing thread or replaces it."""
        while self.lines:
            self._write_batch()

    # Called by the writing thread.

    def _run(self) -> None:
        wake, quiet_rounds = self._wake, 0
        try:
            while not self._through:
                if quiet_rounds < _QUIET_ROUNDS:
                    # Wait for more lines, unless a caller waits, so that one write serves several.
                    wake.acquire(timeout=self._gather_s)
                else:
                    self.idle = True
                    # Check for lines whose callers still read `idle` as False.
                    if not self.lines:
                        wake.acquire(timeout=_IDLE_S)
                    self.idle = False
                quiet_rounds = 0 if self.lines else quiet_rounds + 1
                while self.lines:
                    self._write_batch()
                    self._admit_waiting()
        finally:
            self.idle = True

    def _admit_waiting(self) -> None:
        while self._waiting_for_room and len(self.lines) + self.in_hand <= self.limit:
            try:
                self._waiting_for_room.popleft().release()
            except IndexError:  # another thread took the last one
                return

    def _write_batch(self) -> None:
        """Write up to one batch in order; adjacent lines of one file go in one write."""
        with self._turn:
            batch: list[_Item] = []
            done = 0
            try:
                while len(batch) < _BATCH_LINES and self._take_into(batch):
                    pass
                while done < len(batch):
                    end = self._end_of_run(batch, done)
                    self._write_run(batch[done:end])
                    self.in_hand -= end - done
                    done = end
            except BaseException:
                # The thread is being ended, or a signal handler raised: put the lines back for others.
                self.lines.extendleft(reversed(batch[done:]))
                self.in_hand = 0
                raise

    def _take_into(self, batch: list[_Item]) -> bool:
        # increment first, so that each line is always counted
        self.in_hand += 1
        try:
            batch.append(self.lines.popleft())
        except IndexError:
            self.in_hand -= 1
            return False
        return True

    def _end_of_run(self, batch: list[_Item], begin: int) -> int:
        stream = batch[begin][0]
        end, size_bytes = begin + 1, 0
        while stream is not None and end < len(batch) and batch[end][0] is stream:
            size_bytes += len(cast("bytes", batch[end][1]))
            if size_bytes > _WRITE_BYTES:
                break
            end += 1
        return end

    def _write_run(self, run: list[_Item]) -> None:
        stream, first = run[0]
        if stream is None:
            cast("threading.Lock", first).release()
            return
        lines = [cast("RedactedBytes", line) for _, line in run]
        together: Callable[[list[RedactedBytes]], list[RedactedBytes]] | None
        together = getattr(stream, "write_lines", None)
        try:
            refused = together(lines) if together else [line for line in lines if not stream.write(line)]
        except Exception:  # noqa: BLE001 - streams do not raise; if one does, count its lines instead of retrying
            refused = lines
        self._written_last = not refused
        if refused and self._refused is not None:
            self._refused(refused)

    # Closing and forking.

    def write_through(self) -> None:
        """Write the queue and end the thread; later lines are written by their callers."""
        self._through = self.idle = True
        self._wake_thread()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self._write_in_caller()
        self._admit_waiting()

    def head(self) -> str | None:
        """Return the head of the sink's chain; None if it keeps no chain."""
        head: Callable[[], str] | None = getattr(self._sink, "head", None)
        return None if head is None else head()

    def close(self, *, clean: bool = True) -> None:
        """Write the queue and close the sink; `clean` says that `log.closed` was the last line."""
        self.write_through()
        self._sink.close(clean=clean and self._written_last)

    def after_fork_in_child(self) -> None:
        """Start with an empty queue and a new thread: the queued lines belong to the parent."""
        forked: Callable[[], None] | None = getattr(self._sink, "after_fork_in_child", None)
        if forked is not None:
            forked()
        self._begin()


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


_: type[DurableStream] = QueuedStream
