"""An agent's state in a replay: select fields, restore them, read them as recording does, and compare.

`driver.py` calls this where the recording has a full state: before the first action, at intervals, on errors
and at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import orjson

from Agent.event.classes import attributes_of, remove_attributes, restore_attributes
from Agent.event.model import Event
from Agent.event.pointers import escape, unescape, value_at
from Agent.event.values.codecs import is_plain_class
from Agent.event.values.content_digest import generators_counted
from Agent.event.values.opaque import WRITTEN_OUTSIDE, OpaqueKind
from Agent.event.values.reading import Places
from Agent.event.values.values import to_json
from Agent.record.emit.pipeline import Pipeline
from Agent.record.sources.generators import place_in_stream
from Agent.record.state.agents import agent_id_of
from Agent.record.state.generators import generators_in_fields, is_seen
from Agent.record.state.introspection import (
    Sort,
    generators_of,
    plain_attributes,
    read_state,
    restore_state,
    sort_of,
)
from Agent.replay.compare.comparison import (
    Agreement,
    Comparison,
    Difference,
    Recorded,
    as_captured,
    in_payload,
)
from Agent.replay.compare.folded_values import ABSENT, is_tag_of_generator, shown_beside
from Agent.replay.compare.outcome import ReplayOutcome, add_new
from Agent.replay.compare.python_text import python_path
from Agent.replay.plan.recording import AgentFacts, members
from Agent.replay.plan.target import Decoder

_FIELDS = "/extra/fields"
_MAX_DEPTH = 6


_MAX_HELD_DEPTH = 8
_PLACED = (dict, list, deque)
"""Containers in which a value can be replaced."""


class RestorableState(NamedTuple):
    """A recorded full state as Python values."""

    fields: dict[str, Any]
    """The fields, except those that hold another agent, which the factory has to set."""
    lacking: list[str]
    """Names of fields that cannot be restored."""
    is_redacted: bool
    """Whether secrets in it were replaced by tokens."""


def restorable(event: Event, decoder: Decoder) -> RestorableState:
    """Return the restorable part of a full state."""
    types = event.types or {}
    fields: dict[str, Any] = {}
    lacking: list[str] = []
    is_redacted = False
    for name, value in members(event, "fields").items():
        pointer = f"{_FIELDS}/{escape(name)}"
        if types.get(pointer) == "agent":
            continue
        restored = decoder.restore(Recorded(value, types, pointer))
        is_redacted = is_redacted or restored.is_redacted
        if restored.unrestored:
            lacking.append(name)
        else:
            fields[name] = restored.value
    return RestorableState(fields, lacking, is_redacted)


def put_back(obj: object, fields: Mapping[str, Any], shared: SharedValues | None = None) -> None:
    """Restore fields; all others stay unchanged, even if the class restores its state as a whole.

    Args:
        shared: tracks the replacements of values that others hold as well.
    """
    present = read_state(obj).fields
    if shared is not None:
        fields = shared.fitted(present, fields)
    # Keep an existing string object: recording recognises an agent by the `id()` of its id string.
    unchanged = {
        name: value
        for name, value in present.items()
        if name not in fields or (type(value) is type(fields[name]) is str and value == fields[name])
    }
    restore_state(obj, {**fields, **unchanged})


def remove_fields(obj: Any, names: list[str]) -> None:
    """Delete the attributes that a write from outside deleted."""
    for name in names:
        with suppress(AttributeError):  # already deleted; a remaining one shows as a difference of states
            delattr(obj, name)


def _put_stand_in(event: Event, obj: object, name: str, outcome: ReplayOutcome) -> bool:
    form = event.extra["fields"].get(name)
    if not is_function(form) or read_state(obj).fields.get(name, obj) is not None:
        return False
    what = f"{name} of {event.agent_id}, {form['repr']}"
    outcome.remark(f"{what}: the factory made None; a function that does nothing replaces it")
    outcome.ignored.append(f"{event.agent_id}.{name}")

    def stand_in(*_args: Any, **_kwargs: Any) -> None:
        doubt = f"{what}, was called, and its effect is not replayed: set it in the factory"
        add_new(outcome.doubts, doubt)
        if outcome.changed_code:
            outcome.ask(doubt)

    try:
        setattr(obj, name, stand_in)
    except (AttributeError, TypeError):
        return False
    return True


def is_function(form: object) -> bool:
    """Whether the JSON form describes a function that no codec restores."""
    return isinstance(form, dict) and form.get("class") == "builtins.function"


PutBack = Callable[[str, object, Mapping[str, Any]], None]
"""Restores fields of an agent's object, by `put_back`."""
FieldDifference = tuple[str, Difference]
"""The name of a field, and how it differs."""


@dataclass(frozen=True, slots=True)
class StateComparison:
    """Compares states of objects with recorded ones, field by field."""

    pipeline: Pipeline
    comparison: Comparison
    rules: FieldRules
    """Which fields are compared; receives what could not be compared."""

    def first(
        self, event: Event, obj: object, names: Collection[str] | None = None, *, is_alone: bool = False
    ) -> FieldDifference | None:
        """Return the first field in which an object's state differs from a recorded full state, or None."""
        return next(self.differences(event, obj, names, is_alone=is_alone), None)

    def first_beyond_functions(
        self, event: Event, obj: object, outcome: ReplayOutcome
    ) -> FieldDifference | None:
        """Return the first field in which an object's state differs from its first recorded state, or None.

        Functions that the program set on the object but the factory did not are replaced by stubs and not
        compared.
        """
        while True:
            difference = self.first(event, obj)
            if difference is None or not _put_stand_in(event, obj, difference[0], outcome):
                return difference
            self.rules.leave_out(str(event.agent_id), difference[0])

    def differences(
        self, event: Event, obj: object, names: Collection[str] | None = None, *, is_alone: bool = False
    ) -> Iterator[FieldDifference]:
        """Yield the fields in which an object's state differs from a recorded full state.

        Args:
            names: the fields to compare; None for all.
            is_alone: whether each field was recorded with everything that it holds, as for a collected agent.
        """
        fields = read_state(obj).fields
        places = None if is_alone else Places(fields)
        if names is not None:
            fields = {name: value for name, value in fields.items() if name in names}
        yield from self.in_fields(str(event.agent_id), in_payload(event, "fields"), fields, names, places)

    def in_fields(
        self,
        agent_id: str,
        recorded: Recorded,
        fields: Mapping[str, Any],
        names: Collection[str] | None = None,
        places: Places | None = None,
    ) -> Iterator[FieldDifference]:
        """Yield the fields in which recorded values and those of an object differ.

        Args:
            fields: the object's fields.
            names: as for `differences`.
            places: positions of objects in all fields of the object, if these are its fields.
        """
        pointer, rules = recorded.pointer, self.rules
        present = as_captured(self.pipeline.capture.user_body(fields, pointer, agent_id, places), pointer)
        if not isinstance(recorded.value, dict):
            yield "", Difference("", *shown_beside(recorded.value, present.value))
            return
        for name in sorted(recorded.value.keys() | present.value.keys() if names is None else names):
            sides = [each.part(name) for each in (recorded, present) if name in each.value]
            is_on_both = len(sides) == len((recorded, present))
            if rules.leaves_out(agent_id, name, *(each.types.get(each.pointer) for each in sides)):
                is_shared = is_on_both and rules.is_shared(agent_id, name)
                if is_shared and self.comparison.difference(sides[0], sides[1]) is not None:
                    rules.doubt_shared(agent_id, name)
            elif not is_on_both:
                one, other = (each.value.get(name, ABSENT) for each in (recorded, present))
                yield name, Difference("", *shown_beside(one, other))
            else:
                difference, agreed = self.comparison.compare(sides[0], sides[1])
                rules.note(agent_id, name, agreed)
                if difference is not None:
                    yield name, difference


def place_in(event: Event, name: str, difference: Difference) -> str:
    """Return the place of a difference inside a field of a full state as a Python expression."""
    at = f"{_FIELDS}/{escape(name)}"
    return python_path(difference.path, event.extra["fields"].get(name), event.types, at, name)


def is_of_names(difference: Difference) -> bool:
    """Whether both sides are module-level names: functions, classes or modules.

    A lambda, a local function or a method may be a factory's substitute for the real one.
    """
    return all(
        str(side).startswith(_OF_NAMES) and "<lambda>" not in str(side) and "<locals>" not in str(side)
        for side in (difference.recorded, difference.replayed)
    )


_OF_NAMES = ("<function ", "<class ", "<module ", "class ", "module ")


def is_generator(event: Event, name: str) -> bool:
    """Whether a field of a full state holds a random generator."""
    tag = (event.types or {}).get(f"{_FIELDS}/{escape(name)}", "")
    return is_tag_of_generator(tag)


def agents_in(obj: object) -> dict[str, object]:
    """Return {id: agent} for the agents in an object's fields, including those inside containers."""
    agents: dict[str, object] = {}
    seen: dict[int, int] = {}
    for value in read_state(obj).fields.values():
        _find_agents(value, _MAX_DEPTH, agents, seen)
    return agents


def _find_agents(value: Any, depth: int, agents: dict[str, object], seen: dict[int, int]) -> None:
    if is_seen(value, depth, seen):
        return
    kind = type(value)  # `isinstance` reads `__class__`, which would create a lazy object
    if issubclass(kind, Mapping):
        items: Iterable[Any] = (*value.values(), *value.keys())
    elif issubclass(kind, (list, tuple, set, frozenset, deque)):
        items = value
    elif sort_of(kind) is Sort.UNKNOWN:
        agent_id = agent_id_of(value)
        if agent_id is not None:
            agents.setdefault(agent_id, value)
        return
    else:
        return
    for item in items if depth else ():
        _find_agents(item, depth - 1, agents, seen)


def generators_in(
    obj: object, rules: FieldRules | None = None, agent_id: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield (field, generator) for the generators in an object's exposed state.

    Args:
        rules: also yield generators inside objects in its fields whose state is compared.
    """
    fields = read_state(obj).fields
    for place, generator in generators_in_fields(fields):
        yield place.partition("#")[0], generator
    if rules is None:
        return
    for name, value in fields.items():
        if sort_of(type(value)) is Sort.UNKNOWN and not rules.leaves_out(agent_id, name):
            yield from ((name, generator) for generator in generators_counted(value, agent_id_of))


class SharedValues:
    """Replaces values of the target's objects by recorded ones, for all agents of one replay."""

    def __init__(self) -> None:
        self._instead: dict[int, tuple[Any, Any]] = {}
        """{id: (an object of the target, its replacement)}."""
        self._taken: dict[int, tuple[Any, Any]] = {}
        """{id: (a recorded object, the target's object that took its attributes)}; others may refer to it."""

    def fitted(self, present: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recorded fields, with the target's objects kept where they are equal already."""
        return {
            name: self._fitted(present[name], value, _MAX_HELD_DEPTH) if name in present else value
            for name, value in fields.items()
        }

    def _fitted(self, present: Any, value: Any, depth: int) -> Any:
        if present is value and agent_id_of(value) is not None:
            return value  # without a reference, which would keep it alive
        kind = type(value)
        taken = self._taken.get(id(value))
        if taken is not None:
            return taken[1]
        if type(present) is not kind or not _can_be_shared(kind):
            return value
        known = self._instead.get(id(present))
        if known is not None and _look_alike(known[1], value):
            return known[1]
        if _look_alike(present, value):
            if is_plain_class(kind):
                self._instead.setdefault(id(present), (present, present))
            return present
        if depth and known is None and is_plain_class(kind):
            return self._filled(present, value, depth - 1)
        if depth:
            self._fit_items(present, value, depth - 1)
        self._instead.setdefault(id(present), (present, value))
        return value

    def _filled(self, present: Any, value: Any, depth: int) -> Any:
        """Set the recorded attributes on the target's object, so that all its other holders see them."""
        self._instead[id(present)] = present, present
        self._taken[id(value)] = value, present
        before, after = attributes_of(present), attributes_of(value)
        fitted = {
            name: self._fitted(before[name], item, depth) if name in before else item
            for name, item in after.items()
        }
        remove_attributes(present, before.keys() - after.keys())
        restore_attributes(present, fitted)
        return present

    def _fit_items(self, present: Any, value: Any, depth: int) -> None:
        if issubclass(type(value), dict):
            for key in value.keys() & present.keys():
                value[key] = self._fitted(present[key], value[key], depth)
        elif issubclass(type(value), _PLACED):
            for index, (one, other) in enumerate(zip(present, value, strict=False)):
                value[index] = self._fitted(one, other, depth)


def held_together(objects: Mapping[str, object]) -> list[dict[str, str]]:
    """Return {agent: field that holds or contains it} for each object that several agents share."""
    holders: dict[int, dict[str, str]] = {}
    alive: list[Any] = []  # keeps the objects alive, so that no `id()` is reused
    for agent_id, obj in objects.items():
        fields = read_state(obj).fields
        alive.append(fields)
        seen: dict[int, int] = {}
        for name, value in fields.items():
            _find_holders(value, (agent_id, name), holders, _MAX_HELD_DEPTH, seen)
    return [each for each in holders.values() if len(each) > 1]


def _find_holders(
    value: Any, place: tuple[str, str], holders: dict[int, dict[str, str]], depth: int, seen: dict[int, int]
) -> None:
    if not _can_be_shared(type(value)) or agent_id_of(value) is not None or is_seen(value, depth, seen):
        return
    agent_id, name = place
    holders.setdefault(id(value), {}).setdefault(agent_id, name)
    kind = type(value)
    items = value.values() if issubclass(kind, dict) else value if issubclass(kind, _PLACED) else ()
    for item in items if depth else ():
        _find_holders(item, place, holders, depth - 1, seen)


def _can_be_shared(kind: type) -> bool:
    """Whether the identity of a value matters; generators are restored in place."""
    return issubclass(kind, (*_PLACED, set, bytearray)) or sort_of(kind) in {Sort.ARRAY, Sort.UNKNOWN}


def _look_alike(one: Any, other: Any) -> bool:
    """Whether both would be recorded in the same way."""
    left, right = (to_json(value, "", agent_of=agent_id_of) for value in (one, other))
    if left.json != right.json or left.types != right.types:
        return False
    forms = [orjson.loads(left.json)] if left.opaque else []
    return all(OpaqueKind.COMPARABLE in (value_at(forms[0], pointer) or ()) for pointer in left.opaque)


# The fields of agents that a replay compares, and findings about fields that it cannot compare.
#
# A field is left out if the user named it, or if it holds an object that something outside the replay
# changes: an agent whose code does not run, or the program between the actions. A plain value in such a field
# is compared.

SHARED = "shared with agents that do not run"


class FieldRules:
    """The rules for the fields of one replay; findings go into the outcome.

    Args:
        ignore: patterns of names, `field` or `agent.field`.
    """

    def __init__(self, outcome: ReplayOutcome, ignore: Collection[str] = ()) -> None:
        self._outcome = outcome
        self._ignore = tuple(ignore)
        self._elsewhere: Mapping[str, Mapping[str, str]] = {}
        self._known: dict[tuple[str, str], bool] = {}
        self._streams: set[int] = set()
        self.by_name: dict[tuple[str, str], None] = {}
        """(agent, field) pairs with an object that was compared only by name."""

    def begin(self, facts: Mapping[str, AgentFacts], live: frozenset[str]) -> None:
        """Note which agents share objects.

        Args:
            live: the agents whose code runs.
        """
        self._elsewhere = _held_elsewhere(facts, live)
        self._known.clear()

    def leaves_out(self, agent_id: str, name: str, *tags: str | None) -> bool:
        """Whether a field is not compared.

        Args:
            tags: the type tags of its values, if known: other agents can change only objects.
        """
        return self.is_ignored(agent_id, name) or self._is_elsewhere(agent_id, name, tags)

    def is_ignored(self, agent_id: str, name: str) -> bool:
        """Whether the program or the caller ignores a field, or `leave_out` excluded it."""
        key = agent_id, name
        if key not in self._known:
            full = f"{agent_id}.{name}"
            self._known[key] = any(
                fnmatchcase(name, each) or fnmatchcase(full, each) for each in self._ignore
            )
            if self._known[key]:
                add_new(self._outcome.ignored, full)
        return self._known[key]

    def leave_out(self, agent_id: str, name: str) -> None:
        """Stop comparing a field; the caller reports that."""
        self._known[agent_id, name] = True

    def _is_elsewhere(self, agent_id: str, name: str, tags: Collection[str | None]) -> bool:
        why = self._elsewhere.get(agent_id, {}).get(name)
        if why is None:
            return False
        self._note_by_name(agent_id, name, why)
        return all(
            tag is not None and (tag == "opaque" or tag.startswith("queue:") or is_tag_of_generator(tag))
            for tag in tags
        )

    def streams_made_otherwise(self, agent_id: str, first: Event, obj: object) -> list[str]:
        """Return the adopted generators inside fields whose state differs from the first recorded one."""
        differences, fields = [], plain_attributes(obj)
        for name, place in (first.extra.get("adopted_at") or {}).items():
            field, _, attribute = name.partition(".")
            generator = generators_of(fields.get(field)).get(attribute)
            if generator is None or id(generator) in self._streams:
                continue  # a shared generator advances during the replay
            self._streams.add(id(generator))
            if place_in_stream(generator) != place:
                description = f"the random generator {name} in another state; the recorded draws are used"
                differences.append(f"{agent_id}: factory made {description}")
        return differences

    def is_shared(self, agent_id: str, name: str) -> bool:
        """Whether a field is left out because agents whose code does not run share its object."""
        return not self._known.get((agent_id, name)) and self._elsewhere.get(agent_id, {}).get(name) == SHARED

    def doubt_shared(self, agent_id: str, name: str) -> None:
        """Add a doubt about such a field: others, or the code that ran, may have changed it."""
        self._outcome.needs_others = True
        self._outcome.reason(
            f"{agent_id}.{name} differs from the recording, and agents that do not run share it: replay the "
            f"whole session, or ignore the field: --ignore {name}"
        )

    def kept(
        self, agent_id: str, fields: Mapping[str, Any], types: Mapping[str, str], pointer: str
    ) -> dict[str, Any]:
        """Return the fields that are compared; their tags are in `types` below the pointer."""
        return {
            name: value
            for name, value in fields.items()
            if not self.leaves_out(agent_id, name, types.get(f"{pointer}/{escape(name)}"))
        }

    def note(self, agent_id: str, name: str, agreement: Agreement) -> None:
        """Report values of one field that could not be seen, or were compared only by name."""
        self._note(agent_id, agreement, lambda _path: name)

    def note_state(self, agent_id: str, agreement: Agreement) -> None:
        """Report the same for a comparison of changed fields; pointers begin with `/set/<field>`."""
        self._note(agent_id, agreement, lambda path: unescape(path.removeprefix("/set/").partition("/")[0]))

    def _note(self, agent_id: str, agreement: Agreement, name_of: Callable[[str], str]) -> None:
        for path, why in agreement.unseen.items():
            self._outcome.unseen_fields.setdefault(f"{agent_id}.{name_of(path)}", why)
        for path, text in agreement.references.items():
            if text.startswith(("environment ", WRITTEN_OUTSIDE)):
                self._note_by_name(agent_id, name_of(path), text)
        for path, kind in agreement.handles.items():
            add_new(self._outcome.handles, f"{agent_id}.{name_of(path)} ({kind})")

    def _note_by_name(self, agent_id: str, name: str, why: str) -> None:
        self.by_name[agent_id, name] = None
        add_new(self._outcome.references, f"{agent_id}.{name} ({why})")

    def note_value(self, what: str, agreement: Agreement) -> None:
        """Report the same for another value, such as a result; an unseen one is inconclusive."""
        for path, why in agreement.unseen.items():
            at = f" at {path}" if path else ""
            self._outcome.reason(f"{what}{at} cannot be seen: {why}")


def _held_elsewhere(facts: Mapping[str, AgentFacts], live: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return {agent: {field: reason}} for the fields with an object that something else may change."""
    running = frozenset(live)
    held: dict[str, dict[str, str]] = {}
    for agent_id, fact in facts.items():
        why = dict.fromkeys(sorted(fact.written_outside | fact.queues_outside), WRITTEN_OUTSIDE)
        for name, others in fact.shared_objects.items():
            if others - running:
                why[name] = SHARED
        if why:
            held[agent_id] = why
    return held
