"""A possible cause of an issue: an explanation with its events, causal edges and confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from Agent.analysis.causality.chains import Edge
from Agent.event.code_places import CodePlace

MAX_CONFIDENCE = 0.95
LINK = "; linked: "
"""In the reason of an edge, between what the effect is and what it shares with the cause."""


class ChangedField(NamedTuple):
    """A field of an agent, and the event that set it."""

    agent_id: str
    field: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Cause:
    """One explanation of an issue, with its reasons and the events and agents to look at."""

    title: str
    explanation: str
    event_ids: tuple[str, ...]
    """At most 12, likeliest first; the first six form the cause, and its confidence is about these."""
    agent_ids: tuple[str, ...]
    edges: tuple[Edge, ...]
    confidence: float
    """0 to 0.95; docs/EXPLAIN.md gives the share of true first causes at each value."""
    sort: str = "act"
    """The broken rule (`follow-up missing`, `rate changes` ...), `act`, `event`, `record` or `open`."""
    place: CodePlace | None = None
    """Where its first event with a known place was recorded: the line that raised, or the function."""
    field: ChangedField | None = None
    """The last unusual value of its path, if that is of a field of an agent."""

    def to_dict(self) -> dict[str, Any]:
        """Return the cause as plain values, ready for JSON."""
        return {
            "title": self.title,
            "explanation": self.explanation,
            "event_ids": list(self.event_ids),
            "agent_ids": list(self.agent_ids),
            "edges": [edge.to_dict() for edge in self.edges],
            "confidence": self.confidence,
            "sort": self.sort,
            "file": None if self.place is None else self.place.file,
            "line": None if self.place is None else self.place.line,
        }
