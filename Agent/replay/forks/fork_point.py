"""Find the point where a fork continues (a checkpoint, step, event or tick), and the state to start from.

A point is a place among the replayable actions. The state there is taken from a checkpoint, folded from
recorded changes, or made by replaying the actions after the nearest full state.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from Agent.errors import AgentTraceError, EventNotFound, RunNotFound
from Agent.event.clock import parse_timestamp
from Agent.event.codec import decode_line
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.values.digest import canonical_bytes
from Agent.flight.checkpoints.model import CheckpointInfo
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.flight.run_reading import RunRef
from Agent.record.emit.context import kinds_of_draws
from Agent.record.sources.adopted import is_foreign_name
from Agent.record.sources.sources import adoption_of
from Agent.record.state.introspection import Sort, sort_of
from Agent.replay.compare.comparison import Recorded
from Agent.replay.compare.emitted_events import describe
from Agent.replay.drive.source_results import GeneratorPlaces
from Agent.replay.drive.states import generators_in, held_together
from Agent.replay.plan.actions import DrivenAction, Plan
from Agent.replay.plan.recording import Recording

_LIBRARIES = {"site-packages", "dist-packages"}


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """A place among the actions of a plan."""

    what: str
    """The place in words."""
    index: int
    """The number of whole actions before it."""
    effect: Event | None = None
    """The effect of the next action just before the place; None for the place before that action."""
    state: Recorded | None = None
    """The state of a checkpoint at this place."""
    saved_us: int = 0
    """When the checkpoint was saved, in microseconds since 1970."""

    def is_behind(self, event: Event) -> bool:
        """Whether an event is later than the checkpoint."""
        return event.timestamp_us > self.saved_us


class Start(NamedTuple):
    """The state from which a point is reached, and the actions to replay up to it."""

    begin: int
    """The index of the first action to replay; the point's index if none has to be."""
    states: dict[str, Event]
    """The initial state of each agent, as a full `state` event; empty to start from the beginning."""
    what: str


def find_point(step: str, plan: Plan, recording: Recording, ref: RunRef) -> ForkPoint:
    """Find the point that a step names.

    Args:
        step: the id of a checkpoint, a recorded step or an event (the point after it), `tick:N` (before it),
            or the number of a replayed action, alone or as `step_N` (after it).
        plan: the replayable actions.

    Raises:
        EventNotFound: the run has nothing with that name.
    """
    checkpoint = _checkpoint(step, recording, ref)
    if checkpoint is not None:
        info, state = checkpoint
        return _of_checkpoint(info, state, plan, recording)
    named = _recorded_step(step, recording, ref)
    if named is not None:
        how = "" if named.kind == "step.finished" else "the beginning of "
        return _place_of(named, f"{how}step {step}", plan.actions)
    event = next((each for each in recording.events if each.id == step), None)
    if event is not None:
        return _place_of(event, f"event {step} ({event.kind})", plan.actions)
    if step.startswith("tick:") and step[5:].lstrip("-").isdigit():
        tick = int(step[5:])
        for index, action in enumerate(plan.actions):
            if action.event.tick is not None and action.event.tick >= tick:
                return ForkPoint(f"the beginning of tick {action.event.tick}", index)
        last = max((each.event.tick for each in plan.actions if each.event.tick is not None), default=None)
        if last is not None:
            raise EventNotFound(
                f"no action was recorded at {step} or later",
                path=recording.session,
                remedy=f"the last is of tick {last}",
            )
    number = step.removeprefix("step_").lstrip("0") or "0"
    if number.isdigit() and int(number) <= len(plan.actions):
        return ForkPoint(
            f"after action {number} of {len(plan.actions)}" if number != "0" else "the beginning",
            int(number),
        )
    raise EventNotFound(
        f"the run has no checkpoint, step or event {step!r}",
        path=recording.session,
        remedy=f"give one, tick:N, or the number of one of its {len(plan.actions)} replayed actions"
        + _known(recording, ref),
    )


def _known(recording: Recording, ref: RunRef) -> str:
    steps = dict.fromkeys(
        str(event.extra.get("step_id"))
        for event in recording.events
        if event.kind == "step.started" and event.run_id == ref.run_id
    )
    names = list(steps)[:5]
    return f"; its steps: {', '.join(names)}{', ...' if len(steps) > 5 else ''}" if names else ""


def _checkpoint(step: str, recording: Recording, ref: RunRef) -> tuple[CheckpointInfo, Recorded] | None:
    """Return the checkpoint of a step in the run; for a session's root run, in any run of the session."""
    with LocalCheckpointStore(recording.session) as store:
        for run_id, infos in _checkpoints(store, ref):
            same = [info for info in infos if info.step_id == step]
            own = [info for info in same if info.agent_id in {None, recording.agent_id}] or same[:1]
            if own:
                fields, types = store.recorded_state(run_id, step, own[-1].agent_id)
                return own[-1], Recorded(fields, types, "")
    return None


def _checkpoints(
    store: LocalCheckpointStore, ref: RunRef, agent_id: str | None = None
) -> Iterator[tuple[str, list[CheckpointInfo]]]:
    """Yield the checkpoints of the run; for a session's root run, those of each run of the session."""
    for run_id in [ref.run_id] if ref.run_id is not None else store.runs():
        with suppress(RunNotFound):  # the run has no checkpoint
            yield run_id, store.list_checkpoints(run_id, agent_id)


def _recorded_step(step: str, recording: Recording, ref: RunRef) -> Event | None:
    """Return the last `step.finished` event of this step, or else the last `step.started`."""
    matching = [
        event
        for event in recording.events
        if event.kind in {"step.finished", "step.started"}
        and event.extra.get("step_id") == step
        and ref.run_id in {None, event.run_id}
    ]
    ends = [event for event in matching if event.kind == "step.finished"]
    chosen = ends or matching
    return chosen[-1] if chosen else None


def _of_checkpoint(info: CheckpointInfo, state: Recorded, plan: Plan, recording: Recording) -> ForkPoint:
    what = f"checkpoint {info.step_id}"
    event = next((each for each in recording.events if each.id == info.event_id), None)
    if event is not None:
        return replace(_place_of(event, what, plan.actions), state=state, saved_us=event.timestamp_us)
    saved_us = parse_timestamp(info.timestamp)
    return replace(place_at(saved_us, what, plan.actions), state=state, saved_us=saved_us)


def _place_of(event: Event, what: str, actions: Sequence[DrivenAction]) -> ForkPoint:
    for index, action in enumerate(actions):
        if action.event.id == event.id:
            return ForkPoint(what, index + 1)
        if any(effect.id == event.id for effect in action.effects):
            return ForkPoint(what, index, event)
    return place_at(event.timestamp_us, what, actions)


def place_at(time_us: int, what: str, actions: Sequence[DrivenAction]) -> ForkPoint:
    """Return the place of a time: between two actions, or inside one, after its last effect by then."""
    for index, action in enumerate(actions):
        if action.event.timestamp_us <= time_us:
            continue
        if action.call.began_us < time_us:
            done = [effect for effect in action.effects if effect.timestamp_us <= time_us]
            return ForkPoint(what, index, done[-1] if done else None)
        return ForkPoint(what, index)
    return ForkPoint(what, len(actions))


def first_event(point: ForkPoint, plan: Plan) -> Event | None:
    """Return the first event of the original after a point; None if the point is after the last action."""
    if point.index >= len(plan.actions):
        return None
    action = plan.actions[point.index]
    return min([action.event, *action.effects], key=order_key)


def start_for(
    point: ForkPoint,
    plan: Plan,
    recording: Recording,
    ref: RunRef,
    objects: Mapping[str, object],
    *,
    is_alone: bool,
    hidden: str | None,
) -> Start:
    """Choose the recorded state from which a point is reached with the fewest replayed actions.

    Args:
        objects: the target's objects by agent.
        is_alone: whether no agent's code runs inside another agent; such an agent's state cannot be restored.
        hidden: the description of a generator that no recorded state contains, or None.
    """
    agents = list(objects)
    if not is_alone:
        return Start(0, {}, "the beginning: the state of agents inside others cannot be restored")
    if point.state is not None and point.effect is None and len(agents) == 1:
        first = recording.agents[agents[0]].first_state if agents[0] in recording.agents else None
        if isinstance(point.state.value, dict) and _is_like(point.state.value, first):
            state = _as_event(first, agents[0], point.state.value, dict(point.state.types))
            return Start(point.index, {agents[0]: state}, point.what)
    if hidden is not None:
        return Start(0, {}, f"the beginning: no recorded state holds {hidden}")
    folds = {name: _folded(name, point, plan, recording) for name in agents}
    for holders in held_together(objects):
        # Each agent's state is as of its own last action, so copies of a shared object may differ in age.
        if len({canonical_bytes(folds[agent].fields.get(name)) for agent, name in holders.items()}) > 1:
            named = " and ".join(list(holders)[:2])
            return Start(0, {}, f"the beginning: {named} share the object {next(iter(holders.values()))}")
    if folds and all(_is_whole(fold) for fold in folds.values()):
        states = {name: _as_event(fold.base, name, fold.fields, fold.types()) for name, fold in folds.items()}
        changes = max(fold.changes for fold in folds.values())
        based = ", ".join(str(fold.base.id) for fold in list(folds.values())[:3] if fold.base is not None)
        return Start(
            point.index,
            states,
            f"full state {based}"
            + (f" and the changes of {changes} later action{'s' * (changes != 1)}" if changes else ""),
        )
    if len(agents) == 1:
        nearest = _nearest(folds[agents[0]], plan, point)
        checkpoint = _nearest_checkpoint(agents[0], plan, point, recording, ref)
        if checkpoint is not None and (nearest is None or checkpoint.begin > nearest[0]):
            return checkpoint
        if nearest is not None:
            index, base = nearest
            return Start(index, {agents[0]: base}, f"full state {base.id} ({base.extra.get('reason')})")
    return Start(0, {}, "the beginning")


def _is_like(fields: dict[str, Any], first: Event | None) -> bool:
    """Whether a checkpoint has the agent's fields, rather than other data that the program saved."""
    if first is None:
        return True
    known = first.extra.get("fields")
    unseen = first.extra.get("unseen") or ()
    return isinstance(known, dict) and set(known) - set(unseen) <= set(fields)


def _folded(name: str, point: ForkPoint, plan: Plan, recording: Recording) -> StateFold:
    """Fold the recorded state of an agent up to the first event after the point."""
    limit = first_event(point, plan)
    events = (event for event in recording.events if event.agent_id == name)
    if limit is not None:
        until = order_key(limit)
        events = (event for event in events if order_key(event) < until)
    return fold_events(StateFold(), events)


def _is_whole(fold: StateFold) -> bool:
    return fold.base is not None and not fold.unseen and not (fold.sampled and fold.changes)


def _nearest(fold: StateFold, plan: Plan, point: ForkPoint) -> tuple[int, Event] | None:
    """Return the last full state, and the index of the action that follows it; None if fields are missing."""
    base = fold.base
    if base is None or fold.unseen:
        return None
    for index, action in enumerate(plan.actions[: point.index + 1]):
        if any(event.id == base.id for event in action.before):
            return index, base
        if any(event.id == base.id for event in action.after):
            return index + 1, base
    return None


def _nearest_checkpoint(
    agent_id: str, plan: Plan, point: ForkPoint, recording: Recording, ref: RunRef
) -> Start | None:
    """Return the last checkpoint of an agent that was saved after one of its actions before the point."""
    places = {action.event.id: index for index, action in enumerate(plan.actions[: point.index], start=1)}
    first = recording.agents[agent_id].first_state
    with LocalCheckpointStore(recording.session) as store:
        for run_id, infos in _checkpoints(store, ref, agent_id):
            taken = [info for info in infos if info.event_id in places and not info.opaque]
            if not taken:
                continue
            info = max(taken, key=lambda each: places[str(each.event_id)])
            fields, types = store.recorded_state(run_id, info.step_id, agent_id)
            if isinstance(fields, dict) and _is_like(fields, first):
                state = _as_event(first, agent_id, fields, types)
                return Start(places[str(info.event_id)], {agent_id: state}, f"checkpoint {info.step_id}")
    return None


def _as_event(base: Event | None, agent_id: str, fields: dict[str, Any], types: dict[str, str]) -> Event:
    """Return recorded fields as an agent's first full state; class and constructor arguments are `base`'s."""
    base = base or Event("", f"state of {agent_id}", 1, "state", "")
    init = {at: tag for at, tag in (base.types or {}).items() if at.startswith("/extra/init")}
    extra = {name: base.extra[name] for name in ("init", "class") if name in base.extra}
    extra |= {"agent_id": agent_id, "event_type": "state", "reason": "first", "fields": fields}
    tags = {**init, **{f"/extra/fields{at}": tag for at, tag in types.items()}}
    return Event(base.timestamp, base.id, 1, "state", base.session_id, extra=extra, types=tags)


def hidden_generator(
    objects: Mapping[str, object], first: Event | None, recording: Recording, seeded: Collection[str]
) -> str | None:
    """Find a random generator that no recorded state contains; return its description, or None.

    Only replaying the actions before the point restores such generators: those of a module that the target
    seeds, those in modules and classes of the program, and adopted ones that drew only before the point.

    Args:
        objects: the target's objects by agent.
        first: the first event after the point; None if the point is at the end.
        seeded: modules whose own generators the target seeded with known values.
    """
    before, behind = _places(recording, first)
    for place in sorted(before - behind):
        return f"the generator {place}, which is not used after the point"
    for module in sorted(set(seeded) - before - behind):
        return f"the generator of {module}, which the target seeds"
    exposed = {id(generator) for obj in objects.values() for _, generator in generators_in(obj)}
    for where, generator in _in_modules():
        if id(generator) not in exposed and adoption_of(generator) is None:
            return f"the generator {where}"
    return None


def _places(recording: Recording, first: Event | None) -> tuple[set[str], set[str]]:
    """Return the places of adopted generators that drew before an event, and of those that drew after it."""
    places, places_by_side = GeneratorPlaces(recording), (set[str](), set[str]())
    for event in recording.events:
        for kind, key in kinds_of_draws(event.extra.get("reads")):
            if kind != "draws":
                is_behind = first is not None and order_key(event) >= order_key(first)
                places_by_side[is_behind].add(places.of_key(key))
    return places_by_side


def _in_modules() -> Iterator[tuple[str, Any]]:
    """Yield the generators in modules and classes of the program, each with its name."""
    for name, module in list(sys.modules.items()):
        if not is_foreign_name(name) or not _is_of_program(module):
            continue
        for attribute, value in list(vars(module).items()):
            if sort_of(type(value)) is Sort.GENERATOR:
                yield f"{name}.{attribute}", value
            elif isinstance(value, type) and value.__module__ == name:
                for inner, each in list(vars(value).items()):
                    if sort_of(type(each)) is Sort.GENERATOR:
                        yield f"{name}.{attribute}.{inner}", each


def _is_of_program(module: object) -> bool:
    path = getattr(module, "__file__", None)
    return isinstance(module, ModuleType) and type(path) is str and _LIBRARIES.isdisjoint(Path(path).parts)


class ForkTrigger:
    """Calls a function once when a recorded effect of an action has happened again.

    Args:
        effect: the effect in the original.
        effects: all effects of that action in the original.
        act: the function.
    """

    has_acted = False
    error: AgentTraceError | None = None
    """The function's error, which is kept because writing a log line must not raise."""

    def __init__(self, effect: Event, effects: Sequence[Event], act: Callable[[], None]) -> None:
        self._what, self._act = describe(effect), act
        upto = [each.id for each in effects].index(effect.id) + 1
        self._left = sum(describe(each) == self._what for each in effects[:upto])

    def observe(self, line: bytes) -> None:
        """Check a written log line, and call the function if it is the effect."""
        if self.has_acted or describe(decode_line(line)) != self._what:
            return
        self._left -= 1
        if not self._left:
            self.has_acted = True
            try:
                self._act()
            except AgentTraceError as error:
                self.error = error
