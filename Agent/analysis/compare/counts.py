"""What two sides of a comparison did, by agents or groups of them, and by blocks of time."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent.analysis.errors.failures import FINGERPRINT
from Agent.analysis.errors.fingerprints import shape_of
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.views import IS_ERROR, scan, whole_lines

BLOCKS = 12
MAX_UNITS = 400
MIN_AGENTS = 8
_MIN_TICKS = BLOCKS
_COLUMNS = frozenset({"agent_id", "agent_role", "level", "logger", "run_id", "code", "session_id", "tick"})
_KEYS = (
    "action_type", "metric_name", "reward", "duration_ms", "error_type", "error_message", "fingerprint",
    "error_id", "learning_stage", "context",
)  # fmt: skip


@dataclass(slots=True)
class ComparedSide:
    """One side: how long it ran, its units, and what each did.

    `counts` is {(what, name): {unit: how many}}; `rewards` {unit: (how many, sum)}; `latencies` {operation:
    {block: (how many, median, 95th percentile in ms)}}; `errors` {fingerprint: their message, less
    what differs from one to the other}.
    """

    label: str
    events: int = 0
    agents: int = 0
    ticks: int = 0
    seconds: float = 0.0
    by_agent: bool = False
    units: set[int] = field(default_factory=set)
    counts: defaultdict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    rewards: dict[int, tuple[int, float]] = field(default_factory=dict)
    latencies: defaultdict[str, dict[int, tuple[int, float, float]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ends:
    first: int
    last: int
    by_tick: bool

    def block(self) -> str:
        width = max(1, -(-(self.last - self.first + 1) // BLOCKS))
        return f"({'tick' if self.by_tick else 'ts_us'} - {self.first}) // {width}"


def value_of(name: str) -> str:
    """An expression for a field that a person names: of the envelope, or a key of the payload."""
    if name in _COLUMNS:
        return f"{name}::VARCHAR"
    pointer = name.replace("~", "~0").replace("/", "~1").replace("'", "''")
    return f"(extra->>'/{pointer}')"


def values(engine: Engine, name: str) -> list[tuple[str, int]]:
    """The values of a field in a session with how many events carry each, most first."""
    rows = engine.rows(
        f"SELECT {value_of(name)} AS value, count(*) AS n FROM {whole_lines()} WHERE "
        f"{value_of(name)} IS NOT NULL GROUP BY value ORDER BY n DESC, value LIMIT 50"
    )
    return [(row["value"], row["n"]) for row in rows]


def gather(
    engine: Engine, sides: Sequence[str], by: str | None = None, *, by_time: bool = False
) -> dict[str, ComparedSide]:
    """The sides of one session: the whole of it, or the events of each value of a field.

    An event without the field counts where its agent's events with it do, if those all agree.

    Args:
        engine: over the session.
        sides: the label of the whole, or the values of the field that are compared.
        by: the field, None for the whole.
        by_time: units are blocks of time even where there are agents enough.
    """
    made = {label: ComparedSide(label) for label in sides}
    ends = _ends(engine, made, by)
    by_agent = not by_time and all(side.agents >= MIN_AGENTS for side in made.values())
    for side in made.values():
        side.by_agent = by_agent
    if ends is None:
        return made
    block = ends.block()
    unit = f"(hash(agent_id) % {MAX_UNITS if _many(made) else 2**31 - 1})::INTEGER"
    if not by_agent:
        unit = f"({block})::INTEGER"
    _count(engine, made, by, unit)
    _time(engine, made, by, block)
    if not by_agent:
        for side in made.values():
            side.units = set(range(BLOCKS))
    return made


def _many(made: dict[str, ComparedSide]) -> bool:
    return max(side.agents for side in made.values()) > MAX_UNITS


def _source(by: str | None, *keys: str) -> str:
    """A scan with a column `side`."""
    if by is None:
        return f"(SELECT *, $1[1] AS side FROM {scan(*keys)})"
    if by in _COLUMNS:
        return f"(SELECT *, {by}::VARCHAR AS side FROM {scan(*keys)})"
    return (
        f"(SELECT s.*, coalesce(own.value, agents.value) AS side FROM {scan(*keys)} s "
        "LEFT JOIN compared_events own ON own.writer = s.writer AND own.seq = s.seq "
        "LEFT JOIN compared_agents agents ON agents.agent_id = s.agent_id)"
    )


def _ends(engine: Engine, made: dict[str, ComparedSide], by: str | None) -> _Ends | None:
    if by is not None and by not in _COLUMNS:
        engine.rows(
            "CREATE OR REPLACE TEMP TABLE compared_events AS SELECT writer, seq, agent_id, "
            f"{value_of(by)} AS value FROM {whole_lines()} WHERE {value_of(by)} IS NOT NULL"
        )
        engine.rows(
            "CREATE OR REPLACE TEMP TABLE compared_agents AS SELECT agent_id, min(value) AS value FROM "
            "compared_events WHERE agent_id IS NOT NULL GROUP BY agent_id HAVING count(DISTINCT value) = 1"
        )
    rows = engine.rows(
        "SELECT side, count(*) AS n, count(DISTINCT agent_id) AS agents, min(tick) AS first_tick, "
        "max(tick) AS last_tick, min(ts_us) AS first_us, max(ts_us) AS last_us, count(tick) AS ticked, "
        "count(*) FILTER (WHERE agent_id IS NOT NULL) AS owned "
        f"FROM {_source(by)} WHERE list_contains($1, side) GROUP BY side",
        [list(made)],
    )
    for row in rows:
        side = made[row["side"]]
        side.events, side.agents = row["n"], row["agents"]
        side.seconds = (row["last_us"] - row["first_us"]) / 1e6
        if row["first_tick"] is not None and row["ticked"] * 2 >= row["owned"]:
            side.ticks = row["last_tick"] - row["first_tick"] + 1
    if not rows:
        return None
    if all(made[row["side"]].ticks >= _MIN_TICKS for row in rows):
        return _Ends(min(r["first_tick"] for r in rows), max(r["last_tick"] for r in rows), True)
    return _Ends(min(r["first_us"] for r in rows), max(r["last_us"] for r in rows), False)


def _count(engine: Engine, made: dict[str, ComparedSide], by: str | None, unit: str) -> None:
    what = f"CASE WHEN {IS_ERROR} THEN 'error' WHEN event_type = 'agent_action' THEN 'action' ELSE 'kind' END"
    name = (
        f"CASE WHEN {IS_ERROR} THEN {FINGERPRINT} WHEN event_type = 'agent_action' "
        "THEN coalesce(action_type, '') ELSE event_type END"
    )
    rows = engine.rows(
        f"WITH told AS (SELECT side, agent_id, {what} AS what, {name} AS name, message, reward, tick, ts_us, "
        f"event_type FROM {_source(by, *_KEYS)} WHERE list_contains($1, side) AND agent_id IS NOT NULL AND "
        "event_type NOT IN ('code', 'state')) "
        f"SELECT side, unit, what, name, count(*) AS n, "
        "min(message) FILTER (WHERE what = 'error') AS message, "
        "max(message) FILTER (WHERE what = 'error') AS last_message, "
        "count(reward) FILTER (WHERE event_type = 'reward' AND isfinite(reward)) AS rewards, "
        "sum(reward) FILTER (WHERE event_type = 'reward' AND isfinite(reward)) AS total "
        f"FROM (SELECT *, {unit} AS unit FROM told) GROUP BY side, unit, what, name",
        [list(made)],
    )
    for row in rows:
        side, at = made[row["side"]], row["unit"]
        if at is None:
            continue
        side.units.add(at)
        side.counts[row["what"], row["name"]][at] = row["n"]
        if row["what"] == "error":
            told, last = row["message"] or "", row["last_message"] or ""
            known = side.errors.setdefault(row["name"], told)
            if not known == told == last:
                side.errors[row["name"]] = shape_of(told)
        if row["rewards"]:
            side.rewards[at] = (row["rewards"], row["total"])


def _time(engine: Engine, made: dict[str, ComparedSide], by: str | None, block: str) -> None:
    operation = (
        "CASE WHEN event_type = 'agent_action' THEN coalesce(action_type, '') "
        "WHEN event_type = 'metric' THEN coalesce(metric_name, '') ELSE event_type END"
    )
    rows: list[dict[str, Any]] = engine.rows(
        f"SELECT side, {operation} AS operation, ({block})::INTEGER AS block, count(*) AS n, "
        "approx_quantile(duration_ms, 0.5) AS p50, approx_quantile(duration_ms, 0.95) AS p95 "
        f"FROM {_source(by, *_KEYS)} WHERE list_contains($1, side) AND duration_ms IS NOT NULL AND "
        "isfinite(duration_ms) AND duration_ms >= 0 GROUP BY ALL",
        [list(made)],
    )
    for row in rows:
        if row["block"] is not None and row["n"] >= 3:
            made[row["side"]].latencies[row["operation"]][row["block"]] = (row["n"], row["p50"], row["p95"])
