"""The text of a full snapshot as chunks that are stored once, by content: between steps, agents and runs.

Boundaries depend on what stands there and not on where, so an insertion changes the chunk that it is in.
A run's chunks are files of its own directory; a second run that needs the same bytes gets a hard link to
them, over a directory of links for the session, so every run can be copied or removed alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import orjson

from Agent.errors import DamagedInput
from Agent.flight.checkpoints.storage.packs import (
    compressed,
    decompressed,
    file_flags,
    fsync_directory,
    make_directory,
)
from Agent.tree.layout import FILE_MODE

__all__ = ["ChunkFiles", "chunk_digest", "remove_unshared", "split"]

_LEAF_BYTES: Final = 4096
_MIN_BYTES: Final = 8192
_MEAN_BYTES: Final = 32_768
_MAX_BYTES: Final = 131_072
_SUFFIX: Final = ".json.zst"


def split(value: Any) -> list[bytes]:
    """The JSON text of a value in chunks of about 32 KiB whose joined bytes are that text."""
    chunks: list[bytes] = []
    pending: list[bytes] = []
    length = 0
    pieces: list[bytes] = []
    _pieces(value, pieces)
    for piece in pieces:
        pending.append(piece)
        length += len(piece)
        # A piece ends a chunk by its own hash, with a chance that grows with its length.
        ends = length >= _MIN_BYTES and crc32(piece) < len(piece) * (1 << 32) // _MEAN_BYTES
        if ends or length >= _MAX_BYTES:
            chunks.append(b"".join(pending))
            pending.clear()
            length = 0
    if pending:
        chunks.append(b"".join(pending))
    return chunks


def _pieces(value: Any, pieces: list[bytes]) -> None:
    text = orjson.dumps(value)
    kind = type(value)
    if len(text) <= _LEAF_BYTES or (kind is not dict and kind is not list):
        pieces.append(text)
        return
    if kind is list:
        for number, item in enumerate(value):
            pieces.append(b"," if number else b"[")
            _pieces(item, pieces)
        pieces.append(b"]")
        return
    for number, (key, item) in enumerate(value.items()):
        pieces.append((b"," if number else b"{") + orjson.dumps(key) + b":")
        _pieces(item, pieces)
    pieces.append(b"}")


def chunk_digest(chunk: bytes) -> str:
    """The name of a chunk: 32 hex digits of BLAKE2b over its bytes."""
    from hashlib import blake2b

    return blake2b(chunk, digest_size=16).hexdigest()


def remove_unshared(shared: Path) -> None:
    """Remove the links of chunks that no run has any more; writers may go on meanwhile."""
    for path in shared.iterdir() if shared.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_nlink == 1:
                path.unlink()


class ChunkFiles:
    """The chunks of one run, as files.

    Args:
        directory: of the run's chunks; made when the first is written.
        shared: of links for all runs of the session; None for none.
        durable: bring each file to the disk itself before it counts.
    """

    def __init__(self, directory: Path, shared: Path | None = None, *, durable: bool = False) -> None:
        self.directory = directory
        self.shared = shared
        self.durable = durable

    def path(self, digest: str) -> Path:
        """Where a chunk stands."""
        return self.directory / f"{digest}{_SUFFIX}"

    def put(self, digest: str, chunk: bytes) -> int:
        """Keep a chunk that the run does not have; the bytes that were written, 0 where another run had it.

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
            # A cache: without it the next run stores the bytes again.
            with contextlib.suppress(OSError):
                make_directory(self.shared)
                (self.shared / path.name).unlink(missing_ok=True)
                (self.shared / path.name).hardlink_to(path)
        return len(data)

    def _linked(self, shared: Path, path: Path, data: bytes) -> bool:
        try:
            # The very same bytes, or what is damaged there would be here, too.
            if shared.read_bytes() != data:
                return False
            path.unlink(missing_ok=True)
            path.hardlink_to(shared)
        except OSError:
            return False  # nobody has it yet, or no links here: it is written
        return True

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | file_flags(), FILE_MODE)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                if self.durable:
                    os.fsync(fd)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):  # what is told is why it could not be written
                temporary.unlink()
            raise
        if self.durable:
            fsync_directory(path.parent)

    def get(self, digest: str) -> bytes:
        """The bytes of a chunk.

        Raises:
            DamagedInput: it is not there, or not what its name says.
        """
        path = self.path(digest)
        remedy = "checkpoints that need it cannot be loaded; the other chains of the run can"
        try:
            chunk = decompressed(path.read_bytes(), path)
        except OSError as error:
            raise DamagedInput(
                f"a chunk of a checkpoint cannot be read: {error.strerror}", path=path, remedy=remedy
            ) from None
        if chunk_digest(chunk) != digest:
            raise DamagedInput("a chunk of a checkpoint does not match its name", path=path, remedy=remedy)
        return chunk

    def names(self) -> list[str]:
        """The digests of all chunks that stand there."""
        try:
            entries = os.listdir(self.directory)  # noqa: PTH208 - names are all that is wanted
        except FileNotFoundError:
            return []
        return [name.removesuffix(_SUFFIX) for name in entries if name.endswith(_SUFFIX) and name[0] != "."]

    def remove(self, digests: Iterable[str]) -> int:
        """Remove chunks that nothing refers to any more; the bytes that no run holds now."""
        freed = 0
        for digest in digests:
            path = self.path(digest)
            with contextlib.suppress(FileNotFoundError):
                size = path.stat().st_size
                # The shared link first: killed in between, the run's own is known to belong to nothing.
                if self._is_alone(path):
                    freed += size
                path.unlink()
        return freed

    def _is_alone(self, path: Path) -> bool:
        """Whether no other run has the chunk; then its shared link is gone."""
        if self.shared is None:
            return True
        link = self.shared / path.name
        try:
            known = link.stat()
            # Its own name and, where the two are one file, the run's.
            if known.st_nlink > 1 + (known.st_ino == path.stat().st_ino):
                return False
            link.unlink()
        except FileNotFoundError:
            return True
        return True

    def remove_leftovers(self) -> None:
        """Remove what writers that were killed left half written; nobody else may write meanwhile."""
        for path in self.directory.glob(".*.new") if self.directory.is_dir() else ():
            path.unlink(missing_ok=True)
