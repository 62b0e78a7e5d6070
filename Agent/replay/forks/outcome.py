"""The outcome of a fork, as the worker process reports it, and the patches that change a state.

Everything here is plain data that can be sent as JSON; `forking.py` turns it into a report.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import orjson

from Agent.errors import UsageError
from Agent.event.pointers import copy_tree, escape, tags_below, unescape, value_at
from Agent.event.values.digest import canonical_bytes
from Agent.event.values.plain import json_or_text
from Agent.flight.checkpoints.state_fold import number_in
from Agent.replay.compare.outcome import add_new, counters_in

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
    """The number of the action in the original, from 1; 0 if the agent continued by itself."""
    action: str
    agent_id: str
    error_type: str
    message: str

    def __str__(self) -> str:
        where = f"step {self.step}, " if self.step else ""
        return f"{where}{self.action} of {self.agent_id}: {self.error_type}: {self.message}"


@dataclass(slots=True)
class ForkOutcome:
    """The result of a fork."""

    agents: list[str] = field(default_factory=list)
    """The agents whose objects the target returned."""
    point: str = ""
    """The point where it continues, in words."""
    start: str = ""
    """The recorded state from which the point was reached, in words."""
    redriven: int = 0
    """The number of recorded actions replayed up to the point."""
    steps: int = 0
    """The number of actions replayed after the point."""
    remaining: int = 0
    """The number of recorded actions after the point."""
    changed: list[str] = field(default_factory=list)
    """Fields that the patch changed."""
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Agent to its exposed fields at the end, as JSON values."""
    errors: list[RaisedError] = field(default_factory=list)
    stopped: str | None = None
    """Why it stopped early; None if it ran to its end."""
    answered: Counter[str] = field(default_factory=Counter)
    """The number of calls with recorded responses, by name of the tool, model or agent."""
    moved: int = 0
    """How many of these calls were recorded in another action."""
    live: Counter[str] = field(default_factory=Counter)
    """The number of live calls by name."""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """The duration after the point."""

    def note(self, text: str) -> None:
        """Add a note unless it exists already."""
        add_new(self.notes, text)

    def to_object(self) -> dict[str, Any]:
        """Return the outcome as a JSON object."""
        stored: dict[str, Any] = orjson.loads(orjson.dumps(self, default=repr))
        return stored

    @classmethod
    def from_object(cls, stored: dict[str, Any]) -> ForkOutcome:
        """Restore an outcome from a JSON object."""
        values = dict(stored)
        values["errors"] = [RaisedError(**error) for error in values["errors"]]
        return cls(**values | counters_in(cls, values))


@dataclass(frozen=True, slots=True)
class OutcomeOf:
    """The value that a sweep or an experiment reports for each fork."""

    field: str
    sign: str = ""
    value: Any = None

    @classmethod
    def parse(cls, text: str) -> OutcomeOf:
        """Parse `error`, a field (`followers`, `creator_001.followers`, `inbox.0.topic`) or a condition.

        Raises:
            UsageError: the text is empty.
        """
        if not text.strip():
            raise UsageError("the outcome is empty", remedy="name a field of the state, or error")
        match = _CONDITION.fullmatch(text.strip())
        if match is None:
            return cls(text.strip())
        return cls(match["field"].strip(), match["sign"], json_or_text(match["value"].strip()))

    def of(self, fork: ForkOutcome) -> Any:
        """Return the value of a fork: a JSON value, a boolean for a condition, or `stopped`."""
        if fork.stopped is not None:
            return STOPPED
        if self._is_error:
            return fork.errors[0].error_type if fork.errors else NO_ERROR
        value = self._found(fork)
        if not self.sign:
            return value
        wanted = self.value
        number = number_in(value)
        if type(wanted) in (int, float) and isinstance(number, Decimal | Fraction):
            # A Decimal or Fraction is recorded as its text. It is compared exactly: 0.1 is a tenth here.
            value, wanted = number, type(number)(repr(wanted))
        try:
            return bool(_SIGNS[self.sign](value, wanted))
        except TypeError:
            return False  # values that cannot be ordered, such as a text and a number

    def is_absent(self, fork: ForkOutcome) -> bool:
        """Whether a fork that ran to its end has no such field."""
        return not self._is_error and self._found(fork) == ABSENT

    def concerns(self, agent_id: str, given: Sequence[str]) -> bool:
        """Whether the state of an agent is needed; `given` are the agents with a target's object."""
        return not self._is_error and (agent_id in given or self._is_of(agent_id))

    def is_set_by(self, patch: Patch, agent_id: str | None) -> bool:
        """Whether a patch of an agent, or of {agent: its fields} for None, sets the measured field."""
        measured = f"{self.field.replace('/', '.')}."
        for pointer, change in leaves(patch):
            path = change["path"] if isinstance(change, Mapping) and "op" in change else pointer
            name = "".join(f"{unescape(part)}." for part in str(path).split("/")[1:])
            for each in (name, f"{agent_id}.{name}"):
                if measured.startswith(each) or each.startswith(measured):
                    return True
        return False

    @property
    def _is_error(self) -> bool:
        return self.field == ERROR and not self.sign

    def _is_of(self, agent_id: str) -> bool:
        return self.field.startswith((f"{agent_id}.", f"{agent_id}/"))

    def _found(self, fork: ForkOutcome) -> Any:
        states: Mapping[str, Any] = fork.states
        for agent_id in sorted(states, key=len, reverse=True):
            if self._is_of(agent_id):
                return _at(states[agent_id], self.field[len(agent_id) + 1 :])
        owner = fork.agents[0] if fork.agents else next(iter(states), "")
        return _at(states.get(owner, {}), self.field)


def _at(value: Any, path: str) -> Any:
    if isinstance(value, Mapping) and path in value:
        return value[path]
    return value_at(value, "/" + path.replace(".", "/"), ABSENT)


# Changes to a recorded state: JSON merge patch (RFC 7386) and JSON patch (RFC 6902), preserving type tags.
#
# A patch changes the JSON form of a state; `patch_objects` writes the changed fields back to the object.

Patch = Mapping[str, Any] | list[dict[str, Any]]
"""A mapping is a merge patch: its members replace, `None` removes. A list is a JSON patch of operations."""


class Patched(NamedTuple):
    """A state after a patch."""

    fields: dict[str, Any]
    types: dict[str, str]
    changed: tuple[str, ...]
    """The names of changed and added fields."""
    added: tuple[str, ...]
    """The names of added fields."""
    removed: tuple[str, ...]


def check_patch(patch: object) -> None:
    """Check that a value has the form of a merge patch or a JSON patch.

    Raises:
        UsageError: it is neither.
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


def varied_patches(patch: Any, vary: Sequence[str]) -> list[Any]:
    """Return the patches of a sweep: each given one with every combination of the varied values.

    Args:
        patch: a patch, a list of patches, or None.
        vary: `FIELD=VALUE,VALUE` each; the values are JSON, or else texts.

    Raises:
        UsageError: a text is not of that form.
    """
    is_list_of_patches = isinstance(patch, list) and not all(
        isinstance(each, Mapping) and "op" in each for each in patch
    )
    patches = patch if is_list_of_patches else [] if patch is None else [patch]
    if not vary:
        return list(patches)
    names, values = zip(*map(_varied, vary), strict=True)
    return [
        _with_fields(base, dict(zip(names, each, strict=True)))
        for base in (patches or [{}])
        for each in itertools.product(*values)
    ]


def _varied(text: str) -> tuple[str, list[Any]]:
    name, sign, values = text.partition("=")
    if not (name and sign and values):
        raise UsageError(f"{text!r} is not FIELD=VALUE,VALUE", remedy="for example patience=1,2,4")
    try:
        return name, orjson.loads(f"[{values}]")
    except orjson.JSONDecodeError:
        return name, [json_or_text(value.strip()) for value in values.split(",")]


def _with_fields(patch: Patch, fields: Mapping[str, Any]) -> Patch:
    if isinstance(patch, Mapping):
        return {**patch, **fields}
    added = [{"op": "add", "path": f"/{escape(name)}", "value": value} for name, value in fields.items()]
    return [*patch, *added]


def apply_patch(fields: Mapping[str, Any], types: Mapping[str, str], patch: Patch) -> Patched:
    """Apply a patch to a state; the arguments are not changed.

    A replaced value keeps its type tag if its JSON type stays the same, so that a tuple stays a tuple and a
    date a date. Tags of values that no longer exist are dropped.

    Args:
        fields: JSON values by name.
        types: their type tags by JSON pointer from `fields`.

    Raises:
        UsageError: an operation cannot be carried out; the message names it.
    """
    before = copy_tree(dict(fields))
    after = (
        merged(copy_tree(dict(fields)), patch)
        if isinstance(patch, Mapping)
        else _operated(copy_tree(dict(fields)), patch)
    )
    if not isinstance(after, dict):
        raise UsageError("the patch does not leave a mapping of fields", remedy="patch single fields")
    kept_types = {at: tag for at, tag in types.items() if _keeps_tag(before, after, at, types)}
    changed = [
        name
        for name, value in after.items()
        if name not in before
        or not _equal(before[name], value)
        or tags_below(types, f"/{escape(name)}") != tags_below(kept_types, f"/{escape(name)}")
    ]
    return Patched(
        after,
        kept_types,
        tuple(changed),
        tuple(name for name in changed if name not in before),
        tuple(name for name in before if name not in after),
    )


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386); the target may be changed in place."""
    if not isinstance(patch, Mapping):
        return patch
    merged_target = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged_target.pop(key, None)
        else:
            merged_target[key] = merged(merged_target.get(key), value)
    return merged_target


def _operated(target: Any, operations: list[dict[str, Any]]) -> Any:
    import jsonpatch

    try:
        return jsonpatch.apply_patch(target, operations)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise UsageError(
            f"the patch does not fit the state: {error}", remedy="`agent-trace state` lists its fields"
        ) from error


def leaves(patch: Patch) -> list[tuple[str, Any]]:
    """Split a merge patch into (pointer, value) pairs, or a JSON patch into (index, operation) pairs."""
    if isinstance(patch, Mapping):
        return list(_leaves(patch, ""))
    return [(str(index), operation) for index, operation in enumerate(patch)]


def of_leaves(patch: Patch, kept: list[tuple[str, Any]]) -> Patch:
    """Return a patch with only these single changes; the inverse of `leaves`."""
    if not isinstance(patch, Mapping):
        return [operation for _, operation in kept]
    nested: dict[str, Any] = {}
    for pointer, value in kept:
        node = nested
        *above, last = map(unescape, pointer.split("/")[1:])
        for key in above:
            node = node.setdefault(key, {})
        node[last] = value
    return nested


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
    # These tags describe the replaced value itself (a secret, an unsupported or a shortened value).
    return types[pointer] not in {"redacted", "opaque", "truncated"}


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are equal with the same types: 1 differs from True and 1.0."""
    return type(one) is type(other) and canonical_bytes(one) == canonical_bytes(other)
