"""One state of a session's index with its lanes, and the answers that need only these.

`SessionView` replaces its `Snapshot` as the index grows; each request is answered from a single one.

A window is a range of time and some lanes, as counts in bins or as single events: a JSON header and columns
of numbers, little endian (`ui/README.md`). Bins are exact at any zoom: the edges are converted to rows once,
and each agent's rows are sorted, so a count between two edges is the difference of two indices, found by
bisection. If an agent has fewer events than the window has edges, they are counted instead.
"""

from __future__ import annotations

import contextlib
import re
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from Agent.analysis.causality.chains import CauseTest
from Agent.analysis.causality.event_links import no_event
from Agent.errors import AgentNotFound, EventNotFound, UsageError
from Agent.event.code_places import CodePlaces
from Agent.event.ids import split_event_id
from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event
from Agent.event.values.plain import number_in
from Agent.record.encode.safe_text import cut, shown_safely
from Agent.render.formats import path_line, plural
from Agent.render.layout import event_line_text
from Agent.tree.files.session import SessionInfo, is_written
from Agent.view.index.columns import ERROR, FULL_STATE, NOBODY, RECEIVED, SENT, SESSION, STATE, WARNING, Index
from Agent.view.index.gathering import FilesMovedError, Lines

MOST_EVENTS: Final = 5_000
"""Up to this many events are returned individually."""
MOST_PX: Final = 4_000
_MOST_LEVEL: Final = 127
_ERROR_BIT: Final = 128
_SHOWN_FLAGS: Final = ERROR | WARNING | STATE | FULL_STATE | SENT | RECEIVED


class TickAxis:
    """Maps ticks to times: linear between the first times of two recorded ticks.

    Args:
        ticks: [tick, microseconds since the first event], ascending.
        length_us: the end of the last tick.
    """

    def __init__(self, ticks: Sequence[Sequence[int]], length_us: int) -> None:
        positions: list[float] = []
        times: list[float] = []
        for tick, t in ticks:
            if not positions or (tick > positions[-1] and t >= times[-1]):
                positions.append(tick)
                times.append(t)
        if times and times[0] > 0:
            positions.insert(0, positions[0] - 1)
            times.insert(0, 0)
        if positions:
            positions.append(positions[-1] + 1)
            times.append(max(length_us, times[-1] + 1))
        self._places, self._times = np.array(positions, float), np.array(times, float)

    def __bool__(self) -> bool:
        return len(self._places) > 0

    def times(self, positions: NDArray[Any]) -> NDArray[Any]:
        """Return the times of positions on the axis."""
        times: NDArray[Any] = np.interp(positions, self._places, self._times)
        return times


def edge_rows(index: Index, t0: float, t1: float, px: int, axis: TickAxis | None) -> NDArray[Any]:
    """Return the px + 1 edges of bins as rows: a bin has the rows from its edge to before the next one.

    A bin contains the events from its time, inclusive, to the next, exclusive; the last one includes t1. The
    edges are integers, because a bisection converts all times to the type of the edges.
    """
    edges = np.linspace(t0, t1, px + 1)
    if axis is not None:
        edges = axis.times(edges)
    end = int(np.floor(edges[-1])) + 1
    clipped = np.minimum(np.ceil(edges).astype(np.int64), end)
    clipped[-1] = end
    return np.searchsorted(index.t_us, clipped + index.first_us)


def window(
    index: Index, agents: NDArray[Any], edges: NDArray[Any], head: dict[str, Any], *, sum_lanes: bool
) -> bytes:
    """Return the window of some agents, in this order, with the bins between `edges`.

    Summed lanes are always bins. Single events include spans that are open at the end of the window.
    """
    if not sum_lanes:
        events = _events(index, agents, int(edges[0]), int(edges[-1]))
        if events is not None:
            rows, lanes = events
            return _encoded(head | {"mode": "events", "count": len(rows)}, _columns(index, rows, lanes))
    activity, errors = _bins(index, agents, edges, sum_lanes=sum_lanes)
    return _encoded(
        head | {"mode": "bins"}, [_levels(activity) | np.where(errors, _ERROR_BIT, 0).astype(np.uint8)]
    )


def _events(
    index: Index, agents: NDArray[Any], first: int, last: int
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return the rows from `first` to before `last`, and the position of each agent; None for too many."""
    if last - first > MOST_EVENTS and len(agents) == index.active:
        return None
    agent_rows: list[NDArray[Any]] = []
    count = 0
    for agent in agents.tolist():
        rows = index.rows_between(agent, first, last)
        count += len(rows)
        if count > MOST_EVENTS:
            return None
        agent_rows.append(rows)
    position = np.full(index.agents, -1, np.int64)
    position[agents] = np.arange(len(agents))
    rows = np.concatenate([*agent_rows, _open_at(index, last)])
    rows = np.unique(rows[position[index.agent[rows]] >= 0])
    return None if len(rows) > MOST_EVENTS else (rows, position[index.agent[rows]])


def _open_at(index: Index, row: int) -> NDArray[Any]:
    """Return the rows from `row` on of spans that began before that row; an event has the time of its end."""
    duration = index.columns["duration_us"][row:]
    if row == 0 or not len(duration) or not (longest := float(duration.max())):
        return np.empty(0, np.uint32)
    at_us = int(index.t_us[row - 1])
    stop = int(np.searchsorted(index.t_us, at_us + round(longest), "right"))
    began = index.t_us[row:stop] - index.columns["duration_us"][row:stop].astype(np.float64)
    return (np.flatnonzero(began <= at_us) + row).astype(np.uint32)


def _columns(index: Index, rows: NDArray[Any], lanes: NDArray[Any]) -> list[NDArray[Any]]:
    return [
        (index.t_us[rows] - index.first_us).astype("<f8"),
        index.columns["duration_us"][rows].astype("<f4"),
        rows.astype("<u4"),
        lanes.astype("<u4"),
        np.minimum(index.kind[rows], 255).astype(np.uint8),
        (index.flags[rows] & _SHOWN_FLAGS).astype(np.uint8),
    ]


def _bins(
    index: Index, agents: NDArray[Any], edges: NDArray[Any], *, sum_lanes: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the counts of events and of errors, one row for each lane."""
    edges = edges.astype(np.uint32)
    if sum_lanes and len(agents) == index.active:
        return np.diff(edges.astype(np.int64))[None, :], _counts(index.errors, edges)[None, :]
    lanes = 1 if sum_lanes else len(agents)
    activity = np.zeros((lanes, len(edges) - 1), np.int64)
    errors = np.zeros_like(activity)
    for position, agent in enumerate(agents.tolist()):
        lane = 0 if sum_lanes else position
        for rows in index.pieces_of(agent):
            activity[lane] += _counts(rows, edges)
        errors[lane] += _counts(index.errors_of(agent), edges)
    return activity, errors


def _counts(rows: NDArray[Any], edges: NDArray[Any]) -> NDArray[Any]:
    """Count ascending rows between edges."""
    begin, end = np.searchsorted(rows, edges[[0, -1]])
    inside, bins = rows[begin:end], len(edges) - 1
    if not len(inside):
        return np.zeros(bins, np.int64)
    if len(inside) < bins:
        return np.bincount(np.searchsorted(edges, inside, "right") - 1, minlength=bins)
    return np.diff(np.searchsorted(inside, edges))


def _levels(counts: NDArray[Any]) -> NDArray[Any]:
    """Scale counts to 1 to 127, logarithmically in the largest of the window; 0 stays 0."""
    most = int(counts.max(initial=0))
    if most <= 1:
        return (counts * _MOST_LEVEL).astype(np.uint8)
    if most + 1 < counts.size:  # scale each distinct count once
        level_of_row: NDArray[Any] = _levels(np.arange(most + 1))[counts]
        return level_of_row
    levels = 1 + np.round((_MOST_LEVEL - 1) * np.log(np.maximum(counts, 1)) / np.log(most))
    return np.where(counts > 0, levels, 0).astype(np.uint8)


def _encoded(head: dict[str, Any], columns: Sequence[NDArray[Any]]) -> bytes:
    text = orjson.dumps(head)
    padding = b"\0" * (-(4 + len(text)) % 8)
    return b"".join([struct.pack("<I", len(text)), text, padding, *(each.tobytes() for each in columns)])


MOST_TICKS: Final = 4_000
_WHY_CHARS: Final = 160
_DIGITS: Final = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class Lanes:
    """The assignment of agents to lanes."""

    agents: NDArray[Any]
    """The agent of each lane."""
    lane_of: NDArray[Any]
    """The lane of each agent; -1 if it has no events."""

    @classmethod
    def of(cls, agents: Sequence[int], count: int) -> Lanes:
        """Make lanes of agents in this order; `count` is the number of agents."""
        lane_of = np.full(max(count, 1), -1, np.int64)
        lane_of[list(agents)] = np.arange(len(agents))
        return cls(np.array(agents, np.int64), lane_of)


def by_trouble(index: Index, open_spans: Mapping[str, Sequence[str]], earlier: Iterable[int] = ()) -> Lanes:
    """Order the agents by errors, spans that a killed process left open, warnings, role and name.

    Args:
        index: the index of the session.
        open_spans: {agent: names of the spans that a killed process left open}.
        earlier: agents that keep their lanes; new ones follow them.
    """
    events = index.events_of
    errors = counts(index, index.errors)
    warnings = counts(index, index.warnings)
    names, roles = index.tables.agents.texts, index.tables.roles

    def key(agent: int) -> tuple[Any, ...]:
        left = len(open_spans.get(names[agent], ())) if agent != NOBODY else 0
        return (
            -int(errors[agent]), -left, -int(warnings[agent]),
            agent == NOBODY, roles.get(agent, ""), _natural(names[agent]), agent,
        )  # fmt: skip

    listed = [agent for agent in earlier if events[agent]]
    unlisted = set(np.flatnonzero(events).tolist()).difference(listed)
    return Lanes.of([*listed, *sorted(unlisted, key=key)], index.agents)


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts agent_2 before agent_10."""
    # not converted to numbers, since Python rejects thousands of digits
    parts = ((part.lstrip("0"), part.isdigit()) for part in _DIGITS.split(name))
    return [(len(text), text) if is_number else (-1, text) for text, is_number in parts]


def counts(index: Index, rows: NDArray[Any]) -> NDArray[Any]:
    """Count some rows by agent."""
    return np.bincount(index.agent[rows], minlength=index.agents)


def lane_rows(
    index: Index, lanes: Lanes, lines: Lines | None, open_spans: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Describe each lane; with `lines`, the last error of each is quoted."""
    errors = counts(index, index.errors)
    warnings = counts(index, index.warnings)
    last_error = {agent: int(index.errors_of(agent)[-1]) for agent in lanes.agents.tolist() if errors[agent]}
    quoted = {} if lines is None else _messages(index, lines, list(last_error.values()))
    rows = []
    for agent in lanes.agents.tolist():
        pieces = index.pieces_of(agent)
        name = index.tables.agents.texts[agent]
        left = open_spans.get(name, ()) if agent != NOBODY else ()
        rows.append(
            {
                "agent": name,
                "role": index.tables.roles.get(agent, ""),
                "events": int(index.events_of[agent]),
                "errors": int(errors[agent]),
                "first": index.time(int(pieces[0][0])),
                "last": index.time(int(pieces[-1][-1])),
                "why": _why(
                    int(errors[agent]), quoted.get(last_error.get(agent, -1)), left, int(warnings[agent])
                ),
            }
        )
    return rows


def _messages(index: Index, lines: Lines, rows: list[int]) -> dict[int, str]:
    try:
        pairs = zip(rows, lines.events(index, rows), strict=True)
        return {row: event.message or event.kind for row, event in pairs}
    except FilesMovedError:
        return {}  # show the counts only; the next index has the texts


def _why(errors: int, message: str | None, left: Sequence[str], warnings: int) -> str:
    parts = []
    if errors:
        last_message = "" if message is None else f", the last: {shown_safely(cut(message, _WHY_CHARS))}"
        parts.append(f"{plural(errors, 'error')}{last_message}")
    if left:
        parts.append(f"its process was killed inside {shown_safely(cut(left[-1], _WHY_CHARS))}")
    if warnings and not errors:
        parts.append(plural(warnings, "warning"))
    return "; ".join(parts)


def shown_ticks(index: Index) -> list[list[int]]:
    """Return [tick, time] of at most 4,000 recorded ticks, evenly sampled, with the first and the last."""
    ticks, rows = index.ticks
    if len(ticks) > MOST_TICKS:
        some = np.unique(np.linspace(0, len(ticks) - 1, MOST_TICKS).round().astype(np.int64))
        ticks, rows = ticks[some], rows[some]
    times = index.t_us[rows] - index.first_us
    return [[tick, t] for tick, t in zip(ticks.tolist(), times.tolist(), strict=True)]


def status_of(session: Path, info: SessionInfo | None) -> str:
    """Return whether a session is running, ended, or was killed; `unknown` without a description."""
    if is_written(session, is_ended=info is not None and info.ended_at is not None):
        return "running"
    if info is None:
        return "unknown"
    return "killed" if info.ended_at is None or info.recovered_at is not None else "ended"


def program_of(info: SessionInfo | None) -> str | None:
    """Return the command line of a session's program, with the script's name instead of its path."""
    if info is None or not info.argv:
        return None
    script = Path(str(info.argv[0]))
    name = script.parent.name if script.name == "__main__.py" else script.name
    return shown_safely(cut(" ".join([name, *map(str, info.argv[1:])]), _WHY_CHARS))


def replay_of(index: Index, info: SessionInfo | None) -> dict[str, Any]:
    """Return whether the session can be replayed, which needs states, and its stored targets."""
    kinds = index.tables.kinds
    state, action = kinds.get("state"), kinds.get("agent_action")
    if action is None or state is None or not index.has_full_state:
        return {"can": False, "text": "no action was recorded with its agent's state"}
    targets = {} if info is None else info.targets
    if not targets:
        return {"can": True, "text": "replay needs --target MODULE:FACTORY"}
    first = next(iter(targets.values()))
    some = f" and {len(targets) - 1} more" if len(targets) > 1 else ""
    return {"can": True, "text": f"replay with {shown_safely(cut(str(first), 80))}{some}"}


PENDING: Final = {"state": "pending"}
_READY: Final = {"state": "ready"}
_MOST_CAUSES: Final = 3
_MOST_INSIDE: Final = 4_096
"""The number of later events among which the end of the enclosing action is searched."""


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
                raise _no_lanes(f"no lanes {first} to {end}", count)
            return self.lanes.agents[first:end]
        strange = [lane for lane in lanes if not 0 <= lane < count]
        if strange:
            raise _no_lanes(f"no lane {strange[0]}", count)
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
            raise no_event(event_id)
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
        duration = number_in(event.extra.get("duration_ms"))
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

    def findings(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Return the leading causes in a report of `debug`."""
        causes = [self._cause(each) for each in report["causes"][:_MOST_CAUSES]]
        return {**_READY, **{name: report[name] for name in ("status", "tests")}, "causes": causes}

    def _cause(self, cause: Mapping[str, Any]) -> dict[str, Any]:
        lines = cause["explanation"].splitlines()
        named = [*cause["event_ids"], *(e[end] for e in cause["edges"] for end in ("cause_id", "effect_id"))]
        events = self.nodes(list(dict.fromkeys(named)))
        return {
            "title": cause["title"],
            "sentence": lines[0] if lines else cause["title"],
            "confidence": cause["confidence"],
            "lines": lines[1:],
            "events": events,
            "edges": [edge(each) for each in cause["edges"]],
            "t": self._settled(events[0]["id"]) if events else None,
        }

    def _settled(self, event_id: str) -> int:
        """Return when an event's change is in the agent's state: at the end of the enclosing action."""
        index, row = self.index, self.row_of(event_id)
        (event,) = self.lines.events(index, [row])
        agent_rows = index.rows_of(int(index.agent[row]))
        begin = int(agent_rows.searchsorted(row)) + 1
        inside = event.parent_span_id
        if inside is not None:
            rows = agent_rows[begin : begin + _MOST_INSIDE].tolist()
            for later, one in zip(rows, self.lines.events(index, rows), strict=True):
                if inside is not None and one.span_id == inside:
                    row, inside = later, one.parent_span_id
        return index.time(row)

    def comparison(self, other: Snapshot, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return how two sessions differ, with the rows of both events of each difference."""
        names = ("a", "b", "differ", "compared", "states", "notes", "text")
        first = result["first"]
        return {
            **_READY,
            **{name: result[name] for name in names},
            "first": None if first is None else self._placed(other, [first])[0],
            "agents": self._placed(other, result["agents"]),
        }

    def differences(self, other: Snapshot, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the events of an agent in which two sessions differ."""
        return {**_READY, "pairs": self._placed(other, result["pairs"]), "more": result["more"]}

    def provenance(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hops from a value back to where it came from, each an event."""
        events = {node["id"]: node for node in self.nodes([*{each["id"]: None for each in result["hops"]}])}
        names = ("action", "path", "value", "rule", "from")
        hops = [
            events[each["id"]] | {name: each.get(name) for name in names}
            for each in result["hops"]
            if each["id"] in events
        ]
        return {
            **_READY,
            **{name: result[name] for name in ("field", "value", "end", "inputs")},
            "hops": hops,
        }

    def _placed(self, other: Snapshot, listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**each, "t_a": self._time_of(each["id_a"]), "t_b": other._time_of(each["id_b"])}
            for each in listed
        ]

    def _time_of(self, event_id: str | None) -> int | None:
        if event_id is not None:
            with contextlib.suppress(EventNotFound, UsageError):
                return self.index.time(self.row_of(event_id))
        return None

    def nodes(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Describe events by id; those that are not in the index are left out."""
        rows = []
        for event_id in ids:
            with contextlib.suppress(EventNotFound, UsageError):
                rows.append(self.row_of(event_id))
        return [
            self.node(row, event)
            for row, event in zip(rows, self.lines.events(self.index, rows), strict=True)
        ]


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


def _no_lanes(what: str, count: int) -> UsageError:
    there_are = f"there are lanes 0 to {count - 1}" if count else "the session has no lanes yet"
    return UsageError(what, remedy=there_are)


def edge(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return an edge between two events."""
    ends = {"from": result["cause_id"], "to": result["effect_id"]}
    test = result.get("test")
    tested = {"test": None if test is None else str(CauseTest.from_dict(test))}
    return ends | {name: result[name] for name in ("basis", "rule", "reason")} | tested
