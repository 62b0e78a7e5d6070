"""What may lie behind an issue, each with its numbers, its events and a confidence by one stated rule.

confidence = strength x relevance x uniqueness x support x moment, at most 0.95:
  strength    0.65 where chance explains the finding once in a hundred sessions, 0.95 once in a million
  relevance   1.0 what the text names, done by an agent it names; 0.8 another change of such an agent;
              0.9 and 0.7 where the text names no agent; less if it only follows from a guess
  uniqueness  1 less the share of peers that did the same; without peers 0.75, 0.5 for a mere change of rate
  support     1.0 with a failure found behind it, 0.95 with a fitting event, 0.75 with neither
  moment      1.0, but 0.6 where the text names a tick or a time of day and this is another
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from Agent.analysis.causality import INFERRED, RECORDED, Edge
from Agent.analysis.departures import MIN_PEERS, NEVER, STOPPED, Departure
from Agent.analysis.history import ErrorPattern
from Agent.analysis.loops import Loop
from Agent.analysis.question import Question
from Agent.analysis.series import Axis
from Agent.analysis.text import plural, short_number
from Agent.analysis.triggers import Place, Trigger, trigger_edge
from Agent.analysis.window import time_us
from Agent.event.clock import format_timestamp

MAX_CONFIDENCE = 0.95
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
    """departure, loop, errors or in_flight."""

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
    place: Place,
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
    where = _where(main, place, axis)
    effect = f"{main.agent_id}:{main.series}:{main.sort}"
    told = [_numbers(main, where), *_company(departures[1:])]
    title = f"{main.agent_id} {'fell silent' if silent else _verb(main)}{where}"
    title += _since(trigger)
    more, edges, ids, agents = _trigger_told(trigger, effect, "where the change begins")
    told += more or ["Nothing recorded at that place explains the change."]
    if place.last is not None:
        ids.append(place.last.id)
    elif first_id is not None and main.sort != NEVER:
        ids.append(first_id)
    return _cause(title, told, ids, [main.agent_id, *agents], edges, confidence)


def _since(trigger: Trigger | None) -> str:
    return "" if trigger is None else f", when {trigger.told.partition(' (its peers')[0]}"


def _trigger_told(
    trigger: Trigger | None, effect: str, where: str
) -> tuple[list[str], list[Edge], list[str], list[str]]:
    """A trigger and the way behind it: sentences, edges, event ids and agents."""
    if trigger is None:
        return [], [], [], []
    row = trigger.row
    who = f" {row['agent_id']}:" if row["agent_id"] else ""
    told = [f"What fits the change best: at {_moment(row)}{who} {trigger.told} (event {row['id']})."]
    edges = [trigger_edge(trigger, effect, f"{trigger.told} {where}")]
    ids, agents = [row["id"]], [row["agent_id"]]
    for cause, edge in trigger.path:
        told.append(_step(cause, edge))
        edges.append(edge)
        ids.append(cause["id"])
        agents.append(cause["agent_id"])
    return told, edges, ids, agents


def _cause(
    title: str,
    told: list[str],
    ids: list[str],
    agents: list[Any],
    edges: list[Edge],
    confidence: float,
    sort: str = "departure",
) -> Cause:
    known = tuple(dict.fromkeys(agent for agent in agents if agent))
    return Cause(
        title, " ".join(told), tuple(dict.fromkeys(ids)), known, tuple(edges), _rounded(confidence), sort
    )


def shared_cause(
    trigger: Trigger | None,
    departure: Departure,
    place: Place,
    question: Question,
    axis: Axis,
    *,
    first_id: str | None = None,
) -> Cause:
    """The cause told by what changes for many agents at one time."""
    fits = departure.series in question.series or bool(topics_of(departure) & question.topics)
    # of what all do alike, one agent's name says little
    near = (0.9 if question.agents else 1.0) if fits else 0.7
    # a change of all is their common course as a rule, unless something of weight stands at its beginning
    least = 0.45 if departure.measure == "count" else 0.6
    support = least if trigger is None else least + (1.0 - least) * min(1.0, trigger.score / 0.7) ** 2
    confidence = (
        strength(departure.chance) * near * support * _at_named_moment(question, place, trigger, axis)
    )
    where = _where(departure, place, axis)
    title = f"{departure.alike} of {departure.peers} agents: {_common(departure)}{where}{_since(trigger)}"
    unit = " ms" if departure.measure == "duration" else ""
    numbers = (
        f"The mean of {thing(departure.series)} of all agents that have it went from "
        f"{short_number(departure.before)}{unit} to {short_number(departure.after)}{unit}{where}."
        if departure.measure != "count"
        else f"All agents together have {departure.seen} of {thing(departure.series)}{where}; their past would "
        f"make it about {short_number(round(departure.expected))}."
    )
    more, edges, ids, agents = _trigger_told(
        trigger, f"all:{departure.series}:{departure.sort}", "where the change begins"
    )
    told = [numbers, *(more or ["Nothing recorded at that place explains the change."])]
    if first_id is not None:
        ids.append(first_id)
    return _cause(title, told, ids, agents, edges, confidence, "shared")


def _common(departure: Departure) -> str:
    name = thing(departure.series)
    if departure.measure == "count":
        return f"{name} {'stops' if departure.sort == STOPPED else departure.sort.replace('fell', 'falls').replace('rose', 'rises')}"
    noun = {"reward": "rewards", "share": "share of exploration", "duration": f"duration of {name}"}[
        departure.measure
    ]
    return f"{noun} {'falls' if departure.sort == 'fell' else 'rises'}"


def shared_errors_cause(
    trigger: Trigger | None, pattern: dict[str, Any], first: dict[str, Any], chance: float, question: Question
) -> Cause:
    """The cause told by a sort of error that begins in the course of the session."""
    words = {word.lower() for word in str(pattern["message"]).replace(":", " ").split()}
    fits = bool({"error", "loop", "slow"} & question.topics) or bool(set(question.words) & words)
    among = any(agent in pattern["agent_ids"] for agent in question.agents)
    near = 1.0 if fits and (among or not question.agents) else 0.8 if among or not question.agents else 0.4
    confidence = strength(chance) * near * (0.8 if trigger is None else 0.95)
    struck = f"{plural(pattern['agents'], 'agent')} {'fails' if pattern['agents'] == 1 else 'fail'}"
    title = f"{struck} with {pattern['message']!r} from {_moment(first)} on{_since(trigger)}"
    told = [
        f"{plural(pattern['count'], 'error')} of this sort, the first at {pattern['first_seen']} (event "
        f"{first['id']}), the last at {pattern['last_seen']}; before that there was none."
    ]
    more, edges, ids, agents = _trigger_told(trigger, first["id"], "before the first of these errors")
    return _cause(
        title, told + more, [*ids, first["id"]], [first["agent_id"], *agents], edges, confidence, "errors"
    )


def _at_named_moment(question: Question, place: Place, trigger: Trigger | None, axis: Axis) -> float:
    """1 if the text names no moment, or this one; 0.6 if it names another."""
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


def _rounded(confidence: float) -> float:
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
    """How often something was done, in words: did create_content 3 times, has 3 reward events."""
    if series.startswith(("action:", "tool:")):
        return f"did {thing(series)} {plural(count, 'time')}"
    return f"has {plural(count, f'{thing(series)} event')}"


def _verb(departure: Departure) -> str:
    name = thing(departure.series)
    if departure.measure == "count":
        return {
            STOPPED: f"stopped {name}",
            NEVER: f"never did {name}",
            "fell": f"does {name} less often",
            "rose": f"does {name} more often" if departure.series != "error" else "fails more often",
        }[departure.sort]
    noun = {"reward": "rewards", "share": "share of exploration", "duration": f"duration of {name}"}[
        departure.measure
    ]
    return f"has its {noun} {'fall' if departure.sort == 'fell' else 'rise'}"


def _where(departure: Departure, place: Place, axis: Axis) -> str:
    if departure.sort == NEVER:
        return ""
    if place.last is not None:
        return f" after {_at(place.at, axis)}"
    return f" from about {_at(axis.start(departure.bucket), axis)} on"


def _at(position: float, axis: Axis) -> str:
    return f"tick {round(position)}" if axis.by_tick else format_timestamp(round(position))[11:23]


def _moment(row: dict[str, Any]) -> str:
    return f"tick {row['tick']}" if row["tick"] is not None else row["timestamp"][11:23]


def _numbers(departure: Departure, where: str) -> str:
    name = thing(departure.series)
    if departure.sort == NEVER:
        doing = departure.peers - departure.alike
        return (
            f"{departure.agent_id} never did {name}, which {doing} of its {departure.peers} peers did, "
            f"{short_number(departure.expected)} times on average."
        )
    if departure.measure == "count":
        told = (
            f"{departure.agent_id} {times(departure.series, departure.seen)}{where}; its own past and "
            "its peers "
            f"would make it about {short_number(round(departure.expected))}."
        )
    else:
        unit = " ms" if departure.measure == "duration" else ""
        told = (
            f"The mean of {name} of {departure.agent_id} went from {short_number(departure.before)}{unit} to "
            f"{short_number(departure.after)}{unit}{where}, over {plural(departure.seen, 'value')}."
        )
    if departure.peers >= MIN_PEERS:
        told += f" {departure.alike or 'None'} of its {departure.peers} peers show the same."
    return told


def _company(others: list[Departure]) -> list[str]:
    if not others:
        return []
    names = ", ".join(f"{thing(other.series)} ({other.sort})" for other in others[:4])
    return [f"With it changed: {names}."]


def _step(row: dict[str, Any], edge: Edge) -> str:
    basis = "as recorded" if edge.basis == RECORDED else f"inferred by {edge.rule}"
    where = f"{row['agent_id'] or 'no agent'}, {_moment(row)}, event {row['id']}"
    return f"Behind that, {basis}: {row['message']} ({where})."


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
    span = f"from {_moment(first)} to {_moment(last)}"
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
                f"{loop.count} calls in a row failed alike",
            )
        )
        told = (
            f"{loop.agent_id} called {loop.name} {loop.count} times in a row {span}, and every call failed"
            f"{'; no later call succeeded' if loop.unbroken else ''}. It called it {loop.total} times in "
            f"all.{reason}"
        )
        title = f"{loop.agent_id} calls {loop.name} again and again, and it always fails"
    else:
        told = (
            f"{loop.agent_id} called {loop.name} {loop.count} times with the same arguments within one "
            f"step, {span}, "
            f"of {loop.total} calls in all."
        )
        title = f"{loop.agent_id} repeats the same {loop.name} within one step"
    if peers >= MIN_PEERS:
        told += f" {alike or 'None'} of its {peers} peers does so."
    more, trigger_edges, trigger_ids, trigger_agents = _trigger_told(
        trigger, first["id"], "before the first of these calls"
    )
    return _cause(
        title + _since(trigger), [told, *more], [*trigger_ids, *ids], [*agents, *trigger_agents],
        [*trigger_edges, *edges], base * near * uniqueness, "loop",
    )  # fmt: skip


def in_flight_cause(span: dict[str, Any], question: Question) -> Cause:
    """The cause told by a span that had begun and not ended."""
    state = "is still running" if span["alive"] else "had not ended when its process did"
    base = 0.45 if span["alive"] else 0.8
    fits = bool({"absence", "slow", "error", "loop"} & question.topics)
    return Cause(
        f"{span['agent_id'] or 'A span'} never came back from {span['name']}",
        f"{span['name']} of {span['agent_id']} began at {span['started_at']} and {state} "
        f"(process {span['pid']}, span {span['span_id']}).",
        (),
        (span["agent_id"],) if span["agent_id"] else (),
        (),
        _rounded(base * (1.0 if fits else 0.7)),
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
        f"{plural(count, 'error')} of {agent_id}, most often {message!r} ({pattern.count} times, "
        f"first at {pattern.first['timestamp']}, last at {pattern.last['timestamp']})."
        if pattern.count * 2 > count
        else f"{pattern.count} of {plural(count, 'error')} of {agent_id} are {message!r} (first at "
        f"{pattern.first['timestamp']}, last at {pattern.last['timestamp']})."
    )
    if peers >= MIN_PEERS:
        told += f" Its {peers} peers have {short_number(round(usual, 1))} on average."
    more, edges, ids, agents = _trigger_told(trigger, pattern.first["id"], "before the first of these errors")
    return _cause(
        f"{agent_id} fails with {message!r}{_since(trigger)}",
        [told, *more], [*ids, pattern.first["id"], pattern.last["id"]], [agent_id, *agents], edges,
        base * near * (0.8 if trigger is None else 0.95), "errors",
    )  # fmt: skip


def poisson_tail(count: int, mean: float) -> float:
    """The chance of that many or more where so many are usual."""
    below = math.fsum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(count))
    return max(0.0, 1.0 - below)
