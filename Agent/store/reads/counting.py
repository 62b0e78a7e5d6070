"""Runs in numbers: how they ended, of which agents, with which failures, and what their steps took."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, case, func, select

from Agent.store.filters import RunFilter
from Agent.store.reads.querying import narrowed_runs
from Agent.store.schema import RUNS, STEPS

__all__ = ["SAMPLED_RUNS", "count_runs"]

SAMPLED_RUNS: Final = 10_000
"""Latencies are of the steps of so many of the newest runs, so that the question stays bounded."""

_MAX_GROUPS: Final = 100


def count_runs(connection: Connection, project_id: int, wanted: RunFilter) -> dict[str, Any]:
    """Counts over all runs that are meant, and latencies over the newest of them."""
    by_status = _counted(connection, project_id, wanted, [RUNS.c.status])
    failed = case((RUNS.c.status == "failure", 1), else_=0)
    agents = connection.execute(
        narrowed_runs(
            select(RUNS.c.agent_id, func.count().label("runs"), func.sum(failed).label("failed")),
            project_id,
            wanted,
        )
        .group_by(RUNS.c.agent_id)
        .order_by(func.count().desc(), RUNS.c.agent_id)
        .limit(_MAX_GROUPS)
    )
    failures = [
        row
        for row in _counted(connection, project_id, wanted, [RUNS.c.failure_type, RUNS.c.failure_code])
        if row["failure_type"] is not None
    ]
    return {
        "runs": sum(row["runs"] for row in by_status),
        "by_status": {row["status"]: row["runs"] for row in by_status},
        "agents": [dict(row) for row in agents.mappings()],
        "failures": failures,
        "run_ms": _run_latency(connection, project_id, wanted),
        "steps": _step_latencies(connection, project_id, wanted),
        "sampled_runs": SAMPLED_RUNS,
    }


def _counted(
    connection: Connection, project_id: int, wanted: RunFilter, by: list[ColumnElement[Any]]
) -> list[dict[str, Any]]:
    rows = connection.execute(
        narrowed_runs(select(*by, func.count().label("runs")), project_id, wanted)
        .group_by(*by)
        .order_by(func.count().desc(), *by)
        .limit(_MAX_GROUPS)
    )
    return [dict(row) for row in rows.mappings()]


def _summary(value: ColumnElement[Any], place: ColumnElement[Any], total: ColumnElement[Any]) -> list[Any]:
    """Mean, the value below which half and 95 % lie (the nearest that occurred), and the greatest."""

    def quantile(part: float) -> ColumnElement[Any]:
        return func.min(case((place >= total * part, value)))

    return [
        func.count().label("count"),
        func.avg(value).label("mean"),
        quantile(0.5).label("p50"),
        quantile(0.95).label("p95"),
        func.max(value).label("max"),
    ]


def _run_latency(connection: Connection, project_id: int, wanted: RunFilter) -> dict[str, Any] | None:
    newest = (
        narrowed_runs(
            select(((RUNS.c.ended_us - RUNS.c.started_us) / 1000.0).label("ms")), project_id, wanted
        )
        .where(RUNS.c.ended_us >= RUNS.c.started_us)  # both are known, and no clock was set back meanwhile
        .order_by(RUNS.c.listed_us.desc(), RUNS.c.run_id.desc())
        .limit(SAMPLED_RUNS)
        .subquery()
    )
    ranked = select(
        newest.c.ms,
        func.row_number().over(order_by=newest.c.ms).label("place"),
        func.count().over().label("total"),
    ).subquery()
    row = connection.execute(select(*_summary(ranked.c.ms, ranked.c.place, ranked.c.total))).mappings().one()
    return _plain(dict(row)) if row["count"] else None


def _step_latencies(connection: Connection, project_id: int, wanted: RunFilter) -> list[dict[str, Any]]:
    newest = (
        narrowed_runs(select(RUNS.c.run_id), project_id, wanted)
        .order_by(RUNS.c.listed_us.desc(), RUNS.c.run_id.desc())
        .limit(SAMPLED_RUNS)
        .subquery()
    )
    ranked = (
        select(
            STEPS.c.step_type,
            STEPS.c.latency_ms,
            func.row_number()
            .over(partition_by=STEPS.c.step_type, order_by=STEPS.c.latency_ms)
            .label("place"),
            func.count().over(partition_by=STEPS.c.step_type).label("total"),
        )
        .join(newest, newest.c.run_id == STEPS.c.run_id)
        .where(STEPS.c.project_id == project_id, STEPS.c.latency_ms.is_not(None))
        .subquery()
    )
    rows = connection.execute(
        select(ranked.c.step_type, *_summary(ranked.c.latency_ms, ranked.c.place, ranked.c.total))
        .group_by(ranked.c.step_type)
        .order_by(ranked.c.step_type)
    )
    return [_plain(dict(row)) for row in rows.mappings()]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """PostgreSQL gives decimals where SQLite gives floats."""
    return {
        name: round(float(value), 3) if name in ("mean", "p50", "p95", "max") else value
        for name, value in row.items()
    }
