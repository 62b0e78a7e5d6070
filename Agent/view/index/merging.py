"""Merges batches of new events into an index: sorts everything, or only the rows after the settled ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Agent.view.index.columns import (
    BELIEVED,
    LINK_TYPES,
    MESSAGE_TYPES,
    NO_TICK,
    TYPES,
    ColumnMemory,
    Columns,
    Index,
    RowBatch,
    Tables,
    no_tick,
)


def merged(
    earlier: Index | None, batches: Sequence[RowBatch], tables: Tables, memory: ColumnMemory | None = None
) -> tuple[Index, int]:
    """Return an index of earlier and new events, and the number of repeated events that were left out.

    The batches are emptied column by column, so that no event is in memory twice. If all new events are later
    than nearly all earlier ones, only the last rows are sorted again, since a running session grows many
    times per second.

    Args:
        earlier: the index so far, which is continued in its own memory.
        batches: the new events.
        tables: the texts of all events.
        memory: the memory of the batches, and of a first index; None for private memory.
    """
    head = 0 if earlier is None else _settled(earlier, batches, len(tables.writers.texts))
    own = (memory or ColumnMemory()) if earlier is None else earlier.memory
    read = () if head else {own, memory or own}
    columns, messages, links, repeated = _sorted(_rows_from(earlier, head), batches, tables, read)
    if earlier is None or not head:
        columns = {name: own.kept(columns.pop(name)) for name in tuple(columns)}
        return Index(columns, messages, links, tables.copy(), own), repeated
    columns = {name: _continued(own, earlier.columns[name], head, values) for name, values in columns.items()}
    attached = []
    for old, new in ((earlier.messages, messages), (earlier.links, links)):
        kept_count = int(np.searchsorted(old["row"], head))
        new["row"] = (new["row"].astype(np.int64) + head).astype(np.uint32)
        attached.append({name: own.continued(old[name], kept_count, values) for name, values in new.items()})
    return Index(columns, attached[0], attached[1], tables.copy(), own, earlier, head), repeated


_LEAST_HEAD: Final = 4_096


def _settled(earlier: Index, batches: Sequence[RowBatch], writers: int) -> int:
    """Return the number of first rows that no new event precedes or repeats; 0 if there are none."""
    parts = [(np.array(each.columns["t_us"]), each) for each in batches if len(each)]
    if not parts:
        return 0
    head = int(np.searchsorted(earlier.t_us, min(int(times.min()) for times, _ in parts)))
    if head < max(_LEAST_HEAD, earlier.count * 3 // 4):
        return 0
    first = np.full(writers, np.iinfo(np.int64).max)
    for _, each in parts:
        np.minimum.at(first, np.array(each.columns["writer"]), np.array(each.columns["seq"]))
    settled = earlier.settled
    last, begin = np.zeros(writers, np.int64), 0
    if head >= settled.count:
        last[: len(settled.last_numbers)], begin = settled.last_numbers, settled.count
    columns = earlier.columns
    np.maximum.at(last, columns["writer"][begin:head], columns["seq"][begin:head])
    return 0 if np.any(last >= first) else head


def _rows_from(index: Index | None, head: int) -> tuple[Columns, Columns, Columns]:
    """Return the columns of an index from a row on, which becomes row 0; empty without an index."""
    if index is None:
        return {}, {}, {}
    attached = []
    for each in (index.messages, index.links):
        kept_count = int(np.searchsorted(each["row"], head))
        remainder = {name: values[kept_count:] for name, values in each.items()}
        attached.append(remainder | {"row": remainder["row"].astype(np.int64) - head})
    return {name: values[head:] for name, values in index.columns.items()}, attached[0], attached[1]


def _continued(memory: ColumnMemory, old: NDArray[Any], head: int, new: NDArray[Any]) -> NDArray[Any]:
    """Append new rows to the first rows of a column, in the narrowest type that holds them."""
    fitted = _fitted(new, old.dtype)
    if fitted is not None:
        return memory.continued(old, head, fitted)
    if "i" not in (old.dtype.kind, new.dtype.kind):
        return np.concatenate([old[:head], new])
    # ticks: the number for a missing tick differs
    return _narrowed(np.concatenate([_widened(old[:head]), _widened(new)]))


def _fitted(new: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return numbers in the type of a column; None if it cannot hold them."""
    if new.dtype == dtype or not len(new):
        return new.astype(dtype, copy=False)
    if new.dtype.kind == "u" and dtype.kind in "ui" and int(new.max()) <= np.iinfo(dtype).max:
        return new.astype(dtype)
    return _widened(new) if new.dtype.kind == "i" and dtype == np.int64 else None


def _widened(ticks: NDArray[Any]) -> NDArray[Any]:
    widened = ticks.astype(np.int64)
    widened[ticks == no_tick(ticks)] = NO_TICK
    return widened


def _sorted(
    earlier: tuple[Columns, Columns, Columns],
    batches: Sequence[RowBatch],
    tables: Tables,
    read: Collection[ColumnMemory] = (),
) -> tuple[Columns, Columns, Columns, int]:
    """Return the sorted columns of earlier and new events, and the number of repeated ones left out.

    The memory of `read`, which holds the input columns, is released after each column.
    """
    old, *old_attached = earlier
    starts = np.cumsum([len(old.get("t_us", ())), *map(len, batches)])
    new = [batch.columns for batch in batches]
    first = {name: _joined(TYPES[name], old, name, new, read) for name in ("t_us", "writer", "seq", "flags")}
    rank = np.empty(len(tables.writers.texts), np.int64)
    rank[sorted(range(len(rank)), key=tables.writers.texts.__getitem__)] = np.arange(len(rank))
    writer = _narrowed(rank)[first["writer"]]
    order = np.lexsort((first["seq"], writer, first["t_us"])).astype(np.uint32)
    del writer
    narrow = {name: _narrowed(first.pop(name)[order]) for name in tuple(first)}
    repeated = _repeated(narrow["writer"], narrow["seq"], narrow["flags"])
    if len(repeated):
        order = np.delete(order, repeated)
        narrow = {name: np.delete(values, repeated) for name, values in narrow.items()}
    for name, code in TYPES.items():
        if name not in narrow:
            narrow[name] = _narrowed(_joined(code, old, name, new, read)[order])
    row_of = np.full(int(starts[-1]), -1, np.int32 if starts[-1] < 2**31 else np.int64)
    row_of[order] = np.arange(len(order), dtype=row_of.dtype)
    attached = []
    kinds = (("messages", MESSAGE_TYPES), ("links", LINK_TYPES))
    for existing, (kind, types) in zip(old_attached, kinds, strict=True):
        more = [getattr(batch, kind) for batch in batches]
        moved = [
            {"row": np.array(each["place"], np.int64) + at} for each, at in zip(more, starts, strict=False)
        ]
        rows = row_of[_joined("q", existing, "row", moved, read)]
        remaining = np.flatnonzero(rows >= 0)
        remaining = remaining[np.argsort(rows[remaining], kind="stable")]
        columns = {"row": rows[remaining].astype(np.uint32)}
        for name, code in types.items():
            if name != "place":
                columns[name] = _joined(code, existing, name, more, read)[remaining]
        attached.append(columns)
    return narrow, attached[0], attached[1], len(repeated)


def _joined(
    code: str,
    existing: Mapping[str, Any],
    name: str,
    new: Sequence[dict[str, Any]],
    read: Collection[ColumnMemory],
) -> NDArray[Any]:
    """Join an existing column, which may be narrow, and new parts, which are removed from their batches."""
    parts = [each.pop(name) for each in new]
    if name in existing:
        parts.insert(0, _widened(existing[name]) if name == "tick" else existing[name])
    joined = np.empty(sum(map(len, parts)), code)
    at = 0
    for part in parts:
        joined[at : at + len(part)] = part
        at += len(part)
    for each in read:
        each.let_go()
    return joined


def _narrowed(values: NDArray[Any]) -> NDArray[Any]:
    """Return a column in the narrowest type; a missing tick remains the smallest number."""
    if values.dtype.kind == "f" or not len(values):
        return values
    is_absent = values == NO_TICK if values.dtype.kind == "i" else None
    if is_absent is not None and is_absent.any():
        present = values[~is_absent]
        least, most = (int(present.min()), int(present.max())) if len(present) else (0, 0)
        small = np.iinfo(np.int32)
        if small.min < least and most <= small.max:
            return np.where(is_absent, small.min, values).astype(np.int32)
        return values
    least, most = int(values.min()), int(values.max())
    if least < 0 or most >= 2**32:
        return values
    return values.astype(np.min_scalar_type(most))


def _repeated(writer: NDArray[Any], seq: NDArray[Any], flags: NDArray[Any]) -> NDArray[Any]:
    """Return the positions of events with a repeated id, except the earliest regular one of each id."""
    by_id = np.lexsort((flags & BELIEVED, seq, writer))
    writer, seq = writer[by_id], seq[by_id]
    same = (writer[1:] == writer[:-1]) & (seq[1:] == seq[:-1])
    repeated: NDArray[Any] = by_id[1:][same]
    return repeated
