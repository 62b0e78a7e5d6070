"""The file of `TraceSaver`, without LangGraph: its tables, and its erasure, retention and verification.

Values are serialized by LangGraph; here they are bytes. `langgraph_saver` writes them, redacted.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import zstandard

from Agent.errors import SessionInUse
from Agent.flight.checkpoints.model import Removed, RetentionPolicy
from Agent.tree.layout import files_below, is_session_name, open_file

GRAPH_FILE: Final = "langgraph.sqlite"
"""The name of the file in the trace root."""
SQLITE_MAGIC: Final = b"SQLite format 3\0"
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS blob (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, base INTEGER,
    depth INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS blob_base ON blob (base) WHERE base IS NOT NULL;
CREATE TABLE IF NOT EXISTS checkpoint (
    number INTEGER PRIMARY KEY, thread TEXT NOT NULL, ns TEXT NOT NULL, id TEXT NOT NULL, parent TEXT,
    run TEXT, body INTEGER NOT NULL, metadata_kind TEXT NOT NULL, metadata BLOB NOT NULL,
    UNIQUE (thread, ns, id));
CREATE INDEX IF NOT EXISTS checkpoint_run ON checkpoint (run) WHERE run IS NOT NULL;
CREATE INDEX IF NOT EXISTS checkpoint_body ON checkpoint (body);
CREATE TABLE IF NOT EXISTS channel_value (
    checkpoint INTEGER NOT NULL, channel TEXT NOT NULL, version TEXT, blob INTEGER NOT NULL,
    PRIMARY KEY (checkpoint, channel)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS channel_value_blob ON channel_value (blob);
CREATE TABLE IF NOT EXISTS task_write (
    thread TEXT NOT NULL, ns TEXT NOT NULL, checkpoint TEXT NOT NULL, task TEXT NOT NULL,
    position INTEGER NOT NULL, path TEXT NOT NULL, channel TEXT NOT NULL, blob INTEGER NOT NULL,
    PRIMARY KEY (thread, ns, checkpoint, task, position)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS task_write_blob ON task_write (blob);
"""
LEVEL: Final = 3
"""The level of compression."""
DELTA_CHANNELS: Final = "counters_since_delta_snapshot"
"""The key of LangGraph's metadata that names the channels whose values are in their ancestors' writes."""
_TABLES: Final = frozenset({"blob", "checkpoint", "channel_value", "task_write"})
_USED: Final = """
SELECT EXISTS (SELECT 1 FROM channel_value WHERE blob = :id)
    OR EXISTS (SELECT 1 FROM task_write WHERE blob = :id)
    OR EXISTS (SELECT 1 FROM checkpoint WHERE body = :id)
    OR EXISTS (SELECT 1 FROM blob WHERE base = :id)"""
_HAVING: Final = """
SELECT checkpoint FROM channel_value WHERE blob = :id UNION SELECT number FROM checkpoint WHERE body = :id"""
_UUID_EPOCH: Final = 0x01B21DD213814000
"""1970 in the clock of UUIDs: 100 ns since 1582."""

Blobs = list[int]
Finds = Callable[[Iterable[bytes]], object | None]
"""Returns None if pieces of bytes do not contain the erased data, else a description of the match."""


def graph_files(root: Path) -> list[Path]:
    """The files of `TraceSaver` below a trace root, outside of the sessions."""
    files = files_below(root, lambda name: not is_session_name(name))
    return [path for path in files if is_graph_file(path)]


def is_graph_file(path: Path) -> bool:
    """Return whether a file is a SQLite file with the tables of `TraceSaver`."""
    with os.fdopen(open_file(path)[0], "rb") as file:
        if file.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
            return False
    try:
        with read_only(path) as db:
            return {name for (name,) in db.execute("SELECT name FROM sqlite_master")} >= _TABLES
    except sqlite3.Error:
        return path.name == GRAPH_FILE  # `verify` reports the damage


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file within the block; create no files beside it unless another connection is open."""
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as db:
        yield db


@contextmanager
def _alone(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file exclusively within the block; SessionInUse if another connection is open."""
    db = sqlite3.connect(path, timeout=1, isolation_level=None)
    with contextlib.closing(db):
        try:
            db.execute("PRAGMA journal_mode = DELETE")  # refused while another connection exists
        except sqlite3.OperationalError:
            raise SessionInUse(
                "a program has this file of TraceSaver open", path=path, remedy="erase when it has ended"
            ) from None
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA temp_store = MEMORY")
        yield db


def refuse_if_open(root: Path) -> None:
    """Raise SessionInUse if a program has a file of `TraceSaver` below a root open."""
    for path in graph_files(root):
        if path.with_name(f"{path.name}-wal").exists():
            with _alone(path):
                pass


# values


def raw_value(db: sqlite3.Connection, blob: int) -> bytes:
    """The serialized value: the stored differences, applied to their base value."""
    chain = []
    at: int | None = blob
    while at is not None:
        base, data = db.execute("SELECT base, data FROM blob WHERE id = ?", (at,)).fetchone()
        chain.append(data)
        at = base
    raw = zstandard.ZstdDecompressor().decompress(chain.pop())
    while chain:
        older = zstandard.ZstdCompressionDict(raw, zstandard.DICT_TYPE_RAWCONTENT)
        raw = zstandard.ZstdDecompressor(dict_data=older).decompress(chain.pop())
    return raw


def value_digest(kind: str, raw: bytes) -> bytes:
    """The digest by which a value is stored once."""
    return blake2b(kind.encode() + b"\0" + raw, digest_size=20).digest()


def is_encrypted(kind: str) -> bool:
    """Whether the value was encrypted by LangGraph: its kind then ends in `+` and the name of the cipher."""
    return "+" in kind


def values_in(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (kind, bytes) of every value and of all metadata, decompressed."""
    with read_only(path) as db:
        for blob, kind in db.execute("SELECT id, kind FROM blob").fetchall():
            yield kind, raw_value(db, blob)
        yield from db.execute("SELECT metadata_kind, metadata FROM checkpoint")


def packed_member(key: str, value: str) -> bytes:
    """A member of a mapping in MessagePack, the format that LangGraph uses."""
    return _packed(key) + _packed(value)


def _packed(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) < 32:
        return bytes((0xA0 | len(raw),)) + raw
    size = 1 if len(raw) < 256 else 2 if len(raw) < 65536 else 4
    return bytes((0xD8 + {1: 1, 2: 2, 4: 3}[size],)) + len(raw).to_bytes(size, "big") + raw


# removal


def forget(db: sqlite3.Connection, numbers: Iterable[int]) -> Blobs:
    """Remove checkpoints; return the numbers of their values."""
    blobs: Blobs = []
    for number in numbers:
        key = (number,)
        blobs += [blob for (blob,) in db.execute("SELECT blob FROM channel_value WHERE checkpoint = ?", key)]
        blobs += [body for (body,) in db.execute("SELECT body FROM checkpoint WHERE number = ?", key)]
        db.execute("DELETE FROM channel_value WHERE checkpoint = ?", key)
        db.execute("DELETE FROM checkpoint WHERE number = ?", key)
    return blobs


def forget_writes(db: sqlite3.Connection, where: str, key: tuple[object, ...]) -> Blobs:
    """Remove the writes of tasks; return the numbers of their values."""
    blobs = [blob for (blob,) in db.execute(f"SELECT blob FROM task_write WHERE {where}", key)]  # noqa: S608
    db.execute(f"DELETE FROM task_write WHERE {where}", key)  # noqa: S608 - text of the package
    return blobs


def remove_unused(db: sqlite3.Connection, blobs: Iterable[int]) -> None:
    """Remove unreferenced values, then the base values that only these referred to."""
    waiting = list(dict.fromkeys(blobs))
    while waiting:
        blob = waiting.pop()
        row = db.execute("SELECT base FROM blob WHERE id = ?", (blob,)).fetchone()
        if row is not None and not db.execute(_USED, {"id": blob}).fetchone()[0]:
            db.execute("DELETE FROM blob WHERE id = ?", (blob,))
            if row[0] is not None:
                waiting.append(row[0])


def drop_thread(db: sqlite3.Connection, thread: str) -> int:
    """Remove all checkpoints and writes of a thread; return how many checkpoints."""
    rows = db.execute("SELECT number FROM checkpoint WHERE thread = ?", (thread,)).fetchall()
    blobs = forget(db, [number for (number,) in rows])
    remove_unused(db, [*blobs, *forget_writes(db, "thread = ?", (thread,))])
    return len(rows)


def erase_from_graph(path: Path, finds: Finds, chunks: Iterable[bytes], *, dry_run: bool = False) -> int:
    """Remove the checkpoints that contain the erased data, and every byte of it in the file.

    A checkpoint that is read through the writes of a removed one (`DeltaChannel`) is removed, too. Encrypted
    values cannot be searched.

    Args:
        path: the file.
        finds: searches bytes for the erased data.
        chunks: the bytes of the file.
        dry_run: only count.

    Returns:
        The number of removed checkpoints.

    Raises:
        SessionInUse: a program has the file open.
    """
    with read_only(path) if dry_run else _alone(path) as db:
        blobs = db.execute("SELECT id FROM blob").fetchall()
        matching = {blob for (blob,) in blobs if finds([raw_value(db, blob)]) is not None}
        going = _checkpoints_holding(db, matching, finds)
        if dry_run or not (going or matching or finds(chunks) is not None):
            return len(going)
        db.execute("BEGIN IMMEDIATE")
        unused = []
        for thread, ns, checkpoint_id in going.values():
            unused += forget_writes(
                db, "thread = ? AND ns = ? AND checkpoint = ?", (thread, ns, checkpoint_id)
            )
        unused += forget(db, going)
        for blob in matching:
            unused += forget_writes(db, "blob = ?", (blob,))  # writes whose checkpoint is missing
        for names in db.execute("SELECT DISTINCT thread, ns, checkpoint, task FROM task_write").fetchall():
            if finds(["\n".join(names).encode()]) is not None:
                unused += forget_writes(db, "thread = ? AND ns = ? AND checkpoint = ? AND task = ?", names)
        for (blob,) in db.execute("SELECT id FROM blob WHERE base IS NOT NULL").fetchall():
            (base,) = db.execute("SELECT base FROM blob WHERE id = ?", (blob,)).fetchone()
            if (
                base in matching and blob not in matching
            ):  # a remaining value must not be stored as a difference to a removed one
                compressed = zstandard.ZstdCompressor(level=LEVEL).compress(raw_value(db, blob))
                db.execute("UPDATE blob SET base = NULL, data = ? WHERE id = ?", (compressed, blob))
        remove_unused(db, [*unused, *matching])
        db.execute("COMMIT")
        db.execute("VACUUM")
        return len(going)


def _checkpoints_holding(
    db: sqlite3.Connection, matching: set[int], finds: Finds
) -> dict[int, tuple[str, str, str]]:
    """{number: (thread, ns, id)} of the checkpoints with erased data, and of those read through them."""
    having: set[int] = set()
    writing: set[tuple[str, str, str]] = set()
    for blob in matching:
        having.update(number for (number,) in db.execute(_HAVING, {"id": blob}))
        writing.update(db.execute("SELECT thread, ns, checkpoint FROM task_write WHERE blob = ?", (blob,)))
    going: dict[int, tuple[str, str, str]] = {}
    removed: set[tuple[str, str, str]] = set()
    query = "SELECT number, thread, ns, id, parent, run, metadata FROM checkpoint ORDER BY number"
    for number, thread, ns, own_id, parent, run, metadata in db.execute(query).fetchall():
        channels = db.execute("SELECT channel FROM channel_value WHERE checkpoint = ?", (number,))
        names = "\n".join((thread, ns, own_id, run or "", *(channel for (channel,) in channels))).encode()
        key = (thread, ns, own_id)
        through = (thread, ns, parent) in removed and DELTA_CHANNELS.encode() in metadata
        if number in having or key in writing or through or finds([names, b"\n", metadata]) is not None:
            going[number] = key
            removed.add(key)
    return going


def prune_graphs(root: Path, policy: RetentionPolicy, now_us: int, *, dry_run: bool = False) -> Removed:
    """Remove the threads whose newest checkpoint is older than the policy's limit for runs.

    A thread that ended in an error, or waits for an answer, counts as failed. Threads whose checkpoint ids do
    not contain the time, unlike LangGraph's, are kept.
    """
    done = Removed()
    for path in graph_files(root):
        with contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as db:
            db.execute("BEGIN" if dry_run else "BEGIN IMMEDIATE")
            for thread, newest in db.execute(
                "SELECT thread, max(id) FROM checkpoint GROUP BY thread"
            ).fetchall():
                failed = db.execute(
                    "SELECT 1 FROM task_write WHERE thread = ? AND checkpoint = ? AND position < 0",
                    (thread, newest),
                ).fetchone()
                saved_us = _saved_us(newest)
                if saved_us is None or not policy.drops_run(saved_us, now_us, failed=failed is not None):
                    continue
                done.runs += 1
                done.checkpoints += (
                    db.execute("SELECT count(*) FROM checkpoint WHERE thread = ?", (thread,)).fetchone()[0]
                    if dry_run
                    else drop_thread(db, thread)
                )
            db.execute("COMMIT")
    return done


def _saved_us(checkpoint_id: str) -> int | None:
    """When a checkpoint was saved, in microseconds since 1970, from its id, a UUID of version 6."""
    try:
        uuid = UUID(checkpoint_id)
    except ValueError:
        return None
    ticks = int(uuid.hex[:12] + uuid.hex[13:16], 16)
    return (ticks - _UUID_EPOCH) // 10 if uuid.hex[12] == "6" else None


# verification


class GraphFile(NamedTuple):
    """The result of verifying a file of `TraceSaver`."""

    path: str
    threads: int
    checkpoints: int
    problems: tuple[str, ...]
    """Up to 10 descriptions of damage."""


_LACKING: Final = """
SELECT count(*) FROM (SELECT blob FROM channel_value UNION SELECT blob FROM task_write
    UNION SELECT body FROM checkpoint UNION SELECT base FROM blob WHERE base IS NOT NULL)
WHERE blob NOT IN (SELECT id FROM blob)"""


def check_graph(path: Path) -> GraphFile:
    """Read every value of a file of `TraceSaver` and compare it with its digest."""
    problems: list[str] = []
    threads = checkpoints = 0
    mode = path.stat().st_mode & 0o077
    if mode:
        problems.append(f"others may open it: its mode is {path.stat().st_mode & 0o777:o}, not 600")
    try:
        with read_only(path) as db:
            (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                problems.append(f"SQLite says: {state}")
            counted = db.execute("SELECT count(DISTINCT thread), count(*) FROM checkpoint").fetchone()
            threads, checkpoints = counted
            (lacking,) = db.execute(_LACKING).fetchone()
            if lacking:
                problems.append("1 value is missing" if lacking == 1 else f"{lacking} values are missing")
            for blob, digest, kind in db.execute("SELECT id, digest, kind FROM blob").fetchall():
                try:
                    if value_digest(kind, raw_value(db, blob)) != digest:
                        problems.append(f"value {blob} differs from what was saved")
                except (zstandard.ZstdError, TypeError) as error:
                    problems.append(f"value {blob} cannot be read: {error}")
                if len(problems) >= 10:
                    break
    except sqlite3.Error as error:
        problems.append(f"it cannot be read: {error}")
    return GraphFile(os.fspath(path), threads, checkpoints, tuple(problems))
