"""The index of a run's checkpoints: SQLite, one row each, which frame holds it and on which it stands.

Every change of a run's files happens within one of its transactions, so two processes never change them at
one time, and a kill leaves either the row with its frame or a frame without a row, which is removed later.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from Agent.errors import DamagedInput
from Agent.event.clock import format_timestamp
from Agent.flight.checkpoints.model import CheckpointInfo
from Agent.flight.checkpoints.storage.packs import make_directory
from Agent.tree.files.descriptors import names
from Agent.tree.layout import FILE_MODE

_VERSION: Final = 1
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

    number: int
    step_id: str
    agent_id: str | None
    saved_us: int
    pack: str
    offset: int
    frame_bytes: int
    size_bytes: int
    chain: int
    """The number of the full snapshot that its deltas begin with."""
    position: int
    """0 for that snapshot, 1 for the first delta on it."""
    state_bytes: int
    digest: str
    agent_version: str | None = None
    code: str | None = None
    tick: int | None = None
    phase: str | None = None
    reason: str | None = None
    event_id: str | None = None
    opaque: int = 0
    writer: str = ""
    removed: int = 0

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
_WHERE_AGENT: Final = " AND coalesce(agent_id, '') = coalesce(?, '')"


_CLOSED: Final = (
    "the index of checkpoints {}: this program closed its descriptors; rebuild_index(run_id) makes it anew"
)
_lost: set[tuple[int, int] | None] = set()
"""Device and inode of the databases whose descriptors were closed while SQLite had them open."""


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_closed(path: Path) -> bool:
    """Whether this program closed the descriptors of an index while SQLite had it open."""
    return bool(_lost) and _inode(path) in _lost


def _open_files(path: Path) -> set[tuple[int, tuple[int, int]]]:
    """What descriptors of this process name a database, its log or that one's map, where they are listed."""
    inodes = {_inode(path.with_name(f"{path.name}{end}")) for end in ("", "-wal", "-shm")}
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
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
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
                self._inode, self._files = _inode(self.path), _open_files(self.path) - others
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
        found = self._rows("removed = 0 AND step_id = ?" + _WHERE_AGENT, [step_id, agent_id])
        return found[0] if found else None

    def rows_of_step(self, step_id: str) -> list[Row]:
        """The checkpoints of a step, of whatever agents."""
        return self._rows("removed = 0 AND step_id = ?", [step_id])

    def listed(self, agent_id: str | None = None, *, everybody: bool = True) -> list[Row]:
        """All checkpoints, in the order in which they were saved."""
        if everybody:
            return self._rows("removed = 0", [])
        return self._rows("removed = 0" + _WHERE_AGENT, [agent_id])

    def count(self) -> int:
        """How many checkpoints there are."""
        with self.telling():
            return int(self._db.execute("SELECT count(*) FROM checkpoints WHERE removed = 0").fetchone()[0])

    def chain(self, chain: int, up_to: int | None = None) -> list[Row]:
        """The rows of a chain from its snapshot on, those that wait for their removal included."""
        limit = 1 << 60 if up_to is None else up_to
        return self._rows("chain = ? AND position <= ?", [chain, limit], order="position")

    def row_of_number(self, number: int) -> Row | None:
        """The row of a number."""
        found = self._rows("number = ?", [number])
        return found[0] if found else None

    def removed(self) -> list[Row]:
        """The rows that wait for their removal."""
        return self._rows("removed = 1", [])

    def everything(self) -> list[Row]:
        """All rows, those that wait for their removal included."""
        return self._rows("1", [])

    def in_pack(self, pack: str) -> list[Row]:
        """The rows whose frames stand in a pack, in its order."""
        return self._rows("pack = ?", [pack], order="offset")

    def _rows(self, where: str, values: list[Any], order: str = "number") -> list[Row]:
        statement = f"SELECT {_COLUMNS} FROM checkpoints WHERE {where} ORDER BY {order}"  # noqa: S608 - own text
        with self.telling():
            return [Row(*found) for found in self._db.execute(statement, values).fetchall()]

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
