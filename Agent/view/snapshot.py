"""One state of a session's index with its lanes, and the answers that need only these.

`SessionView` replaces its `Snapshot` as the index grows; each request is answered from a single one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from Agent.analysis.stats import number
from Agent.errors import AgentNotFound, EventNotFound, UsageError
from Agent.event.code_places import CodePlaces
from Agent.event.ids import split_event_id
from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event
from Agent.render.event_text import event_line_text
from Agent.render.formats import path_line
from Agent.view.index.columns import ERROR, NOBODY, SESSION, Index
from Agent.view.index.lines import Lines
from Agent.view.lanes import Lanes, shown_ticks
from Agent.view.windows import TickAxis

MOST_LISTED: Final = 1_000
_FIRST_BLOCK: Final = 512
_FIRST_ACTIONS: Final = 64
Rows = range | NDArray[Any]
"""Rows of an index, ascending or descending; a range needs no memory."""
_MOST_BLOCK: Final = 16_384


@dataclass(frozen=True)
class Snapshot:
    """An index, its lanes and its lines."""

    index: Index
    lanes: Lanes
    lines: Lines
    lane_rows: list[dict[str, Any]]
    """The lanes in the form of `overview`."""
    lost: int = 0
    progress: float = 1.0
    """The share of the files that the index covers, from 0 to 1."""

    @cached_property
    def ticks(self) -> list[list[int]]:
        """Return the recorded ticks with their times, in the form of `overview`."""
        return shown_ticks(self.index)

    @cached_property
    def axis(self) -> TickAxis:
        """Return the ticks as an axis."""
        return TickAxis(self.ticks, self.index.length_us)

    @cached_property
    def _places(self) -> CodePlaces:
        code_places = CodePlaces()
        number = self.index.tables.kinds.get("code")
        if number is not None:
            for event in self.lines.events(self.index, np.flatnonzero(self.index.kind == number).tolist()):
                code_places.add(event.extra)
        return code_places

    def code_of(self, event: Event) -> dict[str, Any] | None:
        """Return the location of an event's function or of its error; None if unknown."""
        location = self._places.of(event.kind, event.extra, event.code)
        return (
            None
            if location is None
            else {**location._asdict(), "place": path_line(location.file, location.line)}
        )

    def agents_of(self, lanes: Sequence[int] | None, first: int = 0, last: int | None = None) -> NDArray[Any]:
        """Return the agents on some lanes, or on those from `first` to before `last`.

        Raises:
            UsageError: the lane does not exist.
        """
        count = len(self.lanes.agents)
        if lanes is None:
            end = count if last is None else last
            if not 0 <= first <= end <= count:
                raise UsageError(f"no lanes {first} to {end}", remedy=f"there are lanes 0 to {count - 1}")
            return self.lanes.agents[first:end]
        strange = [lane for lane in lanes if not 0 <= lane < count]
        if strange:
            raise UsageError(f"no lane {strange[0]}", remedy=f"there are lanes 0 to {count - 1}")
        return self.lanes.agents[list(dict.fromkeys(lanes))]

    def agent_number(self, agent: str) -> int | None:
        """Return the number of an agent; None for the lane of events without one.

        Raises:
            AgentNotFound: the session has no such agent.
        """
        agent_index = self.index.tables.agents.get(agent)
        if agent_index is None and agent != SESSION:
            raise AgentNotFound(f"no agent {agent!r} in this session", remedy="the overview lists its agents")
        return agent_index

    def acts_inside(self, agent: str) -> bool:
        """Return whether all of an agent's first actions happened inside actions of other agents."""
        number = self.agent_number(agent)
        numbers = self.index.tables.kinds
        kinds = [numbers[kind] for kind in ACTION_KINDS if kind in numbers]
        rows = self.index.rows_between(number or NOBODY, 0, self.index.count)
        first = rows[np.isin(self.index.kind[rows], kinds)][:_FIRST_ACTIONS].tolist()
        return bool(first) and not any(
            event.extra.get("root") is True for event in self.lines.events(self.index, first)
        )

    def outcome_of(self, agent: str, outcome: str) -> str:
        """Return a fork's outcome, a field or a condition on one, qualified by the agent."""
        text = outcome.strip()
        names = self.index.tables.agents
        is_named = text == "error" or any(text.startswith((f"{name}.", f"{name}/")) for name in names)
        return text if is_named or not text else f"{agent}.{text}"

    def row_of(self, event_id: str) -> int:
        """Return the row of an event.

        Raises:
            UsageError: the text is not an event id.
            EventNotFound: the session does not have this event.
        """
        try:
            writer, seq = split_event_id(event_id)
        except ValueError:
            raise UsageError(
                f"{event_id[:80]!r} is not an event id", remedy="every line has an id, as writer-number"
            ) from None
        row = self.index.row_of(writer, seq) if seq < 2**63 else None
        if row is None:
            raise EventNotFound(
                f"no event {event_id!r} in this session", remedy="every line has an id, as writer-number"
            )
        return row

    def place_after(self, t: float) -> int:
        """Return the number of events up to a time, inclusive."""
        return int(np.searchsorted(self.index.t_us, int(np.floor(t)) + self.index.first_us, "right"))

    def rows(self, agents: NDArray[Any] | None, t0: float | None = None, t1: float | None = None) -> Rows:
        """Return the rows of some agents, or of all, from t0 to t1, both inclusive."""
        index = self.index
        begin = 0 if t0 is None else int(np.searchsorted(index.t_us, int(np.ceil(t0)) + index.first_us))
        end = index.count if t1 is None else self.place_after(t1)
        if agents is None or len(agents) == len(self.lanes.agents):
            return range(begin, max(begin, end))
        parts = [index.rows_between(agent, begin, max(begin, end)) for agent in agents.tolist()]
        rows = np.concatenate([np.empty(0, np.uint32), *parts])
        rows.sort()
        return rows

    def listed(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Describe some events in the form of the list of events."""
        return [
            self._listed(row, event)
            for row, event in zip(rows, self.lines.events(self.index, rows), strict=True)
        ]

    def _listed(self, row: int, event: Event) -> dict[str, Any]:
        duration = number(event.extra.get("duration_ms"))
        return self.node(row, event) | {
            "row": row,
            "kind": event.kind,
            "level": event.level,
            "duration_ms": duration if duration is not None and isfinite(duration) else None,
        }

    def node(self, row: int, event: Event) -> dict[str, Any]:
        """Describe an event as a node of a graph."""
        agent = int(self.index.agent[row])
        return {
            "id": event.id,
            "t": self.index.time(row),
            "lane": int(self.lanes.lane_of[agent]),
            "agent": self.index.tables.agents.texts[agent],
            "tick": event.tick,
            "text": event_line_text(event),
        }

    def chosen(
        self, rows: Rows, *, kind: int | None = None, errors: bool = False, q: str | None = None
    ) -> Iterator[int]:
        """Yield the rows of a kind, that are errors, and whose line contains a text, ignoring case."""
        contains = _Contains(q) if q else None
        block, at = _FIRST_BLOCK, 0
        while at < len(rows):
            some = np.asarray(rows[at : at + block])
            if kind is not None:
                some = some[self.index.kind[some] == kind]
            if errors:
                some = some[(self.index.flags[some] & ERROR) != 0]
            row_numbers = some.tolist()
            if contains is None:
                yield from row_numbers
            else:
                for row, line in zip(row_numbers, self.lines.read(self.index, row_numbers), strict=True):
                    if contains(line):
                        yield row
            at += block
            block = min(block * 2, _MOST_BLOCK)

    def next_to(self, rows: Rows, t: float, direction: int) -> int | None:
        """Return the first of some ascending rows after a time, or the last before it; else None."""
        if direction > 0:
            position = bisect_left(rows, self.place_after(t))
            return int(rows[position]) if position < len(rows) else None
        before = int(np.searchsorted(self.index.t_us, int(np.ceil(t)) + self.index.first_us))
        position = bisect_left(rows, before)
        return int(rows[position - 1]) if position > 0 else None

    def error_rows(self, rows: Rows) -> NDArray[Any]:
        """Return the rows that are errors."""
        if isinstance(rows, range):
            begin, end = np.searchsorted(self.index.errors, [rows.start, rows.stop])
            return self.index.errors[begin:end]
        error_rows: NDArray[Any] = rows[(self.index.flags[rows] & ERROR) != 0]
        return error_rows


class _Contains:
    """Whether a line contains a text, ignoring case: literally, or escaped as JSON."""

    def __init__(self, q: str) -> None:
        lower = q.lower()
        try:
            escaped = orjson.dumps(lower)[1:-1].decode()
        except orjson.JSONEncodeError:  # a lone surrogate, which no line contains
            escaped = lower
        self._forms = {lower, escaped}
        self._is_ascii = q.isascii()
        self._bytes = [form.encode("utf-8", "replace") for form in self._forms]

    def __call__(self, line: bytes) -> bool:
        if self._is_ascii:
            small = line.lower()
            return any(form in small for form in self._bytes)
        text = line.decode("utf-8", "replace").lower()
        return any(form in text for form in self._forms)
