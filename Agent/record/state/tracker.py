"""An agent's state over time: the fields that an entry action changed, and full states in between.

A tracker reads the state once, when an action of its agent ends. Immutable values are compared directly,
other values by their JSON bytes, and large fields and generators only at full states. Large fields of plain
data are kept, so that they can be recorded after the agent was garbage-collected.
"""

from __future__ import annotations

import json
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import orjson

from Agent.event.classes import MOST_CLASSES, attribute_or_none
from Agent.event.limits_of_time import pass_on
from Agent.event.values.arrays import is_cut_array, number_tag, small_array
from Agent.event.values.class_contents import is_over_memory
from Agent.event.values.codecs import is_queue
from Agent.event.values.content_digest import content_of
from Agent.event.values.digest import HIDING, digest_bytes, leaves_out_secrets
from Agent.event.values.opaque import OpaqueKind, describe, often_reference
from Agent.event.values.plain import (
    DUMP_OPTIONS,
    SCALARS,
    all_strings,
    exceeds,
    is_same_scalar,
    read_json,
    write_json,
)
from Agent.event.values.reading import DEFAULT_LIMITS, AgentOf, Hides, Places, Reading
from Agent.event.values.values import Dumped, form_of_reference, form_of_scalars, to_json
from Agent.record.encode.capture import MOST_WITH_AGENTS, EncodedField, Judge, Noted, Types, is_plain
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.native import native
from Agent.record.state.generators import Position, is_own_stream, own_streams, stream_position
from Agent.record.state.heavy_fields import (
    HEAVY_BYTES,
    MOST_NODES,
    MOST_QUEUE_BYTES,
    holds_many_objects,
    is_heavy,
    is_large_data,
)
from Agent.record.state.held_objects import HeldObject
from Agent.record.state.introspection import (
    Exposed,
    FieldReader,
    Sort,
    exposure_of,
    instance_dict,
    is_object,
    may_be_held,
    read_state,
    sort_of,
)
from Agent.record.state.plain_data import is_plain_data
from Agent.record.state.same_members import measure, snapshot, still_is

_ABSENT = object()
_HIDDEN = f"{HIDING}:".encode()
_first_of = json.JSONDecoder().raw_decode
_AGENT = b"agent "
_JUDGED = (list, dict, tuple)
_MOST_LARGE_BYTES = 8 * 1024 * 1024
_PERHAPS_AGENTS = (Sort.UNKNOWN, Sort.HANDLE)
_NOTHING_HELD: tuple[None, None, None] = (None, None, None)
# Empty containers are shared: each container that an agent adds makes the garbage collector run sooner.
NONE: dict[str, Any] = {}
_NO_NAMES: frozenset[str] = frozenset()
Encoded = dict[int, tuple[object, Dumped | None]]
"""By `id`, plain values and what they were encoded to: many agents may share one."""


class Outside(NamedTuple):
    """Writes to an agent between two of its actions."""

    changed: dict[str, Any]
    gone: list[str]
    objects: list[str]
    """Fields whose objects no codec restores; they are recorded as references from now on."""


class LastSeen(NamedTuple):
    """The state of a garbage-collected agent, as its tracker last saw it."""

    values: dict[str, Any]
    dumped: dict[str, tuple[bytes, Types]]
    """Fields of which only the JSON is known, with tags by pointers relative to the value."""
    unseen: set[str]
    late: Collection[str] = ()
    """Fields with what actions of others wrote after its own last one."""
    body: tuple[bytes, Types | None] | None = None
    """All of it as inner JSON, with its tags, from the fast path; then the others are empty."""


class StateTracker:
    """The last recorded state of one object.

    Args:
        obj: the agent; only weakly held if its class allows that.
        agent_of: returns the id of an object that is an agent, None for others.
        owner: the agent's id.
        judge: encodes plain values and small objects; None as its result means the slow path.
        keeping: receives the tracker once it keeps a value of its agent; None keeps none.
        hides: finds secrets, which lines leave out.
        strong: returns the agent if its class allows no weak references; shared, so that it can be let go.
    """

    __slots__ = (
        "__weakref__", "_actions_before", "_agent_of", "_held", "_hides", "_ignored", "_is_listed", "_judge",
        "_keeping", "_opaque", "_owner", "_read", "_ref", "_refused", "actions", "borrowed",
        "cls", "compared", "encoded", "environments", "failure", "forms", "heavy", "held", "held_together",
        "init", "is_due", "is_explicit", "kept", "large_bytes_left", "last", "late", "probed", "shared",
        "streams", "unmarked", "watched", "written_outside",
    )  # fmt: skip
    streams: Mapping[str, Position]
    """By field, where generators stood whose draws are not recorded one by one."""
    compared: bytes | None
    """The versions of the agent's `__dict__` and of `last` when the C code last found them equal."""

    def __init__(
        self,
        obj: object,
        agent_of: Callable[[object], str | None],
        owner: str | None,
        judge: Judge,
        keeping: deque[StateTracker] | None,
        hides: Hides | None = None,
        strong: Callable[[], object | None] | None = None,
    ) -> None:
        self._ref: Callable[[], object | None]
        try:
            self._ref = weakref.ref(obj)
        except TypeError:
            self._ref = strong or (lambda: obj)
        self._agent_of = agent_of
        self._owner = owner
        self._hides = hides
        self._judge = judge
        self._keeping = keeping
        self.cls = type(obj)
        exposure = exposure_of(self.cls)
        self._read, self.is_explicit = exposure.read, exposure.is_explicit
        self.last: dict[str, Any] = {}
        self.heavy = self.written_outside = self.watched = self._opaque = _NO_NAMES
        # `written_outside`: fields with an object that code other than the agent's actions changed.
        # `watched`: fields that other code wrote before; each outermost action begins with a check of them.
        self.kept: Mapping[str, Any] = NONE
        """Values of heavy fields at the last check, if they are plain data without a path to the agent."""
        self._refused: Mapping[str, type] = NONE
        self.unmarked: Mapping[str, type] = NONE
        """Fields whose values had no mark, until the next full state."""
        self._held: dict[str, tuple[Any, tuple[Any, ...] | weakref.ref[Any] | int | None, str | bytes | None]]
        self._held = {}
        # By field, the bytes recorded last and what shows that the value is unchanged: a tuple of all objects
        # in it; of an agent a weak reference, with its `agent_id` if that is its recorded id; of a value with
        # mutable objects the number of members, and the mark of all in it, which is in C.
        self._is_listed = False
        self._actions_before, self.compared = 0, None
        # Attributes that hold handles, such as loggers, with their types: not examined again at each action.
        self._ignored: Mapping[str, type] = NONE
        self.shared: Mapping[str, str] = NONE
        self.borrowed: Mapping[str, Callable[[], object | None]] = NONE
        """Fields with an object that another agent held first, whose state contains the object's content."""
        self.held: tuple[HeldObject, ...] | None = None
        """Objects and generators in its fields that code outside of actions may change; None if none."""
        self.held_together: Mapping[str, str] = NONE
        """Fields with an object that another agent also holds, and the id of that agent."""
        self.probed: Mapping[str, dict[str, Any]] = NONE
        """Descriptions with digests of large objects in its fields, from the end of its last action."""
        self.environments: Mapping[str, dict[str, Any]] = NONE
        """By field, the reference to an object that contains agents; only its name is compared."""
        self.actions, self.large_bytes_left, self.streams = 0, _MOST_LARGE_BYTES, NONE
        """The budget left for recording large fields that code outside of actions changed."""
        self.late: tuple[int, Mapping[str, Dumped | None]] = (0, NONE)
        """The number of actions so far, and what others have written since; None for what is too large."""
        self.is_due = False
        """In a replay: whether the next action began with a full state when it was recorded."""
        self.failure: Exception | None = None
        """Why the last read of the state failed; reset by the caller that reports it."""
        self.init: tuple[bytes, Types | None] | None = None
        self.encoded: Mapping[str, EncodedField] = NONE
        self.forms: Mapping[str, tuple[Collection[str], bytes]] = NONE
        """By field, the attribute names and the JSON of small objects, encoded by the last comparison."""

    def obj(self) -> object | None:
        """Return the agent, or None once it was garbage-collected."""
        return self._ref()

    def where_fields_are(self, fields: Collection[str] | None) -> tuple[Any, tuple[str, ...]]:
        """Return how C can read these fields, None for all: a reference to the agent, None if it cannot.

        The reference is weak, or the agent itself if it allows no weak ones. With it, the names of attributes
        that stand beside its `__dict__`.
        """
        read, agent = self._read, self._ref if isinstance(self._ref, weakref.ref) else self._ref()
        if read is instance_dict:
            return agent, ()
        if fields is not None and not self.is_explicit and instance_dict(self._ref()).keys() >= set(fields):
            return agent, ()
        return (agent, read.names) if isinstance(read, FieldReader) else (None, ())

    def changes(
        self, obj: object, only: Collection[str] | None = None, present: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the fields that differ from those recorded last, and the names of removed fields.

        Both count as recorded from now on.

        Args:
            only: the fields to compare; None for all.
            present: the present fields; None to read them.
        """
        if self.late[1]:
            left = (
                {}
                if only is None
                else {name: each for name, each in self.late[1].items() if name not in only}
            )
            self.late = self.late[0], left
        try:
            present, heavy = self._read(obj) if present is None else present, self.heavy
            items: Iterable[tuple[str, Any]] | None
            if only is not None:
                items = [item for item in present.items() if item[0] in only]
            elif native is not None and type(present) is dict:
                items = native.differing(present, self.last, self._ignored)
                if items is None and (not heavy or heavy <= present.keys()):
                    return {}, []
            else:
                items = list(present.items())
            return self._changes(obj, present, items or ())
        except Exception as error:  # noqa: BLE001 - the user's `trace_state`, property or metaclass raised
            pass_on(error)
            self.failure = error
            # The comparison is incomplete, so all fields count as changed the next time.
            self.last.clear()
            self.heavy, self.kept = _NO_NAMES, NONE
            return {}, []

    def follow_streams(self, fields: dict[str, Any]) -> None:
        """Note where the generators in these fields stand; `drawn` reports it from now on after each draw."""
        self.streams = {name: stream_position(value) for name, value in own_streams(fields).items()} or NONE

    def drawn(self, obj: object) -> dict[str, str]:
        """Return a digest of the position of each generator that was drawn from since it was asked last."""
        present, found = self.present(obj), {}
        for name, before in self.streams.items():
            value = present.get(name)
            if sort_of(type(value)) is not Sort.GENERATOR:
                continue
            position = stream_position(value)
            if position != before:
                self.streams = {**self.streams, name: position}
                if is_own_stream(value):
                    found[name] = digest_bytes(repr(position).encode())
        return found

    def rewritten(self, present: Mapping[str, Any], names: Iterable[str] | None = None) -> set[str]:
        """Return the fields that changed since the last action, as far as visible without encoding them.

        Args:
            present: the present fields.
            names: those to compare; None for all.
        """
        last, heavy, found = self.last, self.heavy, set[str]()
        for name in {*last, *heavy, *present} if names is None else names:
            if name not in present and (name in last or name in heavy):
                found.add(name)
            if name not in present or name in heavy:
                continue
            value = present[name]
            if type(value) in SCALARS:
                is_heavy_text = type(value) is str and len(value) > HEAVY_BYTES
                if not is_heavy_text and not is_same_scalar(last.get(name, _ABSENT), value):
                    found.add(name)
            else:
                raw, held = self._held.get(name, _NOTHING_HELD)[:2]
                if raw is not last.get(name):
                    continue
                is_other = type(held) is tuple and not still_is(value, held)
                if is_other or (type(held) is int and held != measure(value)):
                    found.add(name)
        return found

    def changes_outside(
        self,
        obj: object,
        is_shared: Callable[[object], bool],
        is_written: Callable[[object], bool] | None,
        only: Collection[str] | None = None,
    ) -> Outside:
        """Return the writes to the agent since its last action ended; they count as recorded from now on.

        Args:
            only: the fields to compare; None for all.
            is_shared: whether other agents, whose actions may have changed it, also hold an object.
            is_written: whether a value has changed between actions; None if no value has.
        """
        last = self.last.copy()
        changed, gone = self.changes(obj, only)
        objects = {name for name, value in changed.items() if is_object(value, self._agent_of)}
        before, self.probed = self.probed, NONE
        now = self._forms_of(obj, before, self._hides) if before else {}
        differing = {name for name, form in before.items() if now.get(name, form)["digest"] != form["digest"]}
        written: set[str] = set()
        if objects or differing or is_written is not None:
            present = self.present(obj)
            written = {name for name in objects | differing if not is_shared(present.get(name))}
            if is_written is not None:
                known = self.last.keys() | self.heavy
                written |= {
                    name
                    for name, value in present.items()
                    if type(value) not in SCALARS and name in known and is_written(value)
                }
            written -= self.written_outside
        for name in objects | written:
            changed.pop(name, None)
            if name in written:
                self.last.pop(name, None)
                self.heavy |= {name}
            elif name in last:
                self.last[name] = last[name]  # the change is recorded at the end of the action
            else:
                self.last.pop(name, None)
        self.written_outside |= written
        return Outside(changed, gone, sorted(written))

    def note_late(self, present: Mapping[str, Any], names: Iterable[str], encoded: Encoded) -> None:
        """Keep fields that another agent's action wrote, since the agent may be gone before it acts again.

        Args:
            encoded: what this look has encoded, to be filled.
        """
        late = {**self.late[1]} if self.late[0] == self.actions else {}
        for name in names:
            value = present[name]
            if name in self.heavy or type(value) in SCALARS:
                continue  # `kept` and the marks of `AgentWrites` have these
            if id(value) in encoded:
                late[name] = encoded[id(value)][1]
                continue
            late[name] = None
            with suppress(Exception):  # the user's classes may raise anything; the field is then not seen
                dumped = self._dumped(value, Places(present))[0]
                late[name] = dumped if len(dumped.json) <= HEAVY_BYTES else None
                if not dumped.types:  # else what leads to an agent depends on whose field it is
                    encoded[id(value)] = value, late[name]
        self.late = self.actions, late

    def probe(self, obj: object) -> None:
        """Store digests of large objects, which the comparison at an action's end does not cover."""
        names = self.heavy - self.written_outside - self.borrowed.keys() - self.environments.keys()
        self.probed = self._forms_of(obj, names, self._hides) if names else NONE

    def content_digests(self, obj: object, names: Iterable[str], hides: Hides | None) -> dict[str, str]:
        """Return digests of the contents of objects in fields, without ids and times that a library made."""
        forms = self._forms_of(obj, names, hides)
        return {name: form.get("without_made", form["digest"]) for name, form in forms.items()}

    def _forms_of(self, obj: object, names: Iterable[str], hides: Hides | None) -> dict[str, dict[str, Any]]:
        found = {}
        try:
            present = self._read(obj)
            reading = self._reading(Places(present), hides)
            for name in names:
                value = present.get(name)
                if is_object(value, self._agent_of):
                    content = content_of(value, self._agent_of, reading)
                    if content.kind is OpaqueKind.COMPARABLE:
                        found[name] = describe(value, content)
        except Exception as error:  # noqa: BLE001 - as above
            pass_on(error)
            self.failure = error
        return found

    def _reading(self, places: Places | None = None, hides: Hides | None = None) -> Reading:
        return Reading(hides, self._owner, MOST_WITH_AGENTS, places=places)

    def _changes(
        self, obj: object, present: Mapping[str, Any], items: Iterable[tuple[str, Any]]
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the same as `changes`, for the present state and those of its items that may differ."""
        changed: dict[str, Any] = {}
        gone: list[str] = []
        self.encoded = self.forms = NONE
        last = self.last
        for name, value in items:
            kind = type(value)
            if kind in SCALARS:
                if is_same_scalar(last.get(name, _ABSENT), value):
                    continue
                if kind is str and len(value) > HEAVY_BYTES:
                    self.heavy |= {name}
                    continue
                changed[name] = last[name] = value
                self.heavy = self.heavy - {name} if name in self.heavy else self.heavy
                self._ignored = _without(self._ignored, name)
            elif name not in self.heavy and self._ignored.get(name) is not kind:
                # Taken before encoding, so that a change by another thread during it is noticed.
                shows = self._unlike_before(name, value, present)
                if shows is None:
                    continue
                raw = self._bytes_of(name, value, present)
                if raw is None:
                    if name not in self.heavy:
                        # It is no longer state, as when a lock replaces a None.
                        self._ignored = {**self._ignored, name: kind}
                        if name in last:
                            gone.append(name)
                else:
                    if last.get(name, _ABSENT) != raw:
                        last[name] = raw
                        changed[name] = value
                        self._ignored = _without(self._ignored, name)
                    self._hold(name, value, *shows)
        if not (last.keys() <= present.keys() and self.heavy <= present.keys()):
            gone += [name for name in (*last, *self.heavy) if name not in present]
        for name in gone:
            last.pop(name, None)
        self.heavy = self.heavy.difference(gone) if gone else self.heavy
        if (self.heavy or self.kept) and self._keeping is not None:
            self._keep(present, obj)
        return changed, gone

    def _unlike_before(
        self, name: str, value: Any, present: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...] | None, bytes | None] | None:
        """Return the objects in a value, or its mark; None if they show that nothing in it changed."""
        raw, held, marked = self._held.get(name, _NOTHING_HELD)
        if raw is None or raw is not self.last.get(name):
            held = marked = None
        if type(held) is tuple and still_is(value, held):
            return None
        objects = snapshot(value)
        mark = self._mark(name, value, present) if objects is None else None
        return None if mark is not None and type(marked) is bytes and mark == marked else (objects, mark)

    def _mark(self, name: str, value: Any, present: Mapping[str, Any]) -> bytes | None:
        """Return what stays the same while nothing in a value changes; None if that would not be seen."""
        if native is None or name in self.borrowed or name in self.written_outside:
            return None
        kind = type(value)
        if self.unmarked.get(name) is kind or often_reference(kind) is not None:
            return None  # nor of what is too large: thousands of values would be read in vain
        mark: bytes | None = native.mark(value, present, self._agent_of)
        if mark is None:
            self.unmarked = {**self.unmarked, name: kind}
        return mark

    def _hold(
        self, name: str, value: Any, objects: tuple[Any, ...] | None, mark: bytes | None = None
    ) -> None:
        """Store what shows that a value is unchanged: its objects or its mark, or an agent and its id."""
        raw = self.last[name]
        if objects is None and raw.startswith(_AGENT):
            with suppress(TypeError):
                named = attribute_or_none(value, "agent_id")
                is_stored = type(named) is str and raw == _AGENT + named.encode("utf-8", "surrogatepass")
                self._held[name] = raw, weakref.ref(value), named if is_stored else None
                return
        if objects is not None:
            self._held[name] = raw, objects, None
        elif (members := measure(value)) > 0:
            self._held[name] = raw, members, mark
        elif mark is not None and name not in self.forms:  # a small object may get a name in its module
            self._held[name] = raw, None, mark
        else:
            self._held.pop(name, None)

    def _keep(self, present: Mapping[str, Any], obj: object) -> None:
        """Keep the present values of the heavy fields.

        Whether a value is plain data is checked at full states and when its type changes; at each action, the
        check would cost more than writing the event. `let_go` repeats it for agents that no longer act.
        """
        known = set[int]()
        for name in self.heavy:
            value = present.get(name, _ABSENT)
            before = self.kept.get(name, _ABSENT)
            if value is before or value is _ABSENT:
                continue
            kind = type(value)
            is_kept = type(before) is kind
            if not is_kept and self._refused.get(name) is not kind:
                # Agents are reachable from an environment, so it is never plain data.
                is_environment = name in self.environments or often_reference(kind) is not None
                is_kept = not is_environment and is_plain_data(value, obj, self._agent_of, known)
                self._refused = _without(self._refused, name) if is_kept else {**self._refused, name: kind}
            self.kept = {**self.kept, name: value} if is_kept else _without(self.kept, name)
        for name in self.kept.keys() - self.heavy:
            self.kept = _without(self.kept, name)
        if self.kept and not self._is_listed and self._keeping is not None:
            self._is_listed, self._actions_before = True, -1  # not looked at again at once
            self._keeping.append(self)

    def present(self, obj: object) -> Mapping[str, Any]:
        """Return the present fields; none if reading fails, and `failure` is the reason."""
        try:
            return self._read(obj)
        except Exception as error:  # noqa: BLE001 - as in `changes`
            pass_on(error)
            self.failure = error
            return {}

    def holds_large(self, obj: object) -> bool:
        """Whether a field is so large that only full states contain its value."""
        # Environments are left out: even a full state has only their names.
        names = self.heavy - self.borrowed.keys() - self.written_outside - self.environments.keys()
        present = self.present(obj) if names else {}
        return any(name in present and sort_of(type(present[name])) is not Sort.GENERATOR for name in names)

    def has_acted(self) -> bool:
        """Whether the agent is alive and has acted since the last call of this method."""
        before, self._actions_before = self._actions_before, self.actions
        return before != self.actions and self._ref() is not None

    def let_go(self) -> bool:
        """Drop kept values that are no longer plain data; return whether any is left."""
        obj, known = self._ref(), set[int]()
        for name, value in list(self.kept.items()) if obj is not None else ():
            if not is_plain_data(value, obj, self._agent_of, known):
                self._refused = {**self._refused, name: type(value)}
                self.kept = _without(self.kept, name)
        self._is_listed = obj is not None and bool(self.kept)
        return self._is_listed

    def last_seen(self, noted: Noted, late: Mapping[str, Any]) -> LastSeen:
        """Return the known state of a garbage-collected agent, and drop the kept values.

        Args:
            noted: encodes it from `last`, `heavy` and the JSON of objects (`Judge.noted`), None if it cannot.
            late: the scalars that actions of others wrote after its own last one.
        """
        kept, self.kept = dict(self.kept), NONE
        forms = {**self.probed, **self.environments}.items()
        dumps = {name: orjson.dumps(form) for name, form in forms if name in self.heavy and name not in kept}
        unseen = set(self._opaque & self.heavy - kept.keys() - dumps.keys() - self.written_outside)
        written = self.late[1] if self.late[0] == self.actions else NONE
        if not (kept or late or written) and (body := noted(self.last, self.heavy, dumps)) is not None:
            return LastSeen({}, {}, unseen, body=body)
        found = LastSeen(
            kept, {name: (form, {"": "opaque"}) for name, form in dumps.items()}, unseen, tuple(late)
        )
        for name, value in self.last.items():
            if name in self.heavy:
                continue  # a text that has become heavy: `last` has its old value
            if type(value) is not bytes:
                found.values[name] = value
            elif value.startswith(_AGENT):
                found.dumped[name] = (
                    orjson.dumps(value[len(_AGENT) :].decode("utf-8", "replace")),
                    {"": "agent"},
                )
            else:
                text = value.decode()
                _, end = _first_of(text)
                tags = orjson.loads(text[end:]) if end < len(text) else {}
                found.dumped[name] = text[:end].encode(), tags
        for name in found.late:
            found.values.pop(name, None)
            found.dumped.pop(name, None)
        found.values.update(late)
        for name, dumped in written.items():
            if dumped is not None:
                found.dumped[name] = dumped.json, dumped.types or {}
            else:
                found.unseen.add(name)
        return found

    def _bytes_of(self, name: str, value: Any, present: Mapping[str, Any]) -> bytes | None:
        """Return the bytes by which a value is compared; None if it is compared only at full states."""
        kind = type(value)
        raw = self._judge.value(value) if kind is dict or kind is list else None
        raw = raw or self._number(name, value)
        if raw is None:
            sort = sort_of(kind)
            if sort is Sort.GENERATOR:
                self.heavy |= {name}
                return None
            is_no_agent = not self.is_explicit and sort in _PERHAPS_AGENTS
            if is_no_agent:
                agent_id = self._agent_of(value)
                if agent_id is not None:
                    return _AGENT + agent_id.encode("utf-8", "surrogatepass")
                if sort is Sort.HANDLE and not is_over_memory(value):
                    return None
            if (name in self.borrowed and self.borrowed[name]() is value) or (
                name in self.written_outside and is_object(value, self._agent_of)
            ):
                self.heavy |= {name}
                return None
            if sort is Sort.UNKNOWN and self._is_environment(name, value):
                return None
            if may_be_held(kind):
                small = self._small_object(name, value, None if is_no_agent else self._agent_of)
                if small is not None:
                    return small
            raw = self._plain(value) if kind is dict or kind is list else None
            raw = raw or self._tagged(name, value, present)
            if raw is None:
                return None
        if len(raw) > HEAVY_BYTES and is_heavy(raw) and not (is_queue(kind) and len(raw) < MOST_QUEUE_BYTES):
            self.heavy |= {name}
            self.last.pop(name, None)
            return None
        return raw

    def _number(self, name: str, value: Any) -> bytes | None:
        """Return the bytes of a finite number or a small array of numpy; None for other values."""
        if (tag := number_tag(type(value))) is not None:
            number = value.item()
            if type(number) is float and number - number != 0.0:
                return None
            return b'%s{"":"%s"}' % (orjson.dumps(number), tag.encode())
        if (small := small_array(value)) is None:
            return None
        data, tag = small
        self.encoded = {**self.encoded, name: EncodedField(id(value), data, {"": tag})}
        return b'%s{"":"%s"}' % (data, tag.encode())

    def _is_environment(self, name: str, value: Any) -> bool:
        """Whether the class of a value shows that it contains agents; then note its reference."""
        try:
            form = form_of_reference(value, self._agent_of, self._reading())
            if form is None or not form["reference"].startswith("environment "):
                return False
            if len(orjson.dumps(form)) > HEAVY_BYTES // 2:
                return False
        except Exception:  # noqa: BLE001 - attributes that the class hides, a surrogate: use the codec
            return False
        self.environments = {**self.environments, name: form}
        self._note_large(name)
        return True

    def _note_large(self, name: str) -> None:
        self._opaque |= {name}
        self.heavy |= {name}
        self.last.pop(name, None)

    def _plain(self, value: Any) -> bytes | None:
        """Return the bytes of a dict or list that is plain JSON; None for others."""
        try:
            if (type(value) is dict and not all_strings(value)) or exceeds(value, DEFAULT_LIMITS.max_bytes):
                return None
            return write_json(value, DUMP_OPTIONS) if is_plain(value, lambda _: True) else None
        except Exception:  # noqa: BLE001 - unusual keys, a dict that another thread changes: use the codec
            return None

    def _tagged(self, name: str, value: Any, present: Mapping[str, Any]) -> bytes | None:
        if holds_many_objects(value, self._agent_of) or is_cut_array(value, DEFAULT_LIMITS):
            self._note_large(name)
            return None
        if self._keeping is not None and is_large_data(value):
            self.heavy |= {name}
            self.last.pop(name, None)
            return None
        places = Places(present)
        dumped, is_for_lines = self._dumped(value, places)
        if not dumped.types:
            return dumped.json
        if "truncated" in dumped.types.values():  # such as an array in a dict, whose digest is short
            self._note_large(name)
            return None
        raw = dumped.json + write_json(dumped.types, orjson.OPT_SORT_KEYS)  # the judge has another order
        if is_for_lines:
            self.encoded = {**self.encoded, name: EncodedField(id(value), dumped.json, dumped.types)}
        if dumped.attributes is not None:
            self.forms = {**self.forms, name: (dumped.attributes, dumped.json)}
        if dumped.opaque:
            if is_heavy(raw):
                self._opaque |= {name}
            elif places.nodes > MOST_NODES or dumped.is_large_inside():
                if dumped.opaque == ("",) and b'"environment ' in dumped.json:
                    self.environments = {**self.environments, name: read_json(dumped.json)}
                self._note_large(name)
                return None
        return raw

    def _dumped(self, value: Any, places: Places) -> tuple[Dumped, bool]:
        """Encode a value, and tell whether a line would hold the same.

        Digests in lines leave out secrets, whose changes count here; and they count the agent itself.
        """
        if type(value) in _JUDGED and (judged := self._judge.tagged({"": value}, "")) is not None:
            data, below = judged[0][4:-1], {at[1:]: tag for at, tag in (judged[1] or {}).items()}
            if _HIDDEN not in data:
                opaque = tuple(at for at, tag in below.items() if tag == "opaque")
                return Dumped((data, below, opaque, None)), True
        met: list[str] = []

        def agent_of(each: object) -> str | None:
            agent_id = self._agent_of(each)
            if agent_id is not None:
                met.append(agent_id)
            return agent_id

        dumped = to_json(value, "", agent_of=agent_of, reading=self._reading(places, self._hides))
        data, tags = dumped.json, (dumped.types or NONE).values()
        if self._hides is not None and (_HIDDEN in data or any(map(leaves_out_secrets, tags))):
            return to_json(value, "", agent_of=self._agent_of, reading=self._reading(places)), False
        if not dumped.opaque and not any("@" in tag for tag in tags):
            return dumped, True
        return dumped, not (met or b'"reference":' in data or b'"size_bytes":' in data)

    def _small_object(self, name: str, value: Any, agent_of: AgentOf | None) -> bytes | None:
        """Return what `to_json` would make of an object of few short scalars; None for other values."""
        try:
            form = form_of_scalars(agent_of, None, value)
            raw = None if form is None else orjson.dumps(form)
        except Exception:  # noqa: BLE001 - attributes that the class hides, a surrogate: use the codec
            return None
        if form is None or raw is None or len(raw) > HEAVY_BYTES // 2:
            return None
        self.forms = {**self.forms, name: (form["attributes"], raw)}
        return raw + b'{"":"opaque"}'

    def small_field(self, name: str, value: Any) -> bytes | None:
        """Return what `_bytes_of` would for a field with an object of few short scalars; None for others."""
        kind = type(value)
        if sort_of(kind) is not Sort.UNKNOWN or not may_be_held(kind):
            return None
        if name in self.borrowed or name in self.written_outside:
            return None
        return self._small_object(name, value, self._agent_of)

    def full(self, obj: object, exposed: Exposed | None = None) -> Exposed:
        """Return the full state, with large fields and generators; it counts as recorded from now on.

        Args:
            exposed: the state, if the caller has just read it.
        """
        exposed = read_state(obj) if exposed is None else exposed
        self.heavy = self._opaque = _NO_NAMES
        self._ignored = self.environments = self.unmarked = NONE
        self._held.clear()
        self.last = {}
        self.encoded = NONE
        borrowed = self.borrowed
        for name, value in exposed.fields.items():
            if type(value) in SCALARS and not (type(value) is str and len(value) > HEAVY_BYTES):
                self.last[name] = value
            elif name in borrowed and borrowed[name]() is value:
                self.heavy |= {name}  # an object, and not an agent
            else:
                objects = snapshot(value)
                mark = self._mark(name, value, exposed.fields) if objects is None else None
                raw = self._bytes_of(name, value, exposed.fields)
                if raw is not None:
                    self.last[name] = raw
                    self._hold(name, value, objects, mark)
        self.forms = NONE
        self.heavy, self._opaque = _shared(self.heavy), _shared(self._opaque)
        if self._keeping is not None:
            self.kept = self._refused = NONE
            if self.heavy:
                self._keep(exposed.fields, obj)
        return exposed


class Known:
    """What a pipeline remembers of one object: its binding, and its state once an action of it was traced."""

    __slots__ = ("binding", "named", "ref", "tracker")

    def __init__(self, ref: Callable[[], object], binding: AgentBinding, named: object) -> None:
        self.ref = ref
        self.binding = binding
        self.named = named
        self.tracker: StateTracker | None = None

    @property
    def has_unrecorded(self) -> bool:
        """Whether it has acted, and has fields that only a full state records: heavy or late ones."""
        tracker = self.tracker
        return tracker is not None and tracker.actions > 0 and bool(tracker.heavy or tracker.late[1])


_name_sets: dict[frozenset[str], frozenset[str]] = {}


def _shared(names: frozenset[str]) -> frozenset[str]:
    """Return an equal set, the same one for all agents."""
    if len(_name_sets) > MOST_CLASSES:
        _name_sets.clear()
    return _name_sets.setdefault(names, names)


V = TypeVar("V")


def _without(known: Mapping[str, V], name: str) -> Mapping[str, V]:
    return {key: value for key, value in known.items() if key != name} if name in known else known
