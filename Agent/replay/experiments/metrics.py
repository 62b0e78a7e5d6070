"""What a trial looks at: how often agents do a thing, their mean reward, or a field at the end.

What comes after the moment of the trial is counted, and the same in the recording, so that a fork which
does not do again what was recorded is known by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent.event.model import Event
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.replay.forks.outcome import ABSENT, STOPPED, ForkOutcome, OutcomeOf

COUNT = "count"
REWARD = "reward"
STATE = "state"

ERROR_SERIES = "error"
_NAMED = {
    "agent_action": ("action", "action_type"),
    "decision": ("decision", "decision_type"),
    "interaction": ("interaction", "interaction_type"),
    "agent_message": ("message", "direction"),
    "tool.call": ("tool", "name"),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that a run has behind a moment."""

    sort: str
    """count, reward or state."""
    series: tuple[str, ...] = ()
    """What is counted: `action:publish`, `error`, `tool:search`, `reward` ..."""
    agents: tuple[str, ...] = ()
    """Whose; everybody's where empty."""
    outcome: str = ""
    """Of a state: a field at the end or a condition on one, as `sweep_forks` takes it."""

    def to_object(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "sort": self.sort,
            "series": list(self.series),
            "agents": list(self.agents),
            "outcome": self.outcome,
        }

    @classmethod
    def from_object(cls, stored: dict[str, Any]) -> Measure:
        """Back from a JSON object."""
        return cls(stored["sort"], tuple(stored["series"]), tuple(stored["agents"]), stored["outcome"])

    def is_of(self, agent_id: str | None) -> bool:
        """Whether what an agent does counts."""
        return not self.agents or agent_id in self.agents


def series_of(event: Event) -> str:
    """The sort of thing that an event tells of, as `debug` names it."""
    is_grave = event.level in {"ERROR", "CRITICAL"} and event.extra.get("error_id") is None
    if event.kind == "error" or is_grave:
        return ERROR_SERIES
    sort, key = _NAMED.get(event.kind, (event.kind, ""))
    return f"{sort}:{event.extra.get(key) or ''}" if key else sort


@dataclass(slots=True)
class MetricTally:
    """What has come so far."""

    measure: Measure
    count: int = 0
    rewards: list[float] = field(default_factory=list)

    def see(self, event: Event) -> None:
        """An event came."""
        measure = self.measure
        if measure.sort == STATE or not measure.is_of(event.agent_id):
            return
        if measure.sort == REWARD:
            reward = event.extra.get("reward")
            if event.kind == "reward" and isinstance(reward, (int, float)) and not isinstance(reward, bool):
                self.rewards.append(float(reward))
        elif series_of(event) in measure.series:
            self.count += 1

    def see_answer(self, series: str, agent_id: str | None, *, failed: bool) -> None:
        """A call was answered with recorded responses, which leaves no event."""
        measure = self.measure
        if measure.sort == COUNT and measure.is_of(agent_id):
            self.count += (series in measure.series) + (failed and ERROR_SERIES in measure.series)

    def value(self, fork: ForkOutcome | None = None) -> Any:
        """What was looked at, as a JSON value; None where there was nothing to measure."""
        if fork is not None and fork.stopped is not None:
            return STOPPED
        if self.measure.sort == REWARD:
            return sum(self.rewards) / len(self.rewards) if self.rewards else None
        if self.measure.sort == STATE:
            return None if fork is None else OutcomeOf.parse(self.measure.outcome).of(fork)
        return self.count


def recorded_value(measure: Measure, events: Iterable[Event], live: Collection[str]) -> Any:
    """The same of recorded events.

    Args:
        events: those behind the moment.
        live: agents whose code runs in a fork; of others only answered calls are known there.
    """
    tally = MetricTally(measure)
    for event in events:
        is_call = event.kind in _NAMED and event.span_id is not None and event.kind != "decision"
        if event.agent_id is None or event.agent_id in live or is_call or event.kind == ERROR_SERIES:
            tally.see(event)
    return tally.value()


def recorded_outcome(measure: Measure, events: Sequence[Event], given: Sequence[str]) -> Any:
    """A field at the end, or a condition on one, as the recording has it; None where it does not tell.

    Args:
        events: all of the run.
        given: agents with an object of their own.
    """
    outcome = OutcomeOf.parse(measure.outcome)
    agents = {event.agent_id for event in events} - {None}
    states = {
        str(agent_id): fold_events(StateFold(), (each for each in events if each.agent_id == agent_id)).fields
        for agent_id in agents
        if outcome.concerns(str(agent_id), given)
    }
    is_told = OutcomeOf.parse(outcome.field).of(ForkOutcome(agents=list(given), states=states)) != ABSENT
    return outcome.of(ForkOutcome(agents=list(given), states=states)) if is_told else None
