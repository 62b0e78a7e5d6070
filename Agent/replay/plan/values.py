"""Recorded values made into Python values again, for a target: its classes, its agents, its exceptions.

What cannot be made again is named, never approximated; `driver.py` and `recorded_results.py` stop where that
happens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import Agent.record.messages  # noqa: F401 - they stand in records, and only classes that are loaded are found
from Agent.event.classes import find_class
from Agent.event.pointers import copy_tree
from Agent.event.values.opaque import STAND_IN, StandIn
from Agent.event.values.values import decode_value
from Agent.replay.compare.comparison import Recorded

AgentFinder = Callable[[str], object]


@dataclass(slots=True)
class Restored:
    """A value that was made again."""

    value: Any = None
    unrestored: list[str] = field(default_factory=list)
    """`tag at pointer` of what could not be made; then `value` is of no use."""
    is_redacted: bool = False
    """Tokens stand in it where secrets were."""


class Decoder:
    """Makes recorded values again in this process.

    Args:
        find_agent: the object that stands for an agent's id.
        main_module: the name under which the recorded `__main__` was imported here, None if it was not.
    """

    def __init__(self, find_agent: AgentFinder, main_module: str | None = None) -> None:
        self.main_module = main_module
        self._codecs = _Codecs(find_agent, main_module)

    def restore_argument(self, recorded: Recorded, used: Callable[[str], Any]) -> Restored:
        """The same as `restore`, with stand-ins for tasks of the recorded process and functions with them.

        Args:
            used: is told the name of one that is used, and raises.
        """
        self._codecs.stand_in = lambda name: StandIn(name, used)
        try:
            return self.restore(recorded)
        finally:
            self._codecs.stand_in = None

    def restore(self, recorded: Recorded) -> Restored:
        """The value, or what stands in the way of it."""
        restored = Restored()
        if not recorded.types:
            restored.value = copy_tree(recorded.value)
            return restored
        below = recorded.pointer + "/"
        tags = {
            pointer: tag
            for pointer, tag in recorded.types.items()
            if pointer == recorded.pointer or pointer.startswith(below)
        }
        for pointer, tag in list(tags.items()):
            if tag == "redacted":
                # The token itself stands for the secret: whoever only passes it on does the same again.
                restored.is_redacted = True
                del tags[pointer]
        missing: list[str] = []
        restored.value = decode_value(
            recorded.value, tags, recorded.pointer, codecs=self._codecs, unrestored=missing
        )
        restored.unrestored = [f"{tags.get(at, '?')} at {at}" for at in missing]
        return restored

    @property
    def codecs(self) -> Mapping[str, Any]:
        """{name in a tag: what it means here}, as `decode_value` takes it."""
        return self._codecs

    def scripts(self) -> tuple[str, ...]:
        """The name under which the recorded `__main__` was imported here, where it was."""
        return () if self.main_module is None else (self.main_module,)

    def find_class(self, name: str) -> type | None:
        """The loaded class of that `module.QualName`, `__main__` meaning the program that was recorded."""
        chosen = self._codecs.get(name)
        return chosen if isinstance(chosen, type) else find_class(name)


class _Codecs(Mapping[str, Any]):
    """Finds agents by id, and the classes of a program that is no longer `__main__`."""

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
            found: Any = sys.modules.get(self._main_module)
            for part in name.split(".")[1:]:
                found = getattr(found, part, None)
            if found is not None:
                return found
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(("agent",))

    def __len__(self) -> int:
        return 1


def is_tag_of_generator(tag: str) -> bool:
    """Whether a tag stands for a generator of random numbers."""
    return tag.startswith(("random.", "numpy.Generator", "numpy.RandomState"))
