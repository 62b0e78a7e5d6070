"""What an agent was at any moment: the fold of its full states and of what each action left changed."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from Agent.analysis.engine import Engine
from Agent.analysis.rows import BY_ORDER
from Agent.analysis.session import agent_events
from Agent.analysis.views import scan
from Agent.errors import EventNotFound, UsageError
from Agent.event.clock import EPOCH, parse_timestamp
from Agent.event.ids import split_event_id
from Agent.event.model import Event
from Agent.tree.reader import TreeReader


@dataclass(slots=True)
class StateFold:
    """The state known so far; `add` takes the next event of the agent."""

    fields: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, Any] = field(default_factory=dict)
    base: Event | None = None
    last: Event | None = None
    changes: int = 0
    unseen: list[str] = field(default_factory=list)

    def add(self, event: Event) -> dict[str, Any]:
        """Fold one event in; what it changed, `{field: new value}`."""
        changed: dict[str, Any] = {}
        if event.kind == "state":
            full = event.extra.get("fields")
            if isinstance(full, dict):
                changed = {
                    key: value for key, value in full.items() if self.fields.get(key, _ABSENT) != value
                }
                self.fields = dict(full)
                self.base, self.changes = event, 0
                self.unseen = [str(name) for name in event.extra.get("unseen") or ()]
        elif event.state is not None:
            changed = self._apply(event)
        if event.kind == "state_change":
            new = event.extra.get("new_state")
            if isinstance(new, dict):
                self.reported.update(new)
        self.last = event
        return changed

    def _apply(self, event: Event) -> dict[str, Any]:
        state = event.state or {}
        new, gone = state.get("set"), state.get("unset")
        changed = dict(new) if isinstance(new, dict) else {}
        self.fields.update(changed)
        for name in gone if isinstance(gone, list) else ():
            self.fields.pop(name, None)
        self.changes += 1
        return changed


_ABSENT: Any = object()


def state_at(reader: TreeReader, engine: Engine, agent_id: str, when: str | int | datetime) -> dict[str, Any]:
    """What the record shows of an agent's state at a moment, after everything that had happened by then.

    Args:
        reader: of the session.
        engine: over the session; asked only where `when` is the event of another agent.
        agent_id: whose state.
        when: an event id, a time (RFC 3339 text or a datetime), or a tick (a number): its end.

    Returns:
        `fields` (exposed state, JSON values), `reported` (what `log_state_change` said), `as_of` (the last
        event folded in), `base` (the full state it started from, None if there was none yet), `changes`
        since it, `unseen` (names that could not be exposed).

    Raises:
        AgentNotFound, EventNotFound, UsageError: no such agent or event, or `when` is none of these.
    """
    limit = _limit(when)
    fold = StateFold()
    if isinstance(limit, str):
        return _at_event(reader, engine, agent_id, limit)
    for event in agent_events(reader, agent_id):
        if isinstance(limit, _Tick):
            if event.tick is not None and event.tick > limit.number:
                break
        elif event.timestamp_us > limit:
            break
        fold.add(event)
    return _told(agent_id, fold)


def _at_event(reader: TreeReader, engine: Engine, agent_id: str, event_id: str) -> dict[str, Any]:
    fold, found = StateFold(), False
    for event in agent_events(reader, agent_id):
        fold.add(event)
        if event.id == event_id:
            found = True
            break
    if found:
        return _told(agent_id, fold)
    rows = engine.rows(f"SELECT ts_us FROM {scan()} WHERE id = ?", [event_id])
    if not rows:
        raise EventNotFound(
            f"no event {event_id!r} in this session", remedy="ids stand in every line, as writer-number"
        )
    fold = StateFold()
    for event in agent_events(reader, agent_id):
        if event.timestamp_us > rows[0]["ts_us"]:
            break
        fold.add(event)
    return _told(agent_id, fold)


@dataclass(frozen=True, slots=True)
class _Tick:
    number: int


def _limit(when: str | int | datetime) -> str | int | _Tick:
    """An event id as it is, a time in microseconds, or a tick."""
    if isinstance(when, datetime):
        aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        return (aware - EPOCH) // timedelta(microseconds=1)
    if isinstance(when, int):
        return _Tick(when)
    if when.isascii() and when.isdigit():
        return _Tick(int(when))
    try:
        split_event_id(when)
    except ValueError:
        pass
    else:
        return when
    try:
        return parse_timestamp(when)
    except ValueError:
        raise UsageError(
            f"{when!r} is no moment",
            remedy="give an event id, a time such as 2026-11-20T10:30:45Z, or a tick",
        ) from None


def _told(agent_id: str, fold: StateFold) -> dict[str, Any]:
    return {
        "agent_id": agent_id,
        "fields": fold.fields,
        "reported": fold.reported,
        "as_of": _point(fold.last),
        "base": _point(fold.base),
        "changes": fold.changes,
        "unseen": fold.unseen,
    }


def _point(event: Event | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {"id": event.id, "timestamp": event.timestamp, "tick": event.tick}


def checkpoints(engine: Engine, agent_id: str | None = None) -> list[dict[str, Any]]:
    """The moments recorded in full: agents' full states, and checkpoints that the program named.

    Returns:
        Oldest first, dicts with `event_type` (state or checkpoint), `id`, `timestamp`, `tick`, `agent_id`,
        `name` (of a checkpoint; of a full state the reason for it), `digest` and `data` (of a checkpoint).
        What the fields of a full state were is `state_at(agent_id, id)`.
    """
    return engine.rows(
        "SELECT event_type, id, timestamp, tick, agent_id, coalesce(name, reason) AS name, digest, data "
        f"FROM {scan('name', 'reason', 'digest', 'data')} WHERE event_type IN ('state', 'checkpoint') "
        f"AND (agent_id = $1 OR $1 IS NULL) ORDER BY {BY_ORDER}",
        [agent_id],
    )
