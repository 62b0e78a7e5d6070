"""Learning over time: rewards and exploration as curves, what changed the policy, whether learning settled.

`learning` has the sums, `lineage` which experience led to which update; together they are `learning_report`.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import math
from typing import Any, Final

from Agent.analysis.learning.summary import learning_lines, progress_of
from Agent.analysis.query.engine import Engine, Source
from Agent.analysis.query.event_dict import BY_ORDER
from Agent.analysis.query.views import whole_lines
from Agent.analysis.stats.trend import SIGNIFICANCE, pettitt, plateau
from Agent.errors import UsageError

__all__ = ["AXES", "learning_curves", "learning_report"]

AXES: Final = ("tick", "time", "episode")
POINTS: Final = 50
RECENT_CHANGES: Final = 20
_CHANGES: Final = ("policy_update", "strategy_update")


def learning_report(engine: Engine, agent_id: str | None = None, by: str | None = None) -> dict[str, Any]:
    """How one agent, or everybody, learned: sums, curves, changes, convergence.

    Args:
        engine: over the session, or over the agent's files alone.
        agent_id: None for everything.
        by: what the curves run along: tick, time or episode (a key `episode` in the payload of the rewards);
            None for ticks where the rewards have them, else time.

    Returns:
        What `learning.learning_progress` gives, and `curves` (`curves`), `changes`: {`counts` by
        kind, `last`: the last 20 policy and strategy updates, each with `before` and `after`}.

    Raises:
        UsageError: there is no such axis, or no reward has it.
    """
    with learning_lines(engine, agent_id) as source:
        return progress_of(engine, agent_id, *source) | {
            "curves": learning_curves(engine, source, agent_id, by),
            "changes": _changes(engine, source),
        }


def learning_curves(
    engine: Engine, source: Source, agent_id: str | None = None, by: str | None = None
) -> dict[str, Any]:
    """Rewards and exploration in at most 50 equal parts of the axis; `source` is `learning.learning_lines`.

    Returns:
        `by`; `rewards`: dicts with first and last (place on the axis), count, sum, mean, moving_mean (over
        `moving_mean_points` points, weighted by count) and cumulative; `exploration`: first, last, choices,
        explored, share, epsilon; `convergence`: `trend.plateau` over the means, with `since` on the axis;
        `shift`: where the means break into two levels (`at`, `before`, `after`, `p_value`, `method`), None
        where they do not.

    Raises:
        UsageError: as `learning_report`.
    """
    axis = _axis(engine, source, agent_id, by)
    placed = _placed(source, agent_id, axis)
    rewards = _rewards(engine, placed, axis)
    return {
        "by": axis,
        "moving_mean_points": _window(len(rewards)),
        "rewards": rewards,
        "exploration": _exploration(engine, placed, axis),
        "convergence": _convergence(rewards),
        "shift": _shift(rewards),
    }


def _axis(engine: Engine, source: Source, agent_id: str | None, by: str | None) -> str:
    if by is not None and by not in AXES:
        raise UsageError(f"{by!r} is not an axis", remedy=f"use {', '.join(AXES)}")
    if by == "time":
        return by
    axis = by or "tick"
    text, parameters = _placed(source, agent_id, axis)
    counts = engine.row(
        f"SELECT count(*) AS n, count(place) AS placed FROM {text} WHERE event_type = 'reward'", parameters
    )
    if by is not None and counts["n"] and not counts["placed"]:
        remedy = {
            "tick": "record inside `with tick(n):`, or use --by time",
            "episode": "bind it: LearningLogger(...).bind(episode=3).log_reward(...), or use --by tick",
        }
        raise UsageError(f"no reward has a {by}".replace("a e", "an e"), remedy=remedy[by])
    return axis if by is not None or counts["placed"] * 2 > counts["n"] else "time"


def _whose(agent_id: str | None) -> list[Any]:
    return [] if agent_id is None else [agent_id]


def _placed(source: Source, agent_id: str | None, axis: str) -> Source:
    """The source with a column `place`, and `explored` for what is a key and a kind at once."""
    if axis == "episode":
        # a user's own key: only the payload's text holds it
        whose = "" if agent_id is None else " AND agent_id = $1"
        return Source(
            "(SELECT event_type, try_cast(extra->>'$.episode' AS BIGINT) AS place, "
            "try_cast(extra->>'$.reward' AS DOUBLE) AS reward, "
            "try_cast(extra->>'$.exploration' AS BOOLEAN) AS explored, "
            "try_cast(extra->>'$.epsilon' AS DOUBLE) AS epsilon "
            f"FROM {whole_lines()} WHERE event_type IN ('reward', 'exploration'){whose})",
            _whose(agent_id),
        )
    place = "tick" if axis == "tick" else "ts_us"
    return Source(
        f"(SELECT event_type, {place} AS place, reward, exploration AS explored, epsilon FROM {source.text})",
        source.parameters,
    )


_BUCKETS: Final = f"""
    e AS (SELECT min(place) AS low, max(place) AS high FROM placed),
    b AS (SELECT *, CASE WHEN high - low < {POINTS} THEN place - low
        ELSE ((place - low)::DOUBLE * {POINTS} / (high - low + 1))::DOUBLE END AS spot FROM placed, e)"""


def _rewards(engine: Engine, placed: Source, axis: str) -> list[dict[str, Any]]:
    points = engine.rows(
        f"WITH placed AS (SELECT place, reward FROM {placed.text} WHERE event_type = 'reward' "
        f"AND place IS NOT NULL AND isfinite(reward)), {_BUCKETS} "
        "SELECT min(place) AS first, max(place) AS last, count(*) AS count, fsum(reward) AS sum, "
        "fsum(reward) / count(*) AS mean FROM b GROUP BY floor(spot) ORDER BY first",
        placed.parameters,
    )
    window = _window(len(points))
    running = 0.0
    for at, point in enumerate(points):
        running += point["sum"]
        behind = points[max(0, at - window + 1) : at + 1]
        count = sum(each["count"] for each in behind)
        point["moving_mean"] = math.fsum(each["sum"] for each in behind) / count
        point["cumulative"] = running
    return [_on_axis(point, axis) for point in points]


def _window(points: int) -> int:
    """Over how many points the moving mean goes: a tenth of them, at least three."""
    return max(3, points // 10)


def _on_axis(point: dict[str, Any], axis: str) -> dict[str, Any]:
    """The point with times as text."""
    if axis != "time":
        return point
    from Agent.event.clock import format_timestamp

    return point | {key: format_timestamp(point[key]) for key in ("first", "last")}


def _exploration(engine: Engine, placed: Source, axis: str) -> list[dict[str, Any]]:
    points = engine.rows(
        f"WITH placed AS (SELECT place, explored, epsilon FROM {placed.text} "
        f"WHERE event_type = 'exploration' AND place IS NOT NULL), {_BUCKETS} "
        "SELECT min(place) AS first, max(place) AS last, count(*) AS choices, "
        "count(*) FILTER (WHERE explored) AS explored, avg(epsilon) AS epsilon "
        "FROM b GROUP BY floor(spot) ORDER BY first",
        placed.parameters,
    )
    return [_on_axis(point | {"share": point["explored"] / point["choices"]}, axis) for point in points]


def _convergence(points: list[dict[str, Any]]) -> dict[str, Any]:
    found = plateau([point["mean"] for point in points])
    if found["since"] is not None:
        found["since"] = points[found["since"]]["first"]
    return found


def _shift(points: list[dict[str, Any]]) -> dict[str, Any] | None:
    place, p_value = pettitt([point["mean"] for point in points])
    if not place or p_value >= SIGNIFICANCE:
        return None
    before, after = (_mean(part) for part in (points[:place], points[place:]))
    return {
        "at": points[place]["first"],
        "before": before,
        "after": after,
        "p_value": p_value,
        "method": f"Pettitt 1979, p < {SIGNIFICANCE}",
    }


def _mean(points: list[dict[str, Any]]) -> float:
    total = math.fsum(point["sum"] for point in points)
    return total / int(sum(point["count"] for point in points))


def _changes(engine: Engine, source: Source) -> dict[str, Any]:
    kinds = ", ".join(f"'{kind}'" for kind in _CHANGES)
    lines = f"(SELECT * FROM {source.text} WHERE event_type IN ({kinds}))"
    counts = engine.rows(
        f"SELECT event_type, count(*) AS n FROM {lines} GROUP BY event_type ORDER BY n DESC, event_type",
        source.parameters,
    )
    last = engine.rows(
        "SELECT * FROM (SELECT id, timestamp, tick, agent_id, event_type, causes, strategy_type, reason, "
        "coalesce(old_policy, old_strategy) AS before, "
        "coalesce(new_policy, new_strategy, policy_data) AS after, "
        f"{BY_ORDER} FROM {lines} ORDER BY ts_us DESC, writer DESC, seq DESC LIMIT {RECENT_CHANGES}) "
        f"ORDER BY {BY_ORDER}",
        source.parameters,
    )
    return {"counts": {row["event_type"]: row["n"] for row in counts}, "last": [_change(row) for row in last]}


def _change(row: dict[str, Any]) -> dict[str, Any]:
    made = {key: row[key] for key in ("id", "timestamp", "tick", "agent_id", "event_type")}
    made["causes"] = list(row["causes"] or ())
    made |= {"strategy_type": row["strategy_type"], "reason": row["reason"]}
    return made | {key: _value(row[key]) for key in ("before", "after")}


def _value(text: str | None) -> Any:
    """A payload's value of any type, which the engine gives as text."""
    import orjson

    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
