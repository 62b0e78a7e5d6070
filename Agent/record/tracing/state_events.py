"""State events: full `state` events, and the `code` and `state` keys of an agent's outermost action."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial
from operator import is_
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import orjson

from Agent.event.classes import by_class
from Agent.event.kinds import HELD, HELD_STATE
from Agent.event.pointers import escape, tags_below, unescape, value_at
from Agent.event.values.content_digest import whole_digest
from Agent.event.values.digest import digest_named, named_digest
from Agent.event.values.opaque import CONTENT, WRITTEN_OUTSIDE, OpaqueKind, refers_elsewhere
from Agent.event.values.plain import has_own_hash, read_json
from Agent.event.values.reading import Named, Places
from Agent.record.emit import installed
from Agent.record.emit.context import current_scope
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.capture import EncodedField, Types
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.large_contents import BYTES_AN_ITEM, MUCH_BYTES
from Agent.record.encode.native import native
from Agent.record.encode.safe_text import clean_head
from Agent.record.state.agent_writes import Found
from Agent.record.state.agents import agent_id_of
from Agent.record.state.generators import WordCount, global_generators
from Agent.record.state.held_objects import GLOBALS, ITSELF
from Agent.record.state.introspection import (
    Sort,
    can_be_held,
    generators_of,
    is_held_by_class,
    is_object,
    is_random_class,
    items_perhaps,
    may_be_held,
    plain_attributes,
    read_state,
    sort_of,
)
from Agent.record.state.plain_data import references_within
from Agent.record.state.tracker import NONE, StateTracker
from Agent.record.tracing.function_facts import CodeIdentity
from Agent.record.tracing.program_state import ProgramState

if TYPE_CHECKING:
    from Agent.record.state.held_objects import HeldObject, Moves
    from Agent.record.state.tracker import Known

_FIELDS = "/extra/fields"
_CHANGED = "/state/set"
_OUTSIDE = "/extra/changed"
_MADE_FROM = (CONTENT, "attributes", "same_as")
_UNCHANGING = frozenset({str, bytes})
Forms = Mapping[str, tuple[Collection[str], bytes]]
"""By field, the attribute names of a small object and its JSON."""
Objects = dict[str, dict[str, Any]]
"""By the name of a field with an object, the attributes of the object that are a `random.Random`."""


def emit_state(
    pipeline: Pipeline, binding: AgentBinding, tracker: StateTracker, obj: object, reason: str
) -> None:
    """Write a full `state` event of an agent; if the agent's own code fails, the failure is reported."""
    of_module: dict[str, Any] | None = None
    try:
        objects: Objects = {}
        attributes = plain_attributes(obj) if reason == "first" else NONE
        if reason == "first":
            _look_at_program(pipeline, binding, obj, attributes)
        if reason == "first" and installed.source_player is None:
            of_module = global_generators(type(obj))
            objects = _objects_in(attributes)
            _adopt_generators(attributes, objects, of_module)
        exposed = read_state(obj)
        if of_module is None or not _are_same(exposed.fields, attributes):
            objects = _objects_in(exposed.fields)
        # An object that another agent held first is encoded in that agent's state, not here.
        adopted = _note_shared(pipeline, binding, tracker, exposed.fields, objects)
        tracker.full(obj, exposed)
    except Exception as error:  # noqa: BLE001 - it is the user's `trace_state`, or a property
        pipeline.health.trouble("reading the state of an agent", error)
        return
    if installed.open_reads is not None:
        for name, generator in (global_generators(type(obj)) if of_module is None else of_module).items():
            place = _adopted_at(generator)
            if place is not None and place.startswith(GLOBALS):  # not a generator that the program adopted
                adopted[f"{GLOBALS}{name}"] = place
    held = pipeline.agents.between.objects.of(obj, exposed.fields, _can_be_held, is_first=reason == "first")
    tracker.held = tuple(dict.fromkeys(held.values())) or None
    for each in held.values():
        each.holder = each.holder or binding
    fields, places = _with_references(exposed.fields, tracker), Places(exposed.fields)
    encoded = {name: each for name, each in tracker.encoded.items() if each.is_whole(fields.get(name))}
    tracker.encoded = NONE
    inner, types = pipeline.capture.user_body(
        fields, _FIELDS, binding.given_id, places, tracker.environments, encoded=encoded
    )
    size_bytes = len(inner) + BYTES_AN_ITEM * places.nodes
    if size_bytes > MUCH_BYTES:
        pipeline.large_states.spend(size_bytes)
    if reason == "first":
        tracker.follow_streams(exposed.fields)
    about = {
        "streams": sorted(tracker.streams) if reason == "first" else [],
        "class": _class_name(type(obj)),
        "handles": list(exposed.handles),
        "ignored": list(exposed.ignored),
        "shared": sorted(tracker.shared),
        "shared_with": tracker.shared,
        "shared_objects": tracker.held_together,
        "written_outside": sorted(tracker.written_outside),
        "outside_content": _outside_content(pipeline, tracker, obj) if reason == "exit" else {},
        "end_content": _end_content(pipeline, exposed.fields, inner) if reason == "exit" else {},
        "adopted": adopted,
        "adopted_at": _places_in_streams(objects, adopted) if reason == "first" else {},
        "held": {name: each.number for name, each in held.items()},
        "held_values": "records" if held else None,
    }
    more = [(b'"init"', *tracker.init)] if reason == "first" and tracker.init is not None else []
    read_class = pipeline.class_fields.at_first if reason == "first" else pipeline.class_fields.body
    class_fields = read_class(type(obj), binding.given_id)
    if class_fields is not None:
        more.append((b'"class_fields"', *class_fields))
    _write_state(pipeline, binding, reason, inner, types, about, (), more)
    if tracker.kept:
        pipeline.agents.look_through_kept()


def _look_at_program(
    pipeline: Pipeline, binding: AgentBinding, obj: object, attributes: Mapping[str, Any]
) -> None:
    """Look at what an agent reaches in the program, before its first action."""
    if pipeline.program_state is None:
        pipeline.program_state = ProgramState(pipeline.capture.reading.hides)
    _look(pipeline, pipeline.program_state.begin, type(obj), attributes, binding.given_id)


def look_at_given(pipeline: Pipeline, arguments: Mapping[str, Any]) -> None:
    """Look at what functions and objects that an action is given reach in the program."""
    if pipeline.program_state is not None:
        _look(pipeline, pipeline.program_state.reach, arguments.values())


def _look(pipeline: Pipeline, look: Callable[..., None], *given: object) -> None:
    try:
        look(*given)
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        pipeline.health.trouble("reading the program's own globals", error)


def _outside_content(pipeline: Pipeline, tracker: StateTracker, obj: object) -> dict[str, str]:
    """Return digests of the agent's own objects that were also changed by code other than its actions."""
    names = tracker.written_outside - tracker.borrowed.keys()
    return tracker.content_digests(obj, names, pipeline.capture.reading.hides) if names else {}


def _end_content(pipeline: Pipeline, fields: Mapping[str, Any], inner: bytes) -> dict[str, str | None]:
    """Return digests of fields that refer to objects, at the end of recording; None for unreadable ones.

    Nothing is restored from them: they show whether another run ended with different objects.
    """
    if b'"reference":' not in inner:
        return {}
    agents, hides = pipeline.agents, pipeline.capture.reading.hides
    return {
        name: whole_digest(fields[name], agent_id_of, hides, agents.reached_at_end)
        for name, shown in read_json(b"{" + inner + b"}").items()
        if name in fields and refers_elsewhere(shown)
    }


def emit_outside(
    pipeline: Pipeline,
    known: Known,
    obj: object,
    only: Collection[str] | None = None,
    *,
    are_written: bool = False,
    is_ahead: bool = False,
) -> None:
    """Write the changes to an agent since its last action ended, made by other code.

    Args:
        only: the fields to check; None for all.
        are_written: whether these fields are known to be written, so that large ones are recorded, too.
        is_ahead: whether the action that begins now is another agent's.
    """
    agents, tracker = pipeline.agents, known.tracker
    if tracker is None:
        return
    lane = pipeline.lane
    if only is not None and lane is not None:
        only = frozenset(only)
        if lane.tell_outside(known, obj, only, are_written, is_ahead):
            return
    is_written = agents.is_written if agents.has_written else None
    changed, gone, objects = tracker.changes_outside(obj, agents.holders.is_shared, is_written, only)
    if are_written and only is not None:
        changed.update(_written_values(pipeline, known, tracker.present(obj), only, objects))
    if not changed and not gone and not objects:
        return
    tracker.watched = tracker.watched.union(changed, gone)
    payload: dict[str, Any] = {"trigger": "outside", "changed": changed}
    if gone:
        payload["unset"] = gone
    if objects:
        payload["objects"] = objects
    writers = agents.between.take_writers(known, obj, [*changed, *gone])
    if writers:
        payload["writers"] = {name: list(agents) for name, agents in writers.items()}
    if is_ahead:
        payload["ahead"] = True
    if pipeline.turns.is_used:
        payload["loop_turn"] = pipeline.turns.next()
    pipeline.emit(known.binding.slot("state_change", 20), "outside", payload)


def _written_values(
    pipeline: Pipeline,
    known: Known,
    present: Mapping[str, Any],
    names: Iterable[str],
    objects: Collection[str],
) -> dict[str, Any]:
    """Return the values of written fields, even those equal to the values at the agent's last action.

    Large fields are included if they can be restored and while the budget `large_bytes_left` lasts.
    """
    tracker, found = known.tracker, dict[str, Any]()
    if tracker is None:
        return found
    wanted = set(names) - tracker.written_outside - tracker.borrowed.keys()
    for name, value in present.items():
        if name not in wanted or name in objects or is_object(value, agent_id_of):
            continue
        if name not in tracker.heavy:
            if name in tracker.last:
                found[name] = value
            continue
        if tracker.large_bytes_left <= 0:
            continue
        body, types = pipeline.capture.user_body({name: value}, _OUTSIDE, known.binding.given_id)
        tracker.large_bytes_left -= len(body)
        if _is_restorable(body, types):
            found[name] = value
    return found


def _is_restorable(body: bytes, types: Types | None) -> bool:
    """Whether every value has a codec, or a description with a key of `_MADE_FROM`, to rebuild it from."""
    lacking = [pointer for pointer, tag in (types or {}).items() if tag in _NO_CODEC]
    value = orjson.loads(b"{" + body + b"}") if lacking else None
    forms = [value_at(value, pointer[len(_OUTSIDE) :]) for pointer in lacking]
    return all(type(form) is dict and not form.keys().isdisjoint(_MADE_FROM) for form in forms)


_can_be_held: Callable[[object], bool] = partial(can_be_held, agent_of=agent_id_of)
if native is not None:
    _can_be_held = native.held_by(is_held_by_class.known, agent_id_of, _can_be_held)


def emit_found(pipeline: Pipeline, binding: AgentBinding, found: Found, held: Collection[HeldObject]) -> None:
    """Write the changes that code outside of actions made since the last action ended.

    Args:
        binding: the agent whose action begins now.
        held: the objects that it holds; others count for the first agent that holds them.
    """
    for known, obj, fields in found.written:
        is_ahead = known.binding is not binding
        emit_outside(pipeline, known, obj, fields, are_written=True, is_ahead=is_ahead)
    moved: dict[AgentBinding, dict[str, Moves]] = {}
    for number, moves in found.moved.items():
        one = pipeline.agents.between.objects.moved_one(number)
        _count_words(pipeline, one, moves)
        if ITSELF in moves:  # a generator, which most often many agents share
            whose = pipeline.binding(None, None, "generators")
        else:
            whose = binding if one in held else one.holder or binding
        moved.setdefault(whose, {})[str(number)] = moves
    for whose, of_one in moved.items():
        pipeline.emit(whose.slot("state_change", 20), "outside", {"trigger": HELD, "moved": of_one})


def _count_words(pipeline: Pipeline, one: HeldObject, moves: Moves) -> None:
    """Replace the states of a `random.Random` by their positions in its stream, which are far shorter."""
    for name, move in moves.items():
        for key in ("first", "now"):
            generator = move.get(key)
            if sort_of(type(generator)) is Sort.GENERATOR and is_random_class(type(generator)):
                try:
                    position = _position(pipeline, one, name, generator)
                except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
                    pipeline.health.trouble("counting what a generator drew", error)
                    continue
                if position is not None:
                    del move[key]
                    move[f"{key}_at"] = position


def _position(pipeline: Pipeline, one: HeldObject, name: str, generator: Any) -> list[Any] | None:
    """Return the event with an earlier state of a generator, the words drawn since, and its spare value."""
    from Agent.record.sources.generators import tell_twister, twin_of  # late: most programs hold none

    count = one.counts.pop(name, None)  # an interrupted count would go on wrongly
    words = None if count is None else count.position_of(generator)
    if count is None or words is None:
        twin = twin_of(generator)
        event_id = tell_twister(pipeline, f"{HELD_STATE}{one.number} {name}".rstrip(), twin)
        if not event_id:
            return None
        count, words = WordCount(twin, event_id), 0
    one.counts[name] = count
    spare = generator.gauss_next
    return [count.event_id, words] if spare is None else [count.event_id, words, spare]


def values_of_many(tracker: StateTracker, present: Mapping[str, Any]) -> list[object]:
    """Return the field values that others may change.

    Generators are left out, which are checked separately, and environments, which are recorded by name only.
    """
    return [
        value
        for name, value in present.items()
        if name not in tracker.environments
        and sort_of(type(value)) is not Sort.GENERATOR
        and (name in tracker.held_together or is_object(value, agent_id_of))
    ]


def emit_gone_states(pipeline: Pipeline, *, is_over: bool = False) -> None:
    """Write the last known state of each agent that was garbage-collected, as far as no action recorded it.

    At the end of recording, it is written of all that were garbage-collected after the last action. These
    events have no scope, because the call that happens to write them is unrelated to the agent.
    """
    gone = pipeline.agents.gone
    token = current_scope.set(None)
    try:
        while gone:
            try:
                known = gone.popleft()
            except IndexError:  # another thread was faster
                break
            try:
                _emit_gone_state(pipeline, known, is_over=is_over)
            except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
                pipeline.health.trouble("the last state of an agent that is gone", error)
    finally:
        current_scope.reset(token)


def _emit_gone_state(pipeline: Pipeline, known: Known, *, is_over: bool) -> None:
    tracker, binding = known.tracker, known.binding
    if tracker is None:
        return
    writes, capture = pipeline.agents.between.writes, pipeline.capture
    late = writes.late(tracker)
    if not (is_over or late or known.has_unrecorded):
        return
    seen = tracker.last_seen(
        lambda last, heavy, forms: capture.judge.noted(last, heavy, forms, _FIELDS), late
    )
    held = [name for name in tracker.heavy & seen.values.keys() if _is_held(seen.values, name)]
    adopted = _note_shared(pipeline, binding, tracker, seen.values, _objects_in(seen.values))
    inner, types = seen.body or capture.joined(
        capture.user_body(seen.values, _FIELDS, binding.given_id), capture.dumped_body(seen.dumped, _FIELDS)
    )
    about = {
        "class": _class_name(tracker.cls),
        "shared": sorted(held),
        "shared_with": tracker.shared,
        "shared_objects": tracker.held_together,
        "written_outside": sorted(tracker.written_outside),
        "written_late": sorted(seen.late),
        "unchecked": is_over and not writes.is_checked(tracker),
        "adopted": adopted,
    }
    _write_state(pipeline, binding, "gone", inner, types, about, seen.unseen, [])


def _holders(values: dict[str, Any], name: str) -> int:
    return sys.getrefcount(values[name])


_OURS = _holders({"": []}, "")


def _is_held(values: dict[str, Any], name: str) -> bool:
    """Whether a mutable value has further references, so that it may have changed after the last check."""
    if type(values[name]) in _UNCHANGING or _holders(values, name) <= _OURS:
        return False
    return _holders(values, name) > _OURS + references_within(values[name])


def _objects_in(fields: dict[str, Any]) -> Objects:
    """Return the names of fields with objects that are not agents, with the generators of each object."""
    return {
        name: generators_of(value)
        for name, value in items_perhaps(fields, _matters.known)
        if _matters(type(value)) and is_object(value, agent_id_of)
    }


@by_class
def _matters(cls: type) -> bool:
    """Whether values of a class may be objects that others change, or generators."""
    return may_be_held(cls) or cls is MethodType or sort_of(cls) is Sort.GENERATOR


def _are_same(fields: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether both have the same objects under the same names."""
    return fields.keys() == others.keys() and all(map(is_, fields.values(), map(others.get, fields)))


def _note_shared(
    pipeline: Pipeline, binding: AgentBinding, tracker: StateTracker, fields: dict[str, Any], objects: Objects
) -> dict[str, str]:
    """Update the tracker's shared objects and generators; return {field: place} of adopted generators."""
    adopted: dict[str, str] = {}
    places: dict[int, str | None] = {}  # objects often share one generator
    agent_id = str(binding.agent_id)
    note = pipeline.agents.holders.note
    borrowed = {}
    for name, value in items_perhaps(fields, _matters.known):
        kind = type(value)
        if type(kind) is not type and has_own_hash(kind):
            continue
        is_generator = name not in objects and sort_of(kind) is Sort.GENERATOR
        if is_generator:
            if installed.open_reads is not None and (place := _adopted_at(value)) is not None:
                adopted[name] = place
        elif name in objects:
            for attribute, generator in objects[name].items():
                if id(generator) not in places:
                    places[id(generator)] = _adopted_at(generator)
                if (place := places[id(generator)]) is not None:
                    adopted[f"{name}.{attribute}"] = place
        else:
            continue
        first, other = note(value, agent_id)
        if other is None:
            continue
        if is_generator:
            tracker.shared = {**tracker.shared, name: other}
            continue
        if tracker.held_together.get(name) != other:
            tracker.held_together = {**tracker.held_together, name: other}
        if first != agent_id:
            borrowed[name] = weakref.ref(value)
    tracker.borrowed = borrowed or NONE
    return adopted


def _adopt_generators(attributes: Mapping[str, Any], objects: Objects, of_module: Mapping[str, Any]) -> None:
    """Record draws from generators of objects in an agent's attributes, and of the module of its class.

    Other holders of the same object, such as a model, and untraced code may draw from them, too, so that no
    agent's state determines their position.
    """
    if not of_module and not any(objects.values()):
        return
    sources = _sources()
    last = None
    for name, generators in objects.items():
        for attribute, generator in generators.items():
            if generator is not last and sources.adoption_of(generator) is None:
                sources.adopt_held(generator, f"{type(attributes[name]).__qualname__}.{attribute}")
            last = generator
    for name, generator in of_module.items():
        sources.adopt_held(generator, f"{GLOBALS}{name}")


def _with_references(fields: dict[str, Any], tracker: StateTracker) -> dict[str, Any]:
    """Replace objects that others change, or that another agent held first, by references."""
    if not tracker.borrowed and not tracker.written_outside:
        return fields
    named = {
        name: Named(fields[name], f"shared with {tracker.held_together[name]}") for name in tracker.borrowed
    }
    for name in tracker.written_outside & fields.keys():
        if is_object(fields[name], agent_id_of):
            named[name] = Named(fields[name], WRITTEN_OUTSIDE)
    return {**fields, **named}


def _write_state(
    pipeline: Pipeline,
    binding: AgentBinding,
    reason: str,
    inner: bytes,
    types: Types | None,
    about: dict[str, Any],
    hidden: Iterable[str],
    more: list[tuple[bytes, bytes, Types | None]],
) -> None:
    """Write a `state` event.

    Args:
        inner: the JSON of the fields without its braces, with its tags in `types`.
        about: further payload; empty values are left out.
        hidden: names of fields whose values could not be kept.
        more: further mappings, each with its key, its JSON without braces, and its tags.
    """
    found = None if native is None else native.named_form(inner, types, _FIELDS)
    if found is not None:
        digest, about["opaque"], about["unseen"] = named_digest(found[0]), found[1], sorted(hidden)
    else:
        fields = read_json(b"{" + inner + b"}")
        digest = digest_named(fields, tags_below(types, _FIELDS), raw=inner)
        opaque, unseen = _fields_without_codec(fields, types)
        about["opaque"], about["unseen"] = sorted(opaque), sorted({*hidden, *unseen})
    if pipeline.turns.is_used:
        about["loop_turn"] = pipeline.turns.next()
    rest = {name: value for name, value in about.items() if value}
    payload = {"reason": reason, "digest": digest, **rest}
    for _, _, tags in more:
        types = {**(types or {}), **(tags or {})} or None
    slot, label, lane = binding.slot("state", 20), f"State of {binding.agent_id} ({reason})", pipeline.lane
    if lane is not None and lane.emit_state(slot, label, inner, types, payload, more):
        return
    said, _ = pipeline.capture.body(payload)
    body = b'"fields":{' + inner + b"}," + said
    for key, further, _ in more:
        body += b"," + key + b":{" + further + b"}"
    pipeline.emit(slot, label, body=body, types=types)


def _class_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _places_in_streams(objects: Objects, adopted: Collection[str]) -> dict[str, str]:
    """Return the stream positions of adopted generators in objects; digests of the objects exclude them."""
    found: dict[str, str] = {}
    if not adopted:
        return found
    from Agent.record.sources.generators import place_in_stream  # late: most programs hold no generators

    positions: dict[int, str] = {}  # objects often share one generator
    for name, held in objects.items():
        for attribute, generator in held.items():
            place, identity = f"{name}.{attribute}", id(generator)
            if place not in adopted:
                continue
            if identity not in positions:
                positions[identity] = place_in_stream(generator)
            if positions[identity]:
                found[place] = positions[identity]
    return found


def _adopted_at(generator: object) -> str | None:
    """Return the place that identifies an adopted generator; None if it is not adopted."""
    adopted = _sources().adoption_of(generator)
    return None if adopted is None else adopted.place


@cache
def _sources() -> ModuleType:
    """Return the module that adopts generators, which is loaded late: most programs hold none."""
    from Agent.record.sources import sources

    return sources


def changes_tail(
    pipeline: Pipeline,
    tracker: StateTracker,
    obj: object,
    code: CodeIdentity,
    present: Mapping[str, Any] | None = None,
) -> tuple[bytes, Types | None]:
    """Return the bytes `,"code":...,"state":{...}` of an action that ends, and the tags of changed values.

    Args:
        present: the current fields, if they were read already.
    """
    tail, types = _tail_of_fields(pipeline, tracker, obj, code, present)
    if not tracker.streams or tail is code.tail:  # it has no state if that could not be read
        return tail, types
    return with_draws(pipeline, tracker, obj, tail), types


def with_draws(pipeline: Pipeline, tracker: StateTracker, obj: object, tail: bytes) -> bytes:
    """Add to such bytes where an action left the generators in its agent's fields that it drew from."""
    drew = tracker.drawn(obj)
    if not drew:
        return tail
    positions = {clean_head(name, pipeline.redactor.text): position for name, position in drew.items()}
    return b'%s,"drew":%s}' % (tail[:-1], orjson.dumps(positions))


def _tail_of_fields(
    pipeline: Pipeline,
    tracker: StateTracker,
    obj: object,
    code: CodeIdentity,
    present: Mapping[str, Any] | None,
) -> tuple[bytes, Types | None]:
    changed, gone = tracker.changes(obj, present=present)
    forms, encoded = tracker.forms, tracker.encoded
    if forms or encoded:
        tracker.forms = tracker.encoded = NONE
    if tracker.heavy and tracker.actions <= pipeline.options.probes:
        tracker.probe(obj)
    elif tracker.probed:
        tracker.probed = NONE  # the number of probed actions is reached
    if tracker.failure is not None:
        failure, tracker.failure = tracker.failure, None
        pipeline.health.trouble("reading the state of an agent", failure)
        return code.tail, None
    if not changed and not gone:
        return code.tail_unchanged, None
    return tail_of_changes(pipeline, tracker, obj, code, changed, gone, forms, encoded)


def tail_of_changes(
    pipeline: Pipeline,
    tracker: StateTracker,
    obj: object,
    code: CodeIdentity,
    changed: dict[str, Any],
    gone: list[str],
    forms: Forms | None = None,
    encoded: Mapping[str, EncodedField] | None = None,
) -> tuple[bytes, Types | None]:
    """Return the same bytes and tags for fields that are known to have changed, or to be gone.

    Args:
        forms: objects among them that the comparison has already encoded.
        encoded: other values that it has encoded.
    """
    raw = pipeline.capture.judge.value(changed) if not forms else None
    if raw is not None and pipeline.capture.judge.clean(raw):
        unset = _names(pipeline, gone) if gone else b"[]"
        return b'%s,"state":{"set":%s,"unset":%s}' % (code.tail, raw, unset), None
    body, types = b"", None
    known = _encoded(pipeline, changed, forms) if forms else None
    if known is not None:
        body, types = known
    elif changed:
        places = Places(tracker.present(obj))
        body, types = pipeline.capture.user_body(changed, _CHANGED, places=places, encoded=encoded)
    unset = _names(pipeline, gone)
    return b'%s,"state":{"set":{%s},"unset":%s}' % (code.tail, body, unset), types


def _encoded(pipeline: Pipeline, changed: dict[str, Any], forms: Forms) -> tuple[bytes, Types] | None:
    """Return the inner JSON of the fields, reusing `forms`; None if one is not plain or may hold a secret."""
    capture = pipeline.capture
    if not capture.redactor.keys_pass(changed):
        return None
    parts, types = [], {}
    for name, value in changed.items():
        if name in forms:
            attributes, raw = forms[name]
            if not capture.redactor.is_harmless(attributes, raw):
                return None
            parts.append(orjson.dumps(name) + b":" + raw)
            types[f"{_CHANGED}/{escape(name)}"] = "opaque"
        else:
            alone = capture.judge.value({name: value})
            if alone is None or not capture.judge.clean(alone):
                return None
            parts.append(alone[1:-1])
    return b",".join(parts), types


def _names(pipeline: Pipeline, names: list[str]) -> bytes:
    return orjson.dumps([clean_head(name, pipeline.redactor.text) for name in names]) if names else b"[]"


def _fields_without_codec(fields: Any, types: Types | None) -> tuple[set[str], set[str]]:
    """Return the names of fields that cannot be restored, and the subset whose content is not visible."""
    opaque, unseen = set(), set()
    for pointer, tag in (types or {}).items():
        if tag not in _NO_CODEC or not pointer.startswith(f"{_FIELDS}/"):
            continue
        below = pointer[len(_FIELDS) :]
        name = unescape(below[1:].partition("/")[0])
        opaque.add(name)
        form = value_at(fields, below)
        if type(form) is not dict or OpaqueKind.UNSEEN in form:
            unseen.add(name)
    return opaque, unseen


_NO_CODEC = frozenset({"opaque", "truncated"})


def emit_last_states(pipeline: Pipeline) -> None:
    """Write the final state of every agent, living or garbage-collected, at the end of recording."""
    are_any_gone = bool(pipeline.agents.gone)
    emit_gone_states(pipeline, is_over=True)
    pipeline.class_fields.end()
    for known, obj in pipeline.agents.living():
        if known.tracker is not None:
            if pipeline.options.entry_looks:
                emit_outside(pipeline, known, obj)
            held = known.tracker.held
            if held is not None:
                moved = pipeline.agents.between.objects.begins(held, is_over=True)
                pipeline.agents.between.objects.ended(held, is_last=True)
                emit_found(pipeline, known.binding, Found(moved, []), held)
            emit_state(pipeline, known.binding, known.tracker, obj, "exit")
    if pipeline.program_state is not None:
        try:
            pipeline.program_payload = pipeline.program_state.payload(installed.asked_of_program)
            if are_any_gone:  # what the script did to them after the last action is not recorded
                pipeline.program_payload |= pipeline.program_state.script_payload()
        except Exception as error:  # noqa: BLE001 - as above
            pipeline.health.trouble("reading the program's own globals", error)
