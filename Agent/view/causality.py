"""Causes and effects of an event, found through the index by the rules of `analysis.causality.chains`.

`analysis` uses its SQL engine, which reads every line of a session for each step back. Here, hashes of spans,
causes and messages in the index select the few lines that may match, which are then read and compared in
full.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from Agent.analysis.causality.chains import chain, effects, is_failure
from Agent.analysis.causality.event_links import MAX_LINKED, MAX_QUERIES, TRAIL_US, FilledWindow, Row
from Agent.analysis.query.views import event_row
from Agent.event.ids import split_event_id
from Agent.event.model import Event
from Agent.view.index.columns import Index
from Agent.view.index.gathering import Lines, mark, message_key

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


class _Linked(FilledWindow):
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
