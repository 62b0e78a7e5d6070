"""What may lie behind an issue: one explanation with its events, its path, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from Agent.analysis.causality.chains import Edge

MAX_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Cause:
    """One explanation: what it is, why one may think so, and where to look."""

    title: str
    explanation: str
    event_ids: tuple[str, ...]
    agent_ids: tuple[str, ...]
    edges: tuple[Edge, ...]
    confidence: float
    """0 to 0.95; docs/EXPLAIN.md says how many first causes are true at each value."""
    sort: str = "act"
    """The broken rule (`follow-up missing`, `rate changes` ...), `act`, `event`, `record` or `open`."""

    def to_dict(self) -> dict[str, Any]:
        """The cause as plain values."""
        return {
            "title": self.title,
            "explanation": self.explanation,
            "event_ids": list(self.event_ids),
            "agent_ids": list(self.agent_ids),
            "edges": [edge.to_dict() for edge in self.edges],
            "confidence": self.confidence,
            "sort": self.sort,
        }
