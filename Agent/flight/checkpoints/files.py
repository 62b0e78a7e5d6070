"""The files of one run's checkpoints: its index (SQLite), its packs and chunks, and the writer's claim.

Every change of a run's files happens in one transaction of the index, so two processes never change them at
the same time, and a kill leaves either the row with its frame or a frame without a row, which is removed
later. `run` saves, loads and removes with it.
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
"""What every frame says of its checkpoint."""
_BUSY_SECONDS: Final = 30
_ERRNO: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
}
"""What SQLite met, where it says so; of a file that it cannot open it does not say why."""
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
    """One checkpoint as the index knows it; the columns of its table, in order."""

    number: int = 0
    step_id: str = ""
    agent_id: str | None = None
    saved_us: int = 0
    pack: str = ""
    offset: int = 0
    frame_bytes: int = 0
    size_bytes: int = 0
    chain: int = 0
    """The number of the full snapshot that its deltas begin with."""
    position: int = 0
    """0 for that snapshot, 1 for the first delta on it."""
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
        """The row of a frame in a pack; KeyError, TypeError or ValueError where it is no checkpoint."""
        needed = {name: kind(frame[name]) for name, kind in _NEEDED.items()}
        known: dict[str, Any] = {name: frame.get(name) for name in ("agent_id", *ABOUT)}
        return cls(
            saved_us=parse_timestamp(frame["timestamp"]),
            pack=path.name,
            offset=offset,
            frame_bytes=size_bytes,
            size_bytes=size_bytes,
            opaque=int(frame.get("opaque") or 0),
            writer=path.name.partition("-")[0],
            **needed,
            **known,
        )

    def head(self, run_id: str) -> dict[str, Any]:
        """What a frame says of its checkpoint: enough to make the index again from frames alone."""
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
        """As callers see it."""
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
"""How a column is compared, where that is not `= ?`."""


_CLOSED: Final = (
    "the index of checkpoints {}: this program closed its descriptors; rebuild_index(run_id) makes it anew"
)
_lost: set[tuple[int, int] | None] = set()
"""Device and inode of the databases whose descriptors were closed while SQLite had them open."""


def is_closed(path: Path) -> bool:
    """Whether this program closed the descriptors of an index while SQLite had it open."""
    return bool(_lost) and inode_at(path) in _lost


def _open_files(path: Path) -> set[tuple[int, tuple[int, int]]]:
    """What descriptors of this process name a database, its log or that one's map, where they are listed."""
    inodes = {inode_at(path.with_name(f"{path.name}{end}")) for end in ("", "-wal", "-shm")}
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/dev/fd"):  # noqa: PTH208 - names are enough
            with contextlib.suppress(OSError):  # that of the listing itself
                status = os.fstat(int(name))
                if (inode := (status.st_dev, status.st_ino)) in inodes:
                    found.add((int(name), inode))
    return found


class CheckpointIndex:
    """The index of one run, opened by one process; every error of SQLite comes out as one of ours.

    Args:
        path: of the database; made if it may be.
        make: False: it has to be there.
        durable: a commit waits for the disk itself.
    """

    def __init__(self, path: Path, *, make: bool, durable: bool = False) -> None:
        self.path = path
        self.pid = os.getpid()
        if make:
            make_directory(path.parent)
            # SQLite would make it readable for others, and gives its companions the mode of this one.
            # One that is there is not opened: to close it would give up the locks of this process.
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, flags, FILE_MODE))
        # A tree on a medium that cannot be written, such as an archive, is read as it stands.
        self._is_fixed = not make and not os.access(path.parent, os.W_OK)
        self._durable = durable
        self._connection: sqlite3.Connection | None = None
        self._files: set[tuple[int, tuple[int, int]]] = set()
        """What the connection has open: descriptor, device and inode."""
        self._inode: tuple[int, int] | None = None
        with self.telling():
            if not self._is_fixed:
                self._set_up(self._db)

    @property
    def _db(self) -> sqlite3.Connection:
        """The connection, made again after `suspend`."""
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
                # What was erased shall not stand in free pages.
                self._connection.execute("PRAGMA secure_delete = ON")
                # The log and its map are opened by the first look.
                self._connection.execute("PRAGMA user_version").fetchone()
                # Those of another connection of this process go when that one is closed.
                self._inode, self._files = inode_at(self.path), _open_files(self.path) - others
        return self._connection

    def _give_up_if_closed(self) -> None:
        """See whether the program closed what the connection has open: the numbers may name other files.

        The connection is given up and never closed, since that would write, too, and close those files. And
        no other one of this process may be opened to this file: SQLite would share the map of the log.
        """
        if self._connection is None or self.pid != os.getpid():
            return
        if all(names(fd, inode) for fd, inode in self._files):
            return
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        _lost.add(self._inode)
        self._connection, self._files = None, set()

    def was_closed(self) -> bool:
        """Whether the program closed the descriptors of the file, so that nothing can be asked of it."""
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
        """Close it until it is needed again; in another process than that which opened it touch nothing."""
        self._give_up_if_closed()
        if self._connection is not None and self.pid == os.getpid():
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Turns SQLite's errors into `DamagedInput` and `OSError`; nothing is asked of foreign files."""
        self._give_up_if_closed()
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.InterfaceError) as error:
            told = f"the index of checkpoints {self.path}: {error}"
            known = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise (OSError(_ERRNO[known], told) if known in _ERRNO else OSError(told)) from error
        except sqlite3.DatabaseError as error:
            raise DamagedInput(
                f"the index of checkpoints cannot be read: {error}",
                path=self.path,
                remedy="rebuild_index(run_id) rebuilds it from the packs",
            ) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in it, or nothing; other processes wait."""
        with self.telling():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def put(self, row: Row) -> None:
        """Enter a row, in the place of one of its number."""
        self._db.execute(_PUT, [getattr(row, name) for name in _NAMES])

    def next_number(self) -> int:
        """A number that no row has."""
        return int(self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM checkpoints").fetchone()[0])

    def row(self, step_id: str, agent_id: str | None) -> Row | None:
        """The checkpoint of a step."""
        return next(iter(self.rows(step_id=step_id, agent_id=agent_id)), None)

    def listed(self, agent_id: str | None = None, *, everybody: bool = True) -> list[Row]:
        """All checkpoints, in the order in which they were saved."""
        return self.rows() if everybody else self.rows(agent_id=agent_id)

    def chain(self, chain: int) -> list[Row]:
        """The rows of a chain from its snapshot on, those that wait for their removal included."""
        return self.rows("position", removed=None, chain=chain)

    def rows(self, order: str = "number", *, removed: bool | None = False, **equal: Any) -> list[Row]:
        """The rows whose columns have these values.

        Args:
            order: the column by which they are sorted.
            removed: True: those that wait for their removal; None: these, too.
        """
        parts = ["1" if removed is None else f"removed = {removed:d}"]  # as a literal, which an index needs
        parts += [_EQUAL.get(name, f"{name} = ?") for name in equal]
        statement = f"SELECT {_COLUMNS} FROM checkpoints WHERE {' AND '.join(parts)} ORDER BY {order}"  # noqa: S608 - own names
        with self.telling():
            return [Row(*found) for found in self._db.execute(statement, [*equal.values()]).fetchall()]

    def mark_removed(self, numbers: Iterable[int]) -> None:
        """Take rows off the list."""
        self._db.executemany(
            "UPDATE checkpoints SET removed = 1 WHERE number = ?", [(number,) for number in numbers]
        )

    def forget(self, numbers: Iterable[int]) -> None:
        """Take rows away, and what they say of chunks."""
        gone = [(number,) for number in numbers]
        self._db.executemany("DELETE FROM checkpoints WHERE number = ?", gone)
        self._db.executemany("DELETE FROM chunks WHERE number = ?", gone)

    def set_chunks(self, number: int, digests: list[str]) -> None:
        """Say which chunks a snapshot is made of."""
        self._db.execute("DELETE FROM chunks WHERE number = ?", [number])
        self._db.executemany(
            "INSERT INTO chunks VALUES (?, ?, ?)", [(number, at, digest) for at, digest in enumerate(digests)]
        )

    def knows_chunk(self, digest: str) -> bool:
        """Whether some snapshot of the run has the chunk."""
        found = self._db.execute("SELECT 1 FROM chunks WHERE digest = ? LIMIT 1", [digest])
        return found.fetchone() is not None

    def all_chunks(self) -> set[str]:
        """The digests of all chunks that snapshots are made of."""
        with self.telling():
            return {found for (found,) in self._db.execute("SELECT DISTINCT digest FROM chunks")}

    def packs(self) -> set[str]:
        """The packs that rows may stand in."""
        with self.telling():
            return {name for (name,) in self._db.execute("SELECT name FROM packs")}

    def add_pack(self, name: str) -> None:
        """Say that there is a pack."""
        self._db.execute("INSERT OR REPLACE INTO packs VALUES (?)", [name])

    def drop_pack(self, name: str) -> None:
        """Say that there is no such pack any more."""
        self._db.execute("DELETE FROM packs WHERE name = ?", [name])

    def fact(self, key: str) -> str | None:
        """What was noted under a key."""
        with self.telling():
            found = self._db.execute("SELECT value FROM facts WHERE key = ?", [key]).fetchone()
        return None if found is None else str(found[0])

    def note(self, key: str, value: str) -> None:
        """Note something of the run."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [key, value])

    def shrink(self, *, whole: bool) -> None:
        """Empty the log, so that nothing removed is left in it, and give free pages back where `whole`.

        While another process reads this is left for the next time.
        """
        with contextlib.suppress(sqlite3.OperationalError):
            if whole:
                self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


INDEX_NAME: Final = "index.sqlite"
REMOVED_FACT: Final = "removed"
"""Stands in the index of a run that is being removed as a whole."""
_CLAIM_SUFFIX: Final = ".writer"
_PACK_BYTES: Final = 8 << 20
_WHOLE_BYTES: Final = 8192
"""Snapshots up to this length stand in their frame: as files they would take a block of the disk each."""
_ATTEMPTS: Final = 5


class RemovedMeanwhile(OSError):
    """Somebody removed the run's checkpoints while this process had them open."""


def checkpoints_dir(session: Path, run_id: str) -> Path:
    """Where the checkpoints of a run lie."""
    return run_dir(session, run_id) / "checkpoints"


def saved_runs(session: Path) -> list[Path]:
    """The directories of a session's checkpoints that have an index, by the names of their runs."""
    places = [run / "checkpoints" for run in run_dirs(session)]
    return [place for place in places if (place / INDEX_NAME).exists()]


def shared_chunks_dir(session: Path) -> Path:
    """Links to the chunks of all runs of a session, by which runs share them: a cache."""
    return runs_dir(session) / ".chunks"


class RunFiles:
    """What one process has open of one run's checkpoints; whoever changes something holds `lock`.

    Args:
        directory: of the run's checkpoints.
        shared: of chunks that runs share; None for none.
        make: False: there have to be checkpoints.
        durable: each save is on the disk itself when it returns.
    """

    def __init__(self, directory: Path, shared: Path | None, *, make: bool, durable: bool = False) -> None:
        self.directory = directory
        self.durable = durable
        self.lock = threading.RLock()
        self.index = CheckpointIndex(directory / INDEX_NAME, make=make, durable=durable)
        self.chunks = ChunkFiles(directory / "chunks", shared, durable=durable)
        self.writer = os.urandom(5).hex()
        self._pack: PackWriter | None = None
        self._packs_made = 0
        self._claim: PackWriter | None = None

    def close(self) -> None:
        """End writing; chains that were written here may be changed by others from now on."""
        with self.lock:
            self.end_pack()
            if self._claim is not None:
                self._claim.close()
                self._claim.path.unlink(missing_ok=True)
                self._claim = None
            self.index.suspend()

    def suspend(self) -> None:
        """Hold as few files as will do, until something is asked for; the claim to what was begun stays."""
        with self.lock:
            if self._pack is not None:
                self._pack.close()
            self.index.suspend()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Everything that is done in it counts, or nothing: what was appended meanwhile is taken back."""
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
                self._pack.take_back(size_bytes)
            raise

    def _refuse_if_removed(self) -> None:
        if self.index.fact(REMOVED_FACT) is not None:
            raise RemovedMeanwhile(f"the checkpoints in {self.directory} were removed")

    def append(self, frame: bytes) -> tuple[str, int]:
        """Write a frame; name of its pack, and offset in it."""
        pack = self._pack
        if pack is None or pack.size_bytes + len(frame) > _PACK_BYTES > len(frame):
            pack = self._begin_pack()
        return pack.path.name, pack.append(frame)

    def _begin_pack(self) -> PackWriter:
        self.end_pack()
        if self._claim is None:
            self._claim = PackWriter(self.directory / f"{self.writer}{_CLAIM_SUFFIX}")
        self._packs_made += 1
        path = self.directory / f"{self.writer}-{self._packs_made}{PACK_SUFFIX}"
        self._pack = PackWriter(path, durable=self.durable)
        self.index.add_pack(path.name)
        return self._pack

    def end_pack(self) -> None:
        """Append no more to the pack that is open."""
        if self._pack is not None:
            self._pack.close()
            self._pack = None

    def is_live(self, writer: str) -> bool:
        """Whether another writer, in this process or in another, still appends to what it began."""
        return writer != self.writer and is_written_to(self.directory / f"{writer}{_CLAIM_SUFFIX}")

    def write(self, row: Row, run_id: str, value: Any, delta: Any) -> None:
        """Write the frame of a checkpoint, and its chunks; the row is told where it stands.

        Args:
            row: its place in a chain; pack, offset and sizes are set here.
            run_id: whose it is.
            value: the whole document.
            delta: from the row before, where the row is not a snapshot; None for no change.
        """
        row.size_bytes = 0
        content: dict[str, Any]
        if row.position:
            content = {"delta": delta}
        elif row.state_bytes <= _WHOLE_BYTES:
            content = {"document": value}
        else:
            digests = []
            for chunk in split(value):
                digest = chunk_digest(chunk)
                is_there = self.index.knows_chunk(digest) and self.chunks.path(digest).exists()
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
        """The document after a row, from that of the row before, which is used up.

        Args:
            value: that document; anything for a snapshot.
            row: what is read.
            readers: by pack; where given, those that are opened are left in it, for the caller to close.

        Raises:
            DamagedInput: the row cannot be read, or does not fit.
            FileNotFoundError: its pack is not there.
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
        """The document of a checkpoint, parsed and as text, which is what was saved to the byte.

        Raises:
            DamagedInput: it cannot be read, or differs from what was saved.
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
            # Somebody may have rewritten the chain meanwhile: then the index says where it stands now.
            found = self.index.rows(removed=None, number=row.number)
            if not found or (found[0] == row and self._stands(row)):
                break
            row = found[0]
        assert problem is not None  # noqa: S101 - no attempt ends otherwise
        raise problem

    def _stands(self, row: Row) -> bool:
        """Whether the chain that the index names now is on the disk, so that looking again is idle."""
        return all((self.directory / each.pack).exists() for each in self._below(row))

    def _below(self, row: Row) -> list[Row]:
        """The rows that a checkpoint is made of, from its snapshot on."""
        return [each for each in self.index.chain(row.chain) if each.position <= row.position]

    def _folded(self, row: Row) -> Any:
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
        """The text of a document that was loaded; DamagedInput if it differs from what was saved."""
        from Agent.event.values.digest import digest_bytes

        text = write_json(value)
        if digest_bytes(text) != row.digest:
            raise DamagedInput(
                f"the checkpoint of {row.step_id} differs from what was saved",
                path=self.directory / row.pack,
                remedy="restore the run's checkpoints from a copy",
            )
        return text
