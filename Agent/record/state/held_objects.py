"""What agents hold and code outside of their actions changes: a model's clock, an environment, a generator.

Of an object its attributes count that are scalars, containers and arrays of plain values, or generators of
numpy, and those of the objects that it holds; of a generator, where it stands. They are
looked at when an outermost action ends and when the next one begins. What differs was changed in between, by
a scheduler that is not traced, and a replay makes the same change there. Two actions that are open at the
same time tell nothing: whatever they change is theirs.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import sys
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dis import get_instructions, opmap
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any

from Agent.event.classes import remember
from Agent.event.values.content_digest import content_of
from Agent.event.values.opaque import WAITING, has_waiters
from Agent.event.values.plain import SCALARS
from Agent.record.encode.native import native
from Agent.record.health import trouble
from Agent.record.state.followed_values import Copied, copied, is_followed, is_same
from Agent.record.state.introspection import Sort, sort_of
from Agent.tree.undisturbed import undisturbed

_MOST_OBJECTS = 256
_MOST_OF_AGENT = 8
_MOST_ATTRIBUTES = 200
_MOST_MOVING = 16
_LOOKS = 128
"""How often an object is looked at for each agent that holds it, before and behind its actions."""
_LOOKS_AT_CHANGED = 4096
"""How many of them the actions add that change the object: enough for two thousand actions."""
_MOST_TEXT = 4096
_MOST_VALUES = 24
_SMALL_ITEMS = 100
_LOOKS_AT_LARGE = 512
_ACTIONS = 24
"""While no more outermost actions have ended, all objects are looked at, not the agent's alone."""
_MAX_DEPTH = 6
_MOST_ITEMS = 1000
"""Of a container that is looked through for generators."""
_PLAIN_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_NEVER = object()
ITSELF = ""
"""In the place of an attribute's name: where a generator itself stands."""
Holder = tuple[object, str]
Position = tuple[int | str, ...]
"""Where a generator stands."""
Entry = tuple[str, int, Any, "_Kept | None"]
"""Name, identity, the copy to compare with if any, and what counts the looks at a large container."""
GLOBALS = ":"
"""In the place of a field: the module of the agent's class."""
Moves = dict[str, dict[str, Any]]
"""Attribute to what it `was`, is `now`, and was when it was seen `first`. It is `unsure` where an action of
an agent that does not hold the object may have changed it. Of containers and arrays there is a digest of what
they were, `was_content`; `in_place` tells that it is the same object, `lost` that it is too large by now."""


class _Kept:
    """A container or an array as it was at the last look.

    Args:
        taken: the copy, and the number of values in it.
        value: is not kept.
    """

    __slots__ = ("copy", "has_records", "identity", "looks_left", "size")

    def __init__(self, taken: Copied, value: object) -> None:
        self.copy, self.size, self.has_records = taken
        self.identity = id(value)
        self.looks_left = _LOOKS_AT_LARGE
        """How often a large one is looked at yet while it stays the same object and nothing moves it."""

    @property
    def is_left_alone(self) -> bool:
        """Whether it is a large one that is not looked at any more while it stays the same object."""
        return self.looks_left <= 0 and self.size > _SMALL_ITEMS

    def entry(self, name: str) -> Entry | None:
        """What `native.unlike_before` compares; None where that takes Python."""
        if self.is_left_alone:
            return name, self.identity, None, None
        if self.has_records or type(self.copy) not in _PLAIN_CONTAINERS:
            return None
        return name, self.identity, self.copy, self if self.size > _SMALL_ITEMS else None


class HeldObject:
    """One object or generator, as it was at the last look.

    Args:
        number: tells it from others in the session.
        value: is not kept alive, if its class allows that or the holder's does.
        names: the attributes that are looked at; None for all.
        holder: the agent, and where it holds the value.
    """

    __slots__ = (
        "_acted", "_began", "_entries", "_is_generator", "_marks", "_names", "_refer", "_skipped", "_spare",
        "_values", "is_moving", "is_written", "last", "looks_left", "number", "seen_at",
    )  # fmt: skip

    def __init__(
        self, number: int, value: object, names: Collection[str] | None = None, holder: Holder | None = None
    ) -> None:
        self.number = number
        self._names = None if names is None else tuple(sorted(names))
        self._refer = _reference(value, holder)
        self._is_generator = sort_of(type(value)) is Sort.GENERATOR
        self.last: dict[str, Any] = {}
        self._skipped: dict[str, type] = {}
        self._marks: dict[str, Position] = {}
        """Where its generators stand."""
        self._values: dict[str, _Kept] = {}
        """Its containers and arrays that are followed."""
        self._entries: list[Entry] | None = None
        """What `native.unlike_before` compares besides scalars; None where a look takes more than that."""
        self._acted: set[str] = set()
        """Its scalars that actions changed and no event tells yet."""
        self.is_moving = False
        """Whether something was seen to change it between actions."""
        self.is_written = False
        """Whether it is an object that no action can have changed there."""
        self.looks_left = 1
        """How often it is looked at yet while nothing moves it."""
        self._spare = _LOOKS_AT_CHANGED
        """How many more looks actions that change it bring about."""
        self.seen_at = -1
        """How many outermost actions had ended at the last look."""
        self.look()
        self._began: dict[str, Any] = {**self.last, **self._copies(value)}

    def is_looked_at(self) -> bool:
        """Whether a look at it may tell something yet."""
        return self.is_moving or self.looks_left > 0

    @property
    def is_object(self) -> bool:
        """Whether it is one that agents hold: no generator, no module."""
        return not self._is_generator and self._names is None

    def value(self) -> object | None:
        """The object; None once it is gone."""
        return self._refer()

    def _copies(self, value: object) -> dict[str, Any]:
        parts = {name: _part(value, name) for name in self._marks}
        copies = {name: copy.deepcopy(part) for name, part in parts.items()}
        return copies | {name: kept.copy for name, kept in self._values.items()}

    def look(self) -> Moves | None:
        """What differs from the last look, None for nothing; this is the last one now."""
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
        if has_waiters(type(value)):
            attributes = {name: each for name, each in attributes.items() if name not in WAITING}
        for name in list(self._marks):
            self._look_at(found, name, attributes.get(name))
        differing = _differing(attributes, self.last, self._skipped)
        if differing is not None:
            self._take(found, attributes, differing)
        for name in list(self._values):
            self._look_at_value(found, name, attributes.get(name))
        self._entries = None if has_waiters(type(value)) else self._list_entries(attributes)
        return found or None

    def _list_entries(self, attributes: Mapping[str, Any]) -> list[Entry] | None:
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
                if not _is_long(new) and (before == before or new == new):  # two NaN are the same
                    is_told = before is not _NEVER and not _is_long(before)
                    found[name] = {"was": before, "now": new} if is_told else {"now": new}
                continue
            if is_own_stream(new) and name not in self._marks:
                self._look_at(found, name, new)
            self._skipped[name] = type(new)
            last.pop(name, None)
            self._values.pop(name, None)  # it is of another type now
            taken = copied(new) if len(self._values) < _MOST_VALUES else None
            if taken is not None:
                self._values[name] = _Kept(taken, new)
                found[name] = {"now": taken.value}
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
                found[name]["was"] = _text_of_mark(before)

    def _look_at_value(self, found: Moves, name: str, value: object) -> None:
        kept = self._values[name]
        is_in_place = id(value) == kept.identity
        if is_in_place:
            if kept.is_left_alone:
                return
            if kept.size > _SMALL_ITEMS:
                kept.looks_left -= 1
        if is_same(kept.copy, value, has_records=kept.has_records):
            kept.identity = id(value)
            return
        taken = copied(value)
        if taken is None:
            del self._values[name]
            if type(value) not in SCALARS:
                found[name] = {"lost": True}
            return
        if name not in found:
            found[name] = {"was_content": content_of(kept.copy).text, "now": taken.value}
            if is_in_place:
                found[name]["in_place"] = True
        self._values[name] = fresh = _Kept(taken, value)
        fresh.looks_left = kept.looks_left + _LOOKS

    def acted(self) -> None:
        """An action ended: what differs from the last look, it changed."""
        moves = self.look()
        if moves is None:
            return
        # What actions change often is what other code changes, too, though perhaps late.
        more = max(0, min(self._spare, _LOOKS - self.looks_left))
        self.looks_left += more
        self._spare -= more
        if self.is_moving:
            self._acted.update(name for name in moves if name in self.last)

    def told(self, moves: Moves, *, is_sure: bool) -> Moves:
        """The same with what was there at first, once for each attribute, and what actions left in others."""
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
    """What the agents of one pipeline hold.

    Args:
        is_on: whether anything is looked at.
    """

    __slots__ = (
        "_ended", "_globals", "_is_on", "_known", "_moving", "_numbers", "_with_moving", "has_written",
        "is_settled", "is_watching",
    )  # fmt: skip

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self._known: dict[int, HeldObject] = {}
        self._moving: list[HeldObject] = []
        self._with_moving: dict[tuple[HeldObject, ...], tuple[HeldObject, ...]] = {}
        """What an agent holds, with what is moving; empty again where more moves."""
        self._globals: dict[str, frozenset[str]] = {}
        """Which global names are looked at, by module."""
        self._numbers = itertools.count(1)
        self.is_watching = is_on
        """Whether actions count of agents, too, that hold nothing of this kind."""
        self._ended = 0
        self.is_settled = not is_on
        """Whether so many actions have ended that no more than what moves is looked at."""
        self.has_written = False
        """Whether anything else than an action was seen to change an object."""

    def of(
        self, obj: object, fields: Mapping[str, Any], is_object: Callable[[object], bool], *, is_first: bool
    ) -> dict[str, HeldObject]:
        """What an agent holds, by field, and the module of its class.

        Args:
            obj: the agent.
            fields: its state.
            is_object: whether a value can change and is no agent.
            is_first: the agent's first action begins.
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
        fields: Mapping[str, Any],
        is_object: Callable[[object], bool],
        more_looks: int,
    ) -> None:
        for name, value in fields.items():
            attributes = None if type(value) in SCALARS else live_attributes(value)
            if attributes is None or not is_object(value):
                continue
            self._add(found, name, value, more_looks, holder=obj)
            for inner, part in tuple(attributes.items()) if len(attributes) <= _MOST_ATTRIBUTES else ():
                if type(part) in SCALARS or not is_object(part):
                    continue
                if self._is_known(part) or _holds_values(part):
                    self._add(found, f"{name}.{inner}", part, more_looks, holder=obj)
        for place, generator in generators_in_fields(fields):
            if is_own_stream(generator):
                self._add(found, place, generator, more_looks)
        module = sys.modules.get(type(obj).__module__)
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
            held.looks_left += more_looks
        if held is not None and held.is_looked_at():
            found[place] = held

    def is_written(self, value: object) -> bool:
        """Whether something else than an action was seen to change that very object."""
        known = self._known.get(id(value))
        return known is not None and known.is_written and known.value() is value

    def _is_known(self, value: object) -> bool:
        known = self._known.get(id(value))
        return known is not None and known.value() is value

    def _one(self, value: object, names: Collection[str] | None, holder: Holder) -> HeldObject | None:
        known = self._known.get(id(value))
        if known is not None and known.value() is value:
            return known
        if len(self._known) >= _MOST_OBJECTS:
            self._known = {key: each for key, each in self._known.items() if each.value() is not None}
            if len(self._known) >= _MOST_OBJECTS:
                return None
        held = self._known[id(value)] = HeldObject(next(self._numbers), value, names, holder)
        held.seen_at = self._ended
        held.looks_left = 0
        return held

    def begins(self, held: tuple[HeldObject, ...], *, is_over: bool = False) -> dict[int, Moves]:
        """What was changed since the last action ended.

        Args:
            held: what the agent holds whose outermost action begins.
            is_over: no action begins: recording ends.
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
                self._with_moving.clear()
            is_sure = self.is_watching and each.seen_at == self._ended
            if moves and is_sure and each.is_object:
                each.is_written = self.has_written = True
            told = each.told(moves or {}, is_sure=is_sure)
            if told:
                moved[each.number] = told
        self.is_watching = self.is_watching or bool(moved)
        return moved

    def ended(self, held: tuple[HeldObject, ...], *, is_last: bool) -> None:
        """It ended: what it changed is its own.

        Args:
            is_last: whether no other is open.
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
        """What may be moved without the agent's doing, too: at first all that is known."""
        if not self.is_settled:
            more = tuple(self._known.values())[:_MOST_MOVING]  # a copy: other threads add to it
            return tuple(dict.fromkeys((*held, *more)))
        found = self._with_moving.get(held)
        if found is None:
            if len(self._with_moving) >= _MOST_OBJECTS:
                self._with_moving.clear()
            found = tuple(dict.fromkeys((*held, *self._moving[:_MOST_MOVING])))
            self._with_moving[held] = found
        return found


def _holds_values(value: object) -> bool:
    return any(map(is_followed, (live_attributes(value) or {}).values()))


def _is_long(value: object) -> bool:
    return type(value) is str and len(value) > _MOST_TEXT


def live_attributes(value: object) -> dict[str, Any] | None:
    """The very dict of an object's attributes, or one of its slots, read without code of its class.

    None where it has neither.
    """
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        slots = _slots_of(type(value))
        return dict(_in_slots(value, slots)) if slots else None
    return found if type(found) is dict else None


def set_attribute(held: object, name: str, value: Any) -> None:
    """Set what `live_attributes` reads, without code of the class."""
    found = live_attributes(held)
    if found is not None and not _slots_of(type(held)):
        found[name] = value
    else:
        object.__setattr__(held, name, value)


def _in_slots(value: object, slots: Mapping[str, MemberDescriptorType]) -> Iterator[tuple[str, Any]]:
    for name, slot in slots.items():
        try:
            yield name, slot.__get__(value)
        except AttributeError:
            continue  # nothing was put there


def _slots_of(cls: type) -> Mapping[str, MemberDescriptorType]:
    """The slots of a class whose objects have no `__dict__`."""
    try:
        found = _slots.get(cls)
    except Exception:  # noqa: BLE001 - a metaclass whose __hash__ raises
        return {}
    if found is None:
        bases = [vars(base) for base in type.__dict__["__mro__"].__get__(cls)]
        found = {
            name: slot
            for base in bases
            if "__slots__" in base
            for name, slot in base.items()
            if type(slot) is MemberDescriptorType and name != "__weakref__"
        }
        has_dict = any("__dict__" in base for base in bases)
        found = remember(_slots, cls, {} if has_dict else found)
    return found


_slots: dict[type, Mapping[str, MemberDescriptorType]] = {}


def is_own_stream(value: object) -> bool:
    """Whether it is a generator of numpy or `random` whose draws are not recorded one by one."""
    if sort_of(type(value)) is not Sort.GENERATOR:
        return False
    if type(value).__module__.startswith("numpy.random"):
        return not hasattr(value, "agent_trace_adopted")
    return _is_random(value) and "getrandbits" not in vars(value)


def _is_random(value: object) -> bool:
    cls = type(value)
    return cls.__name__ == "Random" and f"{cls.__module__}.{cls.__qualname__}" == "random.Random"


def generators_in_fields(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The generators in values of plain containers and dataclasses, each with its place.

    That is the field, and behind a `#` the number there, from 0, of one that is not the field's value itself.
    """
    for name, value in fields.items():
        if type(value) in SCALARS:
            continue
        for number, generator in enumerate(_generators(value, _MAX_DEPTH, {})):
            yield name if generator is value else f"{name}#{number}", generator


def is_seen(value: object, depth: int, seen: dict[int, int]) -> bool:
    """Whether a walk was at the value already, with at least as many levels below it to go; notes it if not.

    Args:
        value: lives as long as the walk.
        depth: the levels that are left.
        seen: the levels that were left, by id.
    """
    if seen.get(id(value), -1) >= depth:
        return True
    seen[id(value)] = depth
    return False


def _generators(value: Any, depth: int, seen: dict[int, int]) -> Iterator[Any]:
    if sort_of(type(value)) is Sort.GENERATOR:
        yield value
        return
    if not depth or is_seen(value, depth, seen):
        return
    for item in _items(value):
        if type(item) not in SCALARS:
            yield from _generators(item, depth - 1, seen)


def _items(value: Any) -> Collection[Any]:
    """What is in a container, a copy, read without code of its class; nothing of what is large."""
    for base, read in _CONTAINERS.items():
        if isinstance(value, base):
            return tuple(read(value)) if base.__len__(value) <= _MOST_ITEMS else ()
    is_dataclass = hasattr(type(value), "__dataclass_fields__")
    return tuple((live_attributes(value) or {}).values()) if is_dataclass else ()


_CONTAINERS: dict[Any, Any] = {
    dict: dict.values,
    list: list.__iter__,
    tuple: tuple.__iter__,
    set: set.__iter__,
    frozenset: frozenset.__iter__,
}


def generator_mark(generator: Any) -> str:
    """A short text that changes when a generator is drawn from."""
    return _text_of_mark(position_of(generator))


def position_of(generator: Any) -> Position:
    """What changes when a generator is drawn from: some of its state."""
    bits = getattr(generator, "bit_generator", None)
    if bits is not None:
        state = bits.state
        inner = state["state"]
        number = inner.get("state")
        if type(number) is int:
            return number, state["has_uint32"]
    elif hasattr(generator, "getstate"):
        found = None if native is None else native.random_mark(generator)
        if found is None:
            words = generator.getstate()[1]
            found = words[0], words[-1]
        return *found, str(getattr(generator, "gauss_next", None))
    else:
        state = generator.get_state(legacy=False)
        inner = state["state"]
    more = () if bits is not None else (str(state["has_gauss"]),)
    if "pos" in inner:
        return int(inner["key"][0]), int(inner["pos"]), *more
    if isinstance(inner.get("state"), int):
        return int(inner["state"]), state["has_uint32"]
    counted = inner.get("counter", inner.get("state"))
    return *map(int, counted), state.get("buffer_pos", 0), state["has_uint32"], *more


def _text_of_mark(position: Position) -> str:
    """Numbers in base 16."""
    return ".".join(f"{part:x}" if type(part) is int else str(part) for part in position)


def global_generators(cls: type) -> dict[str, Any]:
    """The generators of `random` that are global in the module of a class, each with its name."""
    module = sys.modules.get(cls.__module__)
    found = vars(module) if isinstance(module, ModuleType) else {}
    return {name: value for name, value in list(found.items()) if _is_random(value)}


def _names_of_globals(module: ModuleType) -> frozenset[str]:
    """The global names of a module that its functions and methods assign, and those of numpy's generators."""
    own = vars(module)
    names = {name for name, value in list(own.items()) if is_own_stream(value)}
    functions = [value for value in list(own.values()) if isinstance(value, FunctionType)]
    for cls in list(own.values()):
        if isinstance(cls, type) and cls.__module__ == module.__name__:
            for each in list(vars(cls).values()):
                method = each.__func__ if isinstance(each, (staticmethod, classmethod)) else each
                if isinstance(method, FunctionType):
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


def _reference(value: object, holder: Holder | None) -> Callable[[], object | None]:
    try:
        return weakref.ref(value)
    except TypeError:
        pass
    agent, place = holder or (None, "")
    try:
        agent_reference = weakref.ref(agent)
    except TypeError:
        return lambda: value
    identity, kind = id(value), type(value)

    def refer() -> object | None:
        """The value while the agent holds it: an object with slots may have no weak references."""
        found: object = agent_reference()
        for name in place.split("."):
            found = (live_attributes(found) or {}).get(name)
        return found if id(found) == identity and type(found) is kind else None

    return refer


def _differing_in_python(
    present: dict[str, Any], last: dict[str, Any], skipped: Mapping[str, type]
) -> list[tuple[str, Any]]:
    return [
        (name, value)
        for name, value in present.items()
        if skipped.get(name) is not type(value)
        and (name not in last or type(last[name]) is not type(value) or last[name] != value)
    ]


def _all_of(objects: tuple[HeldObject, ...], _mark_of: object, _seen_at: object) -> tuple[HeldObject, ...]:
    return objects


_differing: Any = _differing_in_python if native is None else native.differing
_unlike_before: Any = _all_of if native is None else native.unlike_before
if native is not None:
    native.learn({"HeldObject": HeldObject, "_Kept": _Kept})
