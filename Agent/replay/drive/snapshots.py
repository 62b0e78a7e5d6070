"""States of agents around their actions: compare recorded full states, and apply writes from outside.

`driver.py` calls this; `states.py` finds the first differing field. Replayed objects are never collected. The
last state of an agent that was collected in the recording is compared after its last action and, until it
agrees, after each following one: an object that it shares with others may change later.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from Agent.event.classes import class_name
from Agent.event.model import Event
from Agent.event.pointers import escape, unescape, value_at
from Agent.event.values.content_digest import content_of, whole_digest
from Agent.event.values.digest import leaves_out_secrets
from Agent.event.values.opaque import LARGE_BYTES, OpaqueKind, ReachedObjects
from Agent.event.values.plain import SCALARS
from Agent.flight.checkpoints.state_fold import StateFold
from Agent.record.emit.pipeline import Pipeline
from Agent.record.sources.sources import adoption_of
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import Sort, is_object, read_class_state, read_state, sort_of
from Agent.replay.compare.comparison import NAMES, Difference, Recorded, as_captured, in_payload
from Agent.replay.compare.emitted_events import UNCHANGED
from Agent.replay.compare.folded_values import ABSENT, shown
from Agent.replay.compare.outcome import Divergence, listed
from Agent.replay.drive.judge import ActionJudge
from Agent.replay.drive.player import ReplayContext, divergence_of
from Agent.replay.drive.states import (
    PutBack,
    generators_in,
    is_function,
    remove_fields,
    restorable,
)
from Agent.replay.plan.actions import DrivenAction, Plan, is_outside_write
from Agent.replay.plan.recording import ends_of, members

_MOST_NAMED = 4
_PLACE = "the full state"
_CLASS = "__class__"


# Agents by id, held weakly: a replay that kept agents alive would change programs that release them.
#
# A scheduler with weak references, such as Mesa's, still calls a removed agent while something holds it.


class LivingAgents(Mapping[str, object]):
    """The agents that still exist, by id."""

    def __init__(self) -> None:
        self.lasting: Collection[str] = ()
        """Agents that are kept alive."""
        self._references: dict[str, Callable[[], object]] = {}
        self._held: dict[str, object] = {}

    def add(self, agent_id: str, agent: object) -> Callable[[], object]:
        """Add an agent, and return the reference to it."""
        if agent_id in self.lasting:
            self._held[agent_id] = agent
        reference = self._references[agent_id] = weakly(agent)
        return reference

    def update(self, agents: Mapping[str, object]) -> None:
        """Add agents."""
        for agent_id, agent in agents.items():
            self.add(agent_id, agent)

    def __getitem__(self, agent_id: str) -> object:
        agent = self._references[agent_id]()
        if agent is None:
            raise KeyError(agent_id)
        return agent

    def __iter__(self) -> Iterator[str]:
        return (name for name, reference in list(self._references.items()) if reference() is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def weakly(value: object) -> Callable[[], object]:
    """Return a weak reference to a value; a strong one if its class has only slots."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


class ObjectsSeen:
    """The objects that were seen before, held weakly."""

    def __init__(self) -> None:
        self._references: dict[int, Callable[[], object]] = {}
        """By `id()`, which a later object may reuse."""

    def is_new(self, value: object) -> bool:
        """Add an object, and return whether it is new."""
        known = self._references.get(id(value))
        if known is not None and known() is value:
            return False
        self._references[id(value)] = weakly(value)
        return True


class WholeStates:
    """Compares full states.

    Args:
        put_back: restores fields of an agent's object.
    """

    def __init__(self, context: ReplayContext, put_back: PutBack) -> None:
        self._context = context
        self._class_fields: dict[str, set[str]] = {}
        """{agent: class attributes that equalled the recording before its first action}."""
        self._agreed: dict[str, set[str]] = {}
        """{class: these of the last agent whose first state contains them}; not every first state does."""
        self._classes: dict[str, tuple[str, type]] = {}
        """{agent: the recorded class and its object's class before its first action}."""
        self._put_back = put_back
        self._seen: dict[str, int] = {}
        """{agent: the step after which its full state was last compared}."""
        self._acted: dict[str, tuple[DrivenAction, int]] = {}
        """{agent: (its last ended action, number of actions ended since a full state was compared)}."""
        self._passed: set[str] = set()
        """Agents with an action that no full state follows."""
        self._contents: dict[str, dict[str, str]] = {}
        """{agent: digests of its large fields at the last comparison of a full state}."""

    def compare(self, action: DrivenAction, event: Event, obj: object) -> None:
        """Compare an object with a full state recorded next to an action.

        Raises:
            ReplayStopped: they differ; the outcome names the field.
        """
        if event.extra.get("adopted"):
            self._put_shared(event, obj)
        field_difference = self._difference(action, event, obj)
        self._context.outcome.counts.full_states += 1
        agent_id = str(event.agent_id)
        while field_difference is not None and self._is_untouched(agent_id, field_difference[0], obj):
            self._leave_out(agent_id, field_difference[0])
            field_difference = self._difference(action, event, obj)
        last, count = self._acted.get(agent_id, (None, 0))
        if field_difference is None:
            if last is not None:
                self._seen[agent_id] = last.number
                self._acted[agent_id] = last, 0
                self._contents[agent_id] = _contents_of_large(obj)
            return
        name, difference = field_difference
        since = None
        if last is not None and name in self._context.heavy(obj):
            action = last  # an action since the last full state changed it
            since = self._seen.get(agent_id, 0) if count > 1 else None
        divergence = divergence_of(
            action,
            f"state.{name}",
            difference,
            event_id=event.id,
            agent_id=agent_id,
            place=f"{_PLACE} ({event.extra.get('reason')})",
            tick=action.event.tick,
            since=since,
        )
        if not self._context.comparison.passes_code_from_here(lambda: self._difference(action, event, obj)):
            self._context.player.diverge(divergence)
        self._context.outcome.note_code(name, divergence)

    def _difference(self, action: DrivenAction, event: Event, obj: object) -> tuple[str, Difference] | None:
        return (
            self._context.states.first(event, obj)
            or self._class_difference(action.agent_id, event, obj)
            or self._class_change(action.agent_id, event, obj)
        )

    def ended(self, action: DrivenAction) -> None:
        """Note that an action ended and agreed."""
        known = self._acted.get(action.agent_id)
        if known is not None and known[1]:
            self._passed.add(action.agent_id)
        self._acted[action.agent_id] = action, 1 if known is None else known[1] + 1

    def describe_large(self, divergence: Divergence, obj: object) -> str:
        """Return which large fields may have differed earlier, as only full states have them; "" for none."""
        fields = read_state(obj).fields
        names = [
            name
            for name in sorted(self._context.heavy(obj) & fields.keys())
            if sort_of(type(fields[name])) is not Sort.GENERATOR
        ]
        _, count = self._acted.get(divergence.agent_id, (None, 0))
        if divergence.place.startswith(_PLACE) or not names or not count:
            return ""
        seen = self._seen.get(divergence.agent_id)
        place = "before its first action" if seen is None else f"after step {seen:,}"
        return (
            f"fields over 4 KiB of {divergence.agent_id} ({listed(names, _MOST_NAMED)}) were compared last "
            f"{place}: a change there may have begun before the first difference"
        )

    def _is_untouched(self, agent_id: str, name: str, obj: object) -> bool:
        """Whether a large field is unchanged since its last comparison and no code has changed so far."""
        before = self._contents.get(agent_id, {}).get(name)
        is_same = before is not None and before == _contents_of_large(obj).get(name)
        return is_same and not self._context.outcome.changed_code

    def _leave_out(self, agent_id: str, name: str) -> None:
        self._context.fields.leave_out(agent_id, name)
        self._context.outcome.needs_others = True  # another agent may have changed it
        self._context.outcome.untouched.append(
            f"{agent_id}.{name} differs in a full state, and nothing that was replayed changed it: if the "
            f"program changes it between the actions, do that in a traced action, or --ignore {name}"
        )

    def begin(self, agent_id: str, event: Event, obj: object) -> None:
        """Note the class attributes before the agent's first action; those that differ are not compared."""
        self._contents[agent_id] = _contents_of_large(obj)
        self._classes[agent_id] = str(event.extra.get("class")), type(obj)
        recorded, name = event.extra.get("class_fields"), str(event.extra.get("class"))
        if recorded and self._is_class_live(obj):
            self._agreed[name] = set(recorded) - {each for each, _ in self._class_differences(event, obj)}
        if name in self._agreed:
            self._class_fields[agent_id] = self._agreed[name]

    def _class_difference(self, agent_id: str, event: Event, obj: object) -> tuple[str, Difference] | None:
        names = self._class_fields.get(agent_id)
        if not names:
            return None
        return next(
            (difference for difference in self._class_differences(event, obj) if difference[0] in names), None
        )

    def _class_change(self, agent_id: str, event: Event, obj: object) -> tuple[str, Difference] | None:
        """Return a difference in the class that an agent's actions gave it by `self.__class__ = ...`.

        The class at the beginning may have a different name than the recorded one: the target chooses it.
        """
        if agent_id not in self._classes:
            return None
        recorded, replayed = str(event.extra.get("class")), class_name(type(obj))
        began, cls = self._classes[agent_id]
        one, other = (
            UNCHANGED if is_same else name.rpartition(".")[2]
            for name, is_same in ((recorded, recorded == began), (replayed, type(obj) is cls))
        )
        return None if one == other else (_CLASS, Difference("", one, other))

    def _class_differences(self, event: Event, obj: object) -> Iterator[tuple[str, Difference]]:
        recorded, present = in_payload(event, "class_fields"), read_class_state(type(obj))
        yield from self._context.states.in_fields(str(event.agent_id), recorded, present)

    def _is_class_live(self, obj: object) -> bool:
        """Whether no agent of that class runs elsewhere, whose code could also write to the class."""
        name = type(obj).__qualname__.rpartition(".")[2]
        return not any(
            facts.first_state is not None
            and str(facts.first_state.extra.get("class")).rpartition(".")[2] == name
            for agent_id, facts in self._context.recording.agents.items()
            if agent_id not in self._context.live
        )

    def note_passed(self, agent_id: str, obj: object) -> None:
        """Report the fields that only full states contain, if some of the agent's actions have none."""
        if agent_id in self._passed:
            names = (f"{agent_id}.{name}" for name in sorted(self._context.heavy(obj)))
            self._context.outcome.at_full_states.extend(names)

    def note_unseen(self, agent_id: str, obj: object, last: DrivenAction) -> None:
        """Report the fields that only full states contain, for an agent without one after its last action."""
        if self._seen.get(agent_id) == last.number:
            return
        if large := self._context.heavy(obj):
            self._context.outcome.unseen_at_end[agent_id] = sorted(large)

    def _put_shared(self, event: Event, obj: object) -> None:
        """Restore adopted generators that others draw from to their recorded states: draws are compared."""
        fields = restorable(event, self._context.decoder).fields
        names = {name for name, generator in generators_in(obj) if adoption_of(generator) is not None}
        self._put_back(str(event.agent_id), obj, {name: fields[name] for name in fields.keys() & names})


def _contents_of_large(obj: object) -> dict[str, str]:
    """Return digests of an agent's fields that may be so large that only full states contain them."""
    contents = {}
    for name, value in read_state(obj).fields.items():
        if type(value) not in SCALARS and sort_of(type(value)) is not Sort.GENERATOR:
            content = content_of(value, agent_id_of)
            if content.kind is OpaqueKind.COMPARABLE and content.size_bytes > LARGE_BYTES // 2:
                contents[name] = content.text
    return contents


@dataclass(slots=True, eq=False)
class LastStates:
    """Compares last states."""

    _context: ReplayContext
    _plan: Plan
    _objects: Mapping[str, object]
    """The factory's objects by agent."""
    _nearby: LivingAgents
    """The agents that acted, including those inside others; receives which ones to keep alive."""
    _judge: ActionJudge
    _whole: WholeStates
    """Compares full states at a clean exit."""
    begin: int = field(init=False)
    """Number of the first replayed action after which a last state is due."""
    _from: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """{number of an action: agents whose last state is due after it}."""
    _fields_to_match: dict[str, set[str]] = field(default_factory=dict)
    """{agent collected in the recording: fields that still differ from its last state}."""
    _held: dict[str, dict[str, int]] = field(default_factory=dict)
    """{such an agent: {field: `id()` of its first value}}; the agent may be collected here, too."""

    def __post_init__(self) -> None:
        plan, facts = self._plan, self._context.recording.agents
        for agent_id in plan.gone:
            if agent_id in plan.acted and agent_id in facts and facts[agent_id].lives == 1:
                self._from[plan.acted[agent_id]].append(agent_id)
        self.begin = min(self._from, default=len(plan.actions) + 1)
        # Code that does not run here may have kept some to the end; the others must be compared.
        self._nearby.lasting = {*plan.exits, *(agent_id for agent_id in plan.gone if self._sampled(agent_id))}

    def acts(self, agent_id: str, obj: object) -> None:
        """Note an object that acts for the first time."""
        if agent_id in self._plan.gone:
            self._held[agent_id] = {name: id(value) for name, value in read_state(obj).fields.items()}

    def look(self, number: int) -> None:
        """Compare last states that are due after a replayed action."""
        for agent_id in self._from.pop(number, ()):
            self._fields_to_match[agent_id] = self._late_fields(agent_id)
        for agent_id, names in self._fields_to_match.items():
            if names and self._object(agent_id) is not None:
                names -= {name for name in names if self._difference(agent_id, name) is None}

    def compare(self) -> None:
        """Compare the states at a clean exit, and report fields that could not be compared.

        Raises:
            ReplayStopped: a state differs; the outcome names the field.
        """
        for agent_id in (*self._objects, *self._context.outcome.inside):
            # For agents inside others the last step is that of the run.
            action = self._plan.last.get(agent_id)
            if action is None and agent_id not in self._objects:
                action = self._plan.actions[-1]
            obj = self._object(agent_id)
            if obj is None and self._fields_to_match.get(agent_id):  # it was collected here, too
                self._context.outcome.unseen_ends[agent_id] = sorted(self._fields_to_match[agent_id])
            if obj is None or action is None:
                continue
            self._whole.note_passed(agent_id, obj)
            event, facts = self._plan.exits.get(agent_id), self._context.recording.agents.get(agent_id)
            if agent_id in self._fields_to_match:
                event = self._plan.gone[agent_id]
                self._conclude(agent_id, event)
            elif event is None or facts is None or facts.lives > 1:
                self._whole.note_unseen(agent_id, obj, action)
                continue
            else:
                self._whole.compare(action, event, obj)
            if agent_id in self._objects:
                self._judge.ended(agent_id, is_changed=self._is_changed(agent_id, event))

    def compare_references(self) -> None:
        """Add a question for each object compared by name, unless its final content is the recorded one.

        Used only if code changed: changes by code outside actions are not always repeated.
        """
        context, reached = self._context, ReachedObjects()
        unchecked, same = dict.fromkeys(context.fields.by_name), set[int]()
        differences: dict[tuple[str, str], str] = {}
        for agent_id, event in (*self._plan.gone.items(), *self._plan.exits.items()):
            fields = self._fields(agent_id)
            ends = ends_of(event)
            for name, recorded in ends.items():
                unchecked[agent_id, name] = None
                if recorded is None or name not in fields:
                    continue
                here = whole_digest(
                    fields[name], agent_id_of, context.pipeline.capture.reading.hides, reached
                )
                if here == recorded:
                    same.add(id(fields[name]))
                    context.comparison.agreement.redacted += leaves_out_secrets(recorded)
                elif here is not None:
                    differences[agent_id, name] = "did not end as in the recording"
            for name in event.extra["fields"].keys() - ends.keys():
                unchecked.pop((agent_id, name), None)  # compared as a value
            for name in context.outcome.unseen_ends.get(agent_id, ()):
                unchecked.pop((agent_id, name), None)  # reported already
        for agent_id, name in unchecked:
            if self._identity(agent_id, name) in same or context.fields.is_ignored(agent_id, name):
                continue
            context.outcome.needs_others = True
            what = differences.get((agent_id, name), "cannot be compared at its end")
            context.outcome.ask(
                f"code changed, and what {agent_id}.{name} leads to {what}: replay the whole session in "
                f"its script's directory, or ignore the field: --ignore {name}"
            )

    def _fields(self, agent_id: str) -> Mapping[str, Any]:
        obj = self._object(agent_id)
        return {} if obj is None else read_state(obj).fields

    def _identity(self, agent_id: str, name: str) -> int | None:
        """Return the `id()` of a field's value; if the agent is gone, of its value when it first acted."""
        if self._object(agent_id) is None:
            return self._held.get(agent_id, {}).get(name)
        return id(self._fields(agent_id).get(name))

    def _object(self, agent_id: str) -> object | None:
        obj = self._objects.get(agent_id)
        return self._nearby.get(agent_id) if obj is None else obj

    def _late_fields(self, agent_id: str) -> set[str]:
        """Return the fields of a last state that no action records; the others were compared at actions."""
        return self._sampled(agent_id, self._context.heavy(self._object(agent_id)))

    def _sampled(self, agent_id: str, heavy: Collection[str] = ()) -> set[str]:
        event = self._plan.gone[agent_id]
        fold = StateFold()
        fold.add(event)
        drawn, unseen = event.extra.get("adopted") or {}, event.extra.get("unseen") or ()
        late = event.extra.get("written_late") or ()
        names = ({*fold.sampled, *heavy, *late} & fold.fields.keys()) - {*unseen, *drawn}
        return {name for name in names if name not in fold.unseen or _is_comparable(fold, name)}

    def _difference(self, agent_id: str, name: str) -> Difference | None:
        mark, context = self._context.comparison.mark(), self._context
        event = self._plan.gone[agent_id]
        obj = self._object(agent_id)
        for is_alone in (True, False):  # held objects were read alone, followed ones together
            difference = context.states.first(event, obj, [name], is_alone=is_alone)
            if difference is None:
                return None
            context.comparison.go_back(mark)
        return None if difference is None else difference[1]

    def _conclude(self, agent_id: str, event: Event) -> None:
        """Judge an agent that was collected in the recording."""
        self._context.outcome.counts.full_states += 1
        late = self._context.heavy(self._object(agent_id)) | {*(event.extra.get("unseen") or ())}
        # Objects that the program changes between actions are compared only by name.
        by_name = self._context.recording.agents[agent_id].written_outside
        for name in sorted(late - event.extra["fields"].keys() - by_name):
            is_passed = self._context.fields.leaves_out(agent_id, name)
            if not is_passed and not self._is_held_to_the_end(agent_id, name):
                self._context.outcome.unseen_ends.setdefault(agent_id, []).append(name)
        shared = event.extra.get("shared") or ()
        passed = []
        for name in sorted(self._fields_to_match[agent_id]):
            if name in shared:
                passed.append(name)  # others held it and may have changed it during an action
            elif (difference := self._difference(agent_id, name)) is not None:
                self._differs(agent_id, event, name, difference)
        if passed:
            self._context.outcome.unseen_at_end[agent_id] = passed

    def _is_held_to_the_end(self, agent_id: str, name: str) -> bool:
        """Whether a replayed agent held the object until the end of the run, where it is compared."""
        agents = self._context.recording.agents
        numbers = {number for number, path in agents[agent_id].held.items() if path == name}
        return any(
            other in agents and not numbers.isdisjoint(agents[other].held)
            for other in self._objects.keys() & self._plan.exits.keys()
        )

    def _differs(self, agent_id: str, event: Event, name: str, difference: Difference) -> NoReturn:
        action = self._plan.actions[self._plan.acted[agent_id] - 1]
        self._context.outcome.doubts.append(
            f"changes to {name} of {agent_id} between its last action and its garbage collection are not "
            "recorded; keep it until shutdown_logging()"
        )
        self._context.player.differs(
            action,
            f"state.{name}",
            difference,
            event_id=event.id,
            agent_id=agent_id,
            place="its last state (gone)",
        )

    def _is_changed(self, agent_id: str, event: Event) -> bool:
        """Whether the agent's last state differs from its first."""
        first = self._context.recording.agents[agent_id].first_state
        if first is None:
            return False
        if event.extra.get("reason") != "gone":
            return first.extra.get("digest") != event.extra.get("digest") and self._differ(first, event)
        began, ended = first.extra["fields"], event.extra["fields"]
        return any(began.get(name) != ended[name] for name in self._late_fields(agent_id))

    def _differ(self, first: Event, last: Event) -> bool:
        """Whether two full states differ in more than values that cannot be compared, such as locks."""
        mark = self._context.comparison.mark()
        one, other = (in_payload(each, "fields") for each in (first, last))
        difference = self._context.comparison.difference(one, other, NAMES)
        self._context.comparison.go_back(mark)
        return difference is not None


def _is_comparable(fold: StateFold, name: str) -> bool:
    """Whether values without a codec in a field have a digest of their content."""
    tags, value = fold.tags.get(name, {}), fold.fields[name]
    forms = [value_at(value, pointer) for pointer, tag in tags.items() if tag in {"opaque", "truncated"}]
    return all(type(form) is dict and OpaqueKind.COMPARABLE in form for form in forms)


# Writes to an agent between its actions, where the recording has them, applied where they were made.
#
# Some are made by replayed code, when one replayed agent writes to another. Those recur by themselves, so
# existing values are compared first; `driver.py` calls this when an action begins.

_CHANGED = "/extra/changed"


@dataclass(frozen=True, slots=True, eq=False)
class OutsideWrites:
    """Applies recorded writes, and compares those that replayed code makes."""

    _context: ReplayContext
    _put_back: PutBack
    """Restores fields of an agent's object."""
    _driven: frozenset[str]
    """The agents whose entry actions are replayed."""

    def put_last(self, plan: Plan, objects: Mapping[str, object]) -> None:
        """Compare and apply the writes to agents after their last actions.

        Raises:
            ReplayStopped: replayed code wrote something else.
        """
        for agent_id, action in plan.last.items():
            events = plan.written_last.get(agent_id, ())
            if events:
                self.compare(action, objects[agent_id], events)
            for event in events:
                self.impose(agent_id, event, objects[agent_id])

    def put_ahead(
        self,
        action: DrivenAction,
        objects: Mapping[str, object],
        keeps: Callable[[str], Collection[str]],
        *,
        is_compared: bool = True,
    ) -> None:
        """Apply writes by code outside actions to other agents before this action.

        Args:
            keeps: returns the fields of an agent that stay unchanged.
            is_compared: compare what replayed code wrote there with the recording first.
        """
        for event in action.ahead:
            agent_id = str(event.agent_id)
            if is_compared:
                names = {*event.extra["changed"], *map(str, event.extra.get("unset") or ())}
                self._compare(action, agent_id, objects[agent_id], [event], names)
            self.impose(agent_id, event, objects[agent_id], keeps(agent_id), is_ahead=True)

    def compare(self, action: DrivenAction, obj: object, events: Sequence[Event] | None = None) -> None:
        """Compare what replayed code wrote to an agent since its last action with the recording.

        Args:
            events: the recorded writes; None for those before the action.

        Raises:
            ReplayStopped: it wrote something else.
        """
        if events is None:
            events = [event for event in action.before if is_outside_write(event)]
            self._note_due(action, obj)
        if events or self._context.pipeline.options.strict_state:
            self._compare(action, action.agent_id, obj, events)
        # Otherwise such writes were not recorded; those of replayed code are compared when the action ends.

    def _note_due(self, action: DrivenAction, obj: object) -> None:
        """Request a full state before this action if the recording has one: it shows no later changes."""
        if not any(event.kind == "state" for event in action.before):
            return
        tracker = self._context.tracker(obj)
        if tracker is not None:
            tracker.is_due = True

    def _compare(
        self,
        action: DrivenAction,
        agent_id: str,
        obj: object,
        events: Sequence[Event],
        only: Collection[str] | None = None,
    ) -> None:
        tracker = self._context.tracker(obj)
        if tracker is None or tracker.actions == 0:
            return
        before = tracker.last.copy()
        written, gone = tracker.changes(obj, only)
        is_shared = self._context.pipeline.agents.holders.is_shared
        facts = self._context.recording.agents[agent_id]
        for name, value in list(written.items()):
            if is_object(value, agent_id_of) and (is_shared(value) or name in facts.shared_objects):
                # As in recording: the end of the action shows the changes by others in it.
                del written[name], tracker.last[name]
                if name in before:
                    tracker.last[name] = before[name]
        recorded = {name: event for event in events for name in event.extra["changed"]}
        removed = {str(name): event for event in events for name in event.extra.get("unset") or ()}
        for name in dict.fromkeys((*written, *gone, *recorded, *removed)):
            if name in facts.written_outside and is_object(written.get(name), agent_id_of):
                continue  # the content of such an object is not in the recording
            if self._context.fields.leaves_out(agent_id, name):
                continue
            written_by = (recorded.get(name) or removed.get(name), agent_id)
            if name not in written and name not in gone:
                self._compare_unwritten(action, name, *written_by)
            elif name in recorded or name in removed:
                self._compare_field(action, name, written.get(name, ABSENT), recorded.get(name), *written_by)
            else:
                self._differs(
                    action, name, "<not written>", _shown_field(written, name, self._context.pipeline)
                )

    def impose(
        self, agent_id: str, event: Event, obj: object, keeps: Collection[str] = (), *, is_ahead: bool = False
    ) -> None:
        """Apply writes from outside, except to the fields that the caller keeps.

        Args:
            is_ahead: the next action is one of another agent.
        """
        changed = {
            name: value
            for name, value in event.extra["changed"].items()
            if name not in keeps
            and not (is_function(value) and self._context.fields.leaves_out(agent_id, name))
        }
        types = {
            pointer: tag
            for pointer, tag in (event.types or {}).items()
            if unescape(pointer[len(_CHANGED) + 1 :].partition("/")[0]) in changed
        }
        restored = self._context.decoder.restore(Recorded(changed, types, _CHANGED))
        for unrestored in restored.unrestored:
            name = unescape(unrestored.pointer.removeprefix(f"{_CHANGED}/").partition("/")[0])
            if not self._context.fields.leaves_out(agent_id, name, types.get(f"{_CHANGED}/{escape(name)}")):
                self._context.player.stop(
                    f"a write to {agent_id} from outside cannot be restored: {unrestored}"
                )
            restored.value.pop(name, None)  # such as a queue of futures
        self._put_back(agent_id, obj, restored.value)
        removed = [str(name) for name in event.extra.get("unset") or ()]
        remove_fields(obj, removed)
        names = [*restored.value, *removed]
        by_others = [name for name in names if not self._are_replayed(_writers(event, name))]
        self._context.outcome.imposed.update(f"{agent_id}.{name}" for name in by_others)
        tracker = self._context.tracker(obj)
        is_next = self._context.pipeline.options.strict_state and not is_ahead  # its action reports it
        if tracker is not None and not is_next:
            tracker.changes(obj, names)  # so that they do not count as changes by the action

    def _compare_unwritten(self, action: DrivenAction, name: str, event: Event | None, agent_id: str) -> None:
        """Stop if replayed code did not write a field that it wrote in the recording."""
        writers = _writers(event, name)
        others = self._driven - {agent_id}
        if event is None or not others:
            return
        if self._are_replayed(writers):
            recorded = shown(event.extra["changed"].get(name, "<removed>"))
            self._differs(
                action, name, recorded, "<not written>", f"what {_named(writers)} wrote to {agent_id}"
            )
        elif self._context.outcome.changed_code and (writers is None or not others.isdisjoint(writers)):
            self._context.outcome.ask(
                f"{name} of {agent_id} was written before step {action.number}, perhaps by an action of "
                "another agent; whether changed code writes it is unknown"
            )

    def _are_replayed(self, writers: Sequence[str | None] | None) -> bool:
        """Whether all writers of a field are known and their code runs here."""
        return bool(writers) and self._driven.issuperset(writers or ())

    def _compare_field(
        self,
        action: DrivenAction,
        name: str,
        value: Any,
        recorded: Event | None,
        event: Event | None,
        agent_id: str,
    ) -> None:
        """Stop if replayed code wrote a field with another value than the recorded one."""
        if recorded is not None and value is not ABSENT:
            captured = self._context.pipeline.capture.user_body({name: value}, _CHANGED)
            one, other = (
                in_payload(recorded, "changed").part(name),
                as_captured(captured, _CHANGED).part(name),
            )
            if self._context.comparison.difference(one, other) is None:
                return
        elif recorded is None and value is ABSENT:
            return
        writers = _writers(event, name)
        if writers and len(writers) > 1 and writers[-1] is None:
            return  # code outside actions wrote it again, and its value is applied here
        if self._context.outcome.changed_code or self._are_replayed(writers):
            recorded_text = None if recorded is None else shown(recorded.extra["changed"].get(name, ABSENT))
            here = {} if value is ABSENT else {name: value}
            self._differs(action, name, recorded_text, _shown_field(here, name, self._context.pipeline))
        # A writer that is not replayed may have written it again; the recording does not show which one did.
        self._context.player.stop(
            f"{name} of {agent_id} was written from outside before step {action.number}, and replayed "
            "code also writes it, with a different value"
        )

    def _differs(
        self,
        action: DrivenAction,
        name: str,
        recorded: Any,
        replayed: Any,
        place: str = "what was written to it before the step",
    ) -> None:
        difference = Difference("", recorded, replayed)
        self._context.player.differs(action, f"state.{name}", difference, place=place)


def _writers(event: Event | None, name: str) -> Sequence[str | None] | None:
    """Return the writers of a field, None for code outside actions; None if they are not recorded."""
    names = None if event is None else members(event, "writers").get(name)
    return names if isinstance(names, list) and names else None


def _named(writers: Sequence[str | None] | None) -> str:
    return ", ".join(filter(None, writers or ()))


def _shown_field(written: Mapping[str, Any], name: str, pipeline: Pipeline) -> Any:
    if name not in written:
        return "<removed>"
    captured = pipeline.capture.user_body({name: written[name]}, _CHANGED)
    return shown(as_captured(captured, _CHANGED).value[name])
