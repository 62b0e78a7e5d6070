"""Which events of a session a replay needs: of one agent, of some agents, of the first steps.

`adding.py` keeps these, `shrinking.py` looks for the fewest that still fail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from Agent.event.model import Event
from Agent.record.emit.context import states_of
from Agent.replay.golden.trace import GoldenTrace
from Agent.replay.judging.report import ReplayReport
from Agent.replay.plan.actions import DrivenAction, Plan, make_plan
from Agent.replay.plan.recording import Recording

__all__ = ["Chosen", "asked_for", "choose", "inside_agents", "needed"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A part of a recording that can be replayed alone."""

    given: frozenset[str]
    """Agents of which the target gives an object, as far as their code is to run."""
    inside: frozenset[str]
    """Agents whose code runs inside theirs."""
    actions: tuple[DrivenAction, ...]
    is_whole: bool
    """Nothing was left out at the end, so that the last states hold."""

    @property
    def agents(self) -> frozenset[str]:
        """All agents whose code runs."""
        return self.given | self.inside


def choose(
    recording: Recording, given: Collection[str], inside: Collection[str], until: str | None = None
) -> Chosen | None:
    """What is replayed of these agents, up to the action of that event; None where that is not replayed."""
    live = frozenset({*given, *inside})
    plan: Plan = make_plan(recording, frozenset(given), live)
    actions = plan.actions
    if until is not None:
        place = next((place for place, action in enumerate(actions, 1) if action.event.id == until), None)
        if place is None:
            return None
        actions = actions[:place]
    is_whole = len(actions) == len(plan.actions)
    return Chosen(frozenset(given), frozenset(inside), tuple(actions), is_whole)


def needed(recording: Recording, chosen: Chosen | None = None) -> Callable[[Event], bool]:
    """Tells of each event of the session whether a replay of that part needs it.

    Args:
        chosen: the part; without it everything in the recording, which may be one agent's.
    """
    kept = recording.events if chosen is None else list(_events_of(recording, chosen))
    ids = {event.id for event in kept}
    codes = {event.code for event in kept if event.code is not None}
    states: set[Any] = set()
    for event in kept:
        states |= states_of(event.extra.get("reads"))
    # Whether a generator is shared with somebody who is not replayed is told by the others' first states.
    is_shared = any(facts.shared_with for facts in recording.agents.values())

    def is_needed(event: Event) -> bool:
        if event.id in ids or event.kind == "log.dropped":
            return True
        if event.kind == "code":
            return event.extra.get("digest") in codes
        if event.kind == "source.state":
            return event.id in states
        return is_shared and event.kind == "state" and event.extra.get("reason") == "first"

    return is_needed


def _events_of(recording: Recording, chosen: Chosen) -> Iterable[Event]:
    """The replayed actions with all that is inside them, and the states around them."""
    spans = {action.event.span_id for action in chosen.actions}
    parents = {event.span_id: event.parent_span_id for event in recording.events if event.span_id is not None}
    around = {
        event.id for action in chosen.actions for event in (*action.before, *action.after, action.event)
    }
    for facts in recording.agents.values():
        if facts.agent_id in chosen.agents and facts.first_state is not None:
            around.add(facts.first_state.id)
    for event in recording.events:
        is_end = event.kind == "state" and event.extra.get("reason") in {"exit", "gone"}
        if event.id in around or (chosen.is_whole and is_end and event.agent_id in chosen.agents):
            yield event
            continue
        span_id, seen = event.parent_span_id, 0
        while span_id is not None and span_id not in spans and seen < 10_000:
            span_id, seen = parents.get(span_id), seen + 1
        if span_id in spans:
            yield event


def inside_agents(report: ReplayReport, recording: Recording) -> set[str]:
    """Agents whose code ran, or can have run, inside the replayed ones."""
    outcome = report.outcome
    answered = set(outcome.answered)
    nested = {facts.agent_id for facts in recording.agents.values() if facts.entries and not facts.roots}
    return (set(outcome.inside) | (nested - answered if outcome.inside else set())) - set(outcome.agents)


def asked_for(golden: GoldenTrace, recording: Recording) -> str | None:
    """The agent that the target is asked for where only a part of a whole run is replayed."""
    if golden.agents is not None:
        return golden.asked_for
    # whoever is asked for a part builds what it builds for the whole run
    roots = [facts.agent_id for facts in recording.agents.values() if facts.roots]
    return roots[0] if len(roots) == 1 else None
