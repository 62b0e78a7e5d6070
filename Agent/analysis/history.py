"""One agent's events boiled down for `debug`: when it did what, how its fields moved, what marked its way."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent.analysis.causality import changed_fields, is_failure
from Agent.analysis.engine import Engine
from Agent.analysis.rows import EVENT_COLUMNS, engine_row, event_row
from Agent.analysis.session import agent_events
from Agent.analysis.states import StateFold
from Agent.analysis.views import scan, whole_lines
from Agent.analysis.window import Row, order, time_us
from Agent.tree.reader import TreeReader

MAX_CALLED = 50_000
MAX_TEXT = 200

_MARKS = frozenset({"strategy_update", "policy_update", "learning_update", "agent_message"})


@dataclass(frozen=True, slots=True)
class FieldChange:
    """That an event left a field at another value; `value` is a scalar, or the text of a larger value."""

    place: int
    row: Row
    value: Any
    size: int | None
    """How many items a container holds."""

    @property
    def number(self) -> float | None:
        """The value as a number, or the size of a container."""
        if isinstance(self.value, bool):
            return None
        if isinstance(self.value, int | float):
            return float(self.value)
        return float(self.size) if self.size is not None else None


@dataclass(slots=True)
class History:
    """One agent's way through the session."""

    agent_id: str
    times: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    """{series name: its events}, oldest first."""
    fields: defaultdict[str, list[FieldChange]] = field(default_factory=lambda: defaultdict(list))
    """{field: its changes}, the first one being the value it began with."""
    marks: list[tuple[int, Row]] = field(default_factory=list)
    """Updates, failures and messages received, with their place among the agent's events."""
    calls: list[Row] = field(default_factory=list)
    """Every action and tool call, by the agent and inside its spans."""
    count: int = 0


def series_name(row: Row) -> str:
    """The series to which an event belongs, as `series` names it."""
    extra, kind = row["extra"], row["event_type"]
    if kind == "error" or (row["level"] in {"ERROR", "CRITICAL"} and extra.get("error_id") is None):
        return "error"
    prefix, key = _NAMED.get(kind, ("", ""))
    return f"{prefix}:{extra.get(key) or ''}" if prefix else str(kind)


_NAMED = {
    "agent_action": ("action", "action_type"),
    "decision": ("decision", "decision_type"),
    "interaction": ("interaction", "interaction_type"),
    "agent_message": ("message", "direction"),
    "tool.call": ("tool", "name"),
}


def read_history(reader: TreeReader, engine: Engine, agent_id: str) -> History:
    """The history of one agent, with what others did inside its spans."""
    history = History(agent_id)
    fold = StateFold()
    for place, event in enumerate(agent_events(reader, agent_id)):
        row = event_row(event)
        history.count = place + 1
        history.times[series_name(row)].append(row)
        has_state = fold.base is not None
        changed = fold.add(event)
        reported = changed_fields(row) if row["event_type"] == "state_change" else {}
        for name, value in {**reported, **changed}.items():
            _note_change(history, name, _change(place, row, value), has_state)
        if is_failure(row) or row["event_type"] in _MARKS:
            history.marks.append((place, row))
        if row["event_type"] in {"agent_action", "tool.call"}:
            history.calls.append(row)
    history.calls = sorted([*history.calls, *_called(engine, agent_id)], key=order)
    return history


def _note_change(history: History, name: str, change: FieldChange, has_state: bool) -> None:
    """Add a change of a field; what it was before, where that is known and not in the list yet."""
    known = history.fields[name]
    old = change.row["extra"].get("old_state") if not known else None
    if isinstance(old, dict) and name in old:
        known.append(_change(change.place, change.row, old[name]))
    elif not known and has_state:
        known.append(_change(change.place, change.row, None))  # the full state before did not have it
    if not known or (known[-1].value, known[-1].size) != (change.value, change.size):
        known.append(change)


def _called(engine: Engine, agent_id: str) -> list[Row]:
    """The calls that other agents answered inside this agent's spans."""
    found = engine.rows(
        f"SELECT {EVENT_COLUMNS} FROM {whole_lines()} WHERE event_type IN ('agent_action', 'tool.call') "
        "AND agent_id IS DISTINCT FROM $1 AND parent_span_id IN "
        f"(SELECT span_id FROM {scan()} WHERE agent_id = $1 AND span_id IS NOT NULL) LIMIT {MAX_CALLED}",
        [agent_id],
    )
    return [engine_row(row) for row in found]


def _change(place: int, row: Row, value: Any) -> FieldChange:
    if isinstance(value, list | dict):
        return FieldChange(place, row, str(value)[:MAX_TEXT], len(value))
    if isinstance(value, str):
        return FieldChange(place, row, value[:MAX_TEXT], None)
    return FieldChange(place, row, value, None)


def last_values(engine: Engine, agents: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The last recorded values of some fields of some agents, full states and changes alike."""
    import orjson

    if not agents or not names:
        return {}
    columns = []
    for n, name in enumerate(names):
        pointer = "/" + name.replace("~", "~0").replace("/", "~1").replace("'", "''")
        value = f"coalesce(json_extract(fields, '{pointer}'), json_extract(state, '/set{pointer}'))"
        columns.append(f"arg_max({value}, (ts_us, writer, seq)) FILTER (WHERE {value} IS NOT NULL) AS f{n}")
    found = engine.rows(
        f"SELECT agent_id, {', '.join(columns)} FROM {scan('fields')} WHERE list_contains($1, agent_id) "
        "AND (event_type = 'state' OR state IS NOT NULL) GROUP BY agent_id",
        [list(agents)],
    )
    return {
        row["agent_id"]: {
            name: orjson.loads(row[f"f{n}"]) for n, name in enumerate(names) if row[f"f{n}"] is not None
        }
        for row in found
    }


def position(row: Row, by_tick: bool) -> int | None:
    """Where an event stands on the axis: its tick, or its time."""
    return row["tick"] if by_tick else time_us(row)
