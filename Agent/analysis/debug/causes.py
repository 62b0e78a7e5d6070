"""What may lie behind an issue, each with its numbers, its events and a confidence by one stated rule.

confidence = strength x relevance x uniqueness x support x moment, at most 0.95:
  strength    0.65 where chance explains the finding once in a hundred sessions, 0.95 once in a million
  relevance   1.0 what the text names, done by an agent it names; 0.8 another change of such an agent;
              0.9 and 0.7 where the text names no agent; less if it only follows from a guess
  uniqueness  1 less the share of peers that did the same; without peers 0.75, 0.5 for a mere change of rate
  support     1.0 with a failure found behind it, 0.95 with a fitting event, 0.75 with neither
  moment      1.0, but 0.6 where the text names a tick or a time of day and this is another, or where it
              names a thing of which nothing is on record any more
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from Agent.analysis.causality.chains import RECORDED, Edge
from Agent.analysis.causality.event_window import time_us
from Agent.analysis.debug.changes.activity_series import Axis
from Agent.analysis.debug.changes.change_candidates import SearchRange, Trigger, trigger_edge
from Agent.analysis.debug.changes.change_points import MIN_PEERS, NEVER, STOPPED, Departure
from Agent.analysis.debug.question.question import Question
from Agent.analysis.text import plural, short_number
from Agent.event.clock import format_timestamp

MAX_CONFIDENCE = 0.95
UNEXPLAINED = 0.45
"""What nobody asked about and nothing on record explains is a hint at most."""
_NO_PEERS = 0.75
_NO_PEERS_RATE = 0.5


@dataclass(frozen=True, slots=True)
class Cause:
    """One explanation: what it is, why one may think so, and where to look."""

    title: str
    explanation: str
    event_ids: tuple[str, ...]
    agent_ids: tuple[str, ...]
    edges: tuple[Edge, ...]
    confidence: float
    """0 to 0.95; the rule stands in `causes`."""
    sort: str = field(default="departure")
    """departure, loop, errors, in_flight, event ..."""
    weight: float = 0.0
    """What decides between causes of one confidence."""

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


def strength(chance: float) -> float:
    """How much a finding weighs that chance alone makes so often."""
    if chance > 0.01:
        return 0.0
    return min(0.95, 0.65 + 0.075 * (-math.log10(max(chance, 1e-300)) - 2))


def relevance(question: Question, agent_id: str, series: str, topics: frozenset[str]) -> float:
    """How much a finding about an agent's series has to do with the text."""
    fits = series in question.series or bool(topics & question.topics)
    if agent_id in question.agents:
        near = 0.85 if agent_id in question.guessed else 1.0
        return near * (1.0 if fits else 0.8)
    if question.agents:
        return 0.35
    return 0.9 if fits else 0.7


def topics_of(departure: Departure) -> frozenset[str]:
    """The topics of a question to which a departure is an answer."""
    topics = set()
    if departure.measure == "reward":
        topics.add("reward")
    if departure.measure == "share":
        topics.add("exploration")
    if departure.measure == "duration":
        topics.add("slow")
    if departure.series == "error":
        topics.add("error")
    if departure.series.startswith("message:"):
        topics.add("message")
    if departure.series in {"learning_update", "training_step", "policy_update"}:
        topics.add("learning")
    return frozenset(topics)


def departure_cause(
    trigger: Trigger | None,
    departures: list[Departure],
    place: SearchRange,
    question: Question,
    axis: Axis,
    *,
    silent: bool = False,
    first_id: str | None = None,
) -> Cause:
    """The cause told by departures of one agent at one place, the most telling first.

    `silent` says that nothing at all is on record of the agent from there on; `first_id` is the first event
    of what it does differently.
    """
    main = departures[0]
    alone = _NO_PEERS if main.sort == STOPPED or main.measure != "count" else _NO_PEERS_RATE
    uniqueness = alone if main.peers < MIN_PEERS else 1.0 - main.alike / main.peers
    support = 0.75 if trigger is None else 1.0 if _failure_behind(trigger) else 0.95
    confidence = (
        strength(main.chance)
        * relevance(question, main.agent_id, main.series, topics_of(main))
        * uniqueness
        * support
        * _at_named_moment(question, place, trigger, axis)
    )
    if trigger is None and main.agent_id not in question.agents:
        confidence = min(UNEXPLAINED, confidence)
    where = _where(main, place, axis)
    effect = f"{main.agent_id}:{main.series}:{main.sort}"
    told = [_numbers(main, where), *_company(departures[1:])]
    title = f"{main.agent_id} {'fell silent' if silent else _verb(main)}{where}"
    title += since_trigger(trigger, main.agent_id)
    more, edges, ids, agents = told_trigger(trigger, effect, "where the change began")
    told += more or ["Nothing recorded at that point explains the change."]
    if place.last is not None:
        ids.append(place.last.id)
    elif first_id is not None and main.sort != NEVER:
        ids.append(first_id)
    return make_cause(title, told, ids, [main.agent_id, *agents], edges, confidence)


def since_trigger(trigger: Trigger | None, agent_id: str | None = None) -> str:
    """The end of a title: the event at the beginning; it names the agent unless the title is about it."""
    if trigger is None:
        return ""
    told, whose = trigger.told.partition(" (its peers")[0], trigger.row["agent_id"]
    if whose and whose != agent_id and told.startswith("it "):
        told = f"{whose}{told.removeprefix('it')}"
    return f"; at {told_moment(trigger.row)} {told}"


def told_trigger(
    trigger: Trigger | None, effect: str, where: str
) -> tuple[list[str], list[Edge], list[str], list[str]]:
    """A trigger and the way behind it: sentences, edges, event ids and agents."""
    if trigger is None:
        return [], [], [], []
    row = trigger.row
    who = f" {row['agent_id']}:" if row["agent_id"] else ""
    told = [f"Best match for the change: at {told_moment(row)}{who} {trigger.told} (event {row['id']})."]
    edges = [trigger_edge(trigger, effect, f"{trigger.told} {where}")]
    ids, agents = [row["id"]], [row["agent_id"]]
    for cause, edge in trigger.path:
        told.append(_step(cause, edge))
        edges.append(edge)
        ids.append(cause["id"])
        agents.append(cause["agent_id"])
    return told, edges, ids, agents


def make_cause(
    title: str,
    told: list[str],
    ids: list[str],
    agents: list[Any],
    edges: list[Edge],
    confidence: float,
    sort: str = "departure",
) -> Cause:
    """A cause whose ids and agents each stand once."""
    known = tuple(dict.fromkeys(agent for agent in agents if agent))
    return Cause(
        title, " ".join(told), tuple(dict.fromkeys(ids)), known, tuple(edges), rounded(confidence), sort
    )


def shared_cause(
    trigger: Trigger | None,
    departure: Departure,
    place: SearchRange,
    question: Question,
    axis: Axis,
    *,
    first_id: str | None = None,
) -> Cause:
    """The cause told by what changes for many agents at the same time."""
    fits = departure.series in question.series or bool(topics_of(departure) & question.topics)
    # of what all do alike, one agent's name says little
    near = (0.9 if question.agents else 1.0) if fits else 0.7
    # a change of all is their common course as a rule, unless something of weight stands at its beginning
    least = 0.45 if departure.measure == "count" else 0.6
    support = least if trigger is None else least + (1.0 - least) * min(1.0, trigger.score / 0.7) ** 2
    confidence = (
        strength(departure.chance) * near * support * _at_named_moment(question, place, trigger, axis)
    )
    if trigger is None:
        confidence = min(UNEXPLAINED, confidence)
    where = _where(departure, place, axis)
    title = (
        f"{departure.alike} of {departure.peers} agents: {_common(departure)}{where}{since_trigger(trigger)}"
    )
    unit = " ms" if departure.measure == "duration" else ""
    numbers = (
        f"The mean of {thing(departure.series)} over all agents that have it went from "
        f"{short_number(departure.before)}{unit} to {short_number(departure.after)}{unit}{where}."
        if departure.measure != "count"
        else f"All agents together have {departure.seen} of {thing(departure.series)}{where}; about "
        f"{short_number(round(departure.expected))} expected from their own past."
    )
    more, edges, ids, agents = told_trigger(
        trigger, f"all:{departure.series}:{departure.sort}", "where the change began"
    )
    told = [numbers, *(more or ["Nothing recorded at that point explains the change."])]
    if first_id is not None:
        ids.append(first_id)
    return make_cause(title, told, ids, agents, edges, confidence, "shared")


_COURSE = {STOPPED: "stopped", "fell": "became rarer", "rose": "became more frequent"}


def _common(departure: Departure) -> str:
    name = thing(departure.series)
    if departure.measure == "count":
        return f"{name} {_COURSE[departure.sort]}"
    noun = {"reward": "rewards", "share": "share of exploration", "duration": f"duration of {name}"}[
        departure.measure
    ]
    return f"{noun} {'fell' if departure.sort == 'fell' else 'rose'}"


def _at_named_moment(question: Question, place: SearchRange, trigger: Trigger | None, axis: Axis) -> float:
    """1 if the text names no moment, or this one; 0.6 if it names another.

    What begins after the last word of the thing that the text names has nothing to do with it.
    """
    ends = [each.tick if axis.by_tick else each.ts_us for each in question.naming]
    if ends and place.at > max(end or 0 for end in ends) + place.margin + 1:
        return 0.6
    if not question.ticks and not question.clock:
        return 1.0
    if axis.by_tick and any(abs(place.at - tick) <= place.margin + 1 for tick in question.ticks):
        return 1.0
    last = None if place.last is None else place.last.us
    us = time_us(trigger.row) if trigger is not None else last
    if us is not None:
        of_day = us // 1_000_000 % 86_400
        if any(abs(of_day - second) <= off for second, off in question.clock):
            return 1.0
    return 0.6


def _failure_behind(trigger: Trigger) -> bool:
    return bool(trigger.path) or trigger.rule == "failure_before_change"


def rounded(confidence: float) -> float:
    """A confidence within its bounds, with two digits."""
    return round(max(0.0, min(MAX_CONFIDENCE, confidence)), 2)


def thing(series: str) -> str:
    """A series in words: create_content, reward, messages sent."""
    sort, _, name = series.partition(":")
    if not name:
        return sort
    return {
        "decision": f"decision {name}",
        "interaction": f"interaction {name}",
        "message": f"messages {name}",
    }.get(sort, name)


def times(series: str, count: int) -> str:
    """How often something was done, in words: called create_content 3 times, recorded 3 reward events."""
    if series.startswith(("action:", "tool:")):
        return f"called {thing(series)} {plural(count, 'time')}"
    return f"recorded {plural(count, f'{thing(series)} event')}"


def _verb(departure: Departure) -> str:
    name = thing(departure.series)
    if departure.measure == "count":
        if departure.series == "error" and departure.sort == "rose":
            return "failed more often"
        if departure.series.startswith(("action:", "tool:")):
            verbs = (f"stopped calling {name}", f"never called {name}", f"called {name}")
        else:
            verbs = (
                f"recorded no more {name} events",
                f"never recorded {name} events",
                f"recorded {name} events",
            )
        stopped, never, did = verbs
        return {
            STOPPED: stopped,
            NEVER: never,
            "fell": f"{did} less often",
            "rose": f"{did} more often",
        }[departure.sort]
    noun = {"reward": "rewards", "share": "share of exploration", "duration": f"duration of {name}"}[
        departure.measure
    ]
    return f"saw its {noun} {'fall' if departure.sort == 'fell' else 'rise'}"


def _where(departure: Departure, place: SearchRange, axis: Axis) -> str:
    if departure.sort == NEVER:
        return ""
    if place.last is not None:
        return f" after {_at(place.at, axis)}"
    return f" from about {_at(axis.start(departure.bucket), axis)} on"


def _at(position: float, axis: Axis) -> str:
    return f"tick {round(position)}" if axis.by_tick else format_timestamp(round(position))[11:23]


def told_moment(row: dict[str, Any]) -> str:
    """When an event was: its tick, or its time of day."""
    return f"tick {row['tick']}" if row["tick"] is not None else row["timestamp"][11:23]


def _numbers(departure: Departure, where: str) -> str:
    name = thing(departure.series)
    if departure.sort == NEVER:
        doing = departure.peers - departure.alike
        return (
            f"{departure.agent_id} {_verb(departure)}; {doing} of its {departure.peers} peers did, "
            f"{short_number(departure.expected)} times on average."
        )
    if departure.measure == "count":
        told = (
            f"{departure.agent_id} {times(departure.series, departure.seen)}{where}; about "
            f"{short_number(round(departure.expected))} expected from its own past and its peers."
        )
    else:
        unit = " ms" if departure.measure == "duration" else ""
        told = (
            f"The mean {name} of {departure.agent_id} went from {short_number(departure.before)}{unit} to "
            f"{short_number(departure.after)}{unit}{where}, over {plural(departure.seen, 'value')}."
        )
    if departure.peers >= MIN_PEERS:
        told += f" {departure.alike or 'None'} of its {departure.peers} peers changed likewise."
    return told


def _company(others: list[Departure]) -> list[str]:
    if not others:
        return []
    names = ", ".join(f"{thing(other.series)} ({other.sort})" for other in others[:4])
    return [f"Also changed: {names}."]


def _step(row: dict[str, Any], edge: Edge) -> str:
    basis = "recorded" if edge.basis == RECORDED else f"inferred by {edge.rule}"
    where = f"{row['agent_id'] or 'no agent'}, {told_moment(row)}, event {row['id']}"
    return f"Before that ({basis}): {row['message']} ({where})."
