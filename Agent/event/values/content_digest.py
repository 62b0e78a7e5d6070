"""The digest of the whole content of a value, for values that no codec restores.

Two values have equal digests if their classes, attributes, items and bytes are equal; functions, if their
names and the values that they hold are equal. The walk calls no method of the value and consumes nothing.
`class_contents.py` defines the content by class.

Lists, mappings and values of restorable classes count by content, even if they occur more than once. Other
objects count by identity: a second occurrence is written as the position of the first. Objects more than
`NEAR_NODES` away count as a member of another field, if they are one.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from operator import methodcaller
from types import CodeType
from typing import Any

import orjson

from Agent.event.classes import class_name, name_or_kind
from Agent.event.limits_of_time import pass_on
from Agent.event.script_names import (
    class_text,
    directories,
    imported,
    is_changed_elsewhere,
    module_name,
    text_elsewhere,
    without_script,
)
from Agent.event.values.class_contents import (
    Name,
    Pieces,
    Unreadable,
    digests_without_code,
    handle_of,
    is_over_memory,
    pieces_of,
    reference_of,
)
from Agent.event.values.codecs import (
    ClassPlan,
    attributes_beyond,
    exact_way,
    plan_attributes,
    plan_of,
    registered_codec,
    with_own,
)
from Agent.event.values.digest import ALGORITHM, HIDING, digest_bytes, leaves_out_secrets, short_digest
from Agent.event.values.opaque import (
    LARGE_BYTES,
    MANY_NODES,
    Content,
    OpaqueKind,
    ReachedObjects,
    StandIn,
    count_in_vain,
    often_reference,
)
from Agent.event.values.plain import (
    DUMP_OPTIONS,
    EPOCH_S,
    MOST_MADE,
    SCALARS,
    SHORTEST_MADE,
    all_scalars,
    all_strings,
    any_may_be_made,
    any_nonfinite,
    ask_memory_for_more,
    write_json,
)
from Agent.event.values.reading import NO_SECRETS, USUAL, AgentOf, Hides, Limits, Named, Reading

MAX_NODES = 100_000
MAX_BYTES = 16_000_000
_WIDE = Limits(max_string_chars=MAX_BYTES, max_bytes=MAX_BYTES, max_items=MAX_NODES, max_depth=64)
_SHARED_GENERATORS = frozenset(["Random", "Generator", "RandomState"])
_SHORTEST_SECRET = 7
_HIDDEN = b"<hidden>"
FEW_NODES = 64  # so small an object is always walked: its digest is that of its content
NEAR_NODES = 200  # objects so near are digested by content: about as deep as the line of an action describes


class _HoldsMuch(Exception):
    """A walk from an object that an earlier walk reached exceeds `FEW_NODES`; the content instead of it."""


def generators_counted(value: object, agent_of: AgentOf | None = None) -> list[Any]:
    """Return the random generators whose state is part of a value's digest; empty if it has no digest."""
    walk = _Walk(agent_of, USUAL)
    try:
        walk.run(value)
    except Exception as error:  # noqa: BLE001 - `content_of` reports it
        pass_on(error)
        return []
    return walk.generators()


def content_of(
    value: object,
    agent_of: AgentOf | None = None,
    reading: Reading = USUAL,
    reached: ReachedObjects | None = None,
) -> Content:
    """Return the content of a value that is not an agent; never raises.

    Args:
        value: anything.
        agent_of: returns the id of an agent, None for other objects; agents count by their ids.
        reading: how the value is read.
        reached: objects that walks over other parts of the same value reached; this walk adds its own.
    """
    by_place = None if reached is None else reached.by_place(value)
    try:
        if type(value) is Named:
            return Content(OpaqueKind.REFERENCE, value.reference)
        plan = plan_of(type(value))
        if plan.is_named:
            named = _named(value)
            if named is not None:
                return named
        elif plan.is_simple and not plan.is_value and plan.carried is None:
            content = _of_scalars(value, plan, reading.hides)
            if content is not None:
                return content
        known = often_reference(type(value))
        if known is not None:
            return with_own(value, plan, known, reading)
        walk = _Walk(agent_of, reading, reached=reached, instead=by_place)
        content = walk.of(value)
        if walk.may_hold_made:
            content = _with_made(value, agent_of, reading, content)
        if not walk.has_code:
            if reached is not None:
                walk.note_reached(reached, content)
            return content

        # Leave ids and moments out here, too, so that code and ids may both differ.
        rest = partial(_Walk, agent_of, reading, leaves_out_code=True, made=[] if content.made else None)
        return content._replace(**digests_without_code(value, lambda: rest().of(value).text, content_of))
    except _HoldsMuch as error:
        return error.args[0]  # type: ignore[no-any-return]
    except Unreadable as error:
        content = Content(OpaqueKind.UNSEEN, str(error))
        return _counted(value, plan, content, walk) if str(error).startswith(_TOO_LARGE) else content
    except _LeadsToAgents:
        reference = Content(OpaqueKind.REFERENCE, f"environment {class_text(type(value))}")
        return with_own(value, plan, _counted(value, plan, reference, walk), reading)
    except Exception as error:  # noqa: BLE001 - a foreign class may raise anything
        pass_on(error)
        return Content(OpaqueKind.UNSEEN, f"{class_name(type(error))} while it was read")


def whole_digest(
    value: object, agent_of: AgentOf, hides: Hides | None, reached: ReachedObjects, *, with_code: bool = False
) -> str | None:
    """Return the digest of the whole content of a value of any size; None if it cannot be read.

    Agents count by id; ids and moments that a library may have made are left out unless `reached.made` is
    None, code unless `with_code`. An object that an earlier walk reached counts by its position there. The
    limit applies to all walks with this `reached`.
    """
    by_place = reached.by_place(value)
    if by_place is None and reached.nodes > MAX_NODES:
        return None
    how: dict[str, Any] = {"leaves_out_code": not with_code, "made": reached.made}
    walk = _Walk(agent_of, Reading(hides=hides), reached=reached, instead=by_place, **how)
    try:
        content = walk.of(value)
    except _HoldsMuch as error:
        return error.args[0].text  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001 - too large, or an exception of a foreign class
        pass_on(error)
        walk.note_failure(reached)
        return None
    walk.note_reached(reached, content)
    return content.text


def _with_made(value: object, agent_of: AgentOf | None, reading: Reading, content: Content) -> Content:
    """Add the ids and moments in the content, and the digest of the rest."""
    asked = content.text, reading.hides, reading.owner, reading.most_with_agents
    known = _made.get(asked)
    if known is not None:
        return content._replace(made=known[0], without_made=known[1])
    made: list[str | float] = []
    walk = _Walk(agent_of, reading, made=made)
    walk.run(value)
    if not 0 < len(made) <= MOST_MADE:
        return content
    content = content._replace(made=tuple(made), without_made=walk.content().text)
    if walk.is_near() and not any(type(each) is str and is_changed_elsewhere(each) for each in made):
        if len(_made) >= _MOST_KNOWN:
            _made.clear()
        _made[asked] = content.made, content.without_made
    return content


_made: dict[tuple[Any, ...], tuple[tuple[str | float, ...], str]] = {}
"""The ids and moments of contents, and the digests without them: equal contents have equal ones."""
_MOST_KNOWN = 256


_TOO_LARGE = "more than "
_TOO_MANY_BYTES = f"{_TOO_LARGE}{MAX_BYTES // 1_000_000} MB"


def _counted(value: object, plan: ClassPlan, content: Content, walk: _Walk) -> Content:
    """Count that an object of a class outside the standard library was too large to be compared."""
    cls = type(value)
    module = class_name(cls).partition(".")[0]
    if plan.is_simple and not plan.is_value and module not in sys.stdlib_module_names:
        count_in_vain(cls, content, walk.nodes)
    return content


def _of_scalars(value: object, plan: ClassPlan, hides: Hides | None) -> Content | None:
    """Return what the walk would for an object whose attributes are plain scalars; None for others."""
    attributes = plan_attributes(value, plan)
    values = attributes.values()
    if not attributes or len(attributes) > _FEW or not all_scalars(values) or not all_strings(attributes):
        return None
    if any_may_be_made(values):
        return None
    try:
        data = write_json(attributes, DUMP_OPTIONS | orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError):  # a large integer or a lone surrogate: left to the walk
        return None
    if data.find(b"null") >= 0 and any_nonfinite(values):
        return None
    if hides is not None and not hides.is_harmless(attributes, data):
        return None
    data = imported(data)
    raw = b"%sj.%d:%s" % (plan.head, len(data), data)
    return Content(OpaqueKind.COMPARABLE, f"{ALGORITHM}:{digest_bytes(raw)}", len(raw))


_FEW, _ASKED_EACH = 1_000, 100  # nodes
_SCALARS_A_NODE = 16  # a check in C of so many scalars costs less than one step of the walk


def _named(value: object) -> Content | None:
    if type(value) is StandIn:
        raise Unreadable("something of the process that was recorded")
    reference = reference_of(value)
    if reference is None and issubclass(type(value), type):
        return None  # a class that cannot be found by name
    if reference is not None:
        kind, _, name = reference.partition(" ")
        return Content(OpaqueKind.REFERENCE, f"{kind} {without_script(name)}")
    handle = handle_of(type(value))
    if handle == "file" and is_over_memory(value):
        raise Unreadable("a file over bytes in memory: what it holds back cannot be seen")
    return None if handle is None else Content(OpaqueKind.HANDLE, handle)


class _LeadsToAgents(Exception):
    """A large value leads to other agents: it is their environment."""


_Step = Callable[["_Walk", Any], None]
_Items = Collection[tuple[Any, Any]]


class _Walk:
    """One pass over one value, without recursion except for the members of sets."""

    __slots__ = (
        "_agent_of", "_agents", "_algorithm", "_begun", "_closed", "_generators", "_hides", "_instead",
        "_is_far", "_is_hiding", "_is_of_object", "_kept",
        "_leaves_out_code", "_made", "_marks", "_most_nodes", "_most_with_agents", "_nodes", "_open",
        "_order", "_out", "_owner", "_places", "_reached", "_read", "_sets", "_size_bytes", "_stands",
        "_steps", "has_code", "may_hold_made",
    )  # fmt: skip

    def __init__(
        self,
        agent_of: AgentOf | None,
        reading: Reading,
        *,
        leaves_out_code: bool = False,
        reached: ReachedObjects | None = None,
        instead: Content | None = None,
        made: list[str | float] | None = None,
    ) -> None:
        self._leaves_out_code = leaves_out_code
        self._made = made
        """Collects ids and moments, which are then left out of the digest."""
        self._reached = reached if reached is not None and reached.nodes > MANY_NODES else None
        self._instead = instead
        self._most_nodes = MAX_NODES if instead is None else FEW_NODES
        self._agent_of = agent_of
        self._hides, self._owner, self._most_with_agents, self._stands = (
            reading.hides, reading.owner, reading.most_with_agents, reading.places
        )  # fmt: skip
        self._agents: set[str | int] = set()
        self._out = bytearray()
        self._steps: list[Any] = []
        """Arguments, each followed by its `_Step`: a pair for each would make the garbage collector run."""
        self._open: dict[int, int] = {}
        self._closed: dict[int, tuple[Any, bytes]] = {}
        self._sets: dict[int, tuple[Any, bytes]] = {}
        """The bytes written for sets in which nothing counts by position."""
        self._places: dict[int, int] = {}
        self._order: list[int] = []
        self._generators: dict[int, tuple[str, Any] | bytes] = {}
        """The reduced form of each generator met so far, replaced by its digest when it occurs again: many
        objects may draw from one, and its state may have hundreds of numbers."""
        self._read = None if reached is None else reached.generators
        self._kept: list[Any] = []
        """Keeps visited objects alive, so that no `id()` is reused."""
        self._marks = self._nodes = 0
        self._begun: int | None = None
        """Number of nodes before the current set, whose members have no fixed order."""
        self._is_of_object = self._is_far = False
        """The walk began at an object; in a walk over a list, members would count as members of that list."""
        self._size_bytes = 0
        self._algorithm = ALGORITHM
        self.has_code = self.may_hold_made = self._is_hiding = False

    def content(self) -> Content:
        """Return the result of the pass."""
        digest, algorithm = digest_bytes(bytes(self._out)), self._algorithm
        if self.has_code:
            algorithm += f"/{sys.version_info[0]}.{sys.version_info[1]}"
        if self._is_hiding:
            algorithm += HIDING
        size_bytes = self._size_bytes + len(self._out)
        if size_bytes > MAX_BYTES:
            raise Unreadable(_TOO_MANY_BYTES)
        if self._is_far:
            size_bytes = max(size_bytes, LARGE_BYTES + 1)
        return Content(OpaqueKind.COMPARABLE, f"{algorithm}:{digest}", size_bytes, frozenset(self._agents))

    def of(self, value: Any) -> Content:
        """Walk over a value, and return its content."""
        try:
            self.run(value)
        finally:
            if self._stands is not None:
                self._stands.nodes += self._nodes
        return self.content()

    def run(self, value: Any) -> None:
        """Walk over a value and all that it holds."""
        if run_pass is not None:
            run_pass(self, value)
            return
        outer = self._steps
        steps = self._steps = [value, _Walk._visit]
        take = steps.pop
        try:
            while steps:
                step: _Step = take()
                step(self, take())
        finally:
            self._steps = outer

    @property
    def nodes(self) -> int:
        """How many values were visited."""
        return self._nodes

    def is_near(self) -> bool:
        """Whether the walk was so short that no object counted by its place because of its distance."""
        return self._nodes <= NEAR_NODES

    def generators(self) -> list[Any]:
        """Return the generators that were visited."""
        return [each for each in self._kept if id(each) in self._generators]

    def note_failure(self, reached: ReachedObjects) -> None:
        """Count the nodes of a walk that did not finish."""
        reached.nodes += self._nodes

    def note_reached(self, reached: ReachedObjects, content: Content) -> None:
        """Note the visited objects and their positions."""
        reached.nodes += self._nodes
        if self._nodes <= FEW_NODES:
            return
        # Of a large graph, most were reached before.
        fresh = {each: at for each, at in self._places.items() if each not in reached.places}
        kept = {id(each): each for each in self._kept if id(each) in fresh}
        reached.places.update({each: (content, at, kept.get(each)) for each, at in fresh.items()})

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if not self._nodes % _ASKED_EACH:
            ask_memory_for_more()
        if self._nodes > self._most_nodes:
            if self._instead is not None:
                raise _HoldsMuch(self._instead)
            raise Unreadable(f"{_TOO_LARGE}{MAX_NODES:,} values inside")
        if self._size_bytes + len(self._out) > MAX_BYTES:
            raise Unreadable(_TOO_MANY_BYTES)
        if self._most_with_agents is not None and self._nodes > self._most_with_agents and self._agents:
            raise _LeadsToAgents

    def _visit(self, value: Any) -> None:
        self._count(1)
        cls = type(value)
        if cls in _SCALARS:
            self._scalar(value, cls)
        elif cls is list or cls is tuple:
            self._sequence(value, b"[" if cls is list else b"(")
        elif cls is dict:
            self._plain_dict(value)
        else:
            self._other(value, cls)

    def _scalar(self, value: Any, cls: type) -> None:
        if cls is str:
            self._text(value)
        elif cls is int:
            self._integer(value)
        elif cls is float and value >= EPOCH_S[0] and any_may_be_made((value,)) and self._takes(value):
            self._out += b"v"
        elif cls is float:
            self._out += b"d" + (struct.pack(">d", value) if value == value else b"nan     ")
        elif cls is bytes:
            self._out += b"b%d:" % len(value) + value
        else:
            self._out += b"N" if value is None else b"T" if value else b"F"

    def _integer(self, value: int) -> None:
        self._out += b"i%x;" % value if value >= 0 else b"i-%x;" % -value

    def _text(self, value: str) -> None:
        if self._hides is not None and len(value) >= _SHORTEST_SECRET:
            clean = self._hides.text(value)
            if clean is not value and clean != value:
                self._is_hiding = True
                self._out += b"h" + _HIDDEN
                return
        if len(value) >= SHORTEST_MADE and any_may_be_made((value,)) and self._takes(value):
            self._out += b"v"
            return
        if value == "__main__":
            value = str(module_name(value))
        data = text_elsewhere(value)
        self._out += b"s%d:" % len(data) + data

    def _takes(self, value: str | float) -> bool:
        """Whether to collect an id or a moment; not inside sets, whose members have no order."""
        self.may_hold_made = self.may_hold_made or self._begun is None
        if self._made is None or self._begun is not None:
            return False
        self._made.append(value)
        return True

    def _sequence(self, value: Any, head: bytes) -> None:
        items = value[:]
        if self._flat(items, items, head):
            return
        if self._enter(value):
            self._out += head + b"%d:" % len(items)
            self._push(items)

    def _plain_dict(self, value: dict[Any, Any]) -> None:
        copy = value.copy()
        if self._flat_mapping(copy):
            return
        if self._enter(value):
            self._pairs(copy.items())

    def _flat_mapping(self, value: dict[Any, Any]) -> bool:
        """Write a mapping of strings or integers to plain scalars in one C call; False for other mappings."""
        if all_strings(value):
            return self._flat(value, list(value.values()), b"{")
        if not _INTEGERS.issuperset(map(type, value)):
            return False
        parts = [part for item in value.items() for part in item]
        return self._flat(parts, parts, b"k")

    def _flat(self, container: Any, values: list[Any], head: bytes) -> bool:
        """Write plain scalars in one C call; False for other values and secrets."""
        try:
            kinds = set(map(type, values))
            if not SCALARS.issuperset(kinds):
                return False
        except Exception:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
            return False
        # Integers without names hold no secret, and each is short.
        is_counting = _COUNTING.issuperset(kinds) and type(container) is not dict
        keys = container if type(container) is dict else ()
        if not is_counting and len(values) <= _FEW and (any_may_be_made(values) or any_may_be_made(keys)):
            self.may_hold_made = self.may_hold_made or self._begun is None
            if self._made is not None:
                return False
        try:
            data = write_json(container, DUMP_OPTIONS)
        except (TypeError, ValueError):
            return False
        if not is_counting:
            if float in kinds and data.find(b"null") >= 0 and any_nonfinite(values):
                return False
            if self._hides is not None and not self._is_harmless(container, values, data):
                return False
        self._count(len(values) // _SCALARS_A_NODE)
        data = imported(data)
        self._out += b"j" + head + b"%d:" % len(data) + data
        return True

    def _is_harmless(self, container: Any, values: list[Any], data: bytes) -> bool:
        hides: Any = self._hides
        names = container if type(container) is dict else ()
        if hides.is_harmless(names, data):
            return True
        pairs = zip(names, values, strict=False)
        if any(hides.is_denied(name) and value not in NO_SECRETS for name, value in pairs):
            return False
        return all(type(each) is not str or hides.text(each) == each for each in values)

    def _attributes(self, items: _Items) -> None:
        self._pairs(items, b".")

    def _pairs(self, items: _Items, head: bytes = b"{") -> None:
        self._out += head + b"%d:" % len(items)
        self._steps += [iter(items), _Walk._next_pairs]

    def _next_pairs(self, pairs: Iterator[tuple[Any, Any]]) -> None:
        """Write pairs until one needs its own step, and continue after it later."""
        is_denied = None if self._hides is None else self._hides.is_denied
        for key, item in pairs:
            visit = _Walk._visit
            if type(key) is str:
                self._text(key)
                if is_denied is not None and is_denied(key):
                    visit = _Walk._hide
            elif type(key) is int:
                self._integer(key)
            else:
                self._steps += [pairs, _Walk._next_pairs, item, visit, key, visit]
                return
            cls = type(item)
            if cls in _SCALARS and visit is _Walk._visit:
                self._count(1)
                self._scalar(item, cls)
            else:
                self._steps += [pairs, _Walk._next_pairs, item, visit]
                return

    def _hide(self, value: Any) -> None:
        if type(value) in SCALARS and value in NO_SECRETS:
            self._visit(value)
            return
        self._is_hiding = True
        self._out += b"h" + _HIDDEN

    def _push(self, values: Iterable[Any]) -> None:
        self._steps += [iter(values), _Walk._next_values]

    def _next_values(self, values: Iterator[Any]) -> None:
        for value in values:
            cls = type(value)
            if cls in _SCALARS:
                self._count(1)
                self._scalar(value, cls)
            else:
                self._steps += [values, _Walk._next_values, value, _Walk._visit]
                return

    def _enter(self, value: Any) -> bool:
        """Begin a value that counts by content; False if it was already written."""
        identity = id(value)
        known = self._closed.get(identity)
        if known is not None:
            self._out += known[1]
            return False
        depth = self._open.get(identity)
        if depth is not None:
            self._marks += 1
            self._out += b"^%d;" % (len(self._open) - depth)
            return False
        self._open[identity] = len(self._open)
        self._steps += [self._marks, len(self._out), value, _Walk._close]
        return True

    def _close(self, value: Any) -> None:
        start, marks = self._steps.pop(), self._steps.pop()
        del self._open[id(value)]
        if self._marks != marks or len(self._out) - start < 64:
            self._kept.append(value)
            return
        short = b"#" + short_digest(bytes(self._out[start:]))
        self._size_bytes += len(self._out) - start - len(short)
        del self._out[start:]
        self._out += short
        self._closed[id(value)] = (value, short)

    def _other(self, value: Any, cls: type) -> None:
        agent = None if self._agent_of is None else self._agent_of(value)
        if type(agent) is str or type(agent) is int:
            if agent != self._owner:
                self._agents.add(agent)
            self._out += b"a"
            self._scalar(agent, type(agent))
            return
        self._no_agent(value, cls)

    def _no_agent(self, value: Any, cls: type) -> None:
        plan = plan_of(cls)
        if plan.is_named:
            named = _named(value)
            if named is not None:
                self._out += b"n"
                self._text(f"{named.kind} {named.text}")
                return
        if cls is CodeType and self._leaves_out_code:
            self._out += b"c"
            return
        if cls is Name:
            self._out += b"q"
            self._push([module_name(value.module), value.name])
            return
        self._kept.append(value)
        if not plan.is_simple and (
            self._members(value, cls) or self._exact(value, cls) or self._registered(value, cls)
        ):
            return
        if self._enter(value) if plan.is_value else self._begin_object(value):
            self._object(value, plan)

    def _begin_object(self, value: Any) -> bool:
        """Assign a position to an object; False if it has one, or counts by reference, and is written."""
        self._marks += 1
        position = self._places.get(id(value))
        if position is not None:
            self._out += b"@%d;" % position
            return False
        if self._stands is not None and self._nodes > 1:  # the first node is the value itself
            name = self._stands.field_of(value)
            if name is not None:
                self._out += b"."
                self._text(name)
                return False
        nodes = self._nodes if self._begun is None else self._begun
        if nodes == 1:
            self._is_of_object = True
        elif self._stands is not None and nodes > NEAR_NODES and self._is_of_object:
            member = self._stands.member_of(value)
            if member is not None:
                self._is_far = True
                self._out += b"/"
                self._text(member[0])
                self._integer(member[1])
                return False
        if self._reached is not None and nodes > FEW_NODES:
            content = self._reached.by_place(value)
            if content is not None:
                self._agents |= content.agents
                self._is_hiding = self._is_hiding or leaves_out_secrets(content.text)
                # A digest may look like an id that a library made, which `_text` would take.
                self._out += b"&s%d:%s" % (len(content.text), content.text.encode())
                return False
        self._places[id(value)] = len(self._places)
        self._order.append(id(value))
        return True

    def _members(self, value: Any, cls: type) -> bool:
        if cls is not set and cls is not frozenset:
            return False
        known = self._sets.get(id(value))
        if known is not None:
            self._count(1)
            self._out += known[1]
            return True
        start, marks = len(self._out), self._marks
        self._set(b"<" if cls is set else b"f", list(value))
        if self._marks == marks:
            self._sets[id(value)] = (value, bytes(self._out[start:]))
        return True

    def _set(self, head: bytes, members: list[Any]) -> None:
        """Write members in an order independent of hashes; what members share is not compared."""
        parts = []
        outer, self._begun = self._begun, self._nodes if self._begun is None else self._begun
        for member in members:
            start, begun, known = len(self._out), len(self._order), len(self._generators)
            self.run(member)
            parts.append(bytes(self._out[start:]))
            del self._out[start:]
            for identity in self._order[begun:]:
                del self._places[identity]
            del self._order[begun:]
            for identity in list(self._generators)[known:]:
                del self._generators[identity]
        self._begun = outer
        self._out += head + b"%d:" % len(parts)
        for part in sorted(parts):
            self._out += b"%d:" % len(part) + part

    def _exact(self, value: Any, cls: type) -> bool:
        """Write values of the standard library and numpy by their codecs, where those are short."""
        way = exact_way(cls)
        if way is None:
            return False
        before = self._generators.get(id(value))
        if before is not None:
            if type(before) is not bytes:
                before = self._generators[id(value)] = short_digest(repr(before).encode())
            self._marks += 1
            self._out += b"=" + before
            return True
        # If draws are recorded, they are compared instead of the state.
        if cls.__name__ == "Random" and hasattr(vars(value).get("random"), "agent_trace_adopted"):
            self._out += b"a"
            if beyond := attributes_beyond(value):
                self._push([beyond])
            return True
        known = self._read.get(id(value)) if self._read else None
        try:
            tag, reduced = way[0](value, _WIDE) if known is None else known[1]
        except ValueError:
            return False
        if cls.__name__ in _SHARED_GENERATORS:
            self._marks += 1
            self._generators[id(value)] = tag, reduced
            if self._read is not None:
                self._read[id(value)] = value, (tag, reduced)
        self._out += b"r"
        self._push([tag, reduced])
        return True

    def _registered(self, value: Any, cls: type) -> bool:
        codec = registered_codec(cls)
        if codec is None:
            return False
        self._out += b"c"
        self._push([class_text(cls), codec.encode(value)])
        return True

    def _object(self, value: Any, plan: ClassPlan) -> None:
        """Write class, content and attributes of any other object."""
        pieces = None if plan.is_simple else pieces_of(value, plan.base)
        self._out += plan.head
        if plan.carried is not None:
            self._pieces(plan.carried)
        attributes = plan_attributes(value, plan)
        are_named = all_strings(attributes)
        if attributes and not (are_named and self._flat_attributes(attributes)):
            if are_named:  # a dict has fewer objects than the same number of pairs
                items: _Items = {
                    name: attributes[name] for name in sorted(attributes, key=name_or_kind)
                }.items()
            else:
                items = sorted(attributes.items(), key=lambda item: name_or_kind(item[0]))
            self._steps += [items, _Walk._attributes]
        if pieces is not None:
            self._pieces(pieces)

    def _flat_attributes(self, attributes: Mapping[str, Any]) -> bool:
        if not all_scalars(attributes.values()):
            return False
        # UTF-8 order, as in `_of_scalars`.
        ordered = {name: attributes[name] for name in sorted(attributes, key=_utf8)}
        return self._flat(ordered, list(ordered.values()), b".")

    def _pieces(self, pieces: Pieces) -> None:
        self._out += b"p"
        self._text(pieces.label)
        self.has_code = self.has_code or pieces.has_code
        self._algorithm = max(self._algorithm, pieces.algorithm)
        if pieces.raw is not None:
            self._count(1)
            self._out += b"b%d:" % len(pieces.raw) + pieces.raw
        if pieces.members is not None:
            self._set(b"<", list(pieces.members))
        if pieces.mapping is not None:
            self._steps += [list(pieces.mapping), _Walk._pairs]
        if pieces.ordered:
            self._out += b"%d:" % len(pieces.ordered)
            self._push(pieces.ordered)


run_pass: Callable[[_Walk, Any], None] | None = None
"""The loop of `_Walk.run` in C, which takes the same steps; `record/` sets it."""
USED_BY_PASS = (
    *(_Walk, short_digest, imported, orjson.dumps, DUMP_OPTIONS, directories),
    *(Pieces, Name, _named, module_name, ALGORITHM),
)
_SCALARS = SCALARS | {bytes}
_INTEGERS = frozenset({int})
_COUNTING = frozenset({int, bool, type(None)})
_utf8 = methodcaller("encode", "utf-8", "surrogatepass")
