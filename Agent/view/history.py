"""An agent's state at any moment, the origin of the values of its fields, and the causes of an event.

The index lists the events that changed an agent. They are folded once, in order, and copies of the fold are
kept at intervals, so that an earlier moment costs a few events instead of all of them. Causes and effects
follow the rules of `analysis.causality.chains`; `analysis` uses its SQL engine, which reads every line of a
session for each step back. Here, hashes of spans, causes and messages in the index select the few lines that
may match, which are then read and compared in full.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from Agent.analysis.causality.chains import chain, effects, is_failure
from Agent.analysis.causality.event_links import MAX_LINKED, MAX_QUERIES, TRAIL_US, EventWindow, Row
from Agent.analysis.query.views import event_row
from Agent.event.ids import split_event_id
from Agent.event.model import Event
from Agent.flight.checkpoints.state_fold import StateFold
from Agent.view.index.columns import Index
from Agent.view.index.gathering import Lines, mark, message_key

MOST_COPIES: Final = 64
_BATCH_EVENTS: Final = 256
MOST_CHARS: Final = 2_000
_ABSENT: Any = object()


@dataclass(slots=True)
class Moment:
    """An agent's state after some of its events."""

    fold: StateFold = field(default_factory=StateFold)
    applied: int = 0
    """The number of the agent's changing events folded in."""
    changed: dict[str, int] = field(default_factory=dict)
    """{field: the position of the event that set its value}."""
    before: dict[str, Any] = field(default_factory=dict)
    """{field: its previous value}; missing for a new field."""
    handles: list[str] = field(default_factory=list)

    def copy(self) -> Moment:
        """Return an independent copy; values are shared, since no fold changes them."""
        return Moment(self.fold.copy(), self.applied, dict(self.changed), dict(self.before), self.handles)

    def add(self, event: Event) -> list[str]:
        """Fold one more event in, and return the fields that it changed or removed."""
        old, old_reported = dict(self.fold.fields), dict(self.fold.reported)
        changed = list(self.fold.add(event))
        changed += [name for name in old if name not in self.fold.fields and name not in changed]
        changed += [
            name
            for name, value in self.fold.reported.items()
            if name not in self.fold.fields and old_reported.get(name, _ABSENT) != value
        ]
        for name in changed:
            self.changed[name] = self.applied
            earlier = old.get(name, old_reported.get(name, _ABSENT))
            if earlier is _ABSENT:
                self.before.pop(name, None)
            else:
                self.before[name] = earlier
        if event.kind == "state":
            handles = event.extra.get("handles")
            self.handles = [str(each) for each in handles] if isinstance(handles, list) else []
        self.applied += 1
        return changed

    def settled(self, fields: dict[str, Any], position: int) -> None:
        """Note what a checkpoint's stored state changed in `fields`; `position` is that of the checkpoint."""
        for name in self.fold.fields:
            if fields.get(name, _ABSENT) != self.fold.fields[name]:
                self.changed[name] = position
                self.before.pop(name, None)
                if name in fields:
                    self.before[name] = fields[name]

    def values(self) -> dict[str, Any]:
        """Return the fields in order, then those that only the program reported."""
        return self.fold.fields | {
            name: value for name, value in self.fold.reported.items() if name not in self.fold.fields
        }


class History:
    """The changes of one agent's state.

    Args:
        rows: the rows of the events that change its state, ascending.
        read: returns the events of rows.
    """

    def __init__(self, rows: NDArray[Any], read: Callable[[Sequence[int]], list[Event]]) -> None:
        self.rows = rows
        self._read = read
        self._lock = threading.Lock()
        self._last = Moment()
        self._copies: list[Moment] = [Moment()]
        self._every = 64
        self.positions_of: dict[str, array[int]] = {}
        """{field: the positions in `rows` of the folded events that changed it}."""

    def extend(self, rows: NDArray[Any], read: Callable[[Sequence[int]], list[Event]]) -> None:
        """Append rows; the existing rows must be the same events."""
        with self._lock:
            self.rows, self._read = rows, read

    def at(self, position: int) -> Moment:
        """Return the state after the first `position` events of `rows`; the caller may change it."""
        with self._lock:
            self._fold_to(position)
            if self._last.applied == position:
                return self._last.copy()
            fold = self._copies[
                bisect_right(self._copies, position, key=lambda each: each.applied) - 1
            ].copy()
            for event in self._read(self.rows[fold.applied : position].tolist()):
                fold.add(event)
            return fold

    def changes(self, name: str, position: int) -> list[int]:
        """Return the positions below `position` of the events that changed a field."""
        with self._lock:
            self._fold_to(position)
            positions = self.positions_of.get(name, array("I"))
            return positions[: bisect_right(positions, position - 1)].tolist()

    def _fold_to(self, position: int) -> None:
        while self._last.applied < position:
            stop = min(position, self._last.applied + _BATCH_EVENTS)
            for event in self._read(self.rows[self._last.applied : stop].tolist()):
                at = self._last.applied
                for name in self._last.add(event):
                    self.positions_of.setdefault(name, array("I")).append(at)
                if self._last.applied % self._every == 0:
                    self._keep()

    def _keep(self) -> None:
        self._copies.append(self._last.copy())
        if len(self._copies) > MOST_COPIES:
            self._copies = self._copies[::2]
            self._every *= 2


def value_in(event: Event, name: str) -> tuple[bool, Any]:
    """Return whether an event gave a field a value, and that value."""
    fold = StateFold()
    fold.add(event)
    values = fold.reported | fold.fields
    return name in values, values.get(name)


def as_text(value: Any) -> tuple[str, bool]:
    """Return a value as JSON of at most 2,000 characters, and whether it was cut."""
    text = orjson.dumps(value).decode()
    return (text, False) if len(text) <= MOST_CHARS else (text[:MOST_CHARS], True)


LOOKBACK_US: Final = 60_000_000
MOST_EACH: Final = 2_500
"""The maximum number of events read per agent, nearest to the event; the rules look at 2,000."""


def causes_and_effects(index: Index, lines: Lines, row: int, event: Event) -> tuple[list[Row], list[Row]]:
    """Return the causes of an event within a minute, and its effects, as `chain` and `effects` do."""
    event_as_row = event_row(event)
    at_us = int(index.t_us[row])
    before = _Linked(index, lines, at_us - LOOKBACK_US, at_us, newest=True)
    after = _Linked(index, lines, at_us, at_us + LOOKBACK_US, newest=False)
    causes = chain(event_as_row, before, since_us=at_us - LOOKBACK_US)
    return causes, effects(event_as_row, after, until_us=at_us + LOOKBACK_US, forward=after.forward)


class _Linked(EventWindow):
    """A window over a time range that loads events through the index.

    Args:
        index: of the session.
        lines: its lines.
        since_us: the start of the range.
        until_us: the last microsecond of the range.
        newest: whether the last or the first events are read of an agent with many events in the range.
    """

    def __init__(self, index: Index, lines: Lines, since_us: int, until_us: int, *, newest: bool) -> None:
        super().__init__(MAX_QUERIES)
        self._index, self._lines, self._newest = index, lines, newest
        self._first = int(np.searchsorted(index.t_us, since_us))
        self._last = int(np.searchsorted(index.t_us, until_us, "right"))
        self._trail = int(np.searchsorted(index.t_us, until_us + TRAIL_US, "right"))

    def _ask(self, ids: set[str], around: set[str], inside: set[str]) -> None:
        rows = self._named(ids)
        rows += self._marked("span", around, self._trail)
        rows += self._marked("parent", inside, self._trail if around else self._last)
        rows_read = self._read(rows)
        self.add(
            each
            for each in rows_read
            if each["id"] in ids or each["span_id"] in around or each["parent_span_id"] in inside
        )

    def _add_agent(self, agent_id: str) -> None:
        agent = self._index.tables.agents.get(agent_id)
        if agent is None:
            return  # the agent is only named in a message
        agent_rows = self._index.rows_of(agent)
        begin, end, trail = np.searchsorted(agent_rows, [self._first, self._last, self._trail]).tolist()
        rows = agent_rows[begin:end]
        rows = rows[-MOST_EACH:] if self._newest else rows[:MOST_EACH]
        # include spans that were open at the end of the range, since their events follow it
        parents = self._index.columns["parent"]
        later = agent_rows[end:trail]
        is_around = np.isin(self._index.columns["span"][later], np.unique(parents[rows][parents[rows] != 0]))
        self.add(self._read([*rows.tolist(), *later[is_around][:MOST_EACH].tolist()]))

    def forward(self, causes: list[Row]) -> list[Row]:
        """Return events that name some events as causes or share their messages; spans around failures."""
        index = self._index
        ids = {cause["id"] for cause in causes}
        messages = {str(m) for cause in causes if (m := cause["extra"].get("message_id")) is not None}
        spans = {cause["parent_span_id"] for cause in causes if cause["parent_span_id"] and is_failure(cause)}
        keys = np.array([message_key(each) for each in messages], np.uint64)
        rows = self._within(index.links["row"][np.isin(index.links["key"], _marks(ids))], self._last)
        rows += self._within(index.messages["row"][np.isin(index.messages["key"], keys)], self._last)
        rows += self._marked("span", spans, self._last)
        return [
            each
            for each in self._read(rows)
            if not ids.isdisjoint(each["causes"])
            or each["extra"].get("error_id") in ids
            or each["span_id"] in spans
            or (each["event_type"] == "agent_message" and str(each["extra"].get("message_id")) in messages)
        ]

    def _named(self, ids: Iterable[str]) -> list[int]:
        """Return the rows of events by id, without those outside the range."""
        rows = []
        for event_id in ids:
            try:
                row = self._index.row_of(*split_event_id(event_id))
            except ValueError:
                continue  # a text of the program in the place of an event id
            if row is not None and self._first <= row < self._last:
                rows.append(row)
        return rows

    def _marked(self, column: str, texts: Iterable[str], last: int) -> list[int]:
        """Return the rows of the range, or up to another row, whose hash is that of one of the texts."""
        marks = _marks(texts)
        if not len(marks):
            return []
        values = self._index.columns[column][self._first : last]
        matching: list[int] = (np.flatnonzero(np.isin(values, marks)) + self._first).tolist()
        return matching

    def _within(self, rows: NDArray[Any], last: int) -> list[int]:
        matching: list[int] = rows[(rows >= self._first) & (rows < last)].tolist()
        return matching

    def _read(self, rows: Sequence[int]) -> list[Row]:
        limited = list(dict.fromkeys(rows))[:MAX_LINKED]
        return [event_row(event) for event in self._lines.events(self._index, limited)]


def _marks(texts: Iterable[str]) -> NDArray[Any]:
    return np.array([mark(text) for text in texts], np.uint32)
