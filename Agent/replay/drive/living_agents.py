"""Agents by id, held weakly: a replay that kept agents alive would change programs that release them.

A scheduler with weak references, such as Mesa's, still calls a removed agent while something holds it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping


class LivingAgents(Mapping[str, object]):
    """The agents that still exist, by id."""

    def __init__(self) -> None:
        self.lasting: Collection[str] = ()
        """Agents that are kept alive."""
        self._references: dict[str, Callable[[], object]] = {}
        self._held: dict[str, object] = {}

    def add(self, agent_id: str, agent: object) -> Callable[[], object]:
        """Add an agent, and return the reference to it."""
        if agent_id in self.lasting:
            self._held[agent_id] = agent
        reference = self._references[agent_id] = weakly(agent)
        return reference

    def update(self, agents: Mapping[str, object]) -> None:
        """Add agents."""
        for agent_id, agent in agents.items():
            self.add(agent_id, agent)

    def __getitem__(self, agent_id: str) -> object:
        agent = self._references[agent_id]()
        if agent is None:
            raise KeyError(agent_id)
        return agent

    def __iter__(self) -> Iterator[str]:
        return (name for name, reference in list(self._references.items()) if reference() is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def weakly(value: object) -> Callable[[], object]:
    """Return a weak reference to a value; a strong one if its class has only slots."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


class ObjectsSeen:
    """The objects that were seen before, held weakly."""

    def __init__(self) -> None:
        self._references: dict[int, Callable[[], object]] = {}
        """By `id()`, which a later object may reuse."""

    def is_new(self, value: object) -> bool:
        """Add an object, and return whether it is new."""
        known = self._references.get(id(value))
        if known is not None and known() is value:
            return False
        self._references[id(value)] = weakly(value)
        return True
