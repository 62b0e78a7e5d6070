"""Repeats changes that a user made by hand through `agent-trace control` while the program ran.

A change between actions is repeated before the next action. One at a tick inside an action is repeated when
the replayed code begins that tick, before the code in it runs.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from Agent.event.kinds import INTERVENTION
from Agent.event.model import Event
from Agent.record.emit import installed
from Agent.record.emit.installed import current_pipeline
from Agent.record.tracing.live_control import RequestRefused, TickCount, TickPlace, change_field
from Agent.replay.compare.comparison import Recorded, shown
from Agent.replay.compare.outcome import ReplayOutcome
from Agent.replay.drive.player import ReplayContext, driven_here
from Agent.replay.plan.actions import DrivenAction, Plan, is_by_hand
from Agent.replay.plan.target import Decoder

CHANGED: Final = "/extra/changed"
_MOST_NAMED: Final = 20


class ChangesByHand:
    """Repeats the recorded changes of one replay.

    Args:
        objects: the target's objects by agent.
        nearby: agents inside them that have acted.
        put_back: restores fields of an agent's object.
        keeps: returns the fields of an agent that a fork has patched, which stay unchanged.
    """

    def __init__(
        self,
        context: ReplayContext,
        objects: Mapping[str, object],
        nearby: Mapping[str, object],
        put_back: Callable[[str, object, Mapping[str, Any]], None],
        keeps: Callable[[str], Collection[str]],
    ) -> None:
        self._context = context
        self._objects = objects
        self._nearby = nearby
        self._put_back = put_back
        self._keeps = keeps
        self._ticks = TickCount()
        self._done: Counter[int] = Counter()
        """{number of an action: how many of the changes inside it were repeated}."""
        self._changed_inside: list[DrivenAction] = []

    def repeat(self, events: Iterable[Event]) -> None:
        """Repeat changes.

        Raises:
            ReplayStopped: a value cannot be restored, or the agent has no object here.
        """
        for event in events:
            self._repeat(event)

    def listen(self, plan: Plan, current: Callable[[], DrivenAction | None]) -> None:
        """Repeat the changes inside actions at the ticks that replayed code begins, if there are any.

        Args:
            current: returns the action that is replayed, if actions are replayed one by one.
        """
        self._changed_inside = [each for each in plan.actions if each.by_hand_inside]
        if self._changed_inside:
            installed.at_tick = lambda number: self._at_tick(number, driven_here() or current())

    def end(self, plan: Plan) -> None:
        """Make the changes after the last action, and note those inside actions whose tick did not begin."""
        for action in self._changed_inside:
            for event in action.by_hand_inside[self._done[action.number] :]:
                self._context.outcome.doubts.append(
                    f"{describe_change(event)} was not repeated: replayed code did not begin that tick in "
                    f"step {action.number}"
                )
        self.repeat(plan.by_hand_last)

    def _at_tick(self, number: int | None, action: DrivenAction | None) -> None:
        place = self._ticks.next()
        inside = () if action is None else action.by_hand_inside
        while action is not None and self._done[action.number] < len(inside):
            event = inside[self._done[action.number]]
            if event.tick != number or event.extra.get("tick_in_span") != place.in_span:
                return
            self._done[action.number] += 1
            self._repeat(event)

    def _repeat(self, event: Event) -> None:
        context, agent_id = self._context, str(event.agent_id)
        obj = self._objects.get(agent_id)
        obj = self._nearby.get(agent_id) if obj is None else obj
        if obj is None:
            context.player.stop(f"{describe_change(event)} cannot be repeated: {agent_id} has no object here")
        restored = context.decoder.restore(Recorded(event.extra.get("changed"), event.types or {}, CHANGED))
        values = restored.value
        if restored.unrestored or type(values) is not dict:
            context.player.stop(f"{describe_change(event)} cannot be restored")
        if restored.is_redacted:
            context.outcome.doubts.append(f"{describe_change(event)} has tokens in place of secrets")
        note_repeated(context.outcome, event)
        keeps = self._keeps(agent_id)
        values = {name: value for name, value in values.items() if name not in keeps}
        self._put_back(agent_id, obj, values)
        known = context.pipeline.agents.find(obj)
        if known is not None and known.tracker is not None:
            known.tracker.changes(obj, values.keys())  # so that they do not count as changes by the action


class ScriptedChanges:
    """Repeats recorded changes in another run of the whole program, which records them again.

    Args:
        changes: what `to_script` returns.
    """

    def __init__(self, changes: Sequence[Mapping[str, Any]]) -> None:
        self._ticks = TickCount()
        self._left = deque(changes)
        self._failures: list[str] = []

    def at_tick(self, _number: int | None) -> None:
        """Repeat the changes that were made at the tick that begins."""
        place = self._ticks.next()
        while self._left and self._left[0]["tick_number"] <= place.of_all:
            change = self._left.popleft()
            try:
                self._make(change, place)
            except (RequestRefused, RuntimeError) as error:
                self._failures.append(f"{change['description']} cannot be repeated: {error}")

    def _make(self, change: Mapping[str, Any], place: TickPlace) -> None:
        # Decode only now, since the value may be of a class that the program defines.
        decoder = Decoder(lambda agent_id: agent_id, "__main__")
        restored = decoder.restore(Recorded(change["changed"], change["types"], CHANGED))
        if restored.unrestored:
            raise RequestRefused("value", "it cannot be restored")
        for name, value in restored.value.items():
            request = {**change["about"], "agent_id": change["agent_id"], "field": name, "value": value}
            change_field(current_pipeline(), request, place)

    @property
    def failure(self) -> str:
        """Why some changes were not repeated; "" if all were."""
        left = (
            f"{self._left[0]['description']} was not repeated: its tick did not begin" if self._left else ""
        )
        return next(iter(self._failures), left)


def to_script(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the changes by hand among events as plain JSON, for `ScriptedChanges`."""
    return [
        {
            "agent_id": event.agent_id,
            "changed": event.extra.get("changed"),
            "types": dict(event.types or {}),
            "tick_number": event.extra.get("tick_number", 0),
            "about": {key: event.extra[key] for key in ("by", "asked_at") if key in event.extra},
            "description": describe_change(event),
        }
        for event in events
        if is_by_hand(event)
    ]


def note_repeated(outcome: ReplayOutcome, event: Event) -> None:
    """Count a repeated change in the outcome, and name it if it is among the first."""
    if sum(outcome.by_hand.values()) < _MOST_NAMED:
        outcome.remark(f"{describe_change(event)} was repeated")
    outcome.by_hand.update(f"{event.agent_id}.{name}" for name in event.extra.get("changed") or ())


def describe_change(event: Event) -> str:
    """Return a change by hand in words: tick, field and agent, old and new value."""
    old, new = event.extra.get("old_state"), event.extra.get("changed")
    before = old if isinstance(old, dict) else {}
    fields = ", ".join(
        f"{name} of {event.agent_id} from {shown(before.get(name))} to {shown(value)}"
        for name, value in (new if isinstance(new, dict) else {}).items()
    )
    return f"the change by hand{_at(event)}, {fields} (event {event.id}),"


def describe_pauses(events: Iterable[Event]) -> str:
    """Return the pauses, steps and ends of pauses of a recording in words; "" for none."""
    pauses = [
        f"{event.extra.get('command')}{_ticks(event)}{_at(event)} (event {event.id})"
        for event in events
        if event.kind == INTERVENTION
    ]
    more = [f"{len(pauses) - _MOST_NAMED:,} more"] if len(pauses) > _MOST_NAMED else []
    return f"by hand, while it was recorded: {', '.join(pauses[:_MOST_NAMED] + more)}" if pauses else ""


def _ticks(event: Event) -> str:
    ticks = event.extra.get("ticks")
    return f" of {ticks} ticks" if isinstance(ticks, int) and ticks > 1 else ""


def _at(event: Event) -> str:
    return "" if event.tick is None else f" before tick {event.tick}"
