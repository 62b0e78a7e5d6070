"""One session file of one writer: claimed once, opened and evicted as needed, rotated when full.

`writer` sends lines through the open segment directly; this is the slow path: the first line, a full segment,
a torn line, an error of the operating system.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from Agent.event.limits_of_time import has_timers, undisturbed
from Agent.event.system_clock import SystemClock, turns
from Agent.tree.files.descriptors import is_removed, let_go, names, open_unnamed, read_behind, write_own
from Agent.tree.files.segment import (
    CLOSED,
    ErrorCounters,
    Segment,
    claim_segment,
    error_name,
    numbered,
    open_for_one_line,
    reopen_segment,
    roll_segment,
)
from Agent.tree.files.session import sync_directory
from Agent.tree.layout import inode_at, make_private
from Agent.tree.write.chain import LineChain

_Result = TypeVar("_Result")
_sync_data = getattr(os, "fdatasync", os.fsync)


class GroupCommit:
    """Syncs segments to the disk; callers that arrive during a sync share the next one."""

    def __init__(self, counts: ErrorCounters) -> None:
        self._counts = counts
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Begin without requests, and with locks that no thread of the parent holds."""
        self._lock = threading.RLock()
        self._turn = threading.RLock()
        self._last_ticket = 0
        self._waiting: list[tuple[int, Segment]] = []
        self._verdicts: dict[int, bool] = {}

    def sync(self, segment: Segment) -> bool:
        """Wait until the segment's data is on the disk; False if that failed, which is counted.

        The caller must have pinned the segment. A failure is not retried: the kernel has marked those pages
        clean, so a second `fdatasync` would succeed without writing them.
        """
        with self._lock:
            self._last_ticket += 1
            ticket = self._last_ticket
            self._waiting.append((ticket, segment))
        with self._turn:
            with self._lock:
                if ticket in self._verdicts:
                    return self._verdicts.pop(ticket)
                batch, self._waiting = self._waiting, []
            verdicts: dict[int, bool] = {}
            for _, waiting in batch:
                if id(waiting) not in verdicts:
                    verdicts[id(waiting)] = self._sync_one(waiting)
            with self._lock:
                self._verdicts.update((number, verdicts[id(waiting)]) for number, waiting in batch)
                verdict = self._verdicts.pop(ticket, None)
        # no verdict if a signal handler aborted the sync of the thread that served this request, too
        return self._sync_one(segment) if verdict is None else verdict

    def _sync_one(self, segment: Segment) -> bool:
        if not names(segment.fd, segment.inode):
            # closed by the program since the line was written; syncing another file would prove nothing
            self._counts.add("sync:EBADF")
            return False
        try:
            _sync_data(segment.fd)
        except OSError as error:
            self._counts.fail("sync", error)
            return False
        return True


_PATIENCE_S: Final = 0.1
_REMOVAL_S: Final = 0.05
"""How long a new file waits for the removal of a directory, at most every 21 times as long."""
_PROBED: Final = 8
_PROBE_INTERVAL_S: Final = 0.0005
_PROBE_PER_FILE_S: Final = 0.00001
"""The interval of checks per open file: removing one takes 17 us in memory, 75 us on a disk."""


class OpenFiles:
    """The open files, evicted by second chance, and a graveyard for segments that a write still pins.

    All access happens under `lock`. It is re-entrant, because a signal handler may record an event while the
    same thread holds it; `busy` then makes that call avoid the unfinished operation.
    """

    def __init__(self, max_open: int, counts: ErrorCounters) -> None:
        self.lock = threading.RLock()
        self.busy = False
        self.counts = counts
        self.max_open = max(1, max_open)
        self._ring: deque[OwnFile] = deque()
        self._graveyard: list[Segment] = []
        self._removal_ends_s = self._probe_s = -math.inf

    def __len__(self) -> int:
        return len(self._ring)

    def admit(self, file: OwnFile, segment: Segment) -> None:
        """Give a newly opened segment to a file that had none."""
        # Room is made first: while all others are written to, the new file would seem to be the idle one.
        while len(self._ring) >= self.max_open:
            self.evict_one()
        file.segment = segment
        self._ring.append(file)
        self.sweep()

    def swap(self, file: OwnFile, segment: Segment) -> None:
        """Replace the segment of a file; the old one is closed once no write pins it."""
        old, file.segment = file.segment, segment
        self._graveyard.append(old)
        self.sweep()

    def evict_one(self) -> bool:
        """Close the oldest file without writes since the last check; False if none is open."""
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
        # every file was written to since the last check, so close the oldest
        self._retire(self._ring.popleft())
        return True

    def _retire(self, file: OwnFile) -> None:
        segment, file.segment = file.segment, CLOSED
        file.forget_segment(segment)
        if segment is not CLOSED:
            self._graveyard.append(segment)

    def drop(self, file: OwnFile) -> None:
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

    def wait_for_removal(self, directory: Path) -> None:
        """If open files were deleted, wait up to 50 ms for a directory to be removed, too.

        A process that removes a tree fails if a new file appears in a directory that it has already listed.
        """
        now_s = SystemClock.monotonic_s()
        if now_s >= self._removal_ends_s:
            if now_s < self._probe_s:
                return
            self._probe_s = now_s + max(_PROBE_INTERVAL_S, _PROBE_PER_FILE_S * len(self._ring))
            if not self._any_removed():
                return
            self._removal_ends_s = now_s + _REMOVAL_S
            self._probe_s = now_s + 21 * _REMOVAL_S
        for _ in turns(min(self._removal_ends_s - now_s, _REMOVAL_S), _REMOVAL_S / 100):
            if not os.path.lexists(directory):
                return

    def _any_removed(self) -> bool:
        for file in (*islice(self._ring, _PROBED), *islice(reversed(self._ring), _PROBED)):
            segment = file.segment
            try:
                has_name = os.fstat(segment.fd).st_nlink > 0
            except OSError:  # the program closed it
                continue
            if not has_name and is_removed(segment.fd, segment.inode):
                return True
        return False

    def files(self) -> list[OwnFile]:
        """The files that are open now."""
        return list(self._ring)

    def close(self) -> None:
        """Close every file."""
        with self.lock:
            if self.busy:
                # re-entered from a signal handler that ends the program during a write
                return
            while self._ring:
                self._retire(self._ring.popleft())
            self.sweep()

    def wait_until_closed(self) -> bool:
        """Wait up to 100 ms for writes in progress; returns whether all files are closed."""
        for _ in turns(_PATIENCE_S, _PATIENCE_S / 100):
            if not self._graveyard:
                break
            with self.lock:
                if self.busy:
                    return False
                self.sweep()
        return not (self._graveyard or self._ring)

    def after_fork_in_child(self) -> None:
        """Close every descriptor inherited from the parent.

        A pinned one may belong to a write that this thread was in when a signal handler forked. Its number
        must not be reused for another file, so it is redirected to the null device instead of closed.
        """
        self.lock = threading.RLock()
        self.busy = False
        segments = [*self._graveyard, *(file.segment for file in self._ring)]
        self._ring.clear()
        self._graveyard = []
        for segment in segments:
            try:
                if segment.pins and names(segment.fd, segment.inode):
                    # with the flags of a log file, so that the write succeeds and is not repeated elsewhere
                    null = open_for_one_line(Path(os.devnull))
                    os.dup2(null, segment.fd, inheritable=False)
                    os.close(null)
                else:
                    segment.close()
            except OSError as error:
                self.counts.fail("close", error)


# a file at its maximum size, and a descriptor that the program closed
_REPLACEABLE = frozenset({errno.EFBIG, errno.EBADF})
# errors of opening a path that is missing or now a link, a directory, a pipe or another user's file
_REPLACED = frozenset({errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES})
_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})
# a failed roll is retried after 1/16 of the segment size
_GRACE_PARTS = 16
_write = write_own
# files of runs are not rolled, so that readers read one file per run
_NO_LIMIT_BYTES = 1 << 62


@dataclass(slots=True)
class WriterState:
    """The state that all files of one writer share."""

    session: Path
    writer: str
    segment_size_bytes: int
    counts: ErrorCounters
    files: OpenFiles
    commit: GroupCommit
    chain: LineChain
    closed: bool = False
    directories_to_sync: bool = field(default=False)
    """Whether new directory entries are synced as well."""
    rolled: int = 0
    """How many segments were rolled; retention polls it."""


class OwnFile:
    """A file that only this writer appends to: one live name, and its rolled segments."""

    __slots__ = (
        "__weakref__", "_directory", "_inode", "_limit_bytes", "_next_number", "_path", "_shared", "_stem",
        "_suffix", "_torn", "segment",
    )  # fmt: skip

    def __init__(
        self, directory: Path, stem: str, shared: WriterState, suffix: str = ".log", *, rolls: bool = True
    ) -> None:
        self._directory = directory
        self._stem = stem
        self._suffix = suffix
        self._shared = shared
        self._limit_bytes = shared.segment_size_bytes if rolls else _NO_LIMIT_BYTES
        self.forget()

    def __del__(self) -> None:
        # the run has ended, so this file gets no more lines; an interrupt may have ended `__init__` early
        path: str | None = getattr(self, "_path", None)
        if path is not None:
            self._shared.chain.rolled(self._inode, path)

    def forget(self) -> None:
        """Reset to an unclaimed file; a forked child writes its own files."""
        self.segment = CLOSED
        self._path: str | None = None
        self._inode = (-1, -1)
        self._next_number = 1
        self._torn = False

    def forget_segment(self, segment: Segment) -> None:
        """Keep what is needed to reopen the file after an eviction."""
        self._torn = segment.torn

    def make_room(self, size_bytes: int) -> bool | None:
        """Open or roll the file before a line gets its number, so that a raising handler leaves no gap.

        False if that failed, which is counted; None if this thread already holds the files.
        """
        with undisturbed() if has_timers() else contextlib.nullcontext():
            return self._alone(lambda: self._segment_for(size_bytes) is not CLOSED, None)

    def write_slowly(self, line: bytes) -> bool:
        """Write a line that the fast path could not; False if it was not written, which is counted."""
        return self._in_turn(line, lambda: self._write(line))

    def write_synced(self, line: bytes) -> bool:
        """Write a line and wait until it is on the disk."""
        return self._synced(line, lambda: self._write(line))

    def sync(self) -> bool:
        """Sync the open segment to the disk; False if that is uncertain, which is counted."""
        return self._synced(b"", lambda: self.segment is not CLOSED)

    def _synced(self, line: bytes, work: Callable[[], bool]) -> bool:
        """Sync the segment that is open after the work, which may have replaced it."""
        pinned: list[Segment] = []

        def work_and_pin() -> bool:
            if work():
                pinned.append(self.segment)
                self.segment.pins.append(None)
            return bool(pinned)

        written = self._in_turn(line, work_and_pin, sync=True)
        if pinned:
            return self.sync_pinned(pinned[0])
        if not line:  # evicted in between, or re-entered from a signal handler
            self._shared.counts.add("sync_missed")
        return written

    def sync_pinned(self, pinned: Segment) -> bool:
        """Sync a pinned segment and unpin it; after a failure, roll to another segment."""
        try:
            if self._shared.commit.sync(pinned):
                return True
        finally:
            pinned.pins.pop()
        self._in_turn(b"", lambda: pinned is self.segment and self._roll(pinned))
        return False

    def resend(self, line: bytes) -> bool:
        """Write a partly written line again, complete and on a new line."""
        self._shared.counts.add("short_write")

        def write_again() -> bool:
            segment = self._segment_for(len(line) + 1)
            if segment is CLOSED:
                self._torn = True
                return False
            # Even if this line fails too, the next one must not be appended to the torn one.
            segment.torn, segment.room_bytes = True, -1
            return self._send(segment, line)

        return self._in_turn(line, write_again)

    def refused(self, line: bytes, segment: Segment, error: OSError) -> bool:
        """Handle an error of the fast path, after which nothing of the line was written."""
        if error.errno not in _REPLACEABLE:
            segment.room_bytes += len(line)  # the fast path subtracted it before writing
            self._shared.counts.fail("write", error)
            return False
        return self._in_turn(
            line, lambda: self._can_continue(segment, error, len(line)) and self._send(self.segment, line)
        )

    @undisturbed()
    def replace_missing(self) -> None:
        """Continue in a new file if the current one was removed or moved away."""
        segment = self.segment

        def replace() -> None:
            path = self._path
            if path is None or segment is CLOSED or segment is not self.segment:
                return
            if not self._replace_removed(segment) and inode_at(Path(path)) != segment.inode:
                self._roll(segment)

        self._alone(replace, None)

    def _replace_removed(self, segment: Segment) -> bool:
        """Copy lines written to a removed file since it was last seen to a new one; False if not removed."""
        shared = self._shared
        if shared.closed or not is_removed(segment.fd, segment.inode):
            return False
        shared.counts.add("file_vanished")
        lines = self._take_removed(segment, shared.chain.let_go(segment.inode))
        self._path, self._torn = None, False
        unwritten = sum(not self._write(line) for line in lines)
        if unwritten:
            shared.counts.add("vanished_lines", unwritten)
        return True

    def _take_removed(self, segment: Segment, seen_bytes: int) -> list[bytes]:
        """Close a removed file after writes in progress; returns its lines after `seen_bytes`."""
        shared = self._shared
        try:
            fd = open_unnamed(segment.fd)
        except OSError as error:
            shared.counts.fail("vanished", error)
            shared.files.drop(self)
            return []
        try:
            shared.files.drop(self)
            for _ in turns(_PATIENCE_S, _PATIENCE_S / 100):
                if not segment.pins:
                    break
            return read_behind(fd, seen_bytes).splitlines(keepends=True)
        finally:
            os.close(fd)

    def _in_turn(self, line: bytes, work: Callable[[], bool], *, sync: bool = False) -> bool:
        """Run `work` under the lock; if this thread already holds it, write the line aside instead.

        The latter happens if a signal handler or a finaliser records while the same thread opens or rolls a
        file, whose unfinished state must not be used.
        """
        done = self._alone(work, None)
        return bool(line) and self._write_aside(line, sync=sync) if done is None else done

    def _alone(self, work: Callable[[], _Result], otherwise: _Result) -> _Result:
        """Return the result of work under the lock; the other one if this thread already holds it."""
        files = self._shared.files
        with files.lock:
            if files.busy:
                return otherwise
            files.busy = True
            try:
                return work()
            finally:
                files.busy = False

    def _write_aside(self, line: bytes, *, sync: bool) -> bool:
        """Append a line to this writer's further file, which no other process opens, and close it."""
        try:
            fd = open_for_one_line(self._further_path())
            try:
                # the leading newline ends a torn line, if there is one
                data = b"\n" + line
                status = os.fstat(fd)
                written = _write(fd, data)
                if status.st_size == 0:
                    self._shared.chain.began((status.st_dev, status.st_ino), self._further_path())
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            self._shared.counts.fail("write", error)
            return False
        if written != len(data):
            self._shared.counts.add("short_write")
            return False
        return True

    def _write(self, line: bytes) -> bool:
        segment = self._segment_for(len(line))
        return segment is not CLOSED and self._send(segment, line)

    def _segment_for(self, size_bytes: int) -> Segment:
        """Return the open segment with room for a line, or CLOSED; called under the lock."""
        segment = self.segment
        if segment is CLOSED:
            segment = self._open()
        if segment is CLOSED or segment.torn or segment.room_bytes >= size_bytes:
            return segment
        try:
            if segment.size_bytes() > 0:
                if self._replace_removed(segment):
                    return self._segment_for(size_bytes)
                self._roll(segment)
        except OSError as error:
            return self.segment if self._can_continue(segment, error, size_bytes) else CLOSED
        return self.segment

    def _send(self, segment: Segment, line: bytes) -> bool:
        """Write one line under the lock, after a newline if the last line is torn; retry if it gets torn."""
        # At most three attempts, so that a disk that keeps tearing lines does not hold up the caller.
        for _ in range(3):
            data = b"\n" + line if segment.torn else line
            try:
                written = _write(segment.fd, data)
            except OSError as error:
                if not self._can_continue(segment, error, len(line)):
                    return False
                segment = self.segment
                continue
            if written == len(data):
                left = segment.room_bytes - written
                if segment.torn:
                    left = max(self._limit_bytes - segment.size_bytes(), 0)
                segment.torn, segment.room_bytes = False, left
                return True
            self._shared.counts.add("short_write")
            segment.torn = True
            segment.room_bytes = -1
        return False

    def _can_continue(self, segment: Segment, error: OSError, size_bytes: int) -> bool:
        """Replace a segment that takes no more lines; returns whether another one is open."""
        if error.errno == errno.EBADF:
            self._shared.counts.add("descriptor_closed")  # a failure only if the file cannot be reopened
        else:
            self._shared.counts.fail("write", error)
        if segment is not self.segment:
            return self._segment_for(size_bytes) is not CLOSED
        if error.errno not in _REPLACEABLE:
            return False
        if error.errno == errno.EFBIG:
            return segment.size_bytes() > 0 and self._roll(segment)
        # The program closed the descriptor, for example by `os.closerange` when it became a daemon. The
        # number may belong to another file at any moment, so it is forgotten, not closed.
        fd, segment.fd = segment.fd, -1
        let_go(fd)
        self._shared.files.drop(self)
        return self._segment_for(size_bytes) is not CLOSED

    def _roll(self, segment: Segment) -> bool:
        shared = self._shared
        if self._path is None:
            return False
        path = Path(self._path)
        try:
            rolled = roll_segment(
                path,
                Path(self._further_path()),
                segment.inode,
                self._next_number,
                self._limit_bytes,
                shared.writer,
            )
        except OSError as error:
            shared.counts.fail("roll", error)
            # Write some more lines to the old segment before the next attempt.
            segment.room_bytes = max(self._limit_bytes // _GRACE_PARTS, 1)
            return False
        if rolled.untidy is not None:
            shared.counts.fail("roll_leftover", rolled.untidy)
        shared.chain.rolled(segment.inode, str(numbered(path, rolled.number)))
        shared.chain.began(rolled.segment.inode, str(rolled.path))
        # another live name has its own numbers
        self._next_number = rolled.number + 1 if rolled.path == path else 1
        self._path, self._inode = str(rolled.path), rolled.segment.inode
        shared.files.swap(self, rolled.segment)
        shared.rolled += 1
        self._sync_directory()
        return True

    def _open(self) -> Segment:
        """Open the file, or claim it the first time; CLOSED and a count if that fails."""
        shared = self._shared
        if shared.closed:
            shared.counts.add("closed")
            return CLOSED
        for attempt in range(4):
            try:
                segment = self._reopen_or_claim()
            except OSError as error:
                if attempt < 3 and self._can_retry(error):
                    continue
                shared.counts.add(f"open:{error_name(error)}")
                return CLOSED
            if self.segment is not CLOSED:
                # A signal handler opened the file during this call.
                segment.close()
            else:
                self._inode = segment.inode
                shared.files.admit(self, segment)
            return self.segment
        return CLOSED

    def _can_retry(self, error: OSError) -> bool:
        if error.errno in _TOO_MANY:
            files = self._shared.files
            evicted = [files.evict_one() for _ in range(max(1, len(files) // 2))]
            files.sweep()
            if any(evicted):
                self._shared.counts.fail("made_room", error)
                return True
            return False
        if error.errno == errno.ENOENT:
            # The directory was removed: recreate it for later lines, unless the whole session was removed.
            directory = self._shared.session
            self._shared.files.wait_for_removal(directory)
            with contextlib.suppress(OSError):
                for part in self._directory.relative_to(directory).parts:
                    directory /= part
                    make_private(directory, exist_ok=True)
            return True
        return False

    def _reopen_or_claim(self) -> Segment:
        limit_bytes = self._limit_bytes
        if self._path is not None:
            try:
                return reopen_segment(self._path, limit_bytes, self._inode, torn=self._torn)
            except OSError as error:
                if error.errno not in _REPLACED:
                    raise
                self._shared.counts.add("file_vanished")
                self._path = None
        self._shared.files.wait_for_removal(self._directory)
        path = f"{self._directory}{os.sep}{self._stem}{self._suffix}"
        try:
            segment = claim_segment(path, limit_bytes)
        except FileExistsError:
            path = self._further_path()
            segment = self._claim_further(path, limit_bytes)
        self._path, self._torn = path, False
        self._shared.chain.began(segment.inode, path)
        self._sync_directory()
        return segment

    def _further_path(self) -> str:
        """Return the path that no other writer uses."""
        return f"{self._directory}{os.sep}{self._stem}@{self._shared.writer}{self._suffix}"

    def _claim_further(self, path: str, limit_bytes: int) -> Segment:
        try:
            return claim_segment(path, limit_bytes)
        except FileExistsError:
            # Only this writer uses this name, so it created the file earlier.
            status = os.lstat(path)
            return reopen_segment(path, limit_bytes, (status.st_dev, status.st_ino), torn=True)

    def _sync_directory(self) -> None:
        if not self._shared.directories_to_sync:
            return
        try:
            sync_directory(self._directory)
        except OSError as error:
            self._shared.counts.fail("sync", error)
