"""How many events of each kind, level and agent there are, and from when to when; `summary` is made of it."""

from __future__ import annotations

from collections import Counter

from Agent.event.model import Event

__all__ = ["Tally"]


class Tally:
    """Counts of events that were seen one by one, or counted elsewhere."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        self.agents: Counter[str] = Counter()
        self.first: str | None = None
        """The earliest timestamp."""
        self.last: str | None = None

    def see(self, event: Event) -> None:
        """Count one event."""
        self.add(event.kind, event.level, event.agent_id)
        self.reach(event.timestamp, event.timestamp)

    def add(self, kind: str, level: str, agent_id: str | None, number: int = 1) -> None:
        """Count so many events that are alike."""
        self.kinds[kind] += number
        self.levels[level] += number
        if agent_id is not None:
            self.agents[agent_id] += number

    def reach(self, first: str, last: str) -> None:
        """Take note of when some were."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
