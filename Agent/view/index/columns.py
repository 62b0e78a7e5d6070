"""The index of a session as columns: one number per event and fact, in order of time.

`gathering` fills a `RowBatch` from lines, `merging` turns batches into an immutable `Index`; `snapshot` and
`session_view` answer from it. An event's line is read again where its text is needed.

A running session grows many times per second: facts about `Settled` rows, which no new event can move, are
carried over from one index to the next. `ColumnMemory` keeps growing columns out of private memory.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import is_directory, make_private, view_dir

_SMALL_BYTES: Final = 256 * 1024
_LEAST_ROOM: Final = 4_096


def create_view_dir(session: Path) -> Path:
    """Return the directory of a session's index, created if missing; OSError if that is impossible."""
    directory = view_dir(session)
    if not is_directory(directory.parent) or directory.is_symlink():
        raise NotADirectoryError(directory)
    make_private(directory, exist_ok=True)
    return directory


class ColumnMemory:
    """Allocates memory for columns.

    Args:
        session: the session beside whose index the files are; None for private memory.
        stored: a stored index, whose memory `let_go` releases, too.
    """

    def __init__(self, session: Path | None = None, stored: mmap.mmap | None = None) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._mapped = weakref.WeakSet(() if stored is None else (stored,))

    def empty(self, count: int, dtype: Any) -> NDArray[Any]:
        """Return an uninitialised column of a given length."""
        size = count * np.dtype(dtype).itemsize
        if self._session is not None and size >= _SMALL_BYTES and hasattr(os, "posix_fallocate"):
            try:
                with tempfile.TemporaryFile(dir=create_view_dir(self._session), buffering=0) as file:
                    # reserve blocks, since a write to a mapping on a full disk would kill the process
                    os.posix_fallocate(file.fileno(), 0, size)
                    mapped = mmap.mmap(file.fileno(), size)
                with self._lock:
                    self._mapped.add(mapped)
                return np.frombuffer(mapped, dtype, count)
            except (OSError, ValueError):
                pass  # read-only, full, or without mappings
        return np.empty(count, dtype)

    def kept(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of a column, which is out of memory until it is used if it is large."""
        if self._session is None or values.nbytes < _SMALL_BYTES:
            return values
        array = self.empty(len(values), values.dtype)
        array[:] = values
        self.let_go()
        return array

    def continued(self, old: NDArray[Any], head: int, new: NDArray[Any]) -> NDArray[Any]:
        """Return the first `head` numbers of a column followed by new ones of the same type.

        The result has spare capacity, which the next call fills, so numbers are rarely copied. Only the last
        result may be continued; earlier results that share its memory do not change.
        """
        array, end = old.base, head + len(new)
        is_room = isinstance(array, np.ndarray) and array.dtype == old.dtype and array.flags.writeable
        if (
            array is None
            or not is_room
            or head != len(old)
            or end > len(array)
            or _address(old) != _address(array)
        ):
            array = self.empty(max(end + end // 4, _LEAST_ROOM), old.dtype)
            array[:head] = old[:head]
            self.let_go()
        array[head:end] = new
        continued: NDArray[Any] = array[:end]
        return continued

    def let_go(self) -> None:
        """Release the memory of all columns in files until they are used again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            with self._lock:
                mapped = list(self._mapped)
            for each in mapped:
                each.madvise(mmap.MADV_DONTNEED)


def _address(values: NDArray[Any]) -> int:
    return int(values.ctypes.data)


MARGIN: Final = 16_384
"""The number of last rows that are not settled, since events of other writers may still precede them."""
MOST_UNSETTLED: Final = 65_536 + MARGIN
GROWTH: Final = 16
"""Rows are settled again when more than MOST_UNSETTLED, and more than this fraction (1/N), are not."""
_CHUNK: Final = 65_536
Columns = dict[str, NDArray[Any]]


class Settled:
    """The first rows of an index; each fact about them is computed once, when it is asked for.

    Args:
        columns: the columns of the index.
        messages: its halves of messages.
        count: the number of settled rows.
        agents: the number of agents.
        writers: the number of writers.
        memory: allocates the results.
    """

    def __init__(
        self, columns: Columns, messages: Columns, count: int, agents: int, writers: int, memory: ColumnMemory
    ) -> None:
        self.count = count
        self._writer, self._seq = columns["writer"][:count], columns["seq"][:count]
        end = int(np.searchsorted(messages["row"], count))
        self._message_rows, self._message_keys = messages["row"][:end], messages["key"][:end]
        self._writers = writers
        self._memory = memory
        agent = columns["agent"][:count]
        self.by_agent = self._filled(np.argsort(agent, kind="stable"))
        """These rows by agent, then by time."""
        self.starts = np.searchsorted(agent[self.by_agent], np.arange(agents + 1))
        """The index in `by_agent` at which each agent's rows begin."""

    @cached_property
    def _by_id(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the rows by writer, then by number, and the index at which each writer's rows begin."""
        order = self._filled(np.lexsort((self._seq, self._writer)))
        return order, np.searchsorted(self._writer[order], np.arange(self._writers + 1))

    def row_of(self, writer: int, seq: int) -> int | None:
        """Return the row of an event by its id; None if it is not among these."""
        order, starts = self._by_id
        if writer + 1 >= len(starts):
            return None
        stop = int(starts[writer + 1])
        index = bisect_left(range(stop), seq, int(starts[writer]), key=lambda at: int(self._seq[order[at]]))
        return int(order[index]) if index < stop and int(self._seq[order[index]]) == seq else None

    @cached_property
    def last_numbers(self) -> NDArray[Any]:
        """Return the highest number of each writer; 0 for one without events."""
        last = np.zeros(self._writers, np.int64)
        np.maximum.at(last, self._writer, self._seq)
        return last

    @cached_property
    def numbers(self) -> Mapping[int, SeqSet]:
        """Return the numbers of each writer."""
        return _numbers_of(self._writer, self._seq)

    @cached_property
    def messages(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the messages' keys in ascending order, and the rows of their first halves, ascending."""
        keys, firsts = np.unique(self._message_keys, return_index=True)
        return self._filled(keys), self._filled(np.sort(self._message_rows[firsts]))

    def _filled(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of rows or keys in newly allocated memory."""
        filled = self._memory.empty(len(values), values.dtype if values.dtype.kind == "u" else np.uint32)
        filled[:] = values
        return filled


def _numbers_of(writer: NDArray[Any], seq: NDArray[Any]) -> dict[int, SeqSet]:
    """Return the numbers of each writer in some rows."""
    numbers: dict[int, SeqSet] = {}
    for at in range(0, len(seq), _CHUNK):
        some, values = writer[at : at + _CHUNK], seq[at : at + _CHUNK].astype(np.int64)
        order = np.lexsort((values, some))
        some, values = some[order], values[order]
        begins = np.flatnonzero(np.r_[True, (np.diff(values) != 1) | (some[1:] != some[:-1])])
        ends = np.r_[begins[1:], len(values)] - 1
        for of, first, last in zip(
            some[begins].tolist(), values[begins].tolist(), values[ends].tolist(), strict=True
        ):
            numbers.setdefault(of, SeqSet()).add_range(first, last)
    return numbers


ERROR: Final = 1
"""The event counts as an error (`analysis.query.views.is_error`)."""
WARNING: Final = 2
STATE: Final = 4
"""It changed fields of its agent's state."""
FULL_STATE: Final = 8
"""It has a full state, or is a checkpoint."""
SENT: Final = 16
RECEIVED: Final = 32
BELIEVED: Final = 128
"""It follows a torn line, so any other event with its id takes precedence; never in an answer."""

NO_TICK: Final = -(2**63)
NOBODY: Final = 0
"""The number of `SESSION`, the agent of events without one."""
SESSION: Final = "(session)"


class Names(dict[str, int]):
    """Numbered texts: `names[text]` gives a new text the next number.

    Args:
        texts: the first texts, in order.
        unnamed: texts before these that are only displayed; an equal text gets a separate number.
    """

    def __init__(self, texts: Iterable[str] = (), *, unnamed: Iterable[str] = ()) -> None:
        super().__init__()
        self.texts: list[str] = list(unnamed)
        for text in texts:
            self[text]

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self.texts)
        self.texts.append(text)
        return number

    def copy(self) -> Names:
        """Return an independent copy."""
        copied = Names()
        copied.texts = list(self.texts)
        copied.update(self)
        return copied


@dataclass(slots=True)
class Tables:
    """The texts that columns refer to by number."""

    agents: Names = field(default_factory=lambda: Names(unnamed=[SESSION]))
    roles: dict[int, str] = field(default_factory=dict)
    """{agent: its last recorded role}."""
    kinds: Names = field(default_factory=Names)
    writers: Names = field(default_factory=Names)
    parties: Names = field(default_factory=Names)
    """The agents at the other end of messages; they may have no events."""

    def copy(self) -> Tables:
        """Return an independent copy."""
        names = (self.kinds.copy(), self.writers.copy(), self.parties.copy())
        return Tables(self.agents.copy(), dict(self.roles), *names)


TYPES: Final = {
    "t_us": "q",
    "writer": "I",
    "seq": "q",
    "tick": "q",
    "file": "I",
    "offset": "q",
    "span": "I",
    "parent": "I",
    "agent": "I",
    "kind": "H",
    "flags": "B",
    "duration_us": "f",
}
"""The columns of events and their types while they are gathered; `span` and `parent` are hashes of ids."""
MESSAGE_TYPES: Final = {"place": "q", "key": "Q", "party": "i"}
"""The columns of halves of messages: the event's position, a digest of the message's id, the other agent."""
LINK_TYPES: Final = {"place": "q", "key": "I"}
"""The columns of links: the event's position, and the hash of the id of a cause that it names."""


class RowBatch:
    """Events in the order in which they were read: an `array` for each column, until `set_aside`."""

    def __init__(self) -> None:
        self.columns: dict[str, Any] = {name: array(code) for name, code in TYPES.items()}
        self.messages: dict[str, Any] = {name: array(code) for name, code in MESSAGE_TYPES.items()}
        self.links: dict[str, Any] = {name: array(code) for name, code in LINK_TYPES.items()}

    def __len__(self) -> int:
        return len(self.columns.get("t_us", ()))

    def set_aside(self, memory: ColumnMemory) -> None:
        """Move the columns out of memory until they are merged; nothing can be added afterwards."""
        self.columns, self.messages, self.links = (
            {name: memory.kept(np.asarray(values)) for name, values in each.items()}
            for each in (self.columns, self.messages, self.links)
        )

    def all_columns(self) -> Iterator[array[Any]]:
        """Yield the columns of events, of messages and of links."""
        for each in (self.columns, self.messages, self.links):
            yield from each.values()


@dataclass(eq=False, repr=False)
class Index:
    """All events of a session so far, in order of (time, writer, number). Immutable.

    Args:
        columns: as gathered, sorted.
        messages: the halves of messages, with `row` in place of `place`, in order of rows.
        links: the links, likewise.
        tables: the texts.
        memory: allocates derived columns.
        earlier: an index with the same rows before `head`.
        head: the first row that differs from `earlier`.
    """

    columns: Columns
    messages: Columns
    links: Columns
    tables: Tables
    memory: ColumnMemory
    earlier: InitVar[Index | None] = None
    head: int = 0

    def __post_init__(self, earlier: Index | None) -> None:
        if earlier is None:
            self.head = 0
        self.t_us = self.columns["t_us"]
        self.agent = self.columns["agent"]
        self.kind = self.columns["kind"]
        self.flags = self.columns["flags"]
        self.tick = self.columns["tick"]
        self.no_tick = no_tick(self.tick)
        self.count = len(self.t_us)
        self.first_us = int(self.t_us[0]) if self.count else 0
        self.length_us = int(self.t_us[-1]) - self.first_us if self.count else 0
        self.agents = len(self.tables.agents.texts)
        self.settled = self._settled_after(earlier)
        """Facts about the first rows; for the other rows they are computed on request."""
        tail = self.agent[self.settled.count :]
        order = np.argsort(tail, kind="stable")
        self._tail_rows = (order + self.settled.count).astype(np.uint32)
        self._tail_starts = np.searchsorted(tail[order], np.arange(self.agents + 1))
        self.errors: NDArray[Any] = self._flagged(ERROR, None if earlier is None else earlier.errors)
        """The rows of errors."""
        self.warnings: NDArray[Any] = self._flagged(WARNING, None if earlier is None else earlier.warnings)
        """The rows of warnings."""
        was_full = earlier is not None and earlier.has_full_state
        self.has_full_state: bool = was_full or bool(np.any(self.flags[self.head :] & FULL_STATE))
        self.first_ticks: tuple[NDArray[Any], NDArray[Any]] = self._first_ticks(
            None if earlier is None else earlier.first_ticks
        )
        """The recorded ticks in ascending order, and the first row with each."""

    def _settled_after(self, earlier: Index | None) -> Settled:
        count = self.count
        if earlier is not None:
            settled = earlier.settled
            unsettled = self.count - settled.count
            if self.head < settled.count:
                count = max(0, self.head - MARGIN)
            elif unsettled <= max(MOST_UNSETTLED, self.count // GROWTH):
                return settled
            else:
                count = self.count - MARGIN
        writers = len(self.tables.writers.texts)
        return Settled(self.columns, self.messages, count, self.agents, writers, self.memory)

    def _flagged(self, flag: int, earlier: NDArray[Any] | None) -> NDArray[Any]:
        """Return the rows with a flag; `earlier` are those of the previous index."""
        rows = (np.flatnonzero(self.flags[self.head :] & flag) + self.head).astype(np.uint32)
        if earlier is None:
            return rows
        return self.memory.continued(earlier, int(np.searchsorted(earlier, self.head)), rows)

    def _first_ticks(
        self, earlier: tuple[NDArray[Any], NDArray[Any]] | None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the recorded ticks in ascending order, and the first row with each."""
        ticks, firsts = np.empty(0, np.int64), np.empty(0, np.int64)
        if earlier is not None:
            is_kept = earlier[1] < self.head
            ticks, firsts = (each if is_kept.all() else each[is_kept] for each in earlier)
        at = self.head
        while at < self.count:
            end = min(at + max(_CHUNK, len(ticks)), self.count)
            rows = np.flatnonzero(self.tick[at:end] != self.no_tick) + at
            first_ticks, indices = np.unique(self.tick[rows], return_index=True)
            is_new = ~np.isin(first_ticks, ticks, assume_unique=True)
            if is_new.any():
                ticks = np.concatenate([ticks, first_ticks[is_new]])
                firsts = np.concatenate([firsts, rows[indices[is_new]]])
                order = np.argsort(ticks, kind="stable")
                ticks, firsts = ticks[order], firsts[order]
            at = end
        return ticks, firsts

    def time(self, row: int) -> int:
        """Return an event's time in microseconds since the first event."""
        return int(self.t_us[row]) - self.first_us

    def pieces_of(self, agent: int) -> list[NDArray[Any]]:
        """Return the rows of an agent, in order of time, in at most two pieces."""
        begin, end = self._tail_starts[agent : agent + 2]
        tail = self._tail_rows[begin:end]
        if agent + 1 >= len(self.settled.starts):
            return [tail]
        begin, end = self.settled.starts[agent : agent + 2]
        agent_rows = self.settled.by_agent[begin:end]
        return [agent_rows] if not len(tail) else [tail] if not len(agent_rows) else [agent_rows, tail]

    def rows_of(self, agent: int) -> NDArray[Any]:
        """Return the rows of an agent, in order of time."""
        pieces = self.pieces_of(agent)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def rows_between(self, agent: int, first: int, last: int) -> NDArray[Any]:
        """Return the rows of an agent from one to before another."""
        pieces = []
        for rows in self.pieces_of(agent):
            begin, end = np.searchsorted(rows, np.array([first, last], rows.dtype))
            pieces.append(rows[begin:end])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    @cached_property
    def events_of(self) -> NDArray[Any]:
        """Return the number of events of each agent."""
        counts = np.diff(self._tail_starts)
        settled = np.diff(self.settled.starts)
        counts[: len(settled)] += settled
        return counts

    def id_of(self, row: int) -> str:
        """Return the id of an event."""
        writer = self.tables.writers.texts[int(self.columns["writer"][row])]
        return f"{writer}-{int(self.columns['seq'][row])}"

    def row_of(self, writer: str, seq: int) -> int | None:
        """Return the row of an event by its id; None if it is not in the index."""
        number = self.tables.writers.get(writer)
        if number is None:
            return None
        row = self.settled.row_of(number, seq)
        if row is not None:
            return row
        tail = slice(self.settled.count, None)
        matching = np.flatnonzero(
            (self.columns["writer"][tail] == number) & (self.columns["seq"][tail] == seq)
        )
        return int(matching[0]) + self.settled.count if len(matching) else None

    def numbers(self) -> dict[str, SeqSet]:
        """Return the numbers of each writer's events."""
        numbers = {name: SeqSet() for name in self.tables.writers.texts}
        tail = (self.columns[name][self.settled.count :] for name in ("writer", "seq"))
        for part in (self.settled.numbers, _numbers_of(*tail)):
            for writer, some in part.items():
                numbers[self.tables.writers.texts[writer]].update(some)
        return numbers

    @cached_property
    def active(self) -> int:
        """Return the number of agents with events."""
        return int(np.count_nonzero(self.events_of))

    @cached_property
    def _errors_by_agent(self) -> tuple[NDArray[Any], NDArray[Any]]:
        agents = self.agent[self.errors]
        order = np.argsort(agents, kind="stable")
        return self.errors[order], np.searchsorted(agents[order], np.arange(self.agents + 1))

    def errors_of(self, agent: int) -> NDArray[Any]:
        """Return the rows of an agent's errors, in order of time."""
        rows, starts = self._errors_by_agent
        return rows[starts[agent] : starts[agent + 1]]

    @cached_property
    def ticks(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the recorded ticks in ascending order, and the row at which each first began.

        If a tick began after a later one, because runs overlap, it gets the time of the later one.
        """
        ticks, firsts = self.first_ticks
        return ticks, np.minimum.accumulate(firsts[::-1])[::-1]

    def tick_at(self, row: int, rows: NDArray[Any] | None = None) -> int | None:
        """Return the tick of an event, or else that of the nearest earlier event with one.

        Args:
            row: the row of the event; with `rows`, its index in them.
            rows: the only rows to consider.
        """
        end = row + 1
        step = 256
        while end > 0:
            begin = max(end - step, 0)
            ticks = self.tick[begin:end] if rows is None else self.tick[rows[begin:end]]
            with_tick = np.flatnonzero(ticks != self.no_tick)
            if len(with_tick):
                return int(ticks[with_tick[-1]])
            end, step = begin, step * 4
        return None

    def own_tick(self, row: int) -> int | None:
        """Return the recorded tick of an event."""
        tick = int(self.tick[row])
        return None if tick == self.no_tick else tick

    @cached_property
    def _late_messages(self) -> NDArray[Any]:
        """Return the rows of first halves that are not settled, ascending."""
        begin = int(np.searchsorted(self.messages["row"], self.settled.count))
        keys, firsts = np.unique(self.messages["key"][begin:], return_index=True)
        known, _ = self.settled.messages
        places = np.searchsorted(known, keys)
        is_new = np.ones(len(keys), bool)
        inside = places < len(known)
        is_new[inside] = known[places[inside]] != keys[inside]
        return np.sort(self.messages["row"][begin:][firsts[is_new]])

    def messages_before(self, row: int) -> int:
        """Count the messages whose first half is before a row."""
        _, rows = self.settled.messages
        return int(np.searchsorted(rows, row)) + int(np.searchsorted(self._late_messages, row))

    @cached_property
    def arrows(self) -> NDArray[Any]:
        """Return messages as pairs of rows (sender's, receiver's), in order of the first.

        A message with one half has that row twice. Ends that are not agents of the session are left out.
        """
        return _arrows(self)

    def lane_ends(self, rows: NDArray[Any]) -> tuple[int, int]:
        """Return the agents at both ends of a message: of both halves, or of one half and its party."""
        sent, received = int(rows[0]), int(rows[1])
        if sent != received:
            return int(self.agent[sent]), int(self.agent[received])
        index = int(np.searchsorted(self.messages["row"], sent))
        party = self.tables.parties.texts[int(self.messages["party"][index])]
        other = self.tables.agents.get(party)
        sender = int(self.agent[sent])
        other = sender if other is None else other
        return (sender, other) if self.flags[sent] & SENT else (other, sender)


def _arrows(index: Index) -> NDArray[Any]:
    rows, keys, party = (index.messages[name] for name in ("row", "key", "party"))
    is_sent = (index.flags[rows] & SENT) != 0
    order = np.lexsort((rows, ~is_sent, keys))
    rows, keys, is_sent, party = rows[order], keys[order], is_sent[order], party[order]
    if not len(rows):
        return np.empty((0, 2), np.int64)
    begins = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    group = np.cumsum(np.r_[True, keys[1:] != keys[:-1]]) - 1
    size = np.diff(np.r_[begins, len(rows)])
    leads = begins[group]
    is_pair = is_sent[leads] & ~is_sent
    pairs = np.stack([rows[leads[is_pair]], rows[is_pair]], axis=1)
    lone = (size[group] == 1) | (~is_sent[leads])
    is_agent = np.array([index.tables.agents.get(text) is not None for text in index.tables.parties.texts])
    is_shown = np.zeros(len(rows), bool)
    has_party = party >= 0
    is_shown[has_party] = is_agent[party[has_party]]
    alone = rows[lone & is_shown]
    arrows = np.concatenate([pairs, np.stack([alone, alone], axis=1)]).astype(np.int64)
    return arrows[np.lexsort((arrows[:, 1], arrows[:, 0]))]


def no_tick(ticks: NDArray[Any]) -> int:
    """Return the number that represents a missing tick in a column."""
    return int(np.iinfo(ticks.dtype).min) if ticks.dtype.kind == "i" else NO_TICK
