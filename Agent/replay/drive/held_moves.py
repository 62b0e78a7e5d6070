"""Replay changes that code outside actions made to objects held by agents.

`Agent/record/state/held_objects.py` records them, each before an action. The value to be changed must be the
same as in the recording at that point; otherwise replayed code changed it differently.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from Agent.event.model import Event
from Agent.event.pointers import unescape
from Agent.event.script_names import module_name
from Agent.event.values.content_digest import content_of
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
from Agent.replay.compare.comparison import Difference, in_payload
from Agent.replay.compare.outcome import OF_PROGRAM, short
from Agent.replay.drive.player import ReplayContext
from Agent.replay.drive.states import generators_in
from Agent.replay.plan.actions import DrivenAction
from Agent.replay.plan.recording import AgentFacts

_ABSENT = object()


class _First(NamedTuple):
    """The first recorded value of an attribute that changed later."""

    event: Event
    number: str
    name: str


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
        self._firsts: dict[int, list[_First]] = defaultdict(list)
        self._generators: dict[str, tuple[Any, str]] = {}
        """For the current action: generators that others may draw from, with their states."""
        for event in context.recording.moves:
            for key, moves in event.extra["moved"].items():
                for name, move in moves.items():
                    if "first" in move:
                        self._firsts[int(key)].append(_First(event, key, name))

    def begin(self, agent_id: str) -> None:
        """Restore the first values of an agent's held objects that change outside actions."""
        facts = self._context.recording.agents.get(agent_id)
        for number in () if facts is None else facts.held:
            for event, key, name in self._firsts.pop(number, ()):
                held = self._found(number)
                move = self._restored(event).get(key, {}).get(name, {})
                if held is None or "first" not in move or _is(held, name, move["first"]):
                    continue
                move = {**move, "now": move["first"]}
                if self._is_ignored(number):
                    _put(held, name, move)
                    continue
                path = "" if facts is None else facts.held[number]
                what = _named(path, name, held)
                present = _present(held, name)
                description = f"{what}={short(_shown(present))}, recorded {short(_shown(move['first']))}"
                if sort_of(type(present)) is Sort.GENERATOR:
                    description = f"the random generator {what} in another state; the recorded state is used"
                whose = "" if path == GLOBALS else f"{agent_id}: "
                self._context.outcome.factory_differences.append(f"{whose}factory made {description}")
                _put(held, name, move)

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
            number, name = unrestored.partition(" at ")[2].split("/")[3:5]
            lacking.add((number, unescape(name)))
            self._context.outcome.remark(
                f"a change from outside that cannot be restored was left out: {unrestored}"
            )
        return {
            number: {name: move for name, move in moves.items() if (number, name) not in lacking}
            for number, moves in restored.value.items()
        }


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
    taken = copied(value)
    if taken is not None:
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
