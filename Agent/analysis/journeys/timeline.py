"""The course of a session: how much happened when, and the marks that the program set itself."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from typing import Any

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.event_dict import BY_ORDER
from Agent.analysis.query.views import IS_ERROR, scan
from Agent.event.clock import format_timestamp

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
