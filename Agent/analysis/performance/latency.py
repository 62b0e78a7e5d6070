"""Performance over time: throughput and resources as curves, and operations that became slower or faster."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from typing import Any, Final

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.views import scan
from Agent.analysis.stats.distribution import EXACT_ROWS
from Agent.analysis.stats.trend import SIGNIFICANCE, mann_kendall, pettitt, sen_slope
from Agent.event.clock import format_timestamp, parse_timestamp

__all__ = ["latency_steps", "resource_curve", "throughput_curve"]

BUCKETS: Final = 60
LEAST_BUCKETS: Final = 8
LEAST_SPANS: Final = 40
LEAST_RATIO: Final = 1.5
MAX_OPERATIONS: Final = 50


def latency_steps(engine: Engine, spans: str) -> dict[str, Any]:
    """The operations whose duration jumped at some time to another level and stayed there.

    `spans` is `operations.timed_spans()`, or where it is kept. The medians of at most 60 equal parts of the
    session are tested by Pettitt; told is what is significant and changed by at least half. Looked at are the
    50 operations with most time and at least 40 spans.

    Returns:
        `steps`, the largest change first: kind, name, at (time of the first span after it), tick, before_ms,
        after_ms (medians of the parts before and after), ratio, p_value, spans; `method`, `by` (tick or
        time), `parameters`.
    """
    edges = engine.row(
        "SELECT count(*) AS n, count(tick) AS ticked, min(tick) AS low_tick, max(tick) AS high_tick, "
        f"min(ts_us) AS low, max(ts_us) AS high FROM {spans}"
    )
    by_tick = edges["ticked"] * 2 > edges["n"]
    low, high = (edges["low_tick"], edges["high_tick"]) if by_tick else (edges["low"], edges["high"])
    told = {
        "method": f"Pettitt 1979 over medians, p < {SIGNIFICANCE}",
        "by": "tick" if by_tick else "time",
        "parameters": {"buckets": BUCKETS, "least_ratio": LEAST_RATIO, "least_spans": LEAST_SPANS},
    }
    if low is None:
        return {"steps": [], **told}
    # beyond a million spans a sketch finds the middle of each part
    middle = "quantile_cont" if edges["n"] <= EXACT_ROWS else "approx_quantile"
    width = max(1, -(-(high - low + 1) // BUCKETS))
    place = f"(({'tick' if by_tick else 'ts_us'} - {low}) // {width})"
    rows = engine.rows(
        f"SELECT kind, name, {place} AS bucket, count(*) AS n, {middle}(duration_ms, 0.5) AS median, "
        f"min(ts_us) AS first_us, min(tick) AS tick FROM {spans} WHERE {place} IS NOT NULL "
        f"AND (kind, name) IN (SELECT (kind, name) FROM {spans} GROUP BY kind, name HAVING "
        "count(*) >= "
        f"{LEAST_SPANS} ORDER BY sum(duration_ms) DESC LIMIT {MAX_OPERATIONS}) "
        "GROUP BY ALL ORDER BY kind, name, bucket"
    )
    series: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        series.setdefault((row["kind"], row["name"]), []).append(row)
    steps = [step for name, points in series.items() if (step := _step(name, points)) is not None]
    steps.sort(key=lambda step: (-max(step["ratio"], 1 / step["ratio"]), step["kind"], step["name"]))
    return {"steps": steps, **told}


def _step(name: tuple[str, str], points: list[dict[str, Any]]) -> dict[str, Any] | None:
    medians = [point["median"] for point in points]
    if len(medians) < LEAST_BUCKETS:
        return None
    place, p_value = pettitt(medians)
    if not place or p_value >= SIGNIFICANCE:
        return None
    before, after = _median(medians[:place]), _median(medians[place:])
    if min(before, after) <= 0 or max(before / after, after / before) < LEAST_RATIO:
        return None
    return {
        "kind": name[0],
        "name": name[1],
        "at": format_timestamp(points[place]["first_us"]),
        "tick": points[place]["tick"],
        "before_ms": before,
        "after_ms": after,
        "ratio": after / before,
        "p_value": p_value,
        "spans": sum(point["n"] for point in points),
    }


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _bucketed(engine: Engine, source: str, columns: str) -> list[dict[str, Any]]:
    """A row for each part of the time that a source covers: start, seconds, and the columns."""
    edges = engine.row(f"SELECT min(ts_us) AS low, max(ts_us) AS high FROM {source}")
    if edges["low"] is None:
        return []
    low, high = edges["low"], edges["high"]
    width = max(1, -(-(high - low + 1) // BUCKETS))
    rows = engine.rows(
        f"SELECT (ts_us - {low}) // {width} AS bucket, {columns} FROM {source} WHERE ts_us IS NOT NULL "
        "GROUP BY bucket ORDER BY bucket"
    )
    for row in rows:
        start = low + row.pop("bucket") * width
        row["start"] = format_timestamp(start)
        row["seconds"] = min(width, high - start + 1) / 1e6
    return rows


def throughput_curve(engine: Engine) -> list[dict[str, Any]]:
    """Events and actions in at most 60 equal parts of the session, empty ones left out.

    Returns:
        Dicts with start, seconds (length of the part), events, actions, events_per_s, actions_per_s.
    """
    rows = _bucketed(
        engine,
        scan(),
        "count(*) AS events, count(*) FILTER (WHERE event_type = 'agent_action') AS actions",
    )
    for row in rows:
        row["events_per_s"] = row["events"] / row["seconds"]
        row["actions_per_s"] = row["actions"] / row["seconds"]
    return rows


def resource_curve(engine: Engine, source: str) -> dict[str, Any]:
    """Memory, processor and open files over time, and whether memory only grows.

    `source` holds ts_us, event_type, memory_bytes, cpu_percent and open_files.

    Returns:
        `points`: start, seconds, samples, memory_bytes (mean), cpu_percent (mean), open_files (most);
        `memory`: `rising` (by Mann and Kendall over the points), `bytes_per_s` (Sen's slope), `p_value`,
        `first` and `last` (bytes); None with less than eight points.
    """
    lines = f"(SELECT * FROM {source} WHERE event_type = 'resource')"
    points = _bucketed(
        engine,
        lines,
        "count(*) AS samples, avg(memory_bytes) AS memory_bytes, avg(cpu_percent) AS cpu_percent, "
        "max(open_files) AS open_files",
    )
    memory = [point["memory_bytes"] for point in points if point["memory_bytes"] is not None]
    seconds = [parse_timestamp(point["start"]) / 1e6 for point in points if point["memory_bytes"] is not None]
    if len(memory) < LEAST_BUCKETS:
        return {"points": points, "memory": None}
    slope, p_value = sen_slope(memory, seconds), mann_kendall(memory)
    return {
        "points": points,
        "memory": {
            "rising": slope > 0 and p_value < SIGNIFICANCE,
            "bytes_per_s": slope,
            "p_value": p_value,
            "first": memory[0],
            "last": memory[-1],
        },
    }
