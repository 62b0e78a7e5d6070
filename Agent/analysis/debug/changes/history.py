"""One agent's events boiled down for `debug`: when it did what, how its fields moved, what marked its way."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from Agent.analysis.causality.chains import changed_fields, is_failure
from Agent.analysis.causality.event_window import Row, is_sent, order, time_us
from Agent.analysis.debug.loops import Loop, LoopFinder
from Agent.analysis.errors.fingerprints import fingerprint_of
from Agent.analysis.journeys.states import StateFold
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.event_dict import EVENT_COLUMNS, engine_row, event_row
from Agent.analysis.session.lookup import agent_events
from Agent.tree.read.reader import TreeReader

MAX_CALLED = 50_000
MAX_TEXT = 200
MAX_CHANGES = 5_000
"""Of a field, and of marks: the older half goes when there are more, so that memory does not grow."""
MAX_MARKS = 20_000
MAX_PATTERNS = 1_000

_MARKS = frozenset({"strategy_update", "policy_update", "learning_update", "agent_message", "state_change"})


class EventMoment(NamedTuple):
    """An event by its id, tick and time in microseconds."""

    id: str
    tick: int | None
    us: int

    def position(self, by_tick: bool) -> int | None:
        """Where it stands on the axis."""
        return self.tick if by_tick else self.us


@dataclass(frozen=True, slots=True)
class FieldChange:
    """That an event left a field at another value; `value` is a scalar, or the text of a larger value."""

    moment: EventMoment
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
class ErrorPattern:
    """Errors of one agent that are alike."""

    fingerprint: str
    count: int
    first: Row
    last: Row


@dataclass(slots=True)
class History:
    """One agent's way through the session; places are ticks or microseconds, as the axis has it."""

    agent_id: str
    by_tick: bool
    places: defaultdict[str, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("q")))
    """{series name: where its events stand}, in order."""
    last: dict[str, EventMoment] = field(default_factory=dict)
    """{series name: its last event}."""
    steps: array[int] = field(default_factory=lambda: array("q"))
    clock: array[int] = field(default_factory=lambda: array("q"))
    """Where every event stands, and its time."""
    fields: defaultdict[str, list[FieldChange]] = field(default_factory=lambda: defaultdict(list))
    """{field: its changes}, the first one being the value it began with."""
    marks: list[Row] = field(default_factory=list)
    """Updates, failures and messages received."""
    forgotten: Counter[str] = field(default_factory=Counter)
    """{kind: how many} of the marks that were too many to keep."""
    loops: list[Loop] = field(default_factory=list)
    errors: dict[str, ErrorPattern] = field(default_factory=dict)
    """{fingerprint: how often, first and last}."""

    def note(self, row: Row) -> EventMoment:
        """Take note of when an event happened."""
        moment = EventMoment(row["id"], row["tick"], time_us(row))
        name, at = series_name(row), moment.position(self.by_tick)
        self.last[name] = moment
        if at is not None:
            self.places[name].append(at)
            self.steps.append(at)
            self.clock.append(moment.us)
        return moment

    def note_error(self, row: Row) -> None:
        """Count an error under its pattern, with its first and last event."""
        pattern = fingerprint_of(row)
        known = self.errors.get(pattern)
        if known is not None:
            known.count += 1
            known.last = row
        elif len(self.errors) < MAX_PATTERNS:
            self.errors[pattern] = ErrorPattern(pattern, 1, row, row)

    def mark(self, row: Row) -> None:
        """Keep an event that may have made a change."""
        self.marks.append(row)
        if len(self.marks) > MAX_MARKS:
            self.forgotten.update(known["event_type"] for known in self.marks[: MAX_MARKS // 2])
            del self.marks[: MAX_MARKS // 2]

    def latest(self) -> EventMoment | None:
        """The last thing that it did or was told, whatever that was."""
        done = [moment for name, moment in self.last.items() if name not in _NOT_DONE]
        return max(done, key=lambda moment: moment.us, default=None)

    def time_at(self, place: float) -> int | None:
        """The time of the first event at or after a place."""
        times = (us for at, us in zip(self.steps, self.clock, strict=True) if at >= place)
        return min(times, default=None)


def series_name(row: Row) -> str:
    """The series to which an event belongs, as `activity_series` names it."""
    extra, kind = row["extra"], row["event_type"]
    if kind == "error" or (row["level"] in {"ERROR", "CRITICAL"} and extra.get("error_id") is None):
        return "error"
    prefix, key = _NAMED.get(kind, ("", ""))
    return f"{prefix}:{extra.get(key) or ''}" if prefix else str(kind)


_NOT_DONE = frozenset({"state", "code", "log.opened", "log.closed"})
_NAMED = {
    "agent_action": ("action", "action_type"),
    "decision": ("decision", "decision_type"),
    "interaction": ("interaction", "interaction_type"),
    "agent_message": ("message", "direction"),
    "tool.call": ("tool", "name"),
}


def read_history(reader: TreeReader, agent_id: str, called: Sequence[Row], *, by_tick: bool) -> History:
    """The history of one agent from its own files, with the loops in what others did inside its spans.

    Args:
        reader: of the session.
        agent_id: whose.
        called: what others answered inside its spans, of `calls_answered`.
        by_tick: whether places are ticks.
    """
    history, fold, finder = History(agent_id, by_tick), StateFold(), LoopFinder(agent_id)
    called = sorted(called, key=order)
    waiting = 0
    for event in agent_events(reader, agent_id):
        row = event_row(event)
        moment = history.note(row)
        has_state = fold.base is not None
        changed = fold.add(event)
        reported = changed_fields(row) if event.kind == "state_change" else {}
        for name, value in {**reported, **changed}.items():
            _note_change(history.fields[name], row, moment, _short(value), name, has_state)
        if is_failure(row) or _marks(row):
            history.mark(row)
        if series_name(row) == "error":
            history.note_error(row)
        while waiting < len(called) and order(called[waiting]) < order(row):
            finder.add(called[waiting])
            waiting += 1
        finder.add(row)
    for call in called[waiting:]:
        finder.add(call)
    history.loops = finder.loops()
    return history


def _marks(row: Row) -> bool:
    if row["event_type"] == "agent_message":
        return not is_sent(row)
    return row["event_type"] in _MARKS


_Short = tuple[Any, int | None]


def _short(value: Any) -> _Short:
    """A value and its size, cut to what a sentence can hold."""
    if isinstance(value, list | dict):
        return str(value)[:MAX_TEXT], len(value)
    return (value[:MAX_TEXT] if isinstance(value, str) else value), None


def _note_change(
    known: list[FieldChange], row: Row, moment: EventMoment, new: _Short, name: str, has_state: bool
) -> None:
    """Add a change of a field; what it was before, where that is known and not in the list yet."""
    old = row["extra"].get("old_state")
    if not known and isinstance(old, dict) and name in old:
        known.append(FieldChange(moment, *_short(old[name])))
    elif not known and has_state:
        known.append(FieldChange(moment, None, None))  # the full state before did not have it
    if not known or (known[-1].value, known[-1].size) != new:
        known.append(FieldChange(moment, *new))
    if len(known) > MAX_CHANGES:
        del known[: MAX_CHANGES // 2]


def calls_answered(engine: Engine, lines: str, agents: Sequence[str]) -> dict[str, list[Row]]:
    """The calls that other agents answered inside some agents' spans: {agent whose span it was: calls}.

    `lines` is what `cached_events` gives.
    """
    if not agents:
        return {}
    found = engine.rows(
        f"SELECT outer_span.owner AS owner, inner_call.* FROM (SELECT {EVENT_COLUMNS} FROM {lines} "
        "WHERE event_type IN ('agent_action', 'tool.call') AND parent_span_id IS NOT NULL) inner_call JOIN "
        f"(SELECT span_id AS outer_id, agent_id AS owner FROM {lines} WHERE span_id IS NOT NULL AND "
        "list_contains($1, agent_id)) outer_span ON inner_call.parent_span_id = outer_span.outer_id "
        f"WHERE inner_call.agent_id IS DISTINCT FROM outer_span.owner LIMIT {MAX_CALLED}",
        [list(agents)],
    )
    calls: dict[str, list[Row]] = {agent: [] for agent in agents}
    for row in found:
        calls[row["owner"]].append(engine_row(row))
    return calls


def last_values(
    engine: Engine, lines: str, agents: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The last recorded values of some fields of some agents, full states and changes alike."""
    import orjson

    if not agents or not names:
        return {}
    columns = []
    for n, name in enumerate(names):
        pointer = "/" + name.replace("~", "~0").replace("/", "~1").replace("'", "''")
        value = f"coalesce(json_extract(extra, '/fields{pointer}'), json_extract(state, '/set{pointer}'))"
        columns.append(f"arg_max({value}, (ts_us, writer, seq)) FILTER (WHERE {value} IS NOT NULL) AS f{n}")
    found = engine.rows(
        f"SELECT agent_id, {', '.join(columns)} FROM {lines} WHERE list_contains($1, agent_id) "
        "AND (event_type = 'state' OR state IS NOT NULL) GROUP BY agent_id",
        [list(agents)],
    )
    return {
        row["agent_id"]: {
            name: orjson.loads(row[f"f{n}"]) for n, name in enumerate(names) if row[f"f{n}"] is not None
        }
        for row in found
    }


def agents_saying(
    engine: Engine, lines: str, agents: Sequence[str], messages: Sequence[str]
) -> dict[str, set[str]]:
    """Which of some agents have events with each of some messages."""
    if not agents or not messages:
        return {}
    found = engine.rows(
        f"SELECT message, list(DISTINCT agent_id) AS agents FROM {lines} "
        "WHERE list_contains($1, agent_id) AND list_contains($2, message) GROUP BY message",
        [list(agents), list(messages)],
    )
    return {row["message"]: set(row["agents"]) for row in found}


def position(row: Row, by_tick: bool) -> int | None:
    """Where an event stands on the axis: its tick, or its time."""
    return row["tick"] if by_tick else time_us(row)
