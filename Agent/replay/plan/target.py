"""The target: find, call and check code named as `module:factory`, restore recorded values, and repeat calls.

The name is checked by the caller's process; only the worker process imports and calls the target.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import sysconfig  # noqa: F401 - `is_installed` must not import it in the middle of an import
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import Agent.record.messages  # noqa: F401 - recordings contain them, and only loaded classes are found
from Agent.errors import ReplayError, TargetNotFound, TargetNotGiven, UsageError
from Agent.event.classes import find_class, is_installed
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.event.pointers import copy_tree, escape, unescape, value_at
from Agent.event.values.opaque import NOT_READ, STAND_IN, OpaqueKind, StandIn
from Agent.event.values.values import decode_value
from Agent.record.emit import installed
from Agent.record.emit.context import SpanScope
from Agent.record.sources.adopted import is_own
from Agent.record.state.agents import agent_id_of
from Agent.record.user_key import sign_targets, signed_targets
from Agent.replay.compare.comparison import Recorded
from Agent.replay.compare.python_text import python_path
from Agent.tree.files.session import SessionInfo, open_session, update_session

if TYPE_CHECKING:
    from Agent.replay.plan.actions import PlannedCall

Target = str | Callable[..., Any]


class TargetFailed(Exception):
    """Raised if the target could not be imported or called, or returned something that cannot be replayed."""


class TargetNotImported(TargetFailed):
    """The target's module cannot be imported, or has no such function."""


class FactoryRaised(TargetFailed):
    """The factory itself raised."""


def target_name(target: Target | None, info: SessionInfo | None, agent_id: str | None) -> str:
    """Return the target as `module:factory`: the given one, else the one recorded in the session.

    Raises:
        TargetNotGiven: no target was given, and the session has none that this user recorded.
        UsageError: the text is not `module:factory`, or the function cannot be imported by name.
    """
    if target is None:
        recorded_target = None if info is None else info.target_for(agent_id)
        if recorded_target is None and info is not None and info.targets and agent_id is None:
            raise TargetNotGiven(
                f"the session remembers targets for {len(info.targets)} agents, but none for the whole run",
                remedy=f"replay one agent, for example {info.session_id}/{min(info.targets)}",
            )
        if recorded_target is None:
            raise TargetNotGiven(
                "no target was given, and the session remembers none",
                remedy="give --target module:factory (a class, or a function that takes a spec), or replay "
                "in the directory of the recorded script, which then runs again as a whole",
            )
        if info is None or recorded_target not in signed_targets(info).values():
            raise TargetNotGiven(
                f"the session names the target {recorded_target}, but nothing shows that you recorded it",
                remedy=f"give --target {recorded_target} if that is code that you trust",
            )
        return recorded_target
    if isinstance(target, str):
        module, colon, factory = target.partition(":")
        if not (colon and module and factory):
            raise UsageError(
                f"the target {target!r} is not module:factory", remedy="for example shop.agents:build"
            )
        return target
    return _name_of(target)


def remember_target(target: Target, agent_id: str = "*") -> None:
    """Store the target in the session being recorded, for `replay` and `fork`.

    Like the first event, it begins a session if none is open. Without recording to files, nothing is stored.

    Args:
        target: `module:factory`, or such a function.
        agent_id: the agent that it builds; default: all of them.

    Raises:
        UsageError: the target is not an importable name.
    """
    name = target_name(target, None, None)
    pipeline = installed.current_pipeline()
    if pipeline.artifacts is None:
        return  # a replay that imports the program, or a test: there are no files
    session, targets = pipeline.artifacts.session, {agent_id: name}
    signatures = sign_targets(open_session(session).session_uid, targets)
    update_session(session, targets=targets, target_signatures=signatures)


def _name_of(target: Callable[..., Any]) -> str:
    module = getattr(target, "__module__", None)
    qualname = getattr(target, "__qualname__", None)
    if module == "__main__":
        spec = getattr(sys.modules.get("__main__"), "__spec__", None)
        module = None if spec is None else spec.name
    value: Any = sys.modules.get(module or "")
    if module == getattr(sys.modules.get("__main__"), "__name__", None) or value is None:
        value = sys.modules.get("__main__")
    for part in str(qualname).split("."):
        value = getattr(value, part, None)
    if not module or not qualname or value is not target:
        raise UsageError(
            f"the target {qualname or target!r} cannot be imported by a name, as the worker has to do",
            remedy="define the factory at the top of a module that can be imported",
        )
    return f"{module}:{qualname}"


def _facts_of_source(loader: SourceFileLoader, path: str) -> Mapping[str, Any]:
    """Return what Python compares bytecode with; OSError, so that it reads the source, if that is not older.

    Python compares only the second and the size: after an edit of `2` to `3` in the second of the recording
    it would run the code from before the edit.
    """
    facts = _path_stats(loader, path)
    bytecode = Path(importlib.util.cache_from_source(path))
    if (
        bytecode.exists()
        and bytecode.stat().st_mtime_ns <= Path(path).stat().st_ctime_ns
        and not is_installed(path)
    ):
        raise OSError(f"the bytecode of {path} is not newer than it")
    return facts


_path_stats = SourceFileLoader.path_stats


def import_target(name: str) -> Callable[..., Any]:
    """Import the factory with this name.

    Raises:
        TargetNotImported: it cannot be imported.
    """
    module_name, _, qualname = name.partition(":")
    SourceFileLoader.path_stats = _facts_of_source  # type: ignore[method-assign, assignment]
    try:
        value: Any = importlib.import_module(module_name)
    except BaseException as error:
        raise TargetNotImported(
            f"the target {module_name} cannot be imported: {type(error).__name__}: {error}{place_of(error)}"
        ) from error
    for part in qualname.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise TargetNotImported(f"the target {module_name} has no {qualname!r}") from None
    if not callable(value):
        raise TargetNotImported(f"the target {name} is a {type(value).__name__}, not a function")
    return value  # type: ignore[no-any-return]


def place_of(error: BaseException) -> str:
    """Return the innermost place of user code in an exception's traceback, as ` (file.py:12)`, or ""."""
    location = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        if not is_own(frame) and module.partition(".")[0] not in sys.stdlib_module_names:
            location = f" ({Path(frame.f_code.co_filename).name}:{line})"
    return location


def target_not_found(why: str) -> TargetNotFound:
    """Return the error for a target that a worker process could not import."""
    return TargetNotFound(
        why,
        remedy="replay from the directory that the code is imported from, or give another target",
    )


def build(factory: Callable[..., Any], spec: Any, name: str) -> Any:
    """Return the factory's result for a spec; a factory without parameters is called without the spec.

    A class is a factory of its instances: it is called with the recorded arguments of its constructor, or
    with the agent's id if those were not recorded, once for each agent that acts independently.

    Raises:
        TargetFailed: the factory takes other arguments, or raised an exception.
    """
    if inspect.isclass(factory):
        if spec.agent_id is None:
            return {agent_id: _instance(factory, spec.of(agent_id), name) for agent_id in spec.agent_ids}
        return _instance(factory, spec, name)
    if _takes(factory, spec):
        return _called(factory, (spec,), {}, name)
    if _takes(factory):
        return _called(factory, (), {}, name)
    raise TargetFailed(f"the factory {name} must take one argument, the spec, or none")


def _instance(cls: type[Any], spec: Any, name: str) -> Any:
    init = spec.init
    if init is not None and not init.lacking:
        return _called(cls, init.args, init.kwargs, name)
    if _takes(cls, spec.agent_id):
        first = next(iter(_parameters(cls)), "")
        return _called(cls, (spec if first == "spec" else spec.agent_id,), {}, name)
    if _takes(cls):
        return _called(cls, (), {}, name)
    module, _, qualname = name.partition(":")
    raise TargetFailed(
        f"the class {name} needs more arguments than an agent_id, and those of {spec.agent_id} were not "
        f"recorded; add a function to {module}, def build(spec): return {qualname}(spec.agent_id, ...), and "
        f"give --target {module}:build"
    )


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except ValueError:  # written in C, and without a signature
        return {}


def _takes(function: Callable[..., Any], *args: Any) -> bool:
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    except ValueError:  # written in C, and without a signature
        return True
    return True


def _called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str) -> Any:
    kind = "class" if inspect.isclass(function) else "factory"
    try:
        return function(*args, **kwargs)
    except ReplayError as error:
        raise TargetFailed(f"the {kind} {name} needs values that were not recorded: {error}") from error
    except BaseException as error:
        raise FactoryRaised(
            f"the {kind} {name} raised {type(error).__name__}: {error}{place_of(error)}"
        ) from error


def objects_in(given: Any, agent_id: str | None, known: frozenset[str]) -> dict[str, Any]:
    """Return a factory's result as {agent_id: object}; None as object means that the agent is inside others.

    Args:
        given: the factory's result: one agent, several in a list or tuple, or a mapping.
        agent_id: the requested agent; None for a whole run.
        known: the agents in the recording.

    Raises:
        TargetFailed: the result cannot be replayed.
    """
    if given is None or inspect.isawaitable(given):
        what = "nothing" if given is None else "a coroutine; it must not be async"
        raise TargetFailed(f"the factory returned {what}")
    if isinstance(given, (list, tuple)) and agent_id_of(given) is None:  # an agent may be a list itself
        given = _by_agent(given)
    if isinstance(given, Mapping) and agent_id_of(given) is None:
        objects = {str(name): obj for name, obj in given.items()}
    else:
        own = agent_id_of(given)
        objects = {str(agent_id if agent_id is not None else own): given}
        if own is None and agent_id is None:
            raise TargetFailed(
                f"the factory returned a {type(given).__qualname__} without an agent_id; for a whole run "
                "return {agent_id: object} for each of spec.agent_ids"
            )
    if agent_id is not None:
        if objects.get(agent_id) is None:
            raise TargetFailed(f"the factory returned {', '.join(objects) or 'nothing'}, not {agent_id}")
        objects = {agent_id: objects[agent_id]}
    unknown = next((name for name in objects if name not in known), None)
    if unknown is not None and known.isdisjoint(objects):
        raise TargetFailed(f"the factory returned {unknown!r}, an agent that the recording does not have")
    # A program may also have agents that did not act while it was recorded.
    objects = {name: obj for name, obj in objects.items() if name in known}
    for name, obj in objects.items():
        own = None if obj is None else agent_id_of(obj)
        if obj is not None and own != name:
            raise TargetFailed(
                f"the object for {name} has the agent_id {own!r}; a factory gets a spec, and returns the "
                f"object of the agent whose id is spec.agent_id"
                if own is not None
                else f"the object for {name} has no agent_id: instrument its class in the factory's module"
            )
    if all(obj is None for obj in objects.values()):
        raise TargetFailed("the factory returned no object")
    return objects


def _by_agent(objects: Sequence[Any]) -> dict[str, Any]:
    """Return {agent_id: object}; TargetFailed for objects without an id, or two with the same."""
    found: dict[str, Any] = {}
    for obj in objects:
        agent_id = agent_id_of(obj)
        if agent_id is None:
            raise TargetFailed(
                f"the factory returned a list, and its {type(obj).__qualname__} has no agent_id; "
                "return {agent_id: object}, or instrument its class in the factory's module"
            )
        if agent_id in found:
            raise TargetFailed(f"the factory returned two objects with the agent_id {agent_id!r}")
        found[agent_id] = obj
    return found


# Restoring recorded values as Python values for a target: its classes, its agents, its exceptions.
#
# A value that cannot be restored is reported, never approximated; `driver.py` and `player.py` then stop.

AgentFinder = Callable[[str], object]


class LostPart(NamedTuple):
    """A part of a recorded value that could not be restored."""

    tag: str
    pointer: str

    def __str__(self) -> str:
        return f"{self.tag} at {self.pointer}"


class Restored(NamedTuple):
    """A restored value."""

    value: Any
    unrestored: Sequence[LostPart] = ()
    """The parts that could not be restored; if there is any, `value` is unusable."""
    is_redacted: bool = False
    """Whether it contains tokens in place of secrets."""


class Decoder:
    """Restores recorded values in this process.

    Args:
        find_agent: returns the object of an agent's id.
        main_module: the name under which the recorded `__main__` was imported here; None if it was not.
    """

    def __init__(self, find_agent: AgentFinder, main_module: str | None = None) -> None:
        self.main_module = main_module
        self.codecs = _Codecs(find_agent, main_module)
        """The mapping of names in tags to objects in this process, for `decode_value`."""

    def restore_argument(self, recorded: Recorded, used: Callable[[str], Any]) -> Restored:
        """Restore an argument, with stand-ins for the recorded process's tasks and functions that hold them.

        Args:
            recorded: the argument.
            used: called with the name of a stand-in that is used; must raise.
        """
        self.codecs.stand_in = lambda name: StandIn(name, used)
        try:
            return self.restore(recorded)
        finally:
            self.codecs.stand_in = None

    def restore(self, recorded: Recorded) -> Restored:
        """Restore a value; parts that cannot be restored are listed in the result."""
        if not recorded.types:
            return Restored(copy_tree(recorded.value))
        below = recorded.pointer + "/"
        own = {
            pointer: tag
            for pointer, tag in recorded.types.items()
            if pointer == recorded.pointer or pointer.startswith(below)
        }
        # A token replaces its secret, which works for code that only passes the value on.
        tags = {pointer: tag for pointer, tag in own.items() if tag != "redacted"}
        missing: list[str] = []
        value = decode_value(recorded.value, tags, recorded.pointer, codecs=self.codecs, unrestored=missing)
        return Restored(value, [LostPart(tags.get(at, "?"), at) for at in missing], len(tags) < len(own))

    def scripts(self) -> tuple[str, ...]:
        """Return the name under which the recorded `__main__` was imported here, or ()."""
        return () if self.main_module is None else (self.main_module,)

    def find_class(self, name: str) -> type | None:
        """Return the loaded class `module.QualName`, where `__main__` is the recorded program."""
        chosen = self.codecs.get(name)
        return chosen if isinstance(chosen, type) else find_class(name)


class _Codecs(Mapping[str, Any]):
    """Finds agents by id, and classes of the recorded `__main__` under its module name in this process."""

    def __init__(self, find_agent: AgentFinder, main_module: str | None) -> None:
        self._find_agent = find_agent
        self._main_module = main_module
        self.stand_in: Callable[[str], object] | None = None

    def __getitem__(self, name: str) -> Any:
        if name == "agent":
            return self._find_agent
        if name == STAND_IN and self.stand_in is not None:
            return self.stand_in
        if self._main_module is not None and name == "__main__":
            return sys.modules[self._main_module]
        if self._main_module is not None and name.startswith("__main__."):
            value: Any = sys.modules.get(self._main_module)
            for part in name.split(".")[1:]:
                value = getattr(value, part, None)
            if value is not None:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(("agent",))

    def __len__(self) -> int:
        return 1


# Around a recorded call: its scope, and the debugger of `replay --pdb`, which opens at the first line of the
# method, with its arguments set. `recorded_methods.py` finds the method and binds the arguments.

_OWN_KEYS = frozenset(
    {
        "agent_id",
        "agent_role",
        "event_type",
        "call",
        "root",
        "duration_ms",
        "error_id",
        "capture_ms",
        "loop_turns",
    }
)


@cache
def _own_keys(kind: str) -> frozenset[str]:
    """Return the fields that events of a kind have by definition."""
    return _OWN_KEYS.union(field.name for field in KINDS[kind].fields) if kind in KINDS else _OWN_KEYS


def scope_around(event: Event, decoder: Decoder, parent: SpanScope | None = None) -> SpanScope | None:
    """Return the scope that was open around an action, with its tick and the fields that contexts added.

    Args:
        parent: the scope to open it in.
    """
    own = _own_keys(event.kind)
    if own.issuperset(event.extra):
        return parent if event.tick is None else SpanScope(parent, tick=event.tick)
    fields = {}
    for key, value in event.extra.items():
        if key not in own:
            fields[key] = decoder.restore(Recorded(value, event.types or {}, f"/extra/{escape(key)}")).value
    return SpanScope(parent, tick=event.tick, fields=fields)


def in_debugger(method: Callable[..., Any], call: Callable[[], None]) -> None:
    """Make a call with pdb open at the first line of the traced method's function.

    Args:
        method: the traced method.
        call: calls it, and awaits the result if it is a coroutine.
    """
    import pdb  # noqa: T100 - the user requested the debugger

    function = inspect.unwrap(getattr(method, "__func__", method))
    code = getattr(function, "__code__", None)
    debugger = pdb.Pdb(nosigint=True, readrc=False)

    def look(frame: FrameType, event: str, _argument: Any) -> Any:
        if event != "call" or frame.f_code is not code:
            return None
        debugger.set_trace(frame)
        return debugger.trace_dispatch

    before = sys.gettrace()
    sys.settrace(look)
    try:
        call()
    finally:
        sys.settrace(before)


def describe_unrestored(call: PlannedCall, unrestored: Sequence[LostPart]) -> str:
    """Return why an argument cannot be passed again, and what to do about it."""
    if not unrestored:
        return f"the arguments of {call.description} cannot be restored: they are not a mapping of names"
    event, (what, at) = call.event, unrestored[0]
    form = value_at(event.extra, at.removeprefix("/extra"))
    first = unescape(at.split("/")[3])
    argument = f"/extra/args/{escape(first)}"
    inside = at.removeprefix(argument)
    place = python_path(inside, event.extra["args"].get(first), event.types, argument, first)
    if type(form) is dict and form.get("reference") == NOT_READ:
        return (
            f"argument {place} of {call.description} was not read (a {form.get('class')} with over 4 KiB of "
            'content): record with large_arguments="always"'
        )
    if type(form) is dict:
        what = str(form.get("class", what))
        if OpaqueKind.UNSEEN in form:
            what = f"{what}: {form[OpaqueKind.UNSEEN]}"
    return (
        f"argument {place} of {call.description} cannot be restored ({what}): pass plain data, or call "
        "`Agent.flight.register_codec(cls, encode, decode)` for a class in it, in the program and in the "
        "factory's module"
    )
