"""The rolling mirrors by category, for people and their tools: caches that analysis never reads.

Lines are collected in memory and written in batches: after 50 ms, at 16,384 lines, or at once if urgent. A
batch is one or several appends. Each ends with a newline, and begins with one only if the file does not end
with one. So every line parses, and processes share a file without a lock; only rotation takes one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from Agent.event.model import RedactedBytes
from Agent.tree.files.descriptors import give_back, let_go, locked, out_of_the_way
from Agent.tree.files.segment import ErrorCounters, error_name
from Agent.tree.layout import DIRECTORY_MODE, FILE_MODE, MIRROR_FILES, NO_FOLLOW, inode_at

Form = Callable[[list[bytes]], list[bytes]]
"""Makes the lines of a file of a batch of those of the recording."""

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

# So many that fewer than one call in a thousand writes them; mostly the thread comes first.
_BATCH_LINES = 16_384
# A file is rotated near its size: no append is larger than the share of that size between two looks, or, of a
# small file, than an eighth of it.
_APPEND_BYTES = 16_384
_HELD_LINES = 32_768
_INTERVAL_S = 0.05
_LOOK_AGAIN_NS = 20_000_000
_REMOVAL_NS = 1_000_000_000
"""What was removed is made anew after so long: the directory that it was in may be about to go, too."""
_LOOKS = 64
_IDLE_ROUNDS = 20
_END_PATIENCE_S = 5.0
_FLAGS = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | NO_FOLLOW
    # nobody waits for a pipe that somebody put in its place
    | getattr(os, "O_NONBLOCK", 0)
)


class _Mirror:
    """One mirror file: what waits to be written, and the descriptor."""

    __slots__ = (
        "backups", "fd", "form", "gone_since_ns", "had_place", "inode", "limit_bytes", "look_at_ns", "path",
        "room_bytes", "turn", "waiting",
    )  # fmt: skip

    def __init__(self, path: Path, limit_bytes: int, backups: int, form: Form | None) -> None:
        self.path = path
        self.form = form
        self.limit_bytes = limit_bytes
        self.backups = backups
        self.waiting: list[bytes] = []
        # Not re-entrant on purpose: a signal handler that finds the lock taken leaves its lines to the
        # holder.
        self.turn = threading.Lock()
        self.fd = -1
        self.inode = (-1, -1)
        # Until this time, and for so many bytes, the descriptor counts as the file of that name.
        self.look_at_ns = self.room_bytes = 0
        self.gone_since_ns = 0
        """Since when its file or directory is gone; 0 where it is there."""
        self.had_place = False
        """Whether its directory was there once."""

    def stays_gone(self) -> bool:
        """Whether it is too early to make the removed file again, while somebody may still empty the root."""
        now_ns = time.monotonic_ns()
        self.gone_since_ns = self.gone_since_ns or now_ns
        return now_ns - self.gone_since_ns < _REMOVAL_NS


class Mirrors:
    """The mirrors under one root; shared by all writers of a process.

    Args:
        root: the trace root.
        rotation: category to (size in bytes, number of backups), over `DEFAULT_ROTATION`.
        categories: the ones to mirror; all by default.
        files: category to another place of its mirror, relative to the root unless absolute.
        forms: category to what makes the lines of its mirror; those of the recording without it.
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
        """Why the directories of some could not be used from the beginning."""
        places, forms = {**MIRROR_FILES, **(files or {})}, forms or {}
        self._mirrors = {
            category: _Mirror(
                root / places[category], *sizes[category.removesuffix(".text")], forms.get(category)
            )
            for category in categories
        }
        self._reset_thread()

    def _reset_thread(self) -> None:
        self._wake = threading.Event()
        self._idle = True
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def make_directories(self) -> None:
        """Make the directory of each mirror, so that people find all of them; a failure is counted."""
        places = {mirror.path.parent for mirror in self._mirrors.values()}
        links_to_runs = self._root / "runs"
        for directory in places | ({links_to_runs} if os.path.lexists(links_to_runs) else set()):
            try:
                directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
                _refuse_a_strange_place(directory, self._root)
            except OSError as error:
                self.counts.fail("mirror", error)
        for mirror in self._mirrors.values():
            mirror.had_place = mirror.path.parent.is_dir()
        self.refused_at_first = frozenset(self.counts.snapshot())

    def add(self, category: str, line: RedactedBytes, urgent: bool = False) -> None:
        """Take one whole line, newline included, for a category's mirror. Never raises."""
        mirror = self._mirrors.get(category)
        if mirror is not None:
            self._add(mirror, line, urgent)

    def adder(self, category: str) -> Callable[[bytes], None] | None:
        """A function that takes a category's lines, those of errors at once; None if it is not mirrored."""
        mirror = self._mirrors.get(category)
        if mirror is None:
            return None
        if category.startswith("errors"):
            return lambda line: self._add(mirror, line, True)
        waiting, append = mirror.waiting, mirror.waiting.append

        def add(line: bytes) -> None:
            append(line)
            if len(waiting) >= _BATCH_LINES or self._idle:
                self._attend(mirror)

        return add

    def _add(self, mirror: _Mirror, line: bytes, urgent: bool) -> None:
        mirror.waiting.append(line)
        if urgent:
            # what may be the last line of a process goes where the name points now
            mirror.look_at_ns = 0
            self._flush(mirror)
        elif len(mirror.waiting) >= _BATCH_LINES or self._idle:
            self._attend(mirror)

    def _attend(self, mirror: _Mirror) -> None:
        """Write a full batch, or see to it that somebody will."""
        if len(mirror.waiting) >= _BATCH_LINES or self._closed:
            self._flush(mirror)
            if len(mirror.waiting) > _HELD_LINES:
                # whoever is writing does not keep up; a cache may slow its writers a little, and no more
                self._flush(mirror, patience_s=0.2)
            if len(mirror.waiting) > _HELD_LINES:
                self._drop(mirror)
        if self._idle and not self._closed:
            self._start()

    def _drop(self, mirror: _Mirror) -> None:
        # The older half: whoever comes next must not meet a full list again at once.
        count = len(mirror.waiting) - _HELD_LINES // 2
        del mirror.waiting[:count]
        self.counts.add("mirror:held_too_many", count)

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="agent-trace-mirrors", daemon=True)
                # if a signal's handler raises out of here there is none, and the next line begins another
                thread.start()
                self._thread = thread
            self._idle = False
            self._wake.set()
        except RuntimeError:
            # no thread can be started any more, at the end of the interpreter: write as the lines come
            self._thread = None
            self._closed = True
            self.flush()
        finally:
            self._starting.release()

    def _run(self) -> None:
        wake = self._wake
        while not self._closed:
            wake.wait()
            wake.clear()
            quiet_rounds = 0
            while quiet_rounds < _IDLE_ROUNDS and not self._closed:
                time.sleep(_INTERVAL_S)
                quiet_rounds = 0 if self._flush_all() else quiet_rounds + 1
            self._idle = True
            # whoever added before it read `_idle` as False has its lines written here
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._flush_all()

    def _flush_all(self) -> bool:
        """Write what waits; False if there was nothing."""
        busy = False
        for mirror in self._mirrors.values():
            if mirror.waiting:
                busy = True
                self._flush(mirror, patience_s=0.2)
        return busy

    def _flush(self, mirror: _Mirror, patience_s: float = 0.0) -> None:
        if not mirror.turn.acquire(timeout=patience_s):
            return
        try:
            lines = mirror.waiting[:]
            del mirror.waiting[: len(lines)]
            if lines:
                self._write(mirror, lines if mirror.form is None else mirror.form(lines))
        finally:
            mirror.turn.release()

    def _write(self, mirror: _Mirror, lines: list[bytes]) -> None:
        most = max(mirror.limit_bytes // _LOOKS, min(mirror.limit_bytes // 8, _APPEND_BYTES))
        appends = -(-sum(map(len, lines)) // most)
        each = -(-len(lines) // max(appends, 1))
        for first in range(0, len(lines), max(each, 1)):
            self._append(mirror, lines[first : first + each], most)

    def _append(self, mirror: _Mirror, lines: list[bytes], most: int) -> None:
        batch = b"".join(lines)
        if len(lines) > 1 and len(batch) > most:
            # lines of very unequal length
            half = len(lines) // 2
            self._append(mirror, lines[:half], most)
            self._append(mirror, lines[half:], most)
            return
        try:
            size_bytes = -1 if mirror.fd < 0 else _size_of(mirror.fd, mirror.inode)
            if mirror.fd >= 0 and size_bytes < 0:
                # closed from outside, and perhaps the number of somebody else's file by now
                let_go(mirror.fd)
                mirror.fd, mirror.look_at_ns = -1, 0
            mirror.room_bytes -= len(batch)
            if mirror.room_bytes < 0 or time.monotonic_ns() > mirror.look_at_ns:
                self._open_for(mirror, len(batch))
                status = os.fstat(mirror.fd)
                size_bytes = status.st_size
                if status.st_nlink == 0:
                    self.counts.add("mirror:removed", len(lines))
            if size_bytes and os.pread(mirror.fd, 1, size_bytes - 1) != b"\n":
                # a torn piece of a process that was killed, or met a full disk
                batch = b"\n" + batch
            written = os.write(mirror.fd, batch)
        except OSError as error:
            self.counts.add(f"mirror:{error_name(error)}", len(lines))
            self._close_file(mirror)
            return
        if written != len(batch):
            # the next batch begins with a newline, so only the torn line is lost from this cache
            # a text may hold newlines of its own
            self.counts.add("mirror:short_write", max(1, len(lines) - batch[:written].count(b"\n") + 1))

    def _open_for(self, mirror: _Mirror, size_bytes: int) -> None:
        """See that the descriptor is the file of that name, rotated if the batch does not fit.

        That costs as much as the write, so it holds for a while and for a part of the size: what another
        process rotates meanwhile gets a few more lines under its new name.
        """
        mirror.look_at_ns = mirror.room_bytes = 0
        for _ in range(3):
            if mirror.fd < 0:
                # a root that was removed comes again with a session, not with a cache
                self._root.stat()
                place = mirror.path.parent
                if mirror.had_place and not os.path.lexists(place) and mirror.stays_gone():
                    raise FileNotFoundError(errno.ENOENT, "the mirror's directory was removed", str(place))
                place.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
                mirror.had_place = True
                mirror.fd = out_of_the_way(_open(mirror.path, self._root))
            ours = os.fstat(mirror.fd)
            mirror.inode = (ours.st_dev, ours.st_ino)
            try:
                named = mirror.path.lstat()
            except FileNotFoundError:
                if mirror.stays_gone():
                    return
                mirror.gone_since_ns = 0
                self._close_file(mirror)
                continue
            mirror.gone_since_ns = 0
            if (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino):
                # another process rotated
                self._close_file(mirror)
                continue
            room_bytes = mirror.limit_bytes - ours.st_size - size_bytes
            if ours.st_size == 0 or room_bytes >= 0:
                if mirror.backups > 0:
                    mirror.look_at_ns = time.monotonic_ns() + _LOOK_AGAIN_NS
                    mirror.room_bytes = min(room_bytes, mirror.limit_bytes // _LOOKS)
                return
            if not self._rotate(mirror, mirror.inode):
                return
            self._close_file(mirror)
        if mirror.fd < 0:
            mirror.fd = out_of_the_way(_open(mirror.path, self._root))
            ours = os.fstat(mirror.fd)
            mirror.inode = (ours.st_dev, ours.st_ino)

    def _rotate(self, mirror: _Mirror, inode: tuple[int, int]) -> bool:
        """Shift the backups by one; False if that failed, and the file just grows."""
        try:
            with locked(mirror.path.with_name(f".{mirror.path.name}.lock"), create=True) as is_alone:
                if not is_alone:
                    # Nobody waits for the process that rotates: it may have been stopped just there.
                    return False
                if inode_at(mirror.path) != inode:
                    # another process was faster
                    return True
                if mirror.backups < 1:
                    mirror.path.unlink()
                    return True
                _shift_backups(mirror.path, mirror.backups)
                mirror.path.replace(_backup(mirror.path, 1))
                return True
        except OSError as error:
            self.counts.fail("mirror_rotation", error)
            return False

    def _close_file(self, mirror: _Mirror) -> None:
        fd, mirror.fd = mirror.fd, -1
        mirror.look_at_ns = mirror.room_bytes = 0
        if fd >= 0:
            try:
                give_back(fd, mirror.inode)
            except OSError as error:
                self.counts.fail("mirror_close", error)

    def close(self) -> None:
        """Write what waits, end the thread, close the files; lines that still come are written at once."""
        # idle, so that each later line is looked after by whoever adds it
        self._closed = self._idle = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=1.0)
        self._thread = None
        for mirror in self._mirrors.values():
            self._flush(mirror, patience_s=_END_PATIENCE_S)
            if mirror.waiting:
                # whoever writes got no processor all that time, and the process ends
                self.counts.add("mirror:left_at_the_end", len(mirror.waiting))
            elif mirror.turn.acquire(timeout=_END_PATIENCE_S):
                self._close_file(mirror)
                mirror.turn.release()

    def after_fork_in_child(self) -> None:
        """Start empty: what waited is the parent's to write, as are its descriptors and its thread."""
        closed = self._closed
        for mirror in self._mirrors.values():
            mirror.waiting.clear()
            mirror.turn = threading.Lock()
            self._close_file(mirror)
        self._reset_thread()
        self._closed = closed


def _open(path: Path, root: Path) -> int:
    """The descriptor of a mirror, made if it is not there; OSError where its place may be somebody else's.

    Whoever may replace the directory, or an entry in it, could have the lines written into any file of this
    user.
    """
    _refuse_a_strange_place(path.parent, root)
    place = os.open(path.parent, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        return os.open(path.name, _FLAGS, FILE_MODE, dir_fd=place)
    finally:
        os.close(place)


def _refuse_a_strange_place(place: Path, root: Path) -> None:
    for directory in {root, place}:
        status = directory.lstat()
        if stat.S_ISLNK(status.st_mode) and directory != root:
            raise OSError(errno.ELOOP, "the mirror's directory is a link", str(directory))
        is_anothers = directory != root and directory.stat().st_uid not in {os.geteuid(), 0}
        if is_anothers or not _is_ours_alone(directory.stat()):
            raise OSError(errno.EPERM, "others may replace files in it", str(directory))


def _is_ours_alone(status: os.stat_result) -> bool:
    """Whether only this user can replace his entries of a directory, as in one with the sticky bit."""
    if status.st_mode & stat.S_ISVTX:
        return True
    by_group = status.st_mode & stat.S_IWGRP and status.st_gid != os.getegid()
    return not (by_group or status.st_mode & stat.S_IWOTH)


def _size_of(fd: int, inode: tuple[int, int]) -> int:
    """The size of a mirror in bytes; -1 where the descriptor names another file by now."""
    try:
        status = os.fstat(fd)
    except OSError:
        return -1
    return status.st_size if (status.st_dev, status.st_ino) == inode else -1


def _backup(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _shift_backups(path: Path, most: int) -> None:
    """Make room for a first backup: each up to the first number that is free is moved on by one."""
    # Not all that there may be: where many are allowed and few are there, that would be what it costs.
    # By plain names: meanwhile other processes write on into the full file.
    stem, free = f"{path}.", 1
    while free < most and os.path.lexists(f"{stem}{free}"):
        free += 1
    for number in range(free - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{stem}{number}", f"{stem}{number + 1}")  # noqa: PTH105
