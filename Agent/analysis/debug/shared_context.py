"""What happened around the agents: settings, phases, warnings of no agent, and the few agents others use."""

from __future__ import annotations

from collections import deque
from itertools import chain

from Agent.analysis.causality.event_window import Row, order, time_us
from Agent.analysis.debug.changes.activity_series import Overview
from Agent.analysis.query.event_dict import event_row
from Agent.tree.read.reader import TreeReader

MAX_ROWS = 5_000
MAX_SERVICES = 4
_MAX_MEMBERS = 2
_KINDS = frozenset({"system.config", "system.module", "system.init", "phase", "milestone", "log.dropped"})
_LOUD = frozenset({"WARNING", "ERROR", "CRITICAL"})


def surroundings(reader: TreeReader, seen: Overview) -> list[Row]:
    """What was said of no single agent that may change how all behave, in order; the newest 5,000.

    A row without a tick gets that of the bucket of time in which it stands, so that it has a place among the
    agents' events.
    """
    kept: deque[Row] = deque(maxlen=MAX_ROWS)
    for event in chain(reader.category_events("system"), reader.category_events("events")):
        if event.agent_id is None and (event.kind in _KINDS or event.level in _LOUD):
            kept.append(event_row(event))
    rows = sorted(kept, key=order)
    if seen.axis is None or not seen.axis.by_tick:
        return rows
    return [row if row["tick"] is not None else row | {"tick": _tick_of(row, seen)} for row in rows]


def _tick_of(row: Row, seen: Overview) -> int | None:
    """The tick at which the bucket that was running begins, moved by how much of it was over."""
    axis = seen.axis
    if axis is None:
        return None
    at = time_us(row)
    begun = [(us, bucket) for bucket, us in seen.bucket_us.items() if us <= at]
    if not begun:
        return axis.first
    us, bucket = max(begun)
    after = [later for later in seen.bucket_us.values() if later > us]
    share = (at - us) / (min(after) - us) if after else 0.0
    return min(axis.last, axis.start(bucket) + int(share * axis.width))


def services(seen: Overview, affected: list[str]) -> list[str]:
    """Agents that the affected ones may depend on: those of small roles of their own, the busiest first."""
    members: dict[str | None, list[str]] = {}
    for agent, role in seen.roles.items():
        members.setdefault(role, []).append(agent)
    roles = {seen.roles.get(agent) for agent in affected}
    found = [
        agent
        for role, agents in members.items()
        if len(agents) <= _MAX_MEMBERS and role not in roles
        for agent in agents
    ]
    found = [agent for agent in found if agent not in affected]
    return sorted(found, key=lambda agent: (-sum(seen.totals[agent].values()), agent))[:MAX_SERVICES]
