"""How agents learn: totals, curves, convergence, and which experience led to which update."""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import math
import re
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from Agent.analysis.query.kept import QueryEngine, kept
from Agent.analysis.query.views import (
    BY_ORDER,
    EACH,
    KEYS,
    TOTAL,
    WIDE,
    Only,
    event_keys,
    events_of,
    is_agent,
    is_finite,
    is_of,
    json_of,
    quoted_text,
    whole_lines,
)
from Agent.analysis.questions.journeys import event_name
from Agent.analysis.session import agent_events
from Agent.analysis.stats import SIGNIFICANCE, pettitt, plateau
from Agent.errors import UsageError
from Agent.event.clock import format_timestamp
from Agent.event.kinds import Category
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.tree.read.reader import TreeReader

CURVE_POINTS = 50
RECENT_CONVERGENCE = 20
MAX_METRICS = 20

LEARNING_KINDS = tuple(name for name, kind in KINDS.items() if kind.category is Category.LEARNING)

_SCALE: Final = 2.0**-64
"""A power of two, which changes no digit of a number."""


def _mean_reward(only: str = "") -> str:
    """SQL: the mean of rewards, also of those whose sum exceeds a float; only: a filter of the rows."""
    total, number = f"{TOTAL}(reward) {only}", f"count(*) {only}"
    return (
        f"CASE WHEN {is_finite(f'({total})')} THEN ({total}) / ({number}) "
        f"ELSE ({TOTAL}(reward * {_SCALE!r}) {only}) / ({number}) / {_SCALE!r} END"
    )


_FINITE = "FILTER (WHERE event_type = 'reward' AND " + is_finite("reward") + ")"
_SUMS = f"""
    count(*) FILTER (WHERE event_type = 'training_step') AS total_training_steps,
    coalesce({TOTAL}(reward) {_FINITE}, 0.0) AS total_rewards,
    count(*) FILTER (WHERE event_type = 'reward') AS reward_count,
    count(*) {_FINITE} AS finite_reward_count,
    {_mean_reward(_FINITE)} AS mean_reward,
    min(reward) {_FINITE} AS min_reward,
    max(reward) {_FINITE} AS max_reward,
    max_by(cumulative_reward, (ts_us, writer, seq)) FILTER (WHERE event_type = 'reward'
        AND cumulative_reward IS NOT NULL) AS cumulative_reward,
    count(*) FILTER (WHERE event_type = 'exploration') AS exploration_count,
    count(*) FILTER (WHERE event_type = 'exploration' AND exploration) AS explored,
    max_by(epsilon, (ts_us, writer, seq)) FILTER (WHERE event_type = 'exploration' AND epsilon IS NOT NULL)
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
)
_KEYS_OF_CHANGES = (
    "policy_data", "old_policy", "new_policy", "strategy_type", "old_strategy", "new_strategy", "reason",
)  # fmt: skip


def learning_progress(engine: QueryEngine, agent_id: str | None = None) -> dict[str, Any]:
    """Summarise how one agent, or every agent, learned.

    Rewards that are not finite numbers count in `reward_count` only; all sums, means and curves are of the
    `finite_reward_count` others. Their sum may exceed a float, and is infinite then: null in JSON.

    Args:
        engine: over the session, or over only the agent's files.
        agent_id: None for all agents, and for events without an agent.

    Returns:
        The keys of `_SUMS`, `exploration_share` (0 to 1, None without exploration), `learning_stages`,
        `reward_curve` and `metric_curves` (at most 50 points each), `convergence` (the last 20) and, for all
        agents, `by_agent` with the totals of each.
    """
    with learning_lines(engine, agent_id) as lines:
        return progress_of(engine, agent_id, lines)


def progress_of(engine: QueryEngine, agent_id: str | None, lines: str) -> dict[str, Any]:
    """Return `learning_progress` for the rows of `learning_lines`."""
    progress = {"agent_id": agent_id} | _shared(engine.row(f"SELECT {_SUMS} FROM {lines}"))
    progress["learning_stages"] = engine.counts(
        "coalesce(learning_stage, '')", f"{lines} WHERE event_type = 'learning_update'"
    )
    progress["reward_curve"] = _reward_curve(engine, lines)
    progress["metric_curves"] = _metric_curves(engine, lines)
    progress["convergence"] = _convergence(engine, lines)
    if agent_id is None:
        rows = engine.rows(
            f"SELECT agent_id, {_SUMS} FROM {lines} WHERE agent_id IS NOT NULL AND "
            "event_type <> 'strategy_update' GROUP BY agent_id ORDER BY agent_id"
        )
        progress["by_agent"] = {row.pop("agent_id"): _shared(row) for row in rows}
    return progress


@contextmanager
def learning_lines(engine: QueryEngine, agent_id: str | None) -> Iterator[str]:
    """Keep the learning events of one agent, or of all, so that the log is scanned only once."""
    lines = events_of((*LEARNING_KINDS, "strategy_update"), *_KEYS)
    columns = f"{BY_ORDER}, tick, agent_id, event_type, {', '.join(_KEYS)}"
    query = f"(SELECT {columns} FROM {lines} AND {is_agent(agent_id)})"
    with kept(engine, "learning_lines", query) as source:
        yield source


def _shared(sums: dict[str, Any]) -> dict[str, Any]:
    count = sums["exploration_count"]
    return sums | {"exploration_share": sums["explored"] / count if count else None}


_BUCKET = (
    f"CAST(least(floor(CAST(ts_us - first_us AS DOUBLE) * {CURVE_POINTS} / greatest(last_us - first_us, 1)), "
    f"{CURVE_POINTS - 1}) AS BIGINT)"
)


def _reward_curve(engine: QueryEngine, lines: str) -> list[dict[str, Any]]:
    """Rewards in at most 50 equal intervals of time, with the running sum."""
    rows = engine.rows(
        f"WITH r AS (SELECT ts_us, tick, reward FROM {lines} WHERE event_type = 'reward' "
        f"AND {is_finite('reward')}), edges AS (SELECT min(ts_us) AS first_us, max(ts_us) AS last_us FROM r) "
        "SELECT min(ts_us) AS timestamp, min(tick) AS tick, count(*) AS count, "
        f"{TOTAL}(reward) AS sum, {_mean_reward()} AS mean "
        f"FROM r, edges GROUP BY {_BUCKET} ORDER BY timestamp",
    )
    running = 0.0
    for row in rows:
        running += row["sum"]
        row["cumulative"] = running
        row["timestamp"] = format_timestamp(row["timestamp"])
    return rows


def _metric_curves(engine: QueryEngine, lines: str) -> dict[str, list[dict[str, Any]]]:
    """Numeric `metrics` of training steps, by name, in at most 50 equal intervals of time."""
    steps = (
        f"SELECT ts_us, tick, {EACH}({KEYS}(metrics)) AS name, metrics FROM {lines} "
        "WHERE event_type = 'training_step' AND is_json_object(metrics)"
    )
    names = engine.rows(
        "SELECT name, min(ts_us) AS first_us, max(ts_us) AS last_us "
        f"FROM ({steps}) GROUP BY name ORDER BY name"
    )
    curves: dict[str, list[dict[str, Any]]] = {}
    if not names:
        return curves
    edges = (
        f"(SELECT CAST({min(row['first_us'] for row in names)} AS BIGINT) AS first_us, "
        f"CAST({max(row['last_us'] for row in names)} AS BIGINT) AS last_us)"
    )
    # Each value is found by parsing all metrics of its step, so only as many names are read as are shown;
    # more where these are no numbers.
    begin, some = 0, MAX_METRICS
    while begin < len(names) and len(curves) < MAX_METRICS:
        first, last = names[begin]["name"], names[min(begin + some, len(names)) - 1]["name"]
        rows = engine.rows(
            "WITH v AS (SELECT ts_us, tick, name, try_cast(json_member(metrics, name) AS DOUBLE) AS value "
            f"FROM ({steps}) WHERE name BETWEEN {quoted_text(first)} AND {quoted_text(last)}) "
            "SELECT name, min(ts_us) AS timestamp, min(tick) AS tick, count(*) AS count, avg(value) AS mean "
            f"FROM v, {edges} edges WHERE {is_finite('value')} GROUP BY name, {_BUCKET} "
            "ORDER BY name, timestamp",
        )
        for row in rows:
            row["timestamp"] = format_timestamp(row["timestamp"])
            name = row.pop("name")
            if name in curves or len(curves) < MAX_METRICS:
                curves.setdefault(name, []).append(row)
        begin, some = begin + some, 2 * some
    return curves


def _convergence(engine: QueryEngine, lines: str) -> list[dict[str, Any]]:
    rows = engine.rows(
        f"SELECT * FROM (SELECT tick, agent_id, metric, value, {BY_ORDER} FROM {lines} "
        f"WHERE event_type = 'convergence' ORDER BY ts_us DESC, writer DESC, seq DESC "
        f"LIMIT {RECENT_CONVERGENCE}) ORDER BY {BY_ORDER}",
    )
    return [_placed_row(row) | row for row in rows]


def _placed_row(row: dict[str, Any]) -> dict[str, str]:
    return {"id": f"{row['writer']}-{row['seq']}", "timestamp": format_timestamp(row["ts_us"])}


AXES: Final = ("tick", "time", "episode")
POINTS: Final = 50
RECENT_CHANGES: Final = 20
_CHANGES: Final = ("policy_update", "strategy_update")


def learning_report(
    engine: QueryEngine, agent_id: str | None = None, by: str | None = None
) -> dict[str, Any]:
    """Report how one agent, or all, learned: totals, curves, changes, convergence.

    Args:
        engine: over the session, or over only the agent's files.
        agent_id: None for all agents.
        by: the axis of the curves: tick, time or episode (a key `episode` in the payload of the rewards);
            None for ticks if most rewards have one, else time.

    Returns:
        The keys of `learning_progress`, `curves` (`learning_curves`), and `changes`: {`counts` by kind,
        `last`: the last 20 policy and strategy updates, each with `before` and `after`}.

    Raises:
        UsageError: the axis does not exist, or no reward has it.
    """
    with learning_lines(engine, agent_id) as lines:
        return progress_of(engine, agent_id, lines) | {
            "curves": learning_curves(engine, lines, agent_id, by),
            "changes": _changes(engine, lines, agent_id),
        }


def agent_learning(
    engine: QueryEngine,
    agent_id: str | None,
    reader: TreeReader | None,
    *,
    by: Literal["tick", "time", "episode"] | None = None,
) -> dict[str, Any]:
    """Report the same, for one agent with its `lineage` (`learning_lineage`).

    Args:
        reader: of the session; None for many sessions, with all agents.
        by: the x axis of the curves; default: ticks if the rewards have them, else time.
    """
    report = learning_report(engine, agent_id, by)
    if agent_id is None or reader is None:
        return report
    return report | {"lineage": learning_lineage(reader, agent_id)}


def learning_curves(
    engine: QueryEngine, lines: str, agent_id: str | None = None, by: str | None = None
) -> dict[str, Any]:
    """Compute rewards and exploration in at most 50 equal parts of the axis; `lines`: `learning_lines`.

    Returns:
        `by`; `rewards`: dicts with first and last (positions on the axis), count, sum, mean, moving_mean
        (over `moving_mean_points` points, weighted by count) and cumulative; `exploration`: first, last,
        choices, explored, share, epsilon; `convergence`: `stats.plateau` of the means, with `since` on the
        axis; `shift`: a change point of the means (`at`, `before`, `after`, `p_value`, `method`), or None.

    Raises:
        UsageError: as for `learning_report`.
    """
    axis = _axis(engine, lines, agent_id, by)
    placed = _placed(lines, agent_id, axis)
    rewards = _rewards(engine, placed, axis)
    return {
        "by": axis,
        "moving_mean_points": _window(len(rewards)),
        "rewards": rewards,
        "exploration": _exploration(engine, placed, axis),
        "convergence": _plateau(rewards),
        "shift": _shift(rewards),
    }


def _axis(engine: QueryEngine, lines: str, agent_id: str | None, by: str | None) -> str:
    if by is not None and by not in AXES:
        raise UsageError(f"{by!r} is not an axis", remedy=f"use {', '.join(AXES)}")
    if by == "time":
        return by
    axis = by or "tick"
    placed = _placed(lines, agent_id, axis)
    counts = engine.row(
        f"SELECT count(*) AS n, count(place) AS placed FROM {placed} WHERE event_type = 'reward'"
    )
    if by is not None and counts["n"] and not counts["placed"]:
        remedy = {
            "tick": "record inside `with tick(n):`, or use --by time",
            "episode": "bind it: LearningLogger(...).bind(episode=3).log_reward(...), or use --by tick",
        }
        raise UsageError(f"no reward has a {by}".replace("a e", "an e"), remedy=remedy[by])
    return axis if by is not None or counts["placed"] * 2 > counts["n"] else "time"


_PLACED: Final = ("reward", "exploration")


def _placed(lines: str, agent_id: str | None, axis: str) -> str:
    """The lines with the axis as column `place`, and `explored`, since `exploration` is also a kind."""
    if axis == "episode":
        # a key of the user, which only the payload's text contains
        return (
            "(SELECT event_type, "
            "try_cast(floor(try_cast(json_member(extra, 'episode') AS DOUBLE)) AS BIGINT) AS place, "
            "try_cast(json_member(extra, 'reward') AS DOUBLE) AS reward, "
            "try_cast(json_member(extra, 'exploration') AS BOOLEAN) AS explored, "
            "try_cast(json_member(extra, 'epsilon') AS DOUBLE) AS epsilon "
            f"FROM {whole_lines(Only(_PLACED))} WHERE {is_of(_PLACED)} AND {is_agent(agent_id)})"
        )
    place = "tick" if axis == "tick" else "ts_us"
    return f"(SELECT event_type, {place} AS place, reward, exploration AS explored, epsilon FROM {lines})"


_BUCKETS: Final = f"""
    e AS (SELECT CAST(min(place) AS {WIDE}) AS low, max(place) AS high FROM placed),
    b AS (SELECT *, CASE WHEN high - low < {POINTS} THEN place - low
        ELSE least(CAST(place - low AS DOUBLE) * {POINTS} / CAST(high - low + 1 AS DOUBLE), {POINTS - 1}) END
        AS spot FROM placed, e)"""


def _rewards(engine: QueryEngine, placed: str, axis: str) -> list[dict[str, Any]]:
    points = engine.rows(
        f"WITH placed AS (SELECT place, reward FROM {placed} WHERE event_type = 'reward' "
        f"AND place IS NOT NULL AND {is_finite('reward')}), {_BUCKETS} "
        "SELECT min(place) AS first, max(place) AS last, count(*) AS count, "
        f"{TOTAL}(reward) AS sum, {_mean_reward()} AS mean "
        "FROM b GROUP BY floor(spot) ORDER BY first",
    )
    window = _window(len(points))
    running = 0.0
    for at, point in enumerate(points):
        running += point["sum"]
        behind = points[max(0, at - window + 1) : at + 1]
        point["moving_mean"] = _mean(behind)
        point["cumulative"] = running
    return [_on_axis(point, axis) for point in points]


def _window(points: int) -> int:
    """The number of points in the moving mean: a tenth of all, at least 3."""
    return max(3, points // 10)


def _on_axis(point: dict[str, Any], axis: str) -> dict[str, Any]:
    """The point with times formatted as text."""
    if axis != "time":
        return point
    return point | {key: format_timestamp(point[key]) for key in ("first", "last")}


def _exploration(engine: QueryEngine, placed: str, axis: str) -> list[dict[str, Any]]:
    points = engine.rows(
        f"WITH placed AS (SELECT place, explored, epsilon FROM {placed} "
        f"WHERE event_type = 'exploration' AND place IS NOT NULL), {_BUCKETS} "
        "SELECT min(place) AS first, max(place) AS last, count(*) AS choices, "
        "count(*) FILTER (WHERE explored) AS explored, avg(epsilon) AS epsilon "
        "FROM b GROUP BY floor(spot) ORDER BY first",
    )
    return [_on_axis(point | {"share": point["explored"] / point["choices"]}, axis) for point in points]


def _plateau(points: list[dict[str, Any]]) -> dict[str, Any]:
    result = plateau([point["mean"] for point in points])
    if result["since"] is not None:
        result["since"] = points[result["since"]]["first"]
    return result


def _shift(points: list[dict[str, Any]]) -> dict[str, Any] | None:
    index, p_value = pettitt([point["mean"] for point in points])
    if not index or p_value >= SIGNIFICANCE:
        return None
    before, after = (_mean(part) for part in (points[:index], points[index:]))
    return {
        "at": points[index]["first"],
        "before": before,
        "after": after,
        "p_value": p_value,
        "method": f"Pettitt 1979, p < {SIGNIFICANCE}",
    }


def _mean(points: list[dict[str, Any]]) -> float:
    count = int(sum(point["count"] for point in points))
    try:
        mean = math.fsum(point["sum"] for point in points) / count
    except (OverflowError, ValueError):
        mean = math.inf
    if math.isfinite(mean):
        return mean
    return math.fsum(point["mean"] * _SCALE * point["count"] for point in points) / count / _SCALE


def _changes(engine: QueryEngine, lines: str, agent_id: str | None) -> dict[str, Any]:
    lines = f"{lines} WHERE {is_of(_CHANGES)}"
    # only these few are read with what changed, which may be long
    ends = engine.row(
        "SELECT min(ts_us) AS low, max(ts_us) AS high FROM "
        f"(SELECT ts_us FROM {lines} ORDER BY ts_us DESC LIMIT {RECENT_CHANGES})"
    )
    low, high = ends["low"], ends["high"]
    if low is None:
        return {"counts": {}, "last": []}
    recent = events_of(_CHANGES, *_KEYS_OF_CHANGES, since_us=low, until_us=high)
    last = engine.rows(
        f"SELECT * FROM (SELECT {BY_ORDER}, tick, agent_id, event_type, causes, strategy_type, reason, "
        "coalesce(old_policy, old_strategy) AS before, "
        "coalesce(new_policy, new_strategy, policy_data) AS after "
        f"FROM {recent} AND ts_us BETWEEN {low} AND {high} AND {is_agent(agent_id)} "
        f"ORDER BY ts_us DESC, writer DESC, seq DESC LIMIT {RECENT_CHANGES}) ORDER BY {BY_ORDER}"
    )
    return {"counts": engine.counts("event_type", lines), "last": [_change(row) for row in last]}


def _change(row: dict[str, Any]) -> dict[str, Any]:
    change = _placed_row(row) | {key: row[key] for key in ("tick", "agent_id", "event_type")}
    change["causes"] = list(row["causes"] or ())
    change |= {"strategy_type": row["strategy_type"], "reason": row["reason"]}
    return change | {key: json_of(row[key], row[key]) for key in ("before", "after")}


UPDATES: Final = frozenset({"learning_update", "policy_update", "strategy_update", "training_step"})
EXPERIENCES: Final = frozenset({"reward", "exploration", "interaction", "agent_message"})
KEPT_UPDATES: Final = 100
_REMEMBERED: Final = 4096
_FOLLOWED: Final = 4096
_MAX_NAMED: Final = 64
_EVENT_ID: Final = re.compile(r"\b[a-z2-7]{8}-[1-9][0-9]{0,11}\b")

RULE_SPAN: Final = "a reward in the span of the update"
RULE_EXPERIENCE: Final = "rewards since the update before"
RULE_USE: Final = "the first choice or action after it"


def learning_lineage(reader: TreeReader, agent_id: str) -> dict[str, Any]:
    """Link one agent's experience to its updates and their use, from its files only, in constant memory.

    Args:
        reader: of the session.
        agent_id: who learned.

    Returns:
        `updates`: the last 100, oldest first, dicts with id, timestamp, tick, event_type, name, `experience`
        and `used_by` (lists of edges: id, event_type, name, tick, reward of a reward, `source`: recorded or
        inferred, `rule`: causes, payload, or the rule's name; an id of another agent's event has no
        event_type), `experience_count` (a list holds at most 64). For all updates: `count`,
        `with_recorded_experience`, `with_recorded_use`, `rewards_used` (the number of rewards with a recorded
        edge to an update).

    Raises:
        AgentNotFound: the session does not contain this agent.
    """
    lineage = _Lineage()
    for event in agent_events(reader, agent_id):
        lineage.add(event)
    return {"agent_id": agent_id} | lineage.result()


@dataclass(slots=True)
class _Update:
    """One update with its links so far."""

    row: dict[str, Any]
    since: list[dict[str, Any]]
    """The rewards since the update before, at most 64."""
    since_count: int
    experience: list[dict[str, Any]] = field(default_factory=list)
    experience_count: int = 0
    used_by: list[dict[str, Any]] = field(default_factory=list)
    used_recorded: bool = False


class _Lineage:
    """A fold over one agent's events, in order."""

    def __init__(self) -> None:
        self._followed: OrderedDict[str, _Update] = OrderedDict()
        self._unused: deque[_Update] = deque(maxlen=_FOLLOWED)
        self._seen: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._since: deque[dict[str, Any]] = deque(maxlen=_MAX_NAMED)
        self._since_count = 0
        self._by_span: OrderedDict[str, list[str]] = OrderedDict()
        self._waiting: dict[str, list[_Update]] = {}
        self._rewards_used: set[str] = set()
        self.count = self.with_experience = self.with_use = self.rewards_used = 0

    def add(self, event: Event) -> None:
        """Process the agent's next event."""
        self._note_use(event)
        if event.kind in EXPERIENCES or event.kind in UPDATES or event.kind == "agent_action":
            self._remember(event)
        if event.kind == "reward":
            self._since.append(self._seen[event.id])
            self._since_count += 1
            self._give_late(event)
        if event.kind in UPDATES:
            self._add_update(event)

    def _remember(self, event: Event) -> None:
        self._seen[event.id] = _row(event)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if event.kind == "reward" and event.parent_span_id is not None:
            self._by_span.setdefault(event.parent_span_id, []).append(event.id)
            if len(self._by_span) > _REMEMBERED:
                self._by_span.popitem(last=False)

    def _add_update(self, event: Event) -> None:
        update = _Update(_row(event), list(self._since), self._since_count)
        self._since.clear()
        self._since_count = 0
        self.count += 1
        for event_id, rule in _named_by(event).items():
            # a text in a payload may only look like an id, so require a known event
            if rule != "payload" or event_id in self._seen:
                self._add_experience(update, self._seen.get(event_id, {"id": event_id}), "recorded", rule)
        self.with_experience += bool(update.experience)
        if not update.experience:
            self._infer(event, update)
        self._followed[event.id] = update
        self._unused.append(update)
        if len(self._followed) > _FOLLOWED:
            self._followed.popitem(last=False)

    def _add_experience(self, update: _Update, row: dict[str, Any], source: str, rule: str) -> None:
        update.experience_count += 1
        if len(update.experience) < _MAX_NAMED:
            update.experience.append(row | {"source": source, "rule": rule})
        if source == "recorded" and row.get("event_type") == "reward":
            # remember recently used rewards, so that a reward named by two updates counts once
            if row["id"] not in self._rewards_used:
                self.rewards_used += 1
                self._rewards_used.add(row["id"])
            if len(self._rewards_used) > 4 * _REMEMBERED:
                self._rewards_used.intersection_update(self._seen)

    def _infer(self, event: Event, update: _Update) -> None:
        span = event.parent_span_id
        for event_id in self._by_span.get(span or "", ()):
            if event_id in self._seen:
                self._add_experience(update, self._seen[event_id], "inferred", RULE_SPAN)
        if span is None:
            self._infer_from_before(update)
        elif not update.experience:
            # its reward may be logged later in the same span, so wait until that span ends
            self._waiting.setdefault(span, []).append(update)
            if len(self._waiting) > _REMEMBERED:
                for waiting in self._waiting.pop(next(iter(self._waiting))):
                    self._infer_from_before(waiting)

    def _infer_from_before(self, update: _Update) -> None:
        if not update.experience:
            for row in update.since:
                self._add_experience(update, row, "inferred", RULE_EXPERIENCE)
            update.experience_count = max(update.experience_count, update.since_count)

    def _give_late(self, reward: Event) -> None:
        for update in self._waiting.get(reward.parent_span_id or "", ()):
            self._add_experience(update, self._seen[reward.id], "inferred", RULE_SPAN)

    def _note_use(self, event: Event) -> None:
        """Note the updates that this event names, and the first choice or action after each update."""
        if event.span_id is not None:
            for waiting in self._waiting.pop(event.span_id, ()):
                self._infer_from_before(waiting)
        is_user = event.kind in UPDATES or event.kind in {"agent_action", "decision", "exploration"}
        for event_id, rule in _named_by(event, in_payload=is_user).items():
            update = self._followed.get(event_id)
            if update is not None:
                self.with_use += not update.used_recorded
                update.used_recorded = True
                if len(update.used_by) < _MAX_NAMED:
                    update.used_by.append(_row(event) | {"source": "recorded", "rule": rule})
        is_choice = event.kind in {"exploration", "decision"}
        if is_choice or (event.kind == "agent_action" and event.extra.get("root")):
            for update in self._unused:
                if not update.used_by and event.span_id != update.row["parent_span_id"]:
                    update.used_by.append(_row(event) | {"source": "inferred", "rule": RULE_USE})
            # keep updates without a use: the action around an update ends after it, but did not use it
            self._unused = deque((each for each in self._unused if not each.used_by), maxlen=_FOLLOWED)

    def result(self) -> dict[str, Any]:
        """The result of `learning_lineage` without the agent's id."""
        for waiting in self._waiting.values():
            for update in waiting:
                self._infer_from_before(update)
        last = list(self._followed.values())[-KEPT_UPDATES:]
        return {
            "count": self.count,
            "with_recorded_experience": self.with_experience,
            "with_recorded_use": self.with_use,
            "rewards_used": self.rewards_used,
            "updates": [_update_row(update) for update in last],
        }


def _update_row(update: _Update) -> dict[str, Any]:
    used = [edge for edge in update.used_by if edge["source"] == "recorded"] or update.used_by
    return update.row | {
        "experience_count": update.experience_count,
        "experience": [_edge(edge) for edge in update.experience],
        "used_by": [_edge(edge) for edge in used],
    }


def _edge(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in {"span_id", "parent_span_id"}}


def _row(event: Event) -> dict[str, Any]:
    row = event_keys(event, "id", "timestamp", "tick", "event_type") | {"name": event_name(event)}
    row |= event_keys(event, "span_id", "parent_span_id")
    if event.kind == "reward":
        row |= {"reward": event.extra.get("reward"), "action_id": event.extra.get("action_id")}
    return row


def _named_by(event: Event, *, in_payload: bool = True) -> dict[str, str]:
    """The ids that an event names, each with where it does."""
    in_extra = dict.fromkeys(_ids_in(event) if in_payload else (), "payload")
    return dict.fromkeys(event.causes, "causes") | {
        event_id: rule for event_id, rule in in_extra.items() if event_id not in event.causes
    }


def _ids_in(event: Event) -> Iterator[str]:
    """Yield the event ids in a payload, at most 64."""
    count = 0
    pending: deque[Any] = deque(event.extra.values())
    looked = 0
    while pending and count < _MAX_NAMED and looked < 1000:
        value = pending.popleft()
        looked += 1
        if isinstance(value, str):
            for match in _EVENT_ID.findall(value[:200]):
                count += 1
                yield match
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
