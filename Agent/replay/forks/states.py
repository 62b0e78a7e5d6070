"""The states of agents in a fork: told when its record begins, and read when it has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.event_template import AgentBinding
from Agent.record.state.introspection import read_state
from Agent.record.state.tracker import StateTracker
from Agent.record.tracing.state_events import emit_state
from Agent.replay.plan.recording import AgentFacts


def tell_states(
    pipeline: Pipeline,
    objects: Mapping[str, object],
    facts: Mapping[str, AgentFacts],
    actions: Mapping[str, int],
) -> None:
    """Begin a fork's recording with full states, so that each action is told by what it changes.

    Args:
        actions: how many entry actions each agent had before; the next full state is due as in the original.
    """
    for tracker, binding, obj in trackers(pipeline, objects, facts):
        tracker.actions = max(1, actions.get(str(binding.agent_id), 0))
        emit_state(pipeline, binding, tracker, obj, "first")


def trackers(
    pipeline: Pipeline, objects: Mapping[str, object], facts: Mapping[str, AgentFacts]
) -> Iterator[tuple[StateTracker, AgentBinding, object]]:
    """What a pipeline keeps of agents, as if each had begun to act.

    Args:
        facts: what the original says of them; who was written to from outside is looked at here, too.
    """
    for obj in objects.values():
        known = pipeline.agents.find(obj)
        if known is not None:
            tracker = pipeline.agents.tracker(known, obj)
            tracker.actions = 1
            own = facts.get(str(known.binding.agent_id))
            tracker.watched = set() if own is None else set(own.written)
            yield tracker, known.binding, obj


def acting_in(pipeline: Pipeline) -> dict[str, object]:
    """The agents that a pipeline has seen, by id."""
    return {str(known.binding.agent_id): obj for known, obj in pipeline.agents.living()}


def state_of(obj: object, pipeline: Pipeline) -> dict[str, Any]:
    """What an object exposes now, as JSON values, without secrets."""
    body, _ = pipeline.capture.user_body(read_state(obj).fields, "")
    found: dict[str, Any] = orjson.loads(b"{" + body + b"}")
    return found
