"""What a fork came to, as the child process tells it: where it began, what it did, how it ended.

Everything here is plain data, so that it travels as JSON; `forking.py` makes a report of it.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from Agent.errors import UsageError

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
        return cls(text, found["field"].strip(), found["sign"], _value(found["value"].strip()))

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


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _at(value: Any, path: str) -> Any:
    if isinstance(value, Mapping) and path in value:
        return value[path]
    for part in re.split(r"[./]", path):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return ABSENT
    return value
