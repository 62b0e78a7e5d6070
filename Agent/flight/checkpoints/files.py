"""The files of one run's checkpoints: the index (SQLite), packs, chunks, and the writer's claim.

Every change of a run's files happens in one transaction of the index, so that two processes never change them
at the same time. A kill leaves either a row with its frame or a frame without a row, which is removed later.
`run` uses this module to save, load and remove checkpoints.
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
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.errors import DamagedInput
from Agent.event.clock import format_timestamp, parse_timestamp
from Agent.event.values.plain import read_json, write_json
from Agent.flight.checkpoints.delta import apply
from Agent.flight.checkpoints.model import ABOUT, CheckpointInfo
from Agent.flight.checkpoints.packs import (
    PACK_SUFFIX,
    ChunkFiles,
    PackReader,
    PackWriter,
    chunk_digest,
    compressed,
    is_written_to,
    make_directory,
    split,
)
from Agent.record.loggers.loggers import present
from Agent.tree.files.descriptors import names
from Agent.tree.layout import FILE_MODE, inode_at, run_dir, run_dirs, runs_dir

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
        durable: whether a commit waits for the disk.
    """

    def __init__(self, path: Path, *, make: bool, durable: bool = False) -> None:
        self.path = path
        self.pid = os.getpid()
        if make:
            make_directory(path.parent)
            # SQLite would create it readable for others, and gives its WAL the mode of the database.
            # O_EXCL, because closing an existing database would release the POSIX locks of this process.
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, flags, FILE_MODE))
        # A tree on a read-only medium, such as an archive, is opened as immutable.
        self._is_fixed = not make and not os.access(path.parent, os.W_OK)
        self._durable = durable
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
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
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

    def put(self, row: Row) -> None:
        """Insert a row, or replace the row with its number."""
        self._db.execute(_PUT, [getattr(row, name) for name in _NAMES])

    def next_number(self) -> int:
        """The next unused number."""
        return int(self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM checkpoints").fetchone()[0])

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
        with self.converting_errors():
            return [Row(*found) for found in self._db.execute(statement, [*equal.values()]).fetchall()]

    def mark_removed(self, numbers: Iterable[int]) -> None:
        """Mark rows as removed; they stay until `forget`."""
        self._db.executemany(
            "UPDATE checkpoints SET removed = 1 WHERE number = ?", [(number,) for number in numbers]
        )

    def forget(self, numbers: Iterable[int]) -> None:
        """Delete rows and their lists of chunks."""
        keys = [(number,) for number in numbers]
        self._db.executemany("DELETE FROM checkpoints WHERE number = ?", keys)
        self._db.executemany("DELETE FROM chunks WHERE number = ?", keys)

    def set_chunks(self, number: int, digests: list[str]) -> None:
        """Set the chunks of a snapshot, in order."""
        self._db.execute("DELETE FROM chunks WHERE number = ?", [number])
        self._db.executemany(
            "INSERT INTO chunks VALUES (?, ?, ?)", [(number, at, digest) for at, digest in enumerate(digests)]
        )

    def has_chunk(self, digest: str) -> bool:
        """Whether a snapshot of the run uses the chunk."""
        rows = self._db.execute("SELECT 1 FROM chunks WHERE digest = ? LIMIT 1", [digest])
        return rows.fetchone() is not None

    def all_chunks(self) -> set[str]:
        """The digests of all chunks that snapshots use."""
        with self.converting_errors():
            return {found for (found,) in self._db.execute("SELECT DISTINCT digest FROM chunks")}

    def packs(self) -> set[str]:
        """The names of the packs that rows may refer to."""
        with self.converting_errors():
            return {name for (name,) in self._db.execute("SELECT name FROM packs")}

    def add_pack(self, name: str) -> None:
        """Register a pack."""
        self._db.execute("INSERT OR REPLACE INTO packs VALUES (?)", [name])

    def drop_pack(self, name: str) -> None:
        """Remove a pack from the register."""
        self._db.execute("DELETE FROM packs WHERE name = ?", [name])

    def fact(self, key: str) -> str | None:
        """The value noted under a key, or None."""
        with self.converting_errors():
            row = self._db.execute("SELECT value FROM facts WHERE key = ?", [key]).fetchone()
        return None if row is None else str(row[0])

    def note(self, key: str, value: str) -> None:
        """Store a value under a key for the run."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [key, value])

    def shrink(self, *, vacuum: bool) -> None:
        """Truncate the WAL, so that it holds no removed data; with `vacuum`, also release free pages.

        Does nothing while another process reads; the next call catches up.
        """
        with contextlib.suppress(sqlite3.OperationalError):
            if vacuum:
                self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


INDEX_NAME: Final = "index.sqlite"
REMOVED_FACT: Final = "removed"
"""The key that marks the index of a run whose checkpoints are all being removed."""
_CLAIM_SUFFIX: Final = ".writer"
_PACK_BYTES: Final = 8 << 20
_INLINE_BYTES: Final = 8192
"""Snapshots up to this length are stored in their frame: a chunk file would take a block of the disk."""
_ATTEMPTS: Final = 5


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


class RunFiles:
    """The open files of one run's checkpoints in one process; callers that change something hold `lock`.

    Args:
        directory: the directory of the run's checkpoints.
        shared: the directory of chunks that runs share; None to share none.
        make: whether to create the index if it is missing.
        durable: whether a save waits for the disk.
    """

    def __init__(self, directory: Path, shared: Path | None, *, make: bool, durable: bool = False) -> None:
        self.directory = directory
        self.durable = durable
        self.lock = threading.RLock()
        self.index = CheckpointIndex(directory / INDEX_NAME, make=make, durable=durable)
        self.chunks = ChunkFiles(directory / "chunks", shared, durable=durable)
        self.writer = os.urandom(5).hex()
        self._pack: PackWriter | None = None
        self._created_packs = 0
        self._claim: PackWriter | None = None

    def close(self) -> None:
        """Close all files and release the claim, so that other processes may change these chains."""
        with self.lock:
            self.end_pack()
            if self._claim is not None:
                self._claim.close()
                self._claim.path.unlink(missing_ok=True)
                self._claim = None
            self.index.suspend()

    def suspend(self) -> None:
        """Close the pack and the index until they are needed again; the claim on own chains stays."""
        with self.lock:
            if self._pack is not None:
                self._pack.close()
            self.index.suspend()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Return a block that is one transaction; an exception also truncates what was appended to packs."""
        pack, size_bytes = self._pack, 0 if self._pack is None else self._pack.size_bytes
        try:
            with self.lock, self.index.transaction():
                self._refuse_if_removed()
                yield
        except BaseException:
            if self._pack is not None and self._pack is not pack:
                self._pack.path.unlink(missing_ok=True)
                self.end_pack()
            elif self._pack is not None:
                self._pack.truncate(size_bytes)
            raise

    def _refuse_if_removed(self) -> None:
        if self.index.fact(REMOVED_FACT) is not None:
            raise RemovedMeanwhile(f"the checkpoints in {self.directory} were removed")

    def append(self, frame: bytes) -> tuple[str, int]:
        """Append a frame and return (name of its pack, offset in it)."""
        pack = self._pack
        if pack is None or pack.size_bytes + len(frame) > _PACK_BYTES > len(frame):
            pack = self._begin_pack()
        return pack.path.name, pack.append(frame)

    def _begin_pack(self) -> PackWriter:
        self.end_pack()
        if self._claim is None:
            self._claim = PackWriter(self.directory / f"{self.writer}{_CLAIM_SUFFIX}")
        self._created_packs += 1
        path = self.directory / f"{self.writer}-{self._created_packs}{PACK_SUFFIX}"
        self._pack = PackWriter(path, durable=self.durable)
        self.index.add_pack(path.name)
        return self._pack

    def end_pack(self) -> None:
        """Close the current pack; the next frame begins a new one."""
        if self._pack is not None:
            self._pack.close()
            self._pack = None

    def is_live(self, writer: str) -> bool:
        """Whether another writer, in this process or another one, still holds its claim."""
        return writer != self.writer and is_written_to(self.directory / f"{writer}{_CLAIM_SUFFIX}")

    def write(self, row: Row, run_id: str, value: Any, delta: Any) -> None:
        """Write the frame of a checkpoint and its chunks, and set pack, offset and sizes of the row.

        Args:
            row: the checkpoint, with its place in a chain.
            run_id: the run.
            value: the whole document.
            delta: the delta from the previous row if the row is not a snapshot; None for no change.
        """
        row.size_bytes = 0
        content: dict[str, Any]
        if row.position:
            content = {"delta": delta}
        elif row.state_bytes <= _INLINE_BYTES:
            content = {"document": value}
        else:
            digests = []
            for chunk in split(value):
                digest = chunk_digest(chunk)
                is_there = self.index.has_chunk(digest) and self.chunks.path(digest).exists()
                if digest not in digests and not is_there:
                    row.size_bytes += self.chunks.put(digest, chunk)
                digests.append(digest)
            self.index.set_chunks(row.number, digests)
            content = {"chunks": digests}
        line = write_json({**row.head(run_id), **content}, orjson.OPT_APPEND_NEWLINE)
        frame = compressed(line)
        row.pack, row.offset = self.append(frame)
        row.frame_bytes = len(frame)
        row.size_bytes += len(frame)

    def after(self, value: Any, row: Row, readers: dict[str, PackReader] | None = None) -> Any:
        """The document of a row, from the document of the previous row, which may be changed in place.

        Args:
            value: the document of the previous row; ignored for a snapshot.
            row: the row to read.
            readers: {pack: reader}; if given, opened readers are added to it, and the caller closes them.

        Raises:
            DamagedInput: the row cannot be read, or its delta does not fit.
            FileNotFoundError: its pack is missing.
        """
        reader = readers.get(row.pack) if readers is not None else None
        if reader is None:
            reader = PackReader(self.directory / row.pack)
        try:
            frame = reader.frame(row.offset, row.frame_bytes)
        finally:
            if readers is None:
                reader.close()
            else:
                readers[row.pack] = reader
        try:
            if "delta" in frame:
                return value if frame["delta"] is None else apply(value, frame["delta"])
            if "chunks" in frame:
                return read_json(b"".join(map(self.chunks.get, frame["chunks"])))
            return frame["document"]
        except (LookupError, TypeError, ValueError) as error:
            raise DamagedInput(
                f"the checkpoint of {row.step_id} does not fit the one that it builds on: {error}",
                path=self.directory / row.pack,
                remedy="the checkpoints of its chain before it can be loaded",
            ) from None

    def document(self, row: Row) -> tuple[Any, bytes]:
        """The document of a checkpoint, parsed and as text; the text equals the saved one to the byte.

        Raises:
            DamagedInput: it cannot be read, or its digest differs from the saved one.
        """
        problem: DamagedInput | None = None
        for _ in range(_ATTEMPTS):
            try:
                value = self._folded(row)
                return value, self.verified(row, value)
            except FileNotFoundError as error:
                problem = DamagedInput(
                    f"the checkpoint of {row.step_id} is in the index, but its pack is missing",
                    path=error.filename,
                    remedy="copy the file back, or delete the checkpoint",
                )
            except DamagedInput as error:
                problem = error
            # Another process may have rewritten the chain; then the index has its new place.
            rows = self.index.rows(removed=None, number=row.number)
            if not rows or (rows[0] == row and self._has_packs(row)):
                break
            row = rows[0]
        assert problem is not None  # noqa: S101 - set by each failed attempt
        raise problem

    def _has_packs(self, row: Row) -> bool:
        """Whether all packs of the row's chain exist, so that another attempt would give the same error."""
        return all((self.directory / each.pack).exists() for each in self._below(row))

    def _below(self, row: Row) -> list[Row]:
        """The rows from the snapshot up to a checkpoint, from which its document is built."""
        return [each for each in self.index.chain(row.chain) if each.position <= row.position]

    def _folded(self, row: Row) -> Any:
        """Build the document of a row from its snapshot and deltas; the digest is not checked."""
        rows = self._below(row)
        if not rows or rows[0].position or rows[-1].number != row.number:
            raise DamagedInput(
                f"the chain of the checkpoint of {row.step_id} is incomplete",
                path=self.index.path,
                remedy="rebuild_index(run_id) rebuilds the index from the packs",
            )
        value: Any = None
        readers: dict[str, PackReader] = {}
        try:
            for each in rows:
                value = self.after(value, each, readers)
        finally:
            for reader in readers.values():
                reader.close()
        return value

    def verified(self, row: Row, value: Any) -> bytes:
        """The text of a loaded document; raises DamagedInput if its digest differs from the saved one."""
        from Agent.event.values.digest import digest_bytes

        text = write_json(value)
        if digest_bytes(text) != row.digest:
            raise DamagedInput(
                f"the checkpoint of {row.step_id} differs from what was saved",
                path=self.directory / row.pack,
                remedy="restore the run's checkpoints from a copy",
            )
        return text
