"""The rows of an index that no new event can move, grouped by agent and by writer.

A running session grows many times per second. Facts about settled rows are carried over from one index to the
next, and only the later rows are examined each time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Agent.tree.files.sequence_set import SeqSet
from Agent.view.index.column_memory import ColumnMemory

MARGIN: Final = 16_384
"""The number of last rows that are not settled, since events of other writers may still precede them."""
MOST_UNSETTLED: Final = 65_536 + MARGIN
_CHUNK: Final = 65_536
_Grouped = tuple[NDArray[Any], NDArray[Any]]


class Settled:
    """The first rows of an index; results are immutable.

    Args:
        columns: the columns of the index.
        count: the number of settled rows.
        by_agent: these rows by agent, then by time.
        starts: the index in `by_agent` at which each agent's rows begin.
        writers: the number of writers.
        memory: allocates growing columns.
        by_id: the value of the property, if known.
        seen: likewise.
        messages: likewise.
    """

    def __init__(
        self,
        columns: Mapping[str, NDArray[Any]],
        count: int,
        by_agent: NDArray[Any],
        starts: NDArray[Any],
        writers: int,
        memory: ColumnMemory,
        by_id: _Grouped | None = None,
        seen: dict[int, SeqSet] | None = None,
        messages: _Grouped | None = None,
    ) -> None:
        self.count = count
        self.by_agent = by_agent
        self.starts = starts
        self._columns = columns
        self._writers = writers
        self._memory = memory
        self._by_id = by_id
        self._seen = seen
        self._messages = messages

    @classmethod
    def of(
        cls, columns: Mapping[str, NDArray[Any]], count: int, agents: int, writers: int, memory: ColumnMemory
    ) -> Settled:
        """Return the first `count` rows of an index with these numbers of agents and writers."""
        agent = columns["agent"][:count]
        by_agent = _filled(memory, np.argsort(agent, kind="stable"))
        starts = np.searchsorted(agent[by_agent], np.arange(agents + 1))
        return cls(columns, count, by_agent, starts, writers, memory)

    def advanced(
        self,
        columns: Mapping[str, NDArray[Any]],
        messages: Mapping[str, NDArray[Any]],
        count: int,
        agents: int,
        writers: int,
    ) -> Settled:
        """Return these rows with further ones from a longer index with the same first rows."""
        agent = columns["agent"][self.count : count]
        order = np.argsort(agent, kind="stable")
        by_agent, starts = _regrouped(
            self._memory,
            (self.by_agent, self.starts),
            self.starts[1:],
            order + self.count,
            agent[order],
            agents,
        )
        if self._seen is not None:
            _add_numbers(self._seen, columns, self.count, count)
        by_id = self._with_ids(columns, count, writers)
        halves = self._with_messages(messages, count)
        self._memory.let_go()
        return Settled(columns, count, by_agent, starts, writers, self._memory, by_id, self._seen, halves)

    @property
    def by_id(self) -> _Grouped:
        """Return the rows by writer, then by number, and the index at which each writer's rows begin."""
        if self._by_id is None:
            writer, seq = (self._columns[name][: self.count] for name in ("writer", "seq"))
            order = _filled(self._memory, np.lexsort((seq, writer)))
            self._by_id = order, np.searchsorted(writer[order], np.arange(self._writers + 1))
        return self._by_id

    def _with_ids(self, columns: Mapping[str, NDArray[Any]], count: int, writers: int) -> _Grouped | None:
        if self._by_id is None:
            return None
        order, starts = self._by_id
        seq, new = columns["seq"], np.arange(self.count, count)
        writer = columns["writer"][self.count : count]
        ends = starts[1:].copy()
        numbers, firsts = np.unique(writer[sorted_new := np.lexsort((seq[new], writer))], return_index=True)
        leasts = seq[new[sorted_new[firsts]]]
        for number, least in zip(numbers.tolist(), leasts.tolist(), strict=True):
            if number >= len(ends):
                break
            # numbers may be slightly out of order in time: sort again those after the smallest new one
            begin, end = int(starts[number]), int(ends[number])
            ends[number] = bisect_left(range(end), least, begin, key=lambda at: int(seq[order[at]]))
            if ends[number] < end:
                new = np.append(new, order[int(ends[number]) : end])
        writer = columns["writer"][new]
        by_number = np.lexsort((seq[new], writer))
        return _regrouped(self._memory, (order, starts), ends, new[by_number], writer[by_number], writers)

    def row_of(self, writer: int, seq: int) -> int | None:
        """Return the row of an event by its id; None if it is not among these."""
        order, starts = self.by_id
        if writer + 1 >= len(starts):
            return None
        seqs, stop = self._columns["seq"], int(starts[writer + 1])
        index = bisect_left(range(stop), seq, int(starts[writer]), key=lambda at: int(seqs[order[at]]))
        return int(order[index]) if index < stop and int(seqs[order[index]]) == seq else None

    def last_numbers(self, writers: int) -> NDArray[Any]:
        """Return the highest number of each writer; 0 for one without events."""
        order, starts = self.by_id
        last = np.zeros(writers, np.int64)
        has_rows = np.flatnonzero(starts[1:] > starts[:-1])
        last[has_rows] = self._columns["seq"][order[starts[1:][has_rows] - 1]]
        return last

    def seen(self) -> Mapping[int, SeqSet]:
        """Return the numbers of each writer."""
        if self._seen is None:
            self._seen = {}
            _add_numbers(self._seen, self._columns, 0, self.count)
        return self._seen

    def messages(self, messages: Mapping[str, NDArray[Any]]) -> _Grouped:
        """Return the messages' keys in ascending order, and the rows of their first halves, ascending."""
        if self._messages is None:
            end = int(np.searchsorted(messages["row"], self.count))
            keys, firsts = np.unique(messages["key"][:end], return_index=True)
            rows = np.sort(messages["row"][:end][firsts])
            self._messages = _filled(self._memory, keys), _filled(self._memory, rows)
        return self._messages

    def _with_messages(self, messages: Mapping[str, NDArray[Any]], count: int) -> _Grouped | None:
        if self._messages is None:
            return None
        keys, rows = self._messages
        new_keys, new_rows = first_halves(messages, keys, self.count, count)
        positions = np.searchsorted(keys, new_keys)
        grown = self._memory.empty(len(keys) + len(new_keys), keys.dtype)
        at = 0
        for number, position in enumerate(positions.tolist()):
            grown[at + number : position + number] = keys[at:position]
            grown[position + number] = new_keys[number]
            at = position
        grown[at + len(new_keys) :] = keys[at:]
        return grown, self._memory.continued(rows, len(rows), np.sort(new_rows))


def first_halves(
    messages: Mapping[str, NDArray[Any]], known_keys: NDArray[Any], begin: int, end: int
) -> _Grouped:
    """Return the new keys of messages from one row to before another, and their first rows."""
    first, last = np.searchsorted(messages["row"], [begin, end])
    keys, firsts = np.unique(messages["key"][first:last], return_index=True)
    rows = messages["row"][first:last][firsts]
    positions = np.searchsorted(known_keys, keys)
    is_known = np.zeros(len(keys), bool)
    inside = positions < len(known_keys)
    is_known[inside] = known_keys[positions[inside]] == keys[inside]
    return keys[~is_known], rows[~is_known]


def _filled(memory: ColumnMemory, values: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of rows or keys in newly allocated memory."""
    filled = memory.empty(len(values), values.dtype if values.dtype.kind == "u" else np.uint32)
    filled[:] = values
    return filled


def _regrouped(
    memory: ColumnMemory,
    grouped: _Grouped,
    ends: NDArray[Any],
    new: NDArray[Any],
    groups: NDArray[Any],
    count: int,
) -> _Grouped:
    """Return grouped rows with new ones at the end of each group, and the start of each of `count` groups.

    Args:
        memory: allocates the result.
        grouped: the rows so far, and the start of each group, followed by the end of the last one.
        ends: the end of each group; the rows from there to the next group are left out, and among the new
            ones.
        new: the new rows, sorted by group.
        groups: the group of each new row.
        count: the number of groups in the result.
    """
    old, starts = grouped
    more = count + 1 - len(starts)
    starts = np.append(starts, np.full(more, starts[-1]))
    ends = np.append(ends, np.full(more, starts[-1]))
    added = np.bincount(groups, minlength=count)
    sizes = ends - starts[:-1] + added
    regrouped = memory.empty(int(sizes.sum()), np.uint32)
    taken = at = used = 0
    for group in np.flatnonzero(added).tolist():
        kept_count, fresh = int(ends[group]) - taken, int(added[group])
        regrouped[at : at + kept_count] = old[taken : taken + kept_count]
        at += kept_count
        regrouped[at : at + fresh] = new[used : used + fresh]
        at, used, taken = at + fresh, used + fresh, int(starts[group + 1])
    regrouped[at:] = old[taken:]
    return regrouped, np.append(0, np.cumsum(sizes))


def _add_numbers(seen: dict[int, SeqSet], columns: Mapping[str, NDArray[Any]], begin: int, end: int) -> None:
    """Add the numbers of some rows to the sets of their writers."""
    for at in range(begin, end, _CHUNK):
        writer, seq = (columns[name][at : min(at + _CHUNK, end)] for name in ("writer", "seq"))
        order = np.lexsort((seq, writer))
        numbers, starts = np.unique(writer[order], return_index=True)
        for number, sequence_numbers in zip(numbers.tolist(), np.split(seq[order], starts[1:]), strict=True):
            add_numbers(seen.setdefault(number, SeqSet()), sequence_numbers)


def add_numbers(numbers: SeqSet, seq: NDArray[Any]) -> None:
    """Add ascending numbers to a set."""
    if not len(seq):
        return
    seq = seq.astype(np.int64)
    breaks = np.flatnonzero(np.diff(seq) != 1)
    for first, last in zip(seq[np.r_[0, breaks + 1]].tolist(), seq[np.r_[breaks, -1]].tolist(), strict=True):
        numbers.add_range(first, last)
