"""The index of a session as columns: one number per event and fact, in order of time.

`gathering` fills a `Batch` from lines, `merged` turns batches into an `Index`, which never changes, and
`windows` and `session_view` answer from it. An event's line is read again where its words are needed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

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
"""It follows a torn line, so that any other event with its id comes before it; never in an answer."""

NO_TICK: Final = -(2**63)
NOBODY: Final = 0
"""The number of `SESSION`, under which events without an agent are."""
SESSION: Final = "(session)"

Columns = dict[str, NDArray[Any]]


class Names(dict[str, int]):
    """Texts with their numbers: `names[text]` gives a new text the next number.

    Args:
        texts: the first texts, in order.
        unnamed: texts before these that are only shown; a text that is equal gets a number of its own.
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
        """Return names that may grow on their own."""
        made = Names()
        made.texts = list(self.texts)
        made.update(self)
        return made


@dataclass(slots=True)
class Tables:
    """The texts that columns refer to by number."""

    agents: Names = field(default_factory=lambda: Names(unnamed=[SESSION]))
    roles: dict[int, str] = field(default_factory=dict)
    """{agent: its last recorded role}."""
    kinds: Names = field(default_factory=Names)
    writers: Names = field(default_factory=Names)
    parties: Names = field(default_factory=Names)
    """The agents at the other end of messages, which may have no events."""

    def copy(self) -> Tables:
        """Return tables that may grow on their own."""
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
"""The columns of events and the types in which they are gathered; `span` and `parent` are marks of ids."""
MESSAGE_TYPES: Final = {"place": "q", "key": "Q", "party": "i"}
"""The columns of halves of messages: the event's place, a digest of the message's id, the other agent."""
LINK_TYPES: Final = {"place": "q", "key": "I"}
"""The columns of links: the event's place, and the mark of the id of an event that it names as its cause."""


class Batch:
    """Events in the order in which they were read."""

    def __init__(self) -> None:
        self.columns: dict[str, array[Any]] = {name: array(code) for name, code in TYPES.items()}
        self.messages: dict[str, array[Any]] = {name: array(code) for name, code in MESSAGE_TYPES.items()}
        self.links: dict[str, array[Any]] = {name: array(code) for name, code in LINK_TYPES.items()}

    def __len__(self) -> int:
        return len(self.columns.get("t_us", ()))

    def all_columns(self) -> Iterator[array[Any]]:
        """Yield the columns of events, of messages and of links."""
        for each in (self.columns, self.messages, self.links):
            yield from each.values()


class Index:
    """All events of a session so far, in order of (time, writer, number). It never changes.

    Args:
        columns: as gathered, sorted.
        messages: the halves of messages, with `row` for `place`, in order of rows.
        links: the links, likewise.
        tables: the texts.
        by_agent: as the attribute, if it is known.
        starts: likewise.
    """

    def __init__(
        self,
        columns: Columns,
        messages: Columns,
        links: Columns,
        tables: Tables,
        by_agent: NDArray[Any] | None = None,
        starts: NDArray[Any] | None = None,
    ) -> None:
        self.columns = columns
        self.messages = messages
        self.links = links
        self.tables = tables
        self.t_us = columns["t_us"]
        self.agent = columns["agent"]
        self.kind = columns["kind"]
        self.flags = columns["flags"]
        self.tick = columns["tick"]
        self.no_tick = no_tick(self.tick)
        self.count = len(self.t_us)
        self.first_us = int(self.t_us[0]) if self.count else 0
        self.length_us = int(self.t_us[-1]) - self.first_us if self.count else 0
        self.agents = len(tables.agents.texts)
        if by_agent is None:
            by_agent = np.argsort(self.agent, kind="stable").astype(np.uint32)
        self.by_agent = by_agent
        """Rows by agent, then by time."""
        if starts is None:
            starts = np.searchsorted(self.agent[by_agent], np.arange(self.agents + 1))
        self.starts = starts
        """Where each agent's rows begin in `by_agent`."""

    def grouped_with(
        self, agents: NDArray[Any], head: int, count: int
    ) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
        """Return `by_agent` and `starts` with further rows from `head` on; None if rows are replaced.

        Args:
            agents: of the further rows.
            head: the first of them.
            count: how many agents there are now.
        """
        if head != self.count:
            return None, None
        order = np.argsort(agents, kind="stable")
        ends = np.concatenate([self.starts[1:], np.full(count - self.agents, self.count)])
        grouped = np.insert(self.by_agent, ends[agents[order]], (order + head).astype(np.uint32))
        added = np.bincount(agents, minlength=count)
        return grouped, np.append(0, np.cumsum(np.diff(np.append(0, ends)) + added))

    def time(self, row: int) -> int:
        """Return an event's time in microseconds since the first event."""
        return int(self.t_us[row]) - self.first_us

    def rows_of(self, agent: int) -> NDArray[Any]:
        """Return the rows of an agent, in order of time."""
        return self.by_agent[self.starts[agent] : self.starts[agent + 1]]

    def id_of(self, row: int) -> str:
        """Return the id of an event."""
        writer = self.tables.writers.texts[int(self.columns["writer"][row])]
        return f"{writer}-{int(self.columns['seq'][row])}"

    def row_of(self, writer: str, seq: int) -> int | None:
        """Return the row of an event by its id; None if it is not in the index."""
        number = self.tables.writers.get(writer)
        if number is None:
            return None
        order, starts = self.by_id
        seqs, stop = self.columns["seq"], int(starts[number + 1])
        place = bisect_left(range(stop), seq, int(starts[number]), key=lambda at: int(seqs[order[at]]))
        return int(order[place]) if place < stop and int(seqs[order[place]]) == seq else None

    @cached_property
    def by_id(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the rows by writer, then by number; and where each writer's begin."""
        writer = self.columns["writer"]
        order = np.lexsort((self.columns["seq"], writer)).astype(np.uint32)
        return order, np.searchsorted(writer[order], np.arange(len(self.tables.writers.texts) + 1))

    @cached_property
    def active(self) -> int:
        """Return how many agents have events."""
        return int(np.count_nonzero(np.diff(self.starts)))

    @cached_property
    def errors(self) -> NDArray[Any]:
        """Return the rows of errors."""
        return np.flatnonzero(self.flags & ERROR).astype(np.uint32)

    @cached_property
    def _errors_by_agent(self) -> tuple[NDArray[Any], NDArray[Any]]:
        places = np.flatnonzero(self.flags[self.by_agent] & ERROR)
        return self.by_agent[places], np.searchsorted(places, self.starts)

    def errors_of(self, agent: int) -> NDArray[Any]:
        """Return the rows of an agent's errors, in order of time."""
        rows, starts = self._errors_by_agent
        return rows[starts[agent] : starts[agent + 1]]

    @cached_property
    def ticks(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the recorded ticks in ascending order, and the row at which each first began.

        A tick cannot begin after a later one: where it does, because runs overlap, it takes the time of that.
        """
        rows = np.flatnonzero(self.tick != self.no_tick)
        ticks, firsts = np.unique(self.tick[rows], return_index=True)
        began = np.minimum.accumulate(rows[firsts][::-1])[::-1]
        return ticks, began

    def tick_at(self, row: int) -> int | None:
        """Return the tick of an event, or else that of the nearest earlier event with one."""
        end = row + 1
        step = 256
        while end > 0:
            begin = max(end - step, 0)
            known = np.flatnonzero(self.tick[begin:end] != self.no_tick)
            if len(known):
                return int(self.tick[begin + known[-1]])
            end, step = begin, step * 4
        return None

    def own_tick(self, row: int) -> int | None:
        """Return the tick that an event was recorded with."""
        tick = int(self.tick[row])
        return None if tick == self.no_tick else tick

    @cached_property
    def message_times(self) -> NDArray[Any]:
        """Return the times at which each message was first recorded, ascending."""
        _, firsts = np.unique(self.messages["key"], return_index=True)
        return np.sort(self.t_us[self.messages["row"][firsts]])

    @cached_property
    def arrows(self) -> NDArray[Any]:
        """Return messages as pairs of rows (sender's, receiver's), in order of the first.

        A message with one half has that row twice. An end that is not an agent of the session is left out.
        """
        return _arrows(self)

    def lane_ends(self, rows: NDArray[Any]) -> tuple[int, int]:
        """Return the agents at both ends of a message: of its halves, or else of its half and the party."""
        sent, received = int(rows[0]), int(rows[1])
        if sent != received:
            return int(self.agent[sent]), int(self.agent[received])
        place = int(np.searchsorted(self.messages["row"], sent))
        party = self.tables.parties.texts[int(self.messages["party"][place])]
        other = self.tables.agents.get(party)
        own = int(self.agent[sent])
        other = own if other is None else other
        return (own, other) if self.flags[sent] & SENT else (other, own)


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
    known = np.zeros(len(rows), bool)
    has_party = party >= 0
    known[has_party] = is_agent[party[has_party]]
    alone = rows[lone & known]
    found = np.concatenate([pairs, np.stack([alone, alone], axis=1)]).astype(np.int64)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def merged(known: Index | None, batches: Sequence[Batch], tables: Tables) -> tuple[Index, int]:
    """Return an index of known and new events, and the number of events that were left out as repeated.

    The batches are emptied, one column after the other, so that no event is held twice. Where all new events
    are later than nearly all known ones, only the others are sorted again: a session that is written grows
    many times a second.
    """
    head = 0 if known is None else _settled(known, batches)
    if known is None or not head:
        columns, messages, links, repeated = _sorted(known, batches, tables)
        return Index(columns, messages, links, tables.copy()), repeated
    columns, messages, links, repeated = _sorted(_Tail.of(known, head), batches, tables)
    by_agent, starts = known.grouped_with(columns["agent"], head, len(tables.agents.texts))
    columns = {name: _continued(known.columns[name], head, values) for name, values in columns.items()}
    attached = []
    for old, new in ((known.messages, messages), (known.links, links)):
        kept = int(np.searchsorted(old["row"], head))
        new["row"] = (new["row"].astype(np.int64) + head).astype(np.uint32)
        attached.append({name: np.concatenate([old[name][:kept], values]) for name, values in new.items()})
    return Index(columns, attached[0], attached[1], tables.copy(), by_agent, starts), repeated


_MOST_WRITERS: Final = 8
_LEAST_HEAD: Final = 4_096


def _settled(known: Index, batches: Sequence[Batch]) -> int:
    """Return before which row no new event belongs, none of which repeats an event there; 0 for none."""
    parts = [(np.array(each.columns["t_us"]), each) for each in batches if len(each)]
    if not parts:
        return 0
    head = int(np.searchsorted(known.t_us, min(int(times.min()) for times, _ in parts)))
    if head < max(_LEAST_HEAD, known.count * 3 // 4):
        return 0
    writers = np.concatenate([np.array(each.columns["writer"]) for _, each in parts])
    seq = np.concatenate([np.array(each.columns["seq"]) for _, each in parts])
    names = np.unique(writers)
    if len(names) > _MOST_WRITERS:
        return 0
    for writer in names.tolist():
        is_its = known.columns["writer"][:head] == writer
        last = np.max(known.columns["seq"][:head], where=is_its, initial=0)
        if int(last) >= int(seq[writers == writer].min()):
            return 0
    return head


@dataclass(frozen=True, slots=True)
class _Tail:
    """The last rows of an index, numbered from 0."""

    count: int
    columns: Columns
    messages: Columns
    links: Columns

    @classmethod
    def of(cls, index: Index, head: int) -> _Tail:
        columns = {name: values[head:] for name, values in index.columns.items()}
        attached = []
        for each in (index.messages, index.links):
            kept = int(np.searchsorted(each["row"], head))
            rest = {name: values[kept:] for name, values in each.items()}
            attached.append(rest | {"row": rest["row"].astype(np.int64) - head})
        return cls(index.count - head, columns, attached[0], attached[1])


def _continued(old: NDArray[Any], head: int, new: NDArray[Any]) -> NDArray[Any]:
    """Return the first rows of a column and new ones.

    The result has room behind it, which the next call fills: known rows are copied seldom, not each time.
    Only the last index that was made may be continued; what others see of the same memory does not change.
    """
    if old.dtype != new.dtype:
        return _concatenated(old[:head], new)
    room, end = old.base, head + len(new)
    is_room = isinstance(room, np.ndarray) and room.dtype == old.dtype and room.flags.writeable
    if room is None or not is_room or head != len(old) or end > len(room) or _address(old) != _address(room):
        room = np.empty(max(end + end // 4, _LEAST_HEAD), old.dtype)
        room[:head] = old[:head]
    room[head:end] = new
    return room[:end]


def _address(values: NDArray[Any]) -> int:
    return int(values.ctypes.data)


def _concatenated(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """Join two parts of a column, of which each may be narrow, in the wider type of both."""
    if old.dtype == new.dtype or "i" not in (old.dtype.kind, new.dtype.kind):
        return np.concatenate([old, new])
    wide = []
    for part in (old, new):  # ticks: what stands for an absent one differs
        made = part.astype(np.int64)
        made[part == no_tick(part)] = NO_TICK
        wide.append(made)
    return _narrowed(np.concatenate(wide))


def _sorted(
    known: Index | _Tail | None, batches: Sequence[Batch], tables: Tables
) -> tuple[Columns, Columns, Columns, int]:
    """Return the columns of known and new events in order, and how many were left out as repeated."""
    starts = np.cumsum([0 if known is None else known.count, *map(len, batches)])
    old: Columns = {} if known is None else known.columns
    new = [batch.columns for batch in batches]
    first = {name: _joined(TYPES[name], old, name, new) for name in ("t_us", "writer", "seq", "flags")}
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
            narrow[name] = _narrowed(_joined(code, old, name, new)[order])
    row_of = np.full(int(starts[-1]), -1, np.int32 if starts[-1] < 2**31 else np.int64)
    row_of[order] = np.arange(len(order), dtype=row_of.dtype)
    attached = []
    for kind, types in (("messages", MESSAGE_TYPES), ("links", LINK_TYPES)):
        held: Columns = {} if known is None else getattr(known, kind)
        more = [getattr(batch, kind) for batch in batches]
        moved = [
            {"row": np.array(each["place"], np.int64) + at} for each, at in zip(more, starts, strict=False)
        ]
        rows = row_of[_joined("q", held, "row", moved)]
        kept = np.flatnonzero(rows >= 0)
        kept = kept[np.argsort(rows[kept], kind="stable")]
        made = {"row": rows[kept].astype(np.uint32)}
        for name, code in types.items():
            if name != "place":
                made[name] = _joined(code, held, name, more)[kept]
        attached.append(made)
    return narrow, attached[0], attached[1], len(repeated)


def _joined(code: str, known: Mapping[str, Any], name: str, new: Sequence[dict[str, Any]]) -> NDArray[Any]:
    """Join a known column, which may be narrow, and new parts of it, which are taken away."""
    parts = [np.array(each.pop(name), code) for each in new]
    if name in known:
        old = known[name]
        wide = old.astype(code)
        if name == "tick":
            wide[old == no_tick(old)] = NO_TICK
        parts.insert(0, wide)
    return np.concatenate([np.empty(0, code), *parts])


def _narrowed(values: NDArray[Any]) -> NDArray[Any]:
    """Return a column in as few bytes as its numbers need; an absent tick stays the least number."""
    if values.dtype.kind == "f" or not len(values):
        return values
    is_absent = values == NO_TICK if values.dtype.kind == "i" else None
    if is_absent is not None and is_absent.any():
        known = values[~is_absent]
        least, most = (int(known.min()), int(known.max())) if len(known) else (0, 0)
        small = np.iinfo(np.int32)
        if small.min < least and most <= small.max:
            return np.where(is_absent, small.min, values).astype(np.int32)
        return values
    least, most = int(values.min()), int(values.max())
    if least < 0 or most >= 2**32:
        return values
    return values.astype(np.min_scalar_type(most))


def no_tick(ticks: NDArray[Any]) -> int:
    """Return the number that stands for an absent tick in a column."""
    return int(np.iinfo(ticks.dtype).min) if ticks.dtype.kind == "i" else NO_TICK


def _repeated(writer: NDArray[Any], seq: NDArray[Any], flags: NDArray[Any]) -> NDArray[Any]:
    """Return the places of events whose id another event has: the earliest regular one keeps it."""
    by_id = np.lexsort((flags & BELIEVED, seq, writer))
    writer, seq = writer[by_id], seq[by_id]
    same = (writer[1:] == writer[:-1]) & (seq[1:] == seq[:-1])
    found: NDArray[Any] = by_id[1:][same]
    return found
