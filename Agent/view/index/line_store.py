"""The lines of a sealed session in small compressed blocks, for access by number.

Parquet stores tens of thousands of an agent's lines together, and reading one decompresses all of them. The
lines are read once for the index anyway, and stored beside it: in `.state/view/lines`, a cache like the
index, or in an unnamed file if the session is not writable.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import zstandard

from Agent.tree.layout import FILE_MODE, NO_FOLLOW, open_file, view_dir
from Agent.view.index.column_memory import create_view_dir

BLOCK_LINES: Final = 32
_BLOCK_BYTES: Final = 256 * 1024
_KEPT_BYTES: Final = 16 * 1024 * 1024
_LEVEL: Final = 1
_TAG_BYTES: Final = 16


def lines_file(session: Path) -> Path:
    """Return the file with the lines of a sealed session."""
    return view_dir(session) / "lines"


class LineStore:
    """Lines by number, in the order in which they were added; reading is safe from several threads.

    Args:
        fd: the descriptor of the file.
        path: its path; None for an unnamed file.
    """

    def __init__(self, fd: int, path: Path | None) -> None:
        self._fd, self._path = fd, path
        self._close = weakref.finalize(self, os.close, fd)
        self._tag = b""
        self._firsts = array("Q")
        """The number of the first line of each block."""
        self._block_offsets = array("Q")
        """The offset of each block, followed by the end of the last one."""
        self.count = 0
        """The number of lines."""
        self._lock = threading.Lock()
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._decompressor = zstandard.ZstdDecompressor()
        self._blocks: OrderedDict[int, list[bytes]] = OrderedDict()
        self._kept_bytes = 0

    @classmethod
    def create(cls, session: Path) -> LineStore:
        """Create an empty store; OSError if not even an unnamed file can be created."""
        path = lines_file(session)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            create_view_dir(session)
            temporary.unlink(missing_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_FOLLOW
            store = cls(os.open(temporary, flags, FILE_MODE), temporary)
        except OSError:
            with tempfile.TemporaryFile() as file:
                store = cls(os.dup(file.fileno()), None)
        store._tag = os.urandom(_TAG_BYTES)
        os.write(store._fd, store._tag)
        store._block_offsets.append(_TAG_BYTES)
        return store

    @classmethod
    def open(cls, session: Path, state: Mapping[str, Any] | None) -> LineStore | None:
        """Open the store that `state` describes; None if the file is a different one."""
        if state is None:
            return None
        try:
            fd, status = open_file(lines_file(session))
        except OSError:
            return None  # removed, which may happen at any time
        store = cls(fd, lines_file(session))
        store._tag = bytes.fromhex(state["tag"])
        store._firsts, store._block_offsets = array("Q", state["firsts"]), array("Q", state["places"])
        store.count = int(state["count"])
        if os.pread(fd, _TAG_BYTES, 0) != store._tag or status.st_size != store._block_offsets[-1]:
            return None
        return store

    def add(self, lines: Sequence[bytes]) -> tuple[int, bytes]:
        """Add lines in new blocks; return the number of the first line, and all lines joined by newlines."""
        first, joined = self.count, b"\n".join(lines)
        view = memoryview(joined)
        begin = end = count = 0
        for line in lines:
            end += len(line) + 1
            count += 1
            if count >= BLOCK_LINES or end - begin >= _BLOCK_BYTES:
                self._write(view[begin : end - 1], count)
                begin, count = end, 0
        if count:
            self._write(view[begin:], count)
        return first, joined

    def _write(self, block: memoryview, count: int) -> None:
        data = self._compressor.compress(block)
        done = 0
        while done < len(data):
            done += os.write(self._fd, data[done:])
        with self._lock:
            self._firsts.append(self.count)
            self._block_offsets.append(self._block_offsets[-1] + len(data))
            self.count += count

    def keep(self, session: Path) -> None:
        """Give the finished file its name, if it can be named."""
        if self._path is not None and self._path != lines_file(session):
            self._path.replace(lines_file(session))
            self._path = lines_file(session)

    def discard(self) -> None:
        """Remove a file that was not finished."""
        if self._path is not None and self._path.name.startswith("."):
            self._path.unlink(missing_ok=True)

    def state(self) -> dict[str, Any] | None:
        """Return the state for `open`, as JSON; None for an unnamed file."""
        if self._path is None:
            return None
        return {
            "tag": self._tag.hex(),
            "firsts": self._firsts.tolist(),
            "places": self._block_offsets.tolist(),
            "count": self.count,
        }

    def read(self, number: int) -> bytes:
        """Return a line by its number."""
        with self._lock:
            low, high = 0, len(self._firsts)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self._firsts[middle] <= number else (low, middle)
            block = self._blocks.get(low)
            if block is None:
                block = self._block(low)
            self._blocks.move_to_end(low)
            return block[number - self._firsts[low]]

    def _block(self, number: int) -> list[bytes]:
        begin, end = self._block_offsets[number], self._block_offsets[number + 1]
        data = self._decompressor.decompress(os.pread(self._fd, end - begin, begin))
        block = self._blocks[number] = data.split(b"\n")
        self._kept_bytes += len(data)
        while self._kept_bytes > _KEPT_BYTES and len(self._blocks) > 1:
            _, old = self._blocks.popitem(last=False)
            self._kept_bytes -= sum(map(len, old)) + len(old) - 1
        return block
