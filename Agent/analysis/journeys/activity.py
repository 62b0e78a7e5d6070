"""What one agent did, in counts; read from that agent's files alone, without the engine."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from typing import Any

from Agent.analysis.query.event_dict import is_error
from Agent.analysis.session.lookup import agent_events
from Agent.analysis.stats.distribution import describe, number, ranked
from Agent.event.model import Event
from Agent.tree.read.reader import TreeReader

RECENT_ERRORS = 10


class ActivityCount:
    """Counts over one agent's events, taken one event at a time."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.role: str | None = None
        self.total = 0
        self.first: Event | None = None
        self.last: Event | None = None
        self.ticks: list[int] = []
        self.kinds: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.decisions: Counter[str] = Counter()
        self.durations: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self.error_count = 0
        self.recent_errors: list[dict[str, Any]] = []

    def add(self, event: Event) -> None:
        """Count one more event."""
        self.total += 1
        self.first = self.first or event
        self.last = event
        self.role = event.agent_role or self.role
        self.kinds[event.kind] += 1
        self.levels[event.level] += 1
        if event.tick is not None:
            self.ticks = [min([event.tick, *self.ticks]), max([event.tick, *self.ticks])]
        if event.kind == "agent_action":
            self._add_action(event)
        elif event.kind == "decision":
            self.decisions[str(event.extra.get("decision_type"))] += 1
        if is_error(event):
            self._add_error(event)

    def _add_action(self, event: Event) -> None:
        action = str(event.extra.get("action_type"))
        self.actions[action] += 1
        outcome = event.extra.get("outcome") or ("error" if event.extra.get("error_id") else "ok")
        self.outcomes[action][str(outcome)] += 1
        duration = number(event.extra.get("duration_ms"))
        if duration is not None:
            self.durations[action].append(duration)

    def _add_error(self, event: Event) -> None:
        self.error_count += 1
        self.recent_errors.append({"id": event.id, "timestamp": event.timestamp, "message": event.message})
        del self.recent_errors[:-RECENT_ERRORS]

    def result(self) -> dict[str, Any]:
        """The counts as `analyze_agent_activity` gives them."""
        assert self.first is not None and self.last is not None  # noqa: S101 - agent_events raised otherwise
        return {
            "agent_id": self.agent_id,
            "agent_role": self.role,
            "total_logs": self.total,
            "action_counts": ranked(self.actions),
            "errors": self.error_count,
            "recent_errors": self.recent_errors,
            "first_seen": self.first.timestamp,
            "last_seen": self.last.timestamp,
            "first_tick": self.ticks[0] if self.ticks else None,
            "last_tick": self.ticks[1] if self.ticks else None,
            "event_types": ranked(self.kinds),
            "levels": ranked(self.levels),
            "decisions": self.decisions.total(),
            "decision_counts": ranked(self.decisions),
            "outcomes": {action: ranked(counts) for action, counts in sorted(self.outcomes.items())},
            "durations_ms": {action: describe(values) for action, values in sorted(self.durations.items())},
        }


def agent_activity(reader: TreeReader, agent_id: str) -> dict[str, Any]:
    """What one agent did: counts by action, outcome, kind and level, errors, durations in milliseconds.

    `errors` is how many errors are the agent's; an action that failed because of one is not a second one.

    Raises:
        AgentNotFound: the session knows no such agent.
    """
    count = ActivityCount(agent_id)
    for event in agent_events(reader, agent_id):
        count.add(event)
    return count.result()
