"""The way of one agent through a session, event by event; read from that agent's files alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from Agent.analysis.distribution import number
from Agent.analysis.rows import event_row
from Agent.analysis.session import agent_events
from Agent.event.clock import format_timestamp
from Agent.event.model import Event
from Agent.tree.reader import TreeReader


def agent_journey(reader: TreeReader, agent_id: str, *, nested: bool = False) -> list[dict[str, Any]]:
    """Every event of one agent, each with its depth among the agent's own spans.

    A span is written when it ends, so in order of time (the default) it stands behind what happened in it.

    Args:
        reader: of the session.
        agent_id: whose journey.
        nested: order by beginnings instead, each span before what happened in it; `started_at` never
            decreases.

    Returns:
        Event dicts (`rows.event_row`) with `depth`, `duration_ms` and `started_at` besides.

    Raises:
        AgentNotFound: the session knows no such agent.
    """
    events = list(agent_events(reader, agent_id))
    depths = span_depths(events)
    steps = [_step(event, depths) for event in events]
    if nested:
        places = {id(step): place for place, step in enumerate(steps)}
        # What a span holds can begin in the same microsecond; the span is then told first.
        steps.sort(key=lambda step: (step["started_at"], step["depth"], places[id(step)]))
    return steps


def _step(event: Event, depths: dict[str, int]) -> dict[str, Any]:
    duration_ms = number(event.extra.get("duration_ms"))
    started = event.timestamp
    if event.span_id is not None and duration_ms is not None and duration_ms == duration_ms:
        started = format_timestamp(event.timestamp_us - round(duration_ms * 1000))
    if event.span_id is not None:
        depth = depths[event.span_id]
    else:
        depth = depths[event.parent_span_id] + 1 if event.parent_span_id in depths else 0
    return event_row(event) | {"depth": depth, "duration_ms": duration_ms, "started_at": started}


def span_depths(events: Sequence[Event]) -> dict[str, int]:
    """How many known spans enclose each span of some events, by span id."""
    parents = {event.span_id: event.parent_span_id for event in events if event.span_id is not None}
    depths: dict[str, int] = {}
    for span in parents:
        path: list[str] = []
        walk: str | None = span
        while walk in parents and walk not in depths and walk not in path:
            path.append(walk)
            walk = parents[walk]
        depth = depths[walk] + 1 if walk in depths else 0
        for known in reversed(path):
            depths[known] = depth
            depth += 1
    return depths
