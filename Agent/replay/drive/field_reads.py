"""Objects that replayed code reads and that are not as they were when it was recorded.

Calls of agents whose code does not run are answered with recorded responses, but a field read past their
traced methods is as the target made it. So is an object that the program changed between the actions of its
agent. A replay that found a difference is made once more with this, to see whether such a read can be its
cause.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FrameType
from typing import Any

from Agent.record.sources.adopted import is_foreign_name, is_own
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import read_state
from Agent.replay.plan.recording import Recording

_MOST_NAMED = 3


class FieldReads:
    """Notes where replayed code reads fields that change in the recording of agents whose code does not run.

    Args:
        recording: the whole run.
        live: the agents whose code runs.
        is_on: whether replayed code runs now.
        objects: the agents whose code runs.
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
        self._is_looking = False
        self._found: dict[str, None] = {}
        self._outside = _held(objects, lambda agent_id: _written_outside(recording, agent_id))
        self._found_outside: dict[str, None] = {}
        self._shared = _held(objects, lambda agent_id: _shared(recording, agent_id, live))
        self._found_shared: dict[str, None] = {}

    def watch(self, classes: Iterator[type]) -> None:
        """Look at every read of an attribute of objects of these classes, from here on."""
        names = frozenset().union(*self._changing.values())
        for cls in set(classes) if names else ():
            self._watch(cls, names, self._look)
        for cls in {type(obj) for obj, _ in (*self._outside.values(), *self._shared.values())}:
            self._watch(cls, None, self._look_outside)

    def doubts(self, *, is_same_code: bool) -> list[str]:
        """Why a difference proves nothing; empty where no such field was read.

        Args:
            is_same_code: no code changed, so that what something else changes may be the cause.
        """
        found = []
        if self._found_outside and is_same_code:
            found.append(
                f"the replayed code reads {', '.join(list(self._found_outside)[:_MOST_NAMED])}: what the "
                "program changes there between the actions is not in the recording; change it in a traced "
                "action, or register a codec for it"
            )
        if self._found_shared and is_same_code:
            found.append(
                f"the driven code uses {', '.join(list(self._found_shared)[:_MOST_NAMED])}, which agents "
                "whose code does not run use, too: replay the whole session, without the name of an agent"
            )
        if not self._found:
            return found
        more = f" and {len(self._found) - _MOST_NAMED} more" if len(self._found) > _MOST_NAMED else ""
        return [
            *found,
            "the replayed code reads fields of agents whose code does not run, as the target built them: "
            f"{', '.join(list(self._found)[:_MOST_NAMED])}{more}; replay the whole run, or read them through "
            "a traced method",
        ]

    def _watch(self, cls: Any, names: frozenset[str] | None, look: Callable[[object, str], None]) -> None:
        original = cls.__getattribute__

        def __getattribute__(obj: Any, name: str) -> Any:  # noqa: N807 - it stands in its place
            if names is None or name in names:
                look(obj, name)
            return original(obj, name)

        try:
            cls.__getattribute__ = __getattribute__
        except TypeError:
            return  # of C: its fields are not seen

    def _look_outside(self, obj: object, name: str) -> None:
        if self._is_looking or not self._is_on() or name.startswith("__"):
            return
        frame = sys._getframe(2)  # noqa: SLF001 - the one way to a caller
        if is_own(frame):
            return
        known = self._outside.get(id(obj))
        if known is not None and known[0] is obj:
            self._found_outside[f"{name} of {known[1]} by {_place(frame)}"] = None
        known = self._shared.get(id(obj))
        if known is not None and known[0] is obj:
            user = _user_of(frame)
            if not is_own(user):
                self._found_shared[f"{known[1]} in {_place(user)}"] = None

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
            self._found[f"{name} of {agent_id} by {_place(frame)}"] = None


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_qualname} ({os.path.basename(code.co_filename)}:{frame.f_lineno})"  # noqa: PTH119


def _user_of(frame: FrameType) -> FrameType:
    """The frame of the program or of a library behind a frame of the standard library."""
    found: FrameType | None = frame
    while found is not None and not is_foreign_name(str(found.f_globals.get("__name__", ""))):
        found = found.f_back
    return found or frame


def _held(
    objects: Mapping[str, object], names_of: Callable[[str], Collection[str]]
) -> dict[int, tuple[object, str]]:
    """By their ids, the objects in certain fields of agents, each with the name of the field."""
    found: dict[int, tuple[object, str]] = {}
    for agent_id, obj in objects.items():
        names = names_of(agent_id)
        fields = read_state(obj).fields if names and obj is not None else {}
        for name in fields.keys() & set(names):
            found[id(fields[name])] = (fields[name], f"{agent_id}.{name}")
    return found


def _written_outside(recording: Recording, agent_id: str) -> Collection[str]:
    """The fields with an object that something else than the actions of its agent changed."""
    facts = recording.agents.get(agent_id)
    return () if facts is None else facts.written_outside


def _shared(recording: Recording, agent_id: str, live: frozenset[str]) -> Collection[str]:
    """The fields with an object that agents hold, too, whose code does not run."""
    facts = recording.agents.get(agent_id)
    shared = {} if facts is None else facts.shared_objects
    return [name for name, others in shared.items() if others - live]


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
