"""Where in the replayed run an event stands, so that a fork can notice the moment when it comes again.

A place is an action that is replayed, a call inside one, a message that one sends, or the time between two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from Agent.event.model import Event
from Agent.flight.matching.recorded_calls import CALL_KINDS
from Agent.replay.plan.actions import DrivenAction, Plan, PlannedCall
from Agent.replay.plan.recording import is_traced_action


@dataclass(frozen=True, slots=True)
class PlannedPlace:
    """The moment of an event in a plan."""

    sort: Literal["action", "call", "tool", "sending", "between"]
    index: int
    """The action that it stands in or before, counted from 0."""
    event: Event
    """What the debugged event is, or is part of: the call around it."""
    ordinal: int = 0
    """How many calls of that agent and name come before it in the action."""
    message_id: str | None = None
    """Of a message that the event is about."""


def place_of(event: Event, plan: Plan, live: Collection[str]) -> PlannedPlace | None:
    """Where an event stands; None where nothing that is replayed holds it.

    Args:
        live: agents whose code runs.
    """
    message_id = _message_id(event)
    if message_id is not None:
        handed = _handed_on(message_id, plan, live)
        if handed is not None:
            return handed
        event = _sending_of(message_id, plan) or event
    for index, action in enumerate(plan.actions):
        if action.event.id == event.id:
            return PlannedPlace("action", index, event)
        if any(effect.id == event.id for effect in action.effects):
            return _inside(event, index, action, live)
    return _between(event, plan)


def _handed_on(message_id: str, plan: Plan, live: Collection[str]) -> PlannedPlace | None:
    """The first action or call that is given a message."""
    for index, action in enumerate(plan.actions):
        if holds(action.event.extra.get("args"), message_id):
            return PlannedPlace("action", index, action.event, message_id=message_id)
        for call in calls_in(action.call, live):
            if holds(call.event.extra.get("args"), message_id):
                return PlannedPlace(
                    "call", index, call.event, _ordinal(call, action, live), message_id=message_id
                )
    return None


def _sending_of(message_id: str, plan: Plan) -> Event | None:
    """The event by which a message was sent inside a replayed action."""
    for action in plan.actions:
        for effect in action.effects:
            if _message_id(effect) == message_id and effect.extra.get("direction") == "sent":
                return effect
    return None


def _between(event: Event, plan: Plan) -> PlannedPlace | None:
    """The time between two actions, for what was set there by the program itself."""
    if event.kind not in {"system.config", "state_change"}:
        return None
    for index, action in enumerate(plan.actions):
        if action.call.began_us >= event.timestamp_us:
            return PlannedPlace("between", index, event)
    return None


def _inside(event: Event, index: int, action: DrivenAction, live: Collection[str]) -> PlannedPlace:
    """The place of what happened inside a replayed action."""
    if event.kind == "agent_message" and event.extra.get("direction") == "sent":
        return PlannedPlace("sending", index, event, message_id=_message_id(event))
    if event.kind in CALL_KINDS:
        return PlannedPlace("tool", index, event, _tools_before(event, action))
    span_id = event.span_id if is_traced_action(event) else event.parent_span_id
    around = _call_around(span_id, action, live)
    if around is None:
        return PlannedPlace("action", index, action.event)
    return PlannedPlace("call", index, around.event, _ordinal(around, action, live))


def _ordinal(wanted: PlannedCall, action: DrivenAction, live: Collection[str]) -> int:
    """How many calls of the same agent and name come before it in an action."""
    count = 0
    for call in calls_in(action.call, live):
        if call is wanted:
            break
        count += (call.agent_id, call.name) == (wanted.agent_id, wanted.name)
    return count


def _tools_before(event: Event, action: DrivenAction) -> int:
    name = event.extra.get(CALL_KINDS[event.kind])
    same = [
        each
        for each in action.effects
        if each.kind == event.kind and each.extra.get(CALL_KINDS[each.kind]) == name
    ]
    return [each.id for each in same].index(event.id)


def _call_around(span_id: str | None, action: DrivenAction, live: Collection[str]) -> PlannedCall | None:
    """The innermost call of a span that comes again in a fork; None for the action itself."""
    return next((call for call in calls_in(action.call, live) if call.event.span_id == span_id), None)


def calls_in(call: PlannedCall, live: Collection[str]) -> Iterator[PlannedCall]:
    """The calls inside a call as a fork makes them, in order; what is inside an answered one is not made."""
    for child in call.children:
        yield child
        if child.agent_id is None or child.agent_id in live:
            yield from calls_in(child, live)


def _message_id(event: Event) -> str | None:
    found = event.extra.get("message_id") if event.kind == "agent_message" else None
    return found if isinstance(found, str) else None


def holds(value: Any, message_id: str) -> bool:
    """Whether a recorded value has that message in it."""
    if isinstance(value, dict):
        if value.get("id") == message_id or value.get("message_id") == message_id:
            return True
        return any(holds(item, message_id) for item in value.values())
    return isinstance(value, list) and any(holds(item, message_id) for item in value)


def messages_in(value: Any) -> list[str]:
    """The ids of all messages in a recorded value."""
    if isinstance(value, dict):
        if {"id", "sender", "recipient", "body"} <= value.keys():
            return [str(value["id"])]
        return [found for item in value.values() for found in messages_in(item)]
    return [found for item in value for found in messages_in(item)] if isinstance(value, list) else []
