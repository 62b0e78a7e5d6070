"""The sink that writes a session: one writer, its claim and board, and a stream for each agent and category.

Lines arrive finished and redacted. They go to the kernel first, then to the mirrors.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal
from weakref import WeakValueDictionary

from Agent.errors import ConfigurationError
from Agent.event.clock import format_timestamp
from Agent.event.ids import new_writer_id
from Agent.event.model import RedactedBytes
from Agent.event.system_clock import SystemClock
from Agent.tree.files.descriptors import most_open, write_own
from Agent.tree.files.segment import ErrorCounters, Segment
from Agent.tree.files.session import Claim, boot_id, hostname, process_start_ticks, write_claim
from Agent.tree.layout import RUN_CATEGORY, agents_dir, boards_dir, category_file, run_dir, safe_name
from Agent.tree.write.chain import LineChain
from Agent.tree.write.crash_board import Board
from Agent.tree.write.segment_writer import GroupCommit, OpenFiles, OwnFile, WriterState
from Agent.tree.write.sink import DurableStream, collecting, wait_for

DEFAULT_SEGMENT_SIZE_BYTES: Final = 64 * 1024 * 1024
DEFAULT_MAX_OPEN_FILES: Final = 1024
Durability = Literal["kernel", "disk", "buffered", "queued"]
_write = write_own


class SessionStream:
    """The lines of one agent or category; stays valid across rotation, eviction and fork."""

    __slots__ = ("_file",)

    def __init__(self, file: OwnFile) -> None:
        self._file = file

    def write(self, line: RedactedBytes) -> bool:
        """Write one whole line to the kernel; False if it was not written, which is counted."""
        # No lock here: the pin keeps the descriptor from being closed. A thread that swaps segments checks
        # the pins after the swap, so it always sees a pin that was set before. `append` and `pop` are
        # atomic, so several threads may pin at once.
        file = self._file
        segment = file.segment
        pins = segment.pins
        pins.append(None)
        failure: OSError | None = None
        written = -1  # not tried: the segment was swapped, or has no room
        try:
            if file.segment is segment:
                size = len(line)
                # Not exact among threads: a segment may exceed its limit by a few lines.
                free_bytes = segment.room_bytes - size
                if free_bytes >= 0:
                    segment.room_bytes = free_bytes
                    written = _write(segment.fd, line)
                    if written == size:
                        return True
        except OSError as error:
            failure = error
        finally:
            pins.pop()
        if failure is not None:
            return file.refused(line, segment, failure)
        return file.write_slowly(line) if written < 0 else file.resend(line)

    def write_lines(self, lines: Sequence[RedactedBytes]) -> list[RedactedBytes]:
        """Write whole lines to the kernel in few writes; return those not written, which are counted."""
        refused: list[RedactedBytes] = []
        at = 0
        while at < len(lines):
            taken = _write_together(self._file, lines, at)
            # a single line is the first of a file, for example, or needs another segment
            if taken == 0 and not self.write(lines[at]):
                refused.append(lines[at])
            at += max(taken, 1)
        return refused

    def write_synced(self, line: RedactedBytes) -> bool:
        """Sync one whole line to the disk; False if it may not be there, which is counted."""
        return self._file.write_synced(line)

    def sync(self) -> bool:
        """Sync what was written to the disk; False if it may not be there, which is counted."""
        return self._file.sync()


class SyncedStream(SessionStream):
    """A stream that syncs every line."""

    __slots__ = ()

    def write(self, line: RedactedBytes) -> bool:
        """Sync one whole line to the disk; False if it may not be there, which is counted."""
        if not collecting():
            return self._file.write_synced(line)
        # An awaitable call writes to the kernel here, and waits for the disk outside the event loop.
        written = super().write(line)
        if written:
            wait_for(self.sync)
        return written

    def bring_to_disk(self, segment: Segment) -> bool:
        """Sync a segment that was pinned for a line written to it, and unpin it; False as in `sync`."""
        if not collecting():
            return self._file.sync_pinned(segment)
        segment.pins.pop()
        wait_for(self.sync)
        return True


CLASSES_WRITTEN_BY = (SessionStream, SyncedStream, OwnFile, Segment)
"""Classes whose slots the C extension reads, because it implements `write` of the streams."""


class SessionWriter:
    """One writer: a stream of numbered events of one process in one session.

    Args:
        session: the session's directory.
        durability: `disk` syncs every line; with the other names a line is in the kernel when `write`
            returns; the claim records the name, since the caller may buffer lines.
        kind: the purpose of this stream, for people who read the claim.
        segment_size_bytes: a file that would exceed this is rotated first.
        max_open_files: how many descriptors serve all agents.
        board: whether to keep a board.

    Disk errors never raise: `counters()` lists what could not be created or written.
    """

    def __init__(
        self,
        session: Path,
        *,
        durability: Durability = "kernel",
        kind: str = "events",
        segment_size_bytes: int = DEFAULT_SEGMENT_SIZE_BYTES,
        max_open_files: int = DEFAULT_MAX_OPEN_FILES,
        board: bool = True,
    ) -> None:
        if segment_size_bytes < 1 or max_open_files < 1:
            raise ConfigurationError("segment_size_bytes and max_open_files must be at least 1")
        self.session = session
        self.durability: Durability = durability
        self.kind = kind
        self._wants_board = board
        self._counts = ErrorCounters()
        self._state = WriterState(
            session=session,
            writer="",
            segment_size_bytes=segment_size_bytes,
            counts=self._counts,
            files=OpenFiles(most_open(max_open_files), self._counts),
            commit=GroupCommit(self._counts),
            chain=self._new_chain(""),
            directories_to_sync=durability == "disk",
        )
        self._agents_dir = agents_dir(self.session)
        self._files: dict[tuple[bool, str], OwnFile] = {}
        self._streams: dict[tuple[str | None, str], DurableStream] = {}
        # weak, because a session can have many runs: the recorder of a run holds its stream and so its file
        self._run_files: WeakValueDictionary[str, OwnFile] = WeakValueDictionary()
        self._begin()

    def _begin(self) -> None:
        """Take an id, start counting at 1, write the claim and create the board."""
        self.board: Board | None = None
        self.next_seq: Callable[[], int] = itertools.count(1).__next__
        self.writer = self._claim()
        self._state.writer = self.writer
        self._state.chain = self._new_chain(self.writer)
        if self._wants_board:
            try:
                self.board = Board.create(boards_dir(self.session) / f"{self.writer}.board")
            except OSError as error:
                self._counts.fail("board", error)

    def _new_chain(self, writer: str) -> LineChain:
        return LineChain(self.session, writer, self._counts, self._keep_head, self._replace_missing)

    def _keep_head(self, blocks: int, root: bytes) -> None:
        if self.board is not None:  # it is created after the chain
            self.board.store_head(blocks, root)

    def _replace_missing(self, inode: tuple[int, int]) -> bool:
        """Replace a missing file by a new one; returns whether the old one is still written to."""
        for file in (*self._files.values(), *self._run_files.values()):
            if file.segment.inode == inode:
                file.replace_missing()
                return file.segment.inode == inode
        return False

    def _claim(self) -> str:
        pid = os.getpid()
        while True:
            writer = new_writer_id(os.urandom(5))
            claim = Claim(
                writer=writer,
                pid=pid,
                process_start_ticks=process_start_ticks(pid),
                boot_id=boot_id(),
                host=hostname(),
                durability=self.durability,
                kind=self.kind,
                claimed_at=format_timestamp(SystemClock.wall_ns() // 1000),
            )
            try:
                write_claim(self.session, claim)
            except FileExistsError:
                continue  # the id is taken: draw another one
            except OSError as error:
                self._counts.fail("claim", error)
            return writer

    def open_stream(self, agent_id: str | None, category: str) -> DurableStream:
        """Return the stream of an agent, or of a category if `agent_id` is None; one object per name.

        The category `runs/<run_id>` is the file of that run, kept as long as somebody holds its stream.
        """
        if agent_id is None and category.startswith(RUN_CATEGORY):
            return self._run_stream(category)
        key = (agent_id, category)
        stream = self._streams.get(key)
        if stream is None:
            # `setdefault` is atomic, so threads and signal handlers all get the same stream
            stream = self._streams.setdefault(key, self._make_stream(agent_id, category))
        return stream

    def _make_stream(self, agent_id: str | None, category: str) -> DurableStream:
        is_agent = agent_id is not None
        stem = category_file(category) if agent_id is None else safe_name(agent_id)
        file = self._files.get((is_agent, stem))
        if file is None:
            directory = self._agents_dir if is_agent else self.session
            file = self._files.setdefault((is_agent, stem), OwnFile(directory, stem, self._state))
        return self._stream_of(file)

    def _run_stream(self, category: str) -> DurableStream:
        run_id = category.removeprefix(RUN_CATEGORY)
        file = self._run_files.get(run_id)
        if file is None:
            stream = OwnFile(run_dir(self.session, run_id), "events", self._state, ".jsonl", rolls=False)
            file = self._run_files.setdefault(run_id, stream)
        return self._stream_of(file)

    def _stream_of(self, file: OwnFile) -> DurableStream:
        return (SyncedStream if self.durability == "disk" else SessionStream)(file)

    def counters(self) -> dict[str, int]:
        """Return failures so far by reason, such as `write:ENOSPC`, `roll:EACCES`, `short_write`."""
        return self._counts.snapshot()

    @property
    def rolled_segments(self) -> int:
        """Return how many segments this writer has rotated."""
        return self._state.rolled

    def flush(self) -> None:
        """Do nothing: each line is in the kernel when `write` returns."""

    def head(self) -> str:
        """Return the head of this writer's chain over every whole line now in its files."""
        return self._state.chain.cover()

    def close(self, *, clean: bool = True) -> None:
        """Close every file; later writes are counted as `closed` and not made.

        Args:
            clean: whether `log.closed` was written, so that the board is no longer needed.
        """
        self._state.closed = True
        self._state.files.close()
        self._state.chain.close(ended=clean and self._state.files.wait_until_closed())
        if clean and self.board is not None:
            try:
                self.board.remove()
            except OSError as error:
                self._counts.fail("board", error)

    def after_fork_in_child(self) -> None:
        """Become a separate writer with a new id, numbers and files; existing streams stay valid.

        Functions from `board.thread_slot()` belong to the parent: get new ones from the new `board`.
        """
        self._counts.after_fork_in_child()
        self._state.files.after_fork_in_child()
        self._state.commit.after_fork_in_child()
        if self.board is not None:
            self.board.after_fork_in_child()
        for file in (*self._files.values(), *self._run_files.values()):
            file.forget()
        if self._state.closed:
            return
        self._begin()


def _write_together(file: OwnFile, lines: Sequence[RedactedBytes], begin: int) -> int:
    """Write as many lines as fit into the open segment with one call; returns how many are complete.

    As in `SessionStream.write`, the pin keeps the descriptor open.
    """
    segment = file.segment
    segment.pins.append(None)
    try:
        if file.segment is not segment or segment.torn:
            return 0
        end, size_bytes = begin, 0
        while end < len(lines) and size_bytes + len(lines[end]) <= segment.room_bytes:
            size_bytes += len(lines[end])
            end += 1
        if end - begin < 2:
            return 0
        segment.room_bytes -= size_bytes
        data = b"".join(lines[begin:end])
        try:
            sent_bytes = _write(segment.fd, data)
        except OSError:
            # Nothing was written. Writing the lines one by one handles and counts the error.
            segment.room_bytes += size_bytes
            return 0
    finally:
        segment.pins.pop()
    if sent_bytes == size_bytes:
        return end - begin
    return _whole_lines(file, lines, begin, sent_bytes)


def _whole_lines(file: OwnFile, lines: Sequence[RedactedBytes], begin: int, sent_bytes: int) -> int:
    """Return how many lines a short write completed, after writing the torn line again."""
    at = begin
    while sent_bytes >= len(lines[at]):
        sent_bytes -= len(lines[at])
        at += 1
    if sent_bytes > 0 and file.resend(lines[at]):
        at += 1
    return at - begin
