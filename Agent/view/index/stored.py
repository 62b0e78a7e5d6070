"""The index on disk, `.state/view/index`: a header in JSON, then the columns, mapped into memory when read.

It is a cache: if it is missing, damaged, or of another version or other files, everything is read again; if
it cannot be written, the index stays in memory. `erase` removes it.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from Agent.tree.files.session import replacing
from Agent.tree.layout import open_file, view_dir
from Agent.view.index.column_memory import ColumnMemory, create_view_dir
from Agent.view.index.columns import LINK_TYPES, MESSAGE_TYPES, SESSION, TYPES, Columns, Index, Names, Tables

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
