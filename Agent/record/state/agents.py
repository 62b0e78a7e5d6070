"""Maps objects to agents, by their `agent_id`, by their logger, or by the identity that `instrument` set.

`Probe` finds out whether code other than traced actions changes objects that several agents hold, or that
others reach through their holder. A single agent's state does not show whose action changed them. So they are
compared whenever one of the first outermost actions of the program ends, and again when the next one begins.
An agent that changes an object counts as one of its holders.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from types import (
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, NamedTuple

from Agent.event.classes import (
    MOST_CLASSES,
    attribute_or_none,
    attributes_of,
    by_class,
    class_name,
    find_in_classes,
    is_partial,
    module_of_class,
)
from Agent.event.limits_of_time import pass_on
from Agent.event.values.class_codecs import class_reducer
from Agent.event.values.codecs import REGISTERED
from Agent.event.values.content_digest import content_of
from Agent.event.values.opaque import OpaqueKind, ReachedObjects, often_reference
from Agent.event.values.reading import Hides, Places, Reading
from Agent.record.encode.capture import Judge
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.native import native
from Agent.record.encode.safe_text import as_message
from Agent.record.health import note, say
from Agent.record.state.agent_writes import BetweenActions
from Agent.record.state.followed_values import has_traced_methods, is_value
from Agent.record.state.identity import (
    Identity,
    identities,
    identity_of,
    inherited,
    object_identities,
    unrecorded,
)
from Agent.record.state.tracker import Known, StateTracker

_warned: set[str] = set()
"""Messages that were printed, and names of classes that were reported."""
_LOOKED_THROUGH, _PASSED_OVER = 2, 8
_MOST_IDS = 65_536
"""Of more agents it is forgotten which object acts as which."""


def describe(obj: object, *, asks: bool = True) -> tuple[str, str | None] | None:
    """Return the id and role of an agent; None for any other object.

    Args:
        asks: whether to run code of the class that computes them, such as a property.
    """
    identity = identity_of(obj)
    if identity is None and _answers_anything(type(obj)) and not _holds(obj, "agent_id"):
        return _answered(obj)
    if identity is not None:
        role: object = identity.agent_role
        if callable(identity.agent_id):
            return as_message(identity.agent_id(obj)), _role(role)
        if identity.agent_id is not None:
            named = attribute_or_none(obj, identity.agent_id)
            return as_message(getattr(obj, identity.agent_id) if named is None else named), _role(role)
        if _answers_anything(type(obj)) and not _holds(obj, "agent_id"):
            return _usual_name(obj), _role(role)
    else:
        role = _own(obj, "agent_role", asks=asks)
    agent_id = _own(obj, "agent_id", asks=asks)
    logger = _own(obj, "logger", asks=asks)
    if agent_id is None:
        agent_id = attribute_or_none(logger, "agent_id")
    if role is None:
        role = attribute_or_none(logger, "agent_role")
    is_class = issubclass(type(obj), type)
    if agent_id is None or is_class:
        return (_usual_name(obj), _role(role)) if identity is not None and not is_class else None
    return as_message(agent_id), _role(role)


def _describe_unasked(obj: object) -> tuple[str, str | None] | None:
    return describe(obj, asks=False)


def _own(obj: object, name: str, *, asks: bool = True) -> Any:
    """Return an attribute that the object or its class has, and none that `__getattr__` would make up."""
    found = find_in_classes(type(obj), name)
    is_made_up = _answers_anything(type(obj)) if found is None else not asks and _computes(found)
    return attributes_of(obj).get(name) if is_made_up else attribute_or_none(obj, name)


_STORING = (MemberDescriptorType, GetSetDescriptorType, FunctionType, staticmethod, classmethod)


def _computes(found: object) -> bool:
    """Whether an attribute of a class runs code when it is read, as properties and columns of a model do."""
    return type(found) not in _STORING and find_in_classes(type(found), "__get__") is not None


def _usual_name(obj: object) -> str:
    """Return what names an object without `agent_id`: an attribute of simulation libraries, or its class."""
    if not _answers_anything(type(obj)):
        found = [attribute_or_none(obj, attribute) for attribute in _USUAL_NAMES]
    else:  # not what `__getattr__` makes up
        own = attributes_of(obj)
        found = [own.get(attribute) for attribute in _USUAL_NAMES]
    if found[0] is not None:
        return as_message(found[0])
    named = next((each for each in found if type(each) in (int, str) and each != ""), None)
    return type(obj).__name__ if named is None else as_message(named)


_USUAL_NAMES = ("unique_id", "id", "name")


def _answers_anything(cls: type) -> bool:
    """Whether `__getattr__` may invent attributes, as that of proxies and test doubles, or of a module."""
    return find_in_classes(cls, "__getattr__") is not None or issubclass(cls, ModuleType)


def _answered(obj: object) -> tuple[str, str | None] | None:
    """Return the id and role that `__getattr__` gives an object with traced methods of its own."""
    agent_id = getattr(obj, "agent_id", None) if has_traced_methods(type(obj)) else None
    if type(agent_id) not in (str, int):
        return None
    role = getattr(obj, "agent_role", None)
    return as_message(agent_id), role if type(role) is str else None


def _holds(obj: object, name: str) -> bool:
    """Whether the object or its class really has that attribute or a `logger`, without `__getattr__`."""
    cls = type(obj)
    if any(find_in_classes(cls, each) is not None for each in (name, "logger")):
        return True
    try:
        return not {name, "logger"}.isdisjoint(attributes_of(obj))
    except ValueError:
        return False


def _note_unnamed(obj: object, error: BaseException) -> None:
    """Note that an object's id cannot be read; say so once if `instrument` was given a wrong attribute."""
    identity = identity_of(obj)
    if not isinstance(error, AttributeError) or identity is None or type(identity.agent_id) is not str:
        note("an object that could not say whether it is an agent was taken for none")
        return
    warning = (
        f"{type(obj).__name__} has no attribute {identity.agent_id!r}, by which instrument(agent_id=...) "
        "names its objects: their events have no agent"
    )
    if warning not in _warned:
        _warned.add(warning)
        say(warning)
    note(warning)


def tell_nameless(obj: object) -> None:
    """Say once of a class that the actions of its objects have no agent."""
    cls = class_name(type(obj))  # whatever `__name__` a metaclass has
    if cls not in _warned:
        _warned.add(cls)
        name = cls.rpartition(".")[2]
        say(
            f"{name} has no agent_id: its actions are recorded without an agent and without its state; "
            f"set agent_id in {name}, or trace the class with instrument()"
        )
        note("actions of objects without an agent_id were recorded without an agent")


def _role(role: object) -> str | None:
    return None if role is None else as_message(role)


def _agent_id_of(obj: object) -> str | None:
    """Return the id of an agent, or None.

    A value with a field `agent_id`, such as a dataclass, is not an agent, unless its class has traced methods
    or it holds a logger with an agent id. Nor is an object that would have to compute its `agent_id`, unless
    its class has traced methods: that may query a database, or wait for a lock that the program holds.
    """
    try:
        cls = type(obj)
        _names_itself(cls)  # for the C code, which reads what is known of classes
        if (
            _tells_by_attributes(cls)
            and _NAMING.isdisjoint(attribute_or_none(obj, "__dict__") or ())
            and identity_of(obj) is None
        ):
            return None
        if issubclass(cls, type) or module_of_class(cls).startswith("Agent.record"):
            return None
        is_named = identity_of(obj) is not None
        if is_value(cls) and not is_named:
            logger = _own(obj, "logger", asks=False)
            if attribute_or_none(logger, "agent_id") is None:
                return None
        acts = is_named or has_traced_methods(cls)
        described = unrecorded(describe if acts else _describe_unasked, obj)
    except BaseException as error:  # noqa: BLE001 - any property of a user's object may raise; then it is no agent
        pass_on(error)
        return None
    return described[0] if described is not None else None


@by_class
def _tells_by_attributes(cls: type) -> bool:
    """Whether only instance attributes or `instrument` can make an object of the class an agent."""
    # An object without a `__dict__` may be asked for one, which its `__getattr__` would answer.
    of_dict = (GetSetDescriptorType,) if _answers_anything(cls) else (GetSetDescriptorType, type(None))
    return (
        not (_answers_anything(cls) and has_traced_methods(cls))
        and type(find_in_classes(cls, "__dict__")) in of_dict
        and not is_partial(cls)  # which has a `__dict__` only once it is asked for
        and _has_no_name(cls)
    )


@by_class
def _names_itself(cls: type) -> bool:
    """Whether an object of the class with its own `agent_id` is an agent."""
    return (
        type(find_in_classes(cls, "__dict__")) in (GetSetDescriptorType, type(None))
        and not module_of_class(cls).startswith("Agent.record")
        and not is_partial(cls)  # as above
        and class_reducer(cls) is None
        and cls not in REGISTERED
        and _has_no_name(cls)
    )


def _has_no_name(cls: type) -> bool:
    """Whether neither the class nor code that it runs at a lookup names its objects."""
    return (
        not issubclass(cls, type)
        and _looks_up_plainly(cls)
        and all(find_in_classes(cls, name) is None for name in _NAMING)
    )


agent_id_of: Callable[[object], str | None] = _agent_id_of
"""Returns the id of an agent, which state and arguments contain instead of the object; None for others."""
if native is not None:  # it answers for most objects without a call of Python
    agent_id_of = native.agent_of(
        _tells_by_attributes.known,
        _names_itself.known,
        inherited,
        identities,
        object_identities,
        _agent_id_of,
    )
_NAMING = frozenset({"agent_id", "logger"})


def _looks_up_plainly(cls: type) -> bool:
    """Whether looking up attributes of the class's objects certainly runs no code of the class."""
    found = find_in_classes(cls, "__getattribute__")
    if found is object.__getattribute__:
        return True
    if native is None:
        return False
    # A class with `__getattr__` that is derived from `set` has the plain lookup of `set`.
    is_of_set = type(found) is WrapperDescriptorType and native.looks_up_plainly(found.__objclass__)
    return is_of_set or bool(native.looks_up_plainly(cls))


def _stored_id(obj: object) -> object:
    """Return the `agent_id` stored in the object, to notice a change; None if it is computed."""
    try:
        held = (attribute_or_none(obj, "__dict__") or {}).get("agent_id")
        if held is None and type(getattr(type(obj), "agent_id", None)) is MemberDescriptorType:
            held = attribute_or_none(obj, "agent_id")
    except BaseException as error:  # noqa: BLE001 - any property of a user's object may raise
        pass_on(error)
        return None
    return held


_WEAKREFS = type.__dict__["__weakrefoffset__"].__get__
"""Returns where objects of a class keep their weak references, 0 if they cannot; no metaclass is asked."""


class _KeyedRef(weakref.ref[Any]):
    """A weak reference that knows under which key it is stored, so that all of them share one callback."""

    __slots__ = ("key",)
    key: int

    @classmethod
    def to(cls, value: object, forget: Callable[[Any], None]) -> _KeyedRef:
        """Return a reference to a value, stored under its id."""
        made = cls(value, forget)
        made.key = id(value)
        return made


class _StrongRef:
    """Stands for an object that allows no weak references, until recording alone holds it."""

    __slots__ = ("key", "value")

    def __init__(self, value: object) -> None:
        self.key, self.value = id(value), value

    def __call__(self) -> object:
        return self.value


_alone = _StrongRef(object())
_ALONE = sys.getrefcount(_alone.value)
"""What `sys.getrefcount` returns of an object that only such a reference holds."""
_LOOKED_AT_ALIVE = 2


class Holders:
    """Records which agents hold which object, such as a generator that two agents draw from."""

    def __init__(self) -> None:
        self._holders: dict[int, tuple[Callable[[], object | None], dict[str, None]]] = {}
        holders = self._holders

        def forget(gone: _KeyedRef) -> None:
            known = holders.get(gone.key)
            if known is not None and known[0] is gone:
                holders.pop(gone.key, None)

        self._forget = forget

    def is_shared(self, value: object) -> bool:
        """Whether several agents hold it."""
        known = self._holders.get(id(value))
        return known is not None and known[0]() is value and len(known[1]) > 1

    def is_of_one(self, value: object) -> bool:
        """Whether only one agent holds it, so that its content is in that agent's state."""
        known = self._holders.get(id(value))
        return known is not None and known[0]() is value and len(known[1]) == 1

    def note(self, value: object, agent_id: str) -> tuple[str, str | None]:
        """Add an agent to the holders of an object; return the first holder, and the first other one.

        An object that allows no weak references is not stored, which would keep it alive: it has one holder.
        """
        if not _WEAKREFS(type(value)):
            return agent_id, None
        known = self._holders.get(id(value))
        if known is None or known[0]() is not value:
            known = self._holders[id(value)] = (_KeyedRef.to(value, self._forget), {})
        holders = known[1]
        holders[agent_id] = None
        first = next(iter(holders))
        # Thousands of agents may hold one world: at most two holders are read.
        return first, first if first != agent_id else next(islice(holders, 1, None), None)


class Agents:
    """The agents known to one pipeline.

    Args:
        bind: returns the binding of an agent, by its id, role and logger.
        judge: encodes the plain values of states.
        hides: finds secrets; None without redaction.
        is_keeping: whether to keep the last state of an agent that is garbage-collected during recording.
        is_probing: whether to check if code other than actions changes objects that agents hold.
    """

    def __init__(
        self,
        bind: Callable[[str, str | None, str], AgentBinding],
        judge: Judge,
        hides: Hides | None,
        *,
        is_keeping: bool = True,
        is_probing: bool = True,
    ) -> None:
        self._bind = bind
        self._judge = judge
        self._hides = hides
        self._known: dict[int, Known] = {}
        self._acting: dict[str, int] = {}
        """By `agent_id`, the key in `_known` of the object that began to act under it last."""
        self._has_twins = False
        self._name_alike: dict[type, bool] = {}
        """The classes whose objects have no name but that of the class, and whether that was said."""
        self.holders = Holders()
        self.probe = Probe(agent_id_of, is_on=is_probing)
        self.between = BetweenActions(self._known, is_on=is_probing)
        self.reached_at_end = ReachedObjects()
        """Objects that agents reach when recording ends; many reach the same world, which is read once."""
        self._keeping: deque[StateTracker] | None = deque() if is_keeping else None
        self.gone: deque[Known] = deque()
        """Garbage-collected agents whose last state is not recorded yet."""
        self._kept_alive: deque[_StrongRef] = deque()
        """References to agents that allow no weak ones, in the order in which they are looked at."""
        known, gone = self._known, self.gone

        def leave(ref: _KeyedRef | _StrongRef) -> None:
            # A weak reference's callback may run in any thread and under any lock, so it does the minimum.
            lost = known.pop(ref.key, None)
            if is_keeping and lost is not None and lost.tracker is not None and lost.tracker.actions:
                gone.append(lost)

        self._leave = leave

    @property
    def has_written(self) -> bool:
        """Whether any value changed between actions."""
        return self.probe.has_found or self.between.objects.has_written

    def is_written(self, value: object) -> bool:
        """Whether code other than an action changed exactly this object."""
        return self.probe.is_written(value) or self.between.objects.is_written(value)

    def find(self, obj: object) -> Known | None:
        """Return the entry of an agent, or None if the object is not an agent."""
        known = self._known.get(id(obj))
        try:
            if (
                known is not None
                and known.ref() is obj
                and (known.named is None or attribute_or_none(obj, "agent_id") is known.named)
            ):
                return known
            described = unrecorded(describe, obj)
        except BaseException as error:  # noqa: BLE001 - any property of a user's object may raise
            pass_on(error)
            _note_unnamed(obj, error)
            return None
        if described is None:
            return None
        agent_id, role = described
        logger = f"agent.{role}" if role else "agent"
        binding = self._bind(agent_id, role, logger)
        named = _stored_id(obj)
        identity = identity_of(obj)
        if identity is not None and agent_id == type(obj).__name__ and named is None and known is None:
            self._tell_alike(identity, type(obj))
        fresh = self._known[id(obj)] = Known(self._reference(obj), binding, named)
        if known is not None and known.ref() is obj:
            fresh.tracker = known.tracker
            if fresh.tracker is not None and known.binding.given_id != binding.given_id:
                fresh.tracker.actions = 0  # under its new id it begins with a full state
        return fresh

    def _tell_alike(self, identity: Identity, cls: type) -> None:
        """Say once of a class that several of its objects count as one agent, because they have its name."""
        if identity.agent_id is not None:
            return  # the user's choice
        if cls not in self._name_alike:
            if len(self._name_alike) < MOST_CLASSES:
                self._name_alike[cls] = False
        elif not self._name_alike[cls]:
            self._name_alike[cls] = True
            say(
                f"objects of {cls.__name__} have no agent_id, unique_id, id or name: "
                "they are recorded as one agent; pass agent_id= to instrument()"
            )
            note("several objects without a name of their own were recorded as one agent")

    def _reference(self, obj: object) -> Callable[[], object]:
        try:
            return _KeyedRef.to(obj, self._leave)
        except TypeError:
            strong = _StrongRef(obj)
            self._drop_unused()
            self._kept_alive.append(strong)
            return strong

    def _drop_unused(self) -> None:
        """Let go of agents that only recording holds; looks at two, so that it keeps up with new ones."""
        for _ in range(min(_LOOKED_AT_ALIVE, len(self._kept_alive))):
            try:
                strong = self._kept_alive.popleft()
            except IndexError:  # another thread took it
                return
            known = self._known.get(strong.key)
            if known is None or known.ref is not strong:
                strong.value = None
            elif sys.getrefcount(strong.value) > _ALONE:
                self._kept_alive.append(strong)
            else:
                self._leave(strong)
                strong.value = None

    def looked_at(self) -> dict[str, Any]:
        """Return the objects that the C code checks before each action, by the names that it uses."""
        return {"known": self._known, "gone": self.gone, "between": self.between, "probe": self.probe}

    def tracker(self, known: Known, obj: object) -> StateTracker:
        """Return the state tracker of an agent, which is made at its first action."""
        if known.tracker is None:
            owner = known.binding.given_id
            how = self._judge, self._keeping, self._hides, known.ref
            known.tracker = StateTracker(obj, agent_id_of, owner, *how)
        return known.tracker

    def warn_of_twins(self, known: Known, obj: object) -> None:
        """Warn once if two living objects act under one id; called at the first action of each."""
        agent_id = known.binding.given_id
        if agent_id is None or self._has_twins or self._name_alike.get(type(obj)):
            return
        if len(self._acting) >= _MOST_IDS:
            self._acting.clear()
        other = self._known.get(self._acting.get(agent_id, 0))
        self._acting[agent_id] = id(obj)
        twin = None if other is None or other.binding.given_id != agent_id else other.ref()
        if twin is not None and twin is not obj:
            self._has_twins = True
            note("two living objects acted under one agent_id")
            say(
                f"two living objects act as agent {agent_id}, so that what both do is recorded as of one "
                "agent: give each object its own agent_id"
            )

    def look_through_kept(self) -> None:
        """Drop kept values that now refer to their agents, which could otherwise never be garbage-collected.

        Called when a full state is written of an agent with kept values. Each call checks up to 2 trackers of
        agents that did not act since the last check, so that checks keep up with newly kept values.
        """
        keeping, left = self._keeping, _LOOKED_THROUGH
        if keeping is None:
            return
        for _ in range(min(_PASSED_OVER, len(keeping))):
            try:
                tracker = keeping.popleft()
            except IndexError:  # another thread took it
                return
            has_acted = tracker.has_acted()
            if has_acted or tracker.let_go():
                keeping.append(tracker)
            left -= not has_acted
            if not left:
                return

    def forget_states(self) -> None:
        """Make each agent's next action begin with a full state; a child process writes its own files."""
        self.gone.clear()
        self.between.after_fork_in_child()
        for known in list(self._known.values()):
            if known.tracker is not None:
                known.tracker.actions = 0

    def living(self) -> list[tuple[Known, object]]:
        """Return the living agents whose state was recorded."""
        return [
            (known, obj)
            for known in list(self._known.values())
            if known.tracker is not None and known.tracker.actions and (obj := known.ref()) is not None
        ]


_ACTIONS = 24
_MOST_VALUES = 16
_SMALL_BYTES = 16 * 1024
_NODES_AN_ACTION = 2_000
"""So many values that are visited for digests, about 2 ms, count as one action."""
_MOST_OF_ONE = 8


class _LookedAt(NamedTuple):
    """A value that others may change."""

    refer: Callable[[], object]
    beside: dict[int, Callable[[], object]]
    """All such values of its agent; a digest names them by place, as the agent's state does."""


class Probe:
    """Finds values of one pipeline's agents that change between actions.

    Args:
        agent_of: returns the id of an object that is an agent, None for others.
    """

    __slots__ = ("_agent_of", "_begun", "_digests", "_held", "_nodes", "_open", "_unread", "_written", "left")

    def __init__(self, agent_of: Callable[[object], str | None], *, is_on: bool) -> None:
        self._agent_of = agent_of
        self.left = _ACTIONS if is_on else 0
        """Number of further actions at which values are compared; the visited values reduce it, too."""
        self._nodes = 0
        """Number of visited values that do not count as an action yet."""
        self._unread: dict[int, Callable[[], object]] = {}
        """The values without a digest, which are not visited again."""
        self._open = 0
        self._held: dict[int, _LookedAt] = {}
        self._digests: dict[int, object] = {}
        self._begun: dict[int, object] = {}
        """The digests at the begin of the open action, if it is the only one."""
        self._written: dict[int, Callable[[], object]] = {}

    def begins(self) -> bool:
        """An action begins: note the values that changed since the end of the last one. Return True."""
        self._open += 1
        digests, self._digests = self._digests, {}
        self._begun = digests if self._open == 1 else {}
        # If other actions are open, they may have made the change.
        for key, before in digests.items() if self._open == 1 else ():
            held = self._held.get(key)
            if held is not None and self._digest(held) != before:
                self._written[key] = held.refer
                self._held.pop(key, None)
        return True

    def ended(self, values: Iterable[object]) -> list[object]:
        """An action ended: return the checked values that it changed.

        Args:
            values: the values of its agent that others may change.
        """
        begun, self._begun = self._begun, {}
        self._open -= 1
        self.left -= 1
        held = {} if self._open else self._held.copy()  # another thread may end an action meanwhile
        now = {key: self._digest(each) for key, each in held.items()}
        changed = [held[key].refer() for key, digest in now.items() if begun.get(key, digest) != digest]
        self._look_at(list(values), now)
        self._digests = now
        if self.left <= 0:
            self._held.clear()
            self._digests.clear()
            self._unread.clear()
        return changed

    def _look_at(self, values: list[object], digests: dict[int, object]) -> None:
        """Add the values of one agent to the checked ones, up to `_MOST_VALUES` in total."""
        beside = {id(value): _reference(value) for value in values}
        for value in values:
            known = self._held.get(id(value))
            is_new = known is None and len(self._held) < _MOST_VALUES and not self.is_written(value)
            is_new = is_new and not self._is_unread(value)
            # Of an object that is recorded by name only plain attributes count, which `HeldObject` compares.
            is_new = is_new and often_reference(type(value)) is None
            if is_new or (known is not None and known.beside.keys() < beside.keys()):
                self._held[id(value)] = each = _LookedAt(beside[id(value)], beside)
                if not self._open:
                    digests[id(value)] = self._digest(each)

    @property
    def has_found(self) -> bool:
        """Whether any value changed between actions."""
        return bool(self._written)

    def is_written(self, value: object) -> bool:
        """Whether code other than an action changed exactly this object."""
        known = self._written.get(id(value))
        return known is not None and known() is value

    def _is_unread(self, value: object) -> bool:
        known = self._unread.get(id(value))
        return known is not None and known() is value

    def _digest(self, looked_at: _LookedAt) -> object:
        """Return a text that is equal while the value's content is unchanged; empty if it has no digest."""
        value = looked_at.refer()
        places = Places({str(key): refer() for key, refer in looked_at.beside.items()})
        content = content_of(value, self._agent_of, Reading(places=places))
        visited, self._nodes = divmod(self._nodes + places.nodes, _NODES_AN_ACTION)
        self.left -= min(max(visited, content.size_bytes // _SMALL_BYTES), _MOST_OF_ONE)
        if content.kind is OpaqueKind.COMPARABLE:
            return content.text
        if value is not None:
            self._unread[id(value)] = looked_at.refer
            self._held.pop(id(value), None)
        return ""


def _reference(value: object) -> Callable[[], object]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: None
