"""What a sweep looks at: a field of a final state, a condition on it, or whether there was an error.

`sweep_child.py` evaluates it behind each fork, `sweeping.py` shows how it is distributed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from Agent.errors import UsageError
from Agent.replay.forks.outcome import ForkOutcome

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
