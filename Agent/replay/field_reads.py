"""Fields of other agents that the code of one reads, where that one alone is driven.

Calls of other agents are answered from the record, but a field that is read past their traced methods is as
the target made it. A re-drive that found a difference is made once more with this, to see whether such a read
can be its cause.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from Agent.record.agents import agent_id_of
from Agent.record.chance.callers import is_own
from Agent.replay.recording import Recording

_MOST_NAMED = 3


class FieldReads:
    """Notes where driven code reads fields that change in the record of agents whose code does not run.

    Args:
        recording: the whole run.
        live: the agents whose code runs.
        is_on: whether driven code runs now.
    """

    def __init__(self, recording: Recording, live: frozenset[str], is_on: Callable[[], bool]) -> None:
        self._changing = _changing_fields(recording, live)
        self._is_on = is_on
        self._is_looking = False
        self._found: dict[str, None] = {}

    def watch(self, classes: Iterator[type]) -> None:
        """Look at every read of an attribute of objects of these classes, from here on."""
        for cls in set(classes):
            self._watch(cls)

    @property
    def doubts(self) -> list[str]:
        """Why a difference proves nothing; empty where no such field was read."""
        if not self._found:
            return []
        more = f" and {len(self._found) - _MOST_NAMED} more" if len(self._found) > _MOST_NAMED else ""
        return [
            "the driven code reads fields of agents whose code does not run, and they are as the target made "
            f"them: {', '.join(list(self._found)[:_MOST_NAMED])}{more}; drive the whole run, or have it ask "
            "by a traced method"
        ]

    def _watch(self, cls: Any) -> None:
        original, look = cls.__getattribute__, self._look
        names = frozenset().union(*self._changing.values())

        def __getattribute__(obj: Any, name: str) -> Any:  # noqa: N807 - it stands in its place
            if name in names:
                look(obj, name)
            return original(obj, name)

        try:
            cls.__getattribute__ = __getattribute__
        except TypeError:
            return  # of C: its fields are not seen

    def _look(self, obj: object, name: str) -> None:
        if self._is_looking or not self._is_on():
            return
        frame = sys._getframe(2)  # noqa: SLF001 - the one way to a caller
        if is_own(frame):
            return
        self._is_looking = True
        try:
            agent_id = agent_id_of(obj)
        finally:
            self._is_looking = False
        if agent_id is not None and name in self._changing.get(agent_id, ()):
            code = frame.f_code
            place = f"{code.co_qualname} ({os.path.basename(code.co_filename)}:{frame.f_lineno})"  # noqa: PTH119
            self._found[f"{name} of {agent_id} by {place}"] = None


def _changing_fields(recording: Recording, live: frozenset[str]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for event in recording.events:
        state = event.state
        if state is not None and event.agent_id is not None and event.agent_id not in live:
            found.setdefault(event.agent_id, set()).update(state.get("set") or (), state.get("unset") or ())
    return {agent_id: frozenset(names) for agent_id, names in found.items()}


def classes_of_agents(recording: Recording, find_class: Callable[[str], type | None]) -> Iterator[type]:
    """The loaded classes of the agents that a run holds."""
    for facts in recording.agents.values():
        first = facts.first_state
        cls = None if first is None else find_class(str(first.extra.get("class")))
        if cls is not None:
            yield cls
