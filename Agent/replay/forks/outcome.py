"""What a fork came to, as the child process tells it, and the patches that change a state there.

Everything here is plain data, so that it travels as JSON; `forking.py` makes a report of it.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from Agent.errors import UsageError
from Agent.event.pointers import copy_tree, escape, unescape, value_at

_COUNTERS = ("answered", "live")


ERROR = "error"
STOPPED = "stopped"
NO_ERROR = "no error"
ABSENT = "<absent>"
_CONDITION = re.compile(r"(?P<field>.+?)(?P<sign>==|!=|>=|<=|=|>|<)(?P<value>.+)", re.DOTALL)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
    ">=": operator.ge, "<=": operator.le,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RaisedError:
    """An exception that left a replayed action."""

    step: int
    """Number of the action in the original, from 1; 0 where the agent went on by itself."""
    action: str
    agent_id: str
    error_type: str
    message: str

    def __str__(self) -> str:
        where = f"step {self.step}, " if self.step else ""
        return f"{where}{self.action} of {self.agent_id}: {self.error_type}: {self.message}"


@dataclass(slots=True)
class ForkOutcome:
    """Everything that a fork found out."""

    agents: list[str] = field(default_factory=list)
    """Whose code ran."""
    point: str = ""
    """Where it goes on, in words."""
    start: str = ""
    """From what the state there was made, in words."""
    redriven: int = 0
    """Recorded actions that were replayed to get there."""
    steps: int = 0
    """Actions that were replayed from there on."""
    remaining: int = 0
    """Recorded actions from there on."""
    changed: list[str] = field(default_factory=list)
    """Fields that the patch changed."""
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Agent to its exposed fields at the end, as JSON values."""
    errors: list[RaisedError] = field(default_factory=list)
    stopped: str | None = None
    """Why it did not get to its end; None where it did."""
    failed: str | None = None
    """Why it did not begin."""
    answered: Counter[str] = field(default_factory=Counter)
    """What was answered with recorded responses, and how often."""
    moved: int = 0
    """Those of them whose recorded call stood at another place."""
    live: Counter[str] = field(default_factory=Counter)
    """What was called live, and how often."""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """From the point on."""
    processor_seconds: float = 0.0

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def to_object(self) -> dict[str, Any]:
        """As a JSON object."""
        stored: dict[str, Any] = orjson.loads(orjson.dumps(self, default=repr))
        return stored

    @classmethod
    def from_object(cls, stored: dict[str, Any]) -> ForkOutcome:
        """Back from a JSON object."""
        values = dict(stored)
        values["errors"] = [RaisedError(**error) for error in values["errors"]]
        for name in _COUNTERS:
            values[name] = Counter(values[name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class OutcomeOf:
    """One thing that is looked at when a fork has ended."""

    text: str
    field: str
    sign: str = ""
    value: Any = None

    @classmethod
    def parse(cls, text: str) -> OutcomeOf:
        """`error`, a field (`followers`, `creator_001.followers`, `inbox.0.topic`), or a condition on one.

        Raises:
            UsageError: there is nothing to look at.
        """
        if not text.strip():
            raise UsageError("the outcome is empty", remedy="name a field of the state, or error")
        found = _CONDITION.fullmatch(text.strip())
        if found is None:
            return cls(text, text.strip())
        return cls(text, found["field"].strip(), found["sign"], json_or_text(found["value"].strip()))

    def of(self, fork: ForkOutcome) -> Any:
        """What came of a fork: a JSON value, whether a condition holds, or `stopped`."""
        if self.field == ERROR and not self.sign:
            if fork.stopped is not None:
                return STOPPED
            return fork.errors[0].error_type if fork.errors else NO_ERROR
        if fork.stopped is not None:
            return STOPPED
        value = self._found(fork)
        if not self.sign:
            return value
        try:
            return bool(_SIGNS[self.sign](value, self.value))
        except TypeError:
            return False  # a text is not more than a number

    def concerns(self, agent_id: str, given: Sequence[str]) -> bool:
        """Whether the state of an agent has to be known for it; `given` are those with an object."""
        if self.field == ERROR and not self.sign:
            return False
        return agent_id in given or self.field.startswith((f"{agent_id}.", f"{agent_id}/"))

    def _found(self, fork: ForkOutcome) -> Any:
        states: Mapping[str, Any] = fork.states
        for agent_id in sorted(states, key=len, reverse=True):
            if self.field.startswith((f"{agent_id}.", f"{agent_id}/")):
                return _at(states[agent_id], self.field[len(agent_id) + 1 :])
        owner = fork.agents[0] if fork.agents else next(iter(states), "")
        return _at(states.get(owner, {}), self.field)


def json_or_text(text: str) -> Any:
    """A value as somebody types it: JSON, and text where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _at(value: Any, path: str) -> Any:
    if isinstance(value, Mapping) and path in value:
        return value[path]
    return value_at(value, "/" + path.replace(".", "/"), ABSENT)


# Changes to a recorded state: JSON merge patch (RFC 7386) and JSON patch (RFC 6902), with its tags.
#
# A patch changes the JSON form of a state; `patch_objects` puts what it changed back onto the object.

Patch = Mapping[str, Any] | list[dict[str, Any]]
"""A mapping is a merge patch: its members replace, `None` removes. A list is a JSON patch of operations."""


class Patched(NamedTuple):
    """A state after a patch."""

    fields: dict[str, Any]
    types: dict[str, str]
    changed: tuple[str, ...]
    """Names of the fields that are other ones now, or new."""
    added: tuple[str, ...]
    """Those of them that were not there."""
    removed: tuple[str, ...]


def check_patch(patch: object) -> None:
    """Refuse what is neither kind of patch.

    Raises:
        UsageError: it is none.
    """
    if isinstance(patch, Mapping):
        return
    if isinstance(patch, list) and all(isinstance(each, Mapping) and "op" in each for each in patch):
        return
    raise UsageError(
        f"{type(patch).__name__} is not a patch",
        remedy='give an object, {"max_retries": 3}, or a list of operations, '
        '[{"op": "replace", "path": "/max_retries", "value": 3}]',
    )


def apply_patch(fields: Mapping[str, Any], types: Mapping[str, str], patch: Patch) -> Patched:
    """The state with a patch applied; what is given is not changed.

    A value that is replaced keeps its tag where its JSON form is still of the same kind, so that a tuple
    stays a tuple and a date a date; tags inside of it go with what they stood for.

    Args:
        fields: JSON values by name.
        types: their tags, as pointers below the mapping of fields.

    Raises:
        UsageError: an operation cannot be carried out; it is named.
    """
    before = copy_tree(dict(fields))
    after = (
        merged(copy_tree(dict(fields)), patch)
        if isinstance(patch, Mapping)
        else _operated(copy_tree(dict(fields)), patch)
    )
    if not isinstance(after, dict):
        raise UsageError("the patch does not leave a mapping of fields", remedy="patch single fields")
    kept = {at: tag for at, tag in types.items() if _keeps_tag(before, after, at, types)}
    changed = [
        name
        for name, value in after.items()
        if name not in before or not _equal(before[name], value) or _tags(types, name) != _tags(kept, name)
    ]
    return Patched(
        after,
        kept,
        tuple(changed),
        tuple(name for name in changed if name not in before),
        tuple(name for name in before if name not in after),
    )


def merged(target: Any, patch: Any) -> Any:
    """JSON merge patch, as RFC 7386 defines it; the target may be changed."""
    if not isinstance(patch, Mapping):
        return patch
    found = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def _operated(target: Any, operations: list[dict[str, Any]]) -> Any:
    import jsonpatch

    try:
        return jsonpatch.apply_patch(target, operations)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise UsageError(
            f"the patch does not fit the state: {error}", remedy="`agent-trace state` lists its fields"
        ) from error


def leaves(patch: Patch) -> list[tuple[str, Any]]:
    """The single changes of a merge patch, as (pointer, value); of a JSON patch (its place, operation)."""
    if isinstance(patch, Mapping):
        return list(_leaves(patch, ""))
    return [(str(place), operation) for place, operation in enumerate(patch)]


def of_leaves(patch: Patch, kept: list[tuple[str, Any]]) -> Patch:
    """The patch with only those of its single changes."""
    if not isinstance(patch, Mapping):
        return [operation for _, operation in kept]
    found: dict[str, Any] = {}
    for pointer, value in kept:
        node = found
        *above, last = map(unescape, pointer.split("/")[1:])
        for key in above:
            node = node.setdefault(key, {})
        node[last] = value
    return found


def _leaves(node: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        pointer = f"{at}/{escape(str(key))}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, pointer)
        else:
            yield pointer, value


_NOTHING: Any = object()


def _keeps_tag(before: Any, after: Any, pointer: str, types: Mapping[str, str]) -> bool:
    before, after = (value_at(fields, pointer, _NOTHING) for fields in (before, after))
    if after is _NOTHING or type(before) is not type(after):
        return False
    if _equal(before, after):
        return True
    # a secret's token stands for that secret alone, and what has no codec has no other form
    return types[pointer] not in {"redacted", "opaque", "truncated"}


def _tags(types: Mapping[str, str], name: str) -> dict[str, str]:
    own = f"/{escape(name)}"
    return {at: tag for at, tag in types.items() if at == own or at.startswith(f"{own}/")}


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are the same: 1 is neither True nor 1.0; what JSON lacks is compared by itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other) or one != one
