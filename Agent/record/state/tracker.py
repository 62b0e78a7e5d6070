"""An agent's state over time: the fields that a root action changed, and full states in between.

A tracker reads the state once, when an action of its agent ends. Values that cannot change are compared
directly, others by their bytes; large fields and generators only at full states. Plain data of these is kept,
so that it can still be recorded after the agent was garbage-collected.
"""

from __future__ import annotations

import json
import operator
import sys
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import EnumType
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, cast
from uuid import UUID

import orjson

from Agent.event.classes import forgetting, remember
from Agent.event.pointers import value_at
from Agent.event.values.arrays import number_tag
from Agent.event.values.class_codecs import class_reducer
from Agent.event.values.class_contents import is_over_memory
from Agent.event.values.codecs import is_queue, parts_of_queue
from Agent.event.values.content_digest import content_of, often_reference
from Agent.event.values.opaque import OpaqueKind, describe
from Agent.event.values.plain import DUMP_OPTIONS, SCALARS, exceeds, read_json, write_json
from Agent.event.values.reading import DEFAULT_LIMITS, Hides, Places, Reading
from Agent.event.values.values import Dumped, to_json
from Agent.record.encode.capture import MOST_WITH_AGENTS, Types, is_plain
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.native import native
from Agent.record.state.held_objects import HeldObject
from Agent.record.state.introspection import Exposed, Sort, exposure_of, instance_dict, read_state, sort_of
from Agent.record.state.plain_data import is_plain_data

_ABSENT = object()
_AGENT = b"agent "
_MOST_LARGE_BYTES = 8 * 1024 * 1024


_PERHAPS_AGENTS = (Sort.UNKNOWN, Sort.HANDLE)
ValueBytes = Callable[[Any], bytes | None]


def _any_keys(_payload: Mapping[str, Any]) -> bool:
    """Where only the shape of a value is asked, not its names."""
    return True


_NOTHING_HELD: tuple[None, None, None] = (None, None, None)


class Outside(NamedTuple):
    """Writes to an agent between two of its actions."""

    changed: dict[str, Any]
    gone: list[str]
    objects: list[str]
    """Fields whose objects no codec restores; they are references from now on."""


class LastSeen(NamedTuple):
    """The state of a garbage-collected agent, as its tracker last saw it."""

    values: dict[str, Any]
    dumped: dict[str, tuple[bytes, Types]]
    """Fields of which only the JSON is there, with its tags as pointers below the value."""
    unseen: set[str]


class StateTracker:
    """The last recorded state of one object.

    Args:
        obj: the agent; only weakly held if its class allows that.
        agent_of: returns the id of an object that is an agent, None for others.
        owner: the agent's id.
        value_bytes: the JSON of a plain value, None if it needs the slow path (`Judge.value`).
        keeping: receives the tracker once it keeps a value of its agent; None keeps none.
    """

    __slots__ = (
        "__weakref__", "_actions_before", "_agent_of", "_held", "_ignored", "_is_listed", "_keeping",
        "_opaque", "_probing", "_read", "_reading", "_ref", "_refused", "_value_bytes", "actions", "borrowed",
        "cls", "environments", "failure", "forms", "heavy", "held", "held_together", "init", "is_due",
        "is_explicit", "kept", "large_bytes_left", "last", "places", "probed", "shared", "watched",
        "written_outside",
    )  # fmt: skip

    def __init__(
        self,
        obj: object,
        agent_of: Callable[[object], str | None],
        owner: str | None,
        value_bytes: ValueBytes,
        keeping: deque[StateTracker] | None,
    ) -> None:
        self._ref: Callable[[], object | None]
        try:
            self._ref = weakref.ref(obj)
        except TypeError:
            self._ref = lambda: obj
        self._agent_of = agent_of
        self.places = Places()
        """Where the objects in the agent's fields stand, while a state is written."""
        self._reading = Reading(owner=owner, most_with_agents=MOST_WITH_AGENTS, places=self.places)
        self._value_bytes = value_bytes
        self._keeping = keeping
        self.cls = type(obj)
        exposure = exposure_of(self.cls)
        self._read, self.is_explicit = exposure.read, exposure.is_explicit
        self.last: dict[str, Any] = {}
        self.heavy: set[str] = set()
        self.kept: dict[str, Any] = {}
        """What heavy fields held when they were looked at last, as far as that does not lead back here."""
        self._refused: dict[str, type] = {}
        self._held: dict[str, tuple[Any, tuple[Any, ...] | weakref.ref[Any] | int, str | None]] = {}
        """What was recorded last of a field, and all objects in its value: the same objects, nothing changed.

        Of an agent that stands there itself, and its `agent_id` where that is its id; where objects in the
        value may have changed, how many members it had.
        """
        self._opaque: set[str] = set()
        self._is_listed = False
        self._actions_before = 0
        # Attributes that hold handles, such as loggers: not judged again at each action.
        self._ignored: dict[str, type] = {}
        self.shared: dict[str, str] = {}
        self.borrowed: dict[str, Callable[[], object | None]] = {}
        """Fields with an object that another agent held first: its content stands in that agent's state."""
        self.held: tuple[HeldObject, ...] | None = None
        """Objects and generators in its fields that code outside of actions may change; None for none."""
        self.held_together: dict[str, str] = {}
        """Fields with an object that another agent was seen with, and that agent."""
        self.written_outside: set[str] = set()
        """Fields with an object that something else than the agent's actions changed in between."""
        self.watched: set[str] = set()
        """Fields that something else than its actions was seen to write, so that each begins with a look."""
        self.probed: dict[str, dict[str, Any]] = {}
        """What stands for large objects in its fields, as they were when its last action ended."""
        self._probing = self._reading
        self.environments: dict[str, bytes] = {}
        """What stands for a field whose object is where agents live: its name is all that counts."""
        self.actions, self.large_bytes_left = 0, _MOST_LARGE_BYTES
        """The budget left for recording large fields that code outside of actions changed."""
        self.is_due = False
        """In a replay: whether the next action began with a full state when it was recorded."""
        self.failure: Exception | None = None
        """Why the state could not be looked at the last time; whoever tells it takes it away."""
        self.init: tuple[bytes, Types | None] | None = None
        self.forms: dict[str, tuple[Collection[str], bytes]] = {}
        """The attributes and the JSON of small objects, as the last look at the state encoded them."""

    def obj(self) -> object | None:
        """Return the agent, or None once it was garbage-collected."""
        return self._ref()

    @property
    def ref_if_plain(self) -> weakref.ref[Any] | None:
        """A weak reference to the agent if its state is its `__dict__`, else None."""
        return self._ref if self._read is instance_dict and isinstance(self._ref, weakref.ref) else None

    def changes(
        self, obj: object, only: Collection[str] | None = None, present: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """The fields that differ from those last recorded, and the names that are gone.

        Both count as recorded now.

        Args:
            only: the fields to look at; None for all.
            present: the fields as they are; None to ask the agent.
        """
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
        except Exception as error:  # noqa: BLE001 - a `trace_state`, a property, a metaclass of a stranger
            self.failure = error
            # Nothing is known of what was looked at so far, so all of it counts as changed the next time.
            self.last.clear()
            self.heavy.clear()
            self.kept.clear()
            return {}, []

    def rewritten(self, obj: object) -> set[str]:
        """Fields that are seen, without encoding them, to be other than the last action left them."""
        present, last = self.present(obj), self.last
        found = {name for name in (*last, *self.heavy) if name not in present}
        for name, value in present.items():
            if name in self.heavy:
                continue
            if type(value) in SCALARS:
                before = last.get(name, _ABSENT)
                is_same = type(before) is type(value) and (before == value or value != value)
                if not is_same and not (type(value) is str and len(value) > HEAVY_BYTES):
                    found.add(name)
            else:
                raw, held = self._held.get(name, _NOTHING_HELD)[:2]
                if raw is not last.get(name):
                    continue
                is_other = type(held) is tuple and not still_is(value, held)
                if is_other or (type(held) is int and held != _measure(value)):
                    found.add(name)
        return found

    def changes_outside(
        self,
        obj: object,
        is_shared: Callable[[object], bool],
        is_written: Callable[[object], bool] | None,
        only: Collection[str] | None = None,
    ) -> Outside:
        """What was written to the agent since its last action ended; it counts as recorded now.

        Args:
            only: the fields to look at; None for all.
            is_shared: whether other agents hold an object, too, whose actions may have changed it.
            is_written: whether a value was seen to change between actions; None if none was.
        """
        last = self.last.copy()
        changed, gone = self.changes(obj, only)
        objects = {name for name, value in changed.items() if is_object(value, self._agent_of)}
        before, self.probed = self.probed, {}
        now = self._forms_of(obj, before) if before else {}
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
                self.heavy.add(name)
            elif name in last:
                self.last[name] = last[name]  # the end of the action tells it
            else:
                self.last.pop(name, None)
        self.written_outside |= written
        return Outside(changed, gone, sorted(written))

    def probe(self, obj: object, hides: Hides | None) -> None:
        """Keep what stands for large objects, of which a look at an action's end tells nothing."""
        self._probing = self._reading._replace(hides=hides)
        self.probed = self._forms_of(obj, self.heavy - self.written_outside - self.borrowed.keys())

    def content_digests(self, obj: object, names: Iterable[str], hides: Hides | None) -> dict[str, str]:
        """Digests of what objects in fields hold, without ids and times that a library made."""
        self._probing = self._reading._replace(hides=hides)
        forms = self._forms_of(obj, names)
        return {name: form.get("without_made", form["digest"]) for name, form in forms.items()}

    def _forms_of(self, obj: object, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        found = {}
        try:
            present = self._read(obj)
            self.places.begin(present)
            for name in names:
                value = present.get(name)
                if is_object(value, self._agent_of):
                    content = content_of(value, self._agent_of, self._probing)
                    if content.kind is OpaqueKind.COMPARABLE:
                        found[name] = describe(value, content)
        except Exception as error:  # noqa: BLE001 - as above
            self.failure = error
        finally:
            self.places.end()
        return found

    def _changes(
        self, obj: object, present: Mapping[str, Any], items: Iterable[tuple[str, Any]]
    ) -> tuple[dict[str, Any], list[str]]:
        """The same, of the present state and those of its items that may differ."""
        changed: dict[str, Any] = {}
        gone: list[str] = []
        self.forms.clear()
        last = self.last
        heavy = self.heavy
        ignored = self._ignored
        for name, value in items:
            kind = type(value)
            if kind in SCALARS:
                before = last.get(name, _ABSENT)
                if type(before) is kind and (before == value or (before != before and value != value)):
                    continue
                if kind is str and len(value) > HEAVY_BYTES:
                    heavy.add(name)
                    continue
                changed[name] = last[name] = value
                heavy.discard(name)
                ignored.pop(name, None)
            elif name not in heavy and ignored.get(name) is not kind:
                held = self._held.get(name)
                if (
                    held is not None
                    and held[0] is last.get(name)
                    and type(held[1]) is tuple
                    and still_is(value, held[1])
                ):
                    continue
                # Before it is encoded, so that a change by another thread meanwhile is noticed.
                objects = snapshot(value)
                raw = self._bytes_of(name, value, present)
                if raw is None:
                    if name not in heavy:
                        # It was state and is none any more: a lock in the place of a None.
                        ignored[name] = kind
                        if name in last:
                            gone.append(name)
                else:
                    if last.get(name, _ABSENT) != raw:
                        last[name] = raw
                        changed[name] = value
                        ignored.pop(name, None)
                    self._hold(name, value, objects)
        if not (last.keys() <= present.keys() and heavy <= present.keys()):
            gone += [name for name in (*last, *heavy) if name not in present]
        for name in gone:
            last.pop(name, None)
            heavy.discard(name)
        if (heavy or self.kept) and self._keeping is not None:
            self._keep(present, obj)
        return changed, gone

    def _hold(self, name: str, value: Any, objects: tuple[Any, ...] | None) -> None:
        """Note by which objects a value is known again; an agent by itself, as long as it has its id."""
        raw = self.last[name]
        if objects is None and raw.startswith(_AGENT):
            with suppress(TypeError):
                named = getattr(value, "agent_id", None)
                is_stored = type(named) is str and raw == _AGENT + named.encode("utf-8", "surrogatepass")
                self._held[name] = raw, weakref.ref(value), named if is_stored else None
                return
        if objects is not None:
            self._held[name] = raw, objects, None
        elif (members := _measure(value)) > 0:
            self._held[name] = raw, members, None
        else:
            self._held.pop(name, None)

    def _keep(self, present: Mapping[str, Any], obj: object) -> None:
        """Hold what the heavy fields hold now.

        What is in a value is looked through where another sort of value comes, and at full states: at each
        action it would cost more than the action's line. `let_go` looks again for those that act no more.
        """
        kept, refused, known = self.kept, self._refused, set[int]()
        for name in tuple(self.heavy):  # another action of the agent, in another thread, may end now
            value = present.get(name, _ABSENT)
            before = kept.get(name, _ABSENT)
            if value is before or value is _ABSENT:
                continue
            kind = type(value)
            if type(before) is kind:
                kept[name] = value
            elif refused.get(name) is not kind:
                # Where agents live leads to agents.
                is_environment = name in self.environments or often_reference(kind) is not None
                if not is_environment and is_plain_data(value, obj, self._agent_of, known):
                    kept[name] = value
                    refused.pop(name, None)
                else:
                    refused[name] = kind
                    kept.pop(name, None)
            else:
                kept.pop(name, None)
        if not kept.keys() <= self.heavy:
            for name in kept.keys() - self.heavy:
                kept.pop(name, None)
        if kept and not self._is_listed and self._keeping is not None:
            self._is_listed = True
            self._keeping.append(self)

    def present(self, obj: object) -> Mapping[str, Any]:
        """The fields as they are now; none where that fails, which `failure` tells."""
        try:
            return self._read(obj)
        except Exception as error:  # noqa: BLE001 - as in `changes`
            self.failure = error
            return {}

    def holds_large(self, obj: object) -> bool:
        """Whether a field is so large that only full states hold what it holds."""
        # Of an object in which agents live a full state has the name alone, too.
        names = self.heavy - self.borrowed.keys() - self.written_outside - self.environments.keys()
        present = self.present(obj) if names else {}
        return any(name in present and sort_of(type(present[name])) is not Sort.GENERATOR for name in names)

    def has_acted(self) -> bool:
        """Whether the agent is there, and acted since this was asked last."""
        before, self._actions_before = self._actions_before, self.actions
        return before != self.actions and self._ref() is not None

    def let_go(self) -> bool:
        """Drop what has come to lead to more than data, perhaps to the agent; whether any is left."""
        obj, known = self._ref(), set[int]()
        for name, value in list(self.kept.items()) if obj is not None else ():
            if not is_plain_data(value, obj, self._agent_of, known):
                self._refused[name] = type(value)
                self.kept.pop(name, None)
        self._is_listed = obj is not None and bool(self.kept)
        return self._is_listed

    def last_seen(self) -> LastSeen:
        """What is known of the agent's state now that it is gone; nothing is kept any more."""
        kept, self.kept = self.kept, {}
        known = {name: orjson.dumps(form) for name, form in self.probed.items()} | self.environments
        known = {name: form for name, form in known.items() if name in self.heavy and name not in kept}
        dumped: dict[str, tuple[bytes, Types]] = {
            name: (form, {"": "opaque"}) for name, form in known.items()
        }
        unseen = self._opaque & self.heavy - kept.keys() - known.keys() - self.written_outside
        found = LastSeen(kept, dumped, unseen)
        for name, value in self.last.items():
            if name in self.heavy:
                continue  # a text that has grown since
            if type(value) is not bytes:
                found.values[name] = value
            elif value.startswith(_AGENT):
                found.dumped[name] = (
                    orjson.dumps(value[len(_AGENT) :].decode("utf-8", "replace")),
                    {"": "agent"},
                )
            else:
                text = value.decode()
                _, end = json.JSONDecoder().raw_decode(text)
                tags = orjson.loads(text[end:]) if end < len(text) else {}
                found.dumped[name] = text[:end].encode(), tags
        return found

    def _bytes_of(self, name: str, value: Any, present: Mapping[str, Any]) -> bytes | None:
        """The bytes by which a value is compared; None where it is not looked at between full states."""
        kind = type(value)
        raw = self._value_bytes(value) if kind is dict or kind is list else None
        if raw is None and (tag := number_tag(kind)) is not None:
            number = value.item()
            if type(number) is not float or number - number == 0.0:
                return b'%s{"":"%s"}' % (orjson.dumps(number), tag.encode())
        if raw is None:
            sort = sort_of(kind)
            if sort is Sort.GENERATOR:
                self.heavy.add(name)
                return None
            if not self.is_explicit and sort in _PERHAPS_AGENTS:
                agent_id = self._agent_of(value)
                if agent_id is not None:
                    return _AGENT + agent_id.encode("utf-8", "surrogatepass")
                if sort is Sort.HANDLE and not is_over_memory(value):
                    return None
            if (name in self.borrowed and self.borrowed[name]() is value) or (
                name in self.written_outside and is_object(value, self._agent_of)
            ):
                self.heavy.add(name)
                return None
            raw = self._plain(value) or self._tagged(name, value, present)
            if raw is None:
                return None
        if len(raw) > HEAVY_BYTES and is_heavy(raw) and not (is_queue(kind) and len(raw) < _MOST_QUEUE_BYTES):
            self.heavy.add(name)
            self.last.pop(name, None)
            return None
        return raw

    def _plain(self, value: Any) -> bytes | None:
        """The bytes of a value that is plain JSON, None for any other."""
        kind = type(value)
        try:
            if kind is not dict and kind is not list:
                return None
            if exceeds(value, DEFAULT_LIMITS.max_bytes) or not is_plain(value, _any_keys):
                return None
            raw = write_json(value, DUMP_OPTIONS)
        except Exception:  # noqa: BLE001 - strange keys, a dict that another thread changes: the codec knows
            return None
        return raw

    def _tagged(self, name: str, value: Any, present: Mapping[str, Any]) -> bytes | None:
        self.places.begin(present)
        dumped = to_json(value, "", agent_of=self._agent_of, reading=self._reading)
        self.places.end()
        if not dumped.types:
            return dumped.json
        is_single = len(dumped.types) == 1
        raw = dumped.json + (orjson.dumps(dumped.types) if is_single else write_json(dumped.types))
        if dumped.attributes is not None:
            self.forms[name] = dumped.attributes, dumped.json
        if dumped.opaque:
            if is_heavy(raw):
                self._opaque.add(name)
            elif _is_large_inside(dumped):
                if dumped.opaque == ("",) and b'"environment ' in dumped.json:
                    self.environments[name] = dumped.json
                self._opaque.add(name)
                self.heavy.add(name)
                self.last.pop(name, None)
                return None
        return raw

    def full(self, obj: object, exposed: Exposed | None = None) -> Exposed:
        """The whole state, large fields and generators included; it counts as recorded now.

        Args:
            exposed: the state, where it was read in this very moment.
        """
        exposed = read_state(obj) if exposed is None else exposed
        self.heavy.clear()
        self._ignored.clear()
        self._opaque.clear()
        self.environments.clear()
        self._held.clear()
        self.last = {}
        for name, value in exposed.fields.items():
            if type(value) in SCALARS and not (type(value) is str and len(value) > HEAVY_BYTES):
                self.last[name] = value
            else:
                objects = snapshot(value)
                raw = self._bytes_of(name, value, exposed.fields)
                if raw is not None:
                    self.last[name] = raw
                    self._hold(name, value, objects)
        self.forms.clear()
        if self._keeping is not None:
            self.kept.clear()
            self._refused.clear()
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
        """Whether only a full state shows all of its state, and there was one of it before."""
        tracker = self.tracker
        return tracker is not None and tracker.actions > 0 and bool(tracker.heavy)


_UNCHANGING = (date, timedelta, Decimal, UUID, range)


def _stays(cls: type) -> bool:
    """Whether objects of exactly this class stay what they are, for as long as they are."""
    if cls in _UNCHANGING or issubclass(type(cls), EnumType):
        return True
    generic = getattr(sys.modules.get("numpy"), "generic", None)
    return isinstance(generic, type) and issubclass(cls, generic) and cls.__name__ not in {"void", "object_"}


_ALWAYS_SAME = SCALARS | {bytes, complex}
_OF_ITEMS = frozenset({list, tuple, set, frozenset})
_OF_MEMBERS = frozenset({set, frozenset, deque})
_HEAP_TYPE = 1 << 9
_MOST_QUEUE_BYTES = 65_536
"""A queue is read at each action up to that size: what others put there comes between the actions."""
_MOST_DEPTH, _MOST_HELD = 8, 96
"""Of snapshots, in Python as in C: the same values have none."""


def _snapshot(value: Any) -> tuple[Any, ...] | None:
    met: list[Any] = []
    try:
        return tuple(met) if _meets_all(value, met, 0) else None
    except RuntimeError:  # another thread changes a container in it
        return None


def _count_members(value: Any, depth: int = 0) -> int:
    kind = type(value)
    if depth > _MOST_DEPTH:
        return 0
    if kind is dict or kind is list or kind is tuple:
        items = value.values() if kind is dict else value
        return 1 + sum(1 + _count_members(item, depth + 1) for item in items)
    return 1 + len(value) if kind in _OF_MEMBERS else 0


def _measure(value: Any) -> int:
    """How many members a container or a queue has, each container counting as one more; 0 for others."""
    return count_members(parts_of_queue(value)["queue"] if is_queue(type(value)) else value)


def _still_is(value: Any, before: tuple[Any, ...]) -> bool:
    now = _snapshot(value)
    return now is not None and len(now) == len(before) and all(map(operator.is_, now, before))


def _meets_all(value: Any, met: list[Any], depth: int) -> bool:
    """Write down a container, all in it, and its end; False where that cannot tell whether it changed."""
    if depth > _MOST_DEPTH or not _meets(value, met):
        return False
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not _meets(key, met) or not _meets_all(item, met, depth + 1):
                return False
    elif kind in _OF_ITEMS:
        if not all(_meets_all(item, met, depth + 1) for item in value):
            return False
    else:
        return _is_unchanging(value)
    return _meets(value, met)


def _meets(value: Any, met: list[Any]) -> bool:
    met.append(value)
    return len(met) <= _MOST_HELD


def _is_unchanging(value: Any) -> bool:
    kind = type(value)
    if kind in _ALWAYS_SAME:
        return True
    if kind is datetime:
        return value.tzinfo is None or value.tzinfo is UTC
    if kind.__flags__ & _HEAP_TYPE and type(kind) not in (type, EnumType):
        return False
    return _stays(kind)


snapshot: Callable[[Any], tuple[Any, ...] | None] = _snapshot
"""All objects in a value; None where something in it may change unseen, or it is too large."""
still_is: Callable[[Any, tuple[Any, ...]], bool] = _still_is
"""Whether a value holds those very objects, so that nothing changed."""
count_members: Callable[[Any], int] = _count_members
"""How many members a container and those in it have; 0 for any other value."""
if native is not None:
    forgetting.append(partial(native.judge_types, _stays, EnumType))
    forgetting[-1]()
    snapshot, still_is, count_members = native.snapshot, native.still_is, native.count_members

_LARGE_MARKS = (b'"size_bytes":', b'"agents":', b'"environment ')


def _is_large_inside(dumped: Dumped) -> bool:
    """Whether the content of a value without a codec is large, or leads to other agents."""
    if not any(mark in dumped.json for mark in _LARGE_MARKS):
        return False
    value = read_json(dumped.json)
    for pointer in dumped.opaque:
        form = value_at(value, pointer)
        if type(form) is dict and (
            "size_bytes" in form or "agents" in form or str(form.get("reference")).startswith("environment ")
        ):
            return True
    return False


def is_object(value: object, agent_of: Callable[[object], str | None]) -> bool:
    """Whether it is an object of a class without a codec, which can change, and no agent."""
    cls = type(value)
    if sort_of(cls) is Sort.ARRAY:
        return getattr(getattr(value, "dtype", None), "kind", "") in _UNRESTORED_KINDS
    if cls is MethodType:  # it changes with its object
        owner = cast("MethodType", value).__self__
        return is_queue(type(owner)) or is_object(owner, agent_of)
    try:
        are_objects = _are_objects[cls]
    except Exception:  # noqa: BLE001 - not there, or a metaclass whose __hash__ or __eq__ raises
        are_objects = remember(_are_objects, cls, _makes_objects(cls))
    return are_objects and agent_of(value) is None


_are_objects: dict[type, bool] = {}


def _makes_objects(cls: type) -> bool:
    if sort_of(cls) is not Sort.UNKNOWN or issubclass(cls, _NEVER_CHANGING) or class_reducer(cls) is not None:
        return False
    # A metaclass may have the class hide its own attributes.
    return type.__dict__["__module__"].__get__(cls) not in _MODULES_OF_CONSTANTS


def can_be_held(value: object, agent_of: Callable[[object], str | None]) -> bool:
    """Whether code outside of actions may change a value in place: an object, or one of a record class."""
    cls = type(value)
    if is_object(value, agent_of):
        return True
    is_record = sort_of(cls) is Sort.UNKNOWN and any(hasattr(cls, mark) for mark in _RECORD_MARKS)
    return is_record and not _is_frozen(cls) and agent_of(value) is None


def _is_frozen(cls: type) -> bool:
    return bool(getattr(getattr(cls, "__dataclass_params__", None), "frozen", False))


_RECORD_MARKS = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__")
_UNRESTORED_KINDS = ("V", "O")
"""Arrays of records and of objects: a digest is all that is recorded of them."""
_MODULES_OF_CONSTANTS = frozenset("typing types re zoneinfo ipaddress fractions operator".split())
"""What classes of these make never changes, and may be one object for all who ask for it."""
_NEVER_CHANGING = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)


class Holders:
    """Which agents hold which object: a generator that two agents draw from, or another shared object."""

    def __init__(self) -> None:
        self._holders: dict[int, tuple[Callable[[], object | None], dict[str, None]]] = {}

    def is_shared(self, value: object) -> bool:
        """Whether several agents were seen with it."""
        known = self._holders.get(id(value))
        return known is not None and known[0]() is value and len(known[1]) > 1

    def is_of_one(self, value: object) -> bool:
        """Whether one agent alone was seen with it, so that its state is in that agent's."""
        known = self._holders.get(id(value))
        return known is not None and known[0]() is value and len(known[1]) == 1

    def note(self, value: object, agent_id: str) -> tuple[str, ...]:
        """The agents that were seen with an object, in that order, this one among them from now on.

        Only this one of an object that cannot be weakly referenced, since holding it would keep it alive.
        """
        known = self._holders.get(id(value))
        if known is None or known[0]() is not value:
            try:
                known = (weakref.ref(value, self._forgetting(id(value))), {})
            except TypeError:
                return (agent_id,)
            self._holders[id(value)] = known
        known[1][agent_id] = None
        return tuple(known[1])

    def _forgetting(self, key: int) -> Callable[[object], None]:
        holders = self._holders

        def forget(gone: object) -> None:
            known = holders.get(key)
            if known is not None and known[0] is gone:
                holders.pop(key, None)

        return forget


HEAVY_BYTES = 4096
"""A field above that is read in full states only."""

_MARKS = (b'"', b":", b"<")
"""What stands before a module's name where a value tells its class: in JSON, in a tag, in a `repr`."""
_SCRIPT = "__main__"
_scripts = [_SCRIPT]


def is_heavy(raw: bytes) -> bool:
    """Whether a field with that JSON and those tags is read in full states only.

    The name of the script's own module does not count. It is `__main__` where the script runs and another
    where a replay imports it, and both have to come to the same answer.
    """
    size = len(raw)
    if size <= HEAVY_BYTES:
        return False
    for script in _scripts:
        name = script.encode() + b"."
        size -= len(name) * sum(raw.count(mark + name) for mark in _MARKS)
    return size > HEAVY_BYTES


def count_as_script(module: str) -> None:
    """Take a module for the script that was recorded, from here on."""
    _scripts[1:] = [module] if module != _SCRIPT else []
