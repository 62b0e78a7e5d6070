"""Repeat what others than the agents' actions changed while the program ran.

`HeldMoves` repeats changes of code outside actions to objects that agents hold, which
`Agent/record/state/held_objects.py` records before the next action. The value to be changed must be the same
as in the recording at that point; otherwise replayed code changed it differently. `ChangesByHand` repeats
changes that a user made.
"""

from __future__ import annotations

import random
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from Agent.event.kinds import INTERVENTION
from Agent.event.model import Event
from Agent.event.pointers import unescape
from Agent.event.script_names import module_name
from Agent.event.values.content_digest import content_of
from Agent.record.emit import installed
from Agent.record.emit.installed import current_pipeline
from Agent.record.sources.generators import state_at
from Agent.record.sources.sources import adoption_of
from Agent.record.state.followed_values import copied, is_same, pour
from Agent.record.state.generators import generator_mark, generators_in_fields, is_mark_of, is_own_stream
from Agent.record.state.held_objects import GLOBALS, ITSELF
from Agent.record.state.introspection import (
    Sort,
    is_put_in_place,
    live_attributes,
    read_state,
    set_attribute,
    sort_of,
)
from Agent.record.tracing.live_control import RequestRefused, TickCount, TickPlace, change_field
from Agent.replay.compare.comparison import Difference, Recorded, in_payload
from Agent.replay.compare.folded_values import shown
from Agent.replay.compare.outcome import OF_PROGRAM, ReplayOutcome, short
from Agent.replay.drive.player import ReplayContext, driven_here
from Agent.replay.drive.states import PutBack, generators_in
from Agent.replay.plan.actions import DrivenAction, Plan, is_by_hand
from Agent.replay.plan.recording import AgentFacts, members
from Agent.replay.plan.target import Decoder

_ABSENT = object()


class HeldMoves:
    """Applies changes between actions to the objects that replayed agents hold.

    Args:
        objects: the agents whose code runs.
    """

    def __init__(self, context: ReplayContext, objects: Mapping[str, object]) -> None:
        self._context = context
        self._objects = objects
        self._holders: dict[int, list[tuple[str, str]]] = defaultdict(list)
        """{number of an object: the agents that hold it, with the path}."""
        for agent_id, facts in context.recording.agents.items():
            for number, path in facts.held.items():
                self._holders[number].append((agent_id, path))
        self._unshared = {
            agent_id for agent_id, facts in context.recording.agents.items() if not self._may_share(facts)
        }
        """Agents without a generator shared with agents whose code does not run."""
        self._firsts: dict[int, list[tuple[Event, str, str]]] = defaultdict(list)
        """{number of an object: the moves with the first value of an attribute, their key, and its name}."""
        self._generators: dict[str, tuple[Any, str]] = {}
        """For the current action: generators that others may draw from, with their states."""
        self._bases: dict[str, random.Random] = {}
        """The recorded states from which positions are counted, by their events."""
        for event in context.recording.moves:
            for key, moves in event.extra["moved"].items():
                for name, move in moves.items():
                    if "first" in move or "first_at" in move:
                        self._firsts[int(key)].append((event, key, name))

    def begin(self, agent_id: str) -> None:
        """Restore the first values of an agent's held objects that change outside actions."""
        facts = self._context.recording.agents.get(agent_id)
        for number, path in {} if facts is None else facts.held.items():
            for event, key, name in self._firsts.pop(number, ()):
                held = self._found(number)
                move = self._restored(event).get(key, {}).get(name, {})
                if held is None or "first" not in move or _is(held, name, move["first"]):
                    continue
                if not self._is_ignored(number):
                    self._note_made(agent_id, path, name, held, move["first"])
                _put(held, name, {**move, "now": move["first"]})

    def _note_made(self, agent_id: str, path: str, name: str, held: object, first: Any) -> None:
        what, present = _named(path, name, held), _present(held, name)
        description = f"{what}={short(_shown(present))}, recorded {short(_shown(first))}"
        if sort_of(type(present)) is Sort.GENERATOR:
            description = f"the random generator {what} in another state; the recorded state is used"
        whose = "" if path == GLOBALS else f"{agent_id}: "
        self._context.outcome.factory_differences.append(f"{whose}factory made {description}")

    def put(self, action: DrivenAction, events: Sequence[Event], *, is_compared: bool = True) -> None:
        """Apply the changes of these events.

        Args:
            is_compared: first compare the present value with the recording.

        Raises:
            ReplayStopped: replayed code left a value that differs from the recording.
        """
        for event in events:
            for key, moves in self._restored(event).items():
                number = int(key)
                held = self._found(number)
                for name, move in moves.items() if held is not None else ():
                    if is_compared and not self._is_ignored(number):
                        self._compare(action, number, held, name, move)
                    if "now" in move and not _is(held, name, move["now"]):
                        _put(held, name, move)
                    elif "lost" in move:
                        what = _named(self._holders[number][0][1], name, held)
                        self._context.outcome.remark(
                            f"{what} is not followed from step {action.number} on: it is too large"
                        )

    def _compare(
        self, action: DrivenAction, number: int, held: object, name: str, move: Mapping[str, Any]
    ) -> None:
        outcome = self._context.outcome
        if "now" not in move:
            if "was" not in move or not self._context.live.issuperset(self._context.recording.agents):
                return
        elif _is(held, name, move["now"]):
            return
        live = [each for each in self._holders[number] if each[0] in self._context.live]
        agent_id, path = next((each for each in live if each[0] == action.agent_id), live[0])
        is_global = path == GLOBALS
        what = _named(path, name, held)
        whose = what if is_global else f"{what} of {agent_id}"
        is_whole = all(each in self._context.live for each, _ in self._holders[number])
        if is_whole and not _was(held, name, move):
            was = _shown(move["was"]) if "was" in move else f"content {move['was_content']}"
            present = _shown(_present(held, name))
            if outcome.changed_code:
                place = "as it was before the step" if is_global else f"what {agent_id} held before the step"
                self._context.player.differs(
                    action,
                    f"{OF_PROGRAM if is_global else 'state.'}{what}",
                    Difference("", was, present),
                    place=place,
                )
            remedy = "" if is_global else f"; if no action reads it: --ignore {_field_of(path)}"
            self._context.player.stop(
                f"{whose}, which code outside of actions also changes, was {short(was)} before "
                f"step {action.number}, and replayed code had left {short(present)} there{remedy}"
            )
        if "now" not in move:
            return
        if move.get("unsure") and outcome.changed_code:
            outcome.ask(
                f"{whose} was changed before step {action.number}, perhaps by an action of "
                "another agent; whether changed code changes it differently is unknown"
            )
        outcome.imposed.update([what if is_global else f"{agent_id}.{what}"])

    def _is_ignored(self, number: int) -> bool:
        return all(
            self._context.fields.is_ignored(each, _field_of(path)) for each, path in self._holders[number]
        )

    def begin_action(self) -> None:
        """Reset for the next action."""
        self._generators.clear()

    def watch_draws(self, agent_id: str, obj: object, *, is_suspect: bool) -> None:
        """Note the states of generators from which agents draw whose code does not run.

        Args:
            is_suspect: whether such agents share a generator with this one.
        """
        if not is_suspect and agent_id in self._unshared:
            return
        generators = list(generators_in(obj)) if is_suspect else []
        facts = self._context.recording.agents.get(agent_id)
        if facts is not None and facts.written_outside:  # recordings without their states
            fields = read_state(obj).fields
            generators += [(name, fields[name]) for name in facts.written_outside & fields.keys()]
        generators = [(name, each) for name, each in generators if sort_of(type(each)) is Sort.GENERATOR]
        for number, path in facts.held.items() if facts is not None else ():
            if all(each in self._context.live for each, _ in self._holders[number]):
                continue
            held = held_at(obj, path)
            if is_own_stream(held):
                generators.append((path, held))
            else:
                generators += [
                    (_named(path, name, held), each)
                    for name, each in list((live_attributes(held) or {}).items())
                    if is_own_stream(each)
                ]
        for name, generator in generators:
            if adoption_of(generator) is None:
                self._generators[name] = (generator, generator_mark(generator))

    def doubt_draws(self, agent_id: str) -> None:
        """Make an action that drew from one of these generators inconclusive."""
        for name, (generator, before) in self._generators.items():
            if generator_mark(generator) != before:
                self._context.outcome.needs_others = True
                self._context.outcome.reason(
                    f"{agent_id} draws from {name}, a generator that others also draw from: their "
                    "draws were not recorded; call `recorder.adopt(generator)` there and in the target"
                )

    def _may_share(self, facts: AgentFacts) -> bool:
        holders = (each for number in facts.held for each, _ in self._holders[number])
        return bool(facts.written_outside) or any(each not in self._context.live for each in holders)

    def _found(self, number: int) -> object | None:
        for agent_id, path in self._holders[number]:
            obj = self._objects.get(agent_id)
            held: object = None if obj is None else held_at(obj, path)
            if held is not None:
                return held
        return None

    def _restored(self, event: Event) -> dict[str, Any]:
        """Return {number: {name: change}}; changes that cannot be restored are left out with a remark."""
        restored = self._context.decoder.restore(in_payload(event, "moved"))
        lacking = set()
        for unrestored in restored.unrestored:
            number, name = unrestored.pointer.split("/")[3:5]
            lacking.add((number, unescape(name)))
            self._left_out(str(unrestored))
        found: dict[str, Any] = {}
        for number, moves in restored.value.items():
            kept = {name: move for name, move in moves.items() if (number, name) not in lacking}
            found[number] = {name: move for name, move in kept.items() if self._find_states(event, move)}
        return found

    def _find_states(self, event: Event, move: dict[str, Any]) -> bool:
        """Put in generators for their recorded positions; False if they cannot be restored."""
        for key in ("first", "now"):
            position = move.pop(f"{key}_at", None)
            if position is None:
                continue
            try:
                event_id, words, *spare = position
                move[key] = generator = random.Random(0)
                generator.setstate(state_at(self._base(event_id), [words, 0, *spare]))
            except Exception as error:  # noqa: BLE001 - a line or a state that was edited
                self._left_out(f"a generator in event {event.id}: {error}")
                return False
        return True

    def _base(self, event_id: str) -> random.Random:
        """Return a generator in the state of a `source.state` event."""
        if event_id not in self._bases:
            event = self._context.recording.generator_states.get(event_id)
            if event is None:
                raise LookupError(f"event {event_id}, with its earlier state, is not in the recording")
            base = self._context.decoder.restore(in_payload(event, "value")).value
            if type(base) is not random.Random:
                raise TypeError(f"event {event_id} has no state of a random.Random")
            self._bases[event_id] = base
        return self._bases[event_id]

    def _left_out(self, why: str) -> None:
        self._context.outcome.remark(f"a change from outside that cannot be restored was left out: {why}")


def held_at(obj: object, path: str) -> Any:
    """Return what an agent holds at a path: a field, a generator in it (`#`), or the module of its class."""
    if path == GLOBALS:
        return sys.modules.get(type(obj).__module__)
    fields = read_state(obj).fields
    if "#" not in path:
        name, _, inner = path.partition(".")
        held = fields.get(name)
        return (live_attributes(held) or {}).get(inner) if inner else held
    return next(
        (each for generator_path, each in generators_in_fields(fields) if generator_path == path), None
    )


def _field_of(path: str) -> str:
    return path.partition(".")[0].partition("#")[0]


def _present(held: object, name: str) -> Any:
    return held if name == ITSELF else (live_attributes(held) or {}).get(name, _ABSENT)


def _is(held: object, name: str, value: Any, *, is_mark: bool = False) -> bool:
    """Whether the attribute has that value; for a generator, whether its state or its mark is the same."""
    present = _present(held, name)
    if sort_of(type(present)) is Sort.GENERATOR:
        if not is_mark and type(value) is not type(present):
            return False
        return is_mark_of(present, value if is_mark else generator_mark(value))
    if type(present) is not type(value):
        return False
    if copied(value) is not None:
        return is_same(value, present)
    return bool(present == value or present != present)


def _was(held: object, name: str, move: Mapping[str, Any]) -> bool:
    """Whether the attribute has the recorded value from before the change, if that was recorded."""
    if "was_content" in move:
        return bool(content_of(_present(held, name)).text == move["was_content"])
    return "was" not in move or _is(held, name, move["was"], is_mark=True)


def _put(held: object, name: str, move: Mapping[str, Any]) -> None:
    """Change an attribute; containers and arrays in place if they were recorded like that."""
    present, value = _present(held, name), move["now"]
    if is_put_in_place(present, value) or name == ITSELF or live_attributes(held) is None:
        return
    if not (move.get("in_place") and pour(present, value)):
        taken = copied(value)
        set_attribute(held, name, value if taken is None else taken.value)  # a copy: it may be set again


def _shown(value: Any) -> Any:
    if value is _ABSENT:
        return "<absent>"
    return f"generator at {generator_mark(value)[:12]}" if sort_of(type(value)) is Sort.GENERATOR else value


def _named(path: str, name: str, held: object) -> str:
    """Return the name of an attribute of a held object: `field.name`, or `module.name` of a global."""
    if path == GLOBALS:
        return f"{module_name(getattr(held, '__name__', ''))}.{name}"
    return f"{path}.{name}" if name else path


# Changes that a user made by hand through `agent-trace control` while the program ran.
#
# A change between actions is repeated before the next action. One at a tick inside an action is repeated when
# the replayed code begins that tick, before the code in it runs.

CHANGED: Final = "/extra/changed"
_MOST_NAMED: Final = 20


@dataclass(slots=True, eq=False)
class ChangesByHand:
    """Repeats the recorded changes of one replay."""

    _context: ReplayContext
    _objects: Mapping[str, object]
    """The target's objects by agent."""
    _nearby: Mapping[str, object]
    """Agents inside them that have acted."""
    _put_back: PutBack
    """Restores fields of an agent's object."""
    _keeps: Callable[[str], Collection[str]]
    """Returns the fields of an agent that a fork has patched, which stay unchanged."""
    _ticks: TickCount = field(default_factory=TickCount)
    _done: Counter[int] = field(default_factory=Counter)
    """{number of an action: how many of the changes inside it were repeated}."""
    _changed_inside: Sequence[DrivenAction] = ()

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
        tracker = context.tracker(obj)
        if tracker is not None:
            tracker.changes(obj, values.keys())  # so that they do not count as changes by the action


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
    before = members(event, "old_state")
    fields = ", ".join(
        f"{name} of {event.agent_id} from {shown(before.get(name))} to {shown(value)}"
        for name, value in members(event, "changed").items()
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
