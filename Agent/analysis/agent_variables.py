"""The exposed fields of all agents by tick, as a data frame: what a data collector of a simulation gives."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import Any, Final

from Agent.analysis.query.engine import Engine, needed
from Agent.analysis.query.views import scan
from Agent.errors import EventNotFound
from Agent.flight.checkpoints.state_fold import StateFold
from Agent.tree.read.reader import TreeReader

Fields = dict[str, Any]
INDEX: Final = ("tick", "agent_id")
_SCALARS: Final = (str, int, float, bool, type(None))


def agent_vars(
    reader: TreeReader, engine: Engine, agents: str = "*", fields: Iterable[str] | None = None
) -> Any:
    """Return a pandas DataFrame with a row for each tick and agent, and a column for each exposed field.

    A row has the values at the end of the tick. An agent has rows from its first tick to its last; ticks in
    which only others acted repeat its values. Values are exact where the run has a checkpoint of that tick
    (`CheckpointPolicy(every_ticks=1, of="run")`). Elsewhere they are what the agent's own events say: a write
    by other code after its last action of a tick is then known from its next event, and counts from there.

    Args:
        reader: of the session.
        engine: over the session; lists its ticks.
        agents: only agents whose id matches this pattern, such as creator_*.
        fields: only these fields; default: all whose values are numbers, texts, flags or None.

    Returns:
        Index (tick, agent_id), sorted; columns in alphabetical order; NaN where an agent has no such field.
        Values are as in JSON: a tuple is a list.

    Raises:
        MissingExtra: pandas is not installed.
        EventNotFound: no state of such an agent was recorded within a tick.
    """
    needed("pandas", "a data frame", "dataframe")
    histories = {
        agent.agent_id: history
        for agent in reader.agents()
        if fnmatchcase(agent.agent_id, agents) and (history := _history(reader, agent.agent_id))
    }
    saved = _saved(reader, agents)
    if not histories and not saved:
        raise EventNotFound(
            f"no state of an agent {agents!r} was recorded within a tick",
            path=reader.session,
            remedy="agents are traced with trace_agent_action or instrument, ticks with `with tick(n):`",
        )
    sql = f"SELECT DISTINCT tick FROM {scan()} WHERE tick IS NOT NULL ORDER BY tick"  # noqa: S608 - our names
    ticks = [int(row["tick"]) for row in engine.rows(sql)]
    return _frame(_rows(ticks, histories, saved), None if fields is None else list(fields))


def _history(reader: TreeReader, agent_id: str) -> dict[int, Fields]:
    """The fields of an agent at the end of each tick in which it has events."""
    fold = StateFold()
    found: dict[int, Fields] = {}
    tick: int | None = None
    for event in reader.agent_events(agent_id):
        if event.tick is not None and event.tick != tick:
            if tick is not None and fold.fields:
                found[tick] = dict(fold.fields)
            tick = event.tick
        fold.add(event)
    if tick is not None and fold.fields:
        found[tick] = dict(fold.fields)
    return found


def _saved(reader: TreeReader, agents: str) -> dict[int, dict[str, Fields]]:
    """The fields of all agents at the ticks of which a run has a checkpoint of the whole run."""
    from Agent.flight.checkpoints.store import LocalCheckpointStore

    found: dict[int, dict[str, Fields]] = {}
    with LocalCheckpointStore(reader.session) as store:
        for run_id in store.runs():
            for info in store.list_checkpoints(run_id):
                if info.agent_id is not None or info.tick is None or info.reason != "tick":
                    continue
                state, _ = store.recorded_state(run_id, info.step_id)
                for agent_id, fields in state.items() if isinstance(state, dict) else ():
                    if isinstance(fields, dict) and fnmatchcase(agent_id, agents):
                        found.setdefault(info.tick, {})[agent_id] = fields
    return found


def _rows(
    ticks: list[int], histories: dict[str, dict[int, Fields]], saved: dict[int, dict[str, Fields]]
) -> dict[tuple[int, str], Fields]:
    in_checkpoints = {agent_id for states in saved.values() for agent_id in states}
    rows: dict[tuple[int, str], Fields] = {}
    for agent_id, history in histories.items():
        own = sorted(history)
        for tick in ticks[bisect_left(ticks, own[0]) : bisect_right(ticks, own[-1])]:
            if tick not in saved or agent_id not in in_checkpoints:
                rows[tick, agent_id] = history[own[bisect_right(own, tick) - 1]]
    for tick, states in saved.items():
        rows.update(((tick, agent_id), fields) for agent_id, fields in states.items())
    return dict(sorted(rows.items()))


def _frame(rows: dict[tuple[int, str], Fields], wanted: list[str] | None) -> Any:
    import pandas  # type: ignore[import-untyped]

    names = _scalar_names(rows.values()) if wanted is None else wanted
    index = pandas.MultiIndex.from_tuples(list(rows), names=list(INDEX))
    columns = {name: [fields.get(name) for fields in rows.values()] for name in names}
    return pandas.DataFrame(columns, index=index)


def _scalar_names(rows: Collection[Fields]) -> list[str]:
    """The fields whose values are all scalars."""
    nested = {name for row in rows for name, value in row.items() if not isinstance(value, _SCALARS)}
    return sorted({name for row in rows for name in row} - nested)
