"""`TraceSaver`: a checkpointer for LangGraph in one SQLite file that grows by what changes.

A value of a channel is stored once for all checkpoints and threads that have it: compressed, and as a
difference to the previous value if that is smaller. Removing checkpoints keeps the values that others need.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, Self, TypeVar

import ormsgpack
import zstandard
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from Agent.errors import UsageError
from Agent.event.pointers import escape
from Agent.flight.checkpoints.graph_file import (
    DELTA_CHANNELS,
    GRAPH_FILE,
    LEVEL,
    SCHEMA,
    drop_thread,
    forget,
    forget_writes,
    is_encrypted,
    raw_value,
    remove_unused,
    value_digest,
)
from Agent.flight.open_runs import recorded_root
from Agent.record.emit.installed import active_pipeline
from Agent.record.encode.redaction import Redactor
from Agent.tree.default_root import default_root
from Agent.tree.layout import make_private, open_private

P = ParamSpec("P")
R = TypeVar("R")

_OBJECT: Final = "\0object"
_BYTES: Final = "\0bytes"
_PAIRS: Final = "\0pairs"
_ARRAY: Final = "\0array"
"""The only key of a mapping that represents a value without a JSON form."""
_ARRAY_CODE: Final = 6
"""The extension code of LangGraph for numpy arrays: (type, shape, order, bytes)."""
_NON_TEXT_KEYS: Final = ormsgpack.OPT_NON_STR_KEYS


def without_secrets(redactor: Redactor, typed: tuple[str, bytes]) -> tuple[str, bytes]:
    """Return a serialized value without its secrets; encrypted values stay unchanged.

    Args:
        redactor: makes the tokens.
        typed: (kind, bytes) as LangGraph's serializer gives it.

    Raises:
        UsageError: its serialization, such as pickle, cannot be read here.
    """
    kind, raw = typed
    if not redactor.enabled or kind == "null" or is_encrypted(kind):
        return typed
    if kind in {"bytes", "bytearray"}:
        return kind, redactor.text(raw.decode("latin-1")).encode("latin-1")
    if kind != "msgpack":
        raise UsageError(
            f"TraceSaver cannot find secrets in values that are serialized as {kind!r}",
            remedy="use LangGraph's own serializer, its EncryptedSerializer, or TraceSaver(redact=False)",
        )
    form = _JsonForm(redactor)
    types: dict[str, str] = {}
    as_json = form.to_json(form.unpacked(raw), "", types)
    clean = redactor.value(as_json, "", types)
    return typed if clean == as_json else (kind, form.packed(clean))


class _JsonForm:
    """One MessagePack value as JSON, and back."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._arrays: list[bytes] = []

    def unpacked(self, raw: bytes) -> Any:
        """The value, with its extensions as mappings."""
        return ormsgpack.unpackb(raw, ext_hook=self._extension, option=_NON_TEXT_KEYS)

    def _extension(self, code: int, data: bytes) -> Any:
        inner = self.unpacked(data)
        if code != _ARRAY_CODE:
            return {_OBJECT: [code, inner]}
        text = _text_in(inner[0], inner[3])
        if text is not None and self._redactor.text(text) != text:
            return self._redactor.counted_token(text)
        # an array's bytes are stored separately: they are numbers, and a token would not fit the shape
        self._arrays.append(data)
        return {_ARRAY: len(self._arrays) - 1}

    def to_json(self, value: Any, pointer: str, types: dict[str, str]) -> Any:
        """The unpacked value as JSON, with tags that mark pairs of keys and values for the redactor."""
        if isinstance(value, bytes):
            return {_BYTES: value.decode("latin-1")}
        if isinstance(value, list | tuple):
            return [self.to_json(item, f"{pointer}/{at}", types) for at, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if all(isinstance(key, str) for key in value):
            return {key: self.to_json(item, f"{pointer}/{escape(key)}", types) for key, item in value.items()}
        pairs_pointer = f"{pointer}/{escape(_PAIRS)}"
        types[pairs_pointer] = "map"
        return {
            _PAIRS: [
                [
                    self.to_json(part, f"{pairs_pointer}/{at}/{which}", types)
                    for which, part in enumerate(pair)
                ]
                for at, pair in enumerate(value.items())
            ]
        }

    def packed(self, clean: Any) -> bytes:
        """The bytes of a value as JSON."""
        return ormsgpack.packb(self._packable(clean), option=_NON_TEXT_KEYS)

    def _packable(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._packable(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((key, content),) = value.items()
            if key == _OBJECT and isinstance(content, list):
                return ormsgpack.Ext(content[0], self.packed(content[1]))
            if key == _BYTES:
                return content.encode("latin-1")
            if key == _ARRAY and isinstance(content, int):
                return ormsgpack.Ext(_ARRAY_CODE, self._arrays[content])
            if key == _PAIRS and isinstance(content, list):
                return {_hashable(self._packable(name)): self._packable(item) for name, item in content}
        return {key: self._packable(item) for key, item in value.items()}


def _hashable(key: Any) -> Any:
    return tuple(map(_hashable, key)) if isinstance(key, list) else key


def _text_in(array_type: str, data: bytes) -> str | None:
    """The text in the bytes of an array of a text type: U with 4 bytes per character, S with 1."""
    if array_type[1:2] == "U":
        return data.decode("utf-32-be" if array_type[0] == ">" else "utf-32-le").replace("\0", "\n")
    return data.decode("latin-1").replace("\0", "\n") if array_type[1:2] == "S" else None


_LEAST_BYTES: Final = 512
"""Smaller values are not stored as a difference."""
_MOST_STEPS: Final = 32
"""The maximum number of differences that reading a value applies."""
_WORTH: Final = 0.25
"""A difference is stored if it is at most this fraction of the value; compression alone achieves about as
much."""
_WAIT_S: Final = 60


class _Row(NamedTuple):
    number: int
    thread: str
    ns: str
    id: str
    parent: str | None
    body: int
    metadata_kind: str
    metadata: bytes


_COLUMNS: Final = ", ".join(_Row._fields)
_ADD: Final = (
    "INSERT INTO checkpoint (thread, ns, id, parent, run, body, metadata_kind, metadata) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def _in_thread(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the same method, run in a thread, so that it does not block the event loop."""

    async def awaited(saver: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        method_of_class = getattr(saver, method.__name__)  # a subclass may have another one
        result: R = await asyncio.to_thread(method_of_class, *args, **kwargs)
        return result

    awaited.__doc__ = f"See `{method.__name__}`."
    return awaited


class TraceSaver(BaseCheckpointSaver[str]):
    """Saves the checkpoints of LangGraph in a SQLite file; safe for several threads and processes.

    Args:
        path: the file, created if missing, readable by its owner only; default: langgraph.sqlite in the trace
            root,
            where `agent-trace erase`, `prune --checkpoints` and `verify` find it.
        serde: LangGraph's serializer; an `EncryptedSerializer` encrypts values and metadata.
        redact: whether secrets in values and metadata are replaced by tokens, as in recordings; a graph that
            continues from a checkpoint then has the token. Encrypted values are saved as they are.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, serde: Any = None, redact: bool = True
    ) -> None:
        super().__init__(serde=serde)
        self.path = Path(path) if path is not None else (recorded_root() or Path(default_root())) / GRAPH_FILE
        self._own_redactor = Redactor(os.urandom(32), enabled=redact)
        self._lock = threading.RLock()
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)  # access needs the lock
        self._connection: sqlite3.Connection | None = None
        self._pid = 0

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # one checkpoint

    def get_tuple(self, config: Any) -> CheckpointTuple | None:
        """Return the checkpoint named by the config, else the newest of its thread and namespace."""
        thread, ns = _thread_and_namespace(config)
        with self._reading() as db:
            for row in self._rows(db, thread=thread, ns=ns, id=get_checkpoint_id(config)):
                return self._tuple(db, row)
        return None

    def list(
        self,
        config: Any,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: Any = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, newest first, filtered by thread, metadata and a later checkpoint."""
        configurable = config["configurable"] if config else {}
        which = {"thread": configurable.get("thread_id"), "ns": configurable.get("checkpoint_ns")}
        own_id = get_checkpoint_id(config) if config else None
        end = None if before is None else get_checkpoint_id(before)
        with self._reading() as db:
            rows = [row for row in self._rows(db, **which, id=own_id) if end is None or row.id < end]
        left = len(rows) if limit is None else limit
        for row in rows:
            if left <= 0:
                return
            metadata = self.serde.loads_typed((row.metadata_kind, row.metadata))
            if filter and any(metadata.get(key) != value for key, value in filter.items()):
                continue
            with self._reading() as db:
                if not db.execute("SELECT 1 FROM checkpoint WHERE number = ?", (row.number,)).fetchone():
                    continue  # removed in the meantime
                left -= 1
                checkpoint = self._tuple(db, row)
            yield checkpoint

    @staticmethod
    def _rows(db: sqlite3.Connection, **which: Any) -> Iterator[_Row]:
        """The checkpoints with these values, newest first; None selects all."""
        given = {name: str(value) for name, value in which.items() if value is not None}
        where = " AND ".join(["1", *(f"{name} = :{name}" for name in given)])
        found = db.execute(f"SELECT {_COLUMNS} FROM checkpoint WHERE {where} ORDER BY id DESC", given)  # noqa: S608
        return map(_Row._make, found)

    def put(
        self, config: Any, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> Any:
        """Save a checkpoint as the child of the one that the config names."""
        thread, ns = _thread_and_namespace(config)
        parent = config["configurable"].get("checkpoint_id")
        body = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        whole_metadata = get_checkpoint_metadata(config, metadata)
        metadata_kind, metadata_bytes = self._dumped(whole_metadata)
        versions = checkpoint["channel_versions"]
        with self._writing() as db:
            before = db.execute(
                "SELECT number, body FROM checkpoint WHERE thread = ? AND ns = ? AND id = ?",
                (thread, ns, parent),
            ).fetchone()
            parent_values = {}
            if before is not None:
                rows = db.execute(
                    "SELECT channel, version, blob FROM channel_value WHERE checkpoint = ?", before[:1]
                )
                parent_values = {channel: (version, blob) for channel, version, blob in rows}
            values = []
            for channel, value in checkpoint["channel_values"].items():
                version = None if channel not in versions else str(versions[channel])
                older = parent_values.get(channel, (None, None))
                if channel in new_versions or version is None or older[0] != version:
                    blob = self._store(db, self._dumped(value), older[1])
                else:
                    blob = older[1]
                values.append((channel, version, blob))
            body_blob = self._store(db, self._dumped(body), None if before is None else before[1])
            replaced = db.execute(
                "SELECT number FROM checkpoint WHERE thread = ? AND ns = ? AND id = ?",
                (thread, ns, checkpoint["id"]),
            ).fetchall()
            unused = forget(db, [number for (number,) in replaced])
            row = (thread, ns, checkpoint["id"], parent, whole_metadata.get("run_id"), body_blob)
            number = db.execute(_ADD, (*row, metadata_kind, metadata_bytes)).lastrowid
            db.executemany(
                "INSERT INTO channel_value VALUES (?, ?, ?, ?)", [(number, *each) for each in values]
            )
            remove_unused(db, unused)
        return _config(thread, ns, checkpoint["id"])

    def put_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save the writes of a task; existing writes are kept, except those of LangGraph's own channels."""
        thread, ns = _thread_and_namespace(config)
        at = config["configurable"]["checkpoint_id"]
        with self._writing() as db:
            for index, (channel, value) in enumerate(writes):
                position = WRITES_IDX_MAP.get(channel, index)
                blob = self._store(db, self._dumped(value), None)
                key = (thread, ns, at, task_id, position)
                existing = db.execute(
                    "SELECT blob FROM task_write WHERE thread = ? AND ns = ? AND checkpoint = ? AND task = ? "
                    "AND position = ?",
                    key,
                ).fetchone()
                if existing is None or position < 0:
                    row = (*key, task_path, channel, blob)
                    db.execute("INSERT OR REPLACE INTO task_write VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
                if existing is not None:
                    remove_unused(db, [blob, existing[0]])

    # many checkpoints

    def delete_thread(self, thread_id: str) -> None:
        """Remove all checkpoints and writes of a thread."""
        with self._writing() as db:
            drop_thread(db, str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints of runs, except those that remaining ones need for their delta channels."""
        for run in run_ids:
            self._delete("run = ?", [str(run)])

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Remove all checkpoints of threads, or with `keep_latest` all but the newest of each namespace.

        An ancestor that the newest needs stays: a `DeltaChannel` is read from the writes of its ancestors.

        Raises:
            ValueError: the strategy is unknown.
        """
        if strategy not in {"keep_latest", "delete"}:
            raise ValueError(f"the strategy {strategy!r} is neither keep_latest nor delete")
        for thread in map(str, thread_ids):
            if strategy == "delete":
                self.delete_thread(thread)
                continue
            latest = (
                "SELECT max(id) FROM checkpoint AS other WHERE other.thread = c.thread AND other.ns = c.ns"
            )
            self._delete(f"thread = ? AND id < ({latest})", [thread])

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of a thread to another; values are shared, not copied."""
        source, target = str(source_thread_id), str(target_thread_id)
        with self._writing() as db:
            rows = db.execute(
                "SELECT number, ns, id, parent, run, body, metadata_kind, metadata FROM checkpoint "
                "WHERE thread = ? ORDER BY number",
                (source,),
            ).fetchall()
            for number, ns, own_id, *columns in rows:
                existing = db.execute(
                    "SELECT 1 FROM checkpoint WHERE thread = ? AND ns = ? AND id = ?", (target, ns, own_id)
                ).fetchone()
                if existing:
                    continue
                new_number = db.execute(_ADD, (target, ns, own_id, *columns)).lastrowid
                db.execute(
                    "INSERT INTO channel_value SELECT ?, channel, version, blob FROM channel_value "
                    "WHERE checkpoint = ?",
                    (new_number, number),
                )
            db.execute(
                "INSERT OR IGNORE INTO task_write SELECT ?, ns, checkpoint, task, position, path, channel, "
                "blob FROM task_write WHERE thread = ?",
                (target, source),
            )

    def get_next_version(self, current: str | None, channel: None) -> str:  # noqa: ARG002
        """The next version; different for any two branches of a thread."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    # asynchronous variants, which do not block the event loop

    aget_tuple = _in_thread(get_tuple)
    aput = _in_thread(put)
    aput_writes = _in_thread(put_writes)
    adelete_thread = _in_thread(delete_thread)
    adelete_for_runs = _in_thread(delete_for_runs)
    acopy_thread = _in_thread(copy_thread)
    aprune = _in_thread(prune)

    async def alist(
        self,
        config: Any,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: Any = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See `list`."""
        checkpoints = self.list(config, filter=filter, before=before, limit=limit)
        while (each := await asyncio.to_thread(next, checkpoints, None)) is not None:
            yield each

    # the file

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():  # a connection does not survive a fork
            make_private(self.path.parent, parents=True, exist_ok=True)
            os.close(open_private(self.path, os.O_RDWR | os.O_CREAT))
            db = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(SCHEMA)
            self._connection, self._pid = db, os.getpid()
        return self._connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            db = self._open()
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """An atomic transaction that excludes other writers."""
        with self._lock:
            db = self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _tuple(self, db: sqlite3.Connection, row: _Row) -> CheckpointTuple:
        body: Any = self._load(db, row.body)
        values = db.execute("SELECT channel, blob FROM channel_value WHERE checkpoint = ?", (row.number,))
        writes = db.execute(
            "SELECT task, channel, blob FROM task_write WHERE thread = ? AND ns = ? AND checkpoint = ? "
            "ORDER BY path, task, position",
            (row.thread, row.ns, row.id),
        ).fetchall()
        return CheckpointTuple(
            config=_config(row.thread, row.ns, row.id),
            checkpoint={  # type: ignore[typeddict-item]
                **body,
                "channel_values": {name: self._load(db, blob) for name, blob in values.fetchall()},
            },
            metadata=self.serde.loads_typed((row.metadata_kind, row.metadata)),
            parent_config=_config(row.thread, row.ns, row.parent) if row.parent else None,
            pending_writes=[(task, channel, self._load(db, blob)) for task, channel, blob in writes],
        )

    # values

    def _dumped(self, value: Any) -> tuple[str, bytes]:
        """The serialized value without its secrets."""
        redactor = self._own_redactor
        if redactor.enabled and (pipeline := active_pipeline()) is not None:
            redactor = pipeline.redactor  # the same tokens and rules as in the recording
        return without_secrets(redactor, self.serde.dumps_typed(value))

    def _store(self, db: sqlite3.Connection, typed: tuple[str, bytes], base: int | None) -> int:
        """Store a serialized value, unless it is stored already; return its number."""
        kind, raw = typed
        digest = value_digest(kind, raw)
        existing = db.execute("SELECT id FROM blob WHERE digest = ?", (digest,)).fetchone()
        if existing is not None:
            return int(existing[0])
        data, depth = None, 0
        if base is not None and len(raw) >= _LEAST_BYTES:
            (base_depth,) = db.execute("SELECT depth FROM blob WHERE id = ?", (base,)).fetchone()
            if base_depth < _MOST_STEPS:
                older = zstandard.ZstdCompressionDict(raw_value(db, base), zstandard.DICT_TYPE_RAWCONTENT)
                smaller = zstandard.ZstdCompressor(level=LEVEL, dict_data=older).compress(raw)
                if len(smaller) < len(raw) * _WORTH:
                    data, depth = smaller, base_depth + 1
        if data is None:
            data = self._compressor.compress(raw)
        row = (digest, kind, base if depth else None, depth, data)
        cursor = db.execute("INSERT INTO blob (digest, kind, base, depth, data) VALUES (?, ?, ?, ?, ?)", row)
        return int(cursor.lastrowid or 0)

    def _load(self, db: sqlite3.Connection, blob: int) -> Any:
        (kind,) = db.execute("SELECT kind FROM blob WHERE id = ?", (blob,)).fetchone()
        return self.serde.loads_typed((kind, raw_value(db, blob)))

    # removal

    def _delete(self, where: str, values: Sequence[str]) -> None:
        """Remove checkpoints, except those that others need for their delta channels."""
        query = f"SELECT {_COLUMNS} FROM checkpoint AS c WHERE {where}"  # noqa: S608 - text of this module
        with self._writing() as db:
            rows = [_Row._make(row) for row in db.execute(query, values)]
            going = {row.number for row in rows}
            for thread, ns in {(row.thread, row.ns) for row in rows}:
                going -= self._needed(db, thread, ns, going)
            unused = forget(db, going)
            for row in rows:
                if row.number in going:
                    key = (row.thread, row.ns, row.id)
                    unused += forget_writes(db, "thread = ? AND ns = ? AND checkpoint = ?", key)
            remove_unused(db, unused)

    def _needed(self, db: sqlite3.Connection, thread: str, ns: str, going: set[int]) -> set[int]:
        """The ancestors from which remaining checkpoints read delta channels."""
        rows = {row.id: row for row in self._rows(db, thread=thread, ns=ns)}
        needed: set[int] = set()
        for row in rows.values():
            if row.number in going:
                continue
            metadata = self.serde.loads_typed((row.metadata_kind, row.metadata))
            lacking = set(metadata.get(DELTA_CHANNELS) or ()) - _channels(db, row.number)
            at = rows.get(row.parent or "")
            while lacking and at is not None:
                needed.add(at.number)
                lacking -= _channels(db, at.number)
                at = rows.get(at.parent or "")
        return needed


def _channels(db: sqlite3.Connection, number: int) -> set[str]:
    return {
        name for (name,) in db.execute("SELECT channel FROM channel_value WHERE checkpoint = ?", (number,))
    }


def _thread_and_namespace(config: Any) -> tuple[str, str]:
    configurable = config["configurable"]
    return str(configurable["thread_id"]), str(configurable.get("checkpoint_ns", ""))


def _config(thread: str, ns: str, checkpoint_id: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}}
