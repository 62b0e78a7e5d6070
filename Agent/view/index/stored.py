"""The files of the index: `.state/view/index` has its columns, `.state/view/lines` lines of a sealed session.

The index is a header in JSON, then the columns, which are mapped into memory when read.

It is a cache: if it is missing, damaged, or of another version or other files, everything is read again; if
it cannot be written, the index stays in memory. `erase` removes it.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import threading
import weakref
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from Agent.tree.files.session import replacing
from Agent.tree.layout import NO_FOLLOW, open_file, open_private, view_dir
from Agent.view.index.columns import (
    LINK_TYPES,
    MESSAGE_TYPES,
    SESSION,
    TYPES,
    ColumnMemory,
    Columns,
    Index,
    Names,
    Tables,
    create_view_dir,
)

VERSION: Final = 2
_MAGIC: Final = b"agent-trace view index\n\0"
_HEAD: Final = struct.Struct("<24sII")
_MOST_HEAD_BYTES: Final = 256 * 1024 * 1024
_CHECKED_BYTES: Final = 4 * 1024 * 1024
_ATTACHED: Final = {"messages": MESSAGE_TYPES, "links": LINK_TYPES}


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored index, with the state of its `Gatherer`."""

    index: Index
    state: Mapping[str, Any]


def index_file(session: Path) -> Path:
    """Return the file of a session's index."""
    return view_dir(session) / "index"


def store(session: Path, index: Index, state: Mapping[str, Any]) -> bool:
    """Write the index of a session; False if that is impossible, such as on a read-only tree."""
    groups = {"events": index.columns, "messages": index.messages, "links": index.links}
    columns = [
        (group, name, values.dtype.str, np.ascontiguousarray(values))
        for group, named in groups.items()
        for name, values in named.items()
    ]
    tables = index.tables
    head = orjson.dumps(
        {
            "version": VERSION,
            "columns": [[group, name, code, len(values)] for group, name, code, values in columns],
            "agents": tables.agents.texts[1:],
            "roles": list(tables.roles.items()),
            "kinds": tables.kinds.texts,
            "writers": tables.writers.texts,
            "parties": tables.parties.texts,
            "state": state,
        }
    )
    try:
        create_view_dir(session)
        with replacing(index_file(session), sync=False) as file:
            file.write(_HEAD.pack(_MAGIC, len(head), 0))
            checked = crc32(head)
            file.write(head)
            for _, _, _, values in columns:
                padding = b"\0" * (-file.tell() % 8)
                file.write(padding)
                checked = crc32(padding, checked)
                file.write(values.data)
                checked = crc32(values.data, checked)
            file.seek(0)
            file.write(_HEAD.pack(_MAGIC, len(head), checked))
    except OSError:
        return False  # read-only, or full: the index stays in memory
    return True


def load(session: Path) -> Stored | None:
    """Return the stored index of a session; None if it is missing or unusable."""
    try:
        fd, status = open_file(index_file(session))
    except OSError:
        return None  # never stored
    try:
        if status.st_size < _HEAD.size:
            return None
        data = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None  # it cannot be mapped
    finally:
        os.close(fd)
    try:
        return _parsed(data, ColumnMemory(session, data))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None  # damaged, or of another version


def remove(session: Path) -> None:
    """Remove the stored index of a session; OSError if that is impossible."""
    index_file(session).unlink(missing_ok=True)


def _parsed(data: mmap.mmap, memory: ColumnMemory) -> Stored | None:
    magic, head_bytes, checked = _HEAD.unpack_from(data)
    if magic != _MAGIC or head_bytes > min(len(data), _MOST_HEAD_BYTES):
        return None
    view = memoryview(data)
    if _crc32(data, view) != checked:
        return None
    head = orjson.loads(view[_HEAD.size : _HEAD.size + head_bytes])
    if head["version"] != VERSION:
        return None
    groups: dict[str, Columns] = {"events": {}, "messages": {}, "links": {}}
    at = _HEAD.size + head_bytes
    for group, name, code, count in head["columns"]:
        kind = np.dtype(code)
        if kind.kind not in "uif":
            return None
        at += -at % 8
        groups[group][name] = np.frombuffer(data, kind, count, at)
        at += count * kind.itemsize
    tables = Tables(
        Names(head["agents"], unnamed=[SESSION]),
        {int(agent): str(role) for agent, role in head["roles"]},
        *(Names(head[name]) for name in ("kinds", "writers", "parties")),
    )
    if not _is_sound(groups, tables, len(head["state"]["sources"])):
        return None
    index = Index(groups["events"], groups["messages"], groups["links"], tables, memory)
    return Stored(index, head["state"])


def _crc32(data: mmap.mmap, view: memoryview) -> int:
    """Return the checksum of the columns; pages read for it are released."""
    checked = 0
    for begin in range(0, len(view), _CHECKED_BYTES):
        checked = crc32(view[max(begin, _HEAD.size) : begin + _CHECKED_BYTES], checked)
        if hasattr(mmap, "MADV_DONTNEED"):
            data.madvise(mmap.MADV_DONTNEED, begin, min(_CHECKED_BYTES, len(view) - begin))
    return checked


def _is_sound(groups: Mapping[str, Columns], tables: Tables, sources: int) -> bool:
    """Return whether all columns exist with equal length and contain only valid references."""
    events = groups["events"]
    if set(events) != set(TYPES) or len({len(values) for values in events.values()}) != 1:
        return False
    count = len(events["t_us"])
    limits = {
        "agent": len(tables.agents.texts),
        "kind": len(tables.kinds.texts),
        "writer": len(tables.writers.texts),
        "file": sources,
    }
    if any(not _is_below(events[name], limit) for name, limit in limits.items()):
        return False
    for group, types in _ATTACHED.items():
        columns = groups[group]
        expected = {"row", *types} - {"place"}
        if set(columns) != expected or len({len(values) for values in columns.values()}) != 1:
            return False
        if not _is_below(columns["row"], count):
            return False
    parties = groups["messages"]["party"]
    return not len(parties) or (int(parties.min()) >= -1 and int(parties.max()) < len(tables.parties.texts))


def _is_below(values: NDArray[Any], limit: int) -> bool:
    return not len(values) or (int(values.min()) >= 0 and int(values.max()) < limit)


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
            store = cls(open_private(temporary, flags), temporary)
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
            at = bisect_right(self._firsts, number) - 1
            block = self._blocks.get(at)
            if block is None:
                block = self._block(at)
            self._blocks.move_to_end(at)
            return block[number - self._firsts[at]]

    def _block(self, number: int) -> list[bytes]:
        begin, end = self._block_offsets[number], self._block_offsets[number + 1]
        data = self._decompressor.decompress(os.pread(self._fd, end - begin, begin))
        block = self._blocks[number] = data.split(b"\n")
        self._kept_bytes += len(data)
        while self._kept_bytes > _KEPT_BYTES and len(self._blocks) > 1:
            _, old = self._blocks.popitem(last=False)
            self._kept_bytes -= sum(map(len, old)) + len(old) - 1
        return block
