"""Interventions that remove an event from a run, and the measure that compares the run with and without it.

An intervention that needs an ordinary value takes it from the nearest call of the same agent and name that is
not under suspicion and has another value. The place of an event in a replay is a replayed action, a call
inside one, a message that one sends, or the time between two.
"""

from __future__ import annotations

import gc
import os
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from Agent.archive.sealed.reader import cores
from Agent.errors import AgentNotFound, AgentTraceError, ReplayError, TargetNotGiven, UsageError
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.payloads import KINDS
from Agent.flight.checkpoints.state_fold import StateFold, fold_events
from Agent.flight.recorded_calls import CALL_KINDS
from Agent.record.messages import Message
from Agent.replay.forks.forking import fork_request
from Agent.replay.forks.outcome import STOPPED, ForkOutcome, OutcomeOf
from Agent.replay.plan.actions import DrivenAction, Plan, PlannedCall, calls_in
from Agent.replay.plan.recording import Recording, is_traced_action, members, method_name
from Agent.replay.plan.target import Target
from Agent.replay.worker.jobs import Job, run_job

Sort = Literal["drop", "answer", "arguments", "undo", "left_out"]

MAX_INTERVENTIONS = 3
_UNDO_FIRST = "state_before_change"
"""The rule of a causal edge that blames a state change of an earlier action."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """One way to remove the effect of an event."""

    sort: Sort
    description: str
    """The intervention in words."""
    message_id: str | None = None
    """The id of the message to drop."""
    ordinary: Event | None = None
    """The call whose response or arguments are used instead."""


def interventions_at(
    place: PlannedPlace, recording: Recording, rule: str, suspects: Collection[str], live: Collection[str]
) -> list[Intervention]:
    """Return at most MAX_INTERVENTIONS interventions at a place, the most fitting first.

    Args:
        place: the place of the event.
        recording: the source of ordinary values.
        rule: the rule by which the event is suspected, as its causal edge names it.
        suspects: the ids of events whose values are not ordinary.
        live: the agents whose code runs.
    """
    interventions = list(_all(place, recording, suspects, live))
    if rule == _UNDO_FIRST:
        interventions.sort(key=lambda each: each.sort != "undo")
    return interventions[:MAX_INTERVENTIONS]


def _all(
    place: PlannedPlace, recording: Recording, suspects: Collection[str], live: Collection[str]
) -> Iterator[Intervention]:
    event = place.event
    if place.sort == "sending":
        yield Intervention("drop", f"{_message(event)} dropped", place.message_id)
        return
    if place.sort == "between":
        what = event.extra.get("name") if event.kind == "system.config" else "the setting from outside"
        yield Intervention("undo", f"{what} left as it was")
        return
    message_id = place.message_id
    args = event.extra.get("args")
    if message_id is None or not holds(args, message_id):
        held = messages_in(args)
        message_id = held[0] if len(held) == 1 else None
    if message_id is not None:
        yield Intervention("drop", f"message {message_id} dropped before {_call(event)}", message_id)
    is_live = event.kind not in CALL_KINDS and (event.agent_id is None or event.agent_id in live)
    other = ordinary_call(event, recording, suspects, _given(event))
    if other is not None and place.sort != "action":
        yield Intervention("answer", f"{_call(event)} answered as it was at event {other.id}", ordinary=other)
    other = ordinary_call(event, recording, suspects, "args")
    if other is not None and is_live:
        yield Intervention(
            "arguments", f"{_call(event)} called with what it got at event {other.id}", ordinary=other
        )
    if is_live and _changed(event):
        names = ", ".join(_changed(event)[:4])
        yield Intervention("undo", f"what {_call(event)} changed of {event.agent_id} undone ({names})")
    returns_nothing = event.extra.get("outcome") is None and event.extra.get("result", 0) is None
    if is_live and (place.sort == "action" or returns_nothing):
        yield Intervention("left_out", f"{_call(event)} left out")


def ordinary_call(event: Event, recording: Recording, suspects: Collection[str], part: str) -> Event | None:
    """Return the nearest call of the same agent and name with another value; None if there is none.

    Earlier calls are preferred. A value that occurs less often than the event's own is not ordinary.

    Args:
        part: the key in `extra` whose values are compared.
    """
    alike = [each for each in recording.events if _is_like(each, event) and part in each.extra]
    counts = Counter(_key(each, part) for each in alike)
    own = _key(event, part)
    fitting = [
        each
        for each in alike
        if each.id not in suspects
        and each.extra.get("outcome") is None
        and _key(each, part) != own
        and counts[_key(each, part)] >= counts[own]
    ]
    moment = order_key(event)
    before = [each for each in fitting if order_key(each) < moment]
    return before[-1] if before else next(iter(fitting), None)


def _key(event: Event, name: str) -> bytes:
    return orjson.dumps(event.extra.get(name), option=orjson.OPT_SORT_KEYS)


def _is_like(one: Event, other: Event) -> bool:
    if one.kind != other.kind or one.agent_id != other.agent_id:
        return False
    if one.kind in CALL_KINDS:
        key = CALL_KINDS[one.kind]
        return one.extra.get(key) == other.extra.get(key)
    return is_traced_action(one) and method_name(one) == method_name(other)


def _given(event: Event) -> str:
    """Return the key of a call's result in `extra`: the value itself, or a reference to a file."""
    names = ("output", "output_ref") if event.kind == "model.call" else ("result", "result_ref")
    return names[1] if names[1] in event.extra else names[0]


def _changed(event: Event) -> list[str]:
    state = event.state or {}
    changed, gone = state.get("set"), state.get("unset")
    return [*(changed if isinstance(changed, dict) else ()), *(gone if isinstance(gone, list) else ())]


def fields_undone(event: Event) -> list[str]:
    """Return the names of the fields that undoing an event restores."""
    setting = event.extra.get("name") if event.kind == "system.config" else None
    return [*_changed(event), *members(event, "old_state"), *([setting] if setting else ())]


def _call(event: Event) -> str:
    name: Any = event.extra.get(CALL_KINDS.get(event.kind, "action_type"))
    at = f" of tick {event.tick}" if event.tick is not None else ""
    who = f" of {event.agent_id}" if event.agent_id is not None and event.kind not in CALL_KINDS else ""
    return f"{name}{who}{at}"


def _message(event: Event) -> str:
    at = f" of tick {event.tick}" if event.tick is not None else ""
    return f"the message{at} from {event.extra.get('sender')} to {event.extra.get('recipient')}"


@dataclass(frozen=True, slots=True)
class PlannedPlace:
    """The place of an event in a plan."""

    sort: Literal["action", "call", "tool", "sending", "between"]
    index: int
    """The index from 0 of the action that contains the event or follows it."""
    event: Event
    """The event itself, or the call that contains it."""
    ordinal: int = 0
    """The number of calls with the same agent and name before it in the action."""
    message_id: str | None = None
    """The id of the message that the event is about."""


def place_of(event: Event, plan: Plan, live: Collection[str]) -> PlannedPlace | None:
    """Find the place of an event in a plan; None if it is outside the replayed part.

    A message is located where it is passed to a call, or else where it is sent.

    Args:
        live: the agents whose code runs.
    """
    message_id = _message_id(event)
    if message_id is not None:
        handed = _passing_of(message_id, plan, live)
        if handed is not None:
            return handed
        event = _sending_of(message_id, plan) or event
    for index, action in enumerate(plan.actions):
        if action.event.id == event.id:
            return PlannedPlace("action", index, event)
        if any(effect.id == event.id for effect in action.effects):
            return _inside(event, index, action, live)
    return _between(event, plan)


def _passing_of(message_id: str, plan: Plan, live: Collection[str]) -> PlannedPlace | None:
    """Find the first action or call with a message in its arguments."""
    for index, action in enumerate(plan.actions):
        if holds(action.event.extra.get("args"), message_id):
            return PlannedPlace("action", index, action.event, message_id=message_id)
        for call in calls_in(action.call, live):
            if holds(call.event.extra.get("args"), message_id):
                return PlannedPlace(
                    "call", index, call.event, _ordinal(call, action, live), message_id=message_id
                )
    return None


def _sending_of(message_id: str, plan: Plan) -> Event | None:
    """Return the event of sending a message inside a replayed action."""
    for action in plan.actions:
        for effect in action.effects:
            if _message_id(effect) == message_id and effect.extra.get("direction") == "sent":
                return effect
    return None


def _between(event: Event, plan: Plan) -> PlannedPlace | None:
    """Find the place between two actions at which the program itself changed a setting or a field."""
    if event.kind not in {"system.config", "state_change"}:
        return None
    for index, action in enumerate(plan.actions):
        if action.call.began_us >= event.timestamp_us:
            return PlannedPlace("between", index, event)
    return None


def _inside(event: Event, index: int, action: DrivenAction, live: Collection[str]) -> PlannedPlace:
    """Return the place of an event inside a replayed action."""
    if event.kind == "agent_message" and event.extra.get("direction") == "sent":
        return PlannedPlace("sending", index, event, message_id=_message_id(event))
    if event.kind in CALL_KINDS:
        return PlannedPlace("tool", index, event, _tools_before(event, action))
    span_id = event.span_id if is_traced_action(event) else event.parent_span_id
    around = next((call for call in calls_in(action.call, live) if call.event.span_id == span_id), None)
    if around is None:
        return PlannedPlace("action", index, action.event)
    return PlannedPlace("call", index, around.event, _ordinal(around, action, live))


def _ordinal(wanted: PlannedCall, action: DrivenAction, live: Collection[str]) -> int:
    """Count the calls with the same agent and name before a call in an action."""
    count = 0
    for call in calls_in(action.call, live):
        if call is wanted:
            break
        count += (call.agent_id, call.name) == (wanted.agent_id, wanted.name)
    return count


def _tools_before(event: Event, action: DrivenAction) -> int:
    name = event.extra.get(CALL_KINDS[event.kind])
    same = [
        each
        for each in action.effects
        if each.kind == event.kind and each.extra.get(CALL_KINDS[each.kind]) == name
    ]
    return [each.id for each in same].index(event.id)


def _message_id(event: Event) -> str | None:
    message_id = event.extra.get("message_id") if event.kind == "agent_message" else None
    return message_id if isinstance(message_id, str) else None


def holds(value: Any, message_id: str) -> bool:
    """Whether a recorded value contains this message."""
    if isinstance(value, dict):
        if value.get("id") == message_id or value.get("message_id") == message_id:
            return True
        return any(holds(item, message_id) for item in value.values())
    return isinstance(value, list) and any(holds(item, message_id) for item in value)


def messages_in(value: Any) -> list[str]:
    """Return the ids of all messages in a recorded value."""
    if isinstance(value, dict):
        if {"id", "sender", "recipient", "body"} <= value.keys():
            return [str(value["id"])]
        return [message for item in value.values() for message in messages_in(item)]
    return [message for item in value for message in messages_in(item)] if isinstance(value, list) else []


# Dropping messages: they are removed from the containers that hold them, or from the arguments of a call.
#
# `experiment.py` searches before and after each call, and changes arguments.

_MAX_SEARCHES = 100
"""How often a message to drop is searched at most, since each search visits all objects of the process."""


class DroppedMessage:
    """A sent message that is removed from every container that holds it: lists, queues, sets, mappings.

    Args:
        message_id: its id in this fork.
    """

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        """The message's id in this fork."""
        self._searches = 0
        self.is_gone = False
        gc.unfreeze()  # frozen objects are not in gc.get_objects()
        self._message: Message | None = None

    def take_away(self) -> None:
        """Search for the message once, and remove it from its containers."""
        if self.is_gone or self._searches >= _MAX_SEARCHES:
            return
        self._searches += 1
        if self._message is None:
            messages = (each for each in gc.get_objects() if type(each) is Message)
            self._message = next((each for each in messages if each.id == self.message_id), None)
        if self._message is not None:
            self.is_gone = _taken_from_all(self._message)


def _taken_from_all(message: object) -> bool:
    """Remove a message from its containers, also in tuples as in priority queues; return if any had it."""
    is_taken = False
    for holder in gc.get_referrers(message):
        if type(holder) is tuple:
            outer = [each for each in gc.get_referrers(holder) if _taken_from(each, holder)]
            is_taken = is_taken or bool(outer)
        else:
            is_taken = _taken_from(holder, message) or is_taken
    return is_taken


def _taken_from(holder: object, item: object) -> bool:
    if isinstance(holder, (list, deque)):
        places = [index for index, each in enumerate(holder) if each is item]
        for index in reversed(places):
            del holder[index]
        return bool(places)
    if isinstance(holder, set):
        holder.discard(item)
        return True
    if isinstance(holder, dict):
        # Attributes and variables are entries of dicts too, under identifier names: leave those in place.
        own = getattr(item, "id", None)
        keys = [key for key, each in holder.items() if each is item and (key == own or not _is_name(key))]
        for key in keys:
            del holder[key]
        return bool(keys)
    return False


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier()


def without_message(value: Any, message_id: str) -> Any:
    """Return a value with the message removed from every list and mapping; GONE for the message itself."""
    return _without(value, message_id, {})


def _without(value: Any, message_id: str, copies: dict[int, tuple[Any, Any]]) -> Any:
    if _is_message(value, message_id):
        return GONE
    if not isinstance(value, (list, tuple, deque)) and type(value) is not dict:
        return value
    if id(value) in copies:
        return copies[id(value)][1]
    copies[id(value)] = value, value  # a container that contains itself keeps that reference
    reduced: Any
    if type(value) is dict:
        items = {key: _without(item, message_id, copies) for key, item in value.items()}
        reduced = {key: item for key, item in items.items() if item is not GONE}
    else:
        parts = [_without(item, message_id, copies) for item in value]
        parts = [item for item in parts if item is not GONE]
        reduced = type(value)(parts) if type(value) in {list, tuple, deque} else value
    copies[id(value)] = value, reduced
    return reduced


def _is_message(value: Any, message_id: str) -> bool:
    if isinstance(value, Message):
        return value.id == message_id
    return type(value) is dict and message_id in {value.get("id"), value.get("message_id")}


GONE: Any = object()
"""The result of `without_message` for a value that is the message itself."""


def same_message(recorded: Any, given: Any, message_id: str) -> str:
    """Return the id of the message in the place of a recorded one; the recorded id if no message is there."""
    if isinstance(recorded, dict):
        own = recorded.get("id", recorded.get("message_id"))
        if own == message_id:
            new = given.id if isinstance(given, Message) else None
            if isinstance(given, dict):
                new = given.get("id", given.get("message_id"))
            return str(new) if new is not None else message_id
        replayed = given if isinstance(given, dict) else {}
        pairs = [(value, replayed.get(key)) for key, value in recorded.items()]
    elif isinstance(recorded, list) and isinstance(given, (list, tuple)):
        pairs = list(zip(recorded, given, strict=False))
    else:
        return message_id
    ids = (same_message(one, other, message_id) for one, other in pairs)
    return next((each for each in ids if each != message_id), message_id)


# What a trial measures: the number of certain events of agents, their mean reward, or a field at the end.
#
# Only events after the moment of the trial count. The recording is measured in the same way, which shows
# whether an unchanged fork reproduces it.

COUNT = "count"
REWARD = "reward"
STATE = "state"

ERROR_SERIES = "error"


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that is measured in a run after the moment."""

    sort: str
    """count, reward or state."""
    series: Sequence[str] = ()
    """The events to count: `action:publish`, `error`, `tool:search`, `reward` ..."""
    agents: Sequence[str] = ()
    """The agents whose events count; all agents if empty."""
    outcome: str = ""
    """For state: a field at the end or a condition on one, as `sweep_forks` takes it."""

    def is_of(self, agent_id: str | None) -> bool:
        """Whether the events of an agent count."""
        return not self.agents or agent_id in self.agents


def series_of(event: Event) -> str:
    """Return the series of an event, such as `tool:search`, named as in `debug`."""
    is_grave = event.level in {"ERROR", "CRITICAL"} and event.extra.get("error_id") is None
    if event.kind == "error" or is_grave:
        return ERROR_SERIES
    sort, key = _series_of_kind(event.kind)
    return f"{sort}:{event.extra.get(key) or ''}" if key else sort


def _series_of_kind(kind: str) -> tuple[str, str]:
    """The word and the key of a kind's series; a kind without one is its own."""
    row = KINDS.get(kind)
    return row.series if row is not None and row.series[0] else (kind, "")


@dataclass(slots=True)
class MetricTally:
    """Sums up a measure, event by event."""

    measure: Measure
    count: int = 0
    rewards: list[float] = field(default_factory=list)

    def see(self, event: Event) -> None:
        """Count an event."""
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
        """Count a call that got a recorded response, since such a call leaves no event."""
        measure = self.measure
        if measure.sort == COUNT and measure.is_of(agent_id):
            self.count += (series in measure.series) + (failed and ERROR_SERIES in measure.series)

    def value(self, fork: ForkOutcome | None = None) -> Any:
        """Return the measured JSON value; STOPPED for a stopped fork, None if nothing was measured."""
        if fork is not None and fork.stopped is not None:
            return STOPPED
        if self.measure.sort == REWARD:
            return sum(self.rewards) / len(self.rewards) if self.rewards else None
        if self.measure.sort == STATE:
            outcome = OutcomeOf.parse(self.measure.outcome)
            return None if fork is None or outcome.is_absent(fork) else outcome.of(fork)
        return self.count


def recorded_value(measure: Measure, events: Iterable[Event], live: Collection[str]) -> Any:
    """Measure recorded events in the same way as those of a fork.

    Args:
        events: the events after the moment.
        live: the agents whose code runs in a fork; a fork sees only the calls and errors of other agents.
    """
    tally = MetricTally(measure)
    for event in events:
        is_named = bool(_series_of_kind(event.kind)[1])
        is_call = is_named and event.span_id is not None and event.kind != "decision"
        if event.agent_id is None or event.agent_id in live or is_call or event.kind == ERROR_SERIES:
            tally.see(event)
    return tally.value()


def recorded_outcome(measure: Measure, events: Sequence[Event], given: Sequence[str]) -> Any:
    """Return a field at the end of the recording, or a condition on one; None if it was not recorded.

    Args:
        events: all events of the run.
        given: the agents whose objects the target returns.
    """
    outcome = OutcomeOf.parse(measure.outcome)
    agents = {event.agent_id for event in events} - {None}
    states = {
        str(agent_id): fold_events(StateFold(), (each for each in events if each.agent_id == agent_id)).fields
        for agent_id in agents
        if outcome.concerns(str(agent_id), given)
    }
    recorded = ForkOutcome(agents=list(given), states=states)
    return None if outcome.is_absent(recorded) else outcome.of(recorded)


# `CauseExperiments`: each suspected event is tested in a child process, with and without the event.
#
# This code rejects forks that prove nothing; the caller interprets the numbers of the others.

DEFAULT_SEEDS = 19
"""Among 20 runs (1 and 19 others), a given one is the worst by chance with probability 1/20."""
_MOST_STOPPED = 0.2
_EXPERIMENT = Job("fork", "Agent.replay.forks.experiment:try_events")


@dataclass(frozen=True, slots=True)
class TestedIntervention:
    """One event, one intervention that removes it, and the measure of each fork; or `lacks`."""

    event_id: str | None
    """None if nothing is removed, and only the random seed differs from the beginning on."""
    change: str
    with_it: tuple[Any, ...] = ()
    """Numbers, or booleans for a condition: first with the recorded randomness, then one for each seed.

    If the recorded randomness chose among several interventions, its value is left out.
    """
    without_it: tuple[Any, ...] = ()
    expected: float | None = None
    """What the measure would be if the run went on as before the event; None if that is unknown."""
    lacks: str | None = None
    """Why nothing was compared."""


class CauseExperiments:
    """Tests events of one session as possible causes; the constructor raises errors that prevent every test.

    Args:
        session: the session's directory.
        sort: see `Measure`, also for `series`, `agents` and `outcome`.
        target: `module:factory`, or such a function; the default is the target recorded in the session.
        live: the calls that may be made live, as `fork_run` takes it.
        worse: 1 if a higher value is worse, -1 if a lower one is, 0 if unknown.
        seeds: how many other random seeds are tried per event.
        timeout_seconds: the time limit of the worker process.

    Raises:
        TargetNotGiven: no target was given, and the session has none.
        UsageError: the outcome or the target is invalid, or the system cannot fork processes.
    """

    def __init__(
        self,
        session: Path,
        sort: str,
        series: Sequence[str],
        agents: Sequence[str],
        *,
        outcome: str = "",
        target: Target | None = None,
        live: bool | Collection[str] = False,
        worse: int = 0,
        seeds: int = DEFAULT_SEEDS,
        timeout_seconds: float | None = None,
    ) -> None:
        if outcome:
            OutcomeOf.parse(outcome)
        if not hasattr(os, "fork"):
            raise UsageError("testing causes needs a system that can fork processes", remedy="use fork_run")
        self.measure = Measure(sort, series, agents, outcome)
        self._worse = worse
        self._seeds = list(range(1, seeds + 1))
        self._timeout_seconds = timeout_seconds
        self._runs = _runs(session, agents, target, live)

    def try_events(
        self, suspicions: Sequence[tuple[str, str, Collection[str]]]
    ) -> list[list[TestedIntervention]]:
        """Test other seeds alone, and then every event with its interventions; one list for each.

        Args:
            suspicions: for each event its id, the rule by which it is suspected, and the ids of events whose
                values are not ordinary.

        Raises:
            ReplayError: nothing could be replayed.
        """
        requested = [(None, "", ()), *suspicions]
        results = self._results_of(requested)
        tested = [[_chance(results[0])]]
        for (event_id, _, _), each in zip(suspicions, results[1:], strict=True):
            tested.append(_of_event(event_id, each))
        return tested

    def _results_of(
        self, requested: Sequence[tuple[str | None, str, Collection[str]]]
    ) -> list[dict[str, Any]]:
        """Return the worker's results for the first run that can be replayed."""
        reasons: list[str] = []
        field = OutcomeOf.parse(self.measure.outcome or ERROR_SERIES).field
        more = {
            "events": [
                {"event_id": event_id, "rule": rule, "suspects": sorted(suspects)}
                for event_id, rule, suspects in requested
            ],
            "measure": asdict(self.measure),
            "worse": self._worse,
            "seeds": self._seeds,
            "workers": cores(),
        }
        for request in self._runs:
            answer = run_job(_EXPERIMENT, request | more, self._timeout_seconds).answered()
            results: list[dict[str, Any]] = answer["results"]
            if "error" in results[0]:
                reasons.append(_reason(results[0]["error"]))
                continue
            baseline = results[0]["baseline"]
            if self.measure.outcome and baseline["stopped"] is None and baseline["value"] is None:
                reasons.append(f"no agent has a field {field} at the end; name the agent, too: AGENT.FIELD")
            else:
                return results
        raise ReplayError("; ".join(dict.fromkeys(reasons)))


def _chance(result: dict[str, Any]) -> TestedIntervention:
    """Return the result with other seeds from the beginning on, and nothing else changed."""
    words = "other random seeds from the beginning on"
    lacks = _lacks(result)
    others = result["with_it"]
    values = [each["value"] for each in others if _is_sound(each)]
    if lacks is None and len(values) < (1 - _MOST_STOPPED) * len(others):
        lacks = _stopped(others)
    if lacks is not None:
        return TestedIntervention(None, words, lacks=lacks)
    return TestedIntervention(None, words, (result["baseline"]["value"],), tuple(values))


def _of_event(event_id: str, result: dict[str, Any]) -> list[TestedIntervention]:
    lacks = _reason(result["error"]) if "error" in result else _lacks(result) or result["gap"]
    if lacks is None and not result["tried"]:
        lacks = "no intervention can leave this event out"
    if lacks is not None:
        return [TestedIntervention(event_id, "", lacks=lacks)]
    tested = []
    for index, way in enumerate(result["tried"]):
        if index == result["chosen"]:
            tested.append(_compared(event_id, way, result))
        elif not _is_sound(way["fork"]):
            tested.append(TestedIntervention(event_id, way["description"], lacks=_stopped([way["fork"]])))
    return tested


def _compared(event_id: str, way: dict[str, Any], result: dict[str, Any]) -> TestedIntervention:
    """Pair the forks with and without the event by seed, and compare each pair."""
    words = way["description"]
    with_it = [result["baseline"], *result["with_it"]]
    without_it = [way["fork"], *result["without_it"]]
    usual = {name for each in with_it for name in each["types"]}
    broken = [each for each in without_it if {*each["types"]} - usual]
    if broken:
        message = broken[0]["errors"][0]
        return TestedIntervention(
            event_id, words, lacks=f"without it the run fails in another way: {message}"
        )
    pairs = [
        (one["value"], other["value"])
        for one, other in zip(with_it, without_it, strict=True)
        if _is_sound(one) and _is_sound(other)
    ]
    if not _is_sound(without_it[0]) or len(pairs) < (1 - _MOST_STOPPED) * len(with_it):
        return TestedIntervention(event_id, words, lacks=_stopped([*without_it, *with_it]))
    # The recorded seed selected the best of several interventions, so its own pair would be biased.
    counted = pairs[1:] if len(result["tried"]) > 1 and len(pairs) > 2 else pairs
    return TestedIntervention(
        event_id,
        words,
        tuple(one for one, _ in counted),
        tuple(other for _, other in counted),
        result["expected"],
    )


def _reason(error: dict[str, Any]) -> str:
    remedy = f"; {error['remedy']}" if error["remedy"] else ""
    return f"{error['message']}{remedy}"


def _runs(
    session: Path, agents: Sequence[str], target: Target | None, live: bool | Collection[str]
) -> list[dict[str, Any]]:
    """Return fork requests: for the whole session, and for the first measured agent as a fallback."""
    root, name = session.parent, session.name.removeprefix("session_")
    requests: list[dict[str, Any]] = []
    missing: AgentTraceError | None = None
    for run in (name, *(f"{name}/{agent}" for agent in agents[:1])):
        try:
            requests.append(fork_request(run, "0", target, root, live))
        except TargetNotGiven as error:
            missing = error
        except AgentNotFound:
            continue  # only other agents' events name it
    if not requests:
        assert missing is not None  # noqa: S101 - the only reason for no run
        raise TargetNotGiven(
            "no target was given, and the session remembers none",
            remedy="give --target module:factory (target=): a function that takes a spec and returns the "
            "agent, or all of them",
        )
    return requests


def _is_sound(fork: dict[str, Any]) -> bool:
    return fork["stopped"] is None and fork["value"] not in (None, STOPPED)


def _stopped(forks: Sequence[dict[str, Any]]) -> str:
    """Return how many forks have no value, with the first reason."""
    unsound = [fork for fork in forks if not _is_sound(fork)]
    reason = next((fork["stopped"] for fork in unsound if fork["stopped"] is not None), None)
    return f"{len(unsound)} of {len(forks)} forks did not finish: {reason or 'they had nothing to measure'}"


def _lacks(result: dict[str, Any]) -> str | None:
    """Return why the unchanged fork does not reproduce the recording; None if it does."""
    baseline, recorded = result["baseline"], result["recorded"]
    if baseline["stopped"] is not None:
        return f"replayed without a change, the run stops: {baseline['stopped']}"
    if not result["is_same"]:
        return (
            f"replayed without a change, the run does not do what was recorded ({baseline['value']} "
            f"instead of {recorded}), so a change would prove nothing"
        )
    return "nothing can be measured after that moment" if baseline["value"] is None else None
