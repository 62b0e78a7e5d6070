"""Causes told by what fails: loops, errors of one agent or of many, spans that never ended."""

from __future__ import annotations

import math
from typing import Any

from Agent.analysis.causality.chains import INFERRED, RECORDED, Edge
from Agent.analysis.debug.causes import (
    Cause,
    make_cause,
    rounded,
    since_trigger,
    strength,
    told_moment,
    told_trigger,
)
from Agent.analysis.debug.changes.change_candidates import Trigger
from Agent.analysis.debug.changes.change_points import MIN_PEERS
from Agent.analysis.debug.changes.history import ErrorPattern
from Agent.analysis.debug.loops import Loop
from Agent.analysis.debug.question.question import Question
from Agent.analysis.text import plural, short_number


def shared_errors_cause(
    trigger: Trigger | None, pattern: dict[str, Any], first: dict[str, Any], chance: float, question: Question
) -> Cause:
    """The cause told by a sort of error that begins in the course of the session."""
    words = {word.lower() for word in str(pattern["message"]).replace(":", " ").split()}
    fits = bool({"error", "loop"} & question.topics) or bool(set(question.words) & words)
    among = any(agent in pattern["agent_ids"] for agent in question.agents)
    elsewhere = 0.6 if question.topics or question.series else 0.8
    near = 0.4 if question.agents and not among else 1.0 if fits else elsewhere
    confidence = strength(chance) * near * (0.8 if trigger is None else 0.95)
    struck = f"{plural(pattern['agents'], 'agent')} {'fails' if pattern['agents'] == 1 else 'fail'}"
    title = f"{struck} with {pattern['message']!r} from {told_moment(first)} on{since_trigger(trigger)}"
    told = [
        f"{plural(pattern['count'], 'error')} of this type, the first at {pattern['first_seen']} (event "
        f"{first['id']}), the last at {pattern['last_seen']}; none before that."
    ]
    more, edges, ids, agents = told_trigger(trigger, first["id"], "before the first of these errors")
    return make_cause(
        title, told + more, [*ids, first["id"]], [first["agent_id"], *agents], edges, confidence, "errors"
    )


def loop_cause(trigger: Trigger | None, loop: Loop, question: Question, alike: int, peers: int) -> Cause:
    """The cause told by a loop; `alike` of `peers` peers have one of that name too."""
    fits = bool({"loop", "error", "absence"} & question.topics) or any(
        loop.name == series.partition(":")[2] for series in question.series
    )
    base = min(0.95, 0.55 + 0.04 * (loop.count - 5)) if loop.failing else 0.6
    base *= 1.0 if loop.unbroken or not loop.failing else 0.6
    uniqueness = 1.0 - alike / peers if peers >= MIN_PEERS else 1.0
    near = 0.35 if question.agents and loop.agent_id not in question.agents else 1.0 if fits else 0.7
    first, last = loop.first, loop.last
    span = f"from {told_moment(first)} to {told_moment(last)}"
    ids = [first["id"], last["id"]]
    agents = [loop.agent_id, *([first["agent_id"]] if first["agent_id"] else [])]
    edges: list[Edge] = []
    if loop.failing:
        error_id = last["extra"].get("error_id")
        reason = f" The last one ended with error event {error_id}." if error_id else ""
        if error_id:
            ids.append(str(error_id))
            edges.append(Edge(str(error_id), last["id"], RECORDED, "error", "the call ended with this error"))
        edges.append(
            Edge(
                first["id"],
                last["id"],
                INFERRED,
                "repeated_failure",
                f"{loop.count} consecutive calls failed in the same way",
            )
        )
        told = (
            f"{loop.agent_id} called {loop.name} {loop.count} times in a row {span}, and every call failed"
            f"{'; no later call succeeded' if loop.unbroken else ''}. Total calls: {loop.total}."
            f"{reason}"
        )
        title = f"{loop.agent_id} called {loop.name} repeatedly, and every call failed"
    else:
        told = (
            f"{loop.agent_id} called {loop.name} {loop.count} times with the same arguments within one "
            f"step, {span}, "
            f"out of {loop.total} calls in total."
        )
        title = f"{loop.agent_id} repeated the same {loop.name} call within one step"
    if peers >= MIN_PEERS:
        told += f" {alike or 'None'} of its {peers} peers did so."
    more, trigger_edges, trigger_ids, trigger_agents = told_trigger(
        trigger, first["id"], "before the first of these calls"
    )
    return make_cause(
        title + since_trigger(trigger, loop.agent_id), [told, *more], [*trigger_ids, *ids],
        [*agents, *trigger_agents], [*trigger_edges, *edges], base * near * uniqueness, "loop",
    )  # fmt: skip


def in_flight_cause(span: dict[str, Any], question: Question) -> Cause:
    """The cause told by a span that had begun and not ended."""
    state = "is still running" if span["alive"] else "had not ended when its process died"
    base = 0.45 if span["alive"] else 0.8
    fits = bool({"absence", "slow", "error", "loop"} & question.topics)
    return Cause(
        f"{span['agent_id'] or 'A span'} never returned from {span['name']}",
        f"{span['name']} of {span['agent_id']} began at {span['started_at']} and {state} "
        f"(process {span['pid']}, span {span['span_id']}).",
        (),
        (span["agent_id"],) if span["agent_id"] else (),
        (),
        rounded(base * (1.0 if fits else 0.7)),
        "in_flight",
    )


def errors_cause(
    trigger: Trigger | None,
    agent_id: str,
    count: int,
    usual: float,
    peers: int,
    pattern: ErrorPattern,
    question: Question,
    *,
    onset_chance: float = 1.0,
    others: int = 0,
) -> Cause:
    """The cause told by an agent's errors of one sort.

    `usual` is how many errors a peer has on average, `onset_chance` how often chance leaves the time before
    the first one free of them, `others` how many other agents have errors of this sort.
    """
    message = pattern.first["message"]
    words = {word.lower() for word in str(message).replace(":", " ").split()}
    fits = "error" in question.topics or bool(set(question.words) & words)
    chance = poisson_tail(count, max(usual, 0.5)) if peers >= MIN_PEERS else 0.01
    alone = 1.0 if others <= max(1, peers // 5) else 0.7
    base = max(strength(chance), strength(onset_chance) * alone, 0.45 if fits else 0.0)
    near = 0.35 if question.agents and agent_id not in question.agents else 1.0 if fits else 0.75
    told = (
        f"{plural(count, 'error')} of {agent_id}, mostly {message!r} ({pattern.count} times, "
        f"first at {pattern.first['timestamp']}, last at {pattern.last['timestamp']})."
        if pattern.count * 2 > count
        else f"{pattern.count} of {plural(count, 'error')} of {agent_id} are {message!r} (first at "
        f"{pattern.first['timestamp']}, last at {pattern.last['timestamp']})."
    )
    if peers >= MIN_PEERS:
        told += f" Its {peers} peers have {short_number(round(usual, 1))} on average."
    more, edges, ids, agents = told_trigger(trigger, pattern.first["id"], "before the first of these errors")
    return make_cause(
        f"{agent_id} fails with {message!r}{since_trigger(trigger, agent_id)}",
        [told, *more], [*ids, pattern.first["id"], pattern.last["id"]], [agent_id, *agents], edges,
        base * near * (0.8 if trigger is None else 0.95), "errors",
    )  # fmt: skip


def poisson_tail(count: int, mean: float) -> float:
    """The chance of that many or more where so many are usual."""
    below = math.fsum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(count))
    return max(0.0, 1.0 - below)
