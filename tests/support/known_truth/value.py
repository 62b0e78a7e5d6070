"""What is known of a generated session: counted while it is written, told as one value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .faults import Fault

__all__ = ["Counted", "Truth"]


@dataclass(slots=True)
class Truth:
    """What is in a generated session; `truth.json` beside the session's directory holds the same."""

    session: Path
    session_id: str
    seed: int
    agents: int
    ticks: int
    events: int
    """Whole events; what a planted fault took away does not count."""
    by_kind: dict[str, int]
    by_agent: dict[str, int]
    rewards: dict[str, float]
    """The sum by agent."""
    errors: dict[str, int]
    """How many of each type."""
    error_agents: dict[str, int]
    """How many agents have errors of each type."""
    actions: dict[str, int]
    """How many of each action."""
    faults: tuple[Fault, ...] = ()
    lost: dict[str, list[int]] = field(default_factory=dict)
    """The numbers of each writer that stand nowhere although it was closed."""
    damaged: dict[str, int] = field(default_factory=dict)
    """Damaged lines by file."""
    json_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        shown = {name: getattr(self, name) for name in self.__slots__}
        return shown | {"session": self.session.name, "faults": [fault.to_dict() for fault in self.faults]}


class Counted:
    """The counts of what was written so far."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.by_agent: Counter[str] = Counter()
        self.rewards: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.error_agents: dict[str, set[str]] = {}

    def add(self, rows: Iterable[tuple[str, str, str, int, int | None]]) -> None:
        """Take rows of (agent, kind, action or type of error, count, reward in thousandths)."""
        for who, kind, name, count, reward in rows:
            self.kinds[kind] += count
            self.by_agent[who] += count
            if kind == "reward":
                self.rewards[who] += reward or 0
            elif kind == "agent_action":
                self.actions[name] += count
            elif kind == "error":
                self.errors[name] += count
                self.error_agents.setdefault(name, set()).add(who)

    def told(self) -> dict[str, Any]:
        """The fields of `Truth` that are counts."""
        return {
            "events": sum(self.kinds.values()),
            "by_kind": dict(sorted(self.kinds.items())),
            "by_agent": dict(sorted(self.by_agent.items())),
            "rewards": {agent: total / 1000 for agent, total in sorted(self.rewards.items())},
            "errors": dict(sorted(self.errors.items())),
            "error_agents": {name: len(who) for name, who in sorted(self.error_agents.items())},
            "actions": dict(sorted(self.actions.items())),
        }
