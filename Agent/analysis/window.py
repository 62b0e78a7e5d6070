"""A stretch of a session held in memory with its links: who is inside what, who answers whom."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from Agent.analysis.distribution import number
from Agent.analysis.engine import Engine
from Agent.analysis.rows import EVENT_COLUMNS, engine_row
from Agent.analysis.views import whole_lines
from Agent.event.clock import parse_timestamp

MAX_EVENTS = 50_000
_SLACK_US = 2_000
"""A span's beginning is its end less a rounded duration."""

Row = dict[str, Any]


def time_us(row: Row) -> int:
    """Microseconds since 1970 of an event dict."""
    return parse_timestamp(row["timestamp"])


def order(row: Row) -> tuple[int, str, int]:
    """The display order of event dicts: time, then writer and number."""
    writer, _, seq = row["id"].rpartition("-")
    return time_us(row), writer, int(seq)


def started_us(row: Row) -> int:
    """When the event began: its time, less the duration if it is a span."""
    duration = number(row["extra"].get("duration_ms")) if row["span_id"] else None
    return (
        time_us(row) - round(duration * 1000)
        if duration is not None and duration == duration
        else time_us(row)
    )


class Window:
    """Events in display order, found by id, span, message and agent."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = sorted(rows, key=order)
        self.by_id = {row["id"]: row for row in self.rows}
        self.by_span = {row["span_id"]: row for row in self.rows if row["span_id"]}
        self.inside: defaultdict[str, list[Row]] = defaultdict(list)
        self.sent: dict[str, Row] = {}
        self._by_agent: defaultdict[str, list[Row]] = defaultdict(list)
        self._orders: dict[str, list[tuple[int, str, int]]] = {}
        for row in self.rows:
            if row["parent_span_id"]:
                self.inside[row["parent_span_id"]].append(row)
            if row["agent_id"] is not None:
                self._by_agent[row["agent_id"]].append(row)
            if row["event_type"] == "agent_message" and is_sent(row):
                self.sent[str(row["extra"].get("message_id"))] = row

    def before(self, row: Row) -> list[Row]:
        """What the same agent did before an event, nearest first."""
        agent = row["agent_id"]
        if agent is None:
            return []
        if agent not in self._orders:
            self._orders[agent] = [order(known) for known in self._by_agent[agent]]
        place = bisect.bisect_left(self._orders[agent], order(row))
        return self._by_agent[agent][:place][::-1]

    def of_agent(self, agent_id: str) -> list[Row]:
        """The agent's events, oldest first."""
        return self._by_agent[agent_id]


def is_sent(row: Row) -> bool:
    """Whether a message event is the sender's half."""
    return str(row["extra"].get("direction", "")).startswith("sen")


def load_window(engine: Engine, since_us: int, until_us: int) -> Window:
    """The events of a stretch of time and the spans open at its end; the newest if they are too many."""
    found = engine.rows(
        f"SELECT {EVENT_COLUMNS} FROM {whole_lines()} WHERE (ts_us BETWEEN $1 AND $2) OR (span_id IS NOT "
        "NULL AND "
        "ts_us > $2 AND ts_us - coalesce(try_cast(extra->>'$.duration_ms' AS DOUBLE), 0) * 1000 <= $2 + $3) "
        "ORDER BY ts_us DESC, writer DESC, seq DESC LIMIT $4",
        [since_us, until_us, _SLACK_US, MAX_EVENTS],
    )
    return Window(engine_row(row) for row in found)


def load_event(engine: Engine, event_id: str) -> Row | None:
    """One event by its id, None if the session does not hold it."""
    found = engine.rows(f"SELECT {EVENT_COLUMNS} FROM {whole_lines()} WHERE id = ? LIMIT 1", [event_id])
    return engine_row(found[0]) if found else None
