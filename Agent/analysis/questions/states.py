"""Reconstruct an agent's state at any moment, and find the events that set it, from that agent's files.

`agent_vars` gives the fields of all agents by tick as a data frame, as a simulation's data collector does.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from Agent.analysis.causality.event_links import no_event
from Agent.analysis.query.kept import needed
from Agent.analysis.query.views import BY_ORDER, event_keys, events_of, is_agent, scan
from Agent.analysis.session import agent_events, code_places, file_and_line
from Agent.errors import EventNotFound, UsageError
from Agent.event.clock import format_timestamp, parse_timestamp, unix_us
from Agent.event.ids import split_event_id
from Agent.event.model import Event
from Agent.event.pointers import escape, value_at
from Agent.event.values.values import decode_value
from Agent.flight.checkpoints.state_fold import StateFold, change_of, fold_events, settle_from_store
from Agent.render.formats import named
from Agent.tree.read.reader import TreeReader

if TYPE_CHECKING:
    from Agent.analysis.query.engine import Engine

MAX_CHANGES: Final = 20
Moment = str | int | datetime


def state_at(reader: TreeReader, engine: Engine, agent_id: str, when: Moment | None = None) -> dict[str, Any]:
    """Reconstruct an agent's recorded state at a moment, after every event up to that moment.

    The fold starts at the nearest earlier full state and applies the changes that actions recorded, and the
    fields that the last checkpoint of a run stored.

    Args:
        reader: of the session.
        engine: over the session; queried only if `when` is an event of another agent.
        agent_id: whose state.
        when: an event id; a time (RFC 3339 text, a datetime, or a time of the session's day as pages show it,
            10:30:45.123); or a tick (a number, or text such as tick:17), which means the end of that tick,
            before the first event of a later one. None means the end of the session.

    Returns:
        `fields` (exposed state, JSON values), `types` ({JSON Pointer below `fields`: tag}), `values` (the
        fields restored as Python values; an `Unrestored` where that is impossible), `made_by` ({field: id,
        timestamp, tick, event_type, action of the event that set its value}), `reported` (the changes in
        `log_state_change` events), `as_of` (the last event applied), `base` (the full state that the fold
        started from, or None), `changes` since it, `sampled` (fields over 4 KiB and generators: recorded in
        full states and checkpoints only), `unseen` (names that could not be exposed), `last_tick` (the
        agent's last tick if a later one was requested, else None).

    Raises:
        AgentNotFound: the session does not contain this agent.
        EventNotFound: no event has that id, or the agent had no state yet at that moment.
        UsageError: `when` is not an event id, a time or a tick.
    """
    limit = NamedMoment.of(when, reader.session.name)
    fold = _folded(reader, engine, agent_id, limit)
    if not fold.made_by and not fold.reported and fold.base is None:
        raise _before_the_first(reader, agent_id, when)
    types = fold.types()
    return {
        "agent_id": agent_id,
        "fields": fold.fields,
        "types": types,
        "values": decode_value(fold.fields, types) if types else dict(fold.fields),
        "made_by": {name: _maker(event) for name, event in fold.made_by.items()},
        "reported": fold.reported,
        "as_of": _point(fold.last),
        "base": _point(fold.base),
        **{name: getattr(fold, name) for name in ("changes", "sampled", "unseen")},
        "last_tick": _last_tick(reader, agent_id, limit),
    }


def _last_tick(reader: TreeReader, agent_id: str, limit: NamedMoment) -> int | None:
    """The last tick with events of this agent, if it is earlier than the requested tick."""
    if limit.tick is None:
        return None
    ticks = (event.tick for event in agent_events(reader, agent_id) if event.tick is not None)
    last = max(ticks, default=None)
    return last if last is not None and last < limit.tick else None


def check_within(reader: TreeReader, engine: Engine, agent_id: str, when: Moment) -> None:
    """Check that the session lasted until a moment.

    Raises:
        EventNotFound: the session ended earlier.
    """
    limit = NamedMoment.of(when, reader.session.name)
    if limit.event_id is not None or any(map(limit.is_passed_by, agent_events(reader, agent_id))):
        return
    end = engine.row(f"SELECT max(tick) AS tick, max(ts_us) AS us FROM {scan()}")
    if limit.tick is not None and limit.tick > (end["tick"] or 0):
        has = "its events have no ticks" if end["tick"] is None else f"its last tick is {end['tick']}"
        raise EventNotFound(f"the session has no tick {limit.tick}", remedy=has)
    # pages truncate times, so any time in the last event's second counts as within the session
    if limit.us is not None and limit.us >= end["us"] + 1_000_000:
        last = format_timestamp(end["us"])
        raise EventNotFound(f"the session ended before {when}", remedy=f"its last event was at {last}")


def field_changes(
    reader: TreeReader, engine: Engine, agent_id: str, name: str, when: Moment | None = None
) -> dict[str, Any]:
    """List how one field of an agent's state, or a value in one (a.b, or /a/b), got its value.

    Returns:
        `count` of the changes up to that moment, and the last 20 of them as `changes`, oldest first: id,
        timestamp, tick, event_type, action, `before` and `after` (absent if the field did not exist),
        `arguments`, `result`, `causes`, `span_id`, `parent_span_id` of the event, and `file` and `line` of
        its function if they are known.

    Raises:
        AgentNotFound, UsageError: as `state_at`.
        EventNotFound: as `state_at`, or the agent had no field of that name by then.
    """
    changes: deque[dict[str, Any]] = deque(maxlen=MAX_CHANGES)
    count = 0
    limit = NamedMoment.of(when, reader.session.name)
    places = code_places(reader.session)
    for event, before, after in _changes_in(_until(reader, engine, agent_id, limit), name):
        count += 1
        place = places.of(event.kind, event.extra, event.code)
        changes.append(_change(event, before, after) | file_and_line(place))
    if not count:
        raise _no_field(agent_id, name)
    return {"agent_id": agent_id, "field": name, "count": count, "changes": list(changes)}


def _changes_in(
    events: Iterable[Event], name: str, *, with_numbers: bool = False
) -> Iterator[tuple[Event, Any, Any]]:
    """The events that changed a field, or a value below one, with the values before and after."""
    fold = StateFold()
    after = _ABSENT
    for event in events:
        before, is_whole = after, name in fold.fields
        changed = fold.add(event)
        after = _value_of(fold.with_numbers() if with_numbers else fold.fields, name)
        if is_whole or name in changed:
            if name not in changed and (before is _ABSENT or name in fold.fields):
                continue
        elif before == after:
            continue
        yield event, before, after


def _no_field(agent_id: str, name: str) -> EventNotFound:
    return EventNotFound(
        f"{agent_id} had no field {name!r} at that time",
        remedy=f"agent-trace state {agent_id} lists its fields",
    )


def field_course(
    reader: TreeReader, engine: Engine, agent_id: str, name: str, when: Moment | None = None
) -> dict[str, Any]:
    """Follow one number in an agent's state over time: a field, or a value in one (a.b, or /a/b).

    Returns:
        `points`, one for each change up to that moment, oldest first: id, timestamp, tick, value (a number,
        or None while there was none), and `end`: timestamp and tick of the agent's last event up to then.

    Raises:
        AgentNotFound, EventNotFound: as `field_changes`.
        UsageError: a value is not a number; or as `state_at`.
    """
    limit = NamedMoment.of(when, reader.session.name)
    end: dict[str, Any] = {"timestamp": None, "tick": None}

    def events() -> Iterator[Event]:
        for event in _until(reader, engine, agent_id, limit):
            end.update(timestamp=event.timestamp, tick=end["tick"] if event.tick is None else event.tick)
            yield event

    points = []
    for event, _, after in _changes_in(events(), name, with_numbers=True):
        value = None if after is _ABSENT else after
        if not isinstance(value, int | float | None):
            raise UsageError(
                f"{name} of {agent_id} is not a number",
                remedy=f"agent-trace state {agent_id} --why {name} lists its changes",
            )
        points.append(event_keys(event, "id", "timestamp", "tick") | {"value": value})
    if all(point["value"] is None for point in points):
        raise _no_field(agent_id, name)
    return {"agent_id": agent_id, "field": name, "points": points, "end": end}


_ABSENT: Any = object()


def _value_of(fields: dict[str, Any], name: str) -> Any:
    """The value of a field, or below one: at a.b, or at the JSON pointer /a/b."""
    if name in fields:
        return fields[name]
    pointer = name if name.startswith("/") else "".join(f"/{escape(part)}" for part in name.split("."))
    return value_at(fields, pointer, _ABSENT)


def _change(event: Event, before: Any, after: Any) -> dict[str, Any]:
    values = {"before": before, "after": after}
    present = {key: value for key, value in values.items() if value is not _ABSENT}
    given = {"arguments": event.extra.get("args"), "result": event.extra.get("result")}
    links = {"causes": list(event.causes)} | event_keys(event, "span_id", "parent_span_id")
    return _maker(event) | present | given | links


@dataclass(frozen=True, slots=True)
class NamedMoment:
    """A moment that a user names: at most one field is set; none for the end of the session."""

    event_id: str | None = None
    us: int | None = None
    tick: int | None = None

    @classmethod
    def of(cls, when: Moment | None, session: str) -> NamedMoment:
        """Read a moment, as for `state_at`; `session` is the name of the session's directory.

        Raises:
            UsageError: it is not an event id, a time or a tick.
        """
        if when is None:
            return cls()
        if isinstance(when, datetime):
            return cls(us=unix_us(when))
        if isinstance(when, int):
            return cls(tick=when)
        if _TICK.fullmatch(when):
            return cls(tick=int(when.removeprefix("tick:")))
        try:
            split_event_id(when)
        except ValueError:
            clock = _CLOCK.fullmatch(when)
            return cls(us=_time(when) if clock is None else _time_of_day(clock, when, session))
        return cls(event_id=when)

    def is_passed_by(self, event: Event) -> bool:
        """Whether the event happened after the moment."""
        if self.tick is not None:
            return event.tick is not None and event.tick > self.tick
        return self.us is not None and event.timestamp_us > self.us


_TICK: Final = re.compile(r"(?:tick:-?)?[0-9]+", re.ASCII)
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(\.[0-9]{1,6})?", re.ASCII)
_DAY_US: Final = 86_400_000_000


def _time_of_day(clock: re.Match[str], text: str, session: str) -> int:
    """A time as pages show it, on the day the session began, or on the next day if it had passed by then.

    Pages truncate fractions, so the time means the last microsecond that still displays as this text.
    """
    begin = re.match(r"session_([0-9]{8})_([0-9]{6})", session)
    if begin is None:
        return _time(text)
    hours, minutes, seconds, fraction = clock.groups()
    digits = (fraction or "").removeprefix(".")
    within_us = int(digits.ljust(6, "9")) if digits else 0
    of_day = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + within_us
    began_us = unix_us(datetime.strptime(f"{begin[1]}{begin[2]}+0000", "%Y%m%d%H%M%S%z"))
    moment_us = began_us - began_us % _DAY_US + of_day
    return moment_us if moment_us >= began_us else moment_us + _DAY_US


def _time(text: str) -> int:
    try:
        return parse_timestamp(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a moment",
            remedy="give an event id, a time such as 2026-11-20T10:30:45Z or 10:30:45.123 (UTC), or tick:17",
        ) from None


def _folded(reader: TreeReader, engine: Engine, agent_id: str, limit: NamedMoment) -> StateFold:
    fold = fold_events(StateFold(), _until(reader, engine, agent_id, limit))
    if fold.checkpoint is None:
        return fold
    from Agent.flight.checkpoints.store import LocalCheckpointStore

    with LocalCheckpointStore(reader.session) as store:
        return settle_from_store(fold, store)


def _until(reader: TreeReader, engine: Engine, agent_id: str, limit: NamedMoment) -> Iterator[Event]:
    """The events of an agent up to a moment."""
    if limit.event_id is not None and all(
        event.id != limit.event_id for event in agent_events(reader, agent_id)
    ):
        limit = NamedMoment(us=_time_of(engine, limit.event_id))
    for event in agent_events(reader, agent_id):
        if limit.is_passed_by(event):
            return
        yield event
        if event.id == limit.event_id:
            return


def _time_of(engine: Engine, event_id: str) -> int:
    writer, seq = split_event_id(event_id)
    rows = engine.rows(f"SELECT ts_us FROM {scan()} WHERE writer = ? AND seq = ?", [writer, seq])
    if not rows:
        raise no_event(event_id)
    return int(rows[0]["ts_us"])


def _before_the_first(reader: TreeReader, agent_id: str, when: Moment | None) -> EventNotFound:
    """The error for a moment before the agent's first known state."""
    fold = StateFold()
    # After the end of the session there is no event.
    for event in agent_events(reader, agent_id) if when is not None else ():
        fold.add(event)
        if fold.base is not None or fold.made_by or fold.reported:
            tick = "" if event.tick is None else f", tick {event.tick}"
            return EventNotFound(
                f"no state of {named(agent_id)} is known at {when}",
                remedy=f"the first known state is at {event.timestamp} ({event.id}{tick})",
            )
    return EventNotFound(
        f"no state of {named(agent_id)} was recorded",
        remedy="state is recorded by trace_agent_action and instrument, see docs/FORMAT.md",
    )


def _point(event: Event | None) -> dict[str, Any] | None:
    return None if event is None else event_keys(event, "id", "timestamp", "tick")


def _maker(event: Event) -> dict[str, Any]:
    return event_keys(event, "id", "timestamp", "tick", "event_type") | {"action": change_of(event)}


def checkpoints(
    engine: Engine, agent_id: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """List the moments recorded in full: full states of agents, and checkpoints that the program named.

    Args:
        engine: over the session.
        agent_id: only those of this agent.
        limit: only this many, the newest.

    Returns:
        Oldest first, dicts with `event_type` (state or checkpoint), `id`, `timestamp`, `tick`, `agent_id`,
        `name` (of a checkpoint; for a full state its reason), `digest` and `data` (of a checkpoint).
        `state_at(agent_id, id)` gives the fields of a full state.
    """
    columns = "event_type, id, timestamp, tick, agent_id, coalesce(name, reason) AS name, digest, data"
    lines = events_of(("state", "checkpoint"), "name", "reason", "digest", "data")
    wanted = f"SELECT {columns}, {BY_ORDER} FROM {lines} AND {is_agent(agent_id)}"
    if limit is not None:
        wanted += f" ORDER BY ts_us DESC, writer DESC, seq DESC LIMIT {int(limit)}"
    rows = engine.rows(f"SELECT * FROM ({wanted}) ORDER BY {BY_ORDER}")
    return [{key: row[key] for key in _CHECKPOINT} for row in rows]


_CHECKPOINT = ("event_type", "id", "timestamp", "tick", "agent_id", "name", "digest", "data")


Fields = dict[str, Any]
INDEX: Final = ("tick", "agent_id")
_SCALARS: Final = (str, int, float, bool, type(None))


def agent_vars(
    reader: TreeReader, engine: Engine, agents: str = "*", fields: Iterable[str] | None = None
) -> Any:
    """Return a pandas DataFrame with a row for each tick and agent, and a column for each exposed field.

    A row has the values at the end of the tick. An agent has rows from its first tick to its last; ticks in
    which only others acted repeat its values. Values are exact where the run has a checkpoint of that tick
    (`CheckpointPolicy(every_ticks=1, of="run")`). Otherwise they are from the agent's own events: a write by
    other code after its last action of a tick is then known only from its next event, and counts from there.

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
        if fnmatchcase(agent.agent_id, agents) and (history := _fields_by_tick(reader, agent.agent_id))
    }
    saved = _checkpointed(reader, agents)
    if not histories and not saved:
        raise EventNotFound(
            f"no state of an agent {agents!r} was recorded within a tick",
            path=reader.session,
            remedy="agents are traced with trace_agent_action or instrument, ticks with `with tick(n):`",
        )
    sql = f"SELECT DISTINCT tick FROM {scan()} WHERE tick IS NOT NULL ORDER BY tick"
    ticks = [int(row["tick"]) for row in engine.rows(sql)]
    return _data_frame(_rows_by_tick(ticks, histories, saved), None if fields is None else list(fields))


def _fields_by_tick(reader: TreeReader, agent_id: str) -> dict[int, Fields]:
    """The fields of an agent at the end of each tick in which it has events."""
    fold = StateFold()
    by_tick: dict[int, Fields] = {}
    tick: int | None = None
    for event in reader.agent_events(agent_id):
        if event.tick is not None and event.tick != tick:
            if tick is not None and fold.fields:
                by_tick[tick] = dict(fold.fields)
            tick = event.tick
        fold.add(event)
    if tick is not None and fold.fields:
        by_tick[tick] = dict(fold.fields)
    return by_tick


def _checkpointed(reader: TreeReader, agents: str) -> dict[int, dict[str, Fields]]:
    """The fields of all agents at the ticks of which a run has a checkpoint of the whole run."""
    from Agent.flight.checkpoints.store import LocalCheckpointStore

    by_tick: dict[int, dict[str, Fields]] = {}
    with LocalCheckpointStore(reader.session) as store:
        for run_id in store.runs():
            for info in store.list_checkpoints(run_id):
                if info.agent_id is not None or info.tick is None or info.reason != "tick":
                    continue
                state, _ = store.recorded_state(run_id, info.step_id)
                for agent_id, fields in state.items() if isinstance(state, dict) else ():
                    if isinstance(fields, dict) and fnmatchcase(agent_id, agents):
                        by_tick.setdefault(info.tick, {})[agent_id] = fields
    return by_tick


def _rows_by_tick(
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


def _data_frame(rows: dict[tuple[int, str], Fields], wanted: list[str] | None) -> Any:
    import pandas  # type: ignore[import-untyped]

    names = _scalar_names(rows.values()) if wanted is None else wanted
    index = pandas.MultiIndex.from_tuples(list(rows), names=list(INDEX))
    columns = {name: [fields.get(name) for fields in rows.values()] for name in names}
    return pandas.DataFrame(columns, index=index)


def _scalar_names(rows: Collection[Fields]) -> list[str]:
    """The fields whose values are all scalars."""
    nested = {name for row in rows for name, value in row.items() if not isinstance(value, _SCALARS)}
    return sorted({name for row in rows for name in row} - nested)
