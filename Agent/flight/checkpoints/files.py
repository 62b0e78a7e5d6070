"""The files of one run's checkpoints: packs, chunks, and the index (SQLite) of both.

A pack is a file to which snapshots and deltas are appended, one compressed JSON line after another. Each line
is a zstd frame that names its checkpoint, so `zstd -dc` shows a pack as JSON lines, and the index can be
rebuilt from packs alone. Large snapshots are split into chunks, which are files named by their content. `run`
decides what is written and removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import orjson

from Agent.errors import DamagedInput
from Agent.event.clock import format_timestamp, parse_timestamp
from Agent.event.values.plain import ask_memory_for_more, read_json, write_json
from Agent.flight.checkpoints.model import ABOUT, CheckpointInfo
from Agent.record.health import say
from Agent.record.loggers.loggers import present
from Agent.tree.files.descriptors import fcntl, names, write_all
from Agent.tree.files.session import replacing
from Agent.tree.layout import (
    NO_FOLLOW,
    entries_in,
    inode_at,
    make_private,
    open_file,
    open_private,
    read_file,
    run_dir,
    run_dirs,
    runs_dir,
    scan,
)

INDEX_NAME: Final = "index.sqlite"
REMOVED_FACT: Final = "removed"
"""The key that marks the index of a run whose checkpoints are all being removed."""


class RemovedMeanwhile(OSError):
    """The run's checkpoints were removed while this process had them open."""


def checkpoints_dir(session: Path, run_id: str) -> Path:
    """The directory of a run's checkpoints."""
    return run_dir(session, run_id) / "checkpoints"


def saved_runs(session: Path) -> list[Path]:
    """The checkpoint directories of a session that have an index, in the order of the runs' names."""
    directories = [run / "checkpoints" for run in run_dirs(session)]
    return [place for place in directories if (place / INDEX_NAME).exists()]


def shared_chunks_dir(session: Path) -> Path:
    """The directory of hard links to the chunks of all runs of a session; a cache for sharing chunks."""
    return runs_dir(session) / ".chunks"


PACK_SUFFIX: Final = ".jsonl.zst"
_LEVEL: Final = 3
_MAX_RAW_BYTES: Final = 1 << 31
_BLOCK_BYTES: Final = 16_384
_CHUNK_BYTES: Final = 1024 * 1024
_codecs = threading.local()


def compressed(data: bytes) -> bytes:
    """Compress bytes to one zstd frame with its length and a checksum."""
    compressor = getattr(_codecs, "compressor", None)
    if compressor is None:
        # Imported late, because only runs with checkpoints need it.
        from zstandard import ZstdCompressor

        compressor = _codecs.compressor = ZstdCompressor(level=_LEVEL, write_checksum=True)
    return bytes(compressor.compress(data))


def decompressed(data: bytes, path: Path) -> bytes:
    """Decompress one frame of a file; raises DamagedInput if it is not a valid one."""
    from zstandard import ZstdDecompressor, ZstdError, frame_content_size

    decompressor = getattr(_codecs, "decompressor", None)
    if decompressor is None:
        decompressor = _codecs.decompressor = ZstdDecompressor()
    try:
        if 0 <= frame_content_size(data) <= _MAX_RAW_BYTES:
            return bytes(decompressor.decompress(data))
    except ZstdError as error:
        raise _damaged(str(error), path) from None
    raise _damaged("its length is missing or too large", path)


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
        make_private(path)
    except FileExistsError:
        return  # it exists, perhaps created by another process
    except FileNotFoundError:
        make_directory(path.parent)
        make_private(path, exist_ok=True)


def append_frame(path: Path, frame: bytes) -> int:
    """Append a frame to a pack, which only this process writes to; return its offset.

    After a failure, the file has its former length.

    Raises:
        OSError: it could not be written.
    """
    fd = open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW)
    try:
        offset = os.fstat(fd).st_size
        try:
            write_all(fd, frame)
        except OSError:
            os.ftruncate(fd, offset)
            raise
    finally:
        os.close(fd)
    return offset


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


def frames_at(path: Path, places: Iterable[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of the frames of a pack at these (offset, size).

    Raises:
        FileNotFoundError: the pack is missing: it was rewritten or deleted.
        DamagedInput: no valid frame is at that place.
    """
    fd, _ = open_file(path)
    try:
        for offset, size_bytes in places:
            data = os.pread(fd, size_bytes, offset)
            if len(data) < size_bytes:
                raise _damaged(f"it is expected at byte {offset}, after the end of the file", path)
            yield _frame_object(decompressed(data, path), path)
    finally:
        os.close(fd)


def _frame_object(line: bytes, path: Path) -> dict[str, Any]:
    try:
        frame = read_json(line)
    except orjson.JSONDecodeError as error:
        raise _damaged(f"a frame is not JSON: {error}", path) from None
    if type(frame) is not dict:
        raise _damaged("a frame is not a JSON object", path)
    return frame


def frames(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield (offset, size, content) of each frame of a pack, up to the first incomplete or damaged one.

    The bytes from there on, such as those of a killed save, are reported on stderr.
    """
    from zstandard import ZstdDecompressor, ZstdError

    data = memoryview(read_file(path))
    offset = 0
    while offset < len(data):
        reader = ZstdDecompressor().decompressobj()
        parts: list[bytes] = []
        end = offset
        try:
            # In blocks, because the decompressor copies the bytes after the frame.
            while not reader.eof and end < len(data):
                block = data[end : end + _BLOCK_BYTES]
                parts.append(reader.decompress(block))
                end += len(block)
            content = _frame_object(b"".join(parts), path) if reader.eof else None
        except (ZstdError, DamagedInput):
            content = None
        if content is None:
            say(f"{path}: its last {len(data) - offset} bytes are not a complete checkpoint")
            return
        end -= len(reader.unused_data)
        yield offset, end - offset, content
        offset = end


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
        shared: the directory of hard links for all runs of the session.
    """

    def __init__(self, directory: Path, shared: Path) -> None:
        self.directory = directory
        self.shared = shared

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
        if self._linked(path, data):
            return 0
        with replacing(path, sync=False) as file:
            file.write(data)
        # The link is only a cache: without it, the next run stores the bytes again.
        with contextlib.suppress(OSError):
            make_directory(self.shared)
            (self.shared / path.name).unlink(missing_ok=True)
            (self.shared / path.name).hardlink_to(path)
        return len(data)

    def _linked(self, path: Path, data: bytes) -> bool:
        """Whether another run has the same chunk, which is then linked here."""
        try:
            # Compare all bytes, so that damage in the other run's file does not spread to this run.
            if read_file(self.shared / path.name) != data:
                return False
            path.unlink(missing_ok=True)
            path.hardlink_to(self.shared / path.name)
        except OSError:
            return False  # no run has it yet, or hard links are unsupported; the caller writes the file
        return True

    def get(self, digest: str) -> bytes:
        """Read a chunk.

        Raises:
            DamagedInput: it is missing, or its digest differs from its name.
        """
        path = self.path(digest)
        problem = "a chunk of a checkpoint does not match its name"
        try:
            chunk = decompressed(read_file(path), path)
            if chunk_digest(chunk) == digest:
                return chunk
        except OSError as error:
            problem = f"a chunk of a checkpoint cannot be read: {error.strerror}"
        remedy = "checkpoints that need it cannot be loaded; the other chains of the run can"
        raise DamagedInput(problem, path=path, remedy=remedy)

    def names(self) -> list[str]:
        """The digests of all chunk files in the directory."""
        names = [entry.name for entry in scan(self.directory)]
        return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX) and name[0] != "."]

    def remove(self, digests: Iterable[str]) -> int:
        """Remove unreferenced chunks and return the bytes freed; chunks that other runs have free none."""
        freed = 0
        for path in map(self.path, digests):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                link = self.shared / path.name
                shared = link.stat() if link.exists() else None
                # The shared name counts as one link, and the run's name as another if both are one file.
                if shared is None or shared.st_nlink <= 1 + (shared.st_ino == status.st_ino):
                    # The shared link goes first: after a kill in between, the run's own file is found as a
                    # stray chunk and removed later.
                    link.unlink(missing_ok=True)
                    freed += status.st_size
                path.unlink()
        return freed

    def remove_leftovers(self) -> None:
        """Remove partial files of killed writers; the caller prevents concurrent writes."""
        for path in entries_in(self.directory, ".new", "."):
            path.unlink(missing_ok=True)


_VERSION: Final = 1
_FORMAT: Final = 1
_NEEDED: Final[dict[str, Callable[[Any], Any]]] = {
    "number": int,
    "step_id": str,
    "chain": int,
    "position": int,
    "state_bytes": int,
    "digest": str,
}
"""{required field of a frame: its type}."""
_BUSY_SECONDS: Final = 30
_ERRNO: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
}
"""{SQLite error: errno}; SQLITE_CANTOPEN is missing, because SQLite does not report its reason."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packs (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (
  number INTEGER PRIMARY KEY, step_id TEXT NOT NULL, agent_id TEXT, saved_us INTEGER NOT NULL,
  pack TEXT NOT NULL, offset INTEGER NOT NULL, frame_bytes INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  chain INTEGER NOT NULL, position INTEGER NOT NULL, state_bytes INTEGER NOT NULL, digest TEXT NOT NULL,
  agent_version TEXT, code TEXT, tick INTEGER, phase TEXT, reason TEXT, event_id TEXT,
  opaque INTEGER NOT NULL DEFAULT 0, writer TEXT NOT NULL, removed INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS by_step ON checkpoints (step_id, coalesce(agent_id, '')) WHERE removed = 0;
CREATE INDEX IF NOT EXISTS by_chain ON checkpoints (chain, position);
CREATE INDEX IF NOT EXISTS by_removed ON checkpoints (removed) WHERE removed = 1;
CREATE TABLE IF NOT EXISTS chunks (
  number INTEGER, ordinal INTEGER, digest TEXT, PRIMARY KEY (number, ordinal)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_digest ON chunks (digest);
"""


@dataclass(slots=True)
class Row:
    """One checkpoint in the index; the fields are the columns of the table, in order."""

    number: int = 0
    step_id: str = ""
    agent_id: str | None = None
    saved_us: int = 0
    pack: str = ""
    offset: int = 0
    frame_bytes: int = 0
    size_bytes: int = 0
    chain: int = 0
    """The number of the full snapshot at the start of its chain."""
    position: int = 0
    """0 for that snapshot, 1 for the first delta after it."""
    state_bytes: int = 0
    digest: str = ""
    agent_version: str | None = None
    code: str | None = None
    tick: int | None = None
    phase: str | None = None
    reason: str | None = None
    event_id: str | None = None
    opaque: int = 0
    writer: str = ""
    removed: int = 0

    @classmethod
    def of_frame(cls, path: Path, offset: int, size_bytes: int, frame: Mapping[str, Any]) -> Row:
        """The row of a frame in a pack; raises KeyError, TypeError or ValueError if it is no checkpoint."""
        needed = {name: kind(frame[name]) for name, kind in _NEEDED.items()}
        optional: dict[str, Any] = {name: frame.get(name) for name in ("agent_id", *ABOUT)}
        return cls(
            saved_us=parse_timestamp(frame["timestamp"]),
            pack=path.name,
            offset=offset,
            frame_bytes=size_bytes,
            size_bytes=size_bytes,
            opaque=int(frame.get("opaque") or 0),
            writer=path.name.partition("-")[0],
            **needed,
            **optional,
        )

    def head(self, run_id: str) -> dict[str, Any]:
        """The fields of a frame that describe its checkpoint; the index can be rebuilt from them alone."""
        named = ("number", "chain", "position", "state_bytes", "digest", *ABOUT)
        return {
            "format": _FORMAT,
            "run_id": run_id,
            "step_id": self.step_id,
            **present(agent_id=self.agent_id),
            "timestamp": format_timestamp(self.saved_us),
            **present(**{name: getattr(self, name) for name in named}, opaque=self.opaque or None),
        }

    def info(self, run_id: str) -> CheckpointInfo:
        """The row in the public form."""
        return CheckpointInfo(
            run_id=run_id,
            timestamp=format_timestamp(self.saved_us),
            kind="delta" if self.position else "snapshot",
            chain_length=self.position,
            **{name: getattr(self, name) for name in _SHOWN},
        )


_NAMES: Final = tuple(column.name for column in fields(Row))
_SHOWN: Final = tuple(each.name for each in fields(CheckpointInfo) if each.name in _NAMES)
_COLUMNS: Final = ", ".join(_NAMES)
_PUT: Final = f"INSERT OR REPLACE INTO checkpoints ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})"  # noqa: S608 - own names
_EQUAL: Final = {"agent_id": "coalesce(agent_id, '') = coalesce(?, '')"}
"""{column: its SQL comparison}, for columns that are not compared with `= ?`."""


_CLOSED: Final = (
    "the index of checkpoints {}: this program closed its descriptors; rebuild_index(run_id) rebuilds it"
)
_lost: set[tuple[int, int] | None] = set()
"""(device, inode) of the databases whose descriptors the program closed while SQLite had them open."""


def is_closed(path: Path) -> bool:
    """Whether the program closed the descriptors of an index while SQLite had it open."""
    return bool(_lost) and inode_at(path) in _lost


def _open_files(path: Path) -> set[tuple[int, tuple[int, int]]]:
    """Descriptors of this process for a database, its WAL and shared memory; empty without `/dev/fd`.

    Returns:
        A set of (descriptor, (device, inode)).
    """
    inodes = {inode_at(path.with_name(f"{path.name}{end}")) for end in ("", "-wal", "-shm")}
    descriptors = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/dev/fd"):  # noqa: PTH208 - names are enough
            with contextlib.suppress(OSError):  # the descriptor of the listing itself is already closed
                status = os.fstat(int(name))
                if (inode := (status.st_dev, status.st_ino)) in inodes:
                    descriptors.add((int(name), inode))
    return descriptors


class CheckpointIndex:
    """The index of one run, opened by one process; SQLite errors become `OSError` or `DamagedInput`.

    Args:
        path: the path of the database.
        make: whether to create it if it is missing.
    """

    def __init__(self, path: Path, *, make: bool) -> None:
        self.path = path
        self.pid = os.getpid()
        if make:
            make_directory(path.parent)
            # SQLite would create it readable for others, and gives its WAL the mode of the database.
            # O_EXCL, because closing an existing database would release the POSIX locks of this process.
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            with contextlib.suppress(FileExistsError):
                os.close(open_private(path, flags))
        # A tree on a read-only medium, such as an archive, is opened as immutable.
        self._is_fixed = not make and not os.access(path.parent, os.W_OK)
        self._connection: sqlite3.Connection | None = None
        self._files: set[tuple[int, tuple[int, int]]] = set()
        """The open files of the connection: (descriptor, (device, inode))."""
        self._inode: tuple[int, int] | None = None
        with self.converting_errors():
            if not self._is_fixed:
                self._set_up(self._db)

    @property
    def _db(self) -> sqlite3.Connection:
        """The connection, opened again after `suspend`."""
        if self._connection is None:
            if is_closed(self.path):
                raise OSError(errno.EBADF, _CLOSED.format(self.path))
            if not self.path.is_file():
                raise OSError(errno.EINVAL, "not a plain file", str(self.path))
            others = set() if self._is_fixed else _open_files(self.path)
            self._connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?{'immutable=1' if self._is_fixed else 'mode=rw'}",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            if not self._is_fixed:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                # Removed data must not remain in free pages.
                self._connection.execute("PRAGMA secure_delete = ON")
                # SQLite opens the WAL and shared memory at the first query.
                self._connection.execute("PRAGMA user_version").fetchone()
                # Descriptors of another connection of this process are left out: it closes them itself.
                self._inode, self._files = inode_at(self.path), _open_files(self.path) - others
        return self._connection

    def _give_up_if_closed(self) -> None:
        """Abandon the connection if the program closed its descriptors, which may now name other files.

        The connection is never closed, since closing would write to these files and close them. This process
        must not open the database again either, because SQLite would share the mapped memory of the WAL.
        """
        if self._connection is None or self.pid != os.getpid():
            return
        if all(names(fd, inode) for fd, inode in self._files):
            return
        # One more reference, so that the connection is never deallocated, which would close it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        _lost.add(self._inode)
        self._connection, self._files = None, set()

    def was_closed(self) -> bool:
        """Whether the program closed the descriptors of the database, so that it cannot be read."""
        self._give_up_if_closed()
        return is_closed(self.path)

    def _set_up(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise DamagedInput(
                f"the checkpoints were written by a later version (format {version})",
                path=self.path,
                remedy="read them with that version",
            )
        if version < _VERSION:
            db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT")

    def suspend(self) -> None:
        """Close the connection until it is needed again; does nothing in a forked child."""
        self._give_up_if_closed()
        if self._connection is not None and self.pid == os.getpid():
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def converting_errors(self) -> Iterator[None]:
        """Return a block that turns SQLite's errors into `DamagedInput` and `OSError`."""
        self._give_up_if_closed()
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.InterfaceError) as error:
            message = f"the index of checkpoints {self.path}: {error}"
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise (OSError(_ERRNO[code], message) if code in _ERRNO else OSError(message)) from error
        except sqlite3.DatabaseError as error:
            raise DamagedInput(
                f"the index of checkpoints cannot be read: {error}",
                path=self.path,
                remedy="rebuild_index(run_id) rebuilds it from the packs",
            ) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Return a block that is one transaction; an exception rolls it back, other processes wait."""
        with self.converting_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def run(self, statement: str, *values: object) -> list[Any]:
        """Execute one SQL statement inside a transaction and return its rows."""
        return self._db.execute(statement, values).fetchall()

    def ask(self, statement: str, *values: object) -> list[Any]:
        """Do the same outside of a transaction."""
        with self.converting_errors():
            return self.run(statement, *values)

    def put(self, row: Row) -> None:
        """Insert a row, or replace the row with its number."""
        self.run(_PUT, *(getattr(row, name) for name in _NAMES))

    def row(self, step_id: str, agent_id: str | None) -> Row | None:
        """The row of a step, or None."""
        return next(iter(self.rows(step_id=step_id, agent_id=agent_id)), None)

    def listed(self, agent_id: str | None = None, *, everybody: bool = True) -> list[Row]:
        """All rows, or with `everybody=False` those of one agent, in the order in which they were saved."""
        return self.rows() if everybody else self.rows(agent_id=agent_id)

    def chain(self, chain: int) -> list[Row]:
        """The rows of a chain from its snapshot on, including those that wait for removal."""
        return self.rows("position", removed=None, chain=chain)

    def rows(self, order: str = "number", *, removed: bool | None = False, **equal: Any) -> list[Row]:
        """The rows whose columns have the given values.

        Args:
            order: the column by which they are sorted.
            removed: False: only listed rows; True: only rows that wait for removal; None: both.
            equal: {column: value}.
        """
        parts = ["1" if removed is None else f"removed = {removed:d}"]  # a literal: a partial index needs it
        parts += [_EQUAL.get(name, f"{name} = ?") for name in equal]
        statement = f"SELECT {_COLUMNS} FROM checkpoints WHERE {' AND '.join(parts)} ORDER BY {order}"  # noqa: S608 - own names
        return [Row(*found) for found in self.ask(statement, *equal.values())]

    def mark_removed(self, numbers: Iterable[int]) -> None:
        """Mark rows as removed; they stay until `forget`."""
        for number in numbers:
            self.run("UPDATE checkpoints SET removed = 1 WHERE number = ?", number)

    def forget(self, numbers: Iterable[int]) -> None:
        """Delete rows and their lists of chunks."""
        for number in numbers:
            self.run("DELETE FROM checkpoints WHERE number = ?", number)
            self.run("DELETE FROM chunks WHERE number = ?", number)

    def set_chunks(self, number: int, digests: list[str]) -> None:
        """Set the chunks of a snapshot, in order."""
        self.run("DELETE FROM chunks WHERE number = ?", number)
        for place, digest in enumerate(digests):
            self.run("INSERT INTO chunks VALUES (?, ?, ?)", number, place, digest)

    def all_chunks(self) -> set[str]:
        """The digests of all chunks that snapshots use."""
        return {digest for (digest,) in self.ask("SELECT DISTINCT digest FROM chunks")}

    def packs(self) -> set[str]:
        """The names of the packs that rows may refer to."""
        return {name for (name,) in self.ask("SELECT name FROM packs")}

    def fact(self, key: str) -> str | None:
        """The value noted under a key, or None."""
        return next((str(value) for (value,) in self.ask("SELECT value FROM facts WHERE key = ?", key)), None)

    def note(self, key: str, value: str) -> None:
        """Store a value under a key for the run."""
        self.run("INSERT OR REPLACE INTO facts VALUES (?, ?)", key, value)

    def shrink(self, *, vacuum: bool) -> None:
        """Truncate the WAL, so that it holds no removed data; with `vacuum`, also release free pages.

        Does nothing while another process reads; the next call catches up.
        """
        with contextlib.suppress(sqlite3.OperationalError):
            if vacuum:
                self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
