"""The input of a factory (`Spec`), and stubs for agents that are not replayed.

A stub answers recorded calls under their recorded names. Any other access ends the replay as UNVERIFIED, and
the reason names it. The spec includes the agent's constructor arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from Agent.errors import RecordingMiss
from Agent.event.classes import is_of_library
from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.event.values.plain import SCALARS
from Agent.event.values.values import Unrestored
from Agent.record.emit.context import Player, Response, TracedCall
from Agent.record.sources.adopted import is_foreign_name, is_own, place_of
from Agent.record.sources.sources import adoption_of
from Agent.record.state.agents import agent_id_of
from Agent.record.state.followed_values import copied
from Agent.record.state.generators import is_own_stream
from Agent.record.state.introspection import Sort, live_attributes, read_state, sort_of
from Agent.replay.compare.comparison import Recorded
from Agent.replay.compare.outcome import ReplayOutcome, SourceRead, listed
from Agent.replay.drive.player import Positional
from Agent.replay.drive.thread_watch import first_frame
from Agent.replay.plan.recording import Recording
from Agent.replay.plan.target import Decoder

_INIT = "/extra/init"
MADE_OTHERWISE = "cannot be restored, and the factory made a different one"


@dataclass(frozen=True, slots=True)
class ConstructorArguments:
    """The recorded arguments of a constructor."""

    args: tuple[Any, ...] = ()
    """Positional arguments; an `Unrestored` replaces each that cannot be restored."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments that can be restored; the factory has to add the others."""
    lacking: tuple[str, ...] = ()
    """Positions and names of arguments that cannot be restored."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The input that a target needs to build the replayed agents."""

    agent_id: str | None
    """The replayed agent; None for a whole run with several agents."""
    agent_role: str | None
    agent_ids: tuple[str, ...]
    """The agents that can be replayed, in the order of their first actions."""
    init: ConstructorArguments | None
    """Constructor arguments of the agent; None if they were not recorded."""
    state: Mapping[str, Any]
    """Its first recorded state, which a replay always restores before the first action."""
    nested: Mapping[str, None]
    """{agent_id: None} for agents that acted only inside others, which build them. Add it to the factory's
    result to run their code."""
    peer: Callable[[str], Any]
    """`peer(agent_id)` returns a stub that answers traced calls from the recording."""
    of: Callable[[str], Spec]
    """`of(agent_id)` returns the spec of another agent of the run: its role, `init` and `state`."""
    sources: Mapping[str, Any] = field(default_factory=dict)
    """Recorded sources of randomness, time and environment, each with the number of its reads."""


class Peers:
    """Creates the stubs of one run, one per agent.

    Args:
        recording: the run.
        player: returns the player that answers.
        refuse: called with a reason when replayed code accesses something that the recording lacks.
    """

    def __init__(
        self, recording: Recording, player: Callable[[], Player], refuse: Callable[[str], None]
    ) -> None:
        self._recording = recording
        self._player = player
        self._refuse = refuse
        self._made: dict[str, Any] = {}
        self.asked_for: set[str] = set()
        """The agents for which the factory requested a stub."""

    def __call__(self, agent_id: str) -> Any:
        """Return the stub of an agent for a factory; see `stand_in`."""
        stub = self.stand_in(agent_id)
        self.asked_for.add(agent_id)
        return stub

    def stand_in(self, agent_id: str) -> Any:
        """Return the stub of an agent.

        Raises:
            RecordingMiss: the run has no events of that agent.
        """
        if agent_id not in self._made:
            facts = self._recording.agents.get(agent_id)
            if facts is None:
                known = ", ".join(sorted(self._recording.agents)[:5])
                raise RecordingMiss(f"the run has no agent {agent_id!r}", remedy=f"its agents: {known}")
            methods = {}
            for name, digest in facts.calls.items():
                code = self._recording.codes.get(digest or "")
                is_async = bool(code is not None and code.is_async)
                methods[name] = self._method(agent_id, facts.role, name, is_async=is_async)
            self._made[agent_id] = _make_stand_in(agent_id, facts.role, methods, self._refuse_now)
        return self._made[agent_id]

    def _refuse_now(self, reason: str) -> None:
        self._refuse(reason)  # looked up at call time, since `answer_by` may replace it

    def answer_by(self, player: Callable[[], Player], refuse: Callable[[str], None]) -> None:
        """Let another player answer from here on, also for existing stubs."""
        self._player, self._refuse = player, refuse

    def _method(self, agent_id: str, role: str | None, name: str, *, is_async: bool) -> Callable[..., Any]:
        def ask(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Response:
            given = Positional({str(index): value for index, value in enumerate(args)})
            given.update(kwargs)
            call = TracedCall("agent_action", agent_id, role, name, name, given, None, is_root=False)
            answer = self._player().enter(call)
            if answer is None:
                self._refuse(f"{name} of the stub of {agent_id} was called outside a replayed action")
                raise RecordingMiss(f"no recorded response: {name} of {agent_id}")
            return answer

        def method(*args: Any, **kwargs: Any) -> Any:
            return ask(args, kwargs).given()

        async def async_method(*args: Any, **kwargs: Any) -> Any:
            return await ask(args, kwargs).awaited()

        return async_method if is_async else method


def _make_stand_in(
    agent_id: str, role: str | None, methods: Mapping[str, Callable[..., Any]], refuse: Callable[[str], None]
) -> Any:
    """Return an object of a new class, so that `type(peer)` identifies it as a stub."""

    class AgentStub:
        """Answers calls for an agent from the recording."""

        __slots__ = ("__weakref__",)

        def __getattr__(self, name: str) -> Any:
            if name in methods:
                return methods[name]
            # Python protocols look up such names on any object; a missing one is not an error.
            if not (name.startswith("__") and name.endswith("__")):
                refuse(f"{name!r} of {agent_id} was accessed, but is not among its recorded calls")
            raise AttributeError(f"the stub of {agent_id} has no {name!r} in the recording")

        def __setattr__(self, name: str, value: object) -> None:
            refuse(f"{name!r} of {agent_id} was set, and it is a stub")
            raise AttributeError(f"the stub of {agent_id} cannot hold {name!r}")

        def __repr__(self) -> str:
            return f"<stub of {agent_id}>"

    # Set on the class, so that recording recognises an agent without calling `__getattr__`.
    own: Any = AgentStub
    own.agent_id, own.agent_role, own.logger = agent_id, role, None
    return AgentStub()


def constructor_arguments(first: Event, decoder: Decoder) -> ConstructorArguments | None:
    """Return the constructor arguments in an agent's first state as Python values; None if it has none."""
    recorded, types = first.extra.get("init"), first.types or {}
    if not isinstance(recorded, dict):
        return None
    lacking: list[str] = []

    def restored(value: Any, section: str, name: str) -> Any:
        pointer = f"{_INIT}/{section}/{escape(name)}"
        try:
            decoded = decoder.restore(Recorded(value, types, pointer))
        except RecordingMiss:  # an agent without events in the run
            lacking.append(name)
            return Unrestored("agent", value)
        if not decoded.unrestored:
            return decoded.value
        lacking.append(name)
        return Unrestored(types.get(pointer, "opaque"), value)

    args = tuple(restored(value, "args", str(index)) for index, value in enumerate(recorded["args"]))
    kwargs = {name: restored(value, "kwargs", name) for name, value in recorded["kwargs"].items()}
    kept = {name: value for name, value in kwargs.items() if name not in lacking}
    return ConstructorArguments(args, kept, tuple(lacking))


def what_the_spec_lacks(spec: Spec) -> str:
    """Return a hint about what a failed factory may have missed in its spec; "" for nothing."""
    if spec.agent_id is None:
        return (
            f"; {len(spec.agent_ids)} agents act independently ({listed(spec.agent_ids, 4)}), so spec.init "
            "and spec.state are not those of any one of them: spec.of(agent_id) has each one's"
        )
    if spec.init is None:
        return (
            f"; spec.init is None: the arguments of {spec.agent_id}'s constructor are not in the recording; "
            "`instrument` its class before it is created to record them"
        )
    if spec.init.lacking:
        return (
            f"; spec.init of {spec.agent_id} lacks arguments that cannot be restored, and that the factory "
            f"has to provide: {', '.join(map(_argument, spec.init.lacking))}"
        )
    return ""


def doubt_what_was_built(outcome: ReplayOutcome, reads: Sequence[SourceRead]) -> None:
    """Turn a difference into a doubt if the built objects depend on unrecorded randomness."""
    if not reads:
        return
    of_code = outcome.changed_inside.values()
    is_other = any(MADE_OTHERWISE in reason and reason not in of_code for reason in outcome.reasons)
    is_others = outcome.divergence is not None and bool(outcome.divergence.inner_agent_id)
    is_kept = outcome.inside or outcome.unseen or outcome.references or is_others
    if not is_other and (outcome.divergence is None or not is_kept):
        return
    named = ", ".join(f"{read.source} by {read.reader}" for read in reads[:3])
    sources = {read.source for read in reads}
    seeded = (
        "give it one seed in the program and in the factory, as a seed argument or by `random.seed(number)`"
    )
    recorded = "build it in a traced action of the agent, inside `with recorded_sources():`"
    if any(source.startswith(_UNSEEDED) for source in sources):
        remedy = f"no seed reaches that: {recorded}, or ignore the field that keeps it"
    elif _SYSTEM_RANDOM in sources:
        remedy = f"give it a seed argument, in the program and in the factory; if it takes none, {recorded}"
    else:
        remedy = seeded
    text = (
        "the target drew random values that are not recorded while it built the replayed objects: "
        f"{named}; {remedy}"
    )
    if is_other:
        # The different object from the factory is a consequence.
        outcome.reasons[:] = [text, *(each for each in outcome.reasons if MADE_OTHERWISE not in each)]
    else:
        outcome.doubts.append(text)
        if all(read.is_of_library for read in reads):
            outcome.chance_of_libraries = text


_UNSEEDED = ("uuid", "os.urandom", "secrets")
_SYSTEM_RANDOM = "random.SystemRandom"
"""The seed source of libraries that were given no seed."""


def _argument(name: str) -> str:
    return f"argument {int(name) + 1}" if name.isdecimal() else name


# Reads of objects whose state in the replay differs from that in the recording.
#
# Calls of agents whose code does not run get recorded responses, but a field read without a traced method has
# the value that the target gave it. The same holds for an object that the program changed between the actions
# of its agent. A replay that found a difference is repeated with this watch, to check whether such a read may
# be the cause.

_MOST_NAMED = 3
_OUTSIDE, _VARIABLE, _SHARED, _OF_OTHERS = "outside", "variable", "shared", "of others"
_DOUBTS = {
    _OUTSIDE: "the replayed code reads {}: changes that the program makes between the actions are not in the "
    "recording; change it in a traced action, or register a codec for it",
    _VARIABLE: "the replayed code reads context variable {}: values that the program sets between the "
    "actions are not in the recording; pass it as an argument, or set it in a traced action",
    _SHARED: "the replayed code uses {}, which agents whose code does not run also use: replay the whole "
    "session, without the name of an agent",
    _OF_OTHERS: "the replayed code reads fields of agents whose code does not run, as the target built them: "
    "{}; replay the whole run, or read them through a traced method",
}
"""Why a difference proves nothing after such reads; except for the last ones, only if no code changed."""


class FieldReads:
    """Notes reads by replayed code of changing fields of agents whose code does not run.

    Args:
        recording: the whole run.
        live: the agents whose code runs.
        is_on: whether replayed code is running.
        objects: the agents whose code runs, by id.
    """

    def __init__(
        self,
        recording: Recording,
        live: frozenset[str],
        is_on: Callable[[], bool],
        objects: Mapping[str, object],
    ) -> None:
        self._changing = _changing_fields(recording, live)
        self._is_on = is_on
        self._objects = objects
        self._by_name = {
            agent_id: frozenset(facts.written_outside) for agent_id, facts in recording.agents.items()
        }
        self._is_looking = False
        self._found: dict[str, dict[str, bool]] = {what: {} for what in _DOUBTS}
        """{key of `_DOUBTS`: {a read: whether a library made it}}."""
        moved = {int(number) for event in recording.moves for number in event.extra["moved"]}
        self._outside = _held(objects, lambda agent_id: _written_outside(recording, agent_id, moved))
        self._recorded = _held(objects, lambda agent_id: _with_recorded_changes(recording, agent_id, live))
        inside = _held_inside(objects, lambda agent_id: _with_recorded_changes(recording, agent_id, live))
        self._recorded_inside = {(id(obj), name) for obj, name, _ in inside}
        for obj, name, path in inside:  # the inner object may read unrecorded fields
            value = (live_attributes(obj) or {}).get(name)
            if id(obj) in self._outside and value is not None:
                self._outside[id(value)] = self._recorded[id(value)] = value, path
        self._shared = _held(objects, lambda agent_id: _shared(recording, agent_id, live))

    def watch(self, classes: Iterable[type]) -> None:
        """Watch every attribute read on objects of these classes from here on."""
        names, classes = frozenset().union(*self._changing.values()), set(classes)
        for cls in classes if names else ():
            self._watch(cls, names, self._look)
        self._watch_variables({cls.__module__ for cls in classes})
        kinds = {type(obj) for obj, _ in (*self._outside.values(), *self._shared.values())}
        blind = {cls for cls in kinds if not self._watch(cls, None, self._look_outside)}
        self._watch_holders(blind)

    def _watch_holders(self, kinds: Collection[type]) -> None:
        """Watch reads of fields that hold objects of C classes, whose own reads are not visible."""
        for agent_id, obj in self._objects.items():
            names = self._by_name.get(agent_id, frozenset())
            fields = read_state(obj).fields if names and obj is not None else {}
            blind = frozenset(name for name in names & fields.keys() if type(fields[name]) in kinds)
            if blind:
                self._watch(type(obj), blind, partial(self._look_at_field, obj, agent_id))

    def _look_at_field(self, holder: object, agent_id: str, obj: object, name: str) -> None:
        if obj is not holder or not self._is_on():
            return
        frame = sys._getframe(2)  # noqa: SLF001 - the only way to a caller
        if not is_own(frame):
            self._found[_OUTSIDE][f"{name} of {agent_id} by {place_of(frame)}"] = False

    def doubts(self, *, is_same_code: bool) -> list[str]:
        """Return why a difference proves nothing; empty if no such field was read.

        Args:
            is_same_code: no code changed, so that an outside change may be the cause.
        """
        return [
            # The program's own code first.
            text.format(listed(sorted(found, key=lambda read: found[read]), _MOST_NAMED))
            for what, text in _DOUBTS.items()
            if (found := self._found[what]) and (is_same_code or what == _OF_OTHERS)
        ]

    def _watch_variables(self, modules: Iterable[str]) -> None:
        """Watch reads of context variables of these modules, whose values are never recorded."""
        for module in map(sys.modules.get, modules):
            if module is None or is_of_library(str(getattr(module, "__file__", ""))):
                continue
            for name, value in list(vars(module).items()):
                if type(value) is ContextVar:
                    setattr(module, name, _WatchedVariable(value, self._look_at_variable))

    def _look_at_variable(self, name: str) -> None:
        frame = sys._getframe(2)  # noqa: SLF001 - the only way to a caller
        if self._is_on() and not is_own(frame):
            self._found[_VARIABLE][f"{name} in {place_of(frame)}"] = False

    def _watch(self, cls: Any, names: frozenset[str] | None, look: Callable[[object, str], None]) -> bool:
        """Call `look` at each read of these attributes, None for all; return whether the class allows it."""
        original = cls.__getattribute__

        def __getattribute__(obj: Any, name: str) -> Any:  # noqa: N807 - replaces the method of that name
            if names is None or name in names:
                look(obj, name)
            return original(obj, name)

        try:
            cls.__getattribute__ = __getattribute__
        except TypeError:
            return False  # a C class: reads of its fields are not visible
        return True

    def _look_outside(self, obj: object, name: str) -> None:
        if self._is_looking or not self._is_on() or name.startswith("__"):
            return
        frame = sys._getframe(2)  # noqa: SLF001 - the only way to a caller
        if is_own(frame):
            return
        known = self._outside.get(id(obj))
        if known is not None and known[0] is obj and not self._is_recorded(obj, name):
            is_library = is_of_library(frame.f_code.co_filename)
            self._found[_OUTSIDE][f"{name} of {known[1]} by {place_of(frame)}"] = is_library
        known = self._shared.get(id(obj))
        if known is not None and known[0] is obj:
            # The frame of the program or of a library that called the standard library.
            user = first_frame(frame, lambda each: is_foreign_name(str(each.f_globals.get("__name__", ""))))
            user = user or frame
            if not is_own(user):
                self._found[_SHARED][f"{known[1]} in {place_of(user)}"] = False

    def _is_recorded(self, obj: object, name: str) -> bool:
        """Whether the recording contains the changes that others made to this attribute."""
        if (id(obj), name) in self._recorded_inside:
            return True
        return id(obj) in self._recorded and self._is_looked_at(obj, name)

    def _is_looked_at(self, obj: object, name: str) -> bool:
        """Whether the recording has the changes of an attribute, or the class defines it."""
        attributes = live_attributes(obj) or {}
        if name not in attributes:
            return hasattr(type(obj), name)  # its code reads other attributes
        value = attributes[name]
        if sort_of(type(value)) is Sort.GENERATOR:
            return is_own_stream(value) or adoption_of(value) is not None
        return type(value) in SCALARS or copied(value) is not None

    def _look(self, obj: object, name: str) -> None:
        if self._is_looking or not self._is_on():
            return
        frame = sys._getframe(2)  # noqa: SLF001 - the only way to a caller
        if is_own(frame):
            return
        self._is_looking = True
        try:
            agent_id = agent_id_of(obj)
        finally:
            self._is_looking = False
        if agent_id is not None and name in self._changing.get(agent_id, ()):
            self._found[_OF_OTHERS][f"{name} of {agent_id} by {place_of(frame)}"] = False


class _WatchedVariable:
    """Replaces a context variable and reports reads of values that replayed code did not set."""

    def __init__(self, variable: ContextVar[Any], look: Callable[[str], None]) -> None:
        self._variable, self._look = variable, look
        self._is_own: ContextVar[bool] = ContextVar(f"{variable.name}, set in the replay", default=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._variable, name)

    def get(self, *default: Any) -> Any:
        if not self._is_own.get():
            self._look(self._variable.name)
        return self._variable.get(*default)

    def set(self, value: Any) -> Token[Any]:
        self._is_own.set(True)
        return self._variable.set(value)

    def reset(self, token: Token[Any]) -> None:
        self._is_own.set(False)
        self._variable.reset(token)


def _held(
    objects: Mapping[str, object], names_of: Callable[[str], Collection[str]]
) -> dict[int, tuple[object, str]]:
    """Return {id: (object, field)} for the objects in certain fields of agents."""
    held: dict[int, tuple[object, str]] = {}
    for agent_id, obj in objects.items():
        names = names_of(agent_id)
        fields = read_state(obj).fields if names and obj is not None else {}
        for name in fields.keys() & set(names):
            held[id(fields[name])] = (fields[name], f"{agent_id}.{name}")
    return held


def _held_inside(
    objects: Mapping[str, object], names_of: Callable[[str], Collection[str]]
) -> list[tuple[object, str, str]]:
    """Return (object, attribute, path) for attributes, inside fields, whose object recording also follows."""
    held = []
    for agent_id, obj in objects.items():
        for path in names_of(agent_id):
            name, _, inner = path.partition(".")
            if inner:
                held.append((read_state(obj).fields.get(name), inner, f"{agent_id}.{path}"))
    return held


def _written_outside(recording: Recording, agent_id: str, moved: Collection[int]) -> Collection[str]:
    """Return the fields with an object that changed outside the agent's actions.

    Args:
        moved: the numbers of objects that code outside actions changed; it may have changed more of them than
            recording follows.
    """
    facts = recording.agents[agent_id]
    return facts.written_outside | {path for number, path in facts.held.items() if number in moved}


def _with_recorded_changes(recording: Recording, agent_id: str, live: frozenset[str]) -> Collection[str]:
    """Return the fields with an object for which the recording has the outside changes of its scalars."""
    outside = {
        number for name, other in recording.agents.items() if name not in live for number in other.held
    }
    held = recording.agents[agent_id].held
    return [path for number, path in held.items() if number not in outside]


def _shared(recording: Recording, agent_id: str, live: frozenset[str]) -> Collection[str]:
    """Return the fields with an object that is shared with agents whose code does not run."""
    shared = recording.agents[agent_id].shared_objects
    return [name for name, others in shared.items() if others - live]


def _changing_fields(recording: Recording, live: frozenset[str]) -> Mapping[str, frozenset[str]]:
    changing: dict[str, set[str]] = {}
    for event in recording.events:
        state = event.state
        if state is not None and event.agent_id is not None and event.agent_id not in live:
            changing.setdefault(event.agent_id, set()).update(
                state.get("set") or (), state.get("unset") or ()
            )
    return {agent_id: frozenset(names) for agent_id, names in changing.items()}


def classes_of_agents(recording: Recording, find_class: Callable[[str], type | None]) -> Iterator[type]:
    """Yield the loaded classes of the agents in a run."""
    for facts in recording.agents.values():
        first = facts.first_state
        cls = None if first is None else find_class(str(first.extra.get("class")))
        if cls is not None:
            yield cls
