"""Compare behaviour in numbers: how large each difference is, and whether noise can explain it.

The units are agents if both sides have at least 8, else blocks of time. Events of one agent are correlated,
so counting each event as a unit would make noise look significant.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from Agent.analysis.query.engine import Engine, open_engine
from Agent.analysis.query.views import IS_ERROR, part_of, scan, whole_lines
from Agent.analysis.questions.errors import FINGERPRINT, shape_of
from Agent.analysis.stats import holm, welch
from Agent.errors import UsageError
from Agent.render.blocks import Block, Column, Section, Words, grid
from Agent.render.formats import cell, plural, short_number
from Agent.render.html import notebook_html
from Agent.render.layout import sections_text
from Agent.tree.layout import session_id_of

ALPHA = 0.05
MIN_LATENCY_RATIO = 1.25
"""Within one session, a smaller ratio of latencies is not called a difference."""
MIN_RATIO_OF_SESSIONS = 1.5
"""The same for two sessions, beyond their common ratio: the machine's load differs between sessions."""
MIN_LATENCY_MS = 0.02
"""Medians that are closer are not called different: recording a call takes 10 to 30 us itself, and what that
leaves in the caches changes the times of shorter calls."""
MAX_ERRORS = 50
_MIN_OPERATIONS = 3
METHOD = (
    "Welch's test on the values of {units}, corrected for {tests} comparisons by Holm's method; a difference "
    "is called real below 5 %. Latencies are tested by blocks of time on a logarithmic scale, and real "
    "only from {ratio} times on{common}, and from {floor_us:.0f} us apart."
)


@dataclass(frozen=True, slots=True)
class BehaviourDifference:
    """One compared quantity.

    `what` is kind, action, reward, error or latency; `first` and `second` are rates (per agent and tick or
    second), means, or milliseconds; `low` and `high` are the 95 % interval of the difference, for latencies
    of the ratio; `chance` is the p-value corrected for the number of comparisons, None if there are too few
    values.
    """

    what: str
    name: str
    first: float
    second: float
    low: float | None
    high: float | None
    chance: float | None
    is_real: bool
    note: str = ""
    """`new` or `gone` for what occurs on one side only; limits of the test."""

    @property
    def change(self) -> float | None:
        """The relative change, second / first - 1; None if the first is 0."""
        return self.second / self.first - 1.0 if self.first else None

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"change": self.change}


@dataclass(frozen=True, slots=True)
class BehaviourComparison:
    """Two sides and every difference between them, real ones first."""

    first: dict[str, Any]
    second: dict[str, Any]
    differences: tuple[BehaviourDifference, ...]
    unit: str
    """The unit of rates: per agent and tick, or per agent and second."""
    method: str
    notes: tuple[str, ...] = ()

    @property
    def real(self) -> tuple[BehaviourDifference, ...]:
        """The differences that noise does not explain."""
        return tuple(each for each in self.differences if each.is_real)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values, ready for JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "unit": self.unit,
            "method": self.method,
            "real": len(self.real),
            "differences": [each.to_dict() for each in self.differences],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int | None = None) -> str:
        """Return the comparison as text; with a width, tables are cut to it."""
        return sections_text(comparison_sections(self.to_dict()), width)

    def _repr_html_(self) -> str:
        return notebook_html(comparison_sections(self.to_dict()))


def compare_sessions(first: Path, second: Path) -> BehaviourComparison:
    """Compare two whole sessions.

    Args:
        first: the directory of the baseline.
        second: the directory of the session to compare with it.
    """
    sides = _sides(first, second)
    if sides[0].by_agent != sides[1].by_agent:
        # only one side has enough agents, so use blocks of time for both
        sides = _sides(first, second, by_time=True)
    return _compared(sides[0], sides[1], are_sessions=True)


def _sides(*paths: Path, by_time: bool = False) -> list[ComparedSide]:
    sides = []
    for path in paths:
        label = session_id_of(path)
        with open_engine(path) as engine:
            sides.append(gather(engine, [label], by_time=by_time)[label])
    return sides


def compare_by(session: Path, field: str, chosen: Sequence[str] = ()) -> BehaviourComparison:
    """Compare one session's events by the value of a field, such as `agent_version`.

    Args:
        session: its directory.
        field: a key of the payload, or one of agent_id, agent_role, level, logger, run_id, code, tick.
        chosen: the two values to compare; default: the two most frequent ones, sorted.

    Raises:
        UsageError: the field does not have two values, or not the chosen ones.
    """
    with open_engine(session) as engine:
        known = values(engine, field)
        picked = list(chosen) or sorted(value for value, _ in known[:2])
        absent = [value for value in picked if value not in dict(known)]
        if len(picked) != 2 or absent:
            seen = ", ".join(value for value, _ in known[:8]) or "none"
            raise UsageError(
                f"{field} has no two values to compare" if not absent else f"{field} is never {absent[0]!r}",
                path=session,
                remedy=f"its values are: {seen}",
            )
        sides = gather(engine, picked, field)
    rest = [value for value, _ in known if value not in picked]
    notes = [f"other values of {field} are ignored: {', '.join(rest[:6])}"] if rest else []
    return _compared(sides[picked[0]], sides[picked[1]], notes)


def _compared(
    first: ComparedSide, second: ComparedSide, notes: Sequence[str] = (), *, are_sessions: bool = False
) -> BehaviourComparison:
    by_tick = bool(first.ticks and second.ticks)
    latencies = list(_latencies(first, second))
    common = _common_ratio(latencies) if are_sessions else 1.0
    untested = [*_rates(first, second, by_tick), *_rewards(first, second), *latencies]
    tested = [each for each in untested if each.chance is not None]
    corrected = iter(holm([each.chance for each in tested if each.chance is not None]))
    differences = []
    for each in untested:
        chance = None if each.chance is None else next(corrected)
        real = chance is not None and chance < ALPHA and _matters(each, common, are_sessions)
        differences.append(replace(each, chance=chance, is_real=real))
    differences.sort(key=lambda d: (not d.is_real, 1.0 if d.chance is None else d.chance, d.what, d.name))
    units = "agents" if first.by_agent else f"{BLOCKS} blocks of time"
    return BehaviourComparison(
        _side_facts(first),
        _side_facts(second),
        tuple(differences),
        "per agent and tick" if by_tick else "per agent and second",
        METHOD.format(
            units=units,
            tests=len(tested),
            ratio=MIN_RATIO_OF_SESSIONS if are_sessions else MIN_LATENCY_RATIO,
            common=f" beyond the {common:.2f} times that the medians of all operations have in common"
            if are_sessions
            else "",
            floor_us=MIN_LATENCY_MS * 1_000,
        ),
        (*notes, *_doubts(first, second, by_tick=by_tick, are_sessions=are_sessions)),
    )


def _side_facts(side: ComparedSide) -> dict[str, Any]:
    return {
        "label": side.label, "events": side.events, "agents": side.agents, "ticks": side.ticks or None,
        "seconds": side.seconds,
    }  # fmt: skip


def _doubts(first: ComparedSide, second: ComparedSide, *, by_tick: bool, are_sessions: bool) -> Iterator[str]:
    if are_sessions:
        what = "latencies" if by_tick else "latencies and rates per second"
        yield f"machine load affects the {what} of two sessions: repeat each to be sure"
    if not first.by_agent:
        yield "few agents: blocks of time are compared, and their values may be correlated"
    if bool(first.ticks) != bool(second.ticks):
        yield "only one side has ticks, so rates are per second"


def _common_ratio(latencies: Sequence[BehaviourDifference]) -> float:
    """The median ratio of all operations' medians: the machine's influence; 1 with fewer than 3."""
    ratios = sorted(each.second / each.first for each in latencies if " p50 " in each.name and each.first > 0)
    return statistics.median(ratios) if len(ratios) >= _MIN_OPERATIONS else 1.0


def _matters(each: BehaviourDifference, common: float, are_sessions: bool) -> bool:
    if each.what != "latency":
        return True
    if each.first <= 0 or each.second <= 0 or abs(each.second - each.first) < MIN_LATENCY_MS:
        return False
    ratio = each.second / each.first / common
    ratio = max(ratio, 1 / ratio)
    if not are_sessions:
        return ratio >= MIN_LATENCY_RATIO
    # between sessions only medians count: the slowest calls reflect the machine's load
    return " p50 " in each.name and ratio >= MIN_RATIO_OF_SESSIONS


def _rates(first: ComparedSide, second: ComparedSide, by_tick: bool) -> Iterator[BehaviourDifference]:
    spans = [float(side.ticks) if by_tick else side.seconds for side in (first, second)]
    # per agent: a unit may be a group of agents, or a block with a share of every agent's time
    units = [len(side.units) if first.by_agent else BLOCKS for side in (first, second)]
    agents = [max(1, side.agents) for side in (first, second)]
    spans = [span * many / max(1, unit) for span, many, unit in zip(spans, agents, units, strict=True)]
    names = sorted(first.counts.keys() | second.counts.keys())
    errors = sorted(
        (name for name in names if name[0] == "error"),
        key=lambda name: -sum(sum(side.counts.get(name, {}).values()) for side in (first, second)),
    )
    kept = set(errors[:MAX_ERRORS])
    for what, name in names:
        if what == "error" and (what, name) not in kept:
            continue
        rates = [
            [
                side.counts.get((what, name), {}).get(unit, 0) / span if span > 0 else 0.0
                for unit in sorted(side.units)
            ]
            for side, span in zip((first, second), spans, strict=True)
        ]
        shown = first.errors.get(name) or second.errors.get(name, name) if what == "error" else name
        note = ""
        if bool(sum(rates[0])) != bool(sum(rates[1])):
            note = "new" if sum(rates[1]) else "gone"
        yield _tested(what, shown, rates[0], rates[1], note)


def _rewards(first: ComparedSide, second: ComparedSide) -> Iterator[BehaviourDifference]:
    means = [[total / n for n, total in side.rewards.values()] for side in (first, second)]
    if means[0] and means[1]:
        yield _tested("reward", "mean reward", means[0], means[1])


def _latencies(first: ComparedSide, second: ComparedSide) -> Iterator[BehaviourDifference]:
    for name in sorted(first.latencies.keys() & second.latencies.keys()):
        for place, label in ((1, "p50"), (2, "p95")):
            logs = [
                [math.log(max(row[place], 1e-6)) for row in side.latencies[name].values()]
                for side in (first, second)
            ]
            effect = welch(logs[0], logs[1])
            yield BehaviourDifference(
                "latency", f"{name} {label} ms", _of_log(effect.mean_1), _of_log(effect.mean_2),
                None if effect.low is None else _of_log(effect.low),
                None if effect.high is None else _of_log(effect.high), effect.chance, False,
                "" if effect.chance is not None else "too few to tell",
            )  # fmt: skip


def _of_log(value: float) -> float:
    """Return the number with a logarithm, at most the largest one."""
    return math.exp(min(value, math.log(sys.float_info.max)))


def _tested(
    what: str, name: str, first: list[float], second: list[float], note: str = ""
) -> BehaviourDifference:
    effect = welch(first, second)
    if effect.chance is None:
        note = f"{note}, too few to tell" if note else "too few to tell"
    return BehaviourDifference(
        what, cell(name), effect.mean_1, effect.mean_2, effect.low, effect.high, effect.chance, False, note
    )


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
    """One side of a comparison: its length, its units, and counts per unit.

    `counts` is {(what, name): {unit: count}}; `rewards` {unit: (count, sum)}; `latencies` {operation:
    {block: (count, median, 95th percentile in ms)}}; `errors` {fingerprint: its message, or the shape of it
    if messages differ}.
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


def value_of(name: str) -> str:
    """SQL for a field that a user names: an envelope key, or a key of the payload."""
    if name in _COLUMNS:
        return f"{name}::VARCHAR"
    pointer = name.replace("~", "~0").replace("/", "~1").replace("'", "''")
    return f"(extra->>'/{pointer}')"


def values(engine: Engine, name: str) -> list[tuple[str, int]]:
    """The values of a field with their number of events, most frequent first, at most 50."""
    column = value_of(name)
    return [*engine.counts(column, f"{whole_lines()} WHERE {column} IS NOT NULL", 50).items()]


def gather(
    engine: Engine, sides: Sequence[str], by: str | None = None, *, by_time: bool = False
) -> dict[str, ComparedSide]:
    """Collect the sides of one session: the whole session, or the events with each value of a field.

    An event without the field gets its agent's value, if the agent's other events all have the same one.

    Args:
        engine: over the session.
        sides: the label of the whole session, or the field's values to compare.
        by: the field; None for the whole session.
        by_time: use blocks of time as units even if there are enough agents.
    """
    by_label = {label: ComparedSide(label) for label in sides}
    block = _blocks(engine, by_label, by)
    by_agent = not by_time and all(side.agents >= MIN_AGENTS for side in by_label.values())
    for side in by_label.values():
        side.by_agent = by_agent
    if block is None:
        return by_label
    are_many = max(side.agents for side in by_label.values()) > MAX_UNITS
    unit = f"(hash(agent_id) % {MAX_UNITS if are_many else 2**31 - 1})::INTEGER"
    if not by_agent:
        unit = f"({block})::INTEGER"
    _count(engine, by_label, by, unit)
    _time(engine, by_label, by, block)
    if not by_agent:
        for side in by_label.values():
            side.units = set(range(BLOCKS))
    return by_label


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


def _blocks(engine: Engine, by_label: dict[str, ComparedSide], by: str | None) -> str | None:
    """Count each side; return SQL for the block of an event, None without events."""
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
        [list(by_label)],
    )
    for row in rows:
        side = by_label[row["side"]]
        side.events, side.agents = row["n"], row["agents"]
        side.seconds = (row["last_us"] - row["first_us"]) / 1e6
        if row["first_tick"] is not None and row["ticked"] * 2 >= row["owned"]:
            side.ticks = row["last_tick"] - row["first_tick"] + 1
    if not rows:
        return None
    of = "tick" if all(by_label[row["side"]].ticks >= _MIN_TICKS for row in rows) else "us"
    first, last = min(row[f"first_{of}"] for row in rows), max(row[f"last_{of}"] for row in rows)
    return part_of("tick" if of == "tick" else "ts_us", first, last, BLOCKS)[0]


def _count(engine: Engine, by_label: dict[str, ComparedSide], by: str | None, unit: str) -> None:
    what = f"CASE WHEN {IS_ERROR} THEN 'error' WHEN event_type = 'agent_action' THEN 'action' ELSE 'kind' END"
    name = (
        f"CASE WHEN {IS_ERROR} THEN {FINGERPRINT} WHEN event_type = 'agent_action' "
        "THEN coalesce(action_type, '') ELSE event_type END"
    )
    rows = engine.rows(
        f"WITH seen AS (SELECT side, agent_id, {what} AS what, {name} AS name, message, reward, tick, ts_us, "
        f"event_type FROM {_source(by, *_KEYS)} WHERE list_contains($1, side) AND agent_id IS NOT NULL AND "
        f"event_type NOT IN ('code', 'state')) SELECT side, unit, what, name, count(*) AS n, "
        "min(message) FILTER (WHERE what = 'error') AS message, "
        "max(message) FILTER (WHERE what = 'error') AS last_message, "
        "count(reward) FILTER (WHERE event_type = 'reward' AND isfinite(reward)) AS rewards, "
        "sum(reward) FILTER (WHERE event_type = 'reward' AND isfinite(reward)) AS total "
        f"FROM (SELECT *, {unit} AS unit FROM seen) GROUP BY side, unit, what, name",
        [list(by_label)],
    )
    for row in rows:
        side, at = by_label[row["side"]], row["unit"]
        if at is None:
            continue
        side.units.add(at)
        side.counts[row["what"], row["name"]][at] = row["n"]
        if row["what"] == "error":
            first_message, last = row["message"] or "", row["last_message"] or ""
            known = side.errors.setdefault(row["name"], first_message)
            if not known == first_message == last:
                side.errors[row["name"]] = shape_of(first_message)
        if row["rewards"]:
            side.rewards[at] = (row["rewards"], row["total"])


def _time(engine: Engine, by_label: dict[str, ComparedSide], by: str | None, block: str) -> None:
    operation = (
        "CASE WHEN event_type = 'agent_action' THEN coalesce(action_type, '') "
        "WHEN event_type = 'metric' THEN coalesce(metric_name, '') ELSE event_type END"
    )
    rows: list[dict[str, Any]] = engine.rows(
        f"SELECT side, {operation} AS operation, ({block})::INTEGER AS block, count(*) AS n, "
        "approx_quantile(duration_ms, 0.5) AS p50, approx_quantile(duration_ms, 0.95) AS p95 "
        f"FROM {_source(by, *_KEYS)} WHERE list_contains($1, side) AND duration_ms IS NOT NULL AND "
        "isfinite(duration_ms) AND duration_ms >= 0 GROUP BY ALL",
        [list(by_label)],
    )
    for row in rows:
        if row["block"] is not None and row["n"] >= 3:
            of_blocks = by_label[row["side"]].latencies[row["operation"]]
            of_blocks[row["block"]] = row["n"], row["p50"], row["p95"]


MAX_REAL = 20
MAX_NOISE = 5


def comparison_sections(found: Mapping[str, Any]) -> Iterator[Section]:
    """The sides, the differences that noise does not explain, and the 5 largest of the others.

    Args:
        found: the result of `BehaviourComparison.to_dict`.
    """
    sides = (("A", found["first"]), ("B", found["second"]))
    yield Section("Compared", [Words(f"{label} {_side(side)}") for label, side in sides])
    real = [each for each in found["differences"] if each["is_real"]]
    noise = [each for each in found["differences"] if not each["is_real"]]
    one_sided = [each for each in noise if each["note"].startswith(("new", "gone"))]
    one_sided.sort(key=lambda each: each["what"] != "action")
    noise = [each for each in noise if each not in one_sided]
    changed = [each for each in noise if each["first"] != each["second"]]
    if real:
        title = f"Differences that noise does not explain: {len(real)}"
        yield Section(title, _grid(real, MAX_REAL))
    else:
        yield Section("Differences", [Words("No difference that noise does not explain.")])
    for title, rows, most in (
        ("Only on one side, but too few or too close together to be sure", one_sided, MAX_REAL),
        (f"Noise may explain: {plural(len(noise), 'comparison')}", changed, MAX_NOISE),
    ):
        yield Section(title, _grid(rows, most))
    how = (f"rates are {found['unit']}", found["method"], *found["notes"])
    yield Section("How", [Words(each) for each in how])


def _side(side: Mapping[str, Any]) -> str:
    ticks = f", {plural(side['ticks'], 'tick')}" if side["ticks"] else ""
    seconds = short_number(round(side["seconds"], 1))
    events, agents = plural(side["events"], "event"), plural(side["agents"], "agent")
    return f"{side['label']}: {events} of {agents} in {seconds} s{ticks}"


def _grid(differences: Sequence[Mapping[str, Any]], most: int) -> list[Block]:
    columns = (
        Column("", "what"),
        Column("", "name"),
        Column("A", "first", short_number, right=True),
        Column("B", "second", short_number, right=True),
        Column("change", _change, right=True),
        Column("95 % interval", _interval),
        Column("chance", _chance, right=True),
    )
    return [grid(differences, *columns, most=most)] if differences else []


def _change(each: Mapping[str, Any]) -> str:
    """A difference as text, such as +35 %, x 20 or new."""
    first, second, change = each["first"], each["second"], each["change"]
    if each["note"].startswith(("new", "gone")):
        return str(each["note"])
    if change is None or first < 0 or second < 0:
        return f"{'+' if second >= first else ''}{short_number(second - first)}"
    return f"x {short_number(second / first)}" if change >= 2 else f"{change:+.0%}"


def _interval(each: Mapping[str, Any]) -> str:
    if each["low"] is None or each["high"] is None:
        return "-"
    mark = "x " if each["what"] == "latency" else ""
    return f"{mark}{short_number(each['low'])} to {short_number(each['high'])}"


def _chance(each: Mapping[str, Any]) -> str:
    if each["chance"] is None:
        return str(each["note"])
    return "< 0.001" if each["chance"] < 0.001 else f"{each['chance']:.3f}"
