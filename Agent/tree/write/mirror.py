"""The rolling mirrors by category, for people and tools such as `tail -F`; analysis never reads them.

Lines are collected in memory and written in batches: after 50 ms, at 16,384 lines, or at once if urgent. A
batch is written in one or more appends. Each ends with a newline, and begins with one if the file does not
end with one. So every line parses, and processes share a file without a lock; only rotation takes one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from Agent.event.background_threads import BackgroundThread
from Agent.event.limits_of_time import pass_on
from Agent.event.model import RedactedBytes
from Agent.event.system_clock import SystemClock, turns
from Agent.tree.files.descriptors import give_back, let_go, locked, out_of_the_way, status_of
from Agent.tree.files.segment import ErrorCounters, error_name
from Agent.tree.layout import (
    MIRROR_FILES,
    NO_FOLLOW,
    inode_at,
    make_private,
    open_private,
)

Form = Callable[[list[bytes]], list[bytes]]
"""Converts a batch of recorded lines to the lines of a mirror."""

_MEGABYTE = 1024 * 1024
DEFAULT_ROTATION: Final[Mapping[str, tuple[int, int]]] = {
    "agents": (200 * _MEGABYTE, 10),
    "learning": (100 * _MEGABYTE, 10),
    "interactions": (100 * _MEGABYTE, 10),
    "performance": (50 * _MEGABYTE, 5),
    "events": (100 * _MEGABYTE, 10),
    "system": (50 * _MEGABYTE, 5),
    "errors": (50 * _MEGABYTE, 5),
}
"""Category to (size in bytes at which its mirror is rotated, number of old ones kept)."""

# Large enough that fewer than 1 in 1,000 calls writes a batch; usually the thread does.
_BATCH_LINES = 16_384
# Limits how far a file exceeds its rotation size: no append is larger than 1/64 of that size, or, for small
# files, than the smaller of 1/8 of it and 16 KiB.
_APPEND_BYTES = 16_384
_MAX_WAITING_LINES = 32_768
_INTERVAL_S = 0.05
_RECHECK_NS = 20_000_000
_REMOVAL_NS = 1_000_000_000
"""A removed file is recreated after this delay, because its directory may be about to be removed, too."""
_CHECKS_PER_SIZE = 64
_IDLE_ROUNDS = 20
_END_PATIENCE_S = 5.0
_TURN_S = 0.001
_BY: Final = "by"
_FLAGS = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | NO_FOLLOW
    # without it, opening a pipe put in its place would block
    | getattr(os, "O_NONBLOCK", 0)
)


class _Mirror:
    """One mirror file: its waiting lines and its descriptor."""

    __slots__ = (
        "backups", "check_at_ns", "fd", "form", "had_directory", "inode", "limit_bytes", "missing_since_ns",
        "path", "room_bytes", "taken", "waiting",
    )  # fmt: skip

    def __init__(self, path: Path, limit_bytes: int, backups: int, form: Form | None) -> None:
        self.path = path
        self.form = form
        self.limit_bytes = limit_bytes
        self.backups = backups
        self.waiting: list[bytes] = []
        # The thread that writes now. Not re-entrant: a signal handler that finds it taken leaves its lines to
        # the holder. Not a lock: an exception of a handler right after `acquire` would leave it locked
        # forever.
        self.taken: dict[str, object] = {}
        self.fd = -1
        self.inode = (-1, -1)
        # Until this time, and for this many bytes, the descriptor is not compared with the file name.
        self.check_at_ns = self.room_bytes = 0
        self.missing_since_ns = 0
        """The time since which its file or directory is missing; 0 if it exists."""
        self.had_directory = False
        """Whether its directory has existed."""

    def is_too_early(self) -> bool:
        """Return whether it is too early to recreate the file, because the root may be in removal."""
        now_ns = SystemClock.monotonic_ns()
        self.missing_since_ns = self.missing_since_ns or now_ns
        return now_ns - self.missing_since_ns < _REMOVAL_NS


class MirrorsSlots:
    """The attribute of mirrors that is read in C at each line."""

    __slots__ = ("_idle",)


class Mirrors(MirrorsSlots):
    """The mirrors under one root; shared by all writers of a process.

    Args:
        root: the trace root.
        rotation: category to (size in bytes, number of backups), over `DEFAULT_ROTATION`.
        categories: the categories to mirror; all by default.
        files: category to another path of its mirror, relative to the root unless absolute.
        forms: category to the function that formats its lines; by default they are written as recorded.
    """

    def __init__(
        self,
        root: Path,
        *,
        rotation: Mapping[str, tuple[int, int]] | None = None,
        categories: tuple[str, ...] = tuple(MIRROR_FILES),
        files: Mapping[str, str] | None = None,
        forms: Mapping[str, Form] | None = None,
    ) -> None:
        self._root = root
        sizes = {**DEFAULT_ROTATION, **(rotation or {})}
        self.counts = ErrorCounters()
        self.refused_at_first: frozenset[str] = frozenset()
        """Reasons why some directories could not be used at the start."""
        file_names, forms = {**MIRROR_FILES, **(files or {})}, forms or {}
        self._mirrors = {
            category: _Mirror(
                root / file_names[category], *sizes[category.removesuffix(".text")], forms.get(category)
            )
            for category in categories
        }
        self._reset_thread()

    def _reset_thread(self) -> None:
        self._wake = threading.Event()
        self._idle = True
        self._thread: BackgroundThread | None = None
        self._starting: dict[str, object] = {}  # as `_Mirror.taken`
        self._closed = False

    def make_directories(self) -> None:
        """Create the directory of each mirror, so that users find all of them; failures are counted."""
        directories = {mirror.path.parent for mirror in self._mirrors.values()}
        links_to_runs = self._root / "runs"
        for directory in directories | ({links_to_runs} if os.path.lexists(links_to_runs) else set()):
            try:
                make_private(directory, parents=True, exist_ok=True)
                _refuse_foreign_directory(directory, self._root)
            except OSError as error:
                self.counts.fail("mirror", error)
        for mirror in self._mirrors.values():
            mirror.had_directory = mirror.path.parent.is_dir()
        self.refused_at_first = frozenset(self.counts.snapshot())

    def add(self, category: str, line: RedactedBytes, urgent: bool = False) -> None:
        """Add one line, with its newline, to a category's mirror. Never raises."""
        mirror = self._mirrors.get(category)
        if mirror is not None:
            self._add(mirror, line, urgent)

    def adder(self, category: str) -> Callable[[bytes], None] | None:
        """Return a function that adds a category's lines (errors at once); None if it is not mirrored."""
        mirror = self._mirrors.get(category)
        if mirror is None:
            return None
        if category.startswith("errors"):
            return lambda line: self._add(mirror, line, True)
        return Adder(self, mirror)

    def _add(self, mirror: _Mirror, line: bytes, urgent: bool) -> None:
        mirror.waiting.append(line)
        if urgent:
            # this may be the last line of the process, so check the file name first
            mirror.check_at_ns = 0
            self._flush(mirror)
        elif len(mirror.waiting) >= _BATCH_LINES or self._idle:
            self._flush_or_wake(mirror)

    def _flush_or_wake(self, mirror: _Mirror) -> None:
        """Write a full batch, or make sure that the thread will."""
        if len(mirror.waiting) >= _BATCH_LINES or self._closed:
            self._flush(mirror)
            if len(mirror.waiting) > _MAX_WAITING_LINES:
                # the writing thread does not keep up; a mirror may delay a caller by at most 0.2 s
                self._flush(mirror, patience_s=0.2)
            if len(mirror.waiting) > _MAX_WAITING_LINES:
                self._drop(mirror)
        if self._idle and not self._closed:
            self._start()

    def _drop(self, mirror: _Mirror) -> None:
        # Drop the older half, so that the next line does not find a full list again.
        count = len(mirror.waiting) - _MAX_WAITING_LINES // 2
        del mirror.waiting[:count]
        self.counts.add("mirror:held_too_many", count)

    def _start(self) -> None:
        mine, starting = object(), self._starting
        try:
            if starting.setdefault(_BY, mine) is not mine:
                return
            if self._thread is None:
                thread = BackgroundThread(self._run, "agent-trace-mirrors")
                # if a signal handler raises here, `_thread` stays None and the next line starts another
                thread.start()
                self._thread = thread
            self._idle = False
            self._wake.set()
        except RuntimeError:
            # no thread can start at interpreter exit: write each line at once
            self._thread = None
            self._closed = True
            self.flush()
        finally:
            try:
                if starting[_BY] is mine:
                    del starting[_BY]
            except KeyError:
                pass  # as in `_flush`

    def _run(self) -> None:
        wake = self._wake
        while not self._closed:
            wake.wait()
            wake.clear()
            quiet_rounds = 0
            while quiet_rounds < _IDLE_ROUNDS and not self._closed:
                if wake.wait(_INTERVAL_S):  # `close` does not wait for the rest of it
                    wake.clear()
                quiet_rounds = 0 if self._flush_all() else quiet_rounds + 1
            self._idle = True
            # write lines whose callers still read `_idle` as False
            self.flush()

    def flush(self) -> None:
        """Write the waiting lines."""
        self._flush_all()

    def _flush_all(self) -> bool:
        """Write the waiting lines; False if there were none."""
        busy = False
        for mirror in self._mirrors.values():
            if mirror.waiting:
                busy = True
                self._flush(mirror, patience_s=0.2)
        return busy

    def _flush(self, mirror: _Mirror, patience_s: float = 0.0, *, is_last: bool = False) -> None:
        """Write the waiting lines, and close the file at the end; nothing if another thread is writing."""
        mine, taken = object(), mirror.taken
        try:
            for _ in turns(patience_s, _TURN_S):
                if taken.setdefault(_BY, mine) is mine:  # one step among threads
                    break
            else:
                return
            lines = mirror.waiting[:]
            del mirror.waiting[: len(lines)]
            if lines:
                self._write(mirror, lines if mirror.form is None else mirror.form(lines))
            if is_last and not mirror.waiting:
                self._close_file(mirror)
        finally:
            # without a call, since Python runs signal handlers after calls
            try:
                if taken[_BY] is mine:
                    del taken[_BY]
            except KeyError:
                pass  # another thread had it, and has ended

    def _write(self, mirror: _Mirror, lines: list[bytes]) -> None:
        most = max(mirror.limit_bytes // _CHECKS_PER_SIZE, min(mirror.limit_bytes // 8, _APPEND_BYTES), 1)
        appends = -(-sum(map(len, lines)) // most)
        each = -(-len(lines) // max(appends, 1))
        for first in range(0, len(lines), max(each, 1)):
            self._append(mirror, lines[first : first + each], most)

    def _append(self, mirror: _Mirror, lines: list[bytes], most: int) -> None:
        batch = b"".join(lines)
        if len(lines) > 1 and len(batch) > most:
            # too large because the lines differ much in length
            half = len(lines) // 2
            self._append(mirror, lines[:half], most)
            self._append(mirror, lines[half:], most)
            return
        try:
            status = None if mirror.fd < 0 else status_of(mirror.fd, mirror.inode)
            if mirror.fd >= 0 and status is None:
                # closed by the program, and the number may already belong to another file
                let_go(mirror.fd)
                mirror.fd, mirror.check_at_ns = -1, 0
            mirror.room_bytes -= len(batch)
            if status is None or mirror.room_bytes < 0 or SystemClock.monotonic_ns() > mirror.check_at_ns:
                self._open_for(mirror, len(batch))
                status = os.fstat(mirror.fd)
                if status.st_nlink == 0:
                    self.counts.add("mirror:removed", len(lines))
            if status.st_size and os.pread(mirror.fd, 1, status.st_size - 1) != b"\n":
                # ends the torn line of a process that was killed or met a full disk
                batch = b"\n" + batch
            written = os.write(mirror.fd, batch)
        except Exception as error:  # noqa: BLE001 - a full stack or no memory ends neither a call nor the thread
            name = error_name(error) if isinstance(error, OSError) else type(error).__name__
            self.counts.add(f"mirror:{name}", len(lines))
            self._close_file(mirror)
            pass_on(error)
            return
        if written != len(batch):
            # The next batch begins with a newline, so only the lines from the torn one on are lost. At least
            # one counts, because a line of text can contain newlines.
            self.counts.add("mirror:short_write", max(1, len(lines) - batch[:written].count(b"\n") + 1))

    def _open_for(self, mirror: _Mirror, size_bytes: int) -> None:
        """Make the descriptor match the file name, and rotate if the batch does not fit.

        The check costs as much as a write, so it is repeated only after 20 ms or 1/64 of the size. If another
        process rotates in between, the rotated file gets a few more lines.
        """
        mirror.check_at_ns = mirror.room_bytes = 0
        for _ in range(3):
            if mirror.fd < 0:
                # raises if the root was removed: a session recreates it, a mirror does not
                self._root.stat()
                directory = mirror.path.parent
                if mirror.had_directory and not os.path.lexists(directory) and mirror.is_too_early():
                    raise FileNotFoundError(
                        errno.ENOENT, "the mirror's directory was removed", str(directory)
                    )
                make_private(directory, parents=True, exist_ok=True)
                mirror.had_directory = True
                mirror.fd = out_of_the_way(_open(mirror.path, self._root))
            ours = os.fstat(mirror.fd)
            mirror.inode = (ours.st_dev, ours.st_ino)
            try:
                named = mirror.path.lstat()
            except FileNotFoundError:
                if mirror.is_too_early():
                    return
                mirror.missing_since_ns = 0
                self._close_file(mirror)
                continue
            mirror.missing_since_ns = 0
            if (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino):
                # another process rotated
                self._close_file(mirror)
                continue
            room_bytes = mirror.limit_bytes - ours.st_size - size_bytes
            if ours.st_size == 0 or room_bytes >= 0:
                if mirror.backups > 0:
                    mirror.check_at_ns = SystemClock.monotonic_ns() + _RECHECK_NS
                    mirror.room_bytes = min(room_bytes, mirror.limit_bytes // _CHECKS_PER_SIZE)
                return
            if not self._rotate(mirror, mirror.inode):
                return
            self._close_file(mirror)
        if mirror.fd < 0:
            mirror.fd = out_of_the_way(_open(mirror.path, self._root))
            ours = os.fstat(mirror.fd)
            mirror.inode = (ours.st_dev, ours.st_ino)

    def _rotate(self, mirror: _Mirror, inode: tuple[int, int]) -> bool:
        """Rotate the file and its backups; False if that failed and the file continues to grow."""
        try:
            with locked(mirror.path.with_name(f".{mirror.path.name}.lock"), create=True) as is_alone:
                if not is_alone:
                    # Do not wait for the process that rotates: it may have been stopped during the rotation.
                    return False
                if inode_at(mirror.path) != inode:
                    # another process was faster
                    return True
                if mirror.backups < 1:
                    mirror.path.unlink()
                    return True
                _shift_backups(mirror.path, mirror.backups)
                mirror.path.replace(mirror.path.with_name(f"{mirror.path.name}.1"))
                return True
        except OSError as error:
            self.counts.fail("mirror_rotation", error)
            return False

    def _close_file(self, mirror: _Mirror) -> None:
        fd, mirror.fd = mirror.fd, -1
        mirror.check_at_ns = mirror.room_bytes = 0
        if fd >= 0:
            try:
                give_back(fd, mirror.inode)
            except OSError as error:
                self.counts.fail("mirror_close", error)

    def close(self) -> None:
        """Write the waiting lines, end the thread, close the files; later lines are written at once."""
        # with `_idle` set, each later line is written by its caller
        self._closed = self._idle = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)
        self._thread = None
        for mirror in self._mirrors.values():
            self._flush(mirror, patience_s=_END_PATIENCE_S, is_last=True)
            if mirror.waiting:
                # the writing thread did not finish in 5 s, and the process ends
                self.counts.add("mirror:left_at_the_end", len(mirror.waiting))

    def after_fork_in_child(self) -> None:
        """Start empty: waiting lines, descriptors and thread belong to the parent."""
        closed = self._closed
        for mirror in self._mirrors.values():
            mirror.waiting.clear()
            mirror.taken = {}
            self._close_file(mirror)
        self._reset_thread()
        self._closed = closed


def _open(path: Path, root: Path) -> int:
    """Open or create a mirror; OSError if others can replace its directory or entries in it.

    A user who can do so could redirect the lines into any file of this user.
    """
    _refuse_foreign_directory(path.parent, root)
    directory_fd = os.open(path.parent, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        return open_private(path.name, _FLAGS, dir_fd=directory_fd)
    finally:
        os.close(directory_fd)


def _refuse_foreign_directory(mirror_dir: Path, root: Path) -> None:
    for directory in {root, mirror_dir}:
        status = directory.lstat()
        if stat.S_ISLNK(status.st_mode) and directory != root:
            raise OSError(errno.ELOOP, "the mirror's directory is a link", str(directory))
        is_anothers = directory != root and directory.stat().st_uid not in {os.geteuid(), 0}
        if is_anothers or not _is_exclusive(directory.stat()):
            raise OSError(errno.EPERM, "others may replace files in it", str(directory))


def _is_exclusive(status: os.stat_result) -> bool:
    """Return whether only this user can replace their entries in a directory, as with the sticky bit."""
    if status.st_mode & stat.S_ISVTX:
        return True
    by_group = status.st_mode & stat.S_IWGRP and status.st_gid != os.getegid()
    return not (by_group or status.st_mode & stat.S_IWOTH)


def _shift_backups(path: Path, most: int) -> None:
    """Free backup number 1: move each backup below the first free number up by one."""
    # Stop at the first free number, because renaming up to `most` is slow if few backups exist. Plain string
    # paths are fast, and other processes keep writing into the full file until this is done.
    stem, free = f"{path}.", 1
    while free < most and os.path.lexists(f"{stem}{free}"):
        free += 1
    for number in range(free - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{stem}{number}", f"{stem}{number + 1}")  # noqa: PTH105


class Adder:
    """Adds lines to one mirror; C code does so itself while the thread of the mirrors is awake."""

    __slots__ = ("_mirror", "mirrors", "most", "waiting")

    def __init__(self, mirrors: Mirrors, mirror: _Mirror) -> None:
        self.mirrors, self._mirror = mirrors, mirror
        self.waiting, self.most = mirror.waiting, _BATCH_LINES

    def __call__(self, line: bytes) -> None:
        """Add one line, with its newline. Never raises."""
        self.mirrors._add(self._mirror, line, False)  # noqa: SLF001 - of the same module


CLASSES_MIRRORED_BY = (MirrorsSlots, Adder)
"""Classes whose slots the C extension reads, because it adds lines to mirrors."""
