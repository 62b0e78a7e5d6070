"""What a recording says of how a change in one agent may reach another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from Agent.event.model import Event

_BOTH_WAYS = ("source_id", "target_id")
"""Fields of an interaction that name its agents."""


def reached_from(agent_id: str, events: Iterable[Event], shared: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the agents that a change in an agent may reach by what is recorded.

    Args:
        agent_id: the agent that changes.
        events: the events of the run.
        shared: the agents with which each agent shares objects; generators of random numbers carry no change.
    """
    events = list(events)
    by_id = {event.id: event.agent_id for event in events}
    by_span = {event.span_id: event.agent_id for event in events if event.span_id is not None}
    onward: dict[Any, set[Any]] = defaultdict(set)

    def link(one: Any, other: Any, *, both: bool = True) -> None:
        onward[one].add(other)
        if both:
            onward[other].add(one)

    for event in events:
        if event.kind == "agent_message":
            link(event.extra.get("sender"), event.extra.get("recipient"), both=False)
        for name in _BOTH_WAYS:
            if isinstance(other := event.extra.get(name), str):
                link(event.agent_id, other)
        if event.parent_span_id in by_span:
            link(event.agent_id, by_span[event.parent_span_id])
        for cause in event.causes:
            if cause in by_id:
                link(by_id[cause], event.agent_id, both=False)
    for one, others in shared.items():
        for other in others:
            link(one, other)
    reached, ahead = {agent_id}, [agent_id]
    while ahead:
        found = onward[ahead.pop()] - reached - {None}
        reached |= found
        ahead += found
    return reached
