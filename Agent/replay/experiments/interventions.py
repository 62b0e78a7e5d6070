"""What can be done at a moment to have a run without what happened there.

An ordinary value, where one is needed, is that of the nearest call of the same agent and name which is not
itself under suspicion and gave, or was given, something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from Agent.event.model import Event
from Agent.event.ordering.order import order_key
from Agent.flight.matching.recorded_calls import CALL_KINDS
from Agent.replay.experiments.locate import PlannedPlace, holds, messages_in
from Agent.replay.plan.recording import Recording, is_traced_action, method_name

Sort = Literal["drop", "answer", "arguments", "undo", "left_out"]

MAX_INTERVENTIONS = 3
_UNDO_FIRST = "state_before_change"
"""The rule of an edge that blames what an action left changed."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """One way to have the run without something."""

    sort: Sort
    told: str
    """What is done, in words."""
    message_id: str | None = None
    """Of the message that is dropped."""
    ordinary: Event | None = None
    """Whose answer or arguments are given instead."""


def interventions_at(
    place: PlannedPlace, recording: Recording, rule: str, suspects: Collection[str], live: Collection[str]
) -> list[Intervention]:
    """What can be tried at a place, the most fitting first, at most three.

    Args:
        rule: by which the event is suspected, as its edge names it.
        suspects: events whose values are not ordinary.
        live: agents whose code runs.
    """
    found = list(_all(place, recording, suspects, live))
    if rule == _UNDO_FIRST:
        found.sort(key=lambda each: each.sort != "undo")
    return found[:MAX_INTERVENTIONS]


def _all(
    place: PlannedPlace, recording: Recording, suspects: Collection[str], live: Collection[str]
) -> Iterator[Intervention]:
    event = place.event
    if place.sort == "sending":
        yield Intervention("drop", f"{_message(event)} dropped", place.message_id)
        return
    if place.sort == "between":
        what = event.extra.get("name") if event.kind == "system.config" else "the setting from outside"
        yield Intervention("undo", f"{what} left as it was")
        return
    message_id = place.message_id
    args = event.extra.get("args")
    if message_id is None or not holds(args, message_id):
        held = messages_in(args)
        message_id = held[0] if len(held) == 1 else None
    if message_id is not None:
        yield Intervention("drop", f"message {message_id} dropped before {_call(event)}", message_id)
    is_live = event.kind not in CALL_KINDS and (event.agent_id is None or event.agent_id in live)
    other = ordinary_call(event, recording, suspects, _given(event))
    if other is not None and place.sort != "action":
        yield Intervention("answer", f"{_call(event)} answered as it was at event {other.id}", ordinary=other)
    other = ordinary_call(event, recording, suspects, "args")
    if other is not None and is_live:
        yield Intervention(
            "arguments", f"{_call(event)} called with what it got at event {other.id}", ordinary=other
        )
    if is_live and _changed(event):
        names = ", ".join(_changed(event)[:4])
        yield Intervention("undo", f"what {_call(event)} changed of {event.agent_id} undone ({names})")
    if is_live and (place.sort == "action" or _gives_nothing(event)):
        yield Intervention("left_out", f"{_call(event)} left out")


def ordinary_call(event: Event, recording: Recording, suspects: Collection[str], part: str) -> Event | None:
    """The nearest call of the same agent and name, the ones before first, that has another value there.

    What is rarer than the event's own value is not the more ordinary one.
    """
    alike = [each for each in recording.events if _is_like(each, event) and part in each.extra]
    counts = Counter(_key(each, part) for each in alike)
    own = _key(event, part)
    fitting = [
        each
        for each in alike
        if each.id not in suspects
        and each.extra.get("outcome") is None
        and _key(each, part) != own
        and counts[_key(each, part)] >= counts[own]
    ]
    moment = order_key(event)
    before = [each for each in fitting if order_key(each) < moment]
    return before[-1] if before else next(iter(fitting), None)


def _key(event: Event, part: str) -> bytes:
    return orjson.dumps(event.extra.get(part), option=orjson.OPT_SORT_KEYS)


def _is_like(one: Event, other: Event) -> bool:
    if one.kind != other.kind or one.agent_id != other.agent_id:
        return False
    if one.kind in CALL_KINDS:
        key = CALL_KINDS[one.kind]
        return one.extra.get(key) == other.extra.get(key)
    return is_traced_action(one) and method_name(one) == method_name(other)


def _given(event: Event) -> str:
    """The key of what a call gave, in its event or as a file's name."""
    names = ("output", "output_ref") if event.kind == "model.call" else ("result", "result_ref")
    return names[1] if names[1] in event.extra else names[0]


def _gives_nothing(event: Event) -> bool:
    return event.extra.get("outcome") is None and event.extra.get("result", 0) is None


def _changed(event: Event) -> list[str]:
    state = event.state or {}
    changed, gone = state.get("set"), state.get("unset")
    return [*(changed if isinstance(changed, dict) else ()), *(gone if isinstance(gone, list) else ())]


def _call(event: Event) -> str:
    name: Any = event.extra.get(CALL_KINDS.get(event.kind, "action_type"))
    at = f" of tick {event.tick}" if event.tick is not None else ""
    who = f" of {event.agent_id}" if event.agent_id is not None and event.kind not in CALL_KINDS else ""
    return f"{name}{who}{at}"


def _message(event: Event) -> str:
    at = f" of tick {event.tick}" if event.tick is not None else ""
    return f"the message{at} from {event.extra.get('sender')} to {event.extra.get('recipient')}"
