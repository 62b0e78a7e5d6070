"""How long things take and what they use: metrics, actions, throughput, resources."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from typing import Any

from Agent.analysis.distribution import describe_columns
from Agent.analysis.engine import Engine
from Agent.analysis.views import scan

SLOWEST = 10
MAX_NAMES = 200

_KEYS = (
    "metric_name",
    "value",
    "unit",
    "duration_ms",
    "outcome",
    "error_id",
    "action_type",
    "operation",
    "count",
    "duration_s",
    "per_second",
    "memory_bytes",
    "cpu_percent",
    "open_files",
)
_KINDS = ("metric", "throughput", "resource", "agent_action", "learning_update", "context_exit")


def performance_summary(engine: Engine) -> dict[str, Any]:
    """Durations in milliseconds, metrics, throughput, resources, the slowest spans, the bottlenecks.

    Returns:
        `operations` and `actions`: {name: count, errors, total_ms, mean, p50, p95, p99, max} over what has a
        duration; `metrics`: the same over the values of metrics without one, with their `unit`;
        `throughput` by operation; `resources`; `slowest` (10 event dicts); `bottlenecks` (names by share of
        all measured time; nested spans count in each).
    """
    kinds = ", ".join(f"'{kind}'" for kind in _KINDS)
    engine.rows(
        "CREATE OR REPLACE TEMP TABLE performance_lines AS SELECT ts_us, id, timestamp, agent_id, tick, "
        "event_type, "
        "try_cast(value AS DOUBLE) AS number, " + ", ".join(key for key in _KEYS if key != "value") + " "
        f"FROM {scan(*_KEYS)} WHERE event_type IN ({kinds})"
    )
    try:
        operations = _durations(engine, "metric", "metric_name")
        actions = _durations(engine, "agent_action", "action_type")
        return {
            "operations": operations,
            "actions": actions,
            "metrics": _values(engine),
            "throughput": _throughput(engine),
            "resources": _resources(engine),
            "slowest": _slowest(engine),
            "bottlenecks": _bottlenecks(operations, actions),
        }
    finally:
        engine.rows("DROP TABLE performance_lines")


def _durations(engine: Engine, kind: str, name: str) -> dict[str, dict[str, Any]]:
    found = engine.rows(
        f"SELECT coalesce({name}, '') AS name, {describe_columns('duration_ms')}, "
        "count(*) FILTER (WHERE outcome = 'error' OR error_id IS NOT NULL) AS errors, "
        "fsum(duration_ms) FILTER (WHERE isfinite(duration_ms)) AS total_ms "
        "FROM performance_lines WHERE event_type = ? AND duration_ms IS NOT NULL GROUP BY 1 "
        f"ORDER BY total_ms DESC NULLS LAST, name LIMIT {MAX_NAMES}",
        [kind],
    )
    return {row.pop("name"): _named(row) for row in found}


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {"count": row.pop("measured")} | row


def _values(engine: Engine) -> dict[str, dict[str, Any]]:
    found = engine.rows(
        f"SELECT metric_name AS name, any_value(unit) AS unit, {describe_columns('number')} FROM "
        "performance_lines "
        "WHERE event_type = 'metric' AND duration_ms IS NULL AND metric_name IS NOT NULL GROUP BY "
        "metric_name "
        f"ORDER BY measured DESC, name LIMIT {MAX_NAMES}"
    )
    return {row.pop("name"): _named(row) for row in found}


def _throughput(engine: Engine) -> dict[str, dict[str, Any]]:
    found = engine.rows(
        "SELECT coalesce(operation, '') AS name, count(*) AS samples, fsum(count) AS count, "
        "fsum(duration_s) AS duration_s, max(per_second) AS best_per_second FROM performance_lines "
        "WHERE event_type = 'throughput' GROUP BY 1 ORDER BY 1"
    )
    for row in found:
        seconds = row["duration_s"]
        row["per_second"] = row["count"] / seconds if seconds else None
    return {row.pop("name"): row for row in found}


def _resources(engine: Engine) -> dict[str, Any]:
    return engine.row(
        "SELECT count(*) AS samples, max(memory_bytes) AS max_memory_bytes, avg(memory_bytes) AS "
        "mean_memory_bytes, "
        "max(cpu_percent) AS max_cpu_percent, avg(cpu_percent) AS mean_cpu_percent, max(open_files) AS "
        "max_open_files "
        "FROM performance_lines WHERE event_type = 'resource'"
    )


def _slowest(engine: Engine) -> list[dict[str, Any]]:
    return engine.rows(
        "SELECT id, timestamp, tick, agent_id, event_type, coalesce(metric_name, action_type, "
        "event_type) AS name, "
        "duration_ms FROM performance_lines WHERE isfinite(duration_ms) "
        f"ORDER BY duration_ms DESC, ts_us, id LIMIT {SLOWEST}"
    )


def _bottlenecks(*groups: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    totals = [(name, row["total_ms"] or 0.0, row["count"]) for group in groups for name, row in group.items()]
    whole = sum(total for _, total, _ in totals)
    ranked = sorted(totals, key=lambda item: (-item[1], item[0]))[:SLOWEST]
    return [
        {"name": name, "total_ms": total, "count": count, "share": total / whole if whole else 0.0}
        for name, total, count in ranked
    ]
