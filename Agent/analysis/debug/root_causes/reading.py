"""The events of a session as acts: all of a small one, an even sample and what is seldom of a large one."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Final

from Agent.analysis.debug.changes.activity_series import Axis
from Agent.analysis.debug.root_causes.acts import SILENT_KINDS, Log, read_acts
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.event_dict import BY_ORDER, EVENT_COLUMNS, engine_row

__all__ = ["MAX_ACTS", "read_log"]

MAX_ACTS: Final = 40_000
MAX_STEPS: Final = 400
STEPS_OF_PLACE: Final = 120
_SPREAD: Final = "(seq * 2654435761 % 4294967296)"


def read_log(engine: Engine, lines: str, axis: Axis) -> tuple[Log, bool]:
    """The acts of a session, and whether they are a sample.

    Args:
        engine: over the session.
        lines: what `cached_events` gives.
        axis: how time is cut; steps here are finer.
    """
    silent = ", ".join(f"'{kind}'" for kind in sorted(SILENT_KINDS))
    where = f"event_type NOT IN ({silent})"
    number = engine.row(f"SELECT count(*) AS n FROM {lines} WHERE {where}")["n"]
    share = -(-number // MAX_ACTS)
    if share > 1:
        # what is seldom stays whole; of what is common every so many-th
        where += (
            " AND (event_type IN "
            "('state_change', 'system.config', 'strategy_update', 'policy_update', 'error') "
            f"OR {_SPREAD} % {share} = 0)"
        )
    rows = engine.rows(
        f"SELECT {EVENT_COLUMNS} FROM {lines} WHERE {where} ORDER BY {BY_ORDER} LIMIT {2 * MAX_ACTS}"
    )
    return read_acts(_plain(rows), steps(axis, len(rows))), share > 1


def steps(axis: Axis, number: int) -> Callable[[Mapping[str, Any]], int | None]:
    """What gives the step of a row: its tick, or without ticks its place among all `number` rows.

    A clock says how busy the machine was, not how far the session is.
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


def _plain(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for raw in rows:
        row = engine_row(raw)
        row["ts_us"] = raw["ts_us"]
        yield row
