"""How much happened when, per agent and for the session, and the marks that the program set itself."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from typing import Any

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.event_dict import BY_ORDER, is_error
from Agent.analysis.query.views import IS_ERROR, scan
from Agent.analysis.session import agent_events
from Agent.analysis.stats import describe, number, ranked
from Agent.event.clock import format_timestamp
from Agent.event.model import Event
from Agent.tree.read.reader import TreeReader

RECENT_ERRORS = 10


class ActivityCount:
    """Counts over one agent's events, taken one event at a time."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.role: str | None = None
        self.total = 0
        self.first: Event | None = None
        self.last: Event | None = None
        self.ticks: list[int] = []
        self.kinds: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.decisions: Counter[str] = Counter()
        self.durations: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self.error_count = 0
        self.recent_errors: list[dict[str, Any]] = []

    def add(self, event: Event) -> None:
        """Count one more event."""
        self.total += 1
        self.first = self.first or event
        self.last = event
        self.role = event.agent_role or self.role
        self.kinds[event.kind] += 1
        self.levels[event.level] += 1
        if event.tick is not None:
            self.ticks = [min([event.tick, *self.ticks]), max([event.tick, *self.ticks])]
        if event.kind == "agent_action":
            self._add_action(event)
        elif event.kind == "decision":
            self.decisions[str(event.extra.get("decision_type"))] += 1
        if is_error(event):
            self._add_error(event)

    def _add_action(self, event: Event) -> None:
        action = str(event.extra.get("action_type"))
        self.actions[action] += 1
        outcome = event.extra.get("outcome") or ("error" if event.extra.get("error_id") else "ok")
        self.outcomes[action][str(outcome)] += 1
        duration = number(event.extra.get("duration_ms"))
        if duration is not None:
            self.durations[action].append(duration)

    def _add_error(self, event: Event) -> None:
        self.error_count += 1
        self.recent_errors.append({"id": event.id, "timestamp": event.timestamp, "message": event.message})
        del self.recent_errors[:-RECENT_ERRORS]

    def result(self) -> dict[str, Any]:
        """The counts as `analyze_agent_activity` gives them."""
        assert self.first is not None and self.last is not None  # noqa: S101 - agent_events raised otherwise
        return {
            "agent_id": self.agent_id,
            "agent_role": self.role,
            "total_logs": self.total,
            "action_counts": ranked(self.actions),
            "errors": self.error_count,
            "recent_errors": self.recent_errors,
            "first_seen": self.first.timestamp,
            "last_seen": self.last.timestamp,
            "first_tick": self.ticks[0] if self.ticks else None,
            "last_tick": self.ticks[1] if self.ticks else None,
            "event_types": ranked(self.kinds),
            "levels": ranked(self.levels),
            "decisions": self.decisions.total(),
            "decision_counts": ranked(self.decisions),
            "outcomes": {action: ranked(counts) for action, counts in sorted(self.outcomes.items())},
            "durations_ms": {action: describe(values) for action, values in sorted(self.durations.items())},
        }


def agent_activity(reader: TreeReader, agent_id: str) -> dict[str, Any]:
    """What one agent did: counts by action, outcome, kind and level, errors, durations in milliseconds.

    `errors` is how many errors are the agent's; an action that failed because of one is not a second one.

    Raises:
        AgentNotFound: the session knows no such agent.
    """
    count = ActivityCount(agent_id)
    for event in agent_events(reader, agent_id):
        count.add(event)
    return count.result()


DEFAULT_BUCKETS = 60
MAX_MARKS = 500

_MARKS = (
    "simulation_start",
    "simulation_end",
    "phase",
    "milestone",
    "checkpoint",
    "run.started",
    "run.finished",
)


def timeline(engine: Engine, buckets: int = DEFAULT_BUCKETS) -> dict[str, Any]:
    """The session cut into equal spans of time.

    Returns:
        `buckets`: dicts with start, end, first_tick, last_tick, events, errors, agents (how many were
        active) and `by_type` ({event_type: count}), empty spans included; `marks`: starts, ends, phases,
        milestones and named checkpoints, oldest first.
    """
    buckets = max(1, buckets)
    edges = engine.row(f"SELECT min(ts_us) AS first_us, max(ts_us) AS last_us FROM {scan()}")
    if edges["first_us"] is None:
        return {"buckets": [], "marks": []}
    first, last = edges["first_us"], edges["last_us"]
    width = max(1, -(-(last - first + 1) // buckets))
    count = -(-(last - first + 1) // width)
    made = [_empty(first + n * width, min(first + (n + 1) * width, last + 1)) for n in range(count)]
    place = f"((ts_us - {first}) // {width})"
    for row in engine.rows(
        f"SELECT {place} AS bucket, event_type, count(*) AS n, min(tick) AS low, max(tick) AS high, "
        f"count(*) FILTER (WHERE {IS_ERROR}) AS errors FROM {scan('error_id')} "
        # what has come since the edges were found has no bucket
        f"WHERE ts_us BETWEEN {first} AND {last} "
        "GROUP BY 1, 2 ORDER BY 1, n DESC, 2"
    ):
        _add(made[row["bucket"]], row)
    for row in engine.rows(
        f"SELECT {place} AS bucket, count(DISTINCT agent_id) AS n FROM {scan()} "
        f"WHERE ts_us BETWEEN {first} AND {last} GROUP BY 1"
    ):
        made[row["bucket"]]["agents"] = row["n"]
    return {"buckets": made, "marks": marks(engine)}


def _empty(start_us: int, end_us: int) -> dict[str, Any]:
    return {
        "start": format_timestamp(start_us),
        "end": format_timestamp(end_us),
        "first_tick": None,
        "last_tick": None,
        "events": 0,
        "errors": 0,
        "agents": 0,
        "by_type": {},
    }


def _add(bucket: dict[str, Any], row: dict[str, Any]) -> None:
    bucket["events"] += row["n"]
    bucket["errors"] += row["errors"]
    bucket["by_type"][row["event_type"]] = row["n"]
    if row["low"] is not None:
        low, high = bucket["first_tick"], bucket["last_tick"]
        bucket["first_tick"] = row["low"] if low is None else min(low, row["low"])
        bucket["last_tick"] = row["high"] if high is None else max(high, row["high"])


def marks(engine: Engine) -> list[dict[str, Any]]:
    """What the program said about its own course, oldest first, at most 500."""
    kinds = ", ".join(f"'{kind}'" for kind in _MARKS)
    return engine.rows(
        f"SELECT timestamp, id, tick, event_type, name, message FROM {scan('name')} WHERE event_type IN "
        f"({kinds}) "
        f"ORDER BY {BY_ORDER} LIMIT {MAX_MARKS}"
    )
