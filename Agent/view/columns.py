"""The index of a session as columns: one number per event and fact, in order of time.

`gathering` fills a `Batch` from lines, `merged` turns batches into an `Index`, which never changes, and
`windows` and `session_view` answer from it. An event's line is read again where its words are needed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
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


class Names:
    """Texts by number, in the order in which they were first met."""

    def __init__(self, texts: Iterable[str] = (), *, unnamed: Iterable[str] = ()) -> None:
        self.texts: list[str] = list(unnamed)  # only shown: a text that is equal gets a number of its own
        self._numbers: dict[str, int] = {}
        for text in texts:
            self.number(text)

    def __len__(self) -> int:
        return len(self.texts)

    def number(self, text: str) -> int:
        """Return the number of a text; a new one gets the next number."""
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return found

    def find(self, text: str) -> int | None:
        """Return the number of a text; None if it is unknown."""
        return self._numbers.get(text)

    def copy(self) -> Names:
        """Return names that may grow on their own."""
        made = Names()
        made.texts, made._numbers = list(self.texts), dict(self._numbers)
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


_TYPES: Final = {
    "t_us": "q",
    "writer": "I",
    "seq": "q",
    "agent": "I",
    "kind": "H",
    "flags": "B",
    "duration_us": "f",
    "tick": "q",
    "file": "I",
    "offset": "q",
}
"""The columns of events, and the types in which they are gathered."""
_LINK_TYPES: Final = {"place": "q", "key": "Q", "party": "i"}
"""The columns of messages: the event's place in the batch, a digest of the message's id, the other agent."""


class Batch:
    """Events in the order in which they were read."""

    def __init__(self) -> None:
        self.columns: dict[str, array[Any]] = {name: array(code) for name, code in _TYPES.items()}
        self.messages: dict[str, array[Any]] = {name: array(code) for name, code in _LINK_TYPES.items()}

    def __len__(self) -> int:
        return len(self.columns["t_us"])


@dataclass(frozen=True, slots=True)
class Messages:
    """The halves of messages, by row: `key` is equal for the halves of one message."""

    row: NDArray[Any]
    key: NDArray[Any]
    party: NDArray[Any]


class Index:
    """All events of a session so far, in order of (time, writer, number). It never changes.

    Args:
        columns: as gathered, sorted.
        messages: the halves of messages, in order of rows.
        tables: the texts.
    """

    def __init__(self, columns: Columns, messages: Messages, tables: Tables) -> None:
        self.columns = columns
        self.messages = messages
        self.tables = tables
        self.t_us = columns["t_us"]
        self.agent = columns["agent"]
        self.kind = columns["kind"]
        self.flags = columns["flags"]
        self.tick = columns["tick"]
        self.count = len(self.t_us)
        self.first_us = int(self.t_us[0]) if self.count else 0
        self.length_us = int(self.t_us[-1]) - self.first_us if self.count else 0
        self.agents = len(tables.agents)
        order = np.argsort(self.agent, kind="stable").astype(np.uint32)
        self.by_agent = order
        """Rows by agent, then by time."""
        self.starts = np.searchsorted(self.agent[order], np.arange(self.agents + 1))
        """Where each agent's rows begin in `by_agent`."""
        self.t_by_agent = self.t_us[order]

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
        number = self.tables.writers.find(writer)
        if number is None:
            return None
        found = np.flatnonzero((self.columns["seq"] == seq) & (self.columns["writer"] == number))
        return int(found[0]) if len(found) else None

    @cached_property
    def errors(self) -> NDArray[Any]:
        """Return the rows of errors."""
        return np.flatnonzero(self.flags & ERROR).astype(np.uint32)

    @cached_property
    def errors_by_agent(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the times of errors by agent, then by time; and where each agent's begin."""
        places = np.flatnonzero(self.flags[self.by_agent] & ERROR)
        starts = np.searchsorted(places, self.starts)
        return self.t_by_agent[places], starts

    @cached_property
    def ticks(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the recorded ticks in ascending order, and the row at which each first began.

        A tick cannot begin after a later one: where it does, because runs overlap, it takes the time of that.
        """
        rows = np.flatnonzero(self.tick != NO_TICK)
        ticks, firsts = np.unique(self.tick[rows], return_index=True)
        began = np.minimum.accumulate(rows[firsts][::-1])[::-1]
        return ticks, began

    def tick_at(self, row: int) -> int | None:
        """Return the tick of an event, or else that of the nearest earlier event with one."""
        end = row + 1
        step = 256
        while end > 0:
            begin = max(end - step, 0)
            known = np.flatnonzero(self.tick[begin:end] != NO_TICK)
            if len(known):
                return int(self.tick[begin + known[-1]])
            end, step = begin, step * 4
        return None

    def own_tick(self, row: int) -> int | None:
        """Return the tick that an event was recorded with."""
        tick = int(self.tick[row])
        return None if tick == NO_TICK else tick

    @cached_property
    def message_times(self) -> NDArray[Any]:
        """Return the times at which each message was first recorded, ascending."""
        _, firsts = np.unique(self.messages.key, return_index=True)
        return np.sort(self.t_us[self.messages.row[firsts]])

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
        place = int(np.searchsorted(self.messages.row, sent))
        party = self.tables.parties.texts[int(self.messages.party[place])]
        other = self.tables.agents.find(party)
        own = int(self.agent[sent])
        other = own if other is None else other
        return (own, other) if self.flags[sent] & SENT else (other, own)


def _arrows(index: Index) -> NDArray[Any]:
    rows, keys, party = index.messages.row, index.messages.key, index.messages.party
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
    is_agent = np.array([index.tables.agents.find(text) is not None for text in index.tables.parties.texts])
    known = np.zeros(len(rows), bool)
    has_party = party >= 0
    known[has_party] = is_agent[party[has_party]]
    alone = rows[lone & known]
    found = np.concatenate([pairs, np.stack([alone, alone], axis=1)]).astype(np.int64)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def gathered(batches: Sequence[Batch]) -> tuple[Columns, dict[str, NDArray[Any]]]:
    """Join batches to arrays in the order of reading."""
    columns = {
        name: np.concatenate([np.frombuffer(batch.columns[name], code) for batch in batches])
        if batches
        else np.empty(0, code)
        for name, code in _TYPES.items()
    }
    links: dict[str, list[NDArray[Any]]] = {name: [] for name in _LINK_TYPES}
    before = 0
    for batch in batches:
        for name, code in _LINK_TYPES.items():
            values = np.frombuffer(batch.messages[name], code)
            links[name].append(values + before if name == "place" else values)
        before += len(batch)
    messages = {
        name: np.concatenate(links[name]) if links[name] else np.empty(0, code)
        for name, code in _LINK_TYPES.items()
    }
    return columns, messages


def merged(known: Index | None, batches: Sequence[Batch], tables: Tables) -> tuple[Index, int]:
    """Return an index of known and new events, and the number of events that were left out as repeated."""
    columns, messages = gathered(batches)
    if known is not None:
        columns = {name: np.concatenate([known.columns[name], columns[name]]) for name in columns}
        new = {"place": messages["place"] + known.count, "key": messages["key"], "party": messages["party"]}
        old = {"place": known.messages.row, "key": known.messages.key, "party": known.messages.party}
        messages = {name: np.concatenate([old[name], new[name]]) for name in messages}
    rank = np.empty(len(tables.writers), np.int64)
    rank[sorted(range(len(rank)), key=tables.writers.texts.__getitem__)] = np.arange(len(rank))
    writer, seq = rank[columns["writer"]], columns["seq"]
    order = np.lexsort((seq, writer, columns["t_us"]))
    repeated = _repeated(writer[order], seq[order], columns["flags"][order])
    if len(repeated):
        order = np.delete(order, repeated)
    place_of = np.full(len(writer), -1, np.int64)
    place_of[order] = np.arange(len(order))
    rows = place_of[messages["place"].astype(np.int64)]
    kept = rows >= 0
    by_row = np.argsort(rows[kept], kind="stable")
    halves = Messages(*(each[kept][by_row] for each in (rows, messages["key"], messages["party"])))
    return Index({name: each[order] for name, each in columns.items()}, halves, tables.copy()), len(repeated)


def _repeated(writer: NDArray[Any], seq: NDArray[Any], flags: NDArray[Any]) -> NDArray[Any]:
    """Return the places of events whose id another event has: the earliest regular one keeps it."""
    by_id = np.lexsort((flags & BELIEVED, seq, writer))
    same = (writer[by_id][1:] == writer[by_id][:-1]) & (seq[by_id][1:] == seq[by_id][:-1])
    found: NDArray[Any] = by_id[1:][same]
    return found
