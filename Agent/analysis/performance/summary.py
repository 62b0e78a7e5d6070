"""How long things take and what they use, in one answer: put together from `operations` and `latency`."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from Agent.analysis.performance.operations import (
    latency_steps,
    operations,
    resource_curve,
    slowest_spans,
    throughput_curve,
    timed_spans,
)
from Agent.analysis.query.engine import Engine, kept
from Agent.analysis.query.views import scan
from Agent.analysis.stats.distribution import quantile_columns

__all__ = ["performance_report", "performance_summary"]

TOP: Final = 10
MAX_NAMES: Final = 200


def performance_summary(engine: Engine) -> dict[str, Any]:
    """Durations in milliseconds, metrics, throughput, resources, the slowest spans, the bottlenecks.

    Returns:
        `operations` and `actions`: {name: count, errors, total_ms, mean, p50, p95, p99, max, self_ms} of
        measured blocks and of actions; `other_spans`: dicts of the rest (`operations.operations`);
        `quantiles`: exact or approximate; `metrics`: the same numbers over the values of metrics without a
        duration, with their `unit`; `throughput` by operation; `resources`; `slowest` (10 spans);
        `bottlenecks` (operations by the time that is their own: kind, name, count, total_ms, self_ms, share).
    """
    with _sources(engine) as (spans, measured):
        return _summary(engine, spans, measured, with_trees=False)


def performance_report(engine: Engine) -> dict[str, Any]:
    """The summary with everything over time besides.

    Returns:
        What `performance_summary` gives, each of `slowest` with its tree, and `latency_steps`
        (`latency.latency_steps`), `throughput_curve`, `resource_curve`.
    """
    with _sources(engine) as (spans, measured):
        return _summary(engine, spans, measured, with_trees=True) | {
            "latency_steps": latency_steps(engine, spans),
            "throughput_curve": throughput_curve(engine),
            "resource_curve": resource_curve(engine, measured),
        }


_MEASURED: Final = (
    "metric_name", "unit", "value", "duration_ms", "operation", "count", "duration_s", "per_second",
    "memory_bytes", "cpu_percent", "open_files",
)  # fmt: skip


@contextmanager
def _sources(engine: Engine) -> Iterator[tuple[str, str]]:
    """The two sorts of rows that everything here is made of."""
    others = (
        f"(SELECT ts_us, event_type, {', '.join(_MEASURED)} FROM {scan(*_MEASURED)} "
        "WHERE event_type IN ('metric', 'throughput', 'resource') "
        "AND (event_type <> 'metric' OR duration_ms IS NULL))"
    )
    with kept(engine, "timed", timed_spans()) as spans, kept(engine, "measured", others) as measured:
        yield spans.text, measured.text


def _summary(engine: Engine, spans: str, measured: str, *, with_trees: bool) -> dict[str, Any]:
    found = operations(engine, spans)
    rows = found["operations"]
    return {
        "operations": _by_name(rows, "metric"),
        "actions": _by_name(rows, "agent_action"),
        "other_spans": [row for row in rows if row["kind"] not in {"metric", "agent_action"}],
        "quantiles": found["quantiles"],
        "spans": found["spans"],
        "metrics": _values(engine, measured),
        "throughput": _throughput(engine, measured),
        "resources": _resources(engine, measured),
        "slowest": slowest_spans(engine, spans, TOP, with_trees=with_trees),
        "bottlenecks": _bottlenecks(rows),
    }


def _by_name(rows: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    shown = ("count", "errors", "total_ms", "mean", "p50", "p95", "p99", "max", "self_ms", "concurrent")
    return {row["name"]: {key: row[key] for key in shown} for row in rows if row["kind"] == kind}


def _values(engine: Engine, measured: str) -> dict[str, dict[str, Any]]:
    lines = (
        f"(SELECT metric_name, unit, try_cast(value AS DOUBLE) AS number FROM {measured} "
        "WHERE event_type = 'metric' AND metric_name IS NOT NULL)"
    )
    columns, _ = quantile_columns("number", engine.row(f"SELECT count(*) AS n FROM {lines}")["n"])
    rows = engine.rows(
        f"SELECT metric_name AS name, any_value(unit) AS unit, {columns} FROM {lines} GROUP BY metric_name "
        f"ORDER BY measured DESC, name LIMIT {MAX_NAMES}"
    )
    return {row.pop("name"): {"count": row.pop("measured")} | row for row in rows}


def _throughput(engine: Engine, measured: str) -> dict[str, dict[str, Any]]:
    rows = engine.rows(
        "SELECT coalesce(operation, '') AS name, count(*) AS samples, fsum(count) AS count, "
        "fsum(duration_s) AS duration_s, max(per_second) AS best_per_second "
        f"FROM {measured} "
        "WHERE event_type = 'throughput' GROUP BY 1 ORDER BY 1"
    )
    for row in rows:
        seconds = row["duration_s"]
        row["per_second"] = row["count"] / seconds if seconds else None
    return {row.pop("name"): row for row in rows}


def _resources(engine: Engine, measured: str) -> dict[str, Any]:
    return engine.row(
        "SELECT count(*) AS samples, max(memory_bytes) AS max_memory_bytes, "
        "avg(memory_bytes) AS mean_memory_bytes, max(cpu_percent) AS max_cpu_percent, "
        "avg(cpu_percent) AS mean_cpu_percent, max(open_files) AS max_open_files "
        f"FROM {measured} WHERE event_type = 'resource'"
    )


def _bottlenecks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By own time; by total where own times were not looked for, which counts nested spans in each."""
    measure = "self_ms" if any(row["self_ms"] is not None for row in rows) else "total_ms"
    whole = sum(row[measure] or 0.0 for row in rows)
    ranked = sorted(rows, key=lambda row: (-(row[measure] or 0.0), row["kind"], row["name"]))[:TOP]
    shown = ("kind", "name", "count", "total_ms", "self_ms")
    return [
        {key: row[key] for key in shown} | {"share": (row[measure] or 0.0) / whole if whole else 0.0}
        for row in ranked
    ]
