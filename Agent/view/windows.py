"""Windows: a range of time and some lanes, as counts in bins or as single events.

An answer is a JSON header and columns of numbers, little endian (`ui/README.md`). Bins are exact at any zoom:
the edges are converted to rows once, and each agent's rows are sorted, so a count between two edges is the
difference of two indices, found by bisection. If an agent has fewer events than the window has edges, they
are counted instead.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from Agent.view.index.columns import ERROR, FULL_STATE, RECEIVED, SENT, STATE, WARNING, Index

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
