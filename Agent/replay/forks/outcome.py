"""What a fork came to, as the child process tells it: where it began, what it did, how it ended.

Everything here is plain data, so that it travels as JSON; `forking.py` makes a report of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import Any

_COUNTERS = ("answered", "live")


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
        stored = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in _COUNTERS:
            stored[name] = dict(stored[name])
        stored["errors"] = [asdict(error) for error in self.errors]
        return stored

    @classmethod
    def from_object(cls, stored: dict[str, Any]) -> ForkOutcome:
        """Back from a JSON object."""
        values = dict(stored)
        values["errors"] = [RaisedError(**error) for error in values["errors"]]
        for name in _COUNTERS:
            values[name] = Counter(values[name])
        return cls(**values)
