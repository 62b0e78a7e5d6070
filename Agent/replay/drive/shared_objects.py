"""Find mutable objects that an agent shares with the arguments or the result of a replayed call.

A replayed call gets copies of the recorded arguments, and nobody uses its result. So no replayed call shows
what others do with an object that changed code keeps or returns instead of a copy. `driver.py` asks this.
"""

from __future__ import annotations

import ast
import gc
import textwrap
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import CellType, FunctionType, ModuleType
from typing import Any, NamedTuple

from Agent.event.classes import attributes_of
from Agent.event.values.plain import SCALARS, has_own_hash
from Agent.record.state.agents import agent_id_of
from Agent.record.state.identity import TRACED
from Agent.record.state.introspection import CONTENT, Sort, can_be_held, sort_of
from Agent.replay.compare.outcome import ReplayOutcome
from Agent.replay.plan.actions import DrivenAction
from Agent.replay.plan.recording import CodeFacts, codes_of

_CONTAINERS = (list, dict, set, bytearray, deque)
_UNCHANGING = (tuple, frozenset)
_NOT_ENTERED = (type, ModuleType)
_MOST = 10_000
"""Objects that are looked at, those nearest to the agent first."""
_KEEPS, _RETURNS = "keeps an object of its arguments in", "returns an object of"
_UNKNOWN = (
    "and the recording does not show whether it did before; what others do with the object shows in a run of "
    "the whole program alone: replay in the script's directory, or use a copy"
)


class GivenArguments(NamedTuple):
    """The arguments of a replayed call."""

    values: Sequence[object]
    parts: dict[int, object]
    """The mutable objects in them at its beginning, if the method itself changed."""
    own: Collection[int]
    """The ids of objects that the agent held before, if it held one of the arguments."""


class SharedObjects:
    """Asks of each changed method whether it keeps or returns an object instead of a copy.

    Args:
        codes: the recorded functions by digest.
        find: returns an agent, or None.
    """

    def __init__(
        self, outcome: ReplayOutcome, codes: Mapping[str, CodeFacts], find: Callable[[str], object]
    ) -> None:
        self._outcome = outcome
        self._codes = codes
        self._find = find
        self._asked: set[str] = set()

    def given(
        self, action: DrivenAction, agent: object, method: Any, values: Sequence[object]
    ) -> GivenArguments:
        """Note the arguments of a call that is about to begin."""
        spec = getattr(method, TRACED, None)
        is_changed = spec is not None and spec.identify().digest != action.event.code
        parts = _mutable_parts(values) if is_changed else {}
        # Without this key, all arguments are copies.
        own = _parts(_fields_of(agent)) if "args_held" in action.event.extra else ()
        return GivenArguments(values, parts, {id(part) for _, part in own})

    def look(self, action: DrivenAction, given: GivenArguments, result: object) -> None:
        """Look at what changed methods made of the arguments and the result of a call that agreed."""
        outer = f"{action.agent_id}.{action.call.name}"
        names = [name for name in dict.fromkeys((outer, *codes_of(action.effects))) if self._is_due(name)]
        if not names:
            return
        taken = {**given.parts, **_mutable_parts(given.values)}
        handed = _mutable_parts([result])
        for name in names:
            agent_id, _, method = name.rpartition(".")
            agent = self._find(agent_id)
            for does, parts in ((_KEEPS, taken.keys() - given.own), (_RETURNS, handed.keys())):
                field = _shared_field(agent, parts)
                if field is not None:
                    self._ask(name, f"{method} of {agent_id} {does} field {field}")
        if outer in names and not taken.keys().isdisjoint(handed):
            self._ask(outer, f"{action.call.name} of {action.agent_id} returns an object of its arguments")

    def _is_due(self, name: str) -> bool:
        digests = self._outcome.code.get(name)
        if digests is None or digests["recorded"] == digests["replayed"] or name in self._asked:
            return False
        recorded = self._codes.get(digests["recorded"])
        agent_id, _, method = name.rpartition(".")
        spec = getattr(getattr(type(self._find(agent_id)), method, None), TRACED, None)
        return recorded is None or spec is None or not _only_renamed(recorded.source, spec.identify().source)

    def _ask(self, name: str, what: str) -> None:
        self._asked.add(name)
        self._outcome.ask(f"code changed, and {what}, {_UNKNOWN}")


def _only_renamed(recorded: str | None, replayed: str | None) -> bool:
    """Whether two functions are the same but for the names of parameters and local variables."""
    if recorded is None or replayed is None:
        return False
    try:
        return _renumbered(recorded) == _renumbered(replayed)
    except SyntaxError:  # such as a lambda in the middle of a line
        return False


def _renumbered(source: str) -> str:
    """Return the syntax tree of a function in which each name is its number in order of appearance."""
    tree = ast.parse(textwrap.dedent(source))
    numbers: dict[str, str] = {}
    nodes = [*ast.walk(tree)]
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    own |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.arg) and node.arg in own:
            node.arg = numbers.setdefault(node.arg, f"#{len(numbers)}")
        elif isinstance(node, ast.Name) and node.id in own:
            node.id = numbers.setdefault(node.id, f"#{len(numbers)}")
    return ast.dump(tree)


def _mutable_parts(values: Iterable[object]) -> dict[int, object]:
    """Return the mutable objects among values and in them by id, without agents and what these hold."""
    return {id(part): part for _, part in _parts(("", value) for value in values)}


def _shared_field(agent: object, parts: Collection[int]) -> str | None:
    """Return the name of an agent's field that holds one of the objects with these ids, or None."""
    fields = _fields_of(agent) if parts else ()
    return next((name for name, part in _parts(fields) if id(part) in parts), None)


def _fields_of(agent: object) -> Iterator[tuple[str, Any]]:
    with suppress(ValueError):  # the class hides them
        yield from attributes_of(agent).items()
    if issubclass(type(agent), _CONTAINERS):
        yield from ((CONTENT, each) for each in gc.get_referents(agent))


def _parts(roots: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield each mutable object with the name of the root that leads to it; no code of the program runs."""
    waiting, seen = deque(roots), set[int]()
    while waiting and len(seen) < _MOST:
        name, value = waiting.popleft()
        kind = type(value)
        if has_own_hash(kind) or kind in SCALARS or id(value) in seen or issubclass(kind, _NOT_ENTERED):
            continue
        if sort_of(kind) is Sort.HANDLE or agent_id_of(value) is not None:
            continue
        seen.add(id(value))
        is_mutable = kind is not CellType and _is_mutable(value)
        if is_mutable:
            yield name, value
        waiting += ((name, each) for each in _held_by(value, is_mutable=is_mutable))


def _held_by(value: Any, *, is_mutable: bool) -> Iterable[object]:
    kind = type(value)
    if kind is FunctionType:
        return value.__closure__ or ()
    if is_mutable or kind is CellType or sort_of(kind) is not Sort.UNKNOWN:
        is_single = not is_mutable and sort_of(kind) is Sort.VALUE and not issubclass(kind, _UNCHANGING)
        return () if is_single else gc.get_referents(value)
    # The `__dict__` of an object that cannot change, such as a frozen record, cannot change either.
    try:
        attributes = attributes_of(value)
    except ValueError:
        attributes = {}
    return attributes.values() if attributes else gc.get_referents(value)


def _is_mutable(value: Any) -> bool:
    kind = type(value)
    is_known = issubclass(kind, _CONTAINERS) or sort_of(kind) in {Sort.ARRAY, Sort.GENERATOR}
    return is_known or can_be_held(value, agent_id_of)
