"""Packs: files to which a run's snapshots and deltas are appended, one compressed JSON line after another.

Each line is a complete zstd frame that names its checkpoint, so `zstd -dc` shows a pack as JSON lines, and
the index can be rebuilt from packs alone. A pack has one writer, which holds a lock on it while it writes.
`run` decides what is written; the index in `files` stores the offsets.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import orjson

from Agent.errors import DamagedInput
from Agent.event.values.plain import ask_memory_for_more, read_json, write_json
from Agent.tree.files.descriptors import fcntl, give_back, let_go, names, out_of_the_way, write_all
from Agent.tree.files.session import replacing, sync_directory
from Agent.tree.layout import DIRECTORY_MODE, FILE_MODE, NO_FOLLOW, entries_in, open_file, read_file, scan

PACK_SUFFIX: Final = ".jsonl.zst"
_LEVEL: Final = 3
_MAX_RAW_BYTES: Final = 1 << 31
_BLOCK_BYTES: Final = 16_384
_CHUNK_BYTES: Final = 1024 * 1024
_APPEND: Final = os.O_RDWR | os.O_APPEND
_codecs = threading.local()


def compressed(data: bytes) -> bytes:
    """Compress bytes to one zstd frame with its length and a checksum."""
    try:
        compressor = _codecs.compressor
    except AttributeError:
        # Imported late, because only runs with checkpoints need it.
        from zstandard import ZstdCompressor

        compressor = _codecs.compressor = ZstdCompressor(level=_LEVEL, write_checksum=True)
    return bytes(compressor.compress(data))


def decompressed(data: bytes, path: Path) -> bytes:
    """Decompress one frame.

    Args:
        data: the frame.
        path: the file, for the error.

    Raises:
        DamagedInput: it is not a valid frame.
    """
    from zstandard import ZstdDecompressor, ZstdError, frame_content_size

    try:
        length = frame_content_size(data)
        if not 0 <= length <= _MAX_RAW_BYTES:
            raise _damaged("its length is missing or too large", path)
        decompressor = getattr(_codecs, "decompressor", None)
        if decompressor is None:
            decompressor = _codecs.decompressor = ZstdDecompressor()
        return bytes(decompressor.decompress(data))
    except ZstdError as error:
        raise _damaged(str(error), path) from None


def unpacked_chunks(path: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes of all frames of a file in pieces; raises DamagedInput."""
    from zstandard import ZstdDecompressor, ZstdError

    try:
        with (
            os.fdopen(open_file(path)[0], "rb") as file,
            ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader,
        ):
            while chunk := reader.read(_CHUNK_BYTES):
                yield chunk
    except ZstdError as error:
        raise _damaged(str(error), path) from None


def _damaged(why: str, path: Path) -> DamagedInput:
    return DamagedInput(f"a checkpoint is damaged: {why}", path=path, remedy="restore the file from a copy")


def make_directory(path: Path) -> None:
    """Create a directory and its parents, each with access for this user only."""
    try:
        path.mkdir(mode=DIRECTORY_MODE)
    except FileExistsError:
        return  # it exists, perhaps created by another process
    except FileNotFoundError:
        make_directory(path.parent)
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


class PackWriter:
    """A pack to which this process appends.

    Args:
        path: the path of the new file, which is created and locked.
        durable: whether `append` waits until the frame is on the disk.

    Raises:
        OSError: the file exists or could not be created.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self.durable = durable
        self.size_bytes = 0
        make_directory(path.parent)
        self._open(os.O_CREAT | os.O_EXCL)
        _lock(self.fd)
        if durable:
            sync_directory(path.parent)

    def append(self, frame: bytes) -> int:
        """Append one frame and return its offset; after a failure, the file has its former length.

        Raises:
            OSError: it could not be written.
        """
        offset = self.size_bytes
        if self.fd >= 0 and not names(self.fd, self._inode):
            let_go(self.fd)  # the program closed the descriptor, which released the lock
            self._open()
            _lock(self.fd)
        elif self.fd < 0:
            self._open()
        try:
            write_all(self.fd, frame)
            if self.durable:
                getattr(os, "fdatasync", os.fsync)(self.fd)
        except OSError:
            self.truncate(offset)
            raise
        self.size_bytes = offset + len(frame)
        return offset

    def _open(self, more_flags: int = 0) -> None:
        self.fd = out_of_the_way(os.open(self.path, _APPEND | more_flags | NO_FOLLOW, FILE_MODE))
        status = os.fstat(self.fd)
        self._inode = (status.st_dev, status.st_ino)

    def truncate(self, size_bytes: int) -> None:
        """Truncate the file to that length."""
        self.size_bytes = size_bytes
        if self.fd >= 0 and names(self.fd, self._inode):
            os.ftruncate(self.fd, size_bytes)

    def close(self) -> None:
        """Close the file and release its lock; `append` opens it again."""
        if self.fd >= 0:
            give_back(self.fd, self._inode)
            self.fd = -1


def _lock(fd: int) -> None:
    if fcntl is not None:  # platforms without advisory locks support only one process
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_written_to(path: Path) -> bool:
    """Whether a process holds the writer's lock on a pack or claim."""
    if fcntl is None:
        return False
    try:
        fd, _ = open_file(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True  # also if locking fails for another reason: then leave the file alone
    finally:
        os.close(fd)
    return False


class PackReader:
    """Reads frames of one pack.

    Raises:
        FileNotFoundError: the pack is missing: it was rewritten or deleted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd, _ = open_file(path)

    def frame(self, offset: int, size_bytes: int) -> dict[str, Any]:
        """Read the JSON object of one frame; raises DamagedInput if no valid frame is at that place."""
        data = os.pread(self._fd, size_bytes, offset)
        if len(data) < size_bytes:
            raise DamagedInput(
                f"a checkpoint is expected at byte {offset}, after the end of the file",
                path=self.path,
                remedy="restore the file from a copy",
            )
        return _frame_object(decompressed(data, self.path), self.path)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _frame_object(line: bytes, path: Path) -> dict[str, Any]:
    try:
        frame = read_json(line)
    except orjson.JSONDecodeError as error:
        raise DamagedInput(f"a frame of a checkpoint is not JSON: {error}", path=path) from None
    if type(frame) is not dict:
        raise DamagedInput("a frame of a checkpoint is not a JSON object", path=path)
    return frame


def frames(path: Path, on_rest: Callable[[int], None]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield (offset, size, content) of each frame of a pack, up to the first incomplete or damaged one.

    `on_rest` is called with the number of bytes from there on; a kill during a save leaves some.
    """
    data = memoryview(read_file(path))
    offset = 0
    while offset < len(data):
        frame = _next_frame(data, offset)
        if frame is None:
            on_rest(len(data) - offset)
            return
        size, line = frame
        try:
            content = _frame_object(line, path)
        except DamagedInput:
            on_rest(len(data) - offset)
            return
        yield offset, size, content
        offset += size


def _next_frame(data: memoryview, offset: int) -> tuple[int, bytes] | None:
    """(size, content) of the frame at an offset; None if it is incomplete or damaged."""
    from zstandard import ZstdDecompressor, ZstdError

    reader = ZstdDecompressor().decompressobj()
    parts: list[bytes] = []
    # In blocks, because the decompressor copies the bytes after the frame.
    for begin in range(offset, len(data), _BLOCK_BYTES):
        block = data[begin : begin + _BLOCK_BYTES]
        try:
            parts.append(reader.decompress(block))
        except ZstdError:
            return None  # the caller reports the rest
        if reader.eof:
            return begin + len(block) - len(reader.unused_data) - offset, b"".join(parts)
    return None


_LEAF_BYTES: Final = 4096
_MIN_BYTES: Final = 8192
_MEAN_BYTES: Final = 32_768
_MAX_BYTES: Final = 131_072
_SUFFIX: Final = ".json.zst"
_PIECES_PER_MEMORY_CHECK: Final = 16
"""The number of pieces after which the available memory is checked again."""


def split(value: Any) -> list[bytes]:
    """Split the JSON text of a value into chunks of about 32 KiB, whose concatenation is the text.

    The cuts depend on the content, so that a change in one place leaves most other chunks equal.
    """
    chunks: list[bytes] = []
    pending: list[bytes] = []
    length = 0
    # Do not collect all pieces first: each short one keeps the 1 KiB buffer that orjson allocates.
    for number, piece in enumerate(_pieces(value)):
        if not number % _PIECES_PER_MEMORY_CHECK:
            ask_memory_for_more()
        pending.append(piece)
        length += len(piece)
        # The hash of a piece decides whether it ends the chunk; longer pieces are more likely to.
        ends = length >= _MIN_BYTES and crc32(piece) < len(piece) * (1 << 32) // _MEAN_BYTES
        if ends or length >= _MAX_BYTES:
            chunks.append(b"".join(pending))
            pending.clear()
            length = 0
    if pending:
        chunks.append(b"".join(pending))
    return chunks


def _pieces(value: Any) -> Iterator[bytes]:
    """Yield the JSON text of a value in pieces; containers above `_LEAF_BYTES` are split into their items."""
    kind = type(value)
    is_large = kind is dict or kind is list or (kind is str and len(value) > _LEAF_BYTES)
    text = write_json(value) if is_large else orjson.dumps(value)
    if len(text) <= _LEAF_BYTES or (kind is not dict and kind is not list):
        yield text
        return
    del text
    if kind is list:
        for number, item in enumerate(value):
            yield b"," if number else b"["
            yield from _pieces(item)
        yield b"]"
        return
    for number, (key, item) in enumerate(value.items()):
        yield (b"," if number else b"{") + orjson.dumps(key) + b":"
        yield from _pieces(item)
    yield b"}"


def chunk_digest(chunk: bytes) -> str:
    """The name of a chunk: 32 hex digits of BLAKE2b over its bytes."""
    from hashlib import blake2b

    return blake2b(chunk, digest_size=16).hexdigest()


def remove_unshared(shared: Path) -> None:
    """Remove shared links to chunks that no run has any more; safe while other processes write."""
    for path in entries_in(shared):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_nlink == 1:
                path.unlink()


class ChunkFiles:
    """The chunk files of one run.

    Args:
        directory: the directory of the run's chunks; created with the first one.
        shared: the directory of hard links for all runs of the session; None to share none.
        durable: whether `put` waits until the file is on the disk.
    """

    def __init__(self, directory: Path, shared: Path | None = None, *, durable: bool = False) -> None:
        self.directory = directory
        self.shared = shared
        self.durable = durable

    def path(self, digest: str) -> Path:
        """The path of a chunk."""
        return self.directory / f"{digest}{_SUFFIX}"

    def put(self, digest: str, chunk: bytes) -> int:
        """Store a new chunk of the run; return the bytes written, 0 if another run has the same chunk.

        Raises:
            OSError: it could not be written.
        """
        data = compressed(chunk)
        path = self.path(digest)
        make_directory(self.directory)
        if self.shared is not None and self._linked(self.shared / path.name, path, data):
            return 0
        self._write(path, data)
        if self.shared is not None:
            # The link is only a cache: without it, the next run stores the bytes again.
            with contextlib.suppress(OSError):
                make_directory(self.shared)
                (self.shared / path.name).unlink(missing_ok=True)
                (self.shared / path.name).hardlink_to(path)
        return len(data)

    def _linked(self, shared: Path, path: Path, data: bytes) -> bool:
        try:
            # Compare all bytes, so that damage in the other run's file does not spread to this run.
            if read_file(shared) != data:
                return False
            path.unlink(missing_ok=True)
            path.hardlink_to(shared)
        except OSError:
            return False  # no run has it yet, or hard links are unsupported; the caller writes the file
        return True

    def _write(self, path: Path, data: bytes) -> None:
        with replacing(path, sync=self.durable) as file:
            file.write(data)
        if self.durable:
            sync_directory(path.parent)

    def get(self, digest: str) -> bytes:
        """Read a chunk.

        Raises:
            DamagedInput: it is missing, or its digest differs from its name.
        """
        path = self.path(digest)
        remedy = "checkpoints that need it cannot be loaded; the other chains of the run can"
        try:
            chunk = decompressed(read_file(path), path)
        except OSError as error:
            raise DamagedInput(
                f"a chunk of a checkpoint cannot be read: {error.strerror}", path=path, remedy=remedy
            ) from None
        if chunk_digest(chunk) != digest:
            raise DamagedInput("a chunk of a checkpoint does not match its name", path=path, remedy=remedy)
        return chunk

    def names(self) -> list[str]:
        """The digests of all chunk files in the directory."""
        names = [entry.name for entry in scan(self.directory)]
        return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX) and name[0] != "."]

    def remove(self, digests: Iterable[str]) -> int:
        """Remove unreferenced chunks and return the bytes freed; chunks that other runs have free none."""
        freed = 0
        for digest in digests:
            path = self.path(digest)
            with contextlib.suppress(FileNotFoundError):
                size = path.stat().st_size
                # `_is_alone` removes the shared link first: after a kill in between, the run's own file
                # is found as a stray chunk and removed later.
                if self._is_alone(path):
                    freed += size
                path.unlink()
        return freed

    def _is_alone(self, path: Path) -> bool:
        """Whether no other run has the chunk; if so, remove its shared link."""
        if self.shared is None:
            return True
        link = self.shared / path.name
        try:
            shared_status = link.stat()
            # The shared name counts as one link, and the run's name as another if both are one file.
            if shared_status.st_nlink > 1 + (shared_status.st_ino == path.stat().st_ino):
                return False
            link.unlink()
        except FileNotFoundError:
            return True
        return True

    def remove_leftovers(self) -> None:
        """Remove partial files of killed writers; the caller prevents concurrent writes."""
        for path in entries_in(self.directory, ".new", "."):
            path.unlink(missing_ok=True)
