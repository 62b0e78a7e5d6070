"""Read the events of a session as acts: all of a small one; of a large one a sample plus all rare events."""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import SILENT_KINDS, Log, read_acts
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.kept import kept
from Agent.analysis.query.views import (
    BY_ORDER,
    IS_ERROR,
    Only,
    nested_values,
    reads_files,
    scan,
    whole_lines,
)
from Agent.event.payloads import KINDS

MAX_ACTS: Final = 40_000
"""A larger session is read as a sample: it takes 0.1 ms of processor time to explain an event."""
SAMPLE: Final = 6_000
"""Size of the sample: 4 scans of 252,000 events take as long as to find and explain so many of them."""
MAX_STEPS: Final = 400
STEPS_OF_PLACE: Final = 120
MIN_TICKS: Final = 6
_CHUNK: Final = 8_000
_SPREAD: Final = "(seq * 2654435761 % 4294967296)"
_SELDOM: Final = "'state_change', 'system.config', 'strategy_update', 'policy_update', 'error'"

_SERIES_OF: Final = {kind.name: kind.series for kind in KINDS.values() if kind.series[0]}
_KEY_OF: Final = {kind: key for kind, (_, key) in _SERIES_OF.items() if key}
_KEYS: Final = (*dict.fromkeys(_KEY_OF.values()), "error_id")
_OWN_NAME: Final = " ".join(f"WHEN '{kind}' THEN {key}" for kind, key in _KEY_OF.items())
_SERIES: Final = f"""CASE WHEN is_error THEN 'error' {
    " ".join(
        f"WHEN event_type = '{kind}' THEN '{word}{':' * bool(key)}' || coalesce(own_name, '')"
        for kind, (word, key) in _SERIES_OF.items()
    )
} END"""
_SILENT: Final = ", ".join(f"'{kind}'" for kind in sorted(SILENT_KINDS))
_IS_READ: Final = f"event_type NOT IN ({_SILENT}) AND (agent_id IS NOT NULL OR event_type <> 'state_change')"
"""Changes of no agent are moves of generators, see `is_of_generators`."""
_ACT_COLUMNS: Final = (
    "id, ts_us, tick, level, message, event_type, agent_id, agent_role, span_id, parent_span_id, causes, "
    "extra, is_flat, state"
)
"""What `read_acts` needs of an event."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis of a session: ticks from first to last, or the clock in microseconds."""

    by_tick: bool
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Survey:
    """The agents of a session and what they do."""

    roles: dict[str, str | None]
    """{agent: role}."""
    names: list[str]
    """What agents do, such as `action:publish` or `reward`."""
    events: int
    """Number of events that belong to an agent."""
    acts: int
    """Number of events that `read_log` selects from."""
    seldom: int
    """Number of those that are of kinds of which a sample keeps more."""
    of_agents: Counter[str]
    """{agent: number of its events}."""
    axis: Axis | None
    """None if agents do nothing."""

    @property
    def has_errors(self) -> bool:
        """Whether any agent has an error."""
        return "error" in self.names


def survey(engine: Engine) -> Survey:
    """Return the agents of a session and what they do, in one scan of a few columns."""
    # The names of series are put together for each group, not for each event.
    groups = (
        f"SELECT agent_id, event_type, {IS_ERROR} AS is_error, CASE event_type {_OWN_NAME} END AS own_name, "
        "max(agent_role) AS role, count(*) AS n, count(tick) AS ticked, min(tick) AS first_tick, "
        f"max(tick) AS last_tick, min(ts_us) AS first_us, max(ts_us) AS last_us FROM {scan(*_KEYS)} "
        "GROUP BY agent_id, event_type, is_error, own_name"
    )
    found = engine.rows(
        f"SELECT agent_id, {_SERIES} AS series, max(role) AS role, CAST(sum(n) AS BIGINT) AS n, "
        f"CAST(coalesce(sum(n) FILTER (WHERE {_IS_READ}), 0) AS BIGINT) AS acts, "
        f"CAST(coalesce(sum(n) FILTER (WHERE {_IS_READ} AND event_type IN ({_SELDOM})), 0) AS BIGINT) "
        "AS seldom, "
        "CAST(sum(ticked) AS BIGINT) AS ticked, min(first_tick) AS first_tick, max(last_tick) AS last_tick, "
        f"min(first_us) AS first_us, max(last_us) AS last_us FROM ({groups}) "
        "GROUP BY agent_id, series ORDER BY agent_id, series"
    )
    rows = [row for row in found if row["agent_id"] is not None]
    roles: dict[str, str | None] = {}
    for row in rows:
        roles[row["agent_id"]] = row["role"] or roles.get(row["agent_id"])
    of_series = [row for row in rows if row["series"] is not None]
    names = sorted({row["series"] for row in of_series})
    of_agents: Counter[str] = Counter()
    for row in rows:
        of_agents[row["agent_id"]] += row["n"]
    acts, seldom = (sum(row[name] for row in found) for name in ("acts", "seldom"))
    return Survey(roles, names, of_agents.total(), acts, seldom, of_agents, _axis(of_series))


def _axis(rows: list[dict[str, Any]]) -> Axis | None:
    ticked = [row for row in rows if row["ticked"]]
    if ticked and 2 * sum(row["ticked"] for row in ticked) >= sum(row["n"] for row in rows):
        first, last = min(row["first_tick"] for row in ticked), max(row["last_tick"] for row in ticked)
        if last - first + 1 >= MIN_TICKS:
            return Axis(True, first, last)
    timed = [row for row in rows if row["first_us"] is not None]
    if not timed:
        return None
    return Axis(False, min(row["first_us"] for row in timed), max(row["last_us"] for row in timed))


def read_log(
    engine: Engine, lines: str, seen: Survey, axis: Axis, agents: Collection[str], named: Collection[str] = ()
) -> tuple[Log, bool]:
    """Return the acts of a session, and whether they are a sample.

    Args:
        engine: an engine over the session.
        lines: a table expression with the columns of `EVENT_COLUMNS`.
        seen: the survey of the session.
        axis: its time axis; the steps used here are finer.
        agents: agents whose events a sample keeps, such as those that a text names.
        named: ids of events that it keeps, such as those that name what a text names.
    """
    where, parameters = _IS_READ, []
    is_sample = seen.acts > MAX_ACTS
    if is_sample:
        where += f" AND ({_sampled(seen, agents, named)})"
        parameters = [list(agents), list(named)] if named else [list(agents)]
    first = f"ORDER BY {BY_ORDER} LIMIT {2 * MAX_ACTS}"
    if is_sample and reads_files(lines):
        # Of the other lines no payload is read.
        found = engine.rows(f"SELECT id, ts_us, seq FROM {scan()} WHERE {where} {first}", parameters)
        if engine.is_indexed and engine.numbers() is not None:
            return _of(seen, read_acts(_by_id(engine, found), steps(axis, len(found)))), True
        lines = whole_lines(Only(ids=[row["id"] for row in found]))
        # the engine checks numbers while it reads an archive, and the other conditions afterwards
        parameters.append([row["seq"] for row in found])
        where += f" AND seq IN (SELECT unnest(${len(parameters)}))"
    acts = f"(SELECT {_ACT_COLUMNS} FROM {lines} WHERE {where} {first})"
    with kept(engine, "debug_acts", acts, parameters) as source:
        read = engine.row(f"SELECT count(*) AS n FROM {source}")["n"]
        log = read_acts(_plain(engine, source, read), steps(axis, read))
    return _of(seen, log) if is_sample else log, is_sample


def _sampled(seen: Survey, agents: Collection[str], named: Collection[str]) -> str:
    """Return a condition on events that a sample has: $1 are the agents, and $2 the ids, if any, to keep.

    A third of it at most is of these agents, and another third of seldom kinds.
    """
    of_agents = sum(seen.of_agents[agent] for agent in agents)
    most = SAMPLE // 3
    common = SAMPLE - min(most, of_agents) - min(most, seen.seldom)

    def one_in(number: int, wanted: int) -> str:
        return f"{_SPREAD} % {max(1, -(-number // wanted))} = 0"

    return (
        f"{one_in(seen.acts, common)} OR list_contains($1, agent_id) AND {one_in(of_agents, most)} "
        f"OR event_type IN ({_SELDOM}) AND {one_in(seen.seldom, most)}"
        # without ids to keep, the engine need not put together the id of each event of an archive
        + (" OR id IN (SELECT unnest($2))" if named else "")
    )


def _of(seen: Survey, log: Log) -> Log:
    """Return a sample, with how many events each of its acts stands for."""
    log.each = max(1.0, seen.acts / max(1, len(log.acts)))
    return log


def steps(axis: Axis, number: int) -> Callable[[Mapping[str, Any]], int | None]:
    """Return a function from a row to its step: its tick, or without ticks its slice of the `number` rows.

    Wall-clock time is not used: it reflects the load of the machine, not the progress of the session.
    """
    if not axis.by_tick:
        width = max(1, -(-number // STEPS_OF_PLACE))
        place = count()
        return lambda _: next(place) // width
    wide = max(1, -(-(axis.last - axis.first + 1) // MAX_STEPS))

    def step_of(row: Mapping[str, Any]) -> int | None:
        tick = row["tick"]
        return None if tick is None else max(0, (tick - axis.first) // wide)

    return step_of


def _by_id(engine: Engine, found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of some events, which are in order of time, reading those of a short time at once."""
    begin = 0
    while begin < len(found):
        # While the session grows there is no index, and one query for all of the rest takes less.
        chunk = found[begin : begin + _CHUNK] if engine.is_indexed else found[begin:]
        begin += len(chunk)
        ids, first_us, last_us = [row["id"] for row in chunk], chunk[0]["ts_us"], chunk[-1]["ts_us"]
        only = Only(since_us=first_us, until_us=last_us, ids=ids)
        for row in engine.rows(
            f"SELECT {_ACT_COLUMNS} FROM {whole_lines(only)} WHERE ts_us BETWEEN ? AND ? "
            f"AND id IN (SELECT unnest(?)) ORDER BY {BY_ORDER}",
            [first_us, last_us, ids],
        ):
            yield row | nested_values(row)


def _plain(engine: Engine, table: str, number: int) -> Iterator[dict[str, Any]]:
    """Yield the rows in order, read in chunks because payloads are large and acts are small."""
    for begin in range(0, number, _CHUNK):
        for raw in engine.rows(
            f"SELECT {_ACT_COLUMNS} FROM {table} "
            f"WHERE rowid >= {begin} AND rowid < {begin + _CHUNK} ORDER BY rowid"
        ):
            yield raw | nested_values(raw)
