"""What each agent does as counts over time: the numbers in which `change_points` looks for a change.

A series is one sort of thing an agent does: `action:create_content`, `decision:timing`, `content_generation`,
`reward` ... Time is cut by ticks where most events carry one, else by the clock.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from dataclasses import dataclass, field

from Agent.analysis.query.engine import Engine, kept
from Agent.analysis.query.views import IS_ERROR, scan

MAX_BUCKETS = 40
MAX_AGENTS = 400
_MIN_TICKS = 6

_KEYS = (
    "action_type",
    "decision_type",
    "interaction_type",
    "direction",
    "name",
    "reward",
    "exploration",
    "duration_ms",
    "outcome",
    "error_id",
)

# Kinds that say something of what an agent does; states, code, metrics and the log's own lines do not.
_SERIES = f"""CASE
    WHEN {IS_ERROR} THEN 'error'
    WHEN event_type = 'agent_action' THEN 'action:' || coalesce(action_type, '')
    WHEN event_type = 'decision' THEN 'decision:' || coalesce(decision_type, '')
    WHEN event_type = 'interaction' THEN 'interaction:' || coalesce(interaction_type, '')
    WHEN event_type = 'agent_message' THEN 'message:' || coalesce(direction, '')
    WHEN event_type = 'tool.call' THEN 'tool:' || coalesce(name, '')
    WHEN event_type IN ('content_generation', 'strategy_update', 'learning_update', 'training_step', 'reward',
        'exploration', 'policy_update', 'connection', 'cascade', 'collaboration', 'model.call')
        THEN event_type
    END"""
_KINDS = (
    "'error', 'agent_action', 'decision', 'interaction', 'agent_message', 'tool.call', 'content_generation', "
    "'strategy_update', 'learning_update', 'training_step', 'reward', 'exploration', 'policy_update', "
    "'connection', 'cascade', 'collaboration', 'model.call'"
)
_VALUE = """CASE event_type WHEN 'reward' THEN reward WHEN 'exploration' THEN exploration::INTEGER::DOUBLE
    ELSE ln(greatest(duration_ms, 0.0001)) END"""
"""What is measured of an event; of durations the logarithm, since a few long ones say little of all."""


@dataclass(slots=True)
class Series:
    """One agent's counts of one thing by bucket; `sums` and `squares` are of what was measured there."""

    agent_id: str
    name: str
    counts: list[int]
    failed: list[int]
    measured: list[int]
    sums: list[float]
    squares: list[float]
    first_ids: dict[int, str] = field(default_factory=dict)
    """{bucket: the id of its first event}."""


@dataclass(frozen=True, slots=True)
class Axis:
    """How time is cut: `by_tick` says in which unit; bucket n begins at `first + n * width`."""

    by_tick: bool
    first: int
    last: int
    width: int

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return (self.last - self.first) // self.width + 1

    def bucket(self, position: int) -> int:
        """The bucket of a tick or a time."""
        return max(0, min(self.buckets - 1, (position - self.first) // self.width))

    def start(self, bucket: int) -> int:
        """The tick or time at which a bucket begins."""
        return self.first + bucket * self.width


@dataclass(slots=True)
class Profile:
    """Everybody's series on one axis."""

    axis: Axis
    roles: dict[str, str | None]
    series: dict[str, dict[str, Series]] = field(default_factory=dict)
    """{agent id: {series name: series}}; agents outside the scope that was asked for are missing."""
    first_bucket: dict[str, int] = field(default_factory=dict)

    _members: dict[str | None, list[str]] = field(default_factory=dict)
    _sums: dict[str | None, dict[str, list[int]]] = field(default_factory=dict)
    _totals: dict[str | None, dict[str, list[int]]] = field(default_factory=dict)

    def members(self, role: str | None) -> list[str]:
        """The agents of a role that are in scope."""
        if role not in self._members:
            self._members[role] = [agent for agent in self.series if self.roles.get(agent) == role]
        return self._members[role]

    def peers(self, agent_id: str) -> list[str]:
        """The other agents of its role that are in scope."""
        return [other for other in self.members(self.roles.get(agent_id)) if other != agent_id]

    def role_counts(self, role: str | None) -> dict[str, list[int]]:
        """{series name: counts by bucket} of all agents of a role together."""
        if role not in self._sums:
            sums: dict[str, list[int]] = {}
            for agent in self.members(role):
                for name, series in self.series[agent].items():
                    known = sums.get(name, [0] * self.axis.buckets)
                    sums[name] = [a + b for a, b in zip(known, series.counts, strict=True)]
            self._sums[role] = sums
        return self._sums[role]

    def role_totals(self, role: str | None) -> dict[str, list[int]]:
        """{series name: how often each agent of a role did it}, in ascending order, zeros too."""
        if role not in self._totals:
            members = self.members(role)
            totals: dict[str, list[int]] = {}
            for agent in members:
                for name, series in self.series[agent].items():
                    totals.setdefault(name, []).append(sum(series.counts))
            self._totals[role] = {
                name: sorted([0] * (len(members) - len(counts)) + counts) for name, counts in totals.items()
            }
        return self._totals[role]

    def everybody(self, role: str | None = None) -> dict[str, Series]:
        """The series of all agents in scope, or of one role, added up."""
        sums: dict[str, Series] = {}
        for agent, own in self.series.items():
            if role is not None and self.roles.get(agent) != role:
                continue
            for name, series in own.items():
                total = sums.setdefault(name, _empty("", name, self.axis.buckets))
                for n in range(self.axis.buckets):
                    total.counts[n] += series.counts[n]
                    total.failed[n] += series.failed[n]
                    total.measured[n] += series.measured[n]
                    total.sums[n] += series.sums[n]
                    total.squares[n] += series.squares[n]
        return sums

    def get(self, agent_id: str, name: str) -> Series:
        """A series of an agent; all zeros if it never did that."""
        found = self.series.get(agent_id, {}).get(name)
        if found is not None:
            return found
        return _empty(agent_id, name, self.axis.buckets)


@dataclass(frozen=True, slots=True)
class Overview:
    """What there is to look at: agents with their roles, series with how many agents have them, the axis."""

    roles: dict[str, str | None]
    totals: dict[str, dict[str, int]]
    """{agent id: {series name: count}}."""
    axis: Axis | None
    unusual: tuple[str, ...]
    """Agents by how much the last third of the session differs from the rest, most first."""
    bucket_us: dict[int, int] = field(default_factory=dict)
    """{bucket: the time of its first event}."""
    ends_us: tuple[int, int] | None = None

    @property
    def names(self) -> list[str]:
        """Every series of the session."""
        return sorted({name for counts in self.totals.values() for name in counts})


def overview(engine: Engine) -> Overview:
    """The agents and what they do: one pass over the lines, which leaves the counts in a table."""
    said = (
        f"(SELECT agent_id, agent_role, {_SERIES} AS series, coalesce(event_type IN ({_KINDS}), false) AS "
        "is_told, tick, ts_us, writer, seq, (outcome = 'error' OR error_id IS NOT NULL) AS failed, "
        f"{_VALUE} AS value FROM {scan(*_KEYS)} WHERE agent_id IS NOT NULL)"
    )
    with kept(engine, "debug_said", said) as lines:
        edges = engine.row(
            "SELECT min(ts_us) AS first_us, max(ts_us) AS last_us, min(tick) AS first_tick, max(tick) AS "
            f"last_tick, count(tick) * 2 >= count(*) AS ticked FROM {lines.text} WHERE is_told"
        )
        axis = _axis(edges)
        bucket = "0" if axis is None else _bucket(axis)
        engine.make_table(
            "debug_counts",
            f"SELECT agent_id, max(agent_role) AS role, series, {bucket} AS bucket, count(*) AS n, "
            "min(ts_us) AS first_us, arg_min(concat(writer, '-', seq), ts_us) AS first_id, "
            "count(*) FILTER (WHERE failed) AS failed, count(value) FILTER (WHERE isfinite(value)) AS "
            "measured, coalesce(sum(value) FILTER (WHERE isfinite(value)), 0.0) AS total, "
            "coalesce(sum(value * value) FILTER (WHERE isfinite(value)), 0.0) AS squares "
            f"FROM {lines.text} GROUP BY agent_id, series, bucket",
        )
    late_from = 0 if axis is None else axis.buckets - axis.buckets // 3
    rows = engine.rows(
        "SELECT agent_id, max(role) AS role, series, sum(n)::BIGINT AS n, "
        f"coalesce(sum(n) FILTER (WHERE bucket >= {late_from}), 0)::BIGINT AS late "
        "FROM debug_counts GROUP BY agent_id, series ORDER BY agent_id, series"
    )
    starts = engine.rows(
        "SELECT bucket, min(first_us) AS us FROM debug_counts WHERE bucket IS NOT NULL GROUP BY 1"
    )
    roles: dict[str, str | None] = {}
    totals: dict[str, dict[str, int]] = {}
    late: dict[tuple[str, str], int] = {}
    for row in rows:
        agent, name = row["agent_id"], row["series"]
        roles[agent] = row["role"] or roles.get(agent)
        counts = totals.setdefault(agent, {})
        if name is not None:
            counts[name] = row["n"]
            late[agent, name] = row["late"]
    return Overview(
        roles,
        totals,
        axis,
        _unusual(totals, late),
        {row["bucket"]: row["us"] for row in starts},
        None if edges["first_us"] is None else (edges["first_us"], edges["last_us"]),
    )


def _unusual(totals: dict[str, dict[str, int]], late: dict[tuple[str, str], int]) -> tuple[str, ...]:
    shares: dict[str, list[int]] = {}
    for agent, counts in totals.items():
        for name, count in counts.items():
            sums = shares.setdefault(name, [0, 0])
            sums[0] += late[agent, name]
            sums[1] += count
    scores = {}
    for agent, counts in totals.items():
        worst = 0.0
        for name, count in counts.items():
            expected = count * shares[name][0] / shares[name][1]
            worst = max(worst, (late[agent, name] - expected) ** 2 / (expected + 1))
        scores[agent] = worst
    return tuple(sorted(scores, key=lambda agent: (-scores[agent], agent)))


def _axis(edges: dict[str, int | None]) -> Axis | None:
    if edges["ticked"] and edges["first_tick"] is not None and edges["last_tick"] is not None:
        first, last = edges["first_tick"], edges["last_tick"]
        if last - first + 1 >= _MIN_TICKS:
            return Axis(True, first, last, -(-(last - first + 1) // MAX_BUCKETS))
    if edges["first_us"] is None or edges["last_us"] is None:
        return None
    first, last = edges["first_us"], edges["last_us"]
    return Axis(False, first, last, max(1, -(-(last - first + 1) // MAX_BUCKETS)))


def _position(axis: Axis) -> str:
    return "tick" if axis.by_tick else "ts_us"


def _bucket(axis: Axis) -> str:
    """The bucket of an event in SQL; kinds that are no series, the last states say, lie beyond the ends."""
    at = _position(axis)
    inside = f"least(greatest({at}, {axis.first}), {axis.last})"
    return f"CASE WHEN {at} IS NOT NULL THEN ({inside} - {axis.first}) // {axis.width} END"


def profile(engine: Engine, seen: Overview, agents: list[str]) -> Profile:
    """The series of some agents; none where the session has no axis."""
    if seen.axis is None:
        return Profile(Axis(False, 0, 0, 1), seen.roles)
    axis = seen.axis
    rows = engine.rows(
        "SELECT * FROM debug_counts WHERE bucket IS NOT NULL AND list_contains($1, agent_id) "
        "ORDER BY agent_id, series, bucket",
        [agents],
    )
    made = Profile(axis, seen.roles)
    for row in rows:
        agent, name, bucket = row["agent_id"], row["series"], row["bucket"]
        known = made.first_bucket.get(agent, bucket)
        made.first_bucket[agent] = min(known, bucket)
        own = made.series.setdefault(agent, {})
        if name is None:
            continue
        series = own.setdefault(name, _empty(agent, name, axis.buckets))
        series.counts[bucket] += row["n"]
        series.failed[bucket] += row["failed"]
        series.first_ids[bucket] = row["first_id"]
        series.measured[bucket] += row["measured"]
        series.sums[bucket] += row["total"]
        series.squares[bucket] += row["squares"]
    return made


def _empty(agent_id: str, name: str, buckets: int) -> Series:
    zeros = [0.0] * buckets
    return Series(agent_id, name, [0] * buckets, [0] * buckets, [0] * buckets, list(zeros), list(zeros))


def scope(seen: Overview, agents: tuple[str, ...], roles: tuple[str, ...]) -> list[str]:
    """Which agents to profile: those asked about and their peers, else the most unusual ones, at most 400."""
    wanted = list(agents)
    if wanted:
        own_roles = {seen.roles.get(agent) for agent in wanted}
        others = [agent for agent in seen.roles if seen.roles[agent] in own_roles and agent not in wanted]
        return (wanted + spread(others, MAX_AGENTS - len(wanted)))[:MAX_AGENTS]
    ranked = [agent for agent in seen.unusual if not roles or seen.roles[agent] in roles]
    if len(ranked) <= MAX_AGENTS:
        return ranked
    half = MAX_AGENTS // 2
    return ranked[:half] + spread(ranked[half:], half)


def spread(items: list[str], count: int) -> list[str]:
    """That many of some items, evenly over their order."""
    if len(items) <= count:
        return items
    return [items[n * len(items) // count] for n in range(max(count, 0))]
