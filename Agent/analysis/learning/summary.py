"""How agents learn: training steps, rewards, exploration, updates, as sums and bounded curves."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from Agent.analysis.query.engine import Engine, Source, kept
from Agent.analysis.query.event_dict import BY_ORDER
from Agent.analysis.query.views import scan
from Agent.event.kinds import Category
from Agent.event.payloads import KINDS

CURVE_POINTS = 50
RECENT_CONVERGENCE = 20
MAX_METRICS = 20

LEARNING_KINDS = tuple(name for name, kind in KINDS.items() if kind.category is Category.LEARNING)

_FINITE = "FILTER (WHERE event_type = 'reward' AND isfinite(reward))"
_SUMS = f"""
    count(*) FILTER (WHERE event_type = 'training_step') AS total_training_steps,
    coalesce(fsum(reward) {_FINITE}, 0.0) AS total_rewards,
    count(*) FILTER (WHERE event_type = 'reward') AS reward_count,
    avg(reward) {_FINITE} AS mean_reward,
    min(reward) {_FINITE} AS min_reward,
    max(reward) {_FINITE} AS max_reward,
    arg_max(cumulative_reward, (ts_us, writer, seq)) FILTER (WHERE event_type = 'reward'
        AND cumulative_reward IS NOT NULL) AS cumulative_reward,
    count(*) FILTER (WHERE event_type = 'exploration') AS exploration_count,
    count(*) FILTER (WHERE event_type = 'exploration' AND exploration) AS explored,
    arg_max(epsilon, (ts_us, writer, seq)) FILTER (WHERE event_type = 'exploration' AND epsilon IS NOT NULL)
    AS epsilon, count(*) FILTER (WHERE event_type = 'learning_update') AS learning_updates, count(*) FILTER
    (WHERE event_type = 'policy_update') AS policy_updates, count(*) FILTER (WHERE event_type =
    'convergence') AS convergence_count
"""
_KEYS = (
    "reward",
    "cumulative_reward",
    "exploration",
    "epsilon",
    "learning_stage",
    "metrics",
    "metric",
    "value",
    "policy_data",
    "old_policy",
    "new_policy",
    "strategy_type",
    "old_strategy",
    "new_strategy",
    "reason",
)


def learning_progress(engine: Engine, agent_id: str | None = None) -> dict[str, Any]:
    """How one agent, or every agent, learned.

    Rewards that are not finite count in `reward_count` and in no sum.

    Args:
        engine: over the session, or over the agent's files alone.
        agent_id: None for everything, learning of no single agent included.

    Returns:
        The sums of `_SUMS`, `exploration_share` (0 to 1, None without exploration), `learning_stages`,
        `reward_curve` and `metric_curves` (at most 50 points each), `convergence` (the last 20) and, for
        every agent, `by_agent` with the sums again.
    """
    with learning_lines(engine, agent_id) as (lines, parameters):
        return progress_of(engine, agent_id, lines, parameters)


def progress_of(engine: Engine, agent_id: str | None, lines: str, parameters: list[Any]) -> dict[str, Any]:
    """`learning_progress` over lines that are kept (`learning_lines`)."""
    progress = {"agent_id": agent_id} | _shared(engine.row(f"SELECT {_SUMS} FROM {lines}", parameters))
    progress["learning_stages"] = _stages(engine, lines, parameters)
    progress["reward_curve"] = _reward_curve(engine, lines, parameters)
    progress["metric_curves"] = _metric_curves(engine, lines, parameters)
    progress["convergence"] = _convergence(engine, lines, parameters)
    if agent_id is None:
        found = engine.rows(
            f"SELECT agent_id, {_SUMS} FROM {lines} WHERE agent_id IS NOT NULL AND "
            "event_type <> 'strategy_update' GROUP BY agent_id ORDER BY agent_id"
        )
        progress["by_agent"] = {row.pop("agent_id"): _shared(row) for row in found}
    return progress


@contextmanager
def learning_lines(engine: Engine, agent_id: str | None) -> Iterator[Source]:
    """The events of learning, of one agent or of all, read once where they are not too many."""
    kinds = ", ".join(f"'{kind}'" for kind in (*LEARNING_KINDS, "strategy_update"))
    whose = "" if agent_id is None else " AND agent_id = $1"
    columns = "ts_us, writer, seq, id, timestamp, tick, agent_id, event_type, causes"
    query = f"(SELECT {columns}, {', '.join(_KEYS)} FROM {scan(*_KEYS)} WHERE event_type IN ({kinds}){whose})"
    with kept(engine, "learning_lines", query, [] if agent_id is None else [agent_id]) as source:
        yield source


def _shared(sums: dict[str, Any]) -> dict[str, Any]:
    count = sums["exploration_count"]
    return sums | {"exploration_share": sums["explored"] / count if count else None}


def _stages(engine: Engine, lines: str, parameters: list[Any]) -> dict[str, int]:
    found = engine.rows(
        f"SELECT coalesce(learning_stage, '') AS stage, count(*) AS n FROM {lines} "
        "WHERE event_type = 'learning_update' GROUP BY stage ORDER BY n DESC, stage",
        parameters,
    )
    return {row["stage"]: row["n"] for row in found}


_BUCKET = (
    f"least(floor((ts_us - first_us) * {CURVE_POINTS} / greatest(last_us - first_us, 1)), "
    f"{CURVE_POINTS - 1})::BIGINT"
)


def _reward_curve(engine: Engine, lines: str, parameters: list[Any]) -> list[dict[str, Any]]:
    """Rewards in at most 50 equal spans of time, with the running sum."""
    found = engine.rows(
        f"WITH r AS (SELECT ts_us, timestamp, tick, reward FROM {lines} WHERE event_type = 'reward' "
        "AND isfinite(reward)), edges AS (SELECT min(ts_us) AS first_us, max(ts_us) AS last_us FROM r) "
        f"SELECT {_BUCKET} AS bucket, min(timestamp) AS timestamp, min(tick) AS tick, count(*) AS count, "
        "fsum(reward) AS sum, avg(reward) AS mean FROM r, edges GROUP BY bucket ORDER BY bucket",
        parameters,
    )
    running = 0.0
    for row in found:
        running += row["sum"]
        row["cumulative"] = running
        del row["bucket"]
    return found


def _metric_curves(engine: Engine, lines: str, parameters: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """The numbers in the `metrics` of training steps, by name, in at most 50 equal spans of time."""
    found = engine.rows(
        "WITH t AS (SELECT ts_us, timestamp, tick, unnest(json_keys(metrics::JSON)) AS name, "
        "metrics::JSON AS metrics "
        f"FROM {lines} WHERE event_type = 'training_step' AND json_valid(metrics) "
        "AND json_type(metrics::JSON) = 'OBJECT'), "
        "v AS (SELECT ts_us, timestamp, tick, name, "
        "try_cast(json_extract_string(metrics, '/' || replace(replace(name, '~', '~0'), '/', '~1')) AS "
        "DOUBLE) AS value "
        "FROM t), edges AS (SELECT min(ts_us) AS first_us, max(ts_us) AS last_us FROM v) "
        f"SELECT name, {_BUCKET} AS bucket, min(timestamp) AS timestamp, min(tick) AS tick, count(*) AS "
        "count, "
        "avg(value) AS mean FROM v, edges WHERE isfinite(value) GROUP BY name, bucket ORDER BY name, bucket",
        parameters,
    )
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        del row["bucket"]
        name = row.pop("name")
        if name in curves or len(curves) < MAX_METRICS:
            curves.setdefault(name, []).append(row)
    return curves


def _convergence(engine: Engine, lines: str, parameters: list[Any]) -> list[dict[str, Any]]:
    return engine.rows(
        "SELECT * FROM (SELECT id, timestamp, tick, agent_id, metric, value, ts_us, writer, seq FROM "
        f"{lines} "
        "WHERE event_type = 'convergence' ORDER BY ts_us DESC, writer DESC, seq DESC LIMIT "
        f"{RECENT_CONVERGENCE}) "
        f"ORDER BY {BY_ORDER}",
        parameters,
    )
