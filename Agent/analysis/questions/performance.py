"""Durations and resource use: per operation, per agent, over time, and as a summary."""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from Agent.analysis.query.kept import QueryEngine, kept
from Agent.analysis.query.views import ABOUT, BY_ORDER, TOTAL, events_of, part_of, scan
from Agent.analysis.stats import (
    EXACT_ROWS,
    SIGNIFICANCE,
    mann_kendall,
    pettitt,
    quantile_columns,
    sen_slope,
)
from Agent.event.clock import format_timestamp, parse_timestamp
from Agent.event.codec import LONGEST_MS
from Agent.event.payloads import KINDS


def performance_summary(engine: QueryEngine) -> dict[str, Any]:
    """Summarise durations (ms), metrics, throughput, resources, the slowest spans and bottlenecks.

    Returns:
        `operations` and `actions`: {name: count, errors, total_ms, mean, p50, p95, p99, max, self_ms} of
        measured blocks and of actions; `other_spans`: dicts for all other kinds (`operations`);
        `quantiles`: exact or approximate; `metrics`: the same statistics of metrics without a duration, with
        their `unit`; `throughput` by operation; `resources`; `slowest` (10 spans); `bottlenecks` (operations
        by own time: kind, name, count, total_ms, self_ms, share).
    """
    with _sources(engine) as (spans, measured):
        return _summary(engine, spans, measured, with_trees=False)


def performance_report(engine: QueryEngine) -> dict[str, Any]:
    """Return the summary, with curves and changes over time.

    Returns:
        The keys of `performance_summary`, where each of `slowest` has its tree, and `latency_steps`,
        `throughput_curve`, `resource_curve` (see the functions of these names).
    """
    # its one pass over all lines also builds the index for the next queries
    every = f"(SELECT ts_us, event_type = 'agent_action' AS is_action FROM {scan()})"
    with kept(engine, "moments", every) as moments, _sources(engine) as (spans, measured):
        return _summary(engine, spans, measured, with_trees=True) | {
            "latency_steps": latency_steps(engine, spans),
            "throughput_curve": throughput_curve(engine, moments),
            "resource_curve": resource_curve(engine, measured),
        }


_MEASURED: Final = (
    "metric_name", "unit", "value", "duration_ms", "operation", "count", "duration_s", "per_second",
    "memory_bytes", "cpu_percent", "open_files",
)  # fmt: skip


@contextmanager
def _sources(engine: QueryEngine) -> Iterator[tuple[str, str]]:
    """Keep the two tables that all answers are computed from: timed spans, and other measurements."""
    engine.ends_us()  # builds the index if there is none
    others = (
        f"(SELECT ts_us, event_type, {', '.join(_MEASURED)} "
        f"FROM {events_of(('metric', 'throughput', 'resource'), *_MEASURED)} "
        "AND (event_type <> 'metric' OR duration_ms IS NULL))"
    )
    with kept(engine, "timed", timed_spans()) as spans, kept(engine, "measured", others) as measured:
        yield spans, measured


def _summary(engine: QueryEngine, spans: str, measured: str, *, with_trees: bool) -> dict[str, Any]:
    summary = operations(engine, spans)
    rows = summary["operations"]
    return {
        "operations": _by_name(rows, "metric"),
        "actions": _by_name(rows, "agent_action"),
        "other_spans": [row for row in rows if row["kind"] not in {"metric", "agent_action"}],
        "quantiles": summary["quantiles"],
        "spans": summary["spans"],
        "metrics": _values(engine, measured),
        "throughput": _throughput(engine, measured),
        "resources": _resources(engine, measured),
        "slowest": slowest_spans(engine, spans, TOP, with_trees=with_trees),
        "bottlenecks": _bottlenecks(rows),
    }


def _by_name(rows: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    shown = ("count", "errors", "total_ms", "mean", "p50", "p95", "p99", "max", "self_ms", "concurrent")
    return {row["name"]: {key: row[key] for key in shown} for row in rows if row["kind"] == kind}


def _values(engine: QueryEngine, measured: str) -> dict[str, dict[str, Any]]:
    lines = (
        f"(SELECT metric_name, unit, try_cast(value AS DOUBLE) AS number FROM {measured} "
        "WHERE event_type = 'metric' AND metric_name IS NOT NULL)"
    )
    columns, _ = quantile_columns("number", engine.row(f"SELECT count(*) AS n FROM {lines}")["n"])
    rows = engine.rows(
        f"SELECT metric_name AS name, min(unit) AS unit, {columns} FROM {lines} GROUP BY metric_name "
        f"ORDER BY measured DESC, name LIMIT {MAX_NAMES}"
    )
    return {row.pop("name"): {"count": row.pop("measured")} | row for row in rows}


def _throughput(engine: QueryEngine, measured: str) -> dict[str, dict[str, Any]]:
    rows = engine.rows(
        "SELECT coalesce(operation, '') AS name, count(*) AS samples, "
        f"{TOTAL}(count) AS count, {TOTAL}(duration_s) AS duration_s, "
        f"max(per_second) AS best_per_second FROM {measured} "
        "WHERE event_type = 'throughput' GROUP BY 1 ORDER BY 1"
    )
    for row in rows:
        seconds = row["duration_s"]
        row["per_second"] = row["count"] / seconds if seconds else None
    return {row.pop("name"): row for row in rows}


def _resources(engine: QueryEngine, measured: str) -> dict[str, Any]:
    return engine.row(
        "SELECT count(*) AS samples, max(memory_bytes) AS max_memory_bytes, "
        "avg(memory_bytes) AS mean_memory_bytes, max(cpu_percent) AS max_cpu_percent, "
        "avg(cpu_percent) AS mean_cpu_percent, max(open_files) AS max_open_files "
        f"FROM {measured} WHERE event_type = 'resource'"
    )


def _bottlenecks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The top operations by own time; if that was not computed, by total time, which counts nested spans."""
    measure = "self_ms" if any(row["self_ms"] is not None for row in rows) else "total_ms"
    whole = sum(row[measure] or 0.0 for row in rows)
    ranked = sorted(rows, key=lambda row: (-(row[measure] or 0.0), row["kind"], row["name"]))[:TOP]
    shown = ("kind", "name", "count", "total_ms", "self_ms")
    return [
        {key: row[key] for key in shown} | {"share": (row[measure] or 0.0) / whole if whole else 0.0}
        for row in ranked
    ]


TOP: Final = 10
MAX_NAMES: Final = 200
MAX_TREE: Final = 100
MAX_LEVELS: Final = 12
SELF_SPANS: Final = 20_000_000
"""Above this number of spans own times are not computed: the join would take too long."""

TIMED: Final = (
    "agent_action", "metric", "learning_update", "context_exit", "tool.call", "model.call",
)  # fmt: skip
_NAMES: Final = {kind: KINDS[kind].about for kind in TIMED}
_CASES: Final = " ".join(f"WHEN '{kind}' THEN {name}" for kind, name in _NAMES.items())
_NAME: Final = f"coalesce(CASE event_type {_CASES} END, '')"
_KEYS: Final = (*dict.fromkeys(_NAMES.values()), "duration_ms", "latency_ms", "outcome", "error_id")


def timed_spans() -> str:
    """A sub-query for all events with a duration.

    Its columns: ts_us, writer, seq, tick, agent_id, kind, name, span_id, parent_span_id, duration_ms (at most
    LONGEST_MS in magnitude), failed.
    """
    duration = "CASE WHEN event_type = 'model.call' THEN latency_ms ELSE duration_ms END"
    return (
        f"(SELECT * FROM (SELECT {BY_ORDER}, tick, agent_id, event_type AS kind, {_NAME} AS name, span_id, "
        f"parent_span_id, {duration} AS duration_ms, "
        "(coalesce(outcome, 'ok') = 'error' OR error_id IS NOT NULL) AS failed "
        f"FROM {events_of(TIMED, *_KEYS)}) "
        f"WHERE abs(duration_ms) <= {LONGEST_MS})"
    )


def operations(engine: QueryEngine, spans: str) -> dict[str, Any]:
    """Compute statistics of every operation; `spans` is `timed_spans()`, or the table that keeps it.

    Returns:
        `operations`: dicts, largest total time first, at most 200, with kind, name, count, errors, total_ms,
        mean, p50, p95, p99, max (milliseconds), and for spans `self_ms` (time outside their direct children,
        at least 0), `self_share` (of all own time) and `concurrent` (the number of spans whose children ran
        in parallel: together they took longer than the span); `quantiles`: exact or approximate; `spans`
        (their number); `self_times`: whether own times were computed.
    """
    number = engine.row(f"SELECT count(*) AS n FROM {spans}")["n"]
    columns, quantiles = quantile_columns("duration_ms", number)
    rows = engine.rows(
        f"SELECT kind, name, {columns}, count(*) FILTER (WHERE failed) AS errors, "
        f"{TOTAL}(duration_ms) AS total_ms FROM {spans} GROUP BY kind, name "
        f"ORDER BY total_ms DESC, kind, name LIMIT {MAX_NAMES}"
    )
    own = _own_times(engine, spans) if number <= SELF_SPANS else {}
    whole = sum(each["self_ms"] for each in own.values())
    nothing = {"self_ms": None, "concurrent": None}
    measured = []
    for row in rows:
        named = {"kind": row.pop("kind"), "name": row.pop("name"), "count": row.pop("measured")}
        named |= row | own.get((named["kind"], named["name"]), nothing)
        self_ms = named["self_ms"]
        measured.append(named | {"self_share": self_ms / whole if whole and self_ms is not None else None})
    return {
        "operations": measured,
        "quantiles": quantiles,
        "spans": number,
        "self_times": number <= SELF_SPANS,
    }


def _own_times(engine: QueryEngine, spans: str) -> dict[tuple[str, str], dict[str, Any]]:
    rows = engine.rows(
        f"WITH s AS (SELECT kind, name, span_id, parent_span_id, duration_ms FROM {spans} "
        "WHERE span_id IS NOT NULL), "
        "c AS (SELECT parent_span_id AS parent, sum(duration_ms) AS inner_ms FROM s "
        "WHERE parent_span_id IS NOT NULL GROUP BY 1) "
        "SELECT kind, name, sum(greatest(duration_ms - coalesce(inner_ms, 0), 0)) AS self_ms, "
        # below a microsecond the difference is rounding
        "count(*) FILTER (WHERE inner_ms > duration_ms + 0.001) AS concurrent "
        "FROM s LEFT JOIN c ON c.parent = s.span_id GROUP BY kind, name"
    )
    return {(row.pop("kind"), row.pop("name")): row for row in rows}


def slowest_spans(
    engine: QueryEngine, spans: str, top: int = TOP, *, with_trees: bool = True
) -> list[dict[str, Any]]:
    """The slowest spans, slowest first; `spans` is `timed_spans()`, or the table that keeps it.

    Returns:
        Dicts with id, timestamp, started_at, tick, agent_id, kind, name, duration_ms, failed, span_id,
        parent_span_id, and with trees `self_ms`, `tree` (the first 100 spans inside, parents first, in order
        of start: depth, id, agent_id, kind, name, duration_ms, after_ms since the start of the slow span)
        and `tree_left_out` (how many more there are).
    """
    rows = engine.rows(f"SELECT * FROM {spans} ORDER BY duration_ms DESC, {BY_ORDER} LIMIT {int(top)}")
    slowest = [_span(row) for row in rows]
    if with_trees:
        inside = _children(engine, spans, rows)
        for row, span in zip(rows, slowest, strict=True):
            tree, left_out = _tree(row, inside)
            taken = sum(each["duration_ms"] for each in tree if each["depth"] == 1)
            span |= {
                "self_ms": max(0.0, span["duration_ms"] - taken),
                "tree": tree,
                "tree_left_out": left_out,
            }
    return slowest


def _span(row: dict[str, Any]) -> dict[str, Any]:
    started_us = row["ts_us"] - round(row["duration_ms"] * 1000)
    return {
        "id": f"{row['writer']}-{row['seq']}",
        "timestamp": format_timestamp(row["ts_us"]),
        "started_at": format_timestamp(max(started_us, 0)),
        **{
            key: row[key]
            for key in (
                "tick", "agent_id", "kind", "name", "duration_ms", "failed", "span_id", "parent_span_id",
            )
        },
    }  # fmt: skip


def _children(engine: QueryEngine, spans: str, slow: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The spans inside the slow ones, by parent span, one query per level, in order of start."""
    wanted = list({row["span_id"] for row in slow if row["span_id"] is not None})
    children: dict[str, list[dict[str, Any]]] = {}
    asked: set[str] = set()
    if not wanted:
        return children
    # spans inside ended between the slow span's start and its end
    first = min(row["ts_us"] - round(row["duration_ms"] * 1000) for row in slow) - 1000
    last = max(row["ts_us"] for row in slow)
    within = f"WHERE ts_us BETWEEN {int(first)} AND {int(last)} AND array_contains(?, parent_span_id)"
    for _ in range(MAX_LEVELS):
        rows = engine.rows(
            "SELECT * FROM (SELECT *, ts_us - CAST(round(duration_ms * 1000) AS BIGINT) AS started_us, "
            f"row_number() OVER (PARTITION BY parent_span_id ORDER BY {BY_ORDER}) AS place "
            f"FROM {spans} {within}) WHERE place <= {MAX_TREE + 1} ORDER BY started_us, {BY_ORDER}",
            [wanted],
        )
        asked.update(wanted)
        wanted = list({row["span_id"] for row in rows if row["span_id"] is not None} - asked)
        for row in rows:
            children.setdefault(row["parent_span_id"], []).append(row)
        if not wanted:
            break
    return children


def _tree(slow: dict[str, Any], inside: dict[str, list[dict[str, Any]]]) -> tuple[list[dict[str, Any]], int]:
    began_us = slow["ts_us"] - round(slow["duration_ms"] * 1000)
    nodes: list[dict[str, Any]] = []
    left_out = 0
    walked = {slow["span_id"]}
    pending = [(1, row) for row in reversed(inside.get(slow["span_id"] or "", []))]
    while pending:
        depth, row = pending.pop()
        if len(nodes) >= MAX_TREE:
            left_out += 1
            continue
        nodes.append(
            {
                "depth": depth,
                "id": f"{row['writer']}-{row['seq']}",
                "agent_id": row["agent_id"],
                "kind": row["kind"],
                "name": row["name"],
                "duration_ms": row["duration_ms"],
                "after_ms": (row["started_us"] - began_us) / 1000,
            }
        )
        if row["span_id"] is not None and row["span_id"] not in walked:
            walked.add(row["span_id"])
            pending += [(depth + 1, child) for child in reversed(inside.get(row["span_id"], []))]
    return nodes, left_out


BUCKETS: Final = 60
LEAST_BUCKETS: Final = 8
LEAST_SPANS: Final = 40
LEAST_RATIO: Final = 1.5
MAX_OPERATIONS: Final = 50


def latency_steps(engine: QueryEngine, spans: str) -> dict[str, Any]:
    """Find operations whose duration changed to another level and stayed there.

    `spans` is `timed_spans()`, or the table that keeps it. Pettitt's test looks for a change point in the
    medians of at most 60 equal parts of the session; a change is reported if it is significant and by a
    factor of at least 1.5. Tested are the 50 operations with most total time that have at least 40 spans.

    Returns:
        `steps`, the largest change first: kind, name, at (time of the first span after the change), tick,
        before_ms, after_ms (medians of the parts before and after), ratio, p_value, spans; `method`, `by`
        (tick or time), `parameters`.
    """
    edges = engine.row(
        "SELECT count(*) AS n, count(tick) AS ticked, min(tick) AS low_tick, max(tick) AS high_tick, "
        f"min(ts_us) AS low, max(ts_us) AS high FROM {spans}"
    )
    by_tick = edges["ticked"] * 2 > edges["n"]
    low, high = (edges["low_tick"], edges["high_tick"]) if by_tick else (edges["low"], edges["high"])
    method = {
        "method": f"Pettitt 1979 over medians, p < {SIGNIFICANCE}",
        "by": "tick" if by_tick else "time",
        "parameters": {"buckets": BUCKETS, "least_ratio": LEAST_RATIO, "least_spans": LEAST_SPANS},
    }
    if low is None:
        return {"steps": [], **method}
    # above one million spans a sketch estimates the median of each part
    exact = "percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms)"
    middle = exact if edges["n"] <= EXACT_ROWS else f"{ABOUT}(duration_ms, 0.5)"
    bucket, _ = part_of("tick" if by_tick else "ts_us", low, high, BUCKETS)
    rows = engine.rows(
        f"SELECT kind, name, {bucket} AS bucket, count(*) AS n, {middle} AS median, "
        f"min(ts_us) AS first_us, min(tick) AS tick FROM {spans} JOIN (SELECT kind, name FROM "
        f"(SELECT kind, name, count(*) AS n, {TOTAL}(duration_ms) AS total_ms FROM {spans} GROUP BY 1, 2) "
        f"WHERE n >= {LEAST_SPANS} ORDER BY total_ms DESC, kind, name LIMIT {MAX_OPERATIONS}) "
        f"USING (kind, name) WHERE {bucket} IS NOT NULL GROUP BY 1, 2, 3 ORDER BY kind, name, bucket"
    )
    series: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        series.setdefault((row["kind"], row["name"]), []).append(row)
    steps = [step for name, points in series.items() if (step := _step(name, points)) is not None]
    steps.sort(key=lambda step: (-max(step["ratio"], 1 / step["ratio"]), step["kind"], step["name"]))
    return {"steps": steps, **method}


def _step(name: tuple[str, str], points: list[dict[str, Any]]) -> dict[str, Any] | None:
    medians = [point["median"] for point in points]
    if len(medians) < LEAST_BUCKETS:
        return None
    index, p_value = pettitt(medians)
    if not index or p_value >= SIGNIFICANCE:
        return None
    from statistics import median

    before, after = median(medians[:index]), median(medians[index:])
    if min(before, after) <= 0 or max(before / after, after / before) < LEAST_RATIO:
        return None
    return {
        "kind": name[0],
        "name": name[1],
        "at": format_timestamp(points[index]["first_us"]),
        "tick": points[index]["tick"],
        "before_ms": before,
        "after_ms": after,
        "ratio": after / before,
        "p_value": p_value,
        "spans": sum(point["n"] for point in points),
    }


def _bucketed(
    engine: QueryEngine, source: str, columns: str, ends_us: tuple[int, int] | None = None
) -> list[dict[str, Any]]:
    """One row for each of at most 60 equal intervals of a source: start, seconds, and the columns."""
    if ends_us is None:
        edges = engine.row(f"SELECT min(ts_us) AS low, max(ts_us) AS high FROM {source}")
        if edges["low"] is None:
            return []
        ends_us = edges["low"], edges["high"]
    low, high = ends_us
    bucket, width = part_of("ts_us", low, high, BUCKETS)
    rows = engine.rows(
        f"SELECT {bucket} AS bucket, {columns} FROM {source} "
        "WHERE ts_us IS NOT NULL GROUP BY bucket ORDER BY bucket"
    )
    for row in rows:
        start = low + row.pop("bucket") * width
        row["start"] = format_timestamp(start)
        row["seconds"] = min(width, high - start + 1) / 1e6
    return rows


def throughput_curve(engine: QueryEngine, source: str) -> list[dict[str, Any]]:
    """Count events and actions in at most 60 equal intervals of the session; empty ones are left out.

    `source` has the columns ts_us and is_action for each event.

    Returns:
        Dicts with start, seconds (length of the interval), events, actions, events_per_s, actions_per_s.
    """
    rows = _bucketed(
        engine,
        source,
        "count(*) AS events, count(*) FILTER (WHERE is_action) AS actions",
        engine.ends_us(),
    )
    for row in rows:
        row["events_per_s"] = row["events"] / row["seconds"]
        row["actions_per_s"] = row["actions"] / row["seconds"]
    return rows


def resource_curve(engine: QueryEngine, source: str) -> dict[str, Any]:
    """Memory, CPU and open files over time, and whether memory grows steadily.

    `source` has the columns ts_us, event_type, memory_bytes, cpu_percent and open_files.

    Returns:
        `points`: start, seconds, samples, memory_bytes (mean), cpu_percent (mean), open_files (max);
        `memory`: `rising` (Mann-Kendall test over the points), `bytes_per_s` (Sen's slope), `p_value`,
        `first` and `last` (bytes); None with fewer than 8 points.
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
