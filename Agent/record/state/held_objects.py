"""Objects held by agents and changed by code outside of actions: a model's clock, a world, a generator.

Checked are the attributes of an object, and of the objects that it holds, that are scalars, containers and
arrays of plain values, or generators of numpy; of a generator, its position. They are compared when an
outermost action ends and when the next one begins. A difference was made in between, by an untraced scheduler
for example, and a replay makes the same change there. While several actions are open, changes are attributed
to them.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import sys
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from dis import get_instructions, opmap
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from Agent.event.classes import is_partial, module_of_class, namespace_of
from Agent.event.limits_of_time import undisturbed
from Agent.event.values.content_digest import content_of
from Agent.event.values.opaque import WAITING, has_waiters
from Agent.event.values.plain import SCALARS, is_same_scalar
from Agent.record.encode.native import native
from Agent.record.health import trouble
from Agent.record.state.followed_values import (
    Copied,
    copied,
    holds_followed,
    is_array,
    is_same,
)
from Agent.record.state.generators import (
    Position,
    WordCount,
    generators_in_fields,
    is_own_stream,
    position_of,
    text_of_mark,
)
from Agent.record.state.introspection import (
    Sort,
    items_perhaps_held,
    live_attributes,
    may_be_held,
    sort_of,
)

if TYPE_CHECKING:
    from Agent.record.encode.event_template import AgentBinding

_MOST_OBJECTS = 256
_MOST_OF_AGENT = 8
_MOST_ATTRIBUTES = 200
_MOST_MOVING = 16
_LOOKS = 128
"""Number of checks of an object for each agent that holds it, before and after the agent's actions."""
_LOOKS_AT_CHANGED = 4096
"""Number of checks that actions which change the object may add: enough for 2,000 actions."""
_MOST_TEXT = 4096
_MOST_VALUES = 24
_SMALL_ITEMS = 100
_LOOKS_AT_LARGE = 512
_REFUSED_BEFORE_SWEEP = 64
_MOST_REFUSED_BEFORE_SWEEP = 1024
"""An object without weak references is found to be gone only by a sweep, made after this many refusals.

After a sweep that found none, twice as many.
"""
_ACTIONS = 24
"""Number of outermost actions during which all objects are checked, not only those of the acting agent."""
_PLAIN_CONTAINERS = (dict, list, tuple, set, frozenset, deque, defaultdict)
_NEVER = object()
ITSELF = ""
"""Used instead of an attribute name for the position of a value that is itself a generator."""
Holder = tuple[object, str]
Entry = tuple[str, int, Any, "_Kept | None"]
"""Name, identity, the copy to compare with or None, and the large container that counts checks or None."""
GLOBALS = ":"
"""Used instead of a field name for the module of the agent's class."""
Moves = dict[str, dict[str, Any]]
"""Attribute to its values: `was` before the change, `now`, and `first` when first seen. `unsure` is set if an
action of an agent that does not hold the object may have made the change. For containers and arrays,
`was_content` is a digest of the value before, `in_place` is set if it is the same object, and `lost` if it is
now too large to follow."""


class _Kept:
    """A container or an array as it was at the last check.

    Args:
        taken: the copy, and the number of values in it.
        value: the original, of which only the identity is kept.
    """

    __slots__ = ("copy", "has_records", "identity", "looks_left", "size")

    def __init__(self, taken: Copied, value: object) -> None:
        self.copy, self.size, self.has_records = taken
        self.identity = id(value)
        self.looks_left = _LOOKS_AT_LARGE
        """Number of further checks of a large one, while it stays the same object without changes."""

    @property
    def is_left_alone(self) -> bool:
        """Whether it is a large one that is no longer checked unless another object replaces it."""
        return self.looks_left <= 0 and self.size > _SMALL_ITEMS

    def entry(self, name: str) -> Entry | None:
        """Return what `native.unlike_before` compares; None if the comparison needs Python."""
        if self.is_left_alone:
            return name, self.identity, None, None
        if self.has_records or not (type(self.copy) in _PLAIN_CONTAINERS or is_array(self.copy)):
            return None
        return name, self.identity, self.copy, self if self.size > _SMALL_ITEMS else None


class HeldObject:
    """One object or generator, as it was at the last check.

    Args:
        number: identifies it in the session.
        value: the object; not kept alive if its class or the holder's class allows weak references.
        names: the attributes to check; None for all.
        holder: the agent, and the place where it holds the value.
        when_gone: called once the value was garbage-collected, if it has weak references.
    """

    __slots__ = (
        "_acted", "_began", "_entries", "_is_generator", "_marks", "_names", "_refer", "_skipped", "_spare",
        "_values", "_version", "counts", "holder", "is_moving", "is_written", "last", "looks_left", "number",
        "seen_at",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        value: object,
        names: Collection[str] | None = None,
        holder: Holder | None = None,
        when_gone: Callable[[object], None] | None = None,
    ) -> None:
        self.number = number
        self._names = None if names is None else tuple(sorted(names))
        self._refer = _reference(value, holder, when_gone)
        self._is_generator = sort_of(type(value)) is Sort.GENERATOR
        self.last: dict[str, Any] = {}
        self._skipped: dict[str, type] = {}
        self._marks: dict[str, Position] = {}
        """Positions of its generators."""
        self._values: dict[str, _Kept] = {}
        """Its containers and arrays that are followed."""
        self._entries: list[Entry] | None = None
        """What `native.unlike_before` compares besides scalars; None if the check needs Python."""
        self._version = 0
        """The version of its `__dict__` when the C code last found scalars and entries in it unchanged."""
        self._acted: set[str] = set()
        """Names of its scalars whose changes by actions are not recorded yet."""
        self.is_moving = False
        """Whether it has changed between actions."""
        self.is_written = False
        """Whether it is an object that certainly changed outside of actions."""
        self.looks_left = 1
        """Number of further checks while it does not change between actions."""
        self._spare = _LOOKS_AT_CHANGED
        """Number of checks that actions which change it may still add."""
        self.seen_at = -1
        """Number of outermost actions that had ended at the last check."""
        self.holder: AgentBinding | None = None
        """The first agent that held it."""
        self.counts: dict[str, WordCount] = {}
        """For its generators that moved, the states from which their positions are counted."""
        self.look()
        self._began: dict[str, Any] = {**self.last, **self._copies(value)}

    @property
    def is_object(self) -> bool:
        """Whether it is an object held by agents, neither a generator nor a module."""
        return not self._is_generator and self._names is None

    def value(self) -> object | None:
        """Return the object, or None once it was garbage-collected."""
        return self._refer()

    def _copies(self, value: object) -> dict[str, Any]:
        parts = {name: _part(value, name) for name in self._marks}
        copies = {name: copy.deepcopy(part) for name, part in parts.items()}
        return copies | {name: kept.copy for name, kept in self._values.items()}

    def look(self, *, is_recorded: bool = True) -> Moves | None:
        """Return the changes since the last check, or None, and store the present state for the next one.

        Args:
            is_recorded: whether they are recorded, so that they need a digest of each value before.
        """
        value = self._refer()
        if value is None:
            return None
        if not self.is_moving:
            if self.looks_left <= 0:
                return None
            self.looks_left -= 1
        found: Moves = {}
        if self._is_generator:
            self._look_at(found, ITSELF, value)
            self._entries = []
            return found or None
        attributes = live_attributes(value)
        if attributes is not None and self._names is not None:
            attributes = {name: attributes[name] for name in self._names if name in attributes}
        if attributes is None or len(attributes) > _MOST_ATTRIBUTES:
            return None
        waits = has_waiters(type(value))
        if waits:
            attributes = {name: each for name, each in attributes.items() if name not in WAITING}
        for name in list(self._marks) if self._marks else ():
            self._look_at(found, name, attributes.get(name))
        differing = _differing(attributes, self.last, self._skipped)
        if differing is not None:
            self._take(found, attributes, differing)
        for name in list(self._values) if self._values else ():
            self._look_at_value(found, name, attributes.get(name), is_recorded=is_recorded)
        # Native code would ask a partial for its `__dict__`, and so make it.
        is_read_here = waits or is_partial(type(value))
        self._entries = None if is_read_here else self._list_entries(attributes)
        self._version = 0  # the C code has not found these entries yet
        return found or None

    def _list_entries(self, attributes: Mapping[str, Any]) -> list[Entry] | None:
        if not self._marks and not self._values and self._entries == []:
            return self._entries
        entries: list[Entry] = [(name, id(attributes[name]), None, None) for name in self._marks]
        for name, kept in self._values.items():
            entry = kept.entry(name)
            if entry is None:
                return None
            entries.append(entry)
        return entries

    def _take(self, found: Moves, attributes: dict[str, Any], differing: list[tuple[str, Any]]) -> None:
        last = self.last
        for name, new in differing:
            if type(new) in SCALARS:
                before = last.get(name, _NEVER)
                last[name] = new
                self._skipped.pop(name, None)
                if not _is_long(new):
                    is_recorded = before is not _NEVER and not _is_long(before)
                    found[name] = {"was": before, "now": new} if is_recorded else {"now": new}
                continue
            if is_own_stream(new) and name not in self._marks:
                self._look_at(found, name, new)
            self._skipped[name] = type(new)
            last.pop(name, None)
            self._values.pop(name, None)  # the attribute has another type now
            taken = copied(new) if len(self._values) < _MOST_VALUES else None
            if taken is not None:
                self._values[name] = _Kept(taken, new)
                found[name] = {"now": taken.value}
        if not last.keys() <= attributes.keys():
            for name in last.keys() - attributes.keys():
                del last[name]

    def _look_at(self, found: Moves, name: str, generator: object) -> None:
        if sort_of(type(generator)) is not Sort.GENERATOR:
            self._marks.pop(name, None)
            return
        before, now = self._marks.get(name), position_of(generator)
        if now != before:
            self._marks[name] = now
            found[name] = {"now": generator}
            if before is not None:
                found[name]["was"] = text_of_mark(before)

    def _look_at_value(self, found: Moves, name: str, value: object, *, is_recorded: bool) -> None:
        kept = self._values[name]
        is_in_place = id(value) == kept.identity
        if is_in_place:
            if kept.is_left_alone:
                return
            if kept.size > _SMALL_ITEMS:
                kept.looks_left -= 1
        if is_same(kept.copy, value):
            kept.identity = id(value)
            return
        taken = copied(value)
        if taken is None:
            del self._values[name]
            if type(value) not in SCALARS:
                found[name] = {"lost": True}
            return
        if name not in found:
            found[name] = {"now": taken.value}
            if is_recorded:
                found[name]["was_content"] = content_of(kept.copy).text
            if is_in_place:
                found[name]["in_place"] = True
        self._values[name] = fresh = _Kept(taken, value)
        fresh.looks_left = kept.looks_left + _LOOKS

    def acted(self) -> None:
        """An action ended: attribute the changes since the last check to it."""
        moves = self.look(is_recorded=False)
        if moves is None:
            return
        # Other code is likely to change an object that actions change, perhaps late: check it for longer.
        more = max(0, min(self._spare, _LOOKS - self.looks_left))
        self.looks_left += more
        self._spare -= more
        if self.is_moving:
            self._acted.update(name for name in moves if name in self.last)

    def completed(self, moves: Moves, *, is_sure: bool) -> Moves:
        """Complete changes for an event.

        Adds `first`, once for each attribute, and the values of unrecorded scalars that actions changed. If
        not `is_sure`, the values before the change are removed and the changes are marked as `unsure`.
        """
        for name, move in moves.items():
            if name in self._began:
                move["first"] = self._began.pop(name)
            if not is_sure:
                move.pop("was", None)
                move.pop("was_content", None)
                move["unsure"] = True
        if is_sure:
            for name in self._acted - moves.keys():
                if name in self.last and not _is_long(self.last[name]):
                    moves[name] = {"was": self.last[name]}
        self._acted.clear()
        return moves


class HeldObjects:
    """The objects and generators that the agents of one pipeline hold.

    Args:
        is_on: whether anything is checked.
    """

    __slots__ = (
        "_ended", "_globals", "_gone", "_is_on", "_known", "_most_refused", "_moving", "_note_gone",
        "_numbers", "_refused", "has_written", "is_settled", "is_watching",
    )  # fmt: skip

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self._known: dict[int, HeldObject] = {}
        self._gone: deque[object] = deque(maxlen=1)
        """Not empty if a known object was garbage-collected since the last sweep of `_known`."""
        self._note_gone = self._gone.append
        self._refused = 0
        """Number of objects for which there was no room since the last sweep."""
        self._most_refused = _REFUSED_BEFORE_SWEEP
        self._moving: list[HeldObject] = []
        self._globals: dict[str, frozenset[str]] = {}
        """The global names to check, by module."""
        self._numbers = itertools.count(1)
        self.is_watching = is_on
        """Whether checks are also made at actions of agents that hold no such objects."""
        self._ended = 0
        self.is_settled = not is_on
        """Whether `_ACTIONS` actions have ended, so that only own and moving objects are checked."""
        self.has_written = False
        """Whether code other than an action changed an object."""

    def of(
        self,
        obj: object,
        fields: dict[str, Any],
        is_object: Callable[[object], bool],
        *,
        is_first: bool,
    ) -> dict[str, HeldObject]:
        """Return the checked objects and generators of an agent, by field, and the module of its class.

        Args:
            obj: the agent.
            fields: its state.
            is_object: whether a value is mutable and not an agent.
            is_first: whether the agent's first action begins.
        """
        found: dict[str, HeldObject] = {}
        try:
            if self._is_on:
                self._fill(found, obj, fields, is_object, _LOOKS if is_first else 0)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            trouble("looking for what an agent holds", error)
        return found

    def _fill(
        self,
        found: dict[str, HeldObject],
        obj: object,
        fields: dict[str, Any],
        is_object: Callable[[object], bool],
        more_looks: int,
    ) -> None:
        for name, value in items_perhaps_held(fields):
            attributes = live_attributes(value) if may_be_held(type(value)) else None
            if attributes is None or not is_object(value):
                continue
            if len(found) >= _MOST_OF_AGENT:
                return
            self._add(found, name, value, more_looks, holder=obj)
            for inner, part in items_perhaps_held(attributes) if len(attributes) <= _MOST_ATTRIBUTES else ():
                if type(part) is MethodType or not is_object(part):
                    continue
                known = self._known.get(id(part))
                if known is not None and known.value() is part:
                    self._add_known(found, f"{name}.{inner}", known, more_looks)
                # Whether it holds values takes longest to find out, so it is asked last.
                elif self._has_room() and _holds_values(part):
                    self._add(found, f"{name}.{inner}", part, more_looks, holder=obj)
        for place, generator in generators_in_fields(fields):
            if is_own_stream(generator):
                self._add(found, place, generator, more_looks)
        module = sys.modules.get(module_of_class(type(obj)))
        if isinstance(module, ModuleType):
            names = self._globals.get(module.__name__)
            if names is None:
                with undisturbed():
                    names = self._globals[module.__name__] = _names_of_globals(module)
            if names:
                self._add(found, GLOBALS, module, more_looks, names)

    def _add(
        self,
        found: dict[str, HeldObject],
        place: str,
        value: object,
        more_looks: int,
        names: Collection[str] | None = None,
        holder: object = None,
    ) -> None:
        held = self._one(value, names, (holder, place)) if len(found) < _MOST_OF_AGENT else None
        if held is not None:
            self._add_known(found, place, held, more_looks)

    @staticmethod
    def _add_known(found: dict[str, HeldObject], place: str, held: HeldObject, more_looks: int) -> None:
        if len(found) < _MOST_OF_AGENT:
            held.looks_left += more_looks
            if held.is_moving or held.looks_left > 0:
                found[place] = held

    def is_written(self, value: object) -> bool:
        """Whether code other than an action changed exactly this object."""
        known = self._known.get(id(value))
        return known is not None and known.is_written and known.value() is value

    def _one(self, value: object, names: Collection[str] | None, holder: Holder) -> HeldObject | None:
        known = self._known.get(id(value))
        if known is not None and known.value() is value:
            return known
        if not self._has_room():
            return None
        held = HeldObject(next(self._numbers), value, names, holder, self._note_gone)
        self._known[id(value)] = held
        held.seen_at = self._ended
        held.looks_left = 0
        return held

    def _has_room(self) -> bool:
        """Whether another object can be checked, after those that are gone were removed."""
        if len(self._known) < _MOST_OBJECTS:
            return True
        self._refused += 1
        if self._gone or self._refused >= self._most_refused:
            self._gone.clear()
            self._refused = 0
            self._known = {key: each for key, each in self._known.items() if each.value() is not None}
            if len(self._known) < _MOST_OBJECTS:
                self._most_refused = _REFUSED_BEFORE_SWEEP
                return True
            self._most_refused = min(2 * self._most_refused, _MOST_REFUSED_BEFORE_SWEEP)
        return False

    def begins(self, held: tuple[HeldObject, ...], *, is_over: bool = False) -> dict[int, Moves]:
        """Return the changes since the last action ended, by number of the object.

        Args:
            held: the objects of the agent whose outermost action begins.
            is_over: whether recording ends and no action begins.
        """
        moved: dict[int, Moves] = {}
        looked_at = self._looked_at(held) if self.is_watching else held
        for each in looked_at if is_over else _unlike_before(looked_at, position_of, None):
            moves = each.look()
            if moves is None and not (is_over and each.is_moving):
                continue
            if not each.is_moving:
                each.is_moving = True
                self._moving.append(each)
            is_sure = self.is_watching and each.seen_at == self._ended
            if moves and is_sure and each.is_object:
                each.is_written = self.has_written = True
            completed = each.completed(moves or {}, is_sure=is_sure)
            if completed:
                moved[each.number] = completed
        self.is_watching = self.is_watching or bool(moved)
        return moved

    def moved_one(self, number: int) -> HeldObject:
        """Return the object that has this number, and that moved."""
        return next(each for each in self._moving if each.number == number)

    def ended(self, held: tuple[HeldObject, ...], *, is_last: bool) -> None:
        """An outermost action ended: attribute the changes since its begin to it.

        Args:
            is_last: whether no other outermost action is open.
        """
        self._ended = ended = self._ended + 1
        if ended == _ACTIONS:
            self.is_watching = bool(self._moving)
            self.is_settled = True
        looked_at = self._looked_at(held) if self.is_watching else held
        for each in _unlike_before(looked_at, position_of, ended) if is_last else ():
            each.acted()
            each.seen_at = ended

    def _looked_at(self, held: tuple[HeldObject, ...]) -> tuple[HeldObject, ...]:
        """Return the agent's objects and others that may change: at first known ones, later moving ones."""
        if not self.is_settled:
            more = tuple(self._known.values())[:_MOST_MOVING]  # a copy, since other threads add to it
            return tuple(dict.fromkeys((*held, *more)))
        return tuple(dict.fromkeys((*held, *self._moving[:_MOST_MOVING])))


def _holds_values(value: object) -> bool:
    attributes = live_attributes(value)
    return attributes is not None and holds_followed(attributes)


def _is_long(value: object) -> bool:
    return type(value) is str and len(value) > _MOST_TEXT


def _names_of_globals(module: ModuleType) -> frozenset[str]:
    """Return a module's global names that its functions and methods assign, and those of own streams."""
    own = vars(module)
    names = {name for name, value in list(own.items()) if is_own_stream(value)}
    functions = [value for value in list(own.values()) if type(value) is FunctionType]
    for cls in list(own.values()):
        # The class may be anybody's: its metaclass must run no code.
        if issubclass(type(cls), type) and module_of_class(cls) == module.__name__:
            for each in list(namespace_of(cls).values()):
                method = each.__func__ if type(each) in (staticmethod, classmethod) else each
                if type(method) is FunctionType:
                    functions.append(inspect.unwrap(method))
    codes = [each.__code__ for each in functions if getattr(each, "__globals__", None) is own]
    while codes:
        code = codes.pop()
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
        if opmap["STORE_GLOBAL"] in code.co_code[::2]:
            names.update(each.argval for each in get_instructions(code) if each.opname == "STORE_GLOBAL")
    return frozenset(names)


def _part(value: object, name: str) -> Any:
    return value if name == ITSELF else (live_attributes(value) or {}).get(name)


def _reference(
    value: object, holder: Holder | None, when_gone: Callable[[object], None] | None
) -> Callable[[], object | None]:
    try:
        return weakref.ref(value, when_gone)
    except TypeError:
        pass
    agent, place = holder or (None, "")
    try:
        return _Place(weakref.ref(agent), place, value)
    except TypeError:
        return _Strong(value)


class _Strong:
    """A value that allows no weak references, and whose holder is not known."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __call__(self) -> object:
        return self.value


class _Place:
    """Where an agent holds a value that allows no weak references.

    Args:
        names: the attributes that lead to it, joined by dots.
    """

    __slots__ = ("agent", "identity", "kind", "names")

    def __init__(self, agent: Callable[[], object | None], names: str, value: object) -> None:
        self.agent = agent
        self.names = tuple(names.split("."))
        self.identity, self.kind = id(value), type(value)

    def __call__(self) -> object | None:
        """Return the value, or None while the agent does not hold it there."""
        found: object = self.agent()
        for name in self.names:
            found = (live_attributes(found) or {}).get(name)
        return found if id(found) == self.identity and type(found) is self.kind else None


def _differing_in_python(
    present: dict[str, Any], last: dict[str, Any], skipped: Mapping[str, type]
) -> list[tuple[str, Any]]:
    return [
        (name, value)
        for name, value in present.items()
        if skipped.get(name) is not type(value) and not is_same_scalar(last.get(name, _NEVER), value)
    ]


def _all_of(objects: tuple[HeldObject, ...], _mark_of: object, _seen_at: object) -> tuple[HeldObject, ...]:
    return objects


_differing: Any = _differing_in_python if native is None else native.differing
_unlike_before: Any = _all_of if native is None else native.unlike_before
if native is not None:
    native.learn({each.__name__: each for each in (HeldObject, _Kept, _Place, _Strong)})
