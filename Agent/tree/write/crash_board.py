"""The crash board of one writer: a small memory-mapped file that shows after a crash what was in progress.

Each thread stores the last sequence number it took, and open spans are listed. The pages belong to the
kernel, so they survive a killed process; `losses` and `reader.in_flight` read them.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import mmap
import operator
import os
import struct
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from Agent.tree.files.descriptors import give_back, let_go, names, out_of_the_way
from Agent.tree.layout import NO_FOLLOW, open_private, read_file

SIZE_BYTES: Final = 128 * 1024
THREAD_SLOTS: Final = 256
SPAN_SLOTS: Final = 1024

_MAGIC = int.from_bytes(b"ATBOARD1", "little")
# words of 8 bytes: header with two heads, one word per thread, four per span, then the names
_W_MAGIC, _W_THREADS, _W_THREAD_OVERFLOW, _W_SPAN_OVERFLOW, _W_NAMES, _W_NAME_OVERFLOW = range(6)
_HEAD = struct.Struct("<Q32s")
_HEADS_AT_BYTES = (64, 64 + _HEAD.size)
_THREADS_AT = 32
_SPANS_AT = _THREADS_AT + THREAD_SLOTS
_SPAN_WORDS = 4
_STARTED_WORD = 3
_NAMES_AT_BYTES = (_SPANS_AT + SPAN_SLOTS * _SPAN_WORDS) * 8
# the start is written last and marks the slot as used: a process killed half way leaves a free slot
_SPAN = struct.Struct("<16sIIQ")
_LENGTH = struct.Struct("<H")
_NAME_BYTES = 1000
_FURTHER_NAMES = 1_000_000

_generations = itertools.count(1)


@dataclass(frozen=True, slots=True)
class BoardSpan:
    """An open span on a board."""

    span_id: str
    agent_id: str | None
    name: str
    started_us: int


class BoardView(NamedTuple):
    """The content of a board.

    `overflow` counts the threads that had to share or reuse a slot. If it is not 0, the slots do not show
    every number that a thread held; `threads`, the number of threads, limits how many there can be.
    """

    last_seq_by_thread: tuple[int, ...]
    threads: int
    overflow: int
    span_overflow: int
    open_spans: tuple[BoardSpan, ...]
    heads: tuple[tuple[int, bytes], ...] = ()
    """(blocks, root) of the chain at its last two saves."""

    @property
    def last_seq(self) -> int:
        """The highest number that a thread took."""
        return max(self.last_seq_by_thread, default=0)


class _Alive:
    """An object that one thread holds until it ends."""


class _OfEachThread(threading.local):
    """An `_Alive` per thread; `threading.current_thread()` would add threads to those of the program."""

    def __init__(self) -> None:
        self.alive = _Alive()


class Board:
    """The board of one writer, mapped for writing; a forked child creates a new one."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._bytes = memoryview(mmap.mmap(fd, SIZE_BYTES))
        self._words = self._bytes.cast("Q")
        self._words[_W_MAGIC] = _MAGIC
        self._lock = threading.RLock()
        self._threads = _OfEachThread()
        self._owners: list[weakref.ref[_Alive]] = []
        # tokens of another board, such as the parent's before a fork, must not match a slot here
        self._base = next(_generations) * SPAN_SLOTS
        self._free = list(range(SPAN_SLOTS - 1, -1, -1))
        self._indices: dict[str | None, int] = {None: 0}
        self._names_end = _NAMES_AT_BYTES
        self._further_fd = -1
        self._further_inode = (-1, -1)
        self._registering = False
        self._head_turn = 0
        self._pack = _SPAN.pack_into
        self.clean: Callable[[str], str] = str
        """Replaces secrets in a name before it is stored."""

    @classmethod
    def create(cls, path: Path) -> Board:
        """Create the file and reserve its blocks: writing a page without disk space would kill the process.

        Raises:
            OSError: the disk is full, or the directory cannot be written.
        """
        fd = open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_FOLLOW)
        try:
            _reserve(fd)
            return cls(path, fd)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(fd)

    def thread_slot(self) -> Callable[[int], None]:
        """Return a function that stores the calling thread's last number; call this once per thread.

        The slot of an ended thread keeps its value until no unused slot is left.
        """
        words = self._words
        with self._lock:
            words[_W_THREADS] += 1
            slot = _THREADS_AT + self._take_thread_slot()

        # every event calls it, so it is built from C functions, without a Python frame
        return functools.partial(operator.setitem, words, slot)

    def _take_thread_slot(self) -> int:
        me = weakref.ref(self._threads.alive)
        if len(self._owners) < THREAD_SLOTS:
            self._owners.append(me)
            return len(self._owners) - 1
        self._words[_W_THREAD_OVERFLOW] += 1
        for slot, owner in enumerate(self._owners):
            if owner() is None:
                self._owners[slot] = me
                return slot
        return THREAD_SLOTS - 1

    @property
    def table(self) -> tuple[memoryview, list[int], dict[str | None, int], int, int, int]:
        """The data of `open_span` and `close_span`, for the C implementation.

        The bytes, free slots, indices of names, base of tokens, offset of the first slot, number of slots.
        """
        return self._bytes, self._free, self._indices, self._base, _SPANS_AT * 8, SPAN_SLOTS

    def open_span(self, span_id: str, agent_id: str | None, name: str, started_us: int) -> int:
        """Add a span; returns the token for `close_span`, or -1 if the table is full, which is counted.

        Args:
            span_id: 16 hexadecimal digits.
            agent_id: the agent it belongs to, if any.
            name: name of the action or context.
            started_us: microseconds since 1970, not 0.
        """
        try:
            slot = self._free.pop()
        except IndexError:
            self._words[_W_SPAN_OVERFLOW] += 1
            return -1
        indices = self._indices
        agent_index = indices[agent_id] if agent_id in indices else self._register(agent_id)
        name_index = indices[name] if name in indices else self._register(name)
        self._pack(
            self._bytes,
            (_SPANS_AT + slot * _SPAN_WORDS) * 8,
            span_id.encode(),
            agent_index,
            name_index,
            started_us,
        )
        return self._base + slot

    def close_span(self, slot: int) -> None:
        """Remove a span; a token of another board and -1 are ignored."""
        slot -= self._base
        if 0 <= slot < SPAN_SLOTS:
            started = _SPANS_AT + slot * _SPAN_WORDS + _STARTED_WORD
            # a free slot must not be added to the free list twice
            if self._words[started]:
                self._words[started] = 0
                self._free.append(slot)

    def _register(self, name: str | None) -> int:
        """Store a name and return its index; 0 if there is no room for it."""
        if name is None:
            return 0
        with self._lock:
            index = self._indices.get(name)
            if index is not None:
                return index
            if self._registering:
                # re-entered from a signal handler: dropping this name is safer than mixing up two
                self._words[_W_NAME_OVERFLOW] += 1
                return 0
            self._registering = True
            try:
                return self._place_name(name)
            finally:
                self._registering = False

    def _place_name(self, name: str) -> int:
        data = self.clean(name).encode("utf-8", "surrogatepass")[:_NAME_BYTES]
        entry = _LENGTH.pack(len(data)) + data
        index, begin = len(self._indices), self._names_end
        end = begin + len(entry)
        if end <= SIZE_BYTES and self._further_fd < 0:
            self._bytes[begin:end] = entry
            self._names_end = end
            self._words[_W_NAMES] = index
        elif index > _FURTHER_NAMES or not self._append_further(entry):
            self._words[_W_NAME_OVERFLOW] += 1
            return 0
        self._indices[name] = index
        return index

    def _append_further(self, entry: bytes) -> bool:
        """Append a name that does not fit on the board to the `.names` file; False if that fails."""
        try:
            if self._further_fd >= 0 and not names(self._further_fd, self._further_inode):
                let_go(self._further_fd)  # closed from outside
                self._further_fd = -1
            if self._further_fd < 0:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW
                self._further_fd = out_of_the_way(open_private(_names_path(self.path), flags))
                status = os.fstat(self._further_fd)
                self._further_inode = (status.st_dev, status.st_ino)
            # a short write counts as a failure, because readers parse the entries one after another
            return os.write(self._further_fd, entry) == len(entry)
        except OSError:
            return False

    def store_head(self, blocks: int, root: bytes) -> None:
        """Store the head of the writer's chain; the previous one is kept in case of a kill in between."""
        _HEAD.pack_into(self._bytes, _HEADS_AT_BYTES[self._head_turn], blocks, root)
        self._head_turn ^= 1

    def remove(self) -> None:
        """Remove the files after a clean end; the mapping stays valid for threads that still use it."""
        remove_board(self.path)
        self._close_further()

    def _close_further(self) -> None:
        fd, self._further_fd = self._further_fd, -1
        if fd >= 0:
            give_back(fd, self._further_inode)

    def after_fork_in_child(self) -> None:
        """Close the parent's descriptor; the child creates a new board."""
        self._close_further()


def _reserve(fd: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, SIZE_BYTES)
    elif os.write(fd, bytes(SIZE_BYTES)) != SIZE_BYTES:
        raise OSError(28, "no room for the board")


def remove_board(path: Path) -> None:
    """Remove the files of a board whose writer has ended and is accounted for."""
    _names_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _names_path(path: Path) -> Path:
    return path.with_suffix(".names")


def read_board(path: Path) -> BoardView | None:
    """Read a board, even while its writer runs; None if it is missing or incomplete."""
    try:
        data = read_file(path)
    except OSError:
        return None  # without a board, losses are computed from the lines alone
    if len(data) != SIZE_BYTES:
        return None
    words = memoryview(data).cast("Q")
    if words[_W_MAGIC] != _MAGIC:
        return None
    names = _read_names(data[_NAMES_AT_BYTES:], words[_W_NAMES])
    # usually all names fit on the board and this file is missing
    with contextlib.suppress(FileNotFoundError):
        names += _read_names(read_file(_names_path(path)), None)
    return BoardView(
        last_seq_by_thread=tuple(seq for seq in words[_THREADS_AT:_SPANS_AT] if seq),
        threads=words[_W_THREADS],
        overflow=words[_W_THREAD_OVERFLOW],
        span_overflow=words[_W_SPAN_OVERFLOW],
        open_spans=tuple(_read_spans(data, names)),
        heads=tuple(head for head in (_HEAD.unpack_from(data, at) for at in _HEADS_AT_BYTES) if head[0]),
    )


def _read_names(data: bytes, count: int | None) -> list[str]:
    names: list[str] = []
    at = 0
    while at + _LENGTH.size <= len(data) and (count is None or len(names) < count):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        names.append(
            data[at : at + length].decode("utf-8", "surrogatepass" if at + length <= len(data) else "replace")
        )
        at += length
    return names


def _read_spans(data: bytes, names: list[str]) -> list[BoardSpan]:
    spans = []
    for slot in range(SPAN_SLOTS):
        raw_id, agent_index, name_index, started_us = _SPAN.unpack_from(
            data, (_SPANS_AT + slot * _SPAN_WORDS) * 8
        )
        if started_us:
            spans.append(
                BoardSpan(
                    span_id=raw_id.rstrip(b"\0").decode("ascii", "replace"),
                    agent_id=names[agent_index - 1] if 0 < agent_index <= len(names) else None,
                    name=names[name_index - 1] if 0 < name_index <= len(names) else "",
                    started_us=started_us,
                )
            )
    return sorted(spans, key=lambda span: (span.started_us, span.span_id))
